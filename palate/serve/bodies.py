"""Bodies of requests: read completely and measured before they are parsed."""

from __future__ import annotations

import json

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope

from palate.kernels.nesting import measured
from palate.serve.bounds import MOST_DEPTH, MOST_ENTRIES, MOST_ENTRY, MOST_FORM, MOST_NAMES, MOST_VALUES, MOST_WITHIN
from palate.serve.browser import Fields
from palate.serve.problems import Problem

JSON = b"application/json"
NDJSON = (b"application/x-ndjson", b"application/jsonlines", b"application/jsonl")
LARGE = 256 << 10  # bytes above which a thread examines the body, so that the event loop stays free
FORM = b"application/x-www-form-urlencoded"
FORMS = ("/login", "/logout")  # paths that take a form


async def read(scope: Scope, receive: Receive, headers: Fields, most: int) -> Receive:
    """Read a body within the bounds; returns the `receive` that passes it to the application.

    Raises `Problem`: 413 for a body that is too large, 415 for a type other than JSON, 400 for JSON that is
    nested too deep or has a name twice in one object.
    """
    kind, form = kind_of(headers.get(b"content-type", b"")), scope["path"] in FORMS
    body = await _whole(receive, min(most, MOST_FORM) if form else most)
    if not body:  # the Content-Type of an empty body does not matter
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
    """Raise `Problem` for a body out of bounds, or with a name twice in one object."""
    begin, end = measure(body, lines=lines)
    if end:
        raise named_twice(body[begin:end])
    if lines:
        check_lines(body)


def measure(body: bytes, *, lines: bool) -> tuple[int, int]:
    """Return the place of the first name that one object has twice, (0, 0) for none.

    Raises `Problem` for a body out of bounds, which would cost more to parse than its size suggests.
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


def check_lines(body: bytes) -> None:
    """Raise `Problem` where a line is not one JSON value."""
    for n, part in enumerate(body.split(b"\n"), 1):
        if len(part) > MOST_ENTRY:
            raise Problem(413, f"line {n} has {len(part):,} bytes; there can be {MOST_ENTRY:,}")
        try:
            # Numbers stay text, however long they are.
            json.loads(part.decode(), parse_int=str, parse_float=str) if part.strip() else None
        except (ValueError, RecursionError) as error:
            raise Problem(400, f"the body is not JSON: line {n}: {error}") from None


def named_twice(name: bytes) -> Problem:
    """Make the error of a name, given as between its quotes, that one object has twice."""
    try:
        shown = json.loads(b'"%s"' % name) if len(name) < 1000 else name[:100].decode(errors="replace")
    except ValueError:
        shown = name[:100].decode(errors="replace")
    return Problem(400, f"the body names {shown[:80]!r} twice in one object; a name must be there once")


def kind_of(content_type: bytes) -> bytes:
    """Return a Content-Type without its parameters."""
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
    """Return a `receive` that gives the body once, then the later messages, such as a disconnect."""
    given = False

    async def receiving() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receiving
