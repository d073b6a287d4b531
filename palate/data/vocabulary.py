"""Ids and their row numbers. Ids cross this border twice: in with the log, out with the rankings."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import repeat
from typing import Any

import numpy as np
import polars as pl

from palate.arrays import Ints
from palate.data.ids import WHOLE, Id, column_of, listed, retyped, shown, spelled, spelling
from palate.data.values import IDS
from palate.errors import DataError, UnknownId

NUMBER = r"^(0|-?[1-9][0-9]*)$"  # how a whole number of any size is spelled
FEW = 100  # a hundredth of the ids is looked up faster without a table of all

__all__ = ["Id", "Vocabulary"]


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """Distinct ids in row order: strings or 64-bit integers, kept as the log gave them.

    An id is looked up by what it spells (see `ids`): in whatever type it is asked for, and whatever type is kept.
    """

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
    def of(cls, ids: Iterable[object]) -> Vocabulary:
        """Collect the distinct ids in order of first appearance; a mixture becomes strings."""
        return cls(column_of(ids).unique(maintain_order=True))

    def __len__(self) -> int:
        return len(self.ids)

    def __contains__(self, value: object) -> bool:
        return spelling(value) is not None and self._own(value, "id") in self._rows

    @cached_property
    def _rows(self) -> dict[Id, int]:
        return {value: row for row, value in enumerate(self.ids.to_list())}

    @property
    def _kind(self) -> type[Id]:
        return str if self.ids.dtype == pl.String else int

    def _own(self, value: object, place: str) -> Id:
        """Return an id in the type kept here, as a string where that cannot spell it."""
        text = spelling(value)
        if text is None:
            raise DataError(f"{place} is {shown(value)}; {IDS}")
        return int(text) if self._kind is int and WHOLE.fullmatch(text) else text

    def code(self, value: object, place: str = "id") -> int:
        """Row number of one id; raises `UnknownId`, and `DataError` for what cannot be an id."""
        row = self._rows.get(self._own(value, place))
        if row is None:
            known = ", ".join(repr(i) for i in self.ids.head(3).to_list())
            raise UnknownId(f"id {value!r} is unknown; known ids look like {known}")
        return row

    def known(self, values: Iterable[object], place: str = "items") -> Ints:
        """Row numbers of many ids, (N,); raises `UnknownId` for the first unknown one, else as `codes`."""
        given = listed(values, place)
        codes = self.codes(given, place)
        for value in [given[n] for n in np.flatnonzero(codes < 0)[:1].tolist()]:
            self.code(value, place)
        return codes

    def codes(self, values: Iterable[object], place: str = "ids") -> Ints:
        """Row numbers of many ids, -1 where unknown, (N,); raises `DataError` for what cannot be an id."""
        given = listed(values, place)
        if isinstance(given, list):
            if set(map(type, given)) <= {self._kind}:
                return self._rows_of(given)
            if len(given) < len(self) / FEW:
                return self._rows_of([self._own(value, f"{place}[{n}]") for n, value in enumerate(given)])
        return self.find(column_of(given, place))

    def check_kind(self, ids: pl.Series, place: str) -> None:
        """Raise `DataError` where ids, strings or 64-bit integers, are all of a kind that no id here has.

        Texts that spell no whole number are, among integers; integers are, among strings that spell none.
        """
        if not len(ids) or not len(self) or ids.dtype == self.ids.dtype == pl.String:
            return
        if self._kind is int:
            foreign = ids.dtype == pl.String and not ids.str.contains(NUMBER).any()
        else:
            foreign = not self._spells_numbers
        if foreign:
            kinds = ("text", "whole numbers") if self._kind is int else ("a whole number", "text")
            known = ", ".join(repr(i) for i in self.ids.head(3).to_list())
            raise DataError(f"{place}: {shown(ids[0])} is {kinds[0]}; the known ids are {kinds[1]}, as {known}")

    @cached_property
    def _spells_numbers(self) -> bool:
        return bool(self.ids.str.contains(NUMBER).any())

    def find(self, ids: pl.Series) -> Ints:
        """Row numbers of a column of ids, -1 where it is unknown, null or no id, (N,)."""
        if ids.null_count() == len(ids):
            return np.full(len(ids), -1, np.int32)
        asked = retyped(spelled(ids), self.ids.dtype)
        here = pl.DataFrame({"id": self.ids, "row": np.arange(len(self), dtype=np.int32)})
        if len(asked) < len(self) / FEW:
            here = here.filter(pl.col("id").is_in(asked.implode()))
        found = pl.DataFrame({"id": asked}).join(here, on="id", how="left", maintain_order="left")
        return found["row"].fill_null(-1).to_numpy()

    def _rows_of(self, own: list[Any]) -> Ints:
        return np.fromiter(map(self._rows.get, own, repeat(-1)), np.int32, len(own))

    def names(self, codes: Ints | Sequence[int]) -> pl.Series:
        """Ids of rows; -1 gives null."""
        index = np.asarray(codes, np.int64)
        row = pl.Series(index)
        return self.ids[row] if (index >= 0).all() else self.ids.gather(row.set(row < 0, None))

    def recode(self, other: Vocabulary) -> Ints:
        """For each row of `other`, the row of the same id here, or -1. (len(other),)."""
        if other is self:
            return np.arange(len(self), dtype=np.int32)
        return self.find(other.ids)

    def union(self, other: Vocabulary) -> Vocabulary:
        """Return the ids of both, these first, so that row numbers stay.

        Where one has integers and the other strings, they become integers if all are spelled so, else strings.
        """
        columns = [self.ids, other.ids.alias(self.ids.name)]
        if self.ids.dtype != other.ids.dtype:
            whole = [retyped(ids, pl.Int64()) for ids in columns]
            fits = not any(ids.has_nulls() for ids in whole)
            columns = whole if fits else [retyped(ids, pl.String()) for ids in columns]
        return Vocabulary.of(pl.concat(columns))

    def parse(self, text: str) -> Id:
        """Return an id typed by a user in the type kept here; raises `UnknownId` where that cannot spell it."""
        own = self._own(text, "id")
        if not isinstance(own, self._kind):
            raise UnknownId(f"id {text!r} is unknown; ids here are integers")
        return own

    def select(self, codes: Ints) -> Vocabulary:
        """Return the vocabulary of these rows alone, in this order."""
        return Vocabulary(self.ids.gather(codes.astype(np.int64)))

    def texts(self) -> set[str]:
        """Return the ids as text."""
        return set(self.ids.cast(pl.String))

    def others(self, texts: Collection[str]) -> Ints:
        """Return the rows of all ids but those of which these are the texts."""
        given = pl.Series(sorted(texts), dtype=pl.String)
        return np.flatnonzero(~self.ids.cast(pl.String).is_in(given.implode()).to_numpy()).astype(np.int32)

    @staticmethod
    def series(ids: Iterable[object], place: str = "ids") -> pl.Series:
        """Ids as a series of strings or 64-bit integers; a mixture becomes strings. Raises `DataError` as `codes`."""
        return column_of(ids, place)
