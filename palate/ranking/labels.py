"""The values of an attribute as codes, for items at positions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from palate.arrays import Ints, Longs
from palate.kernels.rerank import values_at


@dataclass(frozen=True, eq=False)
class Labels:
    """The values of an attribute as codes: position p has `code[start[p]:start[p + 1]]`, rows of `names`.

    start (P + 1,) int64, code (N,) int32. An item without the attribute has no code; of a list it has one for each
    different value.
    """

    names: pl.Series
    start: Longs
    code: Ints

    @classmethod
    def none(cls, positions: int) -> Labels:
        """Make those of an attribute that no item has."""
        return cls(pl.Series([], dtype=pl.String), np.zeros(positions + 1, np.int64), np.zeros(0, np.int32))

    @classmethod
    def of(cls, values: pl.Series) -> Labels:
        """Make those of a column of texts, numbers or lists of them; null is no value."""
        listed = values if values.dtype == pl.List else values.reshape((-1, 1)).arr.to_list()
        frame = pl.DataFrame({"place": np.arange(len(values)), "value": listed}).explode("value")
        frame = frame.with_columns(pl.col("value").cast(pl.String)).drop_nulls("value").unique(maintain_order=True)
        names = frame["value"].unique().sort()
        code = names.search_sorted(frame["value"]).to_numpy().astype(np.int32)
        size = np.bincount(frame["place"].to_numpy(), minlength=len(values))
        return cls(names, np.concatenate([np.zeros(1, np.int64), np.cumsum(size)]), code)

    def as_lists(self) -> pl.Series:
        """Return the values of each position as a list of texts."""
        place = np.repeat(np.arange(len(self.start) - 1), np.diff(self.start))
        found = pl.DataFrame({"place": place, "value": self.names.gather(self.code)}).group_by("place").agg("value")
        every = pl.DataFrame({"place": np.arange(len(self.start) - 1)})
        return every.join(found, on="place", how="left", maintain_order="left")["value"]


def labels_at(labels: Labels, positions: Longs) -> tuple[Longs, Ints, int]:
    """Return start (N + 1,) and code of items at positions (N,), with codes 0 to C - 1, and C."""
    return values_at(labels.start, labels.code, positions, len(labels.names))
