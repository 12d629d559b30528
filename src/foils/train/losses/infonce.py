"""InfoNCE, the softmax over one positive and its negatives, and the losses that only weigh its entries otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from foils.core.errors import PipelineError
from foils.core.spec import declare, require
from foils.train.batch import STUDENT, Batch
from foils.train.losses.loss import Supervised, Tempered
from foils.train.losses.rows import known, log_sum, log_weights, of_target, positives, with_target

if TYPE_CHECKING:
    from torch import Tensor


@declare
class InfoNCE(Tempered):
    """Softmax cross-entropy of the training positive against the allowed negatives.

    ``loss_i = logsumexp_{j in {+} and allowed_i} (s_ij / t) - s_i+ / t`` with the model's own similarity s (cosine or
    dot product) and temperature t. van den Oord et al. 2018, arXiv:1807.03748. With `InBatch` and no document that is a
    positive of two rows it equals sentence-transformers' ``MultipleNegativesRankingLoss`` (``scale = 1 / t``), whose
    default t is. A row without negatives has loss 0 and gradient 0.

    Other known positives of the row's query that are in the batch are never negatives. ``positives`` says what else:

    - ``'own'``: they take no part.
    - ``'each'``: each is a positive with the same negatives; the mean of their losses.
    - ``'any'``: ``-ln`` of the share that all of them have together, so that one good one suffices (MIL-NCE, Miech et
      al. 2020, arXiv:1912.06430, equation 1).
    - ``'all'``: each is a positive, and all are in everyone's denominator, so that they compete; the mean (Khosla et
      al. 2020, arXiv:2004.11362, equation 2). The least loss is the logarithm of their number.

    ``margin`` is subtracted from the positives' scores: they have to lead by that much (SimKGC, Wang et al. 2022,
    arXiv:2203.02167: 0.02 for cosines). ``weight`` names a saved column, such as what `Debiased` or
    `Doubted` wrote: a negative of weight w counts as w of its kind, ``w exp(s / t)``, so that 0 leaves it out; the
    weight of the training positive is a factor of its row, so that 0 leaves the row out. Unknown weights are 1.
    """

    temperature: float = 0.05  # divides scores; > 0
    positives: Literal["own", "each", "any", "all"] = "own"  # what other known positives in the batch are
    margin: float = 0.0  # by how much positives have to lead, score units; >= 0
    weight: str | None = None  # saved column of weights; None for 1

    def check(self) -> None:
        """Bounds."""
        super().check()
        require(self.margin >= 0, self, "margin", "at least 0")

    def reads(self) -> tuple[str, ...]:
        """The weights."""
        return () if self.weight is None else (self.weight,)

    def __call__(self, view: Batch, allowed: Tensor) -> Tensor:
        """In log-sum-exp form; the scores of a batch are float32 whatever the precision of the model."""
        right = with_target(allowed & False, view) if self.positives == "own" else positives(view)
        scores = view[STUDENT]
        logits = (scores - self.margin * right.to(scores.dtype)) / self.temperature
        if self.weight is None:
            return self._softmax(view, logits, allowed, right)
        weights = log_weights(view, self.weight, self)
        loss = self._softmax(view, logits + weights.masked_fill(right, 0.0), allowed, right)
        return loss * of_target(weights, view).squeeze(1).exp()

    def _softmax(self, view: Batch, logits: Tensor, allowed: Tensor, right: Tensor) -> Tensor:
        from torch.nn.functional import softplus

        if self.positives == "each":
            gap = log_sum(logits, allowed & ~right) - logits.masked_fill(~right, 0.0)
            loss = softplus(gap).masked_fill(~right, 0.0).sum(dim=1) / right.sum(dim=1)
        elif self.positives == "all":
            shown = logits.masked_fill(~right, 0.0).sum(dim=1) / right.sum(dim=1)
            loss = log_sum(logits, allowed | right).squeeze(1) - shown
        elif self.positives == "any":
            loss = (log_sum(logits, allowed | right) - log_sum(logits, right)).squeeze(1)
        else:
            loss = (log_sum(logits, allowed | right) - of_target(logits, view)).squeeze(1)
        return loss


@declare
class HardnessInfoNCE(Tempered):
    """InfoNCE in which a negative counts the more, the closer it is: ``α s_ij`` is added to its logit.

    ``loss_i = ln(exp(s_i+ / t) + Σ_j exp(s_ij / t + α sg[s_ij])) - s_i+ / t``, sg for no gradient: the same as a weight
    of ``exp(α s_ij)``. α multiplies similarities before the temperature does, so it says less at a low temperature. Lan
    et al. 2025, arXiv:2503.04812, equation 5: α = 9, ``of='in-batch'``; EmbeddingGemma (Schechter Vera et al. 2025,
    arXiv:2509.20354): α = 5, ``of='own'``. The same as ``hardness_mode`` of sentence-transformers'
    ``MultipleNegativesRankingLoss``, except that known positives are no negatives here. False negatives are the closest
    of all, and count most.
    """

    alpha: float = 9.0  # strength, per score unit; >= 0
    of: Literal["in-batch", "own", "all"] = "all"  # whose: those others brought, those mined for the row, or both
    temperature: float = 0.05  # divides scores; > 0

    def check(self) -> None:
        """Bounds."""
        super().check()
        require(self.alpha >= 0, self, "alpha", "at least 0")

    def __call__(self, view: Batch, allowed: Tensor) -> Tensor:
        """The addition has no gradient."""
        scores = view[STUDENT]
        chosen = {"all": allowed, "own": allowed & view.own, "in-batch": allowed & ~view.own}[self.of]
        logits = scores / self.temperature + self.alpha * scores.detach() * chosen
        loss: Tensor = (log_sum(logits, with_target(allowed, view)) - of_target(logits, view)).squeeze(1)
        return loss


@declare
class SoftInfoNCE(Supervised, Tempered):
    """InfoNCE in which a doubtful negative is a positive in part: cross-entropy with soft labels.

    ``loss_i = -Σ_j y_ij ln p_ij`` over the training positive and the allowed negatives, p the softmax of ``s / t`` and
    ``y = (1 for the positive, λ π_ij for negatives) / their sum``. π is a saved column of probabilities that the pair
    is relevant, such as a calibrated cross-encoder's; unknown ones are 0. With π = 0 it is `InfoNCE`. The least loss is
    the entropy of y. It has no paper of its own; the soft counterpart of relabelling (Thakur et al. 2025,
    arXiv:2505.16967).
    """

    by: str = "teacher"  # saved column of probabilities
    share: float = 1.0  # λ, what a certain one counts beside the training positive; >= 0
    temperature: float = 0.05  # divides scores; > 0

    def check(self) -> None:
        """Bounds."""
        super().check()
        require(self.share >= 0, self, "share", "at least 0")

    def __call__(self, view: Batch, allowed: Tensor) -> Tensor:
        """``ln Σ exp(s/t) - Σ y s/t``."""
        chance, _ = known(view, self.by)
        beyond = (chance < 0) | (chance > 1)
        if bool(beyond.any()):
            raise PipelineError(f"{self!r}: {chance[beyond][0].item():.4g} in {self.by!r} is no probability.")
        target = with_target(allowed & False, view)
        parts = (self.share * chance).masked_fill(~allowed, 0.0).masked_fill(target, 1.0)
        logits = view[STUDENT] / self.temperature
        expected = (parts / parts.sum(dim=1, keepdim=True) * logits).sum(dim=1)
        loss: Tensor = log_sum(logits, allowed | target).squeeze(1) - expected
        return loss
