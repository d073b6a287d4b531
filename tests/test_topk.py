"""The best k of each row against a sort."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.lib.stride_tricks import as_strided

from palate.arrays import Bools, Floats, Ints, Longs
from palate.kernels import quantised
from palate.kernels.quantised import quantise, scanner
from palate.kernels.topk import MOST, SHORT, forbid, keep_best, nothing, select_top
from palate.models import factors
from palate.models.factors import best_products

score = st.one_of(st.integers(-2, 2).map(float), st.just(-np.inf), st.floats(width=32, allow_nan=False))


@st.composite
def tables(draw: st.DrawFn) -> tuple[Floats, list[bool]]:
    I = draw(st.integers(1, 12))
    rows = draw(st.lists(st.lists(score, min_size=I, max_size=I), min_size=1, max_size=4))
    return np.array(rows, np.float32), draw(st.lists(st.booleans(), min_size=I, max_size=I))


@given(tables(), st.integers(1, 15))
def test_the_best_are_those_of_a_sort(table: tuple[Floats, list[bool]], k: int) -> None:
    scores, allowed = table
    item, best = select_top(scores, np.array(allowed), k)
    assert item.shape == best.shape == (len(scores), k)
    for row, items, values in zip(scores, item, best, strict=True):
        masked = np.where(allowed, row, np.float32(-np.inf))
        order = np.argsort(-masked, kind="stable")
        wanted = order[masked[order] > -np.inf][:k]
        n = len(wanted)
        np.testing.assert_array_equal(items[:n], wanted)
        np.testing.assert_array_equal(values[:n], row[wanted])
        assert (items[n:] == -1).all()
        assert (values[n:] == -np.inf).all()


def test_no_place_is_written_where_none_is_asked_for() -> None:
    """Lists of 0 places lie within longer arrays, which stay as they are."""
    items, bests = np.full(64, 7, np.int32), np.full(64, -np.inf, np.float32)
    scores, everything, none = np.ones((2, 40), np.float32), np.ones(40, np.bool_), np.zeros(0, np.int32)
    empty = as_strided(items[32:], (2, 0)), as_strided(bests[32:], (2, 0))
    keep_best(scores, 0, everything, np.zeros(3, np.int64), none, np.zeros(40, np.int32), *empty)
    assert (items == 7).all()
    assert (bests == -np.inf).all()
    item, best = select_top(scores, everything, 0)
    assert item.shape == best.shape == (2, 0)


def test_seen_items_are_masked() -> None:
    scores = np.arange(12, dtype=np.float32).reshape(3, 4)
    everything = np.ones(4, np.bool_)
    item, _ = select_top(scores, everything, 4, np.array([0, 2, 2, 4]), np.array([1, 3, 0, 0], np.int32))
    assert item.tolist() == [[2, 0, -1, -1], [3, 2, 1, 0], [3, 2, 1, -1]]


def test_scores_may_be_a_view_in_double_precision() -> None:
    scores: Any = np.arange(24.0).reshape(3, 8)[:, ::-2]
    for k in (2, 4):
        item, best = select_top(scores, np.ones(4, np.bool_), k)
        assert item.tolist() == [[0, 1, 2, 3][:k]] * 3
        np.testing.assert_array_equal(best, scores[:, :k])


def test_a_long_list_is_the_same_as_a_short_one() -> None:
    """Beyond MOST places the columns are sorted at once."""
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 50, (3, 700)).astype(np.float32)
    scores[1, 5], scores[2, :400] = np.nan, -np.inf
    allowed = rng.random(700) < 0.9
    start, column = np.array([0, 3, 3, 4]), np.array([7, 3, 699, 650], np.int32)
    short, long = (select_top(scores, allowed, k, start, column) for k in (MOST, 900))
    for a, b in zip(short, long, strict=True):
        np.testing.assert_array_equal(a, b[:, :MOST])
    assert long[0].shape == (3, 900)
    assert (np.sort(long[0][0])[200:] >= 0).sum() == allowed.sum() - allowed[[7, 3, 699]].sum()


@given(st.integers(0, 10**6), st.integers(1, 4000), st.integers(SHORT + 1, MOST), st.sampled_from([2, 30, 10**6]))
def test_long_lists_are_those_of_a_sort(seed: int, I: int, k: int, levels: int) -> None:
    """Many ties or none, columns that are not allowed or the row's own, scores that are no number or -inf."""
    rng = np.random.default_rng(seed)
    scores = np.sort(rng.integers(0, levels, (2, I))).astype(np.float32)
    scores[1] = rng.permuted(scores[1])
    scores[rng.random((2, I)) < 0.05] = np.nan
    scores[rng.random((2, I)) < 0.05] = -np.inf
    allowed, own = rng.random(I) < rng.random(), [rng.integers(0, I, rng.integers(0, 50)) for _ in range(2)]
    start, column = np.cumsum([0, *map(len, own)]), np.concatenate(own).astype(np.int32)
    item, best = select_top(scores, allowed, k, start, column)
    for row, mine, items, values in zip(scores, own, item, best, strict=True):
        masked = np.where(allowed & ~np.isnan(row), row, np.float32(-np.inf))
        masked[mine] = -np.inf
        order = np.argsort(-masked, kind="stable")
        wanted = order[masked[order] > -np.inf][:k]
        np.testing.assert_array_equal(items, np.pad(wanted, (0, k - len(wanted)), constant_values=-1))
        np.testing.assert_array_equal(values[: len(wanted)], row[wanted])
        assert (values[len(wanted) :] == -np.inf).all()


