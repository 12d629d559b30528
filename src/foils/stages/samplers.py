"""Samplers: which k of the remaining candidates become negatives."""

from __future__ import annotations

from typing import Any, Literal

from foils.core.pairs import View
from foils.core.segments import Reduction
from foils.core.spec import declare, require
from foils.stages.readers import Sampler


@declare
class Top(Sampler):
    """The k candidates with the highest score; ties go to the smaller document row."""

    k: int  # negatives per query
    by: str = "score"  # score column
    noisy = False

    def logits(self, view: View) -> Any:
        """The score itself."""
        return view[self.by]


@declare
class Uniform(Sampler):
    """k candidates drawn uniformly without replacement. ANCE: 20 of the top 200; STAR: 1 of 200."""

    k: int  # negatives per query

    def logits(self, view: View) -> Any:
        """All equal."""
        return view.label * 0.0


@declare
class Softmax(Sampler):
    """k candidates drawn without replacement with ``p ∝ exp(s / temperature)``."""

    k: int  # negatives per query
    temperature: float = 1.0  # score units; > 0; small is like Top, large like Uniform
    by: str = "score"  # score column

    def check(self) -> None:
        """Bounds of k and the temperature."""
        super().check()
        require(self.temperature > 0, self, "temperature", "above 0")

    def logits(self, view: View) -> Any:
        """Score over temperature."""
        return view[self.by] / self.temperature


@declare
class SimANS(Sampler):
    """Ambiguous negatives: those scored near the positive, neither too hard (false) nor too easy.

    gaussian: ``p ∝ exp(-a (s - s⁺ - b)²)``, the paper's form;  laplace: ``p ∝ exp(-a |s - s⁺ - b|)``, the released
    MS MARCO passage code with a = 3. ``b_sign='code'`` turns the sign of b, as the released NQ and TriviaQA code does:
    the peak is then at ``s⁺ - b``. Zhou et al. 2022, arXiv:2210.11773, section 4; a = 0.5 and b = 0 are their values
    for TriviaQA and MS MARCO, on dot products. ``a`` is per squared score unit: cosines need a far larger one. Draws
    are exact and without replacement (the released code's are neither).

    Released variants: NQ, TriviaQA, MS MARCO documents: ``b_sign='code'``; MS MARCO passages: ``kernel='laplace',
    a=3.0``; the README's ``exp(-τ (s - s⁺)²)``: ``a=τ``; the unused "v3", ``exp(0.5 |s(d⁺,d) - min|)``, is
    ``PositiveSimilarity('m') >> Softmax(k=…, temperature=2.0)``.
    """

    k: int  # negatives per query
    a: float = 0.5  # sharpness; >= 0, and 0 is uniform
    b: float = 0.0  # offset of the peak from the positive, in score units
    kernel: Literal["gaussian", "laplace"] = "gaussian"
    b_sign: Literal["paper", "code"] = "paper"
    positives: Reduction = "min"  # which of several positives sets the peak
    by: str = "score"  # score column

    def check(self) -> None:
        """Bounds of k and a."""
        super().check()
        require(self.a >= 0, self, "a", "at least 0")

    def logits(self, view: View) -> Any:
        """Log of the unnormalised density, so that gaps of 1,000 neither overflow nor vanish."""
        peak = view.positive(self.by, self.positives) + (self.b if self.b_sign == "paper" else -self.b)
        gap = abs(view[self.by] - peak)
        return -self.a * (gap**2 if self.kernel == "gaussian" else gap)
