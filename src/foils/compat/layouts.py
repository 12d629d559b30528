"""The four output formats as Arrow tables, texts copied by Arrow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from foils.compat.arguments import Format, Names
from foils.compat.choosing import Chosen
from foils.compat.texts import Pairs

_PART = 1 << 28  # bytes of text that a part of the result holds at most: Arrow's strings end at 2 GiB

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Rows:
    """The negatives of some queries, beside each of their positives.

    Attributes:
        pairs: the texts.
        names: of the two columns.
        scored: whether scores are written.
        query: of each (query, positive), (n,).
        positive: document of each, (n,).
        negative: documents, (n, k); -1 where there are fewer.
        scores: positive's score, then the negatives', float32 (n, 1 + k).
    """

    pairs: Pairs
    names: Names
    scored: bool
    query: Ints
    positive: Ints
    negative: Ints
    scores: NDArray[np.float32]

    @property
    def present(self) -> NDArray[np.bool_]:
        """Which negatives there are, (n, k)."""
        return self.negative >= 0

    def take(self, rows: NDArray[np.integer]) -> Rows:
        """Some of them."""
        return Rows(
            self.pairs,
            self.names,
            self.scored,
            self.query[rows],
            self.positive[rows],
            self.negative[rows],
            self.scores[rows],
        )

    def anchors(self, query: Ints) -> pa.StringArray:
        """Texts of queries."""
        return self.pairs.queries.take(pa.array(query)).cast(pa.string())

    def texts(self, doc: Ints) -> pa.StringArray:
        """Texts of documents."""
        return self.pairs.docs.take(pa.array(doc)).cast(pa.string())


def table(format: Format, pairs: Pairs, chosen: Chosen, names: Names, scored: bool) -> pa.Table:
    """The result in a format, its rows in the order of the queries, then of their positives."""
    query = pairs.owner.astype(np.int64)
    scores = np.concatenate([chosen.positives[:, None], chosen.scores[query]], axis=1)
    rows = Rows(
        pairs, names, scored, query, pairs.positive.astype(np.int64), chosen.rows[query].astype(np.int64), scores
    )
    return pa.concat_tables([_LAYOUTS[format](part) for part in _parts(rows)])


def _parts(rows: Rows) -> Iterator[Rows]:
    """Runs of whole queries that hold no more text than a part may."""
    lengths = [np.diff(np.frombuffer(_offsets(texts), np.int64)) for texts in (rows.pairs.queries, rows.pairs.docs)]
    k = rows.negative.shape[1]
    found = np.where(rows.present, lengths[1][rows.negative], 0).sum(axis=1)
    most = np.cumsum(found + (k + 1) * (lengths[0][rows.query] + lengths[1][rows.positive]))
    part = most // _PART
    part = np.maximum.reduceat(part, np.flatnonzero(np.r_[True, rows.query[1:] != rows.query[:-1]]))
    for number in np.unique(part):
        yield rows.take(np.flatnonzero(np.repeat(part, rows.pairs.counts) == number))


def _offsets(texts: pa.LargeStringArray) -> memoryview:
    return memoryview(texts.buffers()[1])[texts.offset * 8 : (texts.offset + len(texts) + 1) * 8]


def _triplets(rows: Rows) -> pa.Table:
    at, place = np.nonzero(rows.present)
    columns = {
        rows.names.anchor: rows.anchors(rows.query[at]),
        rows.names.positive: rows.texts(rows.positive[at]),
        "negative": rows.texts(rows.negative[at, place]),
    }
    if rows.scored:
        columns["scores"] = _lists(np.stack([rows.scores[at, 0], rows.scores[at, place + 1]], axis=1))
    return pa.table(columns)


def _tuples(rows: Rows) -> pa.Table:
    full = rows.take(np.flatnonzero(rows.present.all(axis=1)))
    columns = {
        rows.names.anchor: full.anchors(full.query),
        rows.names.positive: full.texts(full.positive),
        **{f"negative_{i}": full.texts(column) for i, column in enumerate(full.negative.T, start=1)},
    }
    if rows.scored:
        columns["scores"] = _lists(full.scores)
    return pa.table(columns)


def _labeled_pairs(rows: Rows) -> pa.Table:
    """A query's positives, then its negatives: each document once."""
    first = np.r_[True, rows.query[1:] != rows.query[:-1]]
    # Rows in the order: a query's positives one after the other, and after the last of them its negatives.
    last = np.r_[first[1:], True]
    doc = np.concatenate([rows.positive[:, None], np.where(last[:, None], rows.negative, -1)], axis=1)
    at, place = np.nonzero(doc >= 0)
    columns = {rows.names.anchor: rows.anchors(rows.query[at]), rows.names.positive: rows.texts(doc[at, place])}
    if rows.scored:
        columns["score"] = pa.array(rows.scores[at, place].astype(np.float64))
    else:
        columns["label"] = pa.array((place == 0).astype(np.int64))
    return pa.table(columns)


def _labeled_lists(rows: Rows) -> pa.Table:
    some = rows.take(np.flatnonzero(rows.present.any(axis=1)))
    doc = np.concatenate([some.positive[:, None], some.negative], axis=1)
    at, place = np.nonzero(doc >= 0)
    offsets = pa.array(np.concatenate([[0], np.cumsum((doc >= 0).sum(axis=1))]), pa.int32())
    marks = some.scores[at, place].astype(np.float64) if rows.scored else (place == 0).astype(np.int64)
    return pa.table(
        {
            rows.names.anchor: some.anchors(some.query),
            rows.names.positive: pa.ListArray.from_arrays(offsets, some.texts(doc[at, place])),
            "scores" if rows.scored else "labels": pa.ListArray.from_arrays(offsets, pa.array(marks)),
        }
    )


def _lists(matrix: NDArray[np.float32]) -> pa.ListArray:
    offsets = pa.array(np.arange(len(matrix) + 1) * matrix.shape[1], pa.int32())
    return pa.ListArray.from_arrays(offsets, pa.array(matrix.ravel().astype(np.float64)))


_LAYOUTS: dict[Format, Callable[[Rows], pa.Table]] = {
    "triplet": _triplets,
    "n-tuple": _tuples,
    "labeled-pair": _labeled_pairs,
    "labeled-list": _labeled_lists,
}
