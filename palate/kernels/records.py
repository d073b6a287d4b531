"""Cut delimited text into records (RFC 4180), so that a bad row is known by its number before it is parsed."""

import numpy as np
from numpy.typing import NDArray

from palate.arrays import Ints, Longs
from palate.kernels.compile import compiled, inlined

NEWLINE, RETURN = 10, 13
BAD_QUOTE, OPEN_QUOTE = -1, -2


@compiled
def find_marks(text: NDArray[np.uint8], separator: int, quote: int) -> Ints:
    """Positions of separators, newlines and quotes, found without a branch a byte; the length of the text is last."""
    marks = np.empty(len(text) + 1, np.int32)
    n = 0
    for at in range(len(text)):
        marks[n] = at
        n += (text[at] == separator) | (text[at] == NEWLINE) | (text[at] == quote)
    marks[n] = len(text)
    return marks[: n + 1]


@inlined
def close_quote(text: NDArray[np.uint8], marks: Ints, m: int, quote: int) -> int:
    """Give the mark after a quoted field whose opening quote comes just before mark m, or -1 or -2 without one."""
    size = len(text)
    while marks[m] < size:
        at, after = marks[m], marks[m + 1]
        m += 1
        if text[at] != quote:
            continue
        if after == at + 1 and after < size and text[after] == quote:  # two quotes in a row are one inside the field
            m += 1
        else:
            line_ends = after == size or text[after] == NEWLINE
            closed = after == at + 1 or (line_ends and after == at + 2 and text[at + 1] == RETURN)
            return m if closed else BAD_QUOTE
    return OPEN_QUOTE


@inlined
def scan_record(text: NDArray[np.uint8], marks: Ints, m: int, start: int, quote: int) -> tuple[int, int]:
    """Fields of the record that begins at `start`, mark m (or -1, -2), and the mark of its newline or of the end."""
    fields = 1
    field = start
    while marks[m] < len(text):
        at = marks[m]
        if text[at] == NEWLINE:
            break
        m += 1
        if text[at] == quote:
            if at != field:
                return BAD_QUOTE, m
            m = close_quote(text, marks, m, quote)
            if m < 0:
                return m, m
            field = -1
        else:
            fields += 1
            field = at + 1
    return fields, m


@compiled
def find_records(text: NDArray[np.uint8], separator: int, quote: int, last: bool) -> tuple[Longs, Ints]:
    """End of each complete record in UTF-8 bytes, and its number of fields, (R,) each.

    Fields are 0 for a blank line and -1 where a quote breaks the rules; such a record ends with its line, so that
    the next one is read afresh. With `last`, what follows the last newline is a record too. With a quote of -1,
    quotes are plain text.
    """
    size = len(text)
    marks = find_marks(text, separator, quote)
    ends = np.empty(len(marks), np.int64)
    counts = np.empty(len(marks), np.int32)
    n = 0
    m = 0
    start = 0
    while start < size:
        fields, after = scan_record(text, marks, m, start, quote)
        if fields == OPEN_QUOTE and not last:
            break
        if fields < 0:
            fields, after = BAD_QUOTE, m
            while marks[after] < size and text[marks[after]] != NEWLINE:
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
