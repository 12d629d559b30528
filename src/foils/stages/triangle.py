"""The positive passage as a second point of view: how near a candidate is to it, and the triangle with the query."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from foils.adapters.exact import pair_scores
from foils.core import segments
from foils.core.errors import PipelineError
from foils.core.pairs import CANDIDATE, Pairs
from foils.core.spec import declare, require
from foils.stages.context import Context
from foils.stages.cosines import cosines
from foils.stages.lists import positives_of
from foils.stages.neighbours import PositiveNeighbours
from foils.stages.readers import Sampler
from foils.stages.stage import Columns
from foils.stages.writers import Scorer, check_model_name


@declare
class PositiveSimilarity(Scorer):
    """Similarity of each document to the query's positive passage, under a bi-encoder.

    ``s(d⁺, d)``, the inner product of two document vectors. Of several positives: 'nearest' takes the largest
    similarity over all of them; 'lowest' and 'highest' compare with one positive per query, the one whose own
    ``s(q, d⁺)`` is lowest or highest (ties go to the smaller document row), so that query, positive and document are
    one triangle, as `TriSampler` needs it. Positives are those of the qrels in use, copies included.

    TriSampler (arXiv:2402.11855) weighs with it, ReSa2 sorts by it:
    ``Dense('m', k=1000) >> SimANS(k=500, a=0.25, positives='max') >> PositiveSimilarity('m') >> Top(k=75) >>
    Uniform(k=7)``. What is similar to a positive is often relevant too: add `PositiveAware` or a cross-encoder.
    Score column: the encoder's name and ``.positive``; empty for queries without positives.
    """

    encoder: str  # name of the bi-encoder
    positives: Literal["nearest", "lowest", "highest"] = "nearest"  # which of several positives
    partial = True

    def check(self) -> None:
        """The name must not mean something else."""
        check_model_name(self)

    @property
    def column(self) -> str:
        """The encoder's name and ``.positive``."""
        return f"{self.encoder}.positive"

    def origin(self, model: Callable[[str], object]) -> str:
        """The model and how several positives are reduced; 'nearest' is what `PositiveNeighbours` measures."""
        if self.positives == "nearest":
            return self._source.origin(model)
        return json.dumps(["positive", model(self.encoder), self.positives], sort_keys=True)

    @property
    def _source(self) -> PositiveNeighbours:
        return PositiveNeighbours(self.encoder, k=1)

    def score(self, query: NDArray[np.int32], doc: NDArray[np.int32], ctx: Context) -> NDArray[np.float32]:
        """Similarity to the positives, or to the chosen one; NaN for queries without positives."""
        if self.positives == "nearest":
            return self._source.score(query, doc, ctx)
        vectors = ctx.vectors(self.encoder, "document")
        asked, at = np.unique(query, return_inverse=True)
        chosen = self._chosen(asked, ctx)[at]
        scores = np.full(len(query), np.nan, np.float32)
        scores[chosen >= 0] = pair_scores(vectors, vectors, chosen[chosen >= 0], doc[chosen >= 0])
        return scores

    def _chosen(self, asked: NDArray[np.int32], ctx: Context) -> NDArray[np.int32]:
        """One positive of each query, -1 for none."""
        owner, doc = positives_of(asked, ctx)
        own = ctx.similarity(self.encoder, asked[owner], doc)
        value = own if self.positives == "highest" else -own
        best = segments.best(value, segments.starts_of(owner.astype(np.int32)), doc)
        chosen = np.full(len(asked), -1, np.int32)
        chosen[owner[best]] = doc[best]
        return chosen


