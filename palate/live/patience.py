"""Long work is given up once its client has left."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from palate.errors import GivenUp


@dataclass(eq=False)
class Waiting:
    """Whether a client waits for the work."""

    still: bool = True


_WAITING: ContextVar[Waiting | None] = ContextVar("waiting", default=None)


@contextmanager
def waiting() -> Iterator[None]:
    """Let work in the block, in tasks and threads of its context too, know whether the block has ended."""
    this = Waiting()
    token = _WAITING.set(this)
    try:
        yield
    finally:
        this.still = False
        _WAITING.reset(token)


def still_wanted() -> None:
    """Raise `GivenUp` where no client waits any more; long work calls this between its parts."""
    this = _WAITING.get()
    if this is not None and not this.still:
        raise GivenUp("no client waits for this any more")
