"""What the routes share: the live recommender of this process, its figures, and how work gets off the event loop."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from starlette.concurrency import run_in_threadpool
from threadpoolctl import threadpool_limits

from palate.live.service import Live
from palate.models.saved import load
from palate.ranking.request import ListRequest, RecommendationList
from palate.serve.metrics import Metrics
from palate.serve.settings import Settings
from palate.store.events import Appended, Event, Store
from palate.store.keys import Keys
from palate.store.recording import Keep
from palate.store.versions import Versions

P = ParamSpec("P")
R = TypeVar("R")
SWITCH = 0.0005  # seconds that answers may keep the writer of events waiting, which needs the interpreter often


@dataclass(frozen=True, eq=False)
class Service:
    """One process of the service."""

    live: Live
    keys: Keys
    versions: Versions
    metrics: Metrics
    settings: Settings

    @classmethod
    def open(cls, settings: Settings) -> Service:
        """Open the store and load the active model."""
        sys.setswitchinterval(SWITCH)
        threadpool_limits(1, "blas")  # one answer needs so little that threads would only wait for each other
        store = Store.open(settings.store)
        versions = Versions(store, settings.models, load)
        return cls(Live(store, versions, settings.weights), Keys(store), versions, Metrics(), settings)

    @property
    def store(self) -> Store:
        """Return the store."""
        return self.live.store

    async def run(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Do what takes microseconds here, and what waits for a database elsewhere in a thread."""
        if self.store.in_process:
            return work(*args, **kwargs)
        return await run_in_threadpool(work, *args, **kwargs)

    async def append(self, events: Sequence[Event], keep: Keep = "all") -> Appended:
        """Store events as `Store.submit` does; returns when they are on the disk."""
        appended = await asyncio.wrap_future(self.store.submit(events, keep))
        self.metrics.stored(events)
        return appended

    async def recommend(self, asked: ListRequest) -> RecommendationList:
        """Return a list, and note it."""
        # A condition may take its time: off the event loop, so that others are answered meanwhile.
        slow = asked.filter is not None or asked.boost
        answer = await (run_in_threadpool if slow else self.run)(self.live.recommend, asked)
        self.metrics.answered(asked.user_id, answer)
        return answer
