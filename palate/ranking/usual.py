"""How often things occur together, and how much more often than usual."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from scipy.sparse import csr_array

from palate.arrays import Doubles, Floats, Ints, Longs

USUAL = 10.0  # events that each item is taken to have beside its own, spread as those of all
Ratios = TypeVar("Ratios", Floats, Doubles)


def more_than_usual(counts: Longs | Ratios, share: Ratios, whole: Longs | Ratios) -> Ratios:
    """Return the logarithms of how much more often than usual items have a value.

    counts, whole  the item's events with the value, and with any; `share`: the value's share of all events, above 0
    """
    found: Ratios = np.log((counts + USUAL * share) / (share * (whole + USUAL)))
    return found


def count_pairs(row: Ints | Longs, column: Ints | Longs, shape: tuple[int, int]) -> tuple[Longs, Ints, Floats]:
    """Count pairs (N,); returns the starts of rows, and the columns and counts of their entries, by column."""
    pairs = csr_array((np.ones(len(row), np.float32), (row, column)), shape)
    pairs.sum_duplicates()
    pairs.sort_indices()
    return pairs.indptr.astype(np.int64), pairs.indices.astype(np.int32), pairs.data
