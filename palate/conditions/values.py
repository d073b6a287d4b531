"""The values of a condition: polars expressions with the rules of SQL, faults found from the types alone.

A value has one of six types, or is a list of one of them; or it has none of its own and is read as what it meets.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from math import isfinite
from typing import Protocol, TypeAlias

import polars as pl
import polars.selectors as cs

WHOLE, REAL, TEXT, TRUTH = pl.Int64(), pl.Float64(), pl.String(), pl.Boolean()
TIME = pl.Datetime("us")  # UTC
NOTHING = pl.Null()
ANY = pl.Unknown()  # of a value that is read as what it meets
LISTS = pl.List(TEXT)
NUMBERS = (WHOLE, REAL)
NAMES = {WHOLE: "a number", REAL: "a number", TEXT: "text", TRUTH: "true or false", TIME: "a time", NOTHING: "NULL"}

Constant: TypeAlias = "int | float | str | bool | datetime"

Column: TypeAlias = "Callable[[str, int], Value]"  # from a name, and the place where it stands, to what it names


class Fault(Exception):
    """What is wrong with a condition, and the character where."""

    def __init__(self, place: int, rule: str) -> None:
        super().__init__(rule)
        self.place = place
        self.rule = rule


class Readings(Protocol):
    """A value whose rows have types of their own."""

    @property
    def main(self) -> pl.DataType:
        """Type of most rows: TEXT, REAL, TRUTH or LISTS."""

    @property
    def lists(self) -> bool:
        """Whether a row has a list."""

    def read(self, dtype: pl.DataType) -> tuple[pl.Expr, pl.DataType]:
        """Read it as one of the types of `main` or as WHOLE, null where a row cannot be; and the type that it has.

        What is read as REAL is WHOLE where all numbers are.
        """


@dataclass(frozen=True, eq=False)
class Value:
    """An expression, the type of its results, and the character of the condition where it stands.

    `name` is what a message calls it; `constant` is the value of a literal; `readings` are those of a value of type
    ANY, whose expression is null where nothing is known. `loose`: what comes of one of these; its numbers are real or
    whole by the values that there are, so it is no fault that they are real.
    """

    expr: pl.Expr
    dtype: pl.DataType
    place: int
    name: str = ""
    constant: Constant | None = None
    readings: Readings | None = None
    loose: bool = False

    @property
    def described(self) -> str:
        """What it is, for a message: `'cheap' (text)`."""
        if self.dtype == ANY:
            return self.name or "a value"
        kind = f"a list of {NAMES[inner(self)]}" if isinstance(self.dtype, pl.List) else NAMES[self.dtype]
        return f"{self.name} ({kind})" if self.name and self.dtype != NOTHING else kind

    def cast(self, dtype: pl.DataType) -> Value:
        """Return it as another type."""
        return self if self.dtype == dtype else replace(self, expr=self.expr.cast(dtype), dtype=dtype)

    def read(self, dtype: pl.DataType) -> Value:
        """Return it as this type if it has none of its own."""
        if self.readings is None:
            return self
        return self._read(REAL if dtype in NUMBERS else dtype)

    def _read(self, dtype: pl.DataType) -> Value:
        assert self.readings is not None
        expr, found = self.readings.read(dtype)
        return replace(self, expr=expr, dtype=found, readings=None, loose=True)

    def needed(self, dtypes: Sequence[pl.DataType], rule: str) -> Value:
        """Return it as one of these types, the last if it has none of its own, or NULL. Raises `Fault`."""
        if self.readings is not None:
            return self._read(dtypes[-1])
        if self.loose and self.dtype == REAL and WHOLE in dtypes and REAL not in dtypes:
            return replace(self, expr=whole(self.expr), dtype=WHOLE)
        if self.dtype not in (*dtypes, NOTHING):
            raise Fault(self.place, f"{self.described}: {rule}")
        return self


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


def folded(value: Value) -> Value:
    """Compute a value without a column once, so that it takes nothing for each row."""
    if value.constant is not None or value.dtype not in NAMES or value.dtype == NOTHING:
        return value
    constant = pl.select(value.expr).item()
    name = repr(constant) if isinstance(constant, str) else str(constant).upper()
    return replace(value, expr=pl.lit(constant, value.dtype), name=name, constant=constant)


def null(place: int, dtype: pl.DataType = NOTHING) -> Value:
    """Return the value that is unknown."""
    return Value(pl.lit(None, dtype), dtype, place)


def truth(value: Value) -> Value:
    """Return it as something true or false; raises `Fault` if it is something else."""
    return value.needed([TRUTH], "neither true nor false; compare it with something").cast(TRUTH)


def whole(number: pl.Expr) -> pl.Expr:
    """Return the numbers that are whole as 64-bit integers, null for others; a cast alone would cut 1.5."""
    return bound(lambda it: pl.when(it % 1 == 0).then(it.cast(WHOLE, strict=False)), number)


def bound(compute: Callable[..., pl.Expr], *parts: pl.Expr) -> pl.Expr:
    """Compute from parts that are evaluated once each, however often `compute` names them.

    Else the work would double with every level of nesting.
    """
    names = [str(n) for n in range(len(parts))]
    together = pl.struct([part.alias(name) for name, part in zip(names, parts, strict=True)])
    return together.struct.with_fields(result=compute(*map(pl.field, names))).struct.field("result")


def inner(many: Value) -> pl.DataType:
    """Type of what a list holds."""
    return many.dtype.inner  # type: ignore[attr-defined, no-any-return]


def common(values: Sequence[Value]) -> pl.DataType:
    """Type that holds all of these, which are alike."""
    return REAL if REAL in {value.dtype for value in values} else values[0].dtype
