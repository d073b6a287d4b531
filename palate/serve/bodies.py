"""Bodies of requests, read whole and measured before anything is made of them."""

from __future__ import annotations

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope

from palate.kernels.nesting import measured
from palate.serve.bounds import MOST_DEPTH, MOST_ENTRIES, MOST_ENTRY, MOST_FORM, MOST_NAMES, MOST_VALUES, MOST_WITHIN
from palate.serve.browser import Fields
from palate.serve.exact import check_lines, named_twice
from palate.serve.problems import Problem

JSON = b"application/json"
NDJSON = (b"application/x-ndjson", b"application/jsonlines", b"application/jsonl")
LARGE = 256 << 10  # bytes that are examined in a thread: others are answered meanwhile
FORM = b"application/x-www-form-urlencoded"
FORMS = ("/login", "/logout")  # which browsers send without a script


async def read(scope: Scope, receive: Receive, headers: Fields, most: int) -> Receive:
    """Read a body of a kind that is taken here, within the bounds; returns what gives it to the application.

    Raises `Problem`: 413 for one that is too large, 415 for another kind, 400 for one that is nested too
    deep, or names something twice in an object.
    """
    kind, form = kind_of(headers.get(b"content-type", b"")), scope["path"] in FORMS
    body = await _whole(receive, min(most, MOST_FORM) if form else most)
    if not body:  # what has none may say anything of it
        return _given(body, receive)
    if form:
        if kind not in (FORM, b""):
            raise _other(kind, FORM)
        return _given(body, receive)
    if not kind:
        scope["headers"] = [*scope["headers"], (b"content-type", JSON)]
    elif kind != JSON and kind not in NDJSON and not (kind.startswith(b"application/") and kind.endswith(b"+json")):
        raise _other(kind, JSON, NDJSON[0])
    if len(body) > LARGE:
        await run_in_threadpool(examine, body, lines=kind in NDJSON)
    else:
        examine(body, lines=kind in NDJSON)
    return _given(body, receive)


def examine(body: bytes, *, lines: bool) -> None:
    """Refuse a body that is out of bounds, or names something twice. Raises `Problem`."""
    begin, end = measure(body, lines=lines)
    if end:
        raise named_twice(body[begin:end])
    if lines:
        check_lines(body)


def measure(body: bytes, *, lines: bool) -> tuple[int, int]:
    """Refuse a body that would cost more than its size; return where a name is that stands twice, (0, 0) for none.

    Raises `Problem`.
    """
    whole = measured(body)
    found = whole.extent
    listed = body.lstrip()[:1] == b"["
    many = body.count(b"\n") if lines else found.entries if listed else 1
    longest, fullest = (whole.longest, whole.fullest) if listed else (len(body), found.values)
    for count, most, of in (
        (many, MOST_ENTRIES, "entries"),
        (found.names, MOST_NAMES, "names in one object"),
        (found.values, MOST_VALUES, "values"),
        (0 if lines else longest, MOST_ENTRY, "bytes in one entry"),
        (0 if lines else fullest, MOST_WITHIN, "values in one entry"),
    ):
        if count > most:
            raise Problem(413, f"the body has {count:,} {of}; there can be {most:,}")
    if found.depth > MOST_DEPTH:
        raise Problem(400, f"the body is nested {found.depth:,} deep; it can be {MOST_DEPTH}")
    return whole.twice


def kind_of(content_type: bytes) -> bytes:
    """Return what a Content-Type says without its parameters."""
    return content_type.partition(b";")[0].strip().lower()


def _other(kind: bytes, *taken: bytes) -> Problem:
    names = b" or ".join(taken).decode()
    return Problem(415, f"Content-Type: {kind[:100].decode('ascii', 'replace')!r}: a body must be {names}")


async def _whole(receive: Receive, most: int) -> bytes:
    body, more = bytearray(), True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        body += message.get("body", b"")
        if len(body) > most:
            raise Problem(413, f"the body has more than {most:,} bytes")
        more = message.get("more_body", False)
    return bytes(body)


def _given(body: bytes, receive: Receive) -> Receive:
    """Give the body once, and then whatever else there is to tell: that the client has left."""
    given = False

    async def receiving() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receiving
