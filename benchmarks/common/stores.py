"""Stores that are filled for a benchmark of the service."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from palate import IALS
from palate.data.interactions import Interactions
from palate.live.importing import import_model
from palate.store.events import Store
from palate.store.items import Item
from palate.store.transfer import import_events
from palate.store.versions import Versions

GENRES = ("action", "comedy", "crime", "drama", "fantasy", "horror", "romance", "sci-fi", "thriller", "western")


def fill(url: str | Path, log: Interactions, attributes: Sequence[dict[str, Any]], dim: int = 64) -> None:
    """Make a store of a log and the attributes of its items, answered by an IALS model of it."""
    names = log.items.ids.to_list()
    with Store.open(url) as store:
        for low in range(0, len(names), 50_000):
            part = zip(names[low : low + 50_000], attributes[low : low + 50_000], strict=True)
            store.items.put(Item(str(name), values) for name, values in part)
        import_events(store, log.to_frame(), event_type="view")
        with tempfile.TemporaryDirectory() as folder:
            IALS(dim=dim, epochs=4).fit(log).save(Path(folder) / "model")
            import_model(store, Versions(store), Path(folder) / "model")


def random_attributes(n: int) -> list[dict[str, Any]]:
    """Attributes of n items: a title, one to three categories, a price."""
    draw = np.random.default_rng(1)
    price, first, many = draw.gamma(2.0, 10.0, n).round(2), draw.integers(0, len(GENRES), n), draw.integers(1, 4, n)
    return [
        {
            "title": f"Item number {number}",
            "categories": [GENRES[(genre + 3 * each) % len(GENRES)] for each in range(count)],
            "price": cost,
        }
        for number, (cost, genre, count) in enumerate(zip(price.tolist(), first.tolist(), many.tolist(), strict=True))
    ]
