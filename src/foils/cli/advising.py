"""Commands that say where to begin: advise."""

from __future__ import annotations

from typing import Annotated

import typer

from foils.cli.options import Data, Json, Seed, checked, loaded
from foils.cli.output import tell


def advise(
    data: Data,
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="The model to be trained: minilm, static, a folder or name.")
    ] = None,
    split: Annotated[str, typer.Option(help="Whose queries to train on.")] = "train",
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Look at a collection for a minute and say which recipe to begin with, why, and what to run next."""
    from foils.advise import advise as made
    from foils.terminal import progress

    collection = loaded(data)
    with progress() as shown:
        found = made(collection, model, split=checked(split, collection), source=data, seed=seed, progress=shown)
    tell(as_json, found.to_dict(), found)  # type: ignore[arg-type]
