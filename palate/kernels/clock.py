"""What compiling takes from a process: seconds that no measurement contains, and a word to the user."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from time import perf_counter
from typing import Any

from numba.core import event as events


class _Seconds(events.Listener):
    """Adds up the seconds in which a thread is at something, several at once as one."""

    def __init__(self) -> None:
        self.seconds, self._began, self._depth = 0.0, 0.0, 0
        self._lock = Lock()

    def on_start(self, event: Any) -> None:
        """Begin, unless a thread is at it."""
        with self._lock:
            self._began = self._began if self._depth else perf_counter()
            self._depth += 1

    def on_end(self, event: Any) -> None:
        """End, unless a thread is still at it."""
        with self._lock:
            self._depth -= 1
            self.seconds += 0.0 if self._depth else perf_counter() - self._began

    def clock(self) -> float:
        """Return the seconds without those."""
        with self._lock:
            return (self._began if self._depth else perf_counter()) - self.seconds


class _Announcing(events.Listener):
    """Says once that kernels are compiled, where they are not in the cache."""

    say: Callable[[str], object] | None = None

    def on_start(self, event: Any) -> None:
        """Say it."""
        say, self.say = self.say, None
        if say is not None:
            say("compiling kernels (once)")

    def on_end(self, event: Any) -> None:
        """Say nothing."""


_preparing, _compiling, _announcing = _Seconds(), _Seconds(), _Announcing()
for listener, kind in ((_preparing, "compiler_lock"), (_compiling, "compile"), (_announcing, "compile")):
    events.register(f"numba:{kind}", listener)  # type: ignore[no-untyped-call]


def clock() -> float:
    """Seconds of a clock, as `perf_counter`, that stands still while kernels are compiled or loaded."""
    return _preparing.clock()


def compile_seconds() -> float:
    """Seconds for which this process has compiled kernels that were not in the cache on disk."""
    return _compiling.seconds


def announce_compiling(say: Callable[[str], object]) -> None:
    """Have `say` called with a line when the next kernel is compiled that is not in the cache on disk; once."""
    _announcing.say = say
