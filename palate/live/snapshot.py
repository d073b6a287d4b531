"""What lists are made from at one moment: the catalogue, the model in use, and what is popular."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl

from palate.arrays import Bools, Floats, Longs
from palate.data.catalogue import Catalogue
from palate.data.times import to_iso
from palate.live.catalogue import LiveCatalogue
from palate.live.popularity import Popular
from palate.models.base import Model
from palate.models.registry import load
from palate.ranking.context import Context, Masks, Order, no_model
from palate.ranking.item_index import ItemIndex
from palate.store.versions import Versions

FIXED = ("item_id", "available")  # columns that say nothing of what an item is like
# What a snapshot works out once, and the parts that it is worked out from.
WORKED_OUT = {
    "by_popularity": ("index", "popular"),
    "by_trend": ("index", "popular"),
    "fresh": ("index", "active"),
    "cold": ("active",),
}


@dataclass(frozen=True, eq=False)
class Active:
    """The model in use, its version, and what answers say about it; a model of no items until there is one.

    trained  when, microseconds since 1970 UTC
    """

    model: Model = field(default_factory=no_model)
    version: int | None = None
    about: Mapping[str, Any] | None = None
    trained: int = 1 << 62

    @classmethod
    def load(cls, versions: Versions, number: int) -> Active:
        """Load a version. Raises `BundleError`, `UnknownId`."""
        version = versions.get(number)
        model = load(versions.path(number))
        about = {"version": number, "recipe": type(model.recipe).__name__, "created": to_iso(version.created)}
        return cls(model, number, about, version.created)

    def reading(self, items: Catalogue) -> Active:
        """Return it with items that its model learns from their attributes; itself where it reads none."""
        return replace(self, model=self.model.with_items(items))


@dataclass(frozen=True, eq=False)
class Snapshot:
    """Immutable; a change of anything makes a new one, which shares with the old one all that stays the same."""

    catalogue: LiveCatalogue
    active: Active
    index: ItemIndex
    masks: Masks
    popular: Popular = field(repr=False)

    @classmethod
    def of(cls, catalogue: LiveCatalogue, popular: Popular) -> Snapshot:
        """Begin, without a model."""
        index = ItemIndex.of(*catalogue.columns())
        return cls(catalogue, Active(), index, Masks(catalogue.available, catalogue, index), popular)

    def with_popular(self, popular: Popular) -> Snapshot:
        """Return it with another popularity."""
        return self._with(popular=popular)

    def with_catalogue(self, catalogue: LiveCatalogue, popular: Popular) -> Snapshot:
        """Return it with changed and new items; only the newest snapshot grows, by one thread at a time."""
        index, old, items = self.index, len(self.index), self.active.model.items
        if len(catalogue) > old:
            new = catalogue.columns(old)
            later = not old or new[1][0] > index.number[-1]
            index = index.extended(*new, items) if later else ItemIndex.of(*catalogue.columns()).with_model(items)
        masks = Masks(catalogue.available, catalogue, index)
        same_rows = index.position_of_row is self.index.position_of_row
        before, now = self.masks.available, masks.available
        if same_rows and (now is before or np.array_equal(now[:old], before)):
            vars(masks)["rows"] = self.masks.rows
        longer = self._with(catalogue=catalogue, index=index, masks=masks, popular=popular)
        if index is not self.index and index.shares(self.index):
            vars(longer).update(self._extended_to(longer))
        return longer._reading()

    def _extended_to(self, longer: Snapshot) -> dict[str, object]:
        """Return what a snapshot with later items works out, from what this one has; {} where they change more."""
        index, old = longer.index, len(self.index)
        number, created = index.number[old:], index.created[old:]
        counted = number[number < len(longer.popular.weight)]
        if longer.popular is not self.popular or longer.popular.weight[counted].any():
            return {}
        found: dict[str, object] = {}
        for name in ("by_popularity", "by_trend"):
            before: Order = getattr(self, name)
            score = np.concatenate([before.score, np.zeros(len(number), before.score.dtype)])
            found[name] = Order(before.position, score)
        newest = self.index.created[self.fresh[:1]].max(initial=self.active.trained)
        if (index.row[old:] < 0).all() and created.min() > newest:
            found["fresh"] = np.concatenate([old + np.argsort(-created, kind="stable"), self.fresh])
        return found

    def with_model(self, active: Active, known: ItemIndex | None = None) -> Snapshot:
        """Return it with another model; known  a shorter index that has the rows of this model already."""
        index = self.index.with_model(active.model.items, known)
        masks = Masks(self.catalogue.available, self.catalogue, index)
        return self._with(active=active, index=index, masks=masks)._reading()

    def _with(self, **changes: Any) -> Snapshot:
        """Return it with changed parts, and with what it worked out from the parts that stay."""
        fresh = replace(self, **changes)
        for name, parts in WORKED_OUT.items():
            if name in vars(self) and all(getattr(self, part) is getattr(fresh, part) for part in parts):
                vars(fresh)[name] = vars(self)[name]
        return fresh

    def _reading(self) -> Snapshot:
        """Return it with a model that ranks the items it did not know but can read; itself where there are none."""
        if self.active.model.cold_items is None:  # it knows items by events alone
            return self
        unread = np.flatnonzero(self.index.row < 0)
        frame = self.catalogue.attributes.frame(unread).drop(FIXED)
        if not frame.width:
            return self
        new = unread[~frame.select(pl.all_horizontal(pl.all().is_null())).to_series().to_numpy()]
        if not len(new):
            return self
        active = self.active.reading(self.catalogue.as_catalogue(new))
        rows = active.model.items
        index = self.index.with_rows(new, rows.codes(self.catalogue.ids[new]), len(rows))
        return self._with(active=active, index=index, masks=Masks(self.catalogue.available, self.catalogue, index))

    @property
    def version(self) -> int | None:
        """Version of the model, None without one."""
        return self.active.version

    @cached_property
    def context(self) -> Context:
        """What lists are made from, for a user without a history."""
        newest = Order(self.index.newest, self.index.seconds)
        active, parts = self.active, (self.by_popularity, newest, self.fresh, self.cold)
        return Context(active.model, self.index, self.masks, *parts, active.about, trending=self.by_trend)

    @cached_property
    def by_popularity(self) -> Order:
        """Items with a weight above 0, the most popular first, ties by position."""
        return self._order(self.popular.order, self.popular.weight)

    @cached_property
    def by_trend(self) -> Order:
        """Items that are rising, by how much."""
        return self._order(self.popular.rising, self.popular.rise)

    def _order(self, best: Longs, score: Floats) -> Order:
        """Return an order of the store's numbers, and scores by number, by position."""
        number = self.index.number
        beyond = max(0, int(number[-1]) + 1 - len(score)) if len(number) else 0  # items without an event
        position = self.index.at(best)  # -1 for an item that comes with the next refresh
        return Order(position[position >= 0], np.pad(score, (0, beyond))[number])

    @cached_property
    def fresh(self) -> Longs:
        """Positions of the items that came after the training and that the model does not know, newest first."""
        created = self.index.created
        new = np.flatnonzero((self.index.row < 0) & (created > self.active.trained))
        return new[np.argsort(-created[new], kind="stable")]

    @cached_property
    def cold(self) -> Bools:
        """Items that the model knows by their attributes alone, over its rows, (I,); empty if there are none."""
        found = self.active.model.cold_items
        return np.zeros(0, np.bool_) if found is None or not found.any() else found
