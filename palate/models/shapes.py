"""What must hold of the arrays of every model, however it was made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from palate.errors import ModelError


def check_model(model: Any) -> None:
    """Raise `ModelError` naming the first array with numbers that are not finite: such a model cannot rank."""
    for each in (own for own in fields(model) if own.name != "recipe"):
        for name, array in arrays(each.name, getattr(model, each.name)):
            if not all_finite(array):
                bad = array.size - int(np.isfinite(array).sum())
                count = f"{bad:,} of {array.size:,} numbers are not finite"
                raise ModelError(f"{type(model).__name__}.{name}: {count}; a model needs finite numbers to rank by")


def arrays(name: str, value: Any) -> Iterator[tuple[str, NDArray[Any]]]:
    """Yield every array of numbers with a fraction that a value holds, under its dotted name."""
    if isinstance(value, np.ndarray | float):
        array = np.asarray(value)
        if array.dtype.kind == "f":
            yield name, array
    elif isinstance(value, Mapping):
        for key, each in value.items():
            yield from arrays(f"{name}.{key}", each)
    elif isinstance(value, tuple):
        for n, each in enumerate(value):
            yield from arrays(f"{name}.{n}", each)
    elif is_dataclass(value):
        for field in fields(value):
            yield from arrays(f"{name}.{field.name}", getattr(value, field.name))


def all_finite(array: NDArray[Any]) -> bool:
    """Whether all numbers are finite; the sum of squares tells in one pass, unless it is too large itself."""
    if array.flags.c_contiguous:
        flat = array.reshape(-1)
        with np.errstate(over="ignore", invalid="ignore"):
            if np.isfinite(np.dot(flat, flat)):
                return True
    return bool(np.isfinite(array).all())
