"""The guard of all routes: API keys with scopes, limits of rate and size, headers, a line for each admin call."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from urllib.parse import unquote_to_bytes, urlencode

from starlette.requests import Request
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from palate.serve.bodies import read
from palate.serve.browser import BY_BROWSERS, Browsers, Fields
from palate.serve.problems import Problem, answered
from palate.serve.rates import Rates, counted_as
from palate.serve.routes import NEEDED, Needed
from palate.serve.service import Service
from palate.store.keys import PREFIX

AUDIT = logging.getLogger("palate.audit")
COOKIE = "palate_key"
PAGE = b"x-palate-page"  # a script of the page sends it; a form of another site cannot
FOR_PROGRAMS = ("/v1/", "/api/", "/metrics", "/openapi.json", "/page/")  # paths of programs; all others are pages
CHANGING = ("POST", "PUT", "PATCH", "DELETE")  # methods with a body
DECIDING = (b"host", b"origin", b"authorization", b"x-api-key", b"content-type", b"content-length", b"sec-fetch-site")
HOSTS = 1_000  # that passed, and need no second check
DIGITS = 15  # of a Content-Length
SAFE = ("GET", "HEAD", "OPTIONS")  # methods that change nothing

HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),  # without a referrer the form of a page would have the Origin "null"
    (b"cross-origin-opener-policy", b"same-origin"),
    (
        b"content-security-policy",
        b"default-src 'self'; img-src 'self' data: https: http:; style-src 'self'; script-src 'self'; "
        b"frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    ),
]


def needed_by(route: BaseRoute) -> Needed:
    """Return the scope of a route; raises `TypeError` where its endpoint declares none."""
    endpoint = getattr(route, "endpoint", None) or getattr(route, "app", None)
    found: Needed | None = getattr(endpoint, NEEDED, None)
    if found is None:
        raise TypeError(f"route {getattr(route, 'path', route)!r}: its endpoint declares no scope; add @needs(...)")
    return found


class Scopes:
    """The scopes of all routes of an application. Raises `TypeError` for a route without one."""

    def __init__(self, routes: Sequence[BaseRoute]) -> None:
        self._needed = [(route, needed_by(route)) for route in routes]

    def needed(self, scope: Scope) -> Needed:
        """Return the scope of the route that answers a request.

        Where no route answers this method, a public path is public, and any other needs what its method suggests:
        so the answers 404 and 405 reveal nothing without a key.
        """
        public = False
        for route, needed in self._needed:
            match = route.matches(scope)[0]
            if match is Match.FULL:
                return needed
            public |= match is Match.PARTIAL and needed == "public"
        return "public" if public else "read" if scope["method"] in SAFE else "write"


class Guard:
    """ASGI middleware around all routes."""

    def __init__(self, app: ASGIApp, scopes: Scopes, service: Service) -> None:
        self.app, self.scopes, self.service = app, scopes, service
        self.settings = settings = service.settings
        self.browsers = Browsers(settings.allowed_hosts, settings.origins)
        self.check_host = lru_cache(HOSTS)(self.browsers.check_host)
        self.rates = Rates(settings.rate, settings.rates) if settings.rate else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        needed = self.scopes.needed(scope)
        secured = _with_headers(send)
        try:
            check_address(scope)
            headers = _fields(scope)
            name = await self._admitted(scope, headers, needed)
            changes = scope["method"] in CHANGING
            given = await read(scope, receive, headers, self.settings.most_bytes) if changes else receive
        except Exception as error:
            refusal = await answered(Request(scope), error)
            await refusal(scope, receive, secured)
            return
        status = 0

        async def sending(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await secured(message)

        await self.app(scope, given, sending if needed == "admin" else secured)
        if needed == "admin":
            path = scope["raw_path"].decode("ascii", "replace")  # percent-encoded, so without line breaks
            AUDIT.info("%s %s %s by %r from %s", scope["method"], path, status, name, _peer(scope))

    async def _admitted(self, scope: Scope, headers: Fields, needed: Needed) -> str:
        """Check a request; returns its client: the prefix of its key, or its address. Raises `Problem`."""
        self.check_host(headers.get(b"host"))
        size = headers.get(b"content-length", b"0")
        if not size.isdigit() or len(size) > DIGITS or int(size) > self.settings.most_bytes:
            most = f"{self.settings.most_bytes:,}"
            raise Problem(413, f"the body has {size[:20].decode()} bytes; there can be {most}")
        secret, by_header = _secret(scope["method"], headers)
        granted = await self._granted(secret)
        name = secret[:PREFIX] if secret and granted else _peer(scope)
        if not ((granted and by_header) or BY_BROWSERS.isdisjoint(headers)):
            self.browsers.check_page(headers, page=_is_page(scope))
            scope["palate.foreign"] = self.browsers.is_foreign(headers)
        wait = self.rates.wait(name if granted else counted_as(name)) if self.rates else 0.0
        if wait:
            rule = f"more than {self.settings.rate:g} requests a second"
            raise Problem(429, rule, {"Retry-After": str(int(wait) + 1)})
        if self.settings.keys and needed != "public":
            self._permit(scope, granted, needed)
        return name

    def _permit(self, scope: Scope, granted: frozenset[str], needed: Needed) -> None:
        if not granted and _is_page(scope):
            raise Problem(303, "sign in first", {"Location": f"/login?{urlencode({'next': _asked(scope)})}"})
        if not granted:
            scheme = {"WWW-Authenticate": "Bearer"}
            raise Problem(401, "this needs an API key: Authorization: Bearer KEY, or X-API-Key", scheme)
        if needed not in granted and "admin" not in granted:
            raise Problem(403, f"this key may {', '.join(sorted(granted))}; this needs {needed}")
        scope["palate.scopes"] = granted

    async def _granted(self, secret: str | None) -> frozenset[str]:
        """Return the scopes of a secret; none where the service runs without keys."""
        if not secret or not self.settings.keys:
            return frozenset()
        return await self.service.run(self.service.keys.verify, secret)


def may(scope: Scope, needed: Needed) -> bool:
    """Whether a request that passed also has this scope; always where the service runs without keys."""
    granted = scope.get("palate.scopes")
    return granted is None or needed in granted or "admin" in granted


def is_foreign(scope: Scope) -> bool:
    """Whether a request that passed without a key may come from another site: its GET must not store anything."""
    return bool(scope.get("palate.foreign", False))


def check_address(scope: Scope) -> None:
    """Raise `Problem` unless path and query are UTF-8; other bytes would turn into replacement characters."""
    for part, sent in (("path", scope["raw_path"]), ("query", scope["query_string"])):
        try:
            unquote_to_bytes(sent).decode()
        except UnicodeDecodeError:
            shown = sent[:80].decode("latin-1")
            raise Problem(400, f"the {part} {shown!r}: must be UTF-8 once its percent signs are read") from None


def _fields(scope: Scope) -> Fields:
    """Return headers by name. Raises `Problem` where a header that the guard reads is there twice."""
    headers = dict(scope["headers"])
    if len(headers) < len(scope["headers"]):
        names = Counter(name for name, _ in scope["headers"])
        twice = [name.decode() for name in DECIDING if names[name] > 1]
        if twice:
            raise Problem(400, f"{twice[0]}: is there twice")
    return headers


def _secret(method: str, headers: Fields) -> tuple[str | None, bool]:
    """Return the secret of a request, and whether it came in a header, which a page of another site cannot set."""
    bearer = headers.get(b"authorization", b"")
    if bearer[:7].lower() == b"bearer ":
        return bearer[7:].strip().decode("latin-1"), True
    if b"x-api-key" in headers:
        return headers[b"x-api-key"].decode("latin-1"), True
    if method in ("GET", "HEAD") or PAGE in headers:
        for part in headers.get(b"cookie", b"").split(b";"):
            name, _, value = part.strip().partition(b"=")
            if name == COOKIE.encode():
                return value.decode("latin-1"), False
    return None, False


def _is_page(scope: Scope) -> bool:
    """Whether a request is a browser's for a page."""
    return scope["method"] == "GET" and not scope["path"].startswith(FOR_PROGRAMS)


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
