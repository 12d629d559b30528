"""Samplers that even things out: over distances, and over margins."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from foils.core import noise, segments
from foils.core.errors import PipelineError
from foils.core.pairs import CANDIDATE, Pairs
from foils.core.segments import Reduction
from foils.core.spec import declare, require
from foils.stages.context import Context
from foils.stages.cosines import cosines
from foils.stages.readers import Sampler


@declare
class DistanceWeighted(Sampler):
    """Negatives from all distances alike, though on a sphere nearly everything is far away.

    With the distance ``d = √(2 - 2 s)`` of unit vectors in n dimensions, not below ``cutoff``:
    ``ln w = (2 - n) ln d - (n - 3)/2 · ln(1 - d²/4)``, and w = 0 where ``d >= beyond``. A query all of whose
    candidates are beyond draws uniformly.

    Wu et al. 2017, arXiv:1706.07567; the defaults are theirs. From 128 dimensions on the formula is an arg-max in
    effect: everything nearer than the cutoff shares all the weight, and what is farther is hardly ever drawn.
    """

    k: int  # negatives per query
    dim: int | None = None  # dimensions of the vectors; by default those of the encoder that ``by`` names; >= 2
    cutoff: float = 0.5  # smaller distances count as this one; above 0
    beyond: float = 1.4  # from this distance on nothing is drawn; above cutoff, at most 2
    by: str = "score"  # score column, of cosines

    def check(self) -> None:
        """Bounds, in order."""
        super().check()
        require(self.dim is None or self.dim >= 2, self, "dim", "at least 2")
        require(self.cutoff > 0, self, "cutoff", "above 0")
        require(self.cutoff < self.beyond <= 2, self, "beyond", f"above cutoff={self.cutoff} and at most 2")

    def weigh(self, view: Pairs, ctx: Context) -> NDArray[np.float64]:
        """Log-weights; all alike for a query of which nothing is near enough."""
        if not len(view):
            return np.zeros(0)
        column = view.column(self.by)
        n = self._dimensions(column, ctx)
        distance = np.sqrt(2 - 2 * cosines(view[column], column, self))
        near = distance < self.beyond
        clamped = np.clip(distance, self.cutoff, np.nextafter(self.beyond, 0))
        weight = (2 - n) * np.log(clamped) - (n - 3) / 2 * np.log1p(-(clamped**2) / 4)
        some = segments.count(near & (view.label == CANDIDATE), view.starts) > 0
        return np.where(segments.spread(some, view.starts), np.where(near, weight, -np.inf), 0.0)

    def _dimensions(self, column: str, ctx: Context) -> int:
        if self.dim is not None:
            return self.dim
        if not hasattr(ctx.encoders.get(column), "encode"):
            raise PipelineError(f"{self!r}: {column!r} names no bi-encoder, so its dimension is unknown. Pass dim=…")
        return int(ctx.vectors(column, "document").shape[1])


@declare
class Balanced(Sampler):
    """Negatives spread evenly over the margins to the positive (TAS-Balanced's B).

    Margins ``M = s⁺ - s`` of a query fall into equal bins between its smallest and its largest one. Each draw takes a
    bin uniformly among those that are not empty yet, then one of its candidates uniformly; so rare margins come as
    often as frequent ones. Where all margins are equal there is one bin.

    Hofstätter et al. 2021, arXiv:2104.06967, section 3.2, on a teacher's scores, 10 bins. There the bins hold pairs of
    positive and negative; here a query's candidates, and ``positives`` says which positive they are compared with.
    The last bin is closed, so there is no eleventh for the largest margin.
    """

    k: int  # negatives per query
    bins: int = 10  # bins between a query's smallest and largest margin
    positives: Reduction = "min"  # which of several positives is compared with
    by: str = "score"  # score column, a teacher's in the paper

    def check(self) -> None:
        """Bounds of k and the bins."""
        super().check()
        require(self.bins >= 1, self, "bins", "at least 1")

    def weigh(self, view: Pairs, ctx: Context) -> NDArray[np.float64]:
        """Log-weight in the first draw: one over the number of candidates in the bin."""
        margin = view.positive(self.by, self.positives) - view[self.by].astype(np.float64)
        candidates = view.label == CANDIDATE
        _, inverse, size = np.unique(self._group(view, margin), return_inverse=True, return_counts=True)
        return np.where(candidates & ~np.isnan(margin), -np.log(size[inverse]), np.where(candidates, np.nan, -np.inf))

    def _group(self, view: Pairs, margin: NDArray[np.float64]) -> NDArray[np.int64]:
        """A number for each (query, bin); positives are in a bin of their own."""
        candidates = view.label == CANDIDATE
        bins = bins_of(margin, candidates, view.starts, self.bins)
        query = np.repeat(np.arange(len(view.starts) - 1), np.diff(view.starts))
        return query * (self.bins + 1) + np.where(candidates, bins, self.bins)

    def draw(self, view: Pairs, logits: NDArray[np.float64], ctx: Context) -> NDArray[np.float64]:
        """A race: each bin's candidates, in random order, arrive after independent exponential waits.

        The next arrival among bins that are not empty is each one's with the same probability, whatever came before.
        """
        margin = view.positive(self.by, self.positives) - view[self.by].astype(np.float64)
        group = self._group(view, margin)
        keys = ctx.keys(view.query, view.doc)
        order = np.lexsort((view.doc, noise.uniform(ctx.seed, "Balanced", *keys), group))
        _, first, inverse = np.unique(group[order], return_index=True, return_inverse=True)
        place = np.arange(len(view)) - first[inverse]
        # Only the first k of a bin can win. Sums within a bin, so that no other query shows in their rounding.
        early = place < self.k
        waits = np.zeros((len(first), min(self.k, int(place.max(initial=0)) + 1)))
        gaps = -np.log(noise.uniform(ctx.seed, "Balanced waits", *keys))[order]
        waits[inverse[early], place[early]] = gaps[early]
        drawn = np.full(len(view), -np.inf)
        drawn[order[early]] = -np.cumsum(waits, axis=1)[inverse[early], place[early]]
        return drawn


def bins_of(
    margin: NDArray[np.float64], mask: NDArray[np.bool_], starts: NDArray[np.int64], bins: int
) -> NDArray[np.int64]:
    """Equal-width bin of each row among the masked rows of its query, int64 (n,); the last bin is closed."""
    low = segments.spread(segments.reduce(margin, mask, starts, "min"), starts)
    width = segments.spread(segments.reduce(margin, mask, starts, "max"), starts) - low
    with np.errstate(invalid="ignore", divide="ignore"):
        bin_ = np.floor((margin - low) * bins / width)
    inside = mask & (width > 0)
    return np.where(inside, np.clip(bin_, 0, bins - 1), 0).astype(np.int64)
