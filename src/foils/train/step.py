"""`Step`: what was encoded in a training step, and `Brought`: the documents that a contrast adds to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from foils.adapters.protocols import Kind
from foils.core.pairs import POSITIVE

if TYPE_CHECKING:
    from torch import Tensor

Encode = Callable[[NDArray[np.int32], Kind], "Tensor"]
Slow = Callable[[float], "tuple[Tensor, Tensor]"]


@dataclass(frozen=True, eq=False)
class Step:
    """B training rows of U distinct queries and M distinct documents, encoded by the current weights.

    Attributes:
        query: int64 (U,), rows of the queries, ascending.
        doc: int64 (M,), rows of the documents, ascending.
        at: int64 (B,), position of each training row's query in ``query``.
        target: int64 (B,), column of each row's own training positive.
        known: int64 (B, P), all known positives of each row's query, wherever they are; padded with -1.
        queries: float32 (U, d) with gradient. The student's similarity is the inner product of these vectors: they
            have length 1 where it is the cosine.
        docs: float32 (M, d) with gradient, likewise.
        number: optimiser steps done before this one.
        progress: share of training that is done, 0 to 1.
        encode: vectors of other rows of the collection by the current weights, with gradient, as above.
        slow: vectors of this step's queries and documents by the moving average of the weights with a given decay,
            without gradient; see `foils.train.ema`.
        weight: float (B,), what the saved column ``weight`` says of each row's own training positive, 1 where nothing;
            None if the loss does not read it.
    """

    query: Tensor
    doc: Tensor
    at: Tensor
    target: Tensor
    known: Tensor
    queries: Tensor
    docs: Tensor
    number: int = 0
    progress: float = 0.0
    encode: Encode | None = None
    slow: Slow | None = None
    weight: Tensor | None = None

    def labels(self, doc: Tensor) -> Tensor:
        """Which of some documents are known positives of which training row, int8 (B, len(doc)).

        Args:
            doc: int64 (E,), rows of documents in any order, repeats allowed; -1 for what is no document.
        """
        return labels(self.known, doc)


def labels(known: Tensor, doc: Tensor) -> Tensor:
    """Which of some documents are known positives of which row, int8 (R, len(doc)).

    Args:
        known: int64 (R, P), known positives of each row, padded with -1.
        doc: int64 (E,), rows of documents in any order, repeats allowed; -1 for what is no document.
    """
    import torch

    distinct, place = torch.unique(doc, return_inverse=True)
    found = torch.zeros(len(known), len(distinct) + 1, dtype=torch.int8, device=doc.device)
    if len(distinct):
        column = torch.searchsorted(distinct, known).clamp(max=len(distinct) - 1)
        hit = (distinct[column] == known) & (known >= 0)
        # What is not there goes to a column of its own, which is cut off.
        found.scatter_(1, column.masked_fill(~hit, len(distinct)), POSITIVE)
    return found[:, place]


@dataclass(frozen=True, eq=False)
class Asked:
    """Queries from elsewhere, such as past ones, that become further rows of a step.

    Attributes:
        query: int64 (R,), rows of the queries in the collection.
        doc: int64 (R,), training positive of each; it has to be among the documents of the step or of those that come
            along with the queries.
        known: int64 (R, P), all known positives of each, padded with -1.
        vectors: float (R, d).
        weight: float (R,), weight of each training positive, as `Step.weight`; 1 where the loss reads none.
        scale: what the vectors of the documents that come along were multiplied by to make negatives of them count
            otherwise; a query's own positive among them is compared without it.
    """

    query: Tensor
    doc: Tensor
    known: Tensor
    vectors: Tensor
    weight: Tensor
    scale: float | Tensor = 1.0


@dataclass(frozen=True, eq=False)
class Brought:
    """Documents that a contrast adds to a step, as columns beside those of the batch; seldom also rows.

    Attributes:
        doc: int64 (E,), rows of the documents; -1 for a vector that is no document.
        vectors: float (E, d), compared with the queries by inner product; with or without gradient.
        members: bool (B, E), which of them each training row considers. Known positives need not be taken out. With
            ``asked``, (B + R, E): further queries come after the step's own rows.
        scores: further named scores of these pairs, float, shaped like ``members``; NaN for unknown.
        asked: further queries.
        fresh: whether these are documents of this very step, made by the current weights, with gradient, that the
            batch has not: then known positives among them are as good as the batch's own.
    """

    doc: Tensor
    vectors: Tensor
    members: Tensor
    scores: Mapping[str, Tensor] = field(default_factory=dict)
    asked: Asked | None = None
    fresh: bool = False


def nothing(step: Step, *scores: str) -> Brought:
    """No documents, and nothing known in these score columns."""
    empty = step.doc[:0]
    cells = empty.new_zeros((len(step.at), 0))
    return Brought(empty, step.docs[:0].detach(), cells.bool(), {name: cells.to(step.docs.dtype) for name in scores})


Report = Mapping[str, float]
State = Mapping[str, Any]
