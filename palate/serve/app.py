"""The application: thin routes over the live recommender and the store, and the middleware around them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Annotated

from fastapi import APIRouter, FastAPI, Path, Query, Response
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse
from starlette.types import ASGIApp

from palate.compute.memory import settle_allocator
from palate.data.times import to_iso
from palate.live.access import events_of, known_of
from palate.live.follower import Follower
from palate.live.snapshot import Active
from palate.serve.dashboard.login import login_router
from palate.serve.dashboard.pages import STATIC, pages_router
from palate.serve.fast import FastRoutes, similar_router
from palate.serve.gorse.api import gorse_routers
from palate.serve.items import items_router
from palate.serve.lists import lists_router, scenarios_router
from palate.serve.metrics import Timing
from palate.serve.orphans import end_with_parent
from palate.serve.problems import HANDLED, Problem, answered
from palate.serve.routes import add_routes, needs, new_router
from palate.serve.security import Guard, Scopes
from palate.serve.service import Service
from palate.serve.settings import Settings
from palate.store.versions import Version

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


class Application(FastAPI):
    """The application, whose document describes the problems too."""

    def openapi(self) -> dict[str, object]:
        """Return the OpenAPI document."""
        document = super().openapi()
        document["components"]["schemas"]["Problem"] = PROBLEM
        return document


def create_app(settings: Settings | None = None) -> ASGIApp:
    """Make the application, by default with the settings that `Settings.to_environment` stored."""
    end_with_parent()
    settle_allocator()
    service = Service.open(settings or Settings.from_environment())
    app = documented(service)
    guarded: ASGIApp = Guard(app, Scopes(app.routes), service)
    if service.settings.origins:
        guarded = CORSMiddleware(
            guarded,
            service.settings.origins,
            allow_methods=["*"],
            allow_headers=["Authorization", "Content-Type", "X-API-Key"],
        )
    return Timing(guarded, service.metrics)


def documented(service: Service) -> FastAPI:
    """Make the routes and their documentation."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        follower = Follower(service.live)
        follower.start()
        yield
        follower.stop()
        service.forgetter.stop()
        service.store.close()  # writes what was submitted

    app = Application(
        title="Palate",
        version=version("palate"),
        summary="A recommender that learns from every event.",
        openapi_url=None,  # FastAPI makes it on the event loop, which would block other requests for half a second
        docs_url=None,  # its page would load scripts from another site
        redoc_url=None,
        lifespan=lifespan,
        redirect_slashes=False,
        exception_handlers=dict.fromkeys(HANDLED, answered),
    )
    add_routes(
        app,
        (
            FastRoutes(service).router(),  # the routes that get most requests come first
            similar_router(service),
            lists_router(service),
            scenarios_router(service),
            items_router(service),
            users_router(service),
            models_router(service),
            health_router(service),
            *gorse_routers(service),
            pages_router(service),
            login_router(service),
        ),
    )
    app.mount("/static", needs("public")(STATIC))

    @app.get("/openapi.json", include_in_schema=False)
    @needs("read")
    def document() -> Response:
        """Return the OpenAPI document; a thread makes it."""
        return JSONResponse(app.openapi())

    return app


def users_router(service: Service) -> APIRouter:
    """Make the routes of users and their histories."""
    router = new_router("users")

    @router.get("/v1/users")
    @needs("read")
    def users(limit: Annotated[int, Query(ge=1, le=10_000)] = 100, after: str = "") -> dict[str, object]:
        """Return ids of users; the next page starts `after` the last id of this one."""
        return {"users": service.store.users(limit, after)}

    @router.get("/v1/users/{user_id:id}")
    @needs("read")
    def history(
        user_id: str,
        limit: Annotated[int, Query(ge=1, le=10_000)] = 100,
        before: Annotated[int | None, Query(ge=0, lt=1 << 63)] = None,
    ) -> dict[str, object]:
        """Return the events of a user, newest first; the next page starts `before` the `next` of this one."""
        return {"user_id": user_id, **events_of(service.store.events(user_id, limit, before), limit)}

    @router.get("/v1/access/{user_id:id}")
    @needs("read")
    def access(
        user_id: str,
        limit: Annotated[int, Query(ge=1, le=10_000)] = 10_000,
        before: Annotated[int | None, Query(ge=0, lt=1 << 63)] = None,
    ) -> dict[str, object]:
        """Return all that the store knows of a user: attributes and events, newest first, a page of them."""
        return known_of(service.store, user_id, limit, before)

    @router.delete("/v1/users/{user_id:id}", status_code=202)
    @needs("admin")
    def forget(user_id: str) -> dict[str, object]:
        """Delete a user: the events are gone when the answer comes, files and models follow."""
        made = service.forgetter.forget([user_id])
        return {
            "deleted": made.deleted,
            "receipt": made.receipt,
            "model": "The rows are gone now, and no list uses them. Files and all versions of the model follow: "
            f"GET /v1/receipts/{made.receipt} says when they are done, and how.",
        }

    @router.get("/v1/receipts/{receipt}")
    @needs("read")
    def receipt(receipt: str) -> dict[str, object]:
        """Return a receipt of forgetting, whose `state` is pending or done."""
        return service.store.receipts.get(receipt)

    return router


def models_router(service: Service) -> APIRouter:
    """Make the routes of the versions of the model."""
    router, versions = new_router("models"), service.versions

    def as_dict(version: Version) -> dict[str, object]:
        return {
            "version": version.number,
            "active": version.number == versions.active(),
            "created": to_iso(version.created),
            **version.about,
        }

    @router.get("/v1/models")
    @needs("read")
    def models() -> dict[str, object]:
        """Return all versions, the newest first."""
        return {"models": [as_dict(version) for version in reversed(versions.list())]}

    @router.post("/v1/models/{number}/activate")
    @needs("admin")
    def activate(number: Annotated[int, Path(ge=1, le=2**31 - 1)]) -> dict[str, object]:
        """Activate a version in all processes."""
        Active.load(versions, number)  # a model may fail to load although its files are sound
        return as_dict(versions.activate(number))

    @router.post("/v1/models/rollback")
    @needs("admin")
    def rollback() -> dict[str, object]:
        """Activate the version that was active before."""
        return as_dict(versions.rollback())

    return router


def health_router(service: Service) -> APIRouter:
    """Make the routes of health and metrics."""
    router = new_router("health")

    @router.get("/health/live")
    @needs("public")
    def live() -> dict[str, str]:
        """Answer 200 while the process runs."""
        return {"status": "live"}

    @router.get("/health/ready")
    @needs("public")
    def ready() -> dict[str, object]:
        """Answer 200 while the store answers, too, and a model of what was in it when the service started."""
        if why := service.unready():
            raise Problem(503, why, {"Retry-After": "1"})
        snapshot = service.live.snapshot()
        return {"status": "ready", "items": len(snapshot.catalogue), "model": snapshot.version}

    @router.get("/metrics", response_class=Response)
    @needs("read")
    def metrics() -> Response:
        """Return the metrics in the format of Prometheus."""
        text = service.metrics.text(service.live.snapshot())
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    return router
