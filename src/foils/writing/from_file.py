"""Drafts that another tool wrote."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from foils.core.collection import Collection
from foils.core.errors import DataError, SpecError
from foils.core.packing import pack
from foils.core.readers import Row
from foils.core.spec import declare, require
from foils.core.tables import Block, FileTable
from foils.core.text import did_you_mean
from foils.store import fingerprint_of
from foils.writing.author import NOBODY, Author, Desk, Wanted
from foils.writing.draft import ROLES, Draft, Role

_COLUMNS = ("query_id", "doc_id", "title", "text", "role", "kind")


@declare
class FromFile(Author):
    """Texts that another tool wrote, from a file; they are checked as all others are.

    Columns: ``text``; ``query_id``, the query that it is for (not for a query that was written from a document);
    ``doc_id``, the positive or the source document, the query's first positive if left out; and, if there, ``title``,
    ``role`` (negative, positive or query; rows of another role than ``writes`` are passed over) and ``kind``. JSON
    lines, CSV, TSV, Parquet or Arrow. Rows for pairs that nothing is written from, such as those of held-out queries,
    are passed over.
    """

    family: ClassVar[Role] = "negative"
    per_query: ClassVar[int | None] = None

    path: str  # of the file
    of: str = "negative"  # negative, positive or query: what its texts are for
    kind: str = "file"  # of rows that name none

    def check(self) -> None:
        """The role must be one."""
        require(self.of in ROLES, self, "of", f"one of {', '.join(ROLES)}")

    @property
    def writes(self) -> Role:
        """What the field ``of`` says."""
        return self.of  # type: ignore[return-value]

    def inputs(self) -> dict[str, str]:
        """Digest of the file."""
        if not Path(self.path).is_file():
            raise DataError("no such file.", file=self.path, remedy="Name a JSONL, CSV, TSV, Parquet or Arrow file.")
        return {self.path: fingerprint_of(Path(self.path))}

    def write(self, wanted: Wanted, desk: Desk) -> Iterator[Draft]:
        """The rows of the file for these pairs, in its order."""
        rows = desk.once(("from file", self), lambda: _read(self, desk))
        asked = pack(wanted.query.astype(np.int64) + 1, wanted.doc)
        first, last = (np.searchsorted(rows.key, asked, side=side) for side in ("left", "right"))
        for query, doc, lo, hi in zip(wanted.query.tolist(), wanted.doc.tolist(), first, last, strict=True):
            for title, text, kind in rows.texts(slice(lo, hi)):
                made = {"file": Path(self.path).name}
                yield Draft(None if query == NOBODY else query, doc, title, text, kind, made=made)


class _Rows:
    """The rows of the file, by (query, document); texts stay in Arrow."""

    def __init__(self, key: NDArray[np.int64], table: pa.Table) -> None:
        order = np.argsort(key, kind="stable")
        self.key, self._table, self._order = key[order], table, order

    def texts(self, part: slice) -> Iterator[tuple[str, str, str]]:
        """Title, text and kind of some rows."""
        if part.start == part.stop:
            return
        rows = self._table.take(pa.array(self._order[part])).to_pylist()
        yield from ((row["title"], row["text"], row["kind"]) for row in rows)


def _read(author: FromFile, desk: Desk) -> _Rows:
    found, keys = [], []
    for block in FileTable(Path(author.path)).blocks():
        key, table = _block(author, block, desk)
        keys.append(key)
        found.append(table)
    if not found or not sum(map(len, found)):
        raise DataError(f"no row is for {author.of!r}.", file=author.path, remedy="Check its column 'role', or of=…")
    return _Rows(np.concatenate(keys), pa.concat_tables(found).combine_chunks())


def _block(author: FromFile, block: Block, desk: Desk) -> tuple[NDArray[np.int64], pa.Table]:
    for name in block.names:
        if name not in _COLUMNS:
            raise SpecError(
                f"{block.file}: column {name!r} is none of {', '.join(_COLUMNS)}.{did_you_mean(name, list(_COLUMNS))}"
            )
    chosen = [place for place, row in enumerate(block.rows) if (row.get("role") or author.of) == author.of]
    rows = [block.rows[place] for place in chosen]
    lines = [block.lines[place] for place in chosen]
    query, doc = _query(author, rows, lines, desk.data), _given_doc(author, rows, lines, desk.data)
    doc = _first_positive(query, doc, desk)
    columns = {
        "title": [str(row.get("title") or "") for row in rows],
        "text": [_required(author, row, "text", line) for row, line in zip(rows, lines, strict=True)],
        "kind": [str(row.get("kind") or author.kind) for row in rows],
    }
    return pack(query.astype(np.int64) + 1, doc), pa.table(columns, schema=_SCHEMA)


_SCHEMA = pa.schema([(name, pa.large_string()) for name in ("title", "text", "kind")])


def _query(author: FromFile, rows: list[Row], lines: list[int], data: Collection) -> NDArray[np.int32]:
    if author.of == "query" and not any(row.get("query_id") for row in rows):
        return np.full(len(rows), NOBODY, np.int32)
    ids = [_required(author, row, "query_id", line) for row, line in zip(rows, lines, strict=True)]
    return _known(author, "query_id", ids, lines, data.queries.rows_of(ids))


def _given_doc(author: FromFile, rows: list[Row], lines: list[int], data: Collection) -> NDArray[np.int32]:
    """The documents that are named, -1 where none is."""
    found = np.full(len(rows), -1, np.int32)
    named = [place for place, row in enumerate(rows) if row.get("doc_id") not in (None, "")]
    ids = [str(rows[place]["doc_id"]) for place in named]
    found[named] = _known(author, "doc_id", ids, [lines[place] for place in named], data.corpus.rows_of(ids))
    if author.of == "query" and len(named) < len(rows):
        line = next(line for line, row in zip(lines, found.tolist(), strict=True) if row < 0)
        raise DataError("no 'doc_id'.", file=author.path, line=line, remedy="A written query needs its document.")
    return found


def _first_positive(query: NDArray[np.int32], doc: NDArray[np.int32], desk: Desk) -> NDArray[np.int32]:
    """The query's first positive where no document is named; -1 still where it has none."""
    positives = desk.data.positives(desk.split)
    at = np.searchsorted(positives.query, query)
    has = np.minimum(at, max(len(positives) - 1, 0))
    mine = (at < len(positives)) & (positives.query[has] == query) if len(positives) else np.zeros(len(query), bool)
    return np.where((doc < 0) & mine, positives.doc[has] if len(positives) else 0, doc).astype(np.int32)


def _required(author: FromFile, row: Row, name: str, line: int) -> str:
    value: Any = row.get(name)
    if value in (None, ""):
        raise DataError(f"no {name!r}.", file=author.path, line=line, remedy="Give every row one.")
    return str(value)


def _known(author: FromFile, name: str, ids: list[str], lines: list[int], rows: NDArray[np.int32]) -> NDArray[np.int32]:
    for place in np.flatnonzero(rows < 0)[:1].tolist():
        remedy = "Was it written for another collection?"
        raise DataError(f"unknown {name} {ids[place]!r}.", file=author.path, line=lines[place], remedy=remedy)
    return rows
