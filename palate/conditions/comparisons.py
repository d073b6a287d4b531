"""Comparisons of values: = and the like, lists, IN, BETWEEN, LIKE; with the rules of SQL.

What has no type of its own is read as what it is compared with.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import polars as pl

from palate.conditions.values import (
    LISTS,
    NOTHING,
    NUMBERS,
    TEXT,
    TIME,
    TRUTH,
    Fault,
    Value,
    bound,
    common,
    inner,
    literal,
    null,
)

COMPARE: dict[str, Callable[[pl.Expr, pl.Expr], pl.Expr]] = {
    "=": operator.eq,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
MOST_GAPS, MOST_BLANKS = 20, 50  # of a pattern
FORMS = {"%": ".*", "_": "."}


def compare(sign: str, a: Value, b: Value) -> Value:
    """Compare by = <> < <= > or >=, unknown where a side is; a list equals a value that it has."""
    left, right = _equated(a, b) if sign in ("=", "<>") else settled(a, b, lists=False)
    if isinstance(left.dtype, pl.List) or isinstance(right.dtype, pl.List):
        many, one = (left, right) if isinstance(left.dtype, pl.List) else (right, left)
        if sign not in ("=", "<>") or isinstance(one.dtype, pl.List):
            raise Fault(
                a.place, f"{a.described} {sign} {b.described}: a list knows only = and <> with a single value"
            )
        found = has(many, one)
        return found if sign == "=" else replace(found, expr=~found.expr)
    left, right = alike(left, right)
    if NOTHING in (left.dtype, right.dtype):
        return null(a.place, TRUTH)
    return Value(COMPARE[sign](left.expr, right.expr), TRUTH, a.place)


def settled(*values: Value, lists: bool = True) -> list[Value]:
    """Give a type to those of ANY type: that of the first which has one, else what most rows of them are.

    Without `lists`, those are read as they are written.
    """
    untyped = [value.readings for value in values if value.readings is not None]
    if not untyped:
        return list(values)
    typed = [value.dtype for value in values if value.readings is None and value.dtype != NOTHING]
    mains = {readings.main for readings in untyped}
    dtype = typed[0] if typed else mains.pop() if len(mains) == 1 else TEXT
    return [value.read(dtype if lists or dtype != LISTS else TEXT) for value in values]


def _equated(a: Value, b: Value) -> tuple[Value, Value]:
    """Give types to the sides of = and <>: text is sought in the lists of one of them."""
    if a.readings is not None and b.readings is not None:
        if a.readings.lists == b.readings.lists:
            left, right = settled(a, b, lists=False)
            return left, right
        return (a.read(LISTS), b.read(TEXT)) if a.readings.lists else (a.read(TEXT), b.read(LISTS))
    return _sought(a, b.dtype), _sought(b, a.dtype)


def _sought(value: Value, dtype: pl.DataType) -> Value:
    """Read a value of ANY type as what can equal a value of this type."""
    has_lists = value.readings is not None and value.readings.lists
    return value.read(LISTS if has_lists and dtype in (TEXT, NOTHING) else dtype)


def has(many: Value, one: Value) -> Value:
    """Return whether a list has a value. Raises `Fault` for what is no list."""
    lists = many.read(LISTS)
    if lists.dtype == NOTHING:
        return null(many.place, TRUTH)
    if not isinstance(lists.dtype, pl.List):
        raise Fault(lists.place, f"{lists.described} is no list; for part of a text use LIKE")
    single = replace(lists, dtype=inner(lists))
    wanted = alike(single, one.read(TEXT))[1]
    if NOTHING in (single.dtype, wanted.dtype):
        return null(many.place, TRUTH)
    dtype = common([single, wanted])
    found = lists.cast(pl.List(dtype)).expr.list.contains(wanted.cast(dtype).expr, nulls_equal=False)
    return Value(found, TRUTH, many.place)


def alike(a: Value, b: Value) -> tuple[Value, Value]:
    """Bring two values to types that compare; raises `Fault` where there are none."""
    if a.dtype == TIME:
        return a, _as_time(b)
    if b.dtype == TIME:
        return _as_time(a), b
    both = {a.dtype, b.dtype}
    if len(both) > 1 and NOTHING not in both and not both.issubset(NUMBERS):
        raise Fault(b.place, f"{b.described} cannot be compared with {a.described}")
    return a, b


def _as_time(value: Value) -> Value:
    if value.dtype in (TIME, NOTHING):
        return value
    if not isinstance(value.constant, str):
        raise Fault(value.place, f"{value.described} cannot be compared with a time")
    try:
        time = datetime.fromisoformat(value.constant)
        return literal(time.astimezone(UTC).replace(tzinfo=None) if time.tzinfo else time, value.place)
    except (ValueError, OverflowError):
        raise Fault(value.place, f"{value.name} is no time; write '2024-05-31' or '2024-05-31T12:00:00Z'") from None


def between(value: Value, low: Value, high: Value) -> Value:
    """Return whether the value is at least the one and at most the other."""
    typed = settled(value, low, high, lists=False)

    def inside(*parts: pl.Expr) -> pl.Expr:
        this, least, most = (replace(each, expr=part) for each, part in zip(typed, parts, strict=True))
        return compare(">=", this, least).expr & compare("<=", this, most).expr

    return Value(bound(inside, *(each.expr for each in typed)), TRUTH, value.place)


def one_of(value: Value, choices: Sequence[Value]) -> Value:
    """Return whether the value equals one of the choices; a list, whether it has one of them."""
    sought, typed = _typed_among(value, choices)
    known = [choice for choice in typed if choice.constant is not None]
    others = [choice for choice in typed if choice.constant is None]

    def among(it: pl.Expr, *others_here: pl.Expr) -> pl.Expr:
        this = replace(sought, expr=it)
        found = [
            compare("=", this, replace(other, expr=expr)).expr
            for other, expr in zip(others, others_here, strict=True)
        ]
        return pl.any_horizontal([_among(this, known), *found] if known else found)

    return Value(bound(among, sought.expr, *(other.expr for other in others)), TRUTH, value.place)


def _typed_among(value: Value, choices: Sequence[Value]) -> tuple[Value, list[Value]]:
    """Give types to a value and the choices that it may equal."""
    if value.readings is None:
        return value, [_sought(choice, value.dtype) for choice in choices]
    typed = [choice.dtype for choice in choices if choice.readings is None and choice.dtype != NOTHING]
    this = _sought(value, typed[0] if typed else NOTHING if value.readings.lists else value.readings.main)
    return this, [choice.read(inner(this) if this.dtype == LISTS else this.dtype) for choice in choices]


def _among(value: Value, known: Sequence[Value]) -> pl.Expr:
    """Search a set once, however many choices there are."""
    many = isinstance(value.dtype, pl.List)
    single = replace(value, dtype=inner(value)) if many else value
    fitting = [alike(single, choice)[1] for choice in known]
    if single.dtype == NOTHING:
        return null(value.place, TRUTH).expr
    dtype = common([single, *fitting])
    choices = pl.lit(pl.Series([choice.constant for choice in fitting], dtype=dtype).implode())
    if many:
        return value.cast(pl.List(dtype)).expr.list.eval(pl.element().is_in(choices)).list.any()
    return value.cast(dtype).expr.is_in(choices.first())


def like(value: Value, pattern: Value, escape: str = "", *, folded: bool = False) -> Value:
    """Return whether text has the form of a pattern: `%` any characters, `_` one; `folded` takes a and A for one."""
    text = value.needed([TEXT], "LIKE needs text")
    if NOTHING in (text.dtype, pattern.dtype):
        return null(value.place, TRUTH)
    if not isinstance(pattern.constant, str):
        raise Fault(pattern.place, f"{pattern.described}: the pattern of LIKE must stand in quotes")
    gaps = len(re.findall("%[%_]*", str(pattern.constant)))
    blanks = str(pattern.constant).count("_")
    if gaps > MOST_GAPS or blanks > MOST_BLANKS:
        raise Fault(pattern.place, f"a pattern of LIKE has up to {MOST_GAPS} % and {MOST_BLANKS} _")
    form = _expression(pattern, escape)
    return Value(text.expr.str.contains(("(?is)" if folded else "(?s)") + form), TRUTH, value.place)


def _expression(pattern: Value, escape: str) -> str:
    """Write a pattern as a regular expression, in which everything but `%` and `_` stands for itself."""
    found, plain = "", False
    for letter in str(pattern.constant):
        if letter == escape and not plain:
            plain = True
            continue
        found += FORMS[letter] if letter in FORMS and not plain else pl.escape_regex(letter)
        plain = False
    if plain:
        raise Fault(pattern.place, f"{pattern.name} ends with the character that ESCAPE names")
    found = re.sub(r"(\.\*)+", ".*", found)
    # Searching from anywhere is faster than matching .* first.
    return f"\\A{found}\\z".removeprefix("\\A.*").removesuffix(".*\\z")
