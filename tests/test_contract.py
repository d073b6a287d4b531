"""What every recipe promises; a new one needs an entry in FAST and in BAD, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import FrozenInstanceError, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy as safetensors
from conftest import ITEMS, USERS, block_events, catalogue_of, log_of

from palate.arrays import Floats
from palate.data.catalogue import Catalogue
from palate.data.histories import Histories
from palate.data.interactions import Interactions
from palate.data.vocabulary import Id, Vocabulary
from palate.errors import BundleError, DataError, ModelError, PalateError, SettingError
from palate.models import base
from palate.models.autoencoder import Autoencoder
from palate.models.base import Model, Recipe, Watch
from palate.models.blend import Blend
from palate.models.content import Content
from palate.models.ease import EASE
from palate.models.embedding import Embedding
from palate.models.hybrid import Hybrid
from palate.models.ials import IALS
from palate.models.infinite_ae import InfiniteAE
from palate.models.item_knn import SIMILARITIES, ItemKNN
from palate.models.popularity import Popularity, PopularityModel
from palate.models.saved import RECIPES, load, load_with_log
from palate.models.slist import SLIST
from palate.models.transformer import Transformer
from palate.store import bundles

SOFTMAXES = ("softmax", "sampled_softmax")
# Settings that fit in a moment; a log this small and dense wants a strong l2.
FAST: list[Recipe] = [
    *(Embedding(dim=8, loss=loss, l2=0.1, learning_rate=0.1, epochs=60, threads=1) for loss in SOFTMAXES),
    Embedding(
        dim=8,
        loss="logistic",
        l2=0.003,
        negatives=2,
        sampler="uniform",
        user_power=0.0,
        learning_rate=0.1,
        epochs=120,
        threads=1,
    ),
    Embedding(dim=8, loss="bpr", l2=0.1, epochs=60, threads=1),
    IALS(dim=4, unseen_weight=0.3, l2=0.1, threads=1),
    Content(fields=("title",), dim=4),
    Hybrid(IALS(dim=4, unseen_weight=0.3, l2=0.1, threads=1), dim=4, strength=0.1),
    Hybrid(Embedding(dim=8, l2=0.1, learning_rate=0.1, epochs=60, threads=1), dim=4, strength=0.1),
    Autoencoder(dim=2, hidden=4, l2=100, epochs=2, batch=64),
    Autoencoder(dim=2, hidden=4, l2=100, encoder_passes=1, epochs=2, batch=64, negatives=10),
    Blend(recipes=(EASE(l2=100), "SLIST(l2=10)"), people=20),
    InfiniteAE(l2=2),
    InfiniteAE(l2=2, bias=0.001, norm=0.0),
    EASE(l2=100),
    EASE(l2=100, binary=False, neighbours=6),
    *(ItemKNN(similarity=similarity, neighbours=8) for similarity in SIMILARITIES),
    Popularity(),
    Popularity(half_life_days=2),
    SLIST(l2=10, walk=1),
    SLIST(l2=10, neighbours=None, half_life_days=2),
    Transformer(dim=8, heads=2, window=3, epochs=4, batch=64, negatives=None),
]
# One setting a time outside its range.
BAD: list[tuple[type[Recipe], dict[str, Any]]] = [
    *((Embedding, {name: 0}) for name in ("dim", "negatives", "epochs", "learning_rate", "init_std", "threads")),
    *((Embedding, {name: -0.5}) for name in ("l2", "alpha", "user_power", "learning_rate")),
    *((Embedding, {name: float("nan")}) for name in ("l2", "alpha", "user_power", "learning_rate", "init_std")),
    *((Embedding, {name: "best"}) for name in ("loss", "sampler")),
    *((Embedding, {"seed": seed}) for seed in (-1, 2**63)),
    *(
        (IALS, {name: 0})
        for name in ("dim", "epochs", "steps", "unseen_weight", "l2", "fold_l2", "init_std", "threads")
    ),
    *((IALS, {name: float("nan")}) for name in ("unseen_weight", "l2", "l2_scaling", "init_std", "half_life_days")),
    *((IALS, {name: -1}) for name in ("l2_scaling", "half_life_days", "seed")),
    *((EASE, {"l2": value}) for value in (0, -1, float("nan"), float("inf"))),
    (EASE, {"neighbours": 0}),
    *((ItemKNN, {name: 0}) for name in ("neighbours", "k1", "alpha")),
    *((ItemKNN, {name: -1}) for name in ("shrink", "b", "beta")),
    *((ItemKNN, {name: float("nan")}) for name in ("shrink", "k1", "b", "alpha", "beta")),
    (ItemKNN, {"b": 1.5}),
    (ItemKNN, {"similarity": "best"}),
    *((recipe, {"half_life_days": days}) for recipe in (EASE, ItemKNN) for days in (0, -1, float("nan"))),
    *(
        (Autoencoder, {name: 0})
        for name in ("dim", "hidden", "l2", "negatives", "epochs", "batch", "learning_rate", "dropout")
    ),
    *((Blend, {name: value}) for name, value in (("people", 0), ("seed", -1), ("recipes", ()))),
    *(
        (Blend, {"recipes": (text,)})
        for text in ("SLIST", "Best()", "SLIST(3)", "SLIST(best=3)", "EASE(l2=open('x'))")
    ),
    *((Autoencoder, {name: float("nan")}) for name in ("l2", "beta", "learning_rate", "weight_decay", "dropout")),
    *((Autoencoder, {name: -1}) for name in ("beta", "encoder_passes", "weight_decay", "seed")),
    *((Autoencoder, {name: value}) for name, value in (("dropout", 1), ("device", "abacus"))),
    *((InfiniteAE, {name: value}) for name in ("l2", "bias", "norm") for value in (-1, float("nan"))),
    *((InfiniteAE, {name: 0}) for name in ("l2", "depth")),
    *(
        (Transformer, {name: 0})
        for name in ("dim", "layers", "heads", "window", "negatives", "epochs", "batch", "learning_rate")
    ),
    *((Transformer, {name: float("nan")}) for name in ("learning_rate", "weight_decay", "dropout")),
    *((Transformer, {name: -1}) for name in ("weight_decay", "dropout", "seed")),
    *((Transformer, {name: value}) for name, value in (("heads", 3), ("dropout", 1), ("device", "abacus"))),
    *((Content, {name: value}) for name in ("l2", "profile_l2") for value in (0, -1, float("nan"))),
    *((recipe, {"fields": value}) for recipe in (Content, Hybrid, Transformer) for value in ("title", ("title", ""))),
    *((recipe, {name: value}) for recipe in (Content, Hybrid) for name, value in (("dim", 0), ("seed", -1))),
    *((Hybrid, {"strength": value}) for value in (0, -1, float("nan"))),
    *((Hybrid, {"base": value}) for value in ("Popularity()", EASE(), "IALS", "IALS(dim=dim)")),
    (Popularity, {"half_life_days": 0}),
    (Popularity, {"half_life_days": -1}),
    (Popularity, {"half_life_days": float("nan")}),
    *((SLIST, {name: -1}) for name in ("alpha", "whole_decay", "train_decay", "decay", "l2", "l2_power", "walk")),
    *((SLIST, {name: float("nan")}) for name in ("alpha", "train_decay", "decay", "l2", "l2_power", "walk")),
    *((SLIST, {name: 0}) for name in ("whole_decay", "decay", "l2", "neighbours", "half_life_days", "longest")),
    *((SLIST, {name: 1.5}) for name in ("alpha", "whole_decay", "train_decay", "decay", "l2_power")),
]

every_recipe = pytest.mark.parametrize("recipe", FAST, ids=lambda recipe: getattr(recipe, "loss", str(recipe)))


def fitted(recipe: Recipe, log: Interactions) -> Model:
    """The recipe fitted to the log and to what is told of its items, which most recipes leave alone."""
    return recipe.fit(log, catalogue_of(log))


@pytest.fixture(scope="module")
def models() -> dict[Recipe, Model]:
    log = log_of(block_events())
    return {recipe: fitted(recipe, log) for recipe in FAST}


@pytest.fixture
def model(recipe: Recipe, models: dict[Recipe, Model]) -> Model:
    return models[recipe]


def test_every_recipe_is_here() -> None:
    assert {type(recipe) for recipe in FAST} == set(RECIPES)
    assert {recipe for recipe, _ in BAD} == set(RECIPES)


# Settings


@pytest.mark.parametrize(("recipe", "bad"), BAD, ids=str)
def test_a_bad_setting_is_named(recipe: type[Recipe], bad: dict[str, Any]) -> None:
    (name,) = bad
    with pytest.raises(SettingError, match=name):
        recipe(**bad)


@every_recipe
def test_recipes_and_models_never_change(recipe: Recipe, model: Model) -> None:
    for thing in (recipe, model):
        for field in fields(thing):  # type: ignore[arg-type]
            with pytest.raises(FrozenInstanceError):
                setattr(thing, field.name, None)
    kept = model.recipe.settings()  # None may stand for a default that the fit chose
    assert {name: value for name, value in recipe.settings().items() if value not in (None, kept[name])} == {}
    assert type(recipe)(**recipe.settings()) == recipe


# Quality: two groups of people who never meet


@every_recipe
def test_the_answer_is_known(recipe: Recipe, model: Model, block_log: Interactions) -> None:
    """A third of the catalogue is from the wrong group; half of the own group was seen."""
    if isinstance(recipe, Popularity):
        pytest.skip("popularity shows the same to both groups")
    strays = 0
    for user, shown in zip(block_log.users.ids, model.recommend(block_log.histories(), 4).lists(), strict=True):
        own = range(12) if int(user[1:]) < 18 else range(12, ITEMS)
        strays += sum(int(str(item)[1:]) not in own for item in shown)
    assert strays <= (2 if isinstance(recipe, InfiniteAE) else 0)  # its kernel of two strangers is above 0


# What is kept of users


@every_recipe
def test_a_model_without_some_users_keeps_nothing_of_them(
    recipe: Recipe, model: Model, block_log: Interactions, tmp_path: Path
) -> None:
    gone = {"u3", "u20"}
    smaller, others = model.without(gone), block_log.without(gone)
    smaller.save(tmp_path / "m", log=others)
    back, log = load_with_log(tmp_path / "m")
    assert log is not None
    assert log.users.texts() == block_log.users.texts() - gone
    assert back.known_users() == model.known_users() - gone
    assert back.known_users() in (set(), log.users.texts())
    left = block_log.histories(log.users.ids)
    assert lists_of(log.histories()) == lists_of(left)
    same = fitted(recipe, others) if isinstance(recipe, InfiniteAE) else model  # whose weights are of all users
    np.testing.assert_allclose(back.scores(left), same.scores(left), rtol=1e-4, atol=1e-5)
    everybody = model.without(block_log.users.texts())
    assert everybody.known_users() == set()
    assert np.isfinite(everybody.scores(left)).all()


# What may be in a list


@every_recipe
def test_seen_items_are_left_out_unless_kept(model: Model, block_log: Interactions) -> None:
    histories = block_log.histories()
    seen = [set(row) for row in lists_of(histories)]
    for own, shown in zip(seen, model.recommend(histories, ITEMS).lists(), strict=True):
        assert set(shown) == set(block_log.items.ids) - own
    for shown in model.recommend(histories, ITEMS, keep_seen=True).lists():
        assert set(shown) == set(block_log.items.ids)


@every_recipe
def test_only_and_exclude(model: Model) -> None:
    ask: list[list[Id]] = [["i0", "i1"], []]
    first, second = model.recommend(ask, only=["i0", "i5", "i6", "i13", "?"], exclude=["i6", "?"]).lists()
    assert set(first) == {"i5", "i13"}
    assert set(second) == {"i0", "i5", "i13"}
    assert model.recommend(ask, only=[]).lists() == [[], []]


@every_recipe
def test_a_long_k_gives_a_short_list_without_padding(model: Model) -> None:
    answer = model.recommend([["i0"], []], 1000)
    assert [len(row) for row in answer.lists()] == [ITEMS - 1, ITEMS]
    assert answer.to_frame().height == 2 * ITEMS - 1
    assert answer.to_frame()["item_id"].null_count() == 0


@every_recipe
@pytest.mark.parametrize("k", [0, -3])
def test_k_is_at_least_one(model: Model, k: int) -> None:
    with pytest.raises(SettingError, match=f"k={k}"):
        model.recommend([[]], k)


@every_recipe
def test_a_person_without_history_gets_an_answer(model: Model) -> None:
    (shown,) = model.recommend([[]], 5).lists()
    assert len(set(shown)) == 5
    assert model.recommend([["never", "heard"]], 5).lists() == [shown]
    assert model.recommend([], 5).lists() == []


@every_recipe
def test_unknown_items_of_a_history_are_ignored(model: Model) -> None:
    assert model.recommend([["?", "i3", "!", "i4"]], 6).lists() == model.recommend([["i3", "i4"]], 6).lists()


@every_recipe
def test_who_has_seen_everything_gets_an_empty_list(model: Model) -> None:
    assert model.recommend([[f"i{n}" for n in range(ITEMS)]], 3).lists() == [[]]


# Scores


@every_recipe
def test_scores_have_a_shape_and_are_finite(model: Model, block_log: Interactions) -> None:
    scores = model.scores(block_log.histories().on(model.items))
    assert scores.shape == (USERS, ITEMS)
    assert scores.dtype == np.float32
    assert np.isfinite(scores).all()


@every_recipe
def test_the_ranking_is_the_order_of_the_scores(model: Model, block_log: Interactions) -> None:
    histories = block_log.histories()
    scores = model.scores(histories.on(model.items))
    answer = model.recommend(histories, ITEMS, keep_seen=True)
    shown = np.take_along_axis(scores, answer.item.astype(np.int64), axis=1)
    np.testing.assert_allclose(answer.score, shown, rtol=1e-5, atol=1e-6)
    assert (np.diff(answer.score, axis=1) <= 0).all()


@every_recipe
@pytest.mark.parametrize("block", [1, 3 * ITEMS, 7 * ITEMS + 1])
def test_the_size_of_blocks_changes_nothing(
    model: Model, block_log: Interactions, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    whole = model.recommend(block_log.histories(), 6)
    monkeypatch.setattr(base, "BLOCK_SCORES", block)
    parts = model.recommend(block_log.histories(), 6)
    assert parts.lists() == whole.lists()
    np.testing.assert_allclose(parts.score, whole.score, rtol=1e-5, atol=1e-6)


@every_recipe
def test_histories_may_come_from_another_log(model: Model) -> None:
    foreign = Vocabulary.of(["elsewhere", "i4", "i3", "i19"])
    there = Histories.of(foreign, [["i3", "elsewhere", "i4"], ["i19"]])
    here = model.recommend([["i3", "i4"], ["i19"]], 8)
    assert model.recommend(there, 8).lists() == here.lists()


@every_recipe
def test_explanations_come_from_the_history(model: Model) -> None:
    parts = model.explain(["i0", "?", "i1"], "i2")
    assert {item for item, _ in parts} <= {"i0", "i1"}
    assert [value for _, value in parts] == sorted((value for _, value in parts), reverse=True)
    assert model.explain([], "i2") == []


@every_recipe
def test_similar_items_heed_what_is_allowed(model: Model) -> None:
    if type(model).likeness is Model.likeness:
        pytest.skip("no similarity between items")
    best = model.similar_items(["i1"], 6).lists()[0]
    assert "i1" not in best
    assert len(best) == 6
    assert model.similar_items(["i1"], 3, exclude=[*best[:2], "?"]).lists()[0] == best[2:5]
    assert model.similar_items(["i1"], 9, only=[best[3], "i1", best[1]]).lists()[0] == [best[1], best[3]]


# Logs of every kind


@every_recipe
def test_ids_of_every_kind(recipe: Recipe) -> None:
    names = ["café", "寿司", "😀", "a/b", 'q"uote', "tab\t", " "]
    texts: list[tuple[Id, Id, float, int]] = [(f"ü{n % 5}", name, 1, n) for n, name in enumerate(names * 2)]
    numbers: list[tuple[Id, Id, float, int]] = [(-n % 5, 10**12 + n % 7, 1, n) for n in range(20)]
    for events in (texts, numbers):
        log = log_of(events)
        frame = fitted(recipe, log).recommend(log.histories(), 3, keep_seen=True).to_frame()
        assert frame["item_id"].dtype == log.items.ids.dtype
        assert set(frame["item_id"]) <= set(log.items.ids)
        assert set(frame["user_id"]) == set(log.users.ids)


@every_recipe
def test_one_user_and_one_item(recipe: Recipe) -> None:
    alone = fitted(recipe, log_of([("u", "i", 1, 0)]))
    assert alone.recommend([[], ["i"]]).lists() == [["i"], []]
    one_user = fitted(recipe, log_of([("u", f"i{n}", 1, n) for n in range(5)]))
    assert len(one_user.recommend([["i0"]]).lists()[0]) == 4
    one_item = fitted(recipe, log_of([(f"u{n}", "i", 1, n) for n in range(5)]))
    assert one_item.recommend([[]]).lists() == [["i"]]


@every_recipe
def test_repeated_and_weightless_events(recipe: Recipe) -> None:
    events = block_events()
    log = log_of([*events, *events[:40], *((user, item, 0.0, day) for user, item, _, day in events[:20])])
    model = fitted(recipe, log)
    histories = log.histories()
    assert np.isfinite(model.scores(histories.on(model.items))).all()
    for seen, shown in zip(lists_of(histories), model.recommend(histories, ITEMS).lists(), strict=True):
        assert not set(seen) & set(shown)
        assert len(set(shown)) == len(shown)


@every_recipe
def test_a_log_without_weight_is_refused(recipe: Recipe) -> None:
    for log in (log_of([]), log_of([("u", "i", 0, 0)])):
        with pytest.raises(DataError, match="nothing to learn from"):
            fitted(recipe, log)


@every_recipe
def test_fitting_leaves_the_log_as_it_is(recipe: Recipe) -> None:
    log = log_of(block_events())
    before = log.to_frame()
    for array in (log.start, log.item, log.weight, log.timestamp):
        assert array is not None
        array.flags.writeable = False
    fitted(recipe, log)
    assert log.to_frame().equals(before)


@every_recipe
def test_a_recipe_fits_again_and_to_another_log(recipe: Recipe, model: Model, block_log: Interactions) -> None:
    histories = block_log.histories()
    other = log_of([("u", "x", 1, 0), ("u", "y", 1, 1), ("v", "x", 1, 2)])
    assert set(fitted(recipe, other).items.ids) == {"x", "y"}
    again = fitted(recipe, block_log)  # same seed, same answer
    np.testing.assert_array_equal(again.scores(histories), model.scores(histories.on(model.items)))


# Save, load, threads


@every_recipe
def test_a_loaded_model_answers_the_same(model: Model, block_log: Interactions, tmp_path: Path) -> None:
    model.save(tmp_path / "model")
    loaded = load(tmp_path / "model")
    assert loaded.recipe == model.recipe
    known, new = block_log.histories(), Histories.of(block_log.items, [["i0", "i5"], [], ["i19"]])
    for ask in (known, new):
        np.testing.assert_array_equal(loaded.scores(loaded.histories(ask)), model.scores(model.histories(ask)))
        assert loaded.recommend(ask, 7).lists() == model.recommend(ask, 7).lists()


@every_recipe
def test_threads_share_a_model(model: Model, block_log: Interactions) -> None:
    histories = block_log.histories()
    alone = [model.recommend(histories.block(n, n + 1), 5).lists() for n in range(USERS)]
    with ThreadPoolExecutor(4) as pool:
        together = list(
            pool.map(lambda n: model.recommend(histories.block(n, n + 1), 5).lists(), list(range(USERS)) * 4)
        )
    assert together == alone * 4


def lists_of(histories: Histories) -> list[list[Id]]:
    """Item ids of each history."""
    start = histories.rows.start
    ids = histories.items.names(histories.rows.column).to_list()
    return [ids[start[b] : start[b + 1]] for b in range(len(histories))]


# Dislikes, and logs at the edge


@every_recipe
def test_a_dislike_is_no_like(recipe: Recipe) -> None:
    """It is never shown, its weight is not popularity, and who has nothing else gets what is popular."""
    events = block_events()
    events += [("u0", "i13", -2.0, 9), ("critic", "i0", -1.0, 9), ("critic", "i14", -1.0, 9)]
    log = log_of(events)
    model = fitted(recipe, log)
    assert np.isfinite(model.scores(log.histories())).all()
    for user, bad in (("u0", {"i13"}), ("critic", {"i0", "i14"})):
        shown = model.recommend(log.histories([user]), ITEMS).lists()[0]
        assert bad.isdisjoint(shown)
        assert len(shown) == ITEMS - len(log.histories([user]).rows.column)
    popular = model.recommend([[]], ITEMS).lists()[0]
    assert model.recommend(log.histories(["critic"]), ITEMS).lists()[0] == [
        item for item in popular if item not in ("i0", "i14")
    ]
    first = model.recommend([[]], 1).lists()[0][0]
    assert first in {"i0", "i1", "i2", "i3", "i4", "i5", "i6", "i7", "i8", "i9", "i10", "i11"}  # liked by 18 people


EDGES: dict[str, list[tuple[Id, Id, float, int]]] = {
    "one event": [("u0", "i0", 1, 0)],
    "one user": [("u0", f"i{n}", 1, n) for n in range(5)],
    "one item": [(f"u{n}", "i0", 1, n) for n in range(5)],
    "everything seen": [(f"u{n}", f"i{m}", 1, m) for n in range(4) for m in range(3)],
    "the same event again": [*(("u0", "i0", 1, 0) for _ in range(4)), ("u1", "i1", 1, 0), ("u1", "i0", 1, 1)],
    "an item without weight": [("u0", "i0", 1, 0), ("u0", "i1", 0, 1), ("u1", "i1", 0, 1), ("u1", "i0", 1, 1)],
}


@every_recipe
@pytest.mark.parametrize("edge", EDGES)
def test_logs_at_the_edge(recipe: Recipe, edge: str) -> None:
    """Scores are finite, and everybody gets every item that is left, and nothing else."""
    log = log_of(EDGES[edge])
    model = fitted(recipe, log)
    histories = log.histories()
    assert np.isfinite(model.scores(histories)).all()
    for own, shown in zip(lists_of(histories), model.recommend(histories, 100).lists(), strict=True):
        assert sorted(map(str, shown)) == sorted(set(map(str, log.items.ids)) - set(map(str, own)))
    assert len(model.recommend([[]], 100).lists()[0]) == len(log.items)


@every_recipe
def test_a_recipe_fits_many_logs(recipe: Recipe) -> None:
    """A fit leaves nothing behind in its recipe."""
    small = log_of(EDGES["everything seen"])
    alone = fitted(recipe, small).scores(small.histories())
    fitted(recipe, log_of(block_events(1)))
    again = fitted(recipe, small)
    assert list(again.items.ids) == list(small.items.ids)
    np.testing.assert_array_equal(again.scores(small.histories()), alone)


# Numbers of every size


def spread_out(events: list[tuple[Id, Id, float, int]]) -> dict[str, list[tuple[Id, Id, float, int]]]:
    """Logs that fade or weigh what float32 hardly holds: a user, an item, or all of it."""
    rng = np.random.default_rng(0)
    return {
        "twenty years": [(user, item, weight, 1000 * day) for user, item, weight, day in events],
        "long gone": [(u, i, w, day - 15_000 * (u == "u3" or i == "i5")) for u, i, w, day in events],
        "faint": [(user, item, 1e-30, 1000 * day) for user, item, _, day in events],
        "weights from 1e-30 to 1e6": [(u, i, float(10 ** rng.uniform(-30, 6)), d) for u, i, _, d in events],
    }


@every_recipe
@pytest.mark.parametrize("kind", spread_out([]))
def test_scores_are_finite_and_lists_full_however_faint_events_are(recipe: Recipe, kind: str) -> None:
    log = log_of(spread_out(block_events())[kind])
    fades = "half_life_days" in recipe.settings()
    for days in (1e-300, 0.01, 7.0, 1e300) if fades else (None,):
        model = fitted(replace(recipe, half_life_days=days) if fades else recipe, log)  # type: ignore[type-var]
        for asked in (log.histories(), model.histories([["i1", "i2"], ["i3"], ["i5", "i13"], []])):
            assert np.isfinite(model.scores(asked.on(model.items))).all()
            assert (model.recommend(asked, ITEMS, keep_seen=True).item >= 0).all()


@every_recipe
def test_an_event_of_the_year_9999_makes_nothing_old(recipe: Recipe) -> None:
    """The order of the lists is that of the same log with the event at its end, up to the few that it moves."""
    if "half_life_days" not in recipe.settings():
        pytest.skip("no decay")
    events = block_events()
    fading = replace(recipe, half_life_days=2.0)  # type: ignore[type-var]
    asked = [["i0", "i1", "i2"], ["i13", "i14"]]
    scores = [
        fading.fit(log_of([*events, ("clock", "i7", 1.0, day), ("clock", "i8", 1.0, day)])).recommend(asked, ITEMS)
        for day in (8, 2_932_896)
    ]
    for one, other in zip(*(answer.lists() for answer in scores), strict=True):
        assert len(set(one[:4]) & set(other[:4])) >= 3


@every_recipe
def test_no_model_has_numbers_that_are_not_finite(model: Model, tmp_path: Path) -> None:
    """Not one that is built, nor one that is saved, nor one that is loaded."""
    for name, array in list(numbers_of(model)):
        spoilt = array.copy()
        spoilt.flat[-1] = np.nan
        with pytest.raises(ModelError, match=rf"{name}.* 1 of {array.size:,} numbers are not finite"):
            replace(model, **{name: spoilt})  # type: ignore[type-var]
    name, array = next(iter(numbers_of(model)), ("", np.zeros(0, np.float32)))
    if not name:
        pytest.skip("its arrays lie deeper")
    model.save(tmp_path / "model")
    spoil(tmp_path / "model" / f"{name}.npy")
    with pytest.raises(BundleError, match=rf"{tmp_path}.*{name}.* 1 of {array.size:,} numbers are not finite"):
        load(tmp_path / "model")
    kept = array.flat[0]
    try:
        array.flat[0] = np.inf
        with pytest.raises(ModelError, match="not finite"):
            model.save(tmp_path / "other")
    finally:
        array.flat[0] = kept
    assert not (tmp_path / "other").exists()


def numbers_of(model: Model) -> Iterator[tuple[str, Floats]]:
    for field in fields(model):  # type: ignore[arg-type]
        value = getattr(model, field.name)
        if isinstance(value, np.ndarray) and value.dtype.kind == "f" and value.size:
            yield field.name, value


def spoil(file: Path) -> None:
    """Put a NaN at the end of an array of a bundle that goes on vouching for itself."""
    array = np.load(file)
    array.flat[-1] = np.nan
    np.save(file, array)
    reseal(file.parent)


@dataclass(frozen=True, kw_only=True)
class Diverging(Recipe):
    """A recipe of somebody else's."""

    scale: float = 1.0

    def fit(self, log: Interactions, catalogue: Catalogue | None = None, *, watch: Watch | None = None) -> Model:
        return PopularityModel(Popularity(), log.items, np.full(len(log.items), self.scale, np.float32) * 1e30)


