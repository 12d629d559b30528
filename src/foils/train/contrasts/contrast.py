"""Contrasts: whom a query is compared with in a training step. The online counterpart of a source.

``+`` unites two contrasts, ``>>`` restricts one with the filters of mining: ``InBatch() >> PositiveAware(margin=0.1)``.
No contrast ever allows a known positive; that is decided by row numbers, not by text or score.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from foils.core.errors import PipelineError
from foils.core.pairs import POSITIVE
from foils.core.spec import Declared, Kind
from foils.stages.readers import Filter
from foils.stages.stage import Stage
from foils.train.batch import STUDENT, Batch

if TYPE_CHECKING:
    from torch import Tensor

    from foils.train.contrasts.bringer import Bringer


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
        """The score columns that its filters read, besides the student's: names of guides or of saved scores."""
        return ()

    def bringers(self) -> tuple[Bringer, ...]:
        """The parts that bring documents from outside the batch, in the order of the text, none twice."""
        return ()

    def frozen(self) -> tuple[str, ...]:
        """Whose document vectors stand, so that only queries are trained: names of models, ``student`` for its start
        weights. Nobody's in most cases: documents are trained as well.
        """
        return tuple(dict.fromkeys(name for bringer in self.bringers() for name in bringer.frozen()))

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
        """The union. A document that an earlier part considers through another column is not counted twice."""
        members = self.contrasts[0].members(batch)
        for part in self.contrasts[1:]:
            members = members | (part.members(batch) & ~_elsewhere(members, batch))
        return members

    def bringers(self) -> tuple[Bringer, ...]:
        """Those of the parts."""
        return tuple(dict.fromkeys(bringer for part in self.contrasts for bringer in part.bringers()))

    def reads(self) -> tuple[str, ...]:
        """Those of the parts."""
        return tuple(dict.fromkeys(name for part in self.contrasts for name in part.reads()))


def _elsewhere(members: Tensor, batch: Batch) -> Tensor:
    """Columns whose document is a member of the row through some column, bool (B, N)."""
    import torch

    if not batch.brought:
        return torch.zeros_like(members)
    distinct, place = torch.unique(batch.doc, return_inverse=True)
    taken = members.new_zeros((len(members), len(distinct)), dtype=torch.int32)
    taken.index_add_(1, place, members.int())
    return taken.bool()[:, place] & (batch.doc >= 0)


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

    def bringers(self) -> tuple[Bringer, ...]:
        """Those of what comes before."""
        return self.contrast.bringers()

    def reads(self) -> tuple[str, ...]:
        """Those before, and the filter's."""
        read = (*self.contrast.reads(), *self.keeps.reads())
        return tuple(dict.fromkeys(name for name in read if name not in (STUDENT, "score")))
