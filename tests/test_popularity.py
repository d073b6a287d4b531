from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from conftest import log_of

from palate.data.interactions import Interactions
from palate.data.vocabulary import Id, Vocabulary
from palate.errors import SettingError
from palate.models.popularity import Popularity
from palate.models.weights import LEAST, faded, heaviest, within


def test_scores_are_the_sums_of_weights() -> None:
    log = log_of([("ann", "x", 1, 0), ("bob", "y", 4, 0), ("cem", "x", 2, 0), ("cem", "x", 0.5, 9)])
    answer = Popularity().fit(log).recommend([[]])
    assert answer.lists() == [["y", "x"]]
    assert answer.score.tolist() == [[4, 3.5]]


def test_an_event_counts_half_after_a_half_life() -> None:
    log = log_of([("ann", "old", 3, 0), ("bob", "older", 8, -10), ("cem", "new", 1, 10), ("dan", "new", 1, 5)])
    model = Popularity(half_life_days=5).fit(log)
    by_item = dict(zip(model.items.ids, model.item_scores, strict=True))
    assert by_item == pytest.approx({"old": 3 / 4, "older": 8 / 16, "new": 1.5})


@pytest.mark.parametrize("day", [2_932_896, 30_000])
def test_an_event_that_is_ahead_of_the_clock_counts_as_new_and_makes_nothing_old(day: int) -> None:
    events: list[tuple[Id, Id, float, int]] = [("ann", "old", 3, 0), ("cem", "new", 2, 10), ("bob", "old", 1, 5)]
    log = log_of([*events, ("clock", "ahead", 1.0, day)])
    model = Popularity(half_life_days=5).fit(log)
    by_item = dict(zip(model.items.ids, model.item_scores, strict=True))
    assert by_item == pytest.approx({"old": 3 / 4 + 1 / 2, "new": 2, "ahead": 1})
    late = replace(log, read_at=(day + 1) * 86_400_000_000)  # read when that day has come
    assert Popularity(half_life_days=5).fit(late).item_scores.argmax() == log.items.code("ahead")


def test_a_log_all_ahead_of_the_clock_does_not_fade() -> None:
    log = log_of([("ann", "x", 3, 2_000_000), ("bob", "y", 4, 2_932_896)])
    assert Popularity(half_life_days=1e-3).fit(log).item_scores.tolist() == [3, 4]


def test_an_event_never_fades_to_nothing() -> None:
    log = log_of([("ann", "x", 3, 0), ("bob", "y", -4, 0), ("cem", "z", 1, 7300), ("cem", "w", 0, 0)])
    assert faded(log, 1e-3).tolist() == [LEAST, -LEAST, 0, 1]


def test_ties_go_to_the_item_seen_first_in_the_log() -> None:
    log = log_of([("ann", "b", 1, 0), ("ann", "a", 1, 0), ("ann", "c", 1, 0)])
    assert Popularity().fit(log).recommend([[]], 2).lists() == [["b", "a"]]


def test_decay_needs_times() -> None:
    ids = Vocabulary.of(["a"])
    log = Interactions.of(ids, ids, np.zeros(1, np.int32), np.zeros(1, np.int32))
    with pytest.raises(SettingError, match=r"half_life_days=3: the log has no times"):
        Popularity(half_life_days=3).fit(log)


def test_popularity_has_no_similar_items(block_log: Interactions) -> None:
    with pytest.raises(SettingError, match="PopularityModel: this model has no similarity between items"):
        Popularity().fit(block_log).similar_items(["i0"])


@pytest.mark.parametrize("size", [1e5, 3e38, -3e38])
def test_a_weight_far_beyond_the_others_is_cut_and_counted(size: float, caplog: pytest.LogCaptureFixture) -> None:
    events: list[tuple[Id, Id, float, int]] = [(f"u{n}", f"i{n % 7}", 1.0 + n % 3, n) for n in range(60)]
    log = log_of([*events, ("one", "i5", size, 3)])
    assert heaviest(log) == (300, 1)
    plain, cut = (Popularity().fit(each).item_scores for each in (log_of(events), log))
    np.testing.assert_allclose(cut - plain, [0, 0, 0, 0, 0, 300 if size > 0 else 0, 0])
    assert "1 of 61 events weigh more than 300, 100 times what is usual" in caplog.text
    assert log.weight.max() == max(np.float32(size), 3)  # the log itself stays


def test_weights_within_what_is_usual_are_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    rng = np.random.default_rng(0)
    log = log_of([(f"u{n}", f"i{n % 7}", float(rng.uniform(0.1, 9)), n) for n in range(60)])
    assert within(log) is log
    assert heaviest(log_of([])) == (np.inf, 0)
    assert not caplog.text
