from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from enum import Enum
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from palate.data.vocabulary import Id, Vocabulary
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


# Ids compare by what they spell


def whole(ids: list[str]) -> list[int]:
    return [int(text) for text in ids]


# Every form in which whole numbers of 64 bits, as spelled, can be asked for; the last four hold any text.
NUMBERS: dict[str, Callable[[list[str]], Any]] = {
    "ints": whole,
    "numpy ints": lambda ids: [np.int64(text) for text in ids],
    "Decimals": lambda ids: [Decimal(text) for text in ids],
    "a mixture": lambda ids: [text if n % 2 else int(text) for n, text in enumerate(ids)],
    "a generator": lambda ids: (int(text) for text in ids),
    "Int64": lambda ids: pl.Series(whole(ids), dtype=pl.Int64),
    "Int128": lambda ids: pl.Series(whole(ids), dtype=pl.Int128),
    "Decimal(38, 0)": lambda ids: pl.Series([Decimal(text) for text in ids], dtype=pl.Decimal(38, 0)),
    "Decimal(38, 3)": lambda ids: pl.Series([Decimal(text) for text in ids], dtype=pl.Decimal(38, 3)),
    "numpy": lambda ids: np.array(whole(ids), np.int64),
    "pandas": lambda ids: pd.Series(whole(ids), dtype="int64"),
    "pandas, nullable": lambda ids: pd.Series(whole(ids), dtype="Int64"),
    "pyarrow": lambda ids: pa.array(whole(ids), pa.int64()),
    "pyarrow decimal": lambda ids: pa.array([Decimal(text) for text in ids], pa.decimal128(38, 0)),
}
TEXTS: dict[str, Callable[[list[str]], Any]] = {
    "strings": lambda ids: ids,
    "a tuple": tuple,
    "numpy strings": lambda ids: [np.str_(text) for text in ids],
    "bytes": lambda ids: [text.encode() for text in ids],
    "String": lambda ids: pl.Series(ids, dtype=pl.String),
    "Categorical": lambda ids: pl.Series(ids, dtype=pl.Categorical),
    "Enum": lambda ids: pl.Series(ids, dtype=pl.Enum(list(dict.fromkeys(ids)))),
    "Binary": lambda ids: pl.Series([text.encode() for text in ids], dtype=pl.Binary),
    "Object": lambda ids: pl.Series(ids, dtype=pl.Object),
    "numpy objects": lambda ids: np.array(ids, dtype=object),
    "pandas texts": lambda ids: pd.Series(ids, dtype="str"),
    "pandas categories": lambda ids: pd.Series(ids, dtype="category"),
    "a pandas index": lambda ids: pd.Index(ids),
    "LargeString": lambda ids: pa.array(ids, pa.large_string()),
    "dictionary": lambda ids: pa.array(ids, pa.string()).dictionary_encode(),
    "chunks": lambda ids: pa.chunked_array([pa.array(ids[:1], pa.string()), pa.array(ids[1:], pa.string())]),
}
SPELLED = st.one_of(
    st.integers(-99, 99).map(str),
    st.integers(-(2**63), 2**63 - 1).map(str),
)
ODD = st.sampled_from(
    ["007", "7", "+7", " 7", "7 ", "7.0", "-0", "0", "7_0", "٣", str(2**63 + 5), str(-(2**63) - 1), "a"]
)


@given(
    st.lists(SPELLED, min_size=1, max_size=12),
    st.lists(SPELLED, min_size=1, max_size=12),
    st.sampled_from([*NUMBERS.values(), *TEXTS.values()]),
    st.sampled_from([*NUMBERS.values(), *TEXTS.values()]),
)
@settings(max_examples=300)
def test_numbers_meet_in_any_two_forms(
    kept: list[str], asked: list[str], one: Callable[[list[str]], Any], other: Callable[[list[str]], Any]
) -> None:
    agree(kept, asked, one, other)


@given(
    st.lists(ODD, min_size=1, max_size=12),
    st.lists(ODD, min_size=1, max_size=12),
    st.sampled_from([*TEXTS.values()]),
    st.sampled_from([*TEXTS.values()]),
)
def test_texts_meet_in_any_two_forms(
    kept: list[str], asked: list[str], one: Callable[[list[str]], Any], other: Callable[[list[str]], Any]
) -> None:
    agree(kept, asked, one, other)


def agree(
    kept: list[str], asked: list[str], one: Callable[[list[str]], Any], other: Callable[[list[str]], Any]
) -> None:
    """Codes, in every way to ask for them, are those of the spelling."""
    distinct = list(dict.fromkeys(kept))
    row = {text: n for n, text in enumerate(distinct)}
    here, there = Vocabulary.of(one(kept)), Vocabulary.of(other(asked))
    assert [str(value) for value in here.ids] == distinct
    expected = [row.get(text, -1) for text in asked]
    assert here.codes(other(asked)).tolist() == expected
    given = other(asked)
    for text, value, code in zip(asked, given if isinstance(given, list) else asked, expected, strict=True):
        assert (value in here) == (text in here) == (code >= 0)
        if code >= 0:
            assert here.code(value) == here.code(here.parse(text)) == code
    assert here.recode(there).tolist() == [row.get(text, -1) for text in dict.fromkeys(asked)]
    both = here.union(there)
    assert [str(value) for value in both.ids] == list(dict.fromkeys([*kept, *asked]))
    assert both.recode(here).tolist() == list(range(len(here)))


