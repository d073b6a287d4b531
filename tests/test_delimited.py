"""Delimited text: whole blocks against record by record, and the numbers of ids."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from palate.data import delimited
from palate.data.coder import Coder
from palate.data.readers import read_log
from palate.data.records import Dialect, Records
from palate.errors import DataError

ids = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40) | st.text(
    "ab", min_size=1, max_size=9
)


@settings(max_examples=100, deadline=None)
@given(st.lists(ids, max_size=60), st.integers(1, 60))
def test_ids_are_numbered_in_order_of_first_appearance(strings: list[str], cut: int) -> None:
    numbered = Coder()
    parts = [pl.Series(part, dtype=pl.String) for part in (strings[:cut], strings[cut:])]
    codes = np.concatenate([numbered.codes(part) for part in parts])
    order = list(dict.fromkeys(strings))
    assert codes.tolist() == [order.index(string) for string in strings]
    assert numbered.names().to_list() == order


def test_a_table_grows() -> None:
    strings = pl.Series([f"{n}" if n % 3 else f"user-{n}" * (n % 5 + 1) for n in range(30_000)])
    numbered = Coder()
    found = [numbered.codes(strings[n : n + 1000]) for n in range(0, len(strings), 1000)]
    assert (np.concatenate(found) == np.arange(len(strings))).all()
    assert (numbered.codes(strings.reverse()) == np.arange(len(strings))[::-1]).all()
    assert numbered.names().to_list() == strings.to_list()
    assert numbered.codes(pl.Series(["x" * 100_000])).tolist() == [len(strings)]
    assert numbered.names()[-1] == "x" * 100_000


def test_ids_of_one_hash_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    hashed = Coder._hashed
    seeds = []

    def few(self: Coder, names: pl.Series) -> np.typing.NDArray[np.uint64]:
        seeds.append(self._seed)
        return hashed(self, names) % np.uint64(5) << np.uint64(9) if self._seed < 2 else hashed(self, names)

    monkeypatch.setattr(Coder, "_hashed", few)
    strings = pl.Series([f"u{n % 40}" for n in range(100)])
    numbered = Coder()
    assert numbered.codes(strings[:3]).tolist() == [0, 1, 2]
    assert numbered.codes(strings).tolist() == [n % 40 for n in range(100)]
    assert numbered.names().to_list() == strings[:40].to_list()
    assert max(seeds) == 2


def reference_records(text: bytes) -> Iterator[int]:
    """Fields of each line of text without quotes."""
    for line in text.split(b"\n")[: -1 if text.endswith(b"\n") or not text else None]:
        yield 0 if line in (b"", b"\r") else line.count(b",") + 1


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=40).map(lambda text: text.translate(bytes(b'a",\n\r'[n % 5] for n in range(256)))))
def test_records_cover_the_text_and_agree_with_plain_counting(text: bytes) -> None:
    found = Records.of(text, Dialect(","))
    assert (found.ends[-1] if found.ends else 0) == len(text)
    assert (np.diff(found.ends, prepend=0) > 0).all()
    early = Records.of(text, Dialect(","), last=False)
    assert early.ends == found.ends[: len(early.ends)], "a block cut anywhere gives the same records"
    assert early.fields == found.fields[: len(early.fields)]
    assert Records.of(text, Dialect(",", quotes=False)).fields == list(reference_records(text))


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
rare = st.sampled_from(
    [
        "",
        "x,y",
        "\n",
        '"q,\n"',
        '"a""b"',
        '"a"b',
        "\xe9",
        '""',
        'b"',
        "\r",
        "1e3",
        "1.",
        ".5",
        "-2",
        "2020-01-02",
        "9" * 18,
        "9" * 20,
    ]
)
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
def test_whole_blocks_are_read_as_records_one_by_one(
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
        patch.setattr(delimited, "_counted", lambda text, _: delimited.Block(text))
        assert found == [outcome(path, on_error) for on_error in ("raise", "skip")]
