"""Days that are written as numbers: 20201231, and 3/4/2020, whose reading only the whole column shows."""

from __future__ import annotations

import numpy as np
import polars as pl

from palate.arrays import Bools, Longs
from palate.data.times import DAY, SECOND

DAY_FORM = r"^([0-9]{1,2})[./-]([0-9]{1,2})[./-]([0-9]{4})"
CLOCK_FORM = r"(?:,?[ T]([0-9]{1,2}):([0-9]{2})(?::([0-9]{2}))?(?: ?([AaPp])\.?[Mm]\.?)?)?$"
ORDERS = {"day first": True, "month first": False}


def packed(texts: pl.Series) -> pl.Series:
    """Days like 3/4/2020, with a time of day or without, as one number: year, both other numbers, microseconds."""
    parts = texts.str.extract_groups(DAY_FORM + CLOCK_FORM).struct.unnest()
    one, two, year, hour, minute, second = (parts[str(n)].cast(pl.Int64) for n in range(1, 7))
    half = parts["7"].str.to_lowercase()
    since = half.is_not_null().cast(pl.Int64) * (hour % 12 - hour) + (half == "p").cast(pl.Int64).fill_null(0) * 12
    seconds = ((hour + since) * 60 + minute).fill_null(0) * 60 + second.fill_null(0)
    days = (year * 100 + one) * 100 + two
    return (days * DAY + seconds * SECOND).set((seconds >= 86_400).fill_null(value=False), None)


def unpacked(packed: Longs) -> tuple[Longs, Longs, Longs, Longs]:
    """Year, both other numbers, and microseconds of the day, (N,) each."""
    day, clock = np.divmod(packed, DAY)
    return day // 10_000, day // 100 % 100, day % 100, clock


def readings(raw: int) -> str:
    """Show both readings of a day."""
    year, one, two = raw // DAY // 10_000, raw // DAY // 100 % 100, raw // DAY % 100
    return f"{year:04}-{two:02}-{one:02} or {year:04}-{one:02}-{two:02}"


def of_days(raw: Longs, _: int, *, day_first: bool | None) -> tuple[Longs, Bools]:
    """Microseconds since 1970 of packed days, and which are days, (N,)."""
    year, one, two, clock = unpacked(raw)
    day, month = (one, two) if day_first else (two, one)
    moments, fine = calendar((year * 100 + month) * 100 + day, 8)
    return moments + clock, fine


def calendar(numbers: Longs, digits: int) -> tuple[Longs, Bools]:
    """Microseconds since 1970 of days written as numbers of `digits` digits, and which numbers are days, (N,)."""
    fine = (numbers >= 10 ** (digits - 1)) & (numbers < 10**digits)
    whole = np.where(fine, numbers, 0) * 10 ** (14 - digits)
    year, month, day = whole // 10**10, whole // 10**8 % 100, whole // 10**6 % 100
    hour, minute, second = whole // 10**4 % 100, whole // 100 % 100, whole % 100
    fine &= (month >= 1) & (month <= 12) & (day >= 1) & (hour < 24) & (minute < 60) & (second < 60)
    months = np.where(fine, (year - 1970) * 12 + month - 1, 0).astype("datetime64[M]")
    days = months.astype("datetime64[D]") + (day - 1)
    fine &= days.astype("datetime64[M]") == months  # a month has no more days
    seconds = (hour * 60 + minute) * 60 + second
    return (days.astype(np.int64) * 86_400 + seconds) * SECOND, fine
