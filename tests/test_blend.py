"""Blend: places instead of scores, weights that a grid cannot beat, recipes as text."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import ITEMS, block_events, catalogue_of, log_of
from hypothesis import given
from hypothesis import strategies as st

from palate import EASE, IALS, SLIST, Blend, Content, Hybrid, ItemKNN, Popularity, load
from palate.arrays import Doubles, Floats
from palate.data.interactions import Interactions
from palate.errors import SettingError
from palate.models.blend import learned, rank_scores
from palate.models.registry import as_recipe, recipes


def chain(people: int = 80) -> Interactions:
    """Everybody goes up a line of 20 items from anywhere: order tells all, popularity nothing."""
    start = np.random.default_rng(0).integers(0, ITEMS - 5, people)
    return log_of([(f"u{u}", f"i{start[u] + n}", 1.0, n) for u in range(people) for n in range(5)])


def test_the_better_recipe_gets_the_weight() -> None:
    model = Blend(recipes=(Popularity(), SLIST(l2=1))).fit(chain())
    assert model.weights[1] > 3 * max(model.weights[0], 0.05)
    alone = SLIST(l2=1).fit(chain())
    asked = [["i3", "i4"], ["i9", "i10", "i11"]]
    assert model.recommend(asked, 1).lists() == alone.recommend(asked, 1).lists() == [["i5"], ["i12"]]


def test_its_reasons_are_those_of_its_models_by_their_weights() -> None:
    log, past, items = chain(), ["i3", "i4", "i9"], ["i5", "i10", "i0"]
    first, second = EASE(l2=5).fit(log), ItemKNN(neighbours=5).fit(log)
    model = Blend(recipes=(EASE(l2=5), ItemKNN(neighbours=5), Popularity())).fit(log)
    model = replace(model, weights=np.array([3, 1, 5], np.float32))
    codes, rows = model.items.known(items), model.histories([past]).rows
    shares = [
        parts / np.abs(parts).sum(axis=0) for parts in (each.contributions(rows, codes) for each in (first, second))
    ]
    np.testing.assert_allclose(model.contributions(rows, codes), 3 * shares[0] + np.nan_to_num(shares[1]), rtol=1e-5)
    assert model.explain(past, "i5")[0][0] == first.explain(past, "i5")[0][0] == "i4"
    alone = replace(model, weights=np.array([0, 0, 5], np.float32))
    assert alone.explain(past, items) == [[], [], []]
    assert model.explain([], "i5") == []


def test_weights_are_the_most_likely() -> None:
    """No point of a grid around them makes the answers more likely."""
    rng = np.random.default_rng(1)
    place = np.stack([np.stack([rng.permutation(12) + 1 for _ in range(2)]) for _ in range(60)])
    answers = np.zeros((60, 12), np.bool_)
    answers[np.arange(60), place[:, 0].argmin(axis=1)] = True
    answers[:30] = rng.permuted(answers[:30], axis=1)
    level = -np.log(place)
    best = learned((level, answers))

    def likelihood(weights: Floats | Doubles) -> float:
        odds = np.exp(np.einsum("qmi,m->qi", level, weights))
        return float(np.log(odds[answers] / odds.sum(axis=1)).mean())

    for x in np.linspace(0, 3, 31):
        for y in np.linspace(0, 3, 31):
            assert likelihood(np.array([x, y])) <= likelihood(best) + 1e-6
    assert (best >= 0).all()


SCORE = st.sampled_from([-1e30, -2.5, -1.0, -1e-30, -0.0, 0.0, 1e-30, 1.0, 3.0, 3.0000002])


@given(st.lists(st.lists(SCORE, min_size=6, max_size=6), min_size=1, max_size=4), st.integers(0, 63))
def test_levels_count_the_unseen_above(rows: list[list[float]], bits: int) -> None:
    scores = np.array(rows, np.float32)
    seen = np.tile([bool(bits >> n & 1) for n in range(6)], (len(rows), 1))
    found = rank_scores(scores, seen)
    for b in range(len(rows)):
        for i in range(6):
            others = [j for j in range(6) if j != i and not seen[b, j]]
            above = sum(scores[b, j] > scores[b, i] for j in others)
            equal = sum(scores[b, j] == scores[b, i] for j in others)
            assert found[b, i] == pytest.approx(-np.log(1 + above + equal / 2), abs=1e-6)


def test_any_scale_of_scores_blends() -> None:
    scores = np.random.default_rng(0).standard_normal((3, 9)).astype(np.float32)
    seen = np.zeros((3, 9), np.bool_)
    np.testing.assert_array_equal(rank_scores(scores, seen), rank_scores(np.exp(5 * scores) - 100, seen))


def test_the_held_out_are_the_last_events_of_some() -> None:
    log = log_of([*block_events(), ("alone", "i3", 1.0, 0), ("u0", "i19", -1.0, 99)])
    mask = Blend(users=7).held_out(log)
    assert mask.sum() == 7
    for n in np.flatnonzero(mask):
        of_user = np.flatnonzero((log.user == log.user[n]) & (log.weight > 0))
        assert n == of_user[-1]
        assert len(of_user) > 1
    assert Blend(users=1000).held_out(log).sum() == 30
    assert (Blend(users=7, seed=1).held_out(log) != mask).any()


@pytest.mark.parametrize("recipe", [EASE(l2=3, neighbours=5), ItemKNN(similarity="bm25"), IALS(unseen_weight=1e-05)])
def test_a_recipe_is_read_from_what_it_prints(recipe: EASE) -> None:
    assert as_recipe(repr(recipe)) == recipe


def test_a_recipe_is_never_run_as_code() -> None:
    for text in ("__import__('os').system('true')", "EASE(l2=1) + EASE(l2=2)", "EASE(l2=print(1))", "Blend", ""):
        with pytest.raises(SettingError, match=r"recipes=.*: each is a recipe with its settings") as caught:
            as_recipe(text, "recipes")
        assert "SLIST" in str(caught.value)
    assert {each.__name__ for each in recipes()} <= set(str(caught.value).replace(",", " ").split())


def test_a_blend_reads_of_a_catalogue_what_is_told_of_its_items(tmp_path: Path) -> None:
    """One item is met once, so that a part of the log lacks it; another one never."""
    log = log_of([*block_events(), ("u3", "once", 1.0, 99)])
    films = catalogue_of(log_of([*block_events(), ("u3", "once", 1.0, 99), ("u3", "never", 1.0, 99)]))
    model = Blend(recipes=(SLIST(l2=10), Content(dim=4), Hybrid("IALS(dim=4, l2=0.1)", dim=4))).fit(log, films)
    assert model.weights.shape == (3,)
    assert model.scores(log.histories()).shape == (len(log.users), ITEMS + 1)
    model.save(tmp_path / "model")
    loaded = load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.scores(log.histories()), model.scores(log.histories()))


def test_a_blend_of_blends_is_saved(tmp_path: Path) -> None:
    log = log_of(block_events())
    inner = Blend(recipes=(EASE(l2=50), Popularity()))
    model = Blend(recipes=(inner, SLIST(l2=10))).fit(log)
    model.save(tmp_path / "model")
    loaded = load(tmp_path / "model")
    assert loaded.recipe == model.recipe
    np.testing.assert_array_equal(loaded.scores(log.histories()), model.scores(log.histories()))
