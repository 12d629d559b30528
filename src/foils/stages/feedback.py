"""The source that searches with a query moved towards what it finds: pseudo-relevance feedback."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from foils.adapters.kmeans import unit
from foils.core.spec import declare, require
from foils.stages.context import Context
from foils.stages.moved import MovedQuery
from foils.stages.writers import check_model_name

_ROWS = 4096  # queries whose documents are averaged at a time


@declare
class Feedback(MovedQuery):
    """The nearest documents to the query moved towards its own first results: pseudo-relevance feedback on vectors.

    ``q' = alpha · q / |q| + beta · mean(d_1, …, d_depth)``, the d_i the documents of unit length that the query finds
    first, whether or not they are relevant: Rocchio's formula without its third term, on dense vectors (Li et al. 2021,
    arXiv:2108.11044, Vector PRF). Alpha, beta and depth are those that Pyserini's guide to that paper runs with ANCE.
    With ``beta=0`` this is Dense but for the length of q.

    It augments the query without a language model: what it finds and Dense does not is on the topic of the first
    results, less bound to the wording. The positives of a training query mostly are among those, so what is found is
    near to them and may be relevant, too: follow with a filter. Documents are found by exact search. Score column:
    ``<encoder>.feedback``.
    """

    encoder: str  # name of the bi-encoder
    k: int  # candidates per query
    depth: int = 5  # first results that the query is moved towards
    alpha: float = 0.4  # of the unit query, >= 0
    beta: float = 0.6  # of their mean, >= 0

    def check(self) -> None:
        """Bounds; the name must not mean something else."""
        require(self.k >= 1, self, "k", "at least 1")
        require(self.depth >= 1, self, "depth", "at least 1")
        require(self.alpha >= 0, self, "alpha", "at least 0")
        require(self.beta >= 0 and self.alpha + self.beta > 0, self, "beta", "at least 0, and not 0 as alpha is")
        check_model_name(self)

    @property
    def column(self) -> str:
        """The encoder's name and ``.feedback``."""
        return f"{self.encoder}.feedback"

    def origin(self, model: Callable[[str], object]) -> str:
        """The model and everything that moves the query."""
        return json.dumps(["feedback", model(self.encoder), self.depth, self.alpha, self.beta], sort_keys=True)

    def moved(self, query: NDArray[np.int32], ctx: Context) -> NDArray[np.float32]:
        """Towards the mean of its first results."""
        vectors, docs = ctx.query_vectors(self.encoder, query), ctx.searched(self.encoder)
        found, _ = ctx.index(self.encoder).search(vectors, min(self.depth, len(docs)))
        moved = np.float32(self.alpha) * unit(vectors)
        for start in range(0, len(query), _ROWS):
            rows = slice(start, start + _ROWS)
            first = unit(docs[found[rows].ravel()]).reshape(*found[rows].shape, -1)
            moved[rows] += np.float32(self.beta) * first.mean(axis=1)
        return np.ascontiguousarray(moved, np.float32)
