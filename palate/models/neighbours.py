"""Neighbour lists of all items, found by all cores."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csc_array, csr_array

from palate.arrays import Bools, Floats, Ints, Longs
from palate.compute.threads import parallel_for
from palate.kernels.neighbours import nearest_rows


@dataclass(frozen=True, eq=False)
class Neighbours:
    """size (I,): neighbours of each item; item and value (I, k): which and how near, in order of items."""

    size: Longs
    item: Ints
    value: Floats

    @classmethod
    def empty(cls, I: int, k: int) -> Neighbours:
        """Room for k neighbours of each of I items."""
        return cls(np.zeros(I, np.int64), np.zeros((I, k), np.int32), np.zeros((I, k), np.float32))

    @classmethod
    def of(cls, left: csr_array, right: csr_array, rare: Floats, k: int) -> Neighbours:
        """Best k other items j for each i by Σ_u left_iu right_uj / (1 + rare_i rare_j), those above 0.

        left (I, U) and right (U, I) hold weights above 0 and nothing else; rare (I,).
        """
        I = left.shape[0]
        k = max(1, min(k, I - 1))
        found = cls.empty(I, k)
        sides = (*arrays(left), *arrays(right), rare, found.size, found.item, found.value)
        parallel_for(lambda low, high: nearest_rows(*sides, low, high), I)
        return found

    @property
    def kept(self) -> Bools:
        """Which places hold a neighbour, (I, k)."""
        return np.asarray(np.arange(self.item.shape[1]) < self.size[:, None])

    def block(self, low: int, high: int) -> Neighbours:
        """Return those of items `[low, high)`, as views."""
        return Neighbours(self.size[low:high], self.item[low:high], self.value[low:high])

    def weights(self) -> csr_array:
        """Return the values as weights from a neighbour (row) to the item it is one of (column), (I, I)."""
        I, kept = len(self.item), self.kept
        start = np.concatenate([np.zeros(1, np.int64), np.cumsum(self.size)])
        return csc_array((self.value[kept], self.item[kept], start), shape=(I, I)).tocsr()


def arrays(matrix: csr_array) -> tuple[Longs, Ints, Floats]:
    """Start, column and weight of a sparse matrix, as kernels take them."""
    return matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32), matrix.data.astype(np.float32)
