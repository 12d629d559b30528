"""Moving averages of the student's weights: momentum encoders and slow teachers."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from foils.train.towers import embed


class SlowWeights(nn.Module):
    """A copy of a model that follows it: ``θ* ← decay θ* + (1 - decay) θ`` after each optimiser step.

    He et al. 2020 (MoCo), arXiv:1911.05722, section 3.2. Weights are averaged in their own precision; everything else a
    model keeps (buffers) is copied. It never trains and is in evaluation mode: no dropout.

    Args:
        model: the student.
        decay: 0 to 1; 1 keeps the start weights bit by bit, 0 copies.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        super().__init__()
        self.decay = decay
        self.copy = copy.deepcopy(model).requires_grad_(False).eval()

    def train(self, mode: bool = True) -> SlowWeights:
        """Stays in evaluation mode."""
        return super().train(False)

    @torch.no_grad()
    def follow(self, model: nn.Module) -> None:
        """Move towards the current weights; once after each optimiser step."""
        if self.decay == 1:
            return
        for slow, now in zip(self.copy.parameters(), model.parameters(), strict=True):
            slow.lerp_(now.to(slow.dtype), 1 - self.decay)
        for kept, current in zip(self.copy.buffers(), model.buffers(), strict=True):
            kept.copy_(current)

    @torch.no_grad()
    def forward(self, features: Sequence[dict[str, Any]]) -> list[Tensor]:
        """Vectors of each set of features, without gradient, as the model makes them."""
        return [embed(self.copy, part) for part in features]
