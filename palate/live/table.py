"""Items with their attributes as columns, those that few items have as pairs.

An attribute is kept as one part for each kind of value it has somewhere, under the name `kind:name`. So a merge of
changed rows gives the same as reading all again, also when the last value of a kind goes; and a value of another kind
than the rest is neither lost nor in the way of the rest. A part that few items have takes no room for the others.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from zlib import crc32

import numpy as np
import polars as pl

from palate.arrays import Bools, Longs
from palate.live.merging import BLOCK, blocked, matched, merged, spread
from palate.live.parts import KINDS, kind_of_part, nothing, parts_of

ITEMS = pl.Schema({"item_no": pl.Int64, "item_id": pl.String, "available": pl.Boolean, "created": pl.Int64})
MANY = 4  # a part becomes a column once one item in MANY has it, and is none when less than half as many have
ALL = slice(None)


@dataclass(frozen=True, eq=False)
class Table:
    """P items in the order of their numbers, with their attributes. It never changes.

    rows    item_no, item_id, available, created, and the parts that many items have, null for the others (P, ...)
    sparse  the parts that few items have: item_no, ascending, and value (N, 2)
    """

    rows: pl.DataFrame = field(default_factory=ITEMS.to_frame, repr=False)
    sparse: Mapping[str, pl.DataFrame] = field(default_factory=dict, repr=False)

    @classmethod
    def decoded(cls, rows: pl.DataFrame, known: Collection[str] | None = None) -> Table:
        """Read the column `attributes` (JSON objects) of items.

        known  the only parts that are read; None: all
        """
        found: dict[str, list[pl.DataFrame]] = {}
        for block in rows.iter_slices(BLOCK):
            for part, values in parts_of(block, known).items():
                found.setdefault(part, []).append(values)
        return cls(rows[list(ITEMS)], {part: pl.concat(each) for part, each in found.items()})

    @classmethod
    def unpacked(cls, frames: Mapping[str, pl.DataFrame]) -> Table:
        """Return the table that was packed as these frames."""
        sparse = {
            part: pl.DataFrame({"item_no": numbers, "value": values})
            for kind in KINDS
            if kind in frames
            for part, numbers, values in zip(*frames[kind].get_columns(), strict=True)
        }
        return cls(frames["rows"], sparse)

    def packed(self) -> dict[str, pl.DataFrame]:
        """Return it as few frames: `rows`, and of each kind its sparse parts, one a row."""
        parts: dict[str, list[str]] = {}
        for part in self.sparse:
            parts.setdefault(kind_of_part(part), []).append(part)
        return {"rows": self.rows} | {kind: self._packed(kind, each) for kind, each in parts.items()}

    def _packed(self, kind: str, parts: list[str]) -> pl.DataFrame:
        columns = {"item_no": pl.Int64(), "value": KINDS[kind]}
        lists = [
            pl.Series(name, [self.sparse[part][name] for part in parts], dtype=pl.List(dtype))
            for name, dtype in columns.items()
        ]
        return pl.DataFrame([pl.Series("part", parts), *lists])

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def numbers(self) -> Longs:
        """The store's numbers of the items, (P,), ascending."""
        return self.rows["item_no"].to_numpy()

    @cached_property
    def available(self) -> Bools:
        """Whether items can be had: available and not removed, (P,), read-only."""
        return fixed(self.rows["available"].to_numpy())

    @cached_property
    def counts(self) -> Mapping[str, int]:
        """Number of values of each part."""
        dense = {part: self.rows[part].count() for part in self.rows.columns if part not in ITEMS}
        return dense | {part: len(values) for part, values in self.sparse.items()}

    def values(self, part: str) -> pl.Series:
        """Values of a part, of no order; there may be nulls."""
        return self.sparse[part]["value"] if part in self.sparse else self.rows[part]

    def gathered(self, parts: Iterable[str]) -> pl.DataFrame:
        """Return item_no and value of some parts of one kind, at least one, part after part."""
        return pl.concat(map(self._few, parts))

    def having(self, parts: Iterable[str]) -> Longs | None:
        """Positions of the items that have one of these parts, ascending; None where many have."""
        asked = list(parts)
        if any(part in self.rows.columns for part in asked):
            return None
        there = np.zeros(len(self), np.bool_)  # far faster than to sort the numbers
        for part in asked:
            there[np.searchsorted(self.numbers, self._few(part)["item_no"].to_numpy())] = True
        return np.flatnonzero(there)

    def at(self, parts: Iterable[str], where: slice | Longs = ALL) -> pl.DataFrame:
        """Return item_no and these parts, as columns, of the items at some positions, which ascend, (N, ...)."""
        asked = list(dict.fromkeys(["item_no", *parts]))
        rows = self.rows[[part for part in asked if part in self.rows.columns]][where]
        if rows.width == len(asked):
            return rows
        numbers = rows["item_no"].to_numpy()
        made = [spread(self._few(part), numbers).alias(part) for part in asked if part not in rows.columns]
        return rows.hstack(made)[asked]

    def merged(self, new: Table) -> Table:
        """Return it with the items of another, in the place of those of their numbers."""
        if not len(new):
            return self
        dense = [part for part in self.rows.columns if part not in ITEMS]
        rows = merged(self.rows, self.numbers, new.at([*ITEMS, *dense]), new.numbers)
        came = {part: new._few(part) for part in new.counts if part not in rows.columns}
        gone = self._held_by(new.numbers)
        sparse = dict(self.sparse)
        for part in dict.fromkeys([*came, *(part for part in sparse if code(part) in gone)]):
            old, its = self._few(part), came.get(part)
            values = merged(old, old["item_no"].to_numpy(), nothing(part) if its is None else its, new.numbers)
            if len(values):
                sparse[part] = values
            else:
                sparse.pop(part)
        held = merged(self._held, self._held["item_no"].to_numpy(), _held(came), new.numbers)
        unbalanced = Table(rows, sparse)
        found = unbalanced._balanced()
        if found is unbalanced:
            vars(found)["_held"] = held
        if len(found) == len(self):  # all were there before
            vars(found).update(numbers=self.numbers, available=self._available_after(new))
        elif len(self) and new.numbers[0] > self.numbers[-1]:  # none was
            available = fixed(np.concatenate([self.available, new.available]))
            vars(found).update(numbers=np.concatenate([self.numbers, new.numbers]), available=available)
        return found

    @cached_property
    def _held(self) -> pl.DataFrame:
        """Which sparse parts items have: item_no, ascending, and value, their codes."""
        return _held(self.sparse)

    def _held_by(self, numbers: Longs) -> set[int]:
        """Codes of the sparse parts that items have, by their numbers, which ascend."""
        there, _ = matched(self._held["item_no"].to_numpy(), numbers)
        return set(self._held["value"][there].explode().to_list())

    def _available_after(self, new: Table) -> Bools:
        """Return `available` with the items of another table, each of which is here; itself where it is the same."""
        place = np.searchsorted(self.numbers, new.numbers)
        if np.array_equal(self.available[place], new.available):
            return self.available
        available = self.available.copy()
        available[place] = new.available
        return fixed(available)

    def _balanced(self) -> Table:
        """Return it with each part as a column if many items have it, else without."""
        counts, size = self.counts, len(self)
        dense = [
            part for part, count in counts.items() if count * MANY * (1 if part in self.sparse else 2) >= size > 0
        ]
        if len(dense) == self.rows.width - len(ITEMS) and not any(part in self.sparse for part in dense):
            return self
        few = {part: self._few(part) for part, count in counts.items() if count and part not in dense}
        return Table(blocked(self.at([*ITEMS, *dense])), few)

    def _few(self, part: str) -> pl.DataFrame:
        """Return the items that have a part, and its values."""
        if part in self.rows.columns:
            numbers, values = self.rows["item_no"], self.rows[part].rename("value")
            return pl.DataFrame([numbers, values]).filter(values.is_not_null())
        return self.sparse[part] if part in self.sparse else nothing(part)


def code(part: str) -> int:
    """Return a number that stands for a part; two may share one."""
    return crc32(part.encode())


def _held(sparse: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    if not sparse:
        return pl.DataFrame(schema={"item_no": pl.Int64, "value": pl.List(pl.UInt32)})
    numbers = pl.concat(values["item_no"] for values in sparse.values())
    codes = np.repeat(np.array(list(map(code, sparse)), np.uint32), [len(values) for values in sparse.values()])
    return pl.DataFrame({"item_no": numbers, "value": codes}).group_by("item_no").agg("value").sort("item_no")


def fixed(mask: Bools) -> Bools:
    """Make a mask read-only."""
    mask.setflags(write=False)
    return mask
