"""Errors over HTTP: problem details (RFC 9457) with the place and the rule, never a stack trace."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from reprlib import Repr
from typing import Any

import orjson
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from palate.errors import (
    BundleError,
    ConditionError,
    DataError,
    EventConflict,
    GivenUp,
    NoPosterior,
    PalateError,
    SettingError,
    StoreError,
    UnknownId,
)

LOG = logging.getLogger("palate.serve")
SHORT = Repr()  # limits how much of a value is formatted
SHORT.maxstring = SHORT.maxother = 120
SHORT.maxlist = SHORT.maxdict = 20
MEDIA = "application/problem+json"
MOST_SHOWN = 80  # characters
OUT_OF_BOUNDS = "out_of_bounds"  # error type of a value of the right type but out of bounds: 400
STATUS: dict[type[PalateError], int] = {
    ConditionError: 400,
    EventConflict: 409,
    DataError: 422,
    NoPosterior: 400,
    SettingError: 422,
    UnknownId: 404,
    BundleError: 409,
}


class Problem(Exception):
    """An error with its status and further members of the problem details."""

    def __init__(self, status: int, detail: str, headers: dict[str, str] | None = None, **more: object) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers, self.more = status, detail, headers, more


def response(status: int, detail: str, headers: dict[str, str] | None = None, **more: object) -> Response:
    """Make the answer of an error."""
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail, **more}
    return Response(orjson.dumps(body), status, headers, MEDIA)


async def answered(_: Request, error: Exception) -> Response:
    """Turn any error into an answer; the application's exception handler."""
    if isinstance(error, Problem):
        return response(error.status, error.detail, error.headers, **error.more)
    if isinstance(error, ConditionError):
        return response(400, str(error), position=error.position, condition=error.condition[:200])
    if isinstance(error, (RequestValidationError, ValidationError)):
        return _invalid(error)
    if isinstance(error, ClientDisconnect):
        return response(400, "the body ended before its end")  # no client reads it, but the metrics count it
    if isinstance(error, HTTPException):
        return response(error.status_code, error.detail, dict(error.headers or {}))
    if isinstance(error, StoreError):
        LOG.error("%s", error)
        return response(503, error.public, {"Retry-After": "1"})
    if isinstance(error, GivenUp):
        return response(503, str(error), {"Retry-After": "1"})
    for kind, status in STATUS.items():
        if isinstance(error, kind):
            return response(status, str(error))
    LOG.error("unexpected error", exc_info=error)
    return response(500, "an unexpected error; the log of the server has the details")


HANDLED: tuple[type[Exception], ...] = (
    Problem,
    PalateError,
    RequestValidationError,
    ValidationError,
    HTTPException,
    ClientDisconnect,
    Exception,
)


def detail_of(error: ValidationError) -> str:
    """Return the place, the value and the rule of the first fault, and how many more there are."""
    return _detail(error.errors(include_url=False))


def _invalid(error: RequestValidationError | ValidationError) -> Response:
    found = error.errors() if isinstance(error, RequestValidationError) else error.errors(include_url=False)
    if any(fault["type"] == "json_invalid" for fault in found):
        return response(400, f"the body is not JSON: {found[0].get('ctx', {}).get('error', found[0]['msg'])}")
    faults = [{"place": _place(fault["loc"]), "rule": fault["msg"], "value": _shown(fault)} for fault in found[:20]]
    return response(400 if found[0]["type"] == OUT_OF_BOUNDS else 422, _detail(found), errors=faults)


def _detail(found: Sequence[Any]) -> str:
    more = f", and {len(found) - 1} more" if len(found) > 1 else ""
    return f"{_place(found[0]['loc'])}: {_shown(found[0])}: {found[0]['msg']}{more}"


def _place(location: Sequence[int | str]) -> str:
    text = ".".join(str(part)[:MOST_SHOWN] for part in location[:MOST_SHOWN])
    return text.encode("utf-8", "replace").decode() or "body"


def _shown(fault: Mapping[str, object]) -> str:
    try:
        text = SHORT.repr(fault.get("input"))
    except ValueError:  # an integer with more digits than Python converts
        text = "a number of thousands of digits"
    text = text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}..."
    return text.encode("utf-8", "replace").decode()
