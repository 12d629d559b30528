"""The columns of each format: units and a collection in, Arrow tables out, one part at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from foils.core.collection import Collection
from foils.core.texts import Texts
from foils.export.units import Ints, Per, Units

Format = Literal["triplet", "n-tuple", "labeled-pair", "labeled-list", "ids", "jsonl"]
PART = 1 << 25  # characters of text that are joined at a time


@dataclass(frozen=True)
class Layout:
    """A format: its columns and how it is made.

    Attributes:
        per: what a unit is, where the caller does not say.
        fixed: whether ``per`` cannot be anything else.
        columns: (units, collection, number of negatives, with scores) -> table.
        repeats_query: whether the query's text is repeated for each negative.
    """

    per: Per
    fixed: bool
    columns: Callable[[Units, Collection, int, bool], pa.Table]
    repeats_query: bool = False


def tables(layout: Layout, units: Units, data: Collection, k: int, scored: bool) -> Iterator[pa.Table]:
    """The rows of a format, a part at a time; always at least one table, if an empty one.

    Args:
        layout: the format.
        units: in the order of the rows.
        data: gives texts and ids.
        k: negatives in an n-tuple.
        scored: whether scores are written.
    """
    if not len(units):
        yield layout.columns(units, data, k, scored)
    for part in units.parts(_characters(units, data, repeated=layout.repeats_query), PART):
        yield layout.columns(part, data, k, scored)


def side_tables(texts: Texts, rows: NDArray[np.integer], name: str) -> Iterator[pa.Table]:
    """``<name>_id`` and ``text`` of the given rows, a part at a time."""
    total = np.cumsum(texts.lengths[rows], dtype=np.int64)
    bounds = np.searchsorted(total, np.arange(0, int(total[-1]) if len(total) else 0, PART)[1:])
    for part in np.split(rows, np.unique(bounds)):
        ids, text = (pa.array(column, pa.string()) for column in (texts.id_list(part), texts.texts(part)))
        yield pa.table({f"{name}_id": ids, "text": text})


def _characters(units: Units, data: Collection, *, repeated: bool) -> Ints:
    """Characters that each unit's rows hold."""
    running = np.concatenate([[0], np.cumsum(data.corpus.lengths[units.doc], dtype=np.int64)])
    positive, negative = (running[span[:, 1]] - running[span[:, 0]] for span in (units.positive, units.negative))
    alone = data.queries.lengths[units.query] + positive
    total: Ints = negative + alone * (units.sizes if repeated else 1)
    return total + 1


def _triplet(units: Units, data: Collection, k: int, scored: bool) -> pa.Table:
    negative, _ = units.negatives()
    positive = np.repeat(units.positive[:, 0], units.sizes)
    place = np.stack([positive, negative], axis=1)
    columns = {
        "query": _texts(data.queries, np.repeat(units.query, units.sizes)),
        **_abreast(data.corpus, units.doc[place], ["positive", "negative"]),
    }
    if scored:
        columns["scores"] = _lists(units.score[place])
    return pa.table(columns)


def _tuple(units: Units, data: Collection, k: int, scored: bool) -> pa.Table:
    place = np.concatenate([units.positive[:, :1], units.negative[:, :1] + np.arange(k)], axis=1)
    absent = np.arange(k + 1) > units.sizes[:, None]  # column 0 is the positive
    place = np.where(absent, units.positive[:, :1], place)
    names = ["positive", *(f"negative_{i + 1}" for i in range(k))]
    columns = {
        "query": _texts(data.queries, units.query),
        **_abreast(data.corpus, units.doc[place], names, absent),
    }
    if scored:
        columns["scores"] = _lists(units.score[place], absent)
    return pa.table(columns)


def _pair(units: Units, data: Collection, k: int, scored: bool) -> pa.Table:
    place, offsets, label = units.members()
    return pa.table(
        {
            "query": _texts(data.queries, np.repeat(units.query, np.diff(offsets))),
            "document": _texts(data.corpus, units.doc[place]),
            # A label and a score together would be read as two labels.
            **({"score": pa.array(units.score[place])} if scored else {"label": pa.array(label)}),
        }
    )


def _list(units: Units, data: Collection, k: int, scored: bool) -> pa.Table:
    place, offsets, label = units.members()
    return pa.table(
        {
            "query": _texts(data.queries, units.query),
            "documents": _ragged(_texts(data.corpus, units.doc[place]), offsets),
            **_marks(units, place, offsets, label, scored),
        }
    )


def _ids(units: Units, data: Collection, k: int, scored: bool) -> pa.Table:
    place, offsets, label = units.members()
    return pa.table(
        {
            "query_id": _strings(data.queries.id_list, units.query),
            "document_ids": _ragged(_strings(data.corpus.id_list, units.doc[place]), offsets),
            **_marks(units, place, offsets, label, scored),
        }
    )


def _flag(units: Units, data: Collection, k: int, scored: bool) -> pa.Table:
    columns = {"query": _texts(data.queries, units.query)}
    sides = {"pos": units.positives(), "neg": units.negatives()}
    for name, (place, offsets) in sides.items():
        columns[name] = _ragged(_texts(data.corpus, units.doc[place]), offsets)
    if scored:
        for name, (place, offsets) in sides.items():
            columns[f"{name}_scores"] = _ragged(pa.array(units.score[place]), offsets)
    return pa.table(columns)


LAYOUTS: dict[Format, Layout] = {
    "triplet": Layout("positive", True, _triplet, repeats_query=True),
    "n-tuple": Layout("positive", True, _tuple),
    "labeled-pair": Layout("query", True, _pair, repeats_query=True),
    "labeled-list": Layout("positive", False, _list),
    "ids": Layout("positive", False, _ids),
    "jsonl": Layout("query", False, _flag),
}


def _marks(units: Units, place: Ints, offsets: Ints, label: NDArray[np.int8], scored: bool) -> dict[str, pa.ListArray]:
    return {"scores" if scored else "labels": _ragged(pa.array(units.score[place] if scored else label), offsets)}


def _texts(texts: Texts, rows: NDArray[np.integer], absent: NDArray[np.bool_] | None = None) -> pa.Array:
    return _strings(texts.texts, rows, absent)


def _abreast(
    texts: Texts, rows: NDArray[np.integer], names: list[str], absent: NDArray[np.bool_] | None = None
) -> dict[str, pa.Array]:
    """The texts of a matrix of rows, a column for each name."""
    flat = _texts(texts, rows.ravel(order="F"), None if absent is None else absent.ravel(order="F"))
    return {name: flat.slice(i * len(rows), len(rows)) for i, name in enumerate(names)}


def _strings(
    lookup: Callable[[NDArray[np.integer]], list[str]],
    rows: NDArray[np.integer],
    absent: NDArray[np.bool_] | None = None,
) -> pa.Array:
    # Each distinct text passes through Python once; Arrow repeats it.
    distinct, at = np.unique(rows, return_inverse=True)
    return pa.array(lookup(distinct), pa.string()).take(pa.array(at.reshape(-1), mask=absent))


def _ragged(values: pa.Array, offsets: Ints) -> pa.ListArray:
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values)


def _lists(matrix: NDArray[np.float32], absent: NDArray[np.bool_] | None = None) -> pa.ListArray:
    values = pa.array(matrix.reshape(-1), mask=None if absent is None else absent.reshape(-1))
    return _ragged(values, np.arange(len(matrix) + 1) * matrix.shape[1])
