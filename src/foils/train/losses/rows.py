"""Sums, means and softmaxes over a part of each row, in logarithms: what is left out has no part in the gradient."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from foils.core.errors import PipelineError
from foils.core.pairs import POSITIVE
from foils.train.batch import Batch

if TYPE_CHECKING:
    from torch import Tensor

NEVER = float("-inf")


def of_target(matrix: Tensor, batch: Batch) -> Tensor:
    """The entry of each row's own training positive, (B, 1)."""
    return matrix.gather(1, batch.target.unsqueeze(1))


def with_target(members: Tensor, batch: Batch) -> Tensor:
    """Members and the row's own training positive, bool (B, N)."""
    return members.scatter(1, batch.target.unsqueeze(1), True)


def positives(batch: Batch) -> Tensor:
    """Every known positive of the row among the documents of the step, bool (B, N).

    Those brought from a memory are not among them: their vectors may be old, and a document can be there twice.
    """
    return with_target((batch.label == POSITIVE) & batch.fresh, batch)


def log_sum(values: Tensor, members: Tensor) -> Tensor:
    """``ln Σ exp`` over the members of each row, (B, 1); minus infinity, with gradient 0, where there are none."""
    none = ~(members & (values > NEVER)).any(dim=1, keepdim=True)
    # A row of minus infinities would have no gradient but NaN.
    masked = values.masked_fill(~members, NEVER).masked_fill(none, 0.0)
    return masked.logsumexp(dim=1, keepdim=True).masked_fill(none, NEVER)


def log_share(values: Tensor, members: Tensor) -> Tensor:
    """Logarithm of the softmax over the members of each row, (B, N); 0 for what is no member."""
    shares = values.masked_fill(~members, NEVER) - log_sum(values, members)
    return shares.masked_fill(~members, 0.0)


def mean(values: Tensor, members: Tensor) -> Tensor:
    """Mean over the members of each row, (B,); 0 where there are none."""
    return values.masked_fill(~members, 0.0).sum(dim=1) / members.sum(dim=1).clamp(min=1)


def known(batch: Batch, by: str) -> tuple[Tensor, Tensor]:
    """A score column without gradient, and where it is known, both (B, N); unknown ones are 0.

    What is unknown must not be NaN even where it is masked later: the gradient would be.
    """
    values = batch[by].detach()
    there = values.isfinite()
    return values.masked_fill(~there, 0.0), there


def log_weights(batch: Batch, by: str, owner: object) -> Tensor:
    """Logarithms of the weights in a column, (B, N); 0 where none is known.

    Raises:
        PipelineError: a weight is negative.
    """
    values, there = known(batch, by)
    if bool((values < 0).any()):
        low = values.min().item()
        raise PipelineError(f"{owner!r}: a weight in {by!r} is {low:.4g}; weights must be at least 0.")
    return values.log().masked_fill(~there, 0.0)


def log(number: float | Tensor) -> float | Tensor:
    """Natural logarithm of a field, which may be a trained number; minus infinity for 0."""
    if isinstance(number, int | float):
        return math.log(number) if number > 0 else NEVER
    return number.log()
