"""How delimited text is written, found by looking at its first bytes, or stated."""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import IO, BinaryIO

import polars as pl

from palate.data.records import QUOTED_FIELD, Dialect, records_of
from palate.errors import check

UTF_8 = "utf-8"
MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
BYTES = "windows-1252"  # what most text is that is no Unicode; of latin-1 it has all letters
SEVERAL_BYTES = re.compile(rb"[\xc2-\xf4][\x80-\xbf]")  # a letter of UTF-8, which hardly stands in other text
SEPARATORS = ",;\t|"
WIDE, UNIT = "::", "\x1f"  # a separator of two characters, and the one that stands for it once the text is read
NAMES = {"tab": "\t", "\\t": "\t"}  # of separators that are hard to type
LINES = 20  # looked at
SAMPLE = 1 << 16  # bytes looked at for numbers
COMMA, POINT = r"^-?[0-9]+,[0-9]+$", r"^-?[0-9]*\.[0-9]+$"


@dataclass(frozen=True)
class Form:
    """What was stated of the text: None is found by looking; header: "first", or "none"."""

    separator: str | None = None
    decimal: str | None = None
    encoding: str | None = None
    header: str | None = "first"

    @classmethod
    def of(cls, separator: str | None, decimal: str | None, encoding: str | None, header: str | None) -> Form:
        """Check what was stated; raises `SettingError`."""
        cut = None if separator is None else NAMES.get(separator, separator)
        sound = cut in (None, WIDE) or (len(cut) == 1 and cut.isascii() and cut not in '"\n\r')
        check(sound, "separator", separator, "must be one character of ASCII, tab or ::")
        check(decimal in (None, ".", ","), "decimal", decimal, 'must be "." or ","')
        check(header in (None, "first", "none"), "header", header, 'must be "first" or "none"')
        try:
            known = encoding is None or bool(codecs.lookup(encoding))
        except LookupError:
            known = False
        check(known, "encoding", encoding, "must be the name of an encoding, like windows-1252")
        return cls(cut, decimal, encoding, header)


class Text:
    """A stream of text of any encoding, read as UTF-8; `first` is its first `size` bytes."""

    def __init__(self, stream: BinaryIO | IO[bytes], size: int, encoding: str | None = None) -> None:
        self._stream = stream
        begin = stream.read(size)
        self.encoding = encoding or _encoding(begin)
        unicode = codecs.lookup(self.encoding).name == UTF_8  # its faults are named row by row
        self._decoder = None if unicode else codecs.getincrementaldecoder(self.encoding)()
        self.first = self._utf8(begin)
        self._ahead = self.first

    def read(self, size: int) -> bytes:
        """Return the next bytes, b"" at the end."""
        ahead, self._ahead = self._ahead, b""
        while not ahead and (more := self._stream.read(size)):
            ahead = self._utf8(more)
        return ahead if ahead or self._decoder is None else self._decoder.decode(b"", final=True).encode()

    def _utf8(self, text: bytes) -> bytes:
        return text if self._decoder is None else self._decoder.decode(text).encode()


def _encoding(begin: bytes) -> str:
    for mark, encoding in MARKS.items():
        if begin.startswith(mark):
            return encoding
    other = b"\0" not in begin and not SEVERAL_BYTES.search(begin) and not _decodes(begin, UTF_8)
    return BYTES if other and _decodes(begin, BYTES) else UTF_8


def _decodes(begin: bytes, encoding: str) -> bool:
    """Whether bytes can be the beginning of text of an encoding; the last letter may be cut off."""
    try:
        codecs.getincrementaldecoder(encoding)().decode(begin)
    except UnicodeDecodeError:
        return False
    return True


def look(text: Text, usual: Dialect, form: Form) -> Dialect:
    """Find separator and blanks: what cuts the first lines alike, as `usual` for such files, or most often."""
    lines = b"".join(text.first[:SAMPLE].splitlines(keepends=True)[:LINES])
    bare = QUOTED_FIELD.sub(b"", lines)
    found = {}
    for cut in [usual.separator, *SEPARATORS, WIDE] if form.separator is None else [form.separator]:
        dialect = replace(usual, separator=cut)
        if cut == WIDE:
            dialect = replace(usual, separator=UNIT, quotes=False, written=WIDE)
        elif 0 < bare.count(cut.encode()) == bare.count(cut.encode() + b" "):
            dialect = replace(dialect, blanks=True)
        found[dialect] = _width([fields for _, fields in records_of(cleared(lines, dialect), dialect) if fields])
    first = next(iter(found))
    return first if found[first] > 1 else max(found, key=lambda dialect: found[dialect])


def _width(fields: Sequence[int]) -> int:
    """Return the number of fields of each record where all have the same, else 0; the last may be cut off."""
    whole = fields[:-1] if len(fields) > 2 else fields
    return whole[0] if whole and min(whole) == max(whole) > 1 else 0


def has_commas(numbers: Sequence[pl.Series]) -> bool:
    """Whether numbers, as text, are written with a decimal comma: some with one, none with a point."""
    texts = pl.concat([column.cast(pl.String) for column in numbers]) if numbers else pl.Series([], dtype=pl.String)
    return bool(texts.str.contains(COMMA).any() and not texts.str.contains(POINT).any())


def cleared(text: bytes, dialect: Dialect) -> bytes:
    """Return text with separators of one byte, and without the blanks after them, those within quotes left."""
    if dialect.written:
        return text.replace(dialect.written.encode(), dialect.separator.encode())
    if not dialect.blanks:
        return text
    cut = re.escape(dialect.separator.encode())
    return re.sub(rb'("(?:[^"]|"")*(?:"|\Z))|(%b) +' % cut, rb"\1\2", text)


def said(dialect: Dialect, encoding: str, usual: Dialect, form: Form) -> list[str]:
    """Say what was found by looking and is not as usual."""
    found = []
    if dialect.separator != usual.separator and form.separator is None:
        found.append(
            "tab-separated" if dialect.separator == "\t" else f"{(dialect.written or dialect.separator)!r}-separated"
        )
    if dialect.comma and form.decimal is None:
        found.append("decimal comma")
    if dialect.blanks:
        found.append("blanks after separators left out")
    if encoding not in (UTF_8, "utf-8-sig") and form.encoding is None:
        found.append(encoding)
    return found
