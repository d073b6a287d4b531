"""The sampling kernel against its float64 reference, and the draws of negatives against their chances."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2

from palate.arrays import Doubles, Floats, Hashes, Ints, Longs
from palate.kernels import reference
from palate.kernels.arithmetic import mix
from palate.kernels.compile import compiled
from palate.kernels.draws import GOLDEN, Sampler, alias_table, bits_of, draw, filters, redraw, shuffled
from palate.kernels.fold import fold_kernel
from palate.kernels.losses import BPR, LOGISTIC, SOFTMAX
from palate.kernels.sampling import Events, SgdStep, sgd_kernel

USERS, ITEMS = 30, 20
REFERENCE: dict[int, reference.Loss] = {
    SOFTMAX: reference.softmax,
    LOGISTIC: reference.logistic,
    BPR: reference.bpr,
}
every_loss = pytest.mark.parametrize("loss", REFERENCE, ids=["softmax", "logistic", "bpr"])


class State(NamedTuple):
    users: Floats
    items: Floats
    events: Events


def state_of(dim: int, seed: int = 0, size: float = 0.5) -> State:
    """Random vectors, and 12 weighted events."""
    rng = np.random.default_rng(seed)
    users, items = (size * rng.standard_normal((rows, dim)).astype(np.float32) for rows in (USERS, ITEMS))
    user, item = (rng.integers(0, rows, 12).astype(np.int32) for rows in (USERS, ITEMS))
    return State(users, items, Events(user, item, rng.uniform(0.5, 3, 12).astype(np.float32)))


def sampler_of(probability: Doubles, K: int, own: list[list[int]] | None = None) -> Sampler:
    """Sampler of these chances; `own` lists the items of each user to reject."""
    rows = own or []
    with np.errstate(divide="ignore"):
        log_kq = np.log(K * probability).astype(np.float32)
    start = np.cumsum([0, *(len(row) for row in rows)])
    column = np.array([item for row in rows for item in row], np.int32)
    even = bool((probability == probability[0]).all())
    table = np.zeros(0, np.uint64) if even else alias_table(probability)
    return Sampler(table, log_kq, start, column, filters(start, column, len(probability)))


def step_of(loss: int, K: int, rate: float, dim: int = 1, l2: float = 0.0, key: int = 7) -> SgdStep:
    return SgdStep(loss, K, rate, l2, 1 / np.sqrt(dim), np.uint64(key))


def skewed(n: int = ITEMS) -> Doubles:
    probability = 1 / np.arange(1.0, n + 1)
    return np.asarray(probability / probability.sum())


def negatives_of(state: State, sampler: Sampler, K: int, at: int, key: int = 7) -> Longs:
    """The K items drawn for the sample at a position, with repeats, read off the steps that they take.

    A negative drawn c times moves by c rate σ(s) scale against u; the positive by rate σ(-s) with it.
    """
    dim, rate = state.users.shape[1], 1e-3
    items = state.items.copy()
    event = event_at(at)
    plain = state.events._replace(weight=np.ones(12, np.float32))
    sgd_kernel(dim, K)(
        state.users.copy(), items, plain, sampler, step_of(LOGISTIC, K, rate, dim, key=key), at, at + 1
    )
    u, scale = state.users[state.events.user[event]].astype(float), 1 / np.sqrt(dim)
    moved = (state.items.astype(float) - items) @ u / (u @ u) / (rate * scale)  # (I,): slopes, summed
    probability = reference.sigmoid(scale * state.items @ u)
    moved[state.events.item[event]] += 1 - probability[state.events.item[event]]
    counts = np.rint(moved / probability).astype(np.int64)
    np.testing.assert_allclose(moved / probability, counts, atol=0.1)
    assert counts.sum() == K
    return np.repeat(np.arange(ITEMS), counts)


def event_at(position: int, N: int = 12, key: int = 7) -> int:
    """Event that the kernel takes at a position."""
    return int(order_of(N, np.uint64(key))[position])


@compiled
def order_of(N: int, key: np.uint64) -> Longs:
    """Give all numbers in their shuffled order."""
    order = np.empty(N, np.int64)
    for n in range(N):
        order[n] = shuffled(n, N, bits_of(N), key)
    return order


def weights_of(loss: int, drawn: Longs, probability: Doubles) -> Doubles:
    """Weights a of drawn negatives as the reference wants them."""
    K = len(drawn)
    return {SOFTMAX: 1 / (K * probability[drawn]), LOGISTIC: np.ones(K), BPR: np.full(K, 1 / K)}[loss]


# The reference


def numeric(value: Callable[[Doubles], float], x: Doubles) -> Doubles:
    """Gradient by central differences."""
    result = np.empty_like(x)
    for place in np.ndindex(x.shape):
        nudge = np.zeros_like(x)
        nudge[place] = 1e-6
        result[place] = (value(x + nudge) - value(x - nudge)) / 2e-6
    return result


@every_loss
@pytest.mark.parametrize("K", [1, 4])
def test_the_reference_agrees_with_finite_differences(loss: int, K: int) -> None:
    rng = np.random.default_rng(K)
    u, items, a = rng.normal(size=3), rng.normal(size=(K + 1, 3)), rng.uniform(0.2, 3, K)

    def of(u: Doubles, items: Doubles) -> reference.Gradient:
        return reference.of_sample(REFERENCE[loss], u, items, a, weight=1.7, scale=0.6, l2=0.3)

    gradient = of(u, items)
    np.testing.assert_allclose(gradient.user, numeric(lambda x: of(x, items).value, u), rtol=1e-7, atol=1e-8)
    np.testing.assert_allclose(gradient.items, numeric(lambda x: of(u, x).value, items), rtol=1e-7, atol=1e-8)


def test_the_reference_by_hand() -> None:
    s, others, a = 0.3, np.array([0.2, -1.0]), np.array([2.0, 0.5])
    e = np.exp
    softmax = -np.log(e(s) / (e(s) + 2 * e(0.2) + 0.5 * e(-1)))
    logistic = np.log(1 + e(-s)) + 2 * np.log(1 + e(0.2)) + 0.5 * np.log(1 + e(-1))
    bpr = -2 * np.log(1 / (1 + e(0.2 - s))) - 0.5 * np.log(1 / (1 + e(-1 - s)))
    for loss, value in ((SOFTMAX, softmax), (LOGISTIC, logistic), (BPR, bpr)):
        assert REFERENCE[loss](s, others, a).value == pytest.approx(value, rel=1e-12)


# One step of the kernel


@every_loss
@pytest.mark.parametrize(
    ("dim", "K"), [(1, 5), (3, 5), (16, 1), (16, 5), (16, 15), (16, 16), (16, 31), (64, 5), (100, 5)]
)
def test_one_step_is_the_gradient(loss: int, dim: int, K: int) -> None:
    """Items are few, so that negatives repeat and meet the positive; they move in turn: second order in the rate."""
    state, probability, rate, l2 = state_of(dim, seed=dim + K), skewed(), 7e-4, 0.7
    sampler, scale = sampler_of(probability, K), 1 / np.sqrt(dim)
    for at in (3, 7):
        event = event_at(at)
        user, drawn = state.events.user[event], negatives_of(state, sampler, K, at)
        rows = np.append(state.events.item[event], drawn)
        expected = reference.of_sample(
            REFERENCE[loss],
            state.users[user].astype(float),
            state.items[rows].astype(float),
            weights_of(loss, drawn, probability),
            float(state.events.weight[event]),
            scale,
            l2,
        )
        by_items = np.zeros((ITEMS, dim))
        np.add.at(by_items, rows, expected.items)
        users, items = state.users.copy(), state.items.copy()
        sgd_kernel(dim, K)(users, items, state.events, sampler, step_of(loss, K, rate, dim, l2), at, at + 1)
        for before, after, gradient in (
            (state.users[user], users[user], expected.user),
            (state.items, items, by_items),
        ):
            got = (before.astype(float) - after) / rate
            rounding = (K + 1) / 2 * np.spacing(np.abs(before).max()) / rate
            np.testing.assert_allclose(got, gradient, rtol=0, atol=4e-3 * np.abs(gradient).max() + rounding)
        others = np.arange(USERS) != user
        np.testing.assert_array_equal(users[others], state.users[others])


@every_loss
@pytest.mark.parametrize("size", [0.5, 8.0])
def test_the_sum_of_losses(loss: int, size: float) -> None:
    """Also where scores are far out: no overflow."""
    dim, K, probability = 16, 5, skewed()
    state, sampler = state_of(dim, size=size), sampler_of(probability, K)
    drawing = state_of(dim)._replace(events=state.events)  # scores near 0: every draw can be read
    expected = 0.0
    for at in range(12):
        event = event_at(at)
        drawn = negatives_of(drawing, sampler, K, at)
        rows = np.append(state.events.item[event], drawn)
        expected += reference.of_sample(
            REFERENCE[loss],
            state.users[state.events.user[event]].astype(float),
            state.items[rows].astype(float),
            weights_of(loss, drawn, probability),
            float(state.events.weight[event]),
            1 / np.sqrt(dim),
        ).value
    got = sgd_kernel(dim, K)(
        state.users.copy(), state.items.copy(), state.events, sampler, step_of(loss, K, 1e-12, dim), 0, 12
    )
    assert got == pytest.approx(expected, rel=2e-6)


@every_loss
def test_a_cut_between_slices_changes_nothing(loss: int) -> None:
    """A sample's negatives hang on the seed and its position alone."""
    sampler, step = sampler_of(skewed(), 5), step_of(loss, 5, 0.3, 16, 0.1)
    results = []
    for cuts in ([0, 12], [0, 1, 2, 7, 7, 12], [0, 4, 8, 12]):
        state = state_of(16)
        total = 0.0
        for first, last in pairwise(cuts):
            total += sgd_kernel(16, 5)(*state, sampler, step, first, last)
        results.append((state.users.tobytes(), state.items.tobytes(), round(total, 6)))
    assert results[0] == results[1] == results[2]


