"""All routes of gorse's API, and those of its health."""

from __future__ import annotations

from fastapi import APIRouter

from palate.errors import StoreError
from palate.serve.gorse import feedback, items, ranking, users
from palate.serve.gorse.routes import new_router
from palate.serve.gorse.wire import Health
from palate.serve.problems import Problem
from palate.serve.routes import needs
from palate.serve.service import Service


def gorse_routers(service: Service) -> list[APIRouter]:
    """Make all routes under `/api`, those with the most requests first."""
    makers = (
        *(ranking.personal_router, ranking.session_router, ranking.ranking_router),
        health_router,
        users.users_router,
        *(items.items_router, items.categories_router),
        *(feedback.writing_router, feedback.reading_router, feedback.choosing_router, feedback.listing_router),
    )
    return [make(service) for make in makers]


def health_router(service: Service) -> APIRouter:
    """Make the routes of health."""
    router = new_router()

    @router.get("/health/live")
    @needs("public")
    def live() -> Health:
        """Answer 200 while the process runs."""
        try:
            service.store.newest()
        except StoreError as error:
            return _health(error.public)
        return _health(None)

    @router.get("/health/ready")
    @needs("public")
    def ready() -> Health:
        """Answer 200 while the service is ready."""
        health = live()
        if health.Ready and service.unready():
            health = health.model_copy(update={"Ready": False})
        if not health.Ready:
            raise Problem(503, health.model_dump_json(), {"Retry-After": "1"})
        return health

    return router


def _health(error: str | None) -> Health:
    fine = error is None
    return Health(
        Ready=fine, DataStoreError=error, CacheStoreError=None, DataStoreConnected=fine, CacheStoreConnected=True
    )
