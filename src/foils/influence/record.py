"""`Influence`: what a training run wrote down about its negatives, read again.

``RUN/influence`` holds ``influence.json`` (kind, version, totals, shares by source and rank, the most influential
documents and queries) and ``pairs.parquet`` (every mined negative that was used: ``query_id``, ``doc_id``, ``times`` it
was used, sums of ``mass`` and ``gradient``, mean ``gap`` to the positive, share of times ``above`` it, ``source`` and
mean ``rank``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from foils.core.atomic import replacing
from foils.core.collection import Collection, find
from foils.core.errors import StoreError

KIND, VERSION = "foils influence", 1
FOLDER, RECORD, PAIRS = "influence", "influence.json", "pairs.parquet"


@dataclass(frozen=True, eq=False)
class Influence:
    """Which negatives drove a run.

    Attributes:
        folder: where it lies.
        record: what ``influence.json`` says.
    """

    folder: Path
    record: Mapping[str, Any]

    @classmethod
    def open(cls, run: str | Path) -> Self:
        """From a run's folder, or from its folder ``influence``.

        Raises:
            StoreError: nothing was counted there, or by another version.
        """
        place = Path(run)
        folder = place if (place / RECORD).is_file() else place / FOLDER
        try:
            record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            raise StoreError(f"{run}: {_missing(place)}") from None
        except ValueError as error:
            raise StoreError(f"{folder / RECORD}: not JSON ({error}). Train again with --influence.") from None
        said = (record.get("kind"), record.get("version")) if isinstance(record, dict) else None
        if said != (KIND, VERSION):
            raise StoreError(f"{folder / RECORD}: {said!r}; this version of foils reads {(KIND, VERSION)!r}.")
        return cls(folder, record)

    def pairs(self) -> pa.Table:
        """Every mined negative that was used; see above for the columns.

        Raises:
            StoreError: the file is missing or cannot be read.
        """
        try:
            return pq.read_table(self.folder / PAIRS)
        except (OSError, pa.ArrowInvalid) as error:
            raise StoreError(
                f"{self.folder / PAIRS}: cannot be read ({error}). Train again with --influence."
            ) from error

    def collection(self) -> Collection:
        """The collection that was trained on, from the cache.

        Raises:
            DataError: it is not there (any more).
        """
        return find(self.record["data"], self.record["collection"])


def write(folder: Path, record: Mapping[str, Any], pairs: pa.Table) -> None:
    """Write both files, each by one rename, the record last: where it is, all is.

    Args:
        folder: made if it is missing.
        record: plain finite values or None.
        pairs: see above.
    """
    with replacing(folder / PAIRS) as partial:
        pq.write_table(pairs, partial, compression="zstd")
    ordered = {"kind": KIND, "version": VERSION, **{name: record[name] for name in sorted(record)}}
    with replacing(folder / RECORD) as partial:
        text = json.dumps(ordered, indent=1, ensure_ascii=False, allow_nan=False)
        partial.write_text(text + "\n", encoding="utf-8")


def _missing(run: Path) -> str:
    phases = sorted(path.parent.parent.name for path in (run / "phases").glob(f"*/{FOLDER}/{RECORD}"))
    if phases:
        return f"a run of several phases; name one: {', '.join(str(run / 'phases' / name) for name in phases)}."
    if not (run / "run.json").is_file():
        return "there is no training run here (no run.json)."
    return "this run did not count what its negatives do. Train with --influence, in another folder."
