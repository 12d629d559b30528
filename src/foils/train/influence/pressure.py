"""How hard each negative of a step pushes: its share of the softmax, and the gradient that it sends."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from foils.adapters.protocols import Kind
from foils.train.batch import STUDENT, Batch
from foils.train.losses import Loss
from foils.train.losses.loss import Sum, Tempered
from foils.train.student import Similarity


@dataclass(frozen=True, eq=False)
class Lengths:
    """Lengths of the vectors as the model made them, before they were scaled.

    Attributes:
        queries: (rows,), of each training row's query.
        docs: (columns,), of each document of the batch.
        side: whose gradient is looked at: the document's, or the query's where documents stand.
    """

    queries: Tensor
    docs: Tensor
    side: Kind = "document"


@dataclass(frozen=True, eq=False)
class Pressure:
    """What the negatives of a step do; matrices are (B, N), 0 where a document is no negative of the row.

    Attributes:
        mass: softmax probability p_ij among the row's training positive and its negatives.
        gradient: Euclidean norm of what the pair adds to ``∂ℓ_i/∂d_j``; NaN where the vector's length is not known.
        temperature: of the softmax.
        side: whose gradient it is; see `Lengths`.
    """

    mass: Tensor
    gradient: Tensor
    temperature: float
    side: Kind


def temperature_of(loss: Loss) -> float:
    """The temperature of a loss; of a sum that of its first contrastive term, else of its first; 1 where none has."""
    terms = [part for _, part in loss.terms] if isinstance(loss, Sum) else [loss]
    tempered = [term for term in terms if isinstance(term, Tempered)]
    contrastive = [term for term in tempered if "InfoNCE" in type(term).__name__]
    return next((float(term.temperature) for term in (*contrastive, *tempered)), 1.0)


def pressure(
    batch: Batch, allowed: Tensor, rows: Tensor, lengths: Lengths, how: Similarity, temperature: float
) -> Pressure:
    """Softmax mass and exact gradient norm of every negative of a step.

    With scores ``c_ij`` (cosine or inner product) and a softmax loss ``ℓ_i = -ln p_i+`` of ``c / t``, ``∂ℓ_i/∂c_ij`` is
    ``p_ij / t``, and by the document's vector d_j, as the model made it,

        ``‖∂ℓ_i/∂d_j‖ = |∂ℓ_i/∂c_ij| √(1 - c_ij²) / ‖d_j‖``  for cosines, ``|∂ℓ_i/∂c_ij| ‖q_i‖``  for inner products.

    So a negative that is almost the query itself hardly moves. ``∂ℓ_i/∂c_ij`` is taken from the loss's own graph: the
    norm is exact for every loss that reads documents through their scores, whatever else it does with them. The mass is
    by definition the softmax at the loss's temperature; that of a row's negatives adds up to ``1 - p_i+``.

    Nothing is changed: no gradient is kept, no random number is drawn.

    Args:
        batch: the step.
        allowed: bool (B, N), the negatives.
        rows: (B,), the loss of each row, whose graph is kept.
        lengths: of the vectors.
        how: the model's similarity.
        temperature: see `temperature_of`.
    """
    student = batch[STUDENT]
    (slope,) = torch.autograd.grad(rows.sum(), student, retain_graph=True, allow_unused=True)
    with torch.no_grad():
        scores = student.detach()
        target = torch.zeros_like(allowed)
        target[torch.arange(len(target), device=target.device), batch.target] = True
        logits = (scores / temperature).masked_fill(~(allowed | target), float("-inf"))
        mass = logits.softmax(dim=1).masked_fill(~allowed, 0.0)
        push = torch.zeros_like(scores) if slope is None else slope.abs()
        gradient = (push * _reach(scores, lengths, how)).masked_fill(~allowed, 0.0)
    return Pressure(mass, gradient, temperature, lengths.side)


def _reach(scores: Tensor, lengths: Lengths, how: Similarity) -> Tensor:
    """Length of the derivative of each score by the vector of the side that is looked at, (B, N)."""
    rows, columns = scores.shape
    by_row = _grown(lengths.queries, rows).unsqueeze(1)
    by_column = _grown(lengths.docs, columns).unsqueeze(0)
    if how != "cosine":
        return (by_row if lengths.side == "document" else by_column).expand_as(scores)
    # As a product: 1 - c² loses half of its digits where c is near 1.
    sine = ((1 - scores) * (1 + scores)).clamp(min=0.0).sqrt()
    return sine / (by_column if lengths.side == "document" else by_row)


def _grown(lengths: Tensor, size: int) -> Tensor:
    """Lengths of what contrasts brought are not known: their vectors were not made in this step."""
    return torch.cat((lengths, lengths.new_full((size - len(lengths),), float("nan"))))
