"""Commands about negatives: mine, look at, export, check."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from foils.cli.arguments import named_models, prompted
from foils.cli.options import (
    DataOption,
    DocumentPrompt,
    Encoders,
    Json,
    Precision,
    QueryPrompt,
    Seed,
    checked,
    loaded,
    opened,
)
from foils.cli.output import tell
from foils.core.errors import SpecError

if TYPE_CHECKING:
    from foils.core.collection import Collection
    from foils.stages.stage import Stage


def mine(
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder for the result.")] = None,
    data: Annotated[
        str | None, typer.Argument(metavar="DATA", help="As for inspect; with --candidates, theirs if it is left out.")
    ] = None,
    pipeline: Annotated[
        str | None, typer.Argument(metavar="PIPELINE", help="Stages, or the name or file of a recipe.")
    ] = None,
    candidates: Annotated[
        Path | None, typer.Option(help="Negatives mined before: choose among their candidates, search for none.")
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="Whose qrels are the known positives; train, or that of the candidates.")
    ] = None,
    encoder: Encoders = None,
    query_prompt: QueryPrompt = None,
    document_prompt: DocumentPrompt = None,
    precision: Precision = "auto",
    without_positives: Annotated[bool, typer.Option(help="Mine for queries without any positive, too.")] = False,
    leaks: Annotated[
        Literal["skip", "keep"], typer.Option(help="Queries that are also in dev or test: mine for them, or not.")
    ] = "skip",
    at: Annotated[float, typer.Option(help="Progress of training that scheduled numbers are taken at, 0 to 1.")] = 0.0,
    watch: Annotated[
        Path | None, typer.Option(metavar="RUN", help="Mine for this training run as it goes on, until it is finished.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace another run's result in the same folder.")
    ] = False,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Find and choose negatives; an interrupted run goes on with the same command."""
    from foils.mine import Miner
    from foils.pipelines import open_models
    from foils.terminal import mined, progress

    if watch is not None:
        _watch(
            watch, data, {"PIPELINE": pipeline, "--candidates": candidates, "--out": out, "--encoder": encoder}, as_json
        )
        return
    if out is None:
        raise SpecError("Missing option '--out' / '-o', a folder for the result.")
    stage, collection, split = _chosen(data, pipeline, candidates, split)
    models = open_models(
        stage, prompted(named_models(encoder), query_prompt, document_prompt, precision), precision=precision
    )
    with progress() as shown:
        policy: Literal["skip", "keep"] = "keep" if without_positives else "skip"
        miner = Miner(progress=shown, overwrite=overwrite, without_positives=policy, leaks=leaks, at=at)
        found = miner.mine(collection, stage, split=split, seed=seed, encoders=models, out=out)
    tell(as_json, {"out": str(out), **found.manifest}, None if as_json else mined(found.manifest, str(out)))


def _watch(run: Path, data: str | None, others: dict[str, Any], as_json: bool) -> None:
    """`mine --watch`: everything but the collection is what the run says."""
    from foils.pipelines import open_models
    from foils.terminal import progress
    from foils.train.refresh.watch import read_order
    from foils.train.refresh.watch import watch as look

    given = [name for name, value in others.items() if value]
    if given:
        raise SpecError(f"{', '.join(given)}: with --watch the run says what to mine and where to. Leave it out.")
    collection = None if data is None else loaded(data)
    with progress() as shown:
        maker = read_order(run, collection, lambda stage, named, how: open_models(stage, named, precision=how), shown)
        made = look(maker)
    tell(as_json, {"run": str(run), "generations": made}, None)


def _chosen(
    data: str | None, pipeline: str | None, candidates: Path | None, split: str | None
) -> tuple[Stage, Collection, str]:
    """The pipeline, collection and split of `mine`, whose DATA may be left out where there are candidates."""
    from foils.pipelines import pipeline_of, reselecting

    source, text = (None, data) if pipeline is None else (data, pipeline)
    if text is not None and candidates is not None:
        stage = reselecting(pipeline_of(text), candidates)
        negatives, collection = opened(candidates, source)
        return stage, collection, checked(split or negatives.manifest["split"], collection)
    if text is None or source is None:
        raise SpecError("mine takes DATA and PIPELINE; DATA may be left out with --candidates only.")
    stage, collection = pipeline_of(text), loaded(source)
    return stage, collection, checked(split or "train", collection)


def show(
    negatives: Annotated[Path, typer.Argument(metavar="NEG", help="Folder of mined negatives.")],
    data: DataOption = None,
    number: Annotated[int, typer.Option("-n", help="Queries to show.", min=1)] = 10,
    query: Annotated[list[str] | None, typer.Option(help="These queries, by id.")] = None,
    rejected: Annotated[int, typer.Option(help="Rejected candidates to show per reason.", min=0)] = 2,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Look at examples: positives, negatives, and what was rejected with the reason."""
    from foils.examples import as_dict, examples
    from foils.terminal import examples as rendered

    store, collection = opened(negatives, data)
    found = examples(store, collection, count=number, ids=tuple(query or ()), rejected=rejected, seed=seed)
    tell(as_json, [as_dict(example) for example in found], None if as_json else rendered(found))


def export(
    negatives: Annotated[Path, typer.Argument(metavar="NEG", help="Folder of mined negatives.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="A .parquet, .jsonl or .trec file, or a folder.")],
    layout: Annotated[
        str,
        typer.Option(
            "--format",
            "-f",
            help="triplet, n-tuple, labeled-pair, labeled-list, ids, pylate, flag-embedding, tevatron, tevatron-ids, "
            "nemo, trec",
        ),
    ] = "triplet",
    data: DataOption = None,
    scores: Annotated[str | None, typer.Option(help="Score column to write; 'score' for the latest.")] = None,
    as_json: Json = False,
) -> None:
    """Write negatives for another trainer."""
    from foils.export import export as write
    from foils.terminal import facts

    store, collection = opened(negatives, data)
    written = write(store, collection, layout, out, scores=scores)  # type: ignore[arg-type]
    report = written.to_dict()
    tell(as_json, report, facts((name.replace("_", " "), value) for name, value in report.items()))


def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Negatives of any tool, or a folder of mined ones.")],
    data: Annotated[str | None, typer.Option(help="The collection, for ids, texts and qrels.")] = None,
    layout: Annotated[str | None, typer.Option("--format", help="The layout; told by the columns if left out.")] = None,
    split: Annotated[str | None, typer.Option(help="Whose qrels are the known positives; others are held out.")] = None,
    allow: Annotated[
        list[str] | None, typer.Option(metavar="CODE[=N]", help="A finding that may be there, or up to N; repeat.")
    ] = None,
    expect: Annotated[int | None, typer.Option(help="Negatives that every list must have.")] = None,
    max_share: Annotated[float, typer.Option(help="Of the queries that one document may be a negative of.")] = 0.05,
    near: Annotated[float, typer.Option(help="Jaccard similarity of a near-duplicate.")] = 0.8,
    examples: Annotated[int, typer.Option(help="To show of each finding.")] = 3,
    as_json: Json = False,
) -> None:
    """Look for faults in a file of negatives; exits with 1 if there is one that is not allowed."""
    from foils.check import Limits
    from foils.check import check as look

    limits = Limits(expect, max_share, near, examples)
    collection = None if data is None else loaded(data)
    report = look(file, collection, format=layout, split=split, allow=allow or (), limits=limits)
    tell(as_json, report.to_dict(), report)
    if not report.passed:
        raise typer.Exit(1)
