"""Commands that compare ways of training: compare."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from foils.cli.arguments import named_models, named_values
from foils.cli.options import Encoders, Json, LLMBudget, LLMPrice, LLMUrl, loaded
from foils.cli.output import tell
from foils.core.errors import SpecError

_STUDY = (".yaml", ".yml")


def compare(
    data: Annotated[str, typer.Argument(metavar="DATA", help="A collection as elsewhere, or the YAML of a study.")],
    recipes: Annotated[
        str | None, typer.Option("--recipes", "-r", metavar="A,B,…", help="Names or files; NAME=RECIPE.")
    ] = None,
    model: Annotated[str | None, typer.Option("--model", "-m", help="The start model: a name or folder.")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder of the study; it goes on there.")] = None,
    seeds: Annotated[int | None, typer.Option(help="Trainings of each arm; 3 by default.")] = None,
    budget: Annotated[
        str | None, typer.Option(metavar="STEPS|TIME", help="Of each training: 300, or 5m of the baseline's steps.")
    ] = None,
    baseline: Annotated[str | None, typer.Option(help="Arm to compare with: in-batch, else the first.")] = None,
    encoder: Encoders = None,
    split: Annotated[str | None, typer.Option(help="Whose queries to train on; train by default.")] = None,
    test: Annotated[str | None, typer.Option(help="Whose queries to measure on; test by default.")] = None,
    labels: Annotated[str | None, typer.Option(help="Split with fuller labels: the true false-negative rate.")] = None,
    judge: Annotated[
        list[str] | None,
        typer.Option(help="Estimates false-negative rates without --labels: as of foils audit; of several consensus."),
    ] = None,
    cheap: Annotated[str | None, typer.Option(metavar="JUDGE", help="Of all negatives; --judge corrects it.")] = None,
    judged: Annotated[int | None, typer.Option(help="Negatives of each arm to judge; 300 by default.")] = None,
    llm_url: LLMUrl = None,
    llm_price: LLMPrice = None,
    llm_budget: LLMBudget = None,
    measure: Annotated[list[str] | None, typer.Option(help="ir-measures name; repeat.")] = None,
    pairs: Annotated[Literal["baseline", "all"] | None, typer.Option(help="Differences to report and correct.")] = None,
    max_queries: Annotated[int | None, typer.Option(help="Train on so many queries at most.")] = None,
    keep_models: Annotated[bool, typer.Option("--keep-models", help="Keep the trained models.")] = False,
    option: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Any field of TrainOptions, for all arms.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Compare recipes on one collection: effects with intervals, costs, advice; goes on where it was cut off."""
    what: dict[str, Any] = {"data": data}
    values: dict[str, Any] = {}
    if data.endswith(_STUDY):
        from foils.study import read_study

        what, values = read_study(data)
    given: dict[str, Any] = {
        "seeds": seeds,
        "budget": budget,
        "baseline": baseline,
        "split": split,
        "test": test,
        "labels": labels,
        "judge": judge or None,
        "cheap": cheap,
        "judged": judged,
        "measures": tuple(measure) if measure else None,
        "pairs": pairs,
        "max_queries": max_queries,
        "keep_models": keep_models or None,
    }
    values |= {name: value for name, value in given.items() if value is not None}
    values["encoders"] = {**values.get("encoders", {}), **named_models(encoder)}
    values["train"] = {**values.get("train", {}), **named_values(option)}
    llm = {"url": llm_url, "prices": llm_price or None, "budget": llm_budget}
    values["llm"] = {**values.get("llm", {}), **{name: value for name, value in llm.items() if value is not None}}
    asked = {"arms": _listed(recipes), "model": model, "out": None if out is None else str(out)}
    what |= {name: value for name, value in asked.items() if value is not None}
    for name, flag in (("data", "DATA"), ("arms", "--recipes"), ("model", "--model"), ("out", "--out")):
        if what.get(name) is None:
            also = f", or {name}: … in the study's file" if data.endswith(_STUDY) else ""
            raise SpecError(f"Missing {flag}{also}.")
    _compare(what, values, as_json)


def _compare(what: dict[str, Any], values: dict[str, Any], as_json: bool) -> None:
    from foils.study import StudyOptions
    from foils.study import compare as made
    from foils.terminal import progress

    options = StudyOptions.read(values)
    collection = loaded(what["data"])
    with progress() as shown:
        study = made(collection, what["arms"], what["model"], out=what["out"], options=replace(options, progress=shown))
    tell(as_json, {"out": str(study.out), **study.record}, study)  # type: ignore[arg-type]
    if study.failed or study.unjudged:  # everything else is kept; the same command tries these again
        raise typer.Exit(1)


def _listed(recipes: str | None) -> list[str] | None:
    return None if recipes is None else [name.strip() for name in recipes.split(",") if name.strip()]
