"""Lists from a request and a context alone: no store, no service."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from conftest import block_events, log_of
from hypothesis import given
from hypothesis import strategies as st

from palate import EASE, IALS, Pipeline, evaluate, load, split_last
from palate.arrays import Bools
from palate.data.vocabulary import Vocabulary
from palate.errors import SettingError
from palate.kernels.boosts import lifted, multiply, narrow
from palate.live.service import Live
from palate.live.training import train
from palate.models.base import Model
from palate.models.registry import as_recipe
from palate.ranking.context import Context, Masks, Order, UserHistory, no_model
from palate.ranking.item_index import ItemIndex
from palate.ranking.labels import Labels
from palate.ranking.pipeline import recommend
from palate.ranking.request import Cap, ListRequest, Pin, Share
from palate.ranking.slate import Slate
from palate.ranking.staged import PipelineModel
from palate.ranking.stages import Stage
from palate.store.events import Event, Store
from palate.store.versions import Versions
from palate.testing import check_recipe

LOG = log_of(block_events())
RECIPE = IALS(dim=8, epochs=5, l2=0.008)
INDEX = ItemIndex.of_model(LOG.items)


@cache
def fitted() -> Model:
    """Return the model of the log, fitted when it is first needed: each process lists all tests, and runs a part."""
    return RECIPE.fit(LOG)


class Halves:
    """Attributes of 20 items: each is of one of two kinds."""

    def mask(self, condition: str) -> Bools:
        return np.asarray(np.arange(len(INDEX)) % 2 == int(condition))

    def notes(self, condition: str) -> tuple[str, ...]:
        return ()

    def values(self, attribute: str) -> Labels:
        count = len(INDEX)
        return Labels(pl.Series(["even", "odd"]), np.arange(count + 1), (np.arange(count) % 2).astype(np.int32))

    def unknown(self, attribute: str) -> str | None:
        return None


def context(**more: object) -> Context:
    popular = Order(np.arange(len(INDEX)), np.arange(len(INDEX), 0, -1).astype(np.float32))
    masks = Masks(np.ones(len(INDEX), np.bool_), Halves(), INDEX)
    return replace(Context(fitted(), INDEX, masks, popular, popular), **more)  # type: ignore[arg-type]


def history(*positions: int) -> UserHistory:
    count = len(positions)
    return UserHistory.of(np.array(positions), np.ones(count, np.float32), np.arange(count))


def ids(request: ListRequest, given: Context, stages: tuple[Stage, ...] = ()) -> list[str]:
    staged = PipelineModel(Pipeline(RECIPE, stages), LOG.items, (fitted(),))
    return [item.item_id for item in recommend(request, replace(given, model=staged)).items]


def test_without_rules_a_list_is_that_of_the_model() -> None:
    past = [LOG.items.ids[n] for n in (0, 3)]
    plain = fitted().recommend([past], 7)
    answer = recommend(ListRequest(k=7, explore=0), context(history=history(0, 3)))
    assert [item.item_id for item in answer.items] == plain.lists()[0]
    np.testing.assert_allclose([item.score for item in answer.items], plain.score[0], rtol=1e-6)


@dataclass(frozen=True)
class Backwards(Stage):
    pool: int = 12

    def __call__(self, slate: Slate, context: Context, k: int) -> Slate:
        assert len(slate) >= self.pool
        return slate.take(np.arange(len(slate))[::-1])


@dataclass(frozen=True)
class OnlyFirst(Stage):
    count: int = 1

    def __call__(self, slate: Slate, context: Context, k: int) -> Slate:
        return slate.take(slice(self.count))


def test_stages_reorder_the_pool_before_the_rules() -> None:
    given = context(history=history(0, 3))
    best = ids(ListRequest(k=12, explore=0), given)
    request = ListRequest(k=5, explore=0)
    assert ids(request, given, (Backwards(),)) == best[::-1][:5]
    assert ids(request, given, (Backwards(), OnlyFirst(count=5))) == best[::-1][:5]
    pinned = ids(replace(request, pin=(Pin(best[0], 2),)), given, (Backwards(11),))
    assert pinned == [best[11], best[0], *best[10:7:-1]]
    capped = ids(replace(request, cap=(Cap("kind", 2),)), given, (Backwards(),))
    kinds = [int(LOG.items.code(name)) % 2 for name in capped]
    assert sorted(kinds) == [0, 0, 1, 1]


def test_what_stages_drop_is_filled_from_the_sources() -> None:
    given = context(history=history(0, 3))
    best = ids(ListRequest(k=8, explore=0), given)
    assert ids(ListRequest(k=8, explore=0), given, (Backwards(8), OnlyFirst(count=3))) == [*best[:4:-1], *best[:5]]


def test_a_pipeline_is_a_recipe_that_ranks_offline_as_in_the_service(tmp_path: Path) -> None:
    log = log_of(block_events())
    recipe = Pipeline("IALS(dim=8, epochs=5, l2=0.008)", (Backwards(),))
    model = recipe.fit(log)
    past = [LOG.items.ids[n] for n in (0, 3)]
    offline = model.recommend([past], 5)
    request = ListRequest(k=5, explore=0)
    assert offline.lists()[0] == ids(request, context(history=history(0, 3)), (Backwards(),))
    assert offline.lists()[0] == fitted().recommend([past], 12).lists()[0][::-1][:5]
    model.save(tmp_path / "model")
    again = load(tmp_path / "model")
    assert again.recipe == recipe == as_recipe(repr(recipe)) == as_recipe(recipe.as_dict())
    assert again.recommend([past], 5).lists() == offline.lists()
    split = split_last(log)
    best, worst = (evaluate(each.fit(split.train), split, 5)["NDCG@5"] for each in (RECIPE, recipe))
    assert best > worst


def test_the_service_ranks_by_the_stages_of_its_model(tmp_path: Path) -> None:
    with Store.open(tmp_path / "shop.db") as store:
        store.append([Event(str(user), str(item), "like", day + 1) for user, item, _, day in block_events()])
        versions = Versions(store)
        assert train(store, versions, Pipeline(RECIPE, (Backwards(),))).activated
        live = Live(store, versions)
        for user in ("u1", "u20"):
            shown = [item.item_id for item in live.recommend(ListRequest(user_id=user, k=5, explore=0)).items]
            model = load(versions.path(1))
            past = store.log(live.weights.by_type).histories([user])
            assert shown == model.recommend(past, 5).lists()[0]
            assert shown != model.retriever.recommend(past, 5).lists()[0]


def test_a_pipeline_without_stages_is_its_recipe() -> None:
    log = log_of(block_events())
    plain, same = (recipe.fit(log).recommend(log, 5) for recipe in (EASE(), Pipeline(EASE())))
    assert plain.lists() == same.lists()
    check_recipe(Pipeline(EASE(l2=100)))


def test_settings_of_stages_are_checked() -> None:
    with pytest.raises(SettingError, match=r"pool=-1: must be 0 or more"):
        Backwards(-1)
    with pytest.raises(SettingError, match=r"stages='mmr': each is a stage"):
        Pipeline(EASE(), ("mmr",))
    with pytest.raises(SettingError, match="recipe='Backwards"):
        Pipeline("Backwards(pool=3)")


def test_a_share_replaces_the_lowest_other_items() -> None:
    given = context(history=history(0, 3))
    best = ids(ListRequest(k=20, explore=0), given)
    odd = [name for name in best if LOG.items.code(name) % 2]
    even = [name for name in best if not LOG.items.code(name) % 2]
    request = ListRequest(k=6, explore=0)
    there = sum(name in odd for name in best[:6])
    for wanted in range(7):
        own = odd[: max(there, wanted)]
        expected = [name for name in best if name in (*own, *even[: 6 - len(own)])]
        assert ids(replace(request, share=(Share("1", wanted / 6),)), given) == expected
    half = ids(replace(request, share=(Share("1", 0.5), Share("0", 0.5))), given)
    assert half == [name for name in best if name in (*odd[:3], *even[:3])]
    assert ids(replace(request, share=(Share("1", 1), Share("0", 1))), given) == odd[:6]


def test_a_share_counts_pins_and_keeps_them_and_the_caps() -> None:
    given = context(history=history(0, 3))
    best = ids(ListRequest(k=20, explore=0), given)
    odd = [name for name in best if LOG.items.code(name) % 2]
    even = [name for name in best if name not in odd]
    pin = (Pin(odd[-1], 1), Pin(even[-1], 3))
    request = ListRequest(k=6, explore=0, pin=pin, share=(Share("1", 0.8),))
    shown = ids(request, given)
    assert (shown[0], shown[2]) == (odd[-1], even[-1])
    assert [name for name in shown if name in odd[:-1]] == odd[:4]
    capped = ids(replace(request, pin=(), cap=(Cap("kind", 2),)), given)
    assert sorted(capped) == sorted([*odd[:2], *even[:2]])
    assert ids(replace(request, pin=(), k=20), given) == best  # all there is


def test_a_share_holds_behind_stages() -> None:
    given = context(history=history(0, 3))
    best = ids(ListRequest(k=12, explore=0), given)[::-1]
    odd = [name for name in best if LOG.items.code(name) % 2]
    shown = ids(ListRequest(k=4, explore=0, share=(Share("1", 1),)), given, (Backwards(12),))
    assert shown == odd[:4]


@pytest.mark.parametrize(("least", "k", "places"), [(0.2, 10, 2), (0.1, 30, 3), (0.21, 10, 3), (0, 5, 0), (1, 7, 7)])
def test_places_of_a_share_are_rounded_up(least: float, k: int, places: int) -> None:
    assert Share("price < 5", least).places(k) == places


def test_only_the_sources_asked_for_fill_a_list() -> None:
    given = context(history=history(0, 3))
    popular = recommend(ListRequest(k=4, explore=0, sources=("popular",)), given)
    assert popular.sources == {"popular": 4}
    assert [LOG.items.code(item.item_id) for item in popular.items] == [1, 2, 4, 5]


def test_without_a_model_and_without_items_there_is_an_answer() -> None:
    unread = INDEX.with_model(no_model().items)
    assert recommend(ListRequest(k=3), context(model=no_model(), index=unread)).sources == {"popular": 3}
    nothing = ItemIndex.of_model(Vocabulary.of([]))
    order = Order(np.zeros(0, np.int64), np.zeros(0, np.float32))
    empty = Context(no_model(), nothing, Masks(np.zeros(0, np.bool_), Halves(), nothing), order, order)
    assert recommend(ListRequest(), empty).reason == "the store is empty"


@given(sizes=st.lists(st.integers(0, 5), max_size=6), data=st.data())
def test_an_index_grows_and_the_shorter_ones_stay_as_they_were(sizes: list[int], data: st.DataObject) -> None:
    numbers = sorted(data.draw(st.sets(st.integers(1, 60), min_size=sum(sizes), max_size=sum(sizes))))
    known = Vocabulary.of([f"i{n}" for n in numbers[::2]])
    every, index = [], ItemIndex.of(pl.Series([], dtype=pl.String), np.zeros(0, np.int64), np.zeros(0, np.int64))
    for size in sizes:
        done = len(index)
        new = np.array(numbers[done : done + size], np.int64)
        index = index.extended(pl.Series([f"i{n}" for n in new], dtype=pl.String), new, new * 7, known)
        index = replace(index, rows=len(known))
        every.append(index)
    for shorter in every:
        size = len(shorter)
        for place, number in enumerate(numbers):
            there = place < size
            assert shorter.position(f"i{number}") == (place if there else -1)
            assert shorter.at(np.array([number])).tolist() == [place if there else -1]
            if there:
                assert shorter.ids(np.array([place])) == [f"i{number}"]
                assert shorter.row[place] == known.codes([f"i{number}"])[0]
        assert shorter.newest.tolist() == list(range(size))[::-1]
        assert shorter.with_model(known).row.tolist() == shorter.row.tolist()


def test_an_index_is_extended_once() -> None:
    index = ItemIndex.of(pl.Series(["a"]), np.array([1]), np.array([0]))
    known = Vocabulary.of([])
    index.extended(pl.Series(["b"]), np.array([2]), np.array([0]), known)
    with pytest.raises(AssertionError, match="once"):
        index.extended(pl.Series(["c"]), np.array([3]), np.array([0]), known)


@given(
    st.lists(st.tuples(st.floats(width=32), st.booleans(), st.booleans()), max_size=40),
    st.tuples(*[st.floats(1e-30, 1e30)] * 2),
)
def test_boosts_lift_scores_as_the_formulas_say(
    scores: list[tuple[float, bool, bool]], times: tuple[float, float]
) -> None:
    score = np.array([each[0] for each in scores], np.float32)
    factor, wide = np.ones(len(score)), np.ones(len(score))
    result = np.empty(len(score), np.float32)
    for n, each in enumerate(times):
        mask = np.array([own[n + 1] for own in scores], np.bool_)
        mask.setflags(write=False)
        multiply(factor, mask, each)
        wide[mask] *= each
    narrow(factor, 1e-30, 1e30, result)
    np.testing.assert_array_equal(result, np.clip(wide, 1e-30, 1e30).astype(np.float32))
    with np.errstate(all="ignore"):
        exact = np.where(score > 0, score * result.astype(np.float64), score / result.astype(np.float64))
        most = float(np.finfo(np.float32).max)
        expected = np.nan_to_num(np.clip(exact, -most, most)).astype(np.float32)
    np.testing.assert_array_equal(lifted(score, result), expected)


def test_boosts_of_arrays_that_differ_in_length_are_refused() -> None:
    one, two = np.ones(1, np.float32), np.ones(2, np.float32)
    for call in (
        lambda: multiply(np.ones(2), np.ones(1, np.bool_), 2.0),
        lambda: narrow(np.ones(2), 0.5, 2.0, one),
        lambda: lifted(two, one),
    ):
        with pytest.raises(ValueError, match="differ in length"):
            call()
