"""How likely each rank is to hold a relevant document, measured where all of them are known."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
from numpy.polynomial import Polynomial
from numpy.typing import NDArray

from foils.core.errors import PipelineError
from foils.core.pairs import CANDIDATE, Pairs
from foils.core.spec import declare, require
from foils.stages.context import Context
from foils.stages.readers import Sampler
from foils.stages.stage import Columns, Stage
from foils.stages.writers import Source, Writer

log = logging.getLogger(__name__)

_ENOUGH = 20  # judged queries under which the fit follows noise


@declare
class RankPrior(Sampler):
    """Draws by rank: hard ranks, but less where documents are likely to be relevant though nobody judged them.

    On a fully judged split of the collection, ``dist(r)`` counts the queries whose document at rank r (from 0) is
    relevant. ``g(r) = (1 - dist(r)/|Q|) / ln(r + gain)`` weighs hardness against that risk. It is smoothed by a centred
    moving average over ``2 window - 1`` ranks, its minimum is subtracted, a polynomial is fitted, and the ends are
    padded with ``window - 1`` copies; what the fit leaves below 0 is 0. A rank's share is its weight. Ranks are raw
    ones of the source that made the column, so positives and dropped candidates keep their places; what it did not
    return within ``depth`` is never drawn, so fewer than k may be kept.

    Prakash, Killingback and Zamani 2021, RANCE (SIGIR 2021), inside ANCE's 20 of 200; the defaults are their code's.
    Measured anew by every run, with the source as it is then. Needs complete judgements on 20 queries or more: with
    sparse ones every rank looks safe. The judged queries choose the negatives, so do not report results on them.
    """

    k: int  # negatives per query
    judged: str = "dev"  # split with complete judgements; grade above 0 is relevant
    depth: int = 200  # ranks that the prior covers
    gain: float = 2.0  # discount by ln(rank + gain); above 1
    window: int = 5  # half-width of the moving average, in ranks, the middle included
    degree: int = 4  # of the polynomial
    by: str = "score"  # column that a source made

    def check(self) -> None:
        """Bounds; enough ranks for the fit."""
        super().check()
        require(self.gain > 1, self, "gain", "above 1")
        require(self.window >= 1, self, "window", "at least 1")
        require(self.degree >= 0, self, "degree", "at least 0")
        fewest = 2 * self.window - 1 + self.degree
        require(self.depth >= fewest, self, "depth", f"at least {fewest}, for this window and degree")

    def check_columns(self, columns: Columns, ctx: Context) -> Columns:
        """The judged split must be there."""
        judged = len(ctx.data.qrels(self.judged).queries)
        if not judged:
            raise PipelineError(f"{self!r}: the split {self.judged!r} has no judged query. Name another: judged=…")
        if judged < _ENOUGH:
            log.warning("%r: %d judged queries; under %d the fitted curve follows noise", self, judged, _ENOUGH)
        return super().check_columns(columns, ctx)

    def check_after(self, stages: tuple[Stage, ...]) -> None:
        """The column must be a source's, where that is known before the start."""
        steps = (step for stage in stages for step in stage.steps())
        made = [(step.column, step) for step in steps if isinstance(step, Writer) and step.column is not None]
        named = [(column, step) for column, step in made if self.by in ("score", column)]
        if named and named[-1][1].family != "source":
            raise self._no_source(*named[-1])

    def _no_source(self, column: str, made: object) -> PipelineError:
        found = "was loaded" if made is None else f"comes from {made!r}"
        return PipelineError(
            f"{self!r}: {column!r} {found}, and only a source can rank documents for other queries. "
            "Put it behind a source such as Dense('student', k=200), and name that one's column: by=…"
        )

    def weigh(self, view: Pairs, ctx: Context) -> NDArray[np.float64]:
        """Log-weight of each row's raw rank."""
        if not np.any(view.label == CANDIDATE):
            return np.zeros(len(view))
        column = view.column(self.by)
        source = ctx.scorers.get(column)
        if not isinstance(source, Source):
            raise self._no_source(column, source)
        weights = ctx.once(("rank prior", self, source), lambda: self.measured(source, ctx))
        with np.errstate(divide="ignore"):
            # Rank 0 (not returned) and ranks beyond the depth have no weight.
            by_rank = np.log(np.concatenate(([0.0], weights, [0.0])))
        logits: NDArray[np.float64] = by_rank[np.minimum(view.rank(column), self.depth + 1)]
        return logits

    def measured(self, source: Source, ctx: Context) -> NDArray[np.float64]:
        """Weights of the ranks 1 to depth, float64 (depth,), from what the source finds for the judged queries."""
        rows = ctx.data.qrels(self.judged).queries
        there = replace(ctx.to(rows), split=self.judged)
        doc, _ = source.retrieve(rows, min(self.depth, len(ctx.data.base.corpus)), there)
        query, place = np.nonzero(doc >= 0)
        found = Pairs.build(rows[query], doc[query, place])
        relevant = ctx.data.positives(self.judged).find(found) >= 0
        return weights_of(np.bincount(place[relevant], minlength=self.depth), len(rows), self)


def weights_of(relevant: NDArray[np.int64], queries: int, prior: RankPrior) -> NDArray[np.float64]:
    """Weight of each rank, float64 (n,), >= 0.

    Args:
        relevant: number of judged queries whose document at that rank is relevant, (n,).
        queries: number of judged queries.
        prior: gain, window and degree.
    """
    gained = (1 - relevant / queries) / np.log(np.arange(len(relevant)) + prior.gain)
    width = 2 * prior.window - 1
    smooth = np.convolve(gained, np.full(width, 1 / width), mode="valid")
    at = np.arange(len(smooth))
    fitted = Polynomial.fit(at, smooth, prior.degree)(at) - smooth.min()
    weights: NDArray[np.float64] = np.maximum(np.pad(fitted, prior.window - 1, mode="edge"), 0.0)
    return weights