# Dot products: whole numbers, so that sums are exact and ties are many


def products(seed: int, dim: int, people: int, n_items: int) -> tuple[Floats, Floats, Bools, Longs, Ints]:
    """Vectors of both sides, items allowed, and up to 30 seen items a person."""
    rng = np.random.default_rng(seed)
    vectors, items = (rng.integers(-3, 4, (n, dim)).astype(np.float32) for n in (people, n_items))
    items[rng.random(n_items) < 0.1] = 0
    start = np.concatenate([[0], np.cumsum(rng.integers(0, 30, people))])
    return vectors, items, rng.random(n_items) < 0.9, start, rng.integers(0, n_items, start[-1]).astype(np.int32)


@given(st.integers(0, 10**6), st.sampled_from([3, 16, 20]), st.integers(1, 70), st.sampled_from([1, 5, 40]))
def test_the_bytes_find_the_same(seed: int, dim: int, n_items: int, k: int) -> None:
    vectors, items, allowed, start, column = products(seed, dim, 3, n_items)
    expected = select_top(vectors @ items.T, allowed, k, start, column)
    scan = scanner(dim)
    for b in range(3):
        item, best = nothing(1, k)
        own = np.array([0, start[b + 1] - start[b]]), column[start[b] : start[b + 1]]
        twice = scan(vectors[b : b + 1], items, *quantise(items), allowed, *own, item, best)
        np.testing.assert_array_equal(item[0], expected[0][b])
        np.testing.assert_array_equal(best[0], expected[1][b])
        assert twice <= n_items


def test_the_bytes_spare_most_rows() -> None:
    rng = np.random.default_rng(0)
    items = rng.normal(size=(5 * quantised.TILE, 32)).astype(np.float32)
    item, best = nothing(1, 10)
    user = rng.normal(size=(1, 32)).astype(np.float32)
    everything, nobody = np.ones(len(items), np.bool_), (np.zeros(2, np.int64), np.zeros(0, np.int32))
    twice = scanner(32)(user, items, *quantise(items), everything, *nobody, item, best)
    assert 10 <= twice < len(items) // 50
    np.testing.assert_array_equal(item[0], np.argsort(-(user @ items.T)[0])[:10])


def test_codes_bound_the_products() -> None:
    rng = np.random.default_rng(1)
    items = (rng.normal(size=(50, 24)) * rng.exponential(size=(50, 1))).astype(np.float32)
    codes = quantise(items)
    for user in rng.normal(size=(20, 24)):
        near = codes.step * (codes.code.astype(float) @ user)
        assert (np.abs(near - items @ user) <= np.linalg.norm(user) * codes.slack).all()


@pytest.mark.parametrize("k", [1, 10, 100])
def test_blocks_of_products_find_the_same(k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(factors, "ROWS", 8)
    monkeypatch.setattr(factors, "COLUMNS", 20)
    vectors, items, allowed, start, column = products(0, 5, 45, 90)
    found = best_products(vectors, items, k, allowed, start, column)
    for got, expected in zip(found, select_top(vectors @ items.T, allowed, k, start, column), strict=True):
        np.testing.assert_array_equal(got, expected)


def test_what_is_forbidden_leaves_both_masks_and_nothing_beside_them() -> None:
    row = np.array([2, -1, 0, 7], np.int32)  # of the last a model has too few rows
    items, rows = np.ones(4, np.bool_), np.ones(3, np.bool_)
    forbid(items, rows, row, np.array([0, 1, 3, 4, -1, 1 << 40], np.int64))
    assert items.tolist() == [False, False, True, False]
    assert rows.tolist() == [True, True, False]
    forbid(items[:0], rows[:0], row[:0], np.array([0], np.int64))
    forbid(items, rows, row, np.zeros(0, np.int64))
    assert items.tolist() == [False, False, True, False]
