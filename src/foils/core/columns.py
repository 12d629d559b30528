"""Which column of a table plays which role, by the names in use or as the caller says."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from foils.core.errors import DataError, SpecError
from foils.core.readers import Row
from foils.core.tables import Block
from foils.core.text import did_you_mean

Columns = Mapping[str, str | int | None]
Roles = dict[str, list[str]]  # role -> columns; several only for numbered negatives

_QUERY_ID = ("query_id", "query-id", "queryid", "qid", "_id", "id")
ALIASES: dict[str, dict[str, tuple[str, ...]]] = {
    "corpus": {
        "id": ("_id", "id", "doc_id", "docid", "document_id", "corpus_id", "corpus-id", "pid", "docno"),
        "text": ("text", "contents", "content", "document", "passage", "body"),
        "title": ("title",),
    },
    "queries": {
        "query_id": _QUERY_ID,
        "query": ("text", "query", "question", "query_text"),
    },
    "pairs": {
        "query_id": (*_QUERY_ID, "question_id"),
        "query": ("query", "question", "anchor", "query_text"),
        "positive": (
            "positive",
            "positives",
            "pos",
            "positive_passages",
            "positive_ctxs",
            "pos_doc",
            "document",
            "doc",
            "passage",
            "answer",
            "response",
        ),
        "positive_id": (
            "positive_id",
            "positive_ids",
            "pos_id",
            "pos_ids",
            "positive_document_ids",
            "doc_id",
            "document_id",
            "corpus_id",
            "corpus-id",
        ),
        "negative": (
            "negative",
            "negatives",
            "neg",
            "hard_negatives",
            "hard_negative",
            "negative_passages",
            "hard_negative_ctxs",
            "neg_doc",
        ),
        "negative_id": ("negative_id", "negative_ids", "neg_id", "neg_ids", "negative_document_ids"),
        "title": ("positive_title",),
        "grade": ("grade", "relevance", "label"),
    },
    "qrels": {
        "query_id": _QUERY_ID,
        "doc_id": ("corpus-id", "corpus_id", "doc_id", "docid", "document_id", "pid"),
        "grade": ("score", "grade", "relevance", "label"),
    },
}
NEEDED = {
    "corpus": ("id", "text"),
    "queries": ("query_id", "query"),
    "pairs": ("query",),
    "qrels": ("query_id", "doc_id", "grade"),
}
EITHER = ("positive", "positive_id")  # of a table of pairs
ROLES = tuple(dict.fromkeys(role for roles in ALIASES.values() for role in roles))
_JSON = json.JSONEncoder(ensure_ascii=False, default=str)
_NUMBERED = re.compile(r"(negative|neg|hard_negative)_?\d+", re.IGNORECASE)


def check_columns(columns: Columns | None) -> Columns:
    """Refuse a role that does not exist.

    Raises:
        SpecError: names the roles that there are.
    """
    for role in columns or {}:
        if role not in ROLES:
            guess = did_you_mean(role, ROLES)
            raise SpecError(f"columns={{{role!r}: …}}: no such role.{guess} Roles: {', '.join(ROLES)}.")
    return columns or {}


def headerless(columns: Columns) -> bool:
    """Columns given by number mean that a CSV or TSV file has no line of names."""
    return any(isinstance(name, int) for name in columns.values())


def find_roles(kind: str, names: Sequence[str], columns: Columns, file: str) -> Roles:
    """The columns for the roles of a corpus, a table of queries, of pairs, or of judgements.

    Args:
        kind: 'corpus', 'queries', 'pairs' or 'qrels'.
        names: the columns that the table has.
        columns: what the caller says; None for a role: do not read it.
        file: what errors name.

    Raises:
        DataError: a column that the caller named is not there, or none is found for a role that is needed.
    """
    roles: Roles = {}
    taken = {str(name) for name in columns.values() if name is not None}
    folded = {name.casefold(): name for name in reversed(names) if name not in taken}
    if "pos_doc" in folded:
        folded.pop("corpus_id", None)  # NeMo's rows name a corpus, not a document
    for role, aliases in ALIASES[kind].items():
        if role in columns:
            wanted = columns[role]
            if wanted is not None:
                roles[role] = [_present(role, str(wanted), names, file)]
            continue
        found = [folded[alias] for alias in aliases if alias in folded]
        numbered = [name for name in names if role == "negative" and _NUMBERED.fullmatch(name)]
        if numbered or found:
            roles[role] = numbered or found[:1]
    for role in NEEDED[kind]:
        if role not in roles:
            raise _missing(kind, role, ALIASES[kind][role], names, file)
    if kind == "pairs" and not any(role in roles for role in EITHER):
        raise _missing(kind, "positive", ALIASES[kind]["positive"], names, file)
    return roles


def cell(block: Block, i: int, column: str) -> Any:
    """A value that must be there.

    Raises:
        DataError: the row lacks the field.
    """
    row = block.rows[i]
    if column not in row:
        message = f"has no field {column!r}; it has: {', '.join(map(repr, row))}."
        raise DataError(message, file=block.file, line=block.lines[i], remedy="Every row needs it.")
    return row[column]


def text_column(block: Block, column: str) -> list[str]:
    """A column of texts, "" for null.

    Raises:
        DataError: a row lacks the field, or holds neither text nor null.
    """
    values = [row.get(column) for row in block.rows]
    if set(map(type, values)) <= {str}:
        return cast(list[str], values)
    return [_text_cell(block, i, column) for i in range(len(values))]


def id_column(block: Block, column: str) -> list[str]:
    """A column of external ids as texts; whole numbers are taken as written.

    Raises:
        DataError: a row lacks the field, or holds neither text nor a whole number, or "".
    """
    values = [row.get(column) for row in block.rows]
    if set(map(type, values)) <= {str} and "" not in values:
        return cast(list[str], values)
    return [id_of(block, i, column, cell(block, i, column)) for i in range(len(values))]


def id_of(block: Block, i: int, column: str, value: Any) -> str:
    """A value of row ``i`` as an external id; see `id_column`."""
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        message = f"{column!r} holds {value!r}, which is no id."
        raise DataError(message, file=block.file, line=block.lines[i], remedy="Ids are texts or whole numbers.")
    return str(value)


def query_column(block: Block, column: str) -> list[str]:
    """A column of query texts.

    Raises:
        DataError: as `text_column`, and where one is empty or blank.
    """
    texts = text_column(block, column)
    for i, text in enumerate(texts):
        if not text or text.isspace():
            remedy = "Remove it or write it out."
            raise DataError("the query is empty.", file=block.file, line=block.lines[i], remedy=remedy)
    return texts


def number_column(block: Block, column: str) -> list[float]:
    """A column of grades.

    Raises:
        DataError: a row lacks the field, or holds no number.
    """
    numbers = []
    for i, line in enumerate(block.lines):
        value = cell(block, i, column)
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if math.isnan(number):
            remedy = "Grades are numbers; pass columns={'grade': None} if the column of pairs means something else."
            message = f"the grade {value!r} in {column!r} is no number."
            raise DataError(message, file=block.file, line=line, remedy=remedy)
        numbers.append(number)
    return numbers


def metadata_of(row: Row, used: frozenset[str]) -> str:
    """The columns without a role as one JSON object, with those of a ``metadata`` column; "" for none."""
    extra = {name: value for name, value in row.items() if name not in used and value is not None and value != ""}
    inner = extra.get("metadata")
    if isinstance(inner, Mapping):
        del extra["metadata"]
        extra.update(inner)
    return _JSON.encode(extra) if extra else ""


def _text_cell(block: Block, i: int, column: str) -> str:
    value = cell(block, i, column)
    if value is None or isinstance(value, str):
        return value or ""
    message = f"{column!r} holds {type(value).__name__} {str(value)[:40]!r}, not text."
    raise DataError(message, file=block.file, line=block.lines[i], remedy="Name the column of texts with columns=….")


def used_columns(roles: Roles) -> frozenset[str]:
    """All columns that have a role."""
    return frozenset(name for names in roles.values() for name in names)


def _present(role: str, wanted: str, names: Sequence[str], file: str) -> str:
    if wanted in names:
        return wanted
    have = ", ".join(map(repr, names)) or "none"
    guess = did_you_mean(wanted, names)
    raise DataError(f"no column {wanted!r} for {role!r}. It has: {have}.{guess}", file=file)


def _missing(kind: str, role: str, aliases: Sequence[str], names: Sequence[str], file: str) -> DataError:
    near = next((name for name in names if did_you_mean(name, aliases)), None)
    what = "documents" if kind == "corpus" else kind
    have = ", ".join(map(repr, names)) or "none"
    message = f"no column for the {role!r} of the {what} (known names: {', '.join(aliases)}). It has: {have}."
    guess = f"Did you mean {near!r}? Then pass" if near else "Name it with"
    named = f"columns={{{role!r}: {near or '…'!r}}} (foils import --columns {role}={near or '…'})"
    return DataError(message, file=file, remedy=f"{guess} {named}.")
