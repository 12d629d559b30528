"""Stages that write a score column: a *source* may only add rows, a *scorer* only a column.

The base classes guarantee this; a strategy is one method of mathematics. See `foils.stages.readers` for the others.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from foils.core import segments
from foils.core.errors import ModelError
from foils.core.pairs import CANDIDATE, Pairs, union
from foils.core.spec import Declared, require
from foils.stages.context import Context
from foils.stages.stage import Columns, Stage, complete, need_candidates

# Names that mean something in columns and sources.
_TAKEN = (
    "score",
    "bm25",
    "run",
    "trajectory",
    "grade",
    "weight",
    "relevance",
    "random",
    "deepened",
    "relaxed",
    "qrels",
    "written",
)


class Writer(Stage):
    """What sources and scorers share: they write a column. An author writes ``score``."""

    partial: ClassVar[bool] = False  # whether NaN may stand where there is nothing to compare with

    @property
    def column(self) -> str | None:
        """The score column it writes, or None if there is no score."""
        return None

    def origin(self, model: Callable[[str], object]) -> str:
        """What makes the numbers of its column: stages of one origin may share a column, others may not.

        Args:
            model: tells the weights of a model by its name in the pipeline.
        """
        return json.dumps([self.column, *map(model, self.encoders())], sort_keys=True)

    def score(self, query: NDArray[np.int32], doc: NDArray[np.int32], ctx: Context) -> NDArray[np.float32]:
        """Score of each (query, doc), float32 (n,), finite (or NaN if ``partial``); higher is closer."""
        raise NotImplementedError

    def scored(self, query: NDArray[np.int32], doc: NDArray[np.int32], ctx: Context) -> NDArray[np.float32]:
        """As ``score``; a model that returns NaN or infinity is refused with `ModelError`."""
        values = self.score(query, doc, ctx)
        self.refuse_infinite(values[~np.isnan(values)] if self.partial else values)
        return values

    def refuse_infinite(self, values: NDArray[np.float32]) -> None:
        """Raise `ModelError` unless all scores are finite."""
        bad = int((~np.isfinite(values)).sum())
        if bad:
            raise ModelError(f"{self!r}: {bad:,} of {values.size:,} scores are NaN or infinite. Check the model.")


def check_model_name(stage: Declared, field: str = "encoder") -> None:
    """Refuse names of models that mean something else where their columns are read."""
    named = getattr(stage, field)
    for name in (named,) if isinstance(named, str) else named:
        bound = f"another name: not empty, {', '.join(_TAKEN[:-1])} or {_TAKEN[-1]}, and without '+'"
        require(name != "" and name not in _TAKEN and "+" not in name, stage, field, bound)


class Source(Writer):
    """Adds candidates. An author writes ``retrieve`` and, if it can score any pair, ``score``.

    The base class keeps known positives (label 1), gives every row that is already there a score too, and keeps exactly
    the k best new candidates besides the positives, whatever the block. Of documents with the same normalised text only
    the first one of the corpus becomes a candidate.
    """

    family = "source"
    k: int

    @property
    def kind(self) -> str:
        """What its candidates' ranks are called: its column, or its own name in small letters."""
        return self.column or type(self).__name__.lower()

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
        documents = len(ctx.data.base.corpus)
        room = min(self.k, documents) + min(self.k, ctx.data.copies)
        depth = np.minimum(room + known, documents)
        doc, score = self._to_depth(depth, ctx)
        self.refuse_infinite(score[doc >= 0])
        name = self.kind
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
        need_candidates(self, columns)
        names = (*(n for n in columns.names if n != self.column), self.column)
        origins = {**columns.origins, self.column: self.origin(ctx.identity)}
        return Columns(names, self.column, (), True, origins)
