"""A batch: some rows of a file or frame, on their way into a log or catalogue."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import polars as pl
from polars.selectors import by_dtype

from palate.arrays import Bools, Longs

# From a file's column names and its place to the column of each role.
Choose: TypeAlias = Callable[[Sequence[str], str], dict[str, str]]

CHUNK = 1 << 21  # bytes of text read at once: enough for polars' threads, and out of the memory's peak
LONGEST = 1 << 24  # bytes of one row of text: one that never ends must not eat the memory

# The strings of a frame, null for the empty one.
FILLED = pl.when(by_dtype(pl.String) != "").then(by_dtype(pl.String))


@dataclass(frozen=True)
class Batch:
    """N rows that could be read, a column a role, with null for the empty string; and those that could not.

    columns: the name in the file of each role's column; row (N,): their numbers, from 1 for the first after the
    header; broken: number and fault of each row left out; typed: False for delimited text, where 7 may be a string;
    comma: weights and prices are texts with a decimal comma; form: what is unusual in how the file is written.
    """

    place: str
    columns: dict[str, str]
    frame: pl.DataFrame
    row: Longs
    broken: list[tuple[int, str]]
    typed: bool
    comma: bool = False
    form: tuple[str, ...] = ()

    def headers(self) -> Bools:
        """Which rows say the names of their columns, (N,): a header once more, which delimited text may have."""
        found = np.zeros(len(self.row), np.bool_)
        texts = self.frame.select(list(self.columns))
        if self.typed or any(dtype != pl.String for dtype in texts.dtypes):
            return found
        for n, (role, name) in enumerate(self.columns.items()):
            same = texts[role].is_in([name, f"\ufeff{name}"]).fill_null(value=False).to_numpy()
            found = same & found if n else same
            if not found.any():
                break
        return found
