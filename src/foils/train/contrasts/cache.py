"""`NegativeCache`: hard negatives drawn from a large cache of documents and encoded anew."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from foils.core.errors import PipelineError
from foils.core.spec import declare, require
from foils.train.contrasts.bringer import Bringer, Site, fixed
from foils.train.losses.loss import Loss, Sum

if TYPE_CHECKING:
    from foils.train.carriers import Carrier


@declare
class NegativeCache(Bringer):
    """The softmax over a large cache of documents, estimated by ``k`` of them per query that are encoded anew.

    Lindgren, Reddi, Guo and Kumar 2021, Efficient Training of Retrieval Models using Negative Cache (NeurIPS), and
    their code. The cache holds old vectors e_j. For query i, with stale logits ``ŝ_ij = q_i·e_j / t`` over the cache,

        J_i = argmax_j (inv_temp ŝ_ij + g_ij),  g Gumbel noise,  so  P(J_i = j) ∝ exp(inv_temp ŝ_ij)

    and only the document J_i is encoded by the current weights, with gradient. In the original its loss is
    ``(1 - p_i) (s_i^- - s_i^+)``, p_i without gradient the positive's share in ``softmax([s_i^+, ŝ_i1, …, ŝ_iN])``.
    Here the column ``weight`` says how many documents the one drawn stands for, ``w_ij = Σ_j' exp(ŝ_ij') / exp(s_ij)``,
    so that `InfoNCE(weight='weight')` with the same temperature has *exactly* that gradient, in the query, the positive
    and the drawn document alike, and its value is ``-ln p_i``, which can be read, where the original's cannot. Of k
    independent draws, each has a k-th of the weight.

    With ``inv_temp=1``, no ``top_k`` and vectors in the cache that are not stale, the expected gradient is that of the
    softmax over positive and cache; in ``InBatch() + NegativeCache(…)`` over batch and cache, each document once: what
    is in the batch is not drawn. Stale logits that are off by at most ε shift the draws by at most tanh(ε/2) in total
    variation, and the gradient by twice that times its greatest norm. It is logged: ``cache_drift``, the largest ε of
    what was drawn, in logits, ``cache_bound``, its tanh(ε/2), and ``cache_staleness``, the mean 1 - cos. At t = 0.05 a
    cosine that is off by 0.05 is an ε of 1 already.

    ``inv_temp`` other than 1 draws harder (above 1) or more evenly (below) than the softmax, and the gradient is then
    biased, as in the original: weights do not make up for it. ``top_k`` takes draws and sum from each query's k best
    only; the bias is the share of the others.

    After the loss, what was drawn is written back, and all documents of the batch go in: in the place of the same
    document, or of the oldest (empty places first, then the lowest of equal age). Known positives are never drawn and
    not in the sum, by id; nor are empty places. Noise is keyed by seed, step, query and document; without ``top_k`` it
    is made for every pair of a row and a cached document, 60 million a second. Several processes have a cache each.
    The code's example: ``size=131_072, top_k=64``, temperature 0.05.
    """

    size: int  # documents kept
    k: int = 1  # draws per query, with replacement
    temperature: float = 0.05  # that of the loss; > 0
    inv_temp: float = 1.0  # sharpness of the draws; only 1 is unbiased; >= 0
    top_k: int | None = None  # highest stale scores of a query that take part; None for all
    evict: Literal["lru", "fifo"] = "lru"  # oldest since it was encoded, or since it came in
    fill: Literal["empty", "random"] = "empty"  # begin with nothing, or with a random sample of the corpus, encoded
    encodes = True

    def check(self) -> None:
        """Bounds."""
        require(self.size >= 1, self, "size", "at least 1")
        require(self.k >= 1, self, "k", "at least 1")
        require(self.temperature > 0, self, "temperature", "above 0")
        require(self.inv_temp >= 0, self, "inv_temp", "at least 0")
        require(self.top_k is None or self.top_k >= 1, self, "top_k", "at least 1")

    def open(self, site: Site) -> Carrier:
        """An empty cache, which is filled at the first step if it is to be."""
        from foils.train.carriers.cache import Cache

        fixed(self, "size")
        return Cache(self, site)

    def brings(self) -> tuple[str, ...]:
        """How many documents each drawn one stands for."""
        return ("weight",)

    def suits(self, loss: Loss) -> None:
        """The loss has to read the weights and to have the same temperature.

        Raises:
            PipelineError: it does not.
        """
        super().suits(loss)
        for term in [part for _, part in loss.terms] if isinstance(loss, Sum) else [loss]:
            other = getattr(term, "temperature", self.temperature)
            if "weight" in term.reads() and other != self.temperature:
                raise PipelineError(f"{self!r}: its temperature must be that of the loss, {term!r}.")
