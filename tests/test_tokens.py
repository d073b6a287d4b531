"""Fields of text to numbers: the table of ids, decimal digits, and plain columns against those that polars parses."""

from __future__ import annotations

import re
import tempfile
import warnings
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from palate.data import coder, delimited
from palate.data.batch import Fields
from palate.data.coder import Coder
from palate.data.readers import read_log
from palate.errors import DataError
from palate.kernels import tokens
from palate.kernels.tokens import read_decimals, read_integers


def fields(strings: Iterable[str]) -> Fields:
    return Fields.of(pl.Series(list(strings), dtype=pl.String))


ids = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40) | st.text(
    "ab", min_size=1, max_size=9
)


@settings(max_examples=100, deadline=None)
@given(st.lists(ids, max_size=60), st.integers(1, 60))
def test_ids_are_numbered_in_order_of_first_appearance(strings: list[str], cut: int) -> None:
    numbered = Coder()
    parts: list[pl.Series | Fields] = [pl.Series(strings[:cut], dtype=pl.String), fields(strings[cut:])]
    codes = np.concatenate([numbered.codes(part) for part in parts])
    order = list(dict.fromkeys(strings))
    assert codes.tolist() == [order.index(string) for string in strings]
    assert numbered.names().to_list() == order


def test_a_table_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coder, "PART", 1000)
    strings = [f"{n}" if n % 3 else f"user-{n}" * (n % 5 + 1) for n in range(30_000)]
    numbered = Coder()
    assert (numbered.codes(pl.Series(strings)) == np.arange(len(strings))).all()
    assert (numbered.codes(fields(reversed(strings))) == np.arange(len(strings))[::-1]).all()
    assert numbered.names().to_list() == strings
    assert numbered.codes(fields(["x" * 100_000])).tolist() == [len(strings)]
    assert numbered.names()[-1] == "x" * 100_000


def test_equal_keys_are_told_apart_by_their_bytes() -> None:
    strings = fields(["x" * 30, "y" * 30, "x" * 30, "y" * 29 + "z"])
    table, arena = np.zeros((16, 2), np.uint64), np.empty(99, np.uint64)
    keys = np.full(len(strings) + tokens.AHEAD, 7, np.uint64)  # as if all hashes were one
    codes = np.empty(4, np.int32)
    done = tokens.code_fields(strings.text, strings.starts, strings.ends, keys, codes, table, arena, 0, 0)
    assert done == (4, 3, 12)
    assert codes.tolist() == [0, 1, 0, 2]


digits = st.integers(-(2**63), 2**63 - 1).map(str) | st.text("0123456789-", min_size=1, max_size=21)


@settings(max_examples=300, deadline=None)
@given(st.lists(digits | st.integers(-999, 10**10).map(str), min_size=1, max_size=4))
def test_integers_are_exact_or_left_to_polars(spelled: list[str]) -> None:
    found = fields(spelled)
    values, usual = read_integers(found.text, found.starts, found.ends)
    if usual:
        assert [str(value) for value in values.tolist()] == spelled
    else:
        assert any(not re.fullmatch("0|-?[1-9][0-9]{0,17}", text) for text in spelled)


decimals = st.floats(0, 1e9).map(lambda x: f"{x:.5f}") | st.text("0123456789.", min_size=1, max_size=17)


@settings(max_examples=300, deadline=None)
@given(st.lists(decimals | st.floats(0, 10).map(lambda x: f"{x:.1f}"), min_size=1, max_size=4))
def test_decimals_are_those_of_python_and_polars(spelled: list[str]) -> None:
    found = fields(spelled * 2)  # the second time they are remembered
    values, usual = read_decimals(found.text, found.starts, found.ends)
    if usual:
        assert values.tolist() == [float(text) for text in spelled * 2]
        assert values.tolist() == pl.Series(spelled * 2).cast(pl.Float64).to_list()
    else:
        assert any(text[0] == "." or text.count(".") > 1 or len(text) > 15 for text in spelled)


def test_decimals_too_long_to_be_exact_are_left_to_polars() -> None:
    draw = np.random.default_rng(3)
    for size in range(8, 19):
        spelled = [f"{n // 10**6}.{n % 10**6:06}" for n in draw.integers(10 ** (size - 1), 10**size, 300).tolist()]
        found = fields(spelled)
        values, usual = read_decimals(found.text, found.starts, found.ends)
        assert usual == (size < 15)
        assert not usual or values.tolist() == [float(text) for text in spelled]


@pytest.mark.parametrize("text", ["+1", "1e3", " 1", "1 ", "nan", "-1", "1,5", "/", ":", "1.5.", "é"])
def test_unusual_numbers_are_left_to_polars(text: str) -> None:
    found = fields(["1", text])
    assert not read_decimals(found.text, found.starts, found.ends)[1]
    if text != "-1":
        assert not read_integers(found.text, found.starts, found.ends)[1]


def outcome(path: Path, on_error: str) -> list[object]:
    """What reading gives: the log and what was skipped, the warnings, or the error."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            log = read_log(path, on_error=on_error)
        except DataError as error:
            return [str(error)]
    return [log.to_frame().to_dict(as_series=False), log.event_types, log.skipped, [str(one.message) for one in told]]


cell = st.text(st.sampled_from("aé😀01\r \x00-"), min_size=1, max_size=4) | st.sampled_from(
    ["long-id-" * 5, "7", "007"]
)
rare = st.sampled_from(["", '"q,\n"', '""', 'b"', "\r", "1e3", "1.", ".5", "-2", "2020-01-02", "9" * 18, "9" * 20])
number = st.integers(0, 10**10).map(str) | st.sampled_from(
    ["4.5", "3", "10.0", "0", "007", "1.", "0.1234567890123456"]
)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(cell, cell, number, st.integers(0, 10**10).map(str), cell), min_size=1, max_size=12),
    st.lists(st.tuples(st.integers(0, 11), st.integers(0, 4), rare), max_size=2),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
    st.integers(1, 200),
)
def test_plain_columns_are_read_as_polars_reads_them(
    rows: list[tuple[str, ...]], edits: list[tuple[int, int, str]], end: str, ended: bool, chunk: int
) -> None:
    cells = [["user", "item", "weight", "time", "event"], *(list(row) for row in rows)]
    for row, column, text in edits:
        cells[row % len(rows) + 1][column] = text
    content = end.join(",".join(row) for row in cells) + end * ended
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        path = Path(folder, "log.csv")
        path.write_bytes(content.encode())
        patch.setattr(delimited, "CHUNK", chunk)
        found = [outcome(path, on_error) for on_error in ("raise", "skip")]
        patch.setattr(delimited.Records, "plain", lambda *_: {})
        assert found == [outcome(path, on_error) for on_error in ("raise", "skip")]
