"""Clusters of documents or queries, and the sources that draw from them or search along them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from foils.adapters.exact import ExactIndex
from foils.adapters.kmeans import nearest, spherical_kmeans, unit
from foils.adapters.protocols import Kind
from foils.core.errors import DataError
from foils.core.groups import Groups
from foils.core.packing import pack, unpack
from foils.core.ragged import Lists
from foils.core.spec import declare, require
from foils.stages.context import Context
from foils.stages.lists import Found, drawn, positives_of
from foils.stages.moved import MovedQuery
from foils.stages.writers import Source, check_model_name


@dataclass(frozen=True, eq=False)
class Clusters:
    """Spherical k-means of one side of a collection.

    Attributes:
        label: int32 (n,), the cluster of each document, or of each query of the split in the order of its rows.
        centroids: float32 (clusters, d), of unit length.
        found: how many of the first rows are members that may be drawn; documents behind them were written, and are
            only put into the cluster that is nearest.
    """

    label: NDArray[np.int32]
    centroids: NDArray[np.float32]
    found: int

    def __len__(self) -> int:
        return len(self.centroids)

    @cached_property
    def groups(self) -> Groups:
        """The members of each cluster."""
        return Groups(self.label[: self.found], len(self))

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
        vectors, keys = ctx.vectors(encoder, "document"), ctx.data.base.corpus.keys
    else:
        rows = ctx.data.query_rows(ctx.split)
        vectors, keys = ctx.to(rows).vectors(encoder, "query"), ctx.data.queries.keys[rows]
    found = len(keys)
    number = round(math.sqrt(found)) if count is None else count
    if number > found:
        what = "documents" if kind == "document" else f"queries in split {ctx.split!r}"
        raise DataError(f"{number:,} clusters of {found:,} {what}.", remedy="Ask for fewer clusters.")
    centroids = spherical_kmeans(vectors[:found], keys, number)
    return Clusters(nearest(vectors, centroids)[0], centroids, found)


@declare
class Cluster(Source):
    """Documents of the positive's cluster, or positives of the query's cluster: negatives on the same topic.

    Spherical k-means under a bi-encoder, of all documents or of the queries of the split. With ``of='documents'``
    candidates come from the clusters of the query's positives, or from the cluster whose centroid is nearest to each of
    those (``where='neighbour'``). With ``of='queries'`` they are the positives of the queries in the query's own
    cluster, or of those in the nearest other one. They are drawn without replacement, keyed by (seed, query id,
    document id), and never known positives.

    The offline counterpart of batches made of clusters (iterative clustered training, SIGIR 2024, doi
    10.1145/3626772.3657854; Merrick 2024, arXiv:2407.18887), where the others of the batch are the negatives. Topics
    hold false negatives: paraphrased questions share a cluster. The number of clusters is our default. No score column.
    """

    encoder: str  # name of the bi-encoder
    k: int  # candidates per query
    clusters: int | None = None  # how many; the square root of the number of documents or queries by default
    of: Literal["documents", "queries"] = "documents"  # what is clustered
    where: Literal["same", "neighbour"] = "same"  # which cluster is drawn from

    def check(self) -> None:
        """Bounds of k and clusters; the name must not mean something else."""
        require(self.k >= 1, self, "k", "at least 1")
        require(self.clusters is None or self.clusters >= 2, self, "clusters", "at least 2, or None")
        check_model_name(self)

    def retrieve(self, query: NDArray[np.int32], depth: int, ctx: Context) -> Found:
        """Draws from the lists of documents of the clusters in question."""
        if self.of == "documents":
            clusters = clusters_of(ctx, self.encoder, "document", self.clusters)
            lists = clusters.groups.lists
            owner, positive = positives_of(query, ctx)
            code = clusters.label[positive]
        else:
            clusters = clusters_of(ctx, self.encoder, "query", self.clusters)
            lists = ctx.once(("answers of clusters", self.encoder, self.clusters), lambda: _answers(clusters, ctx))
            rows = ctx.data.query_rows(ctx.split)
            owner = np.flatnonzero(np.isin(query, rows))
            code = clusters.label[np.searchsorted(rows, query[owner])]
        if self.where == "neighbour":
            code = clusters.neighbour[code]
        pairs = np.unique(np.stack([owner, code])[:, code >= 0], axis=1)
        return drawn("Cluster", query, (pairs[0], pairs[1], lists), depth, ctx)


def _answers(clusters: Clusters, ctx: Context) -> Lists:
    """The distinct positives of the queries of each cluster."""
    rows = ctx.data.query_rows(ctx.split)
    owner, doc = positives_of(rows, ctx)
    distinct = np.unique(pack(clusters.label[owner], doc))
    label, doc = unpack(distinct)
    return Lists(np.searchsorted(label, np.arange(len(clusters) + 1)).astype(np.int64), doc)


@declare
class ClusterQuery(MovedQuery):
    """The nearest documents to the query moved towards the centroid of its cluster: what its topic is about.

    ``q' = (q / |q| + weight · c) / |q / |q| + weight · c|``, c the unit centroid nearest to q among spherical k-means
    of the queries of the split (or of the documents), as Rocchio (1971) moves a query towards what is relevant. With
    ``weight=0`` this is Dense but for the length of q. It finds what the topic has in common where Dense finds what
    this wording does. No paper with an exact recipe for query clustering with query augmentation could be found:
    formula and defaults are ours. Score column: ``<encoder>.cluster``.
    """

    encoder: str  # name of the bi-encoder
    k: int  # candidates per query
    clusters: int | None = None  # how many; the square root of the number of queries or documents by default
    weight: float = 0.5  # of the centroid beside the unit query, >= 0
    of: Literal["queries", "documents"] = "queries"  # what is clustered

    def check(self) -> None:
        """Bounds of k, clusters and weight; the name must not mean something else."""
        require(self.k >= 1, self, "k", "at least 1")
        require(self.clusters is None or self.clusters >= 1, self, "clusters", "at least 1, or None")
        require(self.weight >= 0, self, "weight", "at least 0")
        check_model_name(self)

    @property
    def column(self) -> str:
        """The encoder's name and ``.cluster``."""
        return f"{self.encoder}.cluster"

    def origin(self, model: Callable[[str], object]) -> str:
        """The model and everything that moves the query."""
        return json.dumps(["cluster", model(self.encoder), self.clusters, self.weight, self.of], sort_keys=True)

    def moved(self, query: NDArray[np.int32], ctx: Context) -> NDArray[np.float32]:
        """Towards the centroid of its cluster."""
        kind: Kind = "query" if self.of == "queries" else "document"
        centroids = clusters_of(ctx, self.encoder, kind, self.clusters).centroids
        vectors = ctx.query_vectors(self.encoder, query)
        label, _ = nearest(vectors, centroids)
        return unit(unit(vectors) + np.float32(self.weight) * centroids[label])
