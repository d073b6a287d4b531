"""Ids to row numbers, batch by batch, without ever holding all ids at once."""

from __future__ import annotations

import numpy as np
import polars as pl

from palate.arrays import Hashes, Ints, Longs
from palate.data.vocabulary import Vocabulary

ROOM = 2  # slots of the table for each string, at least
FREE = -1


class Coder:
    """Numbers distinct strings in order of first appearance.

    A table by hash, open addressing, has the number of a string in its slot, `FREE` where there is none. What a hash
    finds is compared with the string; where two strings have one hash, all are hashed anew by another seed.
    """

    def __init__(self) -> None:
        self._names = pl.Series([], dtype=pl.String)
        self._hashes = np.empty(0, np.uint64)  # of the names
        self._table = np.empty(0, np.int32)
        self._seed = 0

    def codes(self, ids: pl.Series) -> Ints:
        """Row numbers of the next batch, (N,); no nulls."""
        if not len(ids):
            return np.empty(0, np.int32)
        before = self._names
        hashes = self._hashed(ids)
        codes = self._found(hashes)
        new = np.flatnonzero(codes == FREE)
        if len(new):
            names = ids[new].unique(maintain_order=True)
            self._names = pl.concat([self._names, names], rechunk=True)
            self._add(self._hashed(names))
            codes[new] = self._found(hashes[new])
        if (self._names[codes] == ids).all():
            return codes
        self._seed += 1
        self._names = before  # once more, so that they stay in order
        self._hashes = np.empty(0, np.uint64)
        self._add(self._hashed(self._names))
        return self.codes(ids)

    def _hashed(self, ids: pl.Series) -> Hashes:
        return ids.hash(self._seed).to_numpy()

    def _slots(self, hashes: Hashes) -> Longs:
        return (hashes & np.uint64(len(self._table) - 1)).view(np.int64)

    def _found(self, hashes: Hashes) -> Ints:
        """Numbers of the strings of these hashes, (N,), `FREE` where there is none."""
        if not len(self._hashes):
            return np.full(len(hashes), FREE, np.int32)
        slots = self._slots(hashes)
        codes = self._table.take(slots)
        left = np.flatnonzero(self._hashes.take(codes, mode="clip") != hashes)
        while len(left := left[(codes[left] != FREE) & (self._hashes[codes[left]] != hashes[left])]):
            slots[left] = (slots[left] + 1) % len(self._table)
            codes[left] = self._table[slots[left]]
        return codes

    def _add(self, hashes: Hashes) -> None:
        """Give numbers to the next strings, by their hashes; a table that is too full is built anew."""
        first = len(self._hashes)
        self._hashes = np.concatenate([self._hashes, hashes])
        if not first or ROOM * len(self._hashes) > len(self._table):
            self._table = np.full(2 * ROOM << len(self._hashes).bit_length(), FREE, np.int32)
            first = 0
        left = np.arange(first, len(self._hashes), dtype=np.int32)
        slots = self._slots(self._hashes[first:])
        while len(left):
            free = self._table[slots] == FREE
            self._table[slots[free]] = left[free]  # of several for one slot the last one stays
            lost = self._table[slots] != left
            left, slots = left[lost], (slots[lost] + 1) % len(self._table)

    def names(self) -> pl.Series:
        """Return the strings seen so far, (S,)."""
        return self._names

    def vocabulary(self, *, strings: bool) -> Vocabulary:
        """Return the ids seen so far, as `vocabulary_of` does."""
        return vocabulary_of(self.names(), strings=strings)


def vocabulary_of(ids: pl.Series, *, strings: bool) -> Vocabulary:
    """Distinct ids as 64-bit integers if every one is spelled as an integer is, unless strings are meant."""
    whole = ids.cast(pl.Int64, strict=False)
    spelled = not whole.has_nulls() and (whole.cast(pl.String) == ids).all()
    return Vocabulary((whole if spelled and not strings else ids).alias("id"))
