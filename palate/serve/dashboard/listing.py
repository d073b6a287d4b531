"""The items of the catalogue in an order, filtered, in pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeAlias

import numpy as np

from palate.arrays import Longs
from palate.errors import ConditionError
from palate.live.catalogue import LiveCatalogue
from palate.live.snapshot import Snapshot
from palate.serve.dashboard.cards import Card, Cards
from palate.serve.dashboard.searching import matching
from palate.serve.dashboard.titles import PICTURE, table_of
from palate.store.events import Store

Sort: TypeAlias = Literal["popular", "trending", "newest", "title", "price"]
Availability: TypeAlias = Literal["all", "available", "hidden"]
PAGE = 48  # items


@dataclass(frozen=True)
class Listing:
    """A page of items, each with its popularity.

    count  of the items of all pages, removed ones too
    more   whether there is another page
    fault  of a filter that cannot be read
    """

    items: Sequence[tuple[Card, float]] = ()
    count: int = 0
    more: bool = False
    fault: str | None = None


def listing(
    store: Store, cards: Cards, q: str, condition: str, sort: Sort, shown: Availability, page: int
) -> Listing:
    """Return the items that have the words, meet the condition and are available or not, those of a page."""
    snapshot = cards.snapshot
    catalogue = snapshot.catalogue
    keep = matching(catalogue, q)
    if shown != "all":
        keep &= catalogue.available == (shown == "available")
    if condition:
        try:
            catalogue.steps([condition])
            keep &= catalogue.mask(condition)
        except ConditionError as error:
            return Listing(fault=str(error))
    order = ordered(cards, sort)
    found = order[keep[order]]
    place = found[page * PAGE : (page + 1) * PAGE]
    weights = snapshot.by_popularity.score[place].tolist()
    on_page = cards.at(place)
    removed = store.items.removed([card.item_id for card in on_page if not card.available])
    kept = [(card, weight) for card, weight in zip(on_page, weights, strict=True) if card.item_id not in removed]
    return Listing(kept, len(found), len(found) > (page + 1) * PAGE)


def ordered(cards: Cards, sort: Sort) -> Longs:
    """Return the positions of all items in an order, (P,)."""
    snapshot = cards.snapshot
    if sort in ("title", "price"):
        return _by_column(snapshot.catalogue, sort)
    first = _first(snapshot, sort)
    rest = np.ones(len(snapshot.catalogue), np.bool_)
    rest[first] = False
    return np.concatenate([first, np.flatnonzero(rest)])


def _first(snapshot: Snapshot, sort: Sort) -> Longs:
    if sort == "newest":
        return snapshot.index.newest
    return (snapshot.by_trend if sort == "trending" else snapshot.by_popularity).position


@lru_cache(2)  # a catalogue stays the same until an item changes
def _by_column(catalogue: LiveCatalogue, sort: Sort) -> Longs:
    """Return the positions by title or price, those without one last."""
    column = table_of(catalogue)[sort]
    values = column.str.to_lowercase() if sort == "title" else column
    return values.arg_sort(nulls_last=True).to_numpy().astype(np.int64)


def has_pictures(cards: Cards) -> bool:
    """Whether the catalogue has an attribute of pictures."""
    return not {*PICTURE}.isdisjoint(cards.snapshot.catalogue.attributes.counts)
