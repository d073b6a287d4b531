"""Errors over HTTP: problem details of RFC 9457, with the place and the rule, and never a stack trace."""

from __future__ import annotations

import logging
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
    PalateError,
    SettingError,
    StoreError,
    UnknownId,
)

LOG = logging.getLogger("palate.serve")
SHORT = Repr()  # which writes no more of a value than is shown
SHORT.maxstring = SHORT.maxother = 120
SHORT.maxlist = SHORT.maxdict = 20
MEDIA = "application/problem+json"
MOST_SHOWN = 80  # characters
OUT_OF_BOUNDS = "out_of_bounds"  # pydantic's name of an error for a value of the right type that is not taken: 400
STATUS: dict[type[PalateError], int] = {
    ConditionError: 400,
    EventConflict: 409,
    DataError: 422,
    SettingError: 422,
    UnknownId: 404,
    BundleError: 409,
}


class Problem(Exception):
    """An error with its status, and more members where they help."""

    def __init__(self, status: int, detail: str, headers: dict[str, str] | None = None, **more: Any) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers, self.more = status, detail, headers, more


def response(status: int, detail: str, headers: dict[str, str] | None = None, **more: Any) -> Response:
    """Make the answer that tells of an error."""
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail, **more}
    return Response(orjson.dumps(body), status, headers, MEDIA)


async def answered(_: Request, error: Exception) -> Response:
    """Turn any error into an answer; the handler of every application here."""
    if isinstance(error, Problem):
        return response(error.status, error.detail, error.headers, **error.more)
    if isinstance(error, ConditionError):
        return response(400, str(error), position=error.position, condition=error.condition[:200])
    if isinstance(error, (RequestValidationError, ValidationError)):
        return _invalid(error)
    if isinstance(error, ClientDisconnect):
        return response(400, "the body ended before its end")  # nobody reads it, but it is counted
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
    return response(500, "an unexpected error; the log of the server tells more")


HANDLED: tuple[type[Exception], ...] = (
    Problem,
    PalateError,
    RequestValidationError,
    ValidationError,
    HTTPException,
    ClientDisconnect,
    Exception,
)


def _invalid(error: RequestValidationError | ValidationError) -> Response:
    found = error.errors() if isinstance(error, RequestValidationError) else error.errors(include_url=False)
    if any(fault["type"] == "json_invalid" for fault in found):
        return response(400, f"the body is not JSON: {found[0].get('ctx', {}).get('error', found[0]['msg'])}")
    faults = [{"place": _place(fault["loc"]), "rule": fault["msg"], "value": _shown(fault)} for fault in found[:20]]
    first = faults[0]
    more = f", and {len(found) - 1} more" if len(found) > 1 else ""
    detail = f"{first['place']}: {first['value']}: {first['rule']}{more}"
    return response(400 if found[0]["type"] == OUT_OF_BOUNDS else 422, detail, errors=faults)


def _place(location: Any) -> str:
    text = ".".join(str(part)[:MOST_SHOWN] for part in location[:MOST_SHOWN])
    return text.encode("utf-8", "replace").decode() or "body"


def _shown(fault: Any) -> str:
    try:
        text = SHORT.repr(fault.get("input"))
    except ValueError:  # a number of more digits than Python writes
        text = "a number of thousands of digits"
    text = text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}..."
    return text.encode("utf-8", "replace").decode()
