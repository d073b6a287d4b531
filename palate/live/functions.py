"""What a condition computes: numbers, text, the first value known; with the rules of SQL.

Whole numbers are computed in 128 bits, so that nothing wraps.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence

import polars as pl

from palate.live.values import (
    NOTHING,
    NUMBERS,
    REAL,
    TEXT,
    TIME,
    WHOLE,
    Fault,
    Value,
    alike,
    bound,
    common,
    literal,
    null,
)

MOST_DIGITS = 15  # that ROUND keeps behind the point


def arithmetic(sign: str, a: Value, b: Value) -> Value:
    """Compute + - * / or %; whole numbers give whole numbers, what is divided by 0 is unknown."""
    for value in (a, b):
        value.needed([WHOLE] if sign == "%" else NUMBERS, f"{sign} needs {'whole ' * (sign == '%')}numbers")
    if NOTHING in (a.dtype, b.dtype):
        return null(a.place)
    if a.dtype == b.dtype == WHOLE:
        return Value(_narrowed(bound(_WHOLE[sign], _wide(a), _wide(b))), WHOLE, a.place)
    computed = bound(_REAL[sign], a.cast(REAL).expr, b.cast(REAL).expr)
    return Value(bound(lambda number: number.fill_nan(None), computed), REAL, a.place)  # it names the number twice


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
    value.needed(NUMBERS, "ABS needs a number")
    if value.dtype == WHOLE:
        return Value(_narrowed(_wide(value).abs()), WHOLE, value.place)
    return value if value.dtype == NOTHING else Value(value.expr.abs(), REAL, value.place)


def rounded(value: Value, digits: Value) -> Value:
    """ROUND: a half goes away from 0."""
    value.needed(NUMBERS, "ROUND needs a number")
    kept = digits.constant
    if not isinstance(kept, int) or isinstance(kept, bool) or not 0 <= kept <= MOST_DIGITS:
        raise Fault(digits.place, f"{digits.told}: ROUND keeps 0 to {MOST_DIGITS} digits, a plain number")
    if value.dtype == NOTHING:
        return value
    return Value(value.cast(REAL).expr.round(kept, mode="half_away_from_zero"), REAL, value.place)


def _of_text(name: str, result: pl.DataType, change: Callable[[pl.Expr], pl.Expr]) -> Callable[[Value], Value]:
    """Make a function of text, such as LOWER."""

    def function(value: Value) -> Value:
        value.needed([TEXT], f"{name} needs text")
        return value if value.dtype == NOTHING else Value(change(value.expr), result, value.place)

    return function


lower = _of_text("LOWER", TEXT, lambda text: text.str.to_lowercase())
upper = _of_text("UPPER", TEXT, lambda text: text.str.to_uppercase())
length = _of_text("LENGTH", WHOLE, lambda text: text.str.len_chars().cast(WHOLE))


def coalesce(values: Sequence[Value]) -> Value:
    """COALESCE: the first value that is known."""
    known = [value for value in values if value.dtype != NOTHING]
    if not known:
        return values[0]
    first = next((value for value in known if value.dtype == TIME), known[0])
    fitting = [alike(first, value)[1] for value in known]
    dtype = common(fitting)
    # Bound, since pl.coalesce gives a single row where a literal comes first.
    expr = bound(lambda *parts: pl.coalesce(*parts), *(value.cast(dtype).expr for value in fitting))
    return Value(expr, dtype, values[0].place)
