"""Items with their attributes as columns, those that few items have as pairs.

An attribute is kept as one part for each kind of value it has somewhere, under the name `kind:name`. So a merge of
changed rows gives the same as reading all again, also when the last value of a kind goes; and a value of another kind
than the rest is neither lost nor in the way of the rest. A part that few items have takes no room for the others.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import polars as pl

from palate.arrays import Bools, Longs
from palate.live.blocks import Blocks, Total
from palate.live.held import NOTHING, code, held_parts
from palate.live.numbers import matched, spread
from palate.live.parts import nothing, parts_of

READ = 1 << 14  # rows that are decoded at once
ITEMS = pl.Schema({"item_no": pl.Int64, "item_id": pl.String, "available": pl.Boolean, "created": pl.Int64})
MANY = 4  # a part becomes a column once one item in MANY has it, and is none when less than half as many have
ALL = slice(None)


@dataclass(frozen=True, eq=False)
class Table:
    """P items in the order of their numbers, with their attributes. It never changes.

    rows    item_no, item_id, available, created, and the parts that many items have, null for the others (P, ...)
    sparse  the parts that few items have: item_no, ascending, and value (N, 2)
    """

    rows: Blocks = field(default_factory=lambda: Blocks.of(ITEMS.to_frame()), repr=False)
    sparse: Mapping[str, Blocks] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, rows: pl.DataFrame, sparse: Mapping[str, pl.DataFrame]) -> Table:
        """Make it of frames."""
        return cls(Blocks.of(rows), {part: Blocks.of(values) for part, values in sparse.items()})

    @classmethod
    def decoded(cls, rows: pl.DataFrame, known: Collection[str] | None = None) -> Table:
        """Read the column `attributes` (JSON objects) of items.

        known  the only parts that are read; None: all
        """
        found: dict[str, list[pl.DataFrame]] = {}
        for block in rows.iter_slices(READ):
            for part, values in parts_of(block, known).items():
                found.setdefault(part, []).append(values)
        return cls.of(rows[list(ITEMS)], {part: pl.concat(each) for part, each in found.items()})

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def numbers(self) -> Longs:
        """The store's numbers of the items, (P,), ascending."""
        return self.rows.frame["item_no"].to_numpy()

    @cached_property
    def available(self) -> Bools:
        """Whether items can be had: available and not removed, (P,), read-only."""
        return fixed(self.rows.frame["available"].to_numpy())

    @cached_property
    def counts(self) -> Mapping[str, int]:
        """Number of values of each part."""
        dense = {part: self.rows.total(pl.Series.count, part) for part in self.rows.columns if part not in ITEMS}
        return dense | {part: len(values) for part, values in self.sparse.items()}

    def values(self, part: str) -> pl.Series:
        """Values of a part, of no order; there may be nulls."""
        return self.sparse[part].frame["value"] if part in self.sparse else self.rows.frame[part]

    def total(self, of: Total, part: str) -> int:
        """Total of the values of a part; only what was not worked out before the items changed last is."""
        return self.sparse[part].total(of, "value") if part in self.sparse else self.rows.total(of, part)

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
        dense = [part for part in asked if part in self.rows.columns]
        rows = self.rows.at(dense, where)
        if len(dense) == len(asked):
            return rows
        numbers = rows["item_no"].to_numpy()
        made = [spread(self._near(part, numbers), numbers).alias(part) for part in asked if part not in dense]
        return rows.hstack(made)[asked]

    def merged(self, new: Table) -> Table:
        """Return it with the items of another, in the place of those of their numbers."""
        if not len(new):
            return self
        dense = [part for part in self.rows.columns if part not in ITEMS]
        rows = self.rows.merged(new.at([*ITEMS, *dense]), new.numbers)
        came = {part: new._few(part) for part in new.counts if part not in rows.columns}
        gone = self._held_by(new.numbers)
        sparse = dict(self.sparse)
        for part in dict.fromkeys([*came, *(part for part in sparse if code(part) in gone)]):
            old, its = self.sparse.get(part, NOTHING), came.get(part)
            values = old.merged(nothing(part) if its is None else its, new.numbers)
            if len(values):
                sparse[part] = values
            else:
                sparse.pop(part)
        held = self._held.merged(held_parts(came), new.numbers)
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

    def stands_in(self, merged: Table, numbers: Longs) -> bool:
        """Whether the items are at their positions after a merge of items of these numbers: new ones came behind."""
        behind = np.count_nonzero(numbers > self.numbers[-1]) if len(self) else len(merged)
        return len(merged) - len(self) == behind

    def same_totals(self, later: Table) -> bool:
        """Whether a later table has the same parts, and the same totals as far as they were asked for."""
        same = self.rows.same_totals(later.rows) and list(self.sparse) == list(later.sparse)
        pairs = zip(self.sparse.values(), later.sparse.values(), strict=False)
        return same and all(one is other or one.same_totals(other) for one, other in pairs)

    @cached_property
    def _held(self) -> Blocks:
        """Which sparse parts items have: item_no, ascending, and value, their codes."""
        return Blocks.of(held_parts({part: values.frame for part, values in self.sparse.items()}))

    def _held_by(self, numbers: Longs) -> set[int]:
        """Codes of the sparse parts that items have, by their numbers, which ascend."""
        near = self._held.near(numbers)
        there, _ = matched(near["item_no"].to_numpy(), numbers)
        return set(near["value"][there].explode().to_list()) if len(there) else set()

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
        if len(dense) == len(self.rows.columns) - len(ITEMS) and not any(part in self.sparse for part in dense):
            return self
        few = {part: self._few(part) for part, count in counts.items() if count and part not in dense}
        return Table.of(self.at([*ITEMS, *dense]), few)

    def _few(self, part: str) -> pl.DataFrame:
        """Return the items that have a part, and its values."""
        if part in self.rows.columns:
            numbers, values = self.rows.frame["item_no"], self.rows.frame[part].rename("value")
            return pl.DataFrame([numbers, values]).filter(values.is_not_null())
        return self.sparse[part].frame if part in self.sparse else nothing(part)

    def _near(self, part: str, numbers: Longs) -> pl.DataFrame:
        """Return the items that have a sparse part, and its values: at least those of these numbers, which ascend."""
        return self.sparse[part].near(numbers) if part in self.sparse else nothing(part)


def fixed(mask: Bools) -> Bools:
    """Make a mask read-only."""
    mask.setflags(write=False)
    return mask
