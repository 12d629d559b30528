"""Labels that people wrote into a sheet, as a judge."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from foils.audit.judges.protocol import UNKNOWN, JudgeKind, Rows, Verdicts
from foils.audit.quality import agreement
from foils.core.collection import Collection
from foils.core.errors import DataError
from foils.core.packing import pack, unpack

NEEDED = ("query_id", "doc_id", "label")
_WORDS = {"yes": 1.0, "true": 1.0, "relevant": 1.0, "no": 0.0, "false": 0.0, "irrelevant": 0.0, "not relevant": 0.0}
_OPEN = ("", "?", "unknown", "unsure", "skip")
_REMEDY = "Write 1 (relevant), 0 (not), a share between them, or a grade; leave the cell empty or write ? for unknown."


class Labels:
    """The sheet of an audit, filled in by one or several people.

    Columns ``query_id``, ``doc_id`` and ``label``, by name; ``annotator`` and ``note`` are read, others not. A label is
    1 or 0, yes or no, a share between 0 and 1 for how sure one is, or, if any label is above 1, a grade, which is
    divided by the highest in the file. An empty label or ``?`` is unknown. Several labels of a pair are averaged, so
    that disagreement remains as a share between 0 and 1; the verdict is what half or more of it says.

    Args:
        path: CSV file, UTF-8, or several: each is of another person, unless it names its annotators.
        data: the collection, for the ids.

    Raises:
        DataError: no such file, a column that is missing, a label that cannot be read, or a pair that is unknown.
    """

    kind: JudgeKind = "people"

    def __init__(self, path: str | Path | Sequence[str | Path], data: Collection) -> None:
        self.paths = [Path(one) for one in ([path] if isinstance(path, str | Path) else path)]
        self.name = ",".join(map(str, self.paths))
        sheets = [_read(one) for one in self.paths]
        self._top = max([1.0, *(value for rows in sheets for _, _, value, _, _ in rows if value is not None)])
        self._votes: dict[int, list[float]] = {}
        self._notes: dict[int, str] = {}
        self._who: set[str] = set()
        given: set[tuple[int, str]] = set()
        for one, rows in zip(self.paths, sheets, strict=True):
            keys = _keys(one, [(q, d, line) for q, d, _, _, line in rows], data)
            # Of several files each is somebody's; of one nobody knows how many people wrote it.
            nobody = "" if len(self.paths) == 1 else one.stem
            taken: set[tuple[int, str]] = set()
            for key, (_, _, value, (name, note), _) in zip(keys, rows, strict=True):
                who = name or nobody
                if note:
                    self._notes[key] = note
                if value is not None and (key, who) not in given:  # a file that is given twice says no more than once
                    self._votes.setdefault(key, []).append(value / self._top)
                    self._who.add(who)
                    taken.add((key, who))
            given |= taken

    @property
    def fingerprint(self) -> str:
        """Of the files."""
        digest = hashlib.blake2b(digest_size=16)
        for one in self.paths:
            digest.update(hashlib.blake2b(one.read_bytes()).digest())
        return digest.hexdigest()

    def __len__(self) -> int:
        return len(self._votes)

    def covers(self, query: Rows, doc: Rows) -> int:
        """How many of the labelled pairs are among these."""
        return len(self._votes.keys() & set(pack(query, doc).tolist()))

    def pairs(self) -> tuple[Rows, Rows]:
        """Rows of the queries and of the documents that have a label, ordered by query, then document."""
        return unpack(np.array(sorted(self._votes), np.int64))

    def judge(self, query: Rows, doc: Rows) -> Verdicts:
        """The mean label of each pair, as probability, and its side of one half."""
        keys = pack(query, doc).tolist()
        votes = (self._votes.get(key) for key in keys)
        shares = np.array([np.nan if one is None else float(np.mean(one)) for one in votes], np.float64)
        said = np.where(np.isnan(shares), UNKNOWN, shares >= 0.5)
        reasons = [self._notes.get(key, "") for key in keys]
        return Verdicts.of(said, shares, reasons if any(reasons) else ())

    def facts(self) -> Mapping[str, Any]:
        """How many labels of how many people, and how far they agree."""
        grades = {"highest_grade": self._top} if self._top > 1 else {}
        votes = list(self._votes.values())
        count = {"pairs": len(votes), "labels": sum(map(len, votes)), "annotators": len(self._who)}
        return {**count, **grades, "agreement": agreement(votes)}


_Row = tuple[str, str, float | None, tuple[str, str], int]


def _read(path: Path) -> list[_Row]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise DataError("no such file.", file=path, remedy="foils audit NEG -o DIR writes DIR/labels.csv.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot be read ({error}).", file=path, remedy="Save it as CSV in UTF-8.") from None
    head = text.split("\n", 1)[0]
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=head.count))
    missing = [name for name in NEEDED if name not in (reader.fieldnames or ())]
    if missing:
        raise DataError(f"has no column {', '.join(missing)}.", file=path, line=1, remedy="Keep the columns' names.")
    rows: list[_Row] = []
    for row in reader:
        label = (row["label"] or "").strip().casefold()
        value = None if label in _OPEN else _WORDS.get(label)
        if value is None and label not in _OPEN:
            value = _number(label, path, reader.line_num)
        extra = (row.get("annotator") or "").strip(), (row.get("note") or "").strip()
        rows.append((row["query_id"] or "", row["doc_id"] or "", value, extra, reader.line_num))
    return rows


def _number(label: str, path: Path, line: int) -> float:
    try:
        value = float(label.replace(",", "."))
    except ValueError:
        value = float("nan")
    if not 0 <= value < np.inf:
        raise DataError(f"label {label!r} cannot be read.", file=path, line=line, remedy=_REMEDY)
    return value


def _keys(path: Path, pairs: list[tuple[str, str, int]], data: Collection) -> list[int]:
    query = data.queries.rows_of([q for q, _, _ in pairs])
    doc = data.corpus.rows_of([d for _, d, _ in pairs])
    bad = np.flatnonzero((query < 0) | (doc < 0))
    if len(bad):
        q, d, line = pairs[int(bad[0])]
        what = f"query {q!r}" if query[bad[0]] < 0 else f"document {d!r}"
        remedy = "Give the collection that the sheet was made for; spreadsheets may have changed the ids."
        raise DataError(f"{what} is not in {data.name!r}.", file=path, line=line, remedy=remedy)
    return [int(key) for key in pack(query, doc).tolist()]
