"""What running a condition takes, counted in steps of about a nanosecond before it is run."""

from __future__ import annotations

import polars as pl

from palate.conditions.syntax import Part, exp
from palate.conditions.values import LISTS, REAL, TEXT, TRUTH, WHOLE, Fault, Value

MOST_STEPS = 500_000_000  # of a condition, and of the filter, boosts and shares of a request together
MOST_OPERATIONS = 100  # comparisons and computations of a condition, those of constants too
BYTES = 2  # of a text that an operation passes over in a step
# Times as long it takes to find a pattern that is no plain text, one with letters left open, and each more of those:
# the matcher keeps apart all texts that may fill them.
FORM, BLANKS, BLANK, FEW = 5, 15, 65, 8
PLAIN = 50  # characters of a plain text
A_VALUE = 4  # steps in which it passes over one value of a list
AS_TEXT = 5  # times as long it takes to write it
# Steps that an operation on a column, one read as another type, and one as it is take however few rows there are.
ANY_ROWS, NAMED = 2_000_000, 300_000
# Steps a row of nodes, measured over a million rows; those of whole numbers are computed in 128 bits.
LEAST = 1
TAKES: dict[Part, int] = {
    **dict.fromkeys((exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE), 3),
    **dict.fromkeys((exp.Add, exp.Sub, exp.Mul, exp.Div, exp.Mod, exp.Neg, exp.Abs, exp.Round), 10),
    **dict.fromkeys((exp.Like, exp.ILike, exp.Escape, exp.Length, exp.Between), 20),
    **dict.fromkeys((exp.Lower, exp.Upper), 45),
    exp.In: 50,
}
WHOLES: dict[Part, int] = {
    **dict.fromkeys((exp.Add, exp.Sub, exp.Mul, exp.Neg, exp.Abs), 20),
    exp.Div: 80,
    exp.Mod: 80,
}
SPREAD, MATCH = 25, 40  # steps a row, and a value, in which a part that few items have is made into a column
EACH = (exp.In, exp.Coalesce)  # take it for each column in them
# Steps a row that reading values of a kind as a type takes, where that is not what they are.
READS: dict[tuple[str, pl.DataType], int] = {
    ("text", REAL): 100,
    ("text", WHOLE): 110,
    ("text", TRUTH): 60,
    ("whole", TEXT): 60,
    ("real", TEXT): 100,
    ("truth", TEXT): 20,
    ("list", TEXT): 160,
    **{(kind, LISTS): 200 for kind in ("whole", "real", "truth", "text", "object")},
    ("list", LISTS): 25,
}


class Meter:
    """Counts while a condition is read. Raises `Fault` as soon as it takes too much.

    size     rows that there are; rows: those that the condition is computed over, at most
    columns  that were named; operations: comparisons and computations
    lengths  steps in which an operation passes over the texts and lists read
    fixed    steps that are taken however few rows there are
    """

    def __init__(self, size: int = 0, most: int = MOST_STEPS) -> None:
        self.size, self.most = size, most
        self.rows = self.columns = self.operations = self.lengths = self.fixed = self._each = self._passed = 0

    def column(self) -> None:
        """Count that a column is named."""
        self.columns += 1
        self._add(0, 0, NAMED)

    @property
    def steps(self) -> int:
        """What it all takes."""
        return self._each * self.rows + self._passed + self.fixed

    def use(self, values: int | None = None) -> None:
        """Count that a column is used: one of all rows, or one that is built from this number of values."""
        self.rows = self.size if values is None else min(self.size, self.rows + values)
        if values is not None:
            self._add(SPREAD, MATCH * values)

    def operation(self, place: int) -> None:
        """Count a comparison or a computation, of constants too."""
        self.operations += 1
        if self.operations > MOST_OPERATIONS:
            raise Fault(place, f"there can be {MOST_OPERATIONS} comparisons and computations, and this is one more")

    def read(self, kind: str, dtype: pl.DataType, length: int) -> None:
        """Count that values of a kind are read as a type."""
        self.lengths += length
        times = AS_TEXT if kind == "list" and dtype == TEXT else 1
        other = (kind, dtype) in READS
        self._add(READS.get((kind, dtype), LEAST), times * length, ANY_ROWS if other else 0)

    def node(self, node: exp.Expr, value: Value, columns: int, length: int) -> None:
        """Count what a node takes, given the columns and the lengths below it, which pass through it."""
        kind: Part = type(node)
        takes = TAKES.get(kind, LEAST)
        if value.dtype == WHOLE:
            takes = WHOLES.get(kind, takes)
        many = max(1, columns) if isinstance(node, EACH) else 1
        self._add(takes * many, length * _times(node), ANY_ROWS if kind in TAKES else 0)

    def _add(self, each: int, passed: int, fixed: int = 0) -> None:
        self._each += each
        self._passed += passed
        self.fixed += fixed
        if self.steps > self.most:
            raise Fault(0, too_many(self.rows, self.steps, self.most))


def _times(node: exp.Expr) -> int:
    """How often an operation passes over a text, so to say."""
    like = node.this if isinstance(node, exp.Escape) else node
    if not isinstance(like, exp.Like | exp.ILike):
        return 1
    pattern = str(like.expression)
    blanks = pattern.count("_")
    if blanks:
        return BLANKS + BLANK * max(0, blanks - FEW)
    plain = isinstance(like, exp.Like) and "%" not in pattern[2:-2] and len(pattern) <= PLAIN
    return 1 if plain else FORM


def too_many(rows: int, steps: int, most: int) -> str:
    """Say the rule of what takes too many steps."""
    return f"over {rows:,} items and their texts this takes {steps:,} steps; there can be {most:,}"
