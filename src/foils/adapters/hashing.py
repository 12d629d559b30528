"""Compact hashing: a vector as bits, candidates by Hamming distance, canonical scores for the nearest.

Bits are packed, eight to a byte; all of them are compared (FAISS's binary flat index, population counts), so a search
is exhaustive over codes that are 32 times smaller than vectors of as many dimensions. Ties in distance go to the
smaller row. The code of a document depends on nothing but its vector and the fixed mean or hyperplanes, so updates are
exact.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foils.adapters.ann_faiss import library
from foils.adapters.ann_index import Approximate, Done
from foils.adapters.ann_settings import Bits, Lsh
from foils.core import noise

_CHUNK = 1 << 16  # vectors hashed at a time
_COUNTERS = 1 << 28  # bytes of FAISS's counters


class _Hashed(Approximate):
    """Codes in the order of ``rows``."""

    _codes: NDArray[np.uint8]

    def _learn(self) -> NDArray[np.float64]:
        """What the hash depends on besides the vector."""
        raise NotImplementedError

    def _hash(self, vectors: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Packed bits, (n, bytes)."""
        raise NotImplementedError

    def _build(self) -> None:
        self._learned = self._learn()
        self._codes = self._hashed(self.rows)
        self._fill()

    def _hashed(self, rows: NDArray[np.int32]) -> NDArray[np.uint8]:
        starts = range(0, max(1, len(rows)), _CHUNK)
        return np.concatenate([self._hash(np.asarray(self.docs[rows[at : at + _CHUNK]], np.float32)) for at in starts])

    def _fill(self) -> None:
        self._index: Any = library().IndexBinaryFlat(8 * self._codes.shape[1])
        self._index.use_heap = False
        self._index.add(self._codes)

    def _save(self, folder: Path) -> None:
        np.save(folder / "codes.npy", self._codes)
        np.save(folder / "learned.npy", self._learned)

    def _load(self, folder: Path) -> None:
        self._codes = np.load(folder / "codes.npy", allow_pickle=False)
        self._learned = np.load(folder / "learned.npy", allow_pickle=False)
        self._fill()

    def _propose(self, queries: NDArray[np.float32], fetch: int) -> NDArray[np.int64]:
        # Counting by distance is twice as fast as FAISS's heaps; per query it holds `fetch` rows for each distance.
        held = 8 * fetch * (8 * self._codes.shape[1] + 1)
        self._index.query_batch_size = max(1, min(32, _COUNTERS // held))
        places: NDArray[np.int64] = self._index.search(self._hash(queries), fetch)[1]
        return np.where(places >= 0, self.rows[np.maximum(places, 0)], -1)

    def _update(self, changed: NDArray[np.int32], gone: NDArray[np.int32], before: NDArray[np.int32]) -> Done:
        codes = np.zeros((len(self.rows), self._codes.shape[1]), np.uint8)
        stayed = np.isin(self.rows, changed, invert=True)
        codes[stayed] = self._codes[np.isin(before, gone, invert=True)]
        codes[~stayed] = self._hashed(changed)
        self._codes = codes
        self._fill()
        return "re-added"


class BitsIndex(_Hashed):
    """`Bits`. An update hashes the changed vectors with the old mean."""

    settings: Bits

    def _learn(self) -> NDArray[np.float64]:
        total = np.zeros(self.docs.shape[1])
        for at in range(0, len(self.rows), _CHUNK):
            total += np.asarray(self.docs[self.rows[at : at + _CHUNK]], np.float64).sum(axis=0)
        return total / max(1, len(self.rows))

    def _hash(self, vectors: NDArray[np.float32]) -> NDArray[np.uint8]:
        return np.packbits(vectors > self._learned, axis=1)


class LshIndex(_Hashed):
    """`Lsh`. An update hashes the changed vectors; the hyperplanes do not depend on the data."""

    settings: Lsh

    def _learn(self) -> NDArray[np.float64]:
        # Normal draws (Box and Muller), keyed by (dimension, hyperplane).
        dims, planes = (np.arange(count, dtype=np.uint64) for count in (self.docs.shape[1], self.settings.bits))
        length, turn = (noise.uniform(0, f"lsh {part}", dims[:, None], planes[None, :]) for part in ("length", "turn"))
        normal: NDArray[np.float64] = np.sqrt(-2 * np.log(length)) * np.cos(2 * np.pi * turn)
        return normal

    def _hash(self, vectors: NDArray[np.float32]) -> NDArray[np.uint8]:
        # In float64 a product's rounding, which depends on the batch, does not reach a sign unless it is all but 0.
        return np.packbits(vectors.astype(np.float64) @ self._learned > 0, axis=1)
