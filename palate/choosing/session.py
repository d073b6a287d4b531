"""One search for a log: what its steps share, from the facts to the model of the whole log."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

from palate.choosing.bench import A_MINUTE, Bench, Enough, Limits, Part, parts_of
from palate.choosing.costs import Cost, Costs, calibrated
from palate.choosing.facts import LogFacts
from palate.choosing.goals import Goal
from palate.choosing.journal import Journal, task_of, text_of
from palate.choosing.refine import SMALLEST, Refinement
from palate.choosing.report import ChoiceReport, Tried
from palate.choosing.samplers import has_optuna
from palate.choosing.search import Search
from palate.choosing.spaces import Family, label
from palate.choosing.trials import Children, Job
from palate.choosing.verdict import Record, Verdict, contenders, decide
from palate.choosing.worker import POPULARITY, Fit
from palate.data.catalogue import Catalogue
from palate.data.interactions import Interactions
from palate.errors import DataError, PalateError
from palate.models.base import Model, Recipe, refuse_empty
from palate.models.registry import load, recipe_class

GRACE = 10.0  # seconds for a process to start on a busy machine: popularity is no answer where a fit takes less
OVER = 0.08  # share of the budget that the last fit may take beyond it
CROWDED = 1.5  # load from which on the last fit is run on one thread
EARLY = 0.1  # share of the budget that was left for a search from which on the report says why it ended
KEPT = 20  # newest searches whose trials a journal keeps, where a service searches again and again
REPEATED = 0.1  # share of repeats from which on the report says how they may be answers
BEAT = 0.5  # seconds between two notes of the time spent


@dataclass(frozen=True)
class Step:
    """How far a search has come: trials that ended, seconds of the budget, the best recipe's name and its metric."""

    trials: int
    seconds: float
    budget: float
    best: str
    metric: float


StepWatch = Callable[[Step], bool | None]  # True ends the search with what it has found


@dataclass(frozen=True)
class Asked:
    """What is asked of a search."""

    goal: str | None
    limits: Limits
    metric: str
    candidates: tuple[Recipe | Family, ...] | None
    seed: int
    keep_seen: bool = False


@dataclass(frozen=True, eq=False)
class Found:
    """What a search found: the trials that may be fitted to the whole log, the first first, and the report."""

    order: Sequence[Record]
    report: ChoiceReport


