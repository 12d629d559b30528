"""`Learned`: a number of a loss that is trained with the model, such as a temperature."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from foils.core.declared import Declared, Schedule, declare, require

if TYPE_CHECKING:
    from torch import Tensor

Path = tuple[str | int, ...]


@declare
class Learned(Schedule):
    """A positive number that is trained along: ``exp(l)`` with the parameter l, between ``lo`` and ``hi``.

    CLIP's learnable temperature (Radford et al. 2021, arXiv:2103.00020, section 2.5: start 0.07, at least 0.01) is
    ``InfoNCE(temperature=Learned(0.07))``; SimKGC (Wang et al. 2022, arXiv:2203.02167) starts at 0.05. It has the
    learning rate of the weights and no weight decay. As in CLIP's code the parameter itself is put back to a bound that
    a step took it beyond, so that the next step can take it away from there. With false negatives among the hard ones
    a temperature that sinks concentrates on exactly those: look at the logged value.
    """

    start: float  # at the beginning of training; above 0
    lo: float = 0.01  # least value; above 0
    hi: float = 1.0  # greatest value

    def check(self) -> None:
        """Bounds."""
        require(self.lo > 0, self, "lo", "above 0")
        require(self.hi >= self.lo, self, "hi", f"at least lo={self.lo!r}")
        require(self.lo <= self.start <= self.hi, self, "start", f"between lo={self.lo!r} and hi={self.hi!r}")

    def at(self, t: float) -> float:
        """Its value where nothing has been learnt."""
        return self.start

    def times(self) -> tuple[float, ...]:
        """Where it is checked whether it is within the bounds of its field."""
        return (0.0,)


def learned(value: Any) -> dict[Path, Learned]:
    """Every `Learned` in a value, by its place."""
    if isinstance(value, Learned):
        return {(): value}
    if isinstance(value, tuple):
        parts = enumerate(value)
        return {(index, *path): found for index, part in parts for path, found in learned(part).items()}
    if not isinstance(value, Declared):
        return {}
    return {(name, *path): found for name, part in vars(value).items() for path, found in learned(part).items()}


def put(value: Any, path: Path, number: Tensor) -> Any:
    """A copy of a value with a tensor for the number at a place; the tensor is not checked."""
    if not path:
        return number
    step, *rest = path
    if isinstance(value, tuple):
        return tuple(put(part, tuple(rest), number) if index == step else part for index, part in enumerate(value))
    twin = copy.copy(value)
    vars(twin)[str(step)] = put(vars(value)[str(step)], tuple(rest), number)
    return twin
