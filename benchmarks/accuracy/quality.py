"""Accuracy of palate beside its peers, each tuned on validation with the same budget.

`python -m benchmarks.accuracy.quality --dataset movielens` or `gowalla` [--contestants NAME ...] [--trials N]
[--cpu-minutes M] [--out FILE]

Random search on a validation part cut from train; then one fit of the chosen settings on all of train, read once on
the test. Each fit runs on one thread. All are graded by palate's own `evaluate`; peers are fitted in a process
of their own and give their vectors. Outcomes are appended to results/quality.jsonl, and found there by the next run.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common.logs import gowalla, movielens
from benchmarks.common.outcomes import add_outcome, read_outcomes
from benchmarks.common.paths import RESULTS
from benchmarks.common.peers import has_peers, run_peer
from benchmarks.common.tables import grid, parser, publish, title
from palate import EASE, IALS, Blend, Embedding, ItemKNN, Popularity, Split, evaluate, split_by_time, split_ratio
from palate.arrays import Floats
from palate.data.catalogue import Catalogue
from palate.data.histories import Histories
from palate.data.interactions import Interactions
from palate.data.vocabulary import Vocabulary
from palate.errors import PalateError
from palate.models.base import Model, Recipe, Watch

TRIALS = RESULTS / "quality.jsonl"
Space = Mapping[str, list[Any] | tuple[float, float]]  # a list is a choice, a pair the ends of a logarithmic range
WEIGHTS = ["binary", "given"]
METRICS = ("NDCG@10", "Recall@20", "NDCG@20", "coverage@10")
# The best of about 40 settings tried by hand on a tenth of Gowalla's train part, seed 0.
GOWALLA_START = {"dim": 384, "negatives": 2048, "epochs": 24, "learning_rate": 0.35, "l2": 0.0125, "user_power": 0.0}
# Chosen on a tenth of train held out by chances that grow with popularity: see README.md. The second was found later.
GOWALLA_IALS = {"dim": 1024, "epochs": 8, "unseen_weight": 0.03, "l2": 0.0001, "fold_l2": 100.0}
GOWALLA_IALS_WIDE = {"dim": 2048, "epochs": 4, "unseen_weight": 0.03, "l2": 0.0001, "fold_l2": 150.0}
GOWALLA_EASE = {"l2": 50.0, "neighbours": 100}
GOWALLA_BLEND = {"recipes": [repr(IALS(threads=1, **GOWALLA_IALS)), repr(EASE(**GOWALLA_EASE))]}  # type: ignore[arg-type]
WARM_EVENTS = 200  # of the fit that compiles the kernels


@dataclass(frozen=True, kw_only=True)
class Peer(Recipe):
    """A model of another library, fitted by peers/fit.py."""

    name: str
    python: Path
    options: Mapping[str, object]

    def fit(
        self, log: Interactions, catalogue: Catalogue | None = None, *, watch: Watch | None = None
    ) -> FactorModel:
        """Fit in a process of its own."""
        found = run_peer(self.python, self.name, log, self.options)
        return FactorModel(self, log.items, log.users, found["users"], found["items"], float(found["cpu_seconds"]))  # type: ignore[arg-type]


@dataclass(frozen=True, eq=False)
class FactorModel(Model):
    """user_vectors (U, D), item_vectors (I, D): scores known users by the dot product, whatever their history."""

    recipe: Peer
    items: Vocabulary
    users: Vocabulary
    user_vectors: Floats
    item_vectors: Floats
    cpu_seconds: float

    def scores(self, histories: Histories) -> Floats:
        """Return (B, I)."""
        return self.user_vectors[self.users.codes(histories.users)] @ self.item_vectors.T


@dataclass(frozen=True)
class Contestant:
    """A recipe made of settings, the settings of the first trial, and where the others are drawn from."""

    name: str
    make: Callable[[Mapping[str, Any]], Recipe]
    first: Mapping[str, Any]
    space: Space

    def settings(self, trial: int) -> dict[str, Any]:
        """Return the settings of a trial: the first are given, the others are drawn."""
        if trial == 0:
            return dict(self.first)
        rng = np.random.default_rng(trial)
        return {name: _draw(rng, values) for name, values in self.space.items()}


def _draw(rng: np.random.Generator, values: list[Any] | tuple[float, float]) -> Any:
    if isinstance(values, list):
        return values[rng.integers(len(values))]
    low, high = np.log(values)
    return float(f"{np.exp(rng.uniform(low, high)):.3g}")


@dataclass(frozen=True)
class Contest:
    """A log with its test: `final` splits give train and test, the logs' weights all 1 or as given."""

    name: str
    metric: str
    final: Mapping[str, Split]
    tune: Callable[[Interactions], Split]

    @cached_property
    def search(self) -> dict[str, Split]:
        """Train cut once more: what is held out of it is the validation part."""
        return {weights: self.tune(split.train) for weights, split in self.final.items()}


