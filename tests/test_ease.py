"""EASE against its formula in float64, and against its own objective."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import block_events, log_of
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array

from palate import EASE, evaluate, split_ratio
from palate.arrays import Doubles, Floats
from palate.compute import memory
from palate.data.histories import Histories
from palate.data.interactions import Interactions
from palate.data.vocabulary import Id, Vocabulary
from palate.errors import SettingError
from palate.kernels.inverse import sweep
from palate.models import ease
from palate.models.ease import by_users, dense_weights, pruned_weights
from palate.models.item_to_item import SparseItemModel, positives


def reference(X: Doubles, l2: float) -> Doubles:
    """B = I - P / diag(P), P = (XᵀX + l2)⁻¹ (Steck 2019, eq. 8)."""
    P = np.linalg.inv(X.T @ X + l2 * np.eye(X.shape[1]))
    B: Doubles = np.eye(X.shape[1]) - P / np.diag(P)
    return B


def loss(X: Doubles, B: Doubles, l2: float) -> float:
    return float(((X - X @ B) ** 2).sum() + l2 * (B**2).sum())


def random_events(U: int, I: int, seed: int = 0) -> Floats:
    rng = np.random.default_rng(seed)
    return np.where(rng.random((U, I)) < 0.3, rng.integers(1, 4, (U, I)), 0).astype(np.float32)


sizes = pytest.mark.parametrize("shape", [(60, 25), (9, 25), (1, 1), (1, 7), (7, 1), (200, 150), (40, 90)], ids=str)


# Dense


@sizes
@pytest.mark.parametrize("l2", [0.5, 20.0])
def test_the_weights_are_those_of_the_formula(shape: tuple[int, int], l2: float) -> None:
    X = random_events(*shape)
    B, _ = dense_weights(csr_array(X), l2)
    assert B.dtype == np.float32
    assert (np.diag(B) == 0).all()
    np.testing.assert_allclose(B, reference(X.astype(np.float64), l2), atol=2e-5)


def test_both_ways_to_the_inverse_are_taken() -> None:
    assert [by_users(shape) for shape in [(60, 25), (9, 25), (40, 90)]] == [False, True, True]


def test_nudging_a_weight_raises_the_loss() -> None:
    X = random_events(60, 12).astype(np.float64)
    B = dense_weights(csr_array(X.astype(np.float32)), 2.0)[0].astype(np.float64)
    best = loss(X, B, 2.0)
    for i, j in np.argwhere(~np.eye(12, dtype=bool)):
        for nudge in (-1e-3, 1e-3):
            other = B.copy()
            other[i, j] += nudge
            assert loss(X, other, 2.0) > best


@given(st.integers(1, 40), st.integers(1, 50), st.integers(0, 9))
def test_sweeping_gives_the_inverse(I: int, width: int, seed: int) -> None:
    X = np.random.default_rng(seed).standard_normal((I + 5, I)).astype(np.float32)
    A = X.T @ X + np.eye(I, dtype=np.float32)
    swept = np.tril(A) + np.triu(np.full_like(A, 7), 1)
    assert sweep(swept, width)
    np.testing.assert_allclose(np.tril(swept), np.tril(-np.linalg.inv(A.astype(np.float64))), atol=1e-4)


def test_sweeping_tells_of_a_matrix_that_is_not_positive() -> None:
    assert not sweep(np.diag(np.array([1, -1, 1], np.float32)), 2)


@pytest.mark.parametrize("shape", [(30, 8), (8, 30)])
def test_a_penalty_lost_to_rounding_is_refused(shape: tuple[int, int]) -> None:
    X = np.full(shape, 1e6, np.float32)
    with pytest.raises(SettingError, match="l2=1e-06: too small"):
        dense_weights(csr_array(X), 1e-6)


def test_what_does_not_fit_is_refused_with_its_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "meminfo"
    info.write_text("MemTotal: 9 kB\nMemAvailable: 1 kB\n", encoding="ascii")
    monkeypatch.setattr(memory, "MEMINFO", info)
    log = log_of(block_events())
    with pytest.raises(SettingError, match=r"neighbours=None: all weights between 20 items take .* neighbours=100"):
        EASE().fit(log)
    EASE(neighbours=3).fit(log)
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "absent")
    EASE().fit(log)


# Pruned


@sizes
def test_with_all_neighbours_the_pruned_weights_are_the_dense_ones(shape: tuple[int, int]) -> None:
    X = csr_array(random_events(*shape))
    pruned = pruned_weights(X, 5.0, 1000).toarray()
    support = (X.T @ X).toarray() > 0  # items that never meet have no weight
    wanted = reference(X.toarray().astype(np.float64), 5.0)
    if (support | np.eye(len(support), dtype=bool)).all():
        np.testing.assert_allclose(pruned, wanted, atol=2e-5)
    assert (pruned[~support] == 0).all()
    assert (np.diag(pruned) == 0).all()


def test_pruned_weights_are_the_best_on_their_neighbours() -> None:
    X, l2 = random_events(80, 25).astype(np.float64), 3.0
    B = pruned_weights(csr_array(X.astype(np.float32)), l2, 6).toarray()
    gram = X.T @ X
    norm = np.sqrt(np.diag(gram) + l2)
    for i in range(25):
        near = gram[i] / norm / norm[i]
        near[i] = -1
        chosen = np.sort(np.argsort(-near, kind="stable")[:6])
        np.testing.assert_array_equal(np.flatnonzero(B[:, i]), chosen)
        exact = np.linalg.solve(gram[np.ix_(chosen, chosen)] + l2 * np.eye(6), gram[chosen, i])
        np.testing.assert_allclose(B[chosen, i], exact, atol=2e-5)


@pytest.mark.parametrize("room", [1, 36, 36 * 11, 1 << 26])
def test_the_size_of_blocks_changes_no_weight(monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    X = csr_array(random_events(80, 25))
    whole = pruned_weights(X, 3.0, 6).toarray()
    monkeypatch.setattr(ease, "BLOCK_SYSTEMS", room)
    np.testing.assert_array_equal(pruned_weights(X, 3.0, 6).toarray(), whole)


def test_a_pruned_penalty_lost_to_rounding_is_refused() -> None:
    with pytest.raises(SettingError, match="l2=1e-06: too small"):
        pruned_weights(csr_array(np.full((30, 8), 1e6, np.float32)), 1e-6, 4)


def dense_log(users: int, items: int, events: int) -> Interactions:
    """Popularity falls as 1 / rank^0.8, tastes have 8 factors; a user has an eighth of the items in the mean."""
    rng = np.random.default_rng(0)
    taste = rng.standard_normal((users, 8)) @ rng.standard_normal((8, items)) / 3
    wanted = taste - 0.8 * np.log(rng.permutation(items) + 1) + rng.gumbel(size=(users, items))
    best = np.argsort(-wanted, axis=1)
    count = np.clip(rng.lognormal(0, 1, users) * events / users / 1.6, 8, items // 2).astype(int)
    chosen = [(user, row[:n]) for user, (row, n) in enumerate(zip(best, count, strict=True))]
    users_of, items_of = (Vocabulary.of(range(n)) for n in (users, items))
    user = np.concatenate([np.full(len(row), user, np.int32) for user, row in chosen])
    return Interactions.of(users_of, items_of, user, np.concatenate([row for _, row in chosen]).astype(np.int32))


def test_few_neighbours_are_as_good_as_all_on_a_dense_log() -> None:
    """Almost all pairs of items meet here: no product may be left out of a system."""
    split = split_ratio(dense_log(800, 400, 40_000))
    whole = evaluate(EASE(l2=10), split, 10)["NDCG@10"]
    assert whole > 0.2
    for few in (20, 40, 100):
        assert evaluate(EASE(l2=10, neighbours=few), split, 10)["NDCG@10"] > 0.97 * whole


# Events


def test_an_event_without_positive_weight_is_no_positive_but_seen() -> None:
    events = block_events()
    ignored = [(user, f"i{n}", weight, 9) for n, (user, *_) in enumerate(events[:20]) for weight in (0.0, -2.0)]
    for recipe in (EASE(l2=1), EASE(l2=1, binary=False), EASE(l2=1, neighbours=4)):
        log = log_of([*events, *ignored])
        kept = log.select(log.weight > 0)
        models = recipe.fit(log), recipe.fit(kept)
        np.testing.assert_array_equal(positives(log, True).toarray(), positives(kept, True).toarray())
        for histories in (log.histories(), kept.histories()):
            one, two = (model.scores(histories) for model in models)
            np.testing.assert_array_equal(one, two)
        first = log.histories([events[0][0]])
        assert "i0" not in models[0].recommend(first, 20).lists()[0]


def test_repeats_count_once_or_add_up() -> None:
    log = log_of([*block_events(), *block_events()])
    once = log_of(block_events())
    binary, weights = EASE(l2=1), EASE(l2=1, binary=False)
    np.testing.assert_array_equal(binary.fit(log).scores(log.histories()), binary.fit(once).scores(once.histories()))
    doubled = weights.fit(log).scores(log.histories())
    np.testing.assert_allclose(doubled, 2 * EASE(l2=0.25).fit(once).scores(once.histories()), rtol=1e-4, atol=1e-5)
    ask = Histories.of(log.items, [["i0", "i1", "i0"], ["i0", "i1"]], weights=[[-1, 1, 2], [2, 1]])
    for recipe in (binary, weights):
        one, two = recipe.fit(log).scores(ask)
        np.testing.assert_array_equal(one, two)


def test_the_parts_of_an_explanation_add_up_to_the_score() -> None:
    for recipe in (EASE(l2=1), EASE(l2=1, neighbours=5)):
        model = recipe.fit(log_of(block_events()))
        history = ["i0", "i1", "i2"]
        parts = [model.item_similarity(model.items.code(item))[model.items.code("i5")] for item in history]
        told = model.explain(history, "i5")
        np.testing.assert_allclose(sorted(value for _, value in told), sorted(part for part in parts if part > 0))
        score = model.scores(Histories.of(model.items, [history]))[0, model.items.code("i5")]
        np.testing.assert_allclose(score, sum(parts), rtol=1e-5)


def test_pruned_models_are_sparse() -> None:
    model = EASE(neighbours=2).fit(log_of(block_events()))
    assert isinstance(model, SparseItemModel)
    assert len(model.weight) <= 2 * len(model.items)


def test_old_events_fade_and_a_pair_counts_as_its_newest() -> None:
    events: list[tuple[Id, Id, float, int]] = [
        ("u0", "i0", 2, 0),
        ("u0", "i1", 3, 5),
        ("u0", "i0", 1, 10),
        ("u1", "i1", -1, 10),
        ("u1", "i0", 4, 0),
    ]
    log = log_of(events)
    np.testing.assert_allclose(positives(log, True, 5).toarray(), np.array([[1, 0.5], [0.25, 0]]))
    np.testing.assert_allclose(positives(log, False, 5).toarray(), np.array([[1.5, 1.5], [1, 0]]))
    fresh, old = EASE(l2=1).fit(log), EASE(l2=1, half_life_days=5).fit(log)
    assert 0 < old.item_similarity(0)[1] < fresh.item_similarity(0)[1]
