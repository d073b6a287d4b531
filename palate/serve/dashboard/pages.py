"""The routes of the page, rendered from templates; its scripts read /page/."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, Request, Response
from starlette.staticfiles import StaticFiles

from palate.serve.dashboard.catalogue import items_routes, map_routes
from palate.serve.dashboard.models import models_routes
from palate.serve.dashboard.overview import overview_routes
from palate.serve.dashboard.preview import preview_routes
from palate.serve.dashboard.privacy import Spent
from palate.serve.dashboard.rendering import Pages
from palate.serve.dashboard.users import users_routes
from palate.serve.routes import LateRoute, needs
from palate.serve.service import Service

STATIC = StaticFiles(directory=Path(__file__).parent / "static")


def pages_router(service: Service) -> APIRouter:
    """Make all routes of the page."""
    router, pages = APIRouter(include_in_schema=False, route_class=LateRoute), Pages(service)
    overview_routes(router, pages)
    users_routes(router, pages)
    preview_routes(router, pages)
    items_routes(router, pages)
    map_routes(router, pages)
    models_routes(router, pages)
    privacy_routes(router, pages)
    return router


def privacy_routes(router: APIRouter, pages: Pages) -> None:
    """Add what is proven of the active model, and what private trainings have spent."""
    service = pages.service

    @router.get("/privacy")
    @needs("read")
    def privacy(request: Request) -> Response:
        active = service.live.snapshot().active
        return pages.page(
            request,
            "privacy.html",
            active=active.version,
            guarantee=active.model.guarantee,
            spent=Spent.of(service.store),
        )
