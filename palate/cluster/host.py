"""What a worker of the cluster runs: one piece of work, and the result of its last call, which is taken in cuts."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from palate.arrays import AnyArray

CHUNK = 64 << 20  # bytes of the largest object


@dataclass(frozen=True, eq=False)
class Sent:
    """An array that lies in the object store, in pieces of `CHUNK` bytes at most."""

    pieces: tuple[Any, ...]

    def taken(self) -> AnyArray:
        """Return a copy of the array: what lies in the store cannot be written to."""
        import ray

        return np.concatenate([ray.get(each) for each in self.pieces])


def cuts_of(rows: int, row_bytes: int) -> list[tuple[int, int]]:
    """Return the edges of pieces of at most `CHUNK` bytes, of rows of so many bytes; one piece at least."""
    step = max(1, CHUNK // max(1, row_bytes))
    return [(low, min(low + step, rows)) for low in range(0, max(rows, 1), step)]


def row_bytes(array: AnyArray) -> int:
    """Bytes of a row of an array."""
    return array.itemsize * int(np.prod(array.shape[1:]))


class Host:
    """An actor. Its calls come one by one, in the order in which the driver made them."""

    def __init__(self) -> None:
        self.chain: list[Any] = []
        self.out: Any = None

    @property
    def work(self) -> Any:
        """What answers calls: the end of the chain."""
        return self.chain[-1] if self.chain else None

    def become(self, place: int, make: Callable[..., Any], args: Sequence[object]) -> None:
        """Have what `make` makes of the work before it at a place of the chain, which ends there."""
        del self.chain[place:]
        self.chain.append(make(self.work, *map(_taken, args)))

    def clear(self) -> None:
        """Forget all work."""
        self.chain, self.out = [], None

    def call(self, name: str, args: Sequence[object]) -> None:
        """Call a method of the work, and keep its result."""
        self.out = None
        self.out = getattr(self.work, name)(*map(_taken, args))

    def ask(self, name: str, args: Sequence[object]) -> Any:
        """Call a method of the work, and return its small result."""
        return getattr(self.work, name)(*map(_taken, args))

    def run(self, function: Callable[..., Any], args: Sequence[object]) -> Any:
        """Return the small result of a function that needs no work."""
        return function(*args)

    def cut(self, low: int, high: int) -> Any:
        """Return rows `[low, high)` of the last result."""
        return self.out[low:high]

    def add(self, *parts: NDArray[Any]) -> NDArray[Any]:
        """Return the sum of cuts of several workers."""
        return np.asarray(np.sum(parts, axis=0))

    def place(self) -> tuple[str, int]:
        """Return the node and the process of the worker."""
        import ray

        return ray.get_runtime_context().get_node_id(), os.getpid()


def _taken(each: object) -> object:
    return each.taken() if isinstance(each, Sent) else each
