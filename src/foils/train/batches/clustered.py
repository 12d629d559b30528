"""Batches of one topic: clusters of queries or of their positives."""

from __future__ import annotations

from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from foils.adapters.kmeans import nearest, spherical_kmeans
from foils.adapters.protocols import Kind
from foils.adapters.vectors import vectors
from foils.core.errors import DataError, PipelineError
from foils.core.spec import declare, require
from foils.stages.writers import check_model_name
from foils.train.batches.grouped import in_blocks
from foils.train.batches.orders import Batches, Ground, Orders, draws

Side = Literal["queries", "documents"]
_EACH = 200  # queries of a cluster; TAS-B has 2,000 clusters for 400,000


@declare
class Clustered(Batches):
    """Topic-aware batches (TAS): each of one cluster, the cluster chosen uniformly whatever its size.

    Hofstätter et al. 2021, arXiv:2104.06967, section 4.1 (TAS-B; 2,000 clusters of 400,000 queries, batches of 32):
    queries are clustered once by a first model; a batch takes its rows at random from a random cluster; if that has too
    few, all of them are taken and another cluster goes on. In-batch negatives are then on the same topic, and so are
    false ones: without a teacher on the in-batch part the paper finds no gain. Margins are balanced by the stage
    `Balanced`.

    The paper draws without end, so that small clusters come round more often. Here every row comes once an epoch: a
    cluster is chosen among those that have rows left. So chances are the paper's while no cluster has run out; small
    ones are used up early in an epoch, the largest come last.
    """

    encoder: str = "student"  # bi-encoder whose vectors are clustered; ``student`` as it is when training begins
    clusters: int | None = None  # how many; one for 200 queries (or documents) by default, as in the paper
    of: Side = "queries"  # what is clustered: the queries, or their positives

    def check(self) -> None:
        """Bound of the clusters; the name must not mean something else."""
        check_model_name(self)
        require(self.clusters is None or self.clusters >= 1, self, "clusters", "at least 1, or None")

    def encoders(self) -> tuple[str, ...]:
        """The one whose vectors are clustered."""
        return (self.encoder,)

    def open(self, ground: Ground) -> Orders:
        """Cluster once."""
        return partial(by_turns, ground, clusters_of(ground, self.encoder, self.of, self.clusters))


@declare
class ClusterPerBatch(Batches):
    """As many clusters as batches, so that a cluster is about one batch: iterative clustered training.

    ICT-Q and ICT-P of Rajapakse et al. (SIGIR 2024, doi 10.1145/3626772.3657854): k-means of the queries, or of their
    positives, with k = rows / batch size; each cluster is cut into batches, what is left of the clusters is put
    together (`Grouped` tells how), and batches are shuffled. Every row comes once an epoch. The paper clusters anew
    every few epochs with the model as it is then; here a further phase of a recipe does. k-means with so many clusters
    takes time: n · k · d · 40 multiplications.
    """

    encoder: str = "student"  # bi-encoder whose vectors are clustered; ``student`` as it is when training begins
    of: Side = "documents"  # what is clustered: the queries (ICT-Q), or their positives (ICT-P)

    def check(self) -> None:
        """The name must not mean something else."""
        check_model_name(self)

    def encoders(self) -> tuple[str, ...]:
        """The one whose vectors are clustered."""
        return (self.encoder,)

    def open(self, ground: Ground) -> Orders:
        """Cluster once."""
        count = max(1, len(ground.rows) // ground.size)
        code = clusters_of(ground, self.encoder, self.of, count, at_most=True)
        return partial(in_blocks, ground, code, "ClusterPerBatch")


def clusters_of(
    ground: Ground, encoder: str, of: Side, count: int | None, *, at_most: bool = False
) -> NDArray[np.int64]:
    """The cluster of each row, int64 (n,); spherical k-means of the distinct queries or positives.

    Args:
        ground: the rows.
        encoder: name of the bi-encoder.
        of: what is clustered.
        count: number of clusters; None for one for 200.
        at_most: fewer where there are fewer vectors, instead of an error.

    Raises:
        DataError: more clusters than there is to cluster.
        PipelineError: no such model.
    """
    if encoder not in ground.models:
        have = ", ".join(map(repr, ground.models)) or "none"
        raise PipelineError(f"batches: no model {encoder!r}; there is: {have}. Pass --encoder {encoder}=MODEL.")
    assert ground.data is not None
    assert ground.cache is not None
    queries = of == "queries"
    rows, at = np.unique(ground.rows.query if queries else ground.rows.doc, return_inverse=True)
    side = ground.data.queries if queries else ground.data.corpus
    number = max(1, len(rows) // _EACH) if count is None else min(count, len(rows)) if at_most else count
    if number > len(rows):
        raise DataError(f"{number:,} clusters of {len(rows):,} {of}.", remedy="Ask for fewer clusters.")
    kind: Kind = "query" if queries else "document"
    model = ground.models[encoder]
    made = vectors(model, side, kind, cache=ground.cache, rows=rows)
    # By their keys, so that sums do not depend on the order in which rows are stored.
    keys = side.keys[rows]
    ordered = np.argsort(keys, kind="stable")
    seen = np.asarray(made[ordered])
    label = np.empty(len(rows), np.int64)
    label[ordered] = nearest(seen, spherical_kmeans(seen, keys[ordered], number))[0]
    return label[at]


def by_turns(ground: Ground, code: NDArray[np.int64], epoch: int) -> NDArray[np.int64]:
    """An order in which each batch goes on with clusters chosen uniformly among those that have rows left.

    Args:
        ground: the rows.
        code: cluster of each row, (n,), from 0.
        epoch: another one, another order.
    """
    keys = ground.rows.keys
    order = np.lexsort((keys, draws(ground.seed, f"Clustered/{epoch}", keys), code)).astype(np.int64)
    counts = np.bincount(code)
    ends = np.cumsum(counts)
    starts = ends - counts
    alive = np.flatnonzero(counts).tolist()
    wanted = ground.sizes()
    # Rows that no batch takes this time come last.
    wanted = np.append(wanted, len(order) - wanted.sum())
    picks = draws(ground.seed, f"Clustered clusters/{epoch}", np.arange(len(wanted) + len(alive), dtype=np.uint64))
    turn, parts = 0, []
    for size in wanted.tolist():
        while size:
            place = int(picks[turn] % np.uint64(len(alive)))
            cluster, turn = alive[place], turn + 1
            taken = min(size, int(ends[cluster] - starts[cluster]))
            parts.append(order[starts[cluster] : starts[cluster] + taken])
            starts[cluster] += taken
            size -= taken
            if starts[cluster] == ends[cluster]:
                alive[place] = alive[-1]
                alive.pop()
    return np.concatenate(parts)
