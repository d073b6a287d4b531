"""Choose: the facts of a log, a search within a budget, and a model of the whole log."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

from palate.choosing.bench import Bench, Enough, Limits, parts_of
from palate.choosing.costs import Cost, Costs, calibrated
from palate.choosing.facts import LogFacts
from palate.choosing.goals import Goal
from palate.choosing.journal import Journal, task_of
from palate.choosing.report import ChoiceReport
from palate.choosing.report import Part as ReportPart
from palate.choosing.samplers import has_optuna
from palate.choosing.search import Search
from palate.choosing.spaces import Family, named
from palate.choosing.trials import Children, Job
from palate.choosing.verdict import POPULARITY, Record, decide
from palate.choosing.worker import Fit
from palate.compute.memory import available_memory
from palate.data.catalogue import Catalogue
from palate.data.interactions import Interactions
from palate.errors import DataError, PalateError, SettingError, check, real, whole
from palate.evaluation.metrics import METRICS
from palate.models.base import Model, Recipe, refuse_empty
from palate.models.registry import as_recipe, load, recipe_class

MINUTES = 5.0
METRIC = "NDCG@10"
USED = 0.8  # share of the free memory that a search takes without a limit
OVER = 0.08  # share of the budget that the last fit may take beyond it
BEAT = 0.5  # seconds between two notes of the time spent
UNITS = {"": 1, "k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12}


@dataclass(frozen=True)
class Step:
    """How far a search has come: trials that ended, seconds of the budget, the best recipe's name and its metric."""

    trials: int
    seconds: float
    budget: float
    best: str
    metric: float


StepWatch = Callable[[Step], bool | None]  # True ends the search with what it has found


@dataclass(frozen=True, eq=False)
class Choice:
    """The recipe that was chosen, its model of the whole log, and the report."""

    recipe: Recipe
    model: Model
    report: ChoiceReport

    def save(self, folder: str | PathLike[str], *, log: Interactions | None = None) -> None:
        """Write the model, as `Model.save` does, and the report as choice.json and choice.md beside its files."""
        place = Path(folder)
        self.model.save(place, log=log)
        (place / "choice.json").write_text(json.dumps(self.report.to_dict(), indent=2), encoding="utf-8")
        (place / "choice.md").write_text(self.report.to_markdown(), encoding="utf-8")


def choose(
    log: Interactions,
    catalogue: Catalogue | None = None,
    *,
    goal: str | None = None,
    minutes: float = MINUTES,
    memory: float | str | None = None,
    latency_ms: float | None = None,
    metric: str = METRIC,
    candidates: Sequence[Recipe | str] | None = None,
    seed: int = 0,
    watch: StepWatch | None = None,
    trials: int | None = None,
    journal: str | PathLike[str] | None = None,
    start: Choice | None = None,
) -> Choice:
    """Choose a recipe for a log by trials on a validation part cut from it, and fit it to the whole log.

    goal        "next", "taste", "new-items" or "new-users"; None finds it in the log
    minutes     of all of it, the last fit among them
    memory      bytes that a process may hold, as a number or a text as "4GB"; None: most of what is free
    latency_ms  milliseconds that a list may take
    metric      of `palate.evaluation.metrics`, with a k
    candidates  recipes, as such or as text, which are tried as they are, or names of recipes whose settings are
                sought; None: all
    watch       called as the search goes on; True ends it with what it has found, as Ctrl-C does
    trials      a number of trials in place of minutes
    journal     a file that keeps the trials; a search that was killed goes on where it was
    start       a choice that was made before: what it took is tried first

    Trials run in up to two child processes of one thread each. Raises `SettingError` for a setting out of range, and
    `DataError` for a log without an event of weight above 0, or a file that is no journal.
    """
    asked = _Asked.of(goal, minutes, memory, latency_ms, metric, candidates, seed, trials)
    with _Session(log, catalogue, asked, journal, watch) as session:
        found = session.search([] if start is None else [start.recipe])
        return session.fitted(found)


def chosen_recipe(
    log: Interactions,
    catalogue: Catalogue | None = None,
    *,
    minutes: float = MINUTES,
    watch: StepWatch | None = None,
) -> tuple[Recipe, ChoiceReport]:
    """Choose as `choose` does, and leave the fit to the whole log to the caller, within the same time."""
    asked = _Asked.of(None, minutes, None, None, METRIC, None, 0, None)
    with _Session(log, catalogue, asked, None, watch) as session:
        found = session.search([])
        return found.report.recipe, found.report


@dataclass(frozen=True)
class _Asked:
    """The arguments of `choose`, checked."""

    goal: str | None
    limits: Limits
    metric: str
    candidates: tuple[Recipe | Family, ...] | None
    seed: int

    @classmethod
    def of(
        cls,
        goal: str | None,
        minutes: float,
        memory: float | str | None,
        latency_ms: float | None,
        metric: str,
        candidates: Sequence[Recipe | str] | None,
        seed: int,
        trials: int | None,
    ) -> _Asked:
        check(real("minutes", minutes) > 0, "minutes", minutes, "must be above 0")
        check(latency_ms is None or real("latency_ms", latency_ms) > 0, "latency_ms", latency_ms, "must be above 0")
        name, _, k = metric.partition("@")
        check(
            name in METRICS and k.isdigit() and int(k) > 0,
            "metric",
            metric,
            f"is one of {', '.join(METRICS)} with a k, as NDCG@10",
        )
        if isinstance(candidates, str):
            raise SettingError(f"candidates={candidates!r}: must be a list of recipes or their names")
        seconds = math.inf if trials is not None else 60.0 * minutes
        most = None if trials is None else whole("trials", trials)
        limits = Limits(seconds, _bytes(memory), latency_ms, most)
        given = None if candidates is None else tuple(map(_candidate, candidates))
        check(given != (), "candidates", candidates, "must name one at least")
        return cls(goal, limits, metric, given, whole("seed", seed, 0))


