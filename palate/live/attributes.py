"""Attributes of items: JSON in, columns out that can be read as any type.

An attribute is kept as one part for each kind of value it has somewhere, under the name `kind:name`. So a merge of
changed rows gives the same as reading all again, also when the last value of a kind goes; and a value of another kind
than the rest is neither lost nor in the way of the rest. A part that few items have takes no room for the others.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl

from palate.arrays import Bools, Longs
from palate.store.items import decoded, kind_of

KINDS: dict[str, pl.DataType] = {
    "whole": pl.Int64(),
    "real": pl.Float64(),
    "truth": pl.Boolean(),
    "text": pl.String(),
    "list": pl.List(pl.String()),
    "object": pl.String(),  # as JSON; also numbers beyond all floats
}
ITEMS = pl.Schema({"item_no": pl.Int64, "item_id": pl.String, "available": pl.Boolean, "created": pl.Int64})
BLOCK = 1 << 16  # rows decoded at once, and copied when one of them changes
FEW = 64  # changes that are put in their places one by one
MANY = 4  # a part becomes a column once one item of so many has it, and is none when less than half as many have
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
            for part, values in _decoded(block, known).items():
                found.setdefault(part, []).append(values)
        return cls(rows.select(list(ITEMS)), {part: pl.concat(each) for part, each in found.items()})

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
            parts.setdefault(_kind(part), []).append(part)
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
    def counts(self) -> Mapping[str, int]:
        """Number of values of each part."""
        dense = {part: self.rows[part].count() for part in self.rows.columns if part not in ITEMS}
        return dense | {part: len(values) for part, values in self.sparse.items()}

    def values(self, part: str) -> pl.Series:
        """Values of a part, of no order; there may be nulls."""
        return self.sparse[part]["value"] if part in self.sparse else self.rows[part]

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
        made = [_spread(self._few(part), numbers).alias(part) for part in asked if part not in rows.columns]
        return rows.hstack(made)[asked]

    def merged(self, new: Table) -> Table:
        """Return it with the items of another, in the place of those of their numbers."""
        if not len(new):
            return self
        dense = [part for part in self.rows.columns if part not in ITEMS]
        rows = _merged(self.rows, new.at([*ITEMS, *dense]), new.numbers)
        sparse = {
            part: _merged(self._few(part), new._few(part), new.numbers)
            for part in dict.fromkeys([*self.sparse, *new.counts])
            if part not in rows.columns
        }
        return Table(rows, {part: values for part, values in sparse.items() if len(values)})._balanced()

    def _balanced(self) -> Table:
        """Return it with each part as a column if many items have it, else without."""
        counts, size = self.counts, len(self)
        dense = [
            part for part, count in counts.items() if count * MANY * (1 if part in self.sparse else 2) >= size > 0
        ]
        if len(dense) == self.rows.width - len(ITEMS) and not any(part in self.sparse for part in dense):
            return self
        few = {part: self._few(part) for part, count in counts.items() if count and part not in dense}
        return Table(_blocked(self.at([*ITEMS, *dense])), few)

    def _few(self, part: str) -> pl.DataFrame:
        """Return the items that have a part, and its values."""
        if part in self.rows.columns:
            return self.rows.select("item_no", value=part).drop_nulls("value")
        return self.sparse[part] if part in self.sparse else _nothing(part)


def _kind(part: str) -> str:
    return part.partition(":")[0]


def _nothing(part: str) -> pl.DataFrame:
    return pl.DataFrame(schema={"item_no": pl.Int64, "value": KINDS[_kind(part)]})


def _spread(values: pl.DataFrame, numbers: Longs) -> pl.Series:
    """Return the values of the items of these numbers, which ascend, null where there is none."""
    every = values["item_no"].to_numpy()
    ends = np.searchsorted(every, numbers[[0, -1]] + [0, 1]) if len(numbers) else [0, 0]
    near = slice(*map(int, ends))  # of the values that may be copied below
    own, value = every[near], values["value"][near]
    if np.array_equal(own, numbers):
        return value
    nothing = pl.Series([None], dtype=value.dtype)
    there, place = _matched(own, numbers)
    if not len(there):
        return nothing.new_from_index(0, len(numbers))
    index = np.full(len(numbers), len(own))  # of the null behind all values
    index[place] = there
    return pl.concat([value, nothing], rechunk=True)[index]


def _matched(a: Longs, b: Longs) -> tuple[Longs, Longs]:
    """Where the numbers stand that both have; both ascend. The shorter is looked up in the longer."""
    if len(a) > len(b):
        in_b, in_a = _matched(b, a)
        return in_a, in_b
    if not len(a):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    place = np.minimum(np.searchsorted(b, a), len(b) - 1)
    there = np.flatnonzero(b[place] == a)
    return there, place[there]


def _merged(old: pl.DataFrame, new: pl.DataFrame, changed: Longs) -> pl.DataFrame:
    """Return the old rows but for those of the numbers that changed, and the new ones, ascending by `item_no`.

    Only the blocks where something changes are copied.
    """
    own, fresh = old["item_no"].to_numpy(), new["item_no"].to_numpy()
    if not len(own):
        return new
    if not len(fresh) and not _among(changed, own).any():
        return old
    starts = _starts(old)
    blocks = [np.searchsorted(own[starts[1:-1]], numbers, side="right") for numbers in (changed, fresh)]
    pieces, done = [], 0
    for block in np.unique(blocks[0]).tolist():
        low, high = int(starts[block]), int(starts[block + 1])
        gone, came = (slice(*np.searchsorted(each, [block, block + 1]).tolist()) for each in blocks)
        pieces += [old[done:low], _blocked(_woven(old[low:high], new[came], changed[gone]))]
        done = high
    found = pl.concat([*pieces, old[done:]], rechunk=False)
    return found if found.n_chunks() <= 8 + 2 * len(found) // BLOCK else _blocked(found)


def _woven(old: pl.DataFrame, new: pl.DataFrame, changed: Longs) -> pl.DataFrame:
    own, fresh = old["item_no"].to_numpy(), new["item_no"].to_numpy()
    if len(changed) > FEW:
        stays = ~_among(own, changed)
        return pl.concat([old.filter(stays), new]).sort("item_no")
    places = [np.searchsorted(numbers, changed, side=side) for numbers in (own, fresh) for side in ("left", "right")]
    pieces, done = [], 0
    for low, high, begin, end in zip(*(place.tolist() for place in places), strict=True):
        pieces += [old[done:low], new[begin:end]]
        done = high
    return pl.concat([*pieces, old[done:]], rechunk=True)


def _among(numbers: Longs, others: Longs) -> Bools:
    """Whether numbers are among others, which ascend and are some."""
    return np.equal(others[np.minimum(np.searchsorted(others, numbers), len(others) - 1)], numbers)


def _starts(rows: pl.DataFrame) -> Longs:
    """Where the blocks of rows begin, and where the last ends."""
    starts: list[int] = []
    end = 0
    for length in rows["item_no"].chunk_lengths():
        starts += range(end, end + length, BLOCK)
        end += length
    return np.array([*starts, end], np.int64)


def _blocked(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the rows, each block in a piece of memory of its own."""
    if len(rows) <= BLOCK and rows.n_chunks() == 1:
        return rows
    return pl.concat([block.rechunk() for block in rows.iter_slices(BLOCK)] or [rows], rechunk=False)


