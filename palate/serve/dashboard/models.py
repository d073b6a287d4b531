"""The versions of the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request, Response

from palate.data.times import from_iso
from palate.serve.dashboard.rendering import METRIC, Pages
from palate.serve.routes import needs
from palate.store.versions import CHOICE


@dataclass(frozen=True)
class Training:
    """How the last training went; times in microseconds since 1970 UTC, and the lines of its output."""

    state: str
    started: int | None = None
    ended: int | None = None
    version: int | None = None
    why: str | None = None
    log: Sequence[str] = ()

    @classmethod
    def of(cls, status: Mapping[str, Any]) -> Training:
        """Read what the API answers."""
        started, ended = (from_iso(status[name]) if status.get(name) else None for name in ("started", "ended"))
        version, why, log = status.get("version"), status.get("why"), status.get("log", ())
        return cls(status["state"], started, ended, version, why, log)


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
        differences = [each.about["difference"] for each in versions if "difference" in each.about]
        highest = [max(each.about["metrics"][METRIC]) for each in versions if METRIC in each.about.get("metrics", {})]
        return pages.page(
            request,
            "models.html",
            versions=versions,
            active=active,
            answering=service.live.snapshot().version,
            most=max(highest, default=0) or 1,
            widest=max((abs(bound) for each in differences for bound in each), default=0) or 1,
            training=Training.of(service.trainings.status()),
            schedule=service.settings.retrain,
            choice=choice,
            top=max((each["metric"]["high"] for each in tried), default=0) or 1,
        )