@every_loss
def test_an_event_without_weight_teaches_nothing(loss: int) -> None:
    state, sampler = state_of(16), sampler_of(skewed(), 5)
    still = state.events._replace(weight=np.zeros(12, np.float32))
    users, items = state.users.copy(), state.items.copy()
    assert sgd_kernel(16, 5)(users, items, still, sampler, step_of(loss, 5, 0.5, 16, 0.1), 0, 12) == 0
    np.testing.assert_array_equal(users, state.users)
    np.testing.assert_array_equal(items, state.items)


@every_loss
def test_weight_is_a_factor_of_the_step(loss: int) -> None:
    moves = []
    for weight in (1, 3):
        state, sampler = state_of(16), sampler_of(skewed(), 5)
        heavy = state.events._replace(weight=np.full(12, weight, np.float32))
        users, items = state.users.copy(), state.items.copy()
        sgd_kernel(16, 5)(users, items, heavy, sampler, step_of(loss, 5, 1e-3, 16, 0.2), 4, 5)
        moves.append(np.concatenate([users - state.users, items - state.items]))
    np.testing.assert_allclose(moves[1], 3 * moves[0], atol=4e-3 * np.abs(moves[1]).max())


# Fold-in


@compiled
def mixed(value: np.uint64) -> np.uint64:
    return mix(value)


