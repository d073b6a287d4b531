"""Metrics against ranx and against loops written from the definitions; intervals against known distributions."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import rel_entr

from palate.arrays import Bools, Doubles, Ints, Longs
from palate.data.catalogue import Catalogue
from palate.data.ragged import Ragged
from palate.data.vocabulary import Vocabulary
from palate.errors import SettingError
from palate.evaluation.exposure import exposure_gini
from palate.evaluation.intervals import MOST_UNITS, bootstrap, paired
from palate.evaluation.lists import (
    Lists,
    intra_list_distance,
    of_lists,
    popularity_lift,
    self_information,
    serendipity,
    share_of_cold_items,
)
from palate.evaluation.metrics import (
    METRICS,
    average_precision,
    coverage,
    gini,
    ndcg,
    novelty,
    per_user,
    reciprocal_rank,
)
from palate.evaluation.mixes import attribute_coverage, attribute_entropy, calibration_js, calibration_kl
from palate.kernels.hits import find_hits, first_mentions
from palate.kernels.topk import select_top

USERS, ITEMS = 30, 20
RANX = {
    "NDCG": "ndcg",
    "Recall": "recall",
    "Precision": "precision",
    "MAP": "map",
    "MRR": "mrr",
    "HitRate": "hit_rate",
}


def by_hand(ranking: Sequence[int], relevant: set[int], k: int) -> dict[str, float]:
    """Every metric of one list, by loops; `ranking` may be shorter than k."""
    found, gain, sum_of_precisions, first = 0, 0.0, 0.0, 0.0
    for place, item in enumerate(ranking[:k], start=1):
        if item in relevant:
            found += 1
            gain += 1 / math.log2(place + 1)
            sum_of_precisions += found / place
            first = first or 1 / place
    ideal = sum(1 / math.log2(place + 1) for place in range(1, min(k, len(relevant)) + 1))
    return {
        "NDCG": gain / ideal,
        "Recall": found / len(relevant),
        "Precision": found / k,
        "MAP": sum_of_precisions / len(relevant),
        "MRR": first,
        "HitRate": float(found > 0),
    }


def quiz(seed: int) -> tuple[Ints, list[set[int]]]:
    """Rankings (30, 20) of tied scores in our order, some cut short, and 1 to 12 relevant items of each user."""
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 6, (USERS, ITEMS)).astype(np.float32)  # many ties
    item, _ = select_top(scores, np.ones(ITEMS, np.bool_), ITEMS)
    for user in range(USERS):
        item[user, rng.integers(1, ITEMS + 1) :] = -1
    relevant = [{int(i) for i in rng.choice(ITEMS, rng.integers(1, 13), replace=False)} for _ in range(USERS)]
    return item, relevant


def table_of(item: Ints, relevant: list[set[int]]) -> tuple[Bools, Longs]:
    lengths = np.array([len(row) for row in relevant])
    start = np.append(0, np.cumsum(lengths)).astype(np.int64)
    column = np.array([i for row in relevant for i in row], np.int32)
    return find_hits(item, start, column, ITEMS), lengths


@pytest.mark.parametrize("k", [1, 3, 10, 20])
@pytest.mark.parametrize("seed", range(3))
def test_parity_with_loops(seed: int, k: int) -> None:
    item, relevant = quiz(seed)
    found = per_user(*table_of(item, relevant), [k])
    for user in range(USERS):
        expected = by_hand([int(i) for i in item[user] if i >= 0], relevant[user], k)
        for name, value in expected.items():
            assert found[f"{name}@{k}"][user] == pytest.approx(value, abs=1e-12), name


RANX_SCRIPT = """
import json, sys, warnings
warnings.simplefilter("ignore")
from ranx import Qrels, Run, evaluate

