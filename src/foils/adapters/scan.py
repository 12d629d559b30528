"""The quick scan of exact search: products of 8-bit integers, with bounds that prove which documents can win.

Let c be any vector (here the mean of some documents), d' = d - c, and let â = s a be a vector's approximation by
integers a times its own scale s. Then, exactly,

    q·d = q·c + q̂·d̂' + q̂·(d' - d̂') + (q - q̂)·d'
    |q·d - q·c - s_q s_d (a_q·a_d)| <= ‖q̂‖ ‖d' - d̂'‖ + ‖q - q̂‖ ‖d'‖

by the triangle and Cauchy-Schwarz inequalities. The integer product is exact. The norms are computed in float64 and
rounded up by 2⁻¹⁸; a further 2⁻²⁰ ‖q̂‖ ‖d̂'‖ + 2⁻²⁰ |q·c| covers the fewer than sixteen float32 operations (2⁻²⁴ each)
that apply the bound and the rounding of the canonical score; 10⁻³⁷ covers underflow. Processors without 8-bit products
scan float32 products instead: then c = 0, d̂ = d, and the margin is that of `foils.adapters.exact`.

Every candidate keeps a lower and an upper bound of its canonical score. A query's floor is what at least k documents
reach: it only rises, and who cannot reach it is dropped. At the end the k candidates with the largest lower bounds get
their canonical score, which raises the floor to within one margin of the answer; then the others that still reach it.

Early floors are estimated. Tiles take every m-th document, so the first few are a fair sample, and a floor that about
1 in 10,000 estimates overshoots saves most of the work. It is verified when the slab is done: where fewer than k
documents reach it, the query is searched again in the plain way, and so are queries with more near ties than there is
room for. What is returned depends on the canonical scores alone: tiles, threads and the form of the codes do not show.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foils.adapters.scan_codes import WORD, Codes, Form, Marks

Vectors = NDArray[Any]
Floats = NDArray[np.float32]
Ints = NDArray[np.int32]
Score = Callable[[NDArray[np.int64], NDArray[np.int64]], Floats]
Spread = Callable[[Callable[[slice], None], Iterable[slice]], None]

QUERIES, TILE = 1024, 1024  # of one product: its 4 MB of results stay in the cache
_FINISH = 2048  # queries whose candidates are scored together, in the order of the documents
_FEWEST = 128  # queries that a thread is woken for
_LOOKS = (1, 4, 16, 64)  # tiles after which the floor is estimated
_ENCODE = 4096  # vectors coded by one task
_SAMPLE = 4096  # documents that the centre is the mean of
_ROOM = 768  # candidates of a query besides 4 k
_CANDIDATE = 12  # bytes


def available() -> bool:
    """Whether torch and numba are installed (the extra ``fast``); imports neither."""
    return all(importlib.util.find_spec(name) for name in ("torch", "numba"))


@dataclass(frozen=True)
class State:
    """The candidates of a group of queries.

    ``rows`` (q, room) and ``bounds`` (q, 2, room): documents, and the lower and upper bounds of their scores;
    ``count`` (q,): how many, or -1 if the query is left open; ``floor`` (q,): see the module's text.
    """

    rows: Ints
    bounds: Floats
    count: Ints
    floor: Floats

    @staticmethod
    def of(queries: int, room: int) -> State:
        """Room for so many queries."""
        count, floor = np.empty(queries, np.int32), np.empty(queries, np.float32)
        return State(np.empty((queries, room), np.int32), np.empty((queries, 2, room), np.float32), count, floor)

    def new(self, queries: int) -> State:
        """As many of the queries, without candidates."""
        state = self.part(slice(queries))
        state.count[:], state.floor[:] = 0, -np.inf
        return state

    def part(self, part: slice) -> State:
        """A view of some of the queries."""
        return State(self.rows[part], self.bounds[part], self.count[part], self.floor[part])

    def arrays(self) -> tuple[Ints, Floats, Ints, Floats]:
        """For compiled code."""
        return self.rows, self.bounds, self.count, self.floor


class Scanner:
    """Documents to scan, coded a slab at a time; a slab's codes take at most half of ``memory`` (bytes)."""

    def __init__(self, docs: Vectors, form: Form, memory: int) -> None:
        self.docs, self.form, self.memory = docs, form, memory
        sample = np.asarray(docs[:: max(1, len(docs) // _SAMPLE)], np.float32)
        self._centre = sample.mean(axis=0, dtype=np.float64).astype(np.float32)
        if form.products is np.float32:
            self._centre[:] = 0
        per_row = docs.shape[1] * form.bytes + 12
        slabs = -(-len(docs) // max(TILE, memory // 2 // per_row))
        self._slab = -(-len(docs) // slabs)
        tiles, size = -(-self._slab // TILE), -(-TILE // WORD) * WORD
        self._store = Codes(form.room(tiles, size, docs.shape[1]), np.zeros((tiles, 3, size), np.float32))
        self._stored: int | None = None  # the first row of the slab that the store holds
        self._turn = Lock()

    def search(self, queries: Floats, score: Score, rows: Ints, scores: Floats) -> NDArray[np.bool_]:
        """Write the rows and canonical scores of the k best; returns which queries have been left open.

        Args:
            queries: float32 (q, d), contiguous.
            score: canonical scores of pairs of rows (query, document).
            rows: int32 (q, k), written; k is at least 1 and at most the number of documents.
            scores: float32 (q, k), written.
        """
        # Whoever scans has enough pairs to score in all, though few in each call.
        import foils.adapters.score_kernels  # noqa: F401

        k = rows.shape[1]
        left_open = np.zeros(len(queries), np.bool_)
        room = _ROOM + 4 * k
        groups = -(-len(queries) // max(1, self.memory // 4 // (_CANDIDATE * room)))
        group = max(1, -(-len(queries) // max(1, groups)))
        store = State.of(group, room)  # fresh memory for each group would cost more than it holds
        with self._turn, _threads() as spread:
            for part in _ranges(len(queries), group):
                state = store.new(len(queries[part]))
                self._scan(queries[part], k, state, spread)
                finish = _Finish(state, k, part.start, score, rows, scores, len(self.docs))
                spread(finish, _shares(len(state.count), _FINISH))
                left_open[part] = state.count < 0
        return left_open

    def _scan(self, queries: Floats, k: int, state: State, spread: Spread) -> None:
        """Find the candidates of some queries."""
        coded = self.form.encode(queries, np.zeros_like(self._centre))
        state.count[coded.facts[0] == 0] = -1
        facts = self._query_facts(queries, coded)
        for first in range(0, len(self.docs), self._slab):
            total = min(self._slab, len(self.docs) - first)
            blocks = _Blocks(self.form, coded.codes, facts, self._docs(first, total, spread), first, total, k, state)
            spread(blocks, _shares(len(queries), QUERIES))

    def _docs(self, first: int, total: int, spread: Spread) -> Codes:
        """A slab of documents by tiles, each of which takes every m-th."""
        tiles = -(-total // TILE)
        slab = Codes(self._store.codes[:tiles], self._store.facts[:tiles])
        if self._stored == first:
            return slab
        docs, self._stored = self.docs[first : first + total], None

        def work(part: slice) -> None:
            turn, tile = np.divmod(np.arange(part.start, part.stop), tiles)
            coded = self.form.encode(np.ascontiguousarray(docs[part], np.float32), self._centre)
            self.form.place(coded.codes, tile, turn, slab.codes)
            slab.facts[tile, :, turn] = coded.facts.T

        spread(work, _ranges(total, _ENCODE))
        self._stored = first
        return slab

    def _query_facts(self, queries: Floats, coded: Codes) -> Floats:
        """Float32 (q, 5): what `foils.adapters.scan_kernels.scan` takes."""
        scale, error, length = coded.facts.astype(np.float64)
        # Not by BLAS: its threads would go on spinning beside those that scan.
        along = np.einsum("ij,j->i", queries, self._centre, dtype=np.float64)
        if self.form.products is np.float32:
            error[:] = 0
        columns = scale, (length + error) * (1 + 2.0**-20), error, along, np.abs(along) * 2.0**-20 + 1e-37
        return np.stack(columns, axis=1).astype(np.float32)


@dataclass(frozen=True)
class _Blocks:
    """Blocks of a group of queries against a slab of documents whose first is row ``first``."""

    form: Form
    queries: NDArray[Any]
    facts: Floats
    slab: Codes
    first: int
    total: int
    k: int
    state: State

    def __call__(self, block: slice) -> None:
        """All documents of the slab for a block of queries."""
        from foils.adapters.scan_kernels import scan, verify, wanted

        queries, facts, state = self.form.ready(self.queries[block]), self.facts[block], self.state.part(block)
        tiles, _, size = self.slab.facts.shape
        marks = Marks.of(len(facts), size, self.form)
        width, ratio = np.empty(size // WORD, np.float32), (facts[:, 2] / facts[:, 1]).max()
        for tile in range(tiles):
            docs = self.slab.facts[tile]
            wanted(docs, facts, ratio, (state.floor, state.count), (marks.reach, marks.least, width))
            self.form.mark(queries, self.slab.codes[tile], docs[0], width, marks)
            place = (self.first + tile, tiles, -(-(self.total - tile) // tiles), docs, width)
            rank = self._rank(tile + 1, tiles)
            scan((marks.products, marks.marks), place, facts, state.arrays(), self.k, rank)
        if self.first == 0:
            verify(state.bounds, state.count, state.floor, self.k)

    def _rank(self, seen: int, tiles: int) -> int:
        """Rank in the first tiles of the first slab that is hardly below rank k of the whole slab; 0 for none."""
        if self.first or seen not in _LOOKS:
            return 0
        expected = self.k * seen / tiles
        return min(self.k, math.ceil(expected + 4 * math.sqrt(expected) + 4))


@dataclass(frozen=True)
class _Finish:
    """Gives the candidates of a group their canonical scores and ranks them."""

    state: State
    k: int
    start: int
    score: Score
    rows: Ints
    scores: Floats
    docs: int

    def __call__(self, block: slice) -> None:
        """For a block of queries of the group."""
        from foils.adapters.scan_kernels import cut, rank

        state = self.state.part(block)
        cut(*state.arrays(), self.k)
        self._settle(state, state.floor, self.start + block.start)
        cut(*state.arrays(), self.k)
        self._settle(state, np.full_like(state.floor, -np.inf), self.start + block.start)
        cut(*state.arrays(), self.k)
        out = slice(self.start + block.start, self.start + block.stop)
        rank(state.rows, state.bounds, state.count, self.rows[out], self.scores[out])

    def _settle(self, state: State, least: Floats, start: int) -> None:
        """Canonical scores of those whose lower bound is at least this."""
        from foils.adapters.scan_kernels import settle, unsettled

        size = int(np.maximum(state.count, 0).sum())
        query, place, row = np.empty(size, np.int32), np.empty(size, np.int32), np.empty(size, np.int32)
        found = unsettled(state.rows, state.bounds, state.count, least, self.docs, (query, place, row))
        query, place, row = query[:found], place[:found], row[:found]
        scores = self.score(query.astype(np.int64) + start, row.astype(np.int64))
        settle(state.bounds, query, place, scores)


def _ranges(total: int, step: int) -> Iterator[slice]:
    return (slice(start, min(start + step, total)) for start in range(0, total, step))


def _shares(queries: int, most: int) -> Iterator[slice]:
    """Equal blocks of at most so many queries, as many for each thread: three for two would leave one idle."""
    import torch

    turns = -(-queries // (most * torch.get_num_threads()))
    tasks = min(turns * torch.get_num_threads(), -(-queries // _FEWEST))
    return _ranges(queries, -(-queries // tasks))


@contextmanager
def _threads() -> Iterator[Spread]:
    """Spread tasks over as many threads as torch has; each computes alone, so none waits for another."""
    import torch

    number = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(number, initializer=torch.set_num_threads, initargs=(1,)) as pool:

            def spread(task: Callable[[slice], None], parts: Iterable[slice]) -> None:
                for _ in pool.map(task, parts):
                    pass

            yield spread
    finally:
        torch.set_num_threads(number)
