"""`Negatives`: mined pairs on disk, as Parquet parts and a manifest that says how they were made.

Every candidate is kept with all its scores and, if it was dropped, the step that dropped it; so another choice needs no
search and no encoding, and ``foils show`` can say why a document is not among the negatives. DuckDB and Polars read the
parts as they are.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from foils.core import trec
from foils.core.collection import Collection, find
from foils.core.errors import DataError, StoreError
from foils.core.foreign import is_run, pairs_from, read_listing
from foils.core.pairs import POSITIVE, SET_ASIDE, Pairs, joined
from foils.parts import RANK, SCORE, Step, doc_rows, named

FORMAT = 1
MANIFEST = "manifest.json"


def _surviving() -> pc.Expression:
    # Not a constant: comparing a field with a number imports pandas, and `import foils` must not.
    return pc.is_null(pc.field("dropped")) & (pc.field("label") > SET_ASIDE)


class Negatives:
    """Mined pairs on disk. Made by `foils.mine`; see `open`.

    Attributes:
        path: the folder.
        manifest: pipeline, seed, versions, fingerprints, and what each step did.
    """

    def __init__(self, path: Path, manifest: dict[str, Any]) -> None:
        self.path = path
        self.manifest = manifest

    @classmethod
    def open(cls, path: str | Path) -> Negatives:
        """Open a folder of negatives; reads the manifest only.

        Raises:
            StoreError: it is no such folder, or of another format.
        """
        folder = Path(path)
        try:
            manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            staged = folder.with_name(f".{folder.name}.mining")
            hint = (
                " A run that was to write it was interrupted: give the same command again." if staged.exists() else ""
            )
            raise StoreError(f"{folder}: no negatives here ({MANIFEST} is missing).{hint}") from None
        except ValueError as error:
            raise StoreError(f"{folder / MANIFEST}: not JSON ({error}). Mine again.") from None
        made = manifest.get("format") if isinstance(manifest, dict) else None
        if made != FORMAT:
            raise StoreError(f"{folder}: format {made!r}; this version of foils reads {FORMAT}. Mine again.")
        return cls(folder, manifest)

    def __repr__(self) -> str:
        counts = self.manifest["counts"]
        return f"Negatives({str(self.path)!r}: {counts['kept']:,} negatives for {counts['queries']:,} queries)"

    @property
    def pipeline(self) -> str:
        """The text of the pipeline, short form."""
        return str(self.manifest["pipeline"])

    def collection(self) -> Collection:
        """The collection it was mined from, from the cache.

        Raises:
            DataError: it is not there (any more).
        """
        mined: dict[str, str] = self.manifest["collection"]
        return find(mined["fingerprint"], mined["name"])

    @property
    def fingerprint(self) -> str:
        """Of the manifest, which has everything that determines the pairs; the same wherever the folder lies."""
        return hashlib.blake2b(json.dumps(self.manifest, sort_keys=True).encode(), digest_size=16).hexdigest()

    @property
    def columns(self) -> tuple[str, ...]:
        """The score columns of the parts."""
        parts = self.parts()
        names = pq.read_schema(parts[0]).names if parts else []
        return tuple(name for name, _ in named(SCORE, names))

    @cached_property
    def steps(self) -> list[Step]:
        """The stages of the pipeline."""
        return [Step(s["number"], s["family"], s["text"], s["judges"]) for s in self.manifest["steps"]]

    def parts(self) -> list[Path]:
        """The Parquet files, in order of the queries.

        Raises:
            StoreError: some are missing.
        """
        found = sorted((self.path / "parts").glob("part-*.parquet"))
        wanted = self.manifest.get("parts", len(found))
        if len(found) != wanted:
            raise StoreError(f"{self.path}: {len(found)} of {wanted} parts are here. Mine again.")
        return found

    def __iter__(self) -> Iterator[pa.Table]:
        """The parts as Arrow tables, one at a time."""
        for part in self.parts():
            yield _table(part)

    def pairs(self, data: Collection) -> Pairs:
        """Everything: positives, negatives, and candidates with the step that dropped them.

        Args:
            data: the collection it was mined from, or another one with the same ids.

        Raises:
            StoreError: an id is not in the collection.
        """
        return self.read(data, None)

    def kept(self, data: Collection) -> Pairs:
        """Positives (label 1) and negatives (label 0) only; see `pairs`."""
        return self.read(data, _surviving())

    def iter_kept(self, data: Collection) -> Iterator[Pairs]:
        """As `kept`, part by part, in bounded memory."""
        for part in self.parts():
            yield self._pairs(_table(part, _surviving()), data)

    def queries(self, data: Collection) -> list[NDArray[np.int32]]:
        """Query rows of each part, int32, ascending, each once."""
        return [np.unique(self._rows(_table(part, columns=["query"]), "query", data)) for part in self.parts()]

    def spans(self, data: Collection) -> NDArray[np.int32]:
        """First and last query row of each part, int32 (parts, 2)."""
        rows = [self._rows(_table(part, columns=["query"]), "query", data) for part in self.parts()]
        return np.array([(part.min(), part.max()) if len(part) else (-1, -1) for part in rows], np.int32).reshape(-1, 2)

    def read(self, data: Collection, rule: pc.Expression | None, parts: Sequence[Path] | None = None) -> Pairs:
        """Rows that fulfil a rule, of some parts or all; see `pairs`."""
        found = [self._pairs(_table(part, rule), data) for part in (self.parts() if parts is None else parts)]
        pairs = joined(found) if found else Pairs.empty()
        # In another collection with the same ids, the queries may stand in another order.
        ascending = np.all(pairs.query[1:] >= pairs.query[:-1])
        return pairs if ascending else pairs.take(np.argsort(pairs.query, kind="stable"))

    def _pairs(self, table: pa.Table, data: Collection) -> Pairs:
        query, doc = self._rows(table, "query", data), self._rows(table, "doc", data)
        scores = {name: _floats(table[column]) for name, column in named(SCORE, table.column_names)}
        ranks = {name: table[column].fill_null(0).to_numpy() for name, column in named(RANK, table.column_names)}
        codes = {step.reason: step.code for step in self.steps}
        reasons = table["dropped"].combine_chunks()
        by_code = np.array([codes[text] for text in reasons.dictionary.to_pylist()] or [0], np.int16)
        dropped = np.where(_mask(reasons.is_null()), 0, by_code[reasons.indices.fill_null(0).to_numpy()])
        order = np.argsort(query, kind="stable")
        latest = self.manifest["latest"]
        found = Pairs(query, doc, table["label"].to_numpy(), scores, ranks, dropped.astype(np.int16), latest)
        return found.take(order)

    def _rows(self, table: pa.Table, side: Literal["query", "doc"], data: Collection) -> NDArray[np.int32]:
        ids = table[side].combine_chunks()
        rows = doc_rows(table, data.corpus) if side == "doc" else data.queries.rows_of(ids.dictionary.to_pylist())
        if len(rows) and rows.min() < 0:
            unknown = ids.dictionary[int(np.argmin(rows))].as_py()
            raise StoreError(
                f"{self.path}: {side} {unknown!r} is not in {data.name!r}. These negatives were mined from "
                f"{self.manifest['collection']['name']!r}; give that collection, or mine again."
            )
        return rows[ids.indices.to_numpy()] if len(rows) else np.zeros(0, np.int32)


def _table(part: Path, rule: pc.Expression | None = None, columns: list[str] | None = None) -> pa.Table:
    try:
        return pq.read_table(part, columns=columns, filters=rule)
    except (OSError, pa.ArrowInvalid) as error:
        raise StoreError(f"{part}: cannot be read ({error}). Mine again.") from error


def _floats(column: pa.ChunkedArray) -> NDArray[np.float32]:
    values: NDArray[np.float32] = column.fill_null(float("nan")).to_numpy()
    return values


def _mask(array: pa.Array) -> NDArray[np.bool_]:
    values: NDArray[np.bool_] = array.to_numpy(zero_copy_only=False)
    return values


class Saved:
    """Candidates that are there already: of a folder of negatives, a TREC run, or a file of another tool.

    Of a folder only the parts are read that a block of queries needs, so memory does not grow with it.

    Args:
        path: the folder or file; see `foils.core.foreign.read_listing` for what files there are.
        data: the collection.
        which: of a folder, the surviving negatives or all candidates, with nothing dropped any more.

    Attributes:
        names: of the score columns; ``run`` for a run or another tool's file.
        latest: the column that ``score`` means, if one does.
    """

    def __init__(self, path: Path, data: Collection, which: Literal["kept", "all"]) -> None:
        if not path.exists():
            remedy = "Name a folder of negatives or a TREC run file."
            raise DataError("no such file or folder.", file=path, remedy=remedy)
        self.data = data
        self._rule = _surviving() if which == "kept" else None
        self._now: tuple[tuple[int, ...] | None, Pairs] = (None, Pairs.empty())
        if (path / MANIFEST).is_file():
            self._store = Negatives.open(path)
            self._parts, self._spans = self._store.parts(), self._store.spans(data)
            self.names = self._store.columns
            self.latest = self._store.manifest["latest"]
        else:
            found = trec.read_run(path, data) if is_run(path) else pairs_from(read_listing(path), data)
            self._parts, self._now = [], (None, found)
            self.names, self.latest = tuple(found.scores), found.latest

    def of(self, first: int, last: int) -> Pairs:
        """The pairs of the queries from row ``first`` to row ``last``; label 1 for what was a positive, else 0."""
        if self._parts:
            near = np.flatnonzero((self._spans[:, 0] <= last) & (self._spans[:, 1] >= first))
            needed = tuple(near.tolist())
            if needed != self._now[0]:
                self._now = (needed, self._read(needed))
        pairs = self._now[1]
        lo, hi = np.searchsorted(pairs.query, [first, last + 1])
        return pairs.take(np.arange(lo, hi))

    def scores_of(self, pairs: Pairs, name: str) -> NDArray[np.float32]:
        """What was saved for some pairs in a score column, wherever it is, float32 (len(pairs),); NaN for nothing."""
        found = np.full(len(pairs), np.nan, np.float32)
        numbers = range(len(self._parts))
        for saved in (self._read((number,)) for number in numbers) if self._parts else (self._now[1],):
            at = saved.find(pairs)
            found[at >= 0] = saved.scores[name][at[at >= 0]]
        return found

    def _read(self, numbers: tuple[int, ...]) -> Pairs:
        # At least one part is read for its columns, even if it has none of the queries.
        pairs = self._store.read(self.data, self._rule, [self._parts[number] for number in numbers or (0,)])
        label = np.where(pairs.label == POSITIVE, POSITIVE, 0).astype(np.int8)
        return replace(pairs, label=label, dropped=np.zeros(len(pairs), np.int16))


def fingerprint_of(path: Path) -> str:
    """Digest of a folder of negatives (its manifest and the sizes and bytes of its parts) or of a file."""
    if not path.exists():
        raise DataError("no such file or folder.", file=path, remedy="Name a folder of negatives or a TREC run file.")
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    digest = hashlib.blake2b(digest_size=16)
    for file in files:
        digest.update(file.name.encode() + b"\0")
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "blake2b").digest())
    return digest.hexdigest()
