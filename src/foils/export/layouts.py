"""The columns of each format: units and a collection in, Arrow tables out, one part at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from foils.core.collection import Collection
from foils.core.ragged import places
from foils.core.texts import Texts
from foils.export import arrays
from foils.export.units import Ints, Per, Units

Format = Literal[
    "triplet",
    "n-tuple",
    "labeled-pair",
    "labeled-list",
    "ids",
    "jsonl",
    "flag-embedding",
    "tevatron",
    "tevatron-ids",
    "nemo",
    "pylate",
    "trec",
]
PART = 1 << 25  # characters of text that are joined at a time


class Side(NamedTuple):
    """A table of ids and texts beside the rows.

    Attributes:
        of: whose texts.
        id: its column of ids; the other is ``text``.
        path: file in the folder.
    """

    of: Literal["query", "document"]
    id: str
    path: str


@dataclass(frozen=True)
class Layout:
    """A format: its columns and how it is made.

    Attributes:
        per: what a unit is, where the caller does not say.
        fixed: whether ``per`` cannot be anything else.
        columns: (units, collection, number of negatives, with scores) -> table.
        repeats_query: whether the query's text is repeated for each negative.
        even: whether all rows must have the same number of negatives.
        main: where rows hold ids: the file of the rows in a folder.
        sides: where rows hold ids: the tables beside them.
    """

    per: Per
    fixed: bool
    columns: Callable[[Units, Collection, int, bool], pa.Table]
    repeats_query: bool = False
    even: bool = False
    main: str | None = None
    sides: Mapping[str, Side] = field(default_factory=dict)

    def paths(self) -> dict[str, str]:
        """The file of each table in a folder; the rows are the table ``train``."""
        return {"train": self.main or "", **{name: side.path for name, side in self.sides.items()}}


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


def side_tables(texts: Texts, rows: NDArray[np.integer], id_column: str) -> Iterator[pa.Table]:
    """Ids and ``text`` of the given rows, a part at a time."""
    total = np.cumsum(texts.lengths[rows], dtype=np.int64)
    bounds = np.searchsorted(total, np.arange(0, int(total[-1]) if len(total) else 0, PART)[1:])
    for part in np.split(rows, np.unique(bounds)):
        ids, text = (pa.array(column, pa.string()) for column in (texts.id_list(part), texts.texts(part)))
        yield pa.table({id_column: ids, "text": text})


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
        "query": arrays.texts(data.queries, np.repeat(units.query, units.sizes)),
        **arrays.abreast(data.corpus, units.doc[place], ["positive", "negative"]),
    }
    if scored:
        columns["scores"] = arrays.lists(units.score[place])
    return pa.table(columns)


def _tuple(units: Units, data: Collection, k: int, scored: bool) -> pa.Table:
    place = np.concatenate([units.positive[:, :1], units.negative[:, :1] + np.arange(k)], axis=1)
    absent = np.arange(k + 1) > units.sizes[:, None]  # column 0 is the positive
    place = np.where(absent, units.positive[:, :1], place)
    names = ["positive", *(f"negative_{i + 1}" for i in range(k))]
    columns = {
        "query": arrays.texts(data.queries, units.query),
        **arrays.abreast(data.corpus, units.doc[place], names, absent),
    }
    if scored:
        columns["scores"] = arrays.lists(units.score[place], absent)
    return pa.table(columns)


def _pair(units: Units, data: Collection, k: int, scored: bool) -> pa.Table:
    place, offsets, label = units.members()
    return pa.table(
        {
            "query": arrays.texts(data.queries, np.repeat(units.query, np.diff(offsets))),
            "document": arrays.texts(data.corpus, units.doc[place]),
            # A label and a score together would be read as two labels.
            **({"score": pa.array(units.score[place])} if scored else {"label": pa.array(label)}),
        }
    )


def _list(units: Units, data: Collection, k: int, scored: bool) -> pa.Table:
    place, offsets, label = units.members()
    return pa.table(
        {
            "query": arrays.texts(data.queries, units.query),
            "documents": arrays.ragged(arrays.texts(data.corpus, units.doc[place]), offsets),
            **arrays.marks(units, place, offsets, label, scored),
        }
    )


def _ids(units: Units, data: Collection, k: int, scored: bool) -> pa.Table:
    place, offsets, label = units.members()
    return pa.table(
        {
            "query_id": arrays.strings(data.queries.id_list, units.query),
            "document_ids": arrays.ragged(arrays.strings(data.corpus.id_list, units.doc[place]), offsets),
            **arrays.marks(units, place, offsets, label, scored),
        }
    )


def _flag(units: Units, data: Collection, k: int, scored: bool) -> pa.Table:
    columns = {"query": arrays.texts(data.queries, units.query)}
    sides = {"pos": units.positives(), "neg": units.negatives()}
    for name, (place, offsets) in sides.items():
        columns[name] = arrays.ragged(arrays.texts(data.corpus, units.doc[place]), offsets)
    if scored:
        for name, (place, offsets) in sides.items():
            columns[f"{name}_scores"] = arrays.ragged(pa.array(units.score[place]), offsets)
    return pa.table(columns)


def _tevatron(units: Units, data: Collection, k: int, scored: bool) -> pa.Table:
    def passages(place: Ints, offsets: Ints) -> pa.ListArray:
        rows = units.doc[place]
        # The title is part of the text: a passage with a title field gets a blank before its text where it is empty.
        columns = {"docid": arrays.strings(data.corpus.id_list, rows), "text": arrays.texts(data.corpus, rows)}
        return arrays.structs(columns, units, place, offsets, scored)

    return pa.table(
        {
            "query_id": arrays.strings(data.queries.id_list, units.query),
            "query": arrays.texts(data.queries, units.query),
            "positive_passages": passages(*units.positives()),
            "negative_passages": passages(*units.negatives()),
        }
    )


def _tevatron_ids(units: Units, data: Collection, k: int, scored: bool) -> pa.Table:
    columns = {
        "query_id": arrays.strings(data.queries.id_list, units.query),
        "query_text": arrays.texts(data.queries, units.query),
    }
    sides = {"positive": units.positives(), "negative": units.negatives()}
    for name, (place, offsets) in sides.items():
        columns[f"{name}_document_ids"] = arrays.ragged(arrays.strings(data.corpus.id_list, units.doc[place]), offsets)
    if scored:
        for name, (place, offsets) in sides.items():
            columns[f"{name}_scores"] = arrays.ragged(pa.array(units.score[place]), offsets)
    return pa.table(columns)


def _nemo(units: Units, data: Collection, k: int, scored: bool) -> pa.Table:
    def documents(place: Ints, offsets: Ints) -> pa.ListArray:
        return arrays.structs(
            {"id": arrays.strings(data.corpus.id_list, units.doc[place])}, units, place, offsets, scored
        )

    return pa.table(
        {
            "question_id": arrays.strings(data.queries.id_list, units.query),
            "question": arrays.texts(data.queries, units.query),
            "corpus_id": pa.array([data.name] * len(units), pa.string()),
            "pos_doc": documents(*units.positives()),
            "neg_doc": documents(*units.negatives()),
        }
    )


def _run(units: Units, data: Collection, k: int, scored: bool) -> pa.Table:
    place, offsets = units.negatives()
    rank = places(offsets) + 1
    return pa.table(
        {
            "query_id": arrays.strings(data.queries.id_list, np.repeat(units.query, units.sizes)),
            "doc_id": arrays.strings(data.corpus.id_list, units.doc[place]),
            "rank": pa.array(rank),
            "score": pa.array(units.score[place] if scored else (1 / rank).astype(np.float32)),
        }
    )


_ID_TABLES = {
    "queries": Side("query", "query_id", "queries.parquet"),
    "documents": Side("document", "document_id", "documents.parquet"),
}
LAYOUTS: dict[Format, Layout] = {
    "triplet": Layout("positive", True, _triplet, repeats_query=True),
    "n-tuple": Layout("positive", True, _tuple, even=True),
    "labeled-pair": Layout("query", True, _pair, repeats_query=True),
    "labeled-list": Layout("positive", False, _list),
    "ids": Layout("positive", False, _ids, main="train.parquet", sides=_ID_TABLES),
    "jsonl": Layout("query", False, _flag),
    "flag-embedding": Layout("query", False, _flag),
    "tevatron": Layout("query", False, _tevatron),
    "tevatron-ids": Layout(
        "query", False, _tevatron_ids, main="train.jsonl", sides={"corpus": Side("document", "docid", "corpus.jsonl")}
    ),
    "nemo": Layout(
        "query", False, _nemo, main="train.json", sides={"corpus": Side("document", "id", "corpus/train.parquet")}
    ),
    "pylate": Layout("positive", True, _ids, even=True, main="train.parquet", sides=_ID_TABLES),
    "trec": Layout("query", True, _run),
}
