"""A batch: some rows of a file or frame, on their way into a log or catalogue."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import polars as pl
from polars.selectors import by_dtype

from palate.arrays import Bools, Ints, Longs
from palate.kernels.records import Bytes
from palate.kernels.tokens import PADDING

# From a file's column names and its place to the column of each role.
Choose: TypeAlias = Callable[[Sequence[str], str], dict[str, str]]

CHUNK = 1 << 20  # bytes of text read at once: small enough to stay in cache and out of the memory's peak
LONGEST = 1 << 24  # bytes of one row of text: one that never ends must not eat the memory

# The strings of a frame, null for the empty one.
FILLED = pl.when(by_dtype(pl.String) != "").then(by_dtype(pl.String))


@dataclass(frozen=True)
class Fields:
    """N strings where they stand in UTF-8 text: string n from `starts[n]` up to `ends[n]`; see `kernels.tokens`."""

    text: Bytes
    starts: Ints
    ends: Ints

    @classmethod
    def of(cls, strings: pl.Series) -> Fields:
        """Fields of strings, none null, of less than 2 GB together."""
        text = strings.str.join().cast(pl.Binary).item()
        sizes = strings.str.len_bytes().to_numpy().astype(np.int32)
        ends = np.cumsum(sizes, dtype=np.int32)
        return cls(np.frombuffer(text + PADDING, np.uint8), ends - sizes, ends)

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, rows: Longs | slice) -> Fields:
        return Fields(self.text, self.starts[rows], self.ends[rows])

    def among(self, values: Sequence[bytes]) -> Bools:
        """Which strings are one of these, (N,)."""
        found = np.zeros(len(self), np.bool_)
        sizes = self.ends - self.starts
        for value in values:
            at = np.flatnonzero(sizes == len(value))
            for n, byte in enumerate(value):
                at = at[self.text[self.starts[at] + n] == byte]
            found[at] = True
        return found


@dataclass(frozen=True)
class Batch:
    """N rows that could be read, a column a role, with null for the empty string; and those that could not.

    columns: the name in the file of each role's column; row (N,): their numbers, from 1 for the first after the
    header; broken: number and fault of each row left out; typed: False for delimited text, where 7 may be a string;
    ids: columns that are not in the frame because their text is as good, none empty.
    """

    place: str
    columns: dict[str, str]
    frame: pl.DataFrame
    row: Longs
    broken: list[tuple[int, str]]
    typed: bool
    ids: Mapping[str, Fields] = field(default_factory=dict)

    def headers(self) -> Bools:
        """Which rows say the names of their columns, (N,): a header once more, which delimited text may have."""
        texts = self.frame.select(role for role in self.columns if role not in self.ids)
        if self.typed or any(dtype != pl.String for dtype in texts.dtypes):
            return np.zeros(len(self.row), np.bool_)
        found = np.ones(len(self.row), np.bool_)
        for role, name in self.columns.items():
            said = [name, f"\ufeff{name}"]
            if role in self.ids:
                found &= self.ids[role].among([each.encode() for each in said])
            else:
                found &= texts[role].is_in(said).fill_null(value=False).to_numpy()
            if not found.any():
                break
        return found
