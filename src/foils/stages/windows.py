"""Windows over what remains: by position, quantile, region, angle or the list's mean."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from foils.core import noise, segments
from foils.core.errors import PipelineError
from foils.core.pairs import CANDIDATE, Pairs, View
from foils.core.segments import Reduction
from foils.core.spec import declare, require
from foils.core.thresholds import angle
from foils.stages.context import Context
from foils.stages.cosines import SLACK
from foils.stages.readers import Filter


@declare
class Positions(Filter):
    """Keeps a window of positions among the *remaining* candidates: ``lo <= position <= hi``, counted after filtering.

    The candidates of a query that are still alive are ordered by score (ties: the smaller document row first) and
    numbered from 1; positives are not counted. This is sentence-transformers' window: its ``range_min`` and
    ``range_max`` are ``Positions(lo=range_min + 1, hi=range_max)`` after the margins. `Ranks` is the other thing of
    that name: it counts everything that the source returned, positives and dropped candidates included (FlagEmbedding).
    """

    lo: int = 1  # first position kept
    hi: int | None = None  # last position kept; None for no bound
    by: str = "score"  # score column that orders the candidates
    online = False
    by_rank = True

    def check(self) -> None:
        """Bounds of the window."""
        require(self.lo >= 1, self, "lo", "at least 1")
        require(self.hi is None or self.hi >= self.lo, self, "hi", f"at least lo={self.lo}")

    def decide(self, view: Pairs, ctx: Context) -> NDArray[np.bool_]:
        """Positives rank behind all candidates, so they take no position."""
        score = np.where(view.label == CANDIDATE, view[self.by], -np.inf)
        position = segments.ranks(score, view.starts, view.doc)
        inside: NDArray[np.bool_] = position >= self.lo
        return inside if self.hi is None else inside & (position <= self.hi)


@declare
class Quantile(Filter):
    """Keeps candidates between two quantiles of the query's own candidate scores: a threshold for each query.

    ``Q_lo <= s <= Q_hi``, where Q_p is the p-quantile of the scores of the candidates that the query still has,
    interpolated linearly (as ``numpy.quantile``); positives are not counted. ``Quantile(hi=0.9)`` leaves out the
    hardest tenth of every list, whatever the scale and spread of the scores.
    """

    lo: float | None = None  # lower quantile, 0 to 1
    hi: float | None = None  # upper quantile, 0 to 1
    by: str = "score"  # score column
    online = False
    by_rank = True

    def check(self) -> None:
        """At least one bound, in order, both shares."""
        require(self.lo is not None or self.hi is not None, self, "lo", "given, or hi must be")
        require(self.lo is None or 0 <= self.lo <= 1, self, "lo", "between 0 and 1")
        require(self.hi is None or (self.lo or 0) <= self.hi <= 1, self, "hi", f"between {self.lo or 0} and 1")

    def decide(self, view: Pairs, ctx: Context) -> NDArray[np.bool_]:
        """Both ends belong to the interval; queries without candidates have nothing to decide."""
        score, candidate = view[self.by].astype(np.float64), view.label == CANDIDATE
        size = np.diff(view.starts)
        keep = np.ones(len(view), bool)
        if self.lo is not None:
            keep &= score >= np.repeat(segments.quantile(score, candidate, view.starts, self.lo), size)
        if self.hi is not None:
            keep &= score <= np.repeat(segments.quantile(score, candidate, view.starts, self.hi), size)
        return keep


@declare
class SemiHard(Filter):
    """Keeps one of three regions around the positive's score; by default the semi-hard one, just below it.

    semi-hard: ``s⁺ - m <= s < s⁺``;  hard: ``s >= s⁺``;  easy: ``s < s⁺ - m``. The three divide the candidates.
    Schroff et al. 2015, FaceNet, arXiv:1503.03832, section 3.2, in scores instead of distances; 0.2 is
    pytorch-metric-learning's margin, for cosines. A query without positives has s⁺ = ∞: its candidates are all easy.
    """

    margin: float = 0.2  # width of the semi-hard region, in score units; >= 0
    by: str = "score"  # score column
    positives: Reduction = "min"  # which of several positives sets the regions
    region: Literal["semi-hard", "hard", "easy"] = "semi-hard"  # which one to keep

    def check(self) -> None:
        """Bound of the margin."""
        require(self.margin >= 0, self, "margin", "at least 0")

    def keep(self, view: View) -> Any:
        """Comparisons with NaN are false, so that no positive means easy."""
        score, positive = view[self.by], view.positive(self.by, self.positives)
        hard = score >= positive
        near = score >= positive - self.margin
        if self.region == "hard":
            return hard
        return near & ~hard if self.region == "semi-hard" else ~near

    def relaxed(self, step: int) -> Filter | None:
        """A semi-hard region of twice, four and eight times the width: easier candidates pass, harder ones never."""
        grows = self.region == "semi-hard" and self.margin > 0 and step <= 3
        return replace(self, margin=self.margin * 2**step) if grows else None


@declare
class Angle(Filter):
    """Keeps candidates in an angular window around the query or around the positive's angle, in degrees.

    query: ``lo <= θ(q, d) <= hi``, ``θ = arccos s``;  positive: ``lo <= |θ(q, d) - θ(q, d⁺)| <= hi`` (with T2 of
    TriSampler as the distance). For the angle between a document and the positive itself read the column
    ``<encoder>.positive`` with ``of='query'``. Angles need cosines: scores beyond ±1 are refused. Equal steps of a
    scheduled bound are equal steps on the sphere, which steps of a cosine are not. The bounds are ours; none is
    published. Without positives ``of='positive'`` keeps everything.
    """

    lo: float = 0.0  # smallest angle kept, degrees
    hi: float = 180.0  # largest angle kept, degrees
    by: str = "score"  # score column of cosines
    of: Literal["query", "positive"] = "query"  # angle to the query, or difference to the positive's angle
    positives: Reduction = "min"  # which of several positives is compared with

    def check(self) -> None:
        """Bounds of the window."""
        require(0 <= self.lo <= 180, self, "lo", "between 0 and 180 degrees")
        require(self.lo <= self.hi <= 180, self, "hi", f"between lo={self.lo} and 180 degrees")

    def keep(self, view: View) -> Any:
        """What is not outside."""
        score = view[self.by]
        outside = abs(score) > 1 + SLACK
        if outside.any():
            raise PipelineError(
                f"{self!r}: {int(outside.sum()):,} of {math.prod(outside.shape):,} scores are beyond ±1, so they are "
                f"no cosines. Read the column of an encoder whose vectors have unit length, or use SemiHard or "
                f"Between, which take any score."
            )
        degrees = angle(score)
        if self.of == "positive":
            degrees = abs(degrees - angle(view.positive(self.by, self.positives)))
        return ~(degrees < self.lo) & ~(degrees > self.hi)


@declare
class Sieve(Filter):
    """Drops candidates that score at least the mean of their list: the passage sieve for false negatives.

    Drops ``s`` iff ``s >= mean``, the mean over the query's positives and remaining candidates: the same as comparing
    log-probabilities of the list with their mean, whatever the temperature. If nothing survives, one candidate does,
    drawn by (seed, query id, document id). Wang et al. 2024, CCR, arXiv:2401.00165; meant for a model that was tuned
    with their confidence regulariser, which ranks false negatives above average, and for lists of about 30.
    """

    by: str = "score"  # score column
    judges = True
    online = False

    def decide(self, view: Pairs, ctx: Context) -> NDArray[np.bool_]:
        """Below the mean, or the one that is drawn."""
        view.positive(self.by)  # refuses positives without a score: the mean would not be the list's
        score, candidate = view[self.by], view.label == CANDIDATE
        mean = segments.reduce(score, np.ones(len(view), bool), view.starts, "mean")
        keep = candidate & (score < np.repeat(mean, np.diff(view.starts)))
        empty = np.repeat(segments.count(keep, view.starts) == 0, np.diff(view.starts))
        draw = noise.uniform(ctx.seed, "Sieve", *ctx.keys(view.query, view.doc))
        kept: NDArray[np.bool_] = keep | segments.topk_mask(
            np.where(candidate & empty, draw, -np.inf), view.starts, 1, view.doc
        )
        return kept
