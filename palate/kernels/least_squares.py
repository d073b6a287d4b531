"""Many small ridge regressions, one a row, by conjugate gradients in axes where their shared part is diagonal.

Each row of x solves (Λ + λ I + Σ_k |w_k| q_k q_kᵀ) x = p + Σ_k max(w_k, 0) q_k over its own columns k, where Λ is
what all rows share and p a term of the row's own, such as a prior's. With the q rotated so that Λ is diagonal,
Λ + λ I is a preconditioner at no cost, which leaves a matrix of the rank of the row; and the few q of a row stay in
the cache through all steps.
"""

from collections.abc import Callable
from functools import cache
from typing import TypeAlias

import numpy as np
from numba import types

from palate.arrays import Bools, Doubles, Floats, Ints, Longs
from palate.kernels.compile import compiled, emitted, inlined
from palate.kernels.llvm import Builder, Context, Kind, Value
from palate.kernels.simd import I64, WIDTH, load, splat
from palate.kernels.vectors import chunks, element, pointer, products, read_row, sums_of

AT_ONCE = 8  # columns of a row taken together

Solve: TypeAlias = Callable[..., None]


@emitted
def add_outer(
    typing_context: Context,
    out: Value,
    x: Value,
    b: Value,
    items: Value,
    column: Value,
    weight: Value,
    first: Value,
    target: Value,
    sign: Value,
    count: Value,
    dim: Value,
) -> Value:
    """Do out[0] += Σ_k (target max(w, 0) + sign |w| q·x[b]) q for w = weight[n], q = items[column[n]], n = first + k.

    k runs to `count` <= 16.
    """

    def generate(context: Context, builder: Builder, signature: Kind, arguments: Value) -> Value:
        kinds, n, size = signature.args, count.literal_value, dim.literal_value
        result = pointer(context, builder, kinds[0], arguments[0])
        places = pointer(context, builder, kinds[4], arguments[4], arguments[6])
        rows = [
            element(context, builder, kinds[3], arguments[3], builder.sext(builder.load(places(k)), I64))
            for k in range(n)
        ]
        user = read_row(builder, element(context, builder, kinds[1], arguments[1], arguments[2]), size)
        zero = splat(builder, arguments[8]) * 0.0
        dots = sums_of([products(user, read_row(builder, row, size)) for row in rows] + [zero] * (WIDTH - n))
        w = load(builder, pointer(context, builder, kinds[5], arguments[5], arguments[6])(0), n)
        w = w if n == WIDTH else w.widened()
        gain, sign = splat(builder, arguments[7]), splat(builder, arguments[8])
        factor = gain * w.max(0.0) + sign * w.max(-w) * dots
        shares = [factor.lane(k) for k in range(n)]
        for offset, width in chunks(size):
            total = load(builder, result(offset), width)
            for row, share in zip(rows, shares, strict=True):
                narrow = share if width == WIDTH else share.pick(share, range(width))
                total = total + narrow * load(builder, row(offset), width)
            total.store(result(offset))
        return context.get_dummy_value()

    signature = types.void(
        out, x, types.int64, items, column, weight, types.int64, types.float32, types.float32, count, dim
    )
    return signature, generate


@inlined
def add_all(
    out: Floats,
    x: Floats,
    b: int,
    items: Floats,
    column: Ints,
    weight: Floats,
    low: int,
    high: int,
    target: float,
    sign: float,
    dim: int,
) -> None:
    """Do `add_outer` for the columns [low, high), eight at once, then one by one."""
    whole = low + (high - low) // AT_ONCE * AT_ONCE
    for n in range(low, whole, AT_ONCE):
        add_outer(out, x, b, items, column, weight, n, np.float32(target), np.float32(sign), AT_ONCE, dim)
    for n in range(whole, high):
        add_outer(out, x, b, items, column, weight, n, np.float32(target), np.float32(sign), 1, dim)


