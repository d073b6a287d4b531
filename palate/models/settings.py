"""Settings in python's own types: numpy's numbers and truths become those, and print, compare and save alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, replace
from numbers import Integral, Real
from textwrap import shorten
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from palate.errors import SettingError, check

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

R = TypeVar("R", bound="DataclassInstance")  # recipe
WIDTH = 120  # characters of the settings of a recipe in a line
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


def params_of(recipe: DataclassInstance, deep: bool) -> dict[str, Any]:
    """Return the settings by name; with `deep` those of each recipe within, too, as `base__dim`."""
    found = {each.name: getattr(recipe, each.name) for each in fields(recipe)}
    within = {name: value.get_params() for name, value in found.items() if deep and hasattr(value, "get_params")}
    return found | {f"{name}__{each}": value for name, own in within.items() for each, value in own.items()}


def with_params(recipe: R, params: Mapping[str, Any]) -> R:
    """Return the recipe with settings named as in `params_of`. Raises `SettingError` for an unknown one."""
    changed: dict[str, Any] = {}
    for name, value in params.items():
        own, _, inner = name.partition("__")
        known = [each.name for each in fields(recipe)]
        check(own in known, name, value, f"{type(recipe).__name__} has no such setting; known are {', '.join(known)}")
        if inner:
            held = changed.get(own, getattr(recipe, own))
            check(hasattr(held, "set_params"), name, value, f"{own} holds no recipe")
            changed[own] = held.set_params(**{inner: value})
        else:
            changed[own] = value
    return replace(recipe, **changed)


def brief(recipe: DataclassInstance) -> str:
    """Spell a recipe in a line, by the settings that are not the usual ones."""
    own = {each.name: getattr(recipe, each.name) for each in fields(recipe) if not _is_usual(recipe, each)}
    return f"{type(recipe).__name__}({shorten(', '.join(f'{name}={own[name]!r}' for name in own), WIDTH)})"


def _is_usual(recipe: DataclassInstance, setting: Field[Any]) -> bool:
    return bool(setting.default is not MISSING and getattr(recipe, setting.name) == setting.default)


def _kinds(hint: object) -> set[str]:
    """Names of the types that an annotation joins by |."""
    return {part.strip() for part in (hint.__name__ if isinstance(hint, type) else str(hint)).split("|")}
