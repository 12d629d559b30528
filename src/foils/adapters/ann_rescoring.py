"""Canonical scores for the candidates that an approximate index proposes, without computing all of them.

As in exact search, plain float32 products only leave out what cannot be among the best; see `foils.adapters.exact` for
the bound, which holds for any order of summation.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from foils.adapters.exact import pair_scores
from foils.adapters.protocols import Found
from foils.adapters.topk import ranked
from foils.core.errors import MissingExtra, need

Vectors = NDArray[Any]
_CELLS = 1 << 22  # vector elements looked at in one go
_UNIT = 2.0**-24


def longest(docs: Vectors) -> float:
    """The largest Euclidean length; 0 without documents."""
    found = 0.0
    step = max(1, (1 << 20) // docs.shape[1])
    for start in range(0, len(docs), step):
        part = np.asarray(docs[start : start + step], np.float32).astype(np.float64)
        found = max(found, float(np.einsum("nd,nd->n", part, part).max()))
    return float(np.sqrt(found))


def rescored(queries: NDArray[np.float32], docs: Vectors, rows: NDArray[np.int64], k: int, length: float) -> Found:
    """The k best of each query's candidates by canonical score.

    Args:
        queries: float32 (q, dim), contiguous.
        docs: (n, dim), may be memory-mapped.
        rows: (q, c) rows of ``docs``, distinct within a query, padded with -1 anywhere.
        k: at least 1.
        length: no document is longer.

    Returns:
        As `foils.adapters.protocols.Index.search`.
    """
    step = max(1, _CELLS // max(1, rows.shape[1] * queries.shape[1]))
    kept_query, kept_row = [np.zeros(0, np.int32)], [np.zeros(0, np.int32)]
    for start in range(0, len(queries), step):
        part = rows[start : start + step]
        likely = part >= 0
        if part.shape[1] > 2 * k:
            likely &= _promising(queries[start : start + step], docs, part, k, length)
        query, place = np.nonzero(likely)
        kept_query.append((query + start).astype(np.int32))
        kept_row.append(part[query, place].astype(np.int32))
    owner, row = np.concatenate(kept_query), np.concatenate(kept_row)
    return ranked(owner, row, pair_scores(queries, docs, owner, row), len(queries), k)


def _promising(
    queries: NDArray[np.float32], docs: Vectors, rows: NDArray[np.int64], k: int, length: float
) -> NDArray[np.bool_]:
    """Which candidates may be among the k best."""
    scores = _products(queries, docs, rows)
    scores[rows < 0] = -np.inf
    dim = queries.shape[1]
    gamma = (dim + 2) * _UNIT / (1 - (dim + 2) * _UNIT)
    slack = 2 * (gamma * np.linalg.norm(queries.astype(np.float64), axis=1) * length + dim * 2.0**-126)
    kth = np.partition(scores, scores.shape[1] - k, axis=1)[:, -k]
    keep: NDArray[np.bool_] = scores >= (kth - slack)[:, None]
    return keep


def _products(queries: NDArray[np.float32], docs: Vectors, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """Inner products of each query with its candidates, in float32; anything where there is no candidate."""
    try:
        faiss = need("faiss", "faiss") if docs.dtype == np.float32 and docs.flags.c_contiguous else None
    except MissingExtra:
        faiss = None
    if faiss is None:
        found = np.asarray(docs[np.maximum(rows, 0)], np.float32)
        gathered: NDArray[np.float32] = np.matmul(found, queries[:, :, None])[:, :, 0]
        return gathered
    # Several times faster than gathering the vectors first.
    scores, wanted = np.empty(rows.shape, np.float32), np.ascontiguousarray(rows, np.int64)
    pointers = (faiss.swig_ptr(array) for array in (scores, queries, docs, wanted))
    faiss.fvec_inner_products_by_idx(*pointers, queries.shape[1], *rows.shape)
    return scores
