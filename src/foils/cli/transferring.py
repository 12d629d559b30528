"""The command that measures models on other tasks."""

from __future__ import annotations

from typing import Annotated

import typer

from foils.cli.arguments import named_systems, system
from foils.cli.options import DocumentPrompt, Json, QueryPrompt, Seed
from foils.cli.output import tell


def transfer(
    task: Annotated[list[str], typer.Option("--task", "-t", help="[KIND=]file or folder, mteb=NAME; repeat.")],
    model: Annotated[list[str], typer.Option("--model", "-m", help="[NAME=]encoder; repeat.")],
    baseline: Annotated[str | None, typer.Option(help="What they started from: a model as above.")] = None,
    fail_on_regression: Annotated[
        bool, typer.Option("--fail-on-regression", help="Exit with 1 if a model is worse than the baseline.")
    ] = False,
    query_prompt: QueryPrompt = None,
    document_prompt: DocumentPrompt = None,
    rounds: Annotated[int, typer.Option(min=100, help="Resamples for intervals and tests.")] = 2_000,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Measure models on other tasks: similarity, pairs, classification, clustering, retrieval; alarm if worse."""
    from foils.core.cache import cache_root
    from foils.evaluate.transfer import How, read_tasks
    from foils.evaluate.transfer import transfer as run
    from foils.terminal import progress, transferred

    tasks = read_tasks(task)
    named = named_systems(model, baseline)
    systems = {name: system(text, query_prompt, document_prompt) for name, text in named.items()}
    against = None if baseline is None else next(iter(systems))
    how = How(rounds, seed, cache_root() / "vectors")
    with progress() as shown:
        found = run(tasks, systems, baseline=against, how=how, progress=shown)
    tell(as_json, found.to_dict(), None if as_json else transferred(found))
    if fail_on_regression and found.regressions:
        raise typer.Exit(1)
