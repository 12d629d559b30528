"""Numbers that change while a model is trained, such as a threshold that grows with it.

``Angle(hi=Linear(60, 30))`` in a pipeline, ``foils mine --at 0.5`` for the pipeline of the middle of training.
"""

from __future__ import annotations

import math
from bisect import bisect_right

from foils.core.declared import Schedule, declare, require


@declare
class Linear(Schedule):
    """From ``start`` to ``end`` in a straight line: ``start + (end - start) t``."""

    start: float  # at the beginning of training
    end: float  # at its end

    def at(self, t: float) -> float:
        """Exactly the ends at t = 0 and t = 1."""
        return (1 - t) * self.start + t * self.end


@declare
class Cosine(Schedule):
    """From ``start`` to ``end`` along half a cosine: slow at both ends, fast between.

    ``end + (start - end) (1 + cos(π t)) / 2``; Loshchilov and Hutter 2017, arXiv:1608.03983, section 3, no restarts.
    """

    start: float  # at the beginning of training
    end: float  # at its end

    def at(self, t: float) -> float:
        """Exactly the ends at t = 0 and t = 1."""
        share = (1 - math.cos(math.pi * t)) / 2
        return (1 - share) * self.start + share * self.end


@declare
class Log(Schedule):
    """From ``start`` to ``end`` along a logarithm: fast at first, slower and slower.

    ``start + (end - start) ln(1 + steepness t) / ln(1 + steepness)``; the larger the steepness, the earlier most of the
    way is done. The slow cooling of annealing, whose temperature falls like ``1 / ln t``, is of this kind.
    """

    start: float  # at the beginning of training
    end: float  # at its end
    steepness: float = 9.0  # above 0; with 9, half of the way is done at t = 0.24

    def check(self) -> None:
        """Bound of the steepness."""
        require(self.steepness > 0, self, "steepness", "above 0")

    def at(self, t: float) -> float:
        """Exactly the ends at t = 0 and t = 1."""
        share = math.log1p(self.steepness * t) / math.log1p(self.steepness)
        return (1 - share) * self.start + share * self.end


@declare
class Competence(Schedule):
    """A share that grows from ``start`` to 1 like a square root: ``min(1, sqrt(t (1 - c²) + c²))`` with c the start.

    Platanios et al. 2019, Competence-based Curriculum Learning, arXiv:1903.09848, whose c is 0.01:
    at each time as much is added as the learner can take beside what it has. For a bound that is a share, such as
    ``Quantile(hi=Competence())``: at first only the easiest hundredth of a list, in the end all of it.
    """

    start: float = 0.01  # share at the beginning of training, above 0 and at most 1

    def check(self) -> None:
        """Bound of the share."""
        require(0 < self.start <= 1, self, "start", "above 0 and at most 1")

    def at(self, t: float) -> float:
        """Exactly the ends at t = 0 and t = 1."""
        if t in (0, 1):
            return self.start if t == 0 else 1.0
        return min(1.0, math.sqrt(t * (1 - self.start**2) + self.start**2))


@declare
class Step(Schedule):
    """One value after the other: ``values[i]`` from ``switches[i - 1]`` on, the first from the beginning."""

    values: tuple[float, ...]  # one more than ``switches``
    switches: tuple[float, ...]  # times at which the next value begins; ascending, above 0 and below 1

    def check(self) -> None:
        """Number and order of the times."""
        inside = all(0 < time < 1 for time in self.switches)
        ascending = all(a < b for a, b in zip(self.switches, self.switches[1:], strict=False))
        require(bool(self.values), self, "values", "at least one number")
        require(inside and ascending, self, "switches", "ascending times above 0 and below 1")
        needed = len(self.values) - 1
        require(len(self.switches) == needed, self, "switches", f"of {needed} times, one fewer than the values")

    def at(self, t: float) -> float:
        """The value whose turn it is."""
        return self.values[bisect_right(self.switches, t)]

    def times(self) -> tuple[float, ...]:
        """Whenever a value begins."""
        return (0.0, *self.switches)
