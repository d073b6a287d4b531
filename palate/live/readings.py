"""Attributes of items read as any type: the values that fit it, whatever kinds the others are of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property, lru_cache, partial
from heapq import nlargest
from typing import Any

import polars as pl

from palate.live.attributes import parts_of
from palate.live.effort import A_VALUE, BYTES, Meter
from palate.live.patience import still_wanted
from palate.live.values import ANY, LISTS, NOTHING, REAL, TEXT, TRUTH, WHOLE, Column, Value, column, whole
from palate.store.items import FIELDS

# What most values of an attribute are is the type of its column; of as many, the first of these.
TYPE_OF = {"list": LISTS, "whole": REAL, "real": REAL, "truth": TRUTH, "text": TEXT, "object": TEXT}
CALLED = {LISTS: "a list", REAL: "a number", WHOLE: "a number", TRUTH: "true or false", TEXT: "text"}
TRUTHS = {"true": True, "false": False}
BLOCK = 1 << 16  # rows read at once
MOST_HINTS = 3  # of a condition
ALIKE = 20  # names among which the one that was perhaps meant is looked for
WRITTEN = ("text", "list", "object")  # kinds whose values have a length


@dataclass(frozen=True, eq=False)
class Attributes:
    """All attributes of P items.

    rows   the items by position; columns item_id, available, and parts `kind:name` (P, ...)
    names  of attributes by the names that columns of imported files had
    """

    rows: pl.DataFrame = field(repr=False)
    names: Mapping[str, str]

    @cached_property
    def counts(self) -> Mapping[str, Mapping[str, int]]:
        """Number of values by attribute and kind."""
        counts: dict[str, dict[str, int]] = {}
        for part in parts_of(self.rows):
            kind, _, name = part.partition(":")
            counts.setdefault(name, {})[kind] = self.rows[part].count()
        return counts

    def find(self, asked: str, notes: list[str] | None = None, meter: Meter | None = None) -> Attribute | None:
        """Find an attribute, by the name of a column of an imported file too; None if no item has it.

        An item's own value under the name asked for comes first. If no name is spelled so, one that differs in case
        only is taken, that of most values.
        """
        if asked in self.counts or asked in self.names:
            found = self._under([asked, self.names.get(asked, asked)], notes, meter)
            if found is not None:
                return found
        same = self._lowered.get(asked.lower(), ())
        best = max(same, key=lambda name: sum(self.counts.get(name, {}).values()), default=asked)
        return self._under([best, self.names.get(best, best)], notes, meter)

    @cached_property
    def _lowered(self) -> Mapping[str, Sequence[str]]:
        """Names by how they are spelled in small letters."""
        found: dict[str, list[str]] = {}
        for name in (*self.counts, *self.names):
            found.setdefault(name.lower(), []).append(name)
        return found

    def _under(
        self, names: Sequence[str], notes: list[str] | None = None, meter: Meter | None = None
    ) -> Attribute | None:
        parts: dict[str, list[pl.Expr]] = {}
        counts: Counter[str] = Counter()
        for name in dict.fromkeys(names):
            for kind, count in self.counts.get(name, {}).items():
                parts.setdefault(kind, []).append(pl.col(f"{kind}:{name}"))
                counts[kind] += count
        joined = {kind: _first(each) for kind, each in parts.items()}
        if not joined:
            return None
        return Attribute(tuple(names), self, joined, counts, [] if notes is None else notes, meter or Meter())

    def unknown(self, asked: str, *, hint: bool = True) -> str | None:
        """Say that no item has an attribute, and which one was perhaps meant; None where one has it."""
        if asked in FIELDS or self.find(asked) is not None:
            return None
        near = get_close_matches(asked, self._alike(asked), 1) if hint else []
        return f"no item has an attribute {asked!r}" + (f"; did you mean {near[0]!r}?" if near else "")

    def _alike(self, asked: str) -> Sequence[str]:
        """Choose a few names of about as many and the same letters: to compare all of many takes long."""
        letters = set(asked)
        names = dict.fromkeys((*self.counts, *self.names))
        return nlargest(ALIKE, names, key=lambda name: len(letters & set(name)) - abs(len(asked) - len(name)))

    @cached_property
    def lengths(self) -> Callable[[str], int]:
        """Count the steps in which one operation passes over the texts or lists of a part."""
        return lru_cache(partial(_length, self.rows))

    @cached_property
    def spells_whole(self) -> Callable[[str], bool]:
        """Whether the numbers that a part of texts spells are whole."""
        return lru_cache(partial(_spells_whole, self.rows))

    def namer(self, notes: list[str], meter: Meter) -> Column:
        """Make what finds the columns of a condition; it notes what no item has, and counts what reading takes."""

        def named(asked: str, place: int) -> Value:
            own = next((each for each in FIELDS if each == asked.lower()), None)
            if own is not None:
                return column(own, self.rows.schema[own], place)
            found = self.find(asked, notes, meter)
            if found is None:
                notes.append(self.unknown(asked, hint=len(notes) < MOST_HINTS) or "")
                return Value(pl.lit(None), NOTHING, place, asked)
            return Value(found.present, ANY, place, asked, readings=found)

        return named

    def column(self, asked: str, dtype: pl.DataType | None = None) -> pl.Series:
        """Values of an attribute as one type, that of most of them by default, (P,); nulls if no item has it."""
        if asked in FIELDS:
            return self.rows[asked]
        found = self.find(asked)
        if found is None:
            return pl.Series(asked, [None], dtype or TEXT).new_from_index(0, len(self.rows))
        read, _ = found.read(dtype or found.main)
        return self.rows.select(read.alias(asked)).to_series()

    def frame(self) -> pl.DataFrame:
        """All attributes by name, each of the type of most of its values, (P, ...)."""
        found = [self._under([name], None) for name in sorted(self.counts)]
        return self.rows.select(each.read(each.main)[0].alias(each.names[0]) for each in found if each is not None)

    def said(self, positions: Sequence[int], names: Sequence[str]) -> list[dict[str, Any]]:
        """Return what is told of some items under these names as it was put, objects as JSON; None for nothing."""
        rows = self.rows[list(positions)]
        columns = {name: self._said(rows, name) for name in names}
        return [{name: values[n] for name, values in columns.items()} for n in range(len(rows))]

    def _said(self, rows: pl.DataFrame, name: str) -> list[Any]:
        if name in FIELDS:
            return rows[name].to_list()
        found = self.find(name)
        said: list[Any] = [None] * len(rows)
        for part in () if found is None else found.parts.values():
            values = rows.select(part).to_series().to_list()
            said = [new if old is None else old for old, new in zip(said, values, strict=True)]
        return said

    @cached_property
    def odd(self) -> int:
        """Values that columns leave out, since they are neither of the type of most of the attribute nor read so."""
        mixed = [name for name, kinds in self.counts.items() if len(kinds) > 1]
        return sum(found.odd for name in mixed if (found := self.find(name)) is not None)


@dataclass(frozen=True, eq=False)
class Attribute:
    """An attribute by the parts of its values: an expression over the rows, and how many there are, of each kind.

    notes  what it was read as though no item has such a value; meter: counts what reading takes
    """

    names: tuple[str, ...]
    told: Attributes = field(repr=False)
    parts: Mapping[str, pl.Expr] = field(repr=False)
    counts: Mapping[str, int]
    notes: list[str] = field(default_factory=list)
    meter: Meter = field(default_factory=Meter)

    @cached_property
    def main(self) -> pl.DataType:
        """Type of most values: LISTS, REAL, TRUTH or TEXT."""
        votes = dict.fromkeys(TYPE_OF.values(), 0)
        for kind, count in self.counts.items():
            votes[TYPE_OF[kind]] += count
        return max(votes, key=votes.__getitem__)

    @property
    def lists(self) -> bool:
        """Whether an item has a list."""
        return "list" in self.parts

    @property
    def odd(self) -> int:
        """Values that the column leaves out, since they are neither of its type nor read as it."""
        column, _ = self.read(self.main)
        return sum(self.counts.values()) - int(self.told.rows.select(column.count()).item())

    @property
    def present(self) -> pl.Expr:
        """True for each item that has a value, null for the others."""
        return pl.when(pl.any_horizontal(part.is_not_null() for part in self.parts.values())).then(True)

    def read(self, dtype: pl.DataType) -> tuple[pl.Expr, pl.DataType]:
        """Read the values as LISTS, REAL, WHOLE, TRUTH or TEXT, null where that loses something; and the type.

        Text reads as the number or the truth that it spells; anything reads as text, as JSON spells it, and as a list
        of itself. What is read as REAL is WHOLE where all numbers are.
        """
        wanted = dtype if dtype in CALLED else TEXT
        for kind in self.parts:
            length = sum(self.told.lengths(f"{kind}:{name}") for name in dict.fromkeys(self.names))
            self.meter.read(kind, wanted, length)
        if not any(TYPE_OF[kind] == (REAL if wanted == WHOLE else wanted) for kind in self.parts):
            self.notes.append(f"{self.names[0]!r} is {CALLED[wanted]} of no item")
        if wanted in (REAL, WHOLE):
            if wanted == REAL and not self._whole:
                return _first([part.cast(REAL) for _, part in self._numbers()], REAL), REAL
            return _first([part if kind == "whole" else whole(part) for kind, part in self._numbers()], WHOLE), WHOLE
        if wanted == TRUTH:
            return _first(self._truths(), TRUTH), TRUTH
        if wanted == LISTS:
            return _first(_as_list(kind, part) for kind, part in self.parts.items()), LISTS
        return _first(_as_text(kind, part) for kind, part in self.parts.items()), TEXT

    @cached_property
    def _whole(self) -> bool:
        """Whether all numbers are whole."""
        if "real" in self.parts or "text" not in self.parts:
            return "real" not in self.parts
        parts = [f"text:{name}" for name in self.names]
        return all(self.told.spells_whole(part) for part in parts if part in self.told.rows)

    def _numbers(self) -> Iterator[tuple[str, pl.Expr]]:
        yield from ((kind, self.parts[kind]) for kind in ("whole", "real") if kind in self.parts)
        if "text" in self.parts:
            yield "text", _as_number(self.parts["text"])

    def _truths(self) -> Iterator[pl.Expr]:
        if "truth" in self.parts:
            yield self.parts["truth"]
        if "text" in self.parts:
            yield self.parts["text"].replace_strict(TRUTHS, default=None, return_dtype=TRUTH)


def _length(rows: pl.DataFrame, part: str) -> int:
    kind = part.partition(":")[0]
    if part not in rows or kind not in WRITTEN:
        return 0
    if kind == "list":
        return A_VALUE * int(rows[part].list.len().sum() or 0)
    return int(rows[part].estimated_size()) // BYTES


def _spells_whole(rows: pl.DataFrame, part: str) -> bool:
    for block in rows.select(part).iter_slices(BLOCK):
        still_wanted()
        if not block.select((_as_number(pl.col(part)) % 1 == 0).all()).item():
            return False
    return True


def _first(parts: Iterable[pl.Expr], dtype: pl.DataType = TEXT) -> pl.Expr:
    """Return the first that is known of the parts, row by row."""
    found = list(parts)
    return found[0] if len(found) == 1 else pl.coalesce(found) if found else pl.lit(None, dtype)


def _as_number(text: pl.Expr) -> pl.Expr:
    number = text.cast(REAL, strict=False)
    return pl.when(number.is_finite()).then(number)


def _as_list(kind: str, part: pl.Expr) -> pl.Expr:
    return part if kind == "list" else pl.when(part.is_not_null()).then(pl.concat_list(_as_text(kind, part)))


def _as_text(kind: str, part: pl.Expr) -> pl.Expr:
    if kind != "list":
        return part.cast(TEXT)
    coded = pl.struct(part.alias("_")).struct.json_encode().str.strip_prefix('{"_":').str.strip_suffix("}")
    return pl.when(part.is_not_null()).then(coded)
