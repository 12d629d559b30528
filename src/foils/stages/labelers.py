"""Labelers: who is a positive is sometimes a question."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from foils.core.pairs import CANDIDATE, POSITIVE, Pairs
from foils.core.spec import declare
from foils.stages.readers import Labeler


@declare
class Promote(Labeler):
    """Makes positives of candidates that a trusted scorer is sure of: score ``> at``.

    RocketQA (Qu et al. 2021, arXiv:2010.08191, section 4.3) takes a cross-encoder's probability above 0.9.
    """

    at: float  # bound, in the column's units
    by: str = "score"  # score column

    def relabel(self, view: Pairs) -> NDArray[np.int8]:
        """1 above the bound, else unchanged."""
        sure = (view.label == CANDIDATE) & (view[self.by] > self.at)
        return np.where(sure, np.int8(POSITIVE), view.label)
