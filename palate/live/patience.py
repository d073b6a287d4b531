"""Work that takes its time is given up once nobody waits for it any more."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from palate.errors import GivenUp


@dataclass(eq=False)
class Waiting:
    """Whether somebody waits for the work, until nobody does."""

    still: bool = True


_WAITING: ContextVar[Waiting | None] = ContextVar("waiting", default=None)


@contextmanager
def waiting() -> Iterator[None]:
    """Wait for the work of the block, in tasks and threads of its context too; at its end nobody does."""
    this = Waiting()
    token = _WAITING.set(this)
    try:
        yield
    finally:
        this.still = False
        _WAITING.reset(token)


def still_wanted() -> None:
    """Raise `GivenUp` where nobody waits any more; long work asks between its parts."""
    this = _WAITING.get()
    if this is not None and not this.still:
        raise GivenUp("nobody waits for this any more")
