"""Spherical k-means whose result depends on the vectors alone: not on threads, tiles or the order of a sum.

The libraries at hand (FAISS, scikit-learn) add up and compare in float32 by as many threads as there are, so that near
ties fall differently from machine to machine, and the negatives drawn from their clusters with them. Here documents are
assigned by the canonical scores of exact search, and sums are taken in float64 in the order of the rows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from foils.adapters.exact import ExactIndex
from foils.core import noise
from foils.core.text import Keys

SAMPLE = 100  # vectors per centroid that take part in training; FAISS asks for 39 at least and takes 256 at most
ROUNDS = 20  # of assigning and averaging, unless nothing moves before; FAISS's default is 25
_ROWS = 16_384  # vectors added up at a time

Vectors = NDArray[np.float32]


def spherical_kmeans(vectors: Vectors, keys: Keys, count: int) -> Vectors:
    """Unit centroids that maximise the sum of cosines between vectors and their nearest centroid, locally.

    Dhillon and Modha 2001, Concept Decompositions for Large Sparse Text Data Using Clustering, section 3. Begins with
    ``count`` of the vectors, chosen by a hash of their keys, and works on a sample of ``SAMPLE`` vectors per centroid,
    chosen alike. A centroid that nothing is nearest to moves to the vector that fits its own centroid worst.

    Args:
        vectors: float32 (n, d), finite, may be memory-mapped; only their direction counts.
        keys: uint64 (n,), of the external ids, which decide the sample and the beginning.
        count: centroids, 1 to n.

    Returns:
        float32 (count, d).

    Raises:
        ValueError: count out of its bounds.
    """
    if not 1 <= count <= len(vectors):
        raise ValueError(f"count={count}; expected 1 to {len(vectors)}, the number of vectors.")
    order = np.argsort(noise.bits(0, "kmeans", keys, np.zeros(1, np.uint64)), kind="stable")
    points = unit(vectors[np.sort(order[: SAMPLE * count])])
    centroids = unit(vectors[order[:count]])
    label = np.full(len(points), -1, np.int32)
    for _ in range(ROUNDS):
        before, (label, fit) = label, nearest(points, centroids)
        if np.array_equal(label, before):
            break
        centroids = _means(points, label, count)
        empty = np.flatnonzero(np.bincount(label, minlength=count) == 0)
        centroids[empty] = points[np.argsort(fit, kind="stable")[: len(empty)]]
    return centroids


def nearest(vectors: Vectors, centroids: Vectors) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """The centroid with the largest inner product, for each vector, ties to the first; and the product."""
    label, fit = ExactIndex(centroids).search(vectors, 1)
    return label[:, 0], fit[:, 0]


def _means(points: Vectors, label: NDArray[np.int32], count: int) -> Vectors:
    """The direction of the sum of each label's points; zero where there are none."""
    sums = np.zeros((count, points.shape[1]))
    order = np.argsort(label, kind="stable")
    for start in range(0, len(order), _ROWS):
        rows = order[start : start + _ROWS]
        present, first = np.unique(label[rows], return_index=True)
        sums[present] += np.add.reduceat(points[rows].astype(np.float64), first, axis=0)
    return unit(sums)


def unit(vectors: NDArray[np.floating]) -> Vectors:
    """Rows of length one; a zero row stays zero."""
    length = np.sqrt(np.square(vectors, dtype=np.float64).sum(axis=1, keepdims=True))
    scaled: Vectors = (vectors / np.where(length > 0, length, 1)).astype(np.float32)
    return scaled
