"""Denoised negatives: the first candidates of the ranking that a cross-encoder finds irrelevant."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from foils.core import segments
from foils.core.errors import PipelineError
from foils.core.pairs import CANDIDATE, POSITIVE, Pairs
from foils.core.ragged import expand
from foils.core.spec import declare, require
from foils.stages.context import Context
from foils.stages.readers import Sampler
from foils.stages.scorers import CrossEncoder
from foils.stages.stage import Columns
from foils.stages.writers import check_model_name


@declare
class Denoise(Sampler):
    """The first k candidates of the ranking whose probability under a cross-encoder is below ``hi``.

    RocketQA's denoised negatives (Qu et al. 2021, arXiv:2010.08191, section 4.2): of the top 50, walk down the ranking
    and keep what has ``t < 0.1``, until 4 for each positive are kept: ``Dense('student', k=50) >> Denoise('teacher',
    k=4, per='positive')``. First fit: no earlier candidate that would pass is skipped.

    It equals ``CrossEncoder('teacher') >> Between(hi=0.1) >> Top(k=4, by='student')`` but for a probability of exactly
    ``hi``, and scores only the pairs that a walk one by one would score: in each round, of all queries that lack some,
    the next as many candidates as they lack. Those never reached have no score. Positives are scored as well. Of a
    query that finds too few the list stays short; `Ensure` says what else (random documents pass the same check, which
    the released code's do not). A candidate at ``hi`` or above is judged: it comes back through no other branch.

    Score column: the cross-encoder's name. ``hi`` needs probabilities; those of `foils.teach` are calibrated.
    """

    encoder: str  # name of the cross-encoder
    k: int = 4  # negatives wanted
    hi: float = 0.1  # first probability that is too high
    per: Literal["query", "positive"] = "query"  # k for each query, or for each of its positives (none count as one)
    by: str = "score"  # score column whose ranking is walked down
    noisy = False
    crosses = True

    def check(self) -> None:
        """Bounds of k and the probability."""
        super().check()
        check_model_name(self)
        require(0 < self.hi <= 1, self, "hi", "above 0 and at most 1")

    @property
    def column(self) -> str:
        """The cross-encoder's name."""
        return self.encoder

    def check_columns(self, columns: Columns, ctx: Context) -> Columns:
        """The ranking must be there, and the scores be probabilities."""
        columns = super().check_columns(columns, ctx)
        if self.column in self.reads():
            raise PipelineError(f"{self!r}: it writes {self.column!r} and cannot walk that ranking. Pass another by=.")
        if ctx.reranker(self.encoder).scale != "probability":
            raise PipelineError(
                f"{self!r}: the scores of {self.encoder!r} are logits, but hi={self.hi} is a probability. Give a "
                f"calibrated cross-encoder (foils teach), or CrossEncoder({self.encoder!r}) >> Between(hi=…) in logits."
            )
        names = (*(n for n in columns.names if n != self.column), self.column)
        origins = {**columns.origins, self.column: self._scorer.origin(ctx.identity)}
        return Columns(names, self.column, (), True, origins)

    @property
    def _scorer(self) -> CrossEncoder:
        return CrossEncoder(self.encoder)

    def weigh(self, view: Pairs, ctx: Context) -> NDArray[np.float64]:
        """The ranking's score of what would pass, ``-inf`` of the rest, with every row scored: what `run` avoids."""
        passes = self._scorer.scored(view.query, view.doc, ctx) < self.hi
        return np.where(passes, view[self.by].astype(np.float64), -np.inf)

    def run(self, pairs: Pairs, ctx: Context, step: int) -> Pairs:
        """Walk down all rankings together."""
        rows, view = self._living(pairs)
        walk = np.flatnonzero(view.label == CANDIDATE)
        walk = walk[np.lexsort((view.doc[walk], -view[self.by][walk].astype(np.float64), view.query[walk]))]
        scores, kept = self._walked(view, walk, ctx)
        low = np.isnan(scores) | (scores < self.hi)
        gone = (view.label == CANDIDATE) & ~kept
        values = np.full(len(pairs), np.nan, np.float32)
        values[rows] = scores
        dropped = pairs.dropped.copy()
        dropped[rows[gone]] = np.where(low[gone], -step, step)
        ctx.scorers[self.column] = self._scorer
        return replace(pairs.with_scores(self.column, values), dropped=dropped)

    def _walked(
        self, view: Pairs, walk: NDArray[np.int64], ctx: Context
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Scores of the rows that were reached, NaN elsewhere, and which rows are kept.

        Args:
            view: the living rows.
            walk: the candidates among them, query by query in order of rank.
            ctx: the surroundings.
        """
        scores, kept = np.full(len(view), np.nan, np.float32), np.zeros(len(view), bool)
        positives = segments.count(view.label == POSITIVE, view.starts)
        begins = segments.starts_of(view.query[walk])
        owner = np.searchsorted(view.queries, view.query[walk][begins[:-1]])
        lacking = self.k * (np.maximum(positives[owner], 1) if self.per == "positive" else np.ones(len(owner), int))
        reached, ends = begins[:-1].copy(), begins[1:]
        reading = np.flatnonzero(view.label == POSITIVE)
        while True:
            take = np.minimum(lacking, ends - reached)
            which, at = expand(reached, take)
            reading = np.concatenate((reading, walk[at]))
            if not len(reading):
                return scores, kept
            scores[reading] = self._scorer.scored(view.query[reading], view.doc[reading], ctx)
            passed = scores[walk[at]] < self.hi
            kept[walk[at[passed]]] = True
            lacking = lacking - np.bincount(which[passed], minlength=len(lacking))
            reached, reading = reached + take, np.zeros(0, np.int64)

    def judged(self, pairs: Pairs, ctx: Context, step: int) -> Pairs:
        """Score the living candidates that lack a score and drop those that are too high.

        `Ensure` checks random documents so, which have no place in the ranking.
        """
        values = pairs.scores.get(self.column, np.full(len(pairs), np.nan, np.float32)).copy()
        missing = np.flatnonzero(np.isnan(values) & pairs.alive)
        values[missing] = self._scorer.scored(pairs.query[missing], pairs.doc[missing], ctx)
        ctx.scorers[self.column] = self._scorer
        gone = pairs.alive & (pairs.label == CANDIDATE) & (values >= self.hi)
        dropped = np.where(gone, step, pairs.dropped).astype(np.int16)
        return replace(pairs.with_scores(self.column, values), dropped=dropped)
