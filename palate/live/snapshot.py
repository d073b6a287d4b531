"""What answers are made from at one moment: the catalogue, the model in use, and what is popular."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import polars as pl

from palate.arrays import Bools, Floats, Ints, Longs
from palate.data.catalogue import Catalogue
from palate.data.times import EPOCH, MICROSECOND
from palate.live.catalogue import LiveCatalogue
from palate.live.weights import Popular
from palate.models.base import Model
from palate.models.item_content import ContentBased
from palate.models.registry import load
from palate.store.versions import Versions

MASKS = 64  # of a filter over the model's items, kept
FIXED = ("item_id", "available")  # columns that tell nothing of what an item is like
# What a snapshot works out that has nothing to do with what is popular.
LASTING = ("_allowed", "_rows_allowed", "position_of", "names", "by_age", "unknown", "unmet")
ALL = ""  # the filter that every item passes


@dataclass(frozen=True, eq=False)
class Active:
    """The model in use: its version, and what answers tell of it.

    trained  when, microseconds since 1970 UTC
    """

    model: Model
    version: int
    about: Mapping[str, Any]
    trained: int

    @classmethod
    def load(cls, versions: Versions, number: int) -> Active:
        """Load a version. Raises `BundleError`, `UnknownId`."""
        version = versions.get(number)
        model = load(versions.path(number))
        created = (EPOCH + version.created * MICROSECOND).isoformat(timespec="seconds")
        about = {"version": number, "recipe": type(model.recipe).__name__, "created": created}
        return cls(model, number, about, version.created)

    def reading(self, told: Catalogue) -> Active:
        """Return it with items that its model learns of from what is told; itself where it learns of none."""
        return replace(self, model=self.model.with_items(told))


@dataclass(frozen=True, eq=False)
class Snapshot:
    """Immutable but for what it works out once; a change of anything makes a new one.

    places      positions of items by id
    row_of      the model's rows by position, -1 for an item it does not know, (P,)
    popular     by the store's numbers of the items; those past the end of its weights have none
    """

    catalogue: LiveCatalogue
    active: Active | None
    places: Mapping[str, int]
    row_of: Ints
    popular: Popular = field(repr=False)

    @classmethod
    def of(
        cls, catalogue: LiveCatalogue, active: Active | None, popular: Popular, before: Snapshot | None = None
    ) -> Snapshot:
        """Put the parts together; what a snapshot `before` knows already is taken from it."""
        if before is not None and before.catalogue is catalogue and before.active is active:
            same = replace(before, popular=popular)
            vars(same).update({name: value for name, value in vars(before).items() if name in LASTING})
            return same
        places: dict[str, int] = {} if before is None else dict(before.places)
        old = len(places)
        if before is not None and len(catalogue) == old:
            places = before.places  # type: ignore[assignment]
        else:
            new = catalogue.ids[old:].to_list()
            places.update(zip(new, range(old, old + len(new)), strict=True))
        if before is not None and before.active is active:
            rows = _rows(active, catalogue.ids[old:])
            row_of = np.concatenate([before.row_of, rows]) if len(rows) else before.row_of
        else:
            row_of = _rows(active, catalogue.ids)
        return cls(catalogue, active, places, row_of, popular)

    def reading(self) -> Snapshot:
        """Return it with a model that ranks the items it did not know but can read; itself where there are none."""
        if self.active is None or not isinstance(self.active.model, ContentBased):
            return self
        unread = np.flatnonzero(self.row_of < 0)
        frame = self.catalogue.frame
        speaks = ~frame[unread].select(pl.all_horizontal(pl.exclude(FIXED).is_null())).to_series()
        new = unread[speaks.to_numpy()] if frame.width > len(FIXED) else unread[:0]
        if not len(new):
            return self
        active = self.active.reading(self.catalogue.told(new))
        row_of = self.row_of.copy()
        row_of[new] = _rows(active, self.catalogue.ids[new])
        return replace(self, active=active, row_of=row_of)

    @property
    def version(self) -> int | None:
        """Version of the model, None without one."""
        return None if self.active is None else self.active.version

    def allowed(self, condition: str | None) -> Bools:
        """Items that can be had and meet the condition, (P,); do not change it. Raises `ConditionError`."""
        return self._allowed(condition or ALL)

    @cached_property
    def _allowed(self) -> Callable[[str], Bools]:
        available, catalogue = self.catalogue.available, self.catalogue
        return lru_cache(MASKS)(
            lambda condition: available if condition == ALL else available & catalogue.mask(condition)
        )

    def rows_allowed(self, condition: str | None) -> Bools:
        """Return the same over the rows of the model, (I,)."""
        return self._rows_allowed(condition or ALL)

    @cached_property
    def _rows_allowed(self) -> Callable[[str], Bools]:
        position, allowed = self.position_of, self._allowed
        return lru_cache(MASKS)(lambda condition: allowed(condition)[position] & (position >= 0))

    @cached_property
    def position_of(self) -> Ints:
        """Positions of the model's items, (I,); -1 for one that the store does not have."""
        count = 0 if self.active is None else len(self.active.model.items)
        position = np.full(count, -1, np.int32)
        known = np.flatnonzero(self.row_of >= 0)
        position[self.row_of[known]] = known
        return position

    @cached_property
    def names(self) -> list[str]:
        """Ids by position; the strings are those of `places`."""
        return list(self.places)

    @cached_property
    def popularity(self) -> Floats:
        """Weight of all events by position, (P,)."""
        weight = self.popular.weight
        missing = max(0, len(self.catalogue.position_of) - len(weight))
        return np.pad(weight, (0, missing))[self.catalogue.numbers]

    @cached_property
    def by_popularity(self) -> Longs:
        """Positions of items with a weight above 0, the most popular first, ties by position."""
        position_of, order = self.catalogue.position_of, self.popular.order
        position = position_of[order[order < len(position_of)]]  # of an item that comes with the next refresh
        return position[position >= 0].astype(np.int64)

    @cached_property
    def by_age(self) -> Longs:
        """Positions, the newest item first."""
        return np.argsort(-self.catalogue.created, kind="stable")

    @cached_property
    def unknown(self) -> Longs:
        """Positions of the items that came after the model was trained and that it does not know, newest first."""
        if self.active is None:
            return np.zeros(0, np.int64)
        created = self.catalogue.created
        new = np.flatnonzero((self.row_of < 0) & (created > self.active.trained))
        return new[np.argsort(-created[new], kind="stable")]

    @cached_property
    def unmet(self) -> Bools | None:
        """Items that the model ranks by what is told of them alone, over its rows, (I,); None if there are none."""
        model = None if self.active is None else self.active.model
        return model.cold_items if isinstance(model, ContentBased) and model.cold_items.any() else None


def _rows(active: Active | None, ids: pl.Series) -> Ints:
    return np.full(len(ids), -1, np.int32) if active is None else active.model.items.codes(ids)
