from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from palate.data.vocabulary import Vocabulary
from palate.errors import DataError, UnknownId

IDS = st.one_of(
    st.lists(st.text(max_size=6), min_size=1, max_size=30),
    st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=30),
)


@given(IDS)
def test_every_id_has_its_row_in_order_of_appearance(ids: list[str] | list[int]) -> None:
    vocabulary = Vocabulary.of(ids)
    distinct = list(dict.fromkeys(ids))
    assert vocabulary.ids.to_list() == distinct
    assert [vocabulary.code(value) for value in ids] == [distinct.index(value) for value in ids]


@given(IDS)
def test_codes_and_names_are_inverse(ids: list[str] | list[int]) -> None:
    vocabulary = Vocabulary.of(ids)
    for asked in (ids, vocabulary.series(ids)):
        codes = vocabulary.codes(asked)
        assert codes.dtype == np.int32
        assert vocabulary.names(codes).to_list() == ids


def test_unknown_ids_have_no_row_and_no_name() -> None:
    vocabulary = Vocabulary.of(["a", "b"])
    assert vocabulary.codes(["b", "x", "a"]).tolist() == [1, -1, 0]
    assert vocabulary.codes(pl.Series(["x", "b"])).tolist() == [-1, 1]
    assert vocabulary.names([1, -1]).to_list() == ["b", None]
    assert "a" in vocabulary
    assert "x" not in vocabulary


def test_an_id_of_the_other_type_is_unknown() -> None:
    assert Vocabulary.of([1, 2]).codes(["1", "2"]).tolist() == [-1, -1]
    assert Vocabulary.of([1, 2]).codes(pl.Series(["1", "2"])).tolist() == [-1, -1]
    assert Vocabulary.of(["1"]).codes(pl.Series([1])).tolist() == [-1]


def test_an_unknown_id_is_named_beside_known_ones() -> None:
    with pytest.raises(UnknownId, match=r"'zebra' is unknown; known ids look like 'a', 'b', 'c'"):
        Vocabulary.of(["a", "b", "c", "d"]).code("zebra")


@pytest.mark.parametrize("dtype", [pl.Int8, pl.UInt16, pl.Int32, pl.UInt64])
def test_integers_of_any_width_become_64_bits(dtype: pl.DataType) -> None:
    assert Vocabulary.of(pl.Series([7, 9, 7], dtype=dtype)).ids.dtype == pl.Int64


def test_a_mixture_becomes_strings() -> None:
    assert Vocabulary.of(["a", 1, "1"]).ids.to_list() == ["a", "1"]


def test_other_types_are_refused() -> None:
    with pytest.raises(DataError, match="ids of type Float64: ids must be strings or 64-bit integers"):
        Vocabulary(pl.Series([0.5]))


def test_text_is_read_as_the_ids_are() -> None:
    assert Vocabulary.of([1, 2]).parse("2") == 2
    assert Vocabulary.of(["1", "2"]).parse("2") == "2"
    with pytest.raises(UnknownId, match="'two' is unknown; ids here are integers"):
        Vocabulary.of([1, 2]).parse("two")


def test_recode_finds_the_same_ids_elsewhere() -> None:
    here, there = Vocabulary.of(["a", "b", "c"]), Vocabulary.of(["c", "x", "a"])
    assert here.recode(there).tolist() == [2, -1, 0]
    assert here.recode(here).tolist() == [0, 1, 2]


def test_select_keeps_the_order_asked_for() -> None:
    assert Vocabulary.of([5, 6, 7]).select(np.array([2, 0], np.int32)).ids.to_list() == [7, 5]


def test_an_empty_vocabulary_knows_nothing() -> None:
    nothing = Vocabulary.of([])
    assert len(nothing) == 0
    assert nothing.codes(["a", 1]).tolist() == [-1, -1]
