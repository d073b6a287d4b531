"""Routes as gorse's clients expect them: ids in a path may hold encoded slashes, errors are plain text."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from json import JSONDecodeError
from typing import TypeVar

import orjson
from fastapi import APIRouter, Request
from pydantic_core import from_json
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Match
from starlette.types import Scope

from palate.serve.fast import json
from palate.serve.problems import answered
from palate.serve.routes import PROBLEMS, LateRoute, Responses
from palate.serve.routes import new_router as any_router

MOST_ROWS = 10_000  # of a page
CURSOR = "X-Cursor"  # header with the cursor, for an answer that is a bare list
Row = TypeVar("Row")
ERRORS: Responses = PROBLEMS | {
    status: {"description": text, "content": {"text/plain": {"schema": {"type": "string"}}}}
    for status, text in {
        400: "A value breaks its rule; the text names both.",
        403: "The key may not do this.",
        404: "Unknown.",
        503: "The store is out of reach; try again.",
    }.items()
}


class LeanRequest(Request):
    """A request that parses JSON from bytes: as text, a body with an emoji takes four times the memory."""

    async def json(self) -> object:
        """Read the body. Raises `JSONDecodeError`."""
        body = await self.body()
        try:
            return from_json(body)
        except ValueError as error:
            raise JSONDecodeError(str(error), "", 0) from None


class GorseRoute(LateRoute):
    """A route of gorse's API.

    It matches the path as it was sent, so that an encoded slash does not split an id, and ignores slashes at the end,
    which the clients send when they have no category.
    """

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match the path as it was sent."""
        path = scope["raw_path"].decode("ascii", "replace").rstrip("/")
        return super().matches({**scope, "path": path})

    def get_route_handler(self) -> Callable[[Request], Coroutine[object, object, Response]]:
        """Answer errors with their text alone, which the clients raise; an invalid value is 400."""
        handler = super().get_route_handler()

        async def plain_errors(request: Request) -> Response:
            try:
                return await handler(LeanRequest(request.scope, request.receive))
            except Exception as error:
                problem = await answered(request, error)
                status = 400 if problem.status_code == 422 else problem.status_code
                kept = {name: value for name, value in problem.headers.items() if name == "retry-after"}
                return PlainTextResponse(orjson.loads(problem.body)["detail"], status, kept)

        return plain_errors


def new_router() -> APIRouter:
    """Make a router for one part of the API."""
    return any_router("gorse", prefix="/api", route_class=GorseRoute, responses=ERRORS)


def page(
    name: str,
    n: int,
    read: Callable[[int], Sequence[Row]],
    out: Callable[[Row], object],
    place: Callable[[Row], object],
) -> Response:
    """Answer with n rows and a cursor, the place of the last row; it is empty where no row follows."""
    most = min(n, MOST_ROWS)
    rows = read(most + 1) if most else []
    cursor = str(place(rows[most - 1])) if len(rows) > most else ""
    return json({"Cursor": cursor, name: [out(row) for row in rows[:most]]})


def cursor_of(request: Request, cursor: str) -> str:
    """Return the cursor; gorsejs capitalises its name."""
    return cursor or request.query_params.get("Cursor", "").replace("\0", "")
