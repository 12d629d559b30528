"""Negatives that differ from one another."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from foils.adapters.exact import pair_scores
from foils.core import segments
from foils.core.pairs import CANDIDATE, Pairs
from foils.core.spec import declare, require
from foils.stages.context import Context
from foils.stages.readers import Sampler
from foils.stages.writers import check_model_name


@declare
class MMR(Sampler):
    """Hard negatives that do not repeat one another: maximal marginal relevance.

    One after the other, the candidate with the largest ``weight · s(q,d) - (1 - weight) · max s(d,d')`` over those
    chosen before (0 for the first). ``s(d,d')`` is the inner product under the encoder; both scores should be on one
    scale, so ``by`` is usually that encoder's column. With weight = 1 it is `Top`. Ties go to the smaller document row.
    Each choice looks at all candidates that are left, so narrow them first:
    ``Dense('m', k=200) >> Top(k=50) >> MMR(k=8, encoder='m')``.

    Carbonell and Goldstein 1998, SIGIR (no arXiv id), which leaves the weight open; 0.5 is ours.
    """

    k: int  # negatives per query
    encoder: str  # name of the bi-encoder that compares documents
    weight: float = 0.5  # share of hardness against diversity, 0 to 1
    by: str = "score"  # score column of s(q, d)
    noisy = False

    def check(self) -> None:
        """Bounds of k and the weight."""
        super().check()
        check_model_name(self)
        require(0 <= self.weight <= 1, self, "weight", "between 0 and 1")

    def weigh(self, view: Pairs, ctx: Context) -> NDArray[np.float64]:
        """The order of choice: k for the first, k - 1 for the second, …; ``-inf`` for what is not chosen."""
        chosen = np.full(len(view), -np.inf)
        rows = np.flatnonzero(view.label == CANDIDATE)
        if not len(rows):
            return chosen
        pool = view.take(rows)
        vectors = ctx.vectors(self.encoder, "document")
        value = self.weight * pool[self.by].astype(np.float64)
        nearest = np.zeros(len(pool))
        free = np.ones(len(pool), bool)
        for left in range(self.k, 0, -1):
            worth = np.where(free, value - (1 - self.weight) * nearest, -np.inf)
            best = segments.best(worth, pool.starts, pool.doc)
            found = best[best >= 0]
            chosen[rows[found]] = left
            free[found] = False
            open_ = np.flatnonzero(free)
            if left == 1 or not len(open_):
                break
            picked = segments.spread(pool.doc[best], pool.starts)[open_]
            similar = pair_scores(vectors, vectors, picked, pool.doc[open_])
            nearest[open_] = similar if left == self.k else np.maximum(nearest[open_], similar)
        return chosen
