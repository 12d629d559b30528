"""The command line: parsing only. Each command calls the function of the same name and shows what it returns.

Exit codes: 0 fine, 1 data or a result is refused, 2 what was asked for cannot be understood.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

import typer

from foils.arguments import column_roles, file_name, named_models, named_systems, named_values, prompted, system
from foils.core.errors import FoilsError, SpecError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from foils.core.collection import Collection

app = typer.Typer(
    help="The negatives that dense retrievers are trained with: find, choose, clean, train with and measure them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
)

Data = Annotated[
    str, typer.Argument(metavar="DATA", help="BEIR folder, file of pairs, hf:NAME, or a converted folder.")
]
DataOption = Annotated[str | None, typer.Option("--data", help="The collection; found in the cache if left out.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")]
Seed = Annotated[int, typer.Option(help="Of every draw: same inputs and seed, same bytes.")]
Out = Annotated[Path, typer.Option("--out", "-o", help="Folder for the result.")]
Encoders = Annotated[
    list[str] | None, typer.Option("--encoder", metavar="NAME=MODEL", help="Model that the pipeline calls NAME.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace another run's result in the same folder.")]
QueryPrompt = Annotated[str | None, typer.Option(help="Put before queries; the model's own by default.")]
DocumentPrompt = Annotated[str | None, typer.Option(help="Put before documents; the model's own by default.")]

Precision = Annotated[
    str, typer.Option(help="Of models that mine: auto (bfloat16 where it is fast), float32 or bfloat16.")
]


def _show(as_json: bool, value: Any, shown: RenderableType | None) -> None:
    if as_json:
        _write(json.dumps(value, ensure_ascii=False, allow_nan=False, default=str) + "\n")
    elif shown is not None:
        from foils.terminal import console

        out = console()
        with out.capture() as captured:
            out.print(shown)
        _write(captured.get())


def _write(text: str) -> None:
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader, such as `head`, has seen enough; Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _load(source: str) -> Collection:
    from foils import load

    return load(source)


def _split(data: Collection, wanted: str) -> str:
    # The typed error of the collection names the splits there are.
    data.qrels(wanted)
    return wanted


@app.command()
def demo(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder for the collection.")],
    max_docs: Annotated[int | None, typer.Option(help="A smaller one, of whole packages.")] = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Build a real collection from the documentation strings of this Python."""
    from foils.demo import build
    from foils.terminal import facts, progress

    with progress() as shown:
        report = build(out, max_docs=max_docs, seed=seed, progress=shown.of("reading modules"))
    _show(as_json, report, facts((name.replace("_", " "), value) for name, value in report.items()))


@app.command()
def inspect(data: Data, seed: Seed = 0, as_json: Json = False) -> None:
    """Show what a collection holds: sizes, splits, duplicates, leaks, examples."""
    from foils.overview import overview
    from foils.terminal import inspected

    summary = overview(_load(data), seed=seed)
    _show(as_json, summary, None if as_json else inspected(summary))


