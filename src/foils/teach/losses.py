"""The losses a teacher is trained with: sentence-transformers' own, cross-entropy over a list, and RocketQAv2's."""

from __future__ import annotations

from typing import Any

import torch
from sentence_transformers.cross_encoder import losses
from sentence_transformers.util import batch_to_device

from foils.teach.options import JOINT, LossName, TeachOptions

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
        logits = self.logits(inputs, prompt, task)
        loss: torch.Tensor = (logits.logsumexp(dim=1) - logits[:, 0]).mean()
        return loss

    def logits(self, inputs: list[Any], prompt: str | None, task: str | None) -> torch.Tensor:
        """Logits of each row's documents, float32 (rows, longest list); minus infinity beyond the end of a list."""
        queries, lists = inputs
        pairs = [(query, doc) for query, docs in zip(queries, lists, strict=True) for doc in docs]
        features = batch_to_device(self.model.preprocess(pairs, prompt=prompt, task=task), self.model.device)
        return _rows(self.model(features)["scores"].view(-1).float(), [len(docs) for docs in lists])


def _rows(flat: torch.Tensor, lengths: list[int]) -> torch.Tensor:
    """Numbers of lists one after the other as a row for each, minus infinity beyond its end."""
    sizes = torch.tensor(lengths, device=flat.device)
    row = torch.repeat_interleave(torch.arange(len(sizes), device=flat.device), sizes)
    place = torch.arange(len(flat), device=flat.device) - (sizes.cumsum(0) - sizes)[row]
    return flat.new_full((len(sizes), int(sizes.max())), float("-inf")).index_put((row, place), flat)


class JointCrossEntropy(ListwiseCrossEntropy):
    """RocketQAv2's loss as the re-ranker sees it: find the positive, and do not stray from the retriever.

    ``mean ( KL(p_t || p_s) - ln p_t(0) )`` with p_t the softmax of the logits and p_s that of the retriever's scores by
    its temperature, over the same list, the positive first; Ren et al. 2021, arXiv:2110.07367, section 4. There both
    models move in one step; here one moves while the other stands, and the retriever's part is the loss ``KL`` with the
    trained re-ranker. Documents whose retriever score is unknown (NaN) have no part in the divergence, and a list with
    fewer than two known ones none at all.

    Args:
        model: the cross-encoder.
        temperature: divides the retriever's scores.
    """

    def __init__(self, model: Any, temperature: float) -> None:
        super().__init__(model)
        self.temperature = temperature

    def forward(
        self, inputs: list[Any], labels: list[torch.Tensor], prompt: str | None = None, task: str | None = None
    ) -> torch.Tensor:
        """As the base class, with the retriever's scores of each query's documents as ``labels``."""
        logits = self.logits(inputs, prompt, task)
        scores = _rows(torch.cat(labels).to(logits).float(), [len(row) for row in labels])
        anchor = logits.logsumexp(dim=1) - logits[:, 0]
        return (anchor + divergence(logits, scores / self.temperature)).mean()


def divergence(logits: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
    """``Σ_j p_j ln(p_j / q_j)``, (rows,): p the softmax of logits and q that of scores, where both are finite."""
    there = logits.isfinite() & scores.isfinite()
    there = there & (there.sum(dim=1, keepdim=True) > 1)
    none = ~there.any(dim=1, keepdim=True)
    aim, other = (
        values.masked_fill(~there, float("-inf")).masked_fill(none, 0.0).log_softmax(dim=1)
        for values in (logits, scores.nan_to_num())
    )
    gap = aim.masked_fill(~there, 0.0) - other.masked_fill(~there, 0.0)
    return (aim.exp().masked_fill(~there, 0.0) * gap).sum(dim=1)


class Connected(torch.nn.Module):
    """A loss of sentence-transformers whose every value has a gradient, 0 where there is nothing to learn.

    Its ``ListMLELoss`` returns a constant for a batch of lists of the positive alone. Several processes would wait for
    the gradient, and the scaler of half precision refuses a step without one.

    Args:
        model: the cross-encoder.
        loss: the loss.
    """

    def __init__(self, model: Any, loss: torch.nn.Module) -> None:
        super().__init__()
        self.model, self.loss = model, loss

    def forward(self, inputs: list[Any], labels: list[torch.Tensor], *args: Any, **kwargs: Any) -> torch.Tensor:
        """As the loss does."""
        value: torch.Tensor = self.loss(inputs, labels, *args, **kwargs)
        if value.grad_fn is None:
            trained = [weight.sum() for weight in self.model.parameters() if weight.requires_grad]
            value = value.detach() + 0.0 * torch.stack(trained).sum()
        return value


def loss_of(options: TeachOptions, model: Any) -> torch.nn.Module:
    """The loss module that options name, for a model.

    Pairs are read in one forward pass; sentence-transformers' default of one pass for each document would be slow.
    """
    name = options.loss
    if name == POINTWISE:
        made: torch.nn.Module = losses.BinaryCrossEntropyLoss(model)
    elif name == "listwise":
        made = ListwiseCrossEntropy(model)
    elif name == JOINT:
        made = JointCrossEntropy(model, options.student_temperature)
    else:
        made = Connected(model, getattr(losses, name)(model, mini_batch_size=-1))
    return made
