"""Limits of rate: how many requests a client may send in a second."""

from __future__ import annotations

from array import array
from collections.abc import MutableSequence
from functools import lru_cache
from hashlib import blake2b
from ipaddress import IPv6Address, IPv6Network
from mmap import mmap
from pathlib import Path
from secrets import token_bytes
from time import monotonic
from typing import cast

AT_ONCE = 2.0  # seconds' worth of requests that a client may send at once
CLIENTS = 10_000  # addresses whose networks are cached
PLACES = 1 << 17  # entries of the table
HASHED = 8  # bytes of a hash, and of its key


@lru_cache(CLIENTS)
def counted_as(address: str) -> str:
    """Return the key of an address: an IPv6 address counts as its /64 network, which one client holds."""
    try:
        found = IPv6Address(address)
    except ValueError:
        return address
    return str(found.ipv4_mapped or IPv6Network((int(found), 64), strict=False))


class Rates:
    """A limit of `rate` requests a second for each client, two seconds' worth at once.

    A client is a number: the moment at which its allowance is full again. A table holds each number at two places,
    found by a keyed hash; the lower one counts, so that other clients slow a client only where they share both of its
    places. Workers share the table through a file, so that they enforce one rate together; two that write in the same
    microsecond may let one request more pass.
    """

    def __init__(self, rate: float, shared: str | None = None) -> None:
        self.rate = rate
        self._key, self._moments = opened(shared)

    @staticmethod
    def create(path: Path) -> None:
        """Create the table that workers share."""
        path.write_bytes(token_bytes(HASHED) + bytes(8 * PLACES))

    def wait(self, client: str) -> float:
        """Return the seconds until the next request of the client may pass, 0 if this one passes."""
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
    """Open the table that workers share, or make one for this process; returns the key of its hash, its numbers."""
    if shared is None:
        return token_bytes(HASHED), array("d", bytes(8 * PLACES))
    with Path(shared).open("r+b") as file:
        table = memoryview(mmap(file.fileno(), 0))
    return bytes(table[:HASHED]), cast(MutableSequence[float], table[HASHED:].cast("d"))
