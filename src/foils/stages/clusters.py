"""Clusters of documents or queries, and the sources that draw from them or search along them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from foils.adapters.exact import ExactIndex
from foils.adapters.kmeans import nearest, spherical_kmeans
from foils.adapters.protocols import Kind
from foils.core.errors import DataError
from foils.core.groups import Groups
from foils.stages.context import Context


@dataclass(frozen=True, eq=False)
class Clusters:
    """Spherical k-means of one side of a collection.

    Attributes:
        label: int32 (n,), the cluster of each document, or of each query of the split in the order of its rows.
        centroids: float32 (clusters, d), of unit length.
    """

    label: NDArray[np.int32]
    centroids: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.centroids)

    @cached_property
    def groups(self) -> Groups:
        """The members of each cluster."""
        return Groups(self.label, len(self))

    @cached_property
    def neighbour(self) -> NDArray[np.int32]:
        """The nearest other cluster of each, int32 (clusters,); -1 if there is no other."""
        found, _ = ExactIndex(self.centroids).search(self.centroids, 2)
        own = np.arange(len(self), dtype=np.int32)
        return np.where(found[:, 0] == own, found[:, 1], found[:, 0])


def clusters_of(ctx: Context, encoder: str, kind: Kind, count: int | None = None) -> Clusters:
    """The clusters of all documents, or of the queries of the split, made once per run.

    Args:
        ctx: the surroundings.
        encoder: name of the bi-encoder whose vectors are clustered.
        kind: ``document`` for the corpus, ``query`` for the queries with positives in the split.
        count: number of clusters; the square root of the number of vectors by default.

    The result is a function of the vectors and the external ids alone: the same for every seed, block and number of
    threads (`foils.adapters.kmeans`).

    Raises:
        DataError: more clusters than vectors.
    """
    return ctx.once(("clusters", encoder, kind, count), lambda: _make(ctx, encoder, kind, count))


def _make(ctx: Context, encoder: str, kind: Kind, count: int | None) -> Clusters:
    if kind == "document":
        vectors, keys = ctx.vectors(encoder, "document"), ctx.data.corpus.keys
    else:
        rows = ctx.data.query_rows(ctx.split)
        vectors, keys = ctx.to(rows).vectors(encoder, "query"), ctx.data.queries.keys[rows]
    number = round(math.sqrt(len(vectors))) if count is None else count
    if number > len(vectors):
        what = "documents" if kind == "document" else f"queries in split {ctx.split!r}"
        raise DataError(f"{number:,} clusters of {len(vectors):,} {what}.", remedy="Ask for fewer clusters.")
    centroids = spherical_kmeans(vectors, keys, number)
    return Clusters(nearest(vectors, centroids)[0], centroids)
