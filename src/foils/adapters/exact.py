"""Exact inner-product search in tiles, with bounded memory and results that do not depend on the tiles.

A matrix product rounds differently for every shape, so its scores cannot break ties reproducibly. Here it only finds
candidates. The scores that are returned are canonical: products in float64, summed in an order that depends on the
dimension alone, rounded once to float32. That the candidates hold all winners is proved, not hoped:

Let u = 2⁻²⁴, γ = (d + 2) u / (1 - (d + 2) u) and e = γ ‖q‖ max‖d‖. Whatever the order of summation, a float32 product
differs from the exact one by at most γ_d ‖q‖‖d‖ (Higham 2002, Accuracy and Stability of Numerical Algorithms, section
3.1), and the canonical score by at most u ‖q‖‖d‖ and a little; so the two differ by at most e. If k documents have
products >= L, the k-th best canonical score is at least L - e, and whoever reaches that has a product >= L - 2 e.
"""

from __future__ import annotations

import math
import sys
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foils.adapters import scan
from foils.adapters.protocols import Found
from foils.adapters.scan_codes import best_form
from foils.adapters.scan_device import accelerator, device_search
from foils.adapters.scores import pair_scores
from foils.adapters.topk import lower_bounds, ranked
from foils.core.errors import ModelError

MEMORY = 160 << 20  # with threads and libraries, less than 0.3 GB above the vectors
_CELL = 128  # bytes that one score or one pooled candidate takes at worst, temporary arrays included
_UNIT = 2.0**-24
_LARGEST = float(np.finfo(np.float32).max) / 2

_COLD, _WARM = 1 << 35, 1 << 30  # multiplications that the quick scan pays for: if it must be loaded first, or is
_KERNELS = "foils.adapters.scan_kernels"
_LONGEST = 1e30  # of a document that the quick scan takes: its bounds stay within float32

Vectors = NDArray[Any]

__all__ = ["ExactIndex", "pair_scores", "search"]


def search(queries: Vectors, docs: Vectors, k: int, *, memory: int = MEMORY) -> Found:
    """The k documents with the largest inner product, for each query.

    Args:
        queries: (q, d), finite; computed on as float32.
        docs: (n, d), finite, may be memory-mapped; computed on as float32.
        k: at least 1; may exceed n.
        memory: bytes to stay within, besides the arguments and the result. Changes the speed, never the result.

    Returns:
        Rows int32 and scores float32, (q, k) each: score descending, then row ascending; padded with -1 and ``-inf``.

    Raises:
        ModelError: NaN or infinite vectors, or products beyond float32.
        ValueError: shapes that do not go together, or k < 1.
    """
    return ExactIndex(docs, memory=memory).search(queries, k)


