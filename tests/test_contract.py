"""Every recipe keeps to `palate.testing.RULES`; a new one needs an entry in FAST and in BAD, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ITEMS, block_events, catalogue_of, log_of

from benchmarks.reliability.damages import arrays_of, damage, reseal, tried
from palate.data.catalogue import Catalogue
from palate.data.interactions import Interactions
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
from palate.models.registry import load, load_with_log, recipes
from palate.models.session_knn import SessionKNN
from palate.models.slist import SLIST
from palate.models.transformer import Transformer
from palate.privacy.private import Private
from palate.ranking.ranked import Ranked
from palate.ranking.staged import Pipeline
from palate.testing import RULES, Case, check_rule
from palate.testing.case import lists_of
from palate.testing.models import float_arrays

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
    Blend(recipes=(EASE(l2=100), "SLIST(l2=10)"), users=20),
    Pipeline("EASE(l2=100)"),
    Ranked(recipes=("EASE(l2=100)", "SLIST(l2=10)"), users=20),
    *(
        Private(recipe, epsilon=20, public=True, refuse=False, insecure_test_noise=True, seed=0)
        for recipe in (
            "EASE()",
            "Embedding(dim=4)",
            "IALS(dim=4)",
            'ItemKNN(similarity="cosine", neighbours=8)',
            "SLIST(alpha=1.0)",
        )
    ),
    InfiniteAE(l2=2),
    InfiniteAE(l2=2, bias=0.001, norm=0.0),
    EASE(l2=100),
    EASE(l2=100, binary=False, neighbours=6),
    *(ItemKNN(similarity=similarity, neighbours=8) for similarity in SIMILARITIES),
    Popularity(),
    Popularity(half_life_days=2),
    SessionKNN(),
    SessionKNN(neighbours=20, half_life_days=2, longest=5),
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
    *((Blend, {name: value}) for name, value in (("users", 0), ("seed", -1), ("recipes", ()))),
    *(
        (Blend, {"recipes": (text,)})
        for text in ("SLIST", "Best()", "SLIST(3)", "SLIST(best=3)", "EASE(l2=open('x'))")
    ),
    *((Autoencoder, {name: float("nan")}) for name in ("l2", "beta", "learning_rate", "weight_decay", "dropout")),
    *((Autoencoder, {name: -1}) for name in ("beta", "encoder_passes", "weight_decay", "seed")),
    *((Autoencoder, {name: value}) for name, value in (("dropout", 1), ("device", "abacus"))),
    *((InfiniteAE, {name: value}) for name in ("l2", "bias", "norm") for value in (-1, float("nan"))),
    *((InfiniteAE, {name: 0}) for name in ("l2", "depth")),
    *((Ranked, {name: value}) for name, value in (("pool", 0), ("users", 0), ("folds", 0), ("gap", -1))),
    *(
        (Ranked, {name: value})
        for name, value in (("recipes", ()), ("recipes", ("SLIST",)), ("held_out", "items"), ("seed", -1))
    ),
    *((Pipeline, {"recipe": text}) for text in ("EASE", "Best()")),
    *((Private, {"recipe": text}) for text in ("EASE", "SessionKNN()")),
    *((Private, {"epsilon": value}) for value in (0, -1, float("nan"), float("inf"))),
    *((Private, {"delta": value}) for value in (0, 1, float("nan"))),
    (Private, {"seed": 0}),
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
    *((SessionKNN, {name: 0}) for name in ("neighbours", "sample", "decay", "near", "half_life_days", "longest")),
    *((SessionKNN, {name: float("nan")}) for name in ("decay", "near", "beta")),
    *((SessionKNN, {name: value}) for name, value in (("decay", 1.5), ("near", 1.5), ("beta", -1))),
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
def cases() -> dict[Recipe, Case]:
    return {recipe: Case(recipe) for recipe in FAST}


@pytest.fixture
def model(recipe: Recipe, cases: dict[Recipe, Case]) -> Model:
    return cases[recipe].model


def test_every_recipe_is_here() -> None:
    assert {type(recipe) for recipe in FAST} == set(recipes())
    assert {recipe for recipe, _ in BAD} == set(recipes())


# Settings


@pytest.mark.parametrize(("recipe", "bad"), BAD, ids=str)
def test_a_bad_setting_is_named(recipe: type[Recipe], bad: dict[str, Any]) -> None:
    (name,) = bad
    with pytest.raises(SettingError, match=name):
        recipe(**bad)


@every_recipe
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_contract(recipe: Recipe, rule: Callable[[Case], None], cases: dict[Recipe, Case]) -> None:
    check_rule(rule, cases[recipe])


# Quality: two groups of people who never meet


@every_recipe
def test_the_answer_is_known(recipe: Recipe, model: Model, block_log: Interactions) -> None:
    """A third of the catalogue is from the wrong group; half of the own group was seen."""
    if isinstance(recipe, Popularity | Private):
        pytest.skip("popularity shows the same to both groups, and noise hides so few users")
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
    same = fitted(recipe, others) if isinstance(recipe, InfiniteAE | SessionKNN) else model  # which weigh all users
    np.testing.assert_allclose(back.scores(left), same.scores(left), rtol=1e-4, atol=1e-5)
    everybody = model.without(block_log.users.texts())
    assert everybody.known_users() == set()
    assert np.isfinite(everybody.scores(left)).all()


# Blocks


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


# Numbers of every size


@every_recipe
def test_an_event_of_the_year_9999_makes_nothing_old(recipe: Recipe) -> None:
    """The order of the lists is that of the same log with the event at its end, up to the few that it moves."""
    if "half_life_days" not in recipe.settings():
        pytest.skip("no decay")
    events = block_events()
    fading = replace(recipe, half_life_days=2.0)  # type: ignore[call-arg]
    asked = [["i0", "i1", "i2"], ["i13", "i14"]]
    scores = [
        fading.fit(log_of([*events, ("clock", "i7", 1.0, day), ("clock", "i8", 1.0, day)])).recommend(asked, ITEMS)
        for day in (8, 2_932_896)
    ]
    for one, other in zip(*(answer.lists() for answer in scores), strict=True):
        assert len(set(one[:4]) & set(other[:4])) >= 3


@every_recipe
def test_no_model_has_numbers_that_are_not_finite(model: Model, tmp_path: Path) -> None:
    """Not one that is saved, nor one that is loaded."""
    name, array = next(iter(float_arrays(model)), ("", np.zeros(0, np.float32)))
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


# Histories that are none


def test_a_history_that_is_none_is_named(block_log: Interactions) -> None:
    model = Popularity().fit(block_log)
    for wrong in (["i0", "i1"], [["i0"], "i1"], [1, 2], [["i0"], None]):
        with pytest.raises(DataError, match=r"history \d is .*; it must be a list or column of ids"):
            model.recommend(wrong)  # type: ignore[arg-type]


# What stands in a bundle


@every_recipe
def test_wrong_arrays_in_a_sealed_bundle_are_clear_errors(
    model: Model, block_log: Interactions, tmp_path: Path
) -> None:
    """What cannot be told from a model's own arrays is ranked by, and nothing worse happens."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "model"
    model.save(folder, log=block_log)
    refused, count = 0, 0
    for path in arrays_of(folder):
        sound = path.read_bytes()
        for _ in range(6):
            count += 1
            damage(path, rng)
            reseal(folder)
            told = tried(folder)
            assert told in ("refused", "ranked")
            refused += told == "refused"
            path.write_bytes(sound)
    reseal(folder)
    load(folder)
    assert refused >= count * 0.6


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


def test_a_model_is_checked_where_it_is_replaced() -> None:
    log = log_of(block_events())
    model: Any = IALS(dim=4, threads=1).fit(log)
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
