"""The ids that an export itself gives its events: each counts once."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import polars as pl

from palate.arrays import Bools, Ints
from palate.data.ids import as_id
from palate.data.vocabulary import Vocabulary
from palate.errors import DataError, DataWarning, check

EVENT_ID = "event_id"  # begins the roles of its columns
BETWEEN = "/"  # the values of several columns
RULE = "event ids must be strings or whole numbers, in each of their columns"


def id_columns(event_id: str | Sequence[str] | None) -> dict[str, str | None]:
    """Return the columns of an event's id by their roles."""
    if event_id is None or event_id == "":
        return {}
    names = [event_id] if isinstance(event_id, str) else [*event_id]
    fine = bool(names) and all(isinstance(each, str) and each for each in names)
    check(fine, EVENT_ID, event_id, "must name a column, or columns")
    return {f"{EVENT_ID}.{n}" if n else EVENT_ID: name for n, name in enumerate(names)}


def joined_ids(frame: pl.DataFrame) -> pl.Series:
    """Ids of events (N,) as strings, null for none, of the columns of a batch that hold them."""
    parts = [as_id(column) for column in frame if column.name.startswith(EVENT_ID)]
    return pl.select(pl.concat_str(parts, separator=BETWEEN).alias(EVENT_ID)).to_series()


class EventIds:
    """The ids of the events of a log, as they are read."""

    def __init__(self) -> None:
        self._parts: list[pl.Series] = []
        self.repeated = 0
        self._example = ""

    def add(self, ids: pl.Series) -> None:
        """Append ids of sound rows."""
        self._parts.append(ids)

    def drop(self, bad: Bools) -> None:
        """Leave out rows that were found to be bad when all were there."""
        self._parts = [pl.concat(self._parts).filter(~pl.Series(bad))]

    def once(self, user: Ints, item: Ints, users: Vocabulary, items: Vocabulary, names: Iterable[str]) -> Bools:
        """Return the rows (N,) that are the first of their event; raises `DataError` for one id of two events."""
        ids = self._parts[0] if len(self._parts) == 1 else pl.concat(self._parts)
        rows = pl.DataFrame({EVENT_ID: ids, "user": user, "item": item})
        again = rows.select(pl.col(EVENT_ID).is_not_null() & ~pl.col(EVENT_ID).is_first_distinct()).to_series()
        self.repeated = int(again.sum())
        if not self.repeated:
            return np.ones(len(ids), np.bool_)
        self._example = ids.filter(again)[0]
        same = rows.filter(pl.col(EVENT_ID).is_in(ids.filter(again).implode())).unique(maintain_order=True)
        other = same.filter(pl.col(EVENT_ID).is_duplicated())
        if len(other):
            first = other.filter(pl.col(EVENT_ID) == other[EVENT_ID][0]).head(2)
            codes = first.select("user", "item").iter_rows()
            shown = ", and for ".join(f"user {users.ids[a]!r} and item {items.ids[b]!r}" for a, b in codes)
            raise DataError(
                f"{_listed(names)} is {other[EVENT_ID][0]!r} for {shown}; an id is that of one event. "
                f"Where a row is one item of an order, name both columns: event_id={','.join(names)},ITEM"
            )
        return ~again.to_numpy()

    def taken(self, kept: Bools) -> pl.Series:
        """Return the ids of the rows that are kept; none can be added any more."""
        ids = pl.concat(self._parts).filter(pl.Series(kept))
        self._parts = []
        return ids

    def report(self, place: str, columns: Mapping[str, str]) -> None:
        """Warn of the rows that were left out."""
        if self.repeated:
            names = _listed(name for role, name in columns.items() if role.startswith(EVENT_ID))
            what = f"{self.repeated:,} rows left out, whose {names} stands in an earlier row"
            warnings.warn(f"{place}: {what}; the first is {self._example!r}", DataWarning, stacklevel=3)


def _listed(names: Iterable[str]) -> str:
    return BETWEEN.join(names)
