"""Labels that people wrote into a sheet, as a judge."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from foils.audit.judges.protocol import UNKNOWN, JudgeKind, Rows, Verdicts
from foils.audit.judges.reading import NEEDED, read_rows
from foils.audit.quality import agreement
from foils.core.collection import Collection
from foils.core.errors import DataError
from foils.core.packing import pack, unpack

_WORDS = {"yes": 1.0, "true": 1.0, "relevant": 1.0, "no": 0.0, "false": 0.0, "irrelevant": 0.0, "not relevant": 0.0}
_OPEN = ("", "?", "unknown", "unsure", "skip")
_REMEDY = "Write 1 (relevant), 0 (not), a share between them, or a grade; leave the cell empty or write ? for unknown."


class Labels:
    """The sheet of an audit, filled in by one or several people.

    Columns ``query_id``, ``doc_id`` and ``label``, by name; ``annotator`` and ``note`` are read, others not. A label is
    1 or 0, yes or no, a share between 0 and 1 for how sure one is, or a grade: whoever writes a label above 1 grades,
    and each of their labels is divided by the highest in their file. Of people who write none above 1 a label is a
    share, whatever others do. An empty label or ``?`` is unknown. Several labels of a pair are averaged, so that
    disagreement remains as a share between 0 and 1; the verdict is what half or more of it says.

    Args:
        path: CSV file, UTF-8, or several: each is of another person, unless it names its annotators.
        data: the collection, for the ids.

    Raises:
        DataError: no such file, not UTF-8, a column that is missing, a label that cannot be read, words among
            somebody's grades, or a pair that is unknown.
    """

    kind: JudgeKind = "people"

    def __init__(self, path: str | Path | Sequence[str | Path], data: Collection) -> None:
        self.paths = [Path(one) for one in ([path] if isinstance(path, str | Path) else path)]
        self.name = ",".join(map(str, self.paths))
        sheets = [_read(one) for one in self.paths]
        self._tops: set[float] = set()
        self._votes: dict[int, list[float]] = {}
        self._notes: dict[int, str] = {}
        self._who: set[str] = set()
        given: set[tuple[int, str]] = set()
        for one, rows in zip(self.paths, sheets, strict=True):
            keys = _keys(one, [(row.query, row.doc, row.line) for row in rows], data)
            tops = _tops(one, rows)
            # Of several files each is somebody's; of one nobody knows how many people wrote it.
            nobody = "" if len(self.paths) == 1 else one.stem
            taken: set[tuple[int, str]] = set()
            for key, row in zip(keys, rows, strict=True):
                who = row.who or nobody
                if row.note:
                    self._notes[key] = row.note
                if row.value is not None and (key, who) not in given:  # a file given twice says no more than once
                    self._votes.setdefault(key, []).append(row.value / tops[row.who])
                    self._who.add(who)
                    self._tops.add(tops[row.who])
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
        top = max(self._tops, default=1.0)
        grades = {"highest_grade": top, "scales": sorted(self._tops)} if top > 1 else {}
        votes = list(self._votes.values())
        count = {"pairs": len(votes), "labels": sum(map(len, votes)), "annotators": len(self._who)}
        return {**count, **grades, "agreement": agreement(votes)}


@dataclass(frozen=True)
class _Row:
    query: str
    doc: str
    label: str
    value: float | None
    who: str
    note: str
    line: int


def _read(path: Path) -> list[_Row]:
    names, listed = read_rows(path)
    missing = [name for name in NEEDED if name not in names]
    if missing:
        raise DataError(f"has no column {', '.join(missing)}.", file=path, line=1, remedy="Keep the columns' names.")
    rows = []
    for line, cells in listed:
        label = cells["label"].strip().casefold()
        value = None if label in _OPEN else _WORDS.get(label)
        if value is None and label not in _OPEN:
            value = _number(label, path, line)
        who, note = (cells.get(name, "").strip() for name in ("annotator", "note"))
        rows.append(_Row(cells["query_id"], cells["doc_id"], label, value, who, note, line))
    return rows


def _tops(path: Path, rows: list[_Row]) -> dict[str, float]:
    """What each person's labels are divided by: the file's highest grade if they grade, else 1."""
    known = [(row.who, row.value) for row in rows if row.value is not None]
    graders = {who for who, value in known if value > 1}
    highest = max((value for _, value in known), default=1.0)
    for row in rows:
        if row.who in graders and row.label in _WORDS:
            whose = f" of {row.who!r}" if row.who else ""
            what = f"label {row.label!r} stands among grades up to {highest:g}{whose}."
            raise DataError(what, file=path, line=row.line, remedy="Write grades only, or words only.")
    return {who: highest if who in graders else 1.0 for who, _ in known}


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
