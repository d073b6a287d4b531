"""Rankings: for each user, the best items with their scores."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from palate.arrays import Bools, Floats, Ints
from palate.data.tables import PandasFrame, as_pandas
from palate.data.vocabulary import Id, Vocabulary


@dataclass(frozen=True, eq=False)
class Rankings:
    """For each of B rows up to K items, best first.

    users (B,) ids; item (B, K) int32 rows of `items`, -1 past the end of a short list; score (B, K) float32;
    columns: what the ids that were asked for, and those of the lists, are called in a frame.
    """

    users: pl.Series
    items: Vocabulary
    item: Ints
    score: Floats
    columns: tuple[str, str] = ("user_id", "item_id")

    def __len__(self) -> int:
        return len(self.item)

    def __repr__(self) -> str:
        return f"Rankings({len(self):,} lists of up to {self.item.shape[1]:,} of {len(self.items):,} ids)"

    @property
    def filled(self) -> Bools:
        """Which places hold an item, (B, K)."""
        return self.item >= 0

    def lists(self) -> list[list[Id]]:
        """Item ids, one list for each row."""
        return [self.items.names(row[row >= 0]).to_list() for row in self.item]

    def to_frame(self) -> pl.DataFrame:
        """Return columns user_id, item_id, score and rank (from 1), one line for each recommendation.

        Of similar items they are target_item_id, the one asked for, and item_id; of similar users target_user_id and
        user_id.
        """
        row, place = np.nonzero(self.filled)
        asked, found = self.columns
        return pl.DataFrame(
            {
                asked: self.users.gather(row),
                found: self.items.names(self.item[row, place]),
                "score": self.score[row, place],
                "rank": (place + 1).astype(np.int32),
            }
        )

    def to_pandas(self) -> PandasFrame:
        """Return what `to_frame` does as a frame of pandas; raises `MissingExtra` without pandas."""
        return as_pandas(self.to_frame())
