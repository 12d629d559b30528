"""Which items are judged: an allocation to strata, and a draw that is a pure function of (seed, query id, doc id)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from foils.core import noise
from foils.core.ragged import places

FLOOR = 4  # items of each stratum, where it has as many
_STREAM = "audit"

Ints = NDArray[np.int64]


def allocate(sizes: Ints, budget: int, floor: int = FLOOR) -> Ints:
    """How many of each stratum to judge: in proportion to its size, but at least ``floor``, or all if it has fewer.

    The sum is the budget, or all items, or what the floors need.

    Args:
        sizes: items of each stratum, int64 (strata,).
        budget: items to judge, at least 1.
        floor: of each stratum.

    >>> allocate(np.array([10, 90, 900]), 100).tolist()
    [4, 9, 87]
    """
    total = int(sizes.sum())
    if budget >= total:
        return sizes.copy()
    least = np.minimum(sizes, floor)
    free = np.ones(len(sizes), bool)
    while True:
        # What is left for the strata above their floor, in proportion to their sizes.
        left = max(0, budget - int(least[~free].sum()))
        share = left * sizes / max(1, int(sizes[free].sum()))
        low = free & (share < least)
        if not low.any():
            break
        free &= ~low
    chosen = np.where(free, np.floor(share).astype(np.int64), least)
    missing = max(0, budget - int(chosen.sum()))
    rest = np.where(free & (chosen < sizes), share - chosen, -np.inf)
    chosen[np.argsort(-rest, kind="stable")[:missing]] += 1
    return chosen


def draw(
    stratum: Ints, count: Ints, seed: int, keys: tuple[NDArray[np.uint64], NDArray[np.uint64]]
) -> tuple[Ints, NDArray[np.float64]]:
    """Draw so many of each stratum without replacement: those with the smallest draws of (seed, query id, doc id).

    A larger count of the same seed holds the smaller one.

    Args:
        stratum: of each item, int64 (n,).
        count: items to draw of each stratum, int64 (strata,).
        seed: another seed, another sample.
        keys: of the ids of query and document of each item.

    Returns:
        Places of the drawn items, int64 (drawn,), in an order of which every beginning holds of each stratum about the
        same part, and how many items each stands for, N_k/n_k, float64.
    """
    order = np.lexsort((noise.uniform(seed, _STREAM, *keys), stratum))
    sizes = np.bincount(stratum, minlength=len(count))
    place = places(np.concatenate(([0], np.cumsum(sizes))).astype(np.int64))
    own = stratum[order]
    taken = np.flatnonzero(place < count[own])
    turn = np.lexsort((own[taken], (place[taken] + 0.5) / count[own[taken]]))
    chosen = taken[turn]
    return order[chosen], (sizes / np.maximum(count, 1))[own[chosen]]
