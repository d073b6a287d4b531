"""The rates of the overview: a figure of each of the last days, and the last week beside the one before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from palate.arrays import Doubles, Longs
from palate.data.times import DAY, SECOND
from palate.live.snapshot import Snapshot
from palate.live.weights import CONVERSIONS
from palate.serve.dashboard.titles import price_name, price_of
from palate.store.activity import Window, active_users, activity

DAYS, WEEK = 28, 7


@dataclass(frozen=True)
class Rate:
    """A figure a day, (D,), the oldest first; `whole`: whether all events of that time are counted."""

    name: str
    daily: Doubles
    whole: bool = True

    @property
    def mean(self) -> float:
        """A day of the last week."""
        return float(self.daily[-WEEK:].mean())

    @property
    def before(self) -> float:
        """A day of the week before."""
        return float(self.daily[-2 * WEEK : -WEEK].mean())

    @property
    def change(self) -> float | None:
        """The last week over the one before, less 1; None where that is not known."""
        return self.mean / self.before - 1 if self.whole and self.before else None


@dataclass(frozen=True, eq=False)
class Prices:
    """The price of items by the store's number, 0 where there is none; `name` of the attribute, None without one."""

    name: str | None
    by_number: Doubles

    @classmethod
    def of(cls, snapshot: Snapshot) -> Prices:
        """Read the prices of a snapshot."""
        attributes, number = snapshot.catalogue.attributes, snapshot.index.number
        found = np.zeros(1 + int(number.max(initial=0)))
        found[number] = price_of(attributes).fill_null(0).to_numpy()
        return cls(price_name(attributes), found)

    def of_items(self, items: Longs) -> Doubles:
        """Prices of items by the store's numbers, (N,)."""
        known = items < len(self.by_number)  # one that came meanwhile counts in the next figure
        return np.where(known, self.by_number[np.where(known, items, 0)], 0.0)


@dataclass(frozen=True, eq=False)
class Sales:
    """Conversions and their value over time: B counts and sums, in equal times from `start` on, `width` long.

    types: of events that count; empty where the store has none of them. price: of the attribute, None without one
    """

    start: int
    width: int
    count: Longs
    value: Doubles
    types: Sequence[str]
    price: str | None


def sales(window: Window, prices: Prices, start: int, width: int, buckets: int) -> Sales:
    """Count the conversions of B equal times."""
    types = {number: name for number, name in window.types.items() if name in CONVERSIONS}
    bucket, within = window.within(start, width, buckets)
    chosen = within & np.isin(window.kind, [*types])
    count = np.bincount(bucket[chosen], minlength=buckets)
    value = np.bincount(bucket[chosen], prices.of_items(window.item[chosen]), buckets).astype(np.float64)
    return Sales(start, width, count, value, [*types.values()], prices.name)


def rates(window: Window, prices: Prices, until: int) -> list[Rate]:
    """Return the rates of the days before a time: events, users, conversions and value."""
    start = until - DAYS * DAY
    counted = activity(window, start, until, DAYS)
    events = counted.count.sum(axis=1) if counted.count.size else np.zeros(DAYS)
    found = {"Events": events, "Active users": active_users(window, start, DAY, DAYS)}
    made = sales(window, prices, start, DAY, DAYS)
    found |= {"Conversions": made.count} if made.types else {}
    found |= {"Value of conversions": made.value} if made.types and made.price else {}
    return [Rate(name, daily.astype(np.float64), counted.whole) for name, daily in found.items()]


def sold(found: Sales) -> Mapping[str, object]:
    """Return the data of a chart of conversions and of one of their value."""
    times = [(found.start + n * found.width) // SECOND for n in range(len(found.count))]
    series = {"conversions": found.count.tolist(), "value": found.value.tolist()}
    return {"times": times, "width": found.width / SECOND, **series}
