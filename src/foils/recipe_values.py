"""`Recipe` and `Phase`: what a recipe decides, as values."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

from foils.core.errors import SpecError
from foils.core.spec import Declared
from foils.core.weak import Weak
from foils.stages.stage import Stage

if TYPE_CHECKING:
    from foils.teach.options import LossName
    from foils.train.contrasts import Contrast
    from foils.train.guard import Fallback, Guard
    from foils.train.losses import Loss
    from foils.train.refresh import Refresh

VALUES = ("mine", "contrast", "loss", "batches", "refresh")
BASE, PREVIOUS = "base", "previous"


@dataclass(frozen=True)
class Phase:
    """One training: of the student, or of a cross-encoder that later phases use.

    In the pipeline of a phase ``student`` is what the phases before made of the student, and every earlier phase's name
    is a model.

    Attributes:
        name: what later phases call the model that it makes.
        mine: the pipeline, or None if nothing is mined.
        contrast: whom each query is compared with in a step.
        loss: the loss.
        batches: the order of rows.
        refresh: when negatives are mined again.
        teach: the loss of a cross-encoder that is trained in this phase, on what is mined; None to train the student.
        start: weights to begin with: ``base`` (those that were given), ``previous`` (what the phases before made of the
            student), or the name of an earlier phase. For a phase that teaches, ``base`` and ``previous`` both are the
            weights given as ``--encoder NAME.base`` (else the student's), and a name is an earlier cross-encoder.
        queries: whose negatives are mined: ``judged``, those of the split; ``unjudged``, those without a positive in
            any split, which are trained on as far as a labeler promotes a positive for them; or ``all``. If nobody is
            unjudged, an ``unjudged`` phase mines nothing and trains on what it adds.
        adds: earlier phases whose negatives are trained on as well.
        data: ``titles`` or ``sentences``: weak queries made of the documents, instead of the collection's
            (`foils.core.weak`); ``written``: those of the split ``written``, which ``foils write`` makes, or
            ``sentences`` where there is no such split; None for the queries of the collection.
        share: of the usual number of epochs or steps.
        rate: factor of the usual learning rate.
        guard: bounds beyond which training stops; None for those that hold for every run.
        fallback: what it goes on with then, from the last good checkpoint; None to stop with an error.
    """

    name: str
    mine: Stage | None
    contrast: Contrast
    loss: Loss
    batches: Any
    refresh: Refresh
    teach: LossName | None = None
    start: str = PREVIOUS
    queries: Literal["judged", "unjudged", "all"] = "judged"
    adds: tuple[str, ...] = ()
    data: Weak | Literal["written"] | None = None
    share: float = 1.0
    rate: float = 1.0
    guard: Guard | None = None
    fallback: Fallback | None = None

    def text(self) -> dict[str, Any]:
        """The phase as plain values, pipelines in short form; what is as usual is left out."""
        values: dict[str, Any] = {"mine": None if self.mine is None else repr(self.mine)}
        if self.teach is None:
            values |= {key: repr(getattr(self, key)) for key in VALUES[1:]}
        plain = {field.name: field.default for field in fields(self) if field.default is not MISSING}
        changed = {key: getattr(self, key) for key, usual in plain.items() if getattr(self, key) != usual}
        return {**values, **{key: _plain(value) for key, value in changed.items()}}

    def reads(self) -> tuple[str, ...]:
        """Models that it names, ``student`` included."""
        mining = () if self.mine is None else self.mine.encoders()
        others = (*self.contrast.frozen(), *self.batches.encoders())
        used = (name for name in others if name != "student")
        steps = () if self.mine is None else self.mine.steps()
        written = {getattr(step, "column", None) for step in steps}
        written |= {name for bringer in self.contrast.bringers() for name in bringer.brings()}
        if self.fallback is not None and self.fallback.pipeline is not None:
            mining = (*mining, *self.fallback.pipeline.encoders())
        training = (*self.contrast.reads(), *used, *(name for name in self.loss.reads() if name not in written))
        return tuple(dict.fromkeys((*mining, *(() if self.teach else training))))


def _plain(value: Any) -> Any:
    if isinstance(value, Declared):
        return repr(value)
    if isinstance(value, tuple):
        return list(value)
    return value.text() if hasattr(value, "text") else value


@dataclass(frozen=True)
class Recipe:
    """The decisions that the literature varies.

    Attributes:
        name: file name without suffix.
        title: one line.
        cite: authors, year, title, identifier, section.
        family: random, static, dynamic or synthetic (Wischounig et al. 2026).
        needs: names of models that the pipelines use; ``student`` is the model that is trained.
        notes: what to know before using it.
        phases: one training, or several, one after the other.
    """

    name: str
    title: str
    cite: str
    family: str
    needs: tuple[str, ...]
    notes: str
    phases: tuple[Phase, ...]

    @property
    def only(self) -> Phase:
        """The one phase of a recipe that has one.

        Raises:
            SpecError: it has several.
        """
        if len(self.phases) > 1:
            names = ", ".join(phase.name for phase in self.phases)
            raise SpecError(
                f"recipe {self.name!r} has several phases ({names}); it is followed whole: foils train DATA --recipe "
                f"{self.name}. The pipelines of its phases: foils recipes {self.name}"
            )
        return self.phases[0]

    @property
    def mine(self) -> Stage | None:
        """The pipeline of the only phase."""
        return self.only.mine

    @property
    def contrast(self) -> Contrast:
        """That of the only phase."""
        return self.only.contrast

    @property
    def loss(self) -> Loss:
        """That of the only phase."""
        return self.only.loss

    @property
    def batches(self) -> Any:
        """Those of the only phase."""
        return self.only.batches

    @property
    def refresh(self) -> Refresh:
        """That of the only phase."""
        return self.only.refresh

    def models(self) -> tuple[str, ...]:
        """The models that its phases name and none of them makes."""
        made = {phase.name for phase in self.phases} if len(self.phases) > 1 else set()
        named = dict.fromkeys(name for phase in self.phases for name in phase.reads())
        return tuple(name for name in named if name not in made)

    def text(self) -> dict[str, Any]:
        """The recipe as plain values, pipelines in short form."""
        values = {key: getattr(self, key) for key in ("name", "title", "cite", "family")}
        values |= {"needs": list(self.needs), "notes": self.notes}
        if len(self.phases) == 1:
            return {**values, **self.only.text()}
        return {**values, "phases": [{"name": phase.name, **phase.text()} for phase in self.phases]}
