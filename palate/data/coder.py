"""Ids to row numbers, batch by batch, without ever holding all ids at once."""

from __future__ import annotations

import re

import numpy as np
import polars as pl

from palate.arrays import Ints
from palate.data.batch import Fields
from palate.data.vocabulary import Vocabulary
from palate.kernels.tokens import code_fields, fill_table, find_keys

PART = 1 << 16  # strings handled at once
FILLING = re.compile(b"\xff+")


class Coder:
    """Numbers distinct strings, none empty, in order of first appearance; how they are kept: see `tokens`."""

    def __init__(self) -> None:
        self._table = np.zeros((1 << 8, 2), np.uint64)
        self._arena = np.empty(1 << 9, np.uint64)
        self._size = self._used = 0

    def codes(self, ids: pl.Series | Fields) -> Ints:
        """Row numbers of the next batch, (N,); no nulls."""
        if isinstance(ids, pl.Series):
            parts = [self.codes(Fields.of(ids[n : n + PART])) for n in range(0, len(ids), PART)]
            return np.concatenate([np.empty(0, np.int32), *parts])
        keys = find_keys(ids.text, ids.starts, ids.ends)
        codes = np.empty(len(ids), np.int32)
        done = 0
        while done < len(codes):
            left = ids[done:]
            coded, self._size, self._used = code_fields(
                *(left.text, left.starts, left.ends, keys[done:], codes[done:]),
                *(self._table, self._arena, self._size, self._used),
            )
            done += coded
            if done < len(codes):
                self._grow()
        return codes

    def _grow(self) -> None:
        """Double the table if it is half full, else the arena."""
        if 2 * self._size < len(self._table):
            self._arena.resize(2 * len(self._arena), refcheck=False)
        else:
            larger = np.zeros((2 * len(self._table), 2), np.uint64)
            fill_table(self._table, larger)
            self._table = larger

    def names(self) -> pl.Series:
        """Return the strings seen so far, (S,)."""
        ends = np.append(0, np.flatnonzero(self._arena[: self._used] >> np.uint64(56) == 0xFF) + 1)
        names = [pl.Series([], dtype=pl.Binary)]
        for first in range(0, self._size, PART):
            part = self._arena[ends[first] : ends[min(first + PART, self._size)]].tobytes()
            names.append(pl.Series(FILLING.split(part)[:-1], dtype=pl.Binary))
        return pl.concat(names).cast(pl.String)

    def vocabulary(self, *, strings: bool) -> Vocabulary:
        """Return the ids seen so far, as `vocabulary_of` does."""
        return vocabulary_of(self.names(), strings=strings)


def vocabulary_of(ids: pl.Series, *, strings: bool) -> Vocabulary:
    """Distinct ids as 64-bit integers if every one is spelled as an integer is, unless strings are meant."""
    whole = ids.cast(pl.Int64, strict=False)
    spelled = not whole.has_nulls() and (whole.cast(pl.String) == ids).all()
    return Vocabulary((whole if spelled and not strings else ids).alias("id"))
