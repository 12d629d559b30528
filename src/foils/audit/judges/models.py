"""Judges that score: cross-encoders, and the scores that mining left."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foils.adapters.calibration import sigmoid
from foils.adapters.models import load_reranker
from foils.adapters.protocols import Reranker
from foils.adapters.reranking import Queue
from foils.audit.judges.protocol import IRRELEVANT, RELEVANT, UNKNOWN, JudgeKind, Rows, Verdicts
from foils.core import segments
from foils.core.collection import Collection
from foils.core.errors import SpecError
from foils.core.pairs import CANDIDATE, POSITIVE, Pairs

Progress = Callable[[str, int, int], None]


class CrossEncoderJudge:
    """A cross-encoder: relevant from a probability of ``at`` on.

    `foils.teach` leaves calibrated ones. Of others the probability is the sigmoid of the logit, which is a guess; the
    facts say so. What a calibration says holds among documents like those it was fitted on; compare the verdicts with
    people's before you believe a rate.

    Args:
        model: a name, folder or object; see `foils.adapters.models.load_reranker`.
        data: the collection.
        cache: folder for scores; each pair is read once by the same weights.
        at: probability from which a document counts as relevant.
        progress: called with (what, done, total).

    Raises:
        ModelError: it cannot be loaded, or is no cross-encoder.
        SpecError: ``at`` is not above 0 and below 1.
    """

    kind: JudgeKind = "cross-encoder"

    def __init__(
        self, model: str | Path | Reranker, data: Collection, cache: Path, *, at: float = 0.5,
        progress: Progress | None = None,
    ) -> None:  # fmt: skip
        if not 0 < at < 1:
            raise SpecError(f"at={at}: the probability must be above 0 and below 1, such as 0.5.")
        self.model, self.at = load_reranker(model), at
        self.name = self.model.name
        self._data, self._progress = data, progress
        self._queue = Queue(self.model, cache / "scores")

    @property
    def fingerprint(self) -> str:
        """Of the model and the bound."""
        return f"{self.model.fingerprint}/{self.at}"

    @property
    def calibrated(self) -> bool:
        """Whether its probabilities were fitted to labels."""
        return getattr(self.model, "calibration", None) is not None

    def judge(self, query: Rows, doc: Rows) -> Verdicts:
        """Score all pairs."""
        queries, q = np.unique(query, return_inverse=True)
        docs, d = np.unique(doc, return_inverse=True)
        report = self._progress
        tell = None if report is None else lambda done, total: report(f"judging with {self.name}", done, total)
        texts = self._data.queries.texts(queries), self._data.corpus.texts(docs)
        scores = self._queue.score(*texts, (q, d), tell)
        chance = sigmoid(scores) if self.model.scale == "logit" else scores.astype(np.float64)
        return Verdicts.of(chance >= self.at, chance)

    def facts(self) -> Mapping[str, Any]:
        """Whether it is calibrated, and among what."""
        found = getattr(self.model, "calibration", None)
        among = {} if found is None else {"population": found.population}
        return {"calibrated": found is not None, "at": self.at, **among}


class ScoreJudge:
    """A score column of the negatives themselves, which costs nothing: relevant where it is near the positive's.

    ``z = (t - t⁺)/IQR``, over the rows of each query, t⁺ the lowest of its positives; relevant where ``z > -margin``.
    It is the bound that margins draw, so no judge of its own model's negatives; of use as a cheap one that a good one
    corrects, or as one of several. Rows without a score are unknown, queries without a scored positive too.

    Args:
        pairs: the negatives with their candidates.
        column: score column; ``score`` for the latest.
        margin: in interquartile ranges of the query's candidates, at least 0.

    Raises:
        PipelineError: there is no such column.
    """

    kind: JudgeKind = "score"

    def __init__(self, pairs: Pairs, column: str = "score", margin: float = 0.0) -> None:
        self.column, self.margin = pairs.column(column), margin
        self.name = f"score:{self.column}"
        self._pairs = pairs
        self._near = relative(pairs, self.column)

    @property
    def fingerprint(self) -> str:
        """Of the column."""
        return f"{self.name}/{self.margin}"

    def judge(self, query: Rows, doc: Rows) -> Verdicts:
        """Compare scores."""
        at = self._pairs.find(Pairs(query, doc, np.zeros(len(query), np.int8)))
        z = np.where(at >= 0, self._near[at], np.nan)
        said = np.where(np.isnan(z), UNKNOWN, np.where(z > -self.margin, RELEVANT, IRRELEVANT))
        return Verdicts.of(said)

    def against_chance(self) -> dict[str, Any] | None:
        """Whether the score tells known positives from candidates, queries alike; None where there is no such query.

        ``above``: share of a query's scored candidates, dropped ones too, above its lowest positive, a tie for half.
        ``chance``: what scores without meaning give with k scored positives, ``k/(k+1)``.
        """
        scored = ~np.isnan(self._near)
        place = np.repeat(np.arange(len(self._pairs.starts) - 1), np.diff(self._pairs.starts))
        candidate, positive = scored & (self._pairs.label == CANDIDATE), scored & (self._pairs.label == POSITIVE)
        size = len(self._pairs.starts) - 1
        count, k = (np.bincount(place[rows], minlength=size) for rows in (candidate, positive))
        sign = (np.sign(self._near[candidate]) + 1) / 2
        above = np.bincount(place[candidate], sign, minlength=size) / np.maximum(count, 1)
        both = (count > 0) & (k > 0)
        if not both.any():
            return None
        chance = float((k / (k + 1))[both].mean())
        return {"queries": int(both.sum()), "above": float(above[both].mean()), "chance": chance}

    def facts(self) -> Mapping[str, Any]:
        """The margin."""
        return {"margin": self.margin}


def relative(pairs: Pairs, column: str) -> NDArray[np.float64]:
    """``(t - t⁺)/IQR`` of each row, float64 (n,): scores that compare between queries and models.

    t⁺ is the lowest score of the query's positives, IQR the interquartile range of its candidates (1 where that is 0).
    No positive affine change of the scores changes it. NaN where the row or the positive has no score.
    """
    values = pairs.scores[column].astype(np.float64)
    scored = ~np.isnan(values)
    lowest = segments.reduce(values, (pairs.label == POSITIVE) & scored, pairs.starts, "min")
    others = (pairs.label == CANDIDATE) & scored
    quarter, three = (segments.quantile(np.nan_to_num(values), others, pairs.starts, at) for at in (0.25, 0.75))
    spread = np.where(three - quarter > 0, three - quarter, 1.0)
    lengths = np.diff(pairs.starts)
    distance: NDArray[np.float64] = (values - np.repeat(lowest, lengths)) / np.repeat(spread, lengths)
    return distance
