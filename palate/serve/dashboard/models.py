"""The versions of the model."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from palate.serve.dashboard.rendering import METRIC, Pages
from palate.serve.routes import needs
from palate.store.versions import CHOICE


def models_routes(router: APIRouter, pages: Pages) -> None:
    """Add the versions of the model."""
    service = pages.service

    @router.get("/models")
    @needs("read")
    def models(request: Request) -> Response:
        versions = list(reversed(service.versions.list()))
        active = service.versions.active()
        choice = next((each.about.get(CHOICE) for each in versions if each.number == active), None)
        tried = [] if choice is None else choice["models"]
        highest = [max(each.about["metrics"][METRIC]) for each in versions if METRIC in each.about.get("metrics", {})]
        return pages.page(
            request,
            "models.html",
            versions=versions,
            active=active,
            answering=service.live.snapshot().version,
            most=max(highest, default=0) or 1,
            choice=choice,
            top=max((each["metric"]["high"] for each in tried), default=0) or 1,
        )
