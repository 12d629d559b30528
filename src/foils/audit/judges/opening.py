"""Judges by name, as ``--judge`` takes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from foils.audit.judges.models import CrossEncoderJudge, ScoreJudge
from foils.audit.judges.people import Labels
from foils.audit.judges.protocol import Judge
from foils.audit.judges.qrels import Qrels
from foils.core.collection import Collection
from foils.core.errors import ModelError, SpecError
from foils.core.pairs import Pairs
from foils.core.text import did_you_mean

if TYPE_CHECKING:
    from foils.audit.judges.llm import LLMOptions

KINDS = ("qrels", "score", "cross-encoder", "labels", "llm")


@dataclass(frozen=True)
class Bench:
    """What a judge that is opened by name may use.

    Attributes:
        data: the collection.
        cache: folder for verdicts and scores that are kept.
        progress: called with (what, done, total), or None.
        pairs: the negatives that are audited, with their candidates and scores.
        complete: whether documents that qrels do not list were found irrelevant.
        llm: how to ask language models.
    """

    data: Collection
    cache: Path
    progress: Callable[[str, int, int], None] | None = None
    pairs: Pairs | None = None
    complete: bool = False
    llm: LLMOptions | None = None


Opener = Callable[[str, Bench], Judge]


def _score(column: str, bench: Bench) -> Judge:
    if bench.pairs is None:
        raise SpecError("a score: judge needs negatives with scores.")
    return ScoreJudge(bench.pairs, column or "score")


def _cross_encoder(model: str, bench: Bench) -> Judge:
    return CrossEncoderJudge(model, bench.data, bench.cache, progress=bench.progress)


def _labels(paths: str, bench: Bench) -> Judge:
    return Labels(paths if Path(paths).exists() else paths.split(","), bench.data)


def _llm(models: str, bench: Bench) -> Judge:
    from foils.audit.judges.llm import LLMJudge

    if bench.pairs is None:
        raise SpecError("an llm: judge needs the negatives, whose positives it is shown.")
    cache = bench.cache / "llm"
    return LLMJudge(models.split(","), bench.data, bench.pairs, bench.llm, cache=cache, progress=bench.progress)


OPENERS: Mapping[str, Opener] = {
    "qrels": lambda names, bench: Qrels(bench.data, names, complete=bench.complete),
    "score": _score,
    "cross-encoder": _cross_encoder,
    "labels": _labels,
    "llm": _llm,
}
"""What stands before the colon of a judge's name -> who opens it, given what stands behind it."""


def open_judge(name: str, bench: Bench) -> Judge:
    """The judge of a name.

    ===================  ==============================================================================================
    name                 who judges
    ===================  ==============================================================================================
    ``qrels``            all qrels of the collection; ``qrels:test`` of a split, ``qrels:FILE`` of a file
    ``score``            the scores that are mined with: as near as the positive; ``score:COLUMN`` of another column
    ``labels:FILE.csv``  people; the same as a name that ends in .csv; of several people ``labels:A.csv,B.csv``
    ``llm:MODEL``        a language model; ``llm:CHEAP,STRONG``: the strong one grades what the cheap one flags
    ``MODEL``            a cross-encoder: a folder that `foils.teach` left, or a name; ``cross-encoder:MODEL``, too
    ===================  ==============================================================================================

    Raises:
        SpecError: there is no such kind of judge.
        FoilsError: whatever keeps the judge from being opened.
    """
    kind, colon, rest = name.partition(":")
    if kind in OPENERS:
        return OPENERS[kind](rest, bench)
    if name.endswith(".csv"):
        return _labels(name, bench)
    if colon and not Path(name).exists():
        raise SpecError(f"judge {name!r}: no kind {kind!r}.{did_you_mean(kind, KINDS)} There is: {', '.join(OPENERS)}.")
    try:
        return _cross_encoder(name, bench)
    except ModelError as error:
        raise ModelError(f"judge {name!r} is taken for a cross-encoder, and: {error}") from None
