"""What lists lead to: click-through rate, conversions and value over time, by source and by version of the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from palate.data.times import DAY, SECOND
from palate.store.events import Store
from palate.store.outcomes import Cell, Outcome, day_of, outcomes
from palate.store.recording import now

By: TypeAlias = Literal["source", "version"]
GROUPS = 6  # lines of a chart
WIDTHS = {"day": (7, 1), "week": (7, 1), "month": (30, 1), "year": (53, 7), "all": (100, 7)}  # steps, days of one


@dataclass(frozen=True)
class Clicks:
    """Outcomes of G groups over S steps of time.

    start  of the first step, microseconds since 1970 UTC; width: of a step
    sums   of each group, the group of most items shown first
    steps  of each group, (G, S)
    """

    start: int
    width: int
    sums: Mapping[str, Outcome]
    steps: Mapping[str, Sequence[Outcome]]

    @property
    def drawn(self) -> Mapping[str, Any]:
        """The data of a chart of click-through rates in percent; None where no item was shown."""
        times = [(self.start + n * self.width) // SECOND for n in range(len(next(iter(self.steps.values()), ())))]
        rates = [[each.rate for each in row] for row in self.steps.values()]
        return {"times": times, "width": self.width / SECOND, "names": list(self.steps), "counts": rates}


def clicks(store: Store, span: str, by: By) -> Clicks:
    """Read the outcomes of a range, up to today."""
    steps, days = WIDTHS[span]
    today = day_of(now())
    first = today + 1 - steps * days
    found = outcomes(store, first, today)
    sums: dict[str, Outcome] = {}
    table: dict[str, list[Outcome]] = {}
    for cell, outcome in sorted(found.items()):
        name = named(cell, by)
        sums[name] = sums.get(name, Outcome()).plus(outcome)
        row = table.setdefault(name, [Outcome()] * steps)
        step = (cell.day - first) // days
        row[step] = row[step].plus(outcome)
    order = sorted(sums, key=lambda name: -sums[name].shown)
    most = {name: sums[name] for name in order}
    return Clicks(first * DAY, days * DAY, most, {name: table[name] for name in order[:GROUPS]})


def named(cell: Cell, by: By) -> str:
    """Return the name of the group of a cell."""
    if by == "source":
        return cell.source.replace("_", " ")
    return f"version {cell.version}" if cell.version else "no model"
