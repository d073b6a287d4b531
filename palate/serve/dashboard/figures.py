"""The figures of the overview: from the store, and from the metrics since the service started."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import inf
from threading import Lock
from time import monotonic
from typing import Generic, TypeVar

from prometheus_client.samples import Sample

from palate.data.times import DAY, SECOND
from palate.serve.dashboard.rates import WEEK, Prices, Rate, Sales, rates, sales
from palate.serve.metrics import Metrics
from palate.store.activity import Activity, Window, activity
from palate.store.events import Counts, Store
from palate.store.recording import now

T = TypeVar("T")
PAUSE = 50  # pause before a costly count runs again, as a multiple of the time it took
TYPES = 4  # event types with a colour of their own
RANGES: dict[str, int | None] = {"day": DAY, "week": 7 * DAY, "month": 30 * DAY, "year": 371 * DAY, "all": None}
BUCKETS = {"day": 24, "week": 28, "month": 30, "year": 53, "all": 100}
LISTS = "/v1/recommend"  # the routes whose time is shown


class Throttled(Generic[T]):
    """A value that is computed again only after a pause, so that many viewers cost little."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._lock = Lock()
        self._until = -inf
        self._value: T

    def now(self) -> T:
        """Return the value."""
        with self._lock:
            began = monotonic()
            if began >= self._until:
                self._value = self._work()
                self._until = monotonic() + PAUSE * (monotonic() - began)
            return self._value


@dataclass(frozen=True, eq=False)
class Recent:
    """The events of a range, and the conversions among them."""

    activity: Activity
    sales: Sales


class RecentActivity:
    """Counts of the store, of its newest events over time, and their rates; only new events are read again."""

    def __init__(self, store: Store, prices: Callable[[], Prices]) -> None:
        self._store, self._prices = store, prices
        self._lock = Lock()
        self._window: Window | None = None
        self._counts: Throttled[Counts] = Throttled(store.counts)

    def counts(self) -> Counts:
        """Count events, users and items."""
        return self._counts.now()

    def rates(self) -> list[Rate]:
        """Return the rates of the last four weeks."""
        window = self._read()
        return rates(window, self._prices(), _until(window, WEEK * DAY))

    def activity(self, span: str) -> Recent:
        """Count events of one of `RANGES`; one without events ends at the newest event."""
        window, length = self._read(), RANGES[span]
        until = None if length is None else _until(window, length)
        since = None if length is None or until is None else until - length
        found = activity(window, since, until, BUCKETS[span])
        return Recent(found, sales(window, self._prices(), found.start, found.width, len(found.count)))

    def _read(self) -> Window:
        with self._lock:
            self._window = Window.of(self._store, self._window)
            return self._window


def _until(window: Window, length: int) -> int:
    """Return the end of a range: now, or the newest event where there is none in the range before."""
    clock, newest = now(), window.newest
    return 1 + (clock if newest is None or newest > clock - length else newest)


def drawn(found: Activity) -> dict[str, object]:
    """Return the data of a chart of the activity; rare types are summed up."""
    named = list(found.types[:TYPES])
    count = [found.count[:, n].tolist() for n in range(len(named))]
    if len(found.types) > TYPES:
        named.append("other")
        count.append(found.count[:, TYPES:].sum(axis=1).tolist())
    times = [(found.start + n * found.width) // SECOND for n in range(len(found.count))]
    return {"times": times, "width": found.width / SECOND, "names": named, "counts": count}


@dataclass(frozen=True)
class Latency:
    """Response times of lists: upper bounds of the buckets in seconds, and the number of answers in each."""

    bounds: Sequence[float]
    count: Sequence[float]

    @property
    def answers(self) -> int:
        """Lists answered."""
        return int(sum(self.count))

    def quantile(self, share: float) -> float:
        """Return the quantile in seconds, linear between bounds; nan without answers."""
        missing, low = share * sum(self.count), 0.0
        for bound, count in zip(self.bounds, self.count, strict=True):
            if count and missing <= count:
                return low + (bound - low) * missing / count if bound < inf else low
            missing, low = missing - count, bound
        return float("nan")


@dataclass(frozen=True)
class Answers:
    """The answers since the service started: times, items by source, items shown, and items chosen after that."""

    latency: Latency
    sources: dict[str, int]
    shown: int
    chosen: int

    @classmethod
    def of(cls, metrics: Metrics) -> Answers:
        """Read the figures, of all processes."""
        samples = [sample for family in metrics.collected().collect() for sample in family.samples]
        sources = {s.labels["source"]: int(s.value) for s in samples if s.name == "palate_recommended_total"}
        return cls(
            _latency(samples), sources, _total(samples, "palate_shown_total"), _total(samples, "palate_chosen_total")
        )


def _total(samples: Iterable[Sample], name: str) -> int:
    return int(sum(sample.value for sample in samples if sample.name == name))


def _latency(samples: Iterable[Sample]) -> Latency:
    within: dict[float, float] = {}
    for sample in samples:
        labels = sample.labels
        if sample.name == "palate_request_seconds_bucket" and labels["route"].startswith(LISTS):
            bound = float(labels["le"])
            within[bound] = within.get(bound, 0.0) + sample.value
    bounds = sorted(within)
    return Latency(bounds, [within[b] - within.get(a, 0.0) for a, b in zip([-1.0, *bounds], bounds, strict=False)])
