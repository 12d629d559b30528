"""The documents that the batch itself has: everybody's, or a row's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from foils.core.spec import declare
from foils.train.batch import Batch
from foils.train.contrasts.contrast import Contrast

if TYPE_CHECKING:
    from torch import Tensor


@declare
class InBatch(Contrast):
    """All documents of the batch: everyone's positives and everyone's mined negatives.

    sentence-transformers' ``query_to_doc``; DPR (Karpukhin et al. 2020, arXiv:2004.04906, section 3.2), except that no
    known positive of the query counts as a negative, whoever brought it.
    """

    def members(self, batch: Batch) -> Tensor:
        """Every document."""
        return batch.inside.expand(batch.own.shape)


@declare
class Own(Contrast):
    """The row's own mined negatives only. A row without any has loss 0 and gradient 0."""

    def members(self, batch: Batch) -> Tensor:
        """The documents that the row brought."""
        return batch.own
