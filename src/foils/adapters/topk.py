"""Select the best of many scores with whole-array operations: shared by exact search and BM25."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from foils.adapters.protocols import Found
from foils.core.ragged import spans

_SPREAD = 4  # groups per wanted row: the bound then admits about 1.15 k rows


def lower_bounds(scores: NDArray[np.float32], k: int) -> NDArray[np.float32]:
    """A value per row that at least k of its scores reach; near the k-th largest, and much cheaper to find.

    The scores of a row fall into groups; k groups whose maxima reach a value hold k scores that do.

    Args:
        scores: float32 (rows, n), without NaN.
        k: at least 1.

    Returns:
        float32 (rows,); ``-inf`` where n < k.

    >>> lower_bounds(np.arange(6, dtype=np.float32)[None], 2).tolist()
    [4.0]
    """
    rows, n = scores.shape
    if n < k:
        return np.full(rows, -np.inf, np.float32)
    depth = max(1, n // (_SPREAD * k))
    width = n // depth
    maxima = scores[:, : depth * width].reshape(rows, depth, width).max(axis=1)
    maxima.partition(width - k, axis=1)
    bounds: NDArray[np.float32] = maxima[:, width - k]
    return bounds


def ranked(query: NDArray[np.int32], row: NDArray[np.int32], score: NDArray[np.float32], queries: int, k: int) -> Found:
    """The k best of each query from a flat list of scored rows, in any order.

    Args:
        query: int32 (n,), each below ``queries``.
        row: int32 (n,), distinct within a query.
        score: float32 (n,), without NaN.
        queries: number of queries.
        k: at least 1.

    Returns:
        As `foils.adapters.protocols.Index.search`.

    >>> rows, scores = ranked(*map(np.array, ([0, 0, 0], [7, 3, 5], [.5, .5, 2.])), queries=1, k=2)
    >>> rows.tolist(), scores.tolist()
    ([[5, 3]], [[2.0, 0.5]])
    """
    order = np.lexsort((row, -score, query))
    starts = np.searchsorted(query[order], np.arange(queries + 1))
    owner, place = spans(np.minimum(np.diff(starts), k))
    taken = order[starts[owner] + place]
    rows = np.full((queries, k), -1, np.int32)
    scores = np.full((queries, k), -np.inf, np.float32)
    rows[owner, place] = row[taken]
    scores[owner, place] = score[taken]
    return rows, scores
