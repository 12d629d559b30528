"""A margin that was found, not chosen: the loosest one whose false-negative rate is shown to be below a target."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foils.core import segments
from foils.core.cutoffs import Cutoffs
from foils.core.errors import PipelineError
from foils.core.pairs import CANDIDATE, Pairs
from foils.core.risk import Test
from foils.core.segments import Reduction
from foils.core.spec import declare, require
from foils.core.thresholds import Closeness, closeness
from foils.stages.context import Context
from foils.stages.readers import Filter
from foils.stages.stage import Columns
from foils.store import fingerprint_of


@declare
class MarginQuantile(Filter):
    """Drops candidates that are too close to the positive, in quantiles of the query's own list.

    Keeps ``F(s) < F(s⁺) - m``, with F(x) the share of the query's candidates that score below x: a positive above all
    has F = 1, so of its list the closest share m goes; one in the middle of its list takes all above it along. Nothing
    but the order within a list matters, so one margin keeps roughly the same share under every model, a cross-encoder's
    logits and BM25 included, where that of `PositiveAware` has to be found anew for each. The rate of false ones among
    them does not transfer: it depends on how well the model ranks. ``Quantile(hi=…)`` knows no positive.
    Ours; 0.05 is no paper's. F depends on how deep the list is: mine with the depth that the margin was chosen at, and
    do not deepen it. A query without positives keeps its candidates.
    """

    margin: float = 0.05  # share of the list, 0 to below 1
    positives: Reduction = "min"  # which of several positives sets the threshold
    by: str = "score"  # score column
    judges = True
    online = False

    def check(self) -> None:
        """A share."""
        require(0 <= self.margin < 1, self, "margin", "at least 0 and below 1")

    def bound_to_depth(self) -> bool:
        """Shares of a list."""
        return True

    def decide(self, view: Pairs, ctx: Context) -> NDArray[np.bool_]:
        """Not as close as the margin."""
        return ~(nearness(view, self.by, "quantile", self.positives) >= -self.margin)


@declare
class Calibrated(Filter):
    """Drops as few candidates as it takes for at most the share ``target`` of what is used to be false negatives.

    The thresholds are no parameters: ``foils calibrate`` finds them on labelled candidates and leaves them in the file
    ``path``, whose fingerprint is part of the result. It reads this very pipeline, so that the target is met by what
    the stages after this one leave: ``Dense('teacher', k=100) >> Calibrated('t.json') >> Top(k=8)`` for the eight that
    are trained with, which hold more false negatives than all survivors do. With probability ``level`` over the
    labelled sample, ``E[false] / E[kept] <= target`` for queries like those of the sample: learn then test
    (Angelopoulos et al. 2021, arXiv:2110.01052) with the query as unit. The p-values come from betting and hold exactly
    (``test='exact'``), with the most that any query may keep: the k of the sampler, without one the longest list of the
    pool. That takes 157 queries for 2 % where each keeps that much, all of it labelled and none of it false, and more
    where something is. Or they come from a t test without its skewness, which holds nearly, and takes far fewer
    (``test='asymptotic'``). See `foils.core.risk`. Or the promise is made of the candidates of the pool alone, of which
    an audit drew the labels: that holds exactly, and takes 150 labels of what is kept for 2 % where none is false, in
    however few of each query (``test='drawn'``). See `foils.core.draws`.

    A candidate is kept if its closeness is below the threshold: ``s - s⁺`` (absolute), ``(s - s⁺)/|s⁺|`` (relative;
    wild where scores come near 0), ``F(s) - F(s⁺)`` with F as in `MarginQuantile` (quantile; keeps roughly the same
    share under every model, at another rate) or s itself (score). With ``groups`` queries are divided by difficulty,
    the number of candidates that score at least as high as the positive, and each group has a threshold with a
    guarantee of its own (Mondrian groups; Vovk et al. 2003); groups too small for one are joined with their neighbours.

    Queries without a positive keep nothing, but with ``kind='score'``. It never gives way: where a query starves, ``>>
    Ensure('deepen')`` behind the sampler looks deeper for that one, and what it adds is below the threshold as well
    (not with ``kind='quantile'`` or groups, which depend on the depth of the list). Calibrate a pool as deep as that
    goes, eight times the source's k, and the promise is of what is added, too: the pool leaves the same negatives.
    The default 0.02 is ours.
    """

    path: str  # file that foils calibrate leaves
    target: float = 0.02  # largest share of false negatives, above 0 and below 1
    by: str = "score"  # score column
    kind: Closeness = "absolute"  # what is compared with the threshold
    groups: int = 1  # groups of queries by difficulty; at least 1
    level: float = 0.95  # probability that the target is met; at least 0.5, below 1
    test: Test = "exact"  # 'exact' for any number of queries, 'drawn' for these alone, 'asymptotic' for many
    positives: Reduction = "min"  # which of several positives is compared with
    judges = True
    online = False

    def check(self) -> None:
        """Bounds."""
        require(self.path != "", self, "path", "the name of a file")
        require(0 < self.target < 1, self, "target", "above 0 and below 1")
        require(self.groups >= 1, self, "groups", "at least 1")
        require(0.5 <= self.level < 1, self, "level", "at least 0.5 and below 1")

    def bound_to_depth(self) -> bool:
        """Shares of a list, or the number of its candidates that beat the positive, decide."""
        return self.kind == "quantile" or self.groups > 1

    def inputs(self, ctx: Context) -> dict[str, str]:
        """Fingerprint of the thresholds."""
        return {self.path: fingerprint_of(Path(self.path))}

    def settings(self) -> dict[str, object]:
        """What thresholds were asked for: all fields but the file and the column's name."""
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name not in ("path", "by")}  # type: ignore[arg-type]

    def check_columns(self, columns: Columns, ctx: Context) -> Columns:
        """The thresholds must be there, of these settings, and of these scores."""
        columns = super().check_columns(columns, ctx)
        found = self.cutoffs(ctx)
        differ = [f"{k}={found.settings.get(k)!r}" for k, v in self.settings().items() if found.settings.get(k) != v]
        if differ:
            raise PipelineError(
                f"{self!r}: the thresholds in {self.path} were found with {', '.join(differ)}. Write that here, or "
                "calibrate this pipeline into another file."
            )
        refuse_other_model(self, columns, found)
        return columns

    def cutoffs(self, ctx: Context) -> Cutoffs:
        """What the file holds."""
        return ctx.once(("thresholds", self.path), lambda: Cutoffs.read(self.path))

    def decide(self, view: Pairs, ctx: Context) -> NDArray[np.bool_]:
        """Below the threshold of the query's group."""
        found = self.cutoffs(ctx)
        threshold = np.array([group.threshold for group in found.groups])
        place = found.group_of(difficulty(view, self.by, self.positives))
        return self.below(nearness(view, self.by, self.kind, self.positives), threshold[place])

    @staticmethod
    def below(near: NDArray[np.float64], threshold: float | NDArray[np.floating]) -> NDArray[np.bool_]:
        """Closer rows are not; an infinite threshold takes all of them, and none what has no closeness."""
        kept: NDArray[np.bool_] = (near < threshold) | ((np.asarray(threshold) == np.inf) & ~np.isnan(near))
        return kept


