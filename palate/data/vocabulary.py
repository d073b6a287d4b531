"""Ids and their row numbers. Ids cross this border twice: in with the log, out with the rankings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
import polars as pl

from palate.arrays import Ints
from palate.errors import DataError, UnknownId

Id: TypeAlias = str | int
FEW = 100  # a hundredth of the ids is looked up faster without a table of all


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """Distinct ids in row order: strings or 64-bit integers, kept as the log gave them."""

    ids: pl.Series

    def __post_init__(self) -> None:
        if self.ids.dtype not in (pl.String, pl.Int64):
            raise DataError(f"ids of type {self.ids.dtype}: ids must be strings or 64-bit integers")

    def checked(self) -> Vocabulary:
        """Return the vocabulary; raises `DataError` where an id is null or stands twice."""
        if self.ids.null_count() or self.ids.n_unique() != len(self.ids):
            raise DataError(
                f"{len(self.ids):,} ids, {self.ids.n_unique():,} of them distinct, all must be, and not null"
            )
        return self

    @classmethod
    def of(cls, ids: Iterable[Id] | pl.Series) -> Vocabulary:
        """Collect the distinct ids in order of first appearance; a mixture becomes strings."""
        return cls(cls.series(ids).unique(maintain_order=True))

    def __len__(self) -> int:
        return len(self.ids)

    def __contains__(self, value: object) -> bool:
        return value in self._rows

    @cached_property
    def _rows(self) -> dict[Id, int]:
        return {value: row for row, value in enumerate(self.ids.to_list())}

    def code(self, value: Id) -> int:
        """Row number of one id; raises `UnknownId`."""
        try:
            return self._rows[value]
        except KeyError:
            known = ", ".join(repr(i) for i in self.ids.head(3).to_list())
            raise UnknownId(f"id {value!r} is unknown; known ids look like {known}") from None

    def codes(self, values: Iterable[Id] | pl.Series) -> Ints:
        """Row numbers of many ids, -1 where unknown, (N,)."""
        if not isinstance(values, pl.Series):
            return np.fromiter((self._rows.get(value, -1) for value in values), np.int32)
        if values.dtype != self.ids.dtype:
            return np.full(len(values), -1, np.int32)
        here = pl.DataFrame({"id": self.ids, "row": np.arange(len(self), dtype=np.int32)})
        if len(values) < len(self) / FEW:
            here = here.filter(pl.col("id").is_in(values.implode()))
        found = pl.DataFrame({"id": values}).join(here, on="id", how="left", maintain_order="left")
        return found["row"].fill_null(-1).to_numpy()

    def names(self, codes: Ints | Sequence[int]) -> pl.Series:
        """Ids of rows; -1 gives null."""
        index = pl.Series(np.asarray(codes, np.int64))
        return self.ids.gather(index.set(index < 0, None))

    def recode(self, other: Vocabulary) -> Ints:
        """For each row of `other`, the row of the same id here, or -1. (len(other),)."""
        if other is self:
            return np.arange(len(self), dtype=np.int32)
        return self.codes(other.ids)

    def union(self, other: Vocabulary) -> Vocabulary:
        """Return the ids of both, these first, so that row numbers stay; raises `DataError` if the types differ."""
        if other.ids.dtype != self.ids.dtype:
            raise DataError(f"ids of types {self.ids.dtype} and {other.ids.dtype}: both must be of one type")
        return Vocabulary.of(pl.concat([self.ids, other.ids.alias(self.ids.name)]))

    def parse(self, text: str) -> Id:
        """Read an id typed by a person: an integer where the ids are integers, else the text itself."""
        if self.ids.dtype == pl.Int64:
            try:
                return int(text)
            except ValueError:
                raise UnknownId(f"id {text!r} is unknown; ids here are integers") from None
        return text

    def select(self, codes: Ints) -> Vocabulary:
        """Return the vocabulary of these rows alone, in this order."""
        return Vocabulary(self.ids.gather(codes.astype(np.int64)))

    @staticmethod
    def series(ids: Iterable[Id] | pl.Series) -> pl.Series:
        """Ids as a series of strings or 64-bit integers; a mixture becomes strings."""
        series = ids if isinstance(ids, pl.Series) else _series_of(list(ids))
        if series.dtype in (pl.String, pl.Int64):
            return series
        return series.cast(pl.Int64 if series.dtype.is_integer() else pl.String)


def _series_of(values: list[Id]) -> pl.Series:
    if all(isinstance(value, (int, np.integer)) for value in values):
        return pl.Series("id", values, pl.Int64)
    return pl.Series("id", [str(value) for value in values], pl.String)
