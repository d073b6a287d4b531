"""Negatives at random: alias tables, and counter-based random numbers in vector registers.

A sample's negatives depend on a key (the seed and the sample's position) alone, so threads change nothing.
"""

from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

import numpy as np
from numba import types

from palate.arrays import Doubles, Floats, Halves, Hashes, Ints, Longs
from palate.kernels.arithmetic import mix
from palate.kernels.compile import compiled, emitted, inlined
from palate.kernels.llvm import Builder, Context, Kind, Value
from palate.kernels.simd import I32, I64, WIDTH, SimdVector, numbered, splat
from palate.kernels.vectors import element, pointer

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
WORD = np.uint64(32)
FOUR = np.uint64(4)
LOW_WORD = np.uint64(0xFFFFFFFF)
GREATEST = np.uint64(0xFFFFFFFFFFFFFFFF)
TRIES = 8  # draws before an item of the user's own is accepted: some users have nearly everything


Pair: TypeAlias = list[SimdVector]  # 16 numbers of 64 bits, in two registers


class Sampler(NamedTuple):
    """How negatives are drawn: alias table (I,), log K q (I,), and the items to reject as ragged rows.

    An empty table draws evenly; an empty filter rejects nothing.
    """

    table: Hashes
    log_kq: Floats
    start: Longs
    column: Ints
    filter: Halves


@compiled
def alias_table(probability: Doubles) -> Hashes:
    """Alias table (I,) of probabilities (I,) with a sum of 1 (Vose 1991): a threshold above the number of an item."""
    I = len(probability)
    height = probability * I
    threshold = np.full(I, 0xFFFFFFFF, np.uint32)
    alias = np.arange(I).astype(np.int32)
    stack = np.empty(I, np.int64)  # low columns from the left, high ones from the right
    low, high = 0, I
    for i in range(I):
        if height[i] < 1:
            stack[low] = i
            low += 1
        else:
            high -= 1
            stack[high] = i
    while low > 0 and high < I:
        low -= 1
        short, tall = stack[low], stack[high]
        threshold[short] = np.uint32(height[short] * 4294967295.0)
        alias[short] = tall
        height[tall] -= 1 - height[short]
        if height[tall] < 1:
            high += 1
            stack[low] = tall
            low += 1
    return (threshold.astype(np.uint64) << WORD) | alias.astype(np.uint64)


@inlined
def draw(random: np.uint64, table: Hashes, n_items: int) -> np.int32:
    """One item by the alias method (Walker 1977): the high 32 bits choose a column, the low 32 a side of it."""
    column = ((random >> WORD) * np.uint64(n_items)) >> WORD
    entry = table[column] if len(table) else GREATEST
    return np.int32(column if (random & LOW_WORD) < (entry >> WORD) else entry & LOW_WORD)


@emitted
def draw_by_table(
    typing_context: Context, rows: Value, slot: Value, key: Value, table: Value, n_items: Value, count: Value
) -> Value:
    """Do rows[slot, k] = draw(mix(key + k GOLDEN), table, n_items) for k < `count`, whole registers at once."""

    def generate(context: Context, builder: Builder, signature: Kind, arguments: Value) -> Value:
        entries = pointer(context, builder, signature.args[3], arguments[3])(0)
        for target, random, column in _columns(context, builder, signature.args, arguments, count.literal_value):
            entry = [half.gather(entries) for half in column]
            kept = _joined(random) < _joined([half >> 32 for half in entry])
            kept.where(_joined(column), _joined(entry)).store(target)
        return context.get_dummy_value()

    return types.void(rows, types.int64, types.uint64, table, types.int64, count), generate


@emitted
def draw_evenly(
    typing_context: Context, rows: Value, slot: Value, key: Value, table: Value, n_items: Value, count: Value
) -> Value:
    """Do as `draw_by_table` does where all items have the same probability; the table is not used."""

    def generate(context: Context, builder: Builder, signature: Kind, arguments: Value) -> Value:
        for target, _, column in _columns(context, builder, signature.args, arguments, count.literal_value):
            _joined(column).store(target)
        return context.get_dummy_value()

    return types.void(rows, types.int64, types.uint64, table, types.int64, count), generate


