"""Rows of unequal length, laid end to end."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from palate.arrays import Bools, Floats, Hashes, Ints, Longs, all_finite
from palate.errors import DataError
from palate.kernels.rows import fingerprint_rows, slice_rows

NEVER = -(1 << 62)  # a time that is not known

# What an event means is the sign of its weight. It is read here and nowhere else; the store does so in SQL.


def liked(weight: Floats) -> Bools:
    """Which events of these weights are of liked items: what models learn from."""
    positive: Bools = weight > 0
    return positive


def disliked(weight: Floats) -> Bools:
    """Which events of these weights are dislikes: they hide their items."""
    negative: Bools = weight < 0
    return negative


def weighted(weight: Floats) -> Bools:
    """Which events of these weights say anything of their items beside that they were seen."""
    other: Bools = weight != 0
    return other


def without_dislikes(weight: Floats) -> Floats:
    """Return the weights, those of dislikes as 0."""
    return np.maximum(weight, np.float32(0))


@dataclass(frozen=True, eq=False)
class Ragged:
    """B rows of (column, weight) pairs, laid end to end; row b is `[start[b], start[b + 1])`.

    start (B + 1,) int64; column (N,) int32; weight (N,) float32; time (N,) int64 microseconds since 1970 UTC, `NEVER`
    where one is not known, or None when none is; event (N,) int16 positions among the names of event types that come
    with the rows, -1 where a type is not known, or None when none is.
    """

    start: Longs
    column: Ints
    weight: Floats
    time: Longs | None = None
    event: NDArray[np.int16] | None = None

    def __post_init__(self) -> None:
        if not len(self.start) or self.start[0] != 0 or (self.start[1:] < self.start[:-1]).any():
            raise DataError("ragged rows: the starts must rise from 0")
        if len(self.column) != len(self.weight) or self.start[-1] != len(self.column):
            raise DataError(
                f"ragged rows: {len(self.column)} columns, {len(self.weight)} weights and an end at "
                f"{self.start[-1]}; the three must agree"
            )
        for name, each in (("times", self.time), ("event types", self.event)):
            if each is not None and len(each) != len(self.column):
                raise DataError(f"ragged rows: {len(self.column)} columns and {len(each)} {name}; the two must agree")

    def fault(self, rows: int, columns: int, types: int = 0) -> str:
        """Return the fault of `rows` rows over `columns` columns and `types` event types, "" without one."""
        if len(self) != rows:
            return f"there are {len(self):,} rows; there must be {rows:,}"
        if len(self.column) and not 0 <= self.column.min() <= self.column.max() < columns:
            return f"columns are {self.column.min()} to {self.column.max()}; they must be from 0, below {columns:,}"
        if not all_finite(self.weight):
            return f"{np.count_nonzero(~np.isfinite(self.weight)):,} weights are not finite"
        event = self.event
        if event is not None and len(event) and not -1 <= event.min() <= event.max() < types:
            return f"event types are {event.min()} to {event.max()}; they must be from -1, below {types:,}"
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

    @property
    def types(self) -> NDArray[np.int16]:
        """Positions of event types, (N,), -1 where one is not known."""
        return np.full(len(self.column), -1, np.int16) if self.event is None else self.event

    @cached_property
    def liked(self) -> Bools:
        """Which events are of liked items, (N,)."""
        return liked(self.weight)

    @property
    def disliked(self) -> Bools:
        """Which events are dislikes, (N,)."""
        return disliked(self.weight)

    @property
    def weighted(self) -> Bools:
        """Which events say more than that their items were seen, (N,)."""
        return weighted(self.weight)

    @cached_property
    def positives(self) -> Longs:
        """Number of events of liked items in each row, (B,)."""
        if len(self) == 1:  # most lists are for one user
            return np.array([np.count_nonzero(liked(self.weight[self.start[0] : self.start[1]]))], np.int64)
        before = np.concatenate([np.zeros(1, np.int64), np.cumsum(self.liked, dtype=np.int64)])
        return np.diff(before[self.start])

    def clipped(self) -> Ragged:
        """Return the same rows, the weights of dislikes being 0."""
        return replace(self, weight=without_dislikes(self.weight)) if self.disliked.any() else self

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
        event = None if self.event is None else self.event[pick]
        return Ragged(start, self.column[pick], self.weight[pick], time, event)

    def joined(self, other: Ragged) -> Ragged:
        """Return the rows of both, these first; times and event types are left out."""
        start = np.concatenate([self.start, other.start[1:] - other.start[0] + self.start[-1]])
        column = np.concatenate([self.column, other.column])
        return Ragged(start, column, np.concatenate([self.weight, other.weight]))

    def recoded(self, new: Ints) -> Ragged:
        """Rename column c to `new[c]`; pairs renamed to -1 are dropped."""
        renamed = replace(self, column=new[self.column])
        kept = renamed.column >= 0
        return renamed if kept.all() else renamed.where(kept)

    def retyped(self, new: Ints) -> Ragged:
        """Rename event type e to `new[e]`; what is not known stays so."""
        if self.event is None:
            return self
        return replace(self, event=np.append(new, -1).astype(np.int16)[self.event])

    def fingerprints(self) -> Hashes:
        """One 64-bit hash a row over its pairs, whatever their order; an empty row gives 0."""
        return fingerprint_rows(self.start, self.column, self.weight.view(np.uint32))
