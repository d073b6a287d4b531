"""What an id is. Ids compare by what they spell, in whatever type: 10 and "10" are one id, "007" and 7 are two.

A column of ids is of strings or of 64-bit integers; whole numbers that do not fit into these are strings.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal
from typing import TypeAlias, cast

import numpy as np
import polars as pl

from palate.data.values import IDS, LARGEST_WHOLE, is_unicode, nulls
from palate.errors import DataError, check

Id: TypeAlias = str | int

WHOLE = re.compile(r"0|-?[1-9][0-9]{0,18}")  # how an integer of 64 bits is spelled
MOST_DIGITS = 4300  # that Python writes of an integer
BEYOND = 10**MOST_DIGITS
EXACT: dict[pl.DataType, float] = {
    pl.Float16(): 2.0**11,
    pl.Float32(): 2.0**24,
    pl.Float64(): LARGEST_WHOLE,
}  # whole numbers up to here


def column_of(values: Iterable[object], place: str = "ids") -> pl.Series:
    """Ids given in any form as a column of strings or 64-bit integers, (N,); a mixture becomes strings.

    values: Python or numpy scalars, or a column of polars, pandas, pyarrow or numpy. Raises `DataError` with the
    place of the first value that cannot be an id: null, true or false, a fraction, a list, ...
    """
    given = listed(values, place)
    found = spelled(given) if isinstance(given, pl.Series) else _spelled(given)
    if found.has_nulls():
        n = int(found.is_null().arg_max() or 0)
        one = given[n : n + 1]
        value = (one.to_list() if isinstance(one, pl.Series) else one)[0]
        raise DataError(f"{place}[{n}] is {shown(value)}; {IDS}")
    return found


def spelled(column: pl.Series) -> pl.Series:
    """Ids of a column as strings or 64-bit integers, null where a value cannot be an id."""
    kind = column.dtype
    if kind in (pl.String, pl.Int64):
        return column
    if kind.is_integer():
        return _narrowed(column)
    if kind.is_decimal():
        return _narrowed(column.cast(pl.String).str.extract(r"^(-?\d+)(?:\.0*)?$"))
    if kind.is_float():
        wide = column.cast(pl.Float64)
        exact = (wide == wide.round(0)) & (wide.abs() <= EXACT[kind])
        return column.set(~exact.fill_null(value=True), None).cast(pl.Int64)
    if isinstance(kind, (pl.Categorical, pl.Enum)):
        return column.cast(pl.String)
    if kind == pl.Binary or kind == pl.Object:
        return _spelled(column.to_list()).alias(column.name)
    return nulls(column, pl.String())


def check_ids(kept: str) -> None:
    """Raise `SettingError` unless a reader can keep ids so."""
    check(kept in ("auto", "text"), "ids", kept, 'must be "auto" or "text"')


def as_id(column: pl.Series) -> pl.Series:
    """Ids of a column of a log or catalogue as strings, null where a value cannot be an id, and for the empty one."""
    text = spelled(column).cast(pl.String)
    return text if column.dtype == pl.String else text.set(text == "", None)


def spelling(value: object) -> str | None:
    """Return what an id spells, None for a value that cannot be an id."""
    if isinstance(value, str):
        return _unicode(str.__str__(value))
    if isinstance(value, bytes):
        return _unicode(value.decode(errors="surrogateescape"))
    whole = _whole(value)
    return None if whole is None or abs(whole) >= BEYOND else str(whole)


def listed(values: Iterable[object], place: str) -> pl.Series | list[object]:
    """Values as a column, or as a list where they are no column. Raises `DataError` where they are a single value."""
    if isinstance(values, (pl.Series, list)):
        return values
    if hasattr(values, "to_pylist"):  # of pyarrow
        try:
            return pl.Series(values)
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException, TypeError, ValueError):
            return cast("list[object]", values.to_pylist())
    given = np.asarray(values) if hasattr(values, "__array__") else values
    if isinstance(given, np.ndarray) and given.ndim == 1:
        return pl.Series(given) if given.dtype.kind in "iuSU" else list(given)
    if isinstance(given, (str, bytes, np.ndarray)) or not isinstance(given, Iterable):
        raise DataError(f"{place} is {shown(values)}; it must be a list or column of ids")
    return list(given)


def retyped(ids: pl.Series, kind: pl.DataType) -> pl.Series:
    """Return strings or 64-bit integers as the other of the two, null where that spells them otherwise."""
    if ids.dtype == kind:
        return ids
    other = ids.cast(kind, strict=False)
    if kind == pl.String:
        return other
    return pl.select(pl.when(other.cast(pl.String) == ids).then(other)).to_series().alias(ids.name)


def shown(value: object) -> str:
    """Show a value in an error."""
    try:
        return repr(value)[:80]
    except ValueError:
        return f"a number of more than {MOST_DIGITS} digits"


def _spelled(values: list[object]) -> pl.Series:
    kinds = set(map(type, values))
    if kinds == {str}:
        try:
            return pl.Series("id", values, pl.String)
        except UnicodeEncodeError:  # half a surrogate pair
            pass
    elif bool not in kinds and all(issubclass(kind, (int, np.integer)) for kind in kinds):
        whole = [*map(int, cast("list[int]", values))]
        if not whole or (min(whole) >= -(2**63) and max(whole) < 2**63):
            return pl.Series("id", whole, pl.Int64)
    column = pl.Series("id", [spelling(value) for value in values], pl.String)
    return column if any(issubclass(kind, (str, bytes)) for kind in kinds) else _narrowed(column)


def _narrowed(column: pl.Series) -> pl.Series:
    """Return whole numbers, or strings that spell them, as 64-bit integers if all fit, else as strings."""
    whole = column.cast(pl.Int64, strict=False)
    return whole if whole.null_count() == column.null_count() else column.cast(pl.String)


def _unicode(text: str) -> str | None:
    return text if is_unicode(text) else None


def _whole(value: object) -> int | None:
    """Return a whole number of any type as an integer; None for anything else, and for one that is not exact."""
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        return int(value)
    if isinstance(value, (float, np.floating)):
        exact = 2.0 ** np.finfo(np.asarray(value).dtype).nmant * 2
        return int(value) if value.is_integer() and abs(int(value)) <= min(exact, LARGEST_WHOLE) else None
    if isinstance(value, Decimal) and value.is_finite() and value.adjusted() < MOST_DIGITS:
        return int(value) if value == value.to_integral_value() else None
    return None
