"""The scan's own product of 8-bit integers, for processors with AVX-512 VNNI. Needs numba.

Six queries meet 64 documents in 24 registers of 16 sums; each instruction adds four products to each sum. A sum is
compared with what its query asks for while it is still in its register, and only the few that reach it are written:
to write all of them and read them again would take a third as long as the product.

The instruction multiplies unsigned by signed bytes. Documents' codes are stored plus 128, and the sums of a query begin
at -128 times the sum of its codes, so the products are exact.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from foils.adapters.scan_codes import WORD, Packed
from foils.adapters.scan_kernels import compiled

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]

ROWS, PANEL, STEP = Packed.rows, WORD, 4  # queries and documents of one product, dimensions of one instruction
_LANES = 16
_WIDE = PANEL // _LANES
_BITS, _INT, _LONG = ir.IntType(_LANES), ir.IntType(32), ir.IntType(64)
_SUMS, _VALUES, _MASK = (ir.VectorType(kind, _LANES) for kind in (_INT, ir.FloatType(), ir.IntType(1)))


def supported() -> bool:
    """Whether this processor has the instruction."""
    return bool(binding.get_host_cpu_features().get("avx512vnni"))


@intrinsic  # type: ignore[untyped-decorator]
def _panel(
    typing: Any, queries: Any, starts: Any, levels: Any, group: Any, docs: Any, facts: Any, panel: Any, out: Any
) -> Any:
    """A group of `ROWS` queries and a panel of documents; the arguments are those of `mark`."""

    def generate(context: Any, b: Any, signature: Any, args: Any) -> Any:
        def array(kind: Any, value: Any) -> Any:
            return context.make_array(kind)(context, b, value)

        def several(place: int) -> list[Any]:
            kinds, values = signature.args[place], args[place]
            return [array(kind, b.extract_value(values, i)) for i, kind in enumerate(kinds)]

        def at(pointer: Any, place: Any, kind: Any) -> Any:
            return b.bitcast(b.gep(pointer, [place]), kind.as_pointer())

        def splat(value: Any, kind: Any) -> Any:
            none = ir.Constant(kind, ir.Undefined)
            return b.shuffle_vector(b.insert_element(none, value, _INT(0)), none, ir.Constant(_SUMS, [0] * _LANES))

        def intrinsic_of(name: str, result: Any, *kinds: Any) -> Any:
            return b.module.declare_intrinsic(name, (), ir.FunctionType(result, kinds))

        left, begin, right = (array(signature.args[i], args[i]) for i in (0, 1, 4))
        reach, least = several(2)
        scale, width = several(5)
        products, marks, taken = several(7)
        steps, number = b.extract_value(left.shape, 1), args[6]
        rows = [b.add(b.mul(args[3], _LONG(ROWS)), _LONG(i)) for i in range(ROWS)]
        fours = at(left.data, b.mul(args[3], b.mul(steps, _LONG(ROWS * STEP))), _INT)
        block = at(right.data, b.mul(number, b.mul(steps, _LONG(PANEL * STEP))), _SUMS)
        zeros = [splat(b.load(b.gep(begin.data, [row])), _SUMS) for row in rows]
        add = intrinsic_of("llvm.x86.avx512.vpdpbusd.512", _SUMS, _SUMS, _SUMS, _SUMS)
        compress = intrinsic_of("llvm.x86.avx512.mask.compress.v16i32", _SUMS, _SUMS, _SUMS, _MASK)

        entry, loop, after = b.block, b.append_basic_block("loop"), b.append_basic_block("after")
        b.branch(loop)
        b.position_at_end(loop)
        step = b.phi(_LONG)
        sums = [[b.phi(_SUMS) for _ in range(_WIDE)] for _ in rows]
        codes = [b.load(b.gep(block, [b.add(b.mul(step, _LONG(_WIDE)), _LONG(j))]), align=64) for j in range(_WIDE)]
        added = []
        for i, before in enumerate(sums):
            four = splat(b.load(b.gep(fours, [b.add(b.mul(step, _LONG(ROWS)), _LONG(i))]), align=1), _SUMS)
            added.append([b.call(add, [total, code, four]) for total, code in zip(before, codes, strict=True)])
        following = b.add(step, _LONG(1))
        step.add_incoming(_LONG(0), entry)
        step.add_incoming(following, loop)
        for i in range(ROWS):
            for j in range(_WIDE):
                sums[i][j].add_incoming(zeros[i], entry)
                sums[i][j].add_incoming(added[i][j], loop)
        b.cbranch(b.icmp_signed("<", following, steps), loop, after)

        b.position_at_end(after)
        place = b.mul(number, _LONG(PANEL))
        scales = [b.load(b.gep(at(scale.data, place, _VALUES), [_LONG(j)]), align=4) for j in range(_WIDE)]
        widest = b.load(b.gep(width.data, [number]))
        for row, found in zip(rows, added, strict=True):
            margin = b.fmul(b.load(b.gep(reach.data, [row])), widest)
            wanted = splat(b.fsub(b.load(b.gep(least.data, [row])), margin), _VALUES)
            reached = [
                b.fcmp_ordered(">=", b.fmul(b.sitofp(total, _VALUES), one), wanted)
                for total, one in zip(found, scales, strict=True)
            ]
            mark = b.gep(marks.data, [b.add(b.mul(row, b.extract_value(marks.shape, 1)), number)])
            b.store(_LONG(0), mark)
            some = b.bitcast(functools.reduce(b.or_, reached), _BITS)
            with b.if_then(b.icmp_unsigned("!=", some, _BITS(0)), likely=False):
                word, count = _LONG(0), b.gep(taken.data, [row])
                line, filled = b.mul(row, b.extract_value(products.shape, 1)), b.load(count)
                for j in range(_WIDE):
                    bits = b.zext(b.bitcast(reached[j], _BITS), _LONG)
                    word = b.or_(word, b.shl(bits, _LONG(_LANES * j)))
                    packed = b.call(compress, [found[j], ir.Constant(_SUMS, None), reached[j]])
                    b.store(packed, at(products.data, b.add(line, filled), _SUMS), align=4)
                    filled = b.add(filled, b.ctpop(bits))
                b.store(word, mark)
                b.store(filled, count)
        return context.get_dummy_value()

    return types.void(queries, starts, levels, group, docs, facts, panel, out), generate


@compiled()
def mark(
    queries: NDArray[np.int8],
    starts: Ints,
    levels: tuple[Floats, Floats],
    docs: NDArray[np.uint8],
    facts: tuple[Floats, Floats],
    out: tuple[Ints, NDArray[np.uint64], NDArray[np.int64]],
) -> None:
    """Which documents of a tile may reach what each query asks for: scale times product plus reach times width.

    Args:
        queries: int8 (groups, d / 4, `ROWS`, 4).
        starts: int32 (queries,): -128 times the sum of the codes.
        levels: reach and least, float32 (queries,) each.
        docs: uint8 (panels, d / 4, 64, 4), at an address that 64 divides; see `pack`.
        facts: scale, float32 (panels * 64,), and the largest width of each panel.
        out: products int32 (queries, at least panels * 64 + 16), of those that have a mark, in their order; marks
            uint64 (queries, panels), one bit a document; int64 (queries,), how many marks.
    """
    out[2][:] = 0
    for panel in range(len(docs)):
        for group in range(len(queries)):
            _panel(queries, starts, levels, group, docs, facts, panel, out)


@compiled()
def pack(codes: Ints, tile: NDArray[np.int64], turn: NDArray[np.int64], docs: Ints) -> None:
    """Put rows at places ``turn`` of tiles: codes as they are signed become 128 more, unsigned.

    Args:
        codes: int32 (n, d / 4), each 4 codes.
        tile: int64 (n,).
        turn: int64 (n,), places within the tiles.
        docs: int32 (tiles, panels, d / 4, 64), written.
    """
    for i in range(len(codes)):
        panel, slot = docs[tile[i], turn[i] // PANEL], turn[i] % PANEL
        for j in range(codes.shape[1]):
            panel[j, slot] = codes[i, j] ^ np.int32(-2139062144)  # the top bit of each byte
