"""What the second stage keeps of the items beside its first stages: counted over the log, read from the catalogue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import polars as pl

from palate.arrays import Array, Bools, Floats, Ints, Longs, check_arrays
from palate.data.catalogue import Catalogue
from palate.data.interactions import Interactions
from palate.data.ragged import NEVER
from palate.data.times import DAY, HOUR
from palate.data.vocabulary import Vocabulary
from palate.errors import ModelError
from palate.ranking.stage_data import KeptLabels, attribute_of
from palate.ranking.usual import count_pairs, more_than_usual
from palate.ranking.usual_contexts import UsualContexts

RECENT, LATEST = 0.25, 0.05  # shares of a log's events, the newest, whose popularity is a feature
FREE = 0.5  # distinct values of a text column beside the items, above which it is free text, compared by its words
WORD, MOST_WORDS = r"\w{3,}", 50  # of a free text
DAY_PARTS, WEEK_DAYS = 6, 7
NO_TEXT = ("image", "audio")  # columns of paths and addresses
COUNTED = ("popularity", "recent popularity", "latest popularity", "trend", "age")


@dataclass(frozen=True, eq=False)
class Facts:
    """What features read of the items beside the first stages.

    counts (5, I)  popularity, recent and latest popularity, trend, age; prices (I,): logarithms, NaN-free, -1 unknown
    parts (13, I)  logarithm of how much more often than usual the item has events in each 4 hours of the day and on
                   each day of the week, UTC; 0 where the log has no times of day
    pause          usual time between two events of a user, microseconds: a list whose time is not known is taken to
                   be asked for so long after the newest event
    start, column, followed  how often the column's item came right after the row's item, (I + 1,) and (N,)
    """

    counts: Annotated[Floats, Array("counts", "items")]
    prices: Annotated[Floats, Array("items")]
    parts: Annotated[Floats, Array("parts", "items")]
    pause: int
    start: Annotated[Longs, Array("items+1", starts="pairs")]
    column: Annotated[Ints, Array("pairs", below="items")]
    followed: Annotated[Floats, Array("pairs")]
    attributes: tuple[KeptLabels, ...]
    contexts: tuple[UsualContexts, ...] = ()

    @classmethod
    def of(
        cls, log: Interactions, items: Vocabulary, catalogue: Catalogue | None, attributes: Sequence[str]
    ) -> Facts:
        """Count over a log, by the rows of `items`, and collect these attributes of the catalogue."""
        there = log.select(log.liked)
        row = items.recode(there.items)[there.item]
        counts = _counts(there, row, len(items))
        same = there.user[1:] == there.user[:-1]
        start, column, followed = count_pairs(row[:-1][same], row[1:][same], (len(items), len(items)))
        kept = tuple(KeptLabels.of(name, words_of(attribute_of(name, items, catalogue))) for name in attributes)
        parts, pause = _parts(there, row, len(items)), _pause(there, same)
        prices = _prices(items, catalogue)
        contexts = UsualContexts.all_of(there, row, len(items))
        return cls(counts, prices, parts, pause, start, column, followed, kept, contexts)

    @property
    def timed(self) -> bool:
        """Whether the log had times of day."""
        return bool(self.parts.any())

    def check(self, items: int) -> None:
        """Raise `ModelError` for arrays that do not fit each other or a model of so many items."""
        check_arrays(self, {"items": items, "counts": len(COUNTED), "parts": DAY_PARTS + WEEK_DAYS})
        if not isinstance(self.pause, int) or self.pause < 0:
            raise ModelError(f"Facts.pause: is {self.pause!r}; it must be a whole number, 0 or more")
        for each in self.attributes:
            check_arrays(each, {"items": items, "names": len(each.names)})
        for usual in self.contexts:
            check_arrays(usual, {"items": items, "values": len(usual.values)})


def usual_attributes(catalogue: Catalogue | None) -> tuple[str, ...]:
    """Return the columns of a catalogue that are texts, or lists of them."""
    if catalogue is None:
        return ()
    kinds = {name: catalogue.frame[name].dtype for name in catalogue.fields if name not in NO_TEXT}
    return tuple(name for name, kind in kinds.items() if kind in (pl.String, pl.List(pl.String)))


def words_of(column: pl.Series) -> pl.Series:
    """Return a column of free text as lists of the words of each, any other as it is."""
    there = column.drop_nulls()
    if column.dtype != pl.String or there.n_unique() <= FREE * len(there):
        return column
    return column.str.to_lowercase().str.extract_all(WORD).list.unique(maintain_order=True).list.head(MOST_WORDS)


def _counts(log: Interactions, row: Ints, items: int) -> Floats:
    """Count liked events by item: all, the newest quarter and twentieth of the log, their ratio, and the age."""
    found = np.zeros((len(COUNTED), items), np.float32)
    whole = np.bincount(row, minlength=items)
    found[0] = np.log1p(whole)
    if log.timestamp is None:
        return found
    order = np.argsort(log.timestamp, kind="stable")
    sorted_row = row[order]
    recent, latest = (
        np.bincount(sorted_row[int(len(row) * (1 - part)) :], minlength=items) for part in (RECENT, LATEST)
    )
    found[1], found[2] = np.log1p(recent), np.log1p(latest)
    found[3] = np.log((latest / LATEST + 1) / (whole + 1))
    first = np.full(items, len(row))
    np.minimum.at(first, sorted_row, np.arange(len(row)))
    found[4] = first / max(1, len(row))
    return found


def parts_of(time: Longs) -> Longs:
    """Rows of `Facts.parts` of times (N,): of the hours, and of the day, Monday first; (2, N)."""
    return np.stack([time // (24 // DAY_PARTS * HOUR) % DAY_PARTS, DAY_PARTS + (time // DAY + 3) % WEEK_DAYS])


def _parts(log: Interactions, row: Ints, items: int) -> Floats:
    """Compare the hours and days of each item's events with those of all; 0 without times of day, as of dates."""
    found = np.zeros((DAY_PARTS + WEEK_DAYS, items), np.float32)
    known = np.zeros(0, np.bool_) if log.timestamp is None else log.timestamp != NEVER
    if log.timestamp is None or not known.any():
        return found
    part, whole = parts_of(log.timestamp[known]), np.bincount(row[known], minlength=items)
    if len(np.unique(part[0])) == 1:
        return found
    counts = np.bincount((part * items + row[known]).reshape(-1), minlength=found.size).reshape(found.shape)
    share = counts.sum(axis=1, keepdims=True) / known.sum()
    there = share[:, 0] > 0
    found[there] = more_than_usual(counts[there], share[there], whole)
    return found


def _pause(log: Interactions, same: Bools) -> int:
    """Return the median time between two events of a user; same (N - 1,): whether neighbours are of one user."""
    if log.timestamp is None:
        return 0
    known = same & (log.timestamp[:-1] != NEVER) & (log.timestamp[1:] != NEVER)
    between = np.diff(log.timestamp)[known]
    return int(np.median(between)) if len(between) else 0


def _prices(items: Vocabulary, catalogue: Catalogue | None) -> Floats:
    name = None if catalogue is None else catalogue.column("price")
    if catalogue is None or name is None or not catalogue.frame[name].dtype.is_numeric():
        return np.full(len(items), -1, np.float32)
    prices = catalogue.values(name, items).cast(pl.Float64).clip(0).log1p()
    return prices.fill_null(-1).fill_nan(-1).to_numpy().astype(np.float32)
