"""Fields of text to numbers: ids by a hash table of their bytes, decimal digits by their value.

A field n of text is the bytes from `starts[n]` up to `ends[n]`. The table of ids holds, for S ids in order of first
appearance: arena, their bytes in words of 8, the last one filled up by at least one 0xFF, which UTF-8 never has;
offsets (S + 1 or more,), where each begins there; and an open-addressing table of twice as many slots or more, in
which `keys` is 0 where a slot is free.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from palate.arrays import Doubles, Hashes, Ints, Longs
from palate.kernels.arithmetic import mix
from palate.kernels.compile import compiled, emitted, inlined
from palate.kernels.lanes import I64
from palate.kernels.records import Bytes
from palate.kernels.vectors import pointer

WORD = 8  # bytes
ONES = np.uint64(0xFFFF_FFFF_FFFF_FFFF)
TOP = np.uint64(0x7FFF_FFFF_FFFF_FFFF)
MINUS, POINT, ZERO, NINE = 45, 46, 48, 57
MOST_DIGITS = 15  # such numbers, and 10 to this power, are exact in float64, so their quotient is rounded once
POWERS = 10.0 ** np.arange(MOST_DIGITS + 1)


@emitted
def load_word(typing_context: Any, text: Any, at: Any) -> Any:
    """Return the 8 bytes of a contiguous array from `at` on, lowest first; all must lie in the array."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = pointer(context, builder, signature.args[0], *arguments)(0)
        return builder.load(builder.bitcast(place, ir.PointerType(I64)), align=1)

    return types.uint64(text, types.int64), generate


@inlined
def read_word(text: Bytes, at: int, end: int) -> np.uint64:
    """Bytes of a field from `at` on, 8 at most, filled up by 0xFF."""
    word = ONES
    if at + WORD <= len(text):
        word = load_word(text, at)
        if end - at < WORD:
            word |= ONES << np.uint64(8 * (end - at))
    else:
        for n in range(end - 1, at - 1, -1):
            word = (word << np.uint64(8)) | np.uint64(text[n])
    return word


@inlined
def find_key(text: Bytes, at: int, end: int) -> np.uint64:
    """Key of a field: up to 7 bytes the field itself, its highest byte 0xFF; else a hash with the highest bit 0."""
    word = read_word(text, at, end)
    if end - at < WORD:
        return word
    key = word
    for n in range(at + WORD, end + 1, WORD):
        key = mix(key) ^ read_word(text, n, end)
    return (key & TOP) | np.uint64(1)


@inlined
def is_same(text: Bytes, at: int, end: int, arena: Hashes, offset: int) -> bool:
    """Whether a field is the id in the arena."""
    n = 0
    while at + WORD * n <= end and arena[offset + n] == read_word(text, at + WORD * n, end):
        n += 1
    return at + WORD * n > end


@compiled
def code_fields(
    text: Bytes,
    starts: Longs,
    ends: Longs,
    first: int,
    codes: Ints,
    size: int,
    keys: Hashes,
    slots: Ints,
    arena: Hashes,
    offsets: Longs,
) -> tuple[int, int]:
    """Code fields from the `first` on into codes (N,), and add new ids to the table of `size` ids.

    Returns the number of fields coded, less than N when the table or the arena has no room, and the new size.
    """
    mask = np.uint64(len(keys) - 1)
    for n in range(first, len(starts)):
        at, end = starts[n], ends[n]
        key = find_key(text, at, end)
        slot = mix(key) & mask
        while keys[slot] != 0:
            if keys[slot] == key and (end - at < WORD or is_same(text, at, end, arena, offsets[slots[slot]])):
                break
            slot = (slot + np.uint64(1)) & mask
        if keys[slot] == 0:
            offset = offsets[size]
            after = offset + (end - at) // WORD + 1
            if 2 * size >= len(keys) or after > len(arena):
                return n, size
            for w in range(after - offset):
                arena[offset + w] = read_word(text, at + WORD * w, end)
            keys[slot] = key
            slots[slot] = size
            size += 1
            offsets[size] = after
        codes[n] = slots[slot]
    return len(starts), size


@compiled
def move_slots(keys: Hashes, slots: Ints, new_keys: Hashes, new_slots: Ints) -> None:
    """Fill a larger, empty table with the entries of another."""
    mask = np.uint64(len(new_keys) - 1)
    for n in range(len(keys)):
        if keys[n] != 0:
            slot = mix(keys[n]) & mask
            while new_keys[slot] != 0:
                slot = (slot + np.uint64(1)) & mask
            new_keys[slot] = keys[n]
            new_slots[slot] = slots[n]


@inlined
def read_digits(text: Bytes, at: int, end: int, value: int) -> tuple[int, int]:
    """Append digits to a value; also returns where they end."""
    while at < end and ZERO <= text[at] <= NINE:
        value = 10 * value + np.int64(text[at] - ZERO)
        at += 1
    return value, at


@compiled
def read_integers(text: Bytes, starts: Longs, ends: Longs) -> tuple[Longs, bool]:
    """Values of 64-bit integers, spelled without a plus or a 0 in front; False if any field is something else."""
    values = np.empty(len(starts), np.int64)
    for n in range(len(starts)):
        minus = starts[n] < ends[n] and text[starts[n]] == MINUS
        at, end = starts[n] + minus, ends[n]
        if at >= end or end - at > 19 or (text[at] == ZERO and end - starts[n] > 1):
            return values, False
        if end - at == 19 and text[at] == NINE:  # perhaps too large
            return values, False
        value, stop = read_digits(text, at, end, 0)
        if stop < end:
            return values, False
        values[n] = -value if minus else value
    return values, True


@compiled
def read_decimals(text: Bytes, starts: Longs, ends: Longs) -> tuple[Doubles, bool]:
    """Values of decimals of up to 15 digits, with a point or without; False if any field is something else."""
    values = np.empty(len(starts), np.float64)
    for n in range(len(starts)):
        at, end = starts[n], ends[n]
        value, stop = read_digits(text, at, min(end, at + MOST_DIGITS), 0)
        point = stop
        if at < stop < end <= at + MOST_DIGITS and text[stop] == POINT:
            value, stop = read_digits(text, stop + 1, end, value)
        if at == stop or stop < end:
            return values, False
        values[n] = value / POWERS[max(stop - point - 1, 0)]
    return values, True
