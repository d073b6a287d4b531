"""Private item vectors by steps with noise: sensitivity by brute force, the noise, and what is learned."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import log_of
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array
from scipy.stats import binom

from palate import Embedding, Popularity, Private, evaluate, load, read_log, split_ratio
from palate.data.interactions import Interactions
from palate.errors import SettingError
from palate.models.negative_sampling import NegativeSample
from palate.privacy import audit, forget, sgd
from palate.privacy.federated.recipes import check_federated
from palate.privacy.ledger import Ledger
from palate.privacy.noise import SeededSource, SystemSource
from palate.privacy.private import PrivateModel
from palate.privacy.released import Hopeless

FALSE_ALARMS = 1e-6
GROUPS = 3


def seeded(epsilon: float = 30.0, **settings: object) -> Private:
    """A recipe whose noise a seed fixes."""
    given: dict[str, object] = {"public": True, "insecure_test_noise": True, "seed": 0, **settings}
    return Private(Embedding(dim=8), epsilon=epsilon, **given)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def log() -> Interactions:
    """Groups of users, each with items of its own; a few of those a user likes."""
    draw = np.random.default_rng(0)
    return log_of(
        [
            (f"u{user}", f"i{user % GROUPS}{item:02}", 1.0, 0)
            for user in range(1500)
            for item in draw.choice(20, 6, replace=False)
        ]
    )


@pytest.fixture(scope="module")
def model(log: Interactions) -> PrivateModel:
    pytest.importorskip("dp_accounting")
    return seeded().fit(log)


# Sensitivity, by brute force


@st.composite
def logs(draw: st.DrawFn) -> csr_array:
    """Users x items, 1 where a user likes an item; some like none, or all."""
    U, I = draw(st.integers(1, 6)), draw(st.integers(1, 9))
    likes = st.lists(st.sampled_from([0.0, 1.0]), min_size=I, max_size=I)
    return csr_array(np.array(draw(st.lists(likes, min_size=U, max_size=U))))


@given(logs(), st.integers(0, 10**6), st.sampled_from([0.0, 1e-3, 1.0, 100.0]), st.sampled_from([8, 128]))
def test_no_user_changes_a_clipped_sum_by_more_than_its_bound(
    X: csr_array, seed: int, size: float, length: int
) -> None:
    """Add each user to the others: the sum changes by that user's term alone, at most `length`² in L2 norm."""
    draw = np.random.default_rng(seed)
    recipe = Embedding(dim=3).resolved()
    vectors = (size * draw.standard_normal((X.shape[1], 3))).astype(np.float32)
    chosen = np.sort(draw.choice(X.shape[1], draw.integers(1, X.shape[1] + 1), replace=False)).astype(np.int32)
    sample = NegativeSample(chosen, np.full(len(chosen), np.log(X.shape[1] / len(chosen)), np.float32))

    def gradients(X: csr_array) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
        return sgd.exact_gradients(X, np.arange(X.shape[0]), vectors, sample, recipe, length)

    whole = gradients(X)
    for user in range(X.shape[0]):
        rest = np.arange(X.shape[0]) != user
        change = whole - gradients(csr_array(X[rest]))
        assert np.linalg.norm(change) <= length**2
        assert (change == gradients(csr_array(X[[user]]))).all()


def test_a_term_comes_near_its_bound() -> None:
    """No noise is wasted: the term of a user with likes is nearly as long as its bound."""
    X = csr_array(np.array([[1.0, 1.0, 0.0, 0.0, 0.0, 1.0]]))
    vectors = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32)
    everything = NegativeSample(np.arange(6, dtype=np.int32), np.zeros(6, np.float32))
    term = sgd.exact_gradients(X, np.arange(1), vectors, everything, Embedding(dim=4).resolved(), 128)
    assert np.linalg.norm(term) > 0.95 * 128**2


@pytest.mark.parametrize("source", [SystemSource(), SeededSource(5)])
def test_a_step_takes_each_user_with_the_chance_that_the_ledger_counts(source: SystemSource | SeededSource) -> None:
    found = len(sgd.drawn(200_000, source))
    low, high = binom.ppf([FALSE_ALARMS / 2, 1 - FALSE_ALARMS / 2], 200_000, sgd.SAMPLING)
    assert low <= found <= high


