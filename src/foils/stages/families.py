"""The five families of stages, told apart by what they may do.

A *source* may only add rows, a *scorer* only a column, a *labeler* only change labels, a *filter* only drop candidates,
a *sampler* only keep k of them. The base classes guarantee this; a strategy is one method of mathematics.
"""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from foils.core import noise, segments
from foils.core.errors import PipelineError, SpecError
from foils.core.pairs import CANDIDATE, POSITIVE, SET_ASIDE, Pairs, View, union
from foils.stages.context import Context
from foils.stages.stage import Columns, Stage, Writer, complete


class Source(Writer):
    """Adds candidates. An author writes ``retrieve`` and, if it can score any pair, ``score``.

    The base class keeps known positives (label 1), gives every row that is already there a score too, and keeps exactly
    the k best new candidates besides the positives, whatever the block. Of documents with the same normalised text only
    the first one of the corpus becomes a candidate.
    """

    family = "source"
    k: int

    def retrieve(
        self, query: NDArray[np.int32], depth: int, ctx: Context
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """The best ``depth`` documents of each query, best first.

        Returns:
            int32 documents (len(query), ≤ depth), padded with -1, and float32 scores of the same shape. The first
            columns must not depend on ``depth``.
        """
        raise NotImplementedError

    def deeper(self, factor: int) -> Stage:
        """``factor`` times its k."""
        return dataclasses.replace(self, k=self.k * factor)  # type: ignore[type-var]

    def run(self, pairs: Pairs, ctx: Context, step: int) -> Pairs:
        """Retrieve, merge with what is there, score the rows that were not retrieved."""
        # Room for the known positives, so that k others remain. A query's own depth decides what counts as returned:
        # the block's may be larger, and must not show.
        known = np.bincount(np.searchsorted(ctx.block, _known(pairs)), minlength=len(ctx.block))
        room = min(self.k, len(ctx.data.corpus)) + min(self.k, ctx.copies)
        depth = np.minimum(room + known, len(ctx.data.corpus))
        doc, score = self._to_depth(depth, ctx)
        self.refuse_infinite(score[doc >= 0])
        name = self.column or type(self).__name__.lower()
        pool = union([pairs, _found(ctx.block, doc, score, name, scored=self.column is not None)])
        copy = (ctx.data.same[pool.doc] != pool.doc) & (pool.ranks[name] > 0)
        pool = pool.take(_within(pool, np.where(copy, -1, pool.ranks[name]), pairs, self.k))
        if self.column is None:
            return pool
        ctx.scorers[name] = self
        return complete(replace(pool, latest=name), ctx)

    def _to_depth(self, depth: NDArray[np.int64], ctx: Context) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Retrieve for the block, each query to its own depth."""
        # One query with a thousand positives must not make a thousand queries search as deep.
        level = np.log2(depth / max(1, depth.min())).astype(np.int64)
        doc = np.full((len(depth), depth.max()), -1, np.int32)
        score = np.full(doc.shape, -np.inf, np.float32)
        for rows in (np.flatnonzero(level == each) for each in np.unique(level)):
            found, values = self.retrieve(ctx.block[rows], int(depth[rows].max()), ctx)
            doc[rows, : found.shape[1]], score[rows, : found.shape[1]] = found, values
        return np.where(np.arange(doc.shape[1]) < depth[:, None], doc, np.int32(-1)), score

    def check_columns(self, columns: Columns, ctx: Context) -> Columns:
        """A source can stand anywhere; a column of its name must hold scores of the same kind."""
        name = self.column
        if name is None:
            return replace(columns, candidates=True)
        origins = columns.shared({name: self.origin(ctx.identity)}, self)
        return Columns((*(n for n in columns.names if n != name), name), name, (), True, origins)


def _known(pairs: Pairs) -> NDArray[np.int32]:
    """The query of each row that is no candidate."""
    query: NDArray[np.int32] = pairs.query[pairs.label != CANDIDATE]
    return query


def _found(
    block: NDArray[np.int32], doc: NDArray[np.int32], score: NDArray[np.float32], name: str, *, scored: bool
) -> Pairs:
    width = doc.shape[1]
    valid = doc >= 0
    query = np.repeat(block, width).reshape(doc.shape)[valid]
    rank = np.broadcast_to(np.arange(1, width + 1, dtype=np.int32), doc.shape)[valid]
    return Pairs.build(query, doc[valid], scores={name: score[valid]} if scored else None, ranks={name: rank})


def _within(pool: Pairs, rank: NDArray[np.int32], before: Pairs, k: int) -> NDArray[np.bool_]:
    """Rows to keep: all that were there before, all positives, and the k best-ranked others of each query.

    Rank 0 was not returned; -1 was, but is another document's copy.
    """
    new = (rank != 0) & (pool.label == CANDIDATE)
    value = np.where(new & (rank > 0), -rank.astype(np.float64), -np.inf)
    keep: NDArray[np.bool_] = ~new | segments.topk_mask(value, pool.starts, k, pool.doc)
    if not keep.all():
        keep |= before.find(pool) >= 0
    return keep


class Scorer(Writer):
    """Adds a score column. An author writes ``score``; rows that are no longer alive are not scored."""

    family = "scorer"

    @property
    def column(self) -> str:
        """The score column it writes."""
        raise NotImplementedError

    def run(self, pairs: Pairs, ctx: Context, step: int) -> Pairs:
        """Score positives and living candidates with the same model."""
        values = np.full(len(pairs), np.nan, np.float32)
        alive = np.flatnonzero(pairs.alive)
        values[alive] = self.scored(pairs.query[alive], pairs.doc[alive], ctx)
        ctx.scorers[self.column] = self
        # The new column is a score, not a retrieval: a raw rank of the same name would belong to another model's list.
        return pairs.with_scores(self.column, values)

    def check_columns(self, columns: Columns, ctx: Context) -> Columns:
        """Candidates must be there; the new column becomes ``score``."""
        _need_candidates(self, columns)
        names = (*(n for n in columns.names if n != self.column), self.column)
        origins = {**columns.origins, self.column: self.origin(ctx.identity)}
        return Columns(names, self.column, (), True, origins)


def _need_candidates(stage: Stage, columns: Columns) -> None:
    if not columns.candidates:
        raise PipelineError(f"{stage!r}: there are no candidates yet. Begin with a source, such as BM25(k=100) >> …")


class Reader(Stage):
    """What labelers, filters and samplers share: they read columns of living rows."""

    def reads(self) -> tuple[str, ...]:
        """The score columns it reads: the field ``by``, if it has one."""
        by = getattr(self, "by", None)
        return () if by is None else (by,)

    def check_columns(self, columns: Columns, ctx: Context) -> Columns:
        """Every column it reads must exist, and ``score`` must mean one of them."""
        _need_candidates(self, columns)
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

    def run(self, pairs: Pairs, ctx: Context, step: int) -> Pairs:
        """Rate positives and living candidates."""
        rows, view = self._living(pairs)
        values = np.full(len(pairs), np.nan, np.float32)
        values[rows] = self.rate(view)
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
