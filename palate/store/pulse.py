"""Whether the data of a recommendation changed, in one read: a few µs on SQLite, one round trip on PostgreSQL."""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

from palate.store.database import Database, Query
from palate.store.schema import ACTIVE, CHANGES, REPLACED, REWRITTEN, WITHDRAWN, events, sa, state, users

NEVER = (1 << 63) - 1  # after every event


class Pulse(NamedTuple):
    """The counters of a store.

    newest     `seq` of the newest event, 0 without one
    withdrawn  how often events were taken out or given another weight; rewritten: another time or weight
    items      how often items changed
    active     version of the active model, None without one; replaced: how often a version became another model
    touched    whether the user asked about has an event after the `seq` asked about
    """

    newest: int
    withdrawn: int
    rewritten: int
    items: int
    active: int | None
    replaced: int
    touched: bool


class Pulses:
    """Reads pulses."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def read(self, user_id: str = "", since: int = NEVER) -> Pulse:
        """Look at the counters, and whether a user has an event after `since`; it costs by the events since then."""
        newest, *counters, touched = self._query(user=user_id, since=since)[0]
        withdrawn, rewritten, items, active, replaced = (int(each or 0) for each in counters)
        return Pulse(newest or 0, withdrawn, rewritten, items, active or None, replaced, bool(touched))

    @cached_property
    def _query(self) -> Query:
        def kept(name: str) -> sa.ScalarSelect[str]:
            return sa.select(state.c.value).where(state.c.name == sa.literal_column(f"'{name}'")).scalar_subquery()

        # No index begins with user_no + 0: the few newest rows of the table are read, and none of the user's others.
        number = sa.select(users.c.user_no).where(users.c.user_id == sa.bindparam("user", type_=sa.Text))
        later = events.c.seq > sa.bindparam("since", type_=sa.BigInteger)
        theirs = sa.select(events.c.seq).where(later, events.c.user_no + 0 == number.scalar_subquery()).limit(1)
        newest = sa.select(sa.func.max(events.c.seq)).scalar_subquery()
        counters = (kept(name) for name in (WITHDRAWN, REWRITTEN, CHANGES, ACTIVE, REPLACED))
        return self._database.query(sa.select(newest, *counters, theirs.scalar_subquery()))
