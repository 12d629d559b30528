"""Labelers: who is a positive is sometimes a question."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from foils.core import segments
from foils.core.pairs import CANDIDATE, POSITIVE, Pairs
from foils.core.spec import declare
from foils.stages.readers import Labeler


@declare
class Promote(Labeler):
    """Makes positives of candidates that a trusted scorer is sure of: score ``> at``.

    RocketQA (Qu et al. 2021, arXiv:2010.08191, section 4.3) takes a cross-encoder's probability above 0.9, and of a
    query without judgements the best document alone (released code): ``Promote(at=0.9, which='best')``.
    """

    at: float  # bound, in the column's units
    which: Literal["all", "best"] = "all"  # all candidates above it, or the query's best one; ties: smaller row
    by: str = "score"  # score column

    def relabel(self, view: Pairs) -> NDArray[np.int8]:
        """1 above the bound, else unchanged."""
        candidate = view.label == CANDIDATE
        sure = candidate & (view[self.by] > self.at)
        if self.which == "best":
            values = np.where(candidate, view[self.by].astype(np.float64), -np.inf)
            sure &= segments.topk_mask(values, view.starts, 1, view.doc)
        return np.where(sure, np.int8(POSITIVE), view.label)
