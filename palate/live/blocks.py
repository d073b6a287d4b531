"""Rows by ascending numbers of items, in blocks: a change copies those that it falls into and shares the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeAlias

import numpy as np
import polars as pl

from palate.arrays import Bools, Longs

BLOCK = 1 << 11  # rows that are copied when one of them changes
FEW = 64  # changes that are put in their places one by one
NEAR = 16  # blocks that are read one by one; for more all are joined, once

Total: TypeAlias = Callable[[pl.Series], int]  # of values: that of several series together is the sum of theirs


@dataclass(frozen=True, eq=False)
class Block:
    """Rows in one piece of memory."""

    rows: pl.DataFrame

    @cached_property
    def size(self) -> int:
        """Number of rows."""
        return len(self.rows)

    @cached_property
    def numbers(self) -> Longs:
        """Numbers of the items."""
        return self.rows["item_no"].to_numpy()


@dataclass(frozen=True, eq=False)
class Blocks:
    """Rows with the column `item_no`, ascending, and others, in one block or more. They never change.

    _totals  those asked for so far, which a merge brings up to date
    """

    blocks: tuple[Block, ...]
    _totals: dict[tuple[Total, str], int] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, rows: pl.DataFrame) -> Blocks:
        """Cut rows into blocks."""
        return cls(tuple(cut(rows)) or (Block(rows),))

    @cached_property
    def frame(self) -> pl.DataFrame:
        """All rows."""
        return pl.concat([block.rows for block in self.blocks], rechunk=False)

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return self.blocks[0].rows.columns

    @cached_property
    def starts(self) -> Longs:
        """Where the blocks begin, and where the last ends, (B + 1,)."""
        return np.cumsum([0, *(block.size for block in self.blocks)])

    @cached_property
    def _firsts(self) -> Longs:
        """Numbers that the blocks but the first begin with."""
        return np.array([block.numbers[0] for block in self.blocks[1:]], np.int64)

    def __len__(self) -> int:
        return int(self.starts[-1])

    def total(self, of: Total, column: str) -> int:
        """Total of a column."""
        found = self._totals.get((of, column))
        if found is None:
            found = self._totals[of, column] = _total(self.blocks, of, column)
        return found

    def same_totals(self, later: Blocks) -> bool:
        """Whether later rows have the same columns, and the same totals as far as they were asked for."""
        known = later._totals
        same = len(self) == len(later) and self.columns == later.columns
        return same and all(known.get(key) == total for key, total in self._totals.copy().items())

    def at(self, columns: Sequence[str], where: slice | Longs) -> pl.DataFrame:
        """Return columns of the rows at some positions, which ascend."""
        parts: list[pl.DataFrame]
        if isinstance(where, slice):
            low, high, _ = where.indices(len(self))
            if low >= high:
                return self.blocks[0].rows[columns].clear()
            first, last = self._block([low, high - 1])
            if "frame" in vars(self) or last - first >= NEAR:
                return self.frame[columns][low:high]
            starts, blocks = self.starts, range(first, last + 1)
            parts = [self.blocks[n].rows[columns][max(0, low - starts[n]) : high - starts[n]] for n in blocks]
            return pl.concat(parts, rechunk=False)
        block, begin = np.unique(self._block(where), return_index=True)
        if 0 < len(block) <= NEAR:
            each = zip(block.tolist(), np.split(where, begin[1:]), strict=True)
            parts = [self.blocks[n].rows[columns][own - self.starts[n]] for n, own in each]
        else:
            parts = [self.frame[columns][where]]
        return pl.concat(parts)

    def near(self, numbers: Longs) -> pl.DataFrame:
        """Return the blocks that may have some numbers, which ascend, or all."""
        block = np.unique(np.searchsorted(self._firsts, numbers, side="right"))
        if not 0 < len(block) <= NEAR:
            return self.frame
        parts: list[pl.DataFrame] = [self.blocks[n].rows for n in block.tolist()]
        return pl.concat(parts, rechunk=False)

    def _block(self, positions: Longs | list[int]) -> Longs:
        """Blocks of positions."""
        return np.searchsorted(self.starts[1:-1], positions, side="right")

    def merged(self, new: pl.DataFrame, changed: Longs) -> Blocks:
        """Return them without the rows of the numbers that changed, (N,) ascending, and with new ones of these."""
        if not len(self):
            return Blocks.of(new)
        fresh = new["item_no"].to_numpy()
        of_changed, of_fresh = (np.searchsorted(self._firsts, each, side="right") for each in (changed, fresh))
        blocks, before, after, done = list[Block](), list[Block](), list[Block](), 0
        for n in np.unique(of_changed).tolist():
            gone, came = (slice(*np.searchsorted(each, [n, n + 1]).tolist()) for each in (of_changed, of_fresh))
            woven = list(_woven(self.blocks[n], new[came], fresh[came], changed[gone]))
            if woven != [self.blocks[n]]:
                before.append(self.blocks[n])
                after += woven
            blocks += [*self.blocks[done:n], *woven]
            done = n + 1
        if not before:
            return self
        blocks += self.blocks[done:]
        known = {
            key: total + _total(after, *key) - _total(before, *key) for key, total in self._totals.copy().items()
        }
        found = Blocks(tuple(blocks) or (Block(new.clear()),), known)
        if list(map(_extent, before)) == list(map(_extent, after)):  # other values alone: what places rows is shared
            vars(found).update(starts=self.starts, _firsts=self._firsts)
        return found if len(blocks) <= 8 + 2 * len(found) // BLOCK else Blocks.of(found.frame)


def _extent(block: Block) -> tuple[int, int]:
    """First number of a block, which has rows, and how many they are."""
    return int(block.numbers[0]), block.size


def _total(blocks: Iterable[Block], of: Total, column: str) -> int:
    return sum([of(block.rows[column]) for block in blocks])


def cut(rows: pl.DataFrame) -> Iterator[Block]:
    """Cut rows into blocks."""
    if len(rows) <= BLOCK and rows.n_chunks() == 1:
        return iter([Block(rows)] if len(rows) else [])
    return (Block(part.rechunk()) for part in rows.iter_slices(BLOCK) if len(part))


def _woven(block: Block, new: pl.DataFrame, fresh: Longs, changed: Longs) -> Iterator[Block]:
    """Yield a block without the rows of the numbers that changed, and with new ones."""
    old, own = block.rows, block.numbers
    if not len(fresh) and not _among(changed, own).any():
        return iter([block])
    if len(changed) > FEW:
        return cut(pl.concat([old.filter(~_among(own, changed)), new]).sort("item_no"))
    places = [np.searchsorted(numbers, changed, side=side) for numbers in (own, fresh) for side in ("left", "right")]
    pieces, done = [], 0
    for low, high, begin, end in zip(*(place.tolist() for place in places), strict=True):
        pieces += [old[done:low], new[begin:end]]
        done = high
    whole = pl.concat([*pieces, old[done:]], rechunk=False)
    return cut(pl.DataFrame([column.rechunk() for column in whole]))  # one by one, in this thread


def _among(numbers: Longs, others: Longs) -> Bools:
    """Whether numbers are among others, which ascend and are some."""
    return np.equal(others[np.minimum(np.searchsorted(others, numbers), len(others) - 1)], numbers)
