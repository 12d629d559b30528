"""Arms of a study: a recipe each, with the models it takes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from foils.core.errors import PipelineError, SpecError
from foils.core.text import did_you_mean
from foils.follow import Job, check
from foils.pipelines import crossing
from foils.recipe import label_of, read_source, recipe_of
from foils.recipe_values import Recipe
from foils.train.options import TrainOptions

START = "start"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_KEYS = ("name", "recipe", "encoders", "options")


@dataclass(frozen=True)
class Arm:
    """One way of training that a study compares.

    Attributes:
        name: unique, a file name.
        recipe: what is decided.
        encoders: models by the names that the recipe uses; the student where there is none.
        options: fields of `TrainOptions` that differ from the study's.
    """

    name: str
    recipe: Recipe
    encoders: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)

    def identity(self) -> dict[str, Any]:
        """What decides its figures besides what all arms share, as plain values."""
        phases = [{"name": phase.name, **phase.text()} for phase in self.recipe.phases]
        if len(phases) == 1:
            phases[0].pop("name")
        return {"phases": phases, "encoders": dict(self.encoders), "options": dict(self.options)}


def arms_of(given: Sequence[Any], encoders: Mapping[str, str], model: str) -> list[Arm]:
    """Arms from what a user names.

    Args:
        given: names or files of recipes, ``NAME=RECIPE``, recipes, or mappings with ``name``, ``recipe`` (changed by
            further values of a recipe, or made of them alone), ``encoders`` and ``options``.
        encoders: models for all arms that name them, by that name; ``ARM/NAME`` for one arm alone.
        model: the start model; for messages.

    Raises:
        SpecError: no arm, an arm that cannot be read, two of one name, a model that no arm takes, or a cross-encoder
            that is not given.
    """
    arms = [_read(each) for each in given]
    if not arms:
        raise SpecError("no recipes: name some to compare, such as --recipes in-batch,bm25. See: foils recipes")
    names = [arm.name for arm in arms]
    for name in names:
        if name == START:
            raise SpecError(f"{name!r} is the model before training, which is in every study; name that arm otherwise.")
        if names.count(name) > 1:
            raise SpecError(f"two arms are called {name!r}; name one of them: --recipes …,NAME={name}")
    found = [replace(arm, encoders={**_shared(arm, encoders), **_own(arm, encoders)}) for arm in arms]
    _check_used(found, encoders)
    for arm in found:
        _check(arm, model)
    return found


def _read(given: Any) -> Arm:
    if isinstance(given, Recipe):
        return Arm(_named(given.name), given)
    if isinstance(given, Mapping):
        return _mapped(given)
    text = str(given).strip()
    name, sign, rest = text.partition("=")
    if sign and not Path(text).is_file():
        text = rest
    else:
        name = label_of(Path(text).name if text.endswith((".yaml", ".yml")) else text)
    return Arm(_named(name), recipe_of(read_source(text), name))


def _mapped(given: Mapping[str, Any]) -> Arm:
    values = {key: value for key, value in given.items() if key not in _KEYS}
    base = given.get("recipe")
    content = {} if base is None else read_source(str(base))
    name = given.get("name", None if base is None else label_of(Path(str(base)).name))
    if not isinstance(name, str):
        raise SpecError(f"an arm {dict(given)!r} has no name. Write name: … beside its values.")
    if "phases" in content and values and "phases" not in values:
        listed = ", ".join(values)
        raise SpecError(f"arm {name!r}: {listed}: recipe {str(base)!r} has phases; give the arm phases of its own.")
    if "phases" in values:
        content = {key: value for key, value in content.items() if key in ("title", "cite", "needs", "notes")}
    for key in ("encoders", "options"):
        if not isinstance(given.get(key, {}), Mapping):
            raise SpecError(f"arm {name!r}: {key}: {given[key]!r} is no mapping; write {{teacher: FOLDER}}.")
    encoders = {str(key): str(value) for key, value in given.get("encoders", {}).items()}
    options = dict(given.get("options", {}))
    TrainOptions.read(options)
    return Arm(_named(name), recipe_of({**content, **values}, name), encoders, options)


def _named(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise SpecError(f"arm {name!r}: a name has letters, digits, '.', '_' and '-' only; write NAME=RECIPE.")
    return name


def _takes(arm: Arm) -> set[str]:
    taught = {phase.name for phase in arm.recipe.phases if phase.teach is not None}
    return {*arm.recipe.models(), *taught, *(f"{name}.base" for name in taught)}


def _shared(arm: Arm, encoders: Mapping[str, str]) -> dict[str, str]:
    return {name: model for name, model in encoders.items() if name in _takes(arm)}


def _own(arm: Arm, encoders: Mapping[str, str]) -> dict[str, str]:
    own = {key.partition("/")[2]: model for key, model in encoders.items() if key.partition("/")[0] == arm.name}
    return {**own, **arm.encoders}


def _check_used(arms: Sequence[Arm], encoders: Mapping[str, str]) -> None:
    names = sorted({name for arm in arms for name in _takes(arm)})
    for key in encoders:
        arm, sign, _ = key.partition("/")
        if sign and arm not in [each.name for each in arms]:
            guess = did_you_mean(arm, [each.name for each in arms])
            raise SpecError(f"--encoder {key}=…: there is no arm {arm!r}.{guess}")
        if not sign and key not in names:
            listed = ", ".join(names) or "none"
            raise SpecError(f"--encoder {key}=…: no arm names a model {key!r}; they name: {listed}.")


def _check(arm: Arm, model: str) -> None:
    made = {phase.name for phase in arm.recipe.phases}
    lacking = {name for phase in arm.recipe.phases for name in crossing(phase.mine)} - made - set(arm.encoders)
    if lacking:
        name = min(lacking)
        raise SpecError(
            f"arm {arm.name!r} needs a cross-encoder {name!r}: --encoder {arm.name}/{name}=MODEL. "
            "foils teach makes one of the collection."
        )
    try:
        check(arm.recipe, model, Job(encoders=arm.encoders))
    except (SpecError, PipelineError) as error:
        raise SpecError(f"arm {arm.name!r}: {error}") from None
