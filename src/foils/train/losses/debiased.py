"""InfoNCE whose negatives are taken for what they are: a mixture with some positives that nobody marked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from foils.core.errors import PipelineError
from foils.core.spec import declare, require
from foils.train.batch import STUDENT, Batch
from foils.train.losses.loss import Tempered
from foils.train.losses.rows import NEVER, log, log_sum, of_target

if TYPE_CHECKING:
    from torch import Tensor

_SLACK = 1e-3  # cosines of float32 vectors can be a little above 1


@declare
class DebiasedInfoNCE(Tempered):
    """InfoNCE without the part of the negatives that is expected to be positive (DCL); hard ones can count more (HCL).

    With similarities s in units of the temperature t and N allowed negatives, a share τ of which is taken to be
    positive: ``R = N Σ_j exp((1+β) s_j) / Σ_j exp(β s_j)``, ``G = max((R - τ N exp s⁺)/(1 - τ), N exp(-1/t))`` and
    ``loss = -ln(exp s⁺ / (exp s⁺ + G))``. τ = β = 0 is `InfoNCE`; all negatives alike, and β changes nothing.

    Chuang et al. 2020, arXiv:2007.00224 (τ = 0.1, t = 0.5; β = 0); Robinson et al. 2021, arXiv:2010.04592
    (β = 1). As in the released code of both, the weights ``exp(β s)`` have a gradient, too. Where the bound
    holds, which at the t = 0.01 to 0.05 of text models is often, a row's negatives have no gradient at all. τ is one
    number for all negatives, and mined ones hold far more false ones than random ones do. `Debiased` writes the same as
    a column, once, for ``InfoNCE(weight='weight')``.
    """

    tau: float = 0.1  # share of false negatives, 0 to below 1
    beta: float = 0.0  # how much more the hard ones count; >= 0
    temperature: float = 0.5  # divides scores; > 0

    def check(self) -> None:
        """Bounds."""
        super().check()
        require(0 <= self.tau < 1, self, "tau", "at least 0 and below 1")
        require(self.beta >= 0, self, "beta", "at least 0")

    def __call__(self, view: Batch, allowed: Tensor) -> Tensor:
        """In logarithms: ``exp(1 / t)`` does not fit a float at retrieval temperatures.

        Raises:
            PipelineError: similarities are no cosines, so that the bound does not hold.
        """
        scores = view[STUDENT]
        if bool((scores.detach().abs() > 1 + _SLACK).any()):
            raise PipelineError(
                f"{self!r}: a similarity of {scores.detach().abs().max().item():.4g} is no cosine, which its bound is "
                "for. Use InfoNCE(), or a model whose similarity is the cosine."
            )
        logits = scores / self.temperature
        positive, size = of_target(logits, view), allowed.sum(dim=1, keepdim=True)
        some = size > 0
        count = size.clamp(min=1).to(logits.dtype).log()
        hard, tilt = log_sum((1 + self.beta) * logits, allowed), log_sum(self.beta * logits, allowed)
        whole = hard.masked_fill(~some, 0.0) - tilt.masked_fill(~some, 0.0) + count
        false = log(self.tau) + count + positive - whole
        # Beyond the bound both branches have a value, so that neither makes the gradient of the other NaN.
        above = false < 0
        rest = whole + (-false.masked_fill(~above, -1.0).expm1()).log() - log(1 - self.tau)
        least = count - 1 / self.temperature
        negatives = rest.where(above, least).maximum(least).masked_fill(~some, NEVER)
        loss: Tensor = positive.logaddexp(negatives).squeeze(1) - positive.squeeze(1)
        return loss
