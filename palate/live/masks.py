"""A condition on the items of a catalogue: made ready, its steps counted, and where it holds."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from typing import NamedTuple

import numpy as np
import polars as pl

from palate.arrays import Bools
from palate.conditions.compile import compile_over
from palate.conditions.effort import MOST_STEPS, Meter, too_many
from palate.conditions.values import ANY, NOTHING, Column, Value, column
from palate.errors import ConditionError
from palate.live.attributes import HINTS, Attributes
from palate.live.patience import still_wanted
from palate.live.table import Table
from palate.store.items import FIELDS

KEPT = 256  # conditions whose masks are kept, at most
KEPT_BYTES = 1 << 27  # of these masks, all together, and of labels
MOST_ROWS, BLOCK_STEPS = 1 << 17, 20_000_000  # of a condition at once, which bound its memory and its time


class Plan(NamedTuple):
    """A condition made ready: what gives its mask, of which parts, in how many steps, and what is odd about it.

    growing  of the steps, those that grow with the rows
    """

    expr: pl.Expr
    parts: tuple[str, ...]
    steps: int
    growing: int
    notes: tuple[str, ...]


class Evaluation(NamedTuple):
    """Where a condition holds, (P,), and what is odd about it: names that no item has, types that no value has."""

    mask: Bools
    notes: tuple[str, ...]


class Conditions:
    """Conditions on the items with these attributes; what they came to is kept."""

    def __init__(self, attributes: Attributes) -> None:
        table = self._table = attributes.table
        # Of functions, not of self: a cycle of references would keep every old catalogue for a while.
        self._plan = lru_cache(KEPT)(partial(_planned, attributes))
        self._evaluated = lru_cache(most_kept(len(table)))(partial(_evaluated, table, self._plan))

    def evaluate(self, condition: str) -> Evaluation:
        """Find where a condition holds. Raises `ConditionError`."""
        return self._evaluated(condition)

    def steps(self, conditions: Iterable[str]) -> int:
        """Count what some conditions take together. Raises `ConditionError` where it is too much."""
        steps = 0
        for condition in dict.fromkeys(conditions):
            steps += self._plan(condition).steps
            if steps > MOST_STEPS:
                rule = too_many(len(self._table), steps, MOST_STEPS)
                raise ConditionError(condition, 0, f"with the conditions before it: {rule}")
        return steps


def most_kept(size: int) -> int:
    """Return how many arrays of `size` bytes are kept."""
    return max(1, min(KEPT, KEPT_BYTES // max(1, size)))


def _planned(attributes: Attributes, condition: str) -> Plan:
    notes: list[str] = []
    parts: dict[str, None] = {}
    meter = Meter(len(attributes.table), MOST_STEPS)
    expr = compile_over(condition, _namer(attributes, notes, parts, meter), meter)
    steps = meter.steps, meter.steps - meter.fixed
    return Plan(expr.fill_null(False), tuple(parts), *steps, tuple(dict.fromkeys(notes)))


def _evaluated(table: Table, plan_of: Callable[[str], Plan], condition: str) -> Evaluation:
    plan = plan_of(condition)
    return Evaluation(_held(table, plan), plan.notes)


def _held(table: Table, plan: Plan) -> Bools:
    """Where a condition holds, (P,), read-only; items that have none of its parts are all alike."""

    def held(rows: pl.DataFrame) -> Bools:
        # Beside a column, since an expression of literals alone gives one row.
        return rows.select("item_no", held=plan.expr)["held"].to_numpy()

    mask, having = np.zeros(len(table), np.bool_), table.having(plan.parts)
    if having is not None:
        mask[:] = held(table.at(plan.parts, slice(0)).clear(1))
    size = len(table if having is None else having)
    at_once = min(MOST_ROWS, 1 + BLOCK_STEPS * size // (1 + plan.growing))
    for low in range(0, size, at_once):
        still_wanted()
        here = slice(low, low + at_once) if having is None else having[low : low + at_once]
        mask[here] = held(table.at(plan.parts, here))
    mask.setflags(write=False)
    return mask


def _namer(attributes: Attributes, notes: list[str], parts: dict[str, None], meter: Meter) -> Column:
    """Make what finds the columns of a condition.

    It notes what no item has, adds the parts that they are read from, and counts what reading takes.
    """
    unknown: dict[str, str] = {}

    def use(names: Iterable[str]) -> None:
        for part in names:
            if part not in parts:
                parts[part] = None
                sparse = attributes.table.sparse.get(part)
                meter.use(None if sparse is None else len(sparse))

    def named(asked: str, place: int) -> Value:
        own = next((each for each in FIELDS if each == asked.lower()), None)
        if own is not None:
            use([own])
            meter.read(own, attributes.table.rows.schema[own], attributes.lengths(own))
            return column(own, attributes.table.rows.schema[own], place)
        found = attributes.find(asked, notes, meter)
        if found is None:
            if asked not in unknown:
                unknown[asked] = attributes.unknown_name(asked, hint=len(unknown) < HINTS)
                notes.append(unknown[asked])
            return Value(pl.lit(None), NOTHING, place, asked)
        use(found.columns)
        return Value(found.present, ANY, place, asked, readings=found)

    return named
