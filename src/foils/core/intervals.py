"""How sure a rate is when what it counts comes in clusters: judgements of one query's documents are not independent."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

ROUNDS = 2_000
_CELLS = 1 << 22  # draws held in memory at once


class Rate(NamedTuple):
    """A rate and a two-sided interval for it; NaN where nothing is counted."""

    value: float
    low: float
    high: float

    def facts(self) -> dict[str, float | None]:
        """As JSON values: null for NaN."""
        return {name: None if np.isnan(number) else float(number) for name, number in self._asdict().items()}


def ratio(part: ArrayLike, whole: ArrayLike, *, level: float = 0.95, rounds: int = ROUNDS, seed: int = 0) -> Rate:
    """``Σ part / Σ whole`` over clusters, with the percentile interval of the bootstrap over clusters.

    Clusters (queries) are drawn with replacement, each with all it holds (Davison and Hinkley 1997, section 3.8). With
    few clusters, or a rate near 0, the interval is too short; where the part is 0 everywhere it ends at 0.

    Args:
        part: of each cluster, (n,), at least 0 and at most ``whole``.
        whole: of each cluster, (n,).
        level: share of resamples inside, in (0, 1).
        rounds: number of resamples.
        seed: of the draws.

    >>> ratio([1, 0, 1, 0], [2, 2, 2, 2]).value
    0.25
    """
    table = np.stack([np.asarray(part, np.float64), np.asarray(whole, np.float64)], axis=1)
    total = table.sum(axis=0)
    if total[1] <= 0:
        return Rate(float("nan"), float("nan"), float("nan"))
    generator = np.random.Generator(np.random.PCG64(seed))
    n, drawn = len(table), []
    for at in range(0, rounds, size := max(1, _CELLS // n)):
        times = generator.multinomial(n, np.full(n, 1 / n), size=min(size, rounds - at))
        drawn.append(times.astype(np.float64) @ table)
    sums = np.concatenate(drawn)
    some = sums[:, 1] > 0
    low, high = np.quantile(sums[some, 0] / sums[some, 1], [(1 - level) / 2, (1 + level) / 2])
    return Rate(float(total[0] / total[1]), float(low), float(high))
