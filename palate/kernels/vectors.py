"""Operations on rows of float32 matrices, in vector registers: no remainder loops, no checks whether arrays overlap.

`dim` and `count` are known to the compiler (literals), so each operation is straight-line code.
"""

from collections.abc import Callable, Iterator
from functools import reduce
from operator import add
from typing import TypeAlias

from llvmlite import ir
from numba import types

from palate.kernels.compile import emitted
from palate.kernels.llvm import Builder, Context, Kind, Value
from palate.kernels.simd import FLOAT, I32, I64, WIDTH, SimdVector, exp, load, splat

LINE = 16  # floats of a cache line
At: TypeAlias = Callable[[int], Value]  # from a constant offset to the pointer there


def pointer(context: Context, builder: Builder, kind: Kind, array: Value, start: Value = None) -> At:
    """Pointers to the elements of a C-contiguous array, from element `start` on."""
    assert kind.layout == "C", kind
    data = context.make_array(kind)(context, builder, array).data
    origin = data if start is None else builder.gep(data, [start])
    return lambda offset: builder.gep(origin, [ir.Constant(I64, offset)])


def element(context: Context, builder: Builder, kind: Kind, matrix: Value, row: Value) -> At:
    """Pointers to the elements of a row of a C-contiguous matrix."""
    return pointer(context, builder, kind, matrix, _start(context, builder, kind, matrix, row))


def chunks(dim: int) -> Iterator[tuple[int, int]]:
    """Offsets and widths that cover dim: registers of 16 while they fit, then halves of them."""
    offset = 0
    while offset < dim:
        width = next(w for w in (16, 8, 4, 2, 1) if w <= dim - offset)
        yield offset, width
        offset += width


def read_row(builder: Builder, at: At, dim: int) -> list[SimdVector]:
    """Read a row of dim floats, a register a chunk."""
    return [load(builder, at(offset), width) for offset, width in chunks(dim)]


def products(x: list[SimdVector], y: list[SimdVector]) -> SimdVector:
    """Products of the elements of two rows, added up to 16 lanes."""
    sums: dict[int, SimdVector] = {}
    for a, b in zip(x, y, strict=True):
        sums[a.width] = a * b + sums[a.width] if a.width in sums else a * b
    return reduce(add, (part if width == WIDTH else part.widened() for width, part in sums.items()))


