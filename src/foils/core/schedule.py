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
