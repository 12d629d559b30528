"""`Check`: what a draft must fulfil. A declared value, as authors are; ``+`` joins several."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from foils.core.spec import Declared, Kind
from foils.writing.author import Desk
from foils.writing.draft import Draft

Values = NDArray[np.float64]


class Check(Declared):
    """Measures drafts and says which pass. Subclass it, ``@declare`` it, give it ``measure``, ``passes`` and ``why``.

    A value depends on the draft, the collection and the fields of the check, not on the other drafts.
    """

    role: ClassVar[Kind] = "check"
    whole: ClassVar[bool] = False  # whether it reads the whole corpus: then `compare` measures, after all other checks

    def measure(self, drafts: Sequence[Draft], desk: Desk) -> Values:
        """A value for each draft, float64 (n,); NaN where the check does not apply, which is no fault."""
        raise NotImplementedError

    def compare(self, texts: Sequence[str], desk: Desk) -> Values:
        """As ``measure``, for a check that is ``whole``: all texts that passed the others, read as they are needed.

        Edited texts and written queries are not among them.
        """
        raise NotImplementedError

    def passes(self, values: Values) -> NDArray[np.bool_]:
        """Which values are within the bounds, bool (n,)."""
        raise NotImplementedError

    def why(self, value: float) -> str:
        """What is wrong with a value that does not pass: the value and the bound, in words."""
        raise NotImplementedError

    @property
    def name(self) -> str:
        """What its column and its counts are called: its own name in small letters, and the model's if it has one."""
        own = type(self).__name__.lower()
        return ".".join((own, *self.encoders()))

    def encoders(self) -> tuple[str, ...]:
        """Names of the models it uses: the field ``encoder``, if it has one."""
        own = getattr(self, "encoder", None)
        return () if own is None else (own,)

    def each(self) -> Iterator[Check]:
        """The single checks in order."""
        yield self

    def __add__(self, other: object) -> Check:
        return Checks((*self.each(), *other.each())) if isinstance(other, Check) else NotImplemented


class Checks(Check):
    """Several checks; a draft must pass all of them. The first that it fails is the reason."""

    def __init__(self, checks: tuple[Check, ...]) -> None:
        self.checks = checks

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Checks) and other.checks == self.checks

    def __hash__(self) -> int:
        return hash((Checks, self.checks))

    def __repr__(self) -> str:
        return " + ".join(map(repr, self.checks))

    def full(self) -> str:
        """The text form with every field."""
        return " + ".join(check.full() for check in self.checks)

    def each(self) -> Iterator[Check]:
        """The single checks in order."""
        for check in self.checks:
            yield from check.each()
