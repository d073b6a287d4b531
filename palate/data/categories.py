"""Categories of items: lists of names, however a source writes them."""

from __future__ import annotations

import json
from collections.abc import Iterator

import polars as pl

from palate.data.values import as_words, is_unicode, spelled

NAMES = ("name", "title", "label")  # of a category that is an object, the first that it has


def as_categories(column: pl.Series, separator: str) -> pl.Series:
    """Make lists of strings, null where a value breaks the rule.

    Of lists, however deep; of objects by their `name`, `title` or `label`; of texts cut at the separator, or in JSON;
    of numbers. Nulls and empty names are left out.
    """
    if column.dtype == pl.List(pl.String):
        return column.list.eval(pl.element().filter(pl.element() != ""))
    given = column if column.dtype.is_nested() or column.dtype == pl.Object else as_words(column)
    return pl.Series(column.name, [_names(value, separator) for value in given.to_list()], pl.List(pl.String))


def _names(value: object, separator: str) -> list[str] | None:
    if value is None:
        return None
    try:
        whole = json.loads(value) if isinstance(value, str) and value[:1] in ("[", "{") else value
        names = whole.split(separator) if isinstance(whole, str) else list(_flat(whole))
    except (ValueError, RecursionError):
        return None
    return [name for name in names if name] if all(map(is_unicode, names)) else None


def _flat(value: object) -> Iterator[str]:
    """Yield the names in a value. Raises `ValueError` for what is none."""
    if isinstance(value, list):
        for each in value:
            yield from _flat(each)
    elif isinstance(value, dict):
        named = [value[name] for name in NAMES if value.get(name) is not None]
        if not named and any(each is not None for each in value.values()):
            raise ValueError(value)
        yield from _flat(named[:1])
    elif value is not None:
        name = spelled(value)
        if name is None:
            raise ValueError(value)
        yield name
