"""The array types every room shares, the rule of a field for its array, and arrays that begin with a cache line."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, TypeAlias, get_args, get_type_hints

import numpy as np
from numpy.typing import NDArray

from palate.errors import ModelError, PalateError

Floats: TypeAlias = NDArray[np.float32]
Doubles: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int32]
Longs: TypeAlias = NDArray[np.int64]
Halves: TypeAlias = NDArray[np.uint16]
Words: TypeAlias = NDArray[np.uint32]
Hashes: TypeAlias = NDArray[np.uint64]
Bools: TypeAlias = NDArray[np.bool_]
Bytes: TypeAlias = NDArray[np.uint8]
AnyArray: TypeAlias = NDArray[Any]

LINE = 64  # bytes


class Array:
    """What a field says of its array, `Annotated[Floats, Array("items", "dim")]`: its sizes, and more.

    A word stands for one number wherever it stands: `check_arrays` is given some, any other is the size of the first
    array that has it; "items+1" is one more.

    least   no number is less
    below   whole numbers are 0 or more, and less than that of this word
    starts  where rows begin in another array: the numbers rise from 0 to that of this word
    """

    def __init__(self, *sizes: str, least: float | None = None, below: str = "", starts: str = "") -> None:
        self.sizes, self.least, self.below, self.starts = sizes, least, below, starts

    def fault(self, array: object, dtype: np.dtype[Any], known: dict[str, int]) -> str:
        """Say what is wrong with a value, "" for nothing; words that are new to `known` are added to it."""
        if not isinstance(array, np.ndarray) or array.dtype != dtype:
            return f"holds {getattr(array, 'dtype', type(array).__name__)}; it must hold {dtype}"
        wrong = array.ndim != len(self.sizes) or not array.flags.c_contiguous
        if not wrong:
            wrong = any(not _fits(*each, known) for each in zip(self.sizes, array.shape, strict=True))
        if wrong:
            words = ", ".join(f"{word} {known[word]:,}" for word in dict.fromkeys(self.sizes) if word in known)
            return f"has the shape {array.shape}; it must be ({', '.join(self.sizes)}), row by row, with {words}"
        return self._wrong_numbers(array, known)

    def _wrong_numbers(self, array: AnyArray, known: dict[str, int]) -> str:
        if self.least is not None and array.size and array.min() < self.least:
            return f"has the number {array.min()}; it must be {self.least} or more"
        if self.below and array.size and not 0 <= array.min() <= array.max() < known[self.below]:
            return f"has numbers {array.min()} to {array.max()}; they must be from 0, below {known[self.below]:,}"
        if self.starts:
            end = known.setdefault(self.starts, int(array[-1]))
            if array[0] != 0 or array[-1] != end or (array[1:] < array[:-1]).any():
                return f"must rise from 0 to {end:,}"
        return ""


def _fits(word: str, size: int, known: dict[str, int]) -> bool:
    more = word.endswith("+1")
    return size - more == known.setdefault(word.removesuffix("+1"), size - more)


def all_finite(array: AnyArray) -> bool:
    """Whether all numbers are finite; the sum of squares shows it in one pass, unless it overflows."""
    if array.flags.c_contiguous:
        flat = array.reshape(-1)
        with np.errstate(over="ignore", invalid="ignore"):
            if np.isfinite(np.dot(flat, flat)):
                return True
    return bool(np.isfinite(array).all())


def check_arrays(owner: object, sizes: Mapping[str, int], error: type[PalateError] = ModelError) -> None:
    """Raise an error naming the first array of an object that breaks what its field says."""
    known = dict(sizes)
    kind: Any = type(owner)
    for name, (dtype, rule, needed) in stated(kind).items():
        value = getattr(owner, name)
        wrong = "" if value is None and not needed else rule.fault(value, dtype, known)
        if wrong:
            raise error(f"{kind.__name__}.{name}: {wrong}")


@cache
def stated(kind: Any) -> Mapping[str, tuple[np.dtype[Any], Array, bool]]:
    """Return what the fields of a class say of their arrays: type of the numbers, rule, whether it must be there."""
    try:
        hints = get_type_hints(kind, include_extras=True)
    except NameError:  # a class within a function, whose types cannot be looked up
        return {}
    found = {}
    for name, hint in hints.items():
        for each in (hint, *get_args(hint)):  # also of `Annotated[...] | None`
            for rule in getattr(each, "__metadata__", ()):
                if isinstance(rule, Array):
                    # NDArray[T] is ndarray[shape, dtype[T]]; from numpy 2.5 on it is an alias with the argument T
                    last = get_args(get_args(each)[0])[-1]
                    found[name] = (np.dtype((get_args(last) or (last,))[0]), rule, each is hint)
    return found


ItemFloats: TypeAlias = Annotated[Floats, Array("items", least=0)]  # a weight of each item of a model


def aligned(rows: int, columns: int) -> Floats:
    """Zeros (rows, columns) that begin with a cache line: numpy's own may lie across two, each row of them."""
    size = 4 * rows * columns
    raw = np.zeros(size + LINE, np.uint8)
    first = -raw.ctypes.data % LINE
    return raw[first : first + size].view(np.float32).reshape(rows, columns)


def aligned_copy(values: Floats) -> Floats:
    """Copy of a matrix that begins with a cache line."""
    copy = aligned(*values.shape)
    copy[:] = values
    return copy
