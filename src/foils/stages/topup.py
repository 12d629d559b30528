"""Random documents for queries that keep too few negatives, checked by the stages before."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from foils.core import noise, segments
from foils.core.packing import pack
from foils.core.pairs import CANDIDATE, Pairs, union
from foils.stages.context import Context
from foils.stages.denoise import Denoise
from foils.stages.readers import Filter, ListScorer
from foils.stages.sources import Random
from foils.stages.stage import Before, Columns, Stage, Then, complete
from foils.stages.writers import Writer

Rows = NDArray[np.int32]


def living(pairs: Pairs) -> NDArray[np.bool_]:
    """Which rows are candidates that nothing has dropped."""
    alive: NDArray[np.bool_] = pairs.alive & (pairs.label == CANDIDATE)
    return alive


def counts(pairs: Pairs, block: Rows) -> NDArray[np.int64]:
    """Living candidates of each query of the block, int64 (len(block),)."""
    return np.bincount(np.searchsorted(block, pairs.query[living(pairs)]), minlength=len(block))


def short_of(pairs: Pairs, block: Rows, quota: int) -> Rows:
    """Queries of the block with fewer living candidates, those without any row included."""
    short: Rows = block[counts(pairs, block) < quota]
    return short


def only(pairs: Pairs, queries: Rows) -> Pairs:
    """The rows of these queries."""
    return pairs.take(np.isin(pairs.query, queries))


def narrowed(queries: Rows, ctx: Context) -> Context:
    """The surroundings for these queries of the block."""
    # What scored the pairs that came in can score more of them.
    return replace(ctx.at(queries), scorers=dict(ctx.scorers))


class _Given(Stage):
    """A source or scorer that finds nothing new: it scores the rows that lack its score."""

    family = "scorer"

    def __init__(self, stage: Stage) -> None:
        self.stage = stage

    def run(self, pairs: Pairs, ctx: Context, step: int) -> Pairs:
        """Fill the column and make it the latest."""
        name = self.stage.check_columns(Columns(candidates=True), ctx).latest
        if name is None:
            return pairs
        if isinstance(self.stage, Writer):
            ctx.scorers[name] = self.stage
        return complete(replace(pairs, latest=name), ctx)


class _Judged(Stage):
    """A `Denoise` that judges every document by itself; there is no ranking to walk down."""

    family = "filter"

    def __init__(self, stage: Denoise) -> None:
        self.stage = stage

    def run(self, pairs: Pairs, ctx: Context, step: int) -> Pairs:
        """Score what lacks a score and drop what is too high."""
        return self.stage.judged(pairs, ctx, step)


class _Pass(Stage):
    """Leaves everything as it is."""

    family = "filter"

    def run(self, pairs: Pairs, ctx: Context, step: int) -> Pairs:
        """Nothing happens."""
        return pairs


def _checking(stage: Stage) -> Stage:
    """What a stage does to documents that no source returned."""
    if isinstance(stage, Denoise):
        return _Judged(stage)
    if stage.family in ("source", "scorer") and not isinstance(stage, ListScorer):
        return _Given(stage)
    if stage.family in ("scorer", "sampler", "shortfall") or (isinstance(stage, Filter) and stage.by_rank):
        return _Pass()
    return stage


class TopUp:
    """Random documents that pass the checks of a pipeline.

    Args:
        before: the stages that check.
        quota: negatives that a query should have.
        most: draws per query.
    """

    def __init__(self, before: Before, quota: int, most: int) -> None:
        self.quota, self.most, self.step = quota, most, before.step
        self.checks = Then(before.stages).each(_checking)
        steps = Then(before.stages).steps()
        # Cheap filters come before dear scorers: a column is filled where the pipeline fills it, not at once.
        self.later = {stage.column for stage in steps if isinstance(stage, Writer)}

    def fill(self, pairs: Pairs, ctx: Context) -> Pairs:
        """Draw twice as many until there are enough, or all draws are used up."""
        most = min(self.most, len(ctx.data.base.corpus))
        short, depth = short_of(pairs, ctx.block, self.quota), min(2 * self.quota, most)
        added = []
        while len(short):
            found = self._checked(only(pairs, short), depth, narrowed(short, ctx))
            enough = counts(found, short) + counts(only(pairs, short), short) >= self.quota
            done = np.ones(len(short), bool) if depth >= most else enough
            added.append(only(found, short[done]))
            short, depth = short[~done], min(2 * depth, most)
        return complete(union([pairs, *added]), ctx)

    def _checked(self, pairs: Pairs, depth: int, ctx: Context) -> Pairs:
        """Of the first ``depth`` draws of each query: those that fill it up, and those that were judged unfit."""
        drawn = self._drawn(pairs, depth, ctx)
        kept = pairs.kept()
        rows = union([replace(kept, latest=None), drawn])
        earlier = {name: scorer for name, scorer in ctx.scorers.items() if name not in self.later}
        seen = self.checks.run(rows, replace(ctx, scorers=earlier), self.step)
        seen = seen.take((seen.label == CANDIDATE) & (drawn.find(seen) >= 0))
        seen = replace(seen, ranks={**seen.ranks, "random": drawn.ranks["random"][drawn.find(seen)]})
        need = self.quota - counts(pairs, ctx.block)
        order = segments.ranks(np.where(seen.alive, -seen.ranks["random"].astype(np.float64), -np.inf), seen.starts)
        enough = seen.alive & (order <= need[np.searchsorted(ctx.block, seen.query)])
        return replace(seen.take(enough | (seen.dropped > 0)), latest=pairs.latest)

    def _drawn(self, pairs: Pairs, depth: int, ctx: Context) -> Pairs:
        """Draws that repeat neither a document of the query, nor the text of one."""
        seeded = replace(ctx, seed=noise.key_of(f"Ensure/{ctx.seed}"))
        doc, _ = Random(k=self.most).retrieve(ctx.block, depth, seeded)
        query = np.repeat(ctx.block, doc.shape[1])
        rank = np.tile(np.arange(1, doc.shape[1] + 1, dtype=np.int32), len(ctx.block))
        text = pack(query, ctx.data.same[doc.ravel()])
        known = pack(pairs.query, ctx.data.same[pairs.doc])
        first = np.zeros(len(text), bool)
        first[np.unique(text, return_index=True)[1]] = True
        new = first & ~np.isin(text, known)
        drawn = Pairs.build(query[new], doc.ravel()[new], ranks={"random": rank[new]})
        scores = {name: np.full(len(drawn), np.nan, np.float32) for name in pairs.scores}
        return replace(drawn, scores=scores, latest=None)
