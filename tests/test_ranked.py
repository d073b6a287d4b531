"""Ranked: trees as arrays, features equal in training and serving, and a second stage that learns."""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from conftest import block_events, catalogue_of, log_of
from hypothesis import given
from hypothesis import strategies as st

from palate import EASE, IALS, SLIST, Catalogue, Ranked, load
from palate.data.interactions import Interactions
from palate.data.ragged import NEVER
from palate.errors import DataError, MissingExtra, ModelError, SettingError
from palate.kernels.forest import in_history, shared_values, unite
from palate.kernels.rows import crossings
from palate.models.base import Model
from palate.models.popularity import Popularity
from palate.ranking.context import history_of, offline
from palate.ranking.facts import words_of
from palate.ranking.forest import Forest, grow
from palate.ranking.item_index import ItemIndex
from palate.ranking.lessons import best_way
from palate.ranking.pipeline import recommend
from palate.ranking.ranked import RankedModel, answered
from palate.ranking.request import ListRequest
from palate.ranking.values import GRADES, graded, worth
from palate.testing import check_recipe

ITEMS = 40
DAY = 24 * 3_600_000_000  # microseconds


def chain(users: int = 400, seed: int = 0) -> Interactions:
    """Users go up a line of items; each jumps once, by their first item: order and history both tell something."""
    draw = np.random.default_rng(seed)
    events = []
    for user in range(users):
        at = int(draw.integers(0, ITEMS))
        step = 1 + at % 3
        events += [(f"u{user}", f"i{(at + n * step) % ITEMS}", 1.0, n + user) for n in range(6)]
    return log_of(events)


def shops() -> Catalogue:
    ids = [f"i{n}" for n in range(ITEMS)]
    groups = [["even" if n % 2 else "odd", f"g{n % 5}"] for n in range(ITEMS)]
    return Catalogue(
        log_of([("u", each, 1.0, 0) for each in ids]).items,
        pl.DataFrame({"item_id": ids, "categories": groups, "price": [float(n) for n in range(ITEMS)]}),
    )


LOG = chain()
RECIPE = Ranked(recipes=(SLIST(l2=10), "IALS(dim=8, epochs=3)"), pool=25)


@cache
def fitted() -> RankedModel:
    """Return the model of the log, fitted when it is first needed: each process lists all tests, and runs a part."""
    model = RECIPE.fit(LOG, shops())
    assert isinstance(model, RankedModel)
    return model


# The kernels


@given(
    st.integers(1, 4).flatmap(
        lambda m: st.lists(st.permutations(range(12)).map(lambda row: row[:6]), min_size=m, max_size=m)
    ),
    st.integers(0, 6),
    st.integers(1, 20),
)
def test_lists_are_united_by_the_best_place(rows: list[list[int]], cut: int, most: int) -> None:
    lists = np.array(rows, np.int32)
    lists[0, 6 - cut :] = -1
    item, place = unite(lists, most)
    places = {
        each: [1 + row.tolist().index(each) if each in row else 7 for row in lists] for each in set(lists[lists >= 0])
    }
    wanted = sorted(places, key=lambda each: (min(places[each]), places[each].index(min(places[each]))))[:most]
    assert item.tolist() == wanted
    assert place.T.tolist() == [places[each] for each in wanted]


def test_history_counts() -> None:
    past, item = np.array([3, 5, 3, 1], np.int32), np.array([3, 1, 9], np.int32)
    assert in_history(past, item).tolist() == [[2, 1, 0], [2, 1, 5]]
    assert in_history(past[:0], item).tolist() == [[0, 0, 0], [1, 1, 1]]


def test_entries_of_a_sparse_table_are_found() -> None:
    start, column = np.array([0, 2, 2, 3, 3, 3]), np.array([1, 4, 0], np.int32)
    count = np.array([5, 6, 7], np.float32)
    item = np.array([4, 0, 1, 2], np.int32)
    rows = crossings(start, column, count, np.arange(3, dtype=np.int32), item).tolist()
    assert rows == [[6, 0, 5, 0], [0, 0, 0, 0], [0, 7, 0, 0]]