def _candidate(value: Recipe | str) -> Recipe | Family:
    family = named(value) if isinstance(value, str) else None
    return as_recipe(value, "candidates") if family is None else family


def _bytes(memory: float | str | None) -> float:
    """Bytes of a number, or of a text as 4GB."""
    if memory is None:
        free = available_memory()
        return math.inf if free is None else USED * free
    if isinstance(memory, str):
        found = re.fullmatch(r"\s*([0-9.]+)\s*([kmgt]?)i?b?\s*", memory.lower())
        check(
            found is not None and found[1].count(".") <= 1 and found[1] != ".", "memory", memory, "is a size, as 4GB"
        )
        assert found is not None
        return float(found[1]) * UNITS[found[2]]
    check(real("memory", memory) > 0, "memory", memory, "must be above 0 bytes")
    return float(memory)


@dataclass(frozen=True, eq=False)
class _Found:
    """What a search found: the trials that may be fitted to the whole log, the first first, and the report."""

    order: Sequence[Record]
    report: ChoiceReport


class _Session:
    """One call of `choose`: what all steps of it share."""

    def __init__(
        self,
        log: Interactions,
        catalogue: Catalogue | None,
        asked: _Asked,
        journal: str | PathLike[str] | None,
        watch: StepWatch | None,
    ) -> None:
        began = monotonic()
        refuse_empty(log)
        self.log, self.catalogue, self.asked, self._watch = log, catalogue, asked, watch
        self.facts = LogFacts.of(log, catalogue)
        self.goal = Goal.of(asked.goal, self.facts)
        task = "" if journal is None else task_of(log, catalogue, self.goal.name, asked.metric, asked.seed)
        self.journal = Journal(journal, task, began)
        self.late = self.journal.spent > asked.limits.seconds  # an earlier run took all of the time
        costs = Costs(1.0 if asked.limits.trials is not None else calibrated())
        self.children = Children(asked.limits.memory, self._pulse)
        self.bench = Bench(
            self.facts, asked.metric, asked.limits, costs, self.journal, self.children, lambda _: self._step()
        )
        self._beat = began

    def __enter__(self) -> _Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.children.end()
        self.journal.close()

    def search(self, start: Sequence[Recipe]) -> _Found:
        """Run the search."""
        try:
            parts = parts_of(self.log, self.catalogue, self.goal, self.asked.limits, self.asked.seed)
        except DataError as error:
            return self._popularity(f"nothing can be held out to measure by: {error}")
        search = Search(self.bench, parts, self.goal, self.asked.seed, start)
        search.run(self.asked.candidates)
        ranked = self.bench.best(search.part)
        if not ranked:
            return self._popularity("no trial ended within the limits")
        verdict = decide(ranked, self.facts)
        order = [verdict.taken, *(each for each in ranked if each is not verdict.taken)]
        notes = () if has_optuna() else ("Settings are fixed draws; the extra `choose` adds Optuna's search",)
        report = ChoiceReport(
            verdict.taken.recipe,
            self.goal,
            self.facts,
            self.asked.metric,
            [ReportPart(each.share, each.asked) for each in parts[: search.part.number + 1]],
            [each for each in self.bench.records if each.part <= search.part.number],
            verdict,
            verdict.why,
            self._left_out(),
            self.journal.spent,
            notes=notes,
        )
        return _Found(order, report)

    def fitted(self, found: _Found) -> Choice:
        """Fit the first that keeps the limits to the whole log; popularity where none does."""
        report = found.report
        for record in found.order:
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
                report = replace(report, why=f"{record.name} is the best that kept the limits")
            return Choice(record.recipe, model, replace(report, seconds=self.journal.spent))
        popular = next((each.recipe for each in found.order if each.name == POPULARITY), report.recipe)
        recipe = popular if type(popular).__name__ == POPULARITY else recipe_class(POPULARITY)()
        model = recipe.fit(self.log)
        return Choice(recipe, model, replace(report, recipe=recipe, seconds=self.journal.spent))

    def _fit(self, recipe: Recipe) -> tuple[Model, Cost] | str:
        """Fit to the whole log in a child, and return the model with what it cost; or why there is none."""
        limits = self.asked.limits
        left = math.inf if self.late else max(0.0, self.bench.left) + OVER * limits.seconds
        if not self.late and self.bench.costs.predict(recipe, self.facts).seconds > left:
            return f"a fit takes about {self.bench.costs.predict(recipe, self.facts).seconds:.0f} s"
        with TemporaryDirectory(prefix="palate-choice-", ignore_cleanup_errors=True) as folder:
            try:
                outcome = self.children.run(
                    [Job(Fit(recipe, self.log, self.catalogue, str(Path(folder) / "model")), left)]
                )[0]
                if outcome.error:
                    return outcome.error
                if limits.latency_ms is not None and outcome.cost.list_ms > limits.latency_ms:
                    return f"a list takes {outcome.cost.list_ms:.1f} ms"
                return load(Path(folder) / "model"), outcome.cost
            except PalateError as error:
                return str(error)

    def _popularity(self, why: str) -> _Found:
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
        )
        return _Found([], report)

    def _left_out(self) -> dict[str, str]:
        ended = {each.name for each in self.bench.records if not each.outcome.error}
        return {name: why for name, why in self.bench.left_out.items() if name not in ended}

    def _pulse(self) -> None:
        """Note the time spent, and let the caller see it."""
        if monotonic() - self._beat < BEAT:
            return
        self._beat = monotonic()
        self.journal.beat()
        if self._step():
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
