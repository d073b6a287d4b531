"""iALS against its mathematics: the objective in float64, exact row solves, shares that add up to the score."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from conftest import ITEMS, USERS, block_events, log_of
from hypothesis import given
from hypothesis import strategies as st

from palate.arrays import Doubles, Floats, Ints, Longs
from palate.compute.threads import ThreadTeam
from palate.data.histories import Histories
from palate.data.interactions import Interactions
from palate.data.vocabulary import Id
from palate.errors import DataError, SettingError
from palate.kernels.least_squares import rooted_rows, row_solver, scaled_weights
from palate.kernels.rows import row_penalties
from palate.models.base import Progress, Watch
from palate.models.ials import IALS, AlsState, IALSModel
from palate.models.weights import faded


def reference_row(
    items: Doubles, column: Ints, weight: Floats, shared: Doubles, ridge: float, target: Doubles | None = None
) -> Doubles:
    """Best vector of one row by a plain solve in float64: shared (D, D) is what all rows have in common."""
    own = items[column]
    strength = np.abs(weight.astype(float))
    A = shared + ridge * np.eye(items.shape[1]) + (own.T * strength) @ own
    return np.asarray(np.linalg.solve(A, np.maximum(weight.astype(float), 0) @ own if target is None else target))


def objective(users: Doubles, items: Doubles, log: Interactions, recipe: IALS) -> float:
    """Rendle et al. 2022, eq. 1-3, over dense float64 matrices; the weights of the log have a mean of 1."""
    S = users @ items.T
    weight, alpha = log.weight.astype(float), recipe.unseen_weight or 0.0
    user, item = log.user, log.item
    scores = S[user, item]
    seen = np.where(weight > 0, weight * (scores - 1) ** 2, -weight * scores**2).sum()
    by_user = np.bincount(user, np.abs(weight), len(users)) + alpha * len(items)
    by_item = np.bincount(item, np.abs(weight), len(items)) + alpha * len(users)
    penalty = recipe.l2 * (
        by_user**recipe.l2_scaling @ (users**2).sum(1) + by_item**recipe.l2_scaling @ (items**2).sum(1)
    )
    return float(seen + alpha * (S**2).sum() + penalty)


def weighted_log(seed: int = 0, dislikes: bool = False) -> Interactions:
    """Blocks with random weights of mean 1, some repeated events, a fifth of them dislikes where asked."""
    rng = np.random.default_rng(seed)
    log = log_of(block_events())
    weight = rng.uniform(0.2, 3, len(log)).astype(np.float32)
    if dislikes:
        weight[rng.random(len(log)) < 0.2] *= -1
    return replace(log, weight=(weight / np.abs(weight).mean()).astype(np.float32))


@given(st.integers(0, 1000), st.sampled_from([1, 3, 16, 20, 48]), st.booleans())
def test_a_row_is_solved_exactly(seed: int, dim: int, dislikes: bool) -> None:
    """Rows of 0 to 25 columns, some repeated, against a plain solve."""
    rng = np.random.default_rng(seed)
    items = rng.normal(size=(15, dim)).astype(np.float32)
    lengths = rng.integers(0, 26, 6)
    start: Longs = np.concatenate([[0], np.cumsum(lengths)])
    column = rng.integers(0, 15, start[-1]).astype(np.int32)
    weight = rng.uniform(0.1, 2, start[-1]).astype(np.float32)
    if dislikes:
        weight *= rng.choice([-1, 1], len(weight)).astype(np.float32)
    shared, ridge = rng.uniform(0.5, 2, dim).astype(np.float32), rng.uniform(0.5, 2, 6).astype(np.float32)
    x = rng.normal(size=(6, dim)).astype(np.float32)
    untouched = x[[0, 5]].copy()
    row_solver(dim)(x, items, start, column, weight, shared, ridge, x[:0], 64, 1, 5)
    np.testing.assert_array_equal(x[[0, 5]], untouched)
    for b in range(1, 5):
        own = slice(start[b], start[b + 1])
        expected = reference_row(
            items.astype(float), column[own], weight[own], np.diag(shared.astype(float)), ridge[b]
        )
        np.testing.assert_allclose(x[b], expected, atol=2e-4)


def test_steps_come_closer() -> None:
    rng = np.random.default_rng(0)
    items = rng.normal(size=(40, 16)).astype(np.float32)
    column, weight = rng.permutation(40)[:30].astype(np.int32), np.ones(30, np.float32)
    shared, ridge = np.ones(16, np.float32), np.ones(1, np.float32)
    best = reference_row(items.astype(float), column, weight, np.eye(16), 1.0)
    far = []
    for steps in (1, 2, 4, 8):
        x = np.zeros((1, 16), np.float32)
        row_solver(16)(x, items, np.array([0, 30]), column, weight, shared, ridge, x[:0], steps, 0, 1)
        far.append(np.linalg.norm(x[0] - best))
    assert far[0] > far[1] > far[2] > far[3]
    assert far[0] > 10 * far[3]


@pytest.mark.parametrize("dislikes", [False, True])
@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("l2_scaling", [0.0, 1.0])
def test_the_loss_never_rises_and_is_the_objective(dislikes: bool, steps: int, l2_scaling: float) -> None:
    log = weighted_log(dislikes=dislikes)
    recipe = IALS(dim=5, l2=0.02, unseen_weight=0.2, l2_scaling=l2_scaling, init_std=1.0)
    work = AlsState.of(recipe, log)
    losses = [work.loss()]
    with ThreadTeam(1) as team:
        for _ in range(4):
            work.half(team, work.items, work.users, work.columns, work.item_ridge, steps)
            losses.append(work.loss())
            work.half(team, work.users, work.items, work.rows, work.user_ridge, steps)
            losses.append(work.loss())
            true = objective(work.users.astype(float), work.items.astype(float), log, recipe)
            assert losses[-1] * np.abs(log.weight).sum() == pytest.approx(true, rel=1e-5)
    assert all(after <= before * (1 + 1e-6) for before, after in pairwise(losses))
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize("dislikes", [False, True])
def test_a_nudged_vector_costs_more(dislikes: bool) -> None:
    log = weighted_log(1, dislikes)
    recipe = IALS(dim=4, l2=0.02, unseen_weight=0.2, epochs=3, steps=16)
    model = recipe.fit(log)
    users, items = model.user_vectors.astype(float), model.item_vectors.astype(float)
    best = objective(users, items, log, recipe)
    rng = np.random.default_rng(0)
    for u in range(0, USERS, 5):
        nudged = users.copy()
        nudged[u] += 0.01 * rng.normal(size=4)
        assert objective(nudged, items, log, recipe) > best


def test_fold_in_gives_the_trained_vectors() -> None:
    """The last half epoch is the people's: solved to the end, their vectors are those of their histories."""
    log = weighted_log()
    model = IALS(dim=6, steps=32, epochs=4).fit(log)
    np.testing.assert_allclose(model.vectors(log.histories()), model.user_vectors, atol=2e-4)


