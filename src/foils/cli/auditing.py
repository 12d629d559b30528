"""The command that estimates false-negative rates."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from foils.cli.options import (
    DataOption,
    Json,
    LLMBudget,
    LLMConcurrency,
    LLMPrice,
    LLMUrl,
    Offline,
    Seed,
    loaded,
)
from foils.cli.output import tell
from foils.core.errors import SpecError

if TYPE_CHECKING:
    from foils.audit.judges.llm import LLMOptions


def audit(
    negatives: Annotated[Path, typer.Argument(metavar="NEG", help="Folder of mined negatives, or any tool's file.")],
    data: DataOption = None,
    judge: Annotated[
        list[str] | None,
        typer.Option(
            help="qrels[:SPLIT|:FILE], a cross-encoder, score[:COLUMN], llm:MODEL[,STRONG]; of several the consensus."
        ),
    ] = None,
    labels: Annotated[
        list[Path] | None,
        typer.Option(metavar="CSV", help="The sheet, filled in; one for each person. --judge is then the cheap judge."),
    ] = None,
    cheap: Annotated[
        str | None, typer.Option(metavar="JUDGE", help="Judges everything; the judge of the sample corrects it.")
    ] = None,
    budget: Annotated[int | None, typer.Option(help="Negatives to judge; 300, or all where qrels judge.")] = None,
    dropped: Annotated[int, typer.Option(help="To judge besides, of what each step took out; 0 for none.")] = 60,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder for the report and the sheet.")] = None,
    page: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Write the sheet as a page to label in, too.")
    ] = None,
    llm_url: LLMUrl = None,
    llm_price: LLMPrice = None,
    llm_budget: LLMBudget = None,
    llm_prompt: Annotated[
        str, typer.Option(metavar="PROMPT", help="judge-list, judge-pair, or a file; see foils prompts.")
    ] = "judge-list",
    llm_concurrency: LLMConcurrency = 8,
    offline: Offline = False,
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
        float | None, typer.Option(metavar="RATE", help="Exit with 1 if the whole interval is above, or no rate.")
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
    good, other = _judges(judge or [], labels or [], cheap)
    if fail_above is not None and (good is None or dry_run):
        raise SpecError("--fail-above needs a rate, so somebody must judge: pass --judge or --labels, no --dry-run.")
    llm = _llm(llm_url, llm_price, llm_budget, llm_prompt, (llm_concurrency, offline))
    collection = None if data is None else loaded(data)
    with progress() as shown:
        options = Options(
            budget=budget, dropped=dropped, seed=seed, level=level, by=by, split=split, format=layout,
            complete=complete, controls=controls, examples=examples, dry_run=dry_run, progress=shown, llm=llm,
        )  # fmt: skip
        found = look(negatives, collection, good, cheap=other, options=options, out=out)
        if page is not None and not dry_run:
            found.write_page(page)
    record = found.to_dict()
    tell(as_json, record, None if as_json else audited(record, out, fail_above, page=None if dry_run else page))
    if fail_above is not None and not found.passes(fail_above):
        raise typer.Exit(1)


def _judges(judge: list[str], labels: list[Path], cheap: str | None) -> tuple[list[str] | None, str | None]:
    """Whose word counts, and the cheap judge."""
    if not labels:
        return judge or None, cheap
    if len(judge) > 1 or (judge and cheap):
        raise SpecError("with --labels there is one cheap judge at most: give --judge once, and no --cheap.")
    return ["labels:" + ",".join(map(str, labels))], judge[0] if judge else cheap


def _llm(
    url: str | None, prices: list[str] | None, budget: float | None, prompt: str, how: tuple[int, bool]
) -> LLMOptions:
    from foils.adapters.llm import Price
    from foils.audit.judges.llm import LLMOptions

    parsed = tuple(Price.parse(text) for text in prices or ())
    concurrency, offline = how
    return LLMOptions(url=url, prices=parsed, budget=budget, prompt=prompt, offline=offline, concurrency=concurrency)
