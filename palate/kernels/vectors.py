"""Row operations written in vector registers: no remainder loops, no checks whether arrays overlap.

`dim` is known to the compiler (a literal), so each operation is straight-line code of dim / 16 registers.
"""

from collections.abc import Callable, Iterator
from typing import Any

from llvmlite import ir
from numba import types

from palate.kernels.compile import emitted

FLOAT = ir.FloatType()
LINE = 16  # floats of a cache line
FUSED = ("contract",)  # multiply and add in one instruction


def _chunks(dim: int) -> Iterator[tuple[int, int]]:
    """Offsets and widths that cover dim: as many registers of 16 as fit, then halves of them."""
    offset = 0
    while offset < dim:
        width = next(w for w in (16, 8, 4, 2, 1) if w <= dim - offset)
        yield offset, width
        offset += width


def _row(context: Any, builder: Any, array_type: Any, array: Any, row: Any, dim: int) -> Callable[..., Any]:
    """Pointer to `width` floats at an offset of a row of a C-contiguous (N, dim) array."""
    data = context.make_array(array_type)(context, builder, array).data
    start = builder.gep(data, [builder.mul(row, ir.Constant(ir.IntType(64), dim))])

    def pointer(offset: int, width: int) -> Any:
        at = builder.gep(start, [ir.Constant(ir.IntType(64), offset)])
        return builder.bitcast(at, ir.VectorType(FLOAT, width).as_pointer())

    return pointer


def _spread(builder: Any, value: Any, width: int) -> Any:
    """One float in every lane."""
    lane = ir.Constant(ir.IntType(32), 0)
    one = builder.insert_element(ir.Constant(ir.VectorType(FLOAT, width), ir.Undefined), value, lane)
    mask = ir.Constant(ir.VectorType(ir.IntType(32), width), [0] * width)
    return builder.shuffle_vector(one, one, mask)


@emitted
def row_dot(typing_context: Any, a: Any, row_a: Any, b: Any, row_b: Any, dim: Any) -> Any:
    """Return a[row_a]·b[row_b] for float32 arrays of `dim` columns."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        size = dim.literal_value
        left = _row(context, builder, signature.args[0], arguments[0], arguments[1], size)
        right = _row(context, builder, signature.args[2], arguments[2], arguments[3], size)
        sums: dict[int, Any] = {}  # by width: registers are added up before their lanes
        for offset, width in _chunks(size):
            x = builder.load(left(offset, width), align=4)
            y = builder.load(right(offset, width), align=4)
            product = builder.fmul(x, y, FUSED)
            sums[width] = builder.fadd(product, sums[width], FUSED) if width in sums else product
        total = ir.Constant(FLOAT, 0.0)
        for width, lanes in sums.items():
            kind = ir.FunctionType(FLOAT, [FLOAT, ir.VectorType(FLOAT, width)])
            name = f"llvm.vector.reduce.fadd.v{width}f32"
            add = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
            total = builder.call(add, [total, lanes], fastmath=("reassoc",))
        return total

    return types.float32(a, types.int64, b, types.int64, dim), generate


@emitted
def row_exchange(
    typing_context: Any,
    move: Any,
    items: Any,
    i: Any,
    users: Any,
    u: Any,
    slope: Any,
    dim: Any,
) -> Any:
    """Do move[0] += slope items[i] and items[i] -= slope users[u] at once, by the old items[i]."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        size = dim.literal_value
        zero = ir.Constant(ir.IntType(64), 0)
        target = _row(context, builder, signature.args[0], arguments[0], zero, size)
        item = _row(context, builder, signature.args[1], arguments[1], arguments[2], size)
        user = _row(context, builder, signature.args[3], arguments[3], arguments[4], size)
        for offset, width in _chunks(size):
            step = _spread(builder, arguments[5], width)
            m = builder.load(target(offset, width), align=4)
            p = builder.load(item(offset, width), align=4)
            x = builder.load(user(offset, width), align=4)
            builder.store(builder.fadd(m, builder.fmul(step, p, FUSED), FUSED), target(offset, width), align=4)
            builder.store(builder.fsub(p, builder.fmul(step, x, FUSED), FUSED), item(offset, width), align=4)
        return context.get_dummy_value()

    return types.void(move, items, types.int64, users, types.int64, types.float32, dim), generate


@emitted
def row_prefetch(typing_context: Any, table: Any, row: Any, dim: Any) -> Any:
    """Ask memory for a row that will soon be written; never faults."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        size = dim.literal_value
        pointer = _row(context, builder, signature.args[0], arguments[0], arguments[1], size)
        byte, i32 = ir.IntType(8).as_pointer(), ir.IntType(32)
        name = "llvm.prefetch.p0i8"
        kind = ir.FunctionType(ir.VoidType(), [byte, i32, i32, i32])
        prefetch = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
        write, near, data = ir.Constant(i32, 1), ir.Constant(i32, 3), ir.Constant(i32, 1)
        for offset in range(0, size, LINE):
            builder.call(prefetch, [builder.bitcast(pointer(offset, 1), byte), write, near, data])
        return context.get_dummy_value()

    return types.void(table, types.int64, dim), generate
