"""The items of a store in memory: attributes as columns, conditions as masks; refreshed by what changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache, partial
from typing import NamedTuple

import numpy as np
import polars as pl

from palate.arrays import Bools, Longs
from palate.data.catalogue import Catalogue
from palate.data.columns import CATALOGUE, plain
from palate.data.vocabulary import Vocabulary
from palate.live.attributes import decode, parts_of, trim
from palate.live.conditions import Cost, compile_over
from palate.live.kept import Kept
from palate.live.readings import Attributes
from palate.ranking.context import Labels
from palate.store.events import Store
from palate.store.items import FIELDS, SCHEMA

MOST_RUNS = 256  # copied as they are, which is faster than row by row while they are few
MOST_STEPS = 1_000_000_000  # operations by items, and by bytes of their texts
BLANK = 10  # steps a byte that a letter left open in a pattern takes
MASKS = 256  # kept at most
MASK_BYTES = 1 << 27  # of masks kept, all together


class Met(NamedTuple):
    """Where a condition holds, (P,), and what is odd about it: names that no item has, types that no value has."""

    mask: Bools
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class LiveCatalogue:
    """P items as they were at one moment, at positions 0 to P - 1 in the order of their numbers. It never changes.

    rows    what is told of the items: columns item_no, item_id, available, created, and parts of attributes
    change  the store's counter of changes of items at that moment
    names   of attributes by the names that columns of imported files had
    """

    rows: pl.DataFrame = field(repr=False)
    change: int
    names: Mapping[str, str] = field(repr=False, default_factory=dict)

    @classmethod
    def load(cls, store: Store, kept: Kept | None = None) -> LiveCatalogue:
        """Read all items of a store, removed ones too: events speak of them; or what changed since it was kept.

        What is told of removed items is not read.
        """
        names = store.items.column_names()
        before = cls(_rows_of(SCHEMA.to_frame()), 0, names) if kept is None else cls(kept.rows, kept.change, names)
        return before.refreshed(store)

    def refreshed(self, store: Store) -> LiveCatalogue:
        """Return the catalogue as the store has it now, itself if nothing changed; only what changed is read."""
        changed, change = store.items.changed(self.change)
        if change == self.change:
            return self
        return LiveCatalogue(_merged(self.rows, _rows_of(changed)), change, store.items.column_names())

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def ids(self) -> pl.Series:
        """Ids by position, (P,)."""
        return self.rows["item_id"]

    @cached_property
    def numbers(self) -> Longs:
        """The store's numbers of the items by position, (P,), ascending."""
        return self.rows["item_no"].to_numpy()

    @cached_property
    def available(self) -> Bools:
        """Whether items can be had: available and not removed, (P,)."""
        return _fixed(self.rows["available"])

    @cached_property
    def created(self) -> Longs:
        """When items were first seen, microseconds since 1970 UTC, (P,)."""
        return self.rows["created"].to_numpy()

    @cached_property
    def frame(self) -> pl.DataFrame:
        """What is told, (P, ...): item_id, available, and the attributes by name, of the type of most values."""
        return self.rows.select(FIELDS).hstack(self.attributes.frame())

    @cached_property
    def attributes(self) -> Attributes:
        """What is told of the items, to be read as any type."""
        return Attributes(self.rows, self.names)

    def mask(self, condition: str) -> Bools:
        """Whether a condition holds, (P,), read-only; not where it is unknown. Raises `ConditionError`."""
        return self.met(condition).mask

    def met(self, condition: str) -> Met:
        """Return the same with what is odd about the condition."""
        return self._met(condition)

    @cached_property
    def _met(self) -> Callable[[str], Met]:
        # Of the attributes, not of self: a cycle of references would keep every old catalogue for a while.
        most = max(1, min(MASKS, MASK_BYTES // max(1, len(self))))
        return lru_cache(most)(partial(_masked, self.attributes))

    def notes(self, condition: str) -> tuple[str, ...]:
        """Say what is odd about a condition: names that no item has, types that no value has."""
        return self.met(condition).notes

    def unknown(self, attribute: str) -> str | None:
        """Say that no item has an attribute, and which one was perhaps meant; None where one has it."""
        return self.attributes.unknown(attribute)

    def told(self, positions: Longs | None = None) -> Catalogue:
        """Return what is told of some items, or of all, with the usual attributes under the names of their roles."""
        frame = self.frame if positions is None else self.frame[positions]
        renamed = {}
        for role, aliases in CATALOGUE.items():
            same = [name for name in frame.columns if plain(name) in aliases]
            if role not in ("item", *frame.columns) and len(same) == 1:
                renamed[same[0]] = role
        return Catalogue(Vocabulary(frame["item_id"]), frame.rename(renamed))

    def values(self, attribute: str) -> Labels:
        """Values of an attribute as codes; none where no item has it."""
        return self._labels(attribute)

    @cached_property
    def _labels(self) -> Callable[[str], Labels]:
        return lru_cache(MASKS)(partial(_labelled, self.attributes))


def all_told(store: Store) -> Catalogue:
    """Return what is told of all items of a store, to learn from; of removed ones what others have too."""
    changed, counter = store.items.changed()
    there = _rows_of(changed)
    gone = decode(changed.filter("removed").select("item_no", "attributes"), parts_of(there))
    return LiveCatalogue(there.update(gone, on="item_no"), counter).told()


def _rows_of(changed: pl.DataFrame) -> pl.DataFrame:
    available = pl.col("available") & ~pl.col("removed")
    told = pl.when(~pl.col("removed")).then("attributes").otherwise(pl.lit("{}"))
    return decode(changed.select("item_no", "item_id", available, "created", attributes=told))


def _merged(old: pl.DataFrame, new: pl.DataFrame) -> pl.DataFrame:
    """Return the old rows and the new ones, which take the place of those of their number; both ascend by number."""
    if not len(new):  # the counter also moves when nothing was there to remove
        return old
    number, fresh = old["item_no"].to_numpy(), new["item_no"].to_numpy()
    begin = np.searchsorted(number, fresh)
    end = np.searchsorted(number, fresh, side="right")
    first = np.flatnonzero(np.concatenate([[True], begin[1:] != end[:-1]]))  # of each run of neighbours
    if len(first) > MOST_RUNS:
        both = pl.concat([old, new], how="diagonal", rechunk=True)
        order = np.insert(np.arange(len(old)), begin, np.arange(len(old), len(both)))
        return trim(both[order[~np.isin(order, begin[begin < end])]])
    last = np.concatenate([first[1:], [len(new)]])
    pieces, done = [], 0
    for low, high in zip(first.tolist(), last.tolist(), strict=True):
        pieces += [old[done : int(begin[low])], new[low:high]]
        done = int(end[high - 1])
    return trim(pl.concat([*pieces, old[done:]], how="diagonal", rechunk=True))


def _masked(told: Attributes, condition: str) -> Met:
    notes: list[str] = []
    named: set[str] = set()

    def check(cost: Cost) -> str | None:
        work = cost.operations * len(told.rows) + (cost.operations + BLANK * cost.blanks) * told.text(named)
        rule = f"over {len(told.rows):,} items and their texts this takes {work:,} steps; there can be {MOST_STEPS:,}"
        return rule if work > MOST_STEPS else None

    expr = compile_over(condition, told.namer(notes, named), check)
    # Beside a column, since an expression of literals alone gives one row.
    mask = told.rows.select("item_id", mask=expr.fill_null(False))["mask"]
    return Met(_fixed(mask), tuple(dict.fromkeys(notes)))


def _fixed(column: pl.Series) -> Bools:
    mask = column.to_numpy().astype(np.bool_)
    mask.setflags(write=False)
    return mask


def _labelled(told: Attributes, attribute: str) -> Labels:
    column = told.column(attribute)
    if isinstance(column.dtype, pl.List):
        lists = column.list.unique(maintain_order=True)
        count, each = lists.list.len().fill_null(0), lists.explode().drop_nulls()
    else:
        count, each = column.is_not_null(), column.drop_nulls()
    names = each.unique(maintain_order=True)
    code = each.replace_strict(names, np.arange(len(names)), return_dtype=pl.Int32).to_numpy()
    return Labels(names, np.concatenate([np.zeros(1, np.int64), np.cumsum(count.to_numpy(), dtype=np.int64)]), code)
