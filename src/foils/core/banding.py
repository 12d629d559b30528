"""Which of many texts come near to one another: MinHash signatures cut into bands, equal bands are worth a look.

Two texts of Jaccard similarity J agree in one band of r places with probability about ``J**r``, and in one of b bands
with ``1 - (1 - J**r)**b``. With 25 bands of 5 places: .9999 at .8, .99 at .7, .06 at .3. Leskovec, Rajaraman and
Ullman 2020, Mining of Massive Datasets, section 3.4.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from foils.core import ragged
from foils.core.minhash import PERMUTATIONS

PLACES = 5  # of a band; five bytes and the number of the band make one integer
BANDS = PERMUTATIONS // PLACES
_AT_ONCE = 1 << 20  # pairs held at a time

Signatures = NDArray[np.uint8]


def _keys(signatures: Signatures) -> NDArray[np.uint64]:
    """One integer for each band of each text, uint64 (texts, bands): its places, and which band it is."""
    cut = signatures[:, : BANDS * PLACES].reshape(len(signatures), BANDS, PLACES).astype(np.uint64)
    keys = np.broadcast_to(np.arange(BANDS, dtype=np.uint64), cut.shape[:2]).copy()
    for place in range(PLACES):
        keys = (keys << np.uint64(8)) | cut[:, :, place]
    return keys


class Bands:
    """Texts to compare others with.

    Args:
        signatures: of the texts, uint8 (n, 128); see `foils.core.minhash.signatures`.
    """

    def __init__(self, signatures: Signatures) -> None:
        self._signatures = signatures
        keys = _keys(signatures).ravel()
        order = np.argsort(keys, kind="stable")
        self._keys, self._owner = keys[order], order // BANDS

    def near(self, signatures: Signatures, agree: float) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Pairs of other texts and of these that share a band and agree in the share ``agree`` of places.

        Args:
            signatures: of the others, uint8 (m, 128).
            agree: share of equal places from which a pair is worth a look.

        Yields:
            Places among the others and among these, int64 each; a pair may come more than once.
        """
        wanted = _keys(signatures).ravel()
        first, last = (np.searchsorted(self._keys, wanted, side=side) for side in ("left", "right"))
        hits = np.flatnonzero(last > first)
        for part in ragged.slices((last - first)[hits], _AT_ONCE):
            rows = hits[part]
            which, at = ragged.expand(first[rows], last[rows] - first[rows])
            other, own = rows[which] // BANDS, self._owner[at]
            pairs = np.unique(np.stack([other, own]), axis=1)
            equal = np.concatenate(
                [
                    (signatures[pairs[0, lo : lo + 4096]] == self._signatures[pairs[1, lo : lo + 4096]]).mean(axis=1)
                    for lo in range(0, pairs.shape[1], 4096)
                ]
            )
            yield pairs[0, equal >= agree], pairs[1, equal >= agree]
