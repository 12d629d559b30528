"""Rates and their intervals: direct, with unequal weights; assisted by a cheap judge; Rogan-Gladen.

The rate is that of a finite population, the mined negatives themselves. Items are drawn without replacement within
strata, so nothing need be assumed of negatives of one query being alike or not.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from foils.core.errors import FoilsError, SpecError

LEVEL = 0.95
_PRIOR = 2.0  # observations that each stratum's rate is drawn towards the overall one with, in its variance alone

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class UninformativeJudge(FoilsError):  # noqa: N818 - reads as what it is
    """A judge whose verdicts say nothing: sensitivity + specificity is 1 or less."""


@dataclass(frozen=True)
class Rate:
    """An estimated rate.

    Attributes:
        value: share of false negatives, 0 to 1.
        low: lower bound of the interval.
        high: upper bound.
    """

    value: float
    low: float
    high: float


def quantile(level: float) -> float:
    """The z of a two-sided interval of that level; 1.96 for .95.

    Raises:
        SpecError: a level that is not above 0 and below 1.
    """
    if not 0 < level < 1:
        raise SpecError(f"level={level}: it must be above 0 and below 1, such as 0.95.")
    return NormalDist().inv_cdf((1 + level) / 2)


def wilson(rate: float, size: float, level: float = LEVEL) -> tuple[float, float]:
    """Wilson's score interval (1927): ``(p + z²/2n ± z √(p(1-p)/n + z²/4n²)) / (1 + z²/n)``.

    Args:
        rate: p, 0 to 1.
        size: n, observations or the number that a design is worth; infinite: the interval is the point.
        level: of confidence.

    >>> [round(bound, 4) for bound in wilson(0.0, 50.0)]
    [0.0, 0.0713]
    """
    if size == np.inf:
        return rate, rate
    if size <= 0:
        return 0.0, 1.0
    z = quantile(level)
    centre, scale = rate + z * z / (2 * size), 1 + z * z / size
    half = z * np.sqrt(rate * (1 - rate) / size + z * z / (4 * size * size))
    low, high = (centre - half) / scale, (centre + half) / scale
    return float(max(0.0, low)) if rate > 0 else 0.0, float(min(1.0, high)) if rate < 1 else 1.0


@dataclass(frozen=True, eq=False)
class Labelled:
    """Judged items of a stratified sample, or of a part of it.

    Attributes:
        share: float64 (n,), 0 to 1: 1 for a false negative, or how much of one it is.
        stratum: int64 (n,).
        weight: float64 (n,), how many items each stands for: N_k / n_k.
    """

    share: Floats
    stratum: Ints
    weight: Floats

    def __len__(self) -> int:
        return len(self.share)

    def take(self, rows: NDArray[np.bool_]) -> Labelled:
        """Some of the items."""
        return Labelled(self.share[rows], self.stratum[rows], self.weight[rows])


@dataclass(frozen=True, eq=False)
class _Cells:
    """What strata with items in them add up to: judged n, items N, share W of all, and what is left to chance."""

    place: Ints
    n: Floats
    N: Floats
    W: Floats
    left: Floats

    @classmethod
    def of(cls, found: Labelled) -> _Cells:
        _, place = np.unique(found.stratum, return_inverse=True)
        n, N = np.bincount(place).astype(np.float64), np.bincount(place, found.weight).astype(np.float64)
        left = np.clip((N - n) / np.maximum(N - 1, 1), 0, 1)  # finite population: nothing, if all are judged
        left[N - n < 1e-9 * N] = 0
        return cls(place, n, N, N / N.sum(), left)


def direct(found: Labelled, level: float = LEVEL) -> Rate:
    """``Σ_k W_k ȳ_k`` with a Wilson interval for the number of observations that the design is worth.

    That number is ``p̃(1-p̃)/V``, ``V = Σ_k W_k² p̃_k(1-p̃_k)/n_k · (N_k-n_k)/(N_k-1)``, where ``p̃_k = (f_k + 2p*)/(n_k
    + 2)`` draws each stratum's rate towards the overall one, ``p* = (p·n + z²/2)/(n + z²)`` (Agresti and Coull 1998),
    and ``p̃ = Σ W_k p̃_k``: most strata of a low rate have no false negative in the sample, and their plain variance
    would be 0, which is why a bootstrap within strata covers too seldom. One stratum: Wilson's own interval. Intervals
    for proportions of complex samples by an effective number: Franco, Little, Louis and Slud 2019, JSSAM 7(3).
    Shares between 0 and 1 have the variance of verdicts drawn with those odds, so that doubt widens the interval.

    An empty sample has the rate NaN between 0 and 1.
    """
    if not len(found):
        return Rate(float("nan"), 0.0, 1.0)
    cells = _Cells.of(found)
    rate = _rate(found, cells)
    return Rate(rate, *wilson(rate, _worth(found, cells, rate, level), level))


def _rate(found: Labelled, cells: _Cells) -> float:
    return float(np.clip(cells.W @ (np.bincount(cells.place, found.share) / cells.n), 0, 1))


def _worth(found: Labelled, cells: _Cells, rate: float, level: float) -> float:
    """Independent observations that have the same variance."""
    z2 = quantile(level) ** 2
    centre = (rate * len(found) + z2 / 2) / (len(found) + z2)
    drawn = (np.bincount(cells.place, found.share) + _PRIOR * centre) / (cells.n + _PRIOR)
    variance = float((cells.W**2 * cells.left / cells.n * drawn * (1 - drawn)).sum())
    whole = float(cells.W @ drawn)
    return whole * (1 - whole) / variance if variance > 0 else float("inf")


@dataclass(frozen=True)
class Assisted:
    """A rate that a cheap judge sharpened.

    Attributes:
        rate: value and interval.
        tuning: λ, how far the cheap judge is followed; 0 where it says nothing.
        correlation: of its verdicts with the good judge's, within strata.
    """

    rate: Rate
    tuning: float
    correlation: float


def assisted(
    found: Labelled, cheap: Floats, mean: float, *, first: Labelled | None = None, level: float = LEVEL
) -> Assisted:
    """Tuned prediction-powered estimate, stratified: ``Σ_k W_k ȳ_k + λ (J̄ - Σ_k W_k j̄_k)``.

    Prediction-powered inference (Angelopoulos et al. 2023, arXiv:2301.09633; the tuning: arXiv:2311.01453); for a
    finite population it is the survey samplers' regression estimator. ``λ = Cov(y, j)/Var(j)`` within strata, weighted
    as they weigh in the variance: the cheap judge has judged the whole population, so its mean is no estimate and the
    factor ``1 + n/N`` of `prediction_powered` falls away. A λ below 0 is taken for 0.

    The interval is `direct`'s, with as many observations as ``n_eff/(1-ρ²)``; ``ρ = r·S/(S+1)``, where r is the
    correlation within strata and S the sum of squares of y: with few false negatives in the sample, r may be 1 by luck.

    Args:
        found: what the good judge judged.
        cheap: the cheap judge's verdicts or probabilities of the same items, float64 (n,).
        mean: J̄, the mean of the cheap judge's over the population.
        first: if the cheap judge has judged a larger sample only, that sample with its verdicts as shares; ``mean`` is
            then its estimate there, and adds to the variance.
        level: of confidence.
    """
    plain = direct(found, level)
    if not len(found):
        return Assisted(plain, 0.0, 0.0)
    cells = _Cells.of(found)
    y, j = (_centred(values, cells) for values in (found.share, cheap))
    weigh = np.where(cells.n > 1, cells.W**2 * cells.left / (cells.n * np.maximum(cells.n - 1, 1)), 0.0)
    total = float(weigh @ (cells.n - 1))
    weigh = weigh * (len(found) / total) if total > 0 else weigh
    each = weigh[cells.place]
    yy, jj, yj = (float((each * product).sum()) for product in (y * y, j * j, y * j))
    if jj <= 1e-12 or yy <= 1e-12 or yj <= 0:
        return Assisted(plain, 0.0, 0.0)
    tuning, r = yj / jj, yj / np.sqrt(yy * jj)
    there = float(cells.W @ (np.bincount(cells.place, cheap) / cells.n))
    value = float(np.clip(_rate(found, cells) + tuning * (mean - there), 0, 1))
    sure = (min(1.0, r) * yy / (yy + 1)) ** 2
    chance = (1 - sure) / _worth(found, cells, plain.value, level)
    if first is not None:
        whole = _Cells.of(first)
        chance += sure / _worth(first, whole, _rate(first, whole), level)
    size = 1 / chance if chance > 0 else float("inf")
    return Assisted(Rate(value, *wilson(value, size, level)), float(tuning), float(r))


def _centred(values: Floats, cells: _Cells) -> Floats:
    means = np.bincount(cells.place, values) / cells.n
    return values - means[cells.place]


def prediction_powered(y: Floats, judged: Floats, others: Floats, tuning: float | None = None) -> float:
    """``λ·mean(j of the unlabelled) + mean(y - λ·j of the labelled)``, for one simple random sample.

    ``λ = Cov(y, j) / (Var(j)(1 + n/N))`` unless given; 0 for a constant judge, which leaves the mean of y.

    Args:
        y: labels, (n,).
        judged: the cheap judge's verdicts on the same items, (n,).
        others: its verdicts on the N items without a label.
        tuning: λ; 1 for the untuned estimator.
    """
    if tuning is None:
        spread = float(np.var(np.concatenate([judged, others])))
        bound = float(np.cov(y, judged, ddof=0)[0, 1]) if len(y) > 1 else 0.0
        tuning = bound / (spread * (1 + len(y) / max(1, len(others)))) if spread > 0 else 0.0
    return float(tuning * others.mean() + (y - tuning * judged).mean()) if len(others) else float(y.mean())


def rogan_gladen(share: float, sensitivity: float, specificity: float) -> float:
    """``(j̄ + Sp - 1)/(Se + Sp - 1)``, within 0 to 1: a judge's share of positives, corrected for its errors.

    Rogan and Gladen 1978, Am. J. Epidemiol. 107(1). Its variance is large; it is reported, never the headline.

    Raises:
        UninformativeJudge: Se + Sp is 1 or less.
    """
    refuse_uninformative(sensitivity, specificity)
    return float(np.clip((share + specificity - 1) / (sensitivity + specificity - 1), 0, 1))


def refuse_uninformative(sensitivity: float, specificity: float, name: str = "the judge") -> None:
    """Raise for a judge that says nothing.

    Raises:
        UninformativeJudge: Se + Sp is 1 or less.
    """
    if sensitivity + specificity <= 1:
        raise UninformativeJudge(
            f"{name} finds {sensitivity:.1%} of what is relevant and as much as {1 - specificity:.1%} of what is not "
            f"(sensitivity + specificity = {sensitivity + specificity:.3f}, it must be above 1): its verdicts say "
            "nothing. Leave it out, or take another judge."
        )
