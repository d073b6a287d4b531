"""The lists of gorse's API: for a user or a session, popular and latest items, neighbours."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import polars as pl
from starlette.types import Receive

from palate.arrays import Longs
from palate.data.contexts import MOST_PLACES
from palate.errors import SettingError, UnknownId
from palate.live.catalogue import LiveCatalogue
from palate.live.written import containing
from palate.ranking.context import Order
from palate.ranking.pipeline import recommend
from palate.ranking.request import ListRequest, RecommendationList, SessionEvent, Source
from palate.serve.gorse.wire import NO_TIME, moment_of
from palate.serve.service import Service
from palate.store.events import Event
from palate.store.recording import EARLIEST, LATEST, now

AHEAD = 5_000_000  # µs that another clock may be ahead of this one; a later event is in the future

T = TypeVar("T")


@dataclass(frozen=True)
class Part:
    """The `n` positions after the first `offset` of a list of items that are in all the categories."""

    n: int
    offset: int = 0
    categories: Sequence[str] = ()

    @property
    def most(self) -> int:
        """Length of the list up to the end of this part."""
        return min(self.n + self.offset, MOST_PLACES)

    def of(self, places: Sequence[T]) -> Sequence[T]:
        """Cut it out of the list."""
        return places[self.offset : self.offset + self.n]

    @property
    def condition(self) -> str | None:
        """The filter of the categories, None without any."""
        names = [name.replace("'", "''") for name in self.categories if name]
        return " AND ".join(f"'{name}' = ANY(categories)" for name in names) or None


def scores(pairs: Iterable[tuple[object, float]]) -> list[dict[str, object]]:
    """Return a list as gorse does."""
    return [{"Id": str(name), "Score": float(score)} for name, score in pairs]


class Lists:
    """Makes the lists of one service. Each is the beginning of a longer one, so that pages fit together."""

    def __init__(self, service: Service) -> None:
        self.service, self.live, self.store = service, service.live, service.store
        self._order: tuple[LiveCatalogue, Order] | None = None

    async def personal(self, user_id: str, part: Part, receive: Receive) -> list[tuple[str, float]]:
        """Return a user's list; delayed feedback counts from its time on."""
        return await self._list(ListRequest(user_id=user_id, until=now() + AHEAD), part, receive)

    async def session(self, steps: Iterable[SessionEvent], part: Part, receive: Receive) -> list[tuple[str, float]]:
        """Return a list from a history that is not stored."""
        return await self._list(ListRequest(session=tuple(steps)), part, receive)

    async def _list(self, request: ListRequest, part: Part, receive: Receive) -> list[tuple[str, float]]:
        if not part.most:
            return []
        asked = replace(request, k=part.most, filter=part.condition, explore=0)
        return _pairs(part, await self.service.recommend(asked, receive))

    async def write_back(self, user_id: str, shown: Iterable[str], kind: str, delay: int) -> None:
        """Record that items were shown. The events have weight 0: they hide their items and teach no model."""
        time = now() + delay
        events = [Event(user_id, name, kind, time, 0.0) for name in shown]
        # Not by Service.append, which would count them as chosen.
        await asyncio.wrap_future(self.store.submit(events, keep="first"))

    async def similar(self, item_id: str, part: Part, user_id: str, receive: Receive) -> list[tuple[str, float]]:
        """Return items like an item, without those that a user has seen."""
        if not part.most:
            return []
        asked = replace(_unseen(part, user_id), anchor_items=(item_id,))
        return _pairs(part, await self.service.answer(asked, receive), "similar")

    def similar_users(self, user_id: str, part: Part) -> list[tuple[str, float]]:
        """Return users like a user: those that the model knows and the store still has."""
        if not part.most:
            return []
        try:
            found = self.live.snapshot().active.model.similar_users([user_id], part.most)
        except (UnknownId, SettingError):  # a user that the model does not know, a model without vectors of users
            return []
        names = [str(name) for name in found.lists()[0]]
        known = self.store.profiles.known([user_id, *names])
        pairs = [(name, score) for name, score in zip(names, found.score[0].tolist(), strict=False) if name in known]
        return list(part.of(pairs)) if user_id in known else []

    async def popular(self, part: Part, user_id: str, receive: Receive) -> list[tuple[str, float]]:
        """Return the items with most events, by their weights."""
        request = _of_source("popular", part, user_id)
        return [] if request is None else _pairs(part, await self.service.answer(request, receive))

    async def latest(self, part: Part, user_id: str, receive: Receive) -> list[tuple[str, float]]:
        """Return the newest items, with their times in seconds."""
        request = _of_source("newest", part, user_id)
        return [] if request is None else _pairs(part, await self.service.answer(request, receive, self._latest))

    def _latest(self, request: ListRequest) -> RecommendationList:
        context = self.live.context(request)
        return recommend(request, replace(context, newest=self._newest(self.live.snapshot().catalogue)))

    def found(self, words: Sequence[str]) -> list[str]:
        """Ids of the items whose text has all the words, the most popular first."""
        snapshot = self.live.snapshot()
        mask = containing(snapshot.catalogue.attributes.table, [word.lower() for word in words])
        positions = np.flatnonzero(mask)
        best = np.argsort(-snapshot.by_popularity.score[positions], kind="stable")
        return snapshot.index.ids(positions[best])

    def _newest(self, catalogue: LiveCatalogue) -> Order:
        """Return the items by their times: the attribute `timestamp`, or the time of the first storing."""
        known = self._order
        if known is None or known[0] is not catalogue:
            time = _times(catalogue)
            self._order = known = catalogue, Order(np.argsort(-time, kind="stable"), time // 1_000_000)
        return known[1]


def _pairs(part: Part, answer: RecommendationList, source: str | None = None) -> list[tuple[str, float]]:
    places = [place for place in answer.items if source in (None, place.source)]
    return [(place.item_id, place.score) for place in part.of(places)]


def _unseen(part: Part, user_id: str) -> ListRequest:
    """Return a request for a part that is not empty, without items that a user has seen."""
    seen_by, until = user_id or None, now() + AHEAD
    return ListRequest(k=part.most, filter=part.condition, unseen_by=seen_by, until=until, explore=0)


def _of_source(source: Source, part: Part, user_id: str) -> ListRequest | None:
    """Return a request for one source, without items that a user has seen; None for an empty part."""
    return replace(_unseen(part, user_id), sources=(source,)) if part.most else None


def _times(catalogue: LiveCatalogue) -> Longs:
    readers = [_of_text, _of_numbers, _of_numbers]
    parts = [f"{kind}:timestamp" for kind in ("text", "whole", "real")]
    rows = catalogue.table.at(["created", *parts])
    read = [times(rows[part]) for part, times in zip(parts, readers, strict=True)]
    found: Longs = pl.select(pl.coalesce(*read, rows["created"])).to_series().to_numpy()
    return found


def _of_text(column: pl.Series) -> pl.Series:
    """Read times of texts as `moment_of` does: those in the usual form at once, others one by one."""
    usual = column.str.strptime(pl.Datetime("us", "UTC"), "%Y-%m-%dT%H:%M:%S%.fZ", strict=False).to_physical()
    known = usual.set(column.is_in(NO_TIME), None)
    left = column.filter(known.is_null()).drop_nulls().unique().to_list()
    others = column.replace_strict(left, list(map(moment_of, left)), default=None, return_dtype=pl.Int64)
    return pl.select(pl.coalesce(known, others)).to_series()


def _of_numbers(column: pl.Series) -> pl.Series:
    """Read times of numbers as `moment_of` does."""
    size = column.abs()
    unit = pl.when(size < 1e11).then(1_000_000).when(size < 1e14).then(1000).otherwise(1)
    moment = pl.select(pl.when(size < 1e18).then(column * unit).cast(pl.Int64, strict=False)).to_series()
    return moment.set(~moment.is_between(EARLIEST, LATEST), None)
