"""Losses of graded lists: of each pair in the right order, or of the list as a whole.

A row's list are its allowed negatives and the known positives of its query among the batch's own documents, as far as
they have a grade. A row with fewer than two has loss 0 and gradient 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from foils.core.spec import declare, require
from foils.train.batch import STUDENT, Batch
from foils.train.losses.loss import Supervised, Tempered
from foils.train.losses.rows import NEVER, known, log_share, mean, positives

if TYPE_CHECKING:
    from torch import Tensor


def graded(view: Batch, allowed: Tensor, by: str) -> tuple[Tensor, Tensor]:
    """A column without gradient, 0 where unknown, and which documents are in each row's list, both (B, N)."""
    values, there = known(view, by)
    return values, there & (allowed | positives(view))


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs (i, j) of a row's list, best grade first: P leading documents against all L.

    Attributes:
        gap: ``s_i - s_j``, (B, P, L), with gradient.
        ordered: bool (B, P, L), i has the higher grade.
        rank: (B, L), 1-based place by the student's score.
        grade: (B, L); minus infinity beyond the end of a list.
    """

    gap: Tensor
    ordered: Tensor
    rank: Tensor
    grade: Tensor

    def heads(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """A value of each list member as that of i, (B, P, 1), and of j, (B, 1, L)."""
        return values[:, : self.gap.shape[1], None], values[:, None, :]


def pairs_of(view: Batch, allowed: Tensor, by: str | None) -> Pairs:
    """The pairs of each row.

    Args:
        view: the step.
        allowed: bool (B, N).
        by: column of grades; None for known positives above negatives.
    """
    if by is None:
        right = positives(view)
        values, members = right.to(view[STUDENT].dtype), allowed | right
    else:
        values, members = graded(view, allowed, by)
    # Lists become short rows, best grade first, so that few documents come first in any pair: with labels only, one or
    # two of a row.
    values = values.masked_fill(~members, NEVER)
    order = values.argsort(dim=1, descending=True, stable=True)[:, : max(int(members.sum(dim=1).max()), 1)]
    grade, scores = values.gather(1, order), view[STUDENT].gather(1, order)
    there = members.gather(1, order)
    lowest = grade.masked_fill(~there, float("inf")).amin(dim=1, keepdim=True)
    leading = max(int(((grade > lowest) & there).sum(dim=1).max()), 1)
    place = scores.detach().masked_fill(~there, NEVER).argsort(dim=1, descending=True, stable=True)
    first, second = grade[:, :leading, None], grade[:, None, :]
    return Pairs(
        gap=scores[:, :leading, None] - scores[:, None, :],
        ordered=(first > second) & there[:, None, :],
        rank=place.argsort(dim=1).to(scores.dtype) + 1,
        grade=grade,
    )


def pooled(losses: Tensor, counted: Tensor) -> Tensor:
    """Sum of each row's pairs times ``B / P``, P of them in the batch: the mean over rows is that over all pairs."""
    total: Tensor = losses.masked_fill(~counted, 0.0).flatten(1).sum(dim=1)
    return total * len(total) / counted.sum().clamp(min=1)


@declare
class LambdaRank(Tempered):
    """Logistic loss of each pair in the right order, weighed by what the pair matters to a ranking measure.

    ``loss_i`` is the mean over the row's pairs with ``y_a > y_b`` of ``w_ab ln(1 + exp(-(s_a - s_b) / t))``. Ranks r
    are places by the student's score in the row's list, without gradient; y is the column ``by``, or 1 for known
    positives and 0 for negatives. With ``G = (2^max(y,0) - 1) / maxDCG`` and ``D(r) = log2(1 + r)``, the weights by
    ``metric`` are:

    - ``'mrr'``: ``|1/r_a - 1/r_b|``, with 0 for 1/r beyond the ``cut``: ADORE (Zhan et al. 2021, arXiv:2104.08051,
      section 4.2; 200 retrieved documents, cut 200).
    - ``'ndcg'``: ``|1/D(r_a) - 1/D(r_b)| |G_a - G_b|``, LambdaRank (Burges et al. 2006).
    - ``'ndcg2'``: ``|1/D(δ) - 1/D(δ+1)| |G_a - G_b|`` with ``δ = |r_a - r_b|``, NDCG-Loss2 (Wang et al. 2018, "The
      LambdaLoss Framework for Ranking Metric Optimization").
    - ``'ndcg2++'``: the sum of the last two, NDCG-Loss2 times ``mu``.

    With the last three, ``cut`` keeps the pairs that have a document in the first ``cut`` places, and limits maxDCG, as
    in sentence-transformers' ``LambdaLoss`` for cross-encoders, whose logarithm is to base 2. Without a cut all places
    count. Pairs at deep ranks weigh next to nothing, and a false negative at the first place weighs most.
    Grades of a guide are known for the whole batch, which then has B N² pairs: give such a list an `Own` contrast.
    """

    metric: Literal["mrr", "ndcg", "ndcg2", "ndcg2++"] = "mrr"  # what pairs are weighed for
    by: str | None = None  # saved column of grades; None for labels
    cut: int | None = None  # places that count; None for all
    temperature: float = 1.0  # divides score differences; > 0
    mu: float = 10.0  # weight of NDCG-Loss2 in 'ndcg2++'; >= 0

    def check(self) -> None:
        """Bounds."""
        super().check()
        require(self.cut is None or self.cut >= 1, self, "cut", "at least 1, or None for all places")
        require(self.mu >= 0, self, "mu", "at least 0")

    def reads(self) -> tuple[str, ...]:
        """The grades."""
        return () if self.by is None else (self.by,)

    def __call__(self, view: Batch, allowed: Tensor) -> Tensor:
        """Softplus, so that large gaps do not overflow."""
        from torch.nn.functional import softplus

        pairs = pairs_of(view, allowed, self.by)
        weight = _mrr(pairs, self.cut) if self.metric == "mrr" else self._ndcg(pairs)
        counted = pairs.ordered
        if self.cut is not None and self.metric != "mrr":
            first, second = pairs.heads(pairs.rank)
            counted = counted & (first.minimum(second) <= self.cut)
        losses = softplus(-pairs.gap / self.temperature) * weight
        return mean(losses.flatten(1), counted.flatten(1))

    def _ndcg(self, pairs: Pairs) -> Tensor:
        gain = pairs.grade.clamp(min=0).exp2() - 1
        places = gain.new_tensor(range(1, gain.shape[1] + 1))
        ideal = (gain / (1 + places).log2())[:, : self.cut].sum(dim=1, keepdim=True)
        first, second = pairs.heads(gain / ideal.clamp(min=1e-10))
        discounts = pairs.heads(1 / (1 + pairs.rank).log2())
        rank = (discounts[0] - discounts[1]).abs()
        ahead, behind = pairs.heads(pairs.rank)
        apart = (ahead - behind).abs().clamp(min=1)
        distance = 1 / (1 + apart).log2() - 1 / (2 + apart).log2()
        by = {"ndcg": rank, "ndcg2": distance, "ndcg2++": rank + self.mu * distance}[self.metric]
        return by * (first - second).abs()


