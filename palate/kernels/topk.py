"""Select the k best of each row of scores, block by block of columns."""

import numpy as np
from llvmlite import ir
from numba import types

from palate.arrays import Bools, Floats, Ints, Longs
from palate.kernels.compile import compiled, emitted
from palate.kernels.llvm import Builder, Context, Kind, Value
from palate.kernels.simd import I64, WIDTH, load, splat
from palate.kernels.vectors import place

MOST = 512  # places of a list kept in order one by one; a longer one is sorted
SHORT = (
    96  # places of a list that scores compete for one by one at once; for a longer one, most are sorted out before
)
SAMPLE = 8  # one in so many scores is looked at to guess what the last place of a longer list takes


@emitted
def lanes_above(typing_context: Context, scores: Value, row: Value, first: Value, bar: Value) -> Value:
    """Bit k is set where scores[row, first + k] > bar, for 16 k."""

    def generate(context: Context, builder: Builder, signature: Kind, arguments: Value) -> Value:
        x = load(builder, place(context, builder, signature.args[0], *arguments[:3])(0))
        mask = builder.bitcast((x > splat(builder, arguments[3])).value, ir.IntType(WIDTH))
        return builder.zext(mask, I64)

    return types.int64(scores, types.int64, types.int64, types.float32), generate


@emitted
def lowest_bit(typing_context: Context, bits: Value) -> Value:
    """Place of the lowest bit of a number that is not 0."""

    def generate(context: Context, builder: Builder, signature: Kind, arguments: Value) -> Value:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.int64), generate


@compiled
def insert(item: Ints, best: Floats, b: int, i: int, score: np.float32) -> None:
    """Put item i into row b, behind all that score as high; the last one falls out."""
    place = best.shape[1] - 1
    while place > 0 and score > best[b, place - 1]:
        best[b, place] = best[b, place - 1]
        item[b, place] = item[b, place - 1]
        place -= 1
    best[b, place] = score
    item[b, place] = i


@compiled
def keep_best(
    scores: Floats, offset: int, allowed: Bools, start: Longs, column: Ints, stamp: Ints, item: Ints, best: Floats
) -> None:
    """Let the scores (B, W) of columns [offset, offset + W) compete for the best k of each row: item, best (B, k).

    Columns must be allowed (I,), not among the row's own (start (B + 1,), column (N,)), and score above -inf; the
    blocks of columns must come in order, so that ties go to the lower one. stamp (I,) is work space, 0 at first.
    """
    B, W = scores.shape
    whole = W // WIDTH * WIDTH
    k = best.shape[1]
    for b in range(B if k > 0 else 0):
        for n in range(start[b], start[b + 1]):
            stamp[column[n]] = b + 1
        bar = best[b, k - 1]
        for first in range(0, whole, WIDTH):
            bits = lanes_above(scores, b, first, bar)
            while bits != 0:
                j = first + lowest_bit(bits)
                bits &= bits - 1
                i = offset + j
                if scores[b, j] > bar and allowed[i] and stamp[i] != b + 1:
                    insert(item, best, b, i, scores[b, j])
                    bar = best[b, k - 1]
        for j in range(whole, W):
            i = offset + j
            if scores[b, j] > bar and allowed[i] and stamp[i] != b + 1:
                insert(item, best, b, i, scores[b, j])
                bar = best[b, k - 1]


@compiled
def sampled(row: Floats) -> Floats:
    """Every `SAMPLE`-th run of 16 scores of a row, end to end."""
    runs = len(row) // (SAMPLE * WIDTH)
    found = np.empty(runs * WIDTH, np.float32)
    for run in range(runs):
        found[run * WIDTH : (run + 1) * WIDTH] = row[run * SAMPLE * WIDTH : run * SAMPLE * WIDTH + WIDTH]
    return found


