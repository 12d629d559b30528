"""The command that says which negatives drove a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from foils.cli.options import DataOption, Json, Seed, loaded
from foils.cli.output import tell


def influence(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run that was trained with --influence.")],
    data: DataOption = None,
    count: Annotated[
        int, typer.Option("-n", min=0, max=100, help="Documents, queries, negatives or examples to show.")
    ] = 5,
    phenomena: Annotated[
        bool, typer.Option("--phenomena", help="What sets negatives apart in language (English); takes a while.")
    ] = False,
    queries: Annotated[int, typer.Option(min=2, help="With --phenomena: whose negatives to look at, at most.")] = 1_000,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Show which negatives drove a training run: sources, ranks, documents, queries."""
    from foils.influence import Influence, listed
    from foils.influence.phenomena import phenomena as explain
    from foils.influence.phenomena import write
    from foils.terminal import explained, influences, progress

    found = Influence.open(run)
    collection = found.collection() if data is None else loaded(data)
    if phenomena:
        with progress() as bars:
            told = explain(found, collection, queries=queries, examples=max(count, 1), seed=seed, progress=bars)
        write(found, told)
        tell(as_json, told, None if as_json else explained(told, count))
        return
    record = listed(found, collection, count)
    tell(as_json, record, None if as_json else influences(record))