@compiled
def drawn_at(key: np.uint64, K: int, table: Hashes, n_items: int) -> Longs:
    """Give the K negatives that a key draws."""
    items = np.empty(K, np.int64)
    for k in range(K):
        items[k] = draw(mix(key + np.uint64(k + 1) * GOLDEN), table, n_items)
    return items


@every_loss
@pytest.mark.parametrize(("dim", "K"), [(5, 3), (16, 15), (20, 18)])
def test_the_fold_in_goes_along_the_gradient(loss: int, dim: int, K: int) -> None:
    """A first step of row-wise Adagrad has the length rate √dim, in the direction of the gradient."""
    rng = np.random.default_rng(dim)
    items = rng.normal(size=(ITEMS, dim)).astype(np.float32)
    column, weight = np.array([4, 9, 4], np.int32), np.array([1, 2.5, 0.3], np.float32)
    before = rng.normal(size=(1, dim)).astype(np.float32)
    probability, rate, l2, scale = skewed(), 1e-2, 0.3, 1 / np.sqrt(dim)
    sampler = sampler_of(probability, K)
    gradient = np.zeros(dim)
    for item, w in zip(column, weight, strict=True):
        key = np.uint64(mixed(np.uint64((7 + int(item) * int(GOLDEN)) % 2**64)))
        drawn = drawn_at(key, K, sampler.table, ITEMS)
        rows = items[np.append(item, drawn)].astype(float)
        a = weights_of(loss, drawn, probability)
        gradient += reference.of_sample(REFERENCE[loss], before[0].astype(float), rows, a, float(w), scale, l2).user
    after = before.copy()
    fold_kernel(dim, K)(after, items, np.array([0, 3]), column, weight, sampler, step_of(loss, K, rate, dim, l2), 1)
    moved = (before - after)[0].astype(float)
    np.testing.assert_allclose(moved, rate * np.sqrt(dim) * gradient / np.linalg.norm(gradient), atol=2e-6)


