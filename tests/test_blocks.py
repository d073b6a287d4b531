"""Slopes of blocks of people against their float64 reference, shared samples, Adagrad and exp."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

import numpy as np
import pytest

from palate.arrays import Doubles, Floats, Ints, Longs
from palate.data.ragged import Ragged
from palate.kernels import blocks, reference
from palate.kernels.arithmetic import exp_all
from palate.models.negative_sampling import NegativeSample, SharedSampler
from palate.models.sgd import BlockSgd

USERS, ITEMS, DIM = 30, 20, 5
SCALE, L2 = 1 / np.sqrt(DIM), 0.3
REFERENCE = [reference.softmax, reference.logistic, reference.bpr]


@dataclass(frozen=True)
class Scene:
    """People with histories of 0 to 8 events, items among them repeated, and a sample that holds some of them."""

    users: Floats
    items: Floats
    log: Ragged
    sample: NegativeSample
    rows: Ints

    def own(self, user: int) -> tuple[Longs, Doubles]:
        """Items and weights of a person's events."""
        part = slice(self.log.start[user], self.log.start[user + 1])
        return self.log.column[part].astype(np.int64), self.log.weight[part].astype(float)


def scene_of(size: float = 0.7, seed: int = 0, sample: int = 8) -> Scene:
    rng = np.random.default_rng(seed)
    users, items = (size * rng.standard_normal((rows, DIM)).astype(np.float32) for rows in (USERS, ITEMS))
    lengths = rng.integers(0, 9, USERS)
    lengths[[4, 11]] = 0, 7
    start = np.append(0, np.cumsum(lengths))
    column = rng.integers(0, ITEMS, start[-1]).astype(np.int32)
    log = Ragged(start, column, rng.uniform(0.3, 3, start[-1]).astype(np.float32))
    drawn = rng.permutation(ITEMS)[:sample].astype(np.int32)
    negatives = NegativeSample(drawn, rng.uniform(-1, 2, sample).astype(np.float32))
    return Scene(users, items, log, negatives, np.array([11, 4, 29, 0, 17, 8], np.int32))


def expected(scene: Scene, l2: float = 0.0) -> tuple[float, Doubles, Doubles]:
    """Loss (without a penalty), gradient by the block's users (B, D) and by all items (I, D)."""
    value, by_users, by_items = 0.0, [], np.zeros((ITEMS, DIM))
    u, p = scene.users.astype(float), scene.items.astype(float)
    a = np.exp(scene.sample.log_weight.astype(float))
    for user in scene.rows:
        own, weight = scene.own(user)
        sample = scene.sample.items.astype(np.int64)
        part = reference.of_user(reference.softmax, u[user], p, own, weight, sample, a, SCALE, l2)
        value, by_items = value + part.value, by_items + part.items
        by_users.append(part.user)
    return value, np.array(by_users), by_items


def computed(scene: Scene) -> tuple[float, Floats, Floats]:
    """Give the same by the kernels, put together as in training."""
    start, column, weight, rows = scene.log.start, scene.log.column, scene.log.weight, scene.rows
    S = len(scene.sample.items)
    slot, touched = np.full(ITEMS, -1, np.int32), np.zeros(ITEMS, np.int32)
    touched[:S], slot[scene.sample.items] = scene.sample.items, np.arange(S)
    X, Q = scene.users[rows], scene.items[scene.sample.items]
    E = np.asarray(np.float32(SCALE) * X @ Q.T, np.float32)
    own = blocks.own_scores(X, scene.items, rows, start, column, SCALE)
    share, value = blocks.softmax_rows(E, scene.sample.log_weight, own, rows, start, column, weight, slot)
    slopes = share[:, None] * E * np.float32(SCALE)
    own *= np.float32(SCALE)
    move = np.asarray(slopes @ Q, np.float32)
    amount = blocks.add_own(move, scene.items, own, rows, start, column, weight)
    np.testing.assert_allclose(amount, [scene.own(user)[1].sum() for user in rows], rtol=1e-6)
    part, item_amount, n = blocks.gather_own(X, own, rows, start, column, weight, slot, touched, S)
    part[:S] += slopes.T @ X
    by_items, total = np.zeros((ITEMS, DIM), np.float32), np.zeros(ITEMS)
    by_items[touched[:n]], total[touched[:n]] = part, item_amount
    events = np.concatenate([np.arange(start[user], start[user + 1]) for user in rows])
    np.testing.assert_allclose(total, np.bincount(column[events], weight[events], ITEMS), rtol=1e-6)
    blocks.release(slot, touched, n)
    assert (slot == -1).all()
    return float(value), move, by_items


