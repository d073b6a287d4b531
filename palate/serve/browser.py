"""Limits on browsers: the hosts that a service answers to, and the sites with pages that may call it."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable, Mapping
from contextlib import suppress
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TypeAlias

from palate.errors import SettingError, check
from palate.serve.problems import Problem

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network
Fields: TypeAlias = Mapping[bytes, bytes]  # headers by lower-case name

HOST = re.compile(r"(?:\[([0-9a-f:.]{2,45})\]|([\w.-]{1,253}))(?::\d{1,5})?", re.ASCII | re.IGNORECASE)
SITE = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#\s]+|null|\*")
ANY = "*"
LOOPBACK = ("localhost", "127.0.0.0/8", "::1")
BY_BROWSERS = frozenset((b"origin", b"referer", b"sec-fetch-site"))  # headers that only browsers send
OWN = (
    None,
    b"same-origin",
    b"none",
)  # Sec-Fetch-Site: other clients, own pages, a typed address


def is_wildcard(host: str) -> bool:
    """Whether a host stands for all addresses of the machine."""
    if not host:
        return True
    with suppress(OSError, ValueError):
        return any(ip_address(str(found[4][0]).partition("%")[0]).is_unspecified for found in _found(host))
    return False


def _found(host: str) -> list[tuple[object, object, int, str, tuple[object, ...]]]:
    return list(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM))


def hosts_of(host: str, allowed: Iterable[str]) -> tuple[str, ...]:
    """Return the hosts that a service at `host` answers to: those of this machine, its own, and those allowed.

    Raises `SettingError` for a wildcard host without any allowed, since its names are unknown.
    """
    given = tuple(name for part in allowed for name in part.replace(",", " ").split())
    rule = "it listens at all addresses; name the hosts that clients ask for: --allowed-hosts shop.example,10.0.0.7"
    check(bool(given) or not is_wildcard(host), "host", host, rule)
    return (*LOOPBACK, *(() if is_wildcard(host) else (host,)), *given)


def origins_of(sites: Iterable[str]) -> tuple[str, ...]:
    """Check the sites that may call: `https://shop.example`, with a port if it is not the default."""
    given = tuple(site.lower().rstrip("/") for site in sites)
    for site in given:
        check(SITE.fullmatch(site) is not None, "origin", site, "must be a site, such as https://shop.example")
    return given


def networks_of(proxies: Iterable[str]) -> tuple[str, ...]:
    """Check addresses and networks: `10.0.0.7`, `10.0.0.0/8`."""
    given = tuple(name for part in proxies for name in part.replace(",", " ").split())
    for name in given:
        check(_network(name) is not None, "trusted_proxies", name, "must be an address, or a network as 10.0.0.0/8")
    return given


class Browsers:
    """Refuses requests that a page of another site makes a browser send.

    hosts    names, `*.names`, addresses and networks that a Host header may give; `*` for any
    origins  sites that may call
    """

    def __init__(self, hosts: Iterable[str], origins: Iterable[str]) -> None:
        self._names, self._networks = _parsed(hosts)
        self._origins = frozenset(origin.encode() for origin in origins)

    def check_host(self, host: bytes | None) -> None:
        """Refuse another host, such as a name that an attacker resolves to this address (DNS rebinding)."""
        if host is None:
            raise Problem(400, "Host: a request must name its host")
        if len(host) > 300 or not self._is_known(host):
            shown = host[:100].decode("ascii", "replace")
            raise Problem(403, f"Host: {shown!r} is no host of this service; --allowed-hosts names them")

    def check_page(self, headers: Fields, *, page: bool) -> None:
        """Refuse a request without a key from a page of another site.

        page  whether the request is for a page of the service, to which other sites may link
        """
        origin, site = headers.get(b"origin"), headers.get(b"sec-fetch-site")
        if origin is not None:
            if not self._may_call(origin, headers):
                shown = origin[:100].decode("ascii", "replace")
                raise Problem(403, f"Origin: {shown!r} is another site; --origin names those whose pages may call")
        elif site == b"cross-site" and not (page and headers.get(b"sec-fetch-mode") == b"navigate"):
            raise Problem(403, "Sec-Fetch-Site: this comes from another site; --origin names those that may call")

    def is_foreign(self, headers: Fields) -> bool:
        """Whether a request that passed may still come from another site: an image, a link, another port."""
        if b"origin" in headers:
            return False  # an allowed origin
        referer = headers.get(b"referer")
        return headers.get(b"sec-fetch-site") not in OWN or not (referer is None or _is_own(referer, headers))

    def _may_call(self, origin: bytes, headers: Fields) -> bool:
        small = origin.lower()
        if small in self._origins or ANY.encode() in self._origins:
            return True
        return _is_own(small, headers)

    def _is_known(self, host: bytes) -> bool:
        found = HOST.fullmatch(host.decode("latin-1"))
        if found is None:
            return False
        name = (found[1] or found[2]).lower().rstrip(".")
        if ANY in self._names or name in self._names:
            return True
        address = _address(name)
        if address is not None:
            return any(address in network for network in self._networks)
        return any(name.endswith(known[1:]) for known in self._names if known.startswith("*."))


def _parsed(hosts: Iterable[str]) -> tuple[frozenset[str], tuple[Network, ...]]:
    names, networks = set(), []
    for host in hosts:
        network = _network(host.strip("[]"))
        if network is not None:
            networks.append(network)
            continue
        found = HOST.fullmatch(host.removeprefix("*."))
        if host != ANY and (found is None or found[2] is None):
            raise SettingError(f"allowed_hosts={host!r}: must be a name or an address, without scheme and path")
        names.add(host.lower() if found is None else host.lower().partition(":")[0].rstrip("."))
    return frozenset(names), tuple(networks)


def _network(text: str) -> Network | None:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        return None


def _address(text: str) -> Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None


def _is_own(url: bytes, headers: Fields) -> bool:
    """Whether a URL has the host of the request."""
    kind, _, rest = url.lower().partition(b"://")
    return kind in (b"http", b"https") and rest.partition(b"/")[0] == headers[b"host"].lower()
