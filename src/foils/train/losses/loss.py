"""`Loss`: a frozen value with ``(view, allowed) -> (B,)``; losses add up and take weights."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar, cast

from foils.core.errors import SpecError
from foils.core.spec import Declared, Kind, Schedule, require
from foils.train.augment import Augmentation
from foils.train.batch import Batch

if TYPE_CHECKING:
    from torch import Tensor


class Loss(Declared):
    """One number per training row. ``.9 * A() + .1 * B()`` is a loss, too."""

    role: ClassVar[Kind] = "loss"

    def __call__(self, view: Batch, allowed: Tensor) -> Tensor:
        """The loss of each row.

        Args:
            view: the training step; its scores carry the gradient.
            allowed: bool (B, M), the negatives of each row; never a known positive.

        Returns:
            float32 (B,).
        """
        raise NotImplementedError

    def reads(self) -> tuple[str, ...]:
        """Score columns that it reads besides the student's: saved ones, such as a teacher's, or those of a guide."""
        return ()

    def slow(self) -> tuple[float, ...]:
        """Decays of the moving averages of the weights whose scores it reads; see `foils.train.batch.slow_scores`."""
        return ()

    def augmentations(self) -> tuple[Augmentation, ...]:
        """Altered views of the step's texts that it reads as ``Batch.augmented``; each is another pass."""
        return ()

    def __add__(self, other: object) -> Loss:
        return Sum((*_terms(self), *_terms(other))) if isinstance(other, Loss) else NotImplemented

    def __mul__(self, weight: object) -> Loss:
        if isinstance(weight, bool) or not isinstance(weight, int | float | Schedule):
            return NotImplemented
        if not isinstance(weight, Schedule) and not math.isfinite(weight):
            raise SpecError(f"the weight of a loss must be a finite number, not {weight!r}.")
        numbers = [weight.at(t) for t in weight.times()] if isinstance(weight, Schedule) else [weight]
        if min(numbers) < 0:
            raise SpecError(
                f"{weight!r}*{self!r}: the weight of a loss must be at least 0; below it, positives are pushed away."
            )
        return Sum(tuple((_product(factor, weight), loss) for factor, loss in _terms(self)))

    __rmul__ = __mul__


Weight = float | Schedule


def _terms(loss: Loss) -> tuple[tuple[Weight, Loss], ...]:
    return loss.terms if isinstance(loss, Sum) else ((1.0, loss),)


def _product(one: Weight, other: Weight) -> Weight:
    if not isinstance(one, Schedule) and not isinstance(other, Schedule):
        return one * float(other)
    if one == 1.0 or other == 1.0:
        return other if one == 1.0 else one
    raise SpecError(f"{one!r} times {other!r}: the weight of a loss can be one schedule; write the product in it.")


class Tempered(Loss):
    """A loss whose scores are divided by a temperature."""

    temperature: float

    def check(self) -> None:
        """Bounds of the temperature."""
        require(self.temperature > 0, self, "temperature", "above 0")


class Supervised(Loss):
    """A loss that reads a teacher's scores, or grades, from a column."""

    by: str

    def reads(self) -> tuple[str, ...]:
        """That column."""
        return (self.by,)


class Sum(Loss):
    """A weighted sum of losses; weights are multiplied out, so it is always a flat sum.

    A weight may be a schedule: ``InfoNCE() + Step([0, 0.5], [0.2])*Confidence()`` adds the second term after a fifth of
    training.
    """

    def __init__(self, terms: tuple[tuple[Weight, Loss], ...]) -> None:
        self.terms = terms

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sum) and other.terms == self.terms

    def __hash__(self) -> int:
        return hash((Sum, self.terms))

    def __repr__(self) -> str:
        return self._join([repr(loss) for _, loss in self.terms])

    def full(self) -> str:
        """The text form with every field."""
        return self._join([loss.full() for _, loss in self.terms])

    def _join(self, texts: list[str]) -> str:
        # A sum of one weighted loss keeps its weight even when it is 1, so that reading it back gives a sum again.
        plain = len(self.terms) > 1
        both = zip(self.terms, texts, strict=True)
        return " + ".join(text if weight == 1.0 and plain else f"{weight!r}*{text}" for (weight, _), text in both)

    def reads(self) -> tuple[str, ...]:
        """Those of the terms."""
        return tuple(dict.fromkeys(name for _, loss in self.terms for name in loss.reads()))

    def slow(self) -> tuple[float, ...]:
        """Those of the terms."""
        return tuple(dict.fromkeys(decay for _, loss in self.terms for decay in loss.slow()))

    def augmentations(self) -> tuple[Augmentation, ...]:
        """Those of the terms."""
        return tuple(dict.fromkeys(view for _, loss in self.terms for view in loss.augmentations()))

    def __call__(self, view: Batch, allowed: Tensor) -> Tensor:
        """The sum; schedules are numbers by now."""
        parts = [cast("float", weight) * loss(view, allowed) for weight, loss in self.terms]
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        return total
