"""Metrics for Prometheus: latencies, events, sources of answers, events on shown items, the age of the model."""

from __future__ import annotations

import os
from collections import Counter as Sums
from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path
from threading import Lock
from time import perf_counter, time
from typing import NamedTuple, TypeAlias

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from palate.arrays import Hashes
from palate.data.times import DAY, SECOND
from palate.live.snapshot import Snapshot
from palate.live.weights import CONVERSIONS
from palate.ranking.request import SOURCES, ListItem, RecommendationList, Source
from palate.serve.figures import COLLECTED
from palate.store.events import Event

BUCKETS = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0, 5.0)
REMEMBERED = 1 << 20  # entries of the table of shown items
VERSIONS = 1 << 11  # that an entry tells apart
PLACE = np.uint64((1 << 16) - 1)  # bits of an entry: 11 of the version, 4 of the source, 1 that an event came
Counts: TypeAlias = Sums[tuple[int, str, int]]
Converted: TypeAlias = Sums[tuple[int, str, int, str]]


class Place(NamedTuple):
    """Where an item was shown: the source, the version of the model, 0 without one, and whether an event came."""

    source: Source
    version: int
    clicked: bool


class Shown:
    """The items shown to users recently: a 64-bit entry for each pair in a table that all workers share.

    With several workers the table is a file in their folder, otherwise memory. Of two pairs with the same entry the
    later one stays. The lowest bits of an entry hold the `Place`, the others are those of a hash of the pair.
    """

    def __init__(self) -> None:
        folder = os.environ.get(COLLECTED)
        self._table = np.zeros(REMEMBERED, np.uint64) if folder is None else _shared(Path(folder) / "shown")

    def add(self, user_id: str, items: Iterable[ListItem], version: int) -> None:
        """Record that items were shown to a user."""
        low = version % VERSIONS << 5
        codes = {name: np.uint64(low | n << 1) for n, name in enumerate(SOURCES)}
        shown = list(items)
        pairs = np.fromiter((_mark(user_id, item.item_id) for item in shown), np.uint64, len(shown))
        self._table[pairs % REMEMBERED] = pairs & ~PLACE | np.array([codes[item.source] for item in shown], np.uint64)

    def event(self, user_id: str, item_id: str) -> Place | None:
        """Where an item was shown to a user, None if it was not, and record that an event came."""
        pair = _mark(user_id, item_id)
        entry = int(self._table[pair % REMEMBERED])
        if not entry or (entry ^ pair) & ~int(PLACE):
            return None
        self._table[pair % REMEMBERED] = entry | 1
        return Place(SOURCES[(entry >> 1) % 16], (entry & int(PLACE)) >> 5, bool(entry & 1))


def _today() -> int:
    """Day of now since 1970 UTC, as outcomes are stored by."""
    return int(time() * SECOND) // DAY


class Waiting:
    """What came of the lists of this process, by day since 1970, source and version, until it is stored."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._shown: Counts = Sums()
        self._clicks: Counts = Sums()
        self._converted: Converted = Sums()  # by item, too: its price counts when they are stored

    def shown(self, sources: Iterable[tuple[str, int]], version: int) -> None:
        """Count the items of a list by source."""
        day = _today()
        with self._lock:
            for source, count in sources:
                self._shown[day, source, version] += count

    def clicked(self, place: Place) -> None:
        """Count the first event on an item that was shown."""
        with self._lock:
            self._clicks[_today(), place.source, place.version] += 1

    def converted(self, place: Place, item_id: str) -> None:
        """Count a conversion on an item that was shown."""
        with self._lock:
            self._converted[_today(), place.source, place.version, item_id] += 1

    def take(self) -> tuple[Counts, Counts, Converted]:
        """Return what waits, and begin anew."""
        with self._lock:
            taken = self._shown, self._clicks, self._converted
            self._shown, self._clicks, self._converted = Sums(), Sums(), Sums()
        return taken

    def put_back(self, shown: Counts, clicks: Counts, converted: Converted) -> None:
        """Add what could not be stored."""
        with self._lock:
            self._shown.update(shown)
            self._clicks.update(clicks)
            self._converted.update(converted)


def _shared(file: Path) -> Hashes:
    with file.open("ab") as table:
        table.truncate(8 * REMEMBERED)  # a sparse file
    return np.memmap(file, np.uint64, "r+")


def _mark(user_id: str, item_id: str) -> int:
    text = f"{len(user_id)} {user_id} {item_id}".encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "little")


class Metrics:
    """The metrics of one process, or of all workers together where they share a folder."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        labels = ["route", "method", "status"]
        self.latency = Histogram(
            "palate_request_seconds", "Time to answer.", labels, buckets=BUCKETS, registry=self.registry
        )
        self.events = Counter(
            "palate_events",
            "Events acknowledged, by type; repeats too.",
            ["event_type"],
            registry=self.registry,
        )
        self.answers = Counter(
            "palate_recommended", "Items recommended, by source.", ["source"], registry=self.registry
        )
        self.empty = Counter("palate_empty_lists", "Lists without an item.", registry=self.registry)
        self.shown = Counter("palate_shown", "Items shown to users with an id.", registry=self.registry)
        self.chosen = Counter(
            "palate_chosen", "Events on items that were shown to the user before, once each.", registry=self.registry
        )
        self.age = self._gauge("palate_model_age_seconds", "Since the active model was trained.")
        self.version = self._gauge("palate_model_version", "Version of the active model.")
        self.items = self._gauge("palate_items", "Items in the catalogue.")
        self.odd = self._gauge("palate_odd_values", "Values of another type than most of their attribute.")
        self._shown, self.outcomes = Shown(), Waiting()

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(name, text, registry=self.registry, multiprocess_mode="mostrecent")

    def answered(self, user_id: str | None, answer: RecommendationList) -> None:
        """Count a list that was shown."""
        for source, count in answer.sources.items():
            self.answers.labels(source).inc(count)
        if not answer.items:
            self.empty.inc()
        if user_id is not None and answer.items:
            version = 0 if answer.model is None else int(answer.model["version"])
            self.shown.inc(len(answer.items))
            self._shown.add(user_id, answer.items, version)
            self.outcomes.shown(answer.sources.items(), version % VERSIONS)

    def stored(self, events: Iterable[Event]) -> None:
        """Count stored events."""
        for event in events:
            self.events.labels(event.event_type).inc()
            place = self._shown.event(event.user_id, event.item_id)
            if place is None:
                continue
            if not place.clicked:
                self.chosen.inc()
                self.outcomes.clicked(place)
            if event.event_type in CONVERSIONS:
                self.outcomes.converted(place, event.item_id)

    def text(self, snapshot: Snapshot) -> bytes:
        """Return all metrics in the format of Prometheus."""
        self.items.set(len(snapshot.catalogue))
        self.odd.set(snapshot.catalogue.attributes.odd)
        if snapshot.active.version is not None:
            self.age.set(time() - snapshot.active.trained / 1_000_000)
            self.version.set(snapshot.active.version)
        return generate_latest(self.collected())

    def collected(self) -> CollectorRegistry:
        """Return the registry of this process, or of all workers that share a folder."""
        if COLLECTED not in os.environ:
            return self.registry
        together = CollectorRegistry()
        MultiProcessCollector(together)  # type: ignore[no-untyped-call]
        return together


class Timing:
    """ASGI middleware that measures the latency of every route."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Measure one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status = 500
        began = perf_counter()

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, sending)
        finally:
            route = getattr(scope.get("route"), "path", "none")
            self.metrics.latency.labels(route, scope["method"], status).observe(perf_counter() - began)
