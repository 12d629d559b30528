"""Stages that read score columns: a *labeler* may only change labels, a *filter* only drop candidates, a *sampler* only
keep k of them; a scorer of lists reads and writes.

The base classes guarantee this; a strategy is one method of mathematics. See `foils.stages.writers` for the others.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from foils.core import noise, segments
from foils.core.errors import PipelineError, SpecError
from foils.core.pairs import CANDIDATE, POSITIVE, SET_ASIDE, Pairs, View
from foils.stages.context import Context
from foils.stages.stage import Columns, Stage, need_candidates


class Reader(Stage):
    """What labelers, filters and samplers share: they read columns of living rows."""

    def reads(self) -> tuple[str, ...]:
        """The score columns it reads: the field ``by``, if it has one."""
        by = getattr(self, "by", None)
        return () if by is None else (by,)

    def check_columns(self, columns: Columns, ctx: Context) -> Columns:
        """Every column it reads must exist, and ``score`` must mean one of them."""
        need_candidates(self, columns)
        for by in self.reads():
            if by == "score" and columns.latest is None:
                raise PipelineError(self._no_score(columns))
            if by != "score" and by not in columns.names:
                have = ", ".join(repr(name) for name in columns.names) or "none"
                raise PipelineError(f"{self!r}: there is no score column {by!r} here; there is: {have}.")
        return columns

    def _no_score(self, columns: Columns) -> str:
        name = type(self).__name__
        if len(columns.mixed) > 1:
            listed = " and ".join(repr(column) for column in columns.mixed)
            return (
                f"{name}(by='score'): after '+' the scores of {listed} do not compare, so there is no 'score'. "
                f"Add a scorer or pass by={columns.mixed[-1]!r}."
            )
        return f"{name}(by='score'): its candidates have no score. Add a scorer, such as BiEncoder('student')."

    def _living(self, pairs: Pairs) -> tuple[NDArray[np.int64], Pairs]:
        rows = np.flatnonzero(pairs.alive)
        view = pairs.take(rows)
        candidate = view.label == CANDIDATE
        for by in self.reads():
            holes = int((np.isnan(view[by]) & candidate).sum())
            if holes:
                raise PipelineError(
                    f"{self!r}: {holes:,} of {int(candidate.sum()):,} candidates have no score {view.column(by)!r}, "
                    f"and what made the others cannot score them. Add a scorer before it."
                )
        return rows, view


class ListScorer(Reader):
    """Adds a column that depends on a query's whole list, such as a weight. An author writes ``rate``.

    The column is nobody's similarity: ``score`` keeps its meaning, and rows that join later are not rated.
    """

    family = "scorer"

    @property
    def column(self) -> str:
        """The column it writes."""
        raise NotImplementedError

    def rate(self, view: Pairs) -> NDArray[np.floating]:
        """A finite value for each row of the living lists, (n,)."""
        raise NotImplementedError

    def judge(self, view: Pairs, ctx: Context) -> NDArray[np.floating]:
        """As ``rate``, for the few that need vectors or texts besides the columns."""
        return self.rate(view)

    def run(self, pairs: Pairs, ctx: Context, step: int) -> Pairs:
        """Rate positives and living candidates."""
        rows, view = self._living(pairs)
        values = np.full(len(pairs), np.nan, np.float32)
        values[rows] = self.judge(view, ctx)
        bad = int((~np.isfinite(values[rows])).sum())
        if bad:
            raise PipelineError(f"{self!r}: {bad:,} values are NaN or infinite. Check its parameters and scores.")
        return replace(pairs, scores={**pairs.scores, self.column: values})

    def check_columns(self, columns: Columns, ctx: Context) -> Columns:
        """What it reads must be there; its column is new, and ``score`` means what it meant."""
        columns = super().check_columns(columns, ctx)
        names = (*(n for n in columns.names if n != self.column), self.column)
        return replace(columns, names=names, origins={**columns.origins, self.column: self.full()})


class Labeler(Reader):
    """Changes labels. An author writes ``relabel``: 1 positive, 0 candidate, -1 set aside."""

    family = "labeler"

    def relabel(self, view: Pairs) -> NDArray[np.int8]:
        """New labels, int8 (n,)."""
        raise NotImplementedError

    def run(self, pairs: Pairs, ctx: Context, step: int) -> Pairs:
        """Relabel the living rows."""
        rows, view = self._living(pairs)
        new = np.asarray(self.relabel(view), np.int8)
        if not np.all(np.isin(new, (POSITIVE, CANDIDATE, SET_ASIDE))):
            raise PipelineError(f"{self!r}: labels must be 1, 0 or -1.")
        label = pairs.label.copy()
        label[rows] = new
        return replace(pairs, label=label)


class Filter(Reader):
    """Drops candidates. An author writes ``keep``; positives always survive.

    A filter that ``judges`` says that a document is probably relevant: it never comes back, through whatever branch.
    The others are windows: they leave out. A window of places in a list (``by_rank``) has no opinion of documents that
    no source returned.
    """

    family = "filter"
    judges: ClassVar[bool] = False
    online: ClassVar[bool] = True
    by_rank: ClassVar[bool] = False

    def relaxed(self, step: int) -> Filter | None:
        """A looser threshold where candidates do not suffice; None if this filter never gives way (any further).

        Args:
            step: 1, 2, …; each is looser than the one before. Never so loose that what beats the positive passes.
        """
        return None

    def keep(self, view: View) -> Any:
        """Which rows stay; booleans of the view's shape, by operators that numpy and torch share."""
        raise NotImplementedError

    def decide(self, view: Pairs, ctx: Context) -> NDArray[np.bool_]:
        """As ``keep``, for the few that read text or metadata and therefore work on collections only."""
        return np.asarray(self.keep(view), np.bool_)

    def run(self, pairs: Pairs, ctx: Context, step: int) -> Pairs:
        """Mark what is dropped with this step."""
        rows, view = self._living(pairs)
        gone = (view.label == CANDIDATE) & ~self.decide(view, ctx)
        dropped = pairs.dropped.copy()
        dropped[rows[gone]] = step if self.judges else -step
        return replace(pairs, dropped=dropped)


