"""Requests are taken as they were sent, or refused: no address and no body means something else here than it says."""

from __future__ import annotations

import json
from urllib.parse import unquote_to_bytes

from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from palate.serve.problems import Problem, response

CHANGING = ("POST", "PUT", "PATCH", "DELETE")  # methods whose bodies are read
LINES = (b"application/x-ndjson", b"application/jsonlines", b"application/jsonl")
FORM = b"application/x-www-form-urlencoded"


class Exact:
    """ASGI middleware: refuses addresses that are not UTF-8, and JSON that names something twice in an object."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer 400."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            check_address(scope)
            exact = await _checked(scope, receive) if scope["method"] in CHANGING else receive
        except Problem as problem:
            await _refusal(scope, problem)(scope, receive, send)
            return
        await self.app(scope, exact, send)


def check_address(scope: Scope) -> None:
    """Raise `Problem` unless path and query are UTF-8: what is not would be read as other characters."""
    for part, sent in (("path", scope["raw_path"]), ("query", scope["query_string"])):
        try:
            unquote_to_bytes(sent).decode()
        except UnicodeDecodeError:
            shown = sent[:80].decode("latin-1")
            raise Problem(400, f"the {part} {shown!r}: must be UTF-8 once its percent signs are read") from None


def check_names(text: bytes) -> None:
    """Raise `Problem` where an object of JSON has a name twice, and `ValueError` for what is no JSON."""
    json.loads(text.decode(), object_pairs_hook=_once, parse_int=str, parse_float=str)  # numbers may be long


def _once(pairs: list[tuple[str, object]]) -> None:
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise Problem(400, f"the body names {twice[:80]!r} twice in one object; a name must be there once")


async def _checked(scope: Scope, receive: Receive) -> Receive:
    """Read the whole body and check it; returns what gives it again. What is no JSON is left to the route."""
    body, more = bytearray(), True
    while more:
        message = await receive()
        if message["type"] != "http.request":  # the client has left
            return receive
        body += message.get("body", b"")
        more = message.get("more_body", False)
    kind = dict(scope["headers"]).get(b"content-type", b"").partition(b";")[0].strip().lower()
    lines = body.split(b"\n") if kind in LINES else [body]
    for n, line in enumerate(lines if kind != FORM else [], 1):
        try:
            check_names(bytes(line))
        except (ValueError, RecursionError) as error:
            if kind in LINES and line.strip():
                raise Problem(400, f"the body is not JSON: line {n}: {error}") from None
    return _given(bytes(body), receive)


def _given(body: bytes, receive: Receive) -> Receive:
    given = False

    async def receiving() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receiving


def _refusal(scope: Scope, problem: Problem) -> Response:
    if scope["path"].startswith("/api/"):  # whose clients raise the text
        return PlainTextResponse(problem.detail, problem.status)
    return response(problem.status, problem.detail, problem.headers)