class ExactIndex:
    """Exact search over vectors that stay where they are; see `search` for the arguments and the result.

    ``expected`` queries will be asked in all, as far as is known: many small blocks pay for what one large one does.

    >>> index = ExactIndex(np.eye(3, dtype=np.float32))
    >>> index.search(np.array([[0, 2, 1]], np.float32), k=2)
    (array([[1, 2]], dtype=int32), array([[2., 1.]], dtype=float32))
    """

    def __init__(self, docs: Vectors, *, memory: int = MEMORY, expected: int = 0) -> None:
        if docs.ndim != 2 or not docs.shape[1]:
            raise ValueError(f"document vectors of shape {docs.shape}; expected (documents, dimensions).")
        self.docs, self.memory = docs, memory
        self._scanner: scan.Scanner | None = None
        self._asked, self._expected = 0, expected
        self._longest = float(_lengths(docs, "document").max(initial=0.0))

    def search(self, vectors: Vectors, k: int) -> Found:
        """The k best documents of each query; see the function `search`."""
        dim = self.docs.shape[1]
        if vectors.ndim != 2 or vectors.shape[1] != dim:
            raise ValueError(f"query vectors of shape {vectors.shape}; expected (queries, {dim}).")
        if k < 1:
            raise ValueError(f"k={k}; expected at least 1.")
        slack = self._slack(_lengths(vectors, "query"))
        rows = np.full((len(vectors), k), -1, np.int32)
        scores = np.full((len(vectors), k), -np.inf, np.float32)
        wanted = min(k, len(self.docs))
        left = np.arange(len(vectors) if wanted else 0)
        self._asked += len(vectors)
        if 0 < 16 * wanted <= len(self.docs) and self._longest < _LONGEST and self._pays(len(vectors)):
            left = self._quickly(vectors, slack, rows[:, :wanted], scores[:, :wanted])
        block, tile = self._sizes(len(left), wanted)
        for start in range(0, len(left), block):
            part = left[start : start + block]
            queries = np.ascontiguousarray(vectors[part], np.float32)
            rows[part, :wanted], scores[part, :wanted] = self._best(queries, slack[part], wanted, tile)
        return rows, scores

    def _pays(self, queries: int) -> bool:
        """Whether there is enough to do for the quick scan."""
        if self.docs.size <= self.memory // 2:  # else documents are coded for each call
            queries = max(self._asked, self._expected)
        return queries * self.docs.size >= (_WARM if _KERNELS in sys.modules else _COLD)

    def _quickly(
        self, vectors: Vectors, slack: NDArray[np.float64], rows: NDArray[np.int32], scores: NDArray[np.float32]
    ) -> NDArray[np.intp]:
        """Write the best of most queries by what is installed here; returns those still to do."""
        queries, device = np.ascontiguousarray(vectors, np.float32), accelerator()
        if device is not None:
            rows[:], scores[:], left_open = device_search(queries, self.docs, rows.shape[1], slack, device)
            return np.flatnonzero(left_open)
        if self._scanner is None and scan.available():
            form = best_form(self.docs.shape[1])
            self._scanner = None if form is None else scan.Scanner(self.docs, form, self.memory)
        if self._scanner is None:
            return np.arange(len(queries))
        return np.flatnonzero(self._scanner.search(queries, partial(pair_scores, queries, self.docs), rows, scores))

    def _slack(self, lengths: NDArray[np.float64]) -> NDArray[np.float64]:
        """Twice the bound e of the module's text; the last term covers products that underflow."""
        dim = self.docs.shape[1]
        largest = float(lengths.max(initial=0.0)) * self._longest
        if largest >= _LARGEST:
            raise ModelError(f"inner products up to {largest:.3g} do not fit float32. Normalise or scale the vectors.")
        gamma = (dim + 2) * _UNIT / (1 - (dim + 2) * _UNIT)
        slack: NDArray[np.float64] = 2 * (gamma * lengths * self._longest + dim * 2.0**-126)
        return slack

    def _sizes(self, queries: int, k: int) -> tuple[int, int]:
        """Queries a block and documents a tile."""
        cells = max(1, self.memory // (2 * _CELL))
        block = max(1, min(queries, 1024, math.isqrt(cells), cells // (2 * max(1, k))))
        tile = min(cells // block, self.memory // (8 * self.docs.shape[1]))
        return block, max(1, min(tile, len(self.docs)))

    def _best(self, queries: NDArray[np.float32], slack: NDArray[np.float64], k: int, tile: int) -> Found:
        pool = _Pool(queries, self.docs, slack, k, limit=max(1, self.memory // (2 * _CELL)))
        for start in range(0, len(self.docs), tile):
            docs = np.asarray(self.docs[start : start + tile], np.float32)
            pool.add(queries @ docs.T, start)
        return pool.settle()


class _Pool:
    """The documents that may still be among the k best of a block of queries.

    ``score`` holds values that differ from the canonical score by at most half the slack.
    """

    def __init__(
        self, queries: NDArray[np.float32], docs: Vectors, slack: NDArray[np.float64], k: int, limit: int
    ) -> None:
        self.queries, self.docs, self.slack, self.k, self.limit = queries, docs, slack, k, limit
        self.floor = np.full(len(queries), -np.inf, np.float32)
        self.query, self.row = np.zeros(0, np.int32), np.zeros(0, np.int32)
        self.score = np.zeros(0, np.float32)
        self._cut_at = 0

    def add(self, scores: NDArray[np.float32], start: int) -> None:
        """Take in a tile of scores (queries, documents) whose first document is row ``start``."""
        if np.isneginf(self.floor).any():
            self._raise_floor(lower_bounds(scores, self.k))
        hits = np.flatnonzero(scores >= self.floor[:, None])
        query, column = np.divmod(hits, scores.shape[1])
        self.query = np.concatenate([self.query, query.astype(np.int32)])
        self.row = np.concatenate([self.row, (column + start).astype(np.int32)])
        self.score = np.concatenate([self.score, scores.ravel()[hits]])
        if len(self.query) > min(self._cut_at, self.limit):
            self._cut()
            if len(self.query) > self.limit:  # very many near ties
                self.settle()
            self._cut_at = 2 * max(len(self.query), len(self.queries) * self.k)

    def settle(self) -> Found:
        """Keep exactly the k best of what was added, by canonical score, and return them."""
        self._cut()
        canonical = pair_scores(self.queries, self.docs, self.query, self.row)
        rows, scores = ranked(self.query, self.row, canonical, len(self.queries), self.k)
        query, place = np.nonzero(rows >= 0)
        self.query, self.row, self.score = query.astype(np.int32), rows[query, place], scores[query, place]
        return rows, scores

    def _raise_floor(self, reached: NDArray[np.float32]) -> None:
        """At least k of each query's documents reach these values."""
        floor = (reached - self.slack).astype(np.float32)
        np.maximum(self.floor, np.nextafter(floor, np.float32(-np.inf)), out=self.floor)

    def _cut(self) -> None:
        """Drop what cannot win any more."""
        self._raise_floor(self._kth())
        keep = self.score >= self.floor[self.query]
        self.query, self.row, self.score = self.query[keep], self.row[keep], self.score[keep]

    def _kth(self) -> NDArray[np.float32]:
        """The k-th largest value of each query, ``-inf`` where there are fewer."""
        # One integer holds query and score, descending: a plain sort is many times faster than sorting by two keys.
        bits = self.score.view(np.uint32)
        ascending = np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31))
        keys = np.sort(self.query.astype(np.uint64) << np.uint64(32) | ~ascending)
        sizes = np.bincount(self.query, minlength=len(self.queries))
        enough = sizes >= self.k
        at = (np.cumsum(sizes) - sizes + self.k - 1)[enough]
        ascending = ~(keys[at] & np.uint64(0xFFFFFFFF)).astype(np.uint32)
        kth = np.full(len(self.queries), -np.inf, np.float32)
        kth[enough] = np.where(ascending >> 31, ascending & np.uint32(0x7FFFFFFF), ~ascending).view(np.float32)
        return kth


def _lengths(vectors: Vectors, what: str) -> NDArray[np.float64]:
    """Euclidean lengths, float64 (n,); refuses vectors that are not finite."""
    lengths = np.empty(len(vectors), np.float64)
    step = max(1, (1 << 20) // vectors.shape[1])
    for start in range(0, len(vectors), step):
        part = np.asarray(vectors[start : start + step], np.float32).astype(np.float64)
        lengths[start : start + step] = np.sqrt(np.square(part).sum(axis=1))
    bad = np.flatnonzero(~np.isfinite(lengths))
    if len(bad):
        message = f"{len(bad):,} of {len(vectors):,} {what} vectors are NaN or infinite, the first in row {bad[0]}."
        raise ModelError(f"{message} Encode again, or check the model that made them.")
    return lengths