# Draws


@compiled
def many_draws(table: Hashes, n_items: int, n: int) -> Longs:
    counts = np.zeros(n_items, np.int64)
    for k in range(n):
        counts[draw(mix(np.uint64(k) * GOLDEN), table, n_items)] += 1
    return counts


def surprise(counts: Longs, probability: Doubles) -> float:
    """Chance of counts as far from their expectation as these, by Pearson's test."""
    assert counts[probability == 0].sum() == 0
    seen, expected = counts[probability > 0], probability[probability > 0] * counts.sum()
    return float(chi2.sf(((seen - expected) ** 2 / expected).sum(), max(len(seen) - 1, 1)))


def steep(n: int) -> Doubles:
    probability = np.arange(n, dtype=float) ** 6
    probability[n // 2] = 0
    return np.asarray(probability / probability.sum())


@pytest.mark.parametrize(
    "probability",
    [np.full(20, 1 / 20), np.full(7, 1 / 7), skewed(), steep(13), np.eye(20)[4], np.ones(1), skewed(1000)],
    ids=["uniform", "seven", "skewed", "steep with zeros", "one of many", "one", "thousand"],
)
def test_items_are_drawn_with_their_chance(probability: Doubles) -> None:
    before = probability.copy()
    table = alias_table(probability)
    np.testing.assert_array_equal(probability, before)
    assert surprise(many_draws(table, len(probability), 400_000), probability) > 1e-4


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=40).filter(lambda values: sum(values) > 1e-3))
def test_an_alias_table_holds_the_chances(weights: list[float]) -> None:
    """Whatever the chances: each column is shared by two items, and the shares of an item add up to its chance."""
    probability = np.array(weights) / sum(weights)
    table = alias_table(probability)
    keep, alias = (table >> np.uint64(32)) / 2**32, (table & np.uint64(0xFFFFFFFF)).astype(np.int64)
    whole = keep.copy()
    np.add.at(whole, alias, 1 - keep)
    np.testing.assert_allclose(whole / len(probability), probability, atol=1e-8)


def drawn_by_kernel(sampler: Sampler, user: Ints, K: int) -> Longs:
    """Counts (I,) of the negatives of one sample a user: all vectors at 1 and 0, steps tiny, so that steps count."""
    users, items = np.ones((USERS, 1), np.float32), np.zeros((ITEMS, 1), np.float32)
    n = len(user)
    events = Events(user, np.zeros(n, np.int32), np.ones(n, np.float32))
    rate = 1e-8
    sgd_kernel(1, K)(users, items, events, sampler, step_of(LOGISTIC, K, rate), 0, n)
    counts = items[:, 0].astype(float) / (-rate / 2)
    counts[0] += n
    return np.rint(counts).astype(np.int64)


