"""The HTTP service: routes thin over the live recommender and the store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Path, Query, Request, Response
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse
from starlette.types import ASGIApp

from palate.data.times import to_iso
from palate.live.snapshot import Active
from palate.ranking.request import ListRequest
from palate.serve.dashboard.login import login_router
from palate.serve.dashboard.pages import STATIC, pages_router
from palate.serve.gorse.api import gorse_router
from palate.serve.hot import Hot, plain
from palate.serve.hot import answered as answered_list
from palate.serve.items import items_router
from palate.serve.metrics import Timing
from palate.serve.orphans import end_with_parent
from palate.serve.problems import HANDLED, answered
from palate.serve.security import Guard
from palate.serve.service import Service
from palate.serve.settings import Settings
from palate.serve.wire import Accepted, EventIn, Recommendations, RecommendIn, RecommendQuery, SessionIn
from palate.store.versions import Version

PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {
        "description": text,
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    for status, text in {
        400: "No JSON, or a condition that cannot be read; `position` is its place.",
        401: "No API key, or a wrong one.",
        403: "The key may not do this.",
        404: "Unknown.",
        409: "The model cannot be activated.",
        413: "Too large.",
        422: "A value breaks its rule.",
        429: "Too many requests.",
        503: "The store is out of reach; try again.",
    }.items()
}
PROBLEM = {
    "type": "object",
    "title": "Problem",
    "description": "RFC 9457",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
    },
}


def create_app(settings: Settings | None = None) -> ASGIApp:
    """Make the application, by default with the settings that `Settings.to_environment` left."""
    end_with_parent()
    service = Service.open(settings or Settings.from_environment())
    app = documented(service)
    guarded: ASGIApp = Guard(app, service.settings, service.keys, in_process=service.store.in_process)
    if service.settings.origins:
        guarded = CORSMiddleware(
            guarded,
            service.settings.origins,
            allow_methods=["*"],
            allow_headers=["Authorization", "Content-Type", "X-API-Key"],
        )
    return Timing(guarded, service.metrics)


def documented(service: Service) -> FastAPI:
    """Make the routes with their documentation."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        service.store.close()  # writes what was submitted

    app = FastAPI(
        title="Palate",
        version=version("palate"),
        summary="A recommender that learns from every event.",
        openapi_url=None,  # made on the event loop, where others would wait for half a second
        docs_url=None,  # its page would load scripts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
        responses=PROBLEMS,
        redirect_slashes=False,
        exception_handlers=dict.fromkeys(HANDLED, answered),
    )
    app.include_router(hot_router(service))
    app.include_router(items_router(service))
    app.include_router(people_router(service))
    app.include_router(models_router(service))
    app.include_router(health_router(service))
    app.include_router(gorse_router(service))
    app.include_router(pages_router(service))
    app.include_router(login_router(service))
    app.mount("/static", STATIC)
    schema = app.openapi

    def openapi() -> dict[str, Any]:
        told = schema()
        told["components"]["schemas"]["Problem"] = PROBLEM
        return told

    app.openapi = openapi  # type: ignore[method-assign]

    @app.get("/openapi.json", include_in_schema=False)
    def document() -> Response:
        """Answer in a thread."""
        return JSONResponse(app.openapi())

    return app


