"""The routes that get most requests, recommendations and events, without FastAPI's parsing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import lru_cache
from json import dumps
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Path, Query
from fastapi.concurrency import run_in_threadpool
from pydantic import Field, TypeAdapter
from starlette.requests import Request
from starlette.responses import Response

from palate.data.contexts import MOST_PLACES
from palate.data.times import HOUR, HOURS_AHEAD, to_iso
from palate.models.registry import stage_class
from palate.ranking.request import (
    Boost,
    Cap,
    Explore,
    ListRequest,
    Pin,
    RecommendationList,
    SessionEvent,
    Share,
    list_id,
    read_list_id,
)
from palate.serve.answers import Recommendations, UserLists
from palate.serve.bodies import NDJSON, kind_of
from palate.serve.problems import Problem
from palate.serve.routes import FastRoute, documented, needs, new_router
from palate.serve.service import Service
from palate.serve.wire import (
    ATTRIBUTES,
    Accepted,
    Batch,
    Counted,
    EventIn,
    ImpressionIn,
    OneListIn,
    RecommendIn,
    RecommendQuery,
    RuledFields,
    Rules,
    SessionIn,
    StepIn,
    Strict,
    calibration,
)
from palate.store.recording import now

MOST_LISTS = 1000  # seen, of one request
LISTS = ("exclude", "near", "attributes", "sources")
EVENTS = TypeAdapter(Batch[EventIn])
IMPRESSIONS = TypeAdapter(Annotated[Batch[ImpressionIn], Field(max_length=MOST_LISTS)])


def json(body: object, status: int = 200) -> Response:
    """Answer with JSON; orjson does not write integers beyond 64 bits, which attributes may hold."""
    try:
        text = orjson.dumps(body)
    except TypeError:
        text = dumps(body, ensure_ascii=False, separators=(",", ":"), default=asdict).encode()
    return Response(text, status, media_type="application/json")


async def many_of(request: Request) -> bytes:
    """Read a body of one value or a list; lines of JSON become a list."""
    body = (await request.body()).strip()
    if kind_of(request.headers.get("content-type", "").encode("latin-1")) in NDJSON:
        return b"[%s]" % b",".join(line for line in body.split(b"\n") if line.strip())
    return body


class FastRoutes:
    """The handlers, over one service."""

    def __init__(self, service: Service) -> None:
        self.service = service

    def router(self) -> APIRouter:
        """Make the routes."""
        router = new_router("recommend", route_class=FastRoute)
        router.post("/v1/events")(self.events)
        router.post("/v1/impressions")(self.impressions)
        router.get("/v1/recommend")(self.recommend)
        router.post("/v1/recommend")(self.recommend_post)
        router.post("/v1/recommend/session")(self.session)
        return router

    @needs("write")
    @documented(Accepted, body=EventIn | list[EventIn])
    async def events(self, request: Request) -> Response:
        """Store events of users: one event, a list, or lines of JSON (application/x-ndjson).

        When the answer comes the events are on the disk and the next list reflects them. An event sent again with its
        event_id counts once. One invalid event refuses them all.
        """
        body = await many_of(request)
        many = EVENTS.validate_json(body) if body[:1] == b"[" else [EventIn.model_validate_json(body)]
        _refuse_ahead(many, batch=body[:1] == b"[")
        appended = await self.service.append([each.event(self._place(each)) for each in many])
        return json({"accepted": appended.new, "repeated": appended.repeated})

    @needs("write")
    @documented(Counted, body=ImpressionIn | list[ImpressionIn])
    async def impressions(self, request: Request) -> Response:
        """Count what users saw: one list, several, or lines of JSON (application/x-ndjson).

        With them, and with the `list_id` of events, a training knows how likely users look at each place of a list.
        Only counts of items and places are kept, nothing of a user.
        """
        body = await many_of(request)
        many = IMPRESSIONS.validate_json(body if body[:1] == b"[" else b"[%s]" % body)
        counts = Counter[tuple[int, int]]()
        for each in many:
            shown = read_list_id(each.list_id)
            places = enumerate(shown.numbers[: each.seen], shown.first)
            counts.update((number, place) for place, number in places if place <= MOST_PLACES)
        await run_in_threadpool(self.service.store.impressions.add, counts)
        return json({"counted": counts.total()})

    @needs("read")
    @documented(Recommendations, asked=Annotated[RecommendQuery, Query()])
    async def recommend(self, request: Request) -> Response:
        """Recommend items; `exclude` may be repeated, or hold ids between commas."""
        values: dict[str, str] = {}
        lists: dict[str, list[str]] = {}
        for name, value in request.query_params.multi_items():
            if name == "context":
                lists.setdefault(name, []).append(value)
            elif name in LISTS:
                lists.setdefault(name, []).extend(self._ids(value))
            elif name in values:
                raise Problem(422, f"{name}: is there twice")
            else:
                values[name] = value
        return await self._answered(RecommendQuery.model_validate(values | lists), request)

    @needs("read")
    @documented(Recommendations | UserLists, asked=RecommendIn)
    async def recommend_post(self, request: Request) -> Response:
        """Recommend items, with rules for the list: boosts, pins, caps and stages; with `user_ids` a list to each."""
        asked = RecommendIn.model_validate_json(await request.body())
        if not asked.user_ids:
            return await self._answered(asked, request)
        whole = asked if asked.scenario is None else await self._completed(asked, asked.scenario)
        wanted = list_request(whole)
        users = list(dict.fromkeys(asked.user_ids))
        lists = await self.service.of_users([replace(wanted, user_id=user) for user in users], request.receive)
        made = zip(users, lists, strict=True)
        bodies = [{"user_id": user} | body_of(self.service, one, whole.attributes) for user, one in made]
        return json({"lists": bodies})

    @needs("read")
    @documented(Recommendations, asked=SessionIn)
    async def session(self, request: Request) -> Response:
        """Recommend from a history in the body; the service stores nothing of it."""
        asked = SessionIn.model_validate_json(await request.body())
        return await self._answered(asked, request, tuple(map(session_event, asked.history)))

    def _place(self, event: EventIn) -> int:
        """Place of the item of an event in the list that showed it, 0 where that is not known."""
        if event.list_id is None:
            return 0
        return read_list_id(event.list_id).place_of(self.service.live.number_of(event.item_id))

    def _ids(self, value: str) -> Sequence[str]:
        """Split ids at commas, unless the whole text is an id itself."""
        return [value] if "," not in value or self.service.live.number_of(value) >= 0 else value.split(",")

    async def _answered(
        self, asked: RecommendQuery | OneListIn, request: Request, session: tuple[SessionEvent, ...] = ()
    ) -> Response:
        whole = asked if asked.scenario is None else await self._completed(asked, asked.scenario)
        wanted = list_request(whole, asked.user_id, cursor=asked.cursor, session=session)
        if asked.context:
            wanted = replace(wanted, context=asked.context)
        answer = await self.service.recommend(wanted, request.receive)
        return json(body_of(self.service, answer, whole.attributes))

    async def _completed(self, asked: RecommendQuery | OneListIn, name: str) -> RuledFields:
        return completed(asked, await self.service.run(self.service.live.scenarios.fields, name))


def similar_router(service: Service) -> APIRouter:
    """Make the route of similar items."""
    router = new_router("recommend")

    @router.get("/v1/similar/{item_id:id}", response_model=Recommendations)
    @needs("read")
    async def similar(
        request: Request,
        item_id: Annotated[str, Path(examples=["260"])],
        k: Annotated[int, Query(ge=1, le=1000)] = 10,
        filter: Annotated[str | None, Query(max_length=4000)] = None,
        attributes: Annotated[list[str], Query(max_length=100, description=ATTRIBUTES)] = [],  # noqa: B006
    ) -> Response:
        """Return items like one item; popular ones where the item has neither events nor attributes."""
        asked = ListRequest(k=k, filter=filter, anchor_items=(item_id,), explore=0)
        names = [name for each in attributes for name in each.split(",")]
        return json(body_of(service, await service.answer(asked, request.receive), names))

    return router


def completed(asked: RecommendQuery | RuledFields, scenario: str) -> RuledFields:
    """Return the fields of a scenario, given as JSON, with those that a request states in their place."""
    stated = {name: getattr(asked, name) for name in asked.model_fields_set}
    return RuledFields.model_construct(**(_fields_of(scenario) | stated))


@lru_cache(100)
def _fields_of(scenario: str) -> dict[str, Any]:
    fields = RuledFields.model_validate_json(scenario)
    return {name: getattr(fields, name) for name in fields.model_fields_set}


def list_request(
    asked: RecommendQuery | RuledFields,
    user_id: str | None = None,
    *,
    cursor: str | None = None,
    session: tuple[SessionEvent, ...] = (),
) -> ListRequest:
    """Return the request for the recommender."""
    wanted = ListRequest(
        user_id=user_id,
        k=asked.k,
        session=session,
        anchor_items=tuple(asked.near),
        filter=asked.filter,
        exclude=tuple(asked.exclude),
        keep_seen=asked.keep_seen,
        explore=asked.explore if isinstance(asked.explore, float) else Explore(**asked.explore.model_dump()),
        cursor=cursor,
        sources=tuple(asked.sources),
        stages=stages(asked.diversify, asked.calibrate, asked.long_tail),
    )
    return ruled(wanted, asked) if isinstance(asked, Rules) else wanted


def ruled(wanted: ListRequest, asked: Rules) -> ListRequest:
    """Return a request for the recommender with rules."""
    return replace(
        wanted,
        boost=tuple(Boost(each.condition, each.factor) for each in asked.boost),
        pin=tuple(Pin(each.item_id, each.position) for each in asked.pin),
        cap=tuple(Cap(each.attribute, each.most) for each in asked.cap),
        share=tuple(Share(each.condition, each.least) for each in asked.share),
    )


def stages(
    diversify: float | Strict | None, calibrate: str | Strict | None, long_tail: float | None
) -> tuple[object, ...]:
    """Return the stages that a request asks for, in the order in which they run."""
    named = ("Diversify", diversify), ("Calibrate", calibrate), ("LongTail", long_tail)
    return tuple(stage_class(name)(**_settings(value)) for name, value in named if value is not None)


def _settings(value: float | str | Strict) -> dict[str, object]:
    """Return the settings of a stage: a number is its strength, a text an attribute and a strength."""
    if isinstance(value, Strict):
        return value.model_dump()
    if isinstance(value, str):
        attribute, strength = calibration(value)
        return {"attribute": attribute} | ({} if strength is None else {"strength": strength})
    return {"strength": value}


def session_event(step: StepIn | str) -> SessionEvent:
    """Return an event of a session for the recommender; an id alone is one, too."""
    if isinstance(step, str):
        return SessionEvent(step)
    return SessionEvent(step.item_id, step.event_type, step.weight, step.timestamp)


def _refuse_ahead(many: Sequence[EventIn], *, batch: bool) -> None:
    """Refuse a time far ahead of the clock: such an event would stay the newest of its user."""
    clock = now()
    for n, each in enumerate(many):
        if each.timestamp is not None and each.timestamp > clock + HOURS_AHEAD * HOUR:
            place = f"{n}.timestamp" if batch else "timestamp"
            rule = f"may be at most {HOURS_AHEAD} hours ahead of the clock here, which says {to_iso(clock)}"
            raise Problem(400, f"{place}: {to_iso(each.timestamp)!r}: {rule}")


def body_of(service: Service, answer: RecommendationList, attributes: Sequence[str] = ()) -> dict[str, object]:
    """Return a list as the answer holds it; `attributes` are given with each item."""
    more: list[dict[str, object]] = [{} for _ in answer.items]
    notes = [*answer.warnings]
    if attributes:
        values = service.live.attributes_of([place.item_id for place in answer.items], attributes)
        more = [{"attributes": each} for each in values]
        notes += [f"attributes: {note}" for note in service.live.unknown(attributes)]
    if answer.propensities:
        more = [each | {"propensity": own} for each, own in zip(more, answer.propensities, strict=True)]
    whole = [asdict(place) | each if each else place for place, each in zip(answer.items, more, strict=True)]
    body: dict[str, object] = {
        "id": list_id(answer),
        "items": whole,
        "model": answer.model,
        "cursor": answer.cursor,
        "reason": answer.reason,
    }
    return body | {"warnings": notes} if notes else body
