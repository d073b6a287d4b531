"""What the routes share: the live recommender of this process, its metrics, and the choice of a thread."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio import FIRST_COMPLETED, Semaphore, create_task, wait
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import ParamSpec, TypeAlias, TypeVar

from starlette.concurrency import run_in_threadpool
from starlette.types import Receive
from threadpoolctl import threadpool_limits

from palate.errors import GivenUp
from palate.kernels.nesting import measured
from palate.live.forgetter import Forgetter
from palate.live.patience import still_wanted, waiting
from palate.live.service import Live
from palate.models.registry import load
from palate.ranking.request import USUAL_SOURCES, ListRequest, RecommendationList, check_users, conditions_of
from palate.serve.bounds import CHEAP_STEPS, CONDITION_SECONDS, SHORT
from palate.serve.metrics import Metrics
from palate.serve.settings import Settings
from palate.serve.training import Trainings
from palate.store.events import Appended, Event, Store
from palate.store.keys import Keys
from palate.store.recording import Keep
from palate.store.versions import Versions

P = ParamSpec("P")
R = TypeVar("R")
Make: TypeAlias = Callable[[ListRequest], RecommendationList]
COSTLY = max(1, (os.cpu_count() or 2) // 2)  # requests with long conditions that run at once
SWITCH = 0.0005  # seconds between thread switches: the writer of events needs the interpreter often


@dataclass(frozen=True, eq=False)
class Service:
    """One process of the service."""

    live: Live
    keys: Keys
    versions: Versions
    metrics: Metrics
    settings: Settings
    forgetter: Forgetter
    trainings: Trainings
    had_events: bool  # when it was opened
    _costly: Semaphore = field(default_factory=lambda: Semaphore(COSTLY))

    @classmethod
    def open(cls, settings: Settings) -> Service:
        """Open the store and load the active model."""
        sys.setswitchinterval(SWITCH)
        threadpool_limits(1, "blas")  # one answer is too little work for several threads
        measured(b"{}")  # which the first body shall not wait for; `Live` does so for lists
        store = Store.open(settings.store)
        if store.in_process:  # a server of databases has other clients, who want connections too
            store.database.fill()
        versions = Versions(store, settings.models, load)
        live = Live(store, versions, settings.weights)
        forgetter, trainings = Forgetter(store, versions), Trainings(settings, versions)
        return cls(live, Keys(store), versions, Metrics(), settings, forgetter, trainings, store.newest() > 0)

    @property
    def store(self) -> Store:
        """Return the store."""
        return self.live.store

    def unready(self) -> str:
        """Say what the service waits for, "" where it is ready: a model, where it was opened with events.

        One that began without events learns from those that come; there is no model to wait for. Raises `StoreError`.
        """
        self.store.newest()
        if self.settings.without_model or not self.had_events or self.live.snapshot().version is not None:
            return ""
        return "the store has events, and no model answers yet; `palate train` makes one"

    async def run(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run work here if the database is in process, else in a thread, since the work waits for the network."""
        if self.store.in_process:
            return work(*args, **kwargs)
        return await run_in_threadpool(work, *args, **kwargs)

    async def append(self, events: Sequence[Event], keep: Keep = "all") -> Appended:
        """Store events as `Store.submit` does; returns when they are on the disk."""
        appended = await asyncio.wrap_future(self.store.submit(events, keep))
        self.metrics.stored(events)
        return appended

    async def recommend(self, asked: ListRequest, receive: Receive) -> RecommendationList:
        """Return a list as `answer` does, and count it."""
        answer = await self.answer(asked, receive)
        self.metrics.answered(asked.user_id, answer)
        return answer

    async def answer(self, asked: ListRequest, receive: Receive, make: Make | None = None) -> RecommendationList:
        """Return a list. Raises `GivenUp` where conditions take too long or the client disconnects.

        make  makes the list, in a thread; by default the live recommender
        """
        making = make or self.live.recommend
        if asked.conditions:
            return await self._conditioned(asked.conditions, partial(making, asked), receive)
        slow = make or asked.anchor_items or asked.stages or asked.only or asked.sources != USUAL_SOURCES
        return await (run_in_threadpool if slow else self.run)(making, asked)

    async def page(self, rows: Sequence[ListRequest], receive: Receive) -> list[RecommendationList]:
        """Return the lists of a page, and count them. Raises as `answer`, in the time of one list."""
        return await self._lists(rows, conditions_of(rows), partial(self.live.page, rows), receive)

    async def of_users(self, rows: Sequence[ListRequest], receive: Receive) -> list[RecommendationList]:
        """Return the lists of several users, and count them. Raises as `page`."""
        check_users(rows)
        return await self._lists(rows, rows[0].conditions, partial(self._of_each, rows), receive)

    def _of_each(self, rows: Sequence[ListRequest]) -> list[RecommendationList]:
        lists = []
        for row in rows:
            still_wanted()
            lists.append(self.live.recommend(row))
        return lists

    async def _lists(
        self,
        rows: Sequence[ListRequest],
        conditions: Sequence[str],
        make: Callable[[], list[RecommendationList]],
        receive: Receive,
    ) -> list[RecommendationList]:
        lists = await (self._conditioned(conditions, make, receive) if conditions else run_in_threadpool(make))
        for row, made in zip(rows, lists, strict=True):
            self.metrics.answered(row.user_id, made)
        return lists

    async def _conditioned(self, conditions: Sequence[str], make: Callable[[], R], receive: Receive) -> R:
        """Do work with these conditions, while its client waits for it and it does not take too long."""
        with waiting():
            work, left = create_task(self._in_turn(conditions, make)), create_task(_left(receive))
            try:
                await wait((work, left), timeout=CONDITION_SECONDS, return_when=FIRST_COMPLETED)
                if work.done():
                    return work.result()
                raise GivenUp(f"conditions took longer than {CONDITION_SECONDS} s beside others; try again")
            finally:
                work.cancel()
                left.cancel()

    async def _in_turn(self, conditions: Sequence[str], make: Callable[[], R]) -> R:
        """Work in a thread; the number of long conditions at once is limited, so that threads stay free."""
        short = sum(map(len, conditions)) <= SHORT
        if short and await run_in_threadpool(self.live.steps, conditions) <= CHEAP_STEPS:
            return await run_in_threadpool(make)
        async with self._costly:
            return await run_in_threadpool(make)


async def _left(receive: Receive) -> None:
    """Wait until the client disconnects."""
    while (await receive())["type"] != "http.disconnect":
        pass
