"""Commands about models: train, evaluate."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

import typer

from foils.cli.arguments import file_name, named_models, named_systems, named_values, system, whole
from foils.cli.options import (
    Data,
    DocumentPrompt,
    Encoders,
    Json,
    Out,
    QueryPrompt,
    Seed,
    checked,
    loaded,
)
from foils.cli.output import tell

_TEACH = "teach."


def train(
    data: Data,
    recipe: Annotated[str, typer.Option("--recipe", "-r", help="Name or file of a recipe; see: foils recipes")],
    model: Annotated[str, typer.Option("--model", "-m", help="minilm, static, a folder or a hub name.")],
    out: Out,
    split: Annotated[str, typer.Option(help="Whose queries to train on.")] = "train",
    negatives: Annotated[Path | None, typer.Option(help="Mined already; the recipe mines otherwise.")] = None,
    encoder: Encoders = None,
    epochs: Annotated[float | None, typer.Option(help="Passes over the training rows, also a part of one.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Rows per step.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Peak learning rate.")] = None,
    guard: Annotated[str | None, typer.Option(help="Bounds, such as 'Guard()'; see: foils stages Guard")] = None,
    fallback: Annotated[
        str | None, typer.Option(help="Recipe to go on with from the last good checkpoint, e.g. in-batch.")
    ] = None,
    task: Annotated[
        list[str] | None, typer.Option("--task", help="Measured at each look at dev, as by foils transfer; repeat.")
    ] = None,
    influence: Annotated[
        bool, typer.Option("--influence", help="Count what every negative does; see: foils influence")
    ] = False,
    option: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Any field of TrainOptions; teach.NAME: of TeachOptions."),
    ] = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Mine as a recipe says and train; an interrupted run goes on with the same command."""
    from foils.core.spec import parse
    from foils.evaluate.transfer import read_tasks
    from foils.follow import Job, follow
    from foils.mine import Miner
    from foils.recipe import load_fallback, load_recipe
    from foils.store import Negatives
    from foils.teach import TeachOptions
    from foils.terminal import progress, trained
    from foils.train import TrainOptions

    named = named_values(option)
    teaching = {name.removeprefix(_TEACH): named.pop(name) for name in list(named) if name.startswith(_TEACH)}
    given = {"epochs": whole(epochs), "batch_size": batch_size, "learning_rate": learning_rate, **named}
    options = TrainOptions.read({name: value for name, value in given.items() if value is not None})
    plan, collection = load_recipe(recipe), loaded(data)
    with progress() as shown:
        ready = None if negatives is None else Negatives.open(negatives)
        teach = TeachOptions.read(teaching) if teaching else None
        job = Job(
            checked(split, collection),
            seed,
            named_models(encoder),
            Miner(progress=shown),
            ready,
            teach=teach,
            guard=None if guard is None else parse(guard, "guard"),
            fallback=None if fallback is None else load_fallback(fallback),
            tasks=read_tasks(task or []),
            influence=influence,
        )
        result = follow(plan, collection, model, out=out, job=job, options=options)
    if os.environ.get("RANK", "0") != "0":
        return  # of several processes one speaks
    record = {"out": str(out), "model": str(result.run.model), **result.run.record}
    tell(as_json, record, None if as_json else trained(result))


def evaluate(
    data: Data,
    model: Annotated[list[str], typer.Option("--model", "-m", help="[NAME=]encoder, bm25, or TREC run file; repeat.")],
    baseline: Annotated[str | None, typer.Option(help="Compare with this one: a model as above.")] = None,
    split: Annotated[str, typer.Option(help="Whose queries to measure.")] = "test",
    measure: Annotated[list[str] | None, typer.Option(help="ir-measures name; repeat.")] = None,
    own: Annotated[
        Literal["keep", "exclude"], typer.Option(help="A query that is also a document: keep or exclude that document.")
    ] = "keep",
    query_prompt: QueryPrompt = None,
    document_prompt: DocumentPrompt = None,
    per_query: Annotated[Path | None, typer.Option(help="Folder for values per query and TREC runs.")] = None,
    geometry: Annotated[
        bool, typer.Option("--geometry", help="Also what the vectors look like: hubs and more.")
    ] = False,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Measure retrieval, with intervals and a paired test against the baseline."""
    from foils.evaluate import Settings, evaluate_all, space
    from foils.evaluate.measures import DEFAULT
    from foils.evaluate.retrieval import encodes
    from foils.terminal import progress, spaces

    collection = loaded(data)
    systems = {
        name: system(text, query_prompt, document_prompt) for name, text in named_systems(model, baseline).items()
    }
    against = None if baseline is None else next(iter(systems))
    with progress() as shown:
        settings = Settings(own=own, seed=seed, progress=shown)
        measures = tuple(measure) if measure else DEFAULT
        table = evaluate_all(
            collection,
            systems,
            split=checked(split, collection),
            measures=measures,
            baseline=against,
            settings=settings,
        )
        looked = [name for name, model in systems.items() if geometry and encodes(model)]
        seen = [space(collection, systems[name], name=name, split=split, settings=settings) for name in looked]
    if per_query is not None:
        per_query.mkdir(parents=True, exist_ok=True)
        for name, scores in table.scores.items():
            scores.write(per_query / f"{file_name(name)}.tsv")
            scores.write_run(per_query / f"{file_name(name)}.trec")
    record = {**table.to_dict(), **({"geometry": [each.to_dict() for each in seen]} if geometry else {})}
    tell(as_json, record, spaces(table, seen))
