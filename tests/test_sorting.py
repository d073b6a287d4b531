"""Sorting and selecting in kernels, against Python's own."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from palate.kernels.sorting import keep_largest, sort, sort_together

NUMBERS = st.integers(-(2**63), 2**63 - 1)
LISTS = st.one_of(st.lists(NUMBERS, max_size=80), st.lists(st.integers(0, 3), max_size=300))


@given(LISTS)
def test_numbers_are_sorted(values: list[int]) -> None:
    keys = np.array(values, np.int64)
    sort(keys)
    assert keys.tolist() == sorted(values)


@given(LISTS)
def test_what_follows_a_key_moves_with_it_and_orders_equal_ones(values: list[int]) -> None:
    keys, order = np.array(values, np.int64), np.arange(len(values), dtype=np.int32)
    sort_together(keys, order)
    assert order.tolist() == sorted(range(len(values)), key=values.__getitem__)
    assert keys.tolist() == sorted(values)


@given(LISTS.filter(lambda values: len(values) > 1), st.data())
def test_the_largest_come_first(values: list[int], data: st.DataObject) -> None:
    k = data.draw(st.integers(1, len(values) - 1))
    keys = np.array(values, np.int64)
    keep_largest(keys, len(keys), k)
    assert sorted(keys[:k].tolist(), reverse=True) == sorted(values, reverse=True)[:k]
    assert keys[k - 1] == min(keys[:k])
    assert sorted(keys.tolist()) == sorted(values)
