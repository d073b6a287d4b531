"""Impressions: how often lists showed an item at a place. Counts of items and places, nothing of a user."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from palate.arrays import Longs
from palate.data.contexts import MOST_PLACES
from palate.errors import DataError
from palate.store.database import Database
from palate.store.schema import impressions, sa

ADD = sa.text(
    "INSERT INTO impressions (item_no, position, shown) VALUES (:item, :position, :shown) "
    "ON CONFLICT (item_no, position) DO UPDATE SET shown = impressions.shown + excluded.shown"
)


class Impressions:
    """The impressions of a store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, shown: Mapping[tuple[int, int], int]) -> None:
        """Count how often items, by number, were shown at places, from 1. Raises `DataError` for no such place."""
        for _, position in shown:
            if not 1 <= position <= MOST_PLACES:
                raise DataError(f"impressions: position is {position}; it must be 1 to {MOST_PLACES:,}")
        rows = [{"item": item, "position": place, "shown": count} for (item, place), count in sorted(shown.items())]
        if rows:
            with self._database.writing() as connection:
                connection.execute(ADD, rows)

    def counts(self) -> Longs:
        """Return numbers of items, places and counts, (3, M)."""
        with self._database.reading() as connection:
            return counts_of(connection)


def counts_of(connection: sa.Connection) -> Longs:
    """Return numbers of items, places and counts, (3, M)."""
    rows = [tuple(row) for row in connection.execute(sa.select(impressions))]
    return np.array(rows, np.int64).reshape(-1, 3).T