def _decoded(rows: pl.DataFrame, known: Collection[str] | None) -> dict[str, pl.DataFrame]:
    found: dict[tuple[str, str], tuple[list[int], list[Any]]] = {}
    for number, text in zip(rows["item_no"].to_list(), rows["attributes"], strict=True):
        for name, value in decoded(text).items():
            if value is None:
                continue
            kind = kind_of(value)
            if known is None or f"{kind}:{name}" in known:
                pairs = found.get((kind, name))
                if pairs is None:
                    pairs = found[kind, name] = [], []
                numbers, values = pairs
                numbers.append(number)
                values.append(_plain(kind, value))
    return {
        f"{kind}:{name}": pl.DataFrame(
            {"item_no": pl.Series(numbers, dtype=pl.Int64), "value": _series(kind, values)}
        )
        for (kind, name), (numbers, values) in found.items()
    }


def _series(kind: str, values: list[Any]) -> pl.Series:
    if kind == "list":
        return pl.Series(values, dtype=pl.String).str.json_decode(KINDS[kind])  # much faster than from lists
    return pl.Series(values, dtype=KINDS[kind])


def _plain(kind: str, value: Any) -> Any:
    """Return a value of a kind as it is kept."""
    if kind == "real":
        return float(value)
    if kind == "list":
        return _json([each if isinstance(each, str) else _json(each) for each in value if each is not None])
    return _json(value) if kind == "object" else value


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
