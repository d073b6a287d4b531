"""Fields of text to numbers: ids by a hash table of their bytes, decimal digits by their value.

A field n of text is the bytes from `starts[n]` up to `ends[n]`; `PADDING` must follow the last one.

A table of ids keeps S of them in order of first appearance. Its arena holds their bytes in words of 8, the last one
filled up by one 0xFF or more, which UTF-8 never has. Its table (slots, 2), open addressing, holds the key of an id, 0
where the slot is free, and the code of the id, with its place in the arena above the lowest 31 bits.

Inlined functions take addresses here: an array passed on to a function with branches is counted, atomically.
"""

import numpy as np
from llvmlite import ir
from numba import types

from palate.arrays import Doubles, Hashes, Ints, Longs
from palate.kernels.arithmetic import mix
from palate.kernels.compile import compiled, emitted, inlined
from palate.kernels.llvm import Builder, Context, Kind, Value
from palate.kernels.records import RETURN, Bytes
from palate.kernels.simd import I64
from palate.kernels.vectors import row_prefetch

WORD = 8  # bytes
PADDING = bytes(2 * WORD)  # words are read whole
ONES = np.uint64(0xFFFF_FFFF_FFFF_FFFF)
ZEROS = np.uint64(0x3030_3030_3030_3030)  # as text
BELOW_TOP = np.uint64(0x7FFF_FFFF_FFFF_FFFF)
CODE_BITS = np.uint64(31)
CODE = np.uint64((1 << 31) - 1)
AHEAD = 16  # number of fields by which the prefetch of a slot precedes its use
MINUS, POINT, ZERO, NINE = 45, 46, 48, 57
MOST_DIGITS = 15  # such numbers, and 10 to this power, are exact in float64, so their quotient is rounded once
POWERS = 10.0 ** np.arange(MOST_DIGITS + 1)


@emitted
def load_word(typing_context: Context, address: Value) -> Value:
    """Return the 8 bytes at an address, lowest first."""

    def generate(context: Context, builder: Builder, signature: Kind, arguments: Value) -> Value:
        return builder.load(builder.inttoptr(arguments[0], ir.PointerType(I64)), align=1)

    return types.uint64(types.int64), generate


@inlined
def read_word(address: int, size: int) -> np.uint64:
    """First 8 bytes of a field of `size` bytes, filled up by 0xFF."""
    half = np.uint64(4 * min(size, WORD))
    word: np.uint64 = load_word(address)
    return word | ((ONES << half) << half)  # in two steps, since one by 64 is not defined


@inlined
def find_key(address: int, size: int) -> np.uint64:
    """Key of a field: up to 7 bytes the field itself, its highest byte 0xFF; else a hash with the highest bit 0."""
    word = read_word(address, size)
    key = mix(word) ^ read_word(address + WORD, max(size - WORD, 0))  # rather than a branch
    for n in range(2 * WORD, size + 1, WORD):
        key = mix(key) ^ read_word(address + n, size - n)
    return word if size < WORD else (mix(key) & BELOW_TOP) | np.uint64(1)


@compiled
def find_keys(text: Bytes, starts: Ints, ends: Ints) -> Hashes:
    """Keys of the fields, (N + AHEAD,)."""
    origin = text.ctypes.data
    keys = np.full(len(starts) + AHEAD, ONES)
    for n in range(len(starts)):
        keys[n] = find_key(origin + starts[n], ends[n] - starts[n])
    return keys


@compiled
def code_fields(
    text: Bytes,
    starts: Ints,
    ends: Ints,
    keys: Hashes,
    codes: Ints,
    table: Hashes,
    arena: Hashes,
    size: int,
    used: int,
) -> tuple[int, int, int]:
    """Fill codes (N,) with those of the fields, and add new ids to a table of `size` ids, with `used` words.

    Returns the number of fields coded, less than N when the table or the arena has no room, and the new size and use.
    """
    origin = text.ctypes.data
    mask = np.uint64(len(table) - 1)
    for n in range(len(starts)):
        row_prefetch(table, np.int64(mix(keys[n + AHEAD]) & mask), 2)
        key, at, length = keys[n], origin + starts[n], ends[n] - starts[n]
        words = length // WORD + 1
        slot = mix(key) & mask
        while table[slot, 0] != 0:
            if table[slot, 0] == key:
                place = np.int64(table[slot, 1] >> CODE_BITS)
                same = 0 if words > 1 else 1
                while same < words and arena[place + same] == read_word(at + WORD * same, length - WORD * same):
                    same += 1
                if same == words:
                    break
            slot = (slot + np.uint64(1)) & mask
        if table[slot, 0] == 0:
            if 2 * size >= len(table) or used + words > len(arena):
                return n, size, used
            for w in range(words):
                arena[used + w] = read_word(at + WORD * w, length - WORD * w)
            table[slot, 0] = key
            table[slot, 1] = np.uint64(size) | (np.uint64(used) << CODE_BITS)
            size += 1
            used += words
        codes[n] = np.int64(table[slot, 1] & CODE)
    return len(starts), size, used


