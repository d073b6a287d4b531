"""Columns of Python values, as JSON and objects of pandas hold them, and columns in parts, brought to one kind."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import polars as pl

from palate.data.values import LARGEST_WHOLE, is_unicode

# The type of a column whose values are all of one kind; None where polars finds it.
TYPED: dict[type, pl.DataType | None] = {
    bool: pl.Boolean(),
    int: pl.Int64(),
    float: pl.Float64(),
    str: pl.String(),
    bytes: pl.Binary(),
    **dict.fromkeys((date, datetime, time, timedelta, Decimal)),
}
FOREIGN = (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError)


def series_of(name: str, values: Sequence[object]) -> pl.Series:
    """Make a column of Python values, "" null: typed if all are of one kind, else `Object`, which keeps each."""
    return _series(name, [None if isinstance(value, str) and value == "" else value for value in values])


def _series(name: str, values: Sequence[object]) -> pl.Series:
    kinds = _kinds(values)
    if not kinds:
        return pl.Series(name, values, pl.Null)
    if len(kinds) == 1 and kinds <= TYPED.keys():
        try:
            return pl.Series(name, values, TYPED[kinds.pop()])
        except FOREIGN:  # an integer beyond 64 bits, half a surrogate pair, two time zones
            pass
    return pl.Series(name, values, pl.Object)


def _kinds(values: Sequence[object]) -> set[type]:
    return {*map(type, values)} - {type(None)}


def writable(column: pl.Series) -> pl.Series:
    """Return the column, null where a value cannot be written: JSON can spell half a surrogate pair."""
    if column.dtype != pl.Object:
        return column
    texts = (json.dumps(value, ensure_ascii=False, default=str) for value in column.to_list())
    return _series(
        column.name, [value if is_unicode(text) else None for value, text in zip(column, texts, strict=True)]
    )


def joined(parts: Sequence[pl.Series]) -> pl.Series:
    """Join the parts of a column: however it was cut, the same values give the same column.

    Whole numbers beside others are floats where none loses a digit, and so in lists. Other columns of several kinds,
    and objects of JSON, are of `Object`, which keeps each value as it is.
    """
    dtypes = {part.dtype for part in parts if part.null_count() < len(part)}
    if len(dtypes) == 1 and pl.Object not in dtypes:
        return pl.concat([part.cast(*dtypes) for part in parts])
    return _of_one_kind(parts[0].name, [value for part in parts for value in part.to_list()])


def _of_one_kind(name: str, values: list[Any]) -> pl.Series:
    kinds = _kinds(values)
    if kinds == {list}:
        return _lists(name, values)
    if kinds == {int, float} and all(map(_is_exact, values)):
        return pl.Series(name, values, pl.Float64, strict=False)
    return _series(name, values)


def _is_exact(value: float | None) -> bool:
    return value is None or isinstance(value, float) or abs(value) <= LARGEST_WHOLE


def _lists(name: str, values: list[Any]) -> pl.Series:
    inner = _of_one_kind(name, [each for value in values if value for each in value])
    if inner.dtype == pl.Object or isinstance(inner.dtype, pl.List):
        return pl.Series(name, values, pl.Object)
    ends = np.cumsum([len(value or ()) for value in values]).tolist()
    every = inner.to_list()
    cut = [None if value is None else every[end - len(value) : end] for value, end in zip(values, ends, strict=True)]
    return pl.Series(name, cut, pl.List(pl.String if inner.dtype == pl.Null else inner.dtype))