@app.command("import")
def import_(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="Queries or pairs: file, glob, folder or hf:NAME.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder for a BEIR copy, which every command reads.")],
    corpus: Annotated[str | None, typer.Option(help="Documents with id, text and perhaps title.")] = None,
    qrels: Annotated[str | None, typer.Option(help="Judgements: BEIR's or TREC's columns.")] = None,
    columns: Annotated[str | None, typer.Option(metavar="ROLE=COLUMN,…", help="query=frage,positive=antwort")] = None,
    drop_unknown: Annotated[
        bool, typer.Option(help="Leave out judgements of unknown ids instead of refusing.")
    ] = False,
    cut: Annotated[
        str | None, typer.Option(metavar="sentences|words:N", help="Cut each document into pieces of its own.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Read a collection in another form and write it as a BEIR folder."""
    from foils import load
    from foils.core.beir import write_beir
    from foils.core.pieces import cut_of, write_pieces
    from foils.overview import overview
    from foils.terminal import inspected

    cutting = None if cut is None else cut_of(cut)
    roles = column_roles(columns)
    policy: Literal["error", "drop"] = "drop" if drop_unknown else "error"
    collection = load(source, corpus=corpus, qrels=qrels, columns=roles, on_unknown=policy)
    if cutting is None:
        write_beir(collection, out)
    else:
        collection = load(write_pieces(collection, out, cutting))
    summary = overview(collection)
    _show(as_json, {**summary, "out": str(out)}, None if as_json else inspected(summary))


@app.command()
def mine(
    data: Annotated[
        str, typer.Argument(metavar="[DATA]", help="As for inspect; with --candidates, theirs if it is left out.")
    ],
    out: Out,
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
    overwrite: Overwrite = False,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Find and choose negatives; an interrupted run goes on with the same command."""
    from foils.follow import open_models, pipeline_of, reselecting
    from foils.mine import Miner
    from foils.terminal import mined, progress

    source, text = (data, pipeline) if pipeline is not None else (None, data)
    stage = pipeline_of(text)
    if candidates is not None:
        stage = reselecting(stage, candidates)
        negatives, collection = _open(candidates, source)
        split = split or negatives.manifest["split"]
    elif source is None:
        raise SpecError("foils mine takes DATA and PIPELINE; DATA may be left out with --candidates only.")
    else:
        collection = _load(source)
    split = split or "train"
    named = prompted(named_models(encoder), query_prompt, document_prompt, precision)
    models = open_models(stage, named, precision=precision)  # type: ignore[arg-type]
    with progress() as shown:
        policy: Literal["skip", "keep"] = "keep" if without_positives else "skip"
        miner = Miner(progress=shown, overwrite=overwrite, without_positives=policy, leaks=leaks, at=at)
        found = miner.mine(collection, stage, split=_split(collection, split), seed=seed, encoders=models, out=out)
    _show(as_json, {"out": str(out), **found.manifest}, None if as_json else mined(found.manifest, str(out)))


def _open(path: Path, data: str | None) -> tuple[Any, Collection]:
    from foils.core.collection import find
    from foils.store import Negatives

    negatives = Negatives.open(path)
    if data is not None:
        return negatives, _load(data)
    wanted = negatives.manifest["collection"]
    return negatives, find(wanted["fingerprint"], wanted["name"])


@app.command()
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

    store, collection = _open(negatives, data)
    found = examples(store, collection, count=number, ids=tuple(query or ()), rejected=rejected, seed=seed)
    _show(as_json, [as_dict(example) for example in found], None if as_json else rendered(found))


@app.command()
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

    store, collection = _open(negatives, data)
    written = write(store, collection, layout, out, scores=scores)  # type: ignore[arg-type]
    report = written.to_dict()
    _show(as_json, report, facts((name.replace("_", " "), value) for name, value in report.items()))


@app.command()
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
    collection = None if data is None else _load(data)
    report = look(file, collection, format=layout, split=split, allow=allow or (), limits=limits)
    _show(as_json, report.to_dict(), report)
    if not report.passed:
        raise typer.Exit(1)


@app.command()
def train(
    data: Data,
    recipe: Annotated[str, typer.Option("--recipe", "-r", help="Name or file of a recipe; see: foils recipes")],
    model: Annotated[str, typer.Option("--model", "-m", help="minilm, static, a folder or a hub name.")],
    out: Out,
    split: Annotated[str, typer.Option(help="Whose queries to train on.")] = "train",
    negatives: Annotated[Path | None, typer.Option(help="Mined already; the recipe mines otherwise.")] = None,
    encoder: Encoders = None,
    precision: Precision = "auto",
    epochs: Annotated[int | None, typer.Option(help="Passes over the training rows.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Rows per step.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Peak learning rate.")] = None,
    option: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Any other field of TrainOptions.")
    ] = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Mine as a recipe says and train; an interrupted run goes on with the same command."""
    from foils.follow import Job, follow
    from foils.mine import Miner
    from foils.recipe import load_recipe
    from foils.store import Negatives
    from foils.terminal import progress, trained
    from foils.train import TrainOptions

    given = {"epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate, **named_values(option)}
    options = TrainOptions.read({name: value for name, value in given.items() if value is not None})
    plan, collection = load_recipe(recipe), _load(data)
    with progress() as shown:
        ready = None if negatives is None else Negatives.open(negatives)
        made = {"encoders": named_models(encoder), "precision": precision}
        job = Job(_split(collection, split), seed, miner=Miner(progress=shown), negatives=ready, **made)  # type: ignore[arg-type]
        result = follow(plan, collection, model, out=out, job=job, options=options)
    if os.environ.get("RANK", "0") != "0":
        return  # of several processes one speaks
    record = {"out": str(out), "model": str(result.run.model), **result.run.record}
    _show(as_json, record, None if as_json else trained(result))


@app.command()
def evaluate(
    data: Data,
    model: Annotated[list[str], typer.Option("--model", "-m", help="[NAME=]encoder, bm25, or TREC run file; repeat.")],
    baseline: Annotated[str | None, typer.Option(help="Compare with this one: a model as above.")] = None,
    split: Annotated[str, typer.Option(help="Whose queries to measure.")] = "test",
    measure: Annotated[list[str] | None, typer.Option(help="ir-measures name; repeat.")] = None,
    own: Annotated[str, typer.Option(help="A query that is also a document: keep or exclude that document.")] = "keep",
    query_prompt: QueryPrompt = None,
    document_prompt: DocumentPrompt = None,
    per_query: Annotated[Path | None, typer.Option(help="Folder for values per query and TREC runs.")] = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Measure retrieval, with intervals and a paired test against the baseline."""
    from foils.evaluate import Settings, evaluate_all
    from foils.evaluate.measures import DEFAULT
    from foils.terminal import progress

    collection = _load(data)
    systems = {
        name: system(text, query_prompt, document_prompt) for name, text in named_systems(model, baseline).items()
    }
    against = None if baseline is None else next(iter(systems))
    with progress() as shown:
        settings = Settings(own=own, seed=seed, progress=shown)  # type: ignore[arg-type]
        measures = tuple(measure) if measure else DEFAULT
        table = evaluate_all(
            collection, systems, split=_split(collection, split), measures=measures, baseline=against, settings=settings
        )
    if per_query is not None:
        per_query.mkdir(parents=True, exist_ok=True)
        for name, scores in table.scores.items():
            scores.write(per_query / f"{file_name(name)}.tsv")
            scores.write_run(per_query / f"{file_name(name)}.trec")
    _show(as_json, table.to_dict(), table)  # type: ignore[arg-type]


@app.command()
def recipes(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Show this one whole.")] = None,
    as_json: Json = False,
) -> None:
    """List the recipes, or print one."""
    import yaml

    from foils.recipe import shipped, source
    from foils.terminal import recipes as listing

    if name is not None:
        text = source(name)
        if as_json:
            _show(True, {"name": name, **yaml.safe_load(text)}, None)
        else:
            _write(text)
        return
    listed = [{"name": n, "mine": None, **yaml.safe_load(source(n))} for n in shipped()]
    _show(as_json, listed, None if as_json else listing(listed))


@app.command()
def stages(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Explain this one.")] = None,
    as_json: Json = False,
) -> None:
    """List the stages that pipelines are made of, or explain one."""
    from foils.catalogue import describe, stage_named
    from foils.core.spec import registry
    from foils.terminal import stage_page
    from foils.terminal import stages as listing

    known = registry("stage")
    if name is not None:
        page = describe(stage_named(name))
        _show(as_json, page, None if as_json else stage_page(page))
        return
    _show(as_json, [describe(cls) for cls in known.values()], None if as_json else listing(known))


def _version(wanted: bool) -> None:
    if wanted:
        from foils import __version__

        sys.stdout.write(f"foils {__version__}\n")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    pass


def main() -> NoReturn:
    """Run the command line; errors raised on purpose, and those of the system, are one message and an exit code."""
    _log_to_stderr()
    try:
        code = app(standalone_mode=False)
    except FoilsError as error:
        _fail(error, str(error), error.exit_code)
    except OSError as error:
        _fail(error, str(error), 1)
    except typer.Abort:
        code = 130
    except Exception as error:
        show = getattr(error, "show", None)
        if show is None:
            raise
        if "--json" not in sys.argv:
            show()  # a fault of usage that the parser found, with the usage
            sys.exit(getattr(error, "exit_code", 2))
        _fail(error, error.format_message(), getattr(error, "exit_code", 2))  # type: ignore[attr-defined]
    if code == 130:  # what typer makes of Ctrl-C
        sys.stderr.write("foils: interrupted; the same command goes on from here.\n")
    sys.exit(code or 0)


def _log_to_stderr() -> None:
    # A library only logs; whoever runs a command wants to read it.
    root = logging.getLogger("foils")
    root.setLevel(logging.INFO)
    root.handlers = [logging.StreamHandler(sys.stderr)]


def _fail(error: Exception, message: str, code: int) -> NoReturn:
    if "--json" in sys.argv:
        report = {"error": message, "kind": type(error).__name__, "exit_code": code}
        _write(json.dumps(report, ensure_ascii=False) + "\n")
    else:
        sys.stderr.write(f"foils: {message}\n")
    sys.exit(code)


if __name__ == "__main__":
    main()
