"""Records of delimited text (RFC 4180), cut one by one in plain Python: slow, but a bad one has a number."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

NEWLINE = 10
BLANK = (b"\n", b"\r\n", b"\r")
BAD_QUOTE = -1
QUOTED = rb'"[^"]*+(?:""[^"]*+)*+'  # a quoted field but for its last quote
QUOTED_FIELD = re.compile(QUOTED + b'"')


@dataclass(frozen=True)
class Dialect:
    """How text is written.

    quotes: fields may be quoted, else quotes are plain text; blanks: after a separator they are no part of a field;
    comma: numbers have a decimal comma; written: the separator in the file where it is longer than a byte
    """

    separator: str = ","
    quotes: bool = True
    blanks: bool = False
    comma: bool = False
    written: str = ""

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
class Records:
    """R records of a text: where each ends, and its number of fields (0: a blank line, -1: a bad quote)."""

    text: bytes
    ends: list[int]
    fields: list[int]

    @classmethod
    def of(cls, text: bytes, dialect: Dialect, *, last: bool = True) -> Records:
        """Find the complete records of a text; with `last`, what follows the last newline is one too."""
        found = list(records_of(text, dialect, last=last))
        return cls(text, [end for end, _ in found], [fields for _, fields in found])

    def __getitem__(self, n: int) -> bytes:
        return self.text[self.ends[n - 1] if n else 0 : self.ends[n]]


def records_of(text: bytes, dialect: Dialect, *, last: bool = True) -> Iterator[tuple[int, int]]:
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


def is_utf8(text: bytes) -> bool:
    """Whether text is UTF-8."""
    if text.isascii():
        return True
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True
