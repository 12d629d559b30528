"""Distributions over lists compared as a whole, not row by row."""

from __future__ import annotations

from typing import TYPE_CHECKING

from foils.core.spec import declare, require
from foils.train.batch import STUDENT, Batch
from foils.train.losses.loss import Supervised, Tempered
from foils.train.losses.rows import known, log_share, of_target, positives

if TYPE_CHECKING:
    from torch import Tensor


@declare
class Wasserstein(Supervised, Tempered):
    """Distance of the students' distributions over lists from those of the grades, of the whole batch at once (SyCL).

    ``L = |μ_s - μ_y|² + tr(C_s + C_y - 2 (C_s C_y)^½)``, the squared 2-Wasserstein distance of two normal
    distributions: μ and C are mean and covariance (divided by rows - 1) over the rows of ``softmax(s / t)`` and of
    ``softmax(y / t_y)``, columns the documents of the step. y is the column ``by``, and 0 for documents of other rows
    whose grade is unknown, as in the released code. Each row has the value L times all rows by those that take part,
    so the mean over the batch is L; a row takes part if its positive has a grade and there is a document to compare it
    with. ``tr (C_s C_y)^½`` is the sum of the singular values of the product of the centred rows, rows x rows; singular
    values of 0 have gradient 0, so no constant has to be added.

    Esfandiarpoor et al. 2025, SyCL, arXiv:2503.23239, with four grades (0 to 3) of synthetic documents, each row's list
    extended by those of the others. It needs lists with several grades, such as `Grades` writes, and rows that resemble
    each other; computed in float64, in time cubic in the rows. A perfect fit is 0, but a small value need not be one:
    it compares all rows together.
    """

    by: str = "grade"  # score column of grades
    temperature: float = 1.0  # divides the student's scores; > 0
    grade_temperature: float = 1.0  # divides grades; > 0

    def check(self) -> None:
        """Bounds."""
        super().check()
        require(self.grade_temperature > 0, self, "grade_temperature", "above 0")

    def __call__(self, view: Batch, allowed: Tensor) -> Tensor:
        """One value for all rows that take part, 0 for the others."""
        grades, there = known(view, self.by)
        members = allowed | positives(view)
        part = of_target(there, view).squeeze(1) & (members.sum(dim=1) > 1)
        scores = view[STUDENT]
        if not bool(part.any()):
            return scores.sum(dim=1) * 0.0
        students, aims = (
            log_share(values[part].double() / by, members[part]).exp().masked_fill(~members[part], 0.0)
            for values, by in ((scores, self.temperature), (grades, self.grade_temperature))
        )
        value = squared_distance(students, aims).to(scores.dtype)
        return scores.new_zeros(len(scores)).masked_scatter(part, value.expand(int(part.sum()))) * (
            len(scores) / part.sum()
        )


def squared_distance(x: Tensor, y: Tensor) -> Tensor:
    """Squared 2-Wasserstein distance of the normal distributions of two samples, (rows, columns) each; 0-d."""
    import torch

    apart = (x.mean(dim=0) - y.mean(dim=0)).square().sum()
    divisor = max(len(x) - 1, 1)
    first, second = x - x.mean(dim=0), y - y.mean(dim=0)
    product = first @ second.T
    left, values, right = torch.linalg.svd(product.detach())
    some = values > values.max() * len(values) * torch.finfo(values.dtype).eps
    # The gradient of a sum of singular values by the matrix is the product of their vectors.
    root = (left[:, some] @ right[some] * product).sum()
    total: Tensor = apart + (first.square().sum() + second.square().sum() - 2 * root).clamp(min=0) / divisor
    return total
