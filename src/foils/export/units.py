"""From pairs to units: a query, one positive (or all of them), and its negatives, as slices of flat arrays.

Everything is row numbers here. A unit becomes a triplet for each of its negatives, one n-tuple, or one list.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from foils.core import segments
from foils.core.pairs import POSITIVE, Pairs
from foils.core.ragged import expand, slices

Per = Literal["positive", "query"]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Units:
    """Units over flat arrays of documents. The documents of a query lie together: positives, then negatives.

    Attributes:
        doc: document rows, int32 (n,).
        score: score of each of them with its query, float32 (n,); zeros where none is asked for.
        query: query row of each unit, int32 (units,).
        positive: start and stop of its positives in ``doc``, int64 (units, 2).
        negative: start and stop of its negatives in ``doc``, int64 (units, 2); the hardest comes first.
    """

    doc: NDArray[np.int32]
    score: NDArray[np.float32]
    query: NDArray[np.int32]
    positive: Ints
    negative: Ints

    def __len__(self) -> int:
        return len(self.query)

    def __getitem__(self, part: slice | NDArray[np.bool_]) -> Units:
        return replace(self, query=self.query[part], positive=self.positive[part], negative=self.negative[part])

    @property
    def sizes(self) -> Ints:
        """Number of negatives of each unit, int64 (units,)."""
        sizes: Ints = self.negative[:, 1] - self.negative[:, 0]
        return sizes

    def used(self) -> NDArray[np.bool_]:
        """Which places of ``doc`` belong to some unit, bool (n,)."""
        edges = np.zeros(len(self.doc) + 1, np.int64)
        for span in (self.positive, self.negative):
            np.add.at(edges, span[:, 0], 1)
            np.add.at(edges, span[:, 1], -1)
        inside: NDArray[np.bool_] = np.cumsum(edges[:-1]) > 0
        return inside

    def positives(self) -> tuple[Ints, Ints]:
        """Places of all positives in ``doc``, and the offset of each unit among them."""
        return ragged(self.positive[:, 0], self.positive[:, 1])

    def negatives(self) -> tuple[Ints, Ints]:
        """Places of all negatives in ``doc``, and the offset of each unit among them."""
        return ragged(self.negative[:, 0], self.negative[:, 1])

    def members(self) -> tuple[Ints, Ints, NDArray[np.int8]]:
        """Places of all documents, each unit's positives before its negatives; the units' offsets; the labels."""
        leading = self.positive[:, 1] - self.positive[:, 0]
        counts = leading + self.sizes
        place, offsets = ragged(np.zeros(len(self), np.int64), counts)
        first, lead = np.repeat(self.positive[:, 0], counts), np.repeat(leading, counts)
        second = np.repeat(self.negative[:, 0], counts)
        is_positive = place < lead
        return np.where(is_positive, first + place, second + place - lead), offsets, is_positive.astype(np.int8)

    def parts(self, cost: NDArray[np.integer], budget: int) -> Iterator[Units]:
        """Runs of units whose costs sum to at most ``budget``; a unit that costs more is a part of its own.

        Args:
            cost: of each unit, (units,), at least 0.
            budget: at least 1.
        """
        for part in slices(cost, budget):
            yield self[part]


def units_of(pairs: Pairs, by: str | None, per: Per, k: int | None) -> Units:
    """Make units of the positives and negatives that are kept.

    Negatives are in the order of ``by`` (else of the latest score, else of their rows), best first.

    Args:
        pairs: positives (label 1) and negatives (label 0).
        by: score column to carry along, or None.
        per: a unit for each (query, positive), or for each query.
        k: at most so many negatives a unit; None for all.

    Returns:
        Units in the order of queries, then positives. Units may lack negatives; queries without a positive have none.
    """
    column = by if by is not None else pairs.latest
    strength = np.zeros(len(pairs), np.float32) if column is None else np.nan_to_num(pairs[column], nan=-np.inf)
    negative = pairs.label != POSITIVE
    # Positives stay in the order of rows, negatives go by score: the first key of positives is the same for all.
    order = np.lexsort((pairs.doc, np.where(negative, -strength, 0.0), negative, pairs.query))
    starts = pairs.starts
    middle = starts[:-1] + segments.count(~negative, starts)
    stop = starts[1:] if k is None else np.minimum(starts[1:], middle + k)
    slices = np.stack([starts[:-1], middle, middle, stop], axis=1)
    query = pairs.queries
    if per == "positive":
        counts = middle - starts[:-1]
        first, _ = ragged(starts[:-1], middle)
        slices, query = np.repeat(slices, counts, axis=0), np.repeat(query, counts)
        slices[:, 0], slices[:, 1] = first, first + 1
    else:
        has = slices[:, 1] > slices[:, 0]
        slices, query = slices[has], query[has]
    score = np.zeros(len(pairs), np.float32) if by is None else pairs[by]
    return Units(pairs.doc[order], score[order], query, slices[:, :2], slices[:, 2:])


def ragged(start: NDArray[np.integer], stop: NDArray[np.integer]) -> tuple[Ints, Ints]:
    """All numbers of several ranges, one after the other, and the offset of each range among them.

    >>> ragged(np.array([5, 0]), np.array([7, 1]))
    (array([5, 6, 0]), array([0, 2, 3]))
    """
    counts = (stop - start).astype(np.int64)
    _, numbers = expand(start, counts)
    return numbers, np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
