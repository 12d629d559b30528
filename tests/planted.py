"""Populations with a planted rate, and samples of them, by counts: fast enough for thousands of audits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from foils.audit.estimators import Labelled
from foils.audit.sampling import allocate

DESIGNS = {
    "ten even strata": np.full(10, 1000),
    "thirty uneven strata": np.array([200, 600, 1000, 2000, 500] * 6),
    "fifty small strata": np.array([60, 180, 300, 800, 400] * 10),
    "one stratum": np.array([9000]),
}


def steep(sizes: np.ndarray, rate: float) -> np.ndarray:
    """False negatives of each stratum: many in the first strata, few in the last, ``rate`` of all."""
    tilt = np.exp(-np.arange(len(sizes)) / (len(sizes) / 3))
    return np.round(tilt * rate / (tilt @ sizes / sizes.sum()) * sizes).astype(int)


def even(sizes: np.ndarray, rate: float) -> np.ndarray:
    """The same rate in each stratum."""
    return np.round(rate * sizes).astype(int)


@dataclass
class Planted:
    """Strata with (relevant and called so, relevant but missed, called so wrongly, rightly left) items each."""

    sizes: np.ndarray
    cells: np.ndarray
    count: np.ndarray

    @classmethod
    def of(cls, sizes, false, budget=300, judge=(1.0, 1.0)):
        found = np.round(false * judge[0]).astype(int)
        alarms = np.round((sizes - false) * (1 - judge[1])).astype(int)
        cells = np.stack([found, false - found, alarms, sizes - false - alarms], axis=1)
        return cls(sizes, cells, allocate(sizes, budget))

    @property
    def rate(self) -> float:
        return float(self.cells[:, :2].sum() / self.sizes.sum())

    @property
    def called(self) -> float:
        return float(self.cells[:, [0, 2]].sum() / self.sizes.sum())

    def samples(self, runs: int, seed: int = 0):
        """Labelled samples, each with the cheap judge's verdicts."""
        rng = np.random.default_rng(seed)
        drawn = np.stack(
            [
                rng.multivariate_hypergeometric(cells, n, size=runs, method="marginals")
                for cells, n in zip(self.cells, self.count, strict=True)
            ],
            axis=1,
        )
        stratum = np.repeat(np.arange(len(self.sizes)), self.count)
        weight = (self.sizes / self.count)[stratum]
        kinds = np.tile(np.arange(4), (len(self.sizes), 1))
        for counts in drawn:
            kind = np.repeat(kinds.ravel(), counts.ravel())
            yield Labelled((kind < 2).astype(float), stratum, weight), (kind % 2 == 0).astype(float)


def covered(rates, truth: float) -> float:
    """Share of intervals that hold the truth."""
    return float(np.mean([one.low <= truth <= one.high for one in rates]))
