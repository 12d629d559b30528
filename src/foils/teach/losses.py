"""The losses a teacher is trained with: sentence-transformers' own, and cross-entropy over a list."""

from __future__ import annotations

from typing import Any

import torch
from sentence_transformers.cross_encoder import losses
from sentence_transformers.util import batch_to_device

from foils.teach.options import LossName

POINTWISE: LossName = "pointwise"


class ListwiseCrossEntropy(torch.nn.Module):
    """Cross-entropy of the positive among the documents of its row.

    ``-mean ln( e^{z_0} / Σ_j e^{z_j} )``, z_0 the positive's logit: localised contrastive estimation, Gao, Dai and
    Callan 2021, arXiv:2101.08751, equation 5; also AR2's ranker (Zhang et al. 2022, arXiv:2110.03611). Lists may be of
    different lengths; one of the positive alone is worth 0 and moves nothing.

    Args:
        model: the cross-encoder.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, inputs: list[Any], labels: list[torch.Tensor], prompt: str | None = None, task: str | None = None
    ) -> torch.Tensor:
        """The mean over rows.

        Args:
            inputs: queries, and for each of them its documents, the positive first.
            labels: for each query, 1 and zeros; their number is what counts.
            prompt: of the model, if any.
            task: likewise.
        """
        queries, lists = inputs
        pairs = [(query, doc) for query, docs in zip(queries, lists, strict=True) for doc in docs]
        features = batch_to_device(self.model.preprocess(pairs, prompt=prompt, task=task), self.model.device)
        flat = self.model(features)["scores"].view(-1).float()
        sizes = torch.tensor([len(docs) for docs in lists], device=flat.device)
        row = torch.repeat_interleave(torch.arange(len(sizes), device=flat.device), sizes)
        place = torch.arange(len(flat), device=flat.device) - (sizes.cumsum(0) - sizes)[row]
        logits = flat.new_full((len(sizes), int(sizes.max())), float("-inf"))
        logits = logits.index_put((row, place), flat)
        loss: torch.Tensor = (logits.logsumexp(dim=1) - logits[:, 0]).mean()
        return loss


def loss_of(name: LossName, model: Any) -> torch.nn.Module:
    """The loss module of that name for a model.

    Pairs are read in one forward pass; sentence-transformers' default of one pass for each document would be slow.
    """
    if name == POINTWISE:
        made: torch.nn.Module = losses.BinaryCrossEntropyLoss(model)
    elif name == "listwise":
        made = ListwiseCrossEntropy(model)
    else:
        made = getattr(losses, name)(model, mini_batch_size=-1)
    return made
