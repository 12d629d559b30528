"""What every stage is, and the two ways to join them: ``>>`` then, ``+`` pool."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

import numpy as np

from foils.core.errors import PipelineError
from foils.core.pairs import CANDIDATE, Pairs, union
from foils.core.spec import Declared, Kind, scheduled
from foils.stages.context import Context

Family = Literal["source", "scorer", "labeler", "filter", "sampler", "shortfall", "then", "pool"]


@dataclass(frozen=True)
class Columns:
    """What is known before a pipeline runs: score columns, the latest one, and whether there are candidates.

    ``origins`` says what made the numbers of a column; see `foils.stages.writers.Writer.origin`.
    """

    names: tuple[str, ...] = ()
    latest: str | None = None
    mixed: tuple[str, ...] = ()
    candidates: bool = False
    origins: Mapping[str, str] = field(default_factory=dict)

    def shared(self, origins: Mapping[str, str], by: Stage) -> dict[str, str]:
        """The origins of both; refuses two kinds of numbers in one column, which nobody could tell apart afterwards."""
        for name, origin in origins.items():
            if self.origins.get(name, origin) != origin:
                raise PipelineError(
                    f"{by!r}: its scores {name!r} and those in the column {name!r} so far are not of one model and "
                    f"setting, so they do not compare. Use one setting, give the other model another name, or score "
                    f"what was saved anew: (Load(…) >> BiEncoder({name!r})) + …"
                )
        return {**self.origins, **origins}


@dataclass(frozen=True)
class Before:
    """What stands before a stage in its chain.

    Attributes:
        stages: the stages, in order.
        pairs: what came into the first of them.
        step: the number of the first of them.
    """

    stages: tuple[Stage, ...]
    pairs: Pairs
    step: int


class Stage(Declared):
    """A frozen, printable value with ``Pairs -> Pairs``; ``>>`` is then, ``+`` is pool."""

    role: ClassVar[Kind] = "stage"
    family: ClassVar[Family]
    whole: ClassVar[bool] = False  # whether it must see all queries at once
    crosses: ClassVar[bool] = False  # whether it reads pairs with the cross-encoder that its field `encoder` names

    def __rshift__(self, other: object) -> Stage:
        return Then((*_parts(self, Then), *_parts(other, Then))) if isinstance(other, Stage) else NotImplemented

    def __add__(self, other: object) -> Stage:
        return Pool((*_parts(self, Pool), *_parts(other, Pool))) if isinstance(other, Stage) else NotImplemented

    def __call__(self, pairs: Pairs, ctx: Context) -> Pairs:
        """Check the whole stage, then run it on one block of queries.

        Args:
            pairs: positives (label 1) of the block's queries, and candidates if there are any already.
            ctx: the surroundings; ``ctx.block`` are the queries.
        """
        if scheduled(self):
            raise PipelineError(f"{self!r} depends on the progress of training. Resolve it first: resolve(stage, 0.5).")
        have = bool(np.any(pairs.label == CANDIDATE))
        self.check_columns(Columns(tuple(pairs.scores), pairs.latest, candidates=have), ctx)
        return self.run(pairs, ctx, 1)

    def run(self, pairs: Pairs, ctx: Context, step: int) -> Pairs:
        """Run as number ``step`` of the pipeline, counted over `steps`."""
        raise NotImplementedError

    def after(self, before: Before, pairs: Pairs, ctx: Context, step: int) -> Pairs:
        """As ``run``, for the few that look back at the stages before them."""
        return self.run(pairs, ctx, step)

    def check_after(self, stages: tuple[Stage, ...]) -> None:
        """Refuse to stand behind these stages of a chain."""

    def check_columns(self, columns: Columns, ctx: Context) -> Columns:
        """Refuse a pipeline that cannot work before it starts; returns the columns after this stage."""
        raise NotImplementedError

    def each(self, change: Callable[[Stage], Stage]) -> Stage:
        """The same pipeline with every single stage replaced by ``change`` of it, in the order of `steps`."""
        return change(self)

    def deeper(self, factor: int) -> Stage:
        """The stage for ``factor`` times as many candidates; only sources change."""
        return self

    def bound_to_depth(self) -> bool:
        """Whether what it takes out depends on how deep the lists are, so that they must not be deepened for some."""
        return False

    def steps(self) -> Iterator[Stage]:
        """The single stages in order; the i-th (from 1) is the one that ``Pairs.dropped`` means by i."""
        yield self

    def encoders(self) -> tuple[str, ...]:
        """Names of the models it uses: the field ``encoder``, if it has one; of a pipeline those of its stages."""
        own = getattr(self, "encoder", None)
        inner = (name for stage in self.steps() if stage is not self for name in stage.encoders())
        return tuple(dict.fromkeys((*(() if own is None else (own,)), *inner)))

    def inputs(self, ctx: Context) -> dict[str, str]:
        """Fingerprints of files it reads besides the collection and the encoders."""
        found: dict[str, str] = {}
        for stage in self.steps():
            if stage is not self:
                found.update(stage.inputs(ctx))
        return found


def _parts(stage: Stage, joined: type[Then] | type[Pool]) -> tuple[Stage, ...]:
    return stage.stages if isinstance(stage, joined) else (stage,)


class Then(Stage):
    """Stages one after the other."""

    family = "then"

    def __init__(self, stages: tuple[Stage, ...]) -> None:
        self.stages = stages

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and isinstance(other, Then) and other.stages == self.stages

    def __hash__(self) -> int:
        return hash((type(self), self.stages))

    def __repr__(self) -> str:
        return " >> ".join(map(repr, self.stages))

    def full(self) -> str:
        """The text form with every field."""
        return " >> ".join(stage.full() for stage in self.stages)

    def steps(self) -> Iterator[Stage]:
        """The single stages in order."""
        for stage in self.stages:
            yield from stage.steps()

    def run(self, pairs: Pairs, ctx: Context, step: int) -> Pairs:
        """Run the stages in order."""
        return self.run_part(range(len(self.stages)), pairs, pairs, ctx, step)

    def run_part(self, part: range, pairs: Pairs, came: Pairs, ctx: Context, step: int) -> Pairs:
        """Run some stages in a row, the earlier ones having run before.

        Args:
            part: their places.
            pairs: what the stages before them left.
            came: what came into the first stage of all.
            ctx: the surroundings.
            step: the number of the first stage of all.
        """
        number = step + sum(1 for stage in self.stages[: part.start] for _ in stage.steps())
        for place in part:
            stage = self.stages[place]
            pairs = stage.after(Before(self.stages[:place], came, step), pairs, ctx, number)
            number += sum(1 for _ in stage.steps())
        return pairs

    def check_columns(self, columns: Columns, ctx: Context) -> Columns:
        """Check the stages in order."""
        for place, stage in enumerate(self.stages):
            stage.check_after(self.stages[:place])
            columns = stage.check_columns(columns, ctx)
        return columns

    def each(self, change: Callable[[Stage], Stage]) -> Stage:
        """A chain of the changed stages."""
        return Then(tuple(stage.each(change) for stage in self.stages))


class Pool(Stage):
    """The union of branches.

    A branch that begins with a source starts from the positives alone; one that begins with anything else works on what
    came in. After pooling, every column that a stage can compute is completed for all rows. What a branch's windows and
    samplers leave out may be in the pool through another branch (that is how tiers are written); what a filter *judges*
    to be probably relevant is out of the whole pool.
    """

    family = "pool"

    def __init__(self, branches: tuple[Stage, ...]) -> None:
        self.branches = self.stages = branches

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pool) and other.branches == self.branches

    def __hash__(self) -> int:
        return hash((Pool, self.branches))

    def _join(self, texts: list[str]) -> str:
        both = zip(self.branches, texts, strict=True)
        return " + ".join(f"({text})" if isinstance(branch, Then) else text for branch, text in both)

    def __repr__(self) -> str:
        return self._join([repr(branch) for branch in self.branches])

    def full(self) -> str:
        """The text form with every field."""
        return self._join([branch.full() for branch in self.branches])

    def steps(self) -> Iterator[Stage]:
        """The single stages in order."""
        for branch in self.branches:
            yield from branch.steps()

    def run(self, pairs: Pairs, ctx: Context, step: int) -> Pairs:
        """Run each branch, unite the rows, complete the scores."""
        # A source's branch starts afresh; rows that came in are then only remembered, so that what was judged before
        # stays out.
        fresh = pairs.take(pairs.label != CANDIDATE)
        remembered = _left_out(pairs, step)
        parts = []
        for branch in self.branches:
            starts_afresh = next(branch.steps()).family == "source"
            parts.append(branch.run(fresh if starts_afresh else pairs, ctx, step))
            step += sum(1 for _ in branch.steps())
        pool = union([*parts, remembered])
        latest = {part.latest for part in parts if part.latest is not None}
        pool = replace(pool, latest=latest.pop() if len(latest) == 1 else None)
        return complete(pool, ctx)

    def each(self, change: Callable[[Stage], Stage]) -> Stage:
        """A pool of the changed branches."""
        return Pool(tuple(branch.each(change) for branch in self.branches))

    def check_columns(self, columns: Columns, ctx: Context) -> Columns:
        """Check the branches; what they agree on remains ``score``."""
        after = []
        for step in self.steps():
            if step.whole:
                raise PipelineError(f"{step!r} sees all queries at once, so it cannot stand in a branch of a pool.")
        for branch in self.branches:
            afresh = next(branch.steps()).family == "source"
            state = Columns(columns.names, origins=columns.origins) if afresh else columns
            after.append(branch.check_columns(state, ctx))
        names = tuple(dict.fromkeys(name for state in after for name in state.names))
        latest = tuple(dict.fromkeys(state.latest for state in after if state.latest is not None))
        origins: Mapping[str, str] = {}
        for branch, state in zip(self.branches, after, strict=True):
            origins = Columns(origins=origins).shared(state.origins, branch)
        return Columns(names, latest[0] if len(latest) == 1 else None, latest, True, origins)


def need_candidates(stage: Stage, columns: Columns) -> None:
    """Refuse to stand where there are no candidates."""
    if not columns.candidates:
        raise PipelineError(f"{stage!r}: there are no candidates yet. Begin with a source, such as BM25(k=100) >> …")


def _left_out(pairs: Pairs, step: int) -> Pairs:
    # Candidates that no branch takes up again are left out; those dropped before keep their reason.
    dropped = np.where((pairs.label == CANDIDATE) & (pairs.dropped == 0), -step, pairs.dropped).astype(np.int16)
    return replace(pairs, dropped=dropped)


def complete(pairs: Pairs, ctx: Context) -> Pairs:
    """Score the living rows that a column does not cover yet, by the stage that made the column."""
    scores = dict(pairs.scores)
    for name, values in pairs.scores.items():
        missing = np.flatnonzero(np.isnan(values) & pairs.alive)
        stage = ctx.scorers.get(name)
        if len(missing) and stage is not None:
            filled = values.copy()
            filled[missing] = stage.scored(pairs.query[missing], pairs.doc[missing], ctx)
            scores[name] = filled
    return replace(pairs, scores=scores)
