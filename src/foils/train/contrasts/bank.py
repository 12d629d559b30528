"""`MemoryBank`: documents of past batches as further negatives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from foils.core.spec import declare, require
from foils.train.contrasts.bringer import Bringer, Site, fixed

if TYPE_CHECKING:
    from foils.train.carriers import Carrier


@declare
class MemoryBank(Bringer):
    """The newest ``size`` document vectors of past batches, as they were computed then, without gradient.

    After the loss of a step the vectors of all its documents go in and the oldest go out; so a step never meets its own
    vectors. A document is in the bank once, with its newest vector (its older place stays empty), and is not brought to
    a batch that has it itself. Known positives never count as negatives, by id. There is no random filling: with an
    empty bank the loss is that without a bank. Added to what the batch has, ``InBatch() + MemoryBank(…)``, this is

    - the pre-batch negatives of SimKGC (Wang et al. 2022, arXiv:2203.02167, section 3.3; ``scale`` is the code's
      ``pre_batch_weight``, 0.5, which multiplies the logits);
    - cross-batch memory, XBM (Wang et al. 2020, arXiv:1912.06798, section 3.3; ``size=8192``, ``start=2000`` in the
      code). There the newest batch goes in before the loss and the memory's loss is a second term; here batch and
      memory share one softmax, in which ``weight`` stands before the memory's part;
    - with ``momentum=0.999`` the queue of MoCo (He et al. 2020, arXiv:1911.05722, section 3.2; 65,536 keys): vectors
      that go in come from the moving average of the weights, which drifts less. The batch's own documents keep the
      current weights and their gradient, where MoCo's positives come from the average, too;
    - with ``sides='both'`` the dual bank of ContAccum (Kim et al. 2024, arXiv:2406.12356): a bank of documents alone
      pushes queries only. So past queries are kept as well, each with its training positive, and become further *rows*
      of the step: the same loss is computed for them over the documents of the batch and of the bank, and the mean is
      over all rows. Their vectors have no gradient, but the batch's documents do, and are pushed away from (or, where
      one is the past query's positive, drawn to) them. Its positive has the weight that it had when it was trained on,
      where the loss reads one, and is compared without ``scale``. A past query takes part while its positive is in the
      batch or in the bank and the query itself is not in the batch. The score matrix then has (batch + size)² cells.

    Vectors go stale as the weights move, most at the beginning: ``start`` late, keep ``size`` or ``max_age`` small, or
    use ``momentum``. With ``probe=s`` it is measured, every s steps for 64 random entries: ``bank_staleness`` is the
    mean of 1 - cos(kept, by the current weights), ``bank_drift`` the mean change of their similarities to the queries
    of the step (divided by the temperature it is in logits). Under dropout both have a floor.

    Several processes have a bank each, of what they themselves have seen. No bank in the field has an agreed size for
    retrieval; what is kept are documents in training, popular ones more often, not a sample of the corpus.
    """

    size: int  # vectors kept
    sides: Literal["docs", "both"] = "docs"  # documents, or past queries as well
    momentum: float | None = None  # decay of the weights' average that makes the kept vectors; None for current weights
    weight: float = 1.0  # factor before exp(score) of a kept document; needs InfoNCE(weight='weight'); above 0
    scale: float = 1.0  # multiplies the similarity of kept documents; above 0
    start: int = 0  # steps before the first vectors are kept
    max_age: int | None = None  # steps after which a vector is not used any more; None for no limit
    probe: int | None = None  # steps between two measurements of staleness; None for none

    def check(self) -> None:
        """Bounds."""
        require(self.size >= 1, self, "size", "at least 1")
        require(self.momentum is None or 0 <= self.momentum <= 1, self, "momentum", "between 0 and 1")
        require(self.weight > 0, self, "weight", "above 0")
        require(self.scale > 0, self, "scale", "above 0")
        require(self.start >= 0, self, "start", "at least 0")
        require(self.max_age is None or self.max_age >= 1, self, "max_age", "at least 1")
        require(self.probe is None or self.probe >= 1, self, "probe", "at least 1")

    def open(self, site: Site) -> Carrier:
        """An empty bank."""
        from foils.train.carriers.bank import Bank

        fixed(self, "size", "momentum")
        return Bank(self, site)

    def slow(self) -> tuple[float, ...]:
        """The momentum."""
        fixed(self, "momentum")
        return () if self.momentum is None else (self.momentum,)

    def brings(self) -> tuple[str, ...]:
        """``weight``, if it is not 1."""
        return () if self.weight == 1.0 else ("weight",)
