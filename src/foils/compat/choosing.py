"""From what the search found to the negatives of each query: whole blocks of queries at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foils.compat.arguments import Bounds, Plan
from foils.compat.report import Skipped
from foils.compat.scoring import Reranker, Rows, Scores, Similarity
from foils.compat.texts import Pairs, keys
from foils.core.noise import Keys, uniform
from foils.core.segments import reduce
from foils.core.thresholds import below, ceiling

_RERANKED = 1 << 16  # pairs that a cross-encoder is given at a time

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Chosen:
    """The negatives of each query, best first, padded.

    Attributes:
        rows: int32 (queries, k), rows of documents; -1 where there are fewer.
        scores: float32 (queries, k); ``-inf`` where there are fewer.
        positives: float32 (pairs,), scores of the positives.
        skipped: how many candidates each bound dropped.
    """

    rows: Rows
    scores: Scores
    positives: Scores
    skipped: Skipped


@dataclass
class _Found:
    """Candidates of a block of queries, best first, (block, depth) each; only those ``alive`` may be chosen."""

    rows: Rows
    scores: Scores
    alive: Mask


def choose(pairs: Pairs, finder: Similarity, judge: Reranker | None, plan: Plan, progress: Any) -> Chosen:
    """Search, mask, filter and choose.

    The order is the incumbent's: candidates are the ``range_max + most`` nearest documents; the query's positives and
    their copies leave; a cross-encoder's scores take the place of the similarity; margins, then bounds, drop; the
    window counts what is left.

    Args:
        pairs: the texts and positives.
        finder: nearest documents.
        judge: a cross-encoder, or None.
        plan: bounds, window and sampling.
        progress: called with a sequence of block starts, returns it with a bar.
    """
    window, scorer = plan.window, finder if judge is None else judge
    miner = _Miner(pairs, finder, judge, plan, scorer.pairs(pairs.owner, pairs.positive))
    rows = np.full((len(pairs.queries), window.k), -1, np.int32)
    scores = np.full(rows.shape, -np.inf, np.float32)
    skipped = Skipped(len(rows) * miner.depth)
    block = finder.block if judge is None else max(1, min(finder.block, _RERANKED // miner.depth))
    for start in progress(range(0, len(rows), block)):
        part = slice(start, min(start + block, len(rows)))
        rows[part], scores[part] = miner.block(part, skipped)
    return Chosen(rows, scores, miner.positives, skipped)


class _Miner:
    def __init__(self, pairs: Pairs, finder: Similarity, judge: Reranker | None, plan: Plan, positives: Scores) -> None:
        self.pairs, self.finder, self.judge, self.plan, self.positives = pairs, finder, judge, plan, positives
        self.depth = plan.window.last + int(pairs.rows.max())
        self.copies = 0 if plan.with_positives else pairs.copies()
        self._lowest = reduce(positives, np.ones(len(positives), np.bool_), pairs.starts, "min").astype(np.float32)
        self._keys: tuple[Keys, Keys] | None = None

    def block(self, part: slice, skipped: Skipped) -> tuple[Rows, Scores]:
        rows, scores = self.finder.search(part, self.depth + self.copies)
        found = _Found(rows, scores, rows >= 0)
        self._drop_positives(found, part)
        if self.judge is not None:
            found = _rescored(found, self.judge, part.start)
        _bound(found, self._lowest[part], self.plan.bounds, skipped, self.depth)
        return self._take(found, part)

    def _drop_positives(self, found: _Found, part: slice) -> None:
        """The query's positives, and documents with the same normalised text as one of them."""
        if self.plan.with_positives:
            return
        known = _members(found.rows, self.pairs.positive, self.pairs.starts[part.start : part.stop + 1])
        if self.copies:
            same = self.pairs.same
            copy = ~known & _members(same[found.rows], same[self.pairs.positive], self._starts(part))
            # A copy takes no one's place: further candidates move up for it.
            found.alive &= ~copy & (np.cumsum(~copy, axis=1) <= self.depth)
        found.alive &= ~known

    def _starts(self, part: slice) -> NDArray[np.int64]:
        return self.pairs.starts[part.start : part.stop + 1]

    def _take(self, found: _Found, part: slice) -> tuple[Rows, Scores]:
        """K of the survivors within the window: the best, or a draw."""
        window = self.plan.window
        rank = np.cumsum(found.alive, axis=1, dtype=np.int32)
        inside = found.alive & (rank > window.lo) & (rank <= window.last)
        if self.plan.sampling == "random":
            inside = self._drawn(inside, found.rows, part)
        place = np.cumsum(inside, axis=1, dtype=np.int32) - 1
        query, column = np.nonzero(inside & (place < window.k))
        rows = np.full((len(inside), window.k), -1, np.int32)
        scores = np.full(rows.shape, -np.inf, np.float32)
        at = query, place[query, column]
        rows[at], scores[at] = found.rows[query, column], found.scores[query, column]
        return rows, scores

    def _drawn(self, inside: Mask, rows: Rows, part: slice) -> Mask:
        """K of the candidates inside, each set of k as likely as any other; all where there are no more."""
        if self._keys is None:
            self._keys = keys(self.pairs.queries), keys(self.pairs.docs)
        query, column = np.nonzero(inside)
        of_query, of_doc = self._keys[0][query + part.start], self._keys[1][rows[query, column]]
        draws = np.full(inside.shape, -1.0)
        draws[query, column] = uniform(self.plan.seed, "mine_hard_negatives", of_query, of_doc)
        least = -np.partition(-draws, self.plan.window.k - 1, axis=1)[:, self.plan.window.k - 1]
        return np.logical_and(inside, draws >= least[:, None])


