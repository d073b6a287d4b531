"""Who may do what: API keys with scopes, limits of rate and size, headers, and a line for each admin call."""

from __future__ import annotations

import logging
from collections import OrderedDict
from http.cookies import CookieError, SimpleCookie
from time import monotonic
from typing import Any
from urllib.parse import urlencode

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from palate.serve.problems import Problem, response
from palate.serve.settings import Settings
from palate.store.keys import PREFIX, Keys

AUDIT = logging.getLogger("palate.audit")
COOKIE = "palate_key"
PAGE = b"x-palate-page"  # which a page's own script sends; a form of another site cannot
OPEN = ("/health/", "/api/health/", "/static/", "/login", "/logout")
FOR_PROGRAMS = ("/v1/", "/api/", "/metrics", "/openapi.json", "/page/")  # the others are pages
CLIENTS = 10_000  # whose rates are remembered

HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (
        b"content-security-policy",
        b"default-src 'self'; img-src 'self' data: https: http:; style-src 'self'; script-src 'self'; "
        b"frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    ),
]


def scope_needed(method: str, path: str) -> str | None:
    """Scope that a request needs: read, write or admin; None for what is open to all."""
    if path.startswith(OPEN):
        return None
    if method in ("GET", "HEAD", "OPTIONS") or path.startswith(("/v1/recommend", "/api/session/recommend")):
        return "read"
    if path.startswith("/v1/models") or (method == "DELETE" and path.startswith(("/v1/users", "/api/user"))):
        return "admin"
    return "write"


class Guard:
    """ASGI middleware around everything."""

    def __init__(self, app: ASGIApp, settings: Settings, keys: Keys, *, in_process: bool) -> None:
        self.app, self.settings, self.keys, self.in_process = app, settings, keys, in_process
        self.rates = Rates(settings.rate)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer that it may not pass."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        needed = scope_needed(scope["method"], scope["path"])
        refusal, who = await self._refusal(scope, headers, needed)
        if refusal is not None:
            await refusal(scope, receive, _with_headers(send))
            return
        status = 0

        async def sending(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await secured(message)

        secured = _with_headers(send)
        await self.app(scope, _limited(receive, self.settings.most_bytes), sending if needed == "admin" else secured)
        if needed == "admin":
            path = scope["raw_path"].decode("ascii", "replace")  # as it was sent: no line breaks
            AUDIT.info("%s %s %s by %r from %s", scope["method"], path, status, who, _peer(scope))

    async def _refusal(self, scope: Scope, headers: Headers, needed: str | None) -> tuple[Any, str]:
        size = headers.get("content-length", "0")
        if not size.isdecimal() or int(size) > self.settings.most_bytes:
            return response(413, f"the body has {size} bytes; there can be {self.settings.most_bytes:,}"), ""
        secret = _secret(scope["method"], headers)
        who = secret[:PREFIX] if secret else _peer(scope)
        wait = self.rates.wait(who)
        if wait:
            told = {"Retry-After": str(int(wait) + 1)}
            return response(429, f"more than {self.settings.rate:g} requests a second", told), who
        if not self.settings.keys or needed is None:
            return None, who
        granted = await self._granted(secret)
        if not granted and scope["method"] == "GET" and not scope["path"].startswith(FOR_PROGRAMS):
            return RedirectResponse(f"/login?{urlencode({'next': _asked(scope)})}", 303), who
        if not granted:
            told = {"WWW-Authenticate": "Bearer"}
            return response(401, "this needs an API key: Authorization: Bearer KEY, or X-API-Key", told), who
        if needed not in granted and "admin" not in granted:
            return response(403, f"this key may {', '.join(sorted(granted))}; this needs {needed}"), who
        scope["palate.scopes"] = granted
        return None, who

    async def _granted(self, secret: str | None) -> frozenset[str]:
        if not secret:
            return frozenset()
        if self.in_process:
            return self.keys.verify(secret)
        return await run_in_threadpool(self.keys.verify, secret)


def may(scope: Scope, needed: str) -> bool:
    """Whether the key of a request that passed may do this too; always where no keys are needed."""
    granted = scope.get("palate.scopes")
    return granted is None or needed in granted or "admin" in granted


def _secret(method: str, headers: Headers) -> str | None:
    bearer = headers.get("authorization", "")
    if bearer[:7].lower() == "bearer ":
        return bearer[7:].strip()
    if "x-api-key" in headers:
        return headers["x-api-key"]
    if method in ("GET", "HEAD") or PAGE.decode() in headers:
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            return None
        return cookie.value if cookie else None
    return None


def _asked(scope: Scope) -> str:
    query = scope["query_string"].decode("ascii", "replace")
    return str(scope["path"]) + (f"?{query}" if query else "")


def _peer(scope: Scope) -> str:
    return scope["client"][0] if scope.get("client") else "?"


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), *HEADERS]
        await send(message)

    return sending


def _limited(receive: Receive, most: int) -> Receive:
    """Count a body that does not state its size."""
    taken = 0

    async def receiving() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > most:
            raise Problem(413, f"the body has more than {most:,} bytes")
        return message

    return receiving


class Rates:
    """A bucket of tokens for each client: `rate` a second, two seconds' worth at once."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, client: str) -> float:
        """Seconds until the client may come again, 0 if it may now."""
        if not self.rate:
            return 0.0
        moment, most = monotonic(), max(1.0, 2 * self.rate)
        tokens, before = self._buckets.pop(client, (most, moment))
        tokens = min(most, tokens + (moment - before) * self.rate)
        allowed = tokens >= 1
        self._buckets[client] = (tokens - allowed, moment)
        if len(self._buckets) > CLIENTS:
            self._buckets.popitem(last=False)
        return 0.0 if allowed else (1 - tokens) / self.rate
