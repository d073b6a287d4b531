"""The values of a condition: polars expressions with the rules of SQL, faults found from the types alone.

A value has one of six types, or is a list of one of them.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from math import isfinite
from typing import TypeAlias

import polars as pl
import polars.selectors as cs

WHOLE, REAL, TEXT, TRUTH = pl.Int64(), pl.Float64(), pl.String(), pl.Boolean()
TIME = pl.Datetime("us")  # UTC
NOTHING = pl.Null()
NUMBERS = (WHOLE, REAL)
NAMES = {WHOLE: "a number", REAL: "a number", TEXT: "text", TRUTH: "true or false", TIME: "a time", NOTHING: "NULL"}

Constant: TypeAlias = "int | float | str | bool | datetime"

COMPARE: dict[str, Callable[[pl.Expr, pl.Expr], pl.Expr]] = {
    "=": operator.eq,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
FORMS = {"%": ".*", "_": "."}


class Fault(Exception):
    """What is wrong with a condition, and the character where."""

    def __init__(self, place: int, rule: str) -> None:
        super().__init__(rule)
        self.place = place
        self.rule = rule


@dataclass(frozen=True, eq=False)
class Value:
    """An expression, the type of its results, and the character of the condition where it stands.

    `name` is what a message calls it; `constant` is the value of a literal.
    """

    expr: pl.Expr
    dtype: pl.DataType
    place: int
    name: str = ""
    constant: Constant | None = None

    @property
    def told(self) -> str:
        """What it is, for a message: `'cheap' (text)`."""
        kind = f"a list of {NAMES[_inner(self)]}" if isinstance(self.dtype, pl.List) else NAMES[self.dtype]
        return f"{self.name} ({kind})" if self.name and self.dtype != NOTHING else kind

    def cast(self, dtype: pl.DataType) -> Value:
        """Return it as another type."""
        return self if self.dtype == dtype else replace(self, expr=self.expr.cast(dtype), dtype=dtype)

    def needed(self, dtypes: Collection[pl.DataType], rule: str) -> None:
        """Raise `Fault` unless it is of one of these types, or NULL."""
        if self.dtype not in (*dtypes, NOTHING):
            raise Fault(self.place, f"{self.told}: {rule}")


def column(name: str, dtype: pl.DataType, place: int) -> Value:
    """Value of a column; raises `Fault` for a type that conditions cannot use."""
    kind = _kind(dtype)
    if kind is None:
        raise Fault(place, f"column {name!r} is of type {dtype}, which a condition cannot use")
    expr = cs.by_name(name).as_expr()  # pl.col would take a name like * or ^a.*$ for many columns
    if isinstance(dtype, pl.Datetime) and dtype.time_zone:
        expr = expr.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    if dtype != kind:
        expr = expr.cast(kind)
    return Value(expr.fill_nan(None) if kind == REAL else expr, kind, place, name)


def _kind(dtype: pl.DataType) -> pl.DataType | None:
    if isinstance(dtype, pl.List | pl.Array):
        each = _kind(dtype.inner)  # type: ignore[arg-type]
        return None if each is None or isinstance(each, pl.List) else pl.List(each)
    if dtype.is_integer():
        return REAL if isinstance(dtype, pl.UInt64 | pl.Int128 | pl.UInt128) else WHOLE
    if dtype.is_numeric():
        return REAL
    if isinstance(dtype, pl.Date | pl.Datetime):
        return TIME
    if isinstance(dtype, pl.Categorical | pl.Enum):
        return TEXT
    return dtype if dtype in (TEXT, TRUTH, NOTHING) else None


def literal(constant: Constant, place: int) -> Value:
    """Value of a literal; raises `Fault` for a number that is not finite."""
    if isinstance(constant, bool):
        return Value(pl.lit(constant, TRUTH), TRUTH, place, str(constant).upper(), constant)
    if isinstance(constant, str):
        return Value(pl.lit(constant, TEXT), TEXT, place, repr(constant), constant)
    if isinstance(constant, datetime):
        return Value(pl.lit(constant, TIME), TIME, place, repr(str(constant)), constant)
    if isinstance(constant, int) and abs(constant) < 1 << 63:
        return Value(pl.lit(constant, WHOLE), WHOLE, place, str(constant), constant)
    try:
        number = float(constant)
    except OverflowError:
        number = float("inf")
    if not isfinite(number):
        raise Fault(place, "a number must be finite")
    return Value(pl.lit(number, REAL), REAL, place, str(constant), number)


def null(place: int, dtype: pl.DataType = NOTHING) -> Value:
    """Return the value that is unknown."""
    return Value(pl.lit(None, dtype), dtype, place)


def truth(value: Value) -> Value:
    """Return it as something true or false; raises `Fault` if it is something else."""
    value.needed([TRUTH], "neither true nor false; compare it with something")
    return value.cast(TRUTH)


def bound(compute: Callable[..., pl.Expr], *parts: pl.Expr) -> pl.Expr:
    """Compute from parts that are evaluated once each, however often `compute` names them.

    Else the work would double with every level of nesting.
    """
    names = [str(n) for n in range(len(parts))]
    together = pl.struct([part.alias(name) for name, part in zip(names, parts, strict=True)])
    return together.struct.with_fields(result=compute(*map(pl.field, names))).struct.field("result")


# Comparisons


def compare(sign: str, a: Value, b: Value) -> Value:
    """Compare by = <> < <= > or >=, unknown where a side is; a list equals a value that it has."""
    if isinstance(a.dtype, pl.List) or isinstance(b.dtype, pl.List):
        many, one = (a, b) if isinstance(a.dtype, pl.List) else (b, a)
        if sign not in ("=", "<>") or isinstance(one.dtype, pl.List):
            raise Fault(a.place, f"{a.told} {sign} {b.told}: a list knows only = and <> with a single value")
        found = _has(many, one)
        return found if sign == "=" else replace(found, expr=~found.expr)
    left, right = alike(a, b)
    if NOTHING in (left.dtype, right.dtype):
        return null(a.place, TRUTH)
    return Value(COMPARE[sign](left.expr, right.expr), TRUTH, a.place)


def _has(many: Value, one: Value) -> Value:
    single = replace(many, dtype=_inner(many))
    wanted = alike(single, one)[1]
    if NOTHING in (single.dtype, wanted.dtype):
        return null(many.place, TRUTH)
    dtype = common([single, wanted])
    found = many.cast(pl.List(dtype)).expr.list.contains(wanted.cast(dtype).expr, nulls_equal=False)
    return Value(found, TRUTH, many.place)


def common(values: Sequence[Value]) -> pl.DataType:
    """Type that holds all of these, which are alike."""
    return REAL if REAL in {value.dtype for value in values} else values[0].dtype


def _inner(many: Value) -> pl.DataType:
    """Type of what a list holds."""
    return many.dtype.inner  # type: ignore[attr-defined, no-any-return]


def alike(a: Value, b: Value) -> tuple[Value, Value]:
    """Bring two values to types that compare; raises `Fault` where there are none."""
    if a.dtype == TIME:
        return a, _as_time(b)
    if b.dtype == TIME:
        return _as_time(a), b
    both = {a.dtype, b.dtype}
    if len(both) > 1 and NOTHING not in both and not both.issubset(NUMBERS):
        raise Fault(b.place, f"{b.told} cannot be compared with {a.told}")
    return a, b


def _as_time(value: Value) -> Value:
    if value.dtype in (TIME, NOTHING):
        return value
    if not isinstance(value.constant, str):
        raise Fault(value.place, f"{value.told} cannot be compared with a time")
    try:
        time = datetime.fromisoformat(value.constant)
        return literal(time.astimezone(UTC).replace(tzinfo=None) if time.tzinfo else time, value.place)
    except (ValueError, OverflowError):
        raise Fault(value.place, f"{value.name} is no time; write '2024-05-31' or '2024-05-31T12:00:00Z'") from None


def between(value: Value, low: Value, high: Value) -> Value:
    """Return whether the value is at least the one and at most the other."""

    def inside(it: pl.Expr, least: pl.Expr, most: pl.Expr) -> pl.Expr:
        this = replace(value, expr=it)
        from_low = compare(">=", this, replace(low, expr=least))
        return from_low.expr & compare("<=", this, replace(high, expr=most)).expr

    return Value(bound(inside, value.expr, low.expr, high.expr), TRUTH, value.place)


def one_of(value: Value, choices: Sequence[Value]) -> Value:
    """Return whether the value equals one of the choices; a list, whether it has one of them."""
    known = [choice for choice in choices if choice.constant is not None]
    others = [choice for choice in choices if choice.constant is None]

    def among(it: pl.Expr, *others_here: pl.Expr) -> pl.Expr:
        this = replace(value, expr=it)
        found = [
            compare("=", this, replace(other, expr=expr)).expr
            for other, expr in zip(others, others_here, strict=True)
        ]
        return pl.any_horizontal([_among(this, known), *found] if known else found)

    return Value(bound(among, value.expr, *(other.expr for other in others)), TRUTH, value.place)


def _among(value: Value, known: Sequence[Value]) -> pl.Expr:
    """Search a set once, however many choices there are."""
    many = isinstance(value.dtype, pl.List)
    single = replace(value, dtype=_inner(value)) if many else value
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
    value.needed([TEXT], "LIKE needs text")
    if NOTHING in (value.dtype, pattern.dtype):
        return null(value.place, TRUTH)
    if not isinstance(pattern.constant, str):
        raise Fault(pattern.place, f"{pattern.told}: the pattern of LIKE must stand in quotes")
    form = _expression(pattern, escape)
    return Value(value.expr.str.contains(("(?is)" if folded else "(?s)") + form), TRUTH, value.place)


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
    # Searching from anywhere is faster than matching .* first.
    return f"\\A{found}\\z".removeprefix("\\A.*").removesuffix(".*\\z")
