"""Conditions of SQL over the attributes of items, made into polars expressions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from typing import Any

import polars as pl

from palate.conditions import comparisons, functions, values
from palate.conditions.effort import Meter
from palate.conditions.syntax import (
    ARITHMETIC,
    COMPARISONS,
    MOST_DEPTH,
    PREDICATES,
    TOO_DEEP,
    Part,
    exp,
    parsed,
    place,
    refuse_others,
)
from palate.conditions.values import Column, Fault, Value
from palate.data.columns import listed
from palate.errors import ConditionError

FUNCTIONS: dict[Part, Callable[[Value], Value]] = {
    exp.Lower: functions.lower,
    exp.Upper: functions.upper,
    exp.Length: functions.length,
    exp.Abs: functions.absolute,
    exp.Neg: functions.negative,
}
MOST_CHOICES = 1000
COSTING = (
    *FUNCTIONS,
    *ARITHMETIC,
    *COMPARISONS,
    exp.In,
    exp.Between,
    exp.Like,
    exp.ILike,
    exp.Escape,
    exp.Contains,
    exp.Round,
)


def compile_condition(text: str, schema: Mapping[str, pl.DataType]) -> pl.Expr:
    """Make an expression, true where the condition holds, null where that is unknown, of columns by name and type.

    A condition without a column gives a single value. Nothing is run: faults are found from the types. Raises
    `ConditionError` for what cannot be read, is not allowed, or does not fit the columns.
    """
    return compile_over(text, _Columns(schema).column)


def compile_over(text: str, column: Column, meter: Meter | None = None) -> pl.Expr:
    """Make such an expression of what `column` returns for the columns that the condition names.

    meter  counts what running it takes, and refuses what takes too much; the columns count what reading them takes
    """
    reader = _Reader(column, Meter() if meter is None else meter)
    try:
        return values.truth(reader.value(parsed(text))).expr
    except Fault as fault:
        raise ConditionError(text, fault.place, fault.rule) from None


class _Columns:
    """Columns of a schema, each of one type."""

    def __init__(self, schema: Mapping[str, pl.DataType]) -> None:
        self._schema = schema

    def column(self, asked: str, place: int) -> Value:
        """Find the column of a name."""
        name = asked if asked in self._schema else self._similar(asked, place)
        return values.column(name, self._schema[name], place)

    def _similar(self, asked: str, place: int) -> str:
        """Column that differs in case only; raises `Fault` unless there is exactly one."""
        same = [name for name in self._schema if name.lower() == asked.lower()]
        if len(same) > 1:
            raise Fault(place, f"column {asked!r} could be {listed(same)}; spell it as one of them")
        if not same:
            near = get_close_matches(asked, self._schema, 1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise Fault(place, f"column {asked!r} is unknown; {hint}known are {listed(sorted(self._schema))}")
        return same[0]


class _Reader:
    """Reads the nodes of a tree as values."""

    def __init__(self, column: Column, meter: Meter) -> None:
        self._named, self._meter = column, meter
        self._depth = 0

    def value(self, node: exp.Expr) -> Value:
        """Value of a node of any allowed kind; a chain of AND or OR counts as one level."""
        refuse_others(node)
        if self._depth > MOST_DEPTH:
            raise Fault(place(node), TOO_DEEP)
        meter = self._meter
        if isinstance(node, COSTING):
            meter.operation(place(node))
        columns, lengths = meter.columns, meter.lengths
        self._depth += 1
        try:
            value = self._read(node)
        finally:
            self._depth -= 1
        if meter.columns == columns:
            return values.folded(value)
        meter.node(node, value, meter.columns - columns, meter.lengths - lengths)
        return value

    def _read(self, node: exp.Expr) -> Value:
        kind = type(node)
        if kind in FUNCTIONS:
            return FUNCTIONS[kind](self.value(node.this))
        if kind in ARITHMETIC:
            return functions.arithmetic(ARITHMETIC[kind], self._operand(node.this), self._operand(node.expression))
        if kind in COMPARISONS:
            return self._comparison(node)
        return _READ[kind](self, node)

    def _operand(self, node: exp.Expr) -> Value:
        if isinstance(node, PREDICATES):
            raise Fault(place(node), "a comparison within another needs parentheses")
        return self.value(node)

    def _comparison(self, node: exp.Expr) -> Value:
        sign, sides = COMPARISONS[type(node)], [node.this, node.expression]
        for n, side in enumerate(sides):
            if sign == "=" and isinstance(side, exp.Any):
                refuse_others(side)
                return self._has(side.this, sides[1 - n])
        return comparisons.compare(sign, *map(self._operand, sides))

    def _any(self, node: exp.Expr) -> Value:
        raise Fault(place(node), "ANY goes with = and a single value")

    def _has(self, many: exp.Expr, one: exp.Expr) -> Value:
        """Whether a list has a value."""
        return comparisons.has(self._operand(many), self._operand(one))

    def _literal(self, node: exp.Expr) -> Value:
        text = node.this
        if node.args["is_string"]:
            return values.literal(text, place(node))
        try:
            return values.literal(int(text) if text.isdecimal() else float(text), place(node))
        except ValueError:
            raise Fault(place(node), f"{text} is no number") from None

    def _column(self, node: exp.Expr) -> Value:
        if not isinstance(node.this, exp.Identifier):
            raise Fault(place(node), f"{node.sql()} means nothing in a condition")
        self._meter.column()
        return self._named(node.this.this, place(node))

    def _chain(self, node: exp.Expr) -> Value:
        kind, terms = type(node), []
        while isinstance(node, kind):
            refuse_others(node)
            terms.append(node.expression)
            node = node.this
        parts = [values.truth(self.value(term)) for term in (node, *reversed(terms))]
        join = pl.all_horizontal if kind is exp.And else pl.any_horizontal
        return Value(join([part.expr for part in parts]), values.TRUTH, parts[0].place)

    def _not(self, node: exp.Expr) -> Value:
        return _negated(values.truth(self.value(node.this)))

    def _is(self, node: exp.Expr) -> Value:
        value = self._operand(node.this)
        if not isinstance(node.expression, exp.Null):
            raise Fault(value.place, "IS goes with NULL or NOT NULL")
        return Value(value.expr.is_null(), values.TRUTH, value.place)

    def _in(self, node: exp.Expr) -> Value:
        if "field" in node.args and node.args["field"] is not None:
            return self._has(node.args["field"], node.this)
        choices = node.expressions
        if not 1 <= len(choices) <= MOST_CHOICES:
            raise Fault(place(node), f"IN takes 1 to {MOST_CHOICES:,} values, not {len(choices):,}")
        return comparisons.one_of(self._operand(node.this), self._each(choices))

    def _between(self, node: exp.Expr) -> Value:
        return comparisons.between(*(self._operand(node.args[part]) for part in ("this", "low", "high")))

    def _like(self, node: exp.Expr, escape: str = "") -> Value:
        value, pattern = self._operand(node.this), self._operand(node.expression)
        found = comparisons.like(value, pattern, escape, folded=isinstance(node, exp.ILike))
        return _negated(found) if node.args.get("negate") else found

    def _escape(self, node: exp.Expr) -> Value:
        letter = self._operand(node.expression)
        sign = letter.constant
        if not isinstance(node.this, exp.Like | exp.ILike) or not isinstance(sign, str) or len(sign) != 1:
            raise Fault(letter.place, "ESCAPE follows LIKE and names one character in quotes")
        refuse_others(node.this)
        return self._like(node.this, sign)

    def _round(self, node: exp.Expr) -> Value:
        digits = node.args.get("decimals")
        kept = values.literal(0, place(node)) if digits is None else self.value(digits)
        return functions.rounded(self.value(node.this), kept)

    def _coalesce(self, node: exp.Expr) -> Value:
        return functions.coalesce(self._each([node.this, *node.expressions]))

    def _each(self, nodes: Sequence[exp.Expr]) -> list[Value]:
        """Values of nodes; a column among them counts as a comparison, as a computation counts by itself."""
        meter, found = self._meter, []
        for node in nodes:
            columns, operations = meter.columns, meter.operations
            found.append(self.value(node))
            if meter.columns > columns and meter.operations == operations:
                meter.operation(place(node))
        return found


_READ: dict[Part, Callable[[_Reader, Any], Value]] = {
    exp.Null: lambda _, node: values.null(place(node)),
    exp.Boolean: lambda _, node: values.literal(node.this, place(node)),
    exp.Any: _Reader._any,
    exp.Literal: _Reader._literal,
    exp.Column: _Reader._column,
    exp.Paren: lambda reader, node: reader.value(node.this),
    exp.And: _Reader._chain,
    exp.Or: _Reader._chain,
    exp.Not: _Reader._not,
    exp.Is: _Reader._is,
    exp.In: _Reader._in,
    exp.Between: _Reader._between,
    exp.Like: _Reader._like,
    exp.ILike: _Reader._like,
    exp.Escape: _Reader._escape,
    exp.Contains: lambda reader, node: reader._has(node.this, node.expression),
    exp.Round: _Reader._round,
    exp.Coalesce: _Reader._coalesce,
}


def _negated(value: Value) -> Value:
    return replace(value, expr=~value.expr)
