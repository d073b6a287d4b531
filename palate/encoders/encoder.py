"""What every pretrained encoder is: a reader of one input at a time, and a network over a batch of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from palate.arrays import Floats
from palate.encoders.axes import unit
from palate.encoders.cache import Cache

ReportProgress: TypeAlias = Callable[[int, int], None]  # called with how many items are encoded, and of how many


class Encoder(ABC):
    """A pretrained network; `name` tells its weights and its way to read, `dim` the length of its vectors."""

    name: str
    dim: int
    batch: int = 32  # inputs that go through at once

    def content(self, value: str) -> bytes:
        """Return what the vector depends on: the text itself, or the bytes of a file. Raises `OSError`."""
        return value.encode()

    def read(self, value: str) -> Any:
        """Make the network's input of a value. Raises `ValueError` or `OSError` for a broken one."""
        return value

    @abstractmethod
    def run(self, inputs: list[Any]) -> Floats:
        """Vectors of a batch, (B, D)."""


def encode(
    encoder: Encoder, values: Sequence[str | None], progress: ReportProgress | None = None
) -> tuple[Floats, dict[int, str]]:
    """Return unit vectors (N, D) of values, zeros where one is missing or broken, and why, by position.

    What this encoder has met before, on any run, comes from the cache on disk.
    """
    vectors = np.zeros((len(values), encoder.dim), np.float32)
    faults: dict[int, str] = {}
    with Cache.of(encoder.name, encoder.dim) as cache:
        keys: dict[int, bytes] = {}
        for n, value in enumerate(values):
            if value:
                try:
                    keys[n] = cache.key(encoder.content(value))
                except OSError as error:
                    faults[n] = str(error)
        known = cache.get(set(keys.values()))
        fresh = [n for n, key in keys.items() if key not in known]
        for low in range(0, len(fresh), encoder.batch):
            part = {n: _read(encoder, str(values[n]), n, faults) for n in fresh[low : low + encoder.batch]}
            ready = [n for n in part if n not in faults]
            if ready:
                made = unit(encoder.run([part[n] for n in ready]))
                known |= {keys[n]: vector for n, vector in zip(ready, made, strict=True)}
                cache.put({keys[n]: known[keys[n]] for n in ready})
            if progress is not None:
                progress(len(keys) - len(fresh) + min(low + encoder.batch, len(fresh)), len(keys))
    for n, key in keys.items():
        if key in known:
            vectors[n] = known[key]
    return vectors, faults


def _read(encoder: Encoder, value: str, n: int, faults: dict[int, str]) -> Any:
    try:
        return encoder.read(value)
    except (ValueError, OSError) as error:
        faults[n] = str(error)
        return None
