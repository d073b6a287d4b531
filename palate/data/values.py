"""What the values of a column must be. Every function here gives null where a value breaks its rule."""

from __future__ import annotations

import math

import numpy as np
import polars as pl

from palate.data.times import from_iso

IDS = "ids must be strings or whole numbers"
# The rule of each role, as errors state it.
RULES = {
    "user": f"{IDS}, not empty",
    "item": f"{IDS}, not empty",
    "time": "times must be numbers of seconds, ms, us or ns since 1970, or ISO 8601, in the years 1 to 9999",
    "weight": "weights must be finite numbers, 0 or more",
    "event": "event types must be text, not empty",
}

LARGEST_WHOLE = 2.0**53  # whole numbers beyond are not exact in a float64
FIRST_SECOND, LAST_SECOND = -62_135_596_800, 253_402_300_799  # of the years 1 and 9999
WHOLE_NUMBER = r"\A-?(0|[1-9][0-9]*)\z"
NUMBER = r"\A-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?\z"
TRUTH = r"\A(?i:true|false)\z"
UNITS = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}  # parts of a second
FORMATS = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%d %H:%M:%S%.f%#z")


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
    return nulls(column, pl.String())


def as_weight(column: pl.Series, *, signed: bool = False) -> pl.Series:
    """Weights as float32; below 0 only where `signed`."""
    values = as_number(column).cast(pl.Float32)
    fine = (values.abs() if signed else values) < math.inf  # NaN is above infinity in polars
    fine = fine if signed else fine & (values >= 0)
    return values if fine.all() else values.set(~fine, None)


def as_number(column: pl.Series) -> pl.Series:
    """Numbers, or strings that spell one, as float64."""
    if column.dtype.is_numeric() or column.dtype == pl.String:
        return column.cast(pl.Float64, strict=False)
    return nulls(column, pl.Float64())


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


def nulls(column: pl.Series, dtype: pl.DataType) -> pl.Series:
    """Make as many nulls."""
    return pl.Series(column.name, [None], dtype).new_from_index(0, len(column))


class Times:
    """Times as int64 microseconds since 1970 UTC; the first batch settles if they are numbers, and of which unit."""

    def __init__(self) -> None:
        self._unit: str | None = None

    def __call__(self, column: pl.Series) -> pl.Series:
        """Convert the next batch."""
        if column.dtype == pl.Date or isinstance(column.dtype, pl.Datetime):
            zone = getattr(column.dtype, "time_zone", None)
            return _scaled(column.cast(pl.Datetime("us", zone)).to_physical(), UNITS["us"])
        if self._unit is None:
            self._unit = _unit(as_number(column))
        if self._unit == "iso":
            return _scaled(_iso(as_text(column)), UNITS["us"])
        parts = UNITS[self._unit]
        whole = nulls(column, pl.Int64()) if column.dtype.is_float() else column.cast(pl.Int64, strict=False)
        exact = _scaled(whole, parts)
        if not whole.has_nulls():
            return exact
        return pl.select(pl.coalesce(exact, _scaled(as_number(column), parts))).to_series()


def _scaled(values: pl.Series, parts: int) -> pl.Series:
    """Microseconds of times in parts of a second; null outside the years 1 to 9999."""
    least, most = max(FIRST_SECOND * parts, -(2**63)), min((LAST_SECOND + 1) * parts - 1, 2**63 - 1)
    if values.dtype.is_float():
        return _scaled((values * (UNITS["us"] / parts)).round().cast(pl.Int64, strict=False), UNITS["us"])
    fine = (values >= least) & (values <= most)
    sound = values if fine.all() else values.set(~fine, None)
    return sound * (UNITS["us"] // parts) if parts <= UNITS["us"] else sound // (parts // UNITS["us"])


def _unit(values: pl.Series) -> str:
    """Return the unit that puts the middle one of these numbers between 1973 and 5138; seconds if it is small."""
    sizes = values.filter(values.is_finite() & (values != 0)).abs()
    if values.count() * 2 < len(values):
        return "iso"
    middle = float(np.median(sizes)) if len(sizes) else 0.0
    return "s" if middle < 1e11 else "ms" if middle < 1e14 else "us" if middle < 1e17 else "ns"


def _iso(column: pl.Series) -> pl.Series:
    text = column.str.replace(r"\s?(Z|z|UTC)$", "+00:00")
    found = nulls(column, pl.Int64())
    for shape in FORMATS:
        if found.null_count():
            parsed = text.str.to_datetime(shape, time_unit="us", strict=False).to_physical()
            found = pl.select(pl.coalesce(found, parsed)).to_series()
    left = found.is_null() & text.is_not_null()
    if left.any():
        found = found.scatter(left.arg_true(), [_microseconds(value) for value in text.filter(left)])
    return found


def _microseconds(text: str) -> int | None:
    """Any other ISO 8601 form; no zone means UTC."""
    try:
        return from_iso(text)
    except ValueError:
        return None