def hot_router(service: Service) -> APIRouter:
    """Make the routes of events and recommendations. The functions here only document: `Hot` answers."""
    router, hot = APIRouter(tags=["recommend"]), Hot(service)

    def events(body: EventIn | list[EventIn]) -> Accepted:  # type: ignore[empty-body]
        """Store what people did: one event, a list, or lines of JSON (application/x-ndjson).

        When the answer comes the events are on the disk and the next list reflects them. An event sent again with its
        event_id counts once. One bad event refuses them all.
        """

    def recommend(asked: Annotated[RecommendQuery, Query()]) -> Recommendations:  # type: ignore[empty-body]
        """Recommend items; `exclude` may be repeated, or hold ids between commas."""

    def recommend_post(asked: RecommendIn) -> Recommendations:  # type: ignore[empty-body]
        """Recommend items, with rules for the list: boosts, pins and caps."""

    def session(asked: SessionIn) -> Recommendations:  # type: ignore[empty-body]
        """Recommend from a history in the body, of which nothing is stored."""

    for path, method, function, handler in (
        ("/v1/events", "POST", events, hot.events),
        ("/v1/recommend", "GET", recommend, hot.recommend_get),
        ("/v1/recommend", "POST", recommend_post, hot.recommend_post),
        ("/v1/recommend/session", "POST", session, hot.session),
    ):
        router.add_api_route(path, function, methods=[method], route_class_override=plain(handler))

    @router.get("/v1/similar/{item_id:id}", response_model=Recommendations)
    async def similar(
        request: Request,
        item_id: Annotated[str, Path(examples=["260"])],
        k: Annotated[int, Query(ge=1, le=1000)] = 10,
        filter: Annotated[str | None, Query(max_length=4000)] = None,
    ) -> Response:
        """Items like one item; popular ones where nothing is known of it."""
        asked = ListRequest(k=k, filter=filter, anchor_items=(item_id,), explore=0)
        return answered_list(await service.answer(asked, request.receive))

    return router


def people_router(service: Service) -> APIRouter:
    """Make the routes of what is stored of people."""
    router = APIRouter(tags=["people"])

    @router.get("/v1/users")
    def users(limit: Annotated[int, Query(ge=1, le=10_000)] = 100, after: str = "") -> dict[str, Any]:
        """Ids of people; the next page comes `after` the last of this one."""
        return {"users": service.store.users(limit, after)}

    @router.get("/v1/users/{user_id:id}")
    def history(
        user_id: str,
        limit: Annotated[int, Query(ge=1, le=10_000)] = 100,
        before: Annotated[int | None, Query(ge=0, lt=1 << 63)] = None,
    ) -> dict[str, Any]:
        """Events of a person, newest first; the next page comes `before` the `next` of this one."""
        found = service.store.events(user_id, limit, before)
        told = [
            {
                "event_id": event.event_id,
                "user_id": event.user_id,
                "item_id": event.item_id,
                "event_type": event.event_type,
                "timestamp": to_iso(event.time),
                "weight": event.weight,
            }
            for event in found
        ]
        return {"user_id": user_id, "events": told, "next": found[-1].seq if len(found) == limit else None}

    @router.delete("/v1/users/{user_id:id}")
    def forget(user_id: str) -> dict[str, Any]:
        """Forget a person: their events are gone when the answer comes."""
        return {
            "deleted": service.store.forget(user_id),
            "model": "The rows are gone now, and no list uses them. The next training is without them, and takes "
            "what models keep of the user out of all versions.",
        }

    return router


def models_router(service: Service) -> APIRouter:
    """Make the routes of the versions of the model."""
    router, versions = APIRouter(tags=["models"]), service.versions

    def told(version: Version) -> dict[str, Any]:
        return {
            "version": version.number,
            "active": version.number == versions.active(),
            "created": to_iso(version.created),
            **version.about,
        }

    @router.get("/v1/models")
    def models() -> dict[str, Any]:
        """All versions, the newest first."""
        return {"models": [told(version) for version in reversed(versions.list())]}

    @router.post("/v1/models/{number}/activate")
    def activate(number: Annotated[int, Path(ge=1, le=2**31 - 1)]) -> dict[str, Any]:
        """Have a version answer, in all processes."""
        Active.load(versions, number)  # which is more than to find its files sound
        return told(versions.activate(number))

    @router.post("/v1/models/rollback")
    def rollback() -> dict[str, Any]:
        """Return to the version that answered before."""
        return told(versions.rollback())

    return router


def health_router(service: Service) -> APIRouter:
    """Make the routes that tell whether it works, and how well."""
    router = APIRouter(tags=["health"])

    @router.get("/health/live")
    def live() -> dict[str, str]:
        """RecommendationList as long as the process does."""
        return {"status": "live"}

    @router.get("/health/ready")
    def ready() -> dict[str, Any]:
        """RecommendationList when the store does too."""
        service.store.newest()
        snapshot = service.live.snapshot()
        return {"status": "ready", "items": len(snapshot.catalogue), "model": snapshot.version}

    @router.get("/metrics", response_class=Response)
    def metrics() -> Response:
        """Figures for Prometheus."""
        text = service.metrics.text(service.live.snapshot())
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    return router