def arrays(parts: tuple[float | Doubles | Floats, ...]) -> list[Doubles]:
    """Parts of an answer, to be compared one by one."""
    return [np.asarray(part, np.float64) for part in parts]


# The reference


@pytest.mark.parametrize("loss", REFERENCE)
def test_the_reference_agrees_with_finite_differences(loss: reference.Loss) -> None:
    rng = np.random.default_rng(3)
    u, p, weight = rng.normal(size=3), rng.normal(size=(7, 3)), rng.uniform(0.2, 3, 4)
    own, sample, a = np.array([2, 5, 2, 0]), np.array([1, 2, 6, 4]), rng.uniform(0.2, 3, 4)

    def of(u: Doubles, p: Doubles) -> reference.Gradient:
        return reference.of_user(loss, u, p, own, weight, sample, a, 0.6, 0.3)

    gradient = of(u, p)
    for nudge in 1e-6 * np.eye(3):
        slope = (of(u + nudge, p).value - of(u - nudge, p).value) / 2e-6
        assert slope == pytest.approx(gradient.user @ nudge / 1e-6, rel=1e-7, abs=1e-8)
    for place in np.ndindex(p.shape):
        step = np.zeros_like(p)
        step[place] = 1e-6
        slope = (of(u, p + step).value - of(u, p - step).value) / 2e-6
        assert slope == pytest.approx(gradient.items[place], rel=1e-7, abs=1e-8)


# The kernels


@pytest.mark.parametrize("size", [0.7, 6.0])
@pytest.mark.parametrize("sample", [1, 8, ITEMS])
def test_kernels_and_products_give_the_gradient(size: float, sample: int) -> None:
    """Also where scores are far out: no overflow. Person 4 has an empty history."""
    scene = scene_of(size, sample=sample)
    for got, wanted in zip(arrays(computed(scene)), arrays(expected(scene)), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=2e-5, atol=2e-5 * max(1, np.abs(wanted).max()))
    assert not computed(scene)[1][1].any()


def test_own_items_in_the_sample_count_for_nothing() -> None:
    scene = scene_of()
    own = np.unique(scene.own(11)[0])
    free = np.setdiff1d(np.arange(ITEMS), own)[:6]
    weights = np.zeros(6 + len(own), np.float32)
    one = np.array([11], np.int32)
    results = []
    for drawn in (free, np.append(free, own)):
        sample = NegativeSample(drawn.astype(np.int32), weights[: len(drawn)])
        results.append(arrays(computed(Scene(scene.users, scene.items, scene.log, sample, one))))
    for alone, with_own in zip(*results, strict=True):
        np.testing.assert_allclose(alone, with_own, rtol=1e-5, atol=1e-6)


def test_who_owns_the_whole_sample_has_no_negatives() -> None:
    scene = scene_of()
    own = np.unique(scene.own(11)[0]).astype(np.int32)
    sample = NegativeSample(own, np.zeros(len(own), np.float32))
    got = computed(Scene(scene.users, scene.items, scene.log, sample, np.array([11], np.int32)))
    wanted = expected(Scene(scene.users, scene.items, scene.log, sample, np.array([11], np.int32)))
    for left, right in zip(arrays(got), arrays(wanted), strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-5, atol=1e-5)


