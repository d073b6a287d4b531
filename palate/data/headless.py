"""Delimited text without a header: which column is which, by what its values look like."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime

import polars as pl

from palate.errors import DataError

NUMBER = re.compile(r"-?[0-9]+([.,][0-9]+)?")
DAY = r"^([0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{1,2}[./-][0-9]{1,2}[./-][0-9]{4})"
WORD = r"^[A-Za-z][A-Za-z _-]*$"
FEW = 20  # distinct values of a scale, and of types of events
MOST = 100  # of a scale
UNITS = (1, 10**3, 10**6, 10**9)  # parts of a second
YEARS = 1990, 2100  # of a time


def is_data(fields: Sequence[str]) -> bool:
    """Whether a first row can be no header: at least half of its fields are numbers or days, which name no column."""
    values = [field for field in fields if NUMBER.fullmatch(field) or re.match(DAY, field)]
    return 2 * len(values) >= len(fields) > 1


def guess(given: pl.DataFrame, place: str) -> list[str]:
    """Return the role of each column of rows as texts (N, M): user, item, and weight, event and time where there are.

    The time is known by its range or form. Of the others, the first two are the user and the item, as is usual; a
    weight is of a scale, a type of events one of a few words. Raises `DataError` with the first row for any doubt.
    """
    shown = ", ".join(repr(value) for row in given.head(1).rows() for value in row)
    rows = given.drop_nulls()
    roles = ["time" if _is_time(column) else "" for column in rows]
    rest = [n for n, role in enumerate(roles) if not role]
    for n, role in zip(rest, ("user", "item"), strict=False):
        roles[n] = role
    for n in rest[2:]:
        column = rows.to_series(n)
        roles[n] = "weight" if _is_scale(column) else "event" if _are_words(column) else ""
    fractions = any(_is_fraction(rows.to_series(n)) for n in rest[:2])
    weights = [rows.to_series(n) for n, role in enumerate(roles) if role == "weight"]
    swapped = any(not _is_fraction(weight) for weight in weights) and _is_scale(rows.to_series(rest[1]))
    if "" in roles or len(rest) < 2 or len({*roles}) < len(roles) or swapped or fractions:
        raise DataError(
            f"{place}: no header, and its first row {shown} does not show which column is which; "
            f"their numbers say it: header=none, user=1, item=2"
        )
    return roles


def said_of(roles: Sequence[str]) -> str:
    """Say which column was taken for which."""
    return "no header, " + ", ".join(f"column {n} {role}" for n, role in enumerate(roles, 1))


def _is_time(column: pl.Series) -> bool:
    if column.str.contains(DAY).all():
        return True
    number = column.cast(pl.Int64, strict=False)
    if number.has_nulls() or not len(number):
        return False
    low, high = (datetime(year, 1, 1, tzinfo=UTC).timestamp() for year in YEARS)
    return any(number.is_between(int(low * unit), int(high * unit)).all() for unit in UNITS)


def _is_scale(column: pl.Series) -> bool:
    number = column.str.replace(",", ".", literal=True).cast(pl.Float64, strict=False)
    if number.has_nulls() or not number.is_between(0, MOST).all():
        return False
    return number.n_unique() <= FEW or _is_fraction(column)


def _is_fraction(column: pl.Series) -> bool:
    return bool(column.str.contains(r"^[0-9]+[.,][0-9]+$").any())


def _are_words(column: pl.Series) -> bool:
    return column.n_unique() <= FEW and bool(column.str.contains(WORD).all())
