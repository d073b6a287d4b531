"""What the values of a column must be. Every function here gives null where a value breaks its rule.

A column of polars' dtype `Object` holds values of several kinds: each is judged by itself, by the rule of its kind.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import polars as pl

IDS = "ids must be strings or whole numbers"
# The rule of each role, as errors state it.
RULES = {
    "user": f"{IDS}, not empty",
    "item": f"{IDS}, not empty",
    "time": "times must be numbers of seconds, ms, us or ns since 1970, or ISO 8601, in the years 1 to 9999",
    "weight": "weights must be finite numbers, 0 or more, at most 1,000,000",
    "event": "event types must be text, not empty",
}

FIRST_SECOND, LAST_SECOND = -62_135_596_800, 253_402_300_799  # of the years 1 and 9999
WHOLE_NUMBER = r"\A-?(0|[1-9][0-9]*)\z"
NUMBER = r"\A-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?\z"
TRUTH = r"\A(?i:true|false)\z"
LARGEST_WEIGHT = 1e6  # in size: one larger event would decide what a model is
LARGEST_WHOLE = 2.0**53  # whole numbers beyond are not exact in a float64
TRUTHS = {
    **dict.fromkeys(("true", "yes", "y", "t", "1", "1.0", "on", "instock", "available"), True),
    **dict.fromkeys(("false", "no", "n", "f", "0", "0.0", "off", "outofstock", "soldout", "unavailable"), False),
}


def as_text(column: pl.Series) -> pl.Series:
    """Ids or event types as strings. Floats count when whole: pandas makes them of integers with gaps."""
    if column.dtype == pl.String:
        return column
    if column.dtype.is_integer():
        return column.cast(pl.String)
    if isinstance(column.dtype, (pl.Categorical, pl.Enum)):
        text = column.cast(pl.String)
        return text.set(text == "", None)
    if column.dtype.is_float():
        whole = (column == column.round(0)) & (column.abs() <= LARGEST_WHOLE)
        return column.set(~whole.fill_null(value=True), None).cast(pl.Int64).cast(pl.String)
    if column.dtype == pl.Object:
        return each(column, _id)
    return nulls(column, pl.String())


def as_weight(column: pl.Series, *, signed: bool = False) -> pl.Series:
    """Weights as float32, `LARGEST_WEIGHT` at most in size; below 0 only where `signed`."""
    values = as_amount(column, signed=signed)
    fine = values.abs() <= LARGEST_WEIGHT
    return values if fine.all() else values.set(~fine, None)


def as_amount(column: pl.Series, *, signed: bool = False) -> pl.Series:
    """Finite numbers as float32; below 0 only where `signed`."""
    values = as_number(column).cast(pl.Float32)
    fine = (values.abs() if signed else values) < math.inf  # NaN is above infinity in polars
    fine = fine if signed else fine & (values >= 0)
    return values if fine.all() else values.set(~fine, None)


def as_number(column: pl.Series) -> pl.Series:
    """Numbers, or strings that spell one, as float64."""
    if column.dtype.is_numeric() or column.dtype == pl.String:
        return column.cast(pl.Float64, strict=False)
    if column.dtype == pl.Object:
        return each(column, spelled).cast(pl.Float64, strict=False)
    return nulls(column, pl.Float64())


def with_point(numbers: pl.Series) -> pl.Series:
    """Numbers as text with a decimal comma, with a point; null where there is a point already."""
    texts = numbers.cast(pl.String)
    return texts.set(texts.str.contains(".", literal=True), None).str.replace(",", ".", literal=True)


def as_spelled(column: pl.Series) -> pl.Series:
    """Strings as 64-bit integers, floats or truths if every one is spelled so, else as they are: 007 is no number."""
    if column.dtype != pl.String or not column.count():
        return column
    if column.str.contains(TRUTH).all():
        return (column.str.to_lowercase() == "true").alias(column.name)
    if not column.str.contains(NUMBER).all():
        return column
    whole = column.cast(pl.Int64, strict=False)
    if whole.null_count() == column.null_count():
        return whole
    number = column.cast(pl.Float64)
    beyond = column.str.contains(WHOLE_NUMBER) & (number.abs() >= LARGEST_WHOLE)  # which a float may round
    return column if beyond.any() or not number.is_finite().all() else number


def as_words(column: pl.Series) -> pl.Series:
    """Texts and numbers of any kind as strings."""
    if column.dtype.is_float():
        finite = column.set(~column.is_finite(), None)
        return pl.select(pl.coalesce(as_text(finite), finite.cast(pl.String))).to_series()
    if column.dtype.is_decimal():
        return column.cast(pl.String)
    return each(column, spelled) if column.dtype == pl.Object else as_text(column)


def as_lines(column: pl.Series) -> pl.Series:
    """Texts as strings; of a list of texts each is a line."""
    if isinstance(column.dtype, (pl.List, pl.Array)) or column.dtype == pl.Object:
        return each(column, _lines)
    return as_words(column)


def _lines(value: object) -> str | None:
    if not isinstance(value, list):
        return spelled(value)
    lines = [spelled(line) for line in value if line not in (None, "")]
    return None if None in lines else "\n".join(map(str, lines))


def as_truth(column: pl.Series) -> pl.Series:
    """Truths as booleans: those, numbers 1 and 0, and the words of `TRUTHS`, without case, spaces, `_` and `-`."""
    if column.dtype == pl.Boolean:
        return column
    if column.dtype == pl.Object:
        said = each(column, lambda value: str(value) if isinstance(value, bool) else spelled(value))
    else:
        said = as_words(column)
    words = said.str.to_lowercase().str.replace_all(r"[\s_-]", "")
    return words.replace_strict(list(TRUTHS), list(TRUTHS.values()), default=None, return_dtype=pl.Boolean)


def nulls(column: pl.Series, dtype: pl.DataType) -> pl.Series:
    """Make nulls of this number."""
    return pl.Series(column.name, [None], dtype).new_from_index(0, len(column))


def each(column: pl.Series, rule: Callable[[Any], str | None]) -> pl.Series:
    """Make strings of values one by one; null for null, and for what is no Unicode: half a surrogate pair."""
    texts = [None if value is None else rule(value) for value in column.to_list()]
    known = [text if text is not None and is_unicode(text) else None for text in texts]
    return pl.Series(column.name, known, pl.String)


def spelled(value: object) -> str | None:
    """Spell a text or a number; None for all else."""
    if isinstance(value, (float, Decimal)):
        return (str(int(value)) if _is_whole(value) else str(value)) if math.isfinite(value) else None
    return str(value) if isinstance(value, (str, int)) and not isinstance(value, bool) else None


def _id(value: object) -> str | None:
    return None if isinstance(value, (float, Decimal)) and not _is_whole(value) else spelled(value)


def _is_whole(value: float | Decimal) -> bool:
    """Whether a number is whole for certain."""
    exact = isinstance(value, Decimal) or abs(value) <= LARGEST_WHOLE
    return math.isfinite(value) and value == int(value) and exact


def has_strings(ids: pl.Series) -> bool:
    """Whether typed ids are strings."""
    if ids.dtype == pl.Object:
        return any(isinstance(value, str) for value in ids.to_list())
    return ids.count() > 0 and ids.dtype in (pl.String, pl.Categorical, pl.Enum, pl.Binary)


def is_unicode(text: str) -> bool:
    """Whether a text can be written: JSON can spell half a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
