"""Exact best dot products from a table of bytes: a quarter of the memory is read, and few rows are looked at twice.

Row p of the table is step · code + rest, code in whole numbers from -127 to 127, |rest| = slack: so
step q·code is within |q| slack of q·p (Cauchy-Schwarz), and only rows whose upper bound reaches the k-th best lower
bound can be among the best k.
"""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple, TypeAlias

import numpy as np
from llvmlite import ir
from numba import types
from numpy.typing import NDArray

from palate.arrays import Bools, Floats, Ints, Longs
from palate.kernels.compile import compiled, emitted
from palate.kernels.llvm import Builder, Context, Kind, Value
from palate.kernels.simd import I32, I64, WIDTH, load
from palate.kernels.topk import insert, keep_best, lanes_above, lowest_bit
from palate.kernels.vectors import chunks, element, pointer, products, read_row, sums_of

TILE = 1024  # rows between two looks at the bar
ROUNDING = np.float32(1e-5)  # of |q| |p|: what sums of floats may be off

Codes8: TypeAlias = NDArray[np.int8]
Scan: TypeAlias = Callable[..., int]


class Codes(NamedTuple):
    """code (I, D), step (I,), slack (I,): with the rounding of float sums."""

    code: Codes8
    step: Floats
    slack: Floats


@compiled
def quantise(items: Floats) -> Codes:
    """Bytes of rows (I, D) of finite floats."""
    I, D = items.shape
    code = np.zeros((I, D), np.int8)
    step = np.zeros(I, np.float32)
    slack = np.zeros(I, np.float32)
    for i in range(I):
        largest = np.float32(0)
        for d in range(D):
            largest = max(largest, abs(items[i, d]))
        if largest == 0:
            continue
        step[i] = largest / np.float32(127)
        factor = np.float32(1) / step[i]
        rest, length = np.float32(0), np.float32(0)
        for d in range(D):
            code[i, d] = np.int8(np.floor(items[i, d] * factor + np.float32(0.5)))
            rest += (items[i, d] - step[i] * np.float32(code[i, d])) ** 2
            length += items[i, d] ** 2
        slack[i] = np.sqrt(rest) + ROUNDING * np.sqrt(length)
    return Codes(code, step, slack)


@emitted
def code_dots(typing_context: Context, code: Value, first: Value, q: Value, s: Value, at: Value, dim: Value) -> Value:
    """Do s[at + k] = q[0]·code[first + k] for 16 k."""

    def generate(context: Context, builder: Builder, signature: Kind, arguments: Value) -> Value:
        kinds, size = signature.args, dim.literal_value
        user = read_row(builder, element(context, builder, kinds[2], arguments[2], ir.Constant(I64, 0)), size)
        rows = []
        for k in range(WIDTH):
            row = element(context, builder, kinds[0], arguments[0], builder.add(arguments[1], ir.Constant(I64, k)))
            whole = [load(builder, row(offset), width).extended(I32).as_float() for offset, width in chunks(size)]
            rows.append(products(user, whole))
        sums_of(rows).store(pointer(context, builder, kinds[3], arguments[3], arguments[4])(0))
        return context.get_dummy_value()

    return types.void(code, types.int64, q, s, types.int64, dim), generate


@cache
def scanner(dim: int) -> Scan:  # noqa: C901  the hot loop stays in one piece
    """Kernel for vectors of `dim` elements."""

    @compiled
    def scan(  # noqa: C901
        q: Floats,
        items: Floats,
        code: Codes8,
        step: Floats,
        slack: Floats,
        allowed: Bools,
        start: Longs,
        column: Ints,
        item: Ints,
        best: Floats,
    ) -> int:
        """Fill item, best (1, k) with the best dot products of q (1, dim) and items (I, dim), as `keep_best` does.

        start (2,) and column (N,) are the items left out. Returns how many rows were looked at twice.
        """
        I = len(items)
        length = np.float32(0)
        for d in range(dim):
            length += q[0, d] * q[0, d]
        length = np.sqrt(length)
        sums = np.zeros(TILE, np.float32)
        lower, upper = np.empty((1, TILE), np.float32), np.empty((1, TILE), np.float32)
        stamp = np.zeros(I, np.int32)
        near = np.empty(I, np.int32)
        ceiling = np.empty(I, np.float32)
        n = 0
        for low in range(0, I, TILE):
            W = min(TILE, I - low)
            for j in range(0, W // WIDTH * WIDTH, WIDTH):
                code_dots(code, low + j, q, sums, j, dim)
            for j in range(W // WIDTH * WIDTH, W):
                sums[j] = 0
                for d in range(dim):
                    sums[j] += q[0, d] * np.float32(code[low + j, d])
            if W < TILE:
                lower[:] = -np.inf
                upper[:] = -np.inf
            steps, slacks = step[low : low + W], slack[low : low + W]  # whose places are never below 0: vectorised
            for j in range(W):
                value, off = steps[j] * sums[j], length * slacks[j]
                lower[0, j] = value - off
                upper[0, j] = value + off
            keep_best(lower, low, allowed, start, column, stamp, item, best)
            bar = np.nextafter(best[0, -1], np.float32(-np.inf))
            for first in range(0, W, WIDTH):
                bits = lanes_above(upper, 0, first, bar)
                while bits != 0:
                    j = first + lowest_bit(bits)
                    bits &= bits - 1
                    if allowed[low + j] and stamp[low + j] == 0:
                        near[n] = low + j
                        ceiling[n] = upper[0, j]
                        n += 1
        bar = best[0, -1]
        best[:] = -np.inf
        item[:] = -1
        twice = 0
        for c in range(n):
            if ceiling[c] >= bar:
                i = near[c]
                score = np.float32(0)
                for d in range(dim):
                    score += q[0, d] * items[i, d]
                twice += 1
                if score > best[0, -1]:
                    insert(item, best, 0, i, score)
        return twice

    return scan
