"""Lists of different lengths laid end to end: where each begins, which are which, and slices of bounded size."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Lists:
    """Lists of rows, of different lengths, one after the other; a row may be in several lists.

    Attributes:
        starts: int64 (lists + 1,), where each list begins in ``rows``.
        rows: int32 (n,), the lists one after the other.
    """

    starts: NDArray[np.int64]
    rows: NDArray[np.int32]

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Rows in each list, int64 (lists,)."""
        return np.diff(self.starts)

    def members(self, codes: NDArray[np.integer]) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """All rows of the given lists.

        Args:
            codes: numbers of lists, repeats allowed, none below 0.

        Returns:
            For each member, which of ``codes`` it is for, int64, and its row, int32.
        """
        which, at = expand(self.starts[codes], self.sizes[codes])
        return which, self.rows[at]


def places(starts: NDArray[np.int64]) -> NDArray[np.int64]:
    """0, 1, … within each list, from where the lists begin and the last one ends, int64 (n,).

    >>> places(np.array([0, 2, 2, 5])).tolist()
    [0, 1, 0, 1, 2]
    """
    return np.arange(starts[-1], dtype=np.int64) - np.repeat(starts[:-1], np.diff(starts))


def spans(sizes: NDArray[np.integer]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For lists of the given sizes: which list each value is in, and its place within, int64 each.

    >>> [part.tolist() for part in spans(np.array([2, 0, 3]))]
    [[0, 0, 2, 2, 2], [0, 1, 0, 1, 2]]
    """
    sizes = np.asarray(sizes, np.int64)
    owner = np.repeat(np.arange(len(sizes)), sizes)
    return owner, np.arange(len(owner)) - np.repeat(np.cumsum(sizes) - sizes, sizes)


def expand(first: NDArray[np.integer], sizes: NDArray[np.integer]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The members of several runs, one after the other: run i is ``first[i], first[i] + 1, ...``, ``sizes[i]`` long.

    Args:
        first: where each run begins, shape (runs,).
        sizes: how long it is, shape (runs,).

    Returns:
        int64 (members,) each: which run, and the member.

    >>> [part.tolist() for part in expand(np.array([5, 0]), np.array([2, 3]))]
    [[0, 0, 1, 1, 1], [5, 6, 0, 1, 2]]
    """
    run, within = spans(sizes)
    return run, np.asarray(first, np.int64)[run] + within


def slices(sizes: NDArray[np.integer], cells: int) -> Iterator[slice]:
    """Consecutive slices whose ``sizes`` sum to at most ``cells`` each; one that is larger has a slice to itself.

    >>> [(part.start, part.stop) for part in slices(np.array([2, 2, 9, 1]), cells=4)]
    [(0, 2), (2, 3), (3, 4)]
    """
    ends = np.cumsum(sizes, dtype=np.int64)
    start = 0
    while start < len(sizes):
        before = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + cells, side="right")))
        yield slice(start, stop)
        start = stop
