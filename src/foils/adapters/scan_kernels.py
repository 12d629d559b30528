"""Compiled loops of exact search. Needs numba; `foils.adapters.scan` and `foils.adapters.exact` import it when used.

Nothing here runs in parallel by itself: the loops release the interpreter lock and are called from several threads.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Set
from typing import Any, TypeVar, cast

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from foils.adapters.scan_codes import WORD

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
def quantise(vectors: Floats, centre: Floats, codes: NDArray[np.int8], facts: Floats) -> None:
    """Rows minus ``centre`` as integers from -127 to 127 times a scale of the row's own.

    Args:
        vectors: float32 (n, d), finite.
        centre: float32 (d,).
        codes: int8 (n, d), written.
        facts: float32 (3, n), written: the scale; the length of the quantisation error plus what the rounding of a
            score can add, per unit of the other vector's length; the length of the row minus centre. Rounded up.
    """
    shifted = np.empty(vectors.shape[1], np.float32)
    for i in range(len(vectors)):
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
            codes[i, j] = code
            back = np.float64(scale) * np.float64(code)
            value = np.float64(vectors[i, j]) - np.float64(centre[j])
            error += (value - back) * (value - back)
            length += value * value
            coded += back * back
        facts[0, i] = scale
        facts[1, i] = math.sqrt(error) * (1 + _RELATIVE) + math.sqrt(coded) * _RELATIVE / 4 + _ABSOLUTE
        facts[2, i] = math.sqrt(length) * (1 + _RELATIVE) + _ABSOLUTE


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


@intrinsic  # type: ignore[untyped-decorator]
def _lowest_bit(typing: Any, word: Any) -> Any:
    """Place of the lowest bit that is set."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.IntType(1)(1))

    return types.int64(types.uint64), generate


@compiled({"contract"})
def wanted(
    facts: Floats, queries: Floats, ratio: np.float32, state: tuple[Floats, Ints], out: tuple[Floats, Floats, Floats]
) -> None:
    """What the documents of a tile must reach, in units of each query's scale, so as not to divide for each document.

    Args:
        facts: float32 (3, documents), see `quantise`.
        queries: float32 (queries, 5), see `scan`.
        ratio: the largest of error to coded length among the queries.
        state: floor and count of the queries.
        out: reach and least, float32 (at least queries,), filled up with what nothing reaches; the largest width of
            every 64 documents (one word of marks). A document may win if its scale times the product plus reach times
            width is at least ``least``.
    """
    floor, count = state
    reach, least, width = out
    reach[:], least[:] = 0, np.inf
    for q in range(len(queries)):
        if count[q] >= 0:
            scale, coded, _, centre, slack = queries[q]
            reach[q] = coded / scale
            least[q] = ((floor[q] - centre) - slack) / scale
    for word in range(len(width)):
        width[word] = 0
        for j in range(WORD * word, WORD * word + WORD):
            width[word] = max(width[word], facts[1, j] + ratio * facts[2, j])


@compiled({"contract", "nnan", "nsz"})
def _flag(line: NDArray[Any], scale: Floats, least: np.float32, out: Any) -> None:
    """A byte for each document: whether it may reach the least."""
    for j in range(len(line)):
        out[j] = np.uint8(np.float32(line[j]) * scale[j] >= least)


@compiled()
def _mark(
    line: NDArray[Any], facts: tuple[Floats, Floats], level: tuple[np.float32, np.float32], out: Any, marks: Any
) -> None:
    """`mark` for one query; ``out`` may be ``line``."""
    scale, width = facts
    flags = np.empty(WORD, np.uint8)
    eights = flags.view(np.uint64)
    taken = 0
    for word in range(len(marks)):
        part = slice(WORD * word, WORD * word + WORD)
        _flag(line[part], scale[part], level[1] - level[0] * width[word], flags)
        bits = np.uint64(0)
        for i in range(8):  # the multiplication takes the lowest bit of each byte to the top
            bits |= (eights[i] * np.uint64(0x0102040810204080) >> np.uint64(56)) << np.uint64(8 * i)
        marks[word] = bits
        while bits:
            out[taken] = line[WORD * word + _lowest_bit(bits)]
            bits &= bits - np.uint64(1)
            taken += 1


@compiled()
def mark(
    products: NDArray[Any],
    facts: tuple[Floats, Floats],
    levels: tuple[Floats, Floats],
    out: tuple[NDArray[Any], NDArray[np.uint64]],
) -> None:
    """What `foils.adapters.scan_products.mark` does, from all the products."""
    for q in range(len(products)):
        _mark(products[q], facts, (levels[0][q], levels[1][q]), out[0][q], out[1][q])


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
    found: tuple[NDArray[Any], NDArray[np.uint64]],
    docs: tuple[int, int, int, Floats, Floats],
    queries: Floats,
    state: tuple[Ints, Floats, Ints, Floats],
    k: int,
    estimate: int,
) -> None:
    """Add the documents of a tile that may be among a query's k best to its candidates.

    Args:
        found: of the documents to consider, the products of codes (queries, any), int32 or float32, in their order,
            and marks uint64 (queries, size / 64). The first time all are marked.
        docs: the row of the tile's first document, the step from one to the next, how many, the facts of `quantise`,
            float32 (3, size), and the largest widths (size / 64,), see `wanted`.
        queries: float32 (queries, 5): scale, length of the coded query, of its error, its product with the centre,
            and a slack for the rounding of the latter.
        state: see `foils.adapters.scan.State`.
        k: number of documents wanted.
        estimate: afterwards take the lower bound of this rank as the floor; 0 to leave it.
    """
    products, marks = found
    first, step, size, facts, width = docs
    rows, bounds, count, floor = state
    for q in range(len(queries)):
        c = count[q]
        if c < 0:  # given up
            continue
        line, (scale, coded, error, centre, slack) = products[q], queries[q]
        if estimate and floor[q] == -np.inf:
            floor[q] = _first_floor(line[:size], facts, queries[q], estimate)
            level = np.float32(coded / scale), np.float32(((floor[q] - centre) - slack) / scale)
            _mark(line, (facts[0], width), level, line, marks[q])
        taken = 0
        for word in range(marks.shape[1]):
            bits = marks[q, word]
            while bits:
                j = WORD * word + _lowest_bit(bits)
                bits &= bits - np.uint64(1)
                if j >= size:
                    break
                product = np.float32(line[taken])
                taken += 1
                margin = coded * facts[1, j] + error * facts[2, j] + slack
                value = product * facts[0, j] * scale + centre
                if value + margin >= floor[q]:
                    if c == rows.shape[1]:
                        c, floor[q] = _cut(rows[q], bounds[q], c, k, floor[q])
                        if c == rows.shape[1]:
                            c = -1
                            break
                    rows[q, c], bounds[q, 0, c], bounds[q, 1, c] = first + step * j, value - margin, value + margin
                    c += 1
            if c < 0:
                break
        if estimate and c >= 0:
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