# One step of training


def descent_of(scene: Scene, log: Ragged | None = None, l2: float = L2) -> BlockSgd:
    rng = np.random.default_rng(0)
    users, items = scene.users.copy(), scene.items.copy()
    return BlockSgd(users, items, log or scene.log, rng, l2, float(SCALE), SharedSampler(8, ITEMS))


def test_a_step_goes_against_the_gradient() -> None:
    """The first step of row-wise Adagrad is rate times the gradient over its root mean square."""
    scene, rate = scene_of(), 0.01
    sgd_task = descent_of(scene)
    loss = sgd_task.step(0, scene.rows, scene.sample, rate)
    _, by_users, by_items = expected(scene, L2)
    assert loss == pytest.approx(expected(scene)[0], rel=1e-5)
    for before, after, gradient in (
        (scene.users[scene.rows], sgd_task.users[scene.rows], by_users),
        (scene.items, sgd_task.items, by_items),
    ):
        size = np.sqrt((gradient**2).mean(1, keepdims=True))
        wanted = np.divide(gradient, size, out=np.zeros_like(gradient), where=size > 0)
        np.testing.assert_allclose((before - after) / rate, wanted, atol=3e-4)
    others = np.setdiff1d(np.arange(USERS), scene.rows)
    np.testing.assert_array_equal(sgd_task.users[others], scene.users[others])


def test_steps_lower_the_loss() -> None:
    scene = scene_of()
    sgd_task = descent_of(scene, l2=0)
    losses = [sgd_task.step(0, scene.rows, scene.sample, 0.1) for _ in range(30)]
    assert losses[-1] < 0.5 * losses[0]
    assert np.all(np.diff(losses) < 0)


def test_a_weight_of_three_is_the_event_three_times() -> None:
    scene = scene_of()
    whole = Ragged(scene.log.start, scene.log.column, np.where(scene.log.weight > 1.5, 3, 1).astype(np.float32))
    times = whole.weight.astype(np.int64)
    start = np.append(0, np.cumsum(times))[whole.start]
    repeated = Ragged(start, np.repeat(whole.column, times), np.ones(times.sum(), np.float32))
    results = []
    for log in (whole, repeated):
        sgd_task = descent_of(scene, log)
        loss = sgd_task.step(0, scene.rows, scene.sample, 0.1)
        results.append(arrays((loss, sgd_task.users, sgd_task.items)))
    for left, right in zip(*results, strict=True):
        np.testing.assert_allclose(left, right, rtol=2e-6, atol=2e-6)


def test_events_without_weight_teach_nothing() -> None:
    scene = scene_of()
    still = Ragged(scene.log.start, scene.log.column, np.zeros_like(scene.log.weight))
    sgd_task = descent_of(scene, still)
    assert sgd_task.step(0, scene.rows, scene.sample, 0.1) == 0
    np.testing.assert_array_equal(sgd_task.users, scene.users)
    np.testing.assert_array_equal(sgd_task.items, scene.items)


# Shared samples


def test_windows_go_once_through_the_catalogue() -> None:
    samples = list(islice(SharedSampler(6, ITEMS).samples(np.random.default_rng(0)), 300))
    for sample in samples:
        assert len(set(sample.items.tolist())) == 6
        np.testing.assert_allclose(sample.log_weight, np.log(ITEMS / 6), rtol=1e-6)
    for first in range(0, 300, 3):
        round_ = np.concatenate([sample.items for sample in samples[first : first + 3]])
        assert len(set(round_.tolist())) == 18
    counts = np.bincount(np.concatenate([sample.items for sample in samples]), minlength=ITEMS)
    assert np.abs(counts - 90).max() < 5 * np.sqrt(300 * 0.3 * 0.7)


