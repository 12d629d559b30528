"""A teacher's scores as the target: margins, distributions, and what the teacher cannot reject."""

from __future__ import annotations

from typing import TYPE_CHECKING

from foils.core.spec import declare, require
from foils.train.batch import STUDENT, Batch
from foils.train.losses.listwise import graded
from foils.train.losses.loss import Supervised, Tempered
from foils.train.losses.rows import known, log_share, mean, of_target, with_target

if TYPE_CHECKING:
    from torch import Tensor


@declare
class MarginMSE(Supervised, Tempered):
    """Squared difference of the student's and the teacher's margins between the positive and each negative.

    ``loss_i = mean_j ((s_i+ - s_ij) / t - (y_i+ - y_ij))²`` over the allowed negatives whose teacher score y is known;
    0 if the positive's is not. Hofstätter et al. 2020, arXiv:2010.02666, on dot products: a negative margin
    of the teacher is meant as it is. Cosines cannot lie as far apart as logits: give them a small temperature. Over
    lists of equal length it equals sentence-transformers' ``MarginMSELoss``.
    """

    by: str = "teacher"  # score column of the teacher
    temperature: float = 1.0  # divides the student's margins; > 0

    def __call__(self, view: Batch, allowed: Tensor) -> Tensor:
        """Mean over each row's own pairs."""
        squares, there = _margins(view, self.by, self.temperature)
        return mean(squares, there & allowed)


def _margins(view: Batch, by: str, temperature: float) -> tuple[Tensor, Tensor]:
    """Squared differences of margins to the row's positive, and where both teacher scores are known, both (B, N)."""
    scores = view[STUDENT] / temperature
    values, there = known(view, by)
    apart = (of_target(scores, view) - scores) - (of_target(values, view) - values)
    return apart.square(), there & of_target(there, view)


@declare
class InBatchMarginMSE(Supervised, Tempered):
    """TAS-Balanced's in-batch term: margins to everyone else's documents, as a teacher of all pairs says.

    ``loss_i = ½ mean_{j in N_i} m_ij + ½ mean_{j in P_i} m_ij`` with ``m_ij = ((s_i+ - s_ij) - (y_i+ - y_ij))²``: P are
    the training positives of the other rows, N their mined negatives (a document that is both is in both), as far as
    they are allowed; a missing half is 0. Hofstätter et al. 2021, arXiv:2104.06967, where the teacher is
    ColBERT; here any bi-encoder given as ``--encoder guide=MODEL``, for all pairs of the batch need a score. It needs
    `InBatch`, and the row's own negatives are for `MarginMSE`: ``MarginMSE() + 0.75*InBatchMarginMSE()``.
    """

    by: str = "guide"  # score column that is known for all pairs: that of a guide
    temperature: float = 1.0  # divides the student's margins; > 0

    def __call__(self, view: Batch, allowed: Tensor) -> Tensor:
        """Half from each kind of document."""
        squares, there = _margins(view, self.by, self.temperature)
        target = with_target(view.own & False, view)
        elsewhere = there & allowed & ~view.own & view.inside
        halves = [mean(squares, elsewhere & kind.any(dim=0)) for kind in (target, view.own & ~target)]
        return (halves[0] + halves[1]) / 2


@declare
class KL(Supervised, Tempered):
    """Kullback-Leibler divergence from the teacher's distribution over each list to the student's.

    ``loss_i = t² Σ_j p_j ln(p_j / q_j)``, p the softmax of ``y / t_y`` and q that of ``s / t``, over the allowed
    negatives and the known positives of the query in the batch whose teacher score y is known; fewer than two, and it
    is 0. ``∂L/∂s = t (q - p)``: the factor keeps gradients of one size as t grows, where the loss becomes half the
    variance of ``s - y`` (Hinton et al. 2015, arXiv:1503.02531, section 2). sentence-transformers'
    ``DistillKLDivLoss``, whose default t is 1. A teacher whose scores spread widely is one-hot at t_y = 1, and a
    student of cosines needs a small t.
    """

    by: str = "teacher"  # score column of the teacher
    temperature: float = 1.0  # divides the student's scores; > 0
    teacher_temperature: float | None = None  # divides the teacher's; None for the same

    def check(self) -> None:
        """Bounds."""
        super().check()
        given = self.teacher_temperature
        require(given is None or given > 0, self, "teacher_temperature", "above 0, or None for the student's")

    def __call__(self, view: Batch, allowed: Tensor) -> Tensor:
        """Both in logarithms; what the teacher gives no chance at all adds 0."""
        values, members = graded(view, allowed, self.by)
        divisor = self.temperature if self.teacher_temperature is None else self.teacher_temperature
        aim = log_share(values / divisor, members)
        gap = (aim - log_share(view[STUDENT] / self.temperature, members)).masked_fill(~members, 0.0)
        loss: Tensor = (aim.exp() * gap).sum(dim=1)
        return loss * self.temperature**2


@declare
class Adversarial(Supervised, Tempered):
    """AR2's adversarial term for the retriever: surface what the ranker cannot reject.

    ``loss_i = Σ_j r_ij ln q_ij`` over the allowed negatives with a known ranker score y, where q is the softmax of
    ``s / t`` over them and the positive, and ``r_ij = -ln(1 + exp(y_ij - y_i+))`` is held constant: both factors are at
    most 0, and the share of a negative grows where the ranker prefers it to the positive. A plain sum over a list, as
    in the released code. Zhang et al. 2022, arXiv:2110.03611: beside distillation,
    ``0.5*Adversarial() + 0.5*ListNet()``; by itself it would rank every false document first.
    """

    by: str = "teacher"  # score column of the ranker
    temperature: float = 1.0  # divides the student's scores; > 0

    def __call__(self, view: Batch, allowed: Tensor) -> Tensor:
        """0 where the ranker has not seen the positive."""
        from torch.nn.functional import softplus

        values, there = known(view, self.by)
        members = allowed & there & of_target(there, view)
        reward = -softplus(values - of_target(values, view))
        shares = log_share(view[STUDENT] / self.temperature, with_target(members, view))
        return (reward * shares).masked_fill(~members, 0.0).sum(dim=1)