def test_a_union_is_of_integers_where_all_are_spelled_so() -> None:
    numbers = Vocabulary.of([1, 2])
    assert numbers.union(Vocabulary.of(["3", "2"])).ids.to_list() == [1, 2, 3]
    assert Vocabulary.of(["3", "2"]).union(numbers).ids.to_list() == [3, 2, 1]
    assert numbers.union(Vocabulary.of(["02", "2"])).ids.to_list() == ["1", "2", "02"]


@pytest.mark.parametrize("number", [2**63 + 5, 2**64, -(2**63) - 1, 10**40])
def test_whole_numbers_beyond_64_bits_are_ids(number: int) -> None:
    known = Vocabulary.of([7, number])
    assert known.ids.to_list() == ["7", str(number)]
    assert known.codes([number, 7, str(number), number + 1]).tolist() == [1, 0, 1, -1]
    assert known.codes([Decimal(number)]).tolist() == [1]
    assert known.code(number) == 1
    assert number in known
    assert Vocabulary.of([7]).codes([number]).tolist() == [-1]


def test_whole_floats_are_ids_as_far_as_they_are_exact() -> None:
    known = Vocabulary.of([0, 7, 2**53, 2**24 + 2])
    assert known.codes([7.0, np.float32(7), -0.0, 2.0**53]).tolist() == [1, 1, 0, 2]
    for kind in (pl.Float32, pl.Float64):
        assert known.codes(pl.Series([7, 0], dtype=kind)).tolist() == [1, 0]
    assert known.codes(np.array([7.0])).tolist() == [1]
    for beyond in (2.0**54, np.float32(2**24 + 2), pl.Series([2**24 + 2], dtype=pl.Float32)):
        with pytest.raises(DataError, match="ids must be strings or whole numbers"):
            known.codes(beyond if isinstance(beyond, pl.Series) else [beyond])


class Colour(str, Enum):  # noqa: UP042 - str() of a StrEnum would hide the case
    RED = "red"


def test_what_an_enum_of_strings_spells_is_its_value() -> None:
    assert Vocabulary.of(["red"]).codes([Colour.RED]).tolist() == [0]


NO_IDS: list[Any] = [
    None,
    True,
    np.bool_(False),
    7.5,
    float("nan"),
    float("inf"),
    Decimal("7.5"),
    Decimal("NaN"),
    {"id": 7},
    [7],
]
NO_IDS += [b"\xff", "\ud800", Decimal("1e999999999"), 7j, date(2020, 1, 1), np.datetime64("2020"), object()]


@pytest.mark.parametrize("kept", [["7", "1"], [7, 1]], ids=str)
@pytest.mark.parametrize("value", NO_IDS, ids=lambda value: type(value).__name__)
def test_what_cannot_be_an_id_is_an_error(kept: list[Id], value: Any) -> None:
    known = Vocabulary.of(kept)
    with pytest.raises(DataError, match=r"^items\[1\] is .*; ids must be strings or whole numbers$"):
        known.codes([7, value], "items")
    with pytest.raises(DataError, match=r"^item is .*; ids must be strings or whole numbers$"):
        known.code(value, "item")
    with pytest.raises(DataError, match=r"^ids\[0\] is "):
        Vocabulary.of([value])
    assert value not in known


def test_a_number_of_too_many_digits_to_be_written_is_no_id() -> None:
    with pytest.raises(DataError, match=r"^ids\[1\] is a number of more than 4300 digits; ids must be"):
        Vocabulary.of(["7"]).codes([7, 10**5000])


NO_COLUMNS: list[Any] = [
    pl.Series(["7", None]),
    pl.Series([7, None]),
    pl.Series([7.0, float("nan")]),
    pl.Series([True, False]),
    pl.Series([date(2020, 1, 1)]),
    pl.Series([[7]]),
    pl.Series([b"7", b"\xff"]),
    pl.Series([Decimal("7.00"), Decimal("7.50")]),
    pl.Series([None, None]),
    np.array([True]),
    np.array([[7]]),
    np.array(7),
    pd.Series([7, None], dtype="Int64"),
    pa.array([7, None]),
    pa.array([True]),
    "7",
    b"7",
    7,
    None,
]


@pytest.mark.parametrize("column", NO_COLUMNS, ids=lambda column: f"{type(column).__name__} {column!r:.30}")
def test_a_column_that_holds_no_ids_is_an_error(column: Any) -> None:
    for known in (Vocabulary.of(["7"]), Vocabulary.of([7])):
        with pytest.raises(DataError, match=r"^only(\[\d\])? is (.|\n)*; (ids|it) must be"):
            known.codes(column, "only")


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
    for text in ("two", "02", "+2", " 2", "2.0"):
        with pytest.raises(UnknownId, match=re.escape(f"{text!r} is unknown; ids here are integers")):
            Vocabulary.of([1, 2]).parse(text)


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
