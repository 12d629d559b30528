"""`Ring`: the newest vectors, first in, first out, one per id."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Ring(nn.Module):
    """The vectors of the newest ``size`` entries that were pushed.

    Args:
        size: entries.
        dim: of the vectors.

    Attributes:
        id: int64 (size,), what each place holds; -1 for nothing.
        vectors: float32 (size, dim).
        step: int64 (size,), optimiser step of each.
        next: int64 (), place of the next entry.
    """

    id: Tensor
    vectors: Tensor
    step: Tensor
    next: Tensor

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("id", torch.full((size,), -1))
        self.register_buffer("vectors", torch.zeros(size, dim))
        self.register_buffer("step", torch.zeros(size, dtype=torch.int64))
        self.register_buffer("next", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def push(self, id: Tensor, vectors: Tensor, step: int) -> None:
        """Add entries, in their order. An older entry of the same id becomes nothing where it is.

        Args:
            id: int64 (n,), distinct, none negative.
            vectors: (n, dim).
            step: the step that they are of.
        """
        size = len(self.id)
        id, vectors = id[-size:], vectors[-size:]
        self.id[torch.isin(self.id, id)] = -1
        places = (self.next + torch.arange(len(id), device=id.device)) % size
        self.id[places], self.step[places] = id, torch.full_like(id, step)
        self.vectors[places] = vectors.detach().to(self.vectors.dtype)
        self.next.copy_((self.next + len(id)) % size)

    def held(self, oldest: int) -> Tensor:
        """Places of the entries that are of the step ``oldest`` or later, int64, ascending."""
        return ((self.id >= 0) & (self.step >= oldest)).nonzero().squeeze(1)
