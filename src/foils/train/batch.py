"""`Batch`: one training step as a `View`, so that the filters of mining also decide who is a negative in training.

A `Layout` is the step in row numbers (numpy); a `Batch` is the same on the model's device together with vectors and
scores, and with the documents that contrasts bring from elsewhere (a memory bank, other devices) as further columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from foils.core.errors import PipelineError
from foils.core.pairs import POSITIVE
from foils.core.segments import Reduction
from foils.train.augment import Augmentation
from foils.train.rows import Rows
from foils.train.step import Asked, Brought, Step, labels

if TYPE_CHECKING:
    from torch import Tensor

STUDENT = "student"


def slow_scores(decay: float) -> str:
    """Name of the scores by a moving average of the weights, for the losses that ask for it (`Loss.slow`)."""
    return f"slow {decay!r}"


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
        known: int32 (B, P), all known positives of each row's query, also those that are not here; padded with -1.
    """

    queries: NDArray[np.int32]
    docs: NDArray[np.int32]
    at: NDArray[np.int64]
    target: NDArray[np.int64]
    label: NDArray[np.int8]
    own: NDArray[np.bool_]
    known: NDArray[np.int32]


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
    every = rows.positives(rows.query[chosen])
    return Layout(queries, docs, at.astype(np.int64), target.astype(np.int64), label, own, every)