class Session:
    """One call of `choose`: what all steps of it share."""

    def __init__(
        self,
        log: Interactions,
        catalogue: Catalogue | None,
        asked: Asked,
        journal: str | PathLike[str] | None,
        watch: StepWatch | None,
    ) -> None:
        began = monotonic()
        refuse_empty(log)
        self.log, self.catalogue, self.asked, self._watch = log, catalogue, asked, watch
        self.facts = LogFacts.of(log, catalogue)
        self.goal = Goal.of(asked.goal, self.facts)
        about = self.goal.name, asked.metric, asked.seed, asked.limits.last_fit, asked.limits.live, asked.keep_seen
        task = "" if journal is None else task_of(log, catalogue, *about)
        self.journal = Journal(journal, task, began)
        self.late = self.journal.spent > asked.limits.seconds  # an earlier run took all of the time
        costs = Costs(1.0) if asked.limits.trials is not None else calibrated()
        self.children = Children(asked.limits.memory, self._pulse)
        self.bench = Bench(
            self.facts, asked.metric, asked.limits, costs, self.journal, self.children, lambda _: self._step()
        )
        self._beat, self._searching = began, False

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.children.end()
        self.journal.close()

    def search(self, start: Sequence[Recipe]) -> Found:
        """Run the search."""
        try:
            least = A_MINUTE * max(1.0, self.asked.limits.seconds / 60)
            parts = self._parts(least)
        except DataError as error:
            return self._popularity(f"nothing can be held out to measure by: {self._nothing(error)}")
        for each in parts:
            self.bench.recall(each)
        search = Search(self.bench, parts, self.goal, self.asked.seed, start)
        self._searching = True
        search.run(self.asked.candidates)
        self._searching = False
        ranked = search.finalists()
        if not ranked:
            return self._popularity("no trial ended within the limits")
        verdict = decide(ranked, self.facts)
        order = [verdict.taken, *(each for each in ranked if each is not verdict.taken)]
        tried = parts[: search.part.number + 1]
        report = self._report(tried, self._reported(search, ranked), verdict)
        return Found(order, replace(report, notes=(*report.notes, *self._ended(search), *self._compiled())))

    def _ended(self, search: Search) -> list[str]:
        """Say why the search ended before its time, where it did."""
        limits, left = self.asked.limits, self.bench.left - self.bench.reserve
        if not search.ended or (limits.trials is None and left < EARLY * limits.seconds):
            return []
        what = f"{left:.0f} s" if limits.trials is None else f"{self.bench.trials_left:.0f} trials"
        return [f"The search ended with {what} left: {search.ended}"]

    def _compiled(self) -> list[str]:
        """Say for how long kernels were compiled, where that was long."""
        seconds = self.bench.compiling
        return [f"Kernels were compiled for {seconds:.0f} s, once, beside the budget"] if seconds >= 1 else []

    def refine(self, start: Recipe) -> ChoiceReport | None:
        """Search a little around a recipe; None where the time has no room for trials, or it was not measured."""
        try:
            parts = self._parts(SMALLEST)
        except DataError:
            return None
        refinement = Refinement(self.bench, parts, start, self.asked.seed)
        self._searching = True
        refinement.run(self.journal.earlier())
        self._searching = False
        self.journal.keep(KEPT)
        verdict, part = refinement.verdict(), refinement.part
        if verdict is None or part is None:
            return None
        return self._report(parts[: part.number + 1], self.bench.records, verdict)

    def _parts(self, least: float) -> list[Part]:
        asked = self.asked
        return parts_of(self.log, self.catalogue, self.goal, least, asked.seed, self.facts, asked.keep_seen)

    def _report(self, tried: Sequence[Part], records: Sequence[Record], verdict: Verdict) -> ChoiceReport:
        return ChoiceReport(
            verdict.taken.recipe,
            self.goal,
            self.facts,
            self.asked.metric,
            [Tried(each.share, each.asked) for each in tried],
            records,
            verdict,
            verdict.why,
            self._left_out(),
            self.journal.spent,
            notes=self._notes(),
            trials=len(self.bench.records),
        )

    def fitted(self, found: Found) -> tuple[Recipe, Model, ChoiceReport]:
        """Fit the first that keeps the limits to the whole log; popularity where none does."""
        report = found.report
        for record in contenders(found.order):  # where its last fit fails, that of other settings would, too
            if record.name == POPULARITY:
                break
            predicted = self.bench.costs.predict(record.recipe, self.facts)
            fit = self._fit(record.recipe)
            if isinstance(fit, str):
                report = replace(report, notes=(*report.notes, f"{record.name} is not taken: {fit}"))
                continue
            model, measured = fit
            report = replace(report, recipe=record.recipe, predicted=predicted, measured=measured)
            if record is not found.order[0]:
                report = replace(report, why=f"{record.name} is the best that kept the limits").taking(record)
            return record.recipe, model, replace(report, seconds=self.journal.spent)
        popular = next((each for each in found.order if each.name == POPULARITY), None)
        recipe = recipe_class(POPULARITY)() if popular is None else popular.recipe
        if popular is not None and popular is not found.order[0]:
            report = replace(report, why="no other recipe kept the limits in its last fit").taking(popular)
        model = recipe.fit(self.log)
        return recipe, model, replace(report, recipe=recipe, seconds=self.journal.spent)

    def _fit(self, recipe: Recipe) -> tuple[Model, Cost] | str:
        """Fit to the whole log in a child, and return the model with what it cost; or why there is none."""
        limits = self.asked.limits
        needed = self.bench.costs.load * self.bench.costs.predict(recipe, self.facts).seconds
        left = math.inf if self.late else max(0.0, self.bench.left) + OVER * limits.seconds
        alone = self.bench.costs.load > CROWDED  # several threads that wait for each other would take longer
        if needed > left:
            return f"a fit takes about {needed:.0f} s, and {left:.0f} s were left"
        with TemporaryDirectory(prefix="palate-choice-", ignore_cleanup_errors=True) as folder:
            try:
                outcome = self.children.run(
                    [
                        Job(
                            Fit(recipe, self.log, self.catalogue, str(Path(folder) / "model"), alone),
                            max(left, needed + GRACE),
                        )
                    ]
                )[0]
                if outcome.error:
                    return outcome.error
                if limits.latency_ms is not None and outcome.cost.list_ms > limits.latency_ms:
                    return f"a list takes {outcome.cost.list_ms:.1f} ms"
                return load(Path(folder) / "model"), outcome.cost
            except PalateError as error:
                return str(error)

    def _reported(self, search: Search, ranked: Sequence[Record]) -> list[Record]:
        """Return the trials of the parts, those of several cuts as one."""
        final = {text_of(each.recipe): each for each in ranked}
        return [
            final.get(text_of(each.recipe), each) if each.part == search.part.number else each
            for each in self.bench.records
            if each.part <= search.part.number
        ]

    def _popularity(self, why: str) -> Found:
        recipe = recipe_class(POPULARITY)()
        report = ChoiceReport(
            recipe,
            self.goal,
            self.facts,
            self.asked.metric,
            (),
            (),
            None,
            why,
            self._left_out(),
            self.journal.spent,
            notes=self._notes(),
        )
        return Found([], report)

    def _notes(self) -> tuple[str, ...]:
        """Say how the search was made."""
        notes = [] if has_optuna() else ["Settings are fixed draws; the extra `choose` adds Optuna's search"]
        if self.asked.keep_seen:
            notes.append("Items of a history count as answers, and are listed again")
        elif self.facts.repeats >= REPEATED:
            notes.append(f"{self.facts.repeats:.0%} of the events are repeats; keep_seen=True lists items again")
        return tuple(notes)

    def _nothing(self, error: DataError) -> str:
        for what in ("item", "user"):
            if getattr(self.facts, f"{what}s") == 1:
                return f"the log has a single {what}"
        return "each user has a single event" if self.facts.squares == self.facts.events else str(error)

    def _left_out(self) -> dict[str, str]:
        ended = {label(each.recipe) for each in self.bench.records if not each.outcome.error}
        return {name: why for name, why in self.bench.left_out.items() if name not in ended}

    def _pulse(self) -> None:
        """Note the time spent, and let the caller see it."""
        if monotonic() - self._beat < BEAT:
            return
        self._beat = monotonic()
        self.journal.beat()
        if self._step() and self._searching:
            raise Enough

    def _step(self) -> bool:
        if self._watch is None:
            return False
        records = [each for each in self.bench.records if not each.outcome.error]
        best = max(records, key=lambda record: (record.part, record.outcome.mean), default=None)
        name, metric = ("", 0.0) if best is None else (best.name, best.outcome.mean)
        return (
            self._watch(Step(len(self.bench.records), self.journal.spent, self.asked.limits.seconds, name, metric))
            is True
        )
