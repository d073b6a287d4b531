"""The items of a store in memory: attributes as columns, conditions as masks; refreshed by what changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache, partial
from typing import NamedTuple

import numpy as np
import polars as pl

from palate.arrays import Bools, Longs
from palate.conditions.compile import compile_over
from palate.conditions.effort import MOST_STEPS, Meter, too_many
from palate.data.catalogue import Catalogue
from palate.data.columns import CATALOGUE, plain
from palate.data.vocabulary import Vocabulary
from palate.errors import ConditionError
from palate.live.attributes import Attributes
from palate.live.kept import Kept
from palate.live.patience import still_wanted
from palate.live.table import ALL, Table
from palate.ranking.labels import Labels
from palate.store.events import Store

MOST_ROWS, BLOCK_STEPS = 1 << 17, 20_000_000  # of a condition at once, which bound its memory and its time
MASKS = 256  # kept at most
KEPT_BYTES = 1 << 27  # of masks kept, all together, and of labels


class Plan(NamedTuple):
    """A condition made ready: what gives its mask, of which parts, in how many steps, and what is odd about it."""

    expr: pl.Expr
    parts: tuple[str, ...]
    steps: int
    notes: tuple[str, ...]


class Evaluation(NamedTuple):
    """Where a condition holds, (P,), and what is odd about it: names that no item has, types that no value has."""

    mask: Bools
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class LiveCatalogue:
    """P items as they were at one moment, at positions 0 to P - 1 in the order of their numbers. It never changes.

    table   the items with their attributes
    change  the store's counter of changes of items at that moment
    names   of attributes by the names that columns of imported files had
    """

    table: Table = field(repr=False)
    change: int
    names: Mapping[str, str] = field(repr=False, default_factory=dict)

    @classmethod
    def load(cls, store: Store, kept: Kept | None = None) -> LiveCatalogue:
        """Read all items of a store, removed ones too: events speak of them; or what changed since it was kept.

        The attributes of removed items are not read.
        """
        names = store.items.column_names()
        before = cls(Table(), 0, names) if kept is None else cls(kept.table, kept.change, names)
        return before.refreshed(store)

    def refreshed(self, store: Store) -> LiveCatalogue:
        """Return the catalogue as the store has it now, itself if nothing changed; only what changed is read."""
        changed, change = store.items.changed(self.change)
        if change == self.change:
            return self
        return LiveCatalogue(self.table.merged(_table_of(changed)), change, store.items.column_names())

    def __len__(self) -> int:
        return len(self.table)

    @cached_property
    def ids(self) -> pl.Series:
        """Ids by position, (P,)."""
        return self.table.rows["item_id"]

    @cached_property
    def numbers(self) -> Longs:
        """The store's numbers of the items by position, (P,), ascending."""
        return self.table.numbers

    @cached_property
    def available(self) -> Bools:
        """Whether items can be had: available and not removed, (P,)."""
        return _fixed(self.table.rows["available"])

    @cached_property
    def created(self) -> Longs:
        """When items were first seen, microseconds since 1970 UTC, (P,)."""
        return self.table.rows["created"].to_numpy()

    def columns(self, first: int = 0) -> tuple[pl.Series, Longs, Longs]:
        """Return ids, numbers and times of the items from a position on."""
        rows = self.table.rows[first:]
        return rows["item_id"], rows["item_no"].to_numpy(), rows["created"].to_numpy()

    @property
    def frame(self) -> pl.DataFrame:
        """Attributes of the items by name, each of the type of most values, with item_id and available, (P, ...)."""
        return self.attributes.frame()

    @cached_property
    def attributes(self) -> Attributes:
        """Attributes of the items, to be read as any type."""
        return Attributes(self.table, self.names)

    def mask(self, condition: str) -> Bools:
        """Whether a condition holds, (P,), read-only; not where it is unknown. Raises `ConditionError`."""
        return self.evaluate(condition).mask

    def evaluate(self, condition: str) -> Evaluation:
        """Return the same with what is odd about the condition."""
        return self._evaluated(condition)

    def steps(self, conditions: Iterable[str]) -> int:
        """Count what some conditions take together. Raises `ConditionError` where it is too much."""
        steps = 0
        for condition in dict.fromkeys(conditions):
            steps += self._planned(condition).steps
            if steps > MOST_STEPS:
                rule = too_many(len(self), steps, MOST_STEPS)
                raise ConditionError(condition, 0, f"with the conditions before it: {rule}")
        return steps

    @cached_property
    def _planned(self) -> Callable[[str], Plan]:
        # Of the attributes, not of self: a cycle of references would keep every old catalogue for a while.
        return lru_cache(MASKS)(partial(_planned, self.attributes))

    @cached_property
    def _evaluated(self) -> Callable[[str], Evaluation]:
        return lru_cache(self._most(1))(partial(_evaluated, self.table, self._planned))

    def _most(self, size: int) -> int:
        """Return how many values are kept that take `size` bytes for each item."""
        return max(1, min(MASKS, KEPT_BYTES // max(1, size * len(self))))

    def notes(self, condition: str) -> tuple[str, ...]:
        """Say what is odd about a condition: names that no item has, types that no value has."""
        return self.evaluate(condition).notes

    def unknown(self, attribute: str) -> str | None:
        """Say that no item has an attribute, and which one was perhaps meant; None where one has it."""
        return next(iter(self.attributes.unknown([attribute])), None)

    def as_catalogue(self, positions: Longs | None = None) -> Catalogue:
        """Return the attributes of some items, or of all, the usual ones under the names of their roles."""
        frame = self.attributes.frame(ALL if positions is None else positions)
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
        return lru_cache(self._most(16))(partial(_labelled, self.attributes))


def stored_catalogue(store: Store) -> Catalogue:
    """Return the attributes of all items of a store, to learn from; of removed ones those that others have too."""
    changed, counter = store.items.changed()
    there = Table().merged(_table_of(changed))
    gone = Table.decoded(changed.filter("removed").with_columns(available=False), there.counts)
    return LiveCatalogue(there.merged(gone), counter).as_catalogue()


def _table_of(changed: pl.DataFrame) -> Table:
    available = pl.col("available") & ~pl.col("removed")
    kept = pl.when(~pl.col("removed")).then("attributes").otherwise(pl.lit("{}"))
    return Table.decoded(changed.with_columns(available=available, attributes=kept))


def _planned(attributes: Attributes, condition: str) -> Plan:
    notes: list[str] = []
    parts: dict[str, None] = {}
    meter = Meter(len(attributes.table), MOST_STEPS)
    expr = compile_over(condition, attributes.namer(notes, parts, meter), meter)
    return Plan(expr.fill_null(False), tuple(parts), meter.steps, tuple(dict.fromkeys(notes)))


def _evaluated(table: Table, planned: Callable[[str], Plan], condition: str) -> Evaluation:
    plan = planned(condition)
    return Evaluation(_held(table, plan), plan.notes)


def _held(table: Table, plan: Plan) -> Bools:
    """Where a condition holds, (P,), read-only; items that have none of its parts are all alike."""

    def held(rows: pl.DataFrame) -> Bools:
        # Beside a column, since an expression of literals alone gives one row.
        return rows.select("item_no", held=plan.expr)["held"].to_numpy()

    mask, having = np.zeros(len(table), np.bool_), table.having(plan.parts)
    if having is not None:
        mask[:] = held(table.at(plan.parts, slice(0)).clear(1))
    size = len(table if having is None else having)
    at_once = min(MOST_ROWS, 1 + BLOCK_STEPS * size // (1 + plan.steps))
    for low in range(0, size, at_once):
        still_wanted()
        here = slice(low, low + at_once) if having is None else having[low : low + at_once]
        mask[here] = held(table.at(plan.parts, here))
    mask.setflags(write=False)
    return mask


def _fixed(column: pl.Series) -> Bools:
    mask: Bools = column.to_numpy()
    mask.setflags(write=False)
    return mask


def _labelled(attributes: Attributes, attribute: str) -> Labels:
    where = attributes.having(attribute)
    column = attributes.column(attribute, where=where)
    size = np.zeros(len(attributes.table), np.int64)
    if isinstance(column.dtype, pl.List):
        lists = column.list.unique(maintain_order=True)
        size[where], each = lists.list.len().fill_null(0), lists.explode().drop_nulls()
    else:
        size[where], each = column.is_not_null(), column.drop_nulls()
    names = each.unique(maintain_order=True)
    code = each.replace_strict(names, np.arange(len(names)), return_dtype=pl.Int32).to_numpy()
    return Labels(names, np.concatenate([np.zeros(1, np.int64), np.cumsum(size)]), code)
