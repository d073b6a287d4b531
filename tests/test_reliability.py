"""Short forms of the benchmarks of reliability: crashes, full disks, damage, bad input."""

from __future__ import annotations

import os
import random
from contextlib import suppress
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from bad_input import break_rules, counted, filters, fuzz_filters, fuzz_routes
from databases import postgresql, url
from durability import damaged, disk_full, kills, locked, read_only, restarts, stops, swaps, two_models
from freshness import measured
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from service import fork

from palate.arrays import Floats, Ints
from palate.errors import ConditionError
from palate.kernels.strongest import strongest
from palate.live.conditions import compile_condition

__all__ = ["url"]

NOTHING_LOST = {"lost": 0, "twice": 0, "faults": []}
mounts = pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")


def test_a_service_that_is_killed_loses_nothing(url: str, tmp_path: Path) -> None:
    facts = kills(url, 3, "--models", str(tmp_path / "models"))
    assert facts["acknowledged"] > 0
    assert facts.items() >= NOTHING_LOST.items()


def test_sigterm_answers_what_is_under_way(tmp_path: Path) -> None:
    facts = stops(tmp_path / "shop.db", rounds=2)
    assert facts["acknowledged"] > 0
    assert facts.items() >= {**NOTHING_LOST, "cut_off": 0, "exit_codes": {0: 2}}.items()


def test_postgresql_may_crash_and_come_back(tmp_path: Path) -> None:
    running = postgresql()
    facts = restarts(running, tmp_path / "models", rounds=1)
    assert facts["acknowledged"] > 0
    assert facts.items() >= NOTHING_LOST.items()


@mounts
def test_a_full_disk_refuses_events_and_keeps_those_it_has(tmp_path: Path) -> None:
    facts = disk_full(tmp_path)
    assert facts.items() >= {**NOTHING_LOST, "write_while_full": 503, "read_while_full": 200}.items()


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
        assert fuzz_routes(served, 1, "examples")["exit_code"] == 0
        told = break_rules(served)
        assert told["200 slow bodies"].startswith("200")
        assert not [answer for answer in told.values() if answer.startswith("HTTP/1.1 5")]
        assert max(counted(served)) < "500"
        assert "Traceback" not in served.log.read_text()
    finally:
        served.kill()


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
