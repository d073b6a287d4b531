"""Names of which a store takes a bounded number: event types, and contexts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

from palate.errors import DataError


class Distinct:
    """The names of one kind, those on their way into the store counted; the owner's lock guards `check` and `coming`.

    read  returns those that are stored, for all processes
    """

    def __init__(self, field: str, most: int, kind: str, read: Callable[[], set[str]]) -> None:
        self._field, self._most, self._kind, self._read = field, most, kind, read
        self._stored: set[str] = set()
        self.coming: Counter[str] = Counter()  # that events on their way bring along

    def note(self, name: str, n: int, new: dict[str, int]) -> None:
        """Note the place of the first event that brings a name which may not be stored."""
        if name not in self._stored:
            new.setdefault(name, n)

    def check(self, new: Mapping[str, int]) -> None:
        """Refuse names, each with the place of its first event, if there are too many with those there are."""
        if not new:
            return
        self._stored = self._read()
        there = self._stored | set(self.coming)
        for name, n in new.items():
            if name not in there and len(there) >= self._most:
                most = f"there are {self._most:,} other {self._kind} already, the most there can be"
                raise DataError(f"event {n}: {self._field} is {name!r}; {most}")
            there.add(name)
