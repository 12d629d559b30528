"""The command that has texts written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from foils.cli.arguments import named_models
from foils.cli.options import (
    Data,
    Encoders,
    Json,
    LLMBudget,
    LLMConcurrency,
    LLMPrice,
    LLMUrl,
    Offline,
    Seed,
    checked,
    loaded,
)
from foils.cli.output import tell
from foils.core.errors import SpecError

if TYPE_CHECKING:
    from foils.adapters.llm import Access


def write(
    data: Data,
    author: Annotated[
        str,
        typer.Argument(
            metavar="AUTHOR", help="Who writes, such as \"FromFile('a.jsonl')\"; foils stages --kind author."
        ),
    ],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for the shard; it is a collection for every command.")
    ] = None,
    split: Annotated[str, typer.Option(help="Whose queries are written for.")] = "train",
    limit: Annotated[
        int | None, typer.Option(help="Queries, or documents where queries are written, drawn by ids; all.")
    ] = None,
    positives: Annotated[
        int | None, typer.Option(help="Of each query to write from, drawn by ids; as the author says, mostly 1.")
    ] = None,
    checks: Annotated[
        str | None,
        typer.Option(
            metavar="CHECKS", help="Such as \"Length() + Below('teacher')\"; Usual() is the default; or none."
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="WRITER[,JUDGE]", help="Language models, as the endpoint calls them.")
    ] = None,
    llm_url: LLMUrl = None,
    llm_price: LLMPrice = None,
    llm_budget: LLMBudget = None,
    llm_concurrency: LLMConcurrency = 8,
    offline: Offline = False,
    encoder: Encoders = None,
    leaks: Annotated[
        Literal["skip", "keep"], typer.Option(help="Queries and positives of dev and test: write from them, or not.")
    ] = "skip",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Ask nobody; say what would be asked, at what cost.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace another run's result in the same folder.")
    ] = False,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Have texts written and checked, as a shard behind the collection; an interrupted run goes on."""
    from foils.terminal import progress
    from foils.terminal.writing import planned, written
    from foils.writing import Options
    from foils.writing import write as do

    if out is None and not dry_run:
        raise SpecError("Missing option '--out' / '-o', a folder for the shard.")
    collection = loaded(data)
    checked(split, collection)
    access = _access(llm_url, llm_price, llm_budget, (llm_concurrency, offline))
    models = [name.strip() for name in (model or "").split(",") if name.strip()]
    with progress() as shown:
        options = Options(
            limit=limit, positives=positives, checks=checks, encoders=named_models(encoder), models=models,
            access=access, leaks=leaks, dry_run=dry_run, overwrite=overwrite, progress=shown,
        )  # fmt: skip
        made = do(collection, author, out=out or Path("shard"), split=split, seed=seed, options=options)
    record = {**made.record, "out": None if made.path is None else str(made.path)}
    tell(as_json, record, None if as_json else planned(record) if dry_run else written(record))


def _access(url: str | None, prices: list[str] | None, budget: float | None, how: tuple[int, bool]) -> Access:
    from foils.adapters.llm import Access, Price

    concurrency, offline = how
    parsed = tuple(Price.parse(text) for text in prices or ())
    return Access(url=url, prices=parsed, budget=budget, offline=offline, concurrency=concurrency)
