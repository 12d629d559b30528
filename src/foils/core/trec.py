"""Qrels (TREC's four columns, BEIR's three) and TREC runs, read line by line."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from foils.core.collection import Collection, strongest
from foils.core.errors import DataError
from foils.core.pairs import Pairs
from foils.core.ragged import places
from foils.core.readers import opened, text_lines
from foils.core.segments import starts_of
from foils.core.tables import Block, OneFile

BLOCK = 65_536
SUFFIXES = (".tsv", ".txt", ".qrels", ".qrel", ".trec")
OnUnknown = Literal["error", "drop"]
_QUERY_NAMES = ("query-id", "query_id", "queryid", "qid", "query", "topic", "topic_id")


class Lines(NamedTuple):
    """Judgements or results as columns: query and document ids, grades or scores, and where they were read."""

    file: str
    lines: Sequence[int]
    query: list[str]
    doc: list[str]
    value: list[float]


def qrels_lines(path: Path) -> Iterator[Lines]:
    """Read judgements.

    ``query-id <tab> corpus-id <tab> score`` (BEIR, with or without a line of names), or
    ``query 0 document grade`` (TREC, separated by white space). The first line decides which.

    Raises:
        DataError: another number of columns, or a grade that is no number.
    """
    return _lines(path, {3: (0, 1, 2), 4: (0, 2, 3)}, "grade")


@dataclass(frozen=True)
class QrelsFile(OneFile):
    """A qrels file as a table with the columns query_id, doc_id and grade.

    Attributes:
        path: see `qrels_lines` for what it holds.
    """

    def blocks(self) -> Iterator[Block]:
        """The judgements."""
        for lines in qrels_lines(self.path):
            rows = zip(lines.query, lines.doc, lines.value, strict=True)
            yield Block(lines.file, lines.lines, [{"query_id": q, "doc_id": d, "grade": g} for q, d, g in rows])


def run_lines(path: Path) -> Iterator[Lines]:
    """Read a TREC run: ``query Q0 document rank score tag``.

    Raises:
        DataError: another number of columns, or a score that is no number.
    """
    return _lines(path, {6: (0, 2, 4)}, "score")


def read_run(path: str | Path, data: Collection, *, name: str = "run", on_unknown: OnUnknown = "error") -> Pairs:
    """Read a TREC run file (also .gz) as candidates of a collection.

    Args:
        path: six columns: query, Q0, document, rank, score, tag.
        data: resolves the ids; ids of merged queries resolve to the query they were merged into.
        name: of the score column.
        on_unknown: what to do about ids that the collection does not have.

    Returns:
        Label 0; ``scores[name]``, float32; ``ranks[name]``, recomputed: by score, ties in the order of the file (the
        rank column of run files starts at 0 or at 1, and trec_eval ignores it too). A pair that is listed twice keeps
        its higher score.

    Raises:
        DataError: not a run, a score that is NaN, or unknown ids.
    """
    source = Path(path)
    parts: list[tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32]]] = []
    unknown = Unknown(source, on_unknown)
    for block in run_lines(source):
        query, doc = data.queries.rows_of(block.query), data.corpus.rows_of(block.doc)
        known = unknown.split(block, query, doc)
        parts.append((query[known], doc[known], np.array(block.value, np.float32)[known]))
    unknown.settle()
    if not parts:
        raise DataError("is empty.", file=source, remedy="A run has six columns: query Q0 document rank score tag.")
    query, doc, score = (np.concatenate(column) for column in zip(*parts, strict=True))
    position = np.arange(len(query))
    once = np.sort(strongest(query, doc, score))
    by_score = once[np.lexsort((position[once], -score[once], query[once]))]
    starts = starts_of(query[by_score])
    ranks = places(starts) + 1
    return Pairs.build(query[by_score], doc[by_score], scores={name: score[by_score]}, ranks={name: ranks})


class Unknown:
    """Counts lines with unknown ids, and keeps the first one to tell.

    Args:
        file: what is read; errors name it.
        policy: 'error' or 'drop'.
    """

    def __init__(self, file: str | Path, policy: OnUnknown) -> None:
        self.file, self.policy = file, policy
        self.count = self.total = 0
        self._first: tuple[int, str] | None = None

    def split(self, block: Lines, query: NDArray[np.integer], doc: NDArray[np.integer]) -> NDArray[np.bool_]:
        """Which lines have a known query and a known document (rows >= 0), bool (n,)."""
        known: NDArray[np.bool_] = (query >= 0) & (doc >= 0)
        bad = np.flatnonzero(~known)
        self.total += len(known)
        self.count += len(bad)
        if len(bad) and self._first is None:
            i = int(bad[0])
            what = f"query {block.query[i]!r}" if query[i] < 0 else f"document {block.doc[i]!r}"
            self._first = (block.lines[i], what)
        return known

    def settle(self) -> None:
        """After all lines: raise if there were unknown ids and the policy is 'error', or if all were unknown.

        Raises:
            DataError: count, first line and first id.
        """
        if self._first is not None and (self.policy == "error" or self.count == self.total):
            line, what = self._first
            message = f"{what} is not in the collection; {self.count:,} of {self.total:,} lines have an unknown id."
            remedy = "Use the corpus and queries that the file was made for"
            leave = ", or leave these lines out: on_unknown='drop' (foils import --drop-unknown)."
            remedy += leave if self.policy == "error" else "."
            raise DataError(message, file=self.file, line=line, remedy=remedy)


def _lines(path: Path, layouts: dict[int, tuple[int, int, int]], what: str) -> Iterator[Lines]:
    block: list[tuple[int, str, str, float]] = []
    layout: tuple[int, int, int] | None = None
    tabs, width = False, 0
    with opened(path) as file:
        for number, line in text_lines(path, file):
            if line.isspace():
                continue
            if layout is None:
                # BEIR ids may hold blanks, so a line with tabs is cut at tabs only.
                tabs = "\t" in line
            fields = line.rstrip("\r\n").split("\t") if tabs else line.split()
            if layout is None:
                width = len(fields)
                layout = layouts.get(width)
                if layout is not None and what == "grade" and _is_header(fields, layout[2]):
                    continue
            if layout is None or len(fields) != width:
                raise _wrong_width(path, number, fields, layouts, width if layout else None)
            value = _number(path, number, fields[layout[2]], what)
            block.append((number, fields[layout[0]], fields[layout[1]], value))
            if len(block) == BLOCK:
                yield _columns(path, block)
                block = []
    if block:
        yield _columns(path, block)


def _columns(path: Path, block: list[tuple[int, str, str, float]]) -> Lines:
    lines, query, doc, value = (list(column) for column in zip(*block, strict=True))
    return Lines(str(path), lines, query, doc, value)  # type: ignore[arg-type]


def _is_header(fields: list[str], at: int) -> bool:
    try:
        float(fields[at])
    except ValueError:
        return fields[0].strip().casefold() in _QUERY_NAMES
    return False


def _number(path: Path, line: int, text: str, what: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        remedy = "Grades and scores are numbers; a line of names starts with 'query-id'."
        raise DataError(f"the {what} {text!r} is no finite number.", file=path, line=line, remedy=remedy)
    return value


def _wrong_width(
    path: Path, line: int, fields: list[str], layouts: dict[int, tuple[int, int, int]], width: int | None
) -> DataError:
    names = {
        3: "query-id, corpus-id, score (BEIR)",
        4: "query, 0, document, grade (TREC qrels)",
        6: "query, Q0, document, rank, score, tag (TREC run)",
    }
    expected = f"{width}, as the first line has" if width else " or ".join(f"{n}: {names[n]}" for n in layouts)
    message = f"has {len(fields)} columns; expected {expected}."
    return DataError(message, file=path, line=line, remedy="Separate columns with tabs (or with blanks throughout).")