judged, run, names = json.load(sys.stdin)
found = evaluate(Qrels(judged), Run(run), names, return_mean=False)
print(json.dumps({name: list(found[name]) for name in names}))
"""


def test_parity_with_ranx() -> None:
    """In a process of its own without numba's compiler, which would work on ranx for a minute."""
    item, relevant = quiz(7)
    users = [f"{user:02}" for user in range(USERS)]
    run = {
        user: {f"i{i}": 1 / place for place, i in enumerate(row[row >= 0], 1)}
        for user, row in zip(users, item, strict=True)
    }
    judged = {user: {f"i{i}": 1 for i in row} for user, row in zip(users, relevant, strict=True)}
    names = [f"{name}@{k}" for name in RANX.values() for k in (1, 5, 10, 20)]
    done = subprocess.run(
        [sys.executable, "-c", RANX_SCRIPT],
        input=json.dumps([judged, run, names]),
        env=os.environ | {"NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    expected = json.loads(done.stdout)
    found = per_user(*table_of(item, relevant), (1, 5, 10, 20))
    for name, theirs in RANX.items():
        for k in (1, 5, 10, 20):
            np.testing.assert_allclose(
                found[f"{name}@{k}"], expected[f"{theirs}@{k}"], rtol=0, atol=1e-9, err_msg=name
            )


def test_ties_go_to_the_lower_row() -> None:
    item, _ = select_top(np.array([[1, 3, 3, 1]], np.float32), np.ones(4, np.bool_), 4)
    assert item.tolist() == [[1, 2, 0, 3]]


tables = st.integers(1, 12).flatmap(lambda k: arrays(np.bool_, st.tuples(st.integers(1, 5), st.just(k))))


@settings(max_examples=200, deadline=None)
@given(tables, st.integers(0, 30))
def test_metrics_stay_between_0_and_1(hits: Bools, beyond: int) -> None:
    relevant = np.maximum(hits.sum(1) + beyond, 1)
    for name, metric in METRICS.items():
        values = metric(hits, relevant)
        assert values.shape == (len(hits),)
        assert (values >= 0).all(), name
        assert (values <= 1 + 1e-12).all(), name


@given(st.integers(1, 30), st.integers(1, 30))
def test_a_perfect_ranking_is_worth_1(k: int, n: int) -> None:
    hits = (np.arange(k) < n)[None]
    relevant = np.array([n])
    assert ndcg(hits, relevant)[0] == pytest.approx(1)
    assert reciprocal_rank(hits, relevant)[0] == 1
    # Recall and MAP divide by all relevant items, also those that k has no room for.
    assert average_precision(hits, relevant)[0] == pytest.approx(min(1, k / n))
    assert METRICS["Recall"](hits, relevant)[0] == pytest.approx(min(1, k / n))


@settings(max_examples=200, deadline=None)
@given(tables, st.data())
def test_a_hit_moved_up_never_costs(hits: Bools, data: st.DataObject) -> None:
    below, above = np.flatnonzero(hits[0]), np.flatnonzero(~hits[0])
    pairs = [(h, e) for h in below for e in above if e < h]
    if not pairs:
        return
    hit, empty = data.draw(st.sampled_from(pairs))
    better = hits[:1].copy()
    better[0, [hit, empty]] = better[0, [empty, hit]]
    relevant = hits[:1].sum(1)
    for metric in METRICS.values():
        assert metric(better, relevant)[0] >= metric(hits[:1], relevant)[0] - 1e-12
    assert ndcg(better, relevant)[0] > ndcg(hits[:1], relevant)[0]
    assert average_precision(better, relevant)[0] > average_precision(hits[:1], relevant)[0]


rows_of_items = st.lists(st.lists(st.integers(0, ITEMS - 1), max_size=12), min_size=1, max_size=6)


def ragged(rows: list[list[int]]) -> tuple[Longs, Ints]:
    start = np.append(0, np.cumsum([len(row) for row in rows])).astype(np.int64)
    return start, np.array([i for row in rows for i in row], np.int32)


@settings(max_examples=100, deadline=None)
@given(rows_of_items, st.data())
def test_first_mentions_are_the_new_distinct_items(rows: list[list[int]], data: st.DataObject) -> None:
    known = [data.draw(st.lists(st.integers(0, ITEMS - 1), max_size=6)) for _ in rows]
    first = first_mentions(*ragged(rows), *ragged(known), ITEMS)
    expected = [
        i not in row[:n] and i not in old for row, old in zip(rows, known, strict=True) for n, i in enumerate(row)
    ]
    assert first.tolist() == expected


def test_exposure_by_hand() -> None:
    shown = np.array([0, 6, 2, 0])
    assert coverage(shown) == 0.5
    pairs = sum(abs(a - b) for a in shown for b in shown)  # the definition: half the relative mean difference
    assert gini(shown) == pytest.approx(pairs / (2 * 4 * 8) * 4 / 3)
    assert gini(np.array([5, 5, 5])) == 0
    assert gini(np.array([0, 0, 9])) == 1
    assert novelty(shown, np.array([8, 4, 0, 4])) == pytest.approx((6 * 2 + 2 * 4) / 8)
    nothing = np.zeros(3, np.int64)
    assert (coverage(nothing), gini(nothing), novelty(nothing, nothing + 1)) == (0, 0, 0)


def test_intervals_cover_the_true_mean_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    values = rng.exponential(2.0, (400, 600))  # 600 experiments with 400 users each
    low, high = bootstrap(values).T
    covered = np.mean((low <= 2) & (high >= 2))
    assert 0.91 < covered < 0.97
    expected = 2 * 1.96 * values.std(0) / np.sqrt(400)
    np.testing.assert_allclose(np.mean((high - low) / expected), 1, atol=0.03)


def test_intervals_of_many_users_are_as_wide_as_theory_says() -> None:
    values = np.random.default_rng(1).exponential(2.0, (3 * MOST_UNITS + 17, 4))
    low, high = bootstrap(values).T
    np.testing.assert_allclose(high - low, 2 * 1.96 * values.std(0) / np.sqrt(len(values)), rtol=0.12)
    assert ((low < values.mean(0)) & (values.mean(0) < high)).all()


def test_a_pair_is_compared_user_by_user() -> None:
    rng = np.random.default_rng(2)
    base: Doubles = rng.random(200)
    gain = paired(base + 0.01 + 0.02 * rng.standard_normal(200), base)
    assert gain.clear
    assert gain.low < gain.mean < gain.high
    assert gain.high - gain.low < 0.01  # far narrower than the interval of either mean, about 0.08
    assert str(gain).endswith(" *")
    assert not paired(base, base).clear
    assert paired(base, base + 0.1).clear


# Metrics of whole lists


def shown(item: list[list[int]], vectors: list[list[float]] | None = None, events: Sequence[int] = ()) -> Lists:
    return Lists(
        np.array(item, np.int32),
        Vocabulary.of(range(5)),
        np.array(events or [1] * 5),
        None if vectors is None else np.array(vectors, np.float32),
    )


def test_intra_list_distance_of_three_lists_by_hand() -> None:
    vectors = [[2.0, 0.0], [0.0, 3.0], [-1.0, 0.0], [1.0, 1.0], [0.0, 0.0]]
    lists = shown([[0, 1, 2], [0, 3, -1], [1, -1, -1], [0, 4, -1], [-1, -1, -1]], vectors)
    # (1 - 0) + (1 + 1) + (1 - 0) over three pairs; 1 - 1/√2; one item; a vector of zeros is like none; no item
    np.testing.assert_allclose(intra_list_distance(lists), [4 / 3, 1 - 1 / math.sqrt(2), 0, 1, 0], atol=1e-6)
    assert intra_list_distance(lists.cut(1)).tolist() == [0.0] * 5
    with pytest.raises(SettingError, match="this model has no item vectors"):
        intra_list_distance(shown([[0, 1]]))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), k=st.integers(1, 6), numbers=st.integers(1, 200))
