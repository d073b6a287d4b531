"""How large JSON is, and what it names twice, found without reading it into objects."""

from typing import NamedTuple, TypeAlias

import numpy as np

from palate.arrays import Longs
from palate.kernels.compile import compiled, inlined
from palate.kernels.sorting import sort_together

Text: TypeAlias = np.typing.NDArray[np.uint8]
QUOTE, BACKSLASH, COMMA, COLON = np.uint8(34), np.uint8(92), np.uint8(44), np.uint8(58)
OPEN_LIST, CLOSE_LIST, OPEN_OBJECT, CLOSE_OBJECT = np.uint8(91), np.uint8(93), np.uint8(123), np.uint8(125)
LETTER_U = np.uint8(117)
DEEPEST = 1000  # levels that are looked at; what is deeper is said to be so deep
LEVELS, NAMES = 64, 1000  # within which names are compared
FEW = 12  # names that are compared each with each
ESCAPES = np.arange(256)  # characters by the letter that stands for them behind a backslash
ESCAPES[[98, 102, 110, 114, 116]] = [8, 12, 10, 13, 9]  # b f n r t
START, TIMES = 1469598103934665603, 1099511628211  # of FNV-1a


class Extent(NamedTuple):
    """Levels of nesting, entries of the outermost list or object, names of the widest object, values in all."""

    depth: int
    entries: int
    names: int
    values: int


class Measured(NamedTuple):
    """The extent, bytes and values of the largest entry, and where a name stands that its object has had before.

    twice  begin and end of that name, (0, 0) for none
    """

    extent: Extent
    longest: int
    fullest: int
    twice: tuple[int, int]


def extent(text: bytes) -> Extent:
    """Measure JSON in one pass; for text that is no JSON, bounds on what a reader would find."""
    return measured(text).extent


def measured(text: bytes) -> Measured:
    """Measure JSON and its entries, and compare its names, in the same pass."""
    found = [int(each) for each in _measured(np.frombuffer(text, np.uint8))]
    return Measured(Extent(*found[:4]), found[4], found[5], (found[6], found[7]))


@inlined
def _hex(text: Text, n: int) -> int:
    """Value of four digits, -1 where they are none."""
    value = 0
    for place in range(n, n + 4):
        if place >= len(text):
            return -1
        letter = int(text[place])
        if 48 <= letter <= 57:
            value = 16 * value + letter - 48
        elif 97 <= (letter | 32) <= 102:
            value = 16 * value + (letter | 32) - 87
        else:
            return -1
    return value


@compiled
def _escaped(text: Text, n: int, end: int) -> tuple[int, int]:
    """Read what stands behind a backslash: the character, and where the next begins."""
    if text[n] != LETTER_U:
        return ESCAPES[text[n]], n + 1
    code, n = _hex(text, n + 1), n + 5
    if 0xD800 <= code < 0xDC00 and n + 1 < end and text[n] == BACKSLASH and text[n + 1] == LETTER_U:
        low = _hex(text, n + 2)
        if 0xDC00 <= low < 0xE000:
            return 0x10000 + ((code - 0xD800) << 10) + low - 0xDC00, n + 6
    return code, n


@compiled
def _hashed(text: Text, begin: int, end: int) -> int:
    """Hash the characters of a name, however they are escaped."""
    found = START
    n = begin
    while n < end:
        code = int(text[n])
        n += 1
        if code == BACKSLASH and n < end:
            code, n = _escaped(text, n, end)
        elif code >= 0xC0:  # the first byte of a character of several
            more = 1 + (code >= 0xE0) + (code >= 0xF0)
            code &= 0x3F >> more
            for place in range(n, min(n + more, end)):
                code = (code << 6) | (int(text[place]) & 0x3F)
            n += more
        found = (found ^ code) * TIMES
    return found


@compiled
def _repeated(hashes: Longs) -> int:
    """Place of the second of two equal hashes, -1 for none."""
    if len(hashes) <= FEW:
        for n in range(len(hashes)):
            for before in range(n):
                if hashes[before] == hashes[n]:
                    return n
        return -1
    order = np.arange(len(hashes), dtype=np.int32)
    keys = hashes.copy()
    sort_together(keys, order)
    for n in range(1, len(keys)):
        if keys[n] == keys[n - 1]:
            return int(order[n])
    return -1


@compiled
def _note(text: Text, begin: int, end: int, hashes: Longs, places: Longs, depth: int, count: int) -> None:
    """Note a name of an object."""
    if depth <= LEVELS and count < NAMES and begin <= end:
        hashes[depth, count] = _hashed(text, begin, end)
        places[depth, count, 0], places[depth, count, 1] = begin, end


@compiled
def _compare(hashes: Longs, places: Longs, depth: int, count: int, twice: Longs) -> None:
    """Look at the end of an object whether it has a name twice, unless one had before."""
    if depth <= LEVELS and count > 1 and twice[1] == 0:
        second = _repeated(hashes[depth, : min(count, NAMES)])
        if second >= 0:
            twice[:] = places[depth, second]


@compiled
def _measure(entry: Longs, depth: int, n: int, values: int) -> None:
    """Measure an entry of the outermost list that ends here."""
    if depth == 1:
        entry[2], entry[3] = max(entry[2], n - entry[0]), max(entry[3], values - entry[1])
        entry[0], entry[1] = n, values


@compiled
def _measured(text: Text) -> Longs:
    depth, deepest, widest, values, outermost = 0, 0, 0, 1, 0
    names = np.zeros(DEEPEST + 1, np.int64)
    hashes = np.empty((LEVELS + 1, NAMES), np.int64)
    places = np.empty((LEVELS + 1, NAMES, 2), np.int64)
    twice = np.zeros(2, np.int64)
    quoted = False
    n, begin, end = 0, 0, 0
    entry = np.zeros(4, np.int64)  # where the entry begins, values before it; the largest bytes and values
    while n < len(text) and depth < DEEPEST:
        letter = text[n]
        n += 1
        if quoted:
            if letter == BACKSLASH:
                n += 1
            elif letter == QUOTE:
                quoted, end = False, n - 1
        elif letter == QUOTE:
            quoted, begin = True, n
        elif letter == COMMA:
            _measure(entry, depth, n, values)
            values += 1
            outermost += depth == 1
        elif letter == COLON:
            _note(text, begin, end, hashes, places, depth, names[depth])
            names[depth] += 1
            widest = max(widest, names[depth])
        elif letter in (OPEN_LIST, OPEN_OBJECT):
            values += 1
            depth += 1
            deepest = max(deepest, depth)
            names[depth] = 0
        elif letter in (CLOSE_LIST, CLOSE_OBJECT):
            _compare(hashes, places, depth, names[depth], twice)
            _measure(entry, depth, n, values)
            depth = max(depth - 1, 0)
    _measure(entry, 1, n, values)
    return np.array([deepest, outermost + 1, widest, values, entry[2], entry[3], twice[0], twice[1]], np.int64)
