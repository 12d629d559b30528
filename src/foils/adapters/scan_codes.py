"""What `foils.adapters.scan` multiplies: integers of 8 bits where the processor has instructions for them, or floats.

Both are described to the scan in the same terms, one column of ``facts`` (float32 (3, n)) a document: the scale of its
codes; the length of its quantisation error plus what rounding may add, per unit of the query's length; its own length,
per unit of the length of the query's quantisation error.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[Any]
Floats = NDArray[np.float32]

_NARROWEST = 16  # dimensions: torch's integer product is wrong for 1, and no faster for few
_UNIT = 2.0**-24
_TINY = 1e-37  # covers products that underflow


@dataclass(frozen=True)
class Codes:
    """Codes (n, d) and facts float32 (3, n) of some vectors."""

    codes: NDArray[Any]
    facts: Floats


class Form(Protocol):
    """How vectors are coded and multiplied."""

    codes: type[Any]
    products: type[Any]

    def encode(self, vectors: Floats, centre: Floats, places: NDArray[np.int64], into: Codes) -> None:
        """Code vectors less the centre, into these places."""

    def multiply(self, queries: NDArray[Any], docs: NDArray[Any], out: NDArray[Any]) -> None:
        """Inner products of codes, on the calling thread."""


class Integers:
    """Integers of 8 bits with a scale for each vector, multiplied exactly."""

    codes: type[Any] = np.int8
    products: type[Any] = np.int32

    def encode(self, vectors: Floats, centre: Floats, places: NDArray[np.int64], into: Codes) -> None:
        """See `foils.adapters.scan_kernels.quantise`."""
        from foils.adapters.scan_kernels import quantise

        quantise(vectors, centre, places, into.codes, into.facts)

    def multiply(self, queries: NDArray[Any], docs: NDArray[Any], out: NDArray[Any]) -> None:
        """Exact: at most d times 127 squared."""
        import torch

        torch._int_mm(torch.from_numpy(queries), torch.from_numpy(docs).T, out=torch.from_numpy(out))


class Singles:
    """The float32 vectors themselves; the product is off by its rounding, as `foils.adapters.exact` says."""

    codes: type[Any] = np.float32
    products: type[Any] = np.float32

    def encode(self, vectors: Floats, centre: Floats, places: NDArray[np.int64], into: Codes) -> None:
        """The centre is not used: subtracting it would round."""
        steps = vectors.shape[1] + 8  # the sum, the scan's own arithmetic and the canonical rounding
        lengths = np.sqrt(np.square(vectors, dtype=np.float64).sum(axis=1)) * (1 + 2.0**-18)
        into.codes[places] = vectors
        into.facts[0, places] = 1
        into.facts[1, places] = lengths * (steps * _UNIT / (1 - steps * _UNIT)) + _TINY
        into.facts[2, places] = lengths + _TINY

    def multiply(self, queries: NDArray[Any], docs: NDArray[Any], out: NDArray[Any]) -> None:
        """In any order of summation."""
        import torch

        torch.mm(torch.from_numpy(queries), torch.from_numpy(docs).T, out=torch.from_numpy(out))


def best_form(dim: int) -> Form | None:
    """What this processor multiplies fastest with a bound that holds; None if torch has been told to be imprecise."""
    import torch

    if dim >= _NARROWEST and torch.cpu._is_vnni_supported() and _multiplies_integers():
        return Integers()
    return Singles() if torch.get_float32_matmul_precision() == "highest" else None


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
