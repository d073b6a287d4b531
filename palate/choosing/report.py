"""What a search found: a table, a picture, and why the chosen recipe was taken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike

from rich.console import Group, RenderableType

from palate.choosing.costs import Cost
from palate.choosing.facts import LogFacts
from palate.choosing.goals import Goal
from palate.choosing.spaces import brief
from palate.choosing.verdict import Record, Verdict
from palate.choosing.worker import POPULARITY
from palate.errors import check
from palate.evaluation.intervals import bootstrap
from palate.evaluation.picture import Spot, draw_front
from palate.evaluation.tables import Grid, plain
from palate.models.base import Recipe

LESS = 1.5  # times as fast, or as small, as what is named where latency or memory matters more


@dataclass(frozen=True)
class Tried:
    """A part of the log that trials were run on: its share of the log, and the users who were asked for."""

    share: float
    asked: int


@dataclass(frozen=True, eq=False)
class ChoiceReport:
    """The trials of a search, and what came of them.

    records    the trials that it compares, those of several cuts as one; trials, the number of all of them
    verdict    None where nothing could be measured
    left_out   families without a trial that ended, or with one that failed, and why
    predicted, measured  cost of the last fit, to the whole log
    notes      what else a user should know
    """

    recipe: Recipe
    goal: Goal
    facts: LogFacts
    metric: str
    parts: Sequence[Tried]
    records: Sequence[Record]
    verdict: Verdict | None
    why: str
    left_out: Mapping[str, str]
    seconds: float
    predicted: Cost | None = None
    measured: Cost | None = None
    notes: tuple[str, ...] = ()
    trials: int = 0

    def taking(self, record: Record) -> ChoiceReport:
        """Return the report where another trial is taken than its verdict says."""
        return replace(self, verdict=None if self.verdict is None else replace(self.verdict, taken=record))

    @property
    def lines(self) -> list[Record]:
        """The best trial of each family, on the largest part and the most users it reached; the best first."""
        found: dict[str, Record] = {}
        for each in sorted(self.records, key=lambda r: (-r.part, -len(r.outcome.values), -r.outcome.mean)):
            if not each.outcome.error:
                found.setdefault(each.name, each)
        fewest = min((len(each.outcome.values) for each in found.values()), default=0)
        return sorted(found.values(), key=lambda r: (-r.part, -r.outcome.values[:fewest].mean()))

    @property
    def front(self) -> list[Record]:
        """Lines that no other one of the same part beats in both the metric and the milliseconds of a list."""
        lines = self.lines
        return [
            each
            for each in lines
            if not any(
                other.part == each.part
                and other.beats(each)
                and other.outcome.cost.list_ms <= each.outcome.cost.list_ms
                for other in lines
            )
        ]

    def interval(self, record: Record) -> tuple[float, float]:
        """95% bootstrap interval of a trial's metric."""
        low, high = bootstrap(record.outcome.values[:, None])[0]
        return float(low), float(high)

    def to_dict(self) -> dict[str, object]:
        """Return all of it but the metrics of single users, ready for JSON."""
        return {
            "recipe": self.recipe.as_dict(),
            "why": self.why,
            "goal": {"name": self.goal.name, "why": self.goal.why},
            "facts": self.facts.to_dict(),
            "metric": self.metric,
            "parts": [{"share": each.share, "users_asked": each.asked} for each in self.parts],
            "models": [self._line_dict(each) for each in self.lines],
            "left_out": dict(self.left_out),
            "trials": [
                {
                    "recipe": each.recipe.as_dict(),
                    "part": each.part,
                    "metric": each.outcome.mean if not each.outcome.error else None,
                    "error": each.outcome.error,
                    **each.outcome.cost._asdict(),
                    "predicted": None if each.predicted is None else each.predicted._asdict(),
                }
                for each in self.records
            ],
            "predicted": None if self.predicted is None else self.predicted._asdict(),
            "measured": None if self.measured is None else self.measured._asdict(),
            "seconds": self.seconds,
            "notes": list(self.notes),
        }

    def to_brief(self) -> dict[str, object]:
        """Return what a version of a model keeps of it: all but the facts of the log and the single trials."""
        whole = self.to_dict()
        kept = ("recipe", "why", "goal", "metric", "models", "left_out", "seconds", "notes")
        return {**{name: whole[name] for name in kept}, "explanation": self.explanation, "trials": self.trials}

    def to_markdown(self) -> str:
        """Return the reasons, the table and the facts as Markdown."""
        left_out = "".join(f"- left out: {name}: {reason}\n" for name, reason in self.left_out.items())
        facts = "\n".join(f"- {line}" for line in self.facts.describe())
        return f"{self.explanation}\n\n{self._grid().markdown()}\n\n{left_out}\n{facts}\n"

    def plot(self, path: str | PathLike[str]) -> None:
        """Draw the metric against milliseconds a list into a PNG or SVG file, the Pareto front as a line.

        Raises `MissingExtra` without matplotlib, `SettingError` where nothing was measured.
        """
        check(bool(self.lines), "path", str(path), "nothing to draw: no trial ended")
        top = max(each.part for each in self.lines)
        spots = {each.name: self._spot(each) for each in self.lines if each.part == top}
        front = [each.name for each in self.front if each.part == top]
        draw_front(path, list(spots.values()), [spots[name] for name in front], self.metric, self._asked_line())

    @property
    def explanation(self) -> str:
        """One paragraph: what was chosen and why."""
        sentences = [f"Chosen: {brief(self.recipe)}."]
        sentences.append(f"Goal: {self.goal.name}, {self.goal.meaning} ({self.goal.why}).")
        sentences.append(f"{self.why[:1].upper()}{self.why[1:]}.")
        sentences += [f"{each}." for each in (*self._against(), *self._instead(), *self.notes)]
        return " ".join(sentences)

    def __rich__(self) -> RenderableType:
        left_out = "\n".join(f"  {name}: {reason}" for name, reason in self.left_out.items())
        facts = "\n".join(f"  {line}" for line in self.facts.describe())
        parts = ["left out", left_out, ""] if left_out else []
        table: list[RenderableType] = [self._grid().rich(), ""] if self.lines else []
        return Group(self.explanation, "", *table, *parts, "the log", facts, "", self._asked_line())

    def __str__(self) -> str:
        return plain(self)

    __repr__ = __str__

    def _against(self) -> list[str]:
        """Say by how much it is better than popularity."""
        verdict = self.verdict
        if verdict is None or verdict.popularity is None or verdict.taken.name == POPULARITY:
            return []
        gain = verdict.taken.minus(verdict.popularity)
        base = verdict.popularity.outcome.mean
        share = f", {gain.mean / base:+.0%}" if base > 0 else ""
        said = f"{gain.mean:+.4f} (95% interval {gain.low:+.4f} to {gain.high:+.4f}{share})"
        return [f"Against popularity, {self.metric} {said}"]

    def _instead(self) -> list[str]:
        """Say what is next where latency or memory matters more."""
        if self.verdict is None:
            return []
        taken, found = self.verdict.taken, []
        for what, field, least in (("latency", "list_ms", 1.0), ("memory", "memory", 5e7)):
            own = getattr(taken.outcome.cost, field)
            if own < least:  # what a service takes beside it
                continue
            good = [r for r in self.lines if r.outcome.mean > taken.outcome.mean / 2]
            less = [r for r in good if r.part == taken.part and getattr(r.outcome.cost, field) * LESS < own]
            if less:
                best = max(less, key=lambda record: record.outcome.mean)
                found.append(f"Where {what} matters more: {best.name}, {self.metric} {best.outcome.mean:.4f}")
        return found

    def _asked_line(self) -> str:
        trials = f"{self.trials} trials in {self.seconds:.0f} s"
        asked = max((len(each.outcome.values) for each in self.lines), default=0)
        return f"{trials}, {asked:,} users asked" if asked else trials

    def _spot(self, record: Record) -> Spot:
        taken = self.verdict is not None and record.name == self.verdict.taken.name
        label = f"{record.name}, taken" if taken else record.name
        return Spot(label, record.outcome.cost.list_ms, record.outcome.mean, None, self.interval(record))

    def _line_dict(self, record: Record) -> dict[str, object]:
        low, high = self.interval(record)
        return {
            "name": record.name,
            "recipe": record.recipe.as_dict(),
            "share": self.parts[record.part].share,
            "metric": {"mean": record.outcome.mean, "low": low, "high": high},
            "front": record in self.front,
            "taken": self.verdict is not None and record is self.verdict.taken,
            **record.outcome.cost._asdict(),
        }

    def _grid(self) -> Grid:
        header = ["model", self.metric, "fit, s", "MB", "list, ms", "log", "users", ""]
        front = self.front
        rows = []
        for each in self.lines:
            low, high = self.interval(each)
            cost = each.outcome.cost
            marks = ["front"] * (each in front)
            marks += ["taken"] * (self.verdict is not None and each.name == self.verdict.taken.name)
            rows.append(
                [
                    each.name,
                    f"{each.outcome.mean:.4f} ±{(high - low) / 2:.4f}",
                    f"{cost.seconds:.2f}",
                    f"{cost.memory / 1e6:.0f}",
                    f"{cost.list_ms:.2f}",
                    f"{self.parts[each.part].share:.0%}",
                    f"{len(each.outcome.values):,}",
                    ", ".join(marks),
                ]
            )
        return Grid(header, rows)
