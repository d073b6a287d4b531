"""Choose: the facts of a log, a search within a budget, and a model of the whole log."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path

from palate.choosing.bench import Limits
from palate.choosing.report import ChoiceReport
from palate.choosing.session import Asked, Session, StepWatch
from palate.choosing.spaces import Family, named
from palate.compute.memory import available_memory
from palate.data.catalogue import Catalogue, as_catalogue
from palate.data.interactions import Interactions
from palate.data.readers import as_log
from palate.errors import SettingError, check, real, require, whole
from palate.evaluation.metrics import METRICS
from palate.models.base import Model, Recipe
from palate.models.registry import as_recipe

MINUTES = 5.0
METRIC = "NDCG@10"
USED = 0.8  # share of the free memory that a search takes without a limit
UNITS = {"": 1, "k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12}


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
    live: bool = False,
    keep_seen: bool = False,
) -> Choice:
    """Choose a recipe for a log by trials on a validation part cut from it, and fit it to the whole log.

    goal        "next", "taste", "new-items" or "new-users"; None finds it in the log
    minutes     of all of it, the last fit among them
    memory      bytes that a process may hold, as a number or a text as "4GB"; None: most of what is free
    latency_ms  milliseconds that a list may take
    metric      of `palate.evaluation.metrics`, with a k
    candidates  recipes, as such or as text, which are tried as they are, or names of recipes whose settings are
                sought; None: all, and blends of the best
    watch       called as the search goes on; True ends it with what it has found, as Ctrl-C does
    trials      a number of trials in place of minutes
    journal     a file that keeps the trials; a search that was killed goes on where it was
    start       a choice that was made before: what it took is tried first
    live        whether events must count at once, as in a service: recipes whose lists wait for a fit are left out
    keep_seen   whether lists show items of the history again, and such items count as answers

    Trials run in up to two child processes of one thread each. Raises `SettingError` for a setting out of range, and
    `DataError` for a log without an event of weight above 0, or a file that is no journal, `MissingExtra` for a
    candidate whose packages are not installed.
    """
    asked = _asked(goal, minutes, memory, latency_ms, metric, candidates, seed, trials, live, keep_seen)
    with Session(as_log(log), as_catalogue(catalogue), asked, journal, watch) as session:
        return Choice(*session.fitted(session.search([] if start is None else [start.recipe])))


def chosen_recipe(
    log: Interactions,
    catalogue: Catalogue | None = None,
    *,
    goal: str | None = None,
    minutes: float = MINUTES,
    memory: float | str | None = None,
    latency_ms: float | None = None,
    metric: str = METRIC,
    seed: int = 0,
    watch: StepWatch | None = None,
    journal: str | PathLike[str] | None = None,
    live: bool = False,
    keep_seen: bool = False,
) -> tuple[Recipe, ChoiceReport]:
    """Choose as `choose` does, and leave the fit to the whole log, within the same time, to the caller."""
    asked = _asked(goal, minutes, memory, latency_ms, metric, None, seed, None, live, keep_seen)
    with Session(log, catalogue, asked, journal, watch) as session:
        found = session.search([])
        return found.report.recipe, found.report


def refined_recipe(
    log: Interactions,
    catalogue: Catalogue | None,
    start: Recipe,
    *,
    seconds: float,
    journal: str | PathLike[str] | None = None,
    goal: str | None = None,
    memory: float | str | None = None,
    latency_ms: float | None = None,
    metric: str = METRIC,
    seed: int = 0,
    watch: StepWatch | None = None,
    live: bool = False,
) -> ChoiceReport | None:
    """Search for `seconds` around a recipe in use, which stays where no other is clearly better.

    journal  keeps the trials; those of other logs, of searches before, say which settings are likely to be good

    Returns None where the seconds have no room for trials, or the recipe in use cannot be measured.
    """
    if not seconds > 0:
        return None
    asked = _asked(goal, seconds / 60, memory, latency_ms, metric, None, seed, None, live)
    beside = replace(asked, limits=replace(asked.limits, last_fit=False))
    with Session(log, catalogue, beside, journal, watch) as session:
        return session.refine(start)


def _asked(
    goal: str | None,
    minutes: float,
    memory: float | str | None,
    latency_ms: float | None,
    metric: str,
    candidates: Sequence[Recipe | str] | None,
    seed: int,
    trials: int | None,
    live: bool,
    keep_seen: bool = False,
) -> Asked:
    """Check the arguments of `choose`."""
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
    limits = Limits(seconds, _bytes(memory), latency_ms, most, live=live)
    given = None if candidates is None else tuple(map(_candidate, candidates))
    check(given != (), "candidates", candidates, "must name one at least")
    return Asked(goal, limits, metric, given, whole("seed", seed, 0), keep_seen)


def _candidate(value: Recipe | str) -> Recipe | Family:
    family = named(value) if isinstance(value, str) else None
    candidate = as_recipe(value, "candidates") if family is None else family
    require(candidate.needs())
    return candidate


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
