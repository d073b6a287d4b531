"""Items that users act on together with one item, or right after it; each read is bounded, whatever is stored."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from palate.arrays import Longs
from palate.data.times import HOUR
from palate.store.database import Database, Query
from palate.store.schema import Expression, Selection, above_zero, events, sa

MOST_EVENTS = 100  # newest events of the item whose neighbours are read
NEIGHBOURS = 4  # of each, in its user's history, of each kind
WITHIN = HOUR  # that one before may be older


class Together:
    """Reads of neighbours in the histories of users."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def users(self, item: int, ignored: Sequence[int]) -> tuple[Longs, Longs]:
        """Count the users who acted on other items together with an item, or right after it.

        Of each of the newest 100 events of the item count 4 events of its user that follow, 4 before it within an
        hour, and 4 before and after it that have the same time, in the order of arrival. Events of a weight of 0 or
        below, and of the `ignored` types (by number), do not. Returns numbers of items (N,), the most frequent first,
        and how many users each has (N,).
        """
        rows = self._neighbours(item=item, ignored=self._database.listed(ignored))
        pairs = np.unique(self._database.unpacked(rows[0][0], 2), axis=1)
        found, count = np.unique(pairs[1], return_counts=True)
        best = np.argsort(-count, kind="stable")
        return found[best], count[best]

    @cached_property
    def _neighbours(self) -> Query:
        item: Expression = sa.bindparam("item", type_=sa.Integer)
        columns = events.c.user_no, events.c.moment, events.c.seq, events.c.type_no, events.c.weight
        newest = sa.select(*columns).where(events.c.item_no == item).order_by(events.c.seq.desc()).limit(MOST_EVENTS)
        own = newest.cte("own")
        near = sa.union_all(*(self._at(own, *kind, n) for kind in _kinds(own) for n in range(NEIGHBOURS))).subquery()
        other = events.alias("other")
        found = (
            sa.select(other.c.user_no, other.c.item_no)
            .join_from(near, other, other.c.seq == near.c.seq)
            .where(other.c.item_no != item, *self._counting(other))
            .subquery()
            .c
        )
        return self._database.query(sa.select(self._database.packed(found.user_no, found.item_no)))

    def _at(self, own: sa.CTE, condition: Expression, first: Sequence[Expression], n: int) -> Selection:
        """Select the n-th neighbour of each of the events."""
        chosen = sa.select(ONE.c.seq).where(ONE.c.user_no == own.c.user_no, condition).order_by(*first)
        number = chosen.limit(sa.literal_column("1")).offset(sa.literal_column(str(n))).scalar_subquery()
        return sa.select(number.label("seq")).where(*self._counting(own))

    def _counting(self, rows: sa.FromClause) -> tuple[sa.ColumnElement[bool], ...]:
        return above_zero(rows), rows.c.type_no.not_in(self._database.rows("ignored", sa.Integer()))


ONE = events.alias("one")


def _kinds(own: sa.CTE) -> list[tuple[Expression, tuple[Expression, ...]]]:
    """Return conditions of neighbours, with their order; each reads one range of an index, only as far as needed."""
    moment, seq = ONE.c.moment, ONE.c.seq
    same, earlier = moment == own.c.moment, moment < own.c.moment
    recent = moment >= own.c.moment - sa.literal_column(str(WITHIN))
    return [
        (same & (seq > own.c.seq), (seq,)),
        (same & (seq < own.c.seq), (seq.desc(),)),
        (moment > own.c.moment, (moment, seq)),
        (earlier & recent, (moment.desc(), seq.desc())),
    ]