def test_intra_list_distance_is_the_mean_over_pairs(seed: int, k: int, numbers: int) -> None:
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((9, 3)).astype(np.float32)
    item = np.array([rng.permutation(9)[:k] for _ in range(7)], np.int32)
    for row in item:
        row[rng.integers(0, k + 1) :] = -1
    expected = []
    for row in item:
        own = [vectors[i].astype(float) / np.linalg.norm(vectors[i].astype(float)) for i in row if i >= 0]
        pairs = [1 - own[a] @ own[b] for a in range(len(own)) for b in range(a)]
        expected.append(float(np.mean(pairs)) if pairs else 0.0)
    lists = Lists(item, Vocabulary.of(range(9)), np.ones(9, np.int64), vectors)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("palate.evaluation.lists.NUMBERS", numbers)  # blocks of any size give the same
        np.testing.assert_allclose(intra_list_distance(lists), expected, atol=1e-5)


def test_self_information_is_in_bits() -> None:
    lists = shown([[0, 1], [2, -1], [4, 0], [-1, -1]], events=[8, 4, 2, 2, 0])
    assert self_information(lists).tolist() == [(1 + 2) / 2, 3, (4 + 1) / 2, 0]


def test_a_metric_of_lists_reads_the_catalogue() -> None:
    frame = pl.DataFrame({"item_id": [4, 0, 9], "price": [2.0, 6.0, 9.0]})
    lists = shown([[0, 4], [1, 0]])
    with pytest.raises(SettingError, match="attribute='price': no catalogue is given"):
        lists.attribute("price")
    told = Lists(lists.item, lists.items, lists.events, None, Catalogue(Vocabulary.of([4, 0, 9]), frame))
    assert told.attribute("price").to_list() == [6.0, None, None, None, 2.0]
    with pytest.raises(SettingError, match="attribute='colour': is one of price"):
        told.attribute("colour")