@declare
class TriSampler(Sampler):
    """Negatives that form a bounded triangle with query and positive: near the query, on the positive's side.

    ``p ∝ exp(-a (s(q,d) - s(q,d⁺) - b)²) · [θ <= angle] · max(0, s(d⁺,d) - s(q,d))``

    T1: θ is the angle at the query between the edges to the positive and to the document;  T2: θ is the difference of
    the angles that document and positive make with the query, ``|arccos s(q,d⁺) - arccos s(q,d)|``. T1 tells the sides
    of the query apart, T2 does not. A query for which every weight is 0 falls back to the first factor alone; those
    rows show in the result by ``s(d⁺,d) <= s(q,d)`` or by their angle. Fewer than k are kept where fewer have a weight.

    Yang et al. 2024, TriSampler, arXiv:2402.11855. A reconstruction: the paper's text was not at hand; formulas, the
    two readings of the region and the values (60°, a = 0.25, b = 0) follow an independent reproduction; the fallback is
    ours. Scores must be cosines. Needs ``PositiveSimilarity(…, positives='lowest')`` before it.
    """

    k: int  # negatives per query
    by: str  # column of s(q, d), by its own name
    region: Literal["T1", "T2"] = "T1"  # which reading of the angle
    angle: float = 60.0  # largest θ, in degrees; above 0, at most 180
    a: float = 0.25  # sharpness of the first factor; >= 0
    b: float = 0.0  # offset of its peak from the positive, in score units
    positives: Literal["min", "max"] = "min"  # which of several positives, by s(q, d⁺)
    similarity: str | None = None  # column of s(d⁺, d); by default that of ``by`` with '.positive'

    def check(self) -> None:
        """Bounds; two columns must be told apart."""
        super().check()
        require(self.by != "score", self, "by", "the name of a column, since two are read")
        require(0 < self.angle <= 180, self, "angle", "above 0 and at most 180 degrees")
        require(self.a >= 0, self, "a", "at least 0")

    @property
    def near(self) -> str:
        """The column of s(d⁺, d)."""
        return self.similarity or f"{self.by}.positive"

    def reads(self) -> tuple[str, ...]:
        """Both columns."""
        return self.by, self.near

    def check_columns(self, columns: Columns, ctx: Context) -> Columns:
        """Both columns must be there, and mean the same positive."""
        choice = "lowest" if self.positives == "min" else "highest"
        if self.near not in columns.names:
            raise PipelineError(
                f"{self!r}: there is no column {self.near!r} here. Add "
                f"PositiveSimilarity({self.by!r}, positives={choice!r}) before it."
            )
        made = columns.origins.get(self.near, "")
        if made.startswith('["positive"') and json.loads(made)[-1] != choice:
            raise PipelineError(
                f"{self!r}: {self.near!r} was measured to another positive than s(q, d⁺), so they form no triangle. "
                f"Use PositiveSimilarity({self.by!r}, positives={choice!r}) before it."
            )
        return super().check_columns(columns, ctx)

    def weigh(self, view: Pairs, ctx: Context) -> NDArray[np.float64]:
        """Log-weights; those of the first factor where nothing else is left."""
        score, near = cosines(view[self.by], self.by, self), cosines(view[self.near], self.near, self)
        positive = cosines(view.positive(self.by, self.positives), self.by, self)
        first = -self.a * (score - positive - self.b) ** 2
        theta = angle_at_query(positive, score, near) if self.region == "T1" else angle_between(positive, score)
        pull = np.where(theta <= self.angle, np.maximum(near - score, 0.0), 0.0)
        some = segments.count((pull > 0) & (view.label == CANDIDATE), view.starts) > 0
        with np.errstate(divide="ignore"):
            return np.where(segments.spread(some, view.starts), first + np.log(pull), first)


def angle_between(positive: NDArray[np.float64], score: NDArray[np.float64]) -> NDArray[np.float64]:
    """T2: by how much the angles to the query differ, in degrees; cosines s(q, d⁺) and s(q, d), (n,)."""
    gap: NDArray[np.float64] = np.degrees(np.abs(np.arccos(positive) - np.arccos(score)))
    return gap


def angle_at_query(
    positive: NDArray[np.float64], score: NDArray[np.float64], near: NDArray[np.float64]
) -> NDArray[np.float64]:
    """T1: the angle at q between d⁺ - q and d - q, in degrees, (n,); NaN where one of them is q itself.

    With unit vectors the edges have the lengths ``√(2 - 2 s)`` and the product ``s(d⁺,d) - s(q,d⁺) - s(q,d) + 1``.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        cosine = (near - positive - score + 1) / (2 * np.sqrt((1 - positive) * (1 - score)))
    theta: NDArray[np.float64] = np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0)))
    return theta
