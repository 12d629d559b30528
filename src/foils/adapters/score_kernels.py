"""The compiled loop behind `foils.adapters.scores`. Needs numba."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from foils.adapters.scan_kernels import compiled

Floats = NDArray[np.float32]

_LANES = 8


@intrinsic  # type: ignore[untyped-decorator]
def _eight_sums(typing: Any, left: Any, right: Any, start: Any, stop: Any) -> Any:
    """Sum of the float64 products of two float32 rows from ``start`` to ``stop``, at least 8 and a multiple of 8.

    Element i is added to partial sum i modulo 8, and the eight are added in pairs, as numpy's add does. The loop
    vectoriser may not keep that order, so the vectors are written out.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        narrow, wide = ir.VectorType(ir.FloatType(), _LANES), ir.VectorType(ir.DoubleType(), _LANES)
        pointers = [
            context.make_array(kind)(context, builder, value).data
            for kind, value in zip(signature.args[:2], args[:2], strict=True)
        ]
        step = args[2].type(_LANES)

        def products(at: Any) -> Any:
            loaded = []
            for pointer in pointers:
                place = builder.bitcast(builder.gep(pointer, [at]), narrow.as_pointer())
                loaded.append(builder.fpext(builder.load(place, align=4), wide))
            return builder.fmul(*loaded)

        first = products(args[2])
        entry, loop = builder.block, builder.append_basic_block("loop")
        after = builder.append_basic_block("after")
        begin = builder.add(args[2], step)
        builder.cbranch(builder.icmp_signed("<", begin, args[3]), loop, after)
        builder.position_at_end(loop)
        at, sums = builder.phi(begin.type), builder.phi(wide)
        added, following = builder.fadd(sums, products(at)), builder.add(at, step)
        for phi, initial, value in ((at, begin, following), (sums, first, added)):
            phi.add_incoming(initial, entry)
            phi.add_incoming(value, loop)
        builder.cbranch(builder.icmp_signed("<", following, args[3]), loop, after)
        builder.position_at_end(after)
        total = builder.phi(wide)
        total.add_incoming(first, entry)
        total.add_incoming(added, loop)
        parts = [builder.extract_element(total, ir.IntType(32)(i)) for i in range(_LANES)]
        while len(parts) > 1:
            parts = [builder.fadd(one, two) for one, two in zip(parts[::2], parts[1::2], strict=True)]
        return parts[0]

    return types.float64(left, right, start, stop), generate


@compiled()
def pair_sums(
    queries: Floats,
    docs: Floats,
    pairs: tuple[NDArray[np.int64], NDArray[np.int64]],
    order: tuple[NDArray[np.int64], NDArray[np.int64]],
    out: Floats,
) -> None:
    """Canonical inner products of rows ``pairs[0]`` of queries and ``pairs[1]`` of documents, into ``out``."""
    stretches, merges = order
    sums = np.empty(len(stretches), np.float64)
    for p in range(len(out)):
        left, right = queries[pairs[0][p]], docs[pairs[1][p]]
        for s in range(len(stretches)):
            start, stop = stretches[s]
            whole = start + (stop - start) // 8 * 8
            total = 0.0
            if whole > start:
                total = _eight_sums(left, right, start, whole)
            for i in range(whole, stop):
                total += np.float64(left[i]) * np.float64(right[i])
            sums[s] = total
        for m in range(len(merges)):
            sums[merges[m, 0]] += sums[merges[m, 1]]
        out[p] = np.float32(sums[0])
