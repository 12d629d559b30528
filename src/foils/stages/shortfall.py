"""What happens to queries that keep too few negatives."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

import numpy as np

from foils.core.errors import PipelineError
from foils.core.pairs import Pairs, union
from foils.core.spec import declare, require
from foils.stages.context import Context
from foils.stages.readers import Filter, Sampler
from foils.stages.sources import Random
from foils.stages.stage import Before, Columns, Pool, Stage, Then
from foils.stages.topup import Rows, TopUp, living, narrowed, only, short_of
from foils.stages.writers import Writer

TAGS = {"deepen": "deepened", "relax": "relaxed", "random": "random"}


@declare
class Ensure(Stage):
    """Says what happens to queries that keep fewer than k negatives; without it, their lists are short.

    drop: they get no negatives at all.  deepen: the stages before are run again for these queries alone, with every
    source's k doubled, until k are found or ``limit`` times the original is reached.  relax: they are run again with
    the margins relaxed step by step (see ``relaxed`` of a filter; `PositiveAware` halves its margin, then has none);
    guards never give way.  random: documents are drawn at random, *checked* by the scorers and filters before (windows
    of ranks excepted), and fill up to k; at most ``limit`` times k are drawn per query.

    What a filter judged to be probably relevant stays out, whatever the policy. Where a negative came from is seen in
    its source: ``deepened``, ``relaxed`` or ``random``; the rank of that name is the round, the step or the draw.
    Policies can follow each other: ``… >> Top(k=8) >> Ensure('deepen') >> Ensure('random')``.
    """

    family = "shortfall"

    short: Literal["drop", "deepen", "relax", "random"] = "drop"  # what to do
    k: int | None = None  # negatives that a query should have; those of the sampler before by default
    limit: int = 8  # deepen: largest multiple of the sources' k; random: most draws per query, in multiples of k

    def check(self) -> None:
        """Bounds of k and the limit."""
        require(self.k is None or self.k >= 1, self, "k", "at least 1")
        require(self.limit >= 2, self, "limit", "at least 2")

    def check_after(self, stages: tuple[Stage, ...]) -> None:
        """There must be a number to reach, and something to reach it with."""
        steps = [step for stage in stages for step in stage.steps()]
        if self.k is None and wanted(Then(stages)) is None:
            raise PipelineError(f"{self!r}: no stage before it says how many negatives are wanted. Give k=….")
        whole = next((step for step in steps if step.whole), None)
        if whole is not None and self.short in ("deepen", "relax"):
            raise PipelineError(f"{self!r}: {whole!r} has chosen for all queries at once; put {self!r} before it.")
        if self.short == "deepen" and all(step.deeper(2) == step for step in steps):
            raise PipelineError(f"{self!r}: no source before it could search deeper. Add one, or use 'random'.")
        bound = next((step for step in steps if step.bound_to_depth()), None)
        if bound is not None and self.short == "deepen":
            raise PipelineError(
                f"{self!r}: what {bound!r} takes out depends on how deep the lists are, so a deeper one would be "
                "another. Mine all queries deeper, or use 'drop' or 'random'."
            )
        if self.short == "random":
            self._check_scores(steps)
        if self.short == "relax" and not any(_relaxed(step, 1) for step in steps):
            raise PipelineError(f"{self!r}: no filter before it has a margin to relax. Add PositiveAware(), for one.")

    def _check_scores(self, steps: list[Stage]) -> None:
        """Random documents need the scores that filters read; saved ones cover the saved candidates only."""
        written: set[str | None] = set()
        for step in steps:
            if isinstance(step, Writer):
                written.add(step.column)
            elif isinstance(step, Filter) and not step.by_rank:
                lacking = [by for by in step.reads() if not (written if by == "score" else by in written)]
                if lacking:
                    name = "student" if lacking[0] == "score" else lacking[0]
                    raise PipelineError(
                        f"{self!r}: {step!r} could not check random documents: no stage before it scores them. Put "
                        f"BiEncoder({name!r}) before it and pass --encoder {name}=MODEL, or leave {self!r} out."
                    )

    def check_columns(self, columns: Columns, ctx: Context) -> Columns:
        """Candidates must be there."""
        if not columns.candidates:
            raise PipelineError(f"{self!r}: there are no candidates yet. Put it behind a source and a sampler.")
        return columns

    def run(self, pairs: Pairs, ctx: Context, step: int) -> Pairs:
        """Without stages before it, it can only drop."""
        self.check_after(())
        return self.after(Before((), pairs, step), pairs, ctx, step)

    def after(self, before: Before, pairs: Pairs, ctx: Context, step: int) -> Pairs:
        """Apply the policy to the queries of the block that are short."""
        quota = self.k or wanted(Then(before.stages)) or 1
        if self.short == "drop":
            gone = np.isin(pairs.query, short_of(pairs, ctx.block, quota)) & living(pairs)
            return replace(pairs, dropped=np.where(gone, -step, pairs.dropped).astype(np.int16))
        pairs = _tagged(pairs, TAGS[self.short])
        if self.short == "random":
            return TopUp(before, quota, self.limit * quota).fill(pairs, ctx)
        for number, prefix, final in self._attempts(before, ctx):
            short = short_of(pairs, ctx.block, quota)
            if not len(short):
                break
            again = prefix.run(only(before.pairs, short), narrowed(short, ctx), before.step)
            pairs = _replaced(pairs, again, short, (TAGS[self.short], number), final)
        return pairs

    def _attempts(self, before: Before, ctx: Context) -> Iterator[tuple[int, Stage, set[int]]]:
        """Number, stages to run again, and the steps whose judgements hold."""
        prefix = Then(before.stages)
        steps = list(prefix.steps())
        versions = _relaxing(steps) if self.short == "relax" else self._deepening(steps, len(ctx.data.base.corpus))
        for number, version in enumerate(versions, start=1):
            places = enumerate(zip(steps, version, strict=True), start=before.step)
            holds = {place for place, (old, new) in places if old == new or not isinstance(old, Filter)}
            yield number, _with(prefix, version), holds

    def _deepening(self, steps: list[Stage], documents: int) -> Iterator[list[Stage]]:
        """The steps with sources 2, 4, … times as deep, as long as one of them has not returned everything."""
        factor = 2
        while factor <= self.limit and _could_find_more(steps, factor // 2, documents):
            yield [step.deeper(factor) for step in steps]
            factor *= 2


def _relaxing(steps: list[Stage]) -> Iterator[list[Stage]]:
    """The steps with filters ever looser, as long as one of them gives way."""
    versions, number = list(steps), 1
    while any(_relaxed(step, number) for step in steps):
        versions = [_relaxed(step, number) or version for step, version in zip(steps, versions, strict=True)]
        yield versions
        number += 1


def _with(pipeline: Stage, steps: list[Stage]) -> Stage:
    following = iter(steps)
    return pipeline.each(lambda _: next(following))


def wanted(pipeline: Stage) -> int | None:
    """Negatives per query that a pipeline means to leave: k of its last sampler or random draw, summed over a pool."""
    if isinstance(pipeline, Pool):
        counts = [wanted(branch) for branch in pipeline.branches]
        return sum(count for count in counts if count) if all(counts) else None
    if isinstance(pipeline, Then):
        found = [count for count in map(wanted, pipeline.stages) if count is not None]
        return found[-1] if found else None
    return pipeline.k if isinstance(pipeline, Sampler | Random | Ensure) else None


def _relaxed(stage: Stage, number: int) -> Stage | None:
    return stage.relaxed(number) if isinstance(stage, Filter) else None


def _could_find_more(steps: list[Stage], factor: int, documents: int) -> bool:
    deep = [getattr(step.deeper(factor), "k", 0) for step in steps if step.deeper(2) != step]
    return any(k < documents for k in deep)


def _tagged(pairs: Pairs, tag: str) -> Pairs:
    # Every block has the column, whether or not a query of it is short.
    return replace(pairs, ranks={**pairs.ranks, tag: pairs.ranks.get(tag, np.zeros(len(pairs), np.int32))})


def _replaced(pairs: Pairs, again: Pairs, short: Rows, mark: tuple[str, int], final: set[int]) -> Pairs:
    """Put what was found again in place of the short queries' rows; what was judged by a final step stays judged."""
    tag, number = mark
    ours = np.isin(pairs.query, short)
    before = pairs.take(ours)
    again = _tagged(again, tag)
    at = before.find(again)
    known = (at >= 0) & before.alive[at] if len(before) else np.zeros(len(again), bool)
    marks = np.where(living(again) & ~known, number, 0)
    marks[known] = before.ranks[tag][at[known]]
    again = replace(again, ranks={**again.ranks, tag: marks.astype(np.int32)})
    judged = before.take((before.dropped > 0) & np.isin(before.dropped, list(final)))
    return union([pairs.take(~ours), again, judged])
