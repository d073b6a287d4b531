"""Who may do what: API keys with scopes, limits of rate and size, headers, and a line for each admin call."""

from __future__ import annotations

import logging
from array import array
from collections import Counter
from collections.abc import MutableSequence
from functools import lru_cache
from hashlib import blake2b
from ipaddress import IPv6Address, IPv6Network
from mmap import mmap
from pathlib import Path
from secrets import token_bytes
from time import monotonic
from typing import cast
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from palate.serve.bodies import read
from palate.serve.browser import Browsers, Fields
from palate.serve.exact import check_address
from palate.serve.problems import Problem, answered
from palate.serve.routes import Needed, Scopes
from palate.serve.service import Service
from palate.store.keys import PREFIX

AUDIT = logging.getLogger("palate.audit")
COOKIE = "palate_key"
PAGE = b"x-palate-page"  # which a page's own script sends; a form of another site cannot
FOR_PROGRAMS = ("/v1/", "/api/", "/metrics", "/openapi.json", "/page/")  # the others are pages
CHANGING = ("POST", "PUT", "PATCH", "DELETE")  # methods whose bodies are read
DECIDING = (b"host", b"origin", b"authorization", b"x-api-key", b"content-type", b"content-length", b"sec-fetch-site")
DIGITS = 15  # of the length of a body
AT_ONCE = 2.0  # seconds' worth of requests that a client may send at once
CLIENTS = 10_000  # whose networks are remembered
PLACES = 1 << 17  # of the table of rates
HASHED = 8  # bytes of a hash, and of its key

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


class Guard:
    """ASGI middleware around everything."""

    def __init__(self, app: ASGIApp, scopes: Scopes, service: Service) -> None:
        self.app, self.scopes, self.service = app, scopes, service
        self.settings = settings = service.settings
        self.browsers = Browsers(settings.allowed_hosts, settings.origins)
        self.rates = Rates(settings.rate, settings.rates)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer that it may not pass."""
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
            path = scope["raw_path"].decode("ascii", "replace")  # as it was sent: no line breaks
            AUDIT.info("%s %s %s by %r from %s", scope["method"], path, status, name, _peer(scope))

    async def _admitted(self, scope: Scope, headers: Fields, needed: Needed) -> str:
        """Return the client of a request: the beginning of its key, or its address. Raises `Problem`."""
        self.browsers.check_host(headers)
        size = headers.get(b"content-length", b"0")
        if not size.isdigit() or len(size) > DIGITS or int(size) > self.settings.most_bytes:
            most = f"{self.settings.most_bytes:,}"
            raise Problem(413, f"the body has {size[:20].decode()} bytes; there can be {most}")
        secret, by_header = _secret(scope["method"], headers)
        granted = await self._granted(secret)
        name = secret[:PREFIX] if secret and granted else _peer(scope)
        if not (granted and by_header):
            self.browsers.check_page(headers, page=_is_page(scope))
            scope["palate.foreign"] = self.browsers.is_foreign(headers)
        wait = self.rates.wait(name if granted else counted_as(name))
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
        """Scopes of a secret; none where keys are not asked for, and so are not checked."""
        if not secret or not self.settings.keys:
            return frozenset()
        return await self.service.run(self.service.keys.verify, secret)


def may(scope: Scope, needed: Needed) -> bool:
    """Whether the key of a request that passed may do this too; always where no keys are needed."""
    granted = scope.get("palate.scopes")
    return granted is None or needed in granted or "admin" in granted


def is_foreign(scope: Scope) -> bool:
    """Whether a request without a key that passed may come from another page: such a one stores nothing by GET."""
    return bool(scope.get("palate.foreign", False))


def _fields(scope: Scope) -> Fields:
    """Headers by name. Raises `Problem` where one that decides is there twice."""
    headers = dict(scope["headers"])
    if len(headers) < len(scope["headers"]):
        names = Counter(name for name, _ in scope["headers"])
        twice = [name.decode() for name in DECIDING if names[name] > 1]
        if twice:
            raise Problem(400, f"{twice[0]}: is there twice")
    return headers


def _secret(method: str, headers: Fields) -> tuple[str | None, bool]:
    """Secret of a request, and whether it stands in a header, where no page of another site can put it."""
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
    """Whether a request asks for a page, and not as a program."""
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


@lru_cache(CLIENTS)
def counted_as(address: str) -> str:
    """Return by what an address is counted: one of version 6 by its network, which a client has as a whole."""
    try:
        found = IPv6Address(address)
    except ValueError:
        return address
    return str(found.ipv4_mapped or IPv6Network((int(found), 64), strict=False))


class Rates:
    """How often each client comes: `rate` times a second, two seconds' worth at once.

    A client is a number: the moment at which it will have as much left as one that never came. The numbers of all
    stand in a table, two places each, found by a hash with a key of its own; the lower one counts, so that a client
    is held up by others only where both its places are shared. Workers share the table through a file, so that
    the rate is one for all; two that write in the same microsecond may let one request more pass.
    """

    def __init__(self, rate: float, shared: str | None = None) -> None:
        self.rate = rate
        self._key, self._moments = opened(shared) if rate else (b"", array("d"))

    @staticmethod
    def create(path: Path) -> None:
        """Make the table that workers share."""
        path.write_bytes(token_bytes(HASHED) + bytes(8 * PLACES))

    def wait(self, client: str) -> float:
        """Seconds until the client may come again, 0 if it may now."""
        if not self.rate:
            return 0.0
        digest = blake2b(client.encode("utf-8", "replace"), digest_size=HASHED, key=self._key).digest()
        places = [int.from_bytes(half) % PLACES for half in (digest[:4], digest[4:])]
        now, step = monotonic(), 1 / self.rate
        after = max(now, min(self._moments[place] for place in places)) + step
        wait = after - now - max(step, AT_ONCE)
        if wait > 1e-9:
            return wait
        for place in places:
            self._moments[place] = max(self._moments[place], after)
        return 0.0


def opened(shared: str | None) -> tuple[bytes, MutableSequence[float]]:
    """Open the table that workers share, or make one of this process: the key of its hash, its moments."""
    if shared is None:
        return token_bytes(HASHED), array("d", bytes(8 * PLACES))
    with Path(shared).open("r+b") as file:
        table = memoryview(mmap(file.fileno(), 0))
    return bytes(table[:HASHED]), cast(MutableSequence[float], table[HASHED:].cast("d"))
