"""`Gathered`: the documents of all processes, not only of one's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from foils.core.spec import declare
from foils.train.batch import Batch
from foils.train.contrasts.bringer import Bringer, Site

if TYPE_CHECKING:
    from torch import Tensor

    from foils.train.carriers import Carrier


@declare
class Gathered(Bringer):
    """All documents of the batches of all processes: cross-batch negatives.

    Each of W processes keeps its own rows and compares them with the documents of everybody, brought with their
    gradient: what a row of process r says about a document of process s reaches the weights through s. So W processes
    of B rows are one process of W · B rows with `InBatch`, exactly, also where the last batches of an epoch have
    different sizes. A document that several processes have is one column: one's own, else that of the first that has
    it. Known positives are never negatives, whoever brought them, and a loss that reads all positives of the batch
    reads those of all processes. With one process this is `InBatch`.

    RocketQA (Qu et al. 2021, arXiv:2010.08191, section 3.2.1); Contriever and ``gather_across_devices=True`` of
    sentence-transformers' losses do the same. DPR gathers without gradient, which is another and smaller one. Each
    process keeps the loss of its own rows: one that pools over the batch (`RankNet`) pools within a process. Saved
    columns of mined negatives are not known for the documents of others; guides' scores are.
    """

    def open(self, site: Site) -> Carrier:
        """Knows how many processes there are."""
        from foils.train.carriers.gathered import Gatherer

        return Gatherer(site.processes, site.rank)

    def members(self, batch: Batch) -> Tensor:
        """Every document of the own batch and every one brought."""
        return batch.inside | super().members(batch)