def _rescored(found: _Found, judge: Reranker, first: int) -> _Found:
    """The candidates in the order of another scorer; equal scores stay in the order of the search."""
    query, column = np.nonzero(found.alive)
    scores = np.full(found.scores.shape, -np.inf, np.float32)
    scores[query, column] = judge.pairs((query + first).astype(np.int32), found.rows[query, column])
    order = np.argsort(-scores, axis=1, kind="stable")
    at = np.arange(len(order))[:, None], order
    return _Found(found.rows[at], scores[at], found.alive[at])


def _members(rows: Rows, known: Rows, starts: NDArray[np.int64]) -> Mask:
    """Whether each entry of row i of a matrix is among ``known[starts[i]:starts[i + 1]]``, of which none is empty."""
    found: Mask = rows == known[starts[:-1], None]
    counts = np.diff(starts)
    several = np.flatnonzero(counts > 1)
    if len(several):
        base = int(max(rows.max(), known.max())) + 2
        owner = np.repeat(np.arange(len(counts)), counts)
        wanted = np.sort(owner * base + known[starts[0] : starts[-1]])
        asked = several[:, None] * base + rows[several]
        found[several] = wanted[np.minimum(np.searchsorted(wanted, asked), len(wanted) - 1)] == asked
    return found


def _bound(found: _Found, lowest: Scores, bounds: Bounds, skipped: Skipped, depth: int) -> None:
    """Drop by margins under the lowest positive, then by scores, and count.

    Counts are the incumbent's: those under ``min_score`` include whatever had been dropped before.
    """
    scores = found.scores
    kept: dict[str, Mask] = {}
    if bounds.absolute_margin is not None:
        limit = ceiling(lowest, bounds.absolute_margin, "absolute")
        kept["absolute_margin"] = below(scores, limit[:, None], "keep")
    if bounds.relative_margin is not None:
        limit = ceiling(lowest, bounds.relative_margin, "relative")
        kept["relative_margin"] = below(scores, limit[:, None], "keep")
    if bounds.max_score is not None:
        kept["max_score"] = below(scores, bounds.max_score, "keep")
    for name, keep in kept.items():
        skipped.add(name, int(np.count_nonzero(found.alive & ~keep)))
        found.alive &= keep
    if bounds.min_score is not None:
        found.alive &= scores >= bounds.min_score
        skipped.add("min_score", len(scores) * depth - int(np.count_nonzero(found.alive)))
