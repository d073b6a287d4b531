"""Lists beside those of `/v1/recommend`: the client's own items in order, the rows of a page, and named scenarios."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import orjson
from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from palate.data.contexts import MOST_PLACES
from palate.errors import DataError
from palate.ranking.request import MOST_NAMED, MOST_ROWS, ListRequest
from palate.serve.answers import Recommendations
from palate.serve.fast import body_of, completed, json, list_request, ruled, session_event, stages
from palate.serve.routes import FastRoute, documented, needs, new_router, page_of
from palate.serve.service import Service
from palate.serve.wire import CONTEXT, USER, Batch, Body, ContextIn, Name, RuledFields, Rules, StepIn, WireId
from palate.store.scenarios import check_name


class RankIn(Rules):
    """Items of the client, to be put in order for a user or a history."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"user_id": "5", "items": ["260", "1", "32"]}]})

    user_id: WireId | None = Field(None, description=USER)
    history: Batch[StepIn | WireId] = Field(
        [], max_length=MOST_NAMED, description="Ids or events, oldest first, behind the stored ones; not stored."
    )
    items: Batch[WireId] = Field(min_length=1, max_length=MOST_PLACES)
    context: ContextIn | None = Field(None, description=CONTEXT)
    long_tail: float | None = Field(None, ge=0, le=1, description="How much popularity counts against an item.")
    attributes: Batch[str] = Field([], max_length=100, description="Attributes that the answer gives with each item.")

    def list_request(self) -> ListRequest:
        """Return the request for the recommender."""
        only = tuple(dict.fromkeys(self.items))
        wanted = ListRequest(
            user_id=self.user_id,
            k=len(only),
            session=tuple(map(session_event, self.history)),
            only=only,
            explore=0,
            stages=stages(self.diversify, self.calibrate, self.long_tail),
            context=self.context or {},
        )
        return ruled(wanted, self)


class RankedItems(Recommendations):
    """The items in order, best first."""

    unknown: list[str] = Field(description="Items of the request that are not in the catalogue.")


class ScenarioIn(RuledFields):
    """The fields of a scenario."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"k": 5, "filter": "price < 20", "diversify": 0.3}]})

    name: Name | None = Field(None, description="Optional; it must equal the name in the address.")


class RowIn(RuledFields):
    """A row of a page; its fields win over those of its scenario."""

    name: Name | None = Field(None, description="Comes with the answer; the scenario's by default.")
    scenario: Name | None = None


def _as_row(value: object) -> object:
    """Turn a name into a row: it is that of a scenario."""
    return {"scenario": value} if isinstance(value, str) else value


class PageIn(Body):
    """A request for the rows of a page, each the name of a scenario or fields of its own."""

    model_config = ConfigDict(
        strict=True, json_schema_extra={"examples": [{"user_id": "5", "rows": [{"name": "for you", "k": 5}]}]}
    )

    user_id: WireId | None = Field(None, description=USER)
    context: ContextIn | None = Field(None, description=CONTEXT)
    rows: Batch[Annotated[RowIn, BeforeValidator(_as_row, json_schema_input_type=Name | RowIn)]] = Field(
        min_length=1, max_length=MOST_ROWS
    )


class Row(Recommendations):
    """A row of a page."""

    name: str | None


class Page(BaseModel):
    """The rows in the order of the request; no item is there twice."""

    rows: list[Row]


def lists_router(service: Service) -> APIRouter:
    """Make the routes that answer with lists."""
    router = new_router("recommend", route_class=FastRoute)

    @router.post("/v1/rank")
    @needs("read")
    @documented(RankedItems, asked=RankIn)
    async def rank(request: Request) -> Response:
        """Put the client's own items in order for a user.

        Each item in the catalogue comes back once, seen or not, but for what a cap rules out. Items that the model
        cannot rank come behind the others, by popularity.
        """
        asked = RankIn.model_validate_json(await request.body())
        answer = await service.recommend(asked.list_request(), request.receive)
        return json(body_of(service, answer, asked.attributes) | {"unknown": answer.unknown})

    @router.post("/v1/page")
    @needs("read")
    @documented(Page, asked=PageIn)
    async def page(request: Request) -> Response:
        """Fill the rows of a page in their order, none with an item that a row above it shows."""
        asked = PageIn.model_validate_json(await request.body())
        rows = [await _row(service, row) for row in asked.rows]
        wanted = [replace(list_request(row, asked.user_id), context=asked.context or {}) for _, row in rows]
        lists = await service.page(wanted, request.receive)
        made = zip(rows, lists, strict=True)
        return json(
            {"rows": [{"name": name} | body_of(service, answer, row.attributes) for (name, row), answer in made]}
        )

    return router


async def _row(service: Service, row: RowIn) -> tuple[str | None, RuledFields]:
    """Return the name of a row, and its fields."""
    if row.scenario is None:
        return row.name, row
    scenario = await service.run(service.live.scenarios.fields, row.scenario)
    return row.name or row.scenario, completed(row, scenario)


def scenarios_router(service: Service) -> APIRouter:
    """Make the routes of scenarios; a change takes effect in the next list of any process."""
    router, stored = new_router("scenarios"), service.store.scenarios

    @router.get("/v1/scenarios")
    @needs("read")
    def scenarios(limit: Annotated[int, Query(ge=1, le=1000)] = 100, after: str = "") -> dict[str, object]:
        """Return scenarios by name; the next page starts `after` the `next` of this one."""
        found = stored.page(limit, after)
        return page_of("scenarios", [_shown(name, fields) for name, fields in found.items()], [*found], limit)

    @router.get("/v1/scenarios/{name:id}")
    @needs("read")
    def get(name: str) -> dict[str, object]:
        """Return the fields of a scenario."""
        return _shown(name, service.live.scenarios.fields(name))

    @needs("admin")
    @documented(dict[str, object], name=str, fields=ScenarioIn)
    async def put(request: Request) -> Response:
        """Keep the fields of a request under a name; a list is made by them first, which checks them."""
        name = request.path_params["name"]
        check_name(name)
        asked = ScenarioIn.model_validate_json(await request.body())
        if asked.name not in (None, name):
            raise DataError(f"name: {asked.name!r}: the address names {name!r}; both must be one")
        made = await service.answer(list_request(asked), request.receive)
        fields = asked.model_dump_json(exclude_unset=True, exclude={"name"})
        await run_in_threadpool(stored.put, name, fields)
        return json(_shown(name, fields) | ({"warnings": made.warnings} if made.warnings else {}))

    router.add_api_route("/v1/scenarios/{name:id}", put, methods=["PUT"], route_class_override=FastRoute)

    @router.delete("/v1/scenarios/{name:id}")
    @needs("admin")
    def remove(name: str) -> dict[str, int]:
        """Remove a scenario."""
        return {"removed": stored.remove(name)}

    return router


def _shown(name: str, fields: str) -> dict[str, object]:
    return {"name": name, **orjson.loads(fields)}