def test_a_fit_that_diverges_says_so() -> None:
    log = log_of(block_events())
    assert Diverging().fit(log).items is log.items
    with pytest.raises(ModelError, match=r"Diverging: the fit diverged: .*item_scores: 20 of 20 .* lower learning"):
        Diverging(scale=1e30).fit(log)
    huge = log_of([(user, item, 3e38, day) for user, item, _, day in block_events()])
    for recipe in (Popularity(), IALS(dim=4), EASE(binary=False), EASE(binary=False, neighbours=3), SLIST()):
        try:
            model = recipe.fit(huge)
        except PalateError:
            continue
        assert np.isfinite(model.scores(huge.histories())).all()


# Numbers of numpy, and what is none


@every_recipe
def test_settings_may_be_numbers_of_numpy(recipe: Recipe) -> None:
    kinds: dict[type, Any] = {int: np.int64, float: np.float64, bool: np.bool_, str: np.str_}
    given = {name: kinds.get(type(value), lambda each: each)(value) for name, value in recipe.settings().items()}
    same = type(recipe)(**given)
    assert same == recipe
    assert repr(same) == repr(recipe)
    assert json.dumps(same.settings()) == json.dumps(recipe.settings())


@every_recipe
def test_settings_of_another_type_are_refused(recipe: Recipe) -> None:
    for field in fields(recipe):  # type: ignore[arg-type]
        wrong: list[object] = []
        if field.type.startswith(("int", "float")):
            wrong += ["10", True, np.True_, [1], 1j]
        if field.type.startswith("int"):
            wrong += [2.5, np.float32(2)]
        if field.type == "bool":
            wrong += ["true", 1, np.int64(0), None]
        for value in wrong:
            with pytest.raises(SettingError, match=rf"{field.name}=.*: must be "):
                replace(recipe, **{field.name: value})  # type: ignore[type-var]


