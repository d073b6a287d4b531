"""The best k of each row against a sort."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from palate.arrays import Floats
from palate.kernels.topk import MOST, select_top

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


def test_seen_items_are_masked() -> None:
    scores = np.arange(12, dtype=np.float32).reshape(3, 4)
    everything = np.ones(4, np.bool_)
    item, _ = select_top(scores, everything, 4, np.array([0, 2, 2, 4]), np.array([1, 3, 0, 0], np.int32))
    assert item.tolist() == [[2, 0, -1, -1], [3, 2, 1, 0], [3, 2, 1, -1]]


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
