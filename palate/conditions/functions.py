"""What a condition computes: numbers, text, the first value known; with the rules of SQL.

Whole numbers are computed in 128 bits, so that nothing wraps.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import polars as pl

from palate.conditions.comparisons import alike, settled
from palate.conditions.values import (
    ANY,
    NOTHING,
    NUMBERS,
    REAL,
    TEXT,
    TIME,
    WHOLE,
    Fault,
    Readings,
    Value,
    bound,
    common,
    literal,
    null,
)

MOST_DIGITS = 15  # that ROUND keeps behind the point


def arithmetic(sign: str, a: Value, b: Value) -> Value:
    """Compute + - * / or %; whole numbers give whole numbers, what is divided by 0 is unknown."""
    kinds, rule = ([WHOLE], "% needs whole numbers") if sign == "%" else (NUMBERS, f"{sign} needs numbers")
    left, right = a.needed(kinds, rule), b.needed(kinds, rule)
    if NOTHING in (left.dtype, right.dtype):
        return null(a.place)
    if left.dtype == right.dtype == WHOLE:
        expr = _narrowed(bound(_WHOLE[sign], _wide(left), _wide(right)))
        return Value(expr, WHOLE, a.place, loose=left.loose or right.loose)
    computed = bound(_REAL[sign], left.cast(REAL).expr, right.cast(REAL).expr)
    known = bound(lambda number: number.fill_nan(None), computed)  # which names the number twice
    return Value(known, REAL, a.place, loose=left.loose or right.loose)


def _quotient(a: pl.Expr, b: pl.Expr) -> pl.Expr:
    return (a.abs() // b.abs()) * a.sign() * b.sign()  # towards 0, as SQL cuts; polars floors


_WHOLE: dict[str, Callable[[pl.Expr, pl.Expr], pl.Expr]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": _quotient,
    "%": lambda a, b: a - b * _quotient(a, b),
}
_REAL: dict[str, Callable[[pl.Expr, pl.Expr], pl.Expr]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": lambda a, b: a / pl.when(b != 0).then(b),
}


def _wide(value: Value) -> pl.Expr:
    return value.expr.cast(pl.Int128)


def _narrowed(expr: pl.Expr) -> pl.Expr:
    return expr.cast(WHOLE, strict=False)  # what does not fit is unknown


def negative(value: Value) -> Value:
    """Return the number with the other sign."""
    if isinstance(value.constant, int | float) and value.dtype in NUMBERS:
        return literal(-value.constant, value.place)
    return arithmetic("-", literal(0, value.place), value)


def absolute(value: Value) -> Value:
    """ABS."""
    number = value.needed(NUMBERS, "ABS needs a number")
    if number.dtype == WHOLE:
        return replace(number, expr=_narrowed(_wide(number).abs()), constant=None)
    return number if number.dtype == NOTHING else replace(number, expr=number.expr.abs(), constant=None)


def rounded(value: Value, digits: Value) -> Value:
    """ROUND: a half goes away from 0."""
    number = value.needed(NUMBERS, "ROUND needs a number")
    kept = digits.constant
    if not isinstance(kept, int) or isinstance(kept, bool) or not 0 <= kept <= MOST_DIGITS:
        raise Fault(digits.place, f"{digits.described}: ROUND keeps 0 to {MOST_DIGITS} digits, a plain number")
    if number.dtype == NOTHING:
        return number
    return Value(number.cast(REAL).expr.round(kept, mode="half_away_from_zero"), REAL, value.place)


def _of_text(name: str, result: pl.DataType, change: Callable[[pl.Expr], pl.Expr]) -> Callable[[Value], Value]:
    """Make a function of text, such as LOWER."""

    def function(value: Value) -> Value:
        text = value.needed([TEXT], f"{name} needs text")
        return text if text.dtype == NOTHING else Value(change(text.expr), result, value.place)

    return function


lower = _of_text("LOWER", TEXT, lambda text: text.str.to_lowercase())
upper = _of_text("UPPER", TEXT, lambda text: text.str.to_uppercase())
length = _of_text("LENGTH", WHOLE, lambda text: text.str.len_chars().cast(WHOLE))


def coalesce(values: Sequence[Value]) -> Value:
    """COALESCE: the first value that is known."""
    known = [value for value in values if value.dtype != NOTHING]
    if not known:
        return values[0]
    readings = [value.readings for value in known if value.readings is not None]
    if len(readings) == len(known):
        return Value(_first([value.expr for value in known]), ANY, values[0].place, readings=_First(readings))
    return _first_typed(settled(*known), values[0].place)


def _first_typed(known: Sequence[Value], place: int) -> Value:
    first = next((value for value in known if value.dtype == TIME), known[0])
    fitting = [alike(first, value)[1] for value in known]
    dtype = common(fitting)
    loose = any(value.loose for value in known)
    return Value(_first([value.cast(dtype).expr for value in fitting]), dtype, place, loose=loose)


def _first(exprs: Sequence[pl.Expr]) -> pl.Expr:
    """Bound, since pl.coalesce gives a single row where a literal comes first."""
    return bound(lambda *parts: pl.coalesce(*parts), *exprs)


@dataclass(frozen=True)
class _First:
    """Readings of the first of several values that is known, row by row."""

    each: Sequence[Readings]

    @property
    def main(self) -> pl.DataType:
        return self.each[0].main

    @property
    def lists(self) -> bool:
        return any(readings.lists for readings in self.each)

    def read(self, dtype: pl.DataType) -> tuple[pl.Expr, pl.DataType]:
        found = [Value(*readings.read(dtype), 0) for readings in self.each]
        kept = common(found)
        return _first([value.cast(kept).expr for value in found]), kept
