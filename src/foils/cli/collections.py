"""Commands about collections: make one, look at one, read one in another form."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from foils.cli.arguments import column_roles
from foils.cli.options import Data, Json, Seed, loaded
from foils.cli.output import tell


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
    tell(as_json, report, facts((name.replace("_", " "), value) for name, value in report.items()))


def inspect(data: Data, seed: Seed = 0, as_json: Json = False) -> None:
    """Show what a collection holds: sizes, splits, duplicates, leaks, examples."""
    from foils.overview import overview
    from foils.terminal import inspected

    summary = overview(loaded(data), seed=seed)
    tell(as_json, summary, None if as_json else inspected(summary))


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
    weak: Annotated[
        Literal["titles", "sentences"] | None, typer.Option(help="Make queries of the documents themselves.")
    ] = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Read a collection in another form and write it as a BEIR folder."""
    from foils import load
    from foils.core.beir import write_beir
    from foils.core.errors import SpecError
    from foils.core.pieces import cut_of, write_pieces
    from foils.core.weak import write_weak
    from foils.overview import overview
    from foils.terminal import inspected

    if cut is not None and weak is not None:
        raise SpecError("--cut and --weak: one after the other; import with --cut first, then import that folder.")
    cutting = None if cut is None else cut_of(cut)
    roles = column_roles(columns)
    policy: Literal["error", "drop"] = "drop" if drop_unknown else "error"
    collection = load(source, corpus=corpus, qrels=qrels, columns=roles, on_unknown=policy)
    if weak is not None:
        collection = load(write_weak(collection, out, weak, seed))
    elif cutting is not None:
        collection = load(write_pieces(collection, out, cutting))
    else:
        write_beir(collection, out)
    summary = overview(collection)
    tell(as_json, {**summary, "out": str(out)}, None if as_json else inspected(summary))
