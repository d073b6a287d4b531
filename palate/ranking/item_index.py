"""Every name of an item and the maps between them: text id, store number, catalogue position, model row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from palate.arrays import Floats, Ints, Longs
from palate.data.vocabulary import Vocabulary

N = TypeVar("N", bound=np.generic)
SPARE = 1024  # places that an array has at least for items to come


@dataclass(frozen=True, eq=False)
class ItemIndex:
    """P items at positions 0 to P - 1. A longer index shares maps and arrays with the shorter one, which it extends.

    number   the store's numbers, ascending, (P,)
    created  when each was first seen, microseconds since 1970 UTC, (P,)
    row      rows of the model by position, -1 for an item that it does not know, (P,)
    rows     number of items that the model knows
    """

    number: Longs
    created: Longs
    row: Ints
    rows: int
    _ids: list[str] = field(repr=False)
    _position: dict[str, int] = field(repr=False)
    _buffers: dict[str, NDArray[Any]] = field(repr=False, default_factory=dict)

    @classmethod
    def of(cls, ids: pl.Series, number: Longs, created: Longs) -> ItemIndex:
        """Index items that no model knows."""
        names = ids.to_list()
        position = dict(zip(names, range(len(names)), strict=True))
        return cls(number, created, np.full(len(names), -1, np.int32), 0, names, position)._roomy()

    @classmethod
    def of_model(cls, items: Vocabulary) -> ItemIndex:
        """Index the items of a model alone: position, number and row are the same."""
        place = np.arange(len(items))
        index = cls.of(items.ids.cast(pl.String), place, np.zeros(len(items), np.int64))
        return replace(index, row=place.astype(np.int32), rows=len(items))

    def __len__(self) -> int:
        return len(self.number)

    def extended(self, ids: pl.Series, number: Longs, created: Longs, items: Vocabulary) -> ItemIndex:
        """Return the index with items that came later, and with the rows of the model's `items`.

        Only the newest of the indexes that share maps may be extended, by one thread at a time.
        """
        assert len(self) == len(self._ids), "an index is extended once"
        new, place = ids.to_list(), np.arange(len(self), len(self) + len(ids))
        self._position.update(zip(new, place.tolist(), strict=True))
        self._ids.extend(new)
        row = items.codes(ids)
        longer = replace(
            self,
            number=self._grown("number", self.number, number),
            created=self._grown("created", self.created, created),
            row=self._grown("row", self.row, row),
        )
        if len(self) and len(new):
            vars(longer).update(self._worked_out(place, number, created))
            if (row < 0).all():
                vars(longer)["position_of_row"] = self.position_of_row
        return longer

    def _worked_out(self, place: Longs, number: Longs, created: Longs) -> dict[str, object]:
        """Return what a longer index computes once, from what this one has."""
        gap = np.full(int(number[-1]) + 1 - len(self._of_number), -1, np.int32)
        of_number = self._grown("of_number", self._of_number, gap)
        of_number[number] = place
        found: dict[str, object] = {"_of_number": of_number}
        found["seconds"] = self._grown("seconds", self.seconds, (created / 1e6).astype(np.float32))
        if created.min() > self.created[self._oldest[-1]]:
            later = place[np.argsort(-created, kind="stable")][::-1]
            found["_oldest"] = self._grown("oldest", self._oldest, later)
        return found

    def _roomy(self) -> ItemIndex:
        """Return the index with room behind its arrays, so that the first new item copies nothing."""
        return replace(
            self,
            number=self._grown("number", self.number[:0], self.number),
            created=self._grown("created", self.created[:0], self.created),
            row=self._grown("row", self.row[:0], self.row),
        )

    def _grown(self, name: str, old: NDArray[N], new: NDArray[N]) -> NDArray[N]:
        """Return an array with more behind it; it shares a buffer with the old one, which is not copied each time."""
        size = len(old) + len(new)
        buffer = self._buffers.get(name)
        if buffer is None or old.base is not buffer or len(buffer) < size:
            buffer = self._buffers[name] = np.empty(size + size // 8 + SPARE, old.dtype)
            buffer[: len(old)] = old
        buffer[len(old) : size] = new
        return buffer[:size]

    def with_model(self, items: Vocabulary, known: ItemIndex | None = None) -> ItemIndex:
        """Return the index with the rows of another model; known  a shorter index that has them already."""
        done = self.row[:0] if known is None else known.row
        names = pl.Series(self._ids[len(done) : len(self)], dtype=pl.String)
        return replace(self, row=np.concatenate([done, items.codes(names)]), rows=len(items))

    def with_rows(self, positions: Longs, row: Ints, rows: int) -> ItemIndex:
        """Return the index with rows of items that the model has come to know."""
        every = self.row.copy()
        every[positions] = row
        return replace(self, row=every, rows=rows)

    def shares(self, other: ItemIndex) -> bool:
        """Whether one of two indexes extends the other, so that positions mean the same."""
        return self._ids is other._ids

    def position(self, item_id: str) -> int:
        """Position of an id, -1 for an unknown one."""
        found = self._position.get(item_id, -1)
        return found if found < len(self) else -1

    def positions(self, ids: Sequence[str]) -> Longs:
        """Positions of ids, (N,), -1 for unknown ones."""
        return np.array([self.position(name) for name in ids], np.int64)

    def ids(self, positions: Longs) -> list[str]:
        """Ids of the items at positions, (N,)."""
        names = self._ids
        return [names[position] for position in positions.tolist()]

    def at(self, number: Longs) -> Longs:
        """Positions of the store's numbers, (N,), -1 for those of no item, or of a newer one."""
        known = number < len(self._of_number)
        if known.all():
            return self._of_number[number].astype(np.int64)
        found = self._of_number[np.where(known, number, 0)] if len(self) else np.full(len(number), -1)
        return np.where(known, found, np.int64(-1))

    @cached_property
    def _of_number(self) -> Ints:
        position = np.full(int(self.number[-1]) + 1 if len(self) else 0, -1, np.int32)
        position[self.number] = np.arange(len(self), dtype=np.int32)
        return self._grown("of_number", position[:0], position)

    @cached_property
    def position_of_row(self) -> Longs:
        """Positions of the model's items, (I,); -1 for one that is not in the catalogue."""
        position = np.full(self.rows, -1)
        known = np.flatnonzero(self.row >= 0)
        position[self.row[known]] = known
        return position

    @property
    def newest(self) -> Longs:
        """Positions, the newest item first, of as new ones the lower position."""
        return self._oldest[::-1]

    @cached_property
    def _oldest(self) -> Longs:
        oldest = np.argsort(-self.created, kind="stable")[::-1]
        return self._grown("oldest", oldest[:0], oldest)

    @cached_property
    def seconds(self) -> Floats:
        """When items were first seen, seconds since 1970 UTC, (P,)."""
        seconds = (self.created / 1e6).astype(np.float32)
        return self._grown("seconds", seconds[:0], seconds)
