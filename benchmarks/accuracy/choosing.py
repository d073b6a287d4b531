"""What `choose` takes in a minute and in five, beside the best recipe of docs/benchmarks.md, on each log.

`python -m benchmarks.accuracy.choosing [--dataset all] [--minutes 1 5] [--seed 0] [--peers PYTHON] [--out FILE]`

`choose` sees the train part alone, and the catalogue where there is one. Then what it took and each reference, fitted
to the same train part by the same cores, are graded once on the test, by that log's own metric. A reference counts
where its fit takes at most a third of the budget. Seconds are those of the wall, of all of `choose`. A fit is
predicted well where its CPU seconds, or memory, are within a factor of 1.5, 0.05 s or 50 MB added to both. Outcomes
are appended to results/choosing.jsonl, and found there by the next run: `--again` measures anew.

Peers tune themselves for the same minutes on the same train part, in processes of their own on as many cores.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.accuracy.choosing_logs import TASKS, Task
from benchmarks.common.outcomes import add_outcome, read_outcomes
from benchmarks.common.paths import RESULTS
from benchmarks.common.peers import has_peers
from benchmarks.common.tables import grid, parser, publish, title
from benchmarks.peers.tuned import NAMES, graded_peer
from palate import Popularity, choose, split_ratio
from palate.choosing.report import ChoiceReport
from palate.errors import PalateError
from palate.models.base import Recipe
from palate.testing.logs import block_events, log_of

OUTCOMES = RESULTS / "choosing.jsonl"
WITHIN = 1.5  # factor of a good prediction
LEAST = {"seconds": 0.05, "memory": 5e7}  # added to what was predicted and measured
THIRD = 20.0  # seconds of a minute that the fit of a reference may take
HEAD = (
    "log",
    "minutes",
    "chosen",
    "metric",
    "best reference",
    "share of it",
    "wall over budget",
    "trials",
    "seconds predicted",
    "memory predicted",
    "list, ms",
)
Outcome = dict[str, Any]
Key = tuple[str, str, float]  # what was measured, log, minutes: 0 for a reference


class Outcomes:
    """What was measured, in this run and in those before."""

    def __init__(self, path: Path, again: bool) -> None:
        self._path, self._known = path, {}
        if not again:
            self._known = {_key(each): each for each in read_outcomes(path)}

    def find(self, what: str, log: str, minutes: float = 0) -> Outcome | None:
        """Return an outcome, None for one that is to be measured."""
        return self._known.get((what, log, minutes))

    def add(self, outcome: Mapping[str, Any]) -> Outcome:
        """Keep an outcome."""
        add_outcome(self._path, outcome)
        self._known[_key(outcome)] = dict(outcome)
        print({name: value for name, value in outcome.items() if name != "fits"}, flush=True)
        return dict(outcome)


def _key(outcome: Mapping[str, Any]) -> Key:
    return outcome["what"], outcome["log"], outcome["minutes"]


def reference(name: str, recipe: Recipe, log: str, task: Task, known: Outcomes) -> Outcome:
    """Fit a reference to the train part and grade it."""
    found = known.find(name, log)
    if found is not None:
        return found
    began = time.perf_counter()
    model = recipe.fit(task.train, task.catalogue)
    seconds = time.perf_counter() - began
    value = task.grade(model)
    return known.add({"what": name, "log": log, "minutes": 0, "metric": value, "seconds": seconds})


def chosen(log: str, task: Task, minutes: float, seed: int, known: Outcomes) -> Outcome:
    """Choose within a budget, and grade what was chosen."""
    found = known.find("palate", log, minutes)
    if found is not None:
        return found
    began = time.perf_counter()
    choice = choose(
        task.train, task.catalogue, minutes=minutes, metric=task.metric, seed=seed, keep_seen=task.keep_seen
    )
    seconds = time.perf_counter() - began
    print(choice.report, flush=True)
    outcome = {
        "what": "palate",
        "log": log,
        "minutes": minutes,
        "recipe": repr(choice.recipe),
        "metric": task.grade(choice.model),
        "seconds": seconds,
        "trials": choice.report.trials,
        "list_ms": None if choice.report.measured is None else choice.report.measured.list_ms,
        "fits": fits(choice.report),
    }
    return known.add(outcome)


def fits(report: ChoiceReport) -> list[dict[str, list[float]]]:
    """Return the seconds and memory of each fit, predicted and measured, the last fit among them."""
    trials = [(r.predicted, r.outcome.cost) for r in report.records if not r.outcome.error]
    pairs = [*trials, (report.predicted, report.measured)]
    return [
        {name: [getattr(predicted, name), getattr(measured, name)] for name in LEAST}
        for predicted, measured in pairs
        if predicted is not None and measured is not None
    ]


def well_predicted(outcomes: Sequence[Outcome], what: str) -> str:
    """Cell of the share of all fits whose seconds, or memory, were within the factor."""
    values = np.array([each[what] for outcome in outcomes for each in outcome["fits"]]).reshape(-1, 2) + LEAST[what]
    if not len(values):
        return ""
    factor = np.maximum(values[:, 0] / values[:, 1], values[:, 1] / values[:, 0])
    return f"{(factor <= WITHIN).mean():.0%} of {len(values)}"


def best_reference(able: Sequence[Outcome], minutes: float) -> Outcome | None:
    """Return the best of those whose fit takes at most a third of the budget."""
    in_time = [each for each in able if each["seconds"] <= THIRD * minutes]
    return max(in_time, key=lambda each: float(each["metric"]), default=None)


def row(task: Task, outcome: Outcome, best: Outcome | None) -> list[str]:
    """Return a line of the table."""
    name = outcome["recipe"].partition("(")[0]
    over = outcome["seconds"] / (60 * outcome["minutes"]) - 1
    return [
        outcome["log"],
        f"{outcome['minutes']:g}",
        f"`{name}`",
        f"{task.metric} {outcome['metric']:.4f}",
        "" if best is None else f"`{best['what']}` {best['metric']:.4f}",
        "" if best is None else f"{outcome['metric'] / best['metric']:.1%}",
        f"{over:+.0%}",
        f"{outcome['trials']}",
        well_predicted([outcome], "seconds"),
        well_predicted([outcome], "memory"),
        "" if outcome["list_ms"] is None else f"{outcome['list_ms']:.2f}",
    ]


def peers(log: str, task: Task, minutes: float, python: Path, known: Outcomes) -> list[list[str]]:
    """Return a line for each peer that was tuned for the same time; one that cannot be is a line, too."""
    lines = []
    for name in NAMES if task.split is not None else ():
        outcome = known.find(name, log, minutes)
        if outcome is None:
            assert task.split is not None
            try:
                value, seconds, recipe = graded_peer(python, name, task.split, task.metric, 60 * minutes)
                about: Outcome = {"metric": value, "seconds": seconds, "recipe": recipe}
            except PalateError as error:
                about = {"metric": None, "seconds": None, "recipe": str(error)}
            outcome = known.add({"what": name, "log": log, "minutes": minutes, **about})
        figure = "" if outcome["metric"] is None else f"{task.metric} {outcome['metric']:.4f}"
        taken = "" if outcome["seconds"] is None else f"{outcome['seconds']:.0f}"
        lines.append([log, f"{minutes:g}", name, figure, taken, str(outcome["recipe"])[:80]])
    return lines


def main() -> None:
    """Measure, and write the tables."""
    asked = parser(__doc__)
    asked.add_argument("--dataset", nargs="*", default=["all"], choices=["all", *TASKS])
    asked.add_argument("--minutes", nargs="*", type=float, default=[1, 5])
    asked.add_argument("--seed", type=int, default=0)
    asked.add_argument("--again", action="store_true", help="measure what is known, too")
    asked.add_argument("--outcomes", type=Path, default=OUTCOMES)
    options = asked.parse_args()
    known, with_peers = Outcomes(options.outcomes, options.again), has_peers(options.peers)
    warm = log_of(block_events())
    choose(warm, minutes=0.2)  # compiles kernels
    Popularity().fit(split_ratio(warm).train)
    rows, peer_rows, outcomes = [], [], []
    for log in TASKS if "all" in options.dataset else options.dataset:
        task = TASKS[log]()
        able = [reference(name, recipe, log, task, known) for name, recipe in task.references.items()]
        for minutes in options.minutes:
            outcome = chosen(log, task, minutes, options.seed, known)
            outcomes.append(outcome)
            rows.append(row(task, outcome, best_reference(able, minutes)))
            print(rows[-1], flush=True)
            peer_rows += peers(log, task, minutes, options.peers, known) if with_peers else []
    seconds, memory = (well_predicted(outcomes, what) for what in LEAST)
    lines = [*title("Chosen recipes", ("numpy", "numba", "optuna", "lightgbm", "palate")), *grid(HEAD, rows), ""]
    lines += [f"Within a factor of {WITHIN} of what was predicted: seconds {seconds} fits, memory {memory}.", ""]
    if peer_rows:
        lines += [*grid(("log", "minutes", "peer", "metric", "seconds", "what it took"), peer_rows), ""]
    publish("\n".join(lines), options.out)


if __name__ == "__main__":
    main()
