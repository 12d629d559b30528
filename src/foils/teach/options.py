"""`TeachOptions`: how a teacher is trained."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from foils.core.errors import SpecError
from foils.train.options import Precision, TrainOptions

LossName = Literal[
    "pointwise",
    "listwise",
    "joint",
    "LambdaLoss",
    "RankNetLoss",
    "ListNetLoss",
    "ListMLELoss",
    "PListMLELoss",
    "ADRMSELoss",
]
JOINT: LossName = "joint"
_DEFAULTS = {"epochs": 2, "batch_size": 16, "learning_rate": 2e-5, "negatives_per_row": 4, "max_length": 160}


@dataclass(frozen=True)
class TeachOptions(TrainOptions):
    """Options of a teacher's training: those of `TrainOptions`, some of which mean something of their own here.

    A training row is a positive with up to ``negatives_per_row`` of its query's negatives, each of which is a pair that
    the cross-encoder reads. Defaults: 2 epochs, 4 negatives and 160 tokens a pair (RocketQA, Qu et al. 2021,
    arXiv:2010.08191, section 5.1.3), 16 rows a step (80 pairs; RocketQA 64), learning rate 2e-5
    (sentence-transformers' for cross-encoders; RocketQA 1e-5 for a large one).

    ``max_length`` is kept by the trained model. Of a dev query's candidates at most ``dev_docs`` are ranked besides its
    positives, 10 by default: reading pairs is slow. ``gradient_accumulation``, ``patience`` and the rest are as there.

    Attributes:
        loss: ``pointwise``: binary cross-entropy of each pair (RocketQA). ``listwise``: cross-entropy of the positive
            in its list (Gao et al. 2021, arXiv:2101.08751, equation 5). ``joint``: the same, and the divergence from
            the student's distribution over that list (RocketQAv2, Ren et al. 2021, arXiv:2110.07367). All others are
            sentence-transformers' losses for cross-encoders, by their names and with their defaults, over the list of a
            row.
        layers: first layers of the base model to build on, for speed; None for all.
        dev_queries: held-out queries looked at, at most.
        student: the column of the negatives with the student's scores, for ``joint``.
        student_temperature: divides those; 0.05 is for cosines.
    """

    loss: LossName = "pointwise"
    layers: int | None = None
    dev_queries: int = 200
    student: str = "student"
    student_temperature: float = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.layers is not None and self.layers < 1:
            raise SpecError(f"layers={self.layers!r} must be at least 1.")
        if self.mini_batch is not None:
            raise SpecError(
                f"mini_batch={self.mini_batch!r}: gradient caching is for vectors, and a teacher has none. Use a "
                "smaller batch_size with gradient_accumulation; a teacher's rows do not depend on one another."
            )
        if not self.student_temperature > 0:
            raise SpecError(f"student_temperature={self.student_temperature!r} must be above 0.")
        if self.negatives_per_row == 0:
            raise SpecError("negatives_per_row=0 leaves a teacher nothing to tell positives from. Use 1 or more.")

    def record(self) -> dict[str, Any]:
        """As for every training; what the loss does not read is left out."""
        unread = () if self.loss == JOINT else ("student", "student_temperature")
        return {name: value for name, value in super().record().items() if name not in unread}

    def settled(self, *, precision: Precision) -> TeachOptions:
        """The same with the precision decided and the defaults filled in."""
        filled: dict[str, Any] = {name: value for name, value in _DEFAULTS.items() if getattr(self, name) is None}
        if self.dev_docs is None:
            filled["dev_docs"] = 10
        return replace(self, **filled, precision=precision)