def contests(dataset: str) -> list[Contest]:
    """Return the contests on a dataset; none where its files are absent."""
    if dataset == "movielens":
        logs = {"binary": binary(movielens()), "given": movielens()}
        return [
            Contest(
                "movielens-small, 80/20 per user",
                "NDCG@10",
                {weights: split_ratio(log) for weights, log in logs.items()},
                split_ratio,
            ),
            Contest(
                "movielens-small, global time",
                "NDCG@10",
                {weights: split_by_time(log) for weights, log in logs.items()},
                split_by_time,
            ),
        ]
    logs_of_gowalla = gowalla()
    if logs_of_gowalla is None:
        return []
    published = Split.of(*logs_of_gowalla)
    return [Contest("gowalla, as published", "Recall@20", {"binary": published}, lambda log: split_ratio(log, 0.1))]


def binary(log: Interactions) -> Interactions:
    """Return the log with weights of 1."""
    return replace(log, weight=np.ones_like(log.weight))


def embedding(loss: str, known_good: Mapping[str, Any], **space: Any) -> Contestant:
    """Embedding with one loss; its first trial is the default, changed to what is known to be good."""
    whole: Space = {"dim": [32, 64, 128, 256], "epochs": [5, 10, 20, 40], **space}
    default = Embedding(loss=loss).resolved().settings()
    return Contestant(
        f"palate {loss}",
        lambda settings: Embedding(loss=loss, threads=1, **settings),
        {**{name: default[name] for name in whole}, **known_good},
        whole,
    )


