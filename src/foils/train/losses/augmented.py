"""A text against itself, seen a second time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from foils.core.errors import PipelineError
from foils.core.pairs import POSITIVE
from foils.core.spec import declare, require
from foils.train.augment import Augmentation, How, Whose
from foils.train.batch import Batch
from foils.train.losses.directed import distinct, strangers
from foils.train.losses.loss import Tempered
from foils.train.losses.rows import log_sum

if TYPE_CHECKING:
    from torch import Tensor


@declare
class Augmented(Tempered):
    """InfoNCE between each text and an altered view of itself, against the views of the batch's other texts.

    ``loss_i = ln Σ_j exp(s(x_i, x'_j) / t) - s(x_i, x'_i) / t`` with x the row's query or its training positive and x'
    the same text encoded once more, with gradient:

    - ``'dropout'``: unaltered, so that the model's dropout is the only difference (SimCSE, Gao et al. 2021,
      arXiv:2104.08821, equation 4; t = 0.05). A model without dropout, and any static one, sees the same twice.
    - ``'drop'``: each token is left out with the probability ``share`` (word deletion; a token cutoff where positions
      stay, Yan et al. 2021, ConSERT, arXiv:2105.11741).
    - ``'crop'``: all but one piece of the text is left out, ``share`` of it (Contriever, Izacard et al. 2022,
      arXiv:2112.09118, section 3.1, which crops both views).

    Added to a contrastive loss it needs no labels beyond the batch: ``InfoNCE() + 0.1*Augmented()``. Queries that share
    a known positive in the batch, and documents that are positives of the row's query, are no negatives. It costs
    another pass over the texts. Past queries of a memory bank have no view, and loss 0.
    """

    of: Whose = "query"  # texts
    how: How = "dropout"  # what makes the second view another one
    share: float = 0.1  # of the tokens that 'drop' and 'crop' leave out; 0 to below 1
    temperature: float = 0.05  # divides scores; > 0

    def check(self) -> None:
        """Bounds."""
        super().check()
        require(0 <= self.share < 1, self, "share", "at least 0 and below 1")

    def augmentations(self) -> tuple[Augmentation, ...]:
        """The view."""
        return (Augmentation(self.of, self.how, self.share),)

    def __call__(self, view: Batch, allowed: Tensor) -> Tensor:
        """Rows are compared with rows, each text once."""
        import torch
        from torch.nn.functional import pad

        (wanted,) = self.augmentations()
        if wanted not in view.augmented:
            raise PipelineError(f"{self!r}: this batch has no augmented view of each {self.of}.")
        again = view.augmented[wanted]
        count = len(again)  # further rows are past ones, which have no text here
        if self.of == "query":
            assert view.query_vectors is not None
            vectors, others = view.query_vectors[:count], strangers(view)[:count, :count]
        else:
            assert view.doc_vectors is not None
            target = view.target[:count]
            vectors = view.doc_vectors[target]
            others = distinct(target) & (view.label[:count, target] != POSITIVE)
        logits = vectors @ again.T / self.temperature
        own = torch.eye(count, dtype=torch.bool, device=logits.device)
        loss = log_sum(logits, others | own).squeeze(1) - logits.diagonal()
        return pad(loss, (0, len(view.query) - count))
