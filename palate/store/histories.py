"""Histories of single users, in bounded reads of covering indexes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from palate.arrays import Bools, Floats, Longs
from palate.store.database import Database, Query
from palate.store.schema import BELOW_ZERO, NOT_ZERO, ORDER, Row, Selection, events, sa, users

EVER = (1 << 63) - 1  # later than any time


@dataclass(frozen=True, eq=False)
class Past:
    """N events of one user, oldest first: by time, then by arrival.

    item, kind (N,) int64: numbers of items and event types; time (N,) int64 microseconds since 1970 UTC, that of the
    arrival where the event's own is later; weight (N,) float32, nan where none was given; last: the highest `seq`, 0
    if there is none.
    """

    item: Longs
    kind: Longs
    time: Longs
    weight: Floats
    last: int

    def __len__(self) -> int:
        return len(self.item)


class Histories:
    """Reads of histories; an event with a time after `until` has not happened yet."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def newest(self, user_id: str, most: int, until: int | None = None) -> Past:
        """Newest `most` events of a user; empty for an unknown one."""
        return self._past(self._every(user=user_id, most=most, until=EVER if until is None else until))

    def weighted(self, user_id: str, most: int, silent: Sequence[int], until: int | None = None) -> Past:
        """Newest `most` events of a user with a weight other than 0, none of the `silent` types (by number)."""
        asked = {"user": user_id, "most": most, "until": EVER if until is None else until}
        return self._past(self._weighted(**asked, silent=self._database.listed(silent)))

    def items(
        self, user_id: str, silent: Sequence[int], negative: Sequence[int], until: int | None = None
    ) -> tuple[Longs, Bools]:
        """Return the items a user has events on (D,), by number, and whether each is disliked (D,).

        An item is disliked if the newest event on it, of those with a weight other than 0 that are of no `silent`
        type, has a weight below 0; that of an event of a `negative` type counts with the other sign. The read takes
        time by the number of items, not of events.
        """
        listed = {name: self._database.listed(types) for name, types in (("silent", silent), ("negative", negative))}
        rows = self._items(user=user_id, until=EVER if until is None else until, **listed)
        item, sign = self._database.unpacked(rows[0][0], 2)
        return item[sign >= 0], sign[sign >= 0] > 0

    def _past(self, rows: Sequence[Row]) -> Past:
        last, packed, packed_weights = rows[0]
        item, kind, time = self._database.unpacked(packed, 3)[:, ::-1].copy()
        weight = self._database.unpacked_weights(packed_weights, len(item))[::-1].astype(np.float32)
        return Past(item, kind, time, weight, last or 0)

    @cached_property
    def _every(self) -> Query:
        return self._newest_of(HAPPENED)

    @cached_property
    def _weighted(self) -> Query:
        return self._newest_of(HAPPENED, *self._counting())

    def _counting(self) -> tuple[sa.ColumnElement[bool], ...]:
        silent = self._database.rows("silent", sa.Integer())
        return NOT_ZERO, events.c.type_no.not_in(silent)

    def _newest_of(self, *conditions: sa.ColumnElement[bool]) -> Query:
        newest = (
            sa.select(*ORDER, events.c.item_no, events.c.type_no, events.c.weight)
            .where(events.c.user_no == NUMBER, *conditions)
            .order_by(*(column.desc() for column in ORDER))
            .limit(sa.bindparam("most", type_=sa.Integer))
        )
        past = newest.subquery().c
        packed = self._database.packed(past.item_no, past.type_no, past.moment)
        return self._database.query(
            sa.select(sa.func.max(past.seq), packed, self._database.packed_weights(past.weight))
        )

    @cached_property
    def _items(self) -> Query:
        """Skip along the index from one item of the user to the next."""
        lowest = sa.select(sa.func.min(events.c.item_no).label("item")).where(events.c.user_no == NUMBER)
        seen = lowest.cte("seen", recursive=True)
        following = lowest.where(events.c.item_no > seen.c.item).scalar_subquery()
        seen = seen.union_all(sa.select(following).where(seen.c.item.is_not(None)))
        of_item: Selection = sa.select(sa.literal_column("1")).where(
            events.c.user_no == NUMBER, events.c.item_no == seen.c.item, HAPPENED
        )
        reversed_sign = events.c.type_no.in_(self._database.rows("negative", sa.Integer()))
        disliked = (
            of_item.with_only_columns(sa.case((reversed_sign != BELOW_ZERO, 1), else_=0))
            .where(*self._counting())
            .order_by(*(column.desc() for column in ORDER))
            .limit(1)
        )
        seen_weightless: Selection = of_item.with_only_columns(sa.literal_column("0")).limit(1)
        to_come: sa.ColumnElement[int] = sa.literal_column("-1")
        sign = sa.func.coalesce(disliked.scalar_subquery(), seen_weightless.scalar_subquery(), to_come).label("sign")
        found = sa.select(seen.c.item, sign).where(seen.c.item.is_not(None)).subquery().c
        return self._database.query(sa.select(self._database.packed(found.item, found.sign)))


NUMBER = sa.select(users.c.user_no).where(users.c.user_id == sa.bindparam("user", type_=sa.Text)).scalar_subquery()
HAPPENED = events.c.time <= sa.bindparam("until", type_=sa.BigInteger)
