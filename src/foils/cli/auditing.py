"""The command that estimates false-negative rates."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from foils.cli.options import DataOption, Json, Seed, loaded
from foils.cli.output import tell
from foils.core.errors import SpecError


def audit(
    negatives: Annotated[Path, typer.Argument(metavar="NEG", help="Folder of mined negatives, or any tool's file.")],
    data: DataOption = None,
    judge: Annotated[
        list[str] | None,
        typer.Option(
            help="qrels[:SPLIT|:FILE], a cross-encoder, score[:COLUMN], labels:CSV; of several the consensus."
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(metavar="CSV", help="The sheet, filled in: people judge; --judge is then the cheap judge."),
    ] = None,
    cheap: Annotated[
        str | None, typer.Option(metavar="JUDGE", help="Judges everything; the judge of the sample corrects it.")
    ] = None,
    budget: Annotated[int | None, typer.Option(help="Negatives to judge; 300, or all where qrels judge.")] = None,
    dropped: Annotated[int, typer.Option(help="To judge besides, of what each step took out; 0 for none.")] = 60,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder for the report and the sheet.")] = None,
    complete: Annotated[
        bool, typer.Option("--complete", help="What the qrels do not list was looked at and is irrelevant.")
    ] = False,
    by: Annotated[str | None, typer.Option(help="Score column for bands and difficulty; the latest.")] = None,
    split: Annotated[str | None, typer.Option(help="Of a file without positives: whose qrels they are.")] = None,
    layout: Annotated[str | None, typer.Option("--format", help="Of a file; told by the columns if left out.")] = None,
    level: Annotated[float, typer.Option(help="Of the intervals.")] = 0.95,
    controls: Annotated[
        int, typer.Option(help="Known positives and random documents that a model must tell apart first.")
    ] = 50,
    examples: Annotated[int, typer.Option(help="False negatives to show.")] = 5,
    fail_above: Annotated[
        float | None, typer.Option(metavar="RATE", help="Exit with 1 if the whole interval is above this rate.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Ask nobody; say what would be judged, at what cost.")
    ] = False,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Estimate how many of the negatives are relevant, from a judged sample; exits with 1 above --fail-above."""
    from foils.audit import Options
    from foils.audit import audit as look
    from foils.terminal import audited, progress

    if fail_above is not None and not 0 <= fail_above <= 1:
        raise SpecError(f"--fail-above {fail_above}: a rate is between 0 and 1, such as 0.05.")
    good, other = _judges(judge or [], labels, cheap)
    if fail_above is not None and (good is None or dry_run):
        raise SpecError("--fail-above needs a rate, so somebody must judge: pass --judge or --labels, no --dry-run.")
    collection = None if data is None else loaded(data)
    with progress() as shown:
        options = Options(
            budget=budget, dropped=dropped, seed=seed, level=level, by=by, split=split, format=layout,
            complete=complete, controls=controls, examples=examples, dry_run=dry_run, progress=shown,
        )  # fmt: skip
        found = look(negatives, collection, good, cheap=other, options=options, out=out)
    record = found.to_dict()
    tell(as_json, record, None if as_json else audited(record, out, fail_above))
    if fail_above is not None and not found.passes(fail_above):
        raise typer.Exit(1)


def _judges(judge: list[str], labels: Path | None, cheap: str | None) -> tuple[list[str] | None, str | None]:
    """Whose word counts, and the cheap judge."""
    if labels is None:
        return judge or None, cheap
    if len(judge) > 1 or (judge and cheap):
        raise SpecError("with --labels there is one cheap judge at most: give --judge once, and no --cheap.")
    return [f"labels:{labels}"], judge[0] if judge else cheap
