"""Vectors that a cache has already: of the same text by the same weights, whatever collection they were made for.

Each folder of vectors keeps a digest of every text. When documents are added to a collection, changed or removed, its
side is another one and gets a folder of its own; what stayed the same is then copied and only the rest is encoded.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

DATA, DONE, META, TEXTS = "vectors.npy", "done", "meta.json", "texts.npy"
_AGREE = ("format", "encoder", "kind")  # of two folders whose rows are worth the same
_FREE = 1_000_000  # rows of further folders that are looked into besides as many as are wanted

Digests = NDArray[np.uint64]


def digests(texts: Sequence[str]) -> Digests:
    """128-bit digests, uint64 (n, 2): two of 100 million texts share one with odds of 1 in 10^22."""
    blake = hashlib.blake2b
    joined = b"".join([blake(text.encode("utf-8", "surrogatepass"), digest_size=16).digest() for text in texts])
    return np.frombuffer(joined, "<u8").astype(np.uint64).reshape(-1, 2)


class _Part(NamedTuple):
    texts: NDArray[np.uint64]  # (n, 2), memory-mapped
    vectors: NDArray[np.float32]  # (n, dim), memory-mapped
    rows: NDArray[np.int64]  # those that are done


class Known:
    """Rows of other folders, found by the digest of their text.

    Args:
        parts: what the folders hold; at least one.
    """

    def __init__(self, parts: Sequence[_Part]) -> None:
        self._parts = parts
        keys = np.concatenate([part.texts[part.rows, 0] for part in parts])
        order = np.argsort(keys, kind="stable")
        self._keys = keys[order]
        self._part = np.repeat(np.arange(len(parts), dtype=np.int8), [len(part.rows) for part in parts])[order]
        self._row = np.concatenate([part.rows for part in parts])[order]

    @classmethod
    def find(cls, made_of: Mapping[str, Any], caches: Iterable[Path], besides: Path) -> Known | None:
        """What folders of the same weights hold; None if there is no such row.

        The largest folder is looked into, and others as long as all have no more rows than are wanted and a million;
        it takes 25 bytes of memory a row.

        Args:
            made_of: ``meta.json`` of the folder that is to be filled.
            caches: folders of such folders.
            besides: the folder that is to be filled.
        """
        found = {path for cache in caches if cache.is_dir() for path in cache.iterdir()}
        alike = [(rows, path) for path in found if path != besides and (rows := _alike(path, made_of))]
        # The same order everywhere: which of two copies is taken may decide a last bit.
        alike.sort(key=lambda each: (-each[0], each[1].name))
        parts: list[_Part] = []
        room = made_of["shape"][0] + _FREE
        for rows, path in alike:
            part = _opened(path, made_of["chunk"]) if not parts or rows <= room else None
            if part is not None and len(parts) < 127:
                parts.append(part)
                room -= rows
        return cls(parts) if parts else None

    def take(self, wanted: Digests) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
        """Which of these texts are known, bool (n,), and the vectors of those, float32 (known, dim)."""
        place = np.minimum(np.searchsorted(self._keys, wanted[:, 0]), len(self._keys) - 1)
        part, row = self._part[place], self._row[place]
        known = self._keys[place] == wanted[:, 0]
        taken = np.empty((len(wanted), self._parts[0].vectors.shape[1]), np.float32)
        for number, (texts, vectors, _) in enumerate(self._parts):
            here = np.flatnonzero(known & (part == number))
            known[here] = texts[row[here], 1] == wanted[here, 1]
            here = here[known[here]]
            taken[here] = vectors[row[here]]
        return known, taken[known]


def runs(positions: NDArray[np.intp]) -> Iterator[tuple[int, slice]]:
    """Ascending positions as stretches without a gap: where each begins, and which of them it has."""
    cuts = [0, *(np.flatnonzero(np.diff(positions) != 1) + 1).tolist(), len(positions)]
    for start, stop in pairwise(cuts):
        if stop > start:
            yield int(positions[start]), slice(start, stop)


def _alike(folder: Path, made_of: Mapping[str, Any]) -> int:
    """How many rows a folder has, if they are by the same weights; else 0."""
    try:
        there = json.loads((folder / META).read_text(encoding="utf-8"))
        same = all(there[name] == made_of[name] for name in _AGREE) and there["shape"][1] == made_of["shape"][1]
        return int(there["shape"][0]) if same and there["chunk"] == made_of["chunk"] else 0
    except (OSError, ValueError, KeyError, TypeError):
        return 0  # being made, being deleted, or not ours


def _opened(folder: Path, chunk: int) -> _Part | None:
    try:
        done = np.fromfile(folder / DONE, np.uint8) == 1
        texts = np.load(folder / TEXTS, mmap_mode="r")
        vectors = np.load(folder / DATA, mmap_mode="r")
    except (OSError, ValueError):
        return None  # as above, or made before texts had digests
    if texts.shape != (len(vectors), 2) or len(done) != -(-len(vectors) // chunk):
        return None
    rows = np.flatnonzero(np.repeat(done, chunk)[: len(vectors)])
    return _Part(texts, vectors, rows) if len(rows) else None
