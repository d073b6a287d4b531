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

NEAR = 0.01  # share of the best metric that a cheaper recipe may lose where the difference is not clear


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


def decide(ranked: Sequence[Record], facts: LogFacts) -> Verdict:
    """Take one of the trials of a part, the best first; one at least."""
    best = ranked[0]
    popular = next((each for each in ranked if each.name == POPULARITY), None)
    if len(ranked) == 1 and best is popular:
        return Verdict(best, best, popular, "no other recipe was measured within the limits")
    if popular is not None and not (gain := best.minus(popular)).low > 0:
        line = "no model is better than popularity on this log"
        if best is not popular:
            line += f": {best.name} differs by {gain}, which is not clear"
        return Verdict(popular, best, popular, line)
    taken = min(
        (each for each in ranked if each is best or _as_good(each, best)),
        key=lambda record: burden(record.recipe, facts),
    )
    if taken is best:
        others = (each.name for each in ranked if each.name != best.name and not best.minus(each).clear)
        equal = ", ".join(dict.fromkeys(others))
        doubt = f", but is not clearly better than {equal}" if equal else ""
        return Verdict(taken, best, popular, f"{best.name} has the highest metric{doubt}")
    line = f"{best.name} is better by {best.minus(taken)}, which is not clear and less than {NEAR:.0%}"
    return Verdict(taken, best, popular, f"{line}; {taken.name} costs less")


def _as_good(record: Record, best: Record) -> bool:
    near = record.outcome.mean >= (1 - NEAR) * best.outcome.mean
    return near and not best.minus(record).clear