def refuse_other_model(stage: Any, columns: Columns, found: Cutoffs) -> None:
    """Refuse thresholds of one model for the scores of another, where both are known."""
    name = columns.latest if stage.by == "score" else stage.by
    here, there = _model(columns.origins.get(str(name), "")), _model(found.origin)
    if here and there and here != there:
        raise PipelineError(
            f"{stage!r}: what is in {stage.path} was found for another model's scores than those in {name!r}, and "
            "means nothing for these. Calibrate again, with candidates that this model scored."
        )


def _model(origin: str) -> list[object]:
    """The models of an origin; none where it is not known, as of scores from a file."""
    try:
        column, *models = json.loads(origin)
    except ValueError:
        return []
    return models or [column]


def nearness(view: Pairs, by: str, kind: Closeness, positives: Reduction) -> NDArray[np.float64]:
    """How close each row is to the positive, float64 (n,): `Calibrated` says of which kinds; NaN without a positive.

    >>> view = Pairs.build([0] * 5, range(5), [1, 0, 0, 0, 0], scores={"a": [0.8, 0.9, 0.6, 0.4, 0.4]})
    >>> nearness(view, "a", "quantile", "min").tolist()
    [0.0, 0.0, -0.25, -0.75, -0.75]
    """
    score = view[by].astype(np.float64)
    if kind == "score":
        return score
    positive = view.positive(by, positives).astype(np.float64)
    if kind != "quantile":
        return np.asarray(closeness(score, positive, kind), np.float64)
    return _below(score, view, by) - _below(positive, view, by)


def _below(values: NDArray[np.float64], view: Pairs, by: str) -> NDArray[np.float64]:
    """F: share of its query's candidates that score below each row's value, float64 (n,); NaN where that is NaN."""
    candidate = np.flatnonzero(view.label == CANDIDATE)
    query = np.concatenate([view.query, view.query[candidate]])
    both = np.concatenate([values, view[by][candidate].astype(np.float64)])
    counts = np.repeat([0, 1], [len(view), len(candidate)])
    order = np.lexsort((counts, both, query))  # of equal values, the one that asks stands first
    seen = np.empty(len(order), np.int64)
    seen[order] = np.cumsum(counts[order])
    size = segments.count(view.label == CANDIDATE, view.starts)
    earlier = segments.spread(np.cumsum(size) - size, view.starts)
    share: NDArray[np.float64] = (seen[: len(view)] - earlier) / np.maximum(segments.spread(size, view.starts), 1)
    return np.where(np.isnan(values), np.nan, share)


def difficulty(view: Pairs, by: str, positives: Reduction) -> NDArray[np.float64]:
    """How many of its query's candidates score at least as high as the positive, for each row, float64 (n,)."""
    above = (view.label == CANDIDATE) & (view[by] >= view.positive(by, positives))
    return segments.spread(segments.count(above, view.starts), view.starts).astype(np.float64)