def test_metrics_of_lists_need_names_and_a_number_for_each_list() -> None:
    lists = shown([[0, 1], [2, 3]], events=[8, 4, 2, 1, 1])
    found = of_lists([self_information], lists, (1, 2))
    assert {name: values.tolist() for name, values in found.items()} == {
        "self_information@1": [1.0, 3.0],
        "self_information@2": [1.5, 3.5],
    }

    def novelty(lists: Lists) -> Doubles:
        return np.zeros(len(lists.item))

    def short(_: Lists) -> Doubles:
        return np.zeros(1)

    for metrics, fault in (
        ([novelty], "metrics='novelty': each needs a name of its own"),
        ([self_information, self_information], "metrics='self_information': each needs a name of its own"),
        ([short], "metrics='short': must give a finite number for each of the 2 lists"),
    ):
        with pytest.raises(SettingError, match=fault):
            of_lists(metrics, lists, (2,))


GENRES = pl.Series([["a"], ["a", "b"], ["b"], ["c"], None], dtype=pl.List(pl.String))
FILMS = Catalogue(Vocabulary.of(range(5)), pl.DataFrame({"item_id": range(5), "genres": GENRES}))


def mixed(item: list[list[int]], past: list[list[int]], events: Sequence[int] = (8, 4, 2, 2, 0)) -> Lists:
    start = np.cumsum([0, *map(len, past)])
    column = np.array([each for row in past for each in row], np.int32)
    rows = Ragged(start, column, np.where(column == 3, -1, 1).astype(np.float32))  # an event on item 3 is a dislike
    return Lists(np.array(item, np.int32), FILMS.items, np.array(events), None, FILMS, rows)


def test_calibration_by_hand() -> None:
    lists = mixed([[0, 2], [0, 0], [2, -1], [4, -1], [0, 2]], [[0, 2], [0, 1], [0, 0, 3], [0], [3, 4]])
    q = np.array([0.01 * 0.75 + 0.99, 0.01 * 0.25])  # of the second list: p = (3/4, 1/4), q = (1, 0)
    second = 0.75 * math.log(0.75 / q[0]) + 0.25 * math.log(0.25 / q[1])
    expected = [0, second, math.log(100), math.log(100), 0]
    np.testing.assert_allclose(calibration_kl("genres")(lists), expected, atol=1e-12)
    middle = np.array([0.875, 0.125])
    apart = (0.75 * math.log(0.75 / middle[0]) + 0.25 * math.log(0.25 / middle[1]) + math.log(1 / middle[0])) / 2
    found = calibration_js("genres")(lists)
    np.testing.assert_allclose(found, [0, apart, math.log(2), math.log(2) / 2, 0], atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), numbers=st.integers(1, 20))
def test_divergences_agree_with_scipy_in_blocks_of_any_size(seed: int, numbers: int) -> None:
    rng = np.random.default_rng(seed)
    item = rng.integers(-1, 4, (7, 3)).astype(np.int32)
    past = [rng.choice([0, 1, 2], rng.integers(1, 5)).tolist() for _ in range(7)]
    parts = np.array([[1, 0, 0], [0.5, 0.5, 0], [0, 1, 0], [0, 0, 1]])
    lists = mixed(item.tolist(), past)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("palate.evaluation.mixes.NUMBERS", numbers)
        found = calibration_kl("genres")(lists), calibration_js("genres")(lists)
    for own, seen, kl, js in zip(item, past, *found, strict=True):
        p = parts[seen].sum(0) / len(seen)
        q = parts[own[own >= 0]].sum(0) / max((own >= 0).sum(), 1)
        assert kl == pytest.approx(rel_entr(p, 0.99 * q + 0.01 * p).sum())
        assert js == pytest.approx((rel_entr(p, (p + q) / 2).sum() + rel_entr(q, (p + q) / 2).sum()) / 2)


