"""Pipelines from what a user gives: the text or the recipe, and the models that it names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from foils.adapters.models import load_encoder, load_reranker
from foils.adapters.precision import Precision
from foils.adapters.protocols import Encoder, Reranker
from foils.core.errors import SpecError
from foils.core.spec import parse, registry
from foils.recipe import load_recipe, shipped, source
from foils.stages.load import Load
from foils.stages.stage import Stage


def pipeline_of(text: str) -> Stage:
    """A pipeline from its text, or that of a recipe from its name or file.

    Raises:
        SpecError: it cannot be read, or the recipe mines nothing.
    """
    if text in shipped() or text.endswith((".yaml", ".yml")):
        recipe = load_recipe(text)
        if recipe.mine is None:
            raise SpecError(
                f"recipe {recipe.name!r} mines nothing; it is complete with: foils train DATA --recipe {text}"
            )
        return recipe.mine
    if "(" not in text and text not in registry("stage"):
        # A word is more likely a misspelt recipe than a stage without parentheses.
        source(text)
    stage: Stage = parse(text)
    return stage


def reselecting(pipeline: Stage, candidates: str | Path) -> Stage:
    """A pipeline that chooses among all candidates of a folder of negatives, with their saved scores.

    Args:
        pipeline: filters, samplers, scorers and labelers; no source at its beginning.
        candidates: folder that was mined before.

    Raises:
        SpecError: the pipeline begins with a source.
    """
    first = next(pipeline.steps())
    if first.family == "source":
        raise SpecError(
            f"--candidates: the pipeline begins with {first!r}, which searches again. Leave its sources out, such as "
            f"PositiveAware() >> Top(k=4); or do without --candidates."
        )
    return Load(str(candidates), which="all") >> pipeline


def open_models(
    pipeline: Stage, given: Mapping[str, Any], default: Any = None, precision: Precision = "auto"
) -> dict[str, Encoder | Reranker]:
    """Load the models that a pipeline names: cross-encoders for stages that read pairs, bi-encoders for the rest.

    Args:
        pipeline: the stages.
        given: name in the pipeline -> what `load_encoder` or `load_reranker` takes.
        default: for bi-encoders that are not given, such as the student; None for none.
        precision: of models that are loaded by name here.

    Raises:
        SpecError: a model is given that the pipeline does not name.
    """
    cross_encoders = crossing(pipeline)
    names = pipeline.encoders()
    for name in given:
        if name not in names:
            used = ", ".join(repr(n) for n in names) or "none"
            raise SpecError(f"--encoder {name}=…: the pipeline names no model {name!r}; it names: {used}.")
    models: dict[str, Encoder | Reranker] = {}
    for name in names:
        if name in cross_encoders:
            if name in given:
                models[name] = load_reranker(given[name], precision=precision)
        elif name in given or default is not None:
            models[name] = load_encoder(given.get(name, default), precision=precision)
    return models


def crossing(pipeline: Stage | None) -> set[str]:
    """The cross-encoders among the models that a pipeline names."""
    steps = () if pipeline is None else pipeline.steps()
    return {name for stage in steps if stage.crosses for name in stage.encoders()}
