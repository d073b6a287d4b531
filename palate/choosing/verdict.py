"""Which trial is taken: paired intervals decide, and the cheaper of two that cannot be separated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from palate.choosing.costs import Cost, burden
from palate.choosing.facts import LogFacts
from palate.choosing.worker import POPULARITY, Outcome
from palate.evaluation.intervals import Difference, paired
from palate.models.base import Recipe

SAME = 0.1  # share by which costs may differ and count as the same


@dataclass(frozen=True, eq=False)
class Record:
    """A trial: the recipe, the part of the log, by its number, and the outcome.

    predicted  what it was thought to cost just before; None where an earlier search ran it
    """

    recipe: Recipe
    part: int
    outcome: Outcome
    predicted: Cost | None = None

    @property
    def name(self) -> str:
        """Name of the recipe."""
        return type(self.recipe).__name__

    def beats(self, other: Record) -> bool:
        """Whether the metric is higher for the users of the same part that both were asked for, its own cut first."""
        both = min(len(self.outcome.values), len(other.outcome.values))
        return bool(self.outcome.values[:both].mean() > other.outcome.values[:both].mean())

    def joined(self, other: Record) -> Record:
        """Return this trial with the users of another cut, where the same recipe was tried, behind its own."""
        values = np.concatenate([self.outcome.values, other.outcome.values])
        return replace(self, outcome=replace(self.outcome, values=values))

    def minus(self, other: Record) -> Difference:
        """Difference of the metric to that of another trial of the same part."""
        return paired(self.outcome.values, other.outcome.values)


@dataclass(frozen=True, eq=False)
class Verdict:
    """What is taken, the trial with the highest mean, and popularity, all of one part."""

    taken: Record
    best: Record
    popularity: Record | None
    why: str


def graded(records: Sequence[Record], part: int, latency_ms: float | None = None) -> list[Record]:
    """Return the trials of a part that did not fail and keep the latency, the best first."""
    limit = float("inf") if latency_ms is None else latency_ms
    kept = [r for r in records if r.part == part and not r.outcome.error and r.outcome.cost.list_ms <= limit]
    return sorted(kept, key=lambda record: -record.outcome.mean)


def contenders(ranked: Sequence[Record]) -> list[Record]:
    """Return the best trial of each recipe's name, the best first."""
    first: dict[str, Record] = {}
    for each in ranked:
        first.setdefault(each.name, each)
    return list(first.values())


def decide(ranked: Sequence[Record], facts: LogFacts) -> Verdict:
    """Take one of the trials of a part, the best first; one at least.

    Of the best trials of all recipes, the cheapest is taken that cannot be separated from the best of them, and
    popularity where it is among these. Costs that are the same within `SAME` leave it to the metric.
    """
    best, *others = contenders(ranked)
    popular = next((each for each in (best, *others) if each.name == POPULARITY), None)
    equal = [each for each in others if not best.minus(each).clear]
    costs = [burden(each.recipe, facts) for each in (best, *equal)]
    cheap = (each for each, cost in zip((best, *equal), costs, strict=True) if cost <= (1 + SAME) * min(costs))
    taken = popular if popular is not None and popular in (best, *equal) else next(cheap)
    return Verdict(taken, best, popular, _why(taken, best, equal, alone=not others))


def _why(taken: Record, best: Record, equal: Sequence[Record], alone: bool) -> str:
    if taken.name == POPULARITY:
        if alone:
            return "no other recipe was measured within the limits"
        line = "no model is better than popularity on this log"
        return line if taken is best else f"{line}: {best.name} differs by {best.minus(taken)}, which is not clear"
    if taken is not best:
        return f"{best.name} is better by {best.minus(taken)}, which is not clear; {taken.name} costs less"
    names = ", ".join(each.name for each in equal)
    return f"{best.name} has the highest metric" + (f", but is not clearly better than {names}" if names else "")