def test_the_shared_part_is_diagonal() -> None:
    model = IALS(dim=20, epochs=3, unseen_weight=0.3).fit(weighted_log())
    gram = 0.3 * model.item_vectors.T.astype(float) @ model.item_vectors
    np.testing.assert_allclose(gram, np.diag(model.spectrum), atol=1e-5 * model.spectrum.max())


@pytest.mark.parametrize("dislikes", [False, True])
def test_shares_add_up_to_the_score(dislikes: bool) -> None:
    log = weighted_log(2, dislikes)
    model = IALS(dim=6, epochs=4).fit(log)
    history: list[Id] = ["i0", "i3", "i3", "i5", "i20"]
    score = model.scores(Histories.of(model.items, [history]))[0, model.items.code("i7")]
    shares = shares_of(model, history, "i7")
    assert sum(shares) == pytest.approx(float(score), rel=1e-4)
    told = model.explain(history, "i7")
    assert [share for _, share in told] == pytest.approx(sorted((s for s in shares if s > 0), reverse=True), rel=1e-4)


def shares_of(model: IALSModel, history: list[Id], item: Id) -> list[float]:
    """Every event's share, also those below 0, by removing nothing but its pull from the right side."""
    rows = Histories.of(model.items, [history]).rows
    weight = model.scaled(rows.weight)
    Q = model.item_vectors.astype(float)
    ridge = float(model.recipe.ridge(rows.start, weight, len(model.items))[0])
    y = reference_row(Q, rows.column, weight, np.diag(model.spectrum.astype(float)), ridge, Q[model.items.code(item)])
    return list(np.maximum(weight, 0) * (Q[rows.column] @ y))


