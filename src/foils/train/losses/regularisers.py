"""Terms that are added to a contrastive loss."""

from __future__ import annotations

from typing import TYPE_CHECKING

from foils.core.errors import SpecError
from foils.core.spec import Schedule, declare, require
from foils.train.batch import STUDENT, Batch, slow_scores
from foils.train.losses.loss import Tempered
from foils.train.losses.rows import known, log_share, mean, with_target

if TYPE_CHECKING:
    from torch import Tensor


@declare
class Confidence(Tempered):
    """Confidence regularisation: ``InfoNCE() + β*Confidence()`` is L_CCR of the passage sieve.

    ``loss_i = (1/N) Σ_j ln p_ij`` over the N documents that are the training positive and the allowed negatives, p the
    softmax of ``s / t``; never above ``-ln N``. Added with weight β it mixes the softmax weights of the negatives with
    equal ones, ``∂L/∂s_j = (1-β) p_j + β/N - [j=+]``, so that the hardest, and the false ones among them, are pushed
    less. Wang et al. 2024, arXiv:2401.00165: β from 0.1 to 1 for cosines, 1e-4 to 1e-3 for dot products, after some
    ordinary training (``Step([0, 0.5], [0.2])*Confidence()``); at β = 1 the sum is linear and has no least value. The
    temperature must be that of the loss that it is added to; theirs is 1.
    """

    temperature: float = 0.05  # divides scores; > 0

    def __call__(self, view: Batch, allowed: Tensor) -> Tensor:
        """Mean log-probability of the list."""
        members = with_target(allowed, view)
        return mean(log_share(view[STUDENT] / self.temperature, members), members)


@declare
class Consistency(Tempered):
    """The student follows a moving average of itself: NPC's correction of pairs that may be wrong.

    ``loss_i = Σ_j p*_ij ln(p*_ij / p_ij)`` over the training positive and the allowed negatives, p and p* the softmax
    of ``s / t`` by the weights and by their moving average (``θ* ← decay θ* + (1 - decay) θ`` after each step), which
    has no gradient. Zhang et al. 2023, arXiv:2311.03798, added to a contrastive loss whose rows of
    doubtful positives have weight 0: ``InfoNCE(weight='weight') + Consistency()``. The decay is not stated there; 0.999
    is MoCo's. Documents brought from elsewhere take no part: the average has not seen them.
    """

    decay: float = 0.999  # of the moving average, 0 to 1
    temperature: float = 0.05  # divides scores; > 0

    def check(self) -> None:
        """Bounds."""
        super().check()
        require(0 <= self.decay <= 1, self, "decay", "between 0 and 1")

    def slow(self) -> tuple[float, ...]:
        """Its decay.

        Raises:
            SpecError: the decay is a schedule; the average has one for the whole run.
        """
        if isinstance(self.decay, Schedule):
            raise SpecError(f"{self!r}: decay must be a number; it cannot change in training.")
        return (self.decay,)

    def __call__(self, view: Batch, allowed: Tensor) -> Tensor:
        """KL divergence, from the average to the student."""
        slow, there = known(view, slow_scores(self.decay))
        members = with_target(allowed & there, view)
        aim = log_share(slow / self.temperature, members)
        gap = (aim - log_share(view[STUDENT] / self.temperature, members)).masked_fill(~members, 0.0)
        return (aim.exp() * gap).sum(dim=1)
