"""An attribute read as any type: the values that fit it, whatever kinds the others are of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import polars as pl

from palate.conditions.effort import Meter
from palate.conditions.values import LISTS, REAL, TEXT, TRUTH, WHOLE, whole
from palate.live.patience import still_wanted
from palate.live.table import Table

# What most values of an attribute are is the type of its column; of as many, the first of these.
TYPE_OF = {"list": LISTS, "whole": REAL, "real": REAL, "truth": TRUTH, "text": TEXT, "object": TEXT}
CALLED = {LISTS: "a list", REAL: "a number", WHOLE: "a number", TRUTH: "true or false", TEXT: "text"}
TRUTHS = {"true": True, "false": False}


class Source(Protocol):
    """What an attribute is read from."""

    @property
    def table(self) -> Table:
        """Return the items with their parts."""

    @property
    def lengths(self) -> Callable[[str], int]:
        """Count the steps in which one operation passes over the texts or lists of a part."""

    @property
    def spells_whole(self) -> Callable[[str], bool]:
        """Whether the numbers that a part of texts spells are whole."""


@dataclass(frozen=True, eq=False)
class Attribute:
    """An attribute by the parts of its values, the first of which comes first, and how many there are, of each kind.

    notes  what it was read as though no item has such a value; meter: counts what reading takes
    """

    name: str
    attributes: Source = field(repr=False)
    named: Mapping[str, Sequence[str]]
    counts: Mapping[str, int]
    notes: list[str] = field(default_factory=list)
    meter: Meter = field(default_factory=Meter)

    @cached_property
    def parts(self) -> Mapping[str, pl.Expr]:
        """Its values of each kind."""
        return {kind: _first(map(pl.col, names)) for kind, names in self.named.items()}

    @property
    def columns(self) -> list[str]:
        """The columns that it is read from."""
        return [part for names in self.named.values() for part in names]

    @cached_property
    def main(self) -> pl.DataType:
        """Type of most values: LISTS, REAL, TRUTH or TEXT."""
        return main_type(self.counts)

    @property
    def lists(self) -> bool:
        """Whether an item has a list."""
        return "list" in self.parts

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
        for kind, parts in self.named.items():
            self.meter.read(kind, wanted, sum(map(self.attributes.lengths, parts)))
        if not any(TYPE_OF[kind] == (REAL if wanted == WHOLE else wanted) for kind in self.parts):
            self.notes.append(f"{self.name!r} is {CALLED[wanted]} of no item")
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
        return all(map(self.attributes.spells_whole, self.named["text"]))

    def _numbers(self) -> Iterator[tuple[str, pl.Expr]]:
        yield from ((kind, self.parts[kind]) for kind in ("whole", "real") if kind in self.parts)
        if "text" in self.parts:
            yield "text", _as_number(self.parts["text"])

    def _truths(self) -> Iterator[pl.Expr]:
        if "truth" in self.parts:
            yield self.parts["truth"]
        if "text" in self.parts:
            yield _as_truth(self.parts["text"])


def main_type(counts: Mapping[str, int]) -> pl.DataType:
    """Type of most of the values that there are of each kind: LISTS, REAL, TRUTH or TEXT."""
    votes = dict.fromkeys(TYPE_OF.values(), 0)
    for kind, count in counts.items():
        votes[TYPE_OF[kind]] += count
    return max(votes, key=votes.__getitem__)


def may_read(kind: str, dtype: pl.DataType) -> bool:
    """Whether values of a kind read as LISTS, REAL, TRUTH or TEXT: texts as those of `SPELLED` that they spell."""
    return dtype in (LISTS, TEXT) or kind == "text" or TYPE_OF[kind] == dtype


def spells_whole(table: Table, part: str) -> bool:
    """Whether the numbers that a part of texts spells are whole."""
    return not table.total(_fractions, part)


def _fractions(texts: pl.Series) -> int:
    """Count the numbers that are not whole."""
    still_wanted()
    return int(texts.to_frame("text").select((_as_number(pl.col("text")) % 1 != 0).sum()).item())


def _first(parts: Iterable[pl.Expr], dtype: pl.DataType = TEXT) -> pl.Expr:
    """Return the first that is known of the parts, row by row."""
    found = list(parts)
    return found[0] if len(found) == 1 else pl.coalesce(found) if found else pl.lit(None, dtype)


def _as_number(text: pl.Expr) -> pl.Expr:
    number = text.cast(REAL, strict=False)
    return pl.when(number.is_finite()).then(number)


def _as_truth(text: pl.Expr) -> pl.Expr:
    return text.replace_strict(TRUTHS, default=None, return_dtype=TRUTH)


SPELLED = {REAL: _as_number, TRUTH: _as_truth}  # what texts are read as by their spelling


def _as_list(kind: str, part: pl.Expr) -> pl.Expr:
    return part if kind == "list" else pl.when(part.is_not_null()).then(pl.concat_list(_as_text(kind, part)))


def _as_text(kind: str, part: pl.Expr) -> pl.Expr:
    if kind != "list":
        return part.cast(TEXT)
    coded = pl.struct(part.alias("_")).struct.json_encode().str.strip_prefix('{"_":').str.strip_suffix("}")
    return pl.when(part.is_not_null()).then(coded)