def test_a_dislike_pulls_its_like_down() -> None:
    model = IALS(dim=8, unseen_weight=0.1, l2=0.003, epochs=8).fit(log_of(block_events()))
    liked, mixed = (
        model.scores(Histories.of(model.items, [["i0", "i1", "i2"]], weights=[weights]))[0]
        for weights in ([1.0, 1.0, 1.0], [1.0, 1.0, -3.0])
    )
    disliked, same_group = model.items.code("i2"), [model.items.code(f"i{n}") for n in range(3, 12)]
    assert mixed[disliked] < 0.1 < 0.5 < liked[disliked]
    assert mixed[same_group].mean() < liked[same_group].mean()
    shown = model.recommend(Histories.of(model.items, [["i0", "i2"]], weights=[[1.0, -1.0]]), ITEMS).lists()[0]
    assert "i2" not in shown  # and it hides


def test_repeats_add_up() -> None:
    """Two events of weight 1 are one of weight 2; weights are scaled to a mean of 1."""
    events: list[tuple[Id, Id, float, int]] = [("u0", "i0", 1, 1), ("u0", "i1", 1, 2), ("u1", "i1", 1, 3)]
    twice = log_of([*events, ("u1", "i0", 1, 4), ("u1", "i0", 1, 5)])
    double = log_of([*events, ("u1", "i0", 2, 4)])
    recipe = IALS(dim=2, epochs=4, unseen_weight=0.5, l2=0.1, steps=16)
    a, b = recipe.fit(twice), replace(recipe, unseen_weight=0.5 * 4 / 5, l2=0.1).fit(double)
    assert a.unit == 1
    assert b.unit == pytest.approx(5 / 4)
    np.testing.assert_allclose(b.scores(double.histories()), a.scores(twice.histories()), rtol=0.02)


def test_old_events_fade() -> None:
    log = log_of([("u0", "i0", 1, 0), ("u0", "i1", 1, 10), ("u1", "i0", 1, 5), ("u1", "i2", 1, 10)])
    np.testing.assert_allclose(faded(log, 5), [0.25, 1, 0.5, 1], rtol=1e-6)


def test_without_times_nothing_can_fade() -> None:
    log = replace(log_of(block_events()), timestamp=None)
    with pytest.raises(Exception, match="half_life_days"):
        IALS(half_life_days=3).fit(log)


def test_ctrl_c_keeps_the_last_full_epoch() -> None:
    log = weighted_log()
    losses: list[float] = []

    def watch(progress: Progress) -> bool:
        losses.append(progress.loss or 0.0)
        if progress.epoch == 2:
            raise KeyboardInterrupt
        return False

    stopped = IALS(dim=4, epochs=9, threads=1).fit(log, watch=watch)
    np.testing.assert_array_equal(stopped.item_vectors, IALS(dim=4, epochs=2, threads=1).fit(log).item_vectors)
    assert losses[1] < losses[0]


def test_a_watch_ends_the_fit() -> None:
    log = weighted_log()
    model = IALS(dim=4, epochs=9, threads=1).fit(log, watch=lambda progress: progress.epoch == 3)
    np.testing.assert_array_equal(model.item_vectors, IALS(dim=4, epochs=3, threads=1).fit(log).item_vectors)


