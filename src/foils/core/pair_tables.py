"""Tables of (query, positive[, negatives]) rows, read into a collection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from foils.core.collection_writer import CollectionWriter
from foils.core.columns import (
    ALIASES,
    Columns,
    Roles,
    cell,
    find_roles,
    id_column,
    id_of,
    metadata_of,
    number_column,
    query_column,
    used_columns,
)
from foils.core.errors import DataError
from foils.core.tables import Block, Table
from foils.core.text import keys_of, normalised
from foils.core.texts_writer import Rows, TextBlock
from foils.core.trec import OnUnknown

DOC_ID_FIELDS = ("docid", "doc_id", "passage_id", "_id", "id")
PASSAGE_COLUMNS = frozenset({*ALIASES["pairs"]["positive"][:6], *ALIASES["pairs"]["negative"], "negative_ctxs"})


class Quoted(NamedTuple):
    """A document in a row of pairs: by id, by text, or both."""

    row: int  # in the block
    id: str | None
    title: str
    text: str | None  # None: the id stands for a document of the corpus


@dataclass
class PairReader:
    """Reads tables of pairs into a writer.

    Attributes:
        writer: the collection in the making; holds the corpus already if there is a separate one.
        columns: the caller's names for roles.
        on_unknown: what to do about ids that the corpus does not have.
    """

    writer: CollectionWriter
    columns: Columns
    on_unknown: OnUnknown

    def __post_init__(self) -> None:
        self.has_corpus = self.writer.documents.rows > 0
        self._holds_ids: dict[tuple[str, str], bool] = {}  # by (table, column)

    def read(self, splits: Mapping[str, Sequence[Table]]) -> None:
        """Add the pairs of tables to their splits.

        A pair with a grade of 0 or less is a judgement and a given negative.

        Raises:
            DataError: a column that is missing or misspelt, an empty query, an id of two texts, an unknown document id.
        """
        for split, tables in splits.items():
            self.writer.judge(split, [], [], [])
            for table in tables:
                for block in table.blocks():
                    self._read(split, block)

    def _read(self, split: str, block: Block) -> None:
        roles = find_roles("pairs", block.names, self.columns, block.file)
        query = self._queries(block, roles)
        grades = np.ones(len(block.rows), np.float32)
        if "grade" in roles:
            grades = np.array(number_column(block, roles["grade"][0]), np.float32)
        row, doc = self._resolved(block, self._quoted(block, roles, "positive"))
        self.writer.judge(split, query[row], doc, grades[row])
        refused = grades[row] <= 0
        self.writer.give(split, query[row[refused]], doc[refused])
        row, doc = self._resolved(block, self._quoted(block, roles, "negative"))
        self.writer.give(split, query[row], doc)

    def _queries(self, block: Block, roles: Roles) -> Rows:
        texts = query_column(block, roles["query"][0])
        used = used_columns(roles) | PASSAGE_COLUMNS
        metadata = [metadata_of(row, used) for row in block.rows]
        writer = self.writer.queries
        if "query_id" in roles:
            ids = id_column(block, roles["query_id"][0])
            return writer.intern(TextBlock(block.file, block.lines, ids, [""] * len(ids), texts, metadata))
        # Ids from the texts: an id, and every draw that is keyed by it, does not depend on the other rows.
        ids = derived_ids("q", list(map(normalised, texts)))
        _, first = np.unique(np.array(ids), return_index=True)
        first = np.sort(first)
        new = first[writer.row_of([ids[i] for i in first.tolist()]) < 0]
        if len(new):
            whole = TextBlock(block.file, block.lines, ids, [""] * len(ids), texts, metadata)
            writer.append(whole.take(new))
        self.writer.counts["repeated_query_rows"] += len(ids) - len(new)
        return writer.row_of(ids)

    def _quoted(self, block: Block, roles: Roles, kind: str) -> list[Quoted]:
        """The documents in the columns of positives or of negatives."""
        ids, texts = roles.get(f"{kind}_id", []), roles.get(kind, [])
        if kind == "positive":
            for i in range(len(block.rows)):
                cell(block, i, (ids or texts)[0])  # a row without the field is a mistake; null is not
        if ids and (self.has_corpus or not texts):
            return _by_id(block, ids[0])
        title = roles["title"][0] if kind == "positive" and "title" in roles else None
        quoted = []
        for column in texts:
            if self._are_ids(block, column):
                quoted += _by_id(block, column)
            else:
                quoted += [_document(block, i, column, value, title) for i, value in _values(block, column)]
        return _named(block, ids[0], quoted) if ids else quoted

    def _are_ids(self, block: Block, column: str) -> bool:
        """With a separate corpus, a column holds ids if most of the values that come first are ids of documents."""
        key = (block.file, column)
        if key not in self._holds_ids:
            values = [value for _, value in _values(block, column)]
            if not values:
                return False
            plain = [str(v) for v in values if isinstance(v, str | int) and not isinstance(v, bool)]
            known = int((self.writer.documents.row_of(plain) >= 0).sum()) if self.has_corpus and plain else 0
            self._holds_ids[key] = 2 * known > len(values) or all(type(v) is int for v in values)
        return self._holds_ids[key]

    def _resolved(self, block: Block, quoted: Sequence[Quoted]) -> tuple[Rows, Rows]:
        """For each quoted document its row in the block and in the corpus; documents that are new are added."""
        writer = self.writer.documents
        rows = np.full(len(quoted), -1, np.int64)
        named = [i for i, q in enumerate(quoted) if q.id is not None and (q.text is None or self.has_corpus)]
        rows[named] = writer.row_of([quoted[i].id or "" for i in named])
        self._refuse_unknown(block, [quoted[i] for i in named if rows[i] < 0 and quoted[i].text is None])
        texts = [i for i, q in enumerate(quoted) if rows[i] < 0 and q.text is not None]
        if self.has_corpus and texts:
            rows[texts] = writer.quoted([f"{quoted[i].title} {quoted[i].text}" for i in texts])
        new = [i for i in texts if rows[i] < 0]
        if new:
            before = writer.rows
            rows[new] = writer.intern(_block_of(block, [quoted[i] for i in new]))
            if self.has_corpus:
                self.writer.counts["documents_added_to_the_corpus"] += writer.rows - before
        found = np.flatnonzero(rows >= 0)
        return np.array([q.row for q in quoted], np.int64)[found], rows[found]

    def _refuse_unknown(self, block: Block, unknown: Sequence[Quoted]) -> None:
        self.writer.counts["unknown_qrels"] += len(unknown)
        if unknown and self.on_unknown == "error":
            message = f"document {unknown[0].id!r} is not in the corpus."
            leave = "on_unknown='drop' (foils import --drop-unknown)"
            remedy = f"Pass the corpus= that the ids belong to, or leave such pairs out: {leave}."
            raise DataError(message, file=block.file, line=block.lines[unknown[0].row], remedy=remedy)


def derived_ids(letter: str, texts: Sequence[str]) -> list[str]:
    """Ids for texts that have none: a letter and the 16 hex digits of the text's key."""
    return [f"{letter}{key:016x}" for key in keys_of(texts).tolist()]


