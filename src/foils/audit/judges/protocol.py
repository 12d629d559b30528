"""`Judge`: what an audit asks of whoever says which documents are relevant, and `Verdicts`, which it gets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

RELEVANT, IRRELEVANT, UNKNOWN = 1, 0, -1

JudgeKind = Literal["qrels", "cross-encoder", "score", "llm", "people", "consensus"]
Rows = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Verdicts:
    """What a judge says of some (query, document) pairs.

    Attributes:
        verdict: int8 (n,): 1 relevant (a false negative), 0 irrelevant, -1 unknown: not judged, no decision, an answer
            that could not be read. An unknown is never taken for an irrelevant.
        probability: float32 (n,), within 0 to 1: how likely the document is relevant, or which share of several people
            found it so; NaN where the judge gives none. Where the verdict is -1 it is NaN.
        reasons: why, one text a pair; empty where the judge gives none.
    """

    verdict: NDArray[np.int8]
    probability: NDArray[np.float32]
    reasons: Sequence[str] = ()

    def __post_init__(self) -> None:
        n = len(self.verdict)
        if self.probability.shape != (n,) or len(self.reasons) not in (0, n):
            shapes = f"{n} verdicts, {self.probability.shape} probabilities, {len(self.reasons)} reasons"
            raise ValueError(f"columns of verdicts of different lengths: {shapes}")
        if n and (self.verdict.min() < UNKNOWN or self.verdict.max() > RELEVANT):
            raise ValueError("a verdict is 1, 0 or -1")

    @classmethod
    def of(cls, verdict: NDArray[Any], probability: NDArray[Any] | None = None, reasons: Sequence[str] = ()) -> Self:
        """Verdicts of columns of other types; without probabilities they are NaN."""
        said = np.asarray(verdict, np.int8)
        chance = np.full(len(said), np.nan) if probability is None else np.asarray(probability, np.float64)
        return cls(said, np.where(said == UNKNOWN, np.nan, chance).astype(np.float32), tuple(reasons))

    def __len__(self) -> int:
        return len(self.verdict)

    @property
    def judged(self) -> NDArray[np.bool_]:
        """Where there is a verdict."""
        known: NDArray[np.bool_] = self.verdict != UNKNOWN
        return known


class Judge(Protocol):
    """Says of documents whether they are relevant to queries. A judge knows its collection; it is asked by rows.

    Any object with these attributes will do; nothing need be inherited.
    """

    @property
    def name(self) -> str:
        """How reports call it, such as the name of its model."""

    @property
    def kind(self) -> JudgeKind:
        """What it is."""

    @property
    def fingerprint(self) -> str:
        """Of all that its verdicts depend on: weights, prompt, files. Judges with the same one are one judge."""

    def judge(self, query: Rows, doc: Rows) -> Verdicts:
        """Verdicts on pairs, in their order. Each (query, doc) occurs once; the order of pairs changes no verdict.

        Args:
            query: rows of the queries in the collection, int32 (n,).
            doc: rows of the documents, int32 (n,).

        Raises:
            FoilsError: it cannot judge at all. A pair it cannot judge is ``UNKNOWN``.
        """

    def facts(self) -> Mapping[str, Any]:
        """What else a report should say of it, as plain JSON values; asked after it has judged.

        Such as ``{"calibrated": False}``, ``{"calls": 212, "cost": 0.04, "currency": "USD"}``.
        """


@runtime_checkable
class Priced(Protocol):
    """A judge that costs something and can say so beforehand."""

    def price(self, query: Rows, doc: Rows) -> Mapping[str, Any]:
        """What judging these pairs would take, as plain JSON values (calls, tokens, cost); asks nobody."""
