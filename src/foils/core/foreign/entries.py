"""The rows of a table of negatives as flat columns: for each document its row, label, id, text and score."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from foils.core.columns import ALIASES, find_roles, id_of, text_column
from foils.core.errors import DataError
from foils.core.foreign.layouts import DOCUMENT, QUERY, Signature
from foils.core.pair_tables import DOC_ID_FIELDS
from foils.core.tables import Block
from foils.core.text import shown

POSITIVE, NEGATIVE = 1, 0


class Entries(NamedTuple):
    """Documents listed by a block of rows.

    Attributes:
        row: row in the block of each, int64 (n,), ascending.
        label: 1 positive, 0 negative, int8 (n,).
        ids: "" where there is none.
        texts: what an encoder sees; "" where there is only an id.
        score: float32 (n,), NaN where it is null, or None where the rows have no scores.
        told: whether the rows say which documents are positives.
    """

    row: NDArray[np.int64]
    label: NDArray[np.int8]
    ids: list[str]
    texts: list[str]
    score: NDArray[np.float32] | None
    told: bool


class _Part(NamedTuple):
    """The values of some columns, row after row."""

    row: NDArray[np.int64]
    ids: list[str]
    texts: list[str]
    score: NDArray[np.float32] | None


def queries_of(block: Block) -> tuple[list[str], list[str]]:
    """Ids and texts of the queries of a block, "" for none.

    Raises:
        DataError: a query that is no text, an id that is none.
    """
    text, name = _named(block, QUERY), _named(block, ALIASES["pairs"]["query_id"])
    blank = [""] * len(block.rows)
    ids = blank
    if name is not None:
        held = [row.get(name) for row in block.rows]
        ids = ["" if value is None else id_of(block, i, name, value) for i, value in enumerate(held)]
    return ids, (text_column(block, text) if text else blank)


def entries_of(block: Block, layout: Signature) -> Entries:
    """The documents that a block lists.

    Raises:
        DataError: a value that is no document, or scores and documents that do not go together.
    """
    marked = layout.name in ("ids", "labeled-list", "labeled-pair")
    return _marked(block, layout) if marked else _sides(block)


def _sides(block: Block) -> Entries:
    """Positives and negatives in columns of their own."""
    roles = find_roles("pairs", [*block.names, "query"], {}, block.file)
    parts = []
    for kind in ("positive", "negative"):
        ids, texts = roles.get(f"{kind}_id", []), roles.get(kind, [])
        part = _joined([_column(block, name, False) for name in texts] or [_column(block, name, True) for name in ids])
        if ids and texts:
            part = _identified(block, part, _column(block, ids[0], True), ids[0])
        scores = _named(block, (f"{kind[:3]}_scores", f"{kind}_scores"))
        parts.append(part if scores is None else part._replace(score=_scores(block, scores, part.row)))
    row = np.concatenate([part.row for part in parts])
    order = np.argsort(row, kind="stable")  # the positives of a row come before its negatives
    label = np.repeat(np.array([POSITIVE, NEGATIVE], np.int8), [len(part.row) for part in parts])
    given = [part.score for part in parts]
    score = None
    if any(values is not None for values in given):
        blank = [np.full(len(part.row), np.nan, np.float32) for part in parts]
        score = np.concatenate([b if v is None else v for v, b in zip(given, blank, strict=True)])[order]
    elif (name := _named(block, ("scores", "score"))) is not None:
        score = _scores(block, name, row[order])
    ids, texts = _in_order(parts, order)
    return Entries(row[order], label[order], ids, texts, score, True)


def _marked(block: Block, layout: Signature) -> Entries:
    """One column of documents, and their labels or scores."""
    names = {"ids": ("document_ids",), "labeled-list": ("documents",), "labeled-pair": DOCUMENT}[layout.name]
    column = _named(block, names) or names[0]
    part = _column(block, column, column.casefold().endswith(("_id", "_ids")))
    labels, scores = _named(block, ("labels", "label")), _named(block, ("scores", "score"))
    score = None if scores is None else _scores(block, scores, part.row)
    if labels is not None:
        label = (_scores(block, labels, part.row) > 0).astype(np.int8)
    else:
        # sentence-transformers writes the positive first; a single document may be anything.
        first = np.concatenate([[True], part.row[1:] != part.row[:-1]]) if len(part.row) else np.zeros(0, bool)
        label = (first & (layout.name != "labeled-pair")).astype(np.int8)
    return Entries(part.row, label, part.ids, part.texts, score, labels is not None)


def _named(block: Block, aliases: Sequence[str]) -> str | None:
    folded = {name.casefold(): name for name in reversed(block.names)}
    return next((folded[alias] for alias in aliases if alias in folded), None)


def _lists(block: Block, column: str) -> tuple[NDArray[np.int64], list[Any]]:
    """The values of a column of values or lists, row after row, with the row of each; null is no value."""
    held = [row.get(column) for row in block.rows]
    if any(isinstance(value, str) and value.startswith("[") for value in held[:1]) and column.endswith("s"):
        held = [_parsed(block, i, column, value) for i, value in enumerate(held)]
    lists = [value if isinstance(value, list) else _several(value) for value in held]
    row = np.repeat(np.arange(len(lists)), np.fromiter(map(len, lists), np.int64, len(lists)))
    return row, list(itertools.chain.from_iterable(lists))


def _several(value: Any) -> list[Any]:
    """A single value as a list; lists by system, as msmarco-hard-negatives has them, as one list without repeats."""
    if value is None:
        return []
    if isinstance(value, Mapping) and value and all(isinstance(held, list) for held in value.values()):
        return list(dict.fromkeys(itertools.chain.from_iterable(value.values())))
    return [value]


def _parsed(block: Block, i: int, column: str, value: Any) -> Any:
    """A list that is written as text, as some data sets of the hub do."""
    try:
        return ast.literal_eval(value) if isinstance(value, str) else value
    except (ValueError, SyntaxError):
        message = f"{column!r} holds {value[:40]!r}, which looks like a list but is none."
        raise DataError(message, file=block.file, line=block.lines[i], remedy="Write a JSON list.") from None


def _column(block: Block, column: str, as_ids: bool) -> _Part:
    row, values = _lists(block, column)
    if type(None) in set(map(type, values)):
        kept = [i for i, value in enumerate(values) if value is not None]
        row, values = row[kept], [values[i] for i in kept]
    if set(map(type, values)) <= {str}:
        blank = [""] * len(values)
        return _Part(row, values, blank, None) if as_ids else _Part(row, blank, values, None)
    found = [_document(block, i, column, value, as_ids) for i, value in zip(row.tolist(), values, strict=True)]
    ids, texts, scores = (list(column) for column in zip(*found, strict=True)) if found else ([], [], [])
    scored = any(isinstance(value, Mapping) and "score" in value for value in values)
    return _Part(row, ids, texts, _numbers(block, row, scores, column) if scored else None)


def _document(block: Block, i: int, column: str, value: Any, as_ids: bool) -> tuple[str, str, Any]:
    if isinstance(value, str) and not as_ids:
        return "", value, None
    if isinstance(value, str | int) and not isinstance(value, bool):
        return str(value), "", None
    if isinstance(value, Mapping):
        name = next((str(value[field]) for field in DOC_ID_FIELDS if value.get(field) not in (None, "")), "")
        text, title = value.get("text"), value.get("title")
        if name or isinstance(text, str):
            title = title if isinstance(title, str) else ""
            return name, shown(title, text) if isinstance(text, str) else "", value.get("score")
    message = f"{column!r} holds {type(value).__name__} {str(value)[:40]!r}, which is no document."
    remedy = "A document is a text, an id, or an object with a 'text' or an 'id'; or a list of these."
    raise DataError(message, file=block.file, line=block.lines[i], remedy=remedy)


def _joined(parts: list[_Part]) -> _Part:
    """Several columns of a block, row after row; in a row, in the order of the columns."""
    if len(parts) == 1:
        return parts[0]
    if not parts:
        return _Part(np.zeros(0, np.int64), [], [], None)
    row = np.concatenate([part.row for part in parts])
    order = np.argsort(row, kind="stable")
    ids, texts = _in_order(parts, order)
    return _Part(row[order], ids, texts, None)


def _in_order(parts: list[_Part], order: NDArray[np.int64]) -> tuple[list[str], list[str]]:
    places = order.tolist()
    ids = list(itertools.chain.from_iterable(part.ids for part in parts))
    texts = list(itertools.chain.from_iterable(part.texts for part in parts))
    return [ids[i] for i in places], [texts[i] for i in places]


def _identified(block: Block, part: _Part, ids: _Part, column: str) -> _Part:
    """Documents given by text, with the ids in another column."""
    _matched(block, ids.row, part.row, f"{column!r} does not hold one id for each text.")
    return part._replace(ids=ids.ids)


def _scores(block: Block, column: str, row: NDArray[np.int64]) -> NDArray[np.float32]:
    """A column of numbers, one for each document."""
    own, values = _lists(block, column)
    if len(own) != len(row) or not np.array_equal(own, row):
        # An n-tuple that was filled up with nulls has null scores as well.
        kept = [i for i, value in enumerate(values) if value is not None]
        own, values = own[kept], [values[i] for i in kept]
        _matched(block, own, row, f"{column!r} does not hold one number for each document.")
    return _numbers(block, row, values, column)


def _numbers(block: Block, row: NDArray[np.int64], values: Sequence[Any], column: str) -> NDArray[np.float32]:
    try:
        return np.array(values, np.float64).astype(np.float32)  # None becomes NaN
    except (TypeError, ValueError):
        for i, value in zip(row.tolist(), values, strict=True):
            if value is not None and not isinstance(value, int | float):
                message = f"{column!r} holds {value!r}, which is no number."
                raise DataError(message, file=block.file, line=block.lines[i], remedy="Write a number.") from None
        raise


def _matched(block: Block, own: NDArray[np.int64], row: NDArray[np.int64], message: str) -> None:
    counts = [np.bincount(side, minlength=len(block.rows)) for side in (own, row)]
    for i in np.flatnonzero(counts[0] != counts[1])[:1].tolist():
        message += f" It holds {counts[0][i]}, but the row lists {counts[1][i]}."
        raise DataError(message, file=block.file, line=block.lines[i], remedy="Complete it, or leave the column out.")