@pytest.mark.parametrize(
    "probability", [np.full(ITEMS, 1 / ITEMS), skewed(), steep(ITEMS)], ids=["uniform", "skewed", "steep"]
)
def test_the_kernel_draws_by_the_table(probability: Doubles) -> None:
    user = np.tile(np.arange(USERS, dtype=np.int32), 300)
    counts = drawn_by_kernel(sampler_of(probability, 5), user, 5)
    total = counts.sum()
    assert total == pytest.approx(5 * len(user), rel=1e-4)
    assert surprise(counts, probability) > 1e-4


def test_a_persons_own_items_are_rejected() -> None:
    """Most are free: not one of 45,000 negatives is the person's own (by chance 8 own draws on end: 1e-10)."""
    own = [sorted({user % ITEMS}) for user in range(USERS)]
    sampler = sampler_of(np.full(ITEMS, 1 / ITEMS), 5, own)
    for user in (0, 7, 29):
        asked = np.full(3000, user, np.int32)
        counts = drawn_by_kernel(sampler, asked, 5)
        free = np.ones(ITEMS)
        free[own[user]] = 0
        assert surprise(counts, free / free.sum()) > 1e-4


def test_a_person_with_everything_still_gets_negatives() -> None:
    own = [list(range(ITEMS)) for _ in range(USERS)]
    sampler = sampler_of(np.full(ITEMS, 1 / ITEMS), 5, own)
    counts = drawn_by_kernel(sampler, np.zeros(2000, np.int32), 5)
    assert counts.sum() == pytest.approx(10_000, rel=1e-4)


@given(st.integers(1, 3000), st.integers(0, 2**64 - 1))
def test_a_shuffle_has_each_number_once(N: int, key: int) -> None:
    np.testing.assert_array_equal(np.sort(order_of(N, np.uint64(key))), np.arange(N))


@pytest.mark.parametrize("N", [97, 128, 1000, 5000])
def test_a_shuffle_is_even(N: int) -> None:
    """Over keys each tenth of the numbers is as often in each tenth of the positions, and neighbours part."""
    counts, apart = np.zeros((10, 10), np.int64), 0.0
    for key in range(400):
        order = order_of(N, np.uint64(mixed(np.uint64(key))))
        tenth = np.arange(N) * 10 // N
        np.add.at(counts, (tenth, tenth[order]), 1)
        apart += np.abs(np.diff(order)).mean() / N / 400
    size = np.bincount(tenth) / N
    expected = np.outer(size, size) * counts.sum()
    assert (np.abs(counts - expected) / np.sqrt(expected)).max() < 5
    assert apart == pytest.approx(1 / 3, abs=0.02)  # two numbers at random are a third apart


@given(st.lists(st.sets(st.integers(0, 49), max_size=4), min_size=1, max_size=5), st.integers(0, 3))
def test_redrawn_negatives_are_not_the_persons_own(rows: list[set[int]], key: int) -> None:
    """Also where the filter has a bit for each item, and where rows are empty; what was free stays."""
    start = np.cumsum([0, *(len(row) for row in rows)])
    column = np.array([item for row in rows for item in row], np.int32)
    words = filters(start, column, 50)
    for low, high, own in zip(start, start[1:], rows, strict=False):
        drawn = np.arange(-1, 50, dtype=np.int32)[None]
        redraw(drawn, 0, 50, np.uint64(mixed(np.uint64(key))), np.zeros(0, np.uint64), 50, low, high, column, words)
        free = np.array([item not in own for item in range(50)])
        assert set(drawn[0, 1:].tolist()).isdisjoint(own)  # by chance 7 own draws on end: 2e-8
        np.testing.assert_array_equal(drawn[0, 1:][free], np.flatnonzero(free))
