"""The application: thin routes over the live recommender and the store, and the middleware around them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import APIRouter, FastAPI, Response
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse
from starlette.types import ASGIApp

from palate.compute.memory import settle_allocator
from palate.live.follower import Follower
from palate.serve.dashboard.login import login_router
from palate.serve.dashboard.pages import STATIC, pages_router
from palate.serve.fast import FastRoutes, similar_router
from palate.serve.gorse.api import gorse_routers
from palate.serve.items import items_router
from palate.serve.lists import lists_router, scenarios_router
from palate.serve.metrics import Timing
from palate.serve.models import models_router
from palate.serve.orphans import end_with_parent
from palate.serve.outcomes import OutcomeRecorder
from palate.serve.problems import HANDLED, Problem, answered
from palate.serve.routes import add_routes, needs, new_router
from palate.serve.security import Guard, Scopes
from palate.serve.service import Service
from palate.serve.settings import Settings
from palate.serve.users import users_router, withdrawing_router

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
        threads = Follower(service.live), OutcomeRecorder(service.metrics.outcomes, service.live)
        for each in threads:
            each.start()
        yield
        for each in threads:
            each.stop()
        service.forgetter.stop()
        service.trainings.stop()
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
            withdrawing_router(service),
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
