"""Options that several commands share, and the collections they name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from foils.adapters import precision
from foils.core.errors import DataError

if TYPE_CHECKING:
    from foils.core.collection import Collection
    from foils.store import Negatives

Data = Annotated[
    str, typer.Argument(metavar="DATA", help="BEIR folder, file of pairs, hf:NAME, or a converted folder.")
]
DataOption = Annotated[str | None, typer.Option("--data", help="The collection; found in the cache if left out.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")]
_SEEDS = 2**32  # numpy's generator, which the trainer seeds, takes no more
Seed = Annotated[
    int, typer.Option(min=0, max=_SEEDS - 1, metavar="<int>", help="Of every draw: same inputs and seed, same bytes.")
]
Out = Annotated[Path, typer.Option("--out", "-o", help="Folder for the result.")]
Encoders = Annotated[
    list[str] | None, typer.Option("--encoder", metavar="NAME=MODEL", help="Model that the pipeline calls NAME.")
]
QueryPrompt = Annotated[str | None, typer.Option(help="Put before queries; the model's own by default.")]
DocumentPrompt = Annotated[str | None, typer.Option(help="Put before documents; the model's own by default.")]
Precision = Annotated[precision.Precision, typer.Option(help="Of models that mine; auto is bfloat16 where it is fast.")]

LLMUrl = Annotated[
    str | None, typer.Option("--llm-url", metavar="URL", help="Of an OpenAI-compatible endpoint; $FOILS_LLM_URL.")
]
LLMPrice = Annotated[
    list[str] | None,
    typer.Option("--llm-price", metavar="READ,WRITTEN", help="Cost of a million tokens; repeat for a second model."),
]
LLMBudget = Annotated[
    float | None,
    typer.Option("--llm-budget", metavar="N", help="Most that models may cost in all; in tokens without --llm-price."),
]
LLMConcurrency = Annotated[
    int,
    typer.Option("--llm-concurrency", metavar="N", help="Questions asked at a time; 1 for a small server of your own."),
]
Offline = Annotated[bool, typer.Option("--offline", help="Use only replies of models that are kept.")]


def loaded(source: str) -> Collection:
    """The collection that DATA names."""
    from foils import load

    return load(source)


def checked(split: str, data: Collection) -> str:
    """The split, if the collection has it; the error names those there are."""
    try:
        data.qrels(split)
    except DataError as error:
        raise DataError(str(error), remedy="Pass one of them with --split.") from None
    return split


def opened(path: Path, data: str | None) -> tuple[Negatives, Collection]:
    """Negatives and their collection: the named one, or else the one they were mined from, found in the cache."""
    from foils.store import Negatives

    negatives = Negatives.open(path)
    return negatives, negatives.collection() if data is None else loaded(data)