def test_values_that_are_shared() -> None:
    start, code = np.array([0, 2, 3, 3, 5]), np.array([0, 1, 1, 2, 1], np.int32)
    found = shared_values(start, code, np.array([1, 0], np.int32), np.array([0, 1, 2, 3], np.int32), 0.5)
    np.testing.assert_allclose(found[0], [1, 1 / 2, 0, 1 / 3])
    np.testing.assert_allclose(found[1], [(1 + 1.5) / 1.5 / 2, 1, 0, 1.5 / 1.5 / 2])
    assert not shared_values(start, code, np.zeros(0, np.int32), np.array([0], np.int32), 0.5).any()


def test_free_text_is_compared_by_its_words() -> None:
    titles = pl.Series("title", ["OPI Nail Lacquer, red", "Nail polish; red RED", None, "x"])
    assert words_of(titles).to_list() == [["opi", "nail", "lacquer", "red"], ["nail", "polish", "red"], None, []]
    brands = pl.Series("brand", ["OPI", "OPI", "Essie", "OPI"])
    assert words_of(brands).to_list() == brands.to_list()


# The forest


def test_trees_as_arrays_score_as_lightgbm_does(monkeypatch: pytest.MonkeyPatch) -> None:
    lightgbm = pytest.importorskip("lightgbm")
    trained = []
    train = lightgbm.train

    def kept(*args: object, **kwargs: object) -> object:
        trained.append(train(*args, **kwargs))
        return trained[0]

    monkeypatch.setattr(lightgbm, "train", kept)
    draw = np.random.default_rng(0)
    rows = draw.normal(size=(3000, 7)).astype(np.float32)
    rows[:, 2] = np.round(rows[:, 2])
    label = (rows[:, 0] * rows[:, 2] + draw.normal(size=3000) > 1).astype(np.float64)
    forest = grow(np.ascontiguousarray(rows.T), label, np.full(300, 10), np.zeros(3000), 60, seed=0)
    assert len(forest) == trained[0].best_iteration > 3
    more = np.concatenate([rows, 100 * rows, np.zeros((1, 7), np.float32)])
    wanted = trained[0].predict(more, num_iteration=len(forest))
    np.testing.assert_allclose(forest.scores(np.ascontiguousarray(more.T)), wanted, rtol=0, atol=1e-9)


def test_a_forest_of_all_queries_has_as_many_trees_as_told() -> None:
    pytest.importorskip("lightgbm")
    draw = np.random.default_rng(0)
    rows = draw.normal(size=(4, 1000)).astype(np.float32)
    label = (rows[0] > 1).astype(np.float64)
    data = rows, label, np.full(100, 10), np.zeros(1000)
    own, less = (grow(*data, valid, seed=0, trees=7) for valid in (0, 40))
    assert len(own) == 7 >= len(less)
    assert own.scores(rows).tolist() != less.scores(rows).tolist()


def test_stages_order_together_unless_one_alone_is_surely_better() -> None:
    chance = np.random.default_rng(0).normal(size=(400, 3))
    level = chance - chance.mean(axis=0)
    found = [best_way(level + np.array(more)) for more in ([0, 0, 0], [0, 0.01, 0.02], [0, -1, -0.5], [0, 0.5, 1])]
    assert found == [0, 0, 0, 2]


def test_an_empty_forest_scores_nothing() -> None:
    assert Forest.empty().scores(np.ones((3, 5), np.float32)).tolist() == [0] * 5


def test_trees_that_would_leave_no_leaf_are_refused() -> None:
    """The kernel would read beyond the leaves."""
    none = replace(Forest.empty(1, 3), keep=np.full((1, 3), 7))
    with pytest.raises(ModelError, match="has no bit of leaf 3; each split keeps the last, of 64 at most"):
        replace(fitted(), forest=none)
    with pytest.raises(ModelError, match="has no bit of leaf 64"):
        replace(fitted(), forest=Forest.empty(1, 64))
    replace(fitted(), forest=Forest.empty(1, 63))
    far = replace(Forest.empty(1, 1), feature=np.full((1, 1), 99, np.int32))
    with pytest.raises(ModelError, match=r"Forest\.feature: has numbers 99 to 99"):
        replace(fitted(), forest=far)


# Queries and features


@pytest.mark.parametrize("gap", [0, 1, 2])
def test_queries_ask_for_the_newest_event(gap: int) -> None:
    (queries,) = replace(RECIPE, gap=gap, users=50, folds=1).queries(LOG)
    asked = queries.wanted.event
    assert len(queries) == len(asked) == len(set(LOG.user[asked].tolist())) == 50
    for n, event in enumerate(asked.tolist()):
        start, end = LOG.start[LOG.user[event]], LOG.start[LOG.user[event] + 1]
        assert event == end - 1
        assert queries.known[start:end].tolist() == [True] * (5 - gap) + [False] * (gap + 1)
        assert queries.past.event[queries.past.start[n] : queries.past.start[n + 1]].tolist() == [
            *range(start, event)
        ]


