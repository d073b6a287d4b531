"""What stages change in the lists of `IALS` for how much accuracy, on MovieLens latest-small.

`python -m benchmarks.accuracy.lists [--publish]`

80/20 of each user's events. The strength of each stage is the largest whose mean loss of NDCG@10, over three seeds,
is within the limit on a fifth of each user's train events; then the test is read once, with three seeds of the model.
`--publish` writes results/lists.md and draws docs/lists.png, the same sweep on the validation part.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.common.logs import RATINGS, movielens
from benchmarks.common.paths import RESULTS, ROOT
from benchmarks.common.tables import grid, parser, publish, title
from palate import IALS, Calibrate, Catalogue, Diversify, LongTail, Split, read_catalogue, split_ratio
from palate.evaluation.intervals import paired
from palate.evaluation.lists import intra_list_distance
from palate.evaluation.mixes import calibration_kl
from palate.evaluation.report import Report
from palate.evaluation.sweep import Sweep, sweep
from palate.ranking.stages import Stage

SEEDS = 3
KL, DISTANCE, COVERAGE = "calibration_kl(genres)", "intra_list_distance", "coverage"
STRENGTHS = tuple(round(0.05 * n, 2) for n in range(2, 20))
DRAWN = {"Calibrate": (0.3, 0.6, 0.8, 0.9), "Diversify": (0.2, 0.4, 0.5, 0.6), "LongTail": (0.2, 0.4, 0.6, 0.9)}


@dataclass(frozen=True)
class Goal:
    """A stage, the metric it is for, and the loss of NDCG@10 that is allowed."""

    name: str
    stage: Callable[[float], Stage]
    metric: str
    loss: float


GOALS = (
    Goal("Calibrate", lambda s: Calibrate("genres", s), KL, 0.005),
    Goal("Diversify", lambda s: Diversify(s), DISTANCE, 0.01),
    Goal("LongTail", lambda s: LongTail(s), COVERAGE, 0.01),
)


def swept(split: Split, catalogue: Catalogue, seed: int, strengths: Mapping[str, Sequence[float]]) -> Sweep:
    """Sweep the strengths of each goal on the test part of a split."""
    curves = {goal.name: {s: goal.stage(s) for s in strengths[goal.name]} for goal in GOALS}
    metrics = [calibration_kl("genres"), intra_list_distance]
    return sweep(IALS(threads=1, seed=seed), split, curves, catalogue=catalogue, metrics=metrics)


def chosen(sweeps: Sequence[Sweep], goal: Goal) -> float:
    """Return the largest strength whose mean loss is within the limit."""
    alone = np.mean([each.alone["NDCG@10"] for each in sweeps])
    staged = {s: np.mean([each.curves[goal.name][s]["NDCG@10"] for each in sweeps]) for s in STRENGTHS}
    return max((s for s, value in staged.items() if value >= (1 - goal.loss) * alone), default=STRENGTHS[0])


def row(sweeps: Sequence[Sweep], goal: Goal, strength: float) -> list[str]:
    """Figures of a goal on the test, means over the seeds; the interval is over users."""
    staged = [each.curves[goal.name][strength] for each in sweeps]
    old, new = (np.mean([each.per_user["NDCG@10"] for each in many], axis=0) for many in (_alone(sweeps), staged))
    change = paired(new, old)
    size = float(old.mean())
    before, after = (float(np.mean([each[goal.metric] for each in many])) for many in (_alone(sweeps), staged))
    return [
        f"`{goal.name}`, {goal.metric}",
        f"{strength:g}",
        f"{size:.4f} to {new.mean():.4f}",
        f"{change.mean / size:+.2%} [{change.low / size:+.2%}, {change.high / size:+.2%}]",
        f"{before:.3f} to {after:.3f}",
        f"{after / before - 1:+.0%}",
        f"{goal.loss:.1%}",
    ]


def _alone(sweeps: Sequence[Sweep]) -> list[Report]:
    return [each.alone for each in sweeps]


def main() -> None:
    """Choose on the validation part, read the test once."""
    asked = parser(__doc__)
    asked.add_argument("--publish", action="store_true", help="write results/lists.md and docs/lists.png")
    options = asked.parse_args()
    catalogue = read_catalogue(RATINGS.with_name("movies.csv.gz"))
    split = split_ratio(movielens())
    every = {goal.name: STRENGTHS for goal in GOALS}
    valid = [swept(split_ratio(split.train, seed=1 + seed), catalogue, seed, every) for seed in range(SEEDS)]
    strengths = {goal.name: chosen(valid, goal) for goal in GOALS}
    tests = [swept(split, catalogue, seed, {name: [s] for name, s in strengths.items()}) for seed in range(SEEDS)]
    head = ["stage, its metric", "strength", "NDCG@10", "change", "metric", "change", "loss allowed"]
    table = grid(head, [row(tests, goal, strengths[goal.name]) for goal in GOALS])
    about = (
        f"`IALS()`, {SEEDS} seeds, lists of 10; {split.kind}. Strengths from a fifth of train, the test read once."
    )
    text = [*title("Lists"), about, "", *table, "", "On the validation part, seed 0:", ""]
    text += [valid[0].to_markdown([KL, DISTANCE, COVERAGE]), ""]
    if options.publish:
        found = swept(split_ratio(split.train, seed=1), catalogue, 0, DRAWN)
        found.plot(ROOT / "docs" / "lists.png", [KL, DISTANCE, COVERAGE])
    publish("\n".join(text), RESULTS / "lists.md" if options.publish else options.out)


if __name__ == "__main__":
    main()
