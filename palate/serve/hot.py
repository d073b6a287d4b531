"""The routes asked all the time, as plain Starlette: recommend, and events."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from json import dumps
from typing import Any, TypeAlias

import orjson
from fastapi.routing import APIRoute
from pydantic import TypeAdapter
from starlette.convertors import Convertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import Response

from palate.data.times import HOURS_AHEAD, to_iso
from palate.ranking.request import RecommendationList
from palate.serve.bodies import NDJSON, kind_of
from palate.serve.problems import Problem
from palate.serve.service import Service
from palate.serve.wire import Batch, EventIn, RecommendIn, RecommendQuery, SessionIn
from palate.store.recording import now

Handler: TypeAlias = Callable[[Request], Awaitable[Response]]
HOUR = 3_600_000_000  # microseconds
LISTS = ("exclude", "near", "attributes")
EVENTS = TypeAdapter(Batch[EventIn])


class AnyId(Convertor[str]):
    """The rest of a path, whatever it holds: slashes and line breaks too. In a route it is written `{item_id:id}`."""

    regex = r"[\s\S]+"

    def convert(self, value: str) -> str:
        """Return the id."""
        return value

    def to_string(self, value: str) -> str:
        """Return the id."""
        return value


register_url_convertor("id", AnyId())


def plain(handler: Handler) -> type[APIRoute]:
    """Make a kind of route that FastAPI documents by the signature, and that `handler` answers without FastAPI."""

    class Plain(APIRoute):
        def get_route_handler(self) -> Any:
            return handler

    return Plain


def json(body: object, status: int = 200) -> Response:
    """Answer with JSON; orjson knows no numbers beyond 64 bits, which attributes may hold."""
    try:
        text = orjson.dumps(body)
    except TypeError:
        text = dumps(body, ensure_ascii=False, separators=(",", ":"), default=asdict).encode()
    return Response(text, status, media_type="application/json")


async def many_of(request: Request) -> bytes:
    """Read a body of one thing or a list of them; lines of JSON become a list."""
    body = (await request.body()).strip()
    if kind_of(request.headers.get("content-type", "").encode("latin-1")) in NDJSON:
        return b"[%s]" % b",".join(line for line in body.split(b"\n") if line.strip())
    return body


class Hot:
    """The handlers, over one service."""

    def __init__(self, service: Service) -> None:
        self.service = service

    async def recommend_get(self, request: Request) -> Response:
        """Answer a list, asked for in the query."""
        values: dict[str, Any] = {}
        for name, value in request.query_params.multi_items():
            if name in LISTS:
                values.setdefault(name, []).extend(self._ids(value))
            elif name in values:
                raise Problem(422, f"{name}: is there twice")
            else:
                values[name] = value
        asked = RecommendQuery.model_validate(values)
        return self._answered(asked, await self.service.recommend(asked.asked(), request.receive))

    async def recommend_post(self, request: Request) -> Response:
        """Answer a list, asked for in the body."""
        asked = RecommendIn.model_validate_json(await request.body())
        return self._answered(asked, await self.service.recommend(asked.asked(), request.receive))

    async def session(self, request: Request) -> Response:
        """Answer a list from the history in the body."""
        asked = SessionIn.model_validate_json(await request.body())
        return self._answered(asked, await self.service.recommend(asked.asked(asked.steps()), request.receive))

    async def events(self, request: Request) -> Response:
        """Store one event or many."""
        body = await many_of(request)
        many = EVENTS.validate_json(body) if body[:1] == b"[" else [EventIn.model_validate_json(body)]
        _refuse_ahead(many, batch=body[:1] == b"[")
        appended = await self.service.append([each.event() for each in many])
        return json({"accepted": appended.new, "repeated": appended.repeated})

    def _ids(self, value: str) -> Sequence[str]:
        """Ids between commas, unless the whole is an id of its own."""
        return [value] if "," not in value or self.service.live.knows(value) else value.split(",")

    def _answered(self, asked: RecommendQuery, answer: RecommendationList) -> Response:
        live, names = self.service.live, asked.attributes
        if not names:
            return answered(answer)
        told = live.attributes_of([place.item_id for place in answer.items], names)
        items = [asdict(place) | {"attributes": each} for place, each in zip(answer.items, told, strict=True)]
        return answered(answer, items, [f"attributes: {note}" for note in live.unknown(names)])


def _refuse_ahead(many: Sequence[EventIn], *, batch: bool) -> None:
    """Refuse a time far ahead of the clock: one wrong clock would stand before all other events for good."""
    clock = now()
    for n, each in enumerate(many):
        if each.timestamp is not None and each.timestamp > clock + HOURS_AHEAD * HOUR:
            place = f"{n}.timestamp" if batch else "timestamp"
            rule = f"may be at most {HOURS_AHEAD} hours ahead of the clock here, which says {to_iso(clock)}"
            raise Problem(400, f"{place}: {to_iso(each.timestamp)!r}: {rule}")


def answered(
    answer: RecommendationList, items: Sequence[Any] | None = None, warnings: Sequence[str] = ()
) -> Response:
    """Answer with a list, of the answer's own items by default."""
    told = {
        "items": answer.items if items is None else items,
        "model": answer.model,
        "cursor": answer.cursor,
        "reason": answer.reason,
    }
    every = [*answer.warnings, *warnings]
    return json(told | {"warnings": every} if every else told)
