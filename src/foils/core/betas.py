"""A mixture of two Beta distributions, for similarities between 0 and 1."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_STEPS = 10  # of expectation and maximisation; ProGCL
_EDGE = 1e-4  # numbers this near to 0 or 1 count as that far from it
_FLOOR = 1e-8  # least variance of a kind

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Betas:
    """Two Beta distributions, that of the lower mean first.

    Attributes:
        shares: of the numbers; they sum to 1.
        alphas: first parameters.
        betas: second parameters.
    """

    shares: tuple[float, float]
    alphas: tuple[float, float]
    betas: tuple[float, float]

    @property
    def means(self) -> tuple[float, float]:
        """``α / (α + β)``, ascending."""
        first, second = (a / (a + b) for a, b in zip(self.alphas, self.betas, strict=True))
        return first, second

    def low(self, values: NDArray[np.floating]) -> Floats:
        """Probability that each number is of the low kind, float64 (n,), never rising with the number.

        Between the means it is the posterior; beyond them it is what it is there, since in the tails a wide kind would
        win over a narrow one on the wrong side.
        """
        first, second = self.log_densities(np.clip(values.astype(np.float64), *self.means))
        chance: Floats = np.exp(first - np.logaddexp(first, second))
        return chance

    def log_densities(self, values: NDArray[np.floating]) -> tuple[Floats, Floats]:
        """Logarithm of share times density of each kind, float64 (n,) each."""
        inside = np.clip(values.astype(np.float64), _EDGE, 1 - _EDGE)
        low, high = (
            math.log(share) + math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
            + (a - 1) * np.log(inside) + (b - 1) * np.log1p(-inside)
            for share, a, b in zip(self.shares, self.alphas, self.betas, strict=True)
        )  # fmt: skip
        return low, high


def two_betas(values: NDArray[np.floating], share: float) -> Betas | None:
    """Fit the mixture by 10 steps of expectation and weighted moments, from Beta(1, 2) and Beta(2, 1).

    ``α = m (m (1-m) / v - 1)``, ``β = α (1-m) / m`` with m and v the mean and variance under the posterior: the fit of
    Arazo et al. 2019, arXiv:1904.11238, which ProGCL uses (Xia et al. 2022, arXiv:2110.02027).

    Args:
        values: between 0 and 1, (n,).
        share: of the high kind to begin with; ProGCL's is 0.05.

    Returns:
        None if there are not two: fewer than 8 numbers, all equal, or kinds of one mean.
    """
    x = np.clip(values.astype(np.float64), _EDGE, 1 - _EDGE)
    if len(x) < 8 or float(np.ptp(x)) < 1e-6:
        return None
    kinds = Betas((1 - share, share), (1.0, 2.0), (2.0, 1.0))
    for _ in range(_STEPS):
        first, second = kinds.log_densities(x)
        high = np.exp(second - np.logaddexp(first, second))
        (a, b), (c, d) = _moments(x, 1 - high), _moments(x, high)
        part = float(np.clip(high.mean(), 1e-6, 1 - 1e-6))
        kinds = Betas((1 - part, part), (a, c), (b, d))
    lower, upper = kinds.means
    if upper < lower:
        kinds = Betas(kinds.shares[::-1], kinds.alphas[::-1], kinds.betas[::-1])
    return kinds if abs(upper - lower) > 1e-6 else None


def _moments(x: Floats, weight: Floats) -> tuple[float, float]:
    total = max(float(weight.sum()), 1e-12)
    mean = float(np.clip(weight @ x / total, _EDGE, 1 - _EDGE))
    spread = float(np.clip(weight @ (x - mean) ** 2 / total, _FLOOR, 0.99 * mean * (1 - mean)))
    alpha = mean * (mean * (1 - mean) / spread - 1)
    return alpha, alpha * (1 - mean) / mean
