"""The canonical inner product of pairs of vectors: what every score of a bi-encoder in foils is.

Products in float64, where those of float32 are exact, summed in the order of numpy's pairwise sum, which depends on the
dimension alone, and rounded once to float32. Compiled, where numba is installed and there is enough to do, or in numpy:
the bits are the same.
"""

from __future__ import annotations

import functools
import importlib.util
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foils.core.errors import ModelError

Vectors = NDArray[Any]
Floats = NDArray[np.float32]

_PAIRS = 1 << 17  # vector elements gathered at a time: stays in the cache
_KERNELS = "foils.adapters.score_kernels"
_COLD, _WARM = 1 << 28, 1 << 16  # multiplications that compiled code pays for: if it must be loaded, or is


def pair_scores(
    queries: Vectors, docs: Vectors, query_rows: NDArray[np.integer], doc_rows: NDArray[np.integer]
) -> NDArray[np.float32]:
    """The canonical inner product of each pair: what `search` returns for it, bit for bit.

    Args:
        queries: (q, d), finite; computed on as float32.
        docs: (n, d), finite, may be memory-mapped; computed on as float32.
        query_rows: (m,), row of ``queries`` of each pair.
        doc_rows: (m,), row of ``docs`` of each pair.

    Returns:
        float32 (m,): the sum of the float64 products, rounded once.

    Raises:
        ModelError: a product that is NaN or infinite.
        IndexError: a row below 0 or beyond the end.
    """
    for rows, vectors in ((query_rows, queries), (doc_rows, docs)):
        if len(rows) and not (rows.min() >= 0 and rows.max() < len(vectors)):
            raise IndexError(f"rows {rows.min()} to {rows.max()} of {len(vectors)} vectors")
    scores = np.empty(len(query_rows), np.float32)
    least = _WARM if _KERNELS in sys.modules else _COLD
    if importlib.util.find_spec("numba") and len(scores) * docs.shape[1] >= least:
        _compiled_scores(queries, docs, query_rows, doc_rows, scores)
    else:
        _plain_scores(queries, docs, query_rows, doc_rows, scores)
    if not np.isfinite(scores).all():
        bad = int(np.argmin(np.isfinite(scores)))
        pair = f"query row {query_rows[bad]} and document row {doc_rows[bad]}"
        raise ModelError(f"the inner product of {pair} is {scores[bad]}. Check the vectors for NaN, or scale them.")
    return scores


@functools.cache
def order_of_sum(dim: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """How numpy adds ``dim`` numbers: stretches (start, stop) of at most 128, then pairs (into, from) of them."""
    stretches: list[tuple[int, int]] = []
    merges: list[tuple[int, int]] = []

    def split(start: int, count: int) -> int:
        if count <= 128:
            stretches.append((start, start + count))
            return len(stretches) - 1
        half = count // 2 - count // 2 % 8
        left, right = split(start, half), split(start + half, count - half)
        merges.append((left, right))
        return left

    split(0, dim)
    return np.array(stretches, np.int64), np.array(merges, np.int64).reshape(-1, 2)


def _plain_scores(
    queries: Vectors, docs: Vectors, query_rows: NDArray[np.integer], doc_rows: NDArray[np.integer], out: Floats
) -> None:
    step = max(1, _PAIRS // docs.shape[1])
    for start in range(0, len(out), step):
        part = slice(start, start + step)
        left = np.asarray(queries[query_rows[part]], np.float32)
        right = np.asarray(docs[doc_rows[part]], np.float32)
        # Products of float32 are exact in float64. numpy sums a contiguous row pairwise, by its length alone.
        with np.errstate(over="ignore", invalid="ignore"):
            out[part] = np.multiply(left, right, dtype=np.float64).sum(axis=1) + 0.0  # no negative zero


def _compiled_scores(
    queries: Vectors, docs: Vectors, query_rows: NDArray[np.integer], doc_rows: NDArray[np.integer], out: Floats
) -> None:
    """The same bits, many times faster."""
    from foils.adapters.score_kernels import pair_sums

    order = order_of_sum(docs.shape[1])
    sides = [(queries, query_rows), (docs, doc_rows)]
    plain = [vectors.dtype == np.float32 and vectors.flags.c_contiguous for vectors, _ in sides]
    step = len(out) if all(plain) else max(1, _PAIRS // docs.shape[1])
    for start in range(0, len(out), step):
        part = slice(start, start + step)
        arrays, rows = [], []
        for (vectors, wanted), ready in zip(sides, plain, strict=True):
            chosen = wanted[part].astype(np.int64)
            arrays.append(np.asarray(vectors) if ready else np.asarray(vectors[chosen], np.float32))
            rows.append(chosen if ready else np.arange(len(chosen)))
        pair_sums(arrays[0], arrays[1], (rows[0], rows[1]), order, out[part])
