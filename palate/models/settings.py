"""Settings in python's own types: numpy's numbers and truths become those, and print, compare and save alike."""

from __future__ import annotations

from dataclasses import fields
from numbers import Integral, Real
from typing import TYPE_CHECKING

import numpy as np

from palate.errors import SettingError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

NAMES = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "text", "None": "none"}


def settle(recipe: DataclassInstance) -> None:
    """Bring the settings of a recipe that are numbers, truths and texts into the types that its fields declare.

    Raises `SettingError` for a value of another type: 2.5 is no whole number, True no number, "10" neither.
    """
    for each in fields(recipe):
        kinds = _kinds(each.type)
        if kinds <= NAMES.keys():
            value = getattr(recipe, each.name)
            settled = settled_value(each.name, value, kinds)
            if settled is not value:
                object.__setattr__(recipe, each.name, settled)


def settled_value(name: str, value: object, kinds: set[str]) -> object:
    """Return a value as one of these types, itself where it is of one; raises `SettingError`."""
    if value is None and "None" in kinds:
        return value
    if isinstance(value, bool | np.bool_):
        if "bool" in kinds:
            return bool(value)
    elif isinstance(value, Integral) and kinds & {"int", "float"}:
        return int(value)
    elif isinstance(value, Real) and "float" in kinds:
        return float(value)
    elif isinstance(value, str) and "str" in kinds:
        return str(value)
    rule = " or ".join(text for kind, text in NAMES.items() if kind in kinds)
    raise SettingError(f"{name}={value!r}: must be {rule}")


def _kinds(hint: object) -> set[str]:
    """Names of the types that an annotation joins by |."""
    return {part.strip() for part in (hint.__name__ if isinstance(hint, type) else str(hint)).split("|")}
