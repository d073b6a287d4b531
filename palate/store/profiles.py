"""Users' attributes in files: laid out in columns for an export, read for an import, as those of items."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import polars as pl

from palate.data.columns import LOG, find_columns
from palate.data.faults import Faults
from palate.data.values import RULES
from palate.store.catalogues import EXACT, EXACT_RULE, OWN, laid_out, read_attributes
from palate.store.user_profiles import UserProfile

USER = "user_id"  # first column of an export


def frame_of(users: Sequence[UserProfile], *, spelled: bool) -> pl.DataFrame:
    """Lay users out in columns, as `export_users` says; `spelled` is for files that have nothing but text."""
    ids = pl.Series(USER, [user.user_id for user in users], pl.String)
    return laid_out(ids, [user.attributes for user in users], spelled)


def read_users(
    source: object, *, user: str | None = None, on_error: str = "raise"
) -> Callable[[], Iterator[UserProfile]]:
    """Read an export, or any file with a column of users, whose other columns are attributes.

    Returns a function that yields them from the start each time. Raises `DataError`.
    """

    def choose(names: Sequence[str], place: str) -> dict[str, str]:
        if user is None and [*names[:1], *names[1:][-1:]] == [USER, EXACT]:
            return {"user": USER, EXACT: EXACT} | {OWN + name: name for name in names[1:-1]}
        found = find_columns(names, {"user": user}, {"user": LOG["user"]}, ["user"], place)
        return found | {OWN + name: name for name in names if name != found["user"]}

    rules = {"user": RULES["user"], **EXACT_RULE}
    columns, attributes = read_attributes(source, "user", choose, Faults(on_error, rules, ["user"], once="user"))
    return lambda: map(UserProfile, columns["user"], attributes())
