"""Contrasts: whom a query is compared with in a training step. The online counterpart of a source.

``+`` unites two contrasts, ``>>`` restricts one with the filters of mining: ``InBatch() >> PositiveAware(margin=0.1)``.
No contrast ever allows a known positive; that is decided by row numbers, not by text or score.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from foils.core.errors import PipelineError
from foils.core.pairs import POSITIVE
from foils.core.spec import Declared, Kind, declare
from foils.stages.readers import Filter
from foils.stages.stage import Stage
from foils.train.batch import STUDENT, Batch

if TYPE_CHECKING:
    from torch import Tensor


class Contrast(Declared):
    """Whom a query is compared with. An author writes ``members``; known positives are taken out here."""

    role: ClassVar[Kind] = "contrast"

    def members(self, batch: Batch) -> Tensor:
        """Documents that are considered for each row, bool (B, M)."""
        raise NotImplementedError

    def allowed(self, batch: Batch) -> Tensor:
        """The negatives of each row, bool (B, M): members that are not known positives of its query.

        The row's own training positive is not among them: it is the target (``batch.target``).
        """
        return self.members(batch) & (batch.label != POSITIVE)

    def reads(self) -> tuple[str, ...]:
        """The score columns that its filters read, besides the student's: names of guides."""
        return ()

    def check_columns(self, names: tuple[str, ...] = (STUDENT,)) -> None:
        """Refuse filters that read a score which a training batch does not have.

        Raises:
            PipelineError: with the column and what there is.
        """

    def __add__(self, other: object) -> Contrast:
        if not isinstance(other, Contrast):
            return NotImplemented
        return Union((*_parts(self), *_parts(other)))

    def __rshift__(self, other: object) -> Contrast:
        if not isinstance(other, Stage):
            return NotImplemented
        restricted: Contrast = self
        for step in other.steps():
            restricted = Restricted(restricted, _online(step))
        return restricted


def _parts(contrast: Contrast) -> tuple[Contrast, ...]:
    return contrast.contrasts if isinstance(contrast, Union) else (contrast,)


def _online(step: Stage) -> Filter:
    if not isinstance(step, Filter):
        raise PipelineError(
            f"{step!r} is a {step.family}; after a contrast only filters can stand, e.g. PositiveAware()."
        )
    if not step.online:
        raise PipelineError(
            f"{step!r} reads texts, vectors or what other filters left, which a training batch does not have. "
            f"Use it in the pipeline of mine:."
        )
    return step


@declare
class InBatch(Contrast):
    """All documents of the batch: everyone's positives and everyone's mined negatives.

    sentence-transformers' ``query_to_doc``; DPR (Karpukhin et al. 2020, arXiv:2004.04906, section 3.2), except that no
    known positive of the query counts as a negative, whoever brought it.
    """

    def members(self, batch: Batch) -> Tensor:
        """Every document."""
        return batch.own.new_ones(batch.own.shape)


@declare
class Own(Contrast):
    """The row's own mined negatives only. A row without any has loss 0 and gradient 0."""

    def members(self, batch: Batch) -> Tensor:
        """The documents that the row brought."""
        return batch.own


class Union(Contrast):
    """Documents that any of several contrasts considers."""

    def __init__(self, contrasts: tuple[Contrast, ...]) -> None:
        self.contrasts = contrasts

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Union) and other.contrasts == self.contrasts

    def __hash__(self) -> int:
        return hash((Union, self.contrasts))

    def __repr__(self) -> str:
        return self._join([repr(part) for part in self.contrasts])

    def full(self) -> str:
        """The text form with every field."""
        return self._join([part.full() for part in self.contrasts])

    def _join(self, texts: list[str]) -> str:
        both = zip(self.contrasts, texts, strict=True)
        return " + ".join(f"({text})" if isinstance(part, Restricted) else text for part, text in both)

    def members(self, batch: Batch) -> Tensor:
        """The union."""
        members = self.contrasts[0].members(batch)
        for part in self.contrasts[1:]:
            members = members | part.members(batch)
        return members

    def reads(self) -> tuple[str, ...]:
        """Those of the parts."""
        return tuple(dict.fromkeys(name for part in self.contrasts for name in part.reads()))

    def check_columns(self, names: tuple[str, ...] = (STUDENT,)) -> None:
        """Check each part."""
        for part in self.contrasts:
            part.check_columns(names)


class Restricted(Contrast):
    """A contrast without the documents that a filter drops. Filters read scores without their gradient."""

    def __init__(self, contrast: Contrast, keeps: Filter) -> None:
        self.contrast, self.keeps = contrast, keeps

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Restricted) and (other.contrast, other.keeps) == (self.contrast, self.keeps)

    def __hash__(self) -> int:
        return hash((Restricted, self.contrast, self.keeps))

    def __repr__(self) -> str:
        return f"{self.contrast!r} >> {self.keeps!r}"

    def full(self) -> str:
        """The text form with every field."""
        return f"{self.contrast.full()} >> {self.keeps.full()}"

    def members(self, batch: Batch) -> Tensor:
        """What the filter keeps of the members."""
        kept: Tensor = self.keeps.keep(batch.detached())
        return self.contrast.members(batch) & kept

    def reads(self) -> tuple[str, ...]:
        """Those before, and the filter's."""
        read = (*self.contrast.reads(), *self.keeps.reads())
        return tuple(dict.fromkeys(name for name in read if name not in (STUDENT, "score")))

    def check_columns(self, names: tuple[str, ...] = (STUDENT,)) -> None:
        """Check what comes before, then the filter; ``score`` is the student's."""
        self.contrast.check_columns(names)
        for by in self.keeps.reads():
            if by not in (*names, "score"):
                have = ", ".join(map(repr, names))
                raise PipelineError(
                    f"{self.keeps!r}: a training batch has no score {by!r}; it has: {have}. Pass --encoder {by}=MODEL."
                )
