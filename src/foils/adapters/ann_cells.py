"""The cells of a query, found so that neither the batch nor the number of threads shows.

A library finds them by a float32 matrix product, whose rounding depends on the shape of the batch; a cell at the border
then comes and goes. Here products are in float64, and where even their rounding leaves a doubt, canonical scores
decide.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from foils.adapters.ann_rescoring import longest
from foils.adapters.exact import ExactIndex

_CELLS = 1 << 23  # products held at a time
_UNIT = 2.0**-53


class Cells:
    """Centroids, (nlist, dim), by inner product."""

    def __init__(self, centroids: NDArray[np.float32]) -> None:
        self._exact = ExactIndex(centroids)
        self._transposed = np.ascontiguousarray(centroids.T, np.float64)
        self._longest = longest(centroids)

    def nearest(self, queries: NDArray[np.float32], nprobe: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The cells with the largest products, ascending by number, and the products; (queries, nprobe) each."""
        count = self._transposed.shape[1]
        cells = np.empty((len(queries), nprobe), np.int64)
        products = np.empty((len(queries), nprobe), np.float32)
        step = max(1, _CELLS // count)
        for start in range(0, len(queries), step):
            part = slice(start, start + step)
            cells[part], products[part] = self._nearest(queries[part], nprobe)
        return cells, products

    def _nearest(self, queries: NDArray[np.float32], nprobe: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        dim, count = self._transposed.shape
        wide = queries.astype(np.float64)
        scores = wide @ self._transposed
        if nprobe == count:
            return np.broadcast_to(np.arange(count), scores.shape).astype(np.int64), scores
        order = np.argpartition(-scores, (nprobe - 1, nprobe), axis=1)
        last, next_ = (np.take_along_axis(scores, order[:, at : at + 1], axis=1)[:, 0] for at in (nprobe - 1, nprobe))
        slack = 4 * (dim + 2) * _UNIT * np.linalg.norm(wide, axis=1) * self._longest
        doubtful = last - next_ <= slack
        cells = order[:, :nprobe].astype(np.int64)
        if doubtful.any():
            cells[doubtful] = self._exact.search(queries[doubtful], nprobe)[0]
        cells.sort(axis=1)
        return cells, np.take_along_axis(scores, cells, axis=1)
