"""Recipes: a published method as a few declared values in YAML, headed by its citation and the command that runs it."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from foils.core.errors import SpecError
from foils.core.spec import parse, scheduled
from foils.core.text import did_you_mean
from foils.stages.stage import Stage

if TYPE_CHECKING:
    from foils.train.contrasts import Contrast
    from foils.train.losses import Loss

_KEYS = ("title", "cite", "family", "needs", "mine", "contrast", "loss", "batches", "notes")


@dataclass(frozen=True)
class Recipe:
    """The decisions that the literature varies.

    Attributes:
        name: file name without suffix.
        title: one line.
        cite: authors, year, title, identifier, section.
        family: random, static, dynamic or synthetic (Wischounig et al. 2026).
        needs: names of models that the pipeline uses; ``student`` is the model that is trained.
        mine: the pipeline, or None if nothing is mined.
        contrast: whom each query is compared with in a step.
        loss: the loss.
        batches: the order of rows.
        notes: what to know before using it.
    """

    name: str
    title: str
    cite: str
    family: str
    needs: tuple[str, ...]
    mine: Stage | None
    contrast: Contrast
    loss: Loss
    batches: Any
    notes: str

    def text(self) -> dict[str, Any]:
        """The recipe as plain values, pipelines in short form."""
        values = {key: getattr(self, key) for key in ("name", "title", "cite", "family")}
        spec = {key: repr(getattr(self, key)) for key in ("contrast", "loss", "batches")}
        return {
            **values,
            "needs": list(self.needs),
            "mine": None if self.mine is None else repr(self.mine),
            **spec,
            "notes": self.notes,
        }


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
    needs = content.get("needs", [])
    if not isinstance(needs, list):
        raise SpecError(f"recipe {label!r}: needs: {needs!r} is no list; write [student].")
    try:
        recipe = Recipe(
            name=label,
            title=str(content.get("title", label)),
            cite=str(content.get("cite", "")),
            family=str(content.get("family", "static")),
            needs=tuple(map(str, needs)),
            mine=parse(str(content["mine"])) if content.get("mine") else None,
            contrast=parse(str(content.get("contrast", "InBatch()")), "contrast", "stage"),
            loss=parse(str(content.get("loss", "InfoNCE()")), "loss"),
            batches=parse(str(content.get("batches", "Shuffled()")), "batches"),
            notes=" ".join(str(content.get("notes", "")).split()),
        )
        if scheduled(recipe.batches):
            raise SpecError(f"batches: {recipe.batches!r} cannot depend on the progress of training.")
    except SpecError as error:
        raise SpecError(f"recipe {label!r}: {error}") from None
    return recipe
