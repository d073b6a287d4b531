"""The approximate index against the exact ranking of the same model."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from palate.data.histories import Histories
from palate.data.vocabulary import Vocabulary
from palate.errors import MissingExtra, SettingError
from palate.models.approximate import approximate
from palate.models.ials import IALS, IALSModel

ITEMS, USERS, DIM = 6000, 400, 16


@pytest.fixture(scope="module")
def model() -> IALSModel:
    """Items and people around 40 tastes."""
    rng = np.random.default_rng(0)
    tastes = rng.normal(size=(40, DIM))
    items, users = (
        (tastes[rng.integers(0, 40, n)] + 0.4 * rng.normal(size=(n, DIM))).astype(np.float32) for n in (ITEMS, USERS)
    )
    ids = Vocabulary.of(range(ITEMS)), Vocabulary.of(range(USERS))
    spectrum, popularity = np.ones(DIM, np.float32), rng.random(ITEMS).astype(np.float32)
    return IALSModel(IALS(unseen_weight=0.1), *ids, users, items, popularity, spectrum, 1.0)


def histories(model: IALSModel) -> Histories:
    """Items of one taste each: those most like another; the last person has none."""
    near = model.similar_items(range(0, ITEMS, 200), 12).lists()
    return model.histories([*near, []])


def test_the_recall_is_reached_and_true(model: IALSModel) -> None:
    index = approximate(model, recall=0.9)
    assert 0.9 <= index.recall <= 1
    asked = histories(model)
    exact, found = (each.recommend(asked, 10).item for each in (model, index))
    shared = [np.isin(a, b).mean() for a, b in zip(exact, found, strict=True)]
    assert np.mean(shared) > 0.85
    assert shared[-1] == 1  # nothing known: popularity


def test_more_recall_takes_more_probes(model: IALSModel) -> None:
    little, much = (approximate(model, recall=share) for share in (0.3, 1.0))
    assert little.probes < much.probes
    asked = histories(model)
    np.testing.assert_array_equal(much.recommend(asked, 5).item, model.recommend(asked, 5).item)


def test_the_rules_of_a_list_hold(model: IALSModel) -> None:
    index, asked = approximate(model), histories(model)
    excluded = index.recommend(asked, 3).item[:, 0]
    shown = index.recommend(asked, 10, exclude=excluded.tolist())
    assert shown.filled.all()
    for b, row in enumerate(shown.item):
        own = asked.rows.column[asked.rows.start[b] : asked.rows.start[b + 1]]
        assert set(row).isdisjoint(excluded)
        assert set(row).isdisjoint(own)
        assert len(set(row)) == 10
        assert (np.diff(shown.score[b]) <= 0).all()
    few = index.recommend(asked, 10, only=range(7), keep_seen=True)
    np.testing.assert_array_equal(few.item, model.recommend(asked, 10, only=range(7), keep_seen=True).item)


def test_the_rest_is_the_models(model: IALSModel) -> None:
    index, asked = approximate(model), histories(model)
    np.testing.assert_array_equal(index.scores(asked), model.scores(asked))
    assert index.similar_items([3], 4).lists() == model.similar_items([3], 4).lists()
    assert index.explain([1, 2, 3], 4) == model.explain([1, 2, 3], 4)
    assert index.recipe is model.recipe


def test_bad_settings_are_named(model: IALSModel) -> None:
    for recall in (0, 1.1, float("nan")):
        with pytest.raises(SettingError, match="recall"):
            approximate(model, recall=recall)


def test_without_faiss_the_extra_is_named(model: IALSModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(MissingExtra, match=r"palate\[ann\]"):
        approximate(model)
