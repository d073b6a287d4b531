"""What Prometheus reads: latencies, events, sources of answers, clicks on what was shown, the age of the model."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterable
from time import perf_counter, time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from palate.live.asking import Answer
from palate.live.snapshot import Snapshot
from palate.store.events import Event

BUCKETS = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0, 5.0)
REMEMBERED = 20_000  # people whose last list is remembered, to tell which events came from it
COLLECTED = "PROMETHEUS_MULTIPROC_DIR"


class Metrics:
    """The figures of one process; of all workers together where they share a folder of figures."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        labels = ["route", "method", "status"]
        self.latency = Histogram(
            "palate_request_seconds", "Time to answer.", labels, buckets=BUCKETS, registry=self.registry
        )
        self.events = Counter("palate_events", "Events stored, by type.", ["event_type"], registry=self.registry)
        self.answers = Counter(
            "palate_recommended", "Items recommended, by source.", ["source"], registry=self.registry
        )
        self.empty = Counter("palate_empty_lists", "Lists without an item.", registry=self.registry)
        self.shown = Counter("palate_shown", "Items shown to people with an id.", registry=self.registry)
        self.chosen = Counter("palate_chosen", "Events on items of the person's last list.", registry=self.registry)
        mode = {"registry": self.registry, "multiprocess_mode": "mostrecent"}
        self.age = Gauge("palate_model_age_seconds", "Since the active model was trained.", **mode)  # type: ignore[arg-type]
        self.version = Gauge("palate_model_version", "Version of the active model.", **mode)  # type: ignore[arg-type]
        self.items = Gauge("palate_items", "Items in the catalogue.", **mode)  # type: ignore[arg-type]
        self.odd = Gauge("palate_odd_values", "Values of another type than most of their attribute.", **mode)  # type: ignore[arg-type]
        self._lists: OrderedDict[str, tuple[str, ...]] = OrderedDict()

    def answered(self, user_id: str | None, answer: Answer) -> None:
        """Note a list that was shown."""
        for source, count in answer.sources.items():
            self.answers.labels(source).inc(count)
        if not answer.items:
            self.empty.inc()
        if user_id is not None:
            self.shown.inc(len(answer.items))
            self._lists[user_id] = tuple(place.item_id for place in answer.items)
            self._lists.move_to_end(user_id)
            if len(self._lists) > REMEMBERED:
                self._lists.popitem(last=False)

    def stored(self, events: Iterable[Event]) -> None:
        """Note events that were stored."""
        for event in events:
            self.events.labels(event.event_type).inc()
            shown = self._lists.get(event.user_id, ())
            if event.item_id in shown:
                self._lists[event.user_id] = tuple(item_id for item_id in shown if item_id != event.item_id)
                self.chosen.inc()

    def text(self, snapshot: Snapshot) -> bytes:
        """Return all figures in Prometheus' form."""
        self.items.set(len(snapshot.catalogue))
        self.odd.set(snapshot.catalogue.attributes.odd)
        if snapshot.active is not None:
            self.age.set(time() - snapshot.active.trained / 1_000_000)
            self.version.set(snapshot.active.version)
        return generate_latest(self.collected())

    def collected(self) -> CollectorRegistry:
        """Return the registry to read: of this process, or of all that share a folder."""
        if COLLECTED not in os.environ:
            return self.registry
        together = CollectorRegistry()
        MultiProcessCollector(together)  # type: ignore[no-untyped-call]
        return together


class Timing:
    """ASGI middleware that times every request by its route."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Time one request."""
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
