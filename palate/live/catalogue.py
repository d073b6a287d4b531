"""The items of a store in memory: attributes as columns, conditions as masks; refreshed by what changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache, partial

import numpy as np
import polars as pl

from palate.arrays import Bools, Longs
from palate.data.catalogue import Catalogue
from palate.data.columns import CATALOGUE, plain
from palate.data.vocabulary import Vocabulary
from palate.live.attributes import Attributes
from palate.live.kept import Kept
from palate.live.masks import Conditions, Evaluation, most_kept
from palate.live.table import ALL, Table
from palate.ranking.labels import Labels
from palate.store.events import Store


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
        new = _table_of(changed)
        later = LiveCatalogue(self.table.merged(new), change, store.items.column_names())
        if "_conditions" in vars(self) and self.table.stands_in(later.table, new.numbers):
            positions = np.searchsorted(later.table.numbers, new.numbers)
            vars(later)["_conditions"] = self._conditions.after(later.attributes, positions)
        return later

    def __len__(self) -> int:
        return len(self.table)

    @cached_property
    def ids(self) -> pl.Series:
        """Ids by position, (P,)."""
        return self.table.rows.frame["item_id"]

    @property
    def available(self) -> Bools:
        """Whether items can be had: available and not removed, (P,)."""
        return self.table.available

    def columns(self, first: int = 0) -> tuple[pl.Series, Longs, Longs]:
        """Return ids, numbers and times of the items from a position on."""
        rows = self.table.at(["item_id", "created"], slice(first, None))
        return rows["item_id"], self.table.numbers[first:], rows["created"].to_numpy()

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
        return self._conditions.evaluate(condition)

    def steps(self, conditions: Iterable[str]) -> int:
        """Count what some conditions take together. Raises `ConditionError` where it is too much."""
        return self._conditions.steps(conditions)

    @cached_property
    def _conditions(self) -> Conditions:
        return Conditions(self.attributes)

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
        return lru_cache(most_kept(16 * len(self)))(partial(_labelled, self.attributes))


def stored_catalogue(store: Store) -> Catalogue:
    """Return the attributes of all items of a store, to learn from; of removed ones those that others have too."""
    changed, counter = store.items.changed()
    there = Table().merged(_table_of(changed))
    gone = Table.decoded(changed.filter("removed").with_columns(available=False), there.counts)
    return LiveCatalogue(there.merged(gone), counter).as_catalogue()


def _table_of(changed: pl.DataFrame) -> Table:
    removed = changed["removed"]
    rows = changed[["item_no", "item_id", "created"]]
    return Table.decoded(rows.hstack([changed["available"] & ~removed, changed["attributes"].set(removed, "{}")]))


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
    code = each.replace_strict(names, np.arange(len(names)), return_dtype=pl.Int32).to_numpy().astype(np.int32)
    return Labels(names, np.concatenate([np.zeros(1, np.int64), np.cumsum(size)]), code)