class Sampler(Reader):
    """Keeps at most k candidates per query. An author writes ``logits``.

    A noisy sampler draws without replacement with probability proportional to ``exp(logits)``: Gumbel noise keyed by
    (seed, query id, document id), then the k largest. ``-inf`` is never drawn.
    """

    family = "sampler"
    noisy: ClassVar[bool] = True
    k: int

    def check(self) -> None:
        """At least one negative per query."""
        if self.k < 1:
            raise SpecError(f"{type(self).__name__}(k={self.k}): k must be at least 1.")

    def logits(self, view: View) -> Any:
        """Unnormalised log-probabilities (n,), or the values to rank by if the sampler is not noisy."""
        raise NotImplementedError

    def weigh(self, view: Pairs, ctx: Context) -> NDArray[np.float64]:
        """As ``logits``, for the few that need vectors or texts and therefore work on collections only."""
        return np.asarray(self.logits(view), np.float64)

    def draw(self, view: Pairs, logits: NDArray[np.float64], ctx: Context) -> NDArray[np.float64]:
        """The values whose k largest are kept, ``-inf`` for none; for the few whose k draws depend on one another."""
        if not self.noisy:
            return logits
        return logits + noise.gumbel(ctx.seed, type(self).__name__, *ctx.keys(view.query, view.doc))

    def run(self, pairs: Pairs, ctx: Context, step: int) -> Pairs:
        """Mark the candidates that are not among the k with minus this step."""
        rows, view = self._living(pairs)
        logits = self.weigh(view, ctx)
        candidates = view.label == CANDIDATE
        bad = candidates & ~(np.isfinite(logits) | np.isneginf(logits))
        if bad.any():
            remedy = "Check its parameters and scores."
            if (segments.count(view.label == POSITIVE, view.starts)[segments.count(bad, view.starts) > 0] == 0).all():
                remedy = "Their queries have no positive to compare with: skip those, or use Softmax, Uniform or Top."
            raise PipelineError(f"{self!r}: the logits of {int(bad.sum()):,} candidates are NaN or infinite. {remedy}")
        drawn = np.where(candidates, self.draw(view, logits, ctx), -np.inf)
        chosen = segments.topk_mask(drawn, view.starts, self.k, view.doc)
        dropped = pairs.dropped.copy()
        dropped[rows[candidates & ~chosen]] = -step
        return replace(pairs, dropped=dropped)
