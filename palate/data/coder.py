"""Ids to row numbers, batch by batch, without ever holding all ids at once."""

from __future__ import annotations

import numpy as np
import polars as pl

from palate.arrays import Ints
from palate.data.vocabulary import Vocabulary


class Coder:
    """Numbers distinct strings in order of first appearance."""

    def __init__(self) -> None:
        self._categories = pl.Categories.random()
        self._type = pl.Categorical(self._categories)
        self._alive = pl.Series([], dtype=self._type)  # polars forgets categories that no series uses

    def codes(self, ids: pl.Series) -> Ints:
        """Row numbers of the next batch, (N,); no nulls."""
        coded = ids.cast(self._type)
        self._alive = coded.head(0)
        return coded.to_physical().to_numpy().view(np.int32)

    def names(self) -> list[str]:
        """Return the strings seen so far."""
        names: list[str] = self._series().to_list()
        return names

    def vocabulary(self, *, strings: bool) -> Vocabulary:
        """Return the ids seen so far, as `vocabulary_of` does."""
        return vocabulary_of(self._series(), strings=strings)

    def _series(self) -> pl.Series:
        return self._categories.to_series()


def vocabulary_of(ids: pl.Series, *, strings: bool) -> Vocabulary:
    """Distinct ids as 64-bit integers if every one is spelled as an integer is, unless strings are meant."""
    whole = ids.cast(pl.Int64, strict=False)
    spelled = not whole.has_nulls() and (whole.cast(pl.String) == ids).all()
    return Vocabulary((whole if spelled and not strings else ids).alias("id"))
