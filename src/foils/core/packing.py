"""Two row numbers in one integer, so that pairs are sorted, searched and counted as fast as single numbers."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def pack(a: ArrayLike, b: ArrayLike) -> NDArray[np.int64]:
    """``a * 2**32 + b``, int64; ascending by a, then b. Both are at least 0 and below 2**31.

    >>> pack([0, 0, 1], [0, 7, 2]).tolist()
    [0, 7, 4294967298]
    """
    packed: NDArray[np.int64] = (np.asarray(a, np.int64) << 32) | np.asarray(b, np.int64)
    return packed


def unpack(packed: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """The two numbers again.

    >>> [part.tolist() for part in unpack(pack([3, 5], [8, 0]))]
    [[3, 5], [8, 0]]
    """
    return (packed >> 32).astype(np.int32), (packed & 0xFFFFFFFF).astype(np.int32)
