"""Compiled loops of exact search. Needs numba; `foils.adapters.scan` and `foils.adapters.exact` import it when used.

Nothing here runs in parallel by itself: the loops release the interpreter lock and are called from several threads.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Set
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]

_Loop = TypeVar("_Loop", bound=Callable[..., Any])

_PARTS = 4096  # of the documents, when pairs are put in their order
_BINS = 512
_RELATIVE = 2.0**-18  # far above the rounding of the few operations that it covers
_ABSOLUTE = 1e-37  # covers what underflows
_SMALLEST = 1e-30  # of the largest element: below, a vector is all quantisation error


def compiled(fastmath: Set[str] = frozenset()) -> Callable[[_Loop], _Loop]:
    """Compile a loop when first called, and keep the machine code where numba can find a folder for it."""

    def decorated(loop: _Loop) -> _Loop:
        try:
            return cast(_Loop, numba.njit(nogil=True, cache=True, fastmath=set(fastmath))(loop))
        except RuntimeError:  # no folder may be written
            return cast(_Loop, numba.njit(nogil=True, fastmath=set(fastmath))(loop))

    return decorated


@compiled({"reassoc", "contract", "nnan", "nsz"})
def quantise(
    vectors: Floats, centre: Floats, places: NDArray[np.int64], codes: NDArray[np.int8], facts: Floats
) -> None:
    """Rows minus ``centre`` as integers from -127 to 127 times a scale of the row's own.

    Args:
        vectors: float32 (n, d), finite.
        centre: float32 (d,).
        places: int64 (n,), the row of ``codes`` and column of ``facts`` that each goes to.
        codes: int8 (m, d), written.
        facts: float32 (3, m), written: the scale; the length of the quantisation error plus what the rounding of a
            score can add, per unit of the other vector's length; the length of the row minus centre. Rounded up.
    """
    shifted = np.empty(vectors.shape[1], np.float32)
    for i in range(len(vectors)):
        place = places[i]
        largest = np.float32(0)
        for j in range(vectors.shape[1]):
            shifted[j] = vectors[i, j] - centre[j]
            largest = max(largest, abs(shifted[j]))
        scale, inverse = np.float32(0), np.float32(0)
        if largest > _SMALLEST:
            scale, inverse = largest / np.float32(127), np.float32(127) / largest
        error, length, coded = 0.0, 0.0, 0.0
        for j in range(vectors.shape[1]):
            code = np.int32(shifted[j] * inverse + np.float32(128.5)) - np.int32(128)  # rounded to the nearest
            codes[place, j] = code
            back = np.float64(scale) * np.float64(code)
            value = np.float64(vectors[i, j]) - np.float64(centre[j])
            error += (value - back) * (value - back)
            length += value * value
            coded += back * back
        facts[0, place] = scale
        facts[1, place] = math.sqrt(error) * (1 + _RELATIVE) + math.sqrt(coded) * _RELATIVE / 4 + _ABSOLUTE
        facts[2, place] = math.sqrt(length) * (1 + _RELATIVE) + _ABSOLUTE


@compiled({"nnan", "ninf", "nsz"})
def _reached(values: Floats, k: int) -> np.float32:
    """A value that at least k of the values reach, at or a little below the k-th largest."""
    low, high = values[0], values[0]
    for value in values:
        low, high = min(low, value), max(high, value)
    inverse = np.float32(_BINS - 1) / max(high - low, np.float32(_SMALLEST))
    counts = np.zeros(_BINS, np.int32)
    for value in values:
        counts[np.int32((value - low) * inverse)] += 1
    least, total = np.int32(_BINS - 1), np.int64(counts[_BINS - 1])
    while total < k:
        least -= 1
        total += counts[least]
    found = high
    for value in values:
        found = min(found, value if np.int32((value - low) * inverse) >= least else high)
    return np.float32(found)


@compiled()
def _cut(rows: Ints, bounds: Floats, count: int, k: int, floor: np.float32) -> tuple[int, np.float32]:
    """Keep the candidates of one query that may be among its k best; returns how many, and the floor then."""
    if count >= k:
        floor = max(floor, _reached(bounds[0, :count], k))
    kept = 0
    for c in range(count):
        row, low, high = rows[c], bounds[0, c], bounds[1, c]
        rows[kept], bounds[0, kept], bounds[1, kept] = row, low, high
        kept += high >= floor
    return kept, floor


@compiled()
def cut(rows: Ints, bounds: Floats, count: Ints, floor: Floats, k: int) -> None:
    """`_cut` for each query."""
    for q in range(len(rows)):
        if count[q] >= 0:
            count[q], floor[q] = _cut(rows[q], bounds[q], count[q], k, floor[q])


@compiled()
def verify(bounds: Floats, count: Ints, floor: Floats, k: int) -> None:
    """Give up the queries whose floor was estimated higher than k of their documents are known to reach."""
    for q in range(len(count)):
        above = 0
        for c in range(count[q]):
            above += bounds[q, 0, c] >= floor[q]
        if above < k:
            count[q] = -1


@compiled({"contract", "nnan", "nsz"})
def _mark(line: NDArray[Any], scale: Floats, width: Floats, reach: np.float32, least: np.float32, out: Any) -> None:
    """Which documents may reach a floor; all in units of the query's scale."""
    for j in range(len(line)):
        out[j] = np.uint8(np.float32(line[j]) * scale[j] + reach * width[j] >= least)