# The ledger


@pytest.mark.parametrize(("epsilon", "public"), [(1.0, True), (20.0, False)])
def test_a_fit_costs_what_it_says(epsilon: float, public: bool) -> None:
    pytest.importorskip("dp_accounting")
    recipe = Private(Embedding(), epsilon=epsilon, public=public)
    *before, steps = recipe.releases()
    assert (steps.mechanism, steps.times, steps.sampling) == ("sampled gaussian", sgd.TIMES, sgd.SAMPLING)
    assert 0.98 * epsilon < Ledger((*before, steps)).epsilon(1e-6) <= epsilon
    assert Ledger((*before, replace(steps, noise=0.97 * steps.noise))).epsilon(1e-6) > epsilon


# Fits


def test_vectors_rank_better_than_popularity(log: Interactions) -> None:
    pytest.importorskip("dp_accounting")
    parts = split_ratio(log)
    found = evaluate(seeded(), parts, 4)["Recall@4"]
    assert found > 2 * evaluate(Popularity(), parts, 4)["Recall@4"]


def test_the_model_says_what_it_released_and_knows_no_user(model: PrivateModel, tmp_path: Path) -> None:
    shown = model.recommend([[f"i{group}01", f"i{group}02", f"i{group}03"] for group in range(GROUPS)], 5).lists()
    assert [{str(item)[1] for item in row} for row in shown] == [{str(group)} for group in range(GROUPS)]
    assert model.known_users() == set()
    assert model.guarantee.releases == model.recipe.releases()
    model.save(tmp_path / "model")
    back = load(tmp_path / "model")
    assert back.guarantee == model.guarantee
    asked = [["i001"], []]
    np.testing.assert_array_equal(back.scores(back.histories(asked)), model.scores(model.histories(asked)))


def test_the_same_seed_makes_the_same_vectors_and_no_seed_others(log: Interactions, model: PrivateModel) -> None:
    again = seeded().fit(log)
    assert again.item_embeddings is not None
    np.testing.assert_array_equal(again.item_embeddings, model.item_embeddings)
    first, second = (seeded(insecure_test_noise=False, seed=None).fit(log) for _ in range(2))
    assert first.item_embeddings is not None
    assert second.item_embeddings is not None
    assert not np.array_equal(first.item_embeddings, second.item_embeddings)


def test_too_few_users_are_refused_with_a_figure() -> None:
    pytest.importorskip("dp_accounting")
    ratings = read_log(Path(__file__).parents[1] / "examples" / "movielens-small" / "ratings.csv.gz")
    with pytest.raises(Hopeless, match=r"about \d+ users and epsilon=1: expected to be worse than popularity; needs"):
        Private(Embedding(), epsilon=1.0, public=True).fit(ratings)


@pytest.mark.parametrize(
    ("inner", "settings", "said"),
    [
        (Embedding(loss="bpr"), {}, r"Embedding\.loss"),
        (Embedding(epochs=3), {}, r"Embedding\.epochs"),
        (Embedding(), {"public": True, "fields": ("title",)}, "fields"),
    ],
)
def test_settings_without_a_place_in_the_steps_are_refused(
    inner: Embedding, settings: dict[str, object], said: str
) -> None:
    with pytest.raises(SettingError, match=said):
        Private(inner, **settings)  # type: ignore[arg-type]


def test_no_server_trains_it_by_the_sums_of_other_recipes() -> None:
    with pytest.raises(SettingError, match=r"Embedding.*federated"):
        check_federated(Private(Embedding(), public=True))


# Forgetting and attacks


def test_users_leave_it_by_a_new_training(log: Interactions, model: PrivateModel) -> None:
    _, receipt = forget(model, log, ["u0"])
    assert receipt.removal.how == "retrain"


def test_an_audit_finds_what_is_proven(log: Interactions) -> None:
    """At ε = 1 an AUC is .62 at most, for whatever attack; the interval misses in 1e-4 of cases here."""
    pytest.importorskip("dp_accounting")
    recipe = Private(Embedding(dim=4), epsilon=1.0, public=True, refuse=False)
    found = audit(recipe, log, users=200, shadows=4, trainings=0)
    assert found.epsilon == 1
    assert all(each.apart.auc.low < 0.62 for each in found.findings)