def test_draws_are_weighted_by_the_chance_to_be_in_a_sample() -> None:
    cubes = np.arange(ITEMS, dtype=np.float64) ** 3
    probability = np.asarray(cubes / cubes.sum(), np.float64)
    n, counts, weight = 20_000, np.zeros(ITEMS), np.zeros(ITEMS)
    for sample in islice(SharedSampler(6, ITEMS, probability).samples(np.random.default_rng(0)), n):
        assert len(np.unique(sample.items)) == len(sample.items) <= 6
        counts[sample.items] += 1
        weight[sample.items] = np.exp(sample.log_weight)
    assert counts[0] == 0
    seen = counts > 0
    spread = np.sqrt(counts[seen] * (1 - counts[seen] / n)) + 3
    assert (np.abs(counts[seen] - n / weight[seen]) < 5 * spread).all()


@pytest.mark.parametrize("popular", [False, True])
def test_the_normaliser_is_estimated_without_bias(popular: bool) -> None:
    """Σ a_k e^s_k over a sample is Σ e^s_k over the catalogue in expectation."""
    rng = np.random.default_rng(1)
    terms, drawn = np.exp(rng.normal(size=ITEMS)), rng.uniform(size=ITEMS)
    probability = drawn / drawn.sum() if popular else None
    sampler = SharedSampler(6, ITEMS, probability)
    found = np.array([np.exp(c.log_weight) @ terms[c.items] for c in islice(sampler.samples(rng), 20_000)])
    assert abs(found.mean() - terms.sum()) < 4 * found.std() / np.sqrt(len(found))


@pytest.mark.parametrize("size", [ITEMS, ITEMS + 1, 5000])
def test_a_large_sample_is_the_whole_catalogue(size: int) -> None:
    sample = next(SharedSampler(size, ITEMS, np.full(ITEMS, 1 / ITEMS)).samples(np.random.default_rng(0)))
    np.testing.assert_array_equal(sample.items, np.arange(ITEMS))
    assert not sample.log_weight.any()


# Adagrad


def test_adagrad_a_row() -> None:
    rng = np.random.default_rng(0)
    vectors, gradient = (rng.normal(size=shape).astype(np.float32) for shape in ((ITEMS, DIM), (4, DIM)))
    squares, amount = rng.uniform(0, 2, ITEMS).astype(np.float32), rng.uniform(0, 3, 4).astype(np.float32)
    rows = np.array([3, 19, 0, 7], np.int32)
    wanted, sums = vectors.astype(float), squares.astype(float)
    slope = gradient + 0.3 * amount[:, None] * vectors[rows]
    sums[rows] += (slope**2).mean(1)
    wanted[rows] -= 0.1 * slope / np.sqrt(sums[rows])[:, None]
    blocks.descend(vectors, squares, rows, gradient, amount, 0.1, 0.3)
    np.testing.assert_allclose(vectors, wanted, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(squares, sums, rtol=1e-6)


def test_a_gradient_of_zero_moves_nothing() -> None:
    vectors, squares = np.ones((3, DIM), np.float32), np.zeros(3, np.float32)
    nothing, rows = np.zeros((2, DIM), np.float32), np.array([0, 2], np.int32)
    blocks.descend(vectors, squares, rows, nothing, np.ones(2, np.float32), 0.1, 0.0)
    assert (vectors == 1).all()
    assert not squares.any()


# exp


def test_exp_is_close() -> None:
    x = np.concatenate([np.linspace(-60, 88, 1_000_001), np.linspace(-1, 1, 100_001), [0]]).astype(np.float32)
    true = np.exp(x.astype(float))
    assert np.abs(exp_all(x) / true - 1).max() < 5e-7
    assert exp_all(np.zeros(1, np.float32))[0] == 1


def test_exp_is_clamped() -> None:
    x = np.array([88, 89, 1e30, np.inf, -80, -88, -1e30, -np.inf], np.float32)
    got = exp_all(x)
    assert (got[:4] == got[0]).all()
    assert (got[4:] == got[4]).all()
    assert np.isfinite(got).all()
