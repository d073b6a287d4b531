"""Choosing: the log, the time and the latency go in; the recipe, its model and the reasons come out."""

from __future__ import annotations

import json
import math
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import polars as pl
import pytest
from conftest import Run, catalogue_of
from processes import ForkedWorker

from palate import (
    EASE,
    IALS,
    SLIST,
    Blend,
    Catalogue,
    Content,
    InfiniteAE,
    Interactions,
    ItemKNN,
    Popularity,
    Ranked,
    SessionKNN,
    choose,
    load,
    read_catalogue,
)
from palate.arrays import Doubles
from palate.choosing import samplers, trials
from palate.choosing.bench import CUT, Bench, Limits, parts_of
from palate.choosing.choice import Choice
from palate.choosing.combinations import combinations_of, groups_of
from palate.choosing.costs import Cost, Costs, burden, calibrated, formula
from palate.choosing.facts import LogFacts, of_users
from palate.choosing.goals import ASKED, Goal
from palate.choosing.journal import Journal, task_of
from palate.choosing.refine import Refinement, places
from palate.choosing.search import Search
from palate.choosing.session import Session, Step
from palate.choosing.spaces import FAMILIES, Between, label, named, not_installed, table
from palate.choosing.trials import Children, Job
from palate.choosing.verdict import Record, decide
from palate.choosing.worker import Allowed, Grade, Outcome, Prepare, follows
from palate.data.vocabulary import Vocabulary
from palate.errors import DataError, MissingExtra, SettingError
from palate.live.searching import Searching
from palate.live.training import Training
from palate.models.base import Recipe
from palate.models.registry import as_recipe
from palate.ranking.staged import Pipeline
from palate.serve.settings import Settings
from palate.store.events import Store
from palate.store.transfer import import_log
from palate.store.versions import Versions

ROOT = Path(__file__).parents[1]
QUICK = ("Popularity()", "ItemKNN()", "EASE(l2=20.0)")