@cache
def row_solver(dim: int) -> Solve:  # noqa: C901  the hot loop stays in one piece
    """Kernel for vectors of `dim` elements."""

    @compiled
    def solve(  # noqa: C901
        x: Floats,
        items: Floats,
        start: Longs,
        column: Ints,
        weight: Floats,
        shared: Floats,
        ridge: Floats,
        prior_term: Floats,
        steps: int,
        first: int,
        last: int,
    ) -> None:
        """Improve rows [first, last) of x (B, dim) by `steps` steps from where they are.

        items (I, dim); start (B + 1,), column (N,), weight (N,); shared (dim,) is the diagonal Λ, ridge (B,) is λ,
        prior_term (B, dim) is p, or (0, dim) for none.
        """
        r = np.zeros((1, dim), np.float32)
        p = np.zeros((1, dim), np.float32)
        ap = np.zeros((1, dim), np.float32)
        for b in range(first, last):
            low, high = start[b], start[b + 1]
            penalty = ridge[b]
            for d in range(dim):
                r[0, d] = -(shared[d] + penalty) * x[b, d]
            if len(prior_term):
                for d in range(dim):
                    r[0, d] += prior_term[b, d]
            add_all(r, x, b, items, column, weight, low, high, 1.0, -1.0, dim)
            rz = np.float32(0)
            for d in range(dim):
                p[0, d] = r[0, d] / (shared[d] + penalty)
                rz += r[0, d] * p[0, d]
            whole = rz
            for step in range(steps):
                for d in range(dim):
                    ap[0, d] = (shared[d] + penalty) * p[0, d]
                add_all(ap, p, 0, items, column, weight, low, high, 0.0, 1.0, dim)
                curve = np.float32(0)
                for d in range(dim):
                    curve += p[0, d] * ap[0, d]
                if not curve > 0:
                    break
                length = rz / curve
                for d in range(dim):
                    x[b, d] += length * p[0, d]
                if step + 1 == steps:
                    break
                before = rz
                rz = np.float32(0)
                for d in range(dim):
                    r[0, d] -= length * ap[0, d]
                    rz += r[0, d] * r[0, d] / (shared[d] + penalty)
                if rz <= np.float32(1e-12) * whole:
                    break
                for d in range(dim):
                    p[0, d] = r[0, d] / (shared[d] + penalty) + rz / before * p[0, d]

    return solve


@compiled
def scaled_weights(weight: Floats, unit: float, far: float) -> Floats:
    """Weights (N,) in a unit, their sizes from 1 / far to far; one of 0 stays 0."""
    result = np.zeros(len(weight), np.float32)
    for n in range(len(weight)):
        size = abs(weight[n]) / unit
        if size > 0:
            result[n] = np.copysign(min(max(size, 1 / far), far), weight[n])
    return result


@compiled
def rooted_rows(weight: Floats, column: Ints, items: Floats, scale: Floats, rows: Floats | Doubles) -> Doubles:
    """Write rows √|w| scale q of items (I, D) for weights and columns (N,): rows (N, D), scale (D,).

    Returns √w where it is above 0, else 0, (N, 1).
    """
    N, D = rows.shape
    if len(column) != N or len(weight) != N or len(scale) != D or items.shape[1] != D:
        raise IndexError("the rows have another shape")
    gain = np.zeros((N, 1))
    for n in range(N):
        if not 0 <= column[n] < len(items):
            raise IndexError("a column is beyond the items")
        root = np.sqrt(np.float64(abs(weight[n])))
        row = items[column[n]]
        for d in range(D):
            rows[n, d] = root * row[d] * scale[d]
        gain[n, 0] = np.sqrt(np.float64(max(weight[n], np.float32(0))))
    return gain


@compiled
def squared_error(users: Floats, items: Floats, start: Longs, column: Ints, weight: Floats, liked: Bools) -> float:
    """Sum over the events of |w| (s - 1)² where they are liked, else |w| s²; s is the product of the two vectors."""
    total = 0.0
    for b in range(len(users)):
        for n in range(start[b], start[b + 1]):
            i = column[n]
            s = np.float32(0)
            for d in range(users.shape[1]):
                s += users[b, d] * items[i, d]
            total += abs(weight[n]) * (s - np.float32(liked[n])) ** 2
    return total


@compiled
def residuals(side: Floats, other: Floats, start: Longs, column: Ints, weight: Floats, out: Floats | Doubles) -> None:
    """Add Σ_k (|w_k| s_k - max(w_k, 0)) q_k over the columns k of each row to out (B, D); s_k = x·q_k.

    side (B, D) holds the x, other (M, D) the q: half of the slope of `squared_error` by each row.
    """
    B, D = side.shape
    if len(start) != B + 1 or out.shape != side.shape or other.shape[1] != D or len(weight) != len(column):
        raise IndexError("the rows have another shape")
    for b in range(B):
        for n in range(start[b], start[b + 1]):
            i = column[n]
            if not 0 <= i < len(other):
                raise IndexError("a column is beyond the rows")
            s = np.float32(0)
            for d in range(D):
                s += side[b, d] * other[i, d]
            factor = abs(weight[n]) * s - max(weight[n], np.float32(0))
            for d in range(D):
                out[b, d] += factor * other[i, d]
