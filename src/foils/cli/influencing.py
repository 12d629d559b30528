"""The command that says which negatives drove a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from foils.cli.options import DataOption, Json, loaded
from foils.cli.output import tell


def influence(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run that was trained with --influence.")],
    data: DataOption = None,
    count: Annotated[int, typer.Option("-n", min=0, max=100, help="Documents, queries and negatives to show.")] = 5,
    as_json: Json = False,
) -> None:
    """Show which negatives drove a training run: sources, ranks, documents, queries."""
    from foils.influence import Influence, listed
    from foils.terminal import influences

    found = Influence.open(run)
    collection = found.collection() if data is None else loaded(data)
    record = listed(found, collection, count)
    tell(as_json, record, None if as_json else influences(record))