@compiled()
def _first_floor(line: NDArray[Any], facts: Floats, query: Floats, rank: int) -> np.float32:
    """What ``rank`` of every fourth document reach; as good as none if there are fewer."""
    lows = np.empty(len(line) // 4, np.float32)
    if len(lows) < rank:
        return np.float32(-np.inf)
    for i in range(len(lows)):
        margin = query[1] * facts[1, 4 * i] + query[2] * facts[2, 4 * i] + query[4]
        lows[i] = np.float32(line[4 * i]) * facts[0, 4 * i] * query[0] + query[3] - margin
    return _reached(lows, rank)


@compiled({"contract"})
def scan(
    products: NDArray[Any],
    docs: tuple[int, int, Floats],
    queries: Floats,
    state: tuple[Ints, Floats, Ints, Floats],
    k: int,
    estimate: int,
) -> None:
    """Add the documents of a tile that may be among a query's k best to its candidates.

    Args:
        products: (queries, documents): inner products of the codes, int32 or float32.
        docs: the row of the tile's first document, the step from one to the next, and the facts of `quantise`.
        queries: float32 (queries, 5): scale, length of the coded query, of its error, its product with the centre,
            and a slack for the rounding of the latter.
        state: see `foils.adapters.scan.State`.
        k: number of documents wanted.
        estimate: afterwards take the lower bound of this rank as the floor; 0 to leave it.
    """
    first, step, facts = docs
    rows, bounds, count, floor = state
    marks = np.zeros((products.shape[1] + 7) // 8, np.uint64)
    flags = marks.view(np.uint8)
    hits = np.empty(8 * len(marks) + 8, np.int32)
    ratio = (queries[:, 2] / queries[:, 1]).max()
    width = facts[1] + ratio * facts[2]
    for q in range(len(products)):
        if count[q] < 0:  # given up
            continue
        line, query = products[q], queries[q]
        scale, coded, error, centre, slack = query
        if estimate and floor[q] == -np.inf:
            floor[q] = _first_floor(line, facts, query, estimate)
        _mark(line, facts[0], width, coded / scale, ((floor[q] - centre) - slack) / scale, flags)
        found = 0
        for word in range(len(marks)):
            if marks[word]:
                for j in range(8 * word, 8 * word + 8):
                    hits[found] = j
                    found += flags[j]
        c = count[q]
        if c + found >= rows.shape[1]:
            c, floor[q] = _cut(rows[q], bounds[q], c, k, floor[q])
            if c + found >= rows.shape[1]:
                count[q] = -1
                continue
        for i in range(found):
            j = hits[i]
            margin = coded * facts[1, j] + error * facts[2, j] + slack
            value = np.float32(line[j]) * facts[0, j] * scale + centre
            rows[q, c], bounds[q, 0, c], bounds[q, 1, c] = first + step * j, value - margin, value + margin
            c += value + margin >= floor[q]
        if estimate:
            c, floor[q] = _cut(rows[q], bounds[q], c, estimate, floor[q])
        count[q] = c


@compiled()
def unsettled(rows: Ints, bounds: Floats, count: Ints, least: Floats, docs: int, out: tuple[Ints, Ints, Ints]) -> int:
    """Candidates whose score is not known exactly and that reach ``least``: (query, place, row) into ``out``.

    They come roughly in the order of the rows, of which there are ``docs``: so each is read from memory about once.
    """
    span = docs // _PARTS + 1
    at = np.zeros(_PARTS + 1, np.int64)
    for q in range(len(rows)):
        for c in range(count[q]):
            if bounds[q, 0, c] != bounds[q, 1, c] and bounds[q, 0, c] >= least[q]:
                at[rows[q, c] // span + 1] += 1
    at = np.cumsum(at)
    found = at[_PARTS]
    for q in range(len(rows)):
        for c in range(count[q]):
            if bounds[q, 0, c] != bounds[q, 1, c] and bounds[q, 0, c] >= least[q]:
                n = at[rows[q, c] // span]
                at[rows[q, c] // span] = n + 1
                out[0][n], out[1][n], out[2][n] = q, c, rows[q, c]
    return int(found)


@compiled()
def settle(bounds: Floats, query: Ints, place: Ints, scores: Floats) -> None:
    """Write exact scores over the bounds of candidates."""
    for i in range(len(scores)):
        bounds[query[i], 0, place[i]] = scores[i]
        bounds[query[i], 1, place[i]] = scores[i]


@compiled()
def rank(rows: Ints, bounds: Floats, count: Ints, out_rows: Ints, out_scores: Floats) -> None:
    """The k best of each query's settled candidates: score descending, then row ascending."""
    k = out_rows.shape[1]
    for q in range(len(rows)):
        if count[q] < k:
            continue
        bits = bounds[q, 0, : count[q]].view(np.int32)
        keys = np.empty(count[q], np.int64)
        for c in range(count[q]):
            ordered = np.int64(bits[c]) if bits[c] >= 0 else np.int64(-2147483648) - np.int64(bits[c])
            keys[c] = (-ordered << 32) | np.int64(rows[q, c])
        keys.sort()
        for c in range(k):
            out_rows[q, c] = keys[c] & 0x7FFFFFFF
            ordered = -(keys[c] >> 32)
            bits[c] = np.int32(ordered if ordered >= 0 else np.int64(-2147483648) - ordered)
            out_scores[q, c] = bounds[q, 0, c]
