"""`Answer`: what a model achieved on a task, with what is needed to say how sure that is; and two of them compared."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from foils.core.errors import need
from foils.evaluate.scores import finite, verdict
from foils.evaluate.significance import holm, interval, sign_flip

Floats = NDArray[np.float64]
LEVEL = 0.95


@dataclass(frozen=True, eq=False)
class Answer:
    """A model on a task. At most one of the rest is given; all models have the same draws.

    Attributes:
        value: the measure; higher is better.
        items: its value for each thing measured, where it is their mean.
        resamples: its value under resamples of the things measured, where it is no mean.
        repeats: its value, 0 to 1, in each of few repeats, each on another resample.
    """

    value: float
    items: Floats | None = None
    resamples: Floats | None = None
    repeats: Floats | None = None

    def span(self, *, rounds: int, seed: int) -> tuple[float, float] | None:
        """The 95 % interval of the value; None where nothing says how sure it is."""
        if self.items is not None:
            found = interval(self.items, level=LEVEL, rounds=rounds, seed=seed)
            return found.low, found.high
        if self.resamples is not None:
            return _percentiles(self.resamples)
        if self.repeats is not None:
            low, high, _ = _student(self.value, self.repeats)
            return max(low, 0.0), min(high, 1.0)
        return None


@dataclass(frozen=True)
class Versus:
    """A model against the start model on a task.

    Attributes:
        difference: of the values, model less start.
        low: of its 95 % interval; None if there is none.
        high: likewise.
        p: two-sided; NaN where there is nothing to test.
        p_holm: corrected for the number of tasks tested; NaN likewise.
    """

    difference: float
    low: float | None
    high: float | None
    p: float
    p_holm: float = math.nan

    @property
    def verdict(self) -> Literal["better", "worse", "unclear"]:
        """``worse`` is a regression: lower, at a corrected p below .05."""
        return verdict(self.difference, self.p_holm)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**{name: _finite(value) for name, value in vars(self).items()}, "verdict": self.verdict}


def against(model: Answer, start: Answer, *, rounds: int, seed: int) -> Versus:
    """Compare two models on the same things, paired.

    Means: sign flips of the differences, and a bootstrap interval. Other measures: the difference under the same
    resamples, its percentiles, ``p = 2 (1 + min(#{≤ 0}, #{≥ 0})) / (1 + B)``. Few repeats, each on a resample:
    Student's t with the standard deviation of the differences, which is already the standard error of one resample.

    Args:
        model: one.
        start: the other.
        rounds: of the test and the bootstrap.
        seed: of both.
    """
    difference = model.value - start.value
    if model.items is not None and start.items is not None:
        apart = model.items - start.items
        found = interval(apart, level=LEVEL, rounds=rounds, seed=seed)
        return Versus(difference, found.low, found.high, sign_flip(apart, rounds=rounds, seed=seed).p)
    if model.resamples is not None and start.resamples is not None:
        apart = model.resamples - start.resamples
        apart = apart[np.isfinite(apart)]
        fewer = min(int((apart <= 0).sum()), int((apart >= 0).sum()))
        low, high = _percentiles(apart)
        return Versus(difference, low, high, min(1.0, 2 * (1 + fewer) / (1 + len(apart))))
    if model.repeats is not None and start.repeats is not None:
        return Versus(difference, *_student(difference, model.repeats - start.repeats))
    return Versus(difference, None, None, math.nan)


def corrected(found: Mapping[str, Versus]) -> dict[str, Versus]:
    """The same with p-values corrected (Holm) for the number of tasks that could be tested."""
    tested = [name for name, each in found.items() if not math.isnan(each.p)]
    p = dict(zip(tested, holm([found[name].p for name in tested]).tolist(), strict=True))
    return {name: replace(each, p_holm=p.get(name, math.nan)) for name, each in found.items()}


def _percentiles(draws: Floats) -> tuple[float, float]:
    known = draws[np.isfinite(draws)]
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _student(value: float, draws: Floats) -> tuple[float, float, float]:
    spread, degrees = float(draws.std(ddof=1)), len(draws) - 1
    if not spread > 0:
        return value, value, float(value == 0)
    t = need("scipy.stats", "eval").t
    reach = spread * float(t.ppf((1 + LEVEL) / 2, degrees))
    return value - reach, value + reach, float(2 * t.sf(abs(value) / spread, degrees))


def _finite(value: float | None) -> float | None:
    return None if value is None else finite(value)