def sums_of(rows: list[SimdVector]) -> SimdVector:
    """Lane k of the result is the sum of the lanes of rows[k]: 16 registers become 8, 4, 2, 1."""
    half = WIDTH // 2
    while len(rows) > 1:
        low = [lane for lane in range(WIDTH) if lane // half % 2 == 0]  # first halves of the rows in a register
        low += [WIDTH + lane for lane in low]
        high = [lane + half for lane in low]
        rows = [a.pick(b, low) + a.pick(b, high) for a, b in zip(rows[::2], rows[1::2], strict=True)]
        half //= 2
    return rows[0]


@emitted
def row_dot(typing_context: Context, a: Value, row_a: Value, b: Value, row_b: Value, dim: Value) -> Value:
    """Return a[row_a]·b[row_b]."""

    def generate(context: Context, builder: Builder, signature: Kind, arguments: Value) -> Value:
        kinds, size = signature.args, dim.literal_value
        x, y = (
            read_row(builder, element(context, builder, kinds[n], arguments[n], arguments[n + 1]), size)
            for n in (0, 2)
        )
        return products(x, y).sum()

    return types.float32(a, types.int64, b, types.int64, dim), generate


@emitted
def rows_dot(
    typing_context: Context,
    users: Value,
    u: Value,
    items: Value,
    rows: Value,
    slot: Value,
    first: Value,
    s: Value,
    count: Value,
    dim: Value,
) -> Value:
    """Do s[first + k] = users[u]·items[rows[slot, first + k]] for `count` <= 16 rows; the rest of 16 becomes 0."""

    def generate(context: Context, builder: Builder, signature: Kind, arguments: Value) -> Value:
        kinds, size, n = signature.args, dim.literal_value, count.literal_value
        if n == 0:
            return context.get_dummy_value()
        user, u, items, rows, slot, first, scores = arguments[:7]
        x = read_row(builder, element(context, builder, kinds[0], user, u), size)
        parts = [
            products(x, read_row(builder, element(context, builder, kinds[2], items, row), size))
            for row in _numbers(context, builder, kinds[3], rows, slot, first, n)
        ]
        zero = splat(builder, ir.Constant(FLOAT, 0.0))
        target = pointer(context, builder, kinds[6], scores, first)
        sums_of(parts + [zero] * (WIDTH - n)).store(target(0))
        return context.get_dummy_value()

    signature = types.void(users, types.int64, items, rows, types.int64, types.int64, s, count, dim)
    return signature, generate


@emitted
def rows_sum(
    typing_context: Context,
    move: Value,
    items: Value,
    rows: Value,
    slot: Value,
    first: Value,
    g: Value,
    count: Value,
    dim: Value,
) -> Value:
    """Do move[0] += g[first + k] items[rows[slot, first + k]] for k < count."""

    def generate(context: Context, builder: Builder, signature: Kind, arguments: Value) -> Value:
        return _sum_rows(context, builder, signature.args, arguments, None, dim.literal_value)

    return types.void(move, items, rows, types.int64, types.int64, g, count, dim), generate


@emitted
def rows_exchange(
    typing_context: Context,
    move: Value,
    items: Value,
    rows: Value,
    slot: Value,
    first: Value,
    g: Value,
    count: Value,
    dim: Value,
    users: Value,
    u: Value,
) -> Value:
    """Do as `rows_sum` does and, row by row, items[...] -= g[first + k] users[u] right after."""

    def generate(context: Context, builder: Builder, signature: Kind, arguments: Value) -> Value:
        x = read_row(builder, element(context, builder, signature.args[8], *arguments[8:]), dim.literal_value)
        return _sum_rows(context, builder, signature.args, arguments, x, dim.literal_value)

    signature = types.void(move, items, rows, types.int64, types.int64, g, count, dim, users, types.int64)
    return signature, generate


def _sum_rows(
    context: Context, builder: Builder, kinds: Kind, arguments: Value, x: list[SimdVector] | None, dim: int
) -> Value:
    """Write the code of `rows_sum`, and of `rows_exchange` where the user's row x is given."""
    move, items, rows, slot, first, g = arguments[:6]
    target = pointer(context, builder, kinds[0], move)
    slopes = pointer(context, builder, kinds[5], g, first)
    moves = read_row(builder, target, dim)
    for k, row in enumerate(_numbers(context, builder, kinds[2], rows, slot, first, kinds[6].literal_value)):
        item = element(context, builder, kinds[1], items, row)
        slope = builder.load(slopes(k))
        for c, (offset, width) in enumerate(chunks(dim)):
            step, p = splat(builder, slope, width), load(builder, item(offset), width)
            moves[c] = moves[c] + step * p
            if x is not None:
                (p - step * x[c]).store(item(offset))
    for (offset, _), part in zip(chunks(dim), moves, strict=True):
        part.store(target(offset))
    return context.get_dummy_value()


@emitted
def add_and_top(typing_context: Context, a: Value, row: Value, first: Value, b: Value, top: Value) -> Value:
    """Do a[row, first + k] += b[first + k] and top[k] = max(top[k], a[row, first + k]) for 16 k."""

    def generate(context: Context, builder: Builder, signature: Kind, arguments: Value) -> Value:
        kinds = signature.args
        at = place(context, builder, kinds[0], *arguments[:3])
        best = pointer(context, builder, kinds[4], arguments[4])
        x = load(builder, at(0)) + load(builder, pointer(context, builder, kinds[3], arguments[3], arguments[2])(0))
        x.store(at(0))
        x.max(load(builder, best(0))).store(best(0))
        return context.get_dummy_value()

    return types.void(a, types.int64, types.int64, b, top), generate


@emitted
def exp_and_sum(typing_context: Context, a: Value, row: Value, first: Value, shift: Value, total: Value) -> Value:
    """Do a[row, first + k] = exp(a[row, first + k] - shift) and total[k] += a[row, first + k] for 16 k."""

    def generate(context: Context, builder: Builder, signature: Kind, arguments: Value) -> Value:
        at = place(context, builder, signature.args[0], *arguments[:3])
        sums = pointer(context, builder, signature.args[4], arguments[4])
        e = exp(load(builder, at(0)) - splat(builder, arguments[3]))
        e.store(at(0))
        (e + load(builder, sums(0))).store(sums(0))
        return context.get_dummy_value()

    return types.void(a, types.int64, types.int64, types.float32, total), generate


@emitted
def row_prefetch(typing_context: Context, table: Value, row: Value, dim: Value) -> Value:
    """Ask memory for a row that will soon be written; never faults."""

    def generate(context: Context, builder: Builder, signature: Kind, arguments: Value) -> Value:
        at = element(context, builder, signature.args[0], arguments[0], arguments[1])
        byte = ir.IntType(8).as_pointer()
        name = "llvm.prefetch.p0i8"
        kind = ir.FunctionType(ir.VoidType(), [byte, I32, I32, I32])
        prefetch = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
        write, near, data = ir.Constant(I32, 1), ir.Constant(I32, 3), ir.Constant(I32, 1)
        for offset in range(0, dim.literal_value, LINE):
            builder.call(prefetch, [builder.bitcast(at(offset), byte), write, near, data])
        return context.get_dummy_value()

    return types.void(table, types.int64, dim), generate


def place(context: Context, builder: Builder, kind: Kind, matrix: Value, row: Value, column: Value) -> At:
    """Pointers to the elements of a row of a matrix, from a column on."""
    start = builder.add(column, _start(context, builder, kind, matrix, row))
    return pointer(context, builder, kind, matrix, start)


def _start(context: Context, builder: Builder, kind: Kind, matrix: Value, row: Value) -> Value:
    """Place of a row's first element in a C-contiguous matrix."""
    shape = context.make_array(kind)(context, builder, matrix).shape
    return builder.mul(row, builder.extract_value(shape, 1))


def _numbers(
    context: Context, builder: Builder, kind: Kind, rows: Value, slot: Value, first: Value, count: int
) -> list[Value]:
    """Read the row numbers rows[slot, first + k], k < count."""
    at = place(context, builder, kind, rows, slot, first)
    return [builder.sext(builder.load(at(k)), I64) for k in range(count)]
