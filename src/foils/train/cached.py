"""`CachedObjective`: large batches in the memory of small ones, by gradient caching.

Gao et al. 2021, arXiv:2101.06983 (GradCache); the engine is sentence-transformers'. Texts are encoded a few at a time
without a graph, the loss of the whole batch gives the gradient of every vector, and each few texts are encoded again,
with the same dropout, to take theirs to the weights. The gradient is that of the whole batch; every text is encoded
twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from sentence_transformers.base.losses.gradcache import CachedLossMixin, has_static_embedding_input
from torch import Tensor

from foils.core.errors import ModelError, PipelineError
from foils.train.contrasts import Contrast
from foils.train.losses import Loss
from foils.train.objective import Features, Objective
from foils.train.student import Student

_ENCODES = (
    "encodes texts of its own with gradient, which gradient caching has no part for. Leave mini_batch out, or choose "
    "another contrast or loss."
)


def check_cacheable(student: Student, contrast: Contrast, loss: Loss) -> None:
    """Refuse what cannot be encoded a few texts at a time.

    Raises:
        ModelError: a static model.
        PipelineError: a contrast or loss that encodes further texts with gradient.
    """
    if has_static_embedding_input(student.model):
        raise ModelError(
            "mini_batch: a static model keeps no activations worth saving, and its tokens cannot be divided. Leave "
            "mini_batch out."
        )
    encoding = [*(each for each in contrast.bringers() if each.encodes), *([loss] if loss.augmentations() else [])]
    if encoding:
        raise PipelineError(f"mini_batch: {encoding[0]!r} {_ENCODES}")


class CachedObjective(CachedLossMixin, Objective):  # type: ignore[misc]
    """An objective that keeps the activations of at most ``mini_batch`` texts.

    Within a batch texts are encoded in the order of their length, so that little is padded. The (B, N) matrices of
    scores and the vectors of all texts are kept: memory still grows with the batch, but hardly.

    Args:
        *args: as `Objective` takes them.
        mini_batch: texts encoded at a time, of each side.
        **kwargs: as `Objective` takes them.
    """

    def __init__(self, *args: Any, mini_batch: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.mini_batch_size = mini_batch

    def forward(self, features: Features, ids: Mapping[str, Any]) -> Tensor:
        """The mean loss of a batch, whose gradient is known already and reaches the weights in the backward pass."""
        ordered = [_by_length(part) for part in features]
        gradients: list[Tensor | None] = []
        labels = (features, ids, [back for _, back in ordered], gradients)
        loss: Tensor = CachedLossMixin.forward_cached(self, [part for part, _ in ordered], labels)
        for weight, gradient in zip(self.own_weights(), gradients, strict=False):
            if gradient is not None:
                # Zero, but with the gradient of the weight: whatever scales the loss later scales this, too.
                loss = loss + ((weight - weight.detach()) * gradient).sum()
        return loss

    def calculate_loss(self, reps: list[list[Tensor]], labels: Any = None, *, with_backward: bool = False) -> Tensor:
        """The loss from vectors; with backward, also the gradient of each vector and of the own weights."""
        features, ids, backs, gradients = labels
        queries, docs = (torch.cat(parts)[back] for parts, back in zip(reps, backs, strict=True))
        guard = self.model.register_forward_pre_hook(_refuse)
        try:
            value = self.value(features, ids, queries, docs)
        finally:
            guard.remove()
        if not with_backward:
            return value
        leaves = [part for parts in reps for part in parts]
        found = torch.autograd.grad(value, [*leaves, *self.own_weights()], allow_unused=True)
        for leaf, gradient in zip(leaves, found, strict=False):
            leaf.grad = torch.zeros_like(leaf) if gradient is None else gradient
        gradients.extend(found[len(leaves) :])
        return value.detach()

    def embed_minibatch(self, sentence_feature: dict[str, Any], begin: int, end: int, **how: Any) -> Any:
        """As the base class, in the precision of training; what it gives is float32 or wider, and so its gradient."""
        ready = sentence_feature.get("sentence_embedding")
        if ready is not None:  # vectors that stand, see `foils.train.towers.embed`
            return ready[begin:end], None
        with self._mixed():
            vectors, state = super().embed_minibatch(sentence_feature, begin, end, **how)
        return (vectors if vectors.dtype == torch.float64 else vectors.float()), state


def _refuse(model: Any, inputs: Any) -> None:
    """A pass through the model while the loss is made, whose gradient would be lost."""
    if torch.is_grad_enabled():
        raise PipelineError(f"mini_batch: a contrast or loss {_ENCODES}")


def _by_length(features: dict[str, Any]) -> tuple[dict[str, Any], Tensor | slice]:
    """Texts with their longest first, and where each is now; untouched if something other than tokens is in it."""
    mask = features.get("attention_mask")
    tokens = {name: part for name, part in features.items() if isinstance(part, Tensor)}
    if mask is None or any(part.shape != mask.shape for part in tokens.values()):
        return features, slice(None)
    order = mask.sum(dim=1).argsort(descending=True, stable=True)
    return {**features, **{name: part[order] for name, part in tokens.items()}}, order.argsort()
