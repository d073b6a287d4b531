"""What users of the library give a model, in any form, and what several explanations at once cost."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy.sparse import coo_array, csc_array, csr_array, csr_matrix
from test_splits import log_of
from threadpoolctl import threadpool_limits

from benchmarks.common.logs import movielens
from palate import (
    EASE,
    IALS,
    SLIST,
    Embedding,
    ItemKNN,
    Popularity,
    Private,
    compare,
    evaluate,
    load,
    read_log,
    split_ratio,
)
from palate.data.histories import Histories
from palate.data.interactions import Interactions
from palate.errors import DataError, MissingExtra, SettingError, UnknownId
from palate.kernels.rows import crossings
from palate.models.base import Model
from palate.models.blend import Blend
from palate.privacy import forget

EVENTS: list[Any] = [(f"u{u}", f"i{(u * u + 3 * n) % 20}", 1.0, n) for u in range(30) for n in range(4 + u % 5)]
LOG = log_of(EVENTS)
FRAME = LOG.to_frame()
FORMS: dict[str, Callable[[], Any]] = {
    "histories": LOG.histories,
    "polars": lambda: FRAME,
    "lazy": lambda: FRAME.lazy(),
    "arrow": FRAME.to_arrow,
    "pandas": lambda: FRAME.to_pandas(),
    "other names": lambda: FRAME.rename({"user_id": "userId", "item_id": "movieId"}),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
def test_a_log_may_be_given_in_any_form(form: Callable[[], Any]) -> None:
    model = IALS(dim=4, epochs=2).fit(LOG)
    plain, asked = model.recommend(LOG, 5), model.recommend(form(), 5)
    assert asked.lists() == plain.lists()
    assert asked.users.to_list() == plain.users.to_list()
    assert np.array_equal(model.scores(form()), model.scores(LOG.histories()))


@pytest.mark.parametrize("form", list(FORMS)[1:])
def test_a_recipe_is_fitted_to_a_log_in_any_form(form: str) -> None:
    frame: Any = FORMS[form]()
    for recipe in (ItemKNN(), IALS(dim=4, epochs=2), Blend(recipes=(EASE(), Popularity()))):
        assert recipe.fit(frame).recommend(LOG, 5).lists() == recipe.fit(LOG).recommend(LOG, 5).lists()


MATRIX = csr_array(np.where(np.random.default_rng(0).random((30, 20)) < 0.3, 2.5, 0) * (np.arange(20) != 4))
MATRIX = csr_array(MATRIX.toarray() * (np.arange(30) != 7)[:, None])  # without user 7 and item 4


@pytest.mark.parametrize("kind", [csr_array, csc_array, coo_array, csr_matrix])
def test_a_sparse_matrix_is_a_log_of_its_rows_and_columns(kind: Callable[[Any], Any]) -> None:
    row, column = MATRIX.nonzero()
    frame: Any = pl.DataFrame({"user_id": row, "item_id": column, "weight": 2.5})
    matrix = kind(MATRIX)
    model, plain = ItemKNN().fit(matrix), ItemKNN().fit(frame)
    assert model.items.ids.sort().to_list() == [n for n in range(20) if n != 4]
    asked = model.recommend(matrix, 5)
    assert asked.users.to_list() == [*range(30)]  # a list for each row, that without numbers too
    assert asked.lists() == plain.recommend(read_log(frame).histories(range(30)), 5).lists()
    assert model.recommend(kind((2, 20)), 3).lists() == model.recommend([[], []], 3).lists()
    assert model.explain(matrix[[3], :] if kind is csr_array else [0], 1) is not None
    assert np.array_equal(read_log(kind(MATRIX != 0)).weight, np.ones(len(row)))


def test_what_no_recipe_is_fitted_to_is_named() -> None:
    recipe: Any = ItemKNN()
    wrong = MATRIX.copy()
    wrong.data[1] = -1
    rule = r"^row 2 of the entries of the matrix: weight is -1; weights must be finite numbers, 0 or more"
    with pytest.raises(DataError, match=rule):
        recipe.fit(wrong)
    with pytest.raises(DataError, match=r"^the entries of the matrix: no rows"):
        recipe.fit(csr_array((3, 2)))
    with pytest.raises(DataError, match=r"row 2 of the frame: rating is -1; weights must be"):
        recipe.fit(pl.DataFrame({"user": [1, 2], "item": [1, 1], "rating": [1, -1]}))
    with pytest.raises(DataError, match=r"no item column among 'user'"):
        recipe.fit(pl.DataFrame({"user": [1, 2]}).to_pandas())
    for other in (MATRIX.toarray(), [[1, 2]], split_ratio(LOG), None):
        with pytest.raises(
            DataError, match="cannot be read; give a path, or a frame of polars, pandas or pyarrow, or"
        ):
            recipe.fit(other)


def test_the_histories_of_a_split_are_a_log() -> None:
    split = split_ratio(LOG, 0.3, valid=0.2)
    model = EASE().fit(split.train)
    past = split.history("test")
    assert model.recommend(past, 3).lists() == model.recommend(past.histories(), 3).lists()
    for recipe in (IALS(dim=4, epochs=1), ItemKNN(), Popularity(), Blend(recipes=(EASE(), Popularity()))):
        scores = recipe.fit(split.train).scores(past)  # type: ignore[arg-type]
        assert scores.shape == (len(past.users), len(split.train.items))


def test_lists_may_come_one_by_one_or_in_a_column() -> None:
    model = EASE().fit(LOG)
    plain = model.recommend([["i0", "i3"], ["i9"]], 4).lists()
    for form in (
        (["i0", "i3"], ("i9",)),
        (row for row in (["i0", "i3"], ["i9"])),
        pl.Series([["i0", "i3"], ["i9"]]),
        np.array([["i0", "i3"], ["i9", "?"]]),
    ):
        assert model.recommend(form, 4).lists() == plain
    assert model.recommend([], 4).lists() == []


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        (["i0", "i1"], "history 0 is 'i0'"),
        ("i0", "histories are 'i0'"),
        (pl.Series(["i0", "i1"]), "history 0 is 'i0'"),
        (np.array([3, 4]), "history 0 is "),
        ({"u1": ["i0"]}, "histories are {'u1'"),
        (None, "histories are None"),
        (7, "histories are 7"),
        (split_ratio(LOG), "histories are Split"),
    ],
    ids=["one list", "an id", "a column", "an array", "a mapping", "nothing", "a number", "a split"],
)
def test_what_is_no_histories_is_named_with_what_is(wrong: Any, named: str) -> None:
    model = EASE().fit(LOG)
    for call in (model.recommend, model.scores):
        with pytest.raises(
            DataError, match=rf"^{named}.*histories are given as a log, a frame .*\[\[1, 2\]\] for one"
        ):
            call(wrong)
    with pytest.raises(DataError, match="no user column among 'a'"):
        model.recommend(pl.DataFrame({"a": [1]}))


def test_evaluate_and_compare_take_recipes_as_text_and_name_what_they_do_not_take() -> None:
    split = split_ratio(LOG, 0.3)
    assert evaluate("EASE(l2=3)", split, 3)["NDCG@3"] == evaluate(EASE(l2=3), split, 3)["NDCG@3"]
    assert [*compare(["EASE()", Popularity()], split, 3).reports] == ["EASE", "Popularity"]
    model: Any = EASE().fit(split.train)
    wrong: Any
    for wrong in (LOG, FRAME, (split.train, split.test), model, None):
        with pytest.raises(
            SettingError, match=rf"^split is a {type(wrong).__name__}; it must be a Split, as split_ra"
        ):
            evaluate(model, wrong)
    for wrong, kind in ((split, "a Split"), (EASE, "the class EASE"), (None, "a NoneType"), (3, "a int")):
        with pytest.raises(SettingError, match=f"^model is {kind}; it must be a model or a recipe"):
            evaluate(wrong, split)
    with pytest.raises(SettingError, match=r"^model='Ease\(\)': each is a recipe with its settings"):
        evaluate("Ease()", split)
    for wrong in (model, "EASE()", 3):
        with pytest.raises(SettingError, match=r"^subjects is a .*; give recipes or models in a list"):
            compare(wrong, split)


def test_users_are_named_by_their_ids(tmp_path: Path) -> None:
    ids = ["u7", "u2", "new", "u7"]
    for recipe in (ItemKNN(), Embedding(dim=4, epochs=1), Blend(recipes=(EASE(), Popularity()))):
        model = recipe.fit(LOG)
        plain = model.recommend(LOG.histories(ids), 4)
        asked = model.recommend(user_ids=ids, k=4, exclude=["?", "i3"])
        assert asked.users.to_list() == ids
        assert asked.lists() == model.recommend(LOG.histories(ids), 4, exclude=["i3"]).lists()
        for source in (LOG, FRAME, FRAME.to_pandas()):
            assert model.recommend(source, 4, user_ids=pl.Series(ids)).lists() == plain.lists()
        model.save(tmp_path / "with", log=LOG)
        assert load(tmp_path / "with").recommend(user_ids=ids, k=4).lists() == plain.lists()
        model.save(tmp_path / "without")
        for bare in (load(tmp_path / "without"), model.without({"u3"})):
            with pytest.raises(
                DataError, match=r"^user_ids: the model keeps no histories of users; give a log: recom"
            ):
                bare.recommend(user_ids=ids)
            assert bare.recommend(LOG, user_ids=["u7"]).users.to_list() == ["u7"]
        for gone in ("u3", "stranger"):  # a model that is fitted again knows the log that is left
            left = forget(model, LOG, [gone])[0].log
            assert left is None or gone not in left.users
        assert forget(model, LOG.without({"u3"}), ["u3"])[0].log is None
    number: Any = ItemKNN().fit(MATRIX)
    assert number.recommend(user_ids=[3]).lists() == number.recommend(user_ids=["3"]).lists() != []
    assert number.recommend(MATRIX, user_ids=[3]).lists() == number.recommend(user_ids=[3.0]).lists()


def test_what_user_ids_cannot_name_is_an_error() -> None:
    model: Any = EASE().fit(LOG)
    for wrong in ([["i0"]], LOG.histories()):
        with pytest.raises(
            DataError, match=f"^user_ids name users of a log or frame; the histories are a {type(wrong).__name__}"
        ):
            model.recommend(wrong, user_ids=["u1"])
    with pytest.raises(DataError, match=r"^user_ids: 7 is a whole number; the known ids are text, as 'u0'"):
        model.recommend(user_ids=[7])
    with pytest.raises(DataError, match=r"^user_ids is 'u1'; it must be a list or column of ids"):
        model.recommend(user_ids="u1")
    with pytest.raises(DataError, match=r"^user_ids\[1\] is None"):
        model.recommend(user_ids=["u1", None])
    with pytest.raises(DataError, match=r"^histories are None"):
        model.recommend()


def test_a_private_model_keeps_no_log_nor_do_models_within() -> None:
    private = Private(Popularity(), epsilon=5.0).fit(LOG)
    with pytest.raises(DataError, match="keeps no histories"):
        private.recommend(user_ids=["u1"])
    within: Any = Blend(recipes=(EASE(), Popularity())).fit(LOG)
    assert [each.log for each in within.models] == [None, None]


# What users get


def test_what_is_fitted_is_shown_in_a_line() -> None:
    model = Embedding(dim=4, epochs=1).fit(LOG)
    assert repr(ItemKNN(neighbours=7).fit(LOG)) == "SparseItemModel(ItemKNN(neighbours=7), 20 items)"
    many = Blend(recipes=tuple(IALS(dim=4, epochs=1, seed=n) for n in range(4))).fit(LOG)
    for each in (model, many, model.recommend(LOG), LOG):
        assert len(repr(each)) < 200
        assert "array" not in repr(each)
    assert repr(model.recommend(LOG, 5)) == "Rankings(30 lists of up to 5 of 20 ids)"


def test_frames_of_similar_items_and_users_name_both_sides() -> None:
    model = Embedding(dim=4, epochs=1).fit(LOG)
    items, users = model.similar_items(["i3"], 4), model.similar_users(["u2"], 4)
    assert items.to_frame().columns == ["target_item_id", "item_id", "score", "rank"]
    assert users.to_frame().columns == ["target_user_id", "user_id", "score", "rank"]
    assert items.to_frame()["target_item_id"].to_list() == ["i3"] * 4
    assert users.to_frame()["user_id"].to_list() == users.lists()[0]
    assert model.recommend(LOG).to_frame().columns == ["user_id", "item_id", "score", "rank"]


def test_frames_of_pandas(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = ItemKNN().fit(LOG).recommend(LOG, 3)
    for each in (answer, LOG):
        assert pl.from_pandas(each.to_pandas()).equals(each.to_frame())
    monkeypatch.setitem(sys.modules, "pandas", None)
    for each in (answer, LOG):
        with pytest.raises(MissingExtra, match=r"^pandas is not installed; run: pip install 'palate\[pandas\]'"):
            each.to_pandas()


# Explanations


def models() -> list[Model]:
    recipes = IALS(dim=4, epochs=2), IALS(dim=32, epochs=2), EASE(), EASE(neighbours=5), SLIST(), ItemKNN()
    return [recipe.fit(LOG) for recipe in (*recipes, Embedding(dim=4, epochs=2))]


def test_several_items_are_explained_as_each_alone() -> None:
    items = ["i3", "i7", "i3", "i12"]
    history = ["i0", "i5", "?", "i9", "i0"]
    for model in models():
        alone = [model.explain(history, item) for item in items]
        for form in (items, tuple(items), pl.Series(items), np.array(items)):
            for one, several in zip(alone, model.explain(history, form), strict=True):
                assert [name for name, _ in several] == [name for name, _ in one]
                np.testing.assert_allclose([p for _, p in several], [p for _, p in one], rtol=1e-4)
        best = [[name for name, _ in found] for found in model.explain(history, items, 2)]
        assert best == [[name for name, _ in found[:2]] for found in alone]
        assert model.explain(history, []) == []
        assert model.explain([], items) == [[]] * 4
        with pytest.raises(UnknownId, match="id '\\?' is unknown"):
            model.explain(history, ["i3", "?"])
        with pytest.raises(DataError, match=r"^items\[1\] is None"):
            model.explain(history, ["i3", None])
        with pytest.raises(SettingError, match="k=0"):
            model.explain(history, "i3", 0)


def test_the_history_that_is_explained_may_be_given_in_any_form_and_is_of_one_user() -> None:
    model = IALS(dim=4, epochs=2).fit(LOG)
    own = LOG.histories(["u7"])
    expected = model.explain(own, "i2")
    one = LOG.to_frame().filter(pl.col("user_id") == "u7")
    assert expected == model.explain(one, "i2") == model.explain(one.to_pandas(), "i2")
    assert expected == model.explain(own.items.names(own.rows.column).to_list(), "i2") != []
    for wrong in (LOG, FRAME, LOG.histories(["u1", "u2"])):
        with pytest.raises(DataError, match=r"^the history has the events of \d+ users; it must have those of one"):
            model.explain(wrong, "i2")
    with pytest.raises(DataError, match="history 0 is 'i0'; it must be a list or column of ids"):
        model.explain("i0", "i2")


def test_weights_count_in_an_explanation() -> None:
    model = IALS(dim=4, epochs=2).fit(LOG)
    heavy = Histories.of(LOG.items, [["i0", "i5"]], weights=[[1, -1]])
    assert {name for name, _ in model.explain(heavy, "i2")} <= {"i0"}


def test_parts_of_long_histories_and_of_heavy_weights_are_exact() -> None:
    """The parts of a score add up to it, whatever precision the system is solved in."""
    model = IALS(dim=4, epochs=3).fit(LOG)
    rng = np.random.default_rng(0)
    for weight in (1.0, 1e-5, 1e5, 1e9):
        events = rng.integers(0, 20, 50)
        asked = Histories.of(LOG.items, [[f"i{n}" for n in events]], weights=[[weight] * 25 + [1.0] * 25])
        asked = asked.on(model.items)
        items = np.arange(20, dtype=np.int32)
        parts = model.contributions(asked.rows, items).sum(axis=0)
        np.testing.assert_allclose(parts, model.scores(asked)[0], rtol=2e-3, atol=2e-4)


def test_crossings_are_the_weights_of_rows_and_columns() -> None:
    rng = np.random.default_rng(0)
    dense = np.where(rng.random((9, 9)) < 0.4, rng.random((9, 9)), 0).astype(np.float32)
    row, column = np.nonzero(dense)
    start = np.searchsorted(row, np.arange(10))
    sparse = start, column.astype(np.int32), dense[row, column]
    rows, columns = np.array([3, 0, 3, 8], np.int32), np.array([5, 5, 0, 8, 2], np.int32)
    assert np.array_equal(crossings(*sparse, rows, columns), dense[np.ix_(rows, columns)])
    beyond = crossings(*sparse, np.array([9, -1, 3], np.int32), np.array([-1, 9, 5], np.int32))
    assert np.array_equal(beyond, [[0, 0, 0], [0, 0, 0], [0, 0, dense[3, 5]]])
    none = np.zeros(0, np.int32)
    assert crossings(*sparse, none, columns).shape == (0, 5)
    assert crossings(np.zeros(1, np.int64), none, np.zeros(0, np.float32), rows, columns).tolist() == [[0] * 5] * 4


@pytest.fixture(scope="module")
def movies() -> Interactions:
    return movielens()


TIMED = IALS(epochs=2, threads=1), IALS(dim=128, epochs=2, threads=1), SLIST(), EASE(neighbours=100)


@pytest.mark.parametrize("recipe", TIMED, ids=["IALS", "IALS of 128", "SLIST", "EASE"])
def test_ten_explanations_cost_less_than_a_list(recipe: Any, movies: Interactions) -> None:
    """Twice as much is allowed. Of a history beyond 500 events they cost up to two lists."""
    model = recipe.fit(movies)
    lengths = np.diff(movies.start)
    users = movies.users.select(np.argsort(lengths)[[5, -300, -200, -100]].astype(np.int32)).ids.to_list()
    limit = threadpool_limits(1)  # threads that wait for work take time, too
    for past in (model.histories(movies.histories([user])) for user in users):
        items = model.recommend(past, 10).lists()[0]
        calls = partial(model.recommend, past, 10), partial(model.explain, past, items, 5)
        best = np.full(2, np.inf)
        for _ in range(20):
            for n, call in enumerate(calls):
                began = time.process_time()
                call()
                best[n] = min(best[n], time.process_time() - began)
        assert best[1] < 2 * best[0], f"{len(past.rows.column)} events: list and explanations take {best * 1e6} µs"
    limit.restore_original_limits()
