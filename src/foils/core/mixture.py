"""Two kinds among numbers: a mixture of two normal distributions, and whether there are two kinds at all."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_STEPS = 500
_ENOUGH = 1e-9  # change of the mean log-likelihood that ends the fit
_FLOOR = 1e-6  # least variance of a kind, relative to that of all numbers
_LEAST = 8  # numbers that two kinds can be told from
_APART = 2.0  # distance from which two kinds are apart; Ashman, Bird and Zepf


@dataclass(frozen=True)
class Mixture:
    """Two normal distributions, that of the lower mean first.

    Attributes:
        shares: of the numbers; they sum to 1.
        means: ascending.
        deviations: standard deviations.
    """

    shares: tuple[float, float]
    means: tuple[float, float]
    deviations: tuple[float, float]

    def low(self, values: NDArray[np.floating]) -> NDArray[np.float64]:
        """Probability that each number is of the low kind, float64 (n,), never rising with the number.

        Between the means it is the posterior. Below the low mean it is 1: there a narrow low kind would lose to a wide
        high one. Above the high mean it is what it is at that mean.
        """
        inside = np.clip(values.astype(np.float64), *self.means)
        low, high = (log_density(inside, *kind) for kind in self._kinds())
        return np.where(values <= self.means[0], 1.0, np.exp(low - np.logaddexp(low, high)))

    def log_likelihood(self, values: NDArray[np.floating]) -> float:
        """Sum over the numbers."""
        return float(np.logaddexp(*(log_density(values, *kind) for kind in self._kinds())).sum())

    @property
    def distance(self) -> float:
        """``|m_1 - m_2| / sqrt((d_1² + d_2²) / 2)``; Ashman, Bird and Zepf 1994, Astronomical Journal 108."""
        spread = math.sqrt((self.deviations[0] ** 2 + self.deviations[1] ** 2) / 2)
        return (self.means[1] - self.means[0]) / spread

    def _kinds(self) -> zip[tuple[float, float, float]]:
        return zip(self.shares, self.means, self.deviations, strict=True)


def log_density(values: NDArray[np.floating], share: float, mean: float, deviation: float) -> NDArray[np.float64]:
    """Logarithm of ``share`` times the normal density, float64 (n,)."""
    scaled = (values.astype(np.float64) - mean) / deviation
    found: NDArray[np.float64] = math.log(share) - math.log(deviation * math.sqrt(2 * math.pi)) - scaled**2 / 2
    return found


def two_kinds(values: NDArray[np.floating]) -> Mixture | None:
    """The mixture that numbers are of, or None if they are rather of one kind.

    Fitted by expectation and maximisation (Dempster, Laird and Rubin 1977) from the split with the least variance
    within its two parts. Two kinds are there if that mixture has a lower Bayesian information criterion than one normal
    distribution (Schwarz 1978: ``parameters ln n - 2 ln L``), and if its parts are apart: `Mixture.distance` above 2.
    The criterion alone would take any skewed distribution for two.

    Args:
        values: finite, (n,).
    """
    wide = np.sort(values.astype(np.float64))
    n, spread = len(wide), float(wide.var()) if len(wide) else 0.0
    if n < _LEAST or spread <= np.finfo(np.float64).eps * (1.0 + float(np.abs(wide).max())) ** 2:
        return None
    one = float(log_density(wide, 1.0, float(wide.mean()), math.sqrt(spread)).sum())
    mixture = _fitted(wide, _FLOOR * spread)
    gain = 2 * (mixture.log_likelihood(wide) - one) - 3 * math.log(n)
    return mixture if gain > 0 and mixture.distance > _APART else None


def _fitted(ordered: NDArray[np.float64], floor: float) -> Mixture:
    cut = _split(ordered)
    high = (np.arange(len(ordered)) >= cut).astype(np.float64)
    before = -math.inf
    for _ in range(_STEPS):
        mixture = _maximised(ordered, high, floor)
        low, other = (log_density(ordered, *kind) for kind in mixture._kinds())
        total = np.logaddexp(low, other)
        now = float(total.mean())
        if now - before < _ENOUGH:
            break
        before, high = now, np.exp(other - total)
    (a, b), (p, q), (s, t) = mixture.means, mixture.shares, mixture.deviations
    return mixture if a <= b else Mixture((q, p), (b, a), (t, s))


def _maximised(values: NDArray[np.float64], high: NDArray[np.float64], floor: float) -> Mixture:
    shares, means, deviations = [], [], []
    for part in (1 - high, high):
        weight = max(float(part.sum()), 1e-300)
        mean = float(part @ values) / weight
        shares.append(max(weight / len(values), 1e-300))
        means.append(mean)
        deviations.append(math.sqrt(max(float(part @ (values - mean) ** 2) / weight, floor)))
    return Mixture((shares[0], shares[1]), (means[0], means[1]), (deviations[0], deviations[1]))


def _split(ordered: NDArray[np.float64]) -> int:
    """How many of the ascending numbers are in the lower part when the variance within both is least."""
    count = np.arange(1, len(ordered))
    total = np.cumsum(ordered)
    below, above = total[:-1] / count, (total[-1] - total[:-1]) / (len(ordered) - count)
    return int((count * (len(ordered) - count) * (above - below) ** 2).argmax()) + 1
