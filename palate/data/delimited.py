"""Delimited text (CSV, TSV) as batches: polars parses it, in blocks of whole records.

Polars takes a blank line, a record with too few fields and a quote out of place without a word. So the separators
and quotes of a block are counted first. A block that does not add up is cut record by record in Python: this is slow,
and names each row at fault.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from typing import IO, BinaryIO

import numpy as np
import polars as pl

from palate.arrays import Bools, Bytes, Longs
from palate.data.batch import CHUNK, FILLED, LONGEST, Batch, Choose
from palate.data.dialects import SAMPLE, Form, Text, cleared, has_commas, look, said
from palate.data.headless import guess, is_data, said_of
from palate.data.records import BAD_QUOTE, NEWLINE, Dialect, Records, is_utf8, records_of
from palate.errors import DataError

RETURN, QUOTE = 13, 34
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
AMOUNTS = ("weight", "price")  # numbers that may have a decimal comma
NUMERIC: Mapping[str, pl.DataType] = {"time": pl.Int64(), "weight": pl.Float64()}
QUOTE_RULE = "a quote out of place; a field with quotes is quoted as a whole, its own quotes doubled"


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
        numeric = ("time",) if dialect.comma else NUMERIC
        self._types = {role: NUMERIC[role] for role in numeric if role in wanted}

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


def read_delimited(
    stream: BinaryIO | IO[bytes], place: str, usual: Dialect, choose: Choose, form: Form | None = None
) -> Iterator[Batch]:
    """Rows of delimited text: strings, but for times and weights as long as all are numbers.

    usual: the dialect of files of this name; form: what was stated of this one
    """
    stated = form or Form()
    source = Text(stream, CHUNK, stated.encoding)
    dialect = look(source, usual, stated) if usual.quotes else usual
    blocks = _blocks(source, place, dialect)
    top = next(blocks, None)
    if top is None:
        raise DataError(f"{place}: empty; the first line must name the columns")
    end, header, columns, guessed = _columns(top.text, place, dialect, choose, stated)
    wanted = {role: header.index(name) for role, name in columns.items()}
    comma = stated.decimal == "," if stated.decimal else _has_commas(top.text[end:], dialect, len(header), wanted)
    dialect = replace(dialect, comma=comma)
    found = (*said(dialect, source.encoding, usual, stated), *guessed)
    parse = Parser(dialect, len(header), wanted)
    below = top.text[end:]
    first = 1
    for block in chain([_counted(below, dialect)] if below else [], blocks):
        frame = parse(block.text) if block.separators >= 0 and is_utf8(block.text) else None
        # With one column, polars has a row for a blank line, too.
        if frame is None or not block.separators == len(frame) * (len(header) - 1) > 0:
            records = Records.of(block.text, dialect)
            good, broken = _judge(records, len(header), first, "header" if end else "first row")
            frame = parse(b"".join(records[n] for n in np.flatnonzero(good).tolist()))
            assert frame is not None
            row, count = first + np.flatnonzero(good), len(records.ends)
        else:
            row, broken, count = np.arange(first, first + len(frame)), [], len(frame)
        yield Batch(place, columns, frame, row, broken, typed=False, comma=comma, form=found)
        first += count


def _has_commas(text: bytes, dialect: Dialect, width: int, wanted: Mapping[str, int]) -> bool:
    numbers = {role: n for role, n in wanted.items() if role in AMOUNTS}
    if not numbers or dialect.separator == ",":
        return False
    frame = Parser(replace(dialect, comma=True), width, numbers)(_sample(text))
    return frame is not None and has_commas(frame.get_columns())


def _sample(text: bytes) -> bytes:
    """Whole lines of a text, as UTF-8."""
    return text[: text.rfind(b"\n", 0, SAMPLE) + 1].decode(errors="replace").encode()


def _columns(
    text: bytes, place: str, dialect: Dialect, choose: Choose, stated: Form
) -> tuple[int, list[str], dict[str, str], list[str]]:
    """Where the rows begin, the names of all columns, the column of each role, and what was found without a header.

    Columns without names are chosen by their numbers, from 1, or where none is asked for so by a guess.
    """
    end, header = _header(text, place, dialect)
    if stated.header != "none":
        try:
            return end, header, choose(header, place), []
        except DataError:
            if stated.header == "first" or not is_data(header):
                raise
    numbers = [str(n) for n in range(1, len(header) + 1)]
    try:
        return 0, numbers, choose(numbers, place), [] if stated.header == "none" else ["no header"]
    except DataError as by_number:
        rows = Parser(dialect, len(header), {number: n for n, number in enumerate(numbers)})(_sample(text))
        if rows is None:
            raise
        roles = guess(rows, place)
        try:
            return 0, roles, choose(roles, place), [said_of(roles)]
        except DataError:
            raise by_number from None


def _blocks(source: Text, place: str, dialect: Dialect) -> Iterator[Block]:
    """Cut the text into blocks of whole records; a record longer than a block doubles the next one."""
    read = source.read(CHUNK).removeprefix(BYTE_ORDER_MARK)
    while read:
        more = source.read(max(CHUNK, len(read)))
        ended = read if more or read.endswith(b"\n") else read + b"\n"
        text = cleared(ended, dialect)
        block = _counted(text, dialect)
        if not block.text or block.separators < 0 or len(text) > LONGEST:
            records = Records.of(text, dialect, last=not more)
            if np.diff(records.ends, prepend=0, append=len(text)).max() > LONGEST:
                raise DataError(f"{place}: a row of more than {LONGEST >> 20} MB; is a quote left open?")
            block = Block(text[: records.ends[-1] if records.ends else 0])
        if block.text:
            yield block
        read = text[len(block.text) :] + more


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
    return Block(text[:cut], int(np.count_nonzero(separators[:cut])))


def _are_sound(codes: Bytes, quotes: Longs, separator: int) -> bool:
    """Whether quotes, each second one closing, stand at the sides of fields, or are doubled within them."""
    opening, closing = quotes[::2], quotes[1::2]
    after = codes[closing + 1]  # a newline ends the text
    returns = after == RETURN
    returns[returns] = codes[closing[returns] + 2] == NEWLINE
    sides = [separator, NEWLINE, QUOTE]
    return bool(np.isin(codes[opening - 1], sides).all() and (np.isin(after, sides) | returns).all())


def _header(text: bytes, place: str, dialect: Dialect) -> tuple[int, list[str]]:
    """Where the first record ends, and the names in it."""
    end, width = next(records_of(text, dialect))
    if width < 1:
        raise DataError(f"{place}: the first line must name the columns; it is {text[:end][:80]!r}")
    if not is_utf8(text[:end]):
        raise DataError(f"{place}: the header is not UTF-8: {text[:end][:80]!r}; save the file as UTF-8")
    names = Parser(dialect, width, {str(n): n for n in range(width)})(text[:end])
    assert names is not None
    return end, [name or "" for name in names.row(0)]


def _judge(records: Records, width: int, first: int, head: str) -> tuple[Bools, list[tuple[int, str]]]:
    """Which records can be parsed, (R,), and the fault of each that cannot; blank lines are no fault."""
    faults = {}
    fields = np.array(records.fields)
    good = fields == width
    for n in np.flatnonzero(~good & (fields != 0)).tolist():
        bad_quote = fields[n] == BAD_QUOTE
        faults[n] = QUOTE_RULE if bad_quote else f"{fields[n]} fields; the {head} has {width}"
    if not is_utf8(records.text):
        for n in np.flatnonzero(good).tolist():
            if not is_utf8(records[n]):
                good[n] = False
                faults[n] = f"{records[n][:80]!r} is not UTF-8; save the file as UTF-8, or name its encoding"
    return good, [(first + n, faults[n]) for n in sorted(faults)]
