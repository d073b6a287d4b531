"""What the page shows of an item: title, picture, categories, and the colour of the first of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import polars as pl

from palate.arrays import Longs
from palate.live.catalogue import LiveCatalogue
from palate.live.snapshot import Snapshot
from palate.serve.dashboard.searching import matching
from palate.serve.dashboard.titles import table_of

SAFE = ("https://", "http://", "data:image/")
COLOURS = 8  # the largest categories have one each, the others share grey, 0


@dataclass(frozen=True)
class Card:
    """An item as the page shows it; `colour` is 1 to `COLOURS`, 0 for grey."""

    item_id: str
    title: str
    picture: str | None = None
    categories: tuple[str, ...] = ()
    colour: int = 0
    price: float | None = None
    available: bool = True


@dataclass(frozen=True, eq=False)
class Cards:
    """The cards of a snapshot's items."""

    snapshot: Snapshot

    def of(self, ids: Iterable[str]) -> list[Card]:
        """Return the cards of these items; the title of an unknown item is its id."""
        asked = list(ids)
        position = self.snapshot.index.positions(asked)
        known = self.at(position[position >= 0])
        card = {each.item_id: each for each in known}
        return [card.get(name) or Card(name, name) for name in asked]

    def at(self, positions: Sequence[int] | Longs) -> list[Card]:
        """Return the cards of the items at these positions."""
        place = np.asarray(positions, np.int64)
        rows = self.table.select("item_id", "title", "picture", "categories", "price")[place]
        available = self.snapshot.catalogue.available[place].tolist()
        largest = self.categories
        return [_card(row, there, largest) for row, there in zip(rows.iter_rows(), available, strict=True)]

    def search(self, text: str, most: int = 8) -> list[Card]:
        """Find items whose title or id has every word of the text: an exact id first, then by popularity."""
        positions = np.flatnonzero(matching(self.snapshot.catalogue, text))
        order = np.argsort(-self.snapshot.by_popularity.score[positions], kind="stable")[:most]
        exact = self.snapshot.index.position(text.strip())
        best = positions[order].tolist()
        return self.at([exact, *(p for p in best if p != exact)][:most] if exact >= 0 else best)

    @property
    def categories(self) -> tuple[str, ...]:
        """The categories with a colour of their own, by it."""
        return _largest(self.snapshot.catalogue)

    @property
    def table(self) -> pl.DataFrame:
        """Columns item_id, title, picture, categories, price, and words, which the search reads, (P, 6)."""
        return table_of(self.snapshot.catalogue)


def _card(row: tuple[Any, ...], available: bool, largest: Sequence[str]) -> Card:
    """Return the card of a row of `Cards.table`."""
    item_id, title, picture, categories, price = row
    names = tuple(name for name in categories or () if name is not None)
    colour = 1 + largest.index(names[0]) if names and names[0] in largest else 0
    safe = picture if picture and picture.lower().startswith(SAFE) else None
    return Card(item_id, title, safe, names, colour, price, available)


@lru_cache(1)
def _largest(catalogue: LiveCatalogue) -> tuple[str, ...]:
    first = table_of(catalogue).select(first=pl.col("categories").list.first()).drop_nulls()
    return tuple(first["first"].value_counts(sort=True)["first"].head(COLOURS))
