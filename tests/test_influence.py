"""Users leave trained models: exactly where a fit is sums over users, else as near as the receipt says."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from conftest import USERS, block_events, catalogue_of, log_of
from hypothesis import given
from hypothesis import strategies as st

from palate import (
    EASE,
    IALS,
    SLIST,
    Blend,
    Content,
    Diversify,
    Embedding,
    Hybrid,
    InfiniteAE,
    Interactions,
    ItemKNN,
    Pipeline,
    Popularity,
    SessionKNN,
    load,
    read_log,
)
from palate.arrays import Doubles
from palate.data.catalogue import Catalogue
from palate.data.vocabulary import Vocabulary
from palate.errors import DataError
from palate.models.base import Model, Recipe, Watch
from palate.models.popularity import PopularityModel
from palate.privacy import forget
from palate.privacy.influence_vectors import slopes, state_of
from palate.privacy.receipts import names, signed, verified

GONE = ["u3", "u7", "u20"]


@pytest.fixture(scope="module")
def log() -> Interactions:
    return log_of(block_events())


@pytest.fixture(scope="module")
def rated() -> Interactions:
    """Weights from 1 to 5, a dislike now and then, repeats, and times over weeks."""
    rng = np.random.default_rng(2)
    user, item = (rng.integers(0, size, 700) for size in (60, 25))
    weight = rng.choice([0.0, 1, 2, 3, 4, 5], 700)
    table = {"user": [f"u{n}" for n in user], "item": [f"i{n}" for n in item], "weight": weight}
    read = read_log(pl.DataFrame(table | {"timestamp": 10**9 + 5000 * np.arange(700)}))
    return replace(read, weight=np.where(read.weight == 0, np.float32(-1), read.weight))


def without(log: Interactions, ids: list[str] = GONE) -> Interactions:
    return log.without(set(ids))


def apart(model: Model, other: Model, log: Interactions) -> float:
    """Largest difference of the scores of the users that stay, and of the weights of a dense model."""
    past = log.histories()
    found = float(np.abs(model.scores(past) - other.scores(past)).max())
    own, theirs = getattr(model, "weights", None), getattr(other, "weights", None)
    if own is None or theirs is None or own.shape != theirs.shape:
        return found
    return max(found, float(np.abs(own - theirs).max()))


EXACT: list[Recipe] = [
    EASE(l2=5),
    EASE(),
    EASE(binary=False, half_life_days=10),
    EASE(neighbours=4),
    EASE(l2=5, binary=False),
    EASE(l2=5, half_life_days=10),
    EASE(l2=5, neighbours=4),
    ItemKNN(neighbours=5),
    ItemKNN(neighbours=5, similarity="bm25", binary=False),
    SLIST(l2=3, neighbours=5),
    SLIST(l2=3, neighbours=None),
    Popularity(),
    Popularity(half_life_days=3),
    IALS(dim=8, epochs=3, threads=1),
    IALS(dim=8, epochs=3, threads=1, l2=0.1),
    IALS(dim=8, epochs=3, threads=1, unseen_weight=0.3, half_life_days=10),
    InfiniteAE(),
    SessionKNN(),
    SessionKNN(half_life_days=3, longest=4),
    Pipeline("EASE(l2=5)", (Diversify(),)),
    Pipeline(Popularity(), (Diversify(),)),
]


@pytest.mark.parametrize("recipe", EXACT, ids=repr)
def test_what_is_exact_is_the_model_of_a_training_without(rated: Interactions, recipe: Recipe) -> None:
    model = recipe.fit(rated)
    lighter, receipt = forget(model, rated, GONE)
    expected = recipe.fit(without(rated))
    assert receipt.how == "exact"
    assert receipt.distance is not None
    assert receipt.distance < 1e-6
    assert apart(lighter, expected, without(rated)) < 2e-6
    assert lighter.known_users().isdisjoint(GONE)
    assert receipt.removed["users"] == 3
    assert receipt.removed["events"] == len(rated) - len(without(rated))
    assert apart(model, expected, without(rated)) > 1e-4, "the users had taught it something"


def test_a_penalty_that_follows_the_log_follows_it_when_many_leave() -> None:
    log = log_of(block_events())
    model, gone = EASE().fit(log), log.users.ids.to_list()[:20]
    lighter, receipt = forget(model, log, gone)
    expected = EASE().fit(log.without(set(map(str, gone))))
    assert receipt.how == "exact"
    assert model.recipe != expected.recipe == lighter.recipe
    assert apart(lighter, expected, log) < 2e-6


def test_content_forgets_exactly() -> None:
    log = log_of(block_events())
    recipe, catalogue = Content(), catalogue_of(log)
    lighter, receipt = forget(recipe.fit(log, catalogue), log, GONE)
    assert (receipt.how, receipt.distance) == ("exact", 0.0)
    expected = recipe.fit(without(log), catalogue)
    past = without(log).histories()
    np.testing.assert_allclose(lighter.scores(past), expected.scores(past), atol=1e-4)


def test_the_receipt_says_whether_users_are_still_told_apart() -> None:
    """Random histories: those that left EASE are like those never seen; the interval misses in 5% of seeds."""
    draw = np.random.default_rng(0)
    whole = log_of([(f"u{u:03}", f"i{i}", 1.0, 0) for u in range(300) for i in draw.choice(60, 8, replace=False)])
    gone, never = ({f"u{n:03}" for n in range(low, low + 100)} for low in (0, 100))
    log, unseen = whole.without(never), whole.without({f"u{n:03}" for n in range(300)} - never)
    model = EASE(l2=5).fit(log)
    _, receipt = forget(model, log, gone, unseen)
    attack = receipt.attack
    assert attack is not None
    assert (attack.users, attack.unseen) == (100, 100)
    assert attack.low < 0.5 < attack.high
    assert receipt.as_dict()["attack"]["auc"] == attack.auc
    trained = Embedding(dim=16, epochs=30, learning_rate=0.1).fit(log)
    _, stays = forget(trained, log, gone, unseen)
    assert stays.how == "retrain"
    assert stays.attack is not None
    assert forget(model, log, gone)[1].attack is None


def test_users_that_leave_one_by_one_leave_as_all_at_once(log: Interactions) -> None:
    recipe = EASE(l2=5)
    model: Model = recipe.fit(log)
    ids = [f"u{n}" for n in range(0, USERS, 2)]
    one_by_one: Model = model
    for user in ids:  # the log may be the whole one: what left before is known
        one_by_one, receipt = forget(one_by_one, log, [user])
        assert receipt.how == "exact"
    at_once, _ = forget(model, log, ids)
    expected = recipe.fit(without(log, ids))
    assert apart(one_by_one, expected, without(log, ids)) < 1e-6
    assert apart(at_once, expected, without(log, ids)) < 1e-6


def test_the_distance_is_what_it_says(log: Interactions) -> None:
    recipe = EASE(l2=5)
    _lighter, receipt = forget(recipe.fit(log), log, GONE)
    assert isinstance(receipt.distance, float)
    assert 0 < receipt.distance < 1e-6


def test_a_saved_model_forgets_as_well(log: Interactions, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    recipe = EASE(l2=5)
    recipe.fit(log).save(folder)
    lighter, receipt = forget(load(folder), log, GONE)
    assert receipt.how == "exact"
    lighter.save(folder)
    assert apart(load(folder), recipe.fit(without(log)), without(log)) < 1e-6


def test_vectors_of_least_squares_are_those_of_a_training_without(rated: Interactions) -> None:
    model = IALS(dim=8, epochs=8, threads=1).fit(rated)
    lighter, receipt = forget(model, rated, GONE)
    assert lighter.known_users() == model.known_users() - set(GONE)
    assert receipt.removed["users with data of their own"] == 3
    again, _ = forget(lighter, rated, GONE)
    assert apart(again, lighter, without(rated)) == 0


def test_vectors_that_are_trained_step_by_step_say_that_they_must_be_trained_again(rated: Interactions) -> None:
    model = Embedding(dim=8, epochs=2, threads=1).fit(rated)
    lighter, receipt = forget(model, rated, GONE)
    assert receipt.how == "retrain"
    assert lighter.known_users() == model.known_users() - set(GONE)


def test_the_slopes_are_those_of_the_loss(rated: Interactions) -> None:
    recipe = IALS(dim=4, epochs=2, threads=1)
    work = state_of(recipe.fit(rated).recipe, recipe.fit(rated), rated)
    total = float(np.abs(work.rows.weight).sum())
    for side, slope in zip((work.users, work.items), slopes(work), strict=True):
        for place in ((0, 0), (3, 2), (9, 1)):
            before, step = side[place], np.float32(1e-2)
            found = []
            for value in (before + step, before - step):
                side[place] = value
                found.append(work.loss() * total)
            side[place] = before
            assert (found[0] - found[1]) / (2 * step) == pytest.approx(2 * float(slope[place]), rel=0.02, abs=0.02)


def test_hybrid_keeps_its_new_items() -> None:
    log = log_of(block_events())
    catalogue = catalogue_of(log)
    model = Hybrid("IALS(dim=8, epochs=5, threads=1)").fit(log, catalogue)
    lighter, receipt = forget(model, log, GONE)
    assert receipt.how == "approximate"
    assert lighter.known_users() == model.known_users() - set(GONE)
    past = without(log).histories()
    both = lighter.recommend(past, 5).lists(), model.recommend(past, 5).lists()
    shared = np.mean([len(set(new) & set(old)) / 5 for new, old in zip(*both, strict=True)])
    assert shared > 0.8
    np.testing.assert_array_equal(lighter.cold_items, model.cold_items)


def test_a_blend_forgets_through_its_parts(log: Interactions) -> None:
    blend = Blend(recipes=(EASE(l2=5), ItemKNN(neighbours=5)))
    lighter, receipt = forget(blend.fit(log), log, GONE)
    assert receipt.how == "approximate"
    assert [each.how for each in receipt.removal.parts] == ["exact", "exact"]
    expected = EASE(l2=5).fit(without(log))
    parts = getattr(lighter, "models")  # noqa: B009
    assert apart(parts[0], expected, without(log)) < 1e-6


@dataclass(frozen=True, kw_only=True)
class Network(Popularity):
    """Stands for a recipe of which nothing is known."""

    def fit(
        self, log: Interactions, catalogue: Catalogue | None = None, *, watch: Watch | None = None
    ) -> PopularityModel:
        return replace(Popularity().fit(log), recipe=self)


def test_what_nothing_better_is_known_of_says_that_it_must_be_trained_again(log: Interactions) -> None:
    from palate.privacy.influence import leave

    leave.register(Network, leave.dispatch(object))
    model = Network().fit(log)
    _same, receipt = forget(model, log, GONE)
    assert receipt.how == "retrain"
    assert receipt.distance is None
    assert "makes a model without" in receipt.removal.measure


def test_a_log_that_the_model_was_not_fitted_to_is_refused(log: Interactions) -> None:
    for recipe in (EASE(l2=5), IALS(dim=4, epochs=1, threads=1), ItemKNN(neighbours=5), Popularity()):
        with pytest.raises(DataError, match="the log must be the one that the model was fitted to"):
            forget(recipe.fit(log), without(log, ["u1", "u2"]), GONE)


def test_unknown_users_change_nothing(log: Interactions) -> None:
    model = EASE(l2=5).fit(log)
    same, receipt = forget(model, log, ["nobody", "u", "u33"])
    assert same is model
    assert (receipt.how, dict(receipt.removed)) == ("exact", {})
    assert receipt.names("nobody")
    with pytest.raises(DataError, match="user_ids"):
        forget(model, log, "u1")


def test_no_user_is_left(log: Interactions) -> None:
    model = IALS(dim=4, epochs=1, threads=1).fit(log)
    lighter, receipt = forget(model, log, log.users.ids.to_list())
    assert lighter.known_users() == set()
    assert receipt.how == "retrain"
    assert "delete the model" in receipt.removal.measure


def test_ids_that_are_numbers(log: Interactions) -> None:
    numbered = replace(log, users=Vocabulary.of(range(100, 100 + len(log.users))))
    for given_as in ([103], ["103"]):
        _lighter, receipt = forget(EASE(l2=5).fit(numbered), numbered, given_as)
        assert receipt.removed["users"] == 1
        assert receipt.names(103)


@given(ids=st.lists(st.text(min_size=1, max_size=40), min_size=1, max_size=4, unique=True), other=st.text(min_size=1))
def test_a_receipt_tells_only_those_who_know_the_id(ids: list[str], other: str) -> None:
    log = log_of(block_events())
    renamed = replace(log, users=Vocabulary.of([*ids, *(f"\0{n}" for n in range(len(log.users) - len(ids)))]))
    model = Popularity().fit(renamed)
    receipts = [forget(model, renamed, ids)[1].as_dict() for _ in range(2)]
    assert all(names(receipts[0], user) for user in ids)
    assert names(receipts[0], other) == (other in ids)
    assert set(receipts[0]["users"]["hashes"]).isdisjoint(receipts[1]["users"]["hashes"]), "each has its own salt"
    key = b"key"
    good = signed(receipts[0], key)
    assert verified(good, key)
    assert not verified(good, b"other")
    assert not verified(good | {"how": "approximate"}, key)
    assert not verified(receipts[0], key)


# The attack: are users that left still told apart from users that never were there?


def advantage(model: Model, inside: Interactions, outside: Interactions) -> tuple[float, float]:
    """AUC of the mean score of a user's newer half by the older one, and its standard error (Hanley, McNeil 1982)."""
    found = []
    for log in (inside, outside):
        cuts = [(low, (low + high) // 2, high) for low, high in pairwise(log.start.tolist())]
        older = [log.items.ids.gather(log.item[low:half].astype(np.int64)).to_list() for low, half, _ in cuts]
        scores = model.scores(model.histories(older))
        own: Doubles = np.array(
            [scores[n, log.item[half:high]].mean() - scores[n].mean() for n, (_, half, high) in enumerate(cuts)]
        )
        found.append(own)
    a, b = found
    auc = float((a[:, None] > b).mean())
    q1, q2 = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    variance = auc * (1 - auc) + (len(a) - 1) * (q1 - auc**2) + (len(b) - 1) * (q2 - auc**2)
    return auc, float(np.sqrt(variance / (len(a) * len(b))))


@pytest.mark.parametrize(
    "recipe", [EASE(l2=2), ItemKNN(neighbours=20), IALS(dim=24, epochs=8, l2=0.001, threads=1)], ids=repr
)
def test_who_left_cannot_be_told_apart(recipe: Recipe) -> None:
    rng = np.random.default_rng(4)
    items = np.array([rng.choice(80, 10, replace=False) for _ in range(240)], np.int32)
    vocabularies = Vocabulary.of([f"u{n}" for n in range(240)]), Vocabulary.of([f"i{n}" for n in range(80)])
    whole = Interactions.of(*vocabularies, np.repeat(np.arange(240, dtype=np.int32), 10), items.ravel())
    gone, never = [f"u{n}" for n in range(60)], [f"u{n}" for n in range(60, 120)]
    log = whole.without(set(never))
    model = recipe.fit(log)
    rest = {f"u{n}" for n in range(120, 240)}
    inside, outside = whole.without({*never, *rest}), whole.without({*gone, *rest})
    auc, error = advantage(model, inside, outside)
    assert auc - 1.96 * error > 0.5, "before, they are"
    lighter, _ = forget(model, log, gone)
    auc, error = advantage(lighter, inside, outside)
    assert auc - 1.96 * error < 0.5 < auc + 1.96 * error
