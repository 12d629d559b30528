"""Windows of ranks: what audits, pages and the figures of training tell candidates apart by."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Band = tuple[int, int | None]
# Those that published rates are quoted for.
RANKS: tuple[Band, ...] = ((1, 5), (6, 20), (21, 50), (51, 200), (201, None))


def band_of(values: NDArray[np.integer], bands: Sequence[Band]) -> NDArray[np.int64]:
    """The band of each value, int64 (n,); 0, which is no rank, comes after the last.

    >>> band_of(np.array([1, 5, 6, 500, 0]), RANKS).tolist()
    [0, 0, 1, 4, 5]
    """
    edges = np.array([first for first, _ in bands])
    return np.where(values > 0, np.searchsorted(edges, values, side="right") - 1, len(bands)).astype(np.int64)


def band_name(band: Band | None, none: str = "no rank") -> str:
    """How reports call a band.

    >>> band_name((1, 5)), band_name((201, None)), band_name((1, 1)), band_name(None)
    ('1-5', '201+', '1', 'no rank')
    """
    if band is None or band == (0, 0):
        return none
    first, last = band
    return f"{first}+" if last is None else str(first) if first == last else f"{first}-{last}"