@compiled
def open_above(scores: Floats, b: int, bar: np.float32, allowed: Bools, own: Ints) -> Ints:
    """Columns of row b whose scores are above the bar, that are allowed (I,), and not among `own`; ascending."""
    I = scores.shape[1]
    found = np.empty(I, np.int32)
    count, whole = 0, I // WIDTH * WIDTH
    for first in range(0, whole, WIDTH):
        bits = lanes_above(scores, b, first, bar)
        while bits != 0:
            j = first + lowest_bit(bits)
            bits &= bits - 1
            found[count] = j
            count += allowed[j]
    for j in range(whole, I):
        if scores[b, j] > bar:
            found[count] = j
            count += allowed[j]
    kept = found[:count].copy()
    for column in own:
        place = np.searchsorted(found[:count], column)
        if place < count and found[place] == column:
            kept[place] = -1
    there: Ints = kept[kept >= 0]
    return there


@compiled
def forbid(items: Bools, rows: Bools, row: Ints, positions: Longs) -> None:
    """Clear the masks of items (P,) and of their rows (I,) at positions (N,); row (P,)  -1 where there is none."""
    for position in positions:
        if 0 <= position < min(len(items), len(row)):
            items[position] = False
            if 0 <= row[position] < len(rows):
                rows[row[position]] = False


def select_top(
    scores: Floats, allowed: Bools, k: int, start: Longs | None = None, column: Ints | None = None
) -> tuple[Ints, Floats]:
    """Best k allowed columns of each row, above -inf and not its own, best first, ties by the lower column.

    scores (B, I), allowed (I,); start (B + 1,) and column (N,) name the row's own columns. Returns item (B, k), -1
    past the end, and score (B, k), -inf there.
    """
    scores = np.ascontiguousarray(scores, np.float32)  # models of others may give views
    B, I = scores.shape
    start = np.zeros(B + 1, np.int64) if start is None else start
    column = np.zeros(0, np.int32) if column is None else column
    if k <= MOST:
        item, best = nothing(B, k)
        if k <= SHORT:
            keep_best(scores, 0, allowed, start, column, np.zeros(I, np.int32), item, best)
            return item, best
        for b in range(B):
            mine = column[start[b] : start[b + 1]]
            if not _sorted_out(scores, b, allowed, mine, item, best):
                row, ends = slice(b, b + 1), np.array([0, len(mine)])
                keep_best(scores[row], 0, allowed, ends, mine, np.zeros(I, np.int32), item[row], best[row])
        return item, best
    there = np.flatnonzero(allowed)
    masked = scores[:, there]
    masked[np.isnan(masked)] = -np.inf
    own = allowed[column]
    masked[np.repeat(np.arange(B), np.diff(start))[own], np.searchsorted(there, column[own])] = -np.inf
    order = np.argsort(-masked, axis=1, kind="stable")[:, :k]
    best = np.take_along_axis(masked, order, axis=1)
    item = np.where(best == -np.inf, -1, there[order]).astype(np.int32)
    short = ((0, 0), (0, k - item.shape[1]))
    return np.pad(item, short, constant_values=-1), np.pad(best, short, constant_values=-np.inf)


def _sorted_out(scores: Floats, b: int, allowed: Bools, own: Ints, item: Ints, best: Floats) -> bool:
    """Fill row b with the best of the scores above a guess of the last one, False where these are too few."""
    k = item.shape[1]
    seen = sampled(scores[b])
    rank = 3 * (k + len(own)) // (2 * SAMPLE) + 8  # half as many again as are wanted lie above the guess
    if rank >= len(seen):
        return False
    there = open_above(scores, b, np.partition(seen, -rank)[-rank], allowed, own)
    if len(there) < k:
        return False
    values = scores[b, there]
    order = np.argsort(-values, kind="stable")[:k]
    item[b], best[b] = there[order], values[order]
    return True


def nothing(rows: int, k: int) -> tuple[Ints, Floats]:
    """Make lists of no items, (rows, k), for `keep_best` to fill."""
    return np.full((rows, k), -1, np.int32), np.full((rows, k), -np.inf, np.float32)