def test_threads_change_nothing() -> None:
    log = weighted_log()
    one, two = (IALS(dim=16, threads=threads).fit(log) for threads in (1, 2))
    np.testing.assert_allclose(np.abs(one.item_vectors), np.abs(two.item_vectors), atol=1e-3)


def test_only_dislikes_teach_nothing() -> None:
    log = log_of(block_events())
    with pytest.raises(DataError, match="weight above 0"):
        IALS().fit(replace(log, weight=-log.weight))


def test_rows_of_events_are_weighed_as_the_formulas_say() -> None:
    weight, column = np.array([4, -9, 0, 1e9, 1e-9], np.float32), np.array([1, 0, 1, 2, 0], np.int32)
    scaled = scaled_weights(weight, 2.0, 1e6)
    np.testing.assert_allclose(scaled, [2, -4.5, 0, 1e6, 1e-6], rtol=1e-6)
    items = np.arange(6, dtype=np.float32).reshape(3, 2)
    scale = np.array([2, 0.5], np.float32)
    for precision in (np.float32, np.float64):
        rows = np.empty((5, 2), precision)
        gain = rooted_rows(weight, column, items, scale, rows)
        np.testing.assert_allclose(gain[:, 0], np.sqrt(np.maximum(weight, 0)), rtol=1e-6)
        expected = np.sqrt(np.abs(weight, dtype=float))[:, None] * items[column] * scale
        np.testing.assert_allclose(rows, expected, rtol=1e-6)
    penalty = row_penalties(np.array([0, 2, 2, 5]), weight, 0.5, 3.0, 1.5)
    np.testing.assert_allclose(penalty, 0.5 * np.array([16.0, 3.0, 1e9 + 3]) ** 1.5, rtol=1e-6)


@pytest.mark.parametrize("column", [3, -1, 1 << 30])
def test_a_column_beyond_the_items_is_not_read(column: int) -> None:
    one, items, rows = np.ones(2, np.float32), np.zeros((3, 2), np.float32), np.zeros((2, 2))
    with pytest.raises(IndexError, match="beyond the items"):
        rooted_rows(one, np.array([0, column], np.int32), items, one, rows)
    for wrong in ((one[:1], one, rows), (one, one[:1], rows), (one, one, rows[:1]), (one, one, rows[:, :1])):
        with pytest.raises(IndexError, match="another shape"):
            rooted_rows(wrong[0], np.zeros(2, np.int32), items, *wrong[1:])


def test_a_fit_that_starts_at_an_older_model_needs_fewer_epochs() -> None:
    events = block_events()
    whole, older = log_of(events), log_of([each for each in events if each[0] != "u3" and each[1] != "i5"])
    assert len(older.items) < len(whole.items)
    assert len(older.users) < len(whole.users)
    recipe = IALS(dim=4, unseen_weight=0.3, l2=0.1, threads=1)
    model = replace(recipe, epochs=30).fit(older)
    losses: dict[str, float] = {}

    def last(name: str) -> Watch:
        return lambda progress: losses.update({name: progress.loss or 0.0})

    replace(recipe, epochs=60).fit(whole, watch=last("long"))
    replace(recipe, epochs=2).fit(whole, watch=last("cold"))
    warm = replace(recipe, epochs=2).fit(whole, watch=last("warm"), start=model)
    assert losses["warm"] - losses["long"] < 0.3 * (losses["cold"] - losses["long"])
    assert np.isfinite(warm.item_vectors).all()
    assert warm.item_vectors[whole.items.code("i5", "item")].any(), "a new item gets its vector"
    with pytest.raises(SettingError, match="has 4 dimensions; it must have 8"):
        IALS(dim=8).fit(whole, start=model)
    with pytest.raises(SettingError, match="knows no item of the log"):
        recipe.fit(log_of([("a", "x", 1.0, 1), ("b", "y", 1.0, 2)]), start=model)
