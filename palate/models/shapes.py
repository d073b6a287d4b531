"""What must hold of every model, however it was made: its arrays fit each other and its numbers are finite."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from palate.arrays import AnyArray, all_finite, check_arrays
from palate.errors import ModelError, NotFinite


def check_model(model: Any) -> None:
    """Raise `ModelError` naming what breaks the statement of a model's fields, its `fault`, or is not finite."""
    kind = type(model).__name__
    check_arrays(model, model.sizes)
    for each in (own for own in fields(model) if own.name != "recipe"):
        for name, array in numbers(each.name, getattr(model, each.name)):
            if not all_finite(array):
                count = f"{np.count_nonzero(~np.isfinite(array)):,} of {array.size:,} numbers are not finite"
                raise NotFinite(f"{kind}.{name}: {count}")
    wrong = model.fault()
    if wrong:
        raise ModelError(f"{kind}: {wrong}")


def numbers(name: str, value: object) -> Iterator[tuple[str, AnyArray]]:
    """Yield every array of numbers with a fraction that a value holds, under its dotted name."""
    if isinstance(value, np.ndarray | float):
        array = np.asarray(value)
        if array.dtype.kind == "f":
            yield name, array
    elif isinstance(value, Mapping):
        for key, each in value.items():
            yield from numbers(f"{name}.{key}", each)
    elif isinstance(value, tuple):
        for n, each in enumerate(value):
            yield from numbers(f"{name}.{n}", each)
    elif is_dataclass(value):
        for field in fields(value):
            yield from numbers(f"{name}.{field.name}", getattr(value, field.name))
