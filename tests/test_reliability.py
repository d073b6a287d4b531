"""Short forms of the benchmarks of reliability: crashes, full disks, damage, bad input."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from databases import postgresql, url
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from benchmarks.common.paths import ROOT
from benchmarks.common.served import fork
from benchmarks.reliability.bad_input import break_rules, counted, filters, fuzz_filters, fuzz_routes
from benchmarks.reliability.clock import jumps
from benchmarks.reliability.damages import DAMAGES
from benchmarks.reliability.durability import damaged, disk_full, locked, read_only, stops, swaps, two_models
from benchmarks.reliability.hostile import hostile
from benchmarks.reliability.kills import NOTHING, PLAN, kills
from benchmarks.reliability.outages import FAULTS, crew, killed, outages
from benchmarks.reliability.parts import Part, Step, added, exactly, run
from benchmarks.reliability.run import PARTS, published, table
from benchmarks.reliability.soak import faults as faults_of_soak
from benchmarks.reliability.soak import soak
from benchmarks.speed.freshness import measured
from palate.arrays import Floats, Ints
from palate.conditions.compile import compile_condition
from palate.errors import ConditionError
from palate.kernels.strongest import strongest

__all__ = ["url"]

NOTHING_LOST = {"lost": 0, "doubled": 0, "faults": []}
mounts = pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")


def test_a_service_that_is_killed_loses_nothing(url: str, tmp_path: Path) -> None:
    facts = killed(url, 2, "--models", str(tmp_path / "models"))
    assert facts["acknowledged"] > 0
    assert facts | NOTHING_LOST == facts


def test_killed_workers_are_replaced_and_a_killed_parent_leaves_nothing(tmp_path: Path) -> None:
    facts = crew(str(tmp_path / "shop.db"), tmp_path / "models", tmp_path / "tmp", rounds=1)
    assert facts["acknowledged"] > 0
    wanted = {**NOTHING_LOST, "left": 0, "kills": 2}
    assert {name: facts[name] for name in wanted} == wanted, facts


@pytest.fixture(scope="module")
def kill(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Step]:
    """Two kills of a kind, of processes that one of this module forks."""
    with kills(tmp_path_factory.mktemp("kills"), count=2) as step:
        yield step


@pytest.mark.parametrize("n", range(len(PLAN)), ids=lambda n: f"{PLAN[n][0].__name__}-{PLAN[n][1]}")
def test_what_is_killed_leaves_nothing_lost_twice_or_half(n: int, kill: Step) -> None:
    if PLAN[n][1] == "postgresql":
        postgresql()  # skips the test where there is none
    facts = kill(n)
    assert facts | {**NOTHING, "kills": 2, "faults": []} == facts


@mounts
@pytest.mark.parametrize("n", range(len(FAULTS)), ids=lambda n: FAULTS[n].__name__)
def test_postgresql_goes_away_and_comes_back(n: int) -> None:
    postgresql()
    facts = run(Part("", 1, partial(outages, seconds=0.3, first=n), exactly(), str), {}, 60)
    assert facts["acknowledged"] > 0
    assert facts | {**NOTHING_LOST, "hasty": 0, "lists_refused": 0} == facts


def test_a_clock_forth_and_back_changes_no_order(tmp_path: Path) -> None:
    facts = jumps(str(tmp_path / "shop.db"), tmp_path, seed=0, sent=3)
    assert facts["acknowledged"] > 0
    assert facts | {**NOTHING_LOST, "refused": 0, "lists_refused": 0} == facts


def test_sigterm_answers_what_is_under_way(tmp_path: Path) -> None:
    facts = stops(tmp_path / "shop.db", rounds=2)
    assert facts["acknowledged"] > 0
    assert facts | {**NOTHING_LOST, "cut_off": 0, "exit_codes": {0: 2}} == facts


@mounts
def test_a_full_disk_refuses_events_and_keeps_those_it_has(tmp_path: Path) -> None:
    facts = disk_full(tmp_path)
    assert facts | {**NOTHING_LOST, "write_while_full": 503, "read_while_full": 200} == facts


@mounts
def test_a_disk_that_can_only_be_read_is_told(tmp_path: Path) -> None:
    facts = read_only(tmp_path)
    assert facts["exit_code"] == 1
    assert "Traceback" not in facts["told"]
    assert facts["told"].startswith("shop.db: ")


def test_a_locked_store_lets_readers_go_on(tmp_path: Path) -> None:
    facts = locked(tmp_path / "shop.db", seconds=1.0)
    assert facts["write"] == 200
    assert facts["write_waited_s"] >= 1.0
    assert facts["longest_read_ms"] < 900


def test_a_damaged_model_is_refused(tmp_path: Path) -> None:
    facts = damaged(tmp_path)
    assert facts["activate"] == 409
    assert facts["model_after"] == 1
    assert (facts["answers_after_damage"], facts["models_after_damage"]) == ([200], [1])


def test_a_swap_of_models_fails_no_request(tmp_path: Path) -> None:
    facts = swaps(tmp_path, rounds=4, rate=50)
    assert facts["swaps"] >= 1
    assert facts["failed"] == 0


def test_an_event_is_in_the_next_list_of_every_process(tmp_path: Path) -> None:
    store = two_models(tmp_path)
    written, read = fork(store), fork(store)
    try:
        written.wait()
        read.wait()
        assert measured(written, read, 100, 2000)["stale_answers"] == 0
    finally:
        written.kill()
        read.kill()


def test_bad_input_is_no_fault_of_the_server(tmp_path: Path) -> None:
    served = fork(two_models(tmp_path))
    try:
        served.wait()
        found = fuzz_filters(served, 300)
        assert found["hung"] == 0
        assert len(found["answers"]) > 1
        routes = fuzz_routes(served, 1, "examples")
        assert routes["exit_code"] == 0, routes["tail"]
        told = break_rules(served)
        assert told["200 slow bodies"].startswith("200")
        assert not [answer for answer in told.values() if answer.startswith("HTTP/1.1 5")]
        assert max(counted(served)) < "500"
        assert "Traceback" not in served.log.read_text()
    finally:
        served.kill()


def test_another_client_is_answered_beside_hostile_requests(tmp_path: Path) -> None:
    with hostile(tmp_path, wild=40, filters=40, examples=1, calm=0.3) as step:
        facts = step(1)
    assert facts["asked_beside"] > 0
    assert (facts["errors"], facts["restarts"], facts["faults"]) == (0, 0, [])


def test_damages_of_a_bundle_are_clear_errors() -> None:
    facts = run(replace(DAMAGES, steps=1), {}, 60)
    assert facts | {"wrong": 0, "faults": [], "steps": 1} == facts


def test_a_soak_goes_on_over_the_server_of_the_run_before(tmp_path: Path) -> None:
    short = partial(soak, home=tmp_path / "soak", seconds=1.0, people=300, cycles=2)
    part = replace(PARTS["soak"], steps=2, open=short)
    facts = run(replace(part, steps=1), {}, 60)
    pid = json.loads((tmp_path / "soak" / "server.json").read_text())["pid"]
    assert Path(f"/proc/{pid}").exists()
    facts = run(part, facts, 60)
    assert not (tmp_path / "soak").exists()
    assert facts | {"steps": 2, "failed": 0, "trainings": 2, "temporary": facts["temporary"][:1] * 2} == facts
    assert len(facts["megabytes"]) == 2
    assert "descriptors: 5 at first, 6 at the end" in faults_of_soak(
        {"failed": 0, "megabytes": [1], "descriptors": [5] * 3 + [6], "temporary": [], "bundles": []}
    )


def test_a_part_goes_on_where_it_stopped() -> None:
    done: list[int] = []

    @contextmanager
    def opened(_: Path) -> Iterator[Callable[[int], dict[str, object]]]:
        def step(n: int) -> dict[str, object]:
            done.append(n)
            return {"count": 2, "longest_ms": n, "of": {"a": 1}, "faults": []}

        yield step

    part = Part("counting", 3, opened, exactly(count=6), lambda facts: f"{facts['count']} counted")
    assert run(part, {}, 0.0) == {}
    facts: dict[str, object] = {}
    run(replace(part, steps=2), {}, 60, facts.update)
    assert facts | {"steps": 2, "count": 4} == facts
    facts = run(part, facts, 60)
    assert done == [0, 1, 2]
    assert facts | {"steps": 3, "count": 6, "longest_ms": 2, "of": {"a": 3}, "faults": []} == facts
    assert part.faults(facts) == []
    assert part.faults(added(facts, {"count": 1})) == ["count: 7, wanted 6"]


def test_the_page_shows_the_outcomes_that_are_kept() -> None:
    page = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    assert published(page, table()) == page


def test_the_fuzzer_makes_sound_filters_too() -> None:
    draw, sound = random.Random(0), 0
    schema = {"price": pl.Float64(), "title": pl.String(), "item_id": pl.String(), "categories": pl.List(pl.String())}
    for _ in range(1000):
        with suppress(ConditionError):
            compile_condition(filters(draw), schema)
            sound += 1
    assert sound > 100


@given(
    st.integers(0, 12).flatmap(
        lambda n: st.tuples(
            arrays(np.int32, n, elements=st.integers(0, 5)),
            arrays(np.float32, (n, 3), elements=st.integers(-4, 8).map(float)),
        )
    )
)
def test_strongest_adds_up_and_sorts(drawn: tuple[Ints, Floats]) -> None:
    column, parts = drawn
    for j, found in enumerate(strongest(column, parts, 2, 0.25).tolist()):
        sums = {c: float(np.maximum(parts[column == c, j], 0).sum()) for c in sorted(set(column.tolist()))}
        best = sorted(sums, key=lambda c: -sums[c])[:2]
        expected = [c for c in best if sums[c] > 0.25 * sum(sums.values())]
        assert found == expected + [-1] * (2 - len(expected))
