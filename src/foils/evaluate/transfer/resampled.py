"""Spearman's correlation and average precision under many resamples of the pairs at once.

A resample is how often each pair was drawn; both figures are computed from those weights, without copying pairs.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_CELLS = 1 << 21  # weights held in memory at once


def resamples(n: int, rounds: int, seed: int) -> Iterator[Floats]:
    """Blocks of resamples of n things with replacement: how often each is in it, float64 (block, n)."""
    generator = np.random.Generator(np.random.PCG64(seed))
    size = max(1, _CELLS // max(n, 1))
    for start in range(0, rounds, size):
        block = min(size, rounds - start)
        drawn = generator.integers(0, n, size=(block, n)) + np.arange(block)[:, None] * n
        yield np.bincount(drawn.ravel(), minlength=block * n).reshape(block, n).astype(np.float64)


def spearman(one: Floats, other: Floats, weights: Floats) -> Floats:
    """Spearman's rank correlation, ties at their mean rank, under each row of weights; 0 where one side is constant.

    Args:
        one: (n,).
        other: (n,).
        weights: how often each pair is there, (rounds, n), whole numbers.

    Returns:
        float64 (rounds,).
    """
    total = weights.sum(axis=1, keepdims=True)
    spread = []
    for values in (one, other):
        rank = _ranks(values, weights)
        spread.append(rank - (weights * rank).sum(axis=1, keepdims=True) / total)
    a, b = spread
    size = np.sqrt((weights * a * a).sum(axis=1) * (weights * b * b).sum(axis=1))
    return np.where(size > 0, (weights * a * b).sum(axis=1) / np.where(size > 0, size, 1.0), 0.0)


def average_precision(score: Floats, right: NDArray[np.bool_], weights: Floats) -> Floats:
    """``Σ (R_k - R_k-1) P_k`` over distinct scores from the highest down, under each row of weights; NaN without any
    positive. Equal scores are one step, as in scikit-learn.

    Args:
        score: (n,).
        right: which pairs are positives, (n,).
        weights: how often each pair is there, (rounds, n).

    Returns:
        float64 (rounds,).
    """
    order = np.argsort(-score, kind="stable")
    starts = _starts(score[order])
    there = np.add.reduceat(weights[:, order], starts, axis=1)
    hits = np.add.reduceat(weights[:, order] * right[order], starts, axis=1)
    precision = np.cumsum(hits, axis=1) / np.maximum(np.cumsum(there, axis=1), 1e-300)
    total = hits.sum(axis=1)
    return np.where(total > 0, (precision * hits).sum(axis=1) / np.where(total > 0, total, 1.0), np.nan)


def _ranks(values: Floats, weights: Floats) -> Floats:
    order = np.argsort(values, kind="stable")
    starts = _starts(values[order])
    there = np.add.reduceat(weights[:, order], starts, axis=1)
    middle = np.cumsum(there, axis=1) - there + (there + 1) / 2
    found = np.empty_like(weights)
    found[:, order] = np.repeat(middle, np.diff(starts, append=len(values)), axis=1)
    return found


def _starts(ordered: Floats) -> NDArray[np.int64]:
    return np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
