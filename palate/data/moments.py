"""Times of a log: numbers of one unit, days written as numbers, texts. The unit is settled when all are there."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import partial

import numpy as np
import polars as pl
from numpy.typing import NDArray

from palate.arrays import AnyArray, Bools, Longs
from palate.data.batch import Batch
from palate.data.days import DAY_FORM, ORDERS, calendar, of_days, packed, readings, unpacked
from palate.data.faults import show
from palate.data.times import EPOCH, HOURS_AHEAD, MICROSECOND, from_iso, microseconds
from palate.data.values import FIRST_SECOND, LAST_SECOND, as_number, as_text, each, nulls, spelled
from palate.errors import DataError, DataWarning, check

UNITS = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}  # parts of a second
SIZES = np.array([1e11, 1e14, 1e17])  # below which numbers of s, ms, us lie till the year 5138
DIGITS = (8, 12, 14)  # of a number that is a day: YYYYMMDD, with hours and minutes, with seconds
YEARS = 1900, 2100  # between which such a day lies
FORMATS = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%d %H:%M:%S%.f%#z")
EARLY = (datetime(1980, 1, 1, tzinfo=UTC) - EPOCH) // MICROSECOND  # no log is older, unless most of its times are
# A whole number; the bits of another one; microseconds since 1970 UTC; a day like 3/4/2020, which has two readings.
NUMBER, FRACTION, MOMENT, DAY = range(4)


@dataclass(frozen=True)
class _Part:
    """N times of one batch: their rows (N,), a range where there is no gap, and their kinds, (N,) or one of all."""

    place: str
    column: str
    rows: Longs | range
    kinds: NDArray[np.uint8] | int


class _Flagged:
    """Times that look wrong: how many, and the first of them as the source has it."""

    def __init__(self) -> None:
        self.count = 0
        self.first = ""

    def add(self, flagged: Bools, part: _Part, raw: Longs, moments: Longs) -> None:
        if flagged.any() and not self.count:
            n = int(flagged.argmax())
            self.first = f"{_place(part, raw, n)}, read as {_shown(int(moments[n]))}"
        self.count += int(flagged.sum())


class Times:
    """Reads the times of a log, batch by batch.

    unit    of numbers: "s", "ms", "us", "ns"; None finds the one that most of them have, or that they are days
    shape   of texts and numbers, as `strptime` takes it, or "day first" or "month first", for days like 3/4/2020
    Raises `SettingError` for another unit or a shape that is none.
    """

    def __init__(self, unit: str | None = None, shape: str | None = None) -> None:
        check(unit is None or unit in UNITS, "time_unit", unit, f"must be one of {', '.join(UNITS)}")
        check(shape is None or unit is None, "time_format", shape, "says all; leave out time_unit=")
        rule = "must be a form of strptime, like %d.%m.%Y, or day first, or month first"
        check(shape is None or shape in ORDERS or _is_shape(shape), "time_format", shape, rule)
        self._unit = unit
        self._shape = None if shape in ORDERS else shape
        self._sizes = np.zeros(len(UNITS), np.int64)
        self._days = np.zeros(len(DIGITS), np.int64)
        self._parts: list[_Part] = []
        self._day_first = ORDERS.get(shape or "")
        self.form: list[str] = []  # what is unusual in how times are written

    def __call__(self, column: pl.Series) -> dict[str, pl.Series]:
        """Return what each value says, null if it is no time: `time`, to be settled, and the `kind` of each."""
        if column.dtype == pl.Date or isinstance(column.dtype, pl.Datetime):
            return _of_one_kind(_typed(column), MOMENT)
        known = each(column, _written) if column.dtype == pl.Object else column
        if self._shape is not None:
            return _of_one_kind(_shaped(as_text(known), self._shape), MOMENT)
        whole = known.cast(pl.Int64, strict=False) if _is_countable(known.dtype) else nulls(known, pl.Int64())
        if not whole.has_nulls():
            self._count(whole.to_numpy())
            return _of_one_kind(whole, NUMBER)
        return self._mixed(known, whole)

    def _mixed(self, column: pl.Series, whole: pl.Series) -> dict[str, pl.Series]:
        """Read numbers that are not all whole, and texts."""
        number = as_number(column).fill_null(np.nan).to_numpy()
        exact = whole.is_not_null().to_numpy()
        finite = np.isfinite(number) | exact
        integral = exact | (finite & (np.abs(number) < 2.0**63) & (np.floor(number) == number))
        raw = np.where(finite, number, 0).view(np.int64)
        raw[integral] = np.where(exact, 0, number)[integral].astype(np.int64)
        raw[exact] = whole.drop_nulls().to_numpy()
        kind = np.where(integral, NUMBER, np.where(finite, FRACTION, MOMENT)).astype(np.uint8)
        self._count(number[finite])
        found = pl.Series(raw)
        if not finite.all():
            rest = np.flatnonzero(~finite)
            texts = as_text(column.gather(rest))
            days = texts.str.contains(DAY_FORM).fill_null(value=False)
            found = found.scatter(rest, _iso(texts.set(days, None)))
            if days.any():
                kind[rest[days.to_numpy()]] = DAY
                found = found.scatter(rest[days.to_numpy()], packed(texts.filter(days)))
        return {"time": found.alias("time"), "kind": pl.Series(kind)}

    def _count(self, numbers: AnyArray) -> None:
        """Count numbers by their size, and those that are days."""
        if not len(numbers):
            return
        least, most = numbers.min(), numbers.max()
        first, last = np.searchsorted(SIZES, [least, most], side="right").tolist()
        if least > 0 and first == last:
            self._sizes[first] += len(numbers)
        else:
            sizes = np.abs(numbers[numbers != 0].astype(np.float64))
            self._sizes += np.bincount(np.searchsorted(SIZES, sizes, side="right"), minlength=len(UNITS))
        for n, digits in enumerate(DIGITS):
            low, high = (year * 10 ** (digits - 4) for year in YEARS)
            if least < high and low <= most:
                own = numbers[(numbers >= low) & (numbers < high)].astype(np.int64)
                self._days[n] += int(calendar(own, digits)[1].sum())

    def add(self, batch: Batch, kept: Longs | slice, kind: pl.Series) -> None:
        """Note where the next times come from: the rows of a batch that are kept."""
        row = batch.row[kept]
        if not len(row):
            return
        gapless = row[-1] - row[0] == len(row) - 1
        rows = range(int(row[0]), int(row[-1]) + 1) if gapless else row
        kinds = kind.to_numpy()
        same = bool((kinds == kinds[0]).all())
        self._parts.append(_Part(batch.place, batch.columns["time"], rows, int(kinds[0]) if same else kinds))

    def settle(self, raw: Longs) -> tuple[Bools, str]:
        """Turn all times, as they were read and added, (N,), into microseconds since 1970 UTC, in place.

        Returns which lie outside the years 1 to 9999, and the first of those as an error shows it; warns of those
        that look wrong.
        """
        scale = self._scale()
        self._find_order(raw)
        ahead, early = _Flagged(), _Flagged()
        latest = int((time.time() + HOURS_AHEAD * 3600) * UNITS["us"])
        bad = np.zeros(len(raw), np.bool_)
        first = ""
        low = 0
        for part in self._parts:
            own = slice(low, low + len(part.rows))
            low = own.stop
            moments, fine = _moments(raw[own], part.kinds, scale, day_first=self._day_first)
            if not fine.all():
                bad[own] = ~fine
                first = first or _place(part, raw[own], int(bad[own].argmax()))
            if moments.max() > latest:
                ahead.add(fine & (moments > latest), part, raw[own], moments)
            if moments.min() < EARLY:
                early.add(fine & (moments < EARLY), part, raw[own], moments)
            raw[own] = moments
        if ahead.count:
            _warn(ahead, len(raw), f"more than {HOURS_AHEAD} hours ahead of the clock")
        if 0 < early.count * 2 < len(raw):
            _warn(early, len(raw), "before 1980, the others not")
        return bad, first

    def _find_order(self, raw: Longs) -> None:
        """Find whether days stand before months: the other of two numbers is above 12 in no time of the column.

        Raises `DataError` where both readings are possible and differ.
        """
        low, first = 0, ""
        above = np.zeros(2, np.int64)  # times whose first, or second, number is no month
        for part in self._parts if self._day_first is None else ():
            own = raw[low : low + len(part.rows)]
            low += len(part.rows)
            mine = np.flatnonzero(np.broadcast_to(part.kinds == DAY, len(part.rows)))
            _, one, two, _ = unpacked(own[mine])
            above += [np.count_nonzero(one > 12), np.count_nonzero(two > 12)]
            if not first and (one != two).any():
                n = int(mine[(one != two).argmax()])
                first = f"{_place(part, own, n)}, which may be {readings(int(own[n]))}"
        if first and not above.any():
            raise DataError(f"{first}, as no other time shows; time_format='day first' or 'month first' states it")
        if first:
            self._day_first = bool(above[0] >= above[1])
            self.form.append("dates day first" if self._day_first else "dates month first")

    def _scale(self) -> int:
        """Parts of a second that a number counts, or, below 0, the digits of one that is a day."""
        if self._unit is not None:
            return UNITS[self._unit]
        total = int(self._sizes.sum())
        for digits, count in zip(DIGITS, self._days.tolist(), strict=True):
            if count * 2 > total:
                return -digits
        middle = int(np.argmax(np.cumsum(self._sizes) * 2 > total))
        return list(UNITS.values())[middle]


def _warn(flagged: _Flagged, of_all: int, where: str) -> None:
    what = f"{flagged.count:,} of {of_all:,} times are {where}; the first: {flagged.first}"
    warnings.warn(f"{what}; time_unit= or time_format= says how to read them", DataWarning, stacklevel=5)


def _place(part: _Part, raw: Longs, n: int) -> str:
    """Show a time as its source has it, with its place."""
    kind = part.kinds if isinstance(part.kinds, int) else int(part.kinds[n])
    value: object = _shown(int(raw[n])) if kind == MOMENT else raw.view(np.float64)[n] if kind == FRACTION else raw[n]
    if kind == DAY:
        year, one, two, _ = (int(each[0]) for each in unpacked(raw[n : n + 1]))
        value = f"{one}/{two}/{year}"
    return f"row {part.rows[n]} of {part.place}: {part.column} is {show(value)}"


def _shown(moment: int) -> str:
    return f"{EPOCH + moment * MICROSECOND:%Y-%m-%d %H:%M:%S}"


def _moments(
    raw: Longs, kinds: NDArray[np.uint8] | int, scale: int, *, day_first: bool | None
) -> tuple[Longs, Bools]:
    """Microseconds since 1970 of times as they were read, (N,), and which lie in the years 1 to 9999, (N,)."""
    make = MAKE | {DAY: partial(of_days, day_first=day_first)}
    if isinstance(kinds, int):
        return make[kinds](raw, scale)
    moments, fine = np.zeros(len(raw), np.int64), np.ones(len(raw), np.bool_)
    for kind in make:
        own = kinds == kind
        moments[own], fine[own] = make[kind](raw[own], scale)
    return moments, fine


def _of_numbers(raw: Longs, scale: int) -> tuple[Longs, Bools]:
    if scale < 0:
        return calendar(raw, -scale)
    least, most = max(FIRST_SECOND * scale, -(2**63)), min((LAST_SECOND + 1) * scale - 1, 2**63 - 1)
    if least <= raw.min(initial=0) and raw.max(initial=0) <= most:
        sound, fine = raw, np.ones(len(raw), np.bool_)
    else:
        fine = (raw >= least) & (raw <= most)
        sound = np.where(fine, raw, 0)
    return sound * (UNITS["us"] // scale) if scale <= UNITS["us"] else sound // (scale // UNITS["us"]), fine


def _of_fractions(raw: Longs, scale: int) -> tuple[Longs, Bools]:
    seconds = raw.view(np.float64) / max(scale, 1)
    fine = (seconds >= FIRST_SECOND) & (seconds < LAST_SECOND + 1) & (scale > 0)
    return np.round(np.where(fine, raw.view(np.float64), 0) * (UNITS["us"] / max(scale, 1))).astype(np.int64), fine


def _of_moments(raw: Longs, _: int) -> tuple[Longs, Bools]:
    return _of_numbers(raw, UNITS["us"])


MAKE = {NUMBER: _of_numbers, FRACTION: _of_fractions, MOMENT: _of_moments}


def moments(column: pl.Series) -> pl.Series:
    """Days, datetimes and ISO 8601 texts as microseconds since 1970 UTC; null for all else."""
    is_typed = column.dtype == pl.Date or isinstance(column.dtype, pl.Datetime)
    found = (_typed(column) if is_typed else _iso(as_text(column))).alias(column.name)
    return found.set(~found.is_between(FIRST_SECOND * UNITS["us"], (LAST_SECOND + 1) * UNITS["us"] - 1), None)


def _typed(column: pl.Series) -> pl.Series:
    zone = getattr(column.dtype, "time_zone", None)
    return column.cast(pl.Datetime("us", zone)).to_physical()


def _of_one_kind(values: pl.Series, kind: int) -> dict[str, pl.Series]:
    return {"time": values.alias("time"), "kind": pl.Series([kind], dtype=pl.UInt8).new_from_index(0, len(values))}


def _written(value: object) -> str | None:
    return value.isoformat() if isinstance(value, date) else spelled(value)


def _is_countable(dtype: pl.DataType) -> bool:
    return dtype == pl.String or (dtype.is_numeric() and not dtype.is_float() and not dtype.is_decimal())


def _iso(column: pl.Series) -> pl.Series:
    text = column.str.replace(r"\s?(Z|z|UTC)$", "+00:00")
    found = nulls(column, pl.Int64())
    for shape in FORMATS:
        if found.null_count():
            parsed = text.str.to_datetime(shape, time_unit="us", strict=False).to_physical()
            found = pl.select(pl.coalesce(found, parsed)).to_series()
    left = found.is_null() & text.is_not_null()
    if left.any():
        found = found.scatter(left.arg_true(), [_microseconds(from_iso, value) for value in text.filter(left)])
    return found


def _shaped(column: pl.Series, shape: str) -> pl.Series:
    """Microseconds of texts of one form; no zone means UTC."""
    known = column.unique().drop_nulls()
    moments = [_microseconds(lambda text: microseconds(datetime.strptime(text, shape)), text) for text in known]
    return column.replace_strict(known, pl.Series(moments, dtype=pl.Int64), default=None, return_dtype=pl.Int64)


def _is_shape(shape: str) -> bool:
    try:
        datetime.strptime(EPOCH.strftime(shape), shape)
    except ValueError:
        return False
    return "%" in shape


def _microseconds(read: Callable[[str], int], text: str) -> int | None:
    """Read any other form; None for what has another."""
    try:
        return read(text)
    except ValueError:
        return None
