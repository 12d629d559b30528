"""Commands that say which negatives drove a run, and which sources of them a model gives away."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from foils.cli.arguments import system
from foils.cli.options import DataOption, DocumentPrompt, Json, QueryPrompt, Seed, loaded
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


def probe(
    negatives: Annotated[Path, typer.Argument(metavar="NEG", help="Folder of negatives from several sources.")],
    model: Annotated[str, typer.Option("--model", "-m", help="The student, before training or after it.")],
    data: DataOption = None,
    sources: Annotated[str, typer.Option(help="A,B,…: each with each; else each with all others.")] = "",
    of: Annotated[
        Literal["document", "difference"], typer.Option(help="Documents, or less their queries.")
    ] = "document",
    fail_above: Annotated[
        float | None, typer.Option(min=0.5, max=1.0, help="Exit with 1 if an accuracy is higher, such as .9.")
    ] = None,
    query_prompt: QueryPrompt = None,
    document_prompt: DocumentPrompt = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Tell negatives apart by source, linearly, from a model's vectors: do they give the source away?"""
    from foils.evaluate import probe as run
    from foils.terminal import probed

    found = run(
        negatives,
        system(model, query_prompt, document_prompt),
        data=None if data is None else loaded(data),
        sources=tuple(name.strip() for name in sources.split(",") if name.strip()),
        of=of,
        seed=seed,
    )
    tell(as_json, found.to_dict(), None if as_json else probed(found))
    if fail_above is not None and found.highest > fail_above:
        raise typer.Exit(1)