def _columns(
    context: Context, builder: Builder, kinds: Kind, arguments: Value, count: int
) -> Iterator[tuple[Value, Pair, Pair]]:
    """Where the next 16 draws go, their random numbers and their columns of the table, as 64-bit halves."""
    rows, slot, key, _, n_items, _ = arguments
    target = element(context, builder, kinds[0], rows, slot)
    keys, sizes = (splat(builder, value, WIDTH // 2) for value in (key, n_items))
    for first in range(0, count, WIDTH):
        counters = [numbered(builder, low, I64, WIDTH // 2) for low in (first, first + WIDTH // 2)]
        random = [_mixed(counter * int(GOLDEN) + keys) for counter in counters]
        yield target(first), random, [((half >> 32) * sizes) >> 32 for half in random]


def _mixed(z: SimdVector) -> SimdVector:
    """Scramble 64 bits as `mix` does."""
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB
    return z ^ (z >> 31)


def _joined(halves: Pair) -> SimdVector:
    """Low 32 bits of the lanes of two registers, in one."""
    low, high = (half.resized(I32) for half in halves)
    return low.pick(high, range(WIDTH))


@inlined
def filter_bit(item: np.int32, words: int, n_items: int) -> np.int64:
    """Bit of an item in a filter of words of 16 bits: one for each item where they suffice, else by hash."""
    hashed = ((mix(np.uint64(item) * GOLDEN) >> WORD) * (np.uint64(words) << FOUR)) >> WORD
    return np.int64(item) if n_items <= words << 4 else np.int64(hashed)


@compiled
def filters(start: Longs, column: Ints, n_items: int) -> Halves:
    """Filter of each row's columns, a word an entry (Bloom 1970, one hash): what has no bit is not in the row."""
    words = np.zeros(len(column), np.uint16)
    for row in range(len(start) - 1):
        low, high = start[row], start[row + 1]
        for n in range(low, high):
            bit = filter_bit(column[n], high - low, n_items)
            words[low + (bit >> 4)] |= np.uint16(1) << np.uint16(bit & 15)
    return words


@compiled
def redraw(
    rows: Ints,
    slot: int,
    K: int,
    key: np.uint64,
    table: Hashes,
    n_items: int,
    low: int,
    high: int,
    column: Ints,
    words: Halves,
) -> None:
    """Draw those of the negatives rows[slot, 1:K + 1] anew that are in column[low:high]; words are its `filters`."""
    size = high - low
    for k in range(1, K + 1 if size else 0):
        item = rows[slot, k]
        tried = 1
        while tried < TRIES:
            bit = filter_bit(item, size, n_items)
            if (words[low + (bit >> 4)] >> (bit & 15)) & 1 == 0:
                break
            found = n_items <= size << 4  # else the bit is another item's in one case of 16
            for n in range(low, low if found else high):
                found |= column[n] == item
            if not found:
                break
            random = mix(key + (np.uint64(k) + (np.uint64(tried) << WORD)) * GOLDEN)
            item = draw(random, table, n_items)
            rows[slot, k] = item
            tried += 1


@compiled
def bits_of(N: int) -> int:
    """Return the least number of bits, 1 or more, for the numbers below N."""
    bits = 1
    while (N - 1) >> bits > 0:
        bits += 1
    return bits


@inlined
def shuffled(position: int, N: int, bits: int, key: np.uint64) -> int:
    """Give the number at a position of a shuffled range(N), which is never stored: each key is another order.

    Odd multiplications and xor-shifts permute the numbers of `bits` bits; one that is not below N is permuted again
    (cycle walking, Black and Rogaway 2002).
    """
    mask, half = (np.uint64(1) << np.uint64(bits)) - np.uint64(1), np.uint64((bits + 1) >> 1)
    factor, other = mix(key) | np.uint64(1), mix(key + GOLDEN) | np.uint64(1)
    x = np.uint64(position)
    outside = True
    while outside:
        x = (x * factor + key) & mask
        x = ((x ^ (x >> half)) * other) & mask
        x = ((x ^ (x >> half)) * factor) & mask
        x ^= x >> half
        outside = bool(x >= np.uint64(N))
    return int(x)