@pytest.fixture(autouse=True)
def closed_journals(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Close the journals that a test has opened: Python 3.13 warns of databases that are left open."""
    opened: list[Journal] = []
    begin = Journal.__init__

    def opening(journal: Journal, *given: Any) -> None:
        begin(journal, *given)
        opened.append(journal)

    monkeypatch.setattr(Journal, "__init__", opening)
    yield
    for each in opened:
        each._database.close()


def log_of_rows(rows: Sequence[Sequence[int]], times: Sequence[Sequence[int]] | None = None) -> Interactions:
    """A log of the users' items, in the order of their rows."""
    user = np.repeat(np.arange(len(rows), dtype=np.int32), [len(row) for row in rows])
    ids, item = np.unique(np.concatenate([np.asarray(row, np.int64) for row in rows]), return_inverse=True)
    stamp = None if times is None else np.concatenate([np.asarray(row, np.int64) for row in times])
    users, items = Vocabulary.of(range(len(rows))), Vocabulary.of(ids.tolist())
    return Interactions.of(users, items, user, item.astype(np.int32), timestamp=stamp)


def tastes(users: int = 120, items: int = 40, each: int = 8, seed: int = 0) -> Interactions:
    """Users of four tastes and items of four kinds; histories in no order."""
    draw = np.random.default_rng(seed)
    chances = np.where(np.arange(items) % 4 == np.arange(users)[:, None] % 4, 9.0, 1.0)
    keys = draw.random((users, items)) ** (1 / chances)
    return log_of_rows(draw.permuted(np.argsort(-keys, axis=1)[:, :each], axis=1).tolist())


def chains(users: int = 400, items: int = 50, each: int = 6, seed: int = 0) -> Interactions:
    """Histories in which an item mostly leads to the one three ids on."""
    draw = np.random.default_rng(seed)
    steps = np.where(draw.random((users, each)) < 0.8, 3, draw.integers(1, items, (users, each)))
    return log_of_rows(((draw.integers(items, size=(users, 1)) + np.cumsum(steps, axis=1)) % items).tolist())


@pytest.fixture(scope="module", autouse=True)
def forked_workers() -> Iterator[None]:
    """Fork the processes of trials; those of the scripts below are started as ever."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trials, "start_worker", ForkedWorker)
        yield


@pytest.fixture(scope="module")
def choice() -> Choice:
    return choose(tastes(), trials=5, candidates=["Popularity", "ItemKNN", "EASE"])


# Facts and goals


def test_facts_are_those_of_the_log() -> None:
    log = log_of_rows([[1, 2, 1], [2, 3], [2]], [[0, 1, 2], [3, 4], [100]])
    facts = LogFacts.of(log)
    assert (facts.users, facts.items, facts.events, facts.per_user, facts.squares) == (3, 3, 6, 2, 9 + 4 + 1)
    assert facts.density == pytest.approx(6 / 9)
    assert facts.repeats == pytest.approx(1 / 6)
    assert facts.time is not None
    assert (facts.time.new_users, facts.time.length, facts.time.new_items) == (1, 1, 0)
    assert not facts.ratings
    assert LogFacts.of(tastes()).time is None
    json.dumps(facts.to_dict())
    assert "6 events of 3 users on 3 items" in " ".join(facts.describe())


def test_order_predicts_where_an_item_leads_to_the_next() -> None:
    assert LogFacts.of(chains()).order > 0.5
    assert LogFacts.of(tastes(400)).order == 0


def test_histories_sorted_by_item_have_no_order() -> None:
    log = log_of_rows([sorted({n % 40, n % 40 + 1, n % 40 + 2, n % 7}) for n in range(400)])
    assert LogFacts.of(log).order == 0


@pytest.mark.parametrize(
    ("log", "goal"),
    [
        (chains(), "next"),
        (tastes(), "taste"),
        (log_of_rows([[1, 2]] * 99, [[9 * n, 9 * n + 1] for n in range(99)]), "new-users"),
    ],
)
def test_the_goal_is_found_in_the_log(log: Interactions, goal: str) -> None:
    found = Goal.of(None, LogFacts.of(log))
    assert found.name == goal
    assert found.why


def test_ratings_are_a_matter_of_taste() -> None:
    log = chains()
    stars = replace(log, weight=(1 + log.item % 5).astype(np.float32))
    assert Goal.of(None, LogFacts.of(stars)).name == "taste"


def test_items_without_events_are_the_goal_where_they_are_most() -> None:
    facts = replace(LogFacts.of(chains()), without=51, content=("title",))
    assert Goal.of(None, facts).name == "new-items"
    assert Goal.of(None, replace(facts, content=())).name == "next"
    assert Goal.of("taste", facts) == Goal("taste", "as asked")
    with pytest.raises(SettingError, match=r"goal='all': .*next, taste"):
        Goal.of("all", facts)


@pytest.mark.parametrize("goal", ["next", "taste", "new-users", "new-items"])
def test_a_cut_has_no_leak_and_a_bounded_number_of_users(goal: str) -> None:
    split = Goal(goal, "").cut(tastes(ASKED + 2000, 30, 5), 0)
    split.check()
    assert 0 < len(split.test.users) <= ASKED


def test_a_sample_has_whole_users() -> None:
    log = tastes()
    part = of_users(log, 200)
    assert abs(len(part) - 200) <= 8
    assert set(np.diff(part.start)) == {8}
    assert of_users(log, len(log)) is log


# Costs


def test_every_recipe_of_a_family_has_a_cost_that_grows_with_the_log() -> None:
    small, large = (
        replace(LogFacts.of(tastes()), users=n, items=n, events=20 * n, squares=400 * n) for n in (500, 4000)
    )
    for family in FAMILIES:
        for recipe in family.starts(replace(small, content=("title",))):
            before, after = (formula(recipe, replace(facts, content=("title",))) for facts in (small, large))
            assert before.seconds < after.seconds
            assert before.memory <= after.memory


def test_all_weights_of_many_items_take_their_memory() -> None:
    facts = replace(LogFacts.of(tastes()), items=41_000, users=30_000)
    assert formula(EASE(), facts).memory == pytest.approx(8 * 41_000**2)
    assert formula(EASE(neighbours=100), facts).memory < 1e9


def test_a_trial_scales_the_costs_of_its_recipe_alone() -> None:
    facts = replace(LogFacts.of(tastes()), users=10_000, items=5_000, events=10**6)
    costs = Costs(1.0)
    before, other = costs.predict(IALS(), facts), costs.predict(ItemKNN(), facts)
    costs.learn(IALS(), facts, Cost(2 * before.seconds, before.memory, before.list_ms))
    assert costs.predict(IALS(dim=128), facts).seconds == pytest.approx(
        2 * formula(IALS(dim=128), facts).seconds, rel=0.1
    )
    assert costs.predict(ItemKNN(), facts) == other
    for recipe in (EASE(), InfiniteAE(), Content()):  # several fits took twice as long
        costs.learn(recipe, facts, costs.predict(recipe, facts)._replace(seconds=2 * formula(recipe, facts).seconds))
    assert costs.predict(ItemKNN(), facts).seconds == pytest.approx(2 * other.seconds, rel=0.1)
    assert Costs(3.0).predict(ItemKNN(), facts).seconds == pytest.approx(3 * other.seconds)


def test_a_trial_of_a_part_counts_for_its_combinations() -> None:
    facts, blend = replace(LogFacts.of(tastes()), users=10_000, items=5_000, events=10**6), Blend(recipes=("IALS()",))
    costs = Costs(1.0)
    before, part = costs.predict(blend, facts).seconds, costs.predict(IALS(), facts)
    costs.learn(IALS(), facts, part._replace(seconds=3 * part.seconds))
    assert costs.predict(blend, facts).seconds == pytest.approx(before + 4 * part.seconds, rel=0.1)


def test_other_work_on_the_machine_does_not_change_what_a_fit_costs_but_how_long_it_takes() -> None:
    costs, facts = Costs(1.0), LARGE
    part: Any = SimpleNamespace(facts=facts, asked=100, cutting=0.5)
    bench: Any = SimpleNamespace(costs=costs, beside=1.0)
    before, seconds = costs.predict(IALS(), facts), Bench.trial(bench, IALS(), part)
    costs.learn(IALS(), facts, before, load=4.0)
    assert costs.predict(IALS(), facts) == pytest.approx(before, rel=0.01)
    assert Bench.trial(bench, IALS(), part) == pytest.approx(4 * seconds, rel=0.01)


def test_the_calibration_is_short() -> None:
    began = time.process_time()
    costs = calibrated()
    assert 0.2 <= costs.speed <= 5
    assert 1 <= costs.load <= 20
    assert time.process_time() - began < 5


# Spaces


def test_each_family_builds_recipes_anywhere_in_its_ranges() -> None:
    facts = replace(LogFacts.of(tastes()), content=("title",))
    for family in FAMILIES:
        base = family.starts(facts)[0]
        for pick in (0, -1):
            values = {
                n: (s.low, s.high)[pick] if isinstance(s, Between) else s.values[pick]
                for n, s in family.ranges.items()
            }
            assert type(replace(base, **_whole(base, values))) is type(base)


def _whole(recipe: Any, values: dict[str, Any]) -> dict[str, Any]:
    return {name: round(v) if isinstance(getattr(recipe, name), int) else v for name, v in values.items()}


def test_the_table_of_the_docs_is_current() -> None:
    assert table() in (ROOT / "docs/choosing.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("sampler", ["TPE", "FixedDraws"])
def test_samplers_draw_within_the_ranges_and_the_same_each_time(sampler: str) -> None:
    family = named("SLIST")
    assert family is not None
    drawn = []
    for one in [samplers.TPE(family, 3) if sampler == "TPE" else samplers.FixedDraws(family) for _ in range(2)]:
        settings = []
        for n in range(8):
            settings.append(one.ask())
            one.note(settings[-1], -math.inf if n == 2 else float(n))
        drawn.append(settings)
    assert drawn[0] == drawn[1]
    for each in drawn[0]:
        assert 15 <= each["l2"] <= 400
        assert each["walk"] in (0.0, 1.0, 4.0, 16.0)


# Trials


@pytest.fixture(scope="module")
def prepared() -> Prepare:
    return Prepare(Goal("taste", "").cut(tastes(), 0), None)


class Stuck(Recipe):
    """Stands in the tests' own module, which a child imports."""

    def fit(self, *_: Any, **__: Any) -> Any:
        time.sleep(600)


def jobs(*recipes: Recipe, seconds: float = 60) -> list[Job]:
    return [Job(Grade(each, "NDCG@10"), seconds) for each in recipes]


def test_outcomes_are_in_the_order_of_the_jobs_and_a_failure_is_one_of_them(prepared: Prepare) -> None:
    children = Children(math.inf, lambda: None)
    try:
        found = children.run(jobs(Popularity(), Content(), ItemKNN()), prepared)
    finally:
        children.end()
    assert [bool(each.error) for each in found] == [False, True, False]
    assert "no catalogue" in found[1].error
    assert found[2].mean > found[0].mean > 0
    assert found[0].values.shape == (len(prepared.split.test.users),)
    assert found[1].mean == -math.inf
    assert all(each.cost.seconds > 0 and each.cost.list_ms > 0 for each in (found[0], found[2]))


def test_a_trial_ends_at_its_time_and_at_its_memory(prepared: Prepare) -> None:
    children = Children(math.inf, lambda: None)
    late = children.run(jobs(IALS(dim=64, epochs=1_000_000), seconds=0.5), prepared)
    again = children.run(jobs(Popularity()), prepared)
    children.end()
    assert late[0].error == "it took more than its 0.5 s"
    assert not again[0].error
    tight = Children(1e6, lambda: None)
    assert tight.run(jobs(Popularity()), prepared)[0].error == "it took more than 0.0 GB of memory"
    tight.end()


def test_no_child_outlives_its_parent(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True, env=with_tests()) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.kill()
    end = time.monotonic() + 30
    while alive(child) and time.monotonic() < end:
        time.sleep(0.02)
    assert not alive(child)


PARENT = """
import math
from palate import IALS
from palate.choosing.goals import Goal
from palate.choosing.trials import Children, Job
from palate.choosing.worker import Grade, Prepare
from test_choosing import tastes

children = Children(math.inf, lambda: print(children._children[0]._process.pid, flush=True))
prepare = Prepare(Goal("taste", "").cut(tastes(), 0), None)
children.run([Job(Grade(IALS(dim=64, epochs=1_000_000), "NDCG@10"))], prepare)
"""


def with_tests() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}


