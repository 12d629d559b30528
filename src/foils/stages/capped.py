"""A cap on how often one document serves: a matching of queries and documents."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foils.core import ragged, segments
from foils.core.errors import PipelineError
from foils.core.pairs import CANDIDATE, Pairs, View
from foils.core.spec import declare, require
from foils.stages.context import Context
from foils.stages.readers import Sampler

Places = NDArray[np.int64]


class WholeSampler(Sampler):
    """A sampler that must see all queries at once. An author writes ``choose``, and ``logits`` for the values."""

    whole = True
    noisy = False

    def choose(
        self, query: NDArray[np.int32], doc: NDArray[np.int32], value: NDArray[np.float32], ctx: Context
    ) -> NDArray[np.bool_]:
        """Which of all living candidates of all queries are taken.

        Args:
            query: rows, ascending, int32 (n,).
            doc: rows, int32 (n,).
            value: what ``logits`` says, float32 (n,), without NaN.
            ctx: the surroundings.
        """
        raise NotImplementedError

    def offers(self, pairs: Pairs, ctx: Context) -> tuple[Places, NDArray[np.float32]]:
        """Rows of the living candidates, and their values."""
        rows, view = self._living(pairs)
        candidate = view.label == CANDIDATE
        values = np.asarray(self.weigh(view, ctx)[candidate], np.float32)
        if np.isnan(values).any():
            raise PipelineError(f"{self!r}: {int(np.isnan(values).sum()):,} candidates have no value to compare.")
        return rows[candidate], values

    def marked(self, pairs: Pairs, rows: Places, chosen: NDArray[np.bool_], step: int) -> Pairs:
        """Drop what was offered and not chosen."""
        dropped = pairs.dropped.copy()
        dropped[rows[~chosen]] = -step
        return replace(pairs, dropped=dropped)

    def run(self, pairs: Pairs, ctx: Context, step: int) -> Pairs:
        """All queries must be in the block; `foils.mine` sees to it whatever the size of its blocks."""
        if len(ctx.block) != len(ctx.rows):
            raise PipelineError(
                f"{self!r} chooses for all {len(ctx.rows):,} queries at once, not for {len(ctx.block):,}."
            )
        rows, values = self.offers(pairs, ctx)
        return self.marked(pairs, rows, self.choose(pairs.query[rows], pairs.doc[rows], values, ctx), step)


@declare
class Capped(WholeSampler):
    """The k best per query, while no document serves more than a share of all queries.

    A document may serve ``max(1, ⌊share · queries⌋)`` queries. Who gets it is decided by deferred acceptance (Gale and
    Shapley 1962, College admissions and the stability of marriage, American Mathematical Monthly 69): each query asks
    its k best candidates; each document keeps the queries for which it scores highest and sends the others on to their
    next choice, until nobody is sent on. In the end no query lacks a document that it prefers to one of its own and
    that would prefer it. Ties go to the smaller document row, and among queries to the smaller key of their id; the
    order of asking changes nothing. Queries may end with fewer than k; see `Ensure`.

    Meant against hubs: documents that are near very many queries (Radovanović et al. 2010, JMLR 11) and would be the
    hardest negative of all of them.

    The default of 1 % is ours. It looks at all queries at once, so it cannot stand in a branch of a pool.
    """

    k: int  # negatives per query
    share: float = 0.01  # of the queries that one document may serve; above 0, at most 1
    by: str = "score"  # score column

    def check(self) -> None:
        """Bounds of k and the share."""
        super().check()
        require(0 < self.share <= 1, self, "share", "above 0 and at most 1")

    def logits(self, view: View) -> Any:
        """The score itself."""
        return view[self.by]

    def choose(
        self, query: NDArray[np.int32], doc: NDArray[np.int32], value: NDArray[np.float32], ctx: Context
    ) -> NDArray[np.bool_]:
        """Deferred acceptance over all candidates."""
        keys = ctx.data.queries.keys[query]
        # The smallest float above a share such as 0.29 of 100 queries must not cost a place.
        capacity = max(1, int(self.share * len(ctx.rows) + 1e-9))
        return accepted(query, doc, value, keys, (self.k, capacity))


def accepted(
    query: NDArray[np.int32],
    doc: NDArray[np.int32],
    value: NDArray[np.float32],
    key: NDArray[np.uint64],
    places: tuple[int, int],
) -> NDArray[np.bool_]:
    """The query-optimal stable assignment, both sides with several places.

    Args:
        query: ascending, (n,).
        doc: distinct within a query, (n,).
        value: of each pair for both sides; not NaN, (n,).
        key: of the query; ties among queries go to the smaller one, (n,).
        places: of a query, and of a document.

    Returns:
        bool (n,).
    """
    taken = np.zeros(len(query), bool)
    starts = segments.starts_of(query)
    order = np.empty(len(query), np.int64)  # the pairs in the order in which queries ask
    owner = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    order[starts[owner] + segments.ranks(value, starts, doc) - 1] = np.arange(len(query))
    matching = _Matching(order, starts, *_documents(doc, value, key), places)
    taken[matching.settle()] = True
    return taken


def _documents(
    doc: NDArray[np.int32], value: NDArray[np.float32], key: NDArray[np.uint64]
) -> tuple[NDArray[np.int32], Places]:
    """Number of each pair's document, and the pair's place in one order that agrees with every document's."""
    best = np.lexsort((key, -value))
    rank = np.empty(len(doc), np.int64)
    rank[best] = np.arange(len(doc))
    return segments.distinct(doc)[1], rank