@dataclass(frozen=True, eq=False)
class Batch:
    """A training step as a view: B training rows against N documents.

    The first M columns are the distinct documents of the batch, ascending; further ones were brought by contrasts such
    as a memory bank, in any order, and a document can be among them that also is in the batch. Rows after those of the
    batch are past queries, which a contrast brought likewise.

    Attributes:
        query: int64 tensor (B,), rows of the queries; a query with two positives in the batch is in it twice.
        doc: int64 tensor (N,), rows of the documents; -1 for a brought vector that is no document.
        target: int64 tensor (B,), column of each row's own training positive.
        label: int8 tensor (B, N), 1 for every known positive of the query (copies of its text included), else 0.
        own: bool tensor (B, N), the row's own positive and the negatives mined for it.
        scores: named score matrices, float32 tensors (B, N). ``student`` carries the gradient; ``score`` means it. NaN
            where nothing is known: scores that were saved with the mined pairs are known for those only.
        query_vectors: float32 tensor (B, d) with gradient; None where a test needs none.
        doc_vectors: float32 tensor (N, d); ``student`` is their inner product.
        augmented: for each altered view that the loss reads, the vectors of each row's text, float32 (B, d), with
            gradient; further rows have none.
        brought: for each contrast that brought columns, whom it considers, bool (B, N).
        width: number of columns M that are the batch's own; None for all.
        joined: bool tensor (N,), brought columns that are as good as those; None for none. See `Brought.fresh`.
    """

    query: Tensor
    doc: Tensor
    target: Tensor
    label: Tensor
    own: Tensor
    scores: Mapping[str, Tensor]
    query_vectors: Tensor | None = None
    doc_vectors: Tensor | None = None
    brought: Mapping[Any, Tensor] = field(default_factory=dict)
    augmented: Mapping[Augmentation, Tensor] = field(default_factory=dict)
    width: int | None = None
    joined: Tensor | None = None

    @property
    def fresh(self) -> Tensor:
        """Which columns are documents of this step, here or on other processes, each once, bool (N,)."""
        return self.inside if self.joined is None else self.inside | self.joined

    @property
    def inside(self) -> Tensor:
        """Which columns are documents of the batch itself, bool (N,)."""
        columns = self.doc.new_ones(len(self.doc)).bool()
        if self.width is not None:
            columns[self.width :] = False
        return columns

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
        known = (self.label == POSITIVE) & ~wide.isnan()
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

        Ties go to the earlier column: within the batch's own documents the smaller row, as everywhere.
        """
        order = (-self[by]).argsort(dim=1, stable=True)
        return order.argsort(dim=1, stable=True) + 1

    def detached(self) -> Batch:
        """The same without gradients: what filters read."""
        scores = {name: score.detach() for name, score in self.scores.items()}
        queries = None if self.query_vectors is None else self.query_vectors.detach()
        docs = None if self.doc_vectors is None else self.doc_vectors.detach()
        return replace(self, scores=scores, query_vectors=queries, doc_vectors=docs)


def tensors(layout: Layout) -> dict[str, Any]:
    """A layout as CPU tensors, by field."""
    import torch

    columns = {field.name: getattr(layout, field.name) for field in fields(layout)}
    return {name: torch.from_numpy(np.ascontiguousarray(column)) for name, column in columns.items()}


def batch_of(step: Step, own: Tensor, label: Tensor, scores: Mapping[str, Tensor] | None = None) -> Batch:
    """The view of a step before anything is brought to it.

    Args:
        step: the encoded step.
        own: bool (B, M); see `Layout`.
        label: int8 (B, M).
        scores: further named scores, (B, M).
    """
    queries = step.queries.index_select(0, step.at)
    # The product of the distinct queries, so that a repeated one costs nothing.
    student = (step.queries @ step.docs.T).index_select(0, step.at)
    return Batch(
        query=step.query[step.at],
        doc=step.doc,
        target=step.target,
        label=label,
        own=own,
        scores={STUDENT: student, **(scores or {})},
        query_vectors=queries,
        doc_vectors=step.docs,
    )


def widened(batch: Batch, step: Step, brought: Mapping[Any, Brought]) -> Batch:
    """A batch with the documents that contrasts brought as further columns, and their queries as further rows.

    A further query is compared with what the batch itself has and with what its own contrast brought; what other
    contrasts brought is not considered for it.

    Args:
        batch: of the step, perhaps widened before.
        step: the step.
        brought: by the contrast that brought them, in the order of the columns to be.
    """
    import torch

    if not brought:
        return batch
    assert batch.query_vectors is not None
    assert batch.doc_vectors is not None
    parts = list(brought.values())
    asked = [part.asked for part in parts if part.asked is not None]
    doc = torch.cat([batch.doc, *(part.doc for part in parts)])
    more_vectors = [part.vectors.to(batch.doc_vectors.dtype) for part in parts]
    vectors, queries = torch.cat([batch.doc_vectors, *more_vectors]), batch.query_vectors
    rows, columns = len(batch.query), len(batch.doc)
    # Each for itself: of all vectors put together a gradient would be made, also for those that have none.
    student = torch.cat([batch[STUDENT], *(queries @ each.T for each in more_vectors)], dim=1)
    if asked:
        past = torch.cat([more.vectors.to(queries.dtype) for more in asked])
        queries, student = torch.cat((queries, past)), torch.cat((student, past @ vectors.T))
    shape, unknown = student.shape, float("nan")
    scores = {name: _grown(old.to(student.dtype), shape, unknown) for name, old in batch.scores.items()} | {
        STUDENT: student
    }
    members = {contrast: _grown(old, shape, False) for contrast, old in batch.brought.items()}
    own, label = _grown(batch.own, shape, False), _grown(batch.label, shape, 0)
    label[: len(step.at), columns:] = step.labels(doc[columns:])
    joined = own.new_zeros(shape[1])
    joined[:columns] = False if batch.joined is None else batch.joined
    row, column = rows, columns
    for contrast, part in brought.items():
        more = 0 if part.asked is None else len(part.asked.query)
        if part.asked is not None:
            label[row : row + more] = labels(part.asked.known, doc)
        # Where this part lies: the step's own rows and its further ones, in its columns.
        at = torch.cat((torch.arange(len(step.at)), torch.arange(row, row + more))).to(doc.device)
        here = slice(column, column + len(part.doc))
        joined[here] = part.fresh
        members[contrast] = own.new_zeros(shape)
        members[contrast][at, here] = part.members
        for name, values in part.scores.items():
            scores[name] = scores.get(name, student.new_full(shape, unknown))
            scores[name][at, here] = values.to(student.dtype)
        row, column = row + more, column + len(part.doc)
    target = torch.cat([batch.target, *(_column_of(more.doc, doc) for more in asked)])
    further = torch.arange(rows, len(own), device=doc.device)
    own[further, target[rows:]] = True
    student = _unscaled(student, further, target, columns, asked)
    scores[STUDENT] = student
    if asked and "weight" in scores:
        scores["weight"][further, target[rows:]] = torch.cat([more.weight for more in asked]).to(student.dtype)
    return replace(
        batch,
        query=torch.cat([batch.query, *(more.query for more in asked)]),
        doc=doc,
        target=target,
        label=label,
        own=own,
        scores=scores,
        query_vectors=queries,
        doc_vectors=vectors,
        brought=members,
        width=columns if batch.width is None else batch.width,
        joined=joined,
    )


def _grown(matrix: Tensor, shape: Sequence[int], value: float) -> Tensor:
    """A matrix in the upper left corner of a larger one."""
    larger = matrix.new_full(tuple(shape), value)
    larger[: matrix.shape[0], : matrix.shape[1]] = matrix
    return larger


def _unscaled(student: Tensor, further: Tensor, target: Tensor, columns: int, asked: Sequence[Asked]) -> Tensor:
    """Scores (rows, columns) in which those of further rows and their own positives are what the vectors say."""
    import torch

    if all(isinstance(more.scale, float) and more.scale == 1.0 for more in asked):
        return student
    scale = torch.cat([student.new_ones(len(more.doc)) * more.scale for more in asked])
    there = target[further]
    # Where the positive is in the batch, it is compared as it is.
    scale = torch.where(there < columns, torch.ones_like(scale), scale)
    return student.index_put((further, there), student[further, there] / scale)


def _column_of(wanted: Tensor, doc: Tensor) -> Tensor:
    """The first column of each wanted document, so that the batch's own vector is preferred."""
    import torch

    distinct, place = torch.unique(doc, return_inverse=True)
    first = place.new_full((len(distinct),), len(doc))
    first.scatter_reduce_(0, place, torch.arange(len(doc), device=doc.device), "amin")
    at = torch.searchsorted(distinct, wanted).clamp(max=max(len(distinct) - 1, 0))
    assert bool((distinct[at] == wanted).all()), "the positive of a further row is not among the documents"
    column: Tensor = first[at]
    return column