@every_recipe
def test_k_may_be_a_number_of_numpy_and_nothing_else(model: Model, block_log: Interactions) -> None:
    four: Any = np.int64(4)
    assert model.recommend([["i0"]], four).lists() == model.recommend([["i0"]], 4).lists()
    for wrong in (2.5, "10", True, np.True_, np.float64(3), None, [3]):
        with pytest.raises(SettingError, match=r"k=.*must be a whole number, 1 or more"):
            model.recommend(block_log, wrong)  # type: ignore[arg-type]


@every_recipe
def test_a_log_may_be_asked_with(model: Model, block_log: Interactions) -> None:
    answer = model.recommend(block_log, 4)
    assert answer.lists() == model.recommend(block_log.histories(), 4).lists()
    assert answer.users.equals(block_log.users.ids)


def test_a_history_that_is_none_is_named(models: dict[Recipe, Model]) -> None:
    model = next(iter(models.values()))
    for wrong in (["i0", "i1"], [["i0"], "i1"], [1, 2], [["i0"], None]):
        with pytest.raises(DataError, match=r"history \d is .*; it must be a list or column of ids"):
            model.recommend(wrong)  # type: ignore[arg-type]


# What stands in a bundle


def arrays_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix in (".npy", ".safetensors"))


def mutated(array: Any, rng: np.random.Generator) -> Any:
    """One of the ways in which an array can be another than it was."""
    row = int(rng.integers(max(1, len(array)))) if array.ndim else 0
    ways: list[Callable[[], Any]] = [
        lambda: array[: len(array) // 2],
        lambda: np.concatenate([array, array]),
        lambda: array[:0],
        lambda: array[None],
        lambda: array.reshape(-1)[:-1],
        lambda: np.asfortranarray(array).T if array.ndim == 2 else array[::-1],
        lambda: array.astype(np.float64 if array.dtype != np.float64 else np.float32),
        lambda: array.astype(array.dtype.newbyteorder()),
        lambda: array.astype(np.int16),
        lambda: np.full_like(array, 10**8),
        lambda: np.full_like(array, -1) if array.dtype.kind != "u" else array * 0,
        lambda: placed(array, row, np.nan if array.dtype.kind == "f" else 2**31 - 1),
        lambda: placed(array, row, -np.inf if array.dtype.kind == "f" else len(array)),
        lambda: np.array("text"),
    ]
    return ways[rng.integers(len(ways))]()


def placed(array: Any, row: int, value: float) -> Any:
    copy = array.copy()
    copy.reshape(-1)[row : row + 1] = value
    return copy


def reseal(folder: Path) -> None:
    """Have a bundle vouch for its files as they are."""
    manifest = folder / "manifest.json"
    body = json.loads(manifest.read_text())
    body.pop("crc32", None)
    body["files"] = {
        name: {"bytes": (folder / name).stat().st_size, "crc32": bundles._crc32(folder / name)}
        for name in body["files"]
    }
    manifest.write_text(json.dumps(body | {"crc32": bundles._body_crc32(body)}))


@every_recipe
def test_wrong_arrays_in_a_sealed_bundle_are_clear_errors(
    model: Model, block_log: Interactions, tmp_path: Path
) -> None:
    """What cannot be told from a model's own arrays is ranked by, and nothing worse happens."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "model"
    model.save(folder, log=block_log)
    refused, tried = 0, 0
    for path in arrays_of(folder):
        sound = path.read_bytes()
        for _ in range(6):
            tried += 1
            if path.suffix == ".npy":
                np.save(path, mutated(np.load(path), rng))
            else:
                named = safetensors.load(sound)
                name = list(named)[rng.integers(len(named))]
                changed = mutated(named[name], rng)
                if changed.dtype.kind == "U" or changed.dtype.byteorder == ">":
                    changed = named[name][:0]
                safetensors.save_file(named | {name: np.ascontiguousarray(changed)}, path)
            reseal(folder)
            try:
                loaded, _ = load_with_log(folder)
                answer = loaded.recommend([["i1", "i2"], [], ["i3"]], 4)
                assert ((answer.item >= 0) & (answer.item < ITEMS)).all()
                assert np.isfinite(answer.score).all()
            except PalateError:
                refused += 1
            path.write_bytes(sound)
    reseal(folder)
    load(folder)
    assert refused >= tried * 0.6


@every_recipe
def test_broken_bytes_in_a_sealed_bundle_are_clear_errors(model: Model, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    folder = tmp_path / "model"
    model.save(folder, log=log_of(block_events()))
    for path in sorted(each for each in folder.iterdir() if each.name != "manifest.json"):
        sound = path.read_bytes()
        for n in range(4):
            broken = bytearray(sound)
            for _ in range(3):
                broken[rng.integers(min(len(broken), 200 if n % 2 else len(broken)))] = rng.integers(256)
            path.write_bytes(broken if n < 3 else sound[: rng.integers(len(sound))])
            reseal(folder)
            with suppress(PalateError):
                load(folder).recommend([["i1", "i2"], [], ["i3"]], 4)
        path.write_bytes(sound)


def test_a_model_is_checked_where_it_is_replaced(models: dict[Recipe, Model]) -> None:
    log = log_of(block_events())
    model: Any = next(model for recipe, model in models.items() if isinstance(recipe, IALS))
    for change, told in (
        (
            {"item_vectors": model.item_vectors[:5].copy()},
            r"item_vectors: has the shape \(5, 4\); it must be \(items",
        ),
        ({"user_vectors": model.user_vectors[:, :3].copy()}, "item_vectors: has the shape"),
        ({"popularity": model.popularity.astype(np.float64)}, "popularity: holds float64; it must hold float32"),
        ({"popularity": None}, "popularity"),
        ({"unit": 0.0}, "unit is 0"),
        ({"spectrum": -model.spectrum}, "spectrum: has the number -.*; it must be 0 or more"),
    ):
        with pytest.raises(ModelError, match=told):
            replace(model, **change)
    sparse: Any = EASE(neighbours=3).fit(log)
    far = sparse.column.copy()
    far[-1] = ITEMS
    for change, told in (
        ({"column": far}, r"column: has numbers \d+ to 20; they must be from 0, below 20"),
        ({"start": sparse.start[::-1].copy()}, "start: must rise from 0"),
        ({"weight": sparse.weight[:-1]}, "weight: has the shape"),
    ):
        with pytest.raises(ModelError, match=told):
            replace(sparse, **change)
