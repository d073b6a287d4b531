"""Routes as gorse's clients expect them: ids in a path may hold slashes, errors are plain text."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

import orjson
from fastapi import APIRouter, Request
from fastapi.routing import APIRoute
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Match
from starlette.types import Scope

from palate.serve.fast import json
from palate.serve.problems import answered
from palate.serve.routes import PROBLEMS, Responses
from palate.serve.routes import new_router as any_router

MOST_ROWS = 10_000  # of a page
CURSOR = "X-Cursor"  # header of an answer that is a list alone: where the rest of it begins
Row = TypeVar("Row")
ERRORS: Responses = PROBLEMS | {
    status: {"description": text, "content": {"text/plain": {"schema": {"type": "string"}}}}
    for status, text in {
        400: "A value breaks its rule, which the text tells.",
        403: "The key may not do this.",
        404: "Unknown.",
        503: "The store is out of reach; try again.",
    }.items()
}


class GorseRoute(APIRoute):
    """A route of gorse's API.

    The path is matched as it was sent, so that an encoded slash does not part an id, and with any slash at its end,
    which the clients leave where they have no category.
    """

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match the path as it was sent."""
        path = scope["raw_path"].decode("ascii", "replace").rstrip("/")
        return super().matches({**scope, "path": path})

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Answer errors with their text alone, which is what the clients raise; 400 says that a value is bad."""
        handler = super().get_route_handler()

        async def spoken(request: Request) -> Response:
            try:
                return await handler(request)
            except Exception as error:
                problem = await answered(request, error)
                status = 400 if problem.status_code == 422 else problem.status_code
                kept = {name: value for name, value in problem.headers.items() if name == "retry-after"}
                return PlainTextResponse(orjson.loads(problem.body)["detail"], status, kept)

        return spoken


def new_router() -> APIRouter:
    """Make a router for a part of the API."""
    return any_router("gorse", prefix="/api", route_class=GorseRoute, responses=ERRORS)


def page(
    name: str, n: int, read: Callable[[int], Sequence[Row]], out: Callable[[Row], Any], place: Callable[[Row], object]
) -> Response:
    """Answer with n rows, and a cursor if there are more: the place of the last of them."""
    most = min(n, MOST_ROWS)
    rows = read(most + 1) if most else []
    cursor = str(place(rows[most - 1])) if len(rows) > most else ""
    return json({"Cursor": cursor, name: [out(row) for row in rows[:most]]})


def cursor_of(request: Request, cursor: str) -> str:
    """Return the cursor; gorsejs writes its name with a capital letter."""
    return cursor or request.query_params.get("Cursor", "").replace("\0", "")