def alive(process: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


# The journal


def test_the_journal_keeps_outcomes_and_time_of_its_task(tmp_path: Path) -> None:
    outcome = Outcome(np.array([0.25, 1.0]), Cost(1.5, 2e6, 0.3))
    first = Journal(tmp_path / "j.db", "a", time.monotonic() - 5)
    first.add("0", IALS(), outcome)
    first.add("1", EASE(), Outcome.failed("no memory", 2.0))
    first.close()
    second = Journal(tmp_path / "j.db", "a", time.monotonic())
    assert 5 <= second.spent < 60
    found, failed = second.find("0", IALS(), Allowed()), second.find("1", EASE(), Allowed())
    assert found is not None
    assert failed is not None
    assert found.values.tolist() == [0.25, 1.0]
    assert (found.cost, failed.error) == (outcome.cost, "no memory")
    assert second.find("1", IALS(), Allowed()) is None
    assert second.find("0", IALS(dim=8), Allowed()) is None
    other = Journal(tmp_path / "j.db", "b", time.monotonic())
    assert other.find("0", IALS(), Allowed()) is None
    assert other.spent < 1


@pytest.mark.parametrize("limit", [Allowed(seconds=4.0), Allowed(memory=4.0)])
def test_a_trial_that_was_ended_at_a_limit_is_tried_again_with_clearly_more(tmp_path: Path, limit: Allowed) -> None:
    journal = Journal(tmp_path / "j.db", "a", time.monotonic())
    journal.add("0", IALS(), Outcome.failed("it took more than that", 4.0, limit))
    journal.add("0", EASE(), Outcome.failed("no such column", 4.0))
    assert journal.find("0", IALS(), Allowed(4.0, 4.0)) is not None
    assert journal.find("0", IALS(), Allowed(5.0, 5.0)) is not None  # an end like the first one is likely
    assert journal.find("0", IALS(), Allowed(3.0 if limit.memory == 4.0 else 8.0, 8.0)) is None
    assert journal.find("0", EASE(), Allowed()) is not None  # it finished: no time would help
    journal.close()


def test_a_search_with_more_time_tries_what_was_ended_at_its_time(tmp_path: Path) -> None:
    class Waiting(SimulatedChildren):
        ran: list[str] = []  # noqa: RUF012

        def run(self, jobs: Sequence[Job], prepare: Any) -> list[Outcome]:
            self.ran += [type(job.request.recipe).__name__ for job in jobs]
            late = [Outcome.failed("late", job.seconds, Allowed(seconds=job.seconds)) for job in jobs]
            return [Outcome(np.ones(3), Cost(9, 1, 1)) if job.seconds > 50 else late[n] for n, job in enumerate(jobs)]

    part: Any = SimpleNamespace(number=0, key="0", facts=LARGE, asked=3, prepare=None, cutting=0)
    for seconds, errors, ran in ((30.0, ["late"], ["EASE"]), (31.0, ["late"], []), (300.0, [""], ["EASE"])):
        Waiting.ran = []
        journal = Journal(tmp_path / "j.db", "a", time.monotonic())
        children: Any = Waiting(Clock(), 1.0)
        bench = Bench(LARGE, "NDCG@10", Limits(seconds, 1e9), Costs(1.0), journal, children, lambda _: False)
        assert [each.outcome.error for each in bench.grade([EASE()], part)] == errors
        assert Waiting.ran == ran
        journal.close()


def test_what_kernels_take_to_compile_is_no_time_of_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    class Compiling(SimulatedChildren):
        def run(self, jobs: Sequence[Job], prepare: Any) -> list[Outcome]:
            self.clock.now += 7.0  # both wait for the same five seconds, and fit for two
            return [Outcome(np.ones(3), Cost(2, 1, 1), compiling=5.0 - n) for n, _ in enumerate(jobs)]

    clock = Clock()
    monkeypatch.setattr("palate.choosing.journal.time", clock)
    part: Any = SimpleNamespace(number=0, key="0", facts=LARGE, asked=3, prepare=None, cutting=0)
    children: Any = Compiling(clock, 1.0)
    journal = Journal(None, "", 0.0)
    bench = Bench(LARGE, "NDCG@10", Limits(60, 1e9), Costs(1.0), journal, children, lambda _: False)
    bench.grade([EASE(), IALS()], part)
    assert (bench.spent, bench.left, bench.compiling) == (2.0, 58.0, 5.0)


def test_a_file_that_is_no_journal_is_named(tmp_path: Path) -> None:
    (tmp_path / "j.db").write_text("no database, but some text that is long enough")
    with pytest.raises(DataError, match=r"j\.db: cannot be used as a journal"):
        choose(tastes(), trials=1, journal=tmp_path / "j.db")


def test_another_log_is_another_task() -> None:
    log, catalogue = tastes(), catalogue_of(tastes())
    assert task_of(log, None, "a") == task_of(tastes(), None, "a")
    others = [(log, None, "b"), (tastes(seed=1), None, "a"), (log, catalogue, "a")]
    assert len({task_of(log, None, "a"), *(task_of(*each) for each in others)}) == 4


def test_a_part_is_not_cut_before_a_trial_needs_it() -> None:
    log = tastes(400)
    goal, facts = Goal("taste", ""), LogFacts.of(log)
    first, last = parts_of(log, None, goal, 1_000, 0, facts)
    assert (last.facts.users, last.facts.events, last.facts.squares) == (400, len(log), facts.squares)
    assert last.asked == 400
    assert last.cutting == pytest.approx(CUT * len(log))
    assert "prepare" not in vars(last)
    assert first.cutting == 0  # whether anything can be held out is asked of the smallest part
    assert first.facts.events == len(first.prepare.split.train) < len(first.log) < len(log)


# Verdicts


def records(**values: Doubles) -> list[Record]:
    named_recipes: dict[str, Recipe] = {"popularity": Popularity(), "knn": ItemKNN(), "ials": IALS(dim=256)}
    made = [Record(named_recipes[n], 0, Outcome(v, Cost(1, 1, 1))) for n, v in values.items()]
    return sorted(made, key=lambda record: -record.outcome.mean)


def test_the_cheaper_of_two_that_cannot_be_separated_is_taken() -> None:
    facts, draw = LARGE, np.random.default_rng(0)
    low, high = draw.random(500) * 0.2, 0.5 + draw.random(500) * 0.2
    noise = draw.normal(0, 0.5, 500)
    for ahead in (0.001, 0.02):  # however far ahead: its interval alone says whether it is better
        near = decide(records(popularity=low, knn=high, ials=high + noise - noise.mean() + ahead), facts)
        assert (near.best.name, near.taken.name) == ("IALS", "ItemKNN")
        assert "which is not clear; ItemKNN costs less" in near.why
    clear = decide(records(popularity=low, knn=high, ials=high + 0.003), facts)
    assert clear.taken.name == "IALS"
    same = decide(records(popularity=low, knn=high, ials=high + noise - noise.mean() + 0.02), LogFacts.of(tastes()))
    assert same.taken.name == "IALS"  # on a small log both cost the same


def test_combinations_begin_with_the_best_of_two_kinds() -> None:
    recipes = [SLIST(), SessionKNN(), EASE(), ItemKNN(), IALS()]  # the last alone has vectors
    best = [Record(each, 0, Outcome(np.full(9, 0.5 - n / 10), Cost(1, 1, 1))) for n, each in enumerate(recipes)]
    groups = groups_of(best)
    assert groups[:3] == [(SLIST(), IALS()), (SLIST(), IALS(), SessionKNN()), (SessionKNN(), IALS())]
    assert len(groups) == len(set(groups)) == 11
    assert [len(each) for each in groups_of(best[:2])] == [2]
    assert groups_of(best[:1]) == []


def test_a_much_cheaper_recipe_near_the_best_of_its_family_is_combined() -> None:
    trials = [
        (EASE(), 0.6, 2),
        (EASE(l2=9), 0.59, 1.9),
        (IALS(dim=512), 0.5, 9),
        (IALS(dim=128), 0.49, 3),
        (IALS(dim=64), 0.3, 1),
    ]
    ranked = [Record(each, 0, Outcome(np.full(9, mean), Cost(cost, 1, 1))) for each, mean, cost in trials]
    stages, blends = combinations_of(ranked, "new-users", keep_seen=True)
    assert blends == [Blend(recipes=(EASE(), IALS(dim=128)))]
    assert stages[0] == Ranked(recipes=(EASE(), IALS(dim=128)), held_out="users", keep_seen=True)
    assert combinations_of(ranked, "new-items", keep_seen=False) == [[], []]


def test_settings_of_one_recipe_do_not_compete_by_their_cost() -> None:
    values, noise = np.full(500, 0.5), np.tile([-0.1, 0.1], 250)
    trials = [Record(IALS(dim=dim), 0, Outcome(values + n, Cost(1, 1, 1))) for dim, n in ((256, 0.001), (64, noise))]
    assert decide(trials, LARGE).taken.recipe == IALS(dim=256)


def test_a_slow_list_is_a_cost() -> None:
    facts = replace(LogFacts.of(tastes()), users=610, items=9_000, events=80_000)
    fit = (formula(InfiniteAE(), facts).seconds, formula(IALS(dim=128), facts).seconds)
    assert fit[0] < fit[1]
    assert burden(InfiniteAE(), facts) > burden(IALS(dim=128), facts)


def test_popularity_is_taken_where_nothing_is_clearly_better() -> None:
    draw = np.random.default_rng(0)
    low = draw.random(40)
    noise = draw.normal(0, 0.2, 40)
    found = decide(records(popularity=low, ials=low + noise - noise.mean() + 0.01), LogFacts.of(tastes()))
    assert found.taken.name == "Popularity"
    assert "no model is better than popularity on this log" in found.why


def test_trials_of_two_cuts_are_decided_on_together() -> None:
    first, second = records(knn=np.array([0.0, 1.0]))[0], records(knn=np.array([1.0]))[0]
    both = first.joined(second)
    assert both.outcome.values.tolist() == [0.0, 1.0, 1.0]
    assert (both.recipe, both.part, both.outcome.cost) == (first.recipe, first.part, first.outcome.cost)


# The whole


def test_what_is_chosen_is_fitted_to_the_whole_log_and_saved(choice: Choice, tmp_path: Path) -> None:
    log = tastes()
    assert isinstance(choice.recipe, ItemKNN | EASE)
    assert choice.model.recipe == choice.recipe
    assert len(choice.model.items) == len(log.items)
    choice.save(tmp_path / "model")
    kept = load(tmp_path / "model")
    assert (
        kept.recommend(log.histories([3])).item.tolist() == choice.model.recommend(log.histories([3])).item.tolist()
    )
    about = json.loads((tmp_path / "model" / "choice.json").read_text())
    assert about["recipe"] == choice.recipe.as_dict()
    assert "Chosen: " in (tmp_path / "model" / "choice.md").read_text()
    choice.save(tmp_path / "model")  # in place of the first


def test_the_report_says_what_and_why(choice: Choice, tmp_path: Path) -> None:
    report = choice.report
    names = [each.name for each in report.lines]
    assert sorted(names) == ["EASE", "ItemKNN", "Popularity"]
    assert len(report.records) == 5
    best = max(report.records, key=lambda record: record.outcome.mean)
    assert report.lines[0] is best
    assert best in report.front
    text = " ".join(str(report).split())
    assert f"Chosen: {type(choice.recipe).__name__}(" in text
    assert "Goal: taste" in text
    assert "Against popularity, NDCG@10 +" in " ".join(text.split())
    about = report.to_dict()
    assert json.loads(json.dumps(about)) == about
    assert {each["name"] for each in about["models"]} == set(names)  # type: ignore[attr-defined]
    assert report.measured is not None
    assert report.measured.seconds > 0
    assert "| ItemKNN |" in report.to_markdown()
    report.plot(tmp_path / "front.png")
    assert (tmp_path / "front.png").stat().st_size > 10_000


def test_no_line_of_the_front_is_beaten(choice: Choice) -> None:
    for each in choice.report.front:
        for other in choice.report.lines:
            better = other.outcome.mean > each.outcome.mean
            assert not (better and other.outcome.cost.list_ms <= each.outcome.cost.list_ms)


def test_a_killed_search_goes_on_and_ends_as_one_that_was_not(choice: Choice, tmp_path: Path) -> None:
    journal, script = tmp_path / "j.db", tmp_path / "search.py"
    script.write_text(SEARCH)
    search = [sys.executable, str(script), str(journal)]
    with subprocess.Popen([*search, "wait"], env=with_tests(), stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        first.stdout.readline()  # two trials ended
        first.send_signal(signal.SIGKILL)
    with sqlite3.connect(journal) as database:
        before = dict(database.execute("select recipe, rowid from trials").fetchall())
    database.close()
    assert 2 <= len(before) < 5
    done = subprocess.run(search, env=with_tests(), capture_output=True, text=True, check=True)
    with sqlite3.connect(journal) as database:
        after = dict(database.execute("select recipe, rowid from trials").fetchall())
    database.close()
    assert {recipe: row for recipe, row in after.items() if recipe in before} == before  # none was written again
    assert len(after) == 5
    assert done.stdout.splitlines()[-1] == repr(choice.recipe)


SEARCH = """
import sys
import time
from palate import choose
from test_choosing import tastes

def watch(step):
    if step.trials >= 2:
        print(step.trials, flush=True)
        time.sleep(600 if len(sys.argv) > 2 else 0)

choice = choose(
    tastes(), trials=5, candidates=["Popularity", "ItemKNN", "EASE"], journal=sys.argv[1], watch=watch
)
print(repr(choice.recipe))
"""


class Clock:
    """A clock that simulated trials move on."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


class SimulatedChildren:
    """Trials that take `factor` times what is predicted, in no time."""

    most = 2

    def __init__(self, clock: Clock, factor: float) -> None:
        self.clock, self.factor = clock, factor

    def run(self, jobs: Sequence[Job], prepare: Any) -> list[Outcome]:
        ends, found = [0.0] * self.most, []
        for job in jobs:
            recipe = job.request.recipe
            cost = formula(recipe, prepare.facts)
            seconds = cost.seconds * self.factor
            free = ends.index(min(ends))
            ends[free] += min(job.seconds, seconds) + 0.2
            late = seconds > job.seconds
            values = QUALITY[type(recipe).__name__] * np.random.default_rng(1).random(50)
            cost = cost._replace(seconds=seconds)
            found.append(Outcome.failed("late", job.seconds) if late else Outcome(values, cost))
        self.clock.now += max(ends)
        return found


QUALITY = dict.fromkeys((family.name for family in FAMILIES), 0.5) | {"Popularity": 0.1, "Blend": 0.6, "Ranked": 0.7}
LARGE = replace(
    LogFacts.of(tastes()),
    users=100_000,
    items=20_000,
    events=10_000_000,
    per_user=100,
    squares=2e9,
    content=("title",),
)


@pytest.mark.parametrize("factor", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("minutes", [1, 5])
@pytest.mark.parametrize("facts", [replace(LARGE, users=22_000, items=12_000, events=150_000, squares=2e6), LARGE])
def test_a_search_and_its_last_fit_keep_the_time(
    monkeypatch: pytest.MonkeyPatch, facts: LogFacts, minutes: int, factor: float
) -> None:
    clock = Clock()
    monkeypatch.setattr("palate.choosing.journal.time", clock)
    monkeypatch.setattr(samplers, "find_spec", lambda _: None)
    shares = [1.0] if facts.events < 10**6 else [0.03, 0.2, 1.0]
    parts: Any = []
    for number, share in enumerate(shares):
        own = replace(
            facts, users=int(facts.users * share), events=int(facts.events * share), squares=facts.squares * share
        )
        parts.append(
            SimpleNamespace(
                number=number,
                key=str(number),
                share=share,
                facts=own,
                asked=5000,
                keep_seen=False,
                prepare=SimpleNamespace(facts=own),
                cutting=0,
            )
        )
    limits = Limits(60 * minutes, 12e9)
    children: Any = SimulatedChildren(clock, factor)
    bench = Bench(facts, "NDCG@10", limits, Costs(1.0), Journal(None, "", 0.0), children, lambda _: False)
    search = Search(bench, parts, Goal("next", ""), 0, [])
    search.run(None)
    taken = decide(bench.best(search.part), facts).taken
    assert clock.now + factor * formula(taken.recipe, facts).seconds <= 1.1 * limits.seconds
    assert taken.name != "Popularity"
    assert len(bench.records) >= 6


@pytest.mark.parametrize("gain", [0.0, 0.01])
def test_a_search_goes_on_while_it_gains_and_says_why_it_ended(monkeypatch: pytest.MonkeyPatch, gain: float) -> None:
    class Gaining(SimulatedChildren):
        ran = 0

        def run(self, jobs: Sequence[Job], prepare: Any) -> list[Outcome]:
            self.ran += 1
            found = super().run(jobs, prepare)
            return [replace(each, values=each.values * (1 + gain * self.ran)) for each in found]

    clock, facts = Clock(), replace(LARGE, users=22_000, items=1_000, events=150_000, squares=2e6)
    monkeypatch.setattr("palate.choosing.journal.time", clock)
    monkeypatch.setattr(samplers, "find_spec", lambda _: None)
    part: Any = SimpleNamespace(
        number=0,
        key="0",
        share=1.0,
        facts=facts,
        asked=5000,
        keep_seen=False,
        prepare=SimpleNamespace(facts=facts),
        cutting=0,
    )
    limits, children = Limits(300.0, 12e9), Gaining(clock, 1.0)
    given: Any = children
    bench = Bench(facts, "NDCG@10", limits, Costs(1.0), Journal(None, "", 0.0), given, lambda _: False)
    search = Search(bench, [part], Goal("next", ""), 0, [])
    search.run(None)
    if gain:
        assert bench.left - bench.reserve < 0.1 * limits.seconds
    else:
        assert search.ended == "3 turns at what is best gained less than 0.3% each"


def test_recipes_that_are_given_are_tried_as_they_are() -> None:
    found = choose(tastes(), minutes=0.3, candidates=list(QUICK))
    assert {repr(each.recipe) for each in found.report.records} <= {repr(as_recipe(each, "")) for each in QUICK}


def test_items_of_a_history_may_be_answers() -> None:
    rows = [[n % 9, 9 + n % 7, n % 9, 9 + n % 7, n % 9] for n in range(60)]  # users go back and forth
    log = log_of_rows(rows, [range(5)] * 60)
    again, new = (choose(log, goal="next", trials=2, candidates=["ItemKNN()"], keep_seen=b) for b in (True, False))
    assert again.report.trials
    assert new.report.verdict is None  # no last item is a new one
    assert any("are listed again" in each for each in again.report.notes)
    assert any("repeats; keep_seen=True lists items again" in each for each in new.report.notes)


def test_a_real_search_ends_in_time() -> None:
    began = time.monotonic()
    found = choose(tastes(), minutes=0.5, candidates=["Popularity", "EASE"])
    assert time.monotonic() - began <= 30 * 1.1 + 20  # on a machine that is busy with other work
    assert found.report.records


def test_a_tiny_budget_has_an_answer() -> None:
    found = choose(tastes(), minutes=0.005)
    assert isinstance(found.recipe, Recipe)
    assert len(found.model.recommend([[1, 2]]).item[0]) == 10


def test_the_watch_follows_and_ends_the_search() -> None:
    steps: list[Step] = []

    def watch(step: Step) -> bool:
        steps.append(step)
        return step.trials >= 2

    found = choose(tastes(), trials=40, candidates=list(QUICK), watch=watch)
    assert len(found.report.records) == 2
    assert steps[-1].trials == 2
    assert steps[-1].best in ("Popularity", "ItemKNN", "EASE")


def test_limits_are_kept_by_what_is_chosen_and_the_report_names_the_others() -> None:
    given = ["Popularity()", "ItemKNN()", "EASE(l2=20.0, neighbours=10)"]
    found = choose(tastes(), trials=3, candidates=given, memory="400MB")
    assert isinstance(found.recipe, ItemKNN)
    assert found.report.left_out["EASE"].startswith("40 items and 120 users take")
    fast = choose(tastes(), trials=3, candidates=given, latency_ms=0.0001)
    assert isinstance(fast.recipe, Popularity)


def test_a_recipe_that_fails_is_a_line_of_the_report() -> None:
    found = choose(tastes(), trials=3, candidates=["Popularity()", "ItemKNN()", "Content()"])
    assert isinstance(found.recipe, ItemKNN)
    assert "no catalogue" in found.report.left_out["Content"]


def failing_fit(kinds: tuple[type, ...], fit: Any = Session._fit) -> Any:
    return lambda session, recipe: "late" if isinstance(recipe, kinds) else fit(session, recipe)


def test_the_report_compares_what_is_taken_where_a_last_fit_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    for failing, taken in (((ItemKNN,), EASE), ((EASE, ItemKNN), Popularity)):
        with monkeypatch.context() as patch:
            patch.setattr(Session, "_fit", failing_fit(failing))
            found = choose(tastes(), trials=3, candidates=list(QUICK))
        assert isinstance(found.recipe, taken)
        assert found.report.verdict is not None
        assert found.report.verdict.taken.recipe == found.recipe
        assert any("is not taken: late" in note for note in found.report.notes)


def test_a_choice_is_where_the_next_one_begins(choice: Choice) -> None:
    found = choose(tastes(), trials=2, candidates=["Popularity()"], start=choice)
    assert {type(each.recipe) for each in found.report.records} == {Popularity, type(choice.recipe)}


def test_without_optuna_the_settings_are_fixed_and_the_report_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samplers, "find_spec", lambda _: None)
    found = choose(tastes(), trials=8, candidates=["EASE", "Popularity"])
    assert any("the extra `choose`" in note for note in found.report.notes)
    family = named("EASE")
    assert family is not None
    drawn = samplers.FixedDraws(family).ask()["l2"]
    assert drawn in {getattr(each.recipe, "l2", None) for each in found.report.records}


@pytest.mark.parametrize(
    ("log", "why"),
    [
        (log_of_rows([[n % 7] for n in range(30)]), "nothing can be held out"),  # one event a user
        (log_of_rows([[0, 0, 0]] * 30), "nothing can be held out to measure by: the log has a single item"),
        (log_of_rows([list(range(30))]), "nothing can be held out to measure by: the log has a single user"),
    ],
)
def test_a_log_that_cannot_be_asked_about_gets_popularity_and_the_reason(log: Interactions, why: str) -> None:
    found = choose(log, minutes=1)
    assert isinstance(found.recipe, Popularity)
    assert why in found.report.why
    assert why in found.report.explanation.lower()


def test_thirty_users_get_an_answer() -> None:
    found = choose(tastes(30, 20, 5), trials=3, candidates=list(QUICK))
    assert found.report.verdict is not None
    assert found.report.why


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({"minutes": 0}, "minutes=0: must be above 0"),
        ({"minutes": "5"}, "minutes='5': must be a finite number"),
        ({"metric": "NDCG"}, "metric='NDCG': is one of NDCG"),
        ({"metric": "coverage@10"}, "metric='coverage@10': is one of NDCG"),
        ({"memory": "4 apples"}, "memory='4 apples': is a size, as 4GB"),
        ({"latency_ms": -1}, "latency_ms=-1: must be above 0"),
        ({"goal": "best"}, "goal='best': is one of next"),
        ({"trials": 0}, "trials=0: must be a whole number, 1 or more"),
        ({"candidates": []}, r"candidates=\[\]: must name one at least"),
        ({"candidates": "EASE"}, "candidates='EASE': must be a list"),
        ({"candidates": ["Best"]}, "candidates='Best': each is a recipe"),
        ({"seed": -1}, "seed=-1: must be a whole number"),
    ],
)
def test_a_setting_out_of_range_is_named(settings: dict[str, Any], rule: str) -> None:
    with pytest.raises(SettingError, match=rule):
        choose(tastes(), **settings)


def test_a_log_without_likes_is_refused() -> None:
    log = tastes()
    with pytest.raises(DataError, match="nothing to learn from"):
        choose(replace(log, weight=-np.ones_like(log.weight)), minutes=1)


# The command line


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the quickest recipes compete, so that a search ends early."""
    quick = tuple(each for each in FAMILIES if each.name in ("Popularity", "EASE"))
    monkeypatch.setattr("palate.choosing.search.FAMILIES", quick)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    tastes().to_frame().write_csv(tmp_path / "log.csv")
    return tmp_path / "log.csv"


@pytest.mark.parametrize(("gap", "cuts"), [(0.4, 2), (0.0, 6)])
def test_the_best_are_tried_again_on_other_cuts_until_they_are_separated(gap: float, cuts: int) -> None:
    class Noisy(SimulatedChildren):
        def run(self, jobs: Sequence[Job], prepare: Any) -> list[Outcome]:
            ahead = [gap * isinstance(job.request.recipe, EASE) for job in jobs]
            return [Outcome(each + np.tile([0, 1], 60)[:: 1 - 2 * (each == 0)], Cost(1, 1, 1)) for each in ahead]

    log, goal, children = tastes(), Goal("taste", ""), Noisy(Clock(), 1.0)
    facts = LogFacts.of(log)
    limits, journal = Limits(math.inf, 12e9, trials=100), Journal(None, "", 0.0)
    bench = Bench(facts, "NDCG@10", limits, Costs(1.0), journal, cast("Any", children), lambda _: False)
    search = Search(bench, parts_of(log, None, goal, 1e6, 0, facts), goal, 0, [])
    search.run([EASE(), ItemKNN()])
    assert len(search.cuts) == cuts
    assert {len(each.outcome.values) for each in search.finalists()} == {(1 + cuts) * 120}


@pytest.mark.usefixtures("few")
def test_the_command_chooses_saves_and_draws(palate: Run, file: Path, tmp_path: Path) -> None:
    out, picture = tmp_path / "model", tmp_path / "front.svg"
    given = ("--minutes", 0.4, "--memory", "4GB", "--latency", "50ms", "--goal", "taste", "--metric", "Recall@5")
    code, text, err = palate("choose", file, *given, "--out", out, "--plot", picture, "--json")
    assert code == 0, err
    about = json.loads(text)
    assert about["recipe"]["name"] == "EASE"
    assert (about["goal"]["name"], about["metric"], about["model"]) == ("taste", "Recall@5", str(out))
    assert isinstance(load(out).recipe, EASE)  # its l2 may have been settled by the log
    assert palate("recommend", out, "--user", "3")[0] == 0
    assert picture.is_file()


@pytest.mark.usefixtures("few")
def test_auto_stands_for_a_recipe(palate: Run, file: Path, tmp_path: Path) -> None:
    auto = ("fit", "auto", file, "--out", tmp_path / "model", "--set", "minutes=0.2")
    code, _, err = palate(*auto, "--stage", "Diversify(0.1)")
    assert code == 0, err
    assert "Chosen: EASE(" in err
    assert [type(stage).__name__ for stage in load(tmp_path / "model").stages] == ["Diversify"]
    code, _, err = palate(*auto, "--set", "dim=8")
    assert (code, "auto has no setting 'dim'" in err) == (1, True)


@pytest.mark.usefixtures("few")
def test_a_service_chooses_at_its_first_start(
    palate: Run, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[Settings] = []
    monkeypatch.setattr("palate.serve.run.run", lambda settings, **_: ran.append(settings))
    store = tmp_path / "shop.db"
    code, _, err = palate("serve", "--store", store, "--log", file, "--set", "minutes=0.2")
    assert code == 0, err
    assert ran[0].recipe[:2] == ("--recipe", "auto")
    with Store.open(store) as opened:
        versions = Versions(opened, None, load)
        assert versions.get(versions.active() or 0).about["recipe"] == "EASE"
    code, out, err = palate("train", "--store", store, *ran[0].recipe)
    assert code == 0, err
    assert "version 2" in out


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        (("--latency", "fast"), "--latency fast: must be a time, as 10ms"),
        (("--memory", "much"), "memory='much': is a size, as 4GB"),
        (("--goal", "all"), "goal='all': is one of next"),
        (("--minutes", "0"), "minutes=0.0: must be above 0"),
    ],
)
def test_the_command_names_a_setting_out_of_range(
    palate: Run, file: Path, options: tuple[str, ...], rule: str
) -> None:
    code, _, err = palate("choose", file, *options)
    assert code == 1
    assert rule in err


# Pictures, sounds, sentences, and events that count at once


def with_media(folder: Path) -> tuple[Interactions, Catalogue]:
    """A log, and a catalogue with titles, sentences, files of pictures and addresses of sounds."""
    log, picture = tastes(), folder / "a.png"
    picture.write_bytes(b"no picture")
    items = log.items.ids.to_list()
    sentence = "this is a sentence with many more words than a title"
    columns = {"title": "a title", "text": sentence, "image": str(picture), "audio": "https://example.org/a.mp3"}
    frame = pl.DataFrame({"item_id": items, **{name: [each] * len(items) for name, each in columns.items()}})
    return log, read_catalogue(frame)


def test_files_and_sentences_are_read_by_pretrained_encoders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = LogFacts.of(*with_media(tmp_path))
    assert (facts.content, facts.media, facts.texts) == (("title", "text"), ("image",), ("text",))
    hybrid, content = named("Hybrid"), named("Content")
    assert hybrid is not None
    assert content is not None
    monkeypatch.setattr("palate.choosing.spaces.missing", lambda _: None)
    ways: list[tuple[str, ...]] = [(), ("title", "text", "image:efficientnet"), ("title", "text:minilm")]
    for family in (hybrid, content):
        starts: Any = family.starts(facts)
        assert [each.fields for each in starts] == ways
    assert [label(each) for each in hybrid.starts(facts)] == ["Hybrid", "Hybrid on image", "Hybrid on text"]
    seconds = [formula(each, facts).seconds for each in hybrid.starts(facts)]
    assert seconds[1] > seconds[2] > seconds[0]  # a picture takes longer than a text
    monkeypatch.setattr("palate.choosing.spaces.missing", lambda _: MissingExtra("pillow", "content"))
    assert [label(each) for each in hybrid.starts(facts)] == ["Hybrid"]
    assert not_installed(facts) == {
        "Hybrid and Content on image": "pillow is not installed; run: pip install 'palate[content]'"
    }


def test_a_column_of_pictures_alone_is_content() -> None:
    family = named("Hybrid")
    assert family is not None
    assert "no catalogue" in family.bars(LogFacts.of(tastes()), "taste")
    assert not family.bars(replace(LogFacts.of(tastes()), media=("image",)), "taste")


def test_only_models_that_follow_events_are_taken_where_they_must_count_at_once() -> None:
    log = tastes()
    assert follows(EASE().fit(log), log)
    assert follows(Popularity().fit(log), log)  # all lists are the same, which no event changes
    fixed: Any = SimpleNamespace(recipe=EASE(), recommend=Popularity().fit(log).recommend)
    assert not follows(fixed, log)


# A service that searches a little at each training


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[tuple[Store, Versions]]:
    """A store with a log, and its versions."""
    with Store.open(tmp_path / "shop.db") as store:
        tastes().to_frame().write_csv(tmp_path / "log.csv")
        import_log(store, tmp_path / "log.csv")
        yield store, Versions(store, None, load)


def test_a_training_searches_around_the_recipe_in_use_within_its_share(
    shop: tuple[Store, Versions], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[Recipe, float]] = []

    def refined(_log: Interactions, _catalogue: Any, start: Recipe, *, seconds: float, **_: Any) -> Any:
        asked.append((start, seconds))
        return None if seconds < 5 else SimpleNamespace(recipe=EASE(l2=9), to_brief=lambda: {"explanation": "new"})

    monkeypatch.setattr("palate.live.searching.refined_recipe", refined)
    training, searching = Training.of(*shop), Searching({"minutes": 1.0}, 0.1)
    training.finish(EASE(l2=20), {"choice": {"minutes": 1.0, "explanation": "old"}, "seconds": 30.0})
    kept = searching.chosen(training)
    assert (kept.recipe, kept.report) == (EASE(l2=20), None)
    assert asked[-1][0] == EASE(l2=20)
    assert asked[-1][1] == pytest.approx(3.0)
    assert kept.about["choice"] == {"minutes": 1.0, "explanation": "old", "saved": 3.0}
    training.finish(Pipeline(kept.recipe, ("Diversify(0.1)",)), {**kept.about, "seconds": 30.0})
    found = searching.chosen(training)
    assert (found.recipe, asked[-1][0]) == (EASE(l2=9), EASE(l2=20))
    assert asked[-1][1] == pytest.approx(6.0)
    assert found.about["choice"] == {"explanation": "new", "minutes": 1.0, "saved": 0.0}


def test_a_whole_search_comes_before_little_ones(
    shop: tuple[Store, Versions], monkeypatch: pytest.MonkeyPatch
) -> None:
    report = SimpleNamespace(recipe=EASE(), to_brief=dict)
    monkeypatch.setattr("palate.live.searching.chosen_recipe", lambda *_, **__: (report.recipe, report))
    training = Training.of(*shop)
    assert Searching({"minutes": 1.0}, 0.1).chosen(training).recipe == EASE()  # there is no version
    training.finish(EASE(l2=20), {"choice": {"minutes": 1.0}})
    assert Searching({"minutes": 5.0}, 0.1).chosen(training).recipe == EASE()  # the search before was a short one
    assert Searching({"minutes": 1.0}).chosen(training).recipe == EASE()
    assert Searching({"minutes": 1.0}, 0.1).chosen(training).recipe == EASE(l2=20)  # a tenth of it is too little


@pytest.mark.parametrize("factor", [0.5, 1.0, 2.0])
def test_a_little_search_keeps_its_time_and_the_recipe_in_use(monkeypatch: pytest.MonkeyPatch, factor: float) -> None:
    clock = Clock()
    monkeypatch.setattr("palate.choosing.journal.time", clock)
    prepare = SimpleNamespace(facts=LARGE)
    part: Any = SimpleNamespace(number=0, key="0", facts=LARGE, asked=5000, prepare=prepare, cutting=0)
    children: Any = SimulatedChildren(clock, factor)
    limits = Limits(2000.0, 12e9, last_fit=False)
    bench = Bench(LARGE, "NDCG@10", limits, Costs(1.0), Journal(None, "", 0.0), children, lambda _: False)
    refinement = Refinement(bench, [part], start := EASE(l2=100.0, neighbours=100), 0)
    refinement.run([(EASE(l2=300.0, neighbours=100), 1.0)])
    assert clock.now <= 1.1 * limits.seconds
    assert [each.recipe for each in bench.records[:3]] == [start, Popularity(), EASE(l2=300.0, neighbours=100)]
    verdict = refinement.verdict()
    assert verdict is not None
    assert verdict.taken.recipe == start  # the others have the same metric
    assert "stays" in verdict.why
    short = replace(bench.limits, seconds=1.0)
    assert (
        Refinement(
            Bench(LARGE, "NDCG@10", short, Costs(1.0), Journal(None, "", 0.0), children, lambda _: False),
            [part],
            start,
            0,
        ).part
        is None
    )


def test_a_recipe_in_use_is_sought_around_where_it_is_part_of_another() -> None:
    found = places(Blend(recipes=(EASE(l2=5), Popularity(), IALS())))
    assert [each.family.name for each in found] == ["EASE", "Popularity", "IALS"]
    assert found[0].within(EASE(l2=7)) == Blend(recipes=(EASE(l2=7), Popularity(), IALS()))
    assert places(IALS())[0].within(EASE()) == EASE()


def test_what_searches_of_other_logs_found_is_a_share_of_their_best(tmp_path: Path) -> None:
    first = Journal(tmp_path / "j.db", "a", time.monotonic())
    first.add("0", EASE(l2=5), Outcome(np.array([0.2, 0.4]), Cost(1, 1, 1)))
    first.add("0", EASE(l2=9), Outcome(np.array([0.6, 0.6]), Cost(1, 1, 1)))
    first.add("0", EASE(l2=1), Outcome.failed("no memory"))
    first.close()
    second = Journal(tmp_path / "j.db", "b", time.monotonic())
    assert second.earlier() == [(EASE(l2=5), pytest.approx(0.5)), (EASE(l2=9), 1.0)]
    second.keep(1)
    assert second.earlier() == []
    second.close()


def test_a_search_that_took_all_of_its_time_ends_with_what_it_found(tmp_path: Path) -> None:
    given = partial(choose, tastes(), minutes=0.2, candidates=list(QUICK), journal=tmp_path / "j.db")
    first = given()
    database = sqlite3.connect(tmp_path / "j.db")
    database.execute("update searches set spent = 1000")
    database.commit()
    database.close()
    again = given()
    assert again.recipe == first.recipe
    assert {repr(each.recipe) for each in again.report.records} >= {repr(each.recipe) for each in first.report.lines}


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        (("--recipe", "auto", "--search", "0%"), "--search 0%: must be a share of the training time above 0"),
        (("--recipe", "auto", "--search", "much"), "--search much: must be a share"),
        (("--recipe", "auto", "--search", "200%"), "--search 200%: must be a share"),
        (("--recipe", "ials", "--search", "10%"), "--search 10%: goes with --recipe auto"),
    ],
)
def test_a_share_that_is_none_is_refused(palate: Run, tmp_path: Path, given: tuple[str, ...], rule: str) -> None:
    code, _, err = palate("train", "--store", tmp_path / "shop.db", *given)
    assert code == 1
    assert rule in err
