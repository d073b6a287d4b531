"""Cut delimited text into records (RFC 4180), so that a bad row is known by its number before it is parsed."""

from functools import reduce
from typing import TypeAlias

import numpy as np
from llvmlite import ir
from numba import types
from numpy.typing import NDArray

from palate.arrays import Ints, Longs
from palate.kernels.compile import compiled, emitted, inlined
from palate.kernels.llvm import Builder, Context, Kind, Value
from palate.kernels.simd import BIT, I64, splat

Bytes: TypeAlias = NDArray[np.uint8]
Scan: TypeAlias = tuple[int, int]

NEWLINE, RETURN = 10, 13
BLOCK = 64  # bytes looked at together
BYTE = ir.IntType(8)
BAD_QUOTE, OPEN_QUOTE = -1, -2


@emitted
def find_bytes(typing_context: Context, address: Value, first: Value, second: Value, third: Value) -> Value:
    """Return which of the 64 bytes at an address are one of three, a bit each, the lowest for the first."""

    def generate(context: Context, builder: Builder, signature: Kind, arguments: Value) -> Value:
        block = ir.VectorType(BYTE, BLOCK)
        text = builder.load(builder.inttoptr(arguments[0], block.as_pointer()), align=1)
        wanted = [splat(builder, builder.trunc(byte, BYTE), BLOCK).value for byte in arguments[1:]]
        found = reduce(builder.or_, [builder.icmp_unsigned("==", text, byte) for byte in wanted])
        return builder.bitcast(found, I64)

    return types.uint64(types.int64, types.int64, types.int64, types.int64), generate


@emitted
def lowest_bit(typing_context: Context, bits: Value) -> Value:
    """Return the place of the lowest bit that is set; one must be."""

    def generate(context: Context, builder: Builder, signature: Kind, arguments: Value) -> Value:
        return builder.cttz(arguments[0], ir.Constant(BIT, 1))

    return types.int64(types.uint64), generate


@compiled
def find_marks(text: Bytes, separator: int, quote: int) -> tuple[Ints, Bytes]:
    """Positions of separators, newlines and quotes, and these bytes, found 64 bytes at a time.

    A newline at the length of the text ends both.
    """
    marks = np.empty(len(text) + 1, np.int32)
    kinds = np.empty(len(text) + 1, np.uint8)
    origin = text.ctypes.data
    n = 0
    first = 0
    while first + BLOCK <= len(text):
        found = find_bytes(origin + first, separator, NEWLINE, NEWLINE if quote < 0 else quote)
        while found != 0:
            marks[n] = first + lowest_bit(found)
            kinds[n] = text[marks[n]]
            n += 1
            found &= found - np.uint64(1)
        first += BLOCK
    for at in range(first, len(text)):
        marks[n] = at
        kinds[n] = text[at]
        n += (text[at] == separator) | (text[at] == NEWLINE) | (text[at] == quote)
    marks[n] = len(text)
    kinds[n] = NEWLINE
    return marks[: n + 1], kinds[: n + 1]


@inlined
def close_quote(text: Bytes, marks: Ints, kinds: Bytes, m: int, quote: int) -> int:
    """Give the mark after a quoted field whose opening quote comes just before mark m, or -1 or -2 without one."""
    size = len(text)
    while marks[m] < size:
        at, after = marks[m], marks[m + 1]
        m += 1
        if kinds[m - 1] != quote:
            continue
        if after == at + 1 and kinds[m] == quote:  # two quotes in a row are one inside the field
            m += 1
        else:
            closed = after == at + 1 or (after == at + 2 and text[at + 1] == RETURN and kinds[m] == NEWLINE)
            return m if closed else BAD_QUOTE
    return OPEN_QUOTE


@inlined
def scan_record(text: Bytes, marks: Ints, kinds: Bytes, m: int, start: int, separator: int, quote: int) -> Scan:
    """Fields of the record that begins at `start`, mark m (or -1, -2), and the mark of its newline or of the end."""
    first = m
    fields = 1
    while True:
        if kinds[m] == separator:
            fields += 1
            m += 1
        elif kinds[m] == quote:
            field = marks[m - 1] + 1 if m > first else start
            if marks[m] != field:
                return BAD_QUOTE, m
            m = close_quote(text, marks, kinds, m + 1, quote)
            if m < 0:
                return m, m
        else:
            return fields, m


@compiled
def find_records(text: Bytes, separator: int, quote: int, last: bool) -> tuple[Longs, Ints, Ints]:
    """End of each complete record in UTF-8 bytes, its number of fields, (R,) each, and all their marks.

    Fields are 0 for a blank line and -1 where a quote breaks the rules; such a record ends with its line, so that
    the next one is read afresh. With `last`, what follows the last newline is a record too. With a quote of -1,
    quotes are plain text.
    """
    size = len(text)
    marks, kinds = find_marks(text, separator, quote)
    ends = np.empty(len(marks), np.int64)
    counts = np.empty(len(marks), np.int32)
    n = 0
    m = 0
    start = 0
    while start < size:
        after = m  # first as if the record had no quotes, which is quick to find out
        while kinds[after] == separator:
            after += 1
        fields = after - m + 1
        if kinds[after] == quote:
            fields, after = scan_record(text, marks, kinds, m, start, separator, quote)
        if fields == OPEN_QUOTE and not last:
            break
        if fields < 0:
            fields, after = BAD_QUOTE, m
            while kinds[after] != NEWLINE:
                after += 1
        at = marks[after]
        if at == size and not last:
            break
        if at == start or (at == start + 1 and text[start] == RETURN):
            fields = 0
        m = after + 1
        start = min(at + 1, size)
        ends[n] = start
        counts[n] = fields
        n += 1
    return ends[:n].copy(), counts[:n].copy(), marks[:m].copy()
