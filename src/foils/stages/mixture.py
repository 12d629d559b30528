"""Positives that look wrong: a mixture of two kinds of (query, positive) pairs."""

from __future__ import annotations

import logging

import numpy as np
from numpy.typing import NDArray

from foils.core.mixture import Mixture, two_kinds
from foils.core.pairs import POSITIVE, Pairs
from foils.core.spec import declare, require
from foils.stages.context import Context
from foils.stages.readers import ListScorer
from foils.stages.sources import Random
from foils.stages.writers import check_model_name

_BLOCK = 512  # queries worked on at a time

log = logging.getLogger(__name__)


@declare
class MixtureNoise(ListScorer):
    """Weights of positives by whether the pair looks annotated in error: 0 for the doubted, 1 for the others.

    NPC's detection (Zhang et al. 2023, Noisy Pair Corrector for Dense Retrieval, arXiv:2311.03798, section 3.2). A
    pair's perplexity is its loss among random documents, none of them a known positive:
    ``PPL = -ln(exp(s⁺/t) / (exp(s⁺/t) + Σ_j exp(s_j/t)))``. Mined documents would not do: with hard ones right pairs
    have a high loss, too. A mixture of two normal distributions is fitted to the perplexities of all positives of all
    queries that are mined; a pair is doubted if the probability that it is of the low kind is at most ``at`` (the
    paper's 0.5). With ``soft`` that probability is the weight itself. Below the low mean it is 1, and it never rises
    with the perplexity, which the plain posterior does in both tails.

    Annotations without errors have one kind only, of which the mixture would doubt the hard half. So nobody is doubted
    unless two normal distributions describe the perplexities better than one (BIC), their means are two deviations
    apart (`foils.core.mixture.two_kinds`), and the high kind is at most the share ``most``. The log says what was
    found.

    The temperature need not be that of the loss. Small ones stretch the high kind, which then takes right pairs, too;
    with cosines 1 is nearly linear in the score. On 16,182 question and passage pairs of Wikipedia with a static model
    and one pair in ten replaced at random, it doubts 93 % of the wrong pairs and 3 % of the right ones; 0.05 finds two
    kinds only where half is wrong, and then doubts 35 % of the right ones. Both doubt nobody where nothing is replaced.

    The model should have seen some ordinary training, but not much: it comes to know the errors by heart. Doubted
    positives stay positives, that is, they never become negatives. Column: ``weight``, 1 for candidates; use it as
    ``InfoNCE(weight='weight') + Consistency()``. ``score`` keeps its meaning.
    """

    encoder: str  # name of the bi-encoder, the model as it has been trained so far
    k: int = 64  # random documents that a pair is compared with
    temperature: float = 1.0  # t; above 0
    at: float = 0.5  # probability of being right up to which a pair is doubted; 0 to below 1
    most: float = 0.6  # share of the high kind above which nobody is doubted; above 0, at most 1
    soft: bool = False  # whether the probability is the weight

    def check(self) -> None:
        """Bounds; the name must not mean something else."""
        check_model_name(self)
        require(self.k >= 1, self, "k", "at least 1")
        require(self.temperature > 0, self, "temperature", "above 0")
        require(0 <= self.at < 1, self, "at", "at least 0 and below 1")
        require(0 < self.most <= 1, self, "most", "above 0 and at most 1")

    @property
    def column(self) -> str:
        """Always ``weight``."""
        return "weight"

    def judge(self, view: Pairs, ctx: Context) -> NDArray[np.floating]:
        """Weight of each positive, by the mixture of all; 1 for candidates."""
        mixture = ctx.once(("mixture of positives", self, ctx.split), lambda: self._fitted(ctx))
        weights, positive = np.ones(len(view)), np.flatnonzero(view.label == POSITIVE)
        if mixture is not None and len(positive):
            right = mixture.low(self.perplexity(view.query[positive], view.doc[positive], ctx))
            weights[positive] = right if self.soft else right > self.at
        return weights

    def _fitted(self, ctx: Context) -> Mixture | None:
        """The mixture of the known positives of all queries; the same for every block of them."""
        known = ctx.data.positives(ctx.split)
        known = known.take(np.isin(known.query, ctx.rows) & (ctx.data.same[known.doc] == known.doc))
        values = self.perplexity(known.query, known.doc, ctx)
        mixture = two_kinds(values)
        if mixture is None:
            log.info("%r: the perplexities of %s positives are of one kind; none is doubted.", self, f"{len(values):,}")
        elif mixture.shares[1] > self.most:
            text = "%r: %.0f %% of %s positives are of the high kind, more than can be errors; none is doubted."
            log.info(text, self, 100 * mixture.shares[1], f"{len(values):,}")
            mixture = None
        else:
            doubted = int((mixture.low(values) <= self.at).sum())
            text = "%r: %s of %s positives are doubted; the mean perplexity of the two kinds is %.3g and %.3g."
            log.info(text, self, f"{doubted:,}", f"{len(values):,}", *mixture.means)
        return mixture

    def perplexity(self, query: NDArray[np.int32], doc: NDArray[np.int32], ctx: Context) -> NDArray[np.float64]:
        """``PPL`` of each pair, float64 (n,); a pure function of the pair, its query's known positives and the seed.

        Args:
            query: rows, ascending, (n,).
            doc: rows, (n,).
            ctx: the surroundings.
        """
        distinct, at = np.unique(query, return_inverse=True)
        against = np.concatenate(
            [np.zeros(0), *(self._against(distinct[i : i + _BLOCK], ctx) for i in range(0, len(distinct), _BLOCK))]
        )
        own = ctx.similarity(self.encoder, query, doc).astype(np.float64) / self.temperature
        found: NDArray[np.float64] = np.logaddexp(0.0, against[at] - own)
        return found

    def _against(self, query: NDArray[np.int32], ctx: Context) -> NDArray[np.float64]:
        """``ln Σ exp(s_j/t)`` over each query's k random documents, fewer where there are no more."""
        known = ctx.data.positives(ctx.split)
        known = known.take(np.isin(known.query, query))
        most = int(np.bincount(np.searchsorted(query, known.query)).max(initial=0))
        doc = Random(k=self.k).retrieve(query, self.k + most, ctx)[0]
        drawn = Pairs.build(np.repeat(query, doc.shape[1]), doc.ravel())
        free = (known.find(drawn) < 0).reshape(doc.shape)
        free &= np.cumsum(free, axis=1) <= self.k
        line, column = np.nonzero(free)
        scores = np.full(doc.shape, -np.inf)
        scores[line, column] = ctx.similarity(self.encoder, query[line], doc[line, column])
        sums: NDArray[np.float64] = np.logaddexp.reduce(scores / self.temperature, axis=1)
        return sums
