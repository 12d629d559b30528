"""What `foils.adapters.scan` multiplies: integers of 8 bits where the processor has instructions for them, or floats.

All are described to the scan in the same terms, one column of ``facts`` (float32 (3, n)) a vector: the scale of its
codes; the length of its quantisation error plus what rounding may add, per unit of the query's length; its own length,
per unit of the length of the query's quantisation error.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from threading import local
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[Any]
Floats = NDArray[np.float32]
Places = NDArray[np.int64]

WORD = 64  # documents that one word of marks is about
_NARROWEST = 16  # dimensions: torch's integer product is wrong for 1, and no faster for few
_UNIT = 2.0**-24
_TINY = 1e-37  # covers products that underflow


@dataclass(frozen=True)
class Codes:
    """Codes of some vectors, (n, d) or by tiles, and facts float32 (3, n) or (tiles, 3, size of a tile)."""

    codes: NDArray[Any]
    facts: Floats


@dataclass(frozen=True)
class Marks:
    """Which documents of a tile may be among a query's best, and the products with them.

    ``reach``, ``least`` (q,): a document's bound is its scale times the product plus the reach times its width, and
    must be at least this. ``products`` (q, size of a tile and some more): of those that have a mark, in their order.
    ``marks`` uint64 (q, size / 64): one bit a document. ``taken`` int64 (q,): how many; for use within a form.
    """

    reach: Floats
    least: Floats
    products: NDArray[Any]
    marks: NDArray[np.uint64]
    taken: NDArray[np.int64]

    @staticmethod
    def of(queries: int, size: int, form: Form) -> Marks:
        """Room for a block of queries and a tile."""
        queries = -(-queries // form.rows) * form.rows
        # Some more, and no power of two: rows that far apart would contend for the same few lines of the cache.
        products = own("marked", (queries, size + 16), form.products)
        marks = np.empty((queries, size // WORD), np.uint64)
        bounds, taken = np.empty((2, queries), np.float32), np.empty(queries, np.int64)
        return Marks(bounds[0], bounds[1], products, marks, taken)


_threads = local()


def own(name: str, shape: tuple[int, int], dtype: type[Any]) -> NDArray[Any]:
    """Memory that is kept for each thread: fresh memory would cost more than the product."""
    store: NDArray[Any] | None = getattr(_threads, name, None)
    size = shape[0] * shape[1]
    if store is None or len(store) < size or store.dtype != dtype:
        store = np.empty(size, dtype)
        setattr(_threads, name, store)
    return store[:size].reshape(shape)


class Form(Protocol):
    """How vectors are coded and multiplied."""

    bytes: int
    """Of one dimension."""
    products: type[Any]
    """Type of a product of codes."""

    def encode(self, vectors: Floats, centre: Floats) -> Codes:
        """Codes (n, d) and facts (3, n) of vectors less the centre."""

    def room(self, tiles: int, size: int, dim: int) -> NDArray[Any]:
        """For the codes of documents, by tiles."""

    def place(self, codes: NDArray[Any], tile: Places, turn: Places, room: NDArray[Any]) -> None:
        """Put codes into their tiles."""

    rows: int
    """Queries that are multiplied together: what `Marks` has room for is a multiple."""

    def ready(self, queries: NDArray[Any]) -> tuple[NDArray[Any], ...]:
        """Codes of a block of queries as `mark` takes them."""

    def mark(
        self, queries: tuple[NDArray[Any], ...], docs: NDArray[Any], scale: Floats, width: Floats, out: Marks
    ) -> None:
        """Compare the products of a block of queries and a tile with the bounds, on the calling thread."""


class _Multiplied:
    """A product of matrices by torch, then a comparison."""

    rows = 1
    codes: type[Any]
    products: type[Any]

    def room(self, tiles: int, size: int, dim: int) -> NDArray[Any]:
        """Row by row."""
        return np.zeros((tiles, size, dim), self.codes)

    def place(self, codes: NDArray[Any], tile: Places, turn: Places, room: NDArray[Any]) -> None:
        """As they are."""
        room[tile, turn] = codes

    def ready(self, queries: NDArray[Any]) -> tuple[NDArray[Any], ...]:
        """As they are."""
        return (queries,)

    def mark(
        self, queries: tuple[NDArray[Any], ...], docs: NDArray[Any], scale: Floats, width: Floats, out: Marks
    ) -> None:
        """All products are written."""
        from foils.adapters.scan_kernels import mark

        products = own("products", (len(queries[0]), len(docs)), self.products)
        self.multiply(queries[0], docs, products)
        mark(products, (scale, width), (out.reach, out.least), (out.products, out.marks))

    def multiply(self, queries: NDArray[Any], docs: NDArray[Any], out: NDArray[Any]) -> None:
        """Inner products of rows."""
        raise NotImplementedError


class Integers(_Multiplied):
    """Integers of 8 bits with a scale for each vector, multiplied exactly."""

    bytes = 1
    codes: type[Any] = np.int8
    products: type[Any] = np.int32

    def encode(self, vectors: Floats, centre: Floats) -> Codes:
        """See `foils.adapters.scan_kernels.quantise`."""
        from foils.adapters.scan_kernels import quantise

        coded = Codes(np.empty(vectors.shape, np.int8), np.empty((3, len(vectors)), np.float32))
        quantise(vectors, centre, coded.codes, coded.facts)
        return coded

    def multiply(self, queries: NDArray[Any], docs: NDArray[Any], out: NDArray[Any]) -> None:
        """Exact: at most d times 127 squared."""
        import torch

        torch._int_mm(torch.from_numpy(queries), torch.from_numpy(docs).T, out=torch.from_numpy(out))


class Packed(Integers):
    """The same integers, multiplied by `foils.adapters.scan_products`."""

    rows = 6

    def room(self, tiles: int, size: int, dim: int) -> NDArray[Any]:
        """Panels of documents, each at the start of a line of the cache."""
        from foils.adapters.scan_products import PANEL, STEP

        shape = tiles, size // PANEL, -(-dim // STEP), PANEL, STEP
        store = np.zeros(int(np.prod(shape)) + PANEL, np.uint8)
        start = -store.ctypes.data % PANEL
        return store[start : len(store) - PANEL + start].reshape(shape)

    def place(self, codes: NDArray[Any], tile: Places, turn: Places, room: NDArray[Any]) -> None:
        """See `foils.adapters.scan_products.pack`."""
        from foils.adapters.scan_products import STEP, pack

        rest = -codes.shape[1] % STEP
        if rest:
            codes = np.pad(codes, ((0, 0), (0, rest)))
        pack(codes.view(np.int32), tile, turn, room.view(np.int32)[..., 0])

    def ready(self, queries: NDArray[Any]) -> tuple[NDArray[Any], ...]:
        """Filled up with zeros, in the order in which they are read, and what each query's sums begin at."""
        from foils.adapters.scan_products import ROWS, STEP

        count, dim = queries.shape
        codes = np.zeros((-(-count // ROWS), ROWS, -(-dim // STEP), STEP), np.int8)
        codes.reshape(len(codes) * ROWS, -1)[:count, :dim] = queries
        starts = -128 * codes.sum(axis=(2, 3), dtype=np.int32).ravel()
        return np.ascontiguousarray(codes.swapaxes(1, 2)), starts

    def mark(
        self, queries: tuple[NDArray[Any], ...], docs: NDArray[Any], scale: Floats, width: Floats, out: Marks
    ) -> None:
        """Products are written near marks only."""
        from foils.adapters.scan_products import mark

        codes, starts = queries
        mark(codes, starts, (out.reach, out.least), docs, (scale, width), (out.products, out.marks, out.taken))


class Singles(_Multiplied):
    """The float32 vectors themselves; the product is off by its rounding, as `foils.adapters.exact` says."""

    bytes = 4
    codes: type[Any] = np.float32
    products: type[Any] = np.float32

    def encode(self, vectors: Floats, centre: Floats) -> Codes:
        """The centre is not used: subtracting it would round."""
        steps = vectors.shape[1] + 8  # the sum, the scan's own arithmetic and the canonical rounding
        lengths = np.sqrt(np.square(vectors, dtype=np.float64).sum(axis=1)) * (1 + 2.0**-18)
        error = lengths * (steps * _UNIT / (1 - steps * _UNIT)) + _TINY
        return Codes(vectors, np.stack([np.ones(len(vectors)), error, lengths + _TINY]).astype(np.float32))

    def multiply(self, queries: NDArray[Any], docs: NDArray[Any], out: NDArray[Any]) -> None:
        """In any order of summation."""
        import torch

        torch.mm(torch.from_numpy(queries), torch.from_numpy(docs).T, out=torch.from_numpy(out))


def best_form(dim: int) -> Form | None:
    """What this processor multiplies fastest with a bound that holds; None if torch has been told to be imprecise."""
    import torch

    if dim >= _NARROWEST:
        by_torch = torch.cpu._is_vnni_supported() and _multiplies_integers()
        if by_torch and getattr(torch.cpu, "_is_amx_tile_supported", bool)():  # eight times as fast as VNNI
            return Integers()
        if _packs():
            return Packed()
        if by_torch:
            return Integers()
    return Singles() if torch.get_float32_matmul_precision() == "highest" else None


def _packs() -> bool:
    """Whether the processor has the instruction that `Packed` needs."""
    from foils.adapters.scan_products import supported

    return supported()


@functools.cache
def _multiplies_integers() -> bool:
    """Whether torch has the product of 8-bit integers, which is not among what it promises, and does it right."""
    codes = np.random.default_rng(0).integers(-127, 128, (2, 65, 40)).astype(np.int8)
    out = np.empty((65, 65), np.int32)
    try:
        Integers().multiply(codes[0], codes[1], out)
    except (AttributeError, RuntimeError):
        return False
    return np.array_equal(out, codes[0].astype(np.int32) @ codes[1].astype(np.int32).T)
