"""Versions of the model, and the training of another."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import Field

from palate.data.times import to_iso
from palate.live.snapshot import Active
from palate.serve.problems import Problem
from palate.serve.routes import needs, new_router
from palate.serve.service import Service
from palate.serve.training import recipe_named
from palate.serve.wire import Strict
from palate.store.versions import Version


class TrainingIn(Strict):
    """What to train."""

    recipe: str | None = Field(
        None,
        max_length=100,
        description="A recipe with its default settings, or auto; as the service was started by default.",
    )


def models_router(service: Service) -> APIRouter:
    """Make the routes of the versions of the model."""
    router, versions, trainings = new_router("models"), service.versions, service.trainings

    def as_dict(version: Version) -> dict[str, object]:
        return {
            "version": version.number,
            "active": version.number == versions.active(),
            **version.about,
            **{name: to_iso(time) for name, time in _times(version).items()},
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

    @router.post("/v1/train", status_code=202)
    @needs("admin")
    def train(body: TrainingIn | None = None) -> dict[str, object]:
        """Train in a process of its own, beside the service: 202, and how it goes, or 409 while a training runs.

        The version becomes active if it is no worse than the one in use.
        """
        recipe = None if body is None or body.recipe is None else recipe_named(body.recipe)
        if not trainings.start(recipe):
            raise Problem(409, "a training runs; GET /v1/train says how it goes")
        return trainings.status()

    @router.get("/v1/train")
    @needs("read")
    def training() -> dict[str, object]:
        """Return how the last training went: `state` is running, done, failed, or none where there was none."""
        return trainings.status()

    return router


def _times(version: Version) -> dict[str, int]:
    until = version.about.get("until")
    return {"created": version.created} | ({"until": until} if isinstance(until, int) else {})
