"""Rows of unequal length, laid end to end."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from palate.arrays import Bools, Floats, Hashes, Ints, Longs, all_finite
from palate.errors import DataError
from palate.kernels.rows import fingerprint_rows, slice_rows

NEVER = -(1 << 62)  # a time that is not known


@dataclass(frozen=True, eq=False)
class Ragged:
    """B rows of (column, weight) pairs, laid end to end; row b is `[start[b], start[b + 1])`.

    start (B + 1,) int64; column (N,) int32; weight (N,) float32; time (N,) int64 microseconds since 1970 UTC, `NEVER`
    where one is not known, or None when none is.
    """

    start: Longs
    column: Ints
    weight: Floats
    time: Longs | None = None

    def __post_init__(self) -> None:
        if not len(self.start) or self.start[0] != 0 or (self.start[1:] < self.start[:-1]).any():
            raise DataError("ragged rows: the starts must rise from 0")
        if len(self.column) != len(self.weight) or self.start[-1] != len(self.column):
            raise DataError(
                f"ragged rows: {len(self.column)} columns, {len(self.weight)} weights and an end at "
                f"{self.start[-1]}; the three must agree"
            )
        if self.time is not None and len(self.time) != len(self.column):
            raise DataError(f"ragged rows: {len(self.column)} columns and {len(self.time)} times; the two must agree")

    def fault(self, rows: int, columns: int) -> str:
        """Return the fault of `rows` rows over `columns` columns, "" without one."""
        if len(self) != rows:
            return f"there are {len(self):,} rows; there must be {rows:,}"
        if len(self.column) and not 0 <= self.column.min() <= self.column.max() < columns:
            return f"columns are {self.column.min()} to {self.column.max()}; they must be from 0, below {columns:,}"
        if not all_finite(self.weight):
            return f"{np.count_nonzero(~np.isfinite(self.weight)):,} weights are not finite"
        return ""

    def __len__(self) -> int:
        return len(self.start) - 1

    @property
    def lengths(self) -> Longs:
        """Number of pairs in each row, (B,)."""
        return np.diff(self.start)

    @property
    def place(self) -> Longs:
        """Number of pairs before each in its row, (N,)."""
        return np.arange(len(self.column)) - np.repeat(self.start[:-1], self.lengths)

    @property
    def left(self) -> Longs:
        """Number of pairs from each to the end of its row, itself counted, (N,)."""
        return np.repeat(self.start[1:], self.lengths) - np.arange(len(self.column))

    @property
    def moments(self) -> Longs:
        """Times, (N,), `NEVER` where one is not known."""
        return np.full(len(self.column), NEVER) if self.time is None else self.time

    @cached_property
    def positives(self) -> Longs:
        """Number of pairs of weight above 0 in each row, (B,)."""
        if len(self) == 1:  # most lists are for one user
            return np.array([np.count_nonzero(self.weight[self.start[0] : self.start[1]] > 0)], np.int64)
        before = np.concatenate([np.zeros(1, np.int64), np.cumsum(self.weight > 0, dtype=np.int64)])
        return np.diff(before[self.start])

    def clipped(self) -> Ragged:
        """Return the same rows, weights below 0 being 0."""
        if not (self.weight < 0).any():
            return self
        return replace(self, weight=np.maximum(self.weight, np.float32(0)))

    def rows(self, index: Longs) -> Ragged:
        """Return the rows named by `index`, in that order; -1 gives an empty row."""
        return self._picked(*slice_rows(self.start, index))

    def block(self, low: int, high: int) -> Ragged:
        """Return rows `[low, high)`."""
        start = self.start[low : high + 1]
        return self._picked(start - start[0], slice(start[0], start[-1]))

    def where(self, kept: Bools) -> Ragged:
        """Return the same rows without the pairs where `kept` (N,) is false."""
        before = np.concatenate([np.zeros(1, np.int64), np.cumsum(kept, dtype=np.int64)])
        return self._picked(before[self.start], kept)

    def _picked(self, start: Longs, pick: Longs | Bools | slice) -> Ragged:
        time = None if self.time is None else self.time[pick]
        return Ragged(start, self.column[pick], self.weight[pick], time)

    def joined(self, other: Ragged) -> Ragged:
        """Return the rows of both, these first; times are left out."""
        start = np.concatenate([self.start, other.start[1:] - other.start[0] + self.start[-1]])
        column = np.concatenate([self.column, other.column])
        return Ragged(start, column, np.concatenate([self.weight, other.weight]))

    def recoded(self, new: Ints) -> Ragged:
        """Rename column c to `new[c]`; pairs renamed to -1 are dropped."""
        renamed = replace(self, column=new[self.column])
        kept = renamed.column >= 0
        return renamed if kept.all() else renamed.where(kept)

    def fingerprints(self) -> Hashes:
        """One 64-bit hash a row over its pairs, whatever their order; an empty row gives 0."""
        return fingerprint_rows(self.start, self.column, self.weight.view(np.uint32))
