"""Threads over kernels: the faster number of them stays, and nothing grows with the length of a fit."""

from __future__ import annotations

import pickle
import threading
import time

import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from palate.compute import threads as module
from palate.compute.threads import TRIALS, ThreadTeam, cores, limit_loaded, one_thread


def test_one_thread_holds_for_teams_and_for_libraries_that_are_loaded_late() -> None:
    def most() -> int:
        return max(int(each["num_threads"]) for each in threadpool_info())

    with threadpool_limits(2):
        with one_thread():
            assert (cores(), most()) == (1, 1)
            assert ThreadTeam(2).most == 1
            with threadpool_limits(2):  # as a library has it that was loaded just now
                limit_loaded()
                assert most() == 1
        assert most() == 2
    assert ThreadTeam(2).most == 2


@pytest.mark.parametrize("slow", [1, 3])
def test_the_faster_number_of_threads_stays(monkeypatch: pytest.MonkeyPatch, slow: int) -> None:
    monkeypatch.setattr(module, "cores", lambda: 3)
    used: list[int] = []

    def work(thread: int, low: int, high: int) -> float:
        if thread == 0:
            used.append(team.threads)
            time.sleep(0.005 if team.threads == slow else 0)
        return float(high - low)

    with ThreadTeam(None) as team:
        assert [team.run(work, 0, 7) for _ in range(30)] == [7.0] * 30
    trials = 2 * (TRIALS + 1)
    assert sorted(used[:trials]) == [1] * (TRIALS + 1) + [3] * (TRIALS + 1)
    assert set(used[trials:]) == {4 - slow}


def test_a_team_remembers_no_more_after_a_long_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "cores", lambda: 2)

    def size() -> int:
        return len(pickle.dumps((team.trials, team.fastest, team.choices)))

    with ThreadTeam(None) as team:
        for _ in range(20):
            team.run(lambda *_: 0.0, 0, 1)
        before = size(), set(vars(team))
        for _ in range(2000):
            team.run(lambda *_: 0.0, 0, 1)
        assert (size(), set(vars(team))) == before


def test_an_error_waits_for_no_slice() -> None:
    begun, going_on, ended = threading.Event(), threading.Event(), threading.Event()

    def work(thread: int, *_: int) -> float:
        if thread == 0:
            begun.wait(60)
            raise KeyboardInterrupt
        begun.set()
        going_on.wait(60)
        ended.set()
        return 0.0

    with pytest.raises(KeyboardInterrupt), ThreadTeam(2) as team:
        team.run(work, 0, 2)
    assert not ended.is_set()
    going_on.set()
    assert ended.wait(60)