class _Matching:
    """Pairs that are held for now; rounds in which rejected queries ask on."""

    def __init__(
        self, order: Places, starts: Places, doc: NDArray[np.int32], rank: Places, places: tuple[int, int]
    ) -> None:
        self.order, self.doc, self.rank = order, doc, rank
        self.next, self.end = starts[:-1].copy(), starts[1:]
        self.capacity = places[1]
        self.missing = np.full(len(self.end), places[0], np.int64)
        self.query = np.empty(len(doc), np.int32)
        self.query[order] = np.repeat(np.arange(len(self.end), dtype=np.int32), np.diff(starts))
        room = np.minimum(np.bincount(doc), self.capacity)
        self.slot = np.cumsum(room) - room  # where each document's held pairs begin
        self.held = np.zeros(int(room.sum()), np.int64)
        self.filled = np.zeros(len(room), np.int64)

    def settle(self) -> Places:
        """Rounds until nobody who lacks something has anyone left to ask; returns the held pairs."""
        asking = np.arange(len(self.end))
        while len(asking):
            count = np.minimum(self.missing[asking], self.end[asking] - self.next[asking])
            asking, count = asking[count > 0], count[count > 0]
            asked = self.order[ragged.expand(self.next[asking], count)[1]]
            self.next[asking] += count
            self.missing[asking] -= count
            rejected = self.query[self._answer(asked)]
            asking, again = np.unique(rejected, return_counts=True)
            self.missing[asking] += again
        return self.held[ragged.expand(self.slot, self.filled)[1]]

    def _answer(self, asked: Places) -> Places:
        """Documents keep the best of what they hold and what is asked; returns the pairs they reject."""
        docs = np.unique(self.doc[asked])
        pairs = np.concatenate([self.held[ragged.expand(self.slot[docs], self.filled[docs])[1]], asked])
        pairs = pairs[np.lexsort((self.rank[pairs], self.doc[pairs]))]
        starts = segments.starts_of(self.doc[pairs])
        keeps = ragged.places(starts) < self.capacity
        self.filled[docs] = np.minimum(np.diff(starts), self.capacity)
        self.held[ragged.expand(self.slot[docs], self.filled[docs])[1]] = pairs[keeps]
        return pairs[~keeps]
