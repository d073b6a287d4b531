"""Rows by ascending numbers of items: merged in blocks, matched and spread."""

from __future__ import annotations

import numpy as np
import polars as pl

from palate.arrays import Bools, Longs

BLOCK = 1 << 14  # rows decoded at once, and copied when one of them changes
FEW = 64  # changes that are put in their places one by one


def spread(values: pl.DataFrame, numbers: Longs) -> pl.Series:
    """Return the values of the items of these numbers, which ascend, null where there is none."""
    every = values["item_no"].to_numpy()
    ends = np.searchsorted(every, numbers[[0, -1]] + [0, 1]) if len(numbers) else [0, 0]
    near = slice(*map(int, ends))  # of the values that may be copied below
    own, value = every[near], values["value"][near]
    if np.array_equal(own, numbers):
        return value
    nothing = pl.Series([None], dtype=value.dtype)
    there, place = matched(own, numbers)
    if not len(there):
        return nothing.new_from_index(0, len(numbers))
    index = np.full(len(numbers), len(own))  # of the null behind all values
    index[place] = there
    return pl.concat([value, nothing], rechunk=True)[index]


def matched(a: Longs, b: Longs) -> tuple[Longs, Longs]:
    """Where the numbers stand that both have; both ascend. The shorter is looked up in the longer."""
    if len(a) > len(b):
        in_b, in_a = matched(b, a)
        return in_a, in_b
    if not len(a):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    place = np.minimum(np.searchsorted(b, a), len(b) - 1)
    there = np.flatnonzero(b[place] == a)
    return there, place[there]


def merged(old: pl.DataFrame, own: Longs, new: pl.DataFrame, changed: Longs) -> pl.DataFrame:
    """Return the old rows but for those of the numbers that changed, and the new ones, ascending by `item_no`.

    own  the numbers of the old rows, (N,). Only the blocks where something changes are copied.
    """
    fresh = new["item_no"].to_numpy()
    if not len(own):
        return new
    if not len(fresh) and not _among(changed, own).any():
        return old
    starts = _starts(old)
    blocks = [np.searchsorted(own[starts[1:-1]], numbers, side="right") for numbers in (changed, fresh)]
    pieces, done = [], 0
    for block in np.unique(blocks[0]).tolist():
        low, high = int(starts[block]), int(starts[block + 1])
        gone, came = (slice(*np.searchsorted(each, [block, block + 1]).tolist()) for each in blocks)
        pieces += [old[done:low], blocked(_woven(old[low:high], new[came], changed[gone]))]
        done = high
    found = pl.concat([*pieces, old[done:]], rechunk=False)
    return found if found.n_chunks() <= 8 + 2 * len(found) // BLOCK else blocked(found)


def _woven(old: pl.DataFrame, new: pl.DataFrame, changed: Longs) -> pl.DataFrame:
    own, fresh = old["item_no"].to_numpy(), new["item_no"].to_numpy()
    if len(changed) > FEW:
        stays = ~_among(own, changed)
        return pl.concat([old.filter(stays), new]).sort("item_no")
    places = [np.searchsorted(numbers, changed, side=side) for numbers in (own, fresh) for side in ("left", "right")]
    pieces, done = [], 0
    for low, high, begin, end in zip(*(place.tolist() for place in places), strict=True):
        pieces += [old[done:low], new[begin:end]]
        done = high
    return pl.concat([*pieces, old[done:]], rechunk=True)


def _among(numbers: Longs, others: Longs) -> Bools:
    """Whether numbers are among others, which ascend and are some."""
    return np.equal(others[np.minimum(np.searchsorted(others, numbers), len(others) - 1)], numbers)


def _starts(rows: pl.DataFrame) -> Longs:
    """Where the blocks of rows begin, and where the last ends."""
    starts: list[int] = []
    end = 0
    for length in rows["item_no"].chunk_lengths():
        starts += range(end, end + length, BLOCK)
        end += length
    return np.array([*starts, end], np.int64)


def blocked(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the rows, each block in a piece of memory of its own."""
    if len(rows) <= BLOCK and rows.n_chunks() == 1:
        return rows
    return pl.concat([block.rechunk() for block in rows.iter_slices(BLOCK)] or [rows], rechunk=False)
