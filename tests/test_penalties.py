"""Penalties that follow the log: of IALS, Embedding and EASE where none is given."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from palate import EASE, IALS, Embedding, Hybrid, Interactions, load
from palate.data.vocabulary import Vocabulary
from palate.models.ease import fitting_l2
from palate.models.item_to_item import positives
from palate.models.penalties import noise, relative_noise


def random_log(users: int, items: int, share: float) -> Interactions:
    """Each pair has an event with the same chance."""
    pairs = np.random.default_rng(0).random((users, items)) < share
    user, item = (each.astype(np.int32) for each in np.nonzero(pairs))
    return Interactions.of(Vocabulary.of(range(users)), Vocabulary.of(range(items)), user, item)


LOG = random_log(30, 20, 0.4)


def test_noise_falls_with_the_events_of_rows() -> None:
    sizes = np.diff(LOG.start).astype(float), LOG.item_counts().astype(float)
    means = [(each**2).sum() / each.sum() for each in sizes]
    assert noise(LOG) == pytest.approx(means[0] ** -0.5 + means[1] ** -0.5)
    single = random_log(5, 5, 2.0).select(np.eye(5, dtype=bool).ravel())
    assert noise(single) == 2  # one event a user and item
    assert noise(random_log(300, 200, 0.4)) < noise(LOG) / 3


@pytest.mark.parametrize("given", [IALS(), IALS(dim=512), IALS(unseen_weight=0.01), IALS(unseen_weight=5.0)])
@pytest.mark.parametrize("scaling", [1.0, 0.5])
def test_the_penalty_of_a_mean_row_does_not_depend_on_dim_and_the_unseen_weight(given: IALS, scaling: float) -> None:
    users, items, events = len(LOG.users), len(LOG.items), len(LOG)
    recipe = replace(given, l2_scaling=scaling).resolved(LOG)
    assert recipe.l2 is not None
    assert recipe.unseen_weight is not None
    user, item = (
        recipe.l2 * (events / one + recipe.unseen_weight * other) ** scaling
        for one, other in ((users, items), (items, users))
    )
    mean = 0.19 * np.cbrt(relative_noise(LOG)) * events / np.sqrt(users * items)
    assert np.sqrt(user * item) == pytest.approx(mean, rel=0.005)


def test_a_larger_dim_has_a_smaller_l2_in_an_embedding_whose_scores_it_divides() -> None:
    small, large = (Embedding(dim=dim).resolved(LOG).l2 or 0 for dim in (8, 512))
    assert small == pytest.approx(4 * large, rel=0.01)
    assert small == pytest.approx(0.02 * 2 * relative_noise(LOG), rel=0.01)
    assert Embedding(dim=64).resolved().l2 == 0.02  # without a log
    assert Embedding(loss="bpr", dim=8).resolved(LOG).l2 == pytest.approx(0.3 * small, rel=0.01)


def test_the_penalty_of_ease_is_about_twice_the_largest_singular_value() -> None:
    X = positives(LOG, True)
    top = np.linalg.svd(X.toarray(), compute_uv=False)[0]
    assert fitting_l2(X) == pytest.approx(2 * top, rel=0.1)
    double = replace(LOG, weight=2 * LOG.weight)
    assert fitting_l2(positives(double, False)) == pytest.approx(4 * fitting_l2(X), rel=0.01)
    assert fitting_l2(positives(double, True)) == fitting_l2(X)


@pytest.mark.parametrize("recipe", [IALS(dim=4, epochs=1), Embedding(dim=4, epochs=1), EASE(), EASE(neighbours=3)])
def test_a_model_shows_the_penalty_and_a_given_one_is_kept(recipe: IALS | Embedding | EASE, tmp_path: Path) -> None:
    assert recipe.l2 is None
    model = recipe.fit(LOG)
    model.save(tmp_path / "model")
    kept = load(tmp_path / "model").recipe
    assert isinstance(kept, type(recipe))
    assert kept.l2 is not None
    assert f"l2={kept.l2}" in repr(model.recipe)
    same = replace(recipe, l2=kept.l2).fit(LOG)
    assert (same.recommend(LOG.histories([3])).item == model.recommend(LOG.histories([3])).item).all()
    given = replace(recipe, l2=0.5).fit(LOG).recipe
    assert isinstance(given, type(recipe))
    assert given.l2 == 0.5


def test_the_base_of_a_hybrid_follows_the_log_as_well() -> None:
    assert IALS(dim=128) == Hybrid().base
    assert IALS(dim=128).resolved(LOG).l2 == IALS().resolved(LOG).l2
