"""Pairwise losses: every negative against the positive, one pair at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from foils.core.spec import declare, require
from foils.train.batch import STUDENT, Batch
from foils.train.losses.listwise import pairs_of, pooled
from foils.train.losses.loss import Loss, Supervised, Tempered
from foils.train.losses.rows import known, mean, of_target, positives

if TYPE_CHECKING:
    from torch import Tensor


@declare
class RankNet(Tempered):
    """Logistic loss of each (positive, negative) pair: ``ln(1 + exp(-(s⁺ - s⁻) / t))``.

    ``loss_i = (B / P) Σ_{j in allowed_i} ln(1 + exp(-(s_i+ - s_ij) / t))`` with P the number of pairs of the whole
    batch, so that the mean over the B rows is STAR's pooled mean over all pairs (Zhan et al. 2021, arXiv:2104.08051,
    section 4.1, as the released code has it: no weight between the in-batch and the hard part). Burges et al. 2005.
    STAR's scores are dot products, t = 1; cosines need a small t. A batch without negatives has loss 0.

    With a column ``by``, the pairs are those whose grades differ, the higher in the place of the positive, among the
    row's negatives and its query's known positives in the batch.
    """

    temperature: float = 1.0  # divides score differences; > 0
    by: str | None = None  # saved column of grades; None for the training positive against negatives

    def reads(self) -> tuple[str, ...]:
        """The grades."""
        return () if self.by is None else (self.by,)

    def __call__(self, view: Batch, allowed: Tensor) -> Tensor:
        """Softplus, so that large gaps do not overflow."""
        from torch.nn.functional import softplus

        if self.by is not None:
            graded = pairs_of(view, allowed, self.by)
            return pooled(softplus(-graded.gap / self.temperature), graded.ordered)
        scores = view[STUDENT] / self.temperature
        positive = scores.gather(1, view.target.unsqueeze(1))
        return pooled(softplus(scores - positive), allowed)


@declare
class MultiLabelMargin(Loss):
    """Hinge of every known positive of the batch against every allowed negative.

    ``loss_i = (1 / M) Σ_{y in P_i} Σ_{j in allowed_i} max(0, m - (s_iy - s_ij))`` with P_i the known positives of the
    query among the M documents of the batch: RepBERT's loss (Zhan et al. 2020, arXiv:2006.15498, section 3.3) is
    PyTorch's ``MultiLabelMarginLoss`` with m = 1 on dot products. A margin of 1 is more than cosines can have between
    them. With `InBatch`, M counts every document, as in PyTorch; documents that a filter dropped count, too.
    """

    margin: float = 1.0  # score units; > 0

    def check(self) -> None:
        """Bounds of the margin."""
        require(self.margin > 0, self, "margin", "above 0")

    def __call__(self, view: Batch, allowed: Tensor) -> Tensor:
        """One pass per positive of the row that has most: few rows have more than one or two in a batch."""
        scores = view[STUDENT]
        known = positives(view)
        total = scores.sum(dim=1) * 0.0
        # A stable sort brings each row's positives to the front.
        columns = known.int().argsort(dim=1, descending=True, stable=True)
        for place in range(int(known.sum(dim=1).max())):
            column = columns[:, place : place + 1]
            hinge = (self.margin - scores.gather(1, column) + scores).clamp(min=0).masked_fill(~allowed, 0.0)
            total = total + hinge.sum(dim=1) * known.gather(1, column).squeeze(1)
        return total / scores.shape[1]


@declare
class DEM(Supervised):
    """RANCE's margin that a lexical score shortens: a negative that BM25 rejects anyway need not be far away.

    ``loss_i = mean_j max(0, ξ - λ (b_i+ - b_ij) - (s_i+ - s_ij))`` over the allowed negatives whose lexical score b is
    known, as the positive's must be. Prakash, Killingback and Zamani 2021, "Learning Robust Dense Retrieval Models
    from Incomplete Relevance Labels" (SIGIR), where ξ = 1, λ = 0.1, scores are dot products and b is BM25 divided by
    the number of query terms; the released code cuts b to whole numbers, which this does not.
    """

    by: str = "bm25"  # saved column of lexical scores
    margin: float = 1.0  # ξ, score units; > 0
    share: float = 0.1  # λ, score units per unit of b; >= 0

    def check(self) -> None:
        """Bounds."""
        require(self.margin > 0, self, "margin", "above 0")
        require(self.share >= 0, self, "share", "at least 0")

    def __call__(self, view: Batch, allowed: Tensor) -> Tensor:
        """Pairs without a lexical score take no part."""
        scores, (lexical, there) = view[STUDENT], known(view, self.by)
        gained = of_target(scores, view) - scores + self.share * (of_target(lexical, view) - lexical)
        return mean((self.margin - gained).clamp(min=0), there & of_target(there, view) & allowed)