@compiled
def fill_table(table: Hashes, larger: Hashes) -> None:
    """Copy the entries of a table into an empty one."""
    mask = np.uint64(len(larger) - 1)
    for n in range(len(table)):
        if table[n, 0] != 0:
            slot = mix(table[n, 0]) & mask
            while larger[slot, 0] != 0:
                slot = (slot + np.uint64(1)) & mask
            larger[slot] = table[n]


@compiled
def find_fields(text: Bytes, marks: Ints, column: int, width: int) -> tuple[Ints, Ints, bool]:
    """Start and end of each field of a column, and whether none is empty, where W marks end the W fields of a record.

    A return at the end of a field is not part of it, as polars has it.
    """
    count = len(marks) // width
    starts = np.empty(count, np.int32)
    ends = np.empty(count, np.int32)
    filled = True
    for n in range(count):
        m = n * width + column
        start = marks[m - 1] + 1 if m > 0 else 0
        end = marks[m]
        end -= end > start and text[end - 1] == RETURN
        starts[n] = start
        ends[n] = end
        filled &= start < end
    return starts, ends, filled


@inlined
def read_eight(address: int, size: int) -> np.int64:
    """Value of 1 to 8 digits, or -1; all at once, in the bytes of a word, neighbours joined in three steps."""
    gap = np.uint64(8 * (WORD - size))
    word = (load_word(address) << gap) | (ZEROS & ~(ONES << gap))
    word ^= ZEROS
    if ((word + np.uint64(0x7676767676767676)) | word) & np.uint64(0x8080808080808080) != 0:
        return np.int64(-1)
    word = ((word * np.uint64(10 * 2**8 + 1)) >> np.uint64(8)) & np.uint64(0x00FF00FF00FF00FF)
    word = ((word * np.uint64(100 * 2**16 + 1)) >> np.uint64(16)) & np.uint64(0x0000FFFF0000FFFF)
    return np.int64((word * np.uint64(10_000 * 2**32 + 1)) >> np.uint64(32))


@compiled
def read_integers(text: Bytes, starts: Ints, ends: Ints) -> tuple[Longs, bool]:
    """Values of 64-bit integers, spelled without a plus or a 0 in front; False if any field is something else."""
    origin = text.ctypes.data
    values = np.empty(len(starts), np.int64)
    for n in range(len(starts)):
        start, end = starts[n], ends[n]
        minus = text[start] == MINUS
        at = start + minus
        if at == end or end - at > 19 or (text[at] == ZERO and end - start > 1):
            return values, False
        if end - at == 19 and text[at] == NINE:  # perhaps too large
            return values, False
        value = np.int64(0)
        while at < end:
            stop = end - (end - at - 1) // WORD * WORD
            part = read_eight(origin + at, stop - at)
            if part < 0:
                return values, False
            value = 100_000_000 * value + part
            at = stop
        values[n] = -value if minus else value
    return values, True


@inlined
def read_digits(text: Bytes, at: int, end: int, value: int) -> tuple[int, int]:
    """Append digits to a value; also returns where they end."""
    while at < end and ZERO <= text[at] <= NINE:
        value = 10 * value + (text[at] - ZERO)
        at += 1
    return value, at


@compiled
def read_decimals(text: Bytes, starts: Ints, ends: Ints) -> tuple[Doubles, bool]:
    """Values of decimals of up to 15 bytes, with a point or without; False if any field is something else."""
    origin = text.ctypes.data
    values = np.empty(len(starts), np.float64)
    recent = np.zeros(256, np.uint64)  # weights repeat: short ones are remembered by their bytes
    recent_values = np.empty(256, np.float64)
    for n in range(len(starts)):
        at, end = starts[n], ends[n]
        word = read_word(origin + at, end - at)
        place = mix(word) >> np.uint64(56)
        if recent[place] == word and end - at < WORD:
            values[n] = recent_values[place]
            continue
        value, stop = read_digits(text, at, min(end, at + MOST_DIGITS), 0)
        point = stop
        if at < stop < end <= at + MOST_DIGITS and text[stop] == POINT:
            value, stop = read_digits(text, stop + 1, end, value)
        if at == stop or stop < end:
            return values, False
        values[n] = value / POWERS[max(stop - point - 1, 0)]
        recent[place] = word
        recent_values[place] = values[n]
    return values, True
