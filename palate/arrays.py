"""The array types every room shares, and arrays that begin with a cache line."""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float32]
Doubles: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int32]
Longs: TypeAlias = NDArray[np.int64]
Halves: TypeAlias = NDArray[np.uint16]
Words: TypeAlias = NDArray[np.uint32]
Hashes: TypeAlias = NDArray[np.uint64]
Bools: TypeAlias = NDArray[np.bool_]

LINE = 64  # bytes


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
