"""Delimited text (CSV, TSV) as batches: cut into records by a kernel, judged, then read.

Where a block has neither quotes nor faults, kernels read its columns; polars parses those of empty fields and of
unusual numbers, and all columns of the other blocks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import BinaryIO

import numpy as np
import polars as pl

from palate.arrays import Bools, Ints, Longs
from palate.data.batch import CHUNK, FILLED, LONGEST, Batch, Choose, Fields
from palate.data.coder import Coder
from palate.errors import DataError
from palate.kernels.records import BAD_QUOTE, find_records
from palate.kernels.tokens import PADDING, find_fields, read_decimals, read_integers

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
NUMERIC: Mapping[str, pl.DataType] = {"time": pl.Int64(), "weight": pl.Float64()}
QUOTE_RULE = "a quote out of place; a field with quotes is quoted as a whole, its own quotes doubled"


@dataclass(frozen=True)
class Dialect:
    """How the text is written; without a quote character quotes are plain text."""

    separator: str
    quote: str | None = '"'


@dataclass(frozen=True)
class Records:
    """R records of UTF-8 text: where each ends, and its number of fields (0: a blank line, -1: a bad quote).

    marks: where any separator, newline or quote stands.
    """

    text: bytes
    ends: Longs
    fields: Ints
    marks: Ints

    def __getitem__(self, n: int) -> bytes:
        return self.text[self.ends[n - 1] if n else 0 : self.ends[n]]

    def below_first(self) -> Records:
        """Return the records after the first."""
        cut = self.ends[0]
        marks = self.marks[np.searchsorted(self.marks, cut) :] - cut
        return Records(self.text[cut:], self.ends[1:] - cut, self.fields[1:], marks.astype(np.int32))

    def plain(self, wanted: Mapping[str, int], width: int) -> dict[str, Fields]:
        """Return the wanted columns, by role, that have no empty field: none where there are quotes.

        All records must have `width` fields.
        """
        if len(self.marks) != len(self.ends) * width:  # quotes
            return {}
        text = np.frombuffer(self.text + PADDING, np.uint8)
        found: dict[str, Fields] = {}
        for role, n in wanted.items():
            starts, ends, filled = find_fields(text, self.marks, n, width)
            if filled:
                found[role] = Fields(text, starts, ends)
        return found

    def joined(self, kept: Bools) -> bytes:
        """Return the text of the kept records."""
        if kept.all():
            return self.text
        return b"".join(self[n] for n in np.flatnonzero(kept).tolist())


def read_delimited(
    stream: BinaryIO, place: str, dialect: Dialect, choose: Choose, ids: Sequence[str]
) -> Iterator[Batch]:
    """Rows below the header of delimited text: strings, but for times and weights as long as all are numbers.

    Columns of the roles in `ids` stay text where they are plain.
    """
    blocks = _blocks(stream, place, dialect)
    top = next(blocks, None)
    if top is None:
        raise DataError(f"{place}: empty; the first line must name the columns")
    header = _header(top, place, dialect)
    columns = choose(header, place)
    wanted = {role: header.index(name) for role, name in columns.items()}
    numeric = NUMERIC
    first = 1
    for records in chain([top.below_first()], blocks):
        good, broken = _judge(records, len(header), first)
        plain = records.plain(wanted, len(header)) if good.all() else {}
        text_ids = {role: plain[role] for role in ids if role in plain}
        known = _values(plain)
        rest = {role: n for role, n in wanted.items() if role not in text_ids and role not in known}
        text = records.joined(good)
        try:
            parsed = _parse(text, len(header), dialect, rest, numeric)
        except pl.exceptions.ComputeError:  # a number that is none: strings show which
            numeric = {}
            parsed = _parse(text, len(header), dialect, rest, numeric)
        row = first + np.flatnonzero(good)
        yield Batch(place, columns, pl.DataFrame(known | parsed.to_dict()), row, broken, typed=False, ids=text_ids)
        first += len(records.ends)


def _values(plain: Mapping[str, Fields]) -> dict[str, pl.Series]:
    """Numbers and event types among plain columns, without those that have a number spelled in an unusual way."""
    values: dict[str, pl.Series] = {}
    for role, read in (("time", read_integers), ("weight", read_decimals)):
        if role in plain:
            numbers, usual = read(plain[role].text, plain[role].starts, plain[role].ends)
            if usual:
                values[role] = pl.Series(numbers)
    if "event" in plain:
        types = Coder()
        codes = types.codes(plain["event"])
        values["event"] = types.names().gather(codes)
    return values


def _blocks(stream: BinaryIO, place: str, dialect: Dialect) -> Iterator[Records]:
    """Cut the stream into blocks of whole records; a record longer than a block doubles the next one."""
    quote = ord(dialect.quote) if dialect.quote else -1
    text = stream.read(CHUNK).removeprefix(BYTE_ORDER_MARK)
    while text:
        more = stream.read(max(CHUNK, len(text)))
        ends, fields, marks = find_records(np.frombuffer(text, np.uint8), ord(dialect.separator), quote, not more)
        cut = ends[-1] if len(ends) else 0
        if len(text) > LONGEST and np.diff(ends, prepend=0, append=len(text)).max() > LONGEST:
            raise DataError(f"{place}: a row of more than {LONGEST >> 20} MB; is a quote left open?")
        if cut:
            yield Records(text[:cut], ends, fields, marks)
        text = text[cut:] + more


def _header(records: Records, place: str, dialect: Dialect) -> list[str]:
    if records.fields[0] < 1:
        raise DataError(f"{place}: the first line must name the columns; it is {records[0][:80]!r}")
    if not _is_utf8(records[0]):
        raise DataError(f"{place}: the header is not UTF-8: {records[0][:80]!r}; save the file as UTF-8")
    width = int(records.fields[0])
    names = _parse(records[0], width, dialect, {str(n): n for n in range(width)}).row(0)
    return [name or "" for name in names]


def _judge(records: Records, width: int, first: int) -> tuple[Bools, list[tuple[int, str]]]:
    """Which records can be parsed, (R,), and the fault of each that cannot; blank lines are no fault."""
    good = records.fields == width
    faults = {}
    for n in np.flatnonzero(~good & (records.fields != 0)).tolist():
        fields = records.fields[n]
        faults[n] = QUOTE_RULE if fields == BAD_QUOTE else f"{fields} fields; the header has {width}"
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


def _parse(
    text: bytes,
    width: int,
    dialect: Dialect,
    wanted: Mapping[str, int],
    types: Mapping[str, pl.DataType] | None = None,
) -> pl.DataFrame:
    """Return the wanted fields of sound records by role, as strings unless `types` says another type."""
    if not wanted:
        return pl.DataFrame()
    names = [str(n) for n in range(width)]
    schema: dict[str, pl.DataType] = dict.fromkeys(names, pl.String())
    schema |= {names[wanted[role]]: kind for role, kind in (types or {}).items() if role in wanted}
    # With a header of ours, no first bytes of a block can pass for a compressed file or a byte order mark.
    head = dialect.separator.join(names).encode() + b"\n"
    fields = pl.read_csv(
        head + text,
        columns=[names[n] for n in sorted(set(wanted.values()))],  # in the order of the file
        schema=schema,
        separator=dialect.separator,
        quote_char=dialect.quote,
    )
    found = fields.select(pl.col(names[n]).alias(role) for role, n in wanted.items())
    # Polars takes the bare empty field for null, and the quoted one for a string.
    return found.with_columns(FILLED) if b'""' in text else found
