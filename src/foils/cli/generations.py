"""Commands about generations: what a run mined while it trained, what changed, and the way back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from foils.cli.options import DataOption, Json, loaded
from foils.cli.output import tell

RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a training run.")]


def generations(run: RunFolder, as_json: Json = False) -> None:
    """List the generations of negatives that a run has mined."""
    from foils.core.errors import StoreError
    from foils.terminal import generations as shown
    from foils.train.generations import listing
    from foils.train.run import RECORD, read_record

    if not (run / RECORD).exists():
        raise StoreError(f"{run}: there is no training run here (no {RECORD}).")
    listed = listing(run)
    tell(as_json, listed, None if as_json else shown(listed, read_record(run) or {}))


def diff(
    first: Annotated[Path, typer.Argument(metavar="A", help="Folder of negatives, such as RUN/negatives.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="A later one, such as RUN/generations/1.")],
    data: DataOption = None,
    number: Annotated[int, typer.Option("-n", help="Queries to show that changed most.", min=0)] = 3,
    as_json: Json = False,
) -> None:
    """Compare two folders of negatives: overlap of the candidates, share of new negatives, examples."""
    from foils.diff import compare, described
    from foils.store import Negatives
    from foils.terminal import difference

    sides = Negatives.open(first), Negatives.open(second)
    collection = sides[1].collection() if data is None else loaded(data)
    found = compare(*sides, collection)
    report = {**found.to_dict(), "changed": described(found, sides, collection, number)}
    tell(as_json, report, None if as_json else difference(report))


def rollback(
    run: RunFolder,
    to: Annotated[int, typer.Option(help="Generation to go back to; 0 for the beginning.", min=0)],
    as_json: Json = False,
) -> None:
    """Let a run go on from an earlier generation and its checkpoint; newer ones are put aside."""
    from foils.terminal import facts
    from foils.train.refresh.rollback import rollback as go_back

    done = go_back(run, to)
    shown = facts([("generation", done["to"]), ("step", done["step"]), ("put aside", str(run / done["aside"]))])
    tell(as_json, done, None if as_json else shown)
