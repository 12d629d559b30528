"""The pipeline around a `Calibrated` stage, cut so that it can be run again with one threshold after another."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foils.core.errors import PipelineError
from foils.core.pairs import CANDIDATE, Pairs
from foils.stages.calibrated import Calibrated, difficulty, nearness
from foils.stages.context import Context
from foils.stages.load import Load
from foils.stages.readers import Filter, Sampler
from foils.stages.shortfall import wanted
from foils.stages.sources import Random
from foils.stages.stage import Columns, Pool, Stage, Then


@dataclass(frozen=True)
class Cut:
    """The stages before and after the one that is calibrated.

    Attributes:
        before: begins with the candidates that are there.
        stage: what thresholds are sought for.
        after: None if nothing follows that drops anything.
    """

    before: Then
    stage: Calibrated
    after: Then | None

    @classmethod
    def of(cls, pipeline: Stage, candidates: Path) -> Cut:
        """Cut a pipeline; sources in it give way to candidates that were mined before.

        Policies for short lists (`Ensure`) are left out: what they add lies deeper, where fewer documents are relevant.

        Raises:
            PipelineError: there is not exactly one `Calibrated` in the chain.
        """
        stages = pipeline.stages if isinstance(pipeline, Then) else (pipeline,)
        there = [place for place, stage in enumerate(stages) if isinstance(stage, Calibrated)]
        if len(there) != 1 or sum(isinstance(step, Calibrated) for step in pipeline.steps()) != 1:
            found = sum(isinstance(step, Calibrated) for step in pipeline.steps())
            raise PipelineError(
                f"{pipeline!r} has {found} Calibrated stages, and exactly one can be calibrated at a time. "
                "Write Calibrated('thresholds.json') >> Top(k=8), outside the branches of a pool."
            )
        place = there[0]
        stage = stages[place]
        assert isinstance(stage, Calibrated)
        searching = [i for i, s in enumerate(stages[:place]) if any(step.family == "source" for step in s.steps())]
        rest = stages[searching[-1] + 1 if searching else 0 : place]
        before = Then((Load(str(candidates), which="all"), *rest))
        after = tuple(s for s in stages[place + 1 :] if s.family != "shortfall")
        return cls(before, stage, Then(after) if after else None)

    @property
    def whole(self) -> Stage:
        """All stages that are run, the calibrated one included."""
        return Then((*self.before.stages, self.stage, *(self.after.stages if self.after else ())))

    @property
    def quota(self) -> int | None:
        """How many negatives a query is to have."""
        return None if self.after is None else wanted(self.after)

    @property
    def cap(self) -> int | None:
        """How many candidates of a query the samplers leave at most, whatever they find; None without a sampler."""
        return _cap(self.whole, None)

    def checked(self, ctx: Context) -> Columns:
        """Refuse what cannot work; returns the columns that the stage finds."""
        columns = self.before.check_columns(Columns(), ctx)
        Filter.check_columns(self.stage, columns, ctx)
        if self.after is not None:
            self.after.check_columns(columns, ctx)
        return columns


def _cap(stage: Stage, before: int | None) -> int | None:
    """The most that a query has after a stage, if it had ``before`` at most."""
    if isinstance(stage, Then):
        for step in stage.stages:
            before = _cap(step, before)
        return before
    if isinstance(stage, Pool):
        afresh = [next(branch.steps()).family == "source" for branch in stage.branches]
        caps = [_cap(branch, 0 if new else before) for branch, new in zip(stage.branches, afresh, strict=True)]
        return sum(cap for cap in caps if cap is not None) if None not in caps else None
    if isinstance(stage, Sampler):
        return stage.k if before is None else min(before, stage.k)
    if isinstance(stage, Random):
        return None if before is None else before + stage.k
    return None if stage.family == "source" else before


@dataclass(frozen=True, eq=False)
class Seen:
    """What the stage finds of some queries: all that can be known before a threshold is chosen.

    Attributes:
        cut: the pipeline.
        ctx: for these queries.
        pairs: what the stages before left.
        rows: which of them are alive.
        near: closeness of the living rows, (n,).
        difficulty: of each living row's query, (n,).
    """

    cut: Cut
    ctx: Context
    pairs: Pairs
    rows: NDArray[np.int64]
    near: NDArray[np.float64]
    difficulty: NDArray[np.float64]

    @classmethod
    def of(cls, cut: Cut, ctx: Context) -> Seen:
        """Run the stages before."""
        known = ctx.data.positives(ctx.split).bare()
        pairs = cut.before.run(known.take(np.isin(known.query, ctx.block)), ctx, 1)
        rows = np.flatnonzero(pairs.alive)
        view = pairs.take(rows)
        stage = cut.stage
        near = nearness(view, stage.by, stage.kind, stage.positives)
        return cls(cut, ctx, pairs, rows, near, difficulty(view, stage.by, stage.positives))

    @property
    def living(self) -> Pairs:
        """The living rows."""
        return self.pairs.take(self.rows)

    @property
    def candidate(self) -> NDArray[np.bool_]:
        """Which living rows are candidates."""
        which: NDArray[np.bool_] = self.pairs.label[self.rows] == CANDIDATE
        return which

    def only(self, queries: NDArray[np.int32]) -> Seen:
        """The rows of these queries."""
        some = np.isin(self.pairs.query, queries)
        alive = some[self.rows]
        rows = (np.cumsum(some) - 1)[self.rows[alive]]
        ctx = replace(self.ctx, block=np.intersect1d(self.ctx.block, queries).astype(np.int32))
        return Seen(self.cut, ctx, self.pairs.take(some), rows, self.near[alive], self.difficulty[alive])

    def kept(self, threshold: float) -> NDArray[np.bool_]:
        """Which living rows are negatives in the end under one threshold, bool (n,)."""
        stays: NDArray[np.bool_] = self.cut.stage.below(self.near, threshold) & self.candidate
        if self.cut.after is None:
            return stays
        dropped = self.pairs.dropped.copy()
        dropped[self.rows[self.candidate & ~stays]] = 1
        left = self.cut.after.run(replace(self.pairs, dropped=dropped), self.ctx, 2)
        at = left.find(self.living)  # a pool may have added others
        ended: NDArray[np.bool_] = np.asarray(
            (left.alive & (left.label == CANDIDATE))[at] & (at >= 0) & stays, np.bool_
        )
        return ended
