"""What was used last, by name, a bounded number of things."""

from __future__ import annotations

from collections.abc import Mapping
from threading import Lock
from typing import Generic, TypeVar

T = TypeVar("T")


class Recent(Generic[T]):
    """At most `most` things by name; those used least recently leave first. Threads may share it."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._things: dict[str, T] = {}  # the last one used at the end
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._things)

    def get(self, name: str) -> T | None:
        """Return a thing, None where there is none of this name."""
        with self._lock:
            found = self._things.pop(name, None)
            if found is not None:
                self._things[name] = found
            return found

    def add(self, things: Mapping[str, T]) -> None:
        """Put things in the place of those of the same names, as the ones used last."""
        with self._lock:
            for name, thing in things.items():
                self._things.pop(name, None)
                self._things[name] = thing
            while len(self._things) > self._most:
                del self._things[next(iter(self._things))]

    def all(self) -> dict[str, T]:
        """Return all there are."""
        with self._lock:
            return self._things.copy()
