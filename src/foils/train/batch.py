"""`Batch`: one training step as a `View`, so that the filters of mining also decide who is a negative in training.

A `Layout` is the step in row numbers (numpy, made by the collator); a `Batch` is the same on the model's device
together with the scores.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from foils.core.errors import PipelineError
from foils.core.pairs import POSITIVE
from foils.core.segments import Reduction
from foils.train.rows import Rows

if TYPE_CHECKING:
    from torch import Tensor

STUDENT = "student"


@dataclass(frozen=True, eq=False)
class Layout:
    """A batch in row numbers. Every distinct query and every distinct document is in it once.

    Attributes:
        queries: int32 (U,), rows of the distinct queries, ascending.
        docs: int32 (M,), rows of the distinct documents, ascending.
        at: int64 (B,), position in ``queries`` of each training row's query.
        target: int64 (B,), column of the row's own training positive.
        label: int8 (B, M), 1 where the document is a known positive of the query, else 0.
        own: bool (B, M), true for the row's own positive and the negatives mined for it.
    """

    queries: NDArray[np.int32]
    docs: NDArray[np.int32]
    at: NDArray[np.int64]
    target: NDArray[np.int64]
    label: NDArray[np.int8]
    own: NDArray[np.bool_]


def lay_out(rows: Rows, chosen: NDArray[np.integer], epoch: int, limit: int | None) -> Layout:
    """Put training rows side by side.

    Args:
        rows: all training rows.
        chosen: which of them form the batch, (B,).
        epoch: decides which negatives have their turn.
        limit: negatives per row at most; None for all.
    """
    negatives, owner = rows.draw(chosen, epoch, limit)
    queries, at = np.unique(rows.query[chosen], return_inverse=True)
    docs = np.unique(np.concatenate((rows.doc[chosen], negatives)))
    target = np.searchsorted(docs, rows.doc[chosen])
    own = np.zeros((len(chosen), len(docs)), bool)
    own[owner, np.searchsorted(docs, negatives)] = True
    own[np.arange(len(chosen)), target] = True
    of_row, known = rows.known.members(rows.slot[chosen])
    column = np.minimum(np.searchsorted(docs, known), len(docs) - 1)
    here = docs[column] == known
    label = np.zeros(own.shape, np.int8)
    label[of_row[here], column[here]] = POSITIVE
    return Layout(queries, docs, at.astype(np.int64), target.astype(np.int64), label, own)


@dataclass(frozen=True, eq=False)
class Batch:
    """A training step as a view: B training rows against the M distinct documents of the batch.

    Attributes:
        query: int64 tensor (B,), rows of the queries; a query with two positives in the batch is in it twice.
        doc: int64 tensor (M,), rows of the documents, ascending.
        target: int64 tensor (B,), column of each row's own training positive.
        label: int8 tensor (B, M), 1 for every known positive of the query (copies of its text included), else 0.
        own: bool tensor (B, M), the row's own positive and the negatives mined for it.
        scores: named score matrices, float32 tensors (B, M). ``student`` carries the gradient; ``score`` means it.
    """

    query: Tensor
    doc: Tensor
    target: Tensor
    label: Tensor
    own: Tensor
    scores: Mapping[str, Tensor]

    def __getitem__(self, by: str) -> Tensor:
        name = STUDENT if by == "score" else by
        if name not in self.scores:
            have = ", ".join(repr(known) for known in self.scores) or "none"
            raise PipelineError(f"no score {by!r} in a training batch; there is: {have}.")
        return self.scores[name]

    def positive(self, by: str = "score", how: Reduction = "min") -> Tensor:
        """For each row, the score of its query's known positives *in the batch*, float64 (B, 1).

        Args:
            by: score matrix.
            how: which of several positives: the lowest, the highest, or their mean.
        """
        # As wide as the reduction in `Pairs`, so that both take the same decisions; Apple's GPU has no float64.
        wide = self[by] if self.label.device.type == "mps" else self[by].double()
        known = self.label == POSITIVE
        if how == "mean":
            count = known.sum(dim=1, keepdim=True)
            value = wide.masked_fill(~known, 0.0).sum(dim=1, keepdim=True) / count.clamp(min=1)
        elif how == "min":
            value = wide.masked_fill(~known, float("inf")).amin(dim=1, keepdim=True)
        else:
            value = wide.masked_fill(~known, float("-inf")).amax(dim=1, keepdim=True)
        return value.masked_fill(~known.any(dim=1, keepdim=True), float("nan"))

    def rank(self, by: str = "score") -> Tensor:
        """The 1-based position of each document in its row, best score first, int64 (B, M).

        Ties go to the smaller document row, as everywhere.
        """
        order = (-self[by]).argsort(dim=1, stable=True)
        return order.argsort(dim=1, stable=True) + 1

    def detached(self) -> Batch:
        """The same without gradients: what filters read."""
        return replace(self, scores={name: score.detach() for name, score in self.scores.items()})


def tensors(layout: Layout) -> dict[str, Any]:
    """A layout as CPU tensors, by field."""
    import torch

    columns = {field.name: getattr(layout, field.name) for field in fields(layout)}
    return {name: torch.from_numpy(np.ascontiguousarray(column)) for name, column in columns.items()}


def batch_of(ids: Mapping[str, Any], student: Tensor) -> Batch:
    """A view of a step.

    Args:
        ids: what `tensors` made, on any device; under ``guides`` the similarities (U, M) of frozen models by name.
        student: similarity of the *distinct* queries with the documents, (U, M).
    """
    said = {STUDENT: student, **ids.get("guides", {})}
    return Batch(
        query=ids["queries"].long()[ids["at"]],
        doc=ids["docs"].long(),
        target=ids["target"],
        label=ids["label"],
        own=ids["own"],
        scores={name: similarity.index_select(0, ids["at"]) for name, similarity in said.items()},
    )
