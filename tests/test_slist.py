"""SLIST against its objective, written out cut by cut in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from conftest import ITEMS, USERS, block_events, log_of

from palate.arrays import Doubles
from palate.compute import memory
from palate.data.histories import Histories
from palate.data.interactions import Interactions
from palate.errors import SettingError
from palate.kernels.sequences import recency
from palate.models import slist
from palate.models.item_to_item import DenseItemModel, SparseItemModel
from palate.models.slist import SLIST

DAY = 86_400_000_000
RECIPES = [
    SLIST(l2=2, neighbours=None),
    SLIST(l2=2, neighbours=None, alpha=0),
    SLIST(l2=2, neighbours=None, alpha=1, whole_decay=0.7),
    SLIST(l2=0.5, neighbours=None, alpha=0.6, whole_decay=0.8, train_decay=0, l2_power=0.5),
    SLIST(l2=2, neighbours=None, half_life_days=3, longest=3),
]


def walks() -> Interactions:
    """30 people go through 20 items with repeats; some events weigh nothing, some people have one event."""
    rng = np.random.default_rng(0)
    events = []
    for user in range(USERS):
        at = int(rng.integers(ITEMS))
        for step in range(1 + user % 9):
            at = (at + int(rng.integers(4))) % ITEMS
            events.append((f"u{user}", f"i{at}", float(rng.integers(4)), user % 5 + step))
    return log_of(events)


def terms(log: Interactions, recipe: SLIST) -> tuple[Doubles, Doubles]:
    """P and C of the docstring, event by event."""
    I = len(log.items)
    P, C = np.zeros((I, I)), np.zeros((I, I))
    assert log.timestamp is not None
    for u in range(len(log.users)):
        kept = [n for n in range(log.start[u], log.start[u + 1]) if log.weight[n] > 0]
        for low in range(0, len(kept), recipe.longest):
            piece = kept[low : low + recipe.longest]
            items = [int(log.item[n]) for n in piece]
            age = (log.timestamp.max() - log.timestamp[piece[-1]]) / DAY
            importance = 1.0 if recipe.half_life_days is None else 0.5 ** (age / recipe.half_life_days)
            whole = np.zeros((I, I))
            for p, a in enumerate(items):
                for q, b in enumerate(items):
                    whole[a, b] += recipe.alpha * recipe.whole_decay ** abs(p - q)
            P += importance * whole
            C += importance * whole
            for cut in range(1, len(items)):
                x, y = np.zeros(I), np.zeros(I)
                for back, a in enumerate(reversed(items[:cut])):
                    x[a] += recipe.train_decay**back
                for ahead, b in enumerate(items[cut:]):
                    y[b] += recipe.train_decay**ahead
                P += importance * (1 - recipe.alpha) * np.outer(x, x)
                C += importance * (1 - recipe.alpha) * np.outer(x, y)
    return P, C


def ridge(P: Doubles, recipe: SLIST) -> Doubles:
    return np.asarray(recipe.l2 * np.where(P.diagonal() > 0, P.diagonal(), 1) ** recipe.l2_power)


def loss(B: Doubles, P: Doubles, C: Doubles, penalty: Doubles) -> float:
    """Return the objective of the docstring without the squares of the targets, which B does not change."""
    return float(np.sum(B * (P @ B)) - 2 * np.sum(B * C) + np.sum(penalty[:, None] * B**2))


@pytest.mark.parametrize("recipe", RECIPES, ids=str)
def test_dense_weights_solve_the_normal_equations(recipe: SLIST) -> None:
    log = walks()
    P, C = terms(log, recipe)
    model = recipe.fit(log)
    assert isinstance(model, DenseItemModel)
    np.testing.assert_allclose(model.weights, np.linalg.solve(P + np.diag(ridge(P, recipe)), C), atol=2e-6)


@pytest.mark.parametrize("recipe", RECIPES, ids=str)
def test_any_other_weight_is_worse(recipe: SLIST) -> None:
    log = walks()
    P, C = terms(log, recipe)
    model = recipe.fit(log)
    assert isinstance(model, DenseItemModel)
    B = model.weights.astype(np.float64)
    best = loss(B, P, C, ridge(P, recipe))
    for i, j in np.ndindex(B.shape):
        for nudge in (-0.01, 0.01):
            nudged = B.copy()
            nudged[i, j] += nudge
            assert loss(nudged, P, C, ridge(P, recipe)) > best


def test_sparse_weights_solve_the_equations_of_the_best_sources() -> None:
    log, recipe = walks(), SLIST(l2=2, l2_power=0.5, neighbours=4)
    P, C = terms(log, recipe)
    penalty = ridge(P, recipe)
    model = recipe.fit(log)
    assert isinstance(model, SparseItemModel)
    B = model.matrix.toarray()
    for j in range(len(log.items)):
        gain = C[:, j] ** 2 / (P.diagonal() + penalty)
        sources = np.flatnonzero(B[:, j])
        assert len(sources) == min(4, np.count_nonzero(gain))
        np.testing.assert_allclose(np.sort(gain[sources]), np.sort(gain)[::-1][: len(sources)][::-1], rtol=1e-5)
        A = (P + np.diag(penalty))[np.ix_(sources, sources)]
        np.testing.assert_allclose(B[sources, j], np.linalg.solve(A, C[sources, j]), atol=2e-6)


def test_all_neighbours_and_dense_are_alike_where_everything_met() -> None:
    log = log_of([(f"u{u}", f"i{(u * 7 + n * n) % 6}", 1, n) for u in range(30) for n in range(5)])
    sparse, dense = (SLIST(l2=5, alpha=0.5, neighbours=few).fit(log) for few in (ITEMS, None))
    np.testing.assert_allclose(sparse.scores(log.histories()), dense.scores(log.histories()), atol=1e-5)


@pytest.mark.parametrize("neighbours", [None, 5])
def test_order_matters(neighbours: int | None) -> None:
    log = log_of([(f"u{n}", item, 1, day) for n in range(10) for day, item in enumerate(["a", "b", "c"])])
    model = SLIST(l2=1, alpha=0, neighbours=neighbours).fit(log)
    shown = [model.recommend([[item]], 1, keep_seen=True).lists()[0] for item in "ab"]
    assert shown == [["b"], ["c"]]
    code = {item: log.items.code(item) for item in "abc"}
    assert model.item_similarity(code["a"])[code["b"]] > 0.3
    assert abs(model.item_similarity(code["b"])[code["a"]]) < 1e-6


def test_later_events_speak_louder() -> None:
    log = log_of([(f"u{n}", f"{'ab'[n % 2]}{n % 3 + step}", 1, step) for n in range(42) for step in (0, 1)])
    model = SLIST(l2=1, decay=0.5).fit(log)
    first, second = (model.recommend([history], 1).lists()[0][0] for history in (["a1", "b1"], ["b1", "a1"]))
    assert (str(first)[0], str(second)[0]) == ("b", "a")


def test_inputs_decay_over_the_positive_events() -> None:
    start = np.array([0, 4, 4, 6], np.int64)
    weight = np.array([1, 5, 0, 1, 2, -1], np.float32)
    np.testing.assert_allclose(recency(start, weight > 0, 0.5), [0.25, 0.5, 0, 1, 1, 0])


def test_the_score_is_the_decayed_sum_with_repeats() -> None:
    model = SLIST(l2=1, decay=0.5, neighbours=6).fit(walks())
    history = ["i3", "i4", "i3"]
    parts = [model.item_similarity(model.items.code(item)) for item in history]
    scores = model.scores(Histories.of(model.items, [history]))[0]
    np.testing.assert_allclose(scores, 0.25 * parts[0] + 0.5 * parts[1] + parts[2], atol=1e-6)


def test_a_walk_adds_what_comes_after_what_comes_next() -> None:
    plain, walked = (SLIST(l2=2, walk=step, neighbours=6).fit(walks()) for step in (0, 0.5))
    assert isinstance(plain, SparseItemModel)
    assert isinstance(walked, SparseItemModel)
    B = plain.matrix.toarray()
    aside = B - np.diag(B.diagonal())
    np.testing.assert_allclose(walked.matrix.toarray(), B + 0.5 * np.maximum(B, 0) @ aside, atol=1e-6)


def test_a_walk_keeps_the_largest(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = SLIST(l2=2, walk=0.5, neighbours=6).fit(walks())
    monkeypatch.setattr(slist, "WALKED", 3)
    pruned = SLIST(l2=2, walk=0.5, neighbours=6).fit(walks())
    for item in range(len(whole.items)):
        weights = whole.item_similarity(item)
        largest = np.where(weights >= np.sort(weights)[-3], weights, 0)
        np.testing.assert_allclose(pruned.item_similarity(item), largest)


@pytest.mark.parametrize("settings", [{"neighbours": None}, {"neighbours": 6, "walk": 0.5}], ids=str)
def test_beta_divides_by_a_power_of_the_events(settings: dict[str, object]) -> None:
    log = walks()
    plain, fewer = (SLIST(l2=2, beta=beta, **settings).fit(log) for beta in (0, 0.7))  # type: ignore[arg-type]
    counts = np.maximum(np.bincount(log.item[log.weight > 0], minlength=len(log.items)), 1)
    assert len(set(counts.tolist())) > 1
    for j in range(len(log.items)):
        np.testing.assert_allclose(fewer.item_similarity(j), plain.item_similarity(j) / counts**0.7, rtol=1e-5)


def test_repeats_are_answers_where_seen_items_are_kept() -> None:
    log = log_of([(f"u{n}", item, 1, day) for n in range(9) for day, item in enumerate(["a", "b", "a", "c", "a"])])
    model = SLIST(l2=1).fit(log)
    assert model.recommend([["a", "b"]], 1, keep_seen=True).lists() == [["a"]]
    assert "a" not in model.recommend([["a", "b"]], 3).lists()[0]


@pytest.mark.parametrize("recipe", [SLIST(), SLIST(walk=1), SLIST(neighbours=None), SLIST(alpha=0)], ids=str)
def test_one_event_a_person_gives_popularity(recipe: SLIST) -> None:
    log = log_of([(f"u{n}", f"i{n % 3 if n < 5 else 0}", 1, 0) for n in range(12)])
    model = recipe.fit(log)
    order = [f"i{n}" for n in np.argsort(-log.item_counts(), kind="stable")]
    assert model.recommend([[], ["i2"]], keep_seen=False).lists()[0] == order
    assert np.isfinite(model.scores(log.histories())).all()


def test_pieces_of_a_long_history_are_sequences_of_their_own() -> None:
    long = log_of([("u", f"i{n % 7}", 1, n) for n in range(60)])
    cut = log_of([(f"u{n // 20}", f"i{n % 7}", 1, n) for n in range(60)])
    asked = [["i1", "i2"], ["i5"]]
    scores = [
        model.scores(model.histories(asked))
        for model in (SLIST(l2=1, longest=20).fit(long), SLIST(l2=1).fit(cut), SLIST(l2=1).fit(long))
    ]
    np.testing.assert_allclose(scores[0], scores[1], rtol=1e-6)
    assert np.abs(scores[0] - scores[2]).max() > 1e-4


@pytest.mark.parametrize(("settings", "named"), [({"neighbours": None}, "neighbours=None"), ({}, "longest")])
def test_what_does_not_fit_is_said_beforehand(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], named: str
) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda: 100)
    with pytest.raises(SettingError, match=rf"{named}.* GB of memory, and 0\.0 GB are available"):
        SLIST(**settings).fit(log_of(block_events()))


def test_half_life_needs_times() -> None:
    log = walks()
    timeless = Interactions(log.users, log.items, log.start, log.item, log.weight)
    with pytest.raises(SettingError, match="half_life_days"):
        SLIST(half_life_days=3).fit(timeless)


@pytest.mark.parametrize("wide", [3, 7, 20, 512])
def test_a_factor_is_found_block_by_block(monkeypatch: pytest.MonkeyPatch, wide: int) -> None:
    monkeypatch.setattr(slist, "WIDE", wide)
    X = np.random.default_rng(0).standard_normal((30, 20))
    A = X.T @ X + np.eye(20)
    factor = A.astype(np.float32)
    slist.factorise(factor)
    np.testing.assert_allclose(np.tril(factor), np.linalg.cholesky(A), atol=1e-5)
    with pytest.raises(SettingError, match="l2"):
        slist.factorise(np.float32(1) - np.eye(20, dtype=np.float32))
