"""Rankings: for each user, the best items with their scores."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from palate.arrays import Bools, Floats, Ints
from palate.data.vocabulary import Id, Vocabulary


@dataclass(frozen=True, eq=False)
class Rankings:
    """For each of B rows up to K items, best first.

    users (B,) ids; item (B, K) int32 rows of `items`, -1 past the end of a short list; score (B, K) float32.
    """

    users: pl.Series
    items: Vocabulary
    item: Ints
    score: Floats

    def __len__(self) -> int:
        return len(self.item)

    @property
    def filled(self) -> Bools:
        """Which places hold an item, (B, K)."""
        return self.item >= 0

    def lists(self) -> list[list[Id]]:
        """Item ids, one list for each row."""
        return [self.items.names(row[row >= 0]).to_list() for row in self.item]

    def to_frame(self) -> pl.DataFrame:
        """Return columns user_id, item_id, score and rank (from 1), one line for each recommendation."""
        row, place = np.nonzero(self.filled)
        return pl.DataFrame(
            {
                "user_id": self.users.gather(row),
                "item_id": self.items.names(self.item[row, place]),
                "score": self.score[row, place],
                "rank": (place + 1).astype(np.int32),
            }
        )
