"""Recipes: a published method as a few declared values in YAML, headed by its citation and the command that runs it.

Most methods are one training: the values stand at the top of the file. A method of several trainings has ``phases``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import yaml

from foils.core.errors import SpecError
from foils.core.spec import Declared, parse, scheduled
from foils.core.text import did_you_mean
from foils.core.weak import Weak
from foils.stages.stage import Stage

if TYPE_CHECKING:
    from foils.teach.options import LossName
    from foils.train.contrasts import Contrast
    from foils.train.guard import Fallback, Guard
    from foils.train.losses import Loss
    from foils.train.refresh import Refresh

_VALUES = ("mine", "contrast", "loss", "batches", "refresh")
_GUARDED = ("guard", "fallback")
_PHASE = ("name", "teach", "start", "queries", "adds", "data", "share", "rate", *_VALUES, *_GUARDED)
_ALWAYS = ("title", "cite", "family", "needs", "notes")
_KEYS = (*_ALWAYS, "phases", *_VALUES, *_GUARDED)
BASE, PREVIOUS = "base", "previous"
_NAME = re.compile(r"[A-Za-z0-9]+(-[A-Za-z0-9]+)*")


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
            student), or the name of an earlier phase.
        queries: whose negatives are mined: ``judged``, those of the split; ``unjudged``, those without a positive in
            any split, which are trained on as far as a labeler promotes a positive for them; or ``all``. If nobody is
            unjudged, an ``unjudged`` phase mines nothing and trains on what it adds.
        adds: earlier phases whose negatives are trained on as well.
        data: ``titles`` or ``sentences``: weak queries made of the documents, instead of the collection's
            (`foils.core.weak`); None for the collection.
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
    data: Weak | None = None
    share: float = 1.0
    rate: float = 1.0
    guard: Guard | None = None
    fallback: Fallback | None = None

    def text(self) -> dict[str, Any]:
        """The phase as plain values, pipelines in short form; what is as usual is left out."""
        values: dict[str, Any] = {"mine": None if self.mine is None else repr(self.mine)}
        if self.teach is None:
            values |= {key: repr(getattr(self, key)) for key in _VALUES[1:]}
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


def shipped() -> list[str]:
    """Names of the recipes that come with foils, sorted."""
    return sorted(
        path.name.removesuffix(".yaml") for path in files("foils.recipes").iterdir() if path.name.endswith(".yaml")
    )


def source(name: str | Path) -> str:
    """The YAML of a shipped recipe, or of a file.

    Raises:
        SpecError: there is neither.
    """
    path = Path(name)
    if path.suffix in (".yaml", ".yml"):
        if not path.is_file():
            raise SpecError(f"{path}: no such recipe file. Shipped ones: {', '.join(shipped())}.")
        try:
            return path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise SpecError(f"{path}: not UTF-8 ({error}). Save it as UTF-8.") from None
    names = shipped()
    if str(name) not in names:
        raise SpecError(f"unknown recipe {str(name)!r}.{did_you_mean(str(name), names)} See: foils recipes")
    return (files("foils.recipes") / f"{name}.yaml").read_text(encoding="utf-8")


def load_recipe(name: str | Path) -> Recipe:
    """Read a recipe by its shipped name or from a YAML file.

    Raises:
        SpecError: there is no such recipe, a key is unknown, or a value cannot be read.
    """
    import foils.train  # noqa: F401 - declares contrasts, losses and batches

    label = Path(name).stem if str(name).endswith((".yaml", ".yml")) else str(name)
    try:
        content = yaml.safe_load(source(name))
    except yaml.YAMLError as error:
        raise SpecError(f"recipe {label!r}: not YAML: {error}") from None
    if not isinstance(content, dict):
        raise SpecError(f"recipe {label!r}: a mapping with the keys {', '.join(_KEYS)} is expected.")
    for key in content:
        if key not in _KEYS:
            raise SpecError(f"recipe {label!r}: unknown key {key!r}.{did_you_mean(str(key), _KEYS)}")
    try:
        needs = _names(content, "needs", "[student]")
        if "phases" in content:
            phases = _phases(content)
        else:
            phases = (_phase({key: content[key] for key in (*_VALUES, *_GUARDED) if key in content}, label),)
        return Recipe(
            name=label,
            title=str(content.get("title", label)),
            cite=str(content.get("cite", "")),
            family=str(content.get("family", "static")),
            needs=needs,
            notes=" ".join(str(content.get("notes", "")).split()),
            phases=phases,
        )
    except SpecError as error:
        raise SpecError(f"recipe {label!r}: {error}") from None


def _names(content: Mapping[str, Any], key: str, example: str) -> tuple[str, ...]:
    names = content.get(key, [])
    if not isinstance(names, list):
        raise SpecError(f"{key}: {names!r} is no list; write {example}.")
    return tuple(map(str, names))


def _phases(content: Mapping[str, Any]) -> tuple[Phase, ...]:
    twice = [key for key in (*_VALUES, *_GUARDED) if key in content]
    if twice:
        raise SpecError(f"{', '.join(twice)}: a recipe with phases has these in each phase, not at the top.")
    listed = content["phases"]
    if not isinstance(listed, list) or not listed or not all(isinstance(given, dict) for given in listed):
        raise SpecError("phases: a list of mappings, each with a name, is expected.")
    phases: list[Phase] = []
    for number, given in enumerate(listed, 1):
        if not isinstance(given.get("name"), str) or not _NAME.fullmatch(given["name"]):
            raise SpecError(f"phases: number {number} needs a name of letters, digits and hyphens, such as dual-1.")
        try:
            phase = _phase(given, given["name"])
            _check_order(phase, phases)
        except SpecError as error:
            raise SpecError(f"phase {given['name']!r}: {error}") from None
        phases.append(phase)
    if phases[-1].teach is not None:
        raise SpecError(f"phases: the last one, {phases[-1].name!r}, teaches a cross-encoder that nobody uses.")
    return tuple(phases)


def _check_order(phase: Phase, before: Sequence[Phase]) -> None:
    names = {other.name: other for other in before}
    if phase.name in (*names, BASE, PREVIOUS, "student"):
        raise SpecError("another phase or model has that name.")
    if phase.start not in (BASE, PREVIOUS, *names):
        raise SpecError(f"start: {phase.start!r} is neither base, previous nor an earlier phase.")
    if phase.start in names and (names[phase.start].teach is None) != (phase.teach is None):
        raise SpecError(f"start: {phase.start!r} makes a model of another kind.")
    for name in phase.adds:
        if name not in names or names[name].mine is None or names[name].data != phase.data:
            raise SpecError(f"adds: {name!r} is no earlier phase that mines for the same queries.")
    if phase.teach is not None and phase.mine is None:
        raise SpecError("teach: a cross-encoder needs negatives; give the phase a pipeline, mine: …")


def _phase(given: Mapping[str, Any], name: str) -> Phase:
    from foils.teach.options import LossName

    for key in given:
        if key not in _PHASE:
            raise SpecError(f"unknown key {key!r}.{did_you_mean(str(key), _PHASE)}")
    phase = Phase(
        name=name,
        mine=parse(str(given["mine"])) if given.get("mine") else None,
        contrast=parse(str(given.get("contrast", "InBatch()")), "contrast", "stage"),
        loss=parse(str(given.get("loss", "InfoNCE()")), "loss"),
        batches=parse(str(given.get("batches", "Shuffled()")), "batches"),
        refresh=parse(str(given.get("refresh", "Never()")), "refresh"),
        teach=_one_of(given, "teach", None, get_args(LossName)),
        start=str(given.get("start", PREVIOUS)),
        queries=_one_of(given, "queries", "judged", ("judged", "unjudged", "all")),
        adds=_names(given, "adds", "[dual-0]"),
        data=_one_of(given, "data", None, get_args(Weak)),
        share=_factor(given, "share"),
        rate=_factor(given, "rate"),
        guard=parse(str(given["guard"]), "guard") if given.get("guard") else None,
        fallback=load_fallback(given["fallback"]) if given.get("fallback") else None,
    )
    for key in ("batches", "refresh", "guard"):
        if scheduled(getattr(phase, key)):
            raise SpecError(f"{key}: {getattr(phase, key)!r} cannot depend on the progress of training.")
    if phase.mine is None and repr(phase.refresh) != "Never()":
        raise SpecError(f"refresh: {phase.refresh!r} needs 'mine', which is what it does again.")
    if phase.teach is not None:
        for key in ("contrast", "loss", "batches", "refresh", "share", "rate", *_GUARDED):
            if key in given:
                raise SpecError(f"{key}: a phase that teaches a cross-encoder has none; teach: names its loss.")
    return phase


def load_fallback(given: Any) -> Fallback:
    """What a recipe says under ``fallback``: the name or file of a recipe, or a mapping.

    Raises:
        SpecError: it cannot be read, or mines: a fallback trains on the negatives that there are.
    """
    from foils.train.guard import Fallback

    if not isinstance(given, Mapping):
        only = load_recipe(given).only
        if only.mine is not None or only.teach is not None:
            raise SpecError(
                f"fallback: recipe {str(given)!r} mines, and a fallback trains on the negatives that there are. Name "
                f"one that does not, such as in-batch, or write contrast: {only.contrast!r} and loss: {only.loss!r}."
            )
        return Fallback(only.contrast, only.loss, only.refresh, only.rate)
    return Fallback.read(given)


def _one_of(given: Mapping[str, Any], key: str, usual: Any, options: Sequence[str]) -> Any:
    value = given.get(key, usual)
    if value != usual and value not in options:
        raise SpecError(f"{key}: {value!r} is none of {', '.join(options)}.")
    return value


def _factor(given: Mapping[str, Any], key: str) -> float:
    value = given.get(key, 1.0)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise SpecError(f"{key}: {value!r} must be a number above 0.")
    return float(value)