def _mrr(pairs: Pairs, cut: int | None) -> Tensor:
    value = 1 / pairs.rank
    first, second = pairs.heads(value if cut is None else value.masked_fill(pairs.rank > cut, 0.0))
    return (first - second).abs()


@declare
class LambdaMRR(Supervised, Tempered):
    """CL-DRD's listwise loss: each pair in the order of its grades, weighed by ``|1/r_a - 1/r_b|``.

    ``loss_i = (B / P) Σ_{y_a > y_b} |1/r_a - 1/r_b| ln(1 + exp(-(s_a - s_b) / t))`` with P the number of such pairs of
    the whole batch, so that the mean over the B rows is the mean over all its pairs; r by the student's score in the
    list. Zeng, Zamani and Vinay 2022, arXiv:2204.13679, on dot products, over grades that `Grades` writes:
    pairs of one group have no order. `LambdaRank` is the same with a mean for each row.
    """

    by: str = "grade"  # saved column of grades
    temperature: float = 1.0  # divides score differences; > 0

    def __call__(self, view: Batch, allowed: Tensor) -> Tensor:
        """Pooled over the batch."""
        from torch.nn.functional import softplus

        pairs = pairs_of(view, allowed, self.by)
        return pooled(softplus(-pairs.gap / self.temperature) * _mrr(pairs, None), pairs.ordered)


@declare
class ListNet(Supervised, Tempered):
    """Cross-entropy of the grades' softmax and the scores' softmax over each list.

    ``loss_i = -Σ_j softmax(y / t_y)_j ln softmax(s / t)_j``. Cao et al. 2007, "Learning to Rank: From Pairwise Approach
    to Listwise Approach", top-one probabilities; with a re-ranker's logits it is the distillation term of AR2 (Zhang et
    al. 2022, arXiv:2110.03611). The gradient is that of `KL` divided by the temperature; the least loss is the entropy
    of the grades.
    """

    by: str = "teacher"  # saved column of grades
    temperature: float = 1.0  # divides scores; > 0
    grade_temperature: float = 1.0  # divides grades; > 0

    def check(self) -> None:
        """Bounds."""
        super().check()
        require(self.grade_temperature > 0, self, "grade_temperature", "above 0")

    def __call__(self, view: Batch, allowed: Tensor) -> Tensor:
        """Nothing is added up where there is no choice."""
        values, members = graded(view, allowed, self.by)
        aim = log_share(values / self.grade_temperature, members).exp()
        losses = aim * log_share(view[STUDENT] / self.temperature, members)
        return -losses.masked_fill(~members, 0.0).sum(dim=1)


@declare
class ListMLE(Supervised, Tempered):
    """Likelihood of the whole order of the grades under the Plackett-Luce model of the scores.

    ``loss_i = Σ_r (ln Σ_{r' >= r} exp s_(r') - s_(r))``, scores in units of the temperature, (r) the document with the
    r-th highest grade; equal grades in the order of the columns. Xia et al. 2008, "Listwise Approach to Learning to
    Rank: Theory and Algorithm". Long lists have large losses: it is a sum over places.
    """

    by: str = "teacher"  # saved column of grades
    temperature: float = 1.0  # divides scores; > 0

    def __call__(self, view: Batch, allowed: Tensor) -> Tensor:
        """What is beyond the end of a list is far below everything in it."""
        values, members = graded(view, allowed, self.by)
        order = values.masked_fill(~members, NEVER).argsort(dim=1, descending=True, stable=True)
        there = members.gather(1, order)
        logits = (view[STUDENT] / self.temperature).gather(1, order)
        lowest = -1e30
        below = logits.masked_fill(~there, lowest).flip(1).logcumsumexp(dim=1).flip(1)
        total: Tensor = (below - logits).masked_fill(~there, 0.0).sum(dim=1)
        return total