def contestants(python: Path, dataset: str) -> list[Contestant]:
    """Return all contestants; the first trial of each is its library's default, or a setting known to be good."""

    def peer(name: str) -> Callable[[Mapping[str, Any]], Recipe]:
        return lambda settings: Peer(name=name, python=python, options=settings)

    big = dataset == "gowalla"
    sampled = {
        "learning_rate": (0.1, 1.0),
        "l2": (0.0005, 0.05),
        "negatives": [10, 30, 100],
        "sampler": ["uniform", "unseen", "popularity"],
    }
    return [
        Contestant(
            "palate popularity",
            lambda settings: Popularity(**settings),
            {},
            {} if big else {"half_life_days": (3, 3000)},
        ),
        embedding(
            "softmax",
            GOWALLA_START if big else {},
            learning_rate=(0.1, 1.0),
            l2=(0.002, 0.2),
            negatives=[2048, 4096, 10_000],
            user_power=[0.0, 0.25, 0.5, 1.0],
        ),
        embedding("sampled_softmax", {}, **sampled),
        embedding("logistic", {}, **sampled),
        embedding("bpr", {}, **sampled),
        Contestant(
            "palate IALS",
            lambda settings: IALS(threads=1, **settings),
            GOWALLA_IALS if big else {},
            {
                "dim": [32, 64, 128, 256],
                "epochs": [5, 10, 20],
                "unseen_weight": (0.02, 1.0),
                "l2": (0.001, 0.1),
                "l2_scaling": [0.5, 1.0],
            },
        ),
        *(
            [
                Contestant(
                    "palate IALS, dim 2048", lambda settings: IALS(threads=1, **settings), GOWALLA_IALS_WIDE, {}
                ),
                Contestant("palate Blend of IALS and EASE", lambda settings: Blend(**settings), GOWALLA_BLEND, {}),
            ]
            if big
            else []
        ),
        Contestant(
            "palate EASE",
            lambda settings: EASE(**settings),
            GOWALLA_EASE if big else {},
            {"l2": (20.0, 2000.0), "binary": [True, False]},
        ),
        Contestant(
            "palate ItemKNN",
            lambda settings: ItemKNN(**settings),
            {},
            {
                "neighbours": [20, 50, 100, 200],
                "similarity": ["cosine", "tf-idf", "bm25", "rp3beta"],
                "shrink": (1.0, 100.0),
            },
        ),
        Contestant(
            "implicit ALS",
            peer("implicit_als"),
            {"factors": 256, "regularization": 1.0, "alpha": 40.0, "iterations": 10} if big else {},
            {
                "factors": [16, 32, 64, 128, 256],
                "regularization": (0.001, 100),
                "alpha": (0.1, 100),
                "iterations": [5, 10, 15, 30],
            },
        ),
        Contestant(
            "irspack iALS",
            peer("irspack_ials"),
            {"train_epochs": 16},
            {
                "n_components": [16, 32, 64, 128, 256],
                "alpha0": (0.003, 1.0),
                "reg": (0.0001, 0.1),
                "train_epochs": [5, 10, 16],
            },
        ),
        Contestant(
            "rusket ALS",
            peer("rusket_als"),
            {},
            {
                "factors": [16, 32, 64, 128, 256],
                "regularization": (0.001, 100),
                "alpha": (0.1, 100),
                "iterations": [5, 10, 15, 30],
            },
        ),
        Contestant(
            "lenskit ALS",
            peer("lenskit_als"),
            {},
            {
                "embedding_size": [16, 32, 64, 128, 256],
                "regularization": (0.001, 100),
                "weight": (0.1, 100),
                "epochs": [5, 10, 15, 30],
            },
        ),
        Contestant(
            "implicit BPR",
            peer("implicit_bpr"),
            {},
            {
                "factors": [16, 32, 64, 128, 256],
                "learning_rate": (0.003, 0.3),
                "regularization": (0.0003, 0.1),
                "iterations": [30, 100, 200, 400],
            },
        ),
        Contestant(
            "lightfm-next WARP",
            peer("lightfm_warp"),
            {"epochs": 10},
            {
                "no_components": [16, 32, 64, 128],
                "learning_rate": (0.005, 0.2),
                "item_alpha": (1e-8, 1e-4),
                "user_alpha": (1e-8, 1e-4),
                "max_sampled": [10, 30, 100],
                "epochs": [10, 20, 50],
            },
        ),
    ]


@dataclass(frozen=True)
class Outcome:
    """One fit and what it gave: `low` and `high` bound the metrics on the test, by name."""

    contest: str
    part: str
    contestant: str
    weights: str
    settings: Mapping[str, Any]
    cpu_seconds: float
    metrics: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]

    @property
    def key(self) -> str:
        """What was asked, as text."""
        return json.dumps([self.contest, self.part, self.contestant, self.weights, self.settings], sort_keys=True)


def known() -> dict[str, Outcome]:
    """Outcomes of earlier runs by their keys."""
    outcomes = [Outcome(**outcome) for outcome in read_outcomes(TRIALS)]
    return {outcome.key: outcome for outcome in outcomes}


def outcome_of(
    contest: Contest, part: str, contestant: Contestant, weights: str, settings: Mapping[str, Any]
) -> Outcome:
    """Fit on one thread and grade; or find the outcome of an earlier run."""
    asked = Outcome(contest.name, part, contestant.name, weights, settings, 0.0, {}, {})
    earlier = known().get(asked.key)
    if earlier is not None:
        return earlier
    split = (contest.final if part == "test" else contest.search)[weights]
    outcome = graded(asked, contestant.make(settings), split)
    add_outcome(TRIALS, asdict(outcome))
    return outcome


