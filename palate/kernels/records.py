"""Cut delimited text into records (RFC 4180), so that a bad row is known by its number before it is parsed."""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from palate.arrays import Ints, Longs
from palate.kernels.compile import compiled, inlined

Bytes: TypeAlias = NDArray[np.uint8]
Scan: TypeAlias = tuple[int, int]

NEWLINE, RETURN = 10, 13
BAD_QUOTE, OPEN_QUOTE = -1, -2


@compiled
def find_marks(text: Bytes, separator: int, quote: int) -> tuple[Ints, Bytes]:
    """Positions of separators, newlines and quotes, and these bytes, found without a branch a byte.

    A newline at the length of the text ends both.
    """
    marks = np.empty(len(text) + 1, np.int32)
    kinds = np.empty(len(text) + 1, np.uint8)
    n = 0
    for at in range(len(text)):
        byte = text[at]
        marks[n] = at
        kinds[n] = byte
        n += (byte == separator) | (byte == NEWLINE) | (byte == quote)
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
def find_records(text: Bytes, separator: int, quote: int, last: bool) -> tuple[Longs, Ints]:
    """End of each complete record in UTF-8 bytes, and its number of fields, (R,) each.

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
        m = min(after + 1, len(marks) - 1)
        start = min(at + 1, size)
        ends[n] = start
        counts[n] = fields
        n += 1
    return ends[:n].copy(), counts[:n].copy()
