"""Delimited text (CSV, TSV) as batches: polars parses it, in blocks of whole records.

Polars takes a blank line, a record with too few fields and a quote out of place without a word. So the separators,
newlines and quotes of a block are counted first. A block that does not add up is cut record by record in Python, which
is slow, and names each row at fault.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import BinaryIO

import numpy as np
import polars as pl

from palate.arrays import Bools, Bytes, Longs
from palate.data.batch import CHUNK, FILLED, LONGEST, Batch, Choose
from palate.errors import DataError

NEWLINE, RETURN, QUOTE = 10, 13, 34
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
BLANK = (b"\n", b"\r\n", b"\r")
NUMERIC: Mapping[str, pl.DataType] = {"time": pl.Int64(), "weight": pl.Float64()}
BAD_QUOTE = -1
QUOTE_RULE = "a quote out of place; a field with quotes is quoted as a whole, its own quotes doubled"
QUOTED = rb'"[^"]*+(?:""[^"]*+)*+'  # a quoted field but for its last quote
QUOTED_FIELD = re.compile(QUOTED + b'"')


@dataclass(frozen=True)
class Dialect:
    """How the text is written; without quotes, quotes are plain text."""

    separator: str
    quotes: bool = True

    @cached_property
    def record(self) -> re.Pattern[bytes]:
        """Matches a record whose quotes keep the rules (RFC 4180)."""
        cut = re.escape(self.separator).encode()
        field = rb'(?:%b"|[^"\n%b]*+)' % (QUOTED, cut)
        return re.compile(rb"%b(?:%b%b)*+\r?(?:\n|\Z)" % (field, cut, field))

    @cached_property
    def opened(self) -> re.Pattern[bytes]:
        """Matches a record that ends in a quote left open."""
        cut = re.escape(self.separator).encode()
        return re.compile(rb'(?:(?:%b"|[^"\n%b]*+)%b)*+%b\Z' % (QUOTED, cut, cut, QUOTED))


@dataclass(frozen=True)
class Block:
    """Whole records, and how many separators they have, -1 where a quote is out of place."""

    text: bytes
    separators: int = -1


class Parser:
    """Reads the wanted columns, by role, from records of `width` fields."""

    def __init__(self, dialect: Dialect, width: int, wanted: Mapping[str, int]) -> None:
        self.width = width
        self._dialect = dialect
        self._wanted = wanted
        self._types = {role: kind for role, kind in NUMERIC.items() if role in wanted}

    def __call__(self, text: bytes) -> pl.DataFrame | None:
        """Return the columns as strings, numbers until one of them is none; None where the widths differ."""
        found = self._parsed(text, self._types)
        if found is None and self._types:
            found = self._parsed(text, {})  # strings show which number is none
            self._types = self._types if found is None else {}
        return found

    def _parsed(self, text: bytes, types: Mapping[str, pl.DataType]) -> pl.DataFrame | None:
        names = [str(n) for n in range(self.width)]
        schema: dict[str, pl.DataType] = dict.fromkeys(names, pl.String())
        schema |= {names[self._wanted[role]]: kind for role, kind in types.items()}
        # With a header of ours, no first bytes of a block can pass for a compressed file or a byte order mark.
        head = self._dialect.separator.join(names).encode() + b"\n"
        quote = '"' if self._dialect.quotes else None
        try:  # all columns: of some, polars does not say that a row has more
            fields = pl.read_csv(head + text, schema=schema, separator=self._dialect.separator, quote_char=quote)
        except pl.exceptions.ComputeError:
            return None
        found = fields.select(pl.col(names[n]).alias(role) for role, n in self._wanted.items())
        # Polars takes the bare empty field for null, and the quoted one for a string.
        return found.with_columns(FILLED) if b'""' in text else found


def read_delimited(stream: BinaryIO, place: str, dialect: Dialect, choose: Choose) -> Iterator[Batch]:
    """Rows below the header of delimited text: strings, but for times and weights as long as all are numbers."""
    blocks = _blocks(stream, place, dialect)
    top = next(blocks, None)
    if top is None:
        raise DataError(f"{place}: empty; the first line must name the columns")
    end, header = _header(top.text, place, dialect)
    columns = choose(header, place)
    parse = Parser(dialect, len(header), {role: header.index(name) for role, name in columns.items()})
    below = top.text[end:]
    first = 1
    for block in chain([_counted(below, dialect)] if below else [], blocks):
        frame = parse(block.text) if block.separators >= 0 and _is_utf8(block.text) else None
        # With one column, polars has a row for a blank line, too.
        if frame is None or not block.separators == len(frame) * (len(header) - 1) > 0:
            records = Records.of(block.text, dialect)
            good, broken = _judge(records, len(header), first)
            frame = parse(b"".join(records[n] for n in np.flatnonzero(good).tolist()))
            assert frame is not None
            row, count = first + np.flatnonzero(good), len(records.ends)
        else:
            row, broken, count = np.arange(first, first + len(frame)), [], len(frame)
        yield Batch(place, columns, frame, row, broken, typed=False)
        first += count


def _blocks(stream: BinaryIO, place: str, dialect: Dialect) -> Iterator[Block]:
    """Cut the stream into blocks of whole records; a record longer than a block doubles the next one."""
    text = stream.read(CHUNK).removeprefix(BYTE_ORDER_MARK)
    while text:
        more = stream.read(max(CHUNK, len(text)))
        block = _counted(text if more or text.endswith(b"\n") else text + b"\n", dialect)
        if not block.text or block.separators < 0 or len(text) > LONGEST:
            records = Records.of(text, dialect, last=not more)
            if np.diff(records.ends, prepend=0, append=len(text)).max() > LONGEST:
                raise DataError(f"{place}: a row of more than {LONGEST >> 20} MB; is a quote left open?")
            block = Block(text[: records.ends[-1] if records.ends else 0])
        if block.text:
            yield block
        text = text[len(block.text) :] + more


def _counted(text: bytes, dialect: Dialect) -> Block:
    """Return the block of the records that end in a text; its separators are counted unless a quote is bad."""
    codes = np.frombuffer(text, np.uint8)
    separators = codes == ord(dialect.separator)
    if not dialect.quotes or b'"' not in text:
        cut = text.rfind(b"\n") + 1
    else:
        quotes = codes == QUOTE
        outside = ~np.logical_xor.accumulate(quotes)
        ends = (codes == NEWLINE) & outside
        cut = int(len(ends) - ends[::-1].argmax()) if ends.any() else 0
        if not _are_sound(codes[:cut], np.flatnonzero(quotes[:cut]), ord(dialect.separator)):
            return Block(text[:cut])
        separators &= outside
    return Block(text[:cut], np.count_nonzero(separators[:cut]))


def _are_sound(codes: Bytes, quotes: Longs, separator: int) -> bool:
    """Whether quotes, each second one closing, stand at the sides of fields, or are doubled within them."""
    opening, closing = quotes[::2], quotes[1::2]
    after = codes[closing + 1]  # a newline ends the text
    returns = after == RETURN
    returns[returns] = codes[closing[returns] + 2] == NEWLINE
    sides = [separator, NEWLINE, QUOTE]
    return bool(np.isin(codes[opening - 1], sides).all() and (np.isin(after, sides) | returns).all())


@dataclass(frozen=True)
class Records:
    """R records of a text: where each ends, and its number of fields (0: a blank line, -1: a bad quote)."""

    text: bytes
    ends: list[int]
    fields: list[int]

    @classmethod
    def of(cls, text: bytes, dialect: Dialect, *, last: bool = True) -> Records:
        """Find the complete records of a text; with `last`, what follows the last newline is one too."""
        found = list(_records(text, dialect, last=last))
        return cls(text, [end for end, _ in found], [fields for _, fields in found])

    def __getitem__(self, n: int) -> bytes:
        return self.text[self.ends[n - 1] if n else 0 : self.ends[n]]


def _records(text: bytes, dialect: Dialect, *, last: bool = True) -> Iterator[tuple[int, int]]:
    """End and number of fields of each record; a bad one ends with its line, so that the next is read afresh."""
    separator = dialect.separator.encode()
    at = 0
    while at < len(text):
        end = text.find(b"\n", at) + 1 or len(text)
        fields = text.count(separator, at, end) + 1
        if dialect.quotes and text.find(b'"', at, end) >= 0:
            match = dialect.record.match(text, at)
            if match is None and not last and dialect.opened.match(text, at):
                return
            end = end if match is None else match.end()
            fields = BAD_QUOTE if match is None else QUOTED_FIELD.sub(b"", match[0]).count(separator) + 1
        elif end - at <= 2 and text[at:end] in BLANK:
            fields = 0
        if not last and text[end - 1] != NEWLINE:
            return
        yield end, fields
        at = end


def _header(text: bytes, place: str, dialect: Dialect) -> tuple[int, list[str]]:
    """Where the first record ends, and the names in it."""
    end, width = next(_records(text, dialect))
    if width < 1:
        raise DataError(f"{place}: the first line must name the columns; it is {text[:end][:80]!r}")
    if not _is_utf8(text[:end]):
        raise DataError(f"{place}: the header is not UTF-8: {text[:end][:80]!r}; save the file as UTF-8")
    names = Parser(dialect, width, {str(n): n for n in range(width)})(text[:end])
    assert names is not None
    return end, [name or "" for name in names.row(0)]


def _judge(records: Records, width: int, first: int) -> tuple[Bools, list[tuple[int, str]]]:
    """Which records can be parsed, (R,), and the fault of each that cannot; blank lines are no fault."""
    faults = {}
    fields = np.array(records.fields)
    good = fields == width
    for n in np.flatnonzero(~good & (fields != 0)).tolist():
        bad_quote = fields[n] == BAD_QUOTE
        faults[n] = QUOTE_RULE if bad_quote else f"{fields[n]} fields; the header has {width}"
    if not _is_utf8(records.text):
        for n in np.flatnonzero(good).tolist():
            if not _is_utf8(records[n]):
                good[n] = False
                faults[n] = f"{records[n][:80]!r} is not UTF-8; save the file as UTF-8"
    return good, [(first + n, faults[n]) for n in sorted(faults)]


def _is_utf8(text: bytes) -> bool:
    if text.isascii():
        return True
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True