def graded(asked: Outcome, recipe: Recipe, split: Split) -> Outcome:
    """Fit and grade; settings that break the training get 0."""
    if not isinstance(recipe, Peer):  # the peers were compiled when they were built
        recipe.fit(split.train.select(np.arange(len(split.train)) < WARM_EVENTS))
    began = cpu_seconds()
    try:
        model = recipe.fit(split.train)
    except PalateError as error:
        print(f"    {error}")
        return replace(asked, cpu_seconds=cpu_seconds() - began, metrics=dict.fromkeys(METRICS, 0.0))
    seconds = model.cpu_seconds if isinstance(model, FactorModel) else cpu_seconds() - began
    report = evaluate(model, split)
    return replace(
        asked,
        cpu_seconds=seconds,
        metrics={name: report[name] for name in METRICS},
        intervals={name: report.interval(name) for name in METRICS[:3]},
    )


def cpu_seconds() -> float:
    """CPU seconds of this process and of its children so far."""
    return sum(os.times()[:4])


def search(contest: Contest, contestant: Contestant, trials: int, budget: float) -> list[Outcome]:
    """Outcomes on the validation part, until the trials or the budget of CPU seconds are spent."""
    outcomes: list[Outcome] = []
    for trial in range(trials if contestant.space else 1):
        if sum(outcome.cpu_seconds for outcome in outcomes) > budget:
            break
        choices = [weights for weights in WEIGHTS if weights in contest.search]
        weights = choices[trial % len(choices)]
        outcomes.append(outcome_of(contest, "valid", contestant, weights, contestant.settings(trial)))
        last = outcomes[-1]
        print(f"{trial:3} {last.metrics[contest.metric]:.4f} {last.cpu_seconds:6.1f} s {weights} {last.settings}")
    return outcomes


def row(contest: Contest, outcomes: list[Outcome], contestant: Contestant) -> list[str]:
    """Fit the best settings on all of train, read the test, and return a line of the table."""
    best = max(outcomes, key=lambda outcome: outcome.metrics[contest.metric])
    test = outcome_of(contest, "test", contestant, best.weights, best.settings)
    cells = [f"{test.metrics[name]:.4f} [{low:.4f}, {high:.4f}]" for name, (low, high) in test.intervals.items()]
    chosen = ", ".join(f"{name} {value}" for name, value in best.settings.items()) or "defaults"
    spent = sum(outcome.cpu_seconds for outcome in outcomes)
    return [
        contestant.name,
        *cells,
        f"{best.metrics[contest.metric]:.4f}",
        f"{test.cpu_seconds:.1f}",
        f"{len(outcomes)} / {spent / 60:.1f}",
        f"{chosen}; weights {best.weights}",
    ]


def main() -> None:
    """Run the benchmark."""
    asked = parser(__doc__)
    asked.add_argument("--dataset", choices=["movielens", "gowalla"], required=True)
    asked.add_argument("--contest", default="", help="part of its name, such as 80/20; all if not given")
    asked.add_argument("--contestants", nargs="+", help="parts of their names; all by default")
    asked.add_argument("--trials", type=int, default=30)
    asked.add_argument("--cpu-minutes", type=float, default=10.0, help="of all trials of a contestant together")
    options = asked.parse_args()
    chosen = contestants(options.peers, options.dataset)
    if not has_peers(options.peers):
        chosen = [each for each in chosen if each.name.startswith("palate")]
    if options.contestants:
        chosen = [each for each in chosen if any(part in each.name for part in options.contestants)]
    text = title(f"Quality on {options.dataset}", ("numpy", "numba", "palate"))
    for contest in (each for each in contests(options.dataset) if options.contest in each.name):
        rows = []
        for contestant in chosen:
            print(f"{contest.name}: {contestant.name}")
            outcomes = search(contest, contestant, options.trials, 60 * options.cpu_minutes)
            rows.append(row(contest, outcomes, contestant))
        head = [
            "",
            "NDCG@10",
            "Recall@20",
            "NDCG@20",
            f"validation {contest.metric}",
            "fit, CPU s",
            "trials / CPU min",
            "chosen",
        ]
        split, validation = (next(iter(splits.values())) for splits in (contest.final, contest.search))
        text += [
            f"## {contest.name}",
            "",
            f"Train {split.train!r}, test {split.test!r}; {split.kind}.",
            f"Settings chosen on {validation.test!r}, cut from train: {validation.kind}.",
            "",
            *grid(head, rows),
            "",
        ]
    publish("\n".join(text), options.out)


if __name__ == "__main__":
    main()
