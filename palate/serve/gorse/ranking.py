"""Routes of lists: one for all items and one for the items of a category."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response
from starlette.types import Receive

from palate.serve.fast import json
from palate.serve.gorse.lists import Lists, Part, scores
from palate.serve.gorse.routes import new_router
from palate.serve.gorse.wire import Delay, FeedbackIn, N, Offset, Score, Segment, Word
from palate.serve.problems import Problem
from palate.serve.routes import needs
from palate.serve.security import is_foreign, may
from palate.serve.service import Service
from palate.serve.wire import Batch
from palate.store.recording import now

Pairs = list[tuple[str, float]]
Kind = Annotated[str, Query(alias="write-back-type", max_length=100)]
User = Annotated[Word, Query(alias="user-id", description="Leave out items that this user has seen.")]
Version = Annotated[str, Header(alias="X-API-Version", description="2 adds the scores.")]


def personal_router(service: Service) -> APIRouter:
    """Make the routes of a user's list."""
    router, lists = new_router(), Lists(service)

    async def personal(request: Request, user_id: str, part: Part, kind: str, delay: int, version: str) -> Response:
        if kind and not may(request.scope, "write"):
            raise Problem(403, "write-back-type: this key may not write")
        if kind and is_foreign(request.scope):
            raise Problem(403, "write-back-type: the page of another site may not write")
        pairs = await lists.personal(user_id, part, request.receive)
        if kind and pairs:
            await lists.write_back(user_id, [name for name, _ in pairs], kind, delay)
        return json(scores(pairs) if version == "2" else [name for name, _ in pairs])

    @router.get("/recommend/{user_id}", response_model=list[str] | list[Score])
    @needs("read")
    async def recommend(
        request: Request,
        user_id: Segment,
        n: N = 10,
        offset: Offset = 0,
        category: Annotated[list[Word], Query(description="With several, items that are in all of them.")] = [],  # noqa: B006
        kind: Kind = "",
        delay: Delay = 0,
        version: Version = "1",
    ) -> Response:
        """Recommend items to any user, known or not; a write-back-type records that they were shown."""
        return await personal(request, user_id, Part(n, offset, category), kind, delay, version)

    @router.get("/recommend/{user_id}/{category}", response_model=list[str] | list[Score])
    @needs("read")
    async def recommend_of(
        request: Request,
        user_id: Segment,
        category: Segment,
        n: N = 10,
        offset: Offset = 0,
        kind: Kind = "",
        delay: Delay = 0,
        version: Version = "1",
    ) -> Response:
        """Recommend items of a category."""
        return await personal(request, user_id, Part(n, offset, [category]), kind, delay, version)

    return router


def session_router(service: Service) -> APIRouter:
    """Make the routes of a session's list."""
    router, lists = new_router(), Lists(service)

    async def of_session(request: Request, steps: list[FeedbackIn], part: Part) -> Response:
        moment = now()  # the time of feedback without one, and of feedback in the future
        past = sorted((feedback.step() for feedback in steps), key=lambda step: min(step.time or moment, moment))
        return json(scores(await lists.session(past, part, request.receive)))

    @router.post("/session/recommend", response_model=list[Score])
    @needs("read")
    async def session(request: Request, steps: Batch[FeedbackIn], n: N = 10, offset: Offset = 0) -> Response:
        """Recommend items from feedback that is not stored."""
        return await of_session(request, steps, Part(n, offset))

    @router.post("/session/recommend/{category}", response_model=list[Score])
    @needs("read")
    async def session_of(
        request: Request, steps: Batch[FeedbackIn], category: Segment, n: N = 10, offset: Offset = 0
    ) -> Response:
        """Recommend items of a category from feedback that is not stored."""
        return await of_session(request, steps, Part(n, offset, [category]))

    return router


def ranking_router(service: Service) -> APIRouter:
    """Make the routes of neighbours, and of popular and latest items."""
    router, lists = new_router(), Lists(service)

    @router.get("/item/{item_id}/neighbors", response_model=list[Score])
    @needs("read")
    async def neighbors(
        request: Request, item_id: Segment, n: N = 10, offset: Offset = 0, user: User = ""
    ) -> Response:
        """Return items like an item."""
        return json(scores(await lists.similar(item_id, Part(n, offset), user, request.receive)))

    @router.get("/item/{item_id}/neighbors/{category}", response_model=list[Score])
    @needs("read")
    async def neighbors_of(
        request: Request, item_id: Segment, category: Segment, n: N = 10, offset: Offset = 0, user: User = ""
    ) -> Response:
        """Return items of a category like an item."""
        return json(scores(await lists.similar(item_id, Part(n, offset, [category]), user, request.receive)))

    @router.get("/user/{user_id}/neighbors", response_model=list[Score])
    @needs("read")
    def neighbor_users(user_id: Segment, n: N = 10, offset: Offset = 0) -> Response:
        """Return users like a user; the model must know both."""
        return json(scores(lists.similar_users(user_id, Part(n, offset))))

    _add(router, "popular", "Return the most popular items", lists.popular)
    _add(router, "latest", "Return the newest items", lists.latest)
    return router


def _add(router: APIRouter, name: str, summary: str, make: Callable[[Part, str, Receive], Awaitable[Pairs]]) -> None:
    @needs("read")
    async def every(request: Request, n: N = 10, offset: Offset = 0, user: User = "") -> Response:
        return json(scores(await make(Part(n, offset), user, request.receive)))

    @needs("read")
    async def of(request: Request, category: Segment, n: N = 10, offset: Offset = 0, user: User = "") -> Response:
        return json(scores(await make(Part(n, offset, [category]), user, request.receive)))

    router.get(f"/{name}", response_model=list[Score], name=name, description=f"{summary}.")(every)
    description = f"{summary} of a category."
    router.get(f"/{name}/{{category}}", response_model=list[Score], name=f"{name}_of", description=description)(of)
