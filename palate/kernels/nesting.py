"""How large JSON is, found without reading it into objects."""

from typing import NamedTuple

import numpy as np

from palate.arrays import Longs
from palate.kernels.compile import compiled

QUOTE, BACKSLASH, COMMA, COLON = np.uint8(34), np.uint8(92), np.uint8(44), np.uint8(58)
OPEN_LIST, CLOSE_LIST, OPEN_OBJECT, CLOSE_OBJECT = np.uint8(91), np.uint8(93), np.uint8(123), np.uint8(125)
DEEPEST = 1000  # levels that are looked at; what is deeper is said to be so deep


class Extent(NamedTuple):
    """Levels of nesting, entries of the outermost list or object, names of the widest object, values in all."""

    depth: int
    entries: int
    names: int
    values: int


def extent(text: bytes) -> Extent:
    """Measure JSON in one pass; of what is no JSON, something that is no less than a reader would meet."""
    return Extent(*map(int, _measured(np.frombuffer(text, np.uint8))))


@compiled
def _measured(text: np.typing.NDArray[np.uint8]) -> Longs:
    depth, deepest, widest, values, outermost = 0, 0, 0, 1, 0
    names = np.zeros(DEEPEST + 1, np.int64)
    quoted = False
    n = 0
    while n < len(text) and depth < DEEPEST:
        letter = text[n]
        n += 1
        if quoted:
            if letter == BACKSLASH:
                n += 1
            elif letter == QUOTE:
                quoted = False
        elif letter == QUOTE:
            quoted = True
        elif letter == COMMA:
            values += 1
            outermost += depth == 1
        elif letter == COLON:
            names[depth] += 1
            widest = max(widest, names[depth])
        elif letter in (OPEN_LIST, OPEN_OBJECT):
            values += 1
            depth += 1
            deepest = max(deepest, depth)
            names[depth] = 0
        elif letter in (CLOSE_LIST, CLOSE_OBJECT):
            depth = max(depth - 1, 0)
    return np.array([deepest, outermost + 1, widest, values], np.int64)
