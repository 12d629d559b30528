"""Recipes: a published method as a few declared values in YAML, headed by its citation and the command that runs it.

Most methods are one training: the values stand at the top of the file. A method of several trainings has ``phases``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import yaml

from foils.core.collection import WRITTEN
from foils.core.errors import SpecError
from foils.core.spec import parse, scheduled
from foils.core.text import did_you_mean
from foils.core.weak import Weak
from foils.recipe_values import BASE, PREVIOUS, VALUES, Phase, Recipe

if TYPE_CHECKING:
    from foils.train.guard import Fallback

_GUARDED = ("guard", "fallback")
_PHASE = ("name", "teach", "start", "queries", "adds", "data", "share", "rate", *VALUES, *_GUARDED)
_ALWAYS = ("title", "cite", "family", "needs", "notes")
_KEYS = (*_ALWAYS, "phases", *VALUES, *_GUARDED)
_FLOAT = re.compile(r"[-+]?(\d[\d_]*\.?[\d_]*|\.\d[\d_]*)[eE][-+]?\d+$")
_NAME = re.compile(r"[A-Za-z0-9]+(-[A-Za-z0-9]+)*")


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
    return recipe_of(read_source(name), label_of(name))


def label_of(name: str | Path) -> str:
    """What a recipe is called: its shipped name, or that of its file without suffix."""
    return Path(name).stem if str(name).endswith((".yaml", ".yml")) else str(name)


class _Yaml(yaml.SafeLoader):
    """YAML 1.2's numbers: to PyYAML, which reads version 1.1, 1e-3 is text."""


_Yaml.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+.0123456789"))


def read_yaml(text: str) -> Any:
    """What YAML holds.

    Raises:
        yaml.YAMLError: it is none.

    >>> read_yaml("{rate: 1e-3, share: 0.5, steps: 300, name: 1e-3x}")
    {'rate': 0.001, 'share': 0.5, 'steps': 300, 'name': '1e-3x'}
    """
    return yaml.load(text, _Yaml)


def read_source(name: str | Path) -> Any:
    """What the YAML of a shipped recipe or of a file holds; see `recipe_of`.

    Raises:
        SpecError: there is no such recipe, or it is not YAML.
    """
    try:
        return read_yaml(source(name))
    except yaml.YAMLError as error:
        raise SpecError(f"recipe {label_of(name)!r}: not YAML: {error}") from None


def recipe_of(content: Any, label: str) -> Recipe:
    """A recipe from what its YAML holds.

    Raises:
        SpecError: a key is unknown, or a value cannot be read.
    """
    import foils.train  # noqa: F401 - declares contrasts, losses and batches

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
            phases = (_phase({key: content[key] for key in (*VALUES, *_GUARDED) if key in content}, label),)
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
    twice = [key for key in (*VALUES, *_GUARDED) if key in content]
    if twice:
        raise SpecError(f"{', '.join(twice)}: a recipe with phases has these in each phase, not at the top.")
    listed = content["phases"]
    if not isinstance(listed, list) or not listed or not all(isinstance(given, dict) for given in listed):
        raise SpecError("phases: a list of mappings, each with a name, is expected.")
    phases: list[Phase] = []
    names = [given.get("name") for given in listed]
    for number, given in enumerate(listed, 1):
        if not isinstance(given.get("name"), str) or not _NAME.fullmatch(given["name"]):
            raise SpecError(f"phases: number {number} needs a name of letters, digits and hyphens, such as dual-1.")
        try:
            phase = _phase(given, given["name"])
            _check_order(phase, phases)
            for name in phase.reads():  # a model that is not there yet would be taken for the student
                if name in names[number - 1 :]:
                    raise SpecError(
                        f"{name!r} is made by a later phase or by this one; name an earlier one, or 'student'."
                    )
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
        data=_one_of(given, "data", None, (*get_args(Weak), WRITTEN)),
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
        SpecError: it cannot be read, or is no training of the student.
    """
    from foils.train.guard import Fallback

    if not isinstance(given, Mapping):
        only = load_recipe(given).only
        if only.teach is not None:
            raise SpecError(f"fallback: recipe {str(given)!r} trains no student; name one that does.")
        return Fallback(only.contrast, only.loss, only.refresh, only.rate, only.mine)
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
