"""InfoNCE, the softmax over one positive and its negatives."""

from __future__ import annotations

from typing import TYPE_CHECKING

from foils.core.spec import declare, require
from foils.train.batch import STUDENT, Batch
from foils.train.losses.loss import Loss

if TYPE_CHECKING:
    from torch import Tensor


@declare
class InfoNCE(Loss):
    """Softmax cross-entropy of the training positive against the allowed negatives.

    ``loss_i = logsumexp_{j in {+} and allowed_i} (s_ij / t) - s_i+ / t`` with the model's own similarity s (cosine or
    dot product) and temperature t. van den Oord et al. 2018, arXiv:1807.03748. With `InBatch` and no document that is a
    positive of two rows it equals sentence-transformers' ``MultipleNegativesRankingLoss`` (``scale = 1 / t``), whose
    default t is. Other known positives of the row take no part; a row without negatives has loss 0 and gradient 0.
    """

    temperature: float = 0.05  # divides scores; > 0

    def check(self) -> None:
        """Bounds of the temperature."""
        require(self.temperature > 0, self, "temperature", "above 0")

    def __call__(self, view: Batch, allowed: Tensor) -> Tensor:
        """In log-sum-exp form; the scores of a batch are float32 whatever the precision of the model."""
        logits = view[STUDENT] / self.temperature
        column = view.target.unsqueeze(1)
        positive = logits.gather(1, column)
        against = logits.masked_fill(~allowed, float("-inf")).scatter(1, column, positive)
        loss: Tensor = against.logsumexp(dim=1) - positive.squeeze(1)
        return loss
