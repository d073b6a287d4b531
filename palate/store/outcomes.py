"""What came of lists, counted by day, source and version of the model: items shown, clicks, conversions, their value.

One row of the table of state a day, with no user in it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import NamedTuple

from palate.data.times import DAY
from palate.store.events import Store
from palate.store.schema import get_state, sa, set_state, state

PREFIX = "outcomes "  # of the names of the rows; the number of the day since 1970 follows, five digits
MOST_DAYS = 800  # that are read at once


class Cell(NamedTuple):
    """What is counted together: day since 1970, source of the item, version of the model, 0 without one."""

    day: int
    source: str
    version: int


class Outcome(NamedTuple):
    """Items shown, those of them that had an event later, those with a conversion, and what these bring in."""

    shown: int = 0
    clicks: int = 0
    conversions: int = 0
    value: float = 0.0

    @property
    def rate(self) -> float | None:
        """The click-through rate in percent; None where nothing was shown."""
        return 100 * self.clicks / self.shown if self.shown else None

    def plus(self, other: Outcome) -> Outcome:
        """Return the sums."""
        counts = self.shown + other.shown, self.clicks + other.clicks, self.conversions + other.conversions
        return Outcome(*counts, self.value + other.value)


def day_of(moment: int) -> int:
    """Return the day of a time in microseconds since 1970 UTC."""
    return moment // DAY


def add_outcomes(store: Store, counts: Mapping[Cell, Outcome]) -> None:
    """Add counts to those that are stored. Raises `StoreError`."""
    with store.database.writing() as connection:
        for day in sorted({cell.day for cell in counts}):
            kept = _read(get_state(connection, f"{PREFIX}{day:05}") or "{}", day)
            for cell, outcome in counts.items():
                if cell.day == day:
                    kept[cell] = kept.get(cell, Outcome()).plus(outcome)
            row = {f"{cell.version} {cell.source}": outcome for cell, outcome in kept.items()}
            set_state(connection, f"{PREFIX}{day:05}", json.dumps(row))


def outcomes(store: Store, first: int, last: int) -> dict[Cell, Outcome]:
    """Return the counts of days, from the first to the last one, the newest `MOST_DAYS` of them."""
    oldest, newest = f"{PREFIX}{max(first, last - MOST_DAYS + 1, 0):05}", f"{PREFIX}{last:05}"
    asked = sa.select(state.c.name, state.c.value).where(state.c.name >= oldest, state.c.name <= newest)
    found: dict[Cell, Outcome] = {}
    with store.database.reading() as connection:
        for name, value in connection.execute(asked):
            found |= _read(value, int(name.removeprefix(PREFIX)))
    return found


def _read(value: str, day: int) -> dict[Cell, Outcome]:
    rows = ((*key.split(" ", 1), counts) for key, counts in json.loads(value).items())
    return {Cell(day, source, int(version)): Outcome(*counts) for version, source, counts in rows}
