"""What the page reads of the catalogue's attributes: titles, pictures, categories and prices, as one table."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import polars as pl

from palate.conditions.values import LISTS, TEXT
from palate.live.attributes import Attributes
from palate.live.catalogue import LiveCatalogue

# Names of attributes; the first one that the catalogue has counts.
TITLE = ("title", "name", "label")
PICTURE = ("image", "poster", "picture", "image_url", "poster_url", "thumbnail")
CATEGORIES = ("categories", "category", "genres", "genre")
PRICE = ("price", "sale_price", "unit_price", "amount", "revenue")


@lru_cache(1)  # a catalogue stays the same until an item changes
def table_of(catalogue: LiveCatalogue) -> pl.DataFrame:
    """Columns item_id, title, picture, categories, price, and words, which the search reads, (P, 6)."""
    attributes = catalogue.attributes
    title = pl.coalesce(*_texts(attributes, TITLE), catalogue.ids)
    return pl.select(
        item_id=catalogue.ids,
        title=title,
        picture=pl.coalesce(*_texts(attributes, PICTURE), pl.lit(None, pl.String)),
        categories=_lists(attributes),
        price=price_of(attributes),
        words=(title + " " + catalogue.ids).str.to_lowercase(),
    )


def _texts(attributes: Attributes, names: Sequence[str]) -> list[pl.Series]:
    return [attributes.column(name, TEXT) for name in names if name in attributes.counts]


def _lists(attributes: Attributes) -> pl.Series:
    first = next((name for name in CATEGORIES if name in attributes.counts), CATEGORIES[0])
    return attributes.column(first, LISTS)


def price_name(attributes: Attributes) -> str | None:
    """Return the first attribute of `PRICE` that the catalogue has."""
    return next((name for name in PRICE if name in attributes.counts), None)


def price_of(attributes: Attributes) -> pl.Series:
    """Prices of the items, (P,), null where there is none."""
    name = price_name(attributes)
    price = attributes.column(PRICE[0] if name is None else name, pl.Float64())
    return pl.select(pl.when(price.is_finite()).then(price)).to_series()
