"""How much each negative counts: corrections of the loss that can be computed once, as a column."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from foils.core import segments
from foils.core.errors import PipelineError
from foils.core.pairs import CANDIDATE, Pairs
from foils.core.segments import Reduction
from foils.core.spec import declare, require
from foils.stages.cosines import cosines
from foils.stages.readers import ListScorer


@declare
class Debiased(ListScorer):
    """Weights of negatives some of which are positives nobody marked (DCL), the hard ones counting more (HCL).

    With them, ``-s⁺ + log(exp s⁺ + Σ w_j exp s_j)`` is the debiased contrastive loss over the list as it is then,
    s in units of the temperature t: of N negatives a share τ is taken to be positive, and
    ``Σ w_j exp s_j = max((R - τ N exp s⁺)/(1 - τ), N exp(-1/t))`` with ``R = N Σ exp((1+β) s_j) / Σ exp(β s_j)``.
    Within a list, ``w_j ∝ exp(β s_j)``. Put it last: a weight belongs to the list it was computed for.

    Chuang et al. 2020, arXiv:2007.00224 (β = 0, τ = 0.1); Robinson et al. 2021, arXiv:2010.04592 (β = 1). Theirs were
    images at t = 0.5; 0.05 is usual for text, where the lower bound is often reached, and mined negatives hold far more
    false ones than random negatives do. Scores must be cosines, as the bound is. Computed in logarithms. Column:
    ``weight`` (1 for positives); ``score`` keeps its meaning.
    """

    tau: float = 0.1  # share of false negatives, 0 to below 1
    beta: float = 0.0  # how much more the hard ones count; >= 0
    temperature: float = 0.05  # of the loss that will use the weights; above 0
    positives: Reduction = "mean"  # which of several positives stands for the false negatives
    by: str = "score"  # score column, of cosines

    def check(self) -> None:
        """Bounds."""
        require(0 <= self.tau < 1, self, "tau", "at least 0 and below 1")
        require(self.beta >= 0, self, "beta", "at least 0")
        require(self.temperature > 0, self, "temperature", "above 0")

    @property
    def column(self) -> str:
        """Always ``weight``."""
        return "weight"

    def rate(self, view: Pairs) -> NDArray[np.floating]:
        """Weight of each candidate in its list; 1 for positives."""
        score = cosines(view[self.by], self.by, self) / self.temperature
        positive = cosines(view.positive(self.by, self.positives), self.by, self) / self.temperature
        candidate = view.label == CANDIDATE
        lonely = int(np.isnan(positive[candidate]).sum()) if self.tau else 0
        if lonely:
            raise PipelineError(
                f"{self!r}: {lonely:,} candidates belong to queries without a positive, so their expected false "
                "negatives are unknown. Skip those queries, or pass tau=0."
            )
        return np.where(candidate, np.exp(self._log_weights(score, positive, candidate, view.starts)), 1.0)

    def _log_weights(
        self,
        score: NDArray[np.float64],
        positive: NDArray[np.float64],
        mask: NDArray[np.bool_],
        starts: NDArray[np.int64],
    ) -> NDArray[np.float64]:
        # All sums over a list are means here: N cancels.
        tilt = _log_mean(self.beta * score, mask, starts)
        mean = _log_mean((1 + self.beta) * score, mask, starts) - tilt  # log R/N
        total = mean
        if self.tau:
            with np.errstate(divide="ignore", invalid="ignore"):
                false = np.log(self.tau) + positive - mean
                rest = mean + np.log1p(-np.exp(np.minimum(false, 0.0))) - np.log1p(-self.tau)
            total = np.maximum(rest, -1 / self.temperature)
        return np.where(mask, self.beta * score - tilt + total - mean, 0.0)


@declare
class Doubted(ListScorer):
    """Weights of negatives by how likely a judge thinks them to be relevant: doubtful ones count less, none is dropped.

    ``w = 1 - p``, with p the probability that the column ``by`` holds, such as a cross-encoder's. In
    ``-s⁺ + log(exp s⁺ + Σ w_j exp s_j)`` a weight of 0 leaves the negative out and 1 changes nothing, so this is the
    soft form of a bound such as ``Between(hi=0.1)``. It has no paper of its own; calibrate the judge first, since
    an over-confident one only moves the bound. Column: ``weight`` (1 for positives); ``score`` keeps its meaning.
    """

    by: str = "score"  # score column, of probabilities

    @property
    def column(self) -> str:
        """Always ``weight``."""
        return "weight"

    def rate(self, view: Pairs) -> NDArray[np.floating]:
        """Weight of each candidate; 1 for positives."""
        candidate = view.label == CANDIDATE
        probability = np.where(candidate, view[self.by], 0.0)
        beyond = (probability < 0) | (probability > 1)
        if beyond.any():
            raise PipelineError(
                f"{self!r}: {int(beyond.sum()):,} of {int(candidate.sum()):,} scores are no probabilities, such as "
                f"{probability[beyond][0]:.4g}. Use a cross-encoder whose scale is 'probability'."
            )
        return 1.0 - probability


def _log_mean(values: NDArray[np.float64], mask: NDArray[np.bool_], starts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Logarithm of the mean of ``exp(values)`` over the masked rows of each query, for each row."""
    peak = segments.spread(segments.reduce(values, mask, starts, "max"), starts)
    scaled = np.exp(np.where(mask, values - peak, -np.inf))
    mean = segments.spread(segments.reduce(scaled, mask, starts, "mean"), starts)
    log: NDArray[np.float64] = np.log(mean) + peak
    return log
