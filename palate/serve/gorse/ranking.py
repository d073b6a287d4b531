"""Routes that give lists: of each there is one for all items, and one for those of a category."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response

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
User = Annotated[Word, Query(alias="user-id", description="Leave out what this person has seen.")]
Version = Annotated[str, Header(alias="X-API-Version", description="2 gives scores too.")]


def personal_router(service: Service) -> APIRouter:
    """Make the routes of a person's list."""
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
        category: Annotated[list[Word], Query(description="Several: items that are in all.")] = [],  # noqa: B006
        kind: Kind = "",
        delay: Delay = 0,
        version: Version = "1",
    ) -> Response:
        """Recommend items to anybody, known or not; with a write-back-type, note that they were shown."""
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
        moment = now()  # of those without a time, and of those to come
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
    def neighbors(item_id: Segment, n: N = 10, offset: Offset = 0, user: User = "") -> Response:
        """Items like an item."""
        return json(scores(lists.similar(item_id, Part(n, offset), user)))

    @router.get("/item/{item_id}/neighbors/{category}", response_model=list[Score])
    @needs("read")
    def neighbors_of(item_id: Segment, category: Segment, n: N = 10, offset: Offset = 0, user: User = "") -> Response:
        """Items of a category like an item."""
        return json(scores(lists.similar(item_id, Part(n, offset, [category]), user)))

    @router.get("/user/{user_id}/neighbors", response_model=list[Score])
    @needs("read")
    def people(user_id: Segment, n: N = 10, offset: Offset = 0) -> Response:
        """People like a person, as far as the model knows them."""
        return json(scores(lists.people(user_id, Part(n, offset))))

    _add(router, "popular", "The most popular items", lists.popular)
    _add(router, "latest", "The newest items", lists.latest)
    return router


def _add(router: APIRouter, name: str, told: str, make: Callable[[Part, str], Pairs]) -> None:
    @needs("read")
    def every(n: N = 10, offset: Offset = 0, user: User = "") -> Response:
        return json(scores(make(Part(n, offset), user)))

    @needs("read")
    def of(category: Segment, n: N = 10, offset: Offset = 0, user: User = "") -> Response:
        return json(scores(make(Part(n, offset, [category]), user)))

    more: dict[str, Any] = {"response_model": list[Score]}
    router.add_api_route(f"/{name}", every, name=name, description=f"{told}.", **more)
    router.add_api_route(f"/{name}/{{category}}", of, name=f"{name}_of", description=f"{told} of a category.", **more)