def test_queries_of_users_whom_nobody_knows() -> None:
    (queries,) = replace(RECIPE, held_out="users", users=50, folds=1).queries(LOG)
    asked = queries.wanted.event
    held_out = LOG.user[asked]
    assert not queries.known[np.isin(LOG.user, held_out)].any()
    assert queries.known.sum() == len(LOG) - 50 * 6
    assert len(queries) == len(set(asked.tolist())) == 3 * 50  # of 5 events that have one before them
    for n, event in enumerate(asked.tolist()):
        past = queries.past.event[queries.past.start[n] : queries.past.start[n + 1]]
        assert past.tolist() == [*range(LOG.start[held_out[n]], event)] != []


def test_queries_of_new_users_stay_within_short_histories() -> None:
    log = log_of([(f"u{n}", f"i{each}", 1.0, each) for n in range(40) for each in range(2 + n % 3)])
    (queries,) = replace(RECIPE, held_out="users", users=99, folds=1).queries(log)
    asked = queries.wanted.event
    counts = np.bincount(log.user[asked], minlength=40)
    assert len(set(asked.tolist())) == len(asked)
    assert sorted(counts[counts > 0].tolist()) == sorted(np.minimum(3, np.diff(log.start)[counts > 0] - 1).tolist())
    assert np.count_nonzero(counts) == 20


def test_queries_of_a_share_of_the_events() -> None:
    log = log_of([(f"u{n % 9}", f"i{n}", 1.0 if n % 4 else -1.0, n) for n in range(180)])
    (queries,) = replace(RECIPE, held_out="ratio", users=7, folds=1).queries(log)
    assert len(queries) == 7
    for n, (answers, shares) in enumerate(queries.answers(log)):
        past = queries.past.event[queries.past.start[n] : queries.past.start[n + 1]]
        user = log.user[past[0]]
        own = np.flatnonzero(log.user == user)
        assert len(answers) == len(shares) == int(0.2 * log.liked[own].sum())
        assert log.liked[own[~queries.known[own]]].all()
        assert sorted([*log.item[past], *answers]) == sorted(log.item[own])
        assert (np.diff(past) > 0).all()


@pytest.mark.parametrize("held_out", ["events", "users", "ratio"])
def test_what_a_fold_asks_for_is_known_in_the_others(held_out: str) -> None:
    """The folds have users of their own, as many queries as one fold has, and each lacks its users' events alone."""
    recipe = replace(RECIPE, held_out=held_out, users=150)
    (one,), folds = (replace(recipe, folds=n).queries(LOG) for n in (1, 3))
    unknown = [set(LOG.user[~each.known].tolist()) for each in folds]
    assert set.union(*unknown) == set(LOG.user[~one.known].tolist())
    assert sum(map(len, unknown)) == len(set.union(*unknown)) == 150
    assert sum(map(len, folds)) == len(one)
    for each, users in zip(folds, unknown, strict=True):
        assert set(LOG.user[each.wanted.event].tolist()) == users
        assert not each.known[each.wanted.event].any()


def test_a_fold_of_new_users_leaves_half_of_them() -> None:
    for folds in (1, 2):
        for each in replace(RECIPE, held_out="users", users=10_000, folds=folds).queries(LOG):
            assert len(np.unique(LOG.user[~each.known])) == len(LOG.users) // 2
            assert not (set(LOG.user[each.wanted.event]) & set(LOG.user[each.known]))


