"""Caps: not too many candidates of one kind for a query."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from foils.core import segments
from foils.core.packing import pack
from foils.core.pairs import CANDIDATE, Pairs
from foils.core.ragged import places
from foils.core.spec import declare, require
from foils.stages.clusters import clusters_of
from foils.stages.context import Context
from foils.stages.parents import parents
from foils.stages.readers import Filter
from foils.stages.stage import Columns
from foils.stages.writers import check_model_name


def best_of_each(view: Pairs, group: NDArray[np.integer], by: str, n: int) -> NDArray[np.bool_]:
    """Which rows are among the n best candidates of their query and group, or no candidates.

    Args:
        view: rows of queries.
        group: number of the group of each row, below 2**32, (rows,).
        by: score column; ties go to the smaller document row.
        n: candidates per query and group.
    """
    keep = np.ones(len(view), bool)
    rows = np.flatnonzero(view.label == CANDIDATE)
    key = pack(view.query[rows], group[rows])
    order = np.lexsort((view.doc[rows], -view[by][rows], key))
    starts = segments.starts_of(key[order])
    place = places(starts)
    keep[rows[order]] = place < n
    return keep


@declare
class PerParent(Filter):
    """Keeps at most n candidates of one parent document per query, the best first.

    With passages or sentences as documents, one long article must not supply all negatives of a query; ``n=1`` makes
    the negatives those of n different articles. Documents without a parent are their own. No paper is followed.
    """

    n: int = 1  # candidates per parent and query
    parent: str = "parent"  # metadata key that names the parent, or 'title' for documents of one title
    by: str = "score"  # score column that orders the candidates
    online = False

    def check(self) -> None:
        """Bound of n."""
        require(self.n >= 1, self, "n", "at least 1")

    def check_columns(self, columns: Columns, ctx: Context) -> Columns:
        """Some document must have a parent."""
        parents(ctx, self.parent)
        return super().check_columns(columns, ctx)

    def decide(self, view: Pairs, ctx: Context) -> NDArray[np.bool_]:
        """Group by parent; lone documents get numbers after the parents'."""
        found = parents(ctx, self.parent)
        code = found.code[view.doc].astype(np.int64)
        return best_of_each(view, np.where(code < 0, found.count + view.doc.astype(np.int64), code), self.by, self.n)


@declare
class PerCluster(Filter):
    """Keeps at most n candidates of one cluster of the corpus per query, the best first: variety at little cost.

    Clusters are those of spherical k-means over the documents' vectors. For variety among very many clusters, or one
    that weighs nearness continuously, use a sampler for diversity. No paper is followed.
    """

    encoder: str  # name of the bi-encoder whose vectors are clustered
    n: int = 1  # candidates per cluster and query
    clusters: int | None = None  # number of clusters; the square root of the corpus by default
    by: str = "score"  # score column that orders the candidates
    online = False

    def check(self) -> None:
        """Bounds of n and the clusters; the name must not mean something else."""
        check_model_name(self)
        require(self.n >= 1, self, "n", "at least 1")
        require(self.clusters is None or self.clusters >= 1, self, "clusters", "at least 1")

    def decide(self, view: Pairs, ctx: Context) -> NDArray[np.bool_]:
        """Group by cluster."""
        label = clusters_of(ctx, self.encoder, "document", self.clusters).label
        return best_of_each(view, label[view.doc], self.by, self.n)
