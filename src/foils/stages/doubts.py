"""What a calibrated probability is for: the column itself, queries with too many doubtful candidates, and a mixture."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foils.adapters.calibration import sigmoid
from foils.core import noise, segments
from foils.core.betas import Betas, two_betas
from foils.core.cutoffs import Cutoffs
from foils.core.errors import PipelineError
from foils.core.pairs import CANDIDATE, Pairs
from foils.core.spec import declare, require
from foils.stages.calibrated import nearness, refuse_other_model
from foils.stages.context import Context
from foils.stages.cosines import cosines
from foils.stages.readers import Filter, ListScorer
from foils.stages.stage import Before, Columns, Stage, Then
from foils.store import fingerprint_of

log = logging.getLogger(__name__)


@declare
class Relevance(ListScorer):
    """Calibrated probability that a candidate is relevant: what every way of acting on a doubt needs.

    ``p = σ(a·closeness + b)``, Platt's scaling of the closeness to the positive, with a and b that ``foils calibrate``
    found on labels and left in the file beside the thresholds of `Calibrated`. It is a probability among candidates
    like those of the labels. One column, four things to do with it: drop, ``Between(hi=0.1, by='relevance')``; weigh
    down, ``Doubted(by='relevance')`` and ``InfoNCE(weight='weight')``; train on both sides of the doubt,
    ``SoftInfoNCE(by='relevance')``; relabel, ``Promote(at=0.9, by='relevance')``, before the others. In RLHN's
    comparison (Thakur et al. 2025, arXiv:2505.16967: nDCG@10 of .515, .511 and .506 on BEIR, .508 as it was)
    relabelling is better than dropping, and dropping is better than leaving the query out (`Contested`). Column:
    ``relevance``, 1 for positives; ``score`` keeps its meaning.
    """

    path: str  # file that foils calibrate leaves
    by: str = "score"  # score column that it was found for

    def check(self) -> None:
        """A name."""
        require(self.path != "", self, "path", "the name of a file")

    @property
    def column(self) -> str:
        """Always ``relevance``."""
        return "relevance"

    def inputs(self, ctx: Context) -> dict[str, str]:
        """Fingerprint of the file."""
        return {self.path: fingerprint_of(Path(self.path))}

    def check_columns(self, columns: Columns, ctx: Context) -> Columns:
        """The file must be there, know how scores and relevance go together, and be of these scores."""
        found = self._found(ctx)
        if found.odds is None:
            raise PipelineError(
                f"{self!r}: the labels behind {self.path} did not tell how relevance depends on the score (none was "
                "relevant, all were, or it did not rise with the score). Label more and calibrate again."
            )
        after = super().check_columns(columns, ctx)
        refuse_other_model(self, columns, found)
        return after

    def _found(self, ctx: Context) -> Cutoffs:
        return ctx.once(("thresholds", self.path), lambda: Cutoffs.read(self.path))

    def judge(self, view: Pairs, ctx: Context) -> NDArray[np.floating]:
        """Probability of each candidate; 1 for positives."""
        found = self._found(ctx)
        scale, shift = found.odds or (1.0, 0.0)
        near = nearness(view, self.by, found.settings["kind"], found.settings["positives"])
        candidate = view.label == CANDIDATE
        lonely = int(np.isnan(near[candidate]).sum())
        if lonely:
            raise PipelineError(
                f"{self!r}: {lonely:,} candidates belong to queries without a positive to be close to. Skip those "
                "queries, or calibrate with kind='score'."
            )
        return np.where(candidate, sigmoid(scale * near + shift), 1.0)


@declare
class Contested(Filter):
    """Drops all candidates of queries that have more than ``most`` doubtful ones: the query itself is doubtful.

    A query with many relevant candidates is vague, or its positive is not what was asked for. RLHN (Thakur et al. 2025,
    arXiv:2505.16967) discards training rows with more than 7 false negatives among 25 (its code: 8). Here the query
    keeps its positive and no mined negative; where there are few, drop or relabel those: see `Relevance`.
    """

    at: float  # bound, in the column's units; a candidate above it is doubtful
    most: int = 7  # doubtful candidates that a query may have; at least 0
    by: str = "score"  # score column, such as 'relevance' or a cross-encoder's
    judges = True
    online = False

    def check(self) -> None:
        """Bound of the count."""
        require(self.most >= 0, self, "most", "at least 0")

    def decide(self, view: Pairs, ctx: Context) -> NDArray[np.bool_]:
        """Count per query."""
        doubtful = (view.label == CANDIDATE) & (view[self.by] > self.at)
        few: NDArray[np.bool_] = segments.spread(segments.count(doubtful, view.starts) <= self.most, view.starts)
        return few


@declare
class MixtureWeight(ListScorer):
    """Weights of negatives by hardness and by how likely a mixture thinks them to be true: ProGCL.

    ``B = P(true | s) · s`` with s the cosine on a scale of 0 to 1, ``(cos + 1) / 2``, and ``w = B / mean B`` over each
    list, so that a loss with these weights sums ``Σ exp(s_j/t) B_j / mean B``. P comes from a mixture of two Beta
    distributions, the false negatives being the kind with the higher mean (Xia et al. 2022, ProGCL, arXiv:2110.02027;
    `foils.core.betas`). Like their 100 columns of the similarity matrix, the candidates of 100 queries, drawn by id,
    are fitted once, in 10 steps from a share of 0.05. Beyond the two means the posterior is held constant. Where there
    are no two kinds P is 1.

    Theirs were graphs. Similarities of texts often have no two kinds, and the mixture then calls the hardest true
    negatives false ones: look at the log, which says what was found, and prefer `Relevance` where there are labels. Put
    it last: a weight belongs to the list it was computed for. Column: ``weight`` (1 for positives).
    """

    by: str = "score"  # score column, of cosines
    share: float = 0.05  # of the false negatives, where the fit begins; above 0 and below 1
    sample: int = 100  # queries that are fitted; at least 1

    def check(self) -> None:
        """Bounds."""
        require(0 < self.share < 1, self, "share", "above 0 and below 1")
        require(self.sample >= 1, self, "sample", "at least 1")

    @property
    def column(self) -> str:
        """Always ``weight``."""
        return "weight"

    def check_after(self, stages: tuple[Stage, ...]) -> None:
        """What comes before must run for some queries alone."""
        whole = next((step for stage in stages for step in stage.steps() if step.whole), None)
        if whole is not None:
            raise PipelineError(f"{self!r}: {whole!r} chooses for all queries at once; put {self!r} before it.")

    def run(self, pairs: Pairs, ctx: Context, step: int) -> Pairs:
        """Without stages before it, the mixture is that of what came in."""
        return self._weighed(pairs, ctx, step, self._mixture(pairs))

    def after(self, before: Before, pairs: Pairs, ctx: Context, step: int) -> Pairs:
        """Fit the candidates that the stages before leave of the sample, the same for every block of queries."""
        key = ("mixture of candidates", self, before.stages, ctx.split)
        return self._weighed(pairs, ctx, step, ctx.once(key, lambda: self._fitted(before, ctx)))

    def _fitted(self, before: Before, ctx: Context) -> Betas | None:
        if not before.stages:
            return self._mixture(before.pairs)
        drawn = noise.bits(ctx.seed, "MixtureWeight", ctx.data.queries.keys[ctx.rows], np.zeros(1, np.uint64))
        rows = np.sort(ctx.rows[np.argsort(drawn, kind="stable")[: self.sample]])
        known = ctx.data.positives(ctx.split).bare()
        known = known.take(np.isin(known.query, rows))
        mixture = self._mixture(Then(before.stages).run(known, ctx.at(rows), before.step))
        if mixture is None:
            log.info("%r: the candidates are of one kind; the weights follow their hardness alone.", self)
        else:
            text = "%r: two kinds of candidates, %.0f %% around a cosine of %.2f and %.0f %% around %.2f."
            (low, high), means = mixture.shares, [2 * mean - 1 for mean in mixture.means]
            log.info(text, self, 100 * low, means[0], 100 * high, means[1])
        return mixture

    def _mixture(self, pairs: Pairs) -> Betas | None:
        view = self._living(pairs)[1]
        return two_betas(self._scaled(view)[view.label == CANDIDATE], self.share)

    def _scaled(self, view: Pairs) -> NDArray[np.float64]:
        scaled: NDArray[np.float64] = (cosines(view[self.by], self.by, self) + 1) / 2
        return scaled

    def _weighed(self, pairs: Pairs, ctx: Context, step: int, mixture: Betas | None) -> Pairs:
        return _Weighed(self, mixture).run(pairs, ctx, step)


class _Weighed(ListScorer):
    """A `MixtureWeight` whose mixture is known."""

    def __init__(self, stage: MixtureWeight, mixture: Betas | None) -> None:
        self.stage, self.mixture, self.by = stage, mixture, stage.by

    def __repr__(self) -> str:
        return repr(self.stage)

    @property
    def column(self) -> str:
        """That of the stage."""
        return self.stage.column

    def rate(self, view: Pairs) -> NDArray[np.floating]:
        """``B / mean B`` of each list; 1 for positives, and for lists of nothing but opposites."""
        scaled, candidate = self.stage._scaled(view), view.label == CANDIDATE
        true = np.ones(len(scaled)) if self.mixture is None else self.mixture.low(scaled)
        product = true * np.maximum(scaled, 0.0)
        mean = segments.spread(segments.reduce(product, candidate, view.starts, "mean"), view.starts)
        return np.where(candidate & (mean > 0), product / np.where(mean > 0, mean, 1.0), 1.0)
