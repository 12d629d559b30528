"""Several processes that train one model. PyTorch averages the gradients of the model; here is what it leaves open."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, distributed


def together() -> bool:
    """Whether other processes train along."""
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1


def wait() -> None:
    """Wait for all processes, if there are several."""
    if together():
        distributed.barrier()


def shared(mean: Tensor, rows: int) -> Tensor:
    """A process's mean loss, weighted so that the mean over processes is the mean over all rows.

    With B_r rows on process r of W: times ``W B_r / Σ B``. It is 1 but in the last round of an epoch, where a process
    may have a row more than another.

    Args:
        mean: over the rows of this process.
        rows: how many it has.
    """
    if not together():
        return mean
    total = torch.full((), float(rows), dtype=mean.dtype, device=mean.device)
    distributed.all_reduce(total)
    return mean * (rows * distributed.get_world_size() / total)


def average(weights: Iterable[Tensor]) -> None:
    """Replace the gradients of weights that belong to no wrapped model by their mean over all processes."""
    if not together():
        return
    for weight in weights:
        if weight.grad is None:
            weight.grad = torch.zeros_like(weight)
        distributed.all_reduce(weight.grad)
        weight.grad /= distributed.get_world_size()