def test_entropy_and_coverage_of_an_attribute() -> None:
    lists = mixed([[0, 2], [0, 0], [1, 3], [4, -1], [-1, -1]], [[]] * 5)
    np.testing.assert_allclose(attribute_entropy("genres")(lists), [1, 0, 1.5, 0, 0], atol=1e-12)
    np.testing.assert_allclose(attribute_coverage("genres")(lists), [2 / 3, 1 / 3, 1, 0, 0])
    with pytest.raises(SettingError, match="attribute='colour': is one of genres"):
        attribute_entropy("colour")(lists)
    assert calibration_kl("genres").__name__ == "calibration_kl(genres)"


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), k=st.integers(1, 4))
def test_exposure_gini_is_that_of_all_lists_together(seed: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    item = np.array([rng.permutation(5)[:k] for _ in range(7)], np.int32)
    for row in item:
        row[rng.integers(0, k + 1) :] = -1
    parts = {0: {"a": 1.0}, 1: {"a": 0.5, "b": 0.5}, 2: {"b": 1.0}, 3: {"c": 1.0}}
    size, exposure = {"a": 1.5, "b": 1.5, "c": 1.0}, dict.fromkeys("abc", 0.0)
    for row in item.tolist():
        for place, each in enumerate(row, 1):
            for group, part in parts.get(each, {}).items():
                exposure[group] += part / size[group] / math.log2(place + 1)
    own = [*exposure.values()]
    apart = (
        sum(abs(a - b) for a in own for b in own) / 2 / 3 / max(sum(own), 1e-300) * 3 / 2
    )  # of 3 groups at most 2/3
    found = exposure_gini("genres")(mixed(item.tolist(), [[]] * 7))
    assert found.shape == (7,)
    assert found.mean() == pytest.approx(apart)


def test_exposure_gini_of_equal_and_of_unequal_groups() -> None:
    gini = exposure_gini("genres")
    assert gini.__name__ == "exposure_gini(genres)"
    assert gini(mixed([[0], [2], [3]], [[]] * 3)).mean() == pytest.approx((1 - 2 / 3) / 2 / (7 / 3) * 2)
    assert gini(mixed([[3], [3]], [[]] * 2)).mean() == pytest.approx(1)
    assert gini(mixed([[4, -1], [-1, -1]], [[]] * 2)).tolist() == [0, 0]  # an item without a genre, and none
    everything = mixed([[0], [0], [2], [2], [1], [1], [3], [3]], [[]] * 8)
    assert gini(everything).mean() == pytest.approx(0)
    with pytest.raises(SettingError, match="attribute='colour': is one of genres"):
        exposure_gini("colour")(everything)


def test_the_interval_of_exposure_gini_is_that_of_lists_drawn_again() -> None:
    rng = np.random.default_rng(0)
    item = rng.choice(4, (400, 1), p=[0.4, 0.1, 0.2, 0.3])
    gini = exposure_gini("genres")
    low, high = bootstrap(gini(mixed(item.tolist(), [[]] * 400))[:, None])[0]
    again = [gini(mixed(item[rng.integers(400, size=400)].tolist(), [[]] * 400)).mean() for _ in range(300)]
    np.testing.assert_allclose([low, high], np.quantile(again, [0.025, 0.975]), atol=0.15 * (high - low))


def test_popularity_lift_and_cold_items() -> None:
    lists = mixed([[0, 1], [2, 4], [4, -1], [-1, -1], [0, 1]], [[2, 2, 1], [0, 3], [1], [1], []])
    assert popularity_lift(lists).tolist() == pytest.approx([6 / (8 / 3) - 1, 1 / 8 - 1, -1, 0, 0])
    assert share_of_cold_items(lists).tolist() == [0, 0.5, 1, 0, 0]
    assert popularity_lift(Lists(lists.item, lists.items, lists.events)).tolist() == [0] * 5


def test_serendipity_counts_hits_that_popularity_does_not_expect() -> None:
    lists = mixed([[0, 2], [3, 2], [1, 4], [2, -1]], [[]] * 4)
    hit = replace(lists, hits=np.array([[True, True], [True, True], [True, False], [True, False]]))
    assert serendipity(hit).tolist() == [0.5, 1, 0, 0.5]  # items 0 and 1 are expected
    assert serendipity(hit.cut(1)).tolist() == [0, 1, 1, 1]  # item 0 alone
    with pytest.raises(SettingError, match="serendipity: it is not known which items are relevant"):
        serendipity(lists)