def test_features_in_training_are_those_in_serving() -> None:
    """Event by event: what a query of the training sees is what a list for the same history sees."""
    (queries,) = replace(RECIPE, users=60, folds=1).queries(LOG)
    every = np.ones(len(fitted().items), np.bool_)
    for event, (candidates, *_) in zip(queries.wanted.event.tolist(), answered(fitted(), LOG, queries), strict=True):
        past = LOG.items.names(LOG.item[LOG.start[LOG.user[event]] : event]).to_list()
        served = next(fitted().candidates(fitted().histories([past]), every, keep_seen=False))
        np.testing.assert_array_equal(served.item, candidates.item)
        np.testing.assert_allclose(served.columns, candidates.columns, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("held_out", ["events", "users"])
def test_no_feature_sees_the_answer(held_out: str) -> None:
    """Other answers to the queries, to the last one of a user, change no candidate and no feature of it."""
    (queries,) = replace(RECIPE, held_out=held_out, users=40, folds=1).queries(LOG)
    asked = queries.wanted.event
    last = np.maximum.reduceat(np.sort(asked), np.unique(LOG.user[np.sort(asked)], return_index=True)[1])
    item = LOG.item.copy()
    item[last] = (item[last] + 7) % ITEMS
    other = replace(LOG, item=item)
    bare = shops(), (), fitted().order, Forest.empty(), None
    models = [RECIPE._fitted(log.select(queries.known), *bare) for log in (LOG, other)]
    pairs = zip(answered(models[0], LOG, queries), answered(models[1], other, queries), strict=True)
    for event, ((one, wanted, _), (two, changed, _)) in zip(asked, pairs, strict=True):
        assert (wanted.tolist() != changed.tolist()) == (event in last)
        np.testing.assert_array_equal(one.item, two.item)
        np.testing.assert_allclose(one.columns, two.columns, rtol=1e-5, atol=1e-5)


def by_the_hour() -> Interactions:
    """Users come at 8 and at 20 o'clock, at random: in the morning for an item m*, in the evening for one e*."""
    draw = np.random.default_rng(0)
    evenings = draw.integers(0, 2, (400, 8))
    events = [
        (f"u{u}", f"{'me'[x]}{draw.integers(0, 10)}", 1.0, n) for u in range(400) for n, x in enumerate(evenings[u])
    ]
    days = log_of(events).rows.place + np.repeat(np.arange(400) % 5, 8)
    return replace(log_of(events), timestamp=days * DAY + (8 + 12 * evenings.reshape(-1)) * (DAY // 24))


def test_lists_follow_the_hour_they_are_asked_for() -> None:
    log = by_the_hour()
    model = Ranked(recipes=(EASE(l2=100), Popularity()), pool=20, gap=0).fit(log)
    assert model.reads_time
    assert {"pause", "hour", "times in these hours"} <= set(model.features)
    day, hour = DAY, DAY // 24
    asked = model.histories([["m1", "e1"]] * 3)
    times = replace(asked, asked=np.array([50 * day + 8 * hour, 50 * day + 20 * hour, NEVER]))
    morning, evening, _ = model.recommend(times, 5).lists()
    assert {str(each)[0] for each in morning} == {"m"}
    assert {str(each)[0] for each in evening} == {"e"}
    base = offline(model, ItemIndex.of_model(model.items), np.ones(len(model.items), np.bool_))
    one = base.of(history_of(asked.block(0, 1)))
    for now, wanted in ((50 * day + 8 * hour, morning), (50 * day + 20 * hour, evening)):
        shown = recommend(ListRequest(k=5), one.at(now))
        assert [each.item_id for each in shown.items] == wanted


def test_dates_are_no_times_of_day() -> None:
    """A log of dates alone, and one without times, have no features of hours and days."""
    assert not fitted().reads_time
    assert "hour" not in fitted().features
    log = by_the_hour()
    assert log.timestamp is not None
    for time in (None, log.timestamp // DAY * DAY):
        model = RECIPE.fit(replace(log, timestamp=time))
        assert not model.reads_time


def test_a_list_without_a_time_is_asked_after_the_usual_pause() -> None:
    log = by_the_hour()
    model = Ranked(recipes=(EASE(l2=100), Popularity()), pool=20).fit(log)
    assert model.facts.pause == DAY
    known = log.histories(["u7"])
    at = known.rows.moments[-1] + DAY
    every = np.ones(len(model.items), np.bool_)
    for untimed in (known, replace(known, asked=np.array([NEVER]))):
        own, other = (
            next(model.candidates(each.on(model.items), every, False))
            for each in (untimed, replace(known, asked=np.array([at])))
        )
        np.testing.assert_array_equal(own.columns, other.columns)


def test_each_feature_has_a_name() -> None:
    every = np.ones(len(fitted().items), np.bool_)
    for history in (["i3", "i4"], ["i3"]):
        found = next(fitted().candidates(fitted().histories([history]), every, keep_seen=False))
        assert len(found.columns) == len(fitted().features) == len(set(fitted().features))
        assert np.isfinite(found.columns).all()
    assert "shares with newest categories" in fitted().features


# What an answer is worth


def test_worth_is_relative_to_the_mean() -> None:
    log = log_of([("u", "a", 1.0, 0), ("u", "b", 3.0, 1), ("v", "c", 2.0, 0)])
    prices = Catalogue(log.items, pl.DataFrame({"item_id": ["a", "b", "c"], "price": [2.0, 6.0, None]}))
    events = np.arange(3)
    found = {
        value: worth(value, log, events, prices).round(6).tolist()
        for value in ("hits", "weight", "price", "hits + weight", "3*price+price")
    }
    assert found == {
        "hits": [1, 1, 1],
        "weight": [0.5, 1.5, 1],
        "price": [0.5, 1.5, 1],  # an item without a price has the mean
        "hits + weight": [0.75, 1.25, 1],
        "3*price+price": [0.5, 1.5, 1],
    }
    assert worth("0.25*hits + 0.75 * price", log, events[:2], prices).tolist() == [0.625, 1.375]


@pytest.mark.parametrize(
    ("value", "rule"),
    [("", 'must be a sum of names and factors, as "hits'), ("a b", "must be a sum"), ("0*hits", "must be above 0")],
)
def test_values_that_are_no_sum(value: str, rule: str) -> None:
    with pytest.raises(SettingError, match=rule):
        Ranked(value=value)


@pytest.mark.parametrize(("value", "rule"), [("colour", "a column of numbers"), ("debt", r"item 'i\d+' is -")])
def test_values_that_the_catalogue_cannot_tell(value: str, rule: str) -> None:
    debts = shops().frame.with_columns(debt=-pl.col("price"), colour=pl.lit("red"))
    with pytest.raises(SettingError, match=rule):
        replace(RECIPE, value=value).fit(LOG, Catalogue(shops().items, debts))


def test_grades_of_labels() -> None:
    label, sizes = np.array([0, 1.0, 0, 4.0, 2.0, 0, 0]), np.array([3, 2, 2])
    grade, gains, weight = graded(label, sizes)
    assert grade.tolist() == [0, 1, 0, 3, 2, 0, 0]
    assert gains == [0, 1, 2, 4]
    assert weight.tolist() == [1, 1, 1, 3, 3, 0, 0]
    many = np.arange(1.0, 1001)
    grade, gains, _ = graded(many, np.array([1000]))
    assert max(grade) + 1 == len(gains) <= GRADES + 1
    assert (np.diff(grade) >= 0).all()
    assert (np.diff(gains) > 0).all()


def test_dear_answers_come_first_where_prices_count() -> None:
    """A cheap item is taken three times of five, one of ten times its price twice; the history is no help."""
    draw = np.random.default_rng(0)
    events = []
    for user in range(400):
        shown = draw.integers(0, 20)
        events += [
            (f"u{user}", f"{kind}{(shown + n) % 20}", 1.0, n)
            for n, kind in enumerate(draw.choice(["cheap", "dear"], 6, p=[0.6, 0.4]))
        ]
    log = log_of(events)
    prices = [10.0 if name.startswith("dear") else 1.0 for name in log.items.ids]
    catalogue = Catalogue(log.items, pl.DataFrame({"item_id": log.items.ids, "price": prices}))
    recipe = Ranked(recipes=(EASE(l2=100), "SLIST(l2=10)"), pool=20, gap=0)

    def dear(value: str) -> float:
        lists = replace(recipe, value=value).fit(log, catalogue).recommend(log, 1).lists()
        return float(np.mean([str(each).startswith("dear") for row in lists for each in row]))

    assert dear("price") > dear("hits") + 0.3


# The model


def test_it_learns_what_its_stages_cannot_know() -> None:
    """Items come and go: what was popular last is what users take next, and no stage reads the time."""
    draw = np.random.default_rng(0)
    log = log_of([(f"u{u}", f"i{5 * n + draw.integers(0, 10)}", 1.0, n) for u in range(400) for n in range(7)])
    asked = np.arange(300, 400)
    last = log.start[asked + 1] - 1
    train = log.select(~np.isin(np.arange(len(log)), last))
    recipe = Ranked(recipes=(EASE(l2=100), "IALS(dim=4, epochs=3)"), gap=0, users=150)

    def hits(model: Model) -> int:
        shown = model.recommend(train.histories(log.users.ids.gather(asked)), 5).lists()
        return sum(log.items.ids[int(log.item[event])] in row for event, row in zip(last, shown, strict=True))

    model = recipe.fit(train)
    assert len(model.forest)
    assert hits(model) > 1.3 * max(hits(each) for each in model.models)


def test_it_keeps_the_contract() -> None:
    check_recipe(Ranked(recipes=(EASE(l2=100), "SLIST(l2=10)"), users=20))


def test_recipes_may_be_text() -> None:
    assert Ranked(recipes=("SLIST()", "IALS()")) == Ranked(recipes=(SLIST(), IALS()))


def test_a_saved_forest_orders_the_same(tmp_path: Path) -> None:
    fitted().save(tmp_path / "model", log=LOG)
    loaded = load(tmp_path / "model")
    assert isinstance(loaded, RankedModel)
    assert len(loaded.forest) == len(fitted().forest)
    assert loaded.recommend(LOG, 10).lists() == fitted().recommend(LOG, 10).lists()


def test_an_event_changes_the_list_at_once() -> None:
    before, after = fitted().recommend([["i3", "i4"], ["i3", "i4", "i20"]], 5).lists()
    assert before != after


def test_reasons_make_no_list_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are those of the first stage, and cost what they cost there."""
    shown = fitted().recommend([["i3", "i4"]], 10).lists()[0]
    monkeypatch.setattr(RankedModel, "candidates", None)
    found = fitted().explain(["i3", "i4"], shown)
    assert len(found) == 10
    assert found == fitted().models[0].explain(["i3", "i4"], shown)
    assert any(found)


@pytest.mark.parametrize("k", [1, 25, 26, 40])
def test_lists_are_as_long_as_asked(k: int) -> None:
    for keep_seen in (True, False):
        found = fitted().recommend([["i3", "i4"]], k, keep_seen=keep_seen).lists()[0]
        assert len(found) == len(set(found)) == min(k, ITEMS - 2 * (not keep_seen))
    assert fitted().recommend([["i3"]], 5, only=["i9"]).lists() == [["i9"]]
    assert fitted().recommend([["i3"]], 5, only=[]).lists() == [[]]


def test_unknown_candidates_and_attributes() -> None:
    """Items that the catalogue lacks have no attributes; a column that it lacks is an error."""
    some = shops().among(log_of([("u", f"i{n}", 1.0, 0) for n in range(5)]).items)
    model = RECIPE.fit(LOG, some)
    assert len(model.recommend([["i30"]], 10).lists()[0]) == 10
    with pytest.raises(SettingError, match="attribute 'brand': a stage reads it, and the catalogue has"):
        replace(RECIPE, attributes=("brand",)).fit(LOG, shops())


def test_too_few_queries_leave_the_stages_order() -> None:
    log = log_of(block_events())
    model = Ranked(recipes=(EASE(l2=100), Popularity())).fit(log, catalogue_of(log))
    assert not len(model.forest)
    assert len(model.recommend([["i0", "i1"]], 5).lists()[0]) == 5


def test_queries_whose_items_no_stage_knows_are_left_out() -> None:
    """Items of held-out users alone: their histories are empty to the first stages."""
    strange = [
        (f"s{user}", f"x{user}-{n}" if n < 2 else f"i{user % ITEMS}", 1.0, n) for user in range(80) for n in range(4)
    ]
    log = Interactions.merge(LOG, log_of(strange))
    model = replace(RECIPE, held_out="users", users=400).fit(log)
    assert len(model.recommend([["i3"]], 5).lists()[0]) == 5


def test_only_training_needs_lightgbm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    assert fitted().recommend([["i3"]], 3).lists()
    with pytest.raises(MissingExtra, match=r"lightgbm is not installed; run: pip install 'palate\[rank\]'"):
        RECIPE.fit(LOG)


def test_dislikes_are_no_answers() -> None:
    weight = LOG.weight.copy()
    weight[LOG.rows.left == 1] = -1
    for queries in RECIPE.queries(replace(LOG, weight=weight)):
        assert (weight[queries.wanted.event] > 0).all()


def test_an_empty_log_is_refused() -> None:
    with pytest.raises(DataError, match="nothing to learn from"):
        RECIPE.fit(LOG.select(np.zeros(len(LOG), np.bool_)))
