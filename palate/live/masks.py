"""A condition on the items of a catalogue: made ready, its steps counted, and where it holds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import polars as pl

from palate.arrays import Bools, Longs
from palate.conditions.compile import compile_over
from palate.conditions.effort import MOST_STEPS, Meter, too_many
from palate.conditions.values import ANY, NOTHING, Column, Value, column
from palate.errors import ConditionError
from palate.live.attributes import HINTS, Attributes
from palate.live.patience import still_wanted
from palate.live.recent import Recent
from palate.live.table import ITEMS, Table, fixed
from palate.store.items import FIELDS

KEPT = 256  # conditions whose masks are kept, at most
KEPT_BYTES = 1 << 27  # of these masks, all together, and of labels
MOST_ROWS, BLOCK_STEPS = 1 << 17, 20_000_000  # of a condition at once, which bound its memory and its time
CHANGES, PART = 256, 16  # changes that a mask is brought up to date over, and of how many items: one in PART


@dataclass(frozen=True, eq=False)
class Plan:
    """A condition made ready: what gives its mask, of which parts, in how many steps, and what is odd about it.

    growing  of the steps, those that grow with the rows
    """

    expr: pl.Expr
    parts: tuple[str, ...]
    steps: int
    growing: int
    notes: tuple[str, ...]

    def like(self, other: Plan) -> bool:
        """Whether both compute the same of the same parts."""
        return self is other or (self.parts, self._computes) == (other.parts, other._computes)

    @cached_property
    def _computes(self) -> bytes:
        return self.expr.meta.serialize()


class Evaluation(NamedTuple):
    """Where a condition holds, (P,), and what is odd about it: names that no item has, types that no value has."""

    mask: Bools
    notes: tuple[str, ...]


class Made(NamedTuple):
    """What a condition came to by a plan, after how many changes of the items."""

    plan: Plan
    evaluation: Evaluation
    age: int


class Conditions:
    """Conditions on the items with these attributes; what they came to is kept.

    A condition holds for an item by what that item has. So where items change, what conditions came to is handed on
    and computed anew for the changed items alone, unless a condition now reads other parts, or reads them otherwise.
    """

    def __init__(self, attributes: Attributes) -> None:
        self._attributes = attributes
        self._plans = Recent[Plan](KEPT)
        self._made = Recent[Made](most_kept(len(attributes.table)))
        self._age, self._changes = 0, tuple[Longs, ...]()  # how many there were, and the positions of the last ones

    def after(self, attributes: Attributes, changed: Longs) -> Conditions:
        """Return conditions on the same items, and more behind them, after those at some positions changed."""
        later = Conditions(attributes)
        plans = self._plans.all()  # before the totals are compared, which others may ask for meanwhile
        if self._attributes.same_totals(attributes):
            later._plans.add(plans)
        later._age = self._age + 1
        there, most = 0, len(attributes.table) // PART
        for positions in (changed, *reversed(self._changes)):
            there += len(positions)
            if there > most or len(later._changes) == CHANGES:
                break
            later._changes = (positions, *later._changes)
        oldest = later._age - len(later._changes)  # of which all changes since then are known
        later._made.add({condition: made for condition, made in self._made.all().items() if made.age >= oldest})
        return later

    def evaluate(self, condition: str) -> Evaluation:
        """Find where a condition holds. Raises `ConditionError`."""
        made = self._made.get(condition)
        if made is None or made.age < self._age:
            made = self._evaluated(condition, made)
            self._made.add({condition: made})
        return made.evaluation

    def _evaluated(self, condition: str, before: Made | None) -> Made:
        plan, table = self._plan(condition), self._attributes.table
        if before is None or not plan.like(before.plan):
            return Made(plan, Evaluation(_held(table, plan), plan.notes), self._age)
        changed = np.unique(np.concatenate(self._changes[len(self._changes) - self._age + before.age :]))
        mask = np.zeros(len(table), np.bool_)
        mask[: len(before.evaluation.mask)] = before.evaluation.mask
        _hold(mask, table, plan, changed)
        return Made(plan, Evaluation(fixed(mask), plan.notes), self._age)

    def _plan(self, condition: str) -> Plan:
        plan = self._plans.get(condition)
        if plan is None:
            plan = _planned(self._attributes, condition)
            self._plans.add({condition: plan})
        return plan

    def steps(self, conditions: Iterable[str]) -> int:
        """Count what some conditions take together. Raises `ConditionError` where it is too much."""
        steps = 0
        for condition in dict.fromkeys(conditions):
            steps += self._plan(condition).steps
            if steps > MOST_STEPS:
                rule = too_many(len(self._attributes.table), steps, MOST_STEPS)
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


def _held(table: Table, plan: Plan) -> Bools:
    """Where a condition holds, (P,), read-only; items that have none of its parts are all alike."""
    mask, having = np.zeros(len(table), np.bool_), table.having(plan.parts)
    if having is not None:
        mask[:] = _of_rows(plan, table.at(plan.parts, slice(0)).clear(1))
    _hold(mask, table, plan, having)
    return fixed(mask)


def _hold(mask: Bools, table: Table, plan: Plan, where: Longs | None) -> None:
    """Note in a mask (P,) where a condition holds, at some positions, which ascend, or at all."""
    size = len(table if where is None else where)
    at_once = min(MOST_ROWS, 1 + BLOCK_STEPS * size // (1 + plan.growing))
    for low in range(0, size, at_once):
        still_wanted()
        here = slice(low, low + at_once) if where is None else where[low : low + at_once]
        mask[here] = _of_rows(plan, table.at(plan.parts, here))


def _of_rows(plan: Plan, rows: pl.DataFrame) -> Bools:
    # Beside a column, since an expression of literals alone gives one row.
    return rows.select("item_no", held=plan.expr)["held"].to_numpy()


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
            meter.read(own, ITEMS[own], attributes.lengths(own))
            return column(own, ITEMS[own], place)
        found = attributes.find(asked, notes, meter)
        if found is None:
            if asked not in unknown:
                unknown[asked] = attributes.unknown_name(asked, hint=len(unknown) < HINTS)
                notes.append(unknown[asked])
            return Value(pl.lit(None), NOTHING, place, asked)
        use(found.columns)
        return Value(found.present, ANY, place, asked, readings=found)

    return named