def _values(block: Block, column: str) -> list[tuple[int, Any]]:
    """(row, value) of a column of values or lists of values, without the empty ones."""
    values = []
    for i, row in enumerate(block.rows):
        held = row.get(column)
        values += [(i, value) for value in (held if isinstance(held, list) else [held]) if value not in (None, "")]
    return values


def _by_id(block: Block, column: str) -> list[Quoted]:
    return [Quoted(i, id_of(block, i, column, value), "", None) for i, value in _values(block, column)]


def _named(block: Block, column: str, quoted: Sequence[Quoted]) -> list[Quoted]:
    """Documents that are given by text, with the ids in another column."""
    ids = _by_id(block, column)
    counts = [np.bincount([q.row for q in side], minlength=len(block.rows)) for side in (ids, quoted)]
    for i in np.flatnonzero(counts[0] != counts[1])[:1].tolist():
        message = f"{column!r} does not hold one id for each text."
        raise DataError(message, file=block.file, line=block.lines[i], remedy="Complete it, or leave the column out.")
    by_row = sorted(quoted, key=lambda q: q.row)
    return [q._replace(id=named.id) for q, named in zip(by_row, ids, strict=True)]


def _document(block: Block, i: int, column: str, value: Any, title_column: str | None) -> Quoted:
    if isinstance(value, str):
        title = block.rows[i].get(title_column) if title_column is not None else None
        return Quoted(i, None, title if isinstance(title, str) else "", value)
    if isinstance(value, Mapping):
        found = next((value[field] for field in DOC_ID_FIELDS if value.get(field) not in (None, "")), None)
        name, title, text = None if found is None else str(found), value.get("title"), value.get("text")
        if isinstance(text, str):
            return Quoted(i, name, title if isinstance(title, str) else "", text)
        if name is not None and text is None:
            return Quoted(i, name, "", None)
    message = f"{column!r} holds {type(value).__name__} {str(value)[:40]!r}, which is no document."
    remedy = "A document is a text, an object with a 'text', or an id of the corpus; or a list of these."
    raise DataError(message, file=block.file, line=block.lines[i], remedy=remedy)


def _block_of(block: Block, quoted: Sequence[Quoted]) -> TextBlock:
    derived = derived_ids("d", [f"{q.title}\0{q.text}" for q in quoted])
    ids = [q.id or other for q, other in zip(quoted, derived, strict=True)]
    titles, texts = [q.title for q in quoted], [q.text or "" for q in quoted]
    return TextBlock(block.file, [block.lines[q.row] for q in quoted], ids, titles, texts, [""] * len(ids))
