"""How alike two sets of ranked lists are: overlap at a depth, and rank-biased overlap."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from foils.core.packing import pack
from foils.core.ragged import Lists, spans

PERSISTENCE = 0.9  # Webber et al.: the first 10 ranks then have 86 % of the weight


def common(first: Lists, second: Lists) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """What both lists of a query hold: which list, and the 1-based ranks in the first and in the second, int64 each.

    Args:
        first: one list per query, best first, without repeats.
        second: for the same queries in the same order.
    """
    (owner, place), (other, there) = spans(first.sizes), spans(second.sizes)
    left = pack(owner.astype(np.int32), first.rows)
    right = pack(other.astype(np.int32), second.rows)
    _, at, match = np.intersect1d(left, right, assume_unique=True, return_indices=True)
    return owner[at], place[at] + 1, there[match] + 1


def overlap(first: Lists, second: Lists, k: int) -> NDArray[np.float64]:
    """``|A ∩ B| / k`` of the k best of both lists, for each query; float64 (queries,).

    Where both lists are shorter than k, the longer one's length takes its place; two empty lists agree.

    >>> lists = [Lists(np.array([0, 3]), np.array(rows, np.int32)) for rows in ([1, 2, 3], [2, 1, 9])]
    >>> overlap(*lists, 2).tolist(), overlap(*lists, 1).tolist()
    ([1.0], [0.0])
    """
    which, here, there = common(first, second)
    both = np.bincount(which[(here <= k) & (there <= k)], minlength=len(first.sizes))
    depth = np.minimum(k, np.maximum(first.sizes, second.sizes))
    return np.where(depth > 0, both / np.maximum(depth, 1), 1.0)


def rank_biased(first: Lists, second: Lists, p: float = PERSISTENCE) -> NDArray[np.float64]:
    """Rank-biased overlap, extrapolated to endless lists, for each query; float64 (queries,), 0 to 1.

    ``(1-p)/p [Σ_{d=1}^{l} X_d/d p^d + Σ_{d=s+1}^{l} X_s (d-s)/(s d) p^d] + [(X_l-X_s)/l + X_s/s] p^l`` with X_d common
    documents of the d best, s the length of the shorter and l of the longer list: Webber, Moffat and Zobel 2010, A
    Similarity Measure for Indefinite Rankings, TOIS 28(4), equation 32. 1 for equal lists, and for two empty ones; 0
    where only one is empty.

    Args:
        first: one list per query, best first, without repeats.
        second: for the same queries in the same order.
        p: how likely a reader is to go on to the next rank, above 0 and below 1.
    """
    long, short = np.maximum(first.sizes, second.sizes), np.minimum(first.sizes, second.sizes)
    depth = np.arange(1, int(long.max(initial=0)) + 1)
    powers = p ** depth.astype(np.float64)
    harmonic = np.concatenate(([0.0], np.cumsum(powers / depth)))  # Σ p^d/d up to each depth
    geometric = np.concatenate(([0.0], np.cumsum(powers)))
    which, here, there = common(first, second)
    reached = np.maximum(here, there)  # the depth from which on both have it
    count = len(long)
    agreed = np.bincount(which, weights=harmonic[long[which]] - harmonic[reached - 1], minlength=count)
    x_long = np.bincount(which, minlength=count)
    x_short = np.bincount(which[reached <= short[which]], minlength=count)
    safe = np.maximum(short, 1)
    # (d - s) / (s d) = 1/s - 1/d
    beyond = x_short * ((geometric[long] - geometric[short]) / safe - (harmonic[long] - harmonic[short]))
    tail = ((x_long - x_short) / np.maximum(long, 1) + x_short / safe) * p ** long.astype(np.float64)
    return np.where(long > 0, (1 - p) / p * (agreed + beyond) + tail, 1.0)
