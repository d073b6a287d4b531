"""The attributes of items by name: found, suggested, read as columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache, cached_property, partial

import numpy as np
import polars as pl

from palate.arrays import Longs
from palate.conditions.effort import A_VALUE, BYTES, Meter
from palate.conditions.values import TEXT
from palate.live.readings import SPELLED, Attribute, main_type, may_read, spells_whole
from palate.live.table import ALL, Table
from palate.live.written import is_written
from palate.store.items import FIELDS

HINTS, NEAR, SHORT = 3, 100, 50  # suggestions, names that may be suggested, and their characters


@dataclass(frozen=True, eq=False)
class Attributes:
    """All attributes of P items.

    table  the items by position
    names  of attributes by the names that columns of imported files had
    """

    table: Table = field(repr=False)
    names: Mapping[str, str]

    def same_totals(self, later: Attributes) -> bool:
        """Whether conditions read later attributes as these, as far as they asked for their totals."""
        return self.names == later.names and self.table.same_totals(later.table)

    @cached_property
    def counts(self) -> Mapping[str, Mapping[str, int]]:
        """Number of values by attribute and kind."""
        counts: dict[str, dict[str, int]] = {}
        for part, count in self.table.counts.items():
            kind, _, name = part.partition(":")
            counts.setdefault(name, {})[kind] = count
        return counts

    @cached_property
    def _folded(self) -> dict[str, str]:
        """Names by their lower case, of those alike the one with most values."""
        every = reversed([*self.counts, *self.names])
        most_last = sorted(every, key=lambda name: sum(self.counts.get(name, {}).values()))
        return {name.lower(): name for name in most_last}

    def find(self, asked: str, notes: list[str] | None = None, meter: Meter | None = None) -> Attribute | None:
        """Find an attribute, by the name of a column of an imported file too; None if no item has it.

        An item's own value under the name asked for comes first. If no name is spelled so, one that differs in case
        only is taken, that of most values.
        """
        if asked in self.counts or asked in self.names:
            found = self._under([asked, self.names.get(asked, asked)], notes, meter)
            if found is not None:
                return found
        best = self._folded.get(asked.lower(), asked)
        return self._under([best, self.names.get(best, best)], notes, meter)

    def _under(
        self, names: Sequence[str], notes: list[str] | None = None, meter: Meter | None = None
    ) -> Attribute | None:
        parts: dict[str, list[str]] = {}
        counts: Counter[str] = Counter()
        for name in dict.fromkeys(names):
            for kind, count in self.counts.get(name, {}).items():
                parts.setdefault(kind, []).append(f"{kind}:{name}")
                counts[kind] += count
        if not parts:
            return None
        return Attribute(names[0], self, parts, counts, [] if notes is None else notes, meter or Meter())

    def unknown(self, names: Iterable[str]) -> list[str]:
        """Say which of some attributes no item has, and for the first ones what was perhaps meant."""
        notes: list[str] = []
        for asked in dict.fromkeys(names):
            if asked not in FIELDS and self.find(asked) is None:
                notes.append(self.unknown_name(asked, hint=len(notes) < HINTS))
        return notes

    def unknown_name(self, asked: str, *, hint: bool) -> str:
        """Say that no item has an attribute, with a hint what was perhaps meant."""
        near = get_close_matches(asked.lower(), self._common, 1) if hint and len(asked) <= SHORT else []
        meant = f"; did you mean {self._folded[near[0]]!r}?" if near else ""
        return f"no item has an attribute {asked!r}{meant}"

    @cached_property
    def _common(self) -> Sequence[str]:
        """The short names of most values, in lower case."""
        return [name for name in reversed(self._folded) if len(name) <= SHORT][:NEAR]

    @cached_property
    def lengths(self) -> Callable[[str], int]:
        """Count the steps in which one operation passes over the texts or lists of a part."""
        return cache(partial(_length, self.table))

    @cached_property
    def spells_whole(self) -> Callable[[str], bool]:
        """Whether the numbers that a part of texts spells are whole."""
        return cache(partial(spells_whole, self.table))

    def having(self, asked: str) -> slice | Longs:
        """Positions of the items that have an attribute; `ALL` where many have."""
        if asked in FIELDS:
            return ALL
        found = self.find(asked)
        positions = self.table.having(() if found is None else found.columns)
        return ALL if positions is None else positions

    def column(self, asked: str, dtype: pl.DataType | None = None, where: slice | Longs = ALL) -> pl.Series:
        """Values of an attribute as one type, that of most of them by default, (P,); nulls if no item has it."""
        if asked in FIELDS:
            return self.table.at([asked], where)[asked]
        found = self.find(asked)
        if found is None:
            return pl.Series(asked, [None], dtype or TEXT).new_from_index(0, len(self.table.numbers[where]))
        return self.table.at(found.columns, where).select(found.read(dtype or found.main)[0].alias(asked)).to_series()

    def frame(self, where: slice | Longs = ALL) -> pl.DataFrame:
        """Fields and attributes of the items at some positions, by name, each of the type of most of its values."""
        found = [each for name in sorted(self.counts) if (each := self._under([name])) is not None]
        rows = self.table.at([*FIELDS, *self.table.counts], where)
        return rows.select(*FIELDS, *(each.read(each.main)[0].alias(each.name) for each in found))

    def said(self, positions: Sequence[int], names: Sequence[str]) -> list[dict[str, object]]:
        """Return these attributes of some items as they were put, objects as JSON; None for nothing."""
        found = {name: self.find(name) for name in names if name not in FIELDS}
        parts = [part for each in found.values() if each is not None for part in each.columns]
        ascending, place = np.unique(np.array(positions, np.int64), return_inverse=True)
        rows = self.table.at([*FIELDS, *parts], ascending)[place]
        columns = {name: rows[name].to_list() if name in FIELDS else _said(rows, found[name]) for name in names}
        return [{name: values[n] for name, values in columns.items()} for n in range(len(rows))]

    @cached_property
    def odd(self) -> int:
        """Values that columns leave out, since they are neither of the type of most of the attribute nor read so."""
        odd = 0
        texts: dict[pl.DataType, list[str]] = {dtype: [] for dtype in SPELLED}
        for name, kinds in self.counts.items():
            if len(kinds) == 1:
                continue
            main = main_type(kinds)
            odd += sum(count for kind, count in kinds.items() if not may_read(kind, main))
            if main in texts and "text" in kinds:
                texts[main].append(f"text:{name}")
        for dtype, parts in texts.items():
            if parts:
                text = self.table.gathered(parts)
                odd += len(text) - text.select(SPELLED[dtype](pl.col("value")).count()).item()
        return odd


def _length(table: Table, part: str) -> int:
    if not is_written(part):
        return 0
    if part.startswith("list:"):
        return A_VALUE * table.total(_values, part)
    return table.total(_bytes, part) // BYTES


def _values(lists: pl.Series) -> int:
    return int(lists.list.len().sum() or 0)


def _bytes(texts: pl.Series) -> int:
    """Bytes that texts take: short ones lie in the 16 bytes that say where a long one is."""
    size = texts.str.len_bytes()
    return 16 * len(texts) + int(size.filter(size > 12).sum() or 0)


def _said(rows: pl.DataFrame, attribute: Attribute | None) -> list[object]:
    said: list[object] = [None] * len(rows)
    for part in () if attribute is None else attribute.parts.values():
        values = rows.select(part).to_series().to_list()
        said = [new if old is None else old for old, new in zip(said, values, strict=True)]
    return said
