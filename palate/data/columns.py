"""Which column of a file plays which role, by the names the field uses."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from palate.errors import DataError

Aliases: TypeAlias = Mapping[str, tuple[str, ...]]

SIGNED_WEIGHT = "signedweight"  # may hold weights below 0: stores export dislikes under this name
# Compared without case, `_`, `-`, spaces and RecBole's `:token`; an earlier alias wins over a later one.
LOG: Aliases = {
    "user": ("userid", "user", "uid", "visitorid", "customerid", "reviewerid", "accountid", "sessionid", "session"),
    "item": (
        "itemid",
        "item",
        "iid",
        "movieid",
        "productid",
        "parentasin",
        "asin",
        "articleid",
        "artistid",
        "trackid",
        "songid",
        "bookid",
        "isbn",
        "videoid",
        "newsid",
        "businessid",
        "contentid",
        "sku",
        "aid",
    ),
    "time": (
        "timestamp",
        "time",
        "ts",
        "datetime",
        "date",
        "eventtime",
        "unixreviewtime",
        "createdat",
        "unixtime",
        "tdat",
    ),
    "weight": (
        "weight",
        SIGNED_WEIGHT,
        "rating",
        "eventvalue",
        "value",
        "score",
        "stars",
        "overall",
        "playcount",
        "plays",
        "count",
    ),
    "event": ("eventtype", "event", "feedbacktype", "action", "actiontype", "behavior", "interactiontype", "type"),
}
CATALOGUE: Aliases = {
    "item": LOG["item"],
    "title": ("title", "itemname", "name", "movietitle", "producttitle", "productname", "prodname", "headline"),
    "text": ("text", "description", "plot", "overview", "summary", "abstract", "detaildesc", "comment"),
    "categories": ("categories", "genres", "category", "genre", "class", "tags", "labels", "categorycode"),
    "price": ("price", "saleprice"),
    "image": ("image", "imageurl", "imagepath", "imurl", "poster", "posterurl", "picture"),
    "audio": ("audio", "audiourl", "audiopath", "previewurl"),
    "available": ("available", "availability", "instock", "isavailable"),
}


def plain(name: str) -> str:
    """Bring a column's name to the form aliases are compared in: `USER_ID`, `userId` and `user_id:token` are one."""
    return re.sub(r"[_\-\s]", "", untyped(name)).lower()


def untyped(name: str) -> str:
    """Return a column's name without the type that RecBole writes behind it."""
    return re.sub(r":(token|float)(_seq)?$", "", name)


def find_columns(
    names: Sequence[str], asked: Mapping[str, str | None], aliases: Aliases, needed: Iterable[str], place: str
) -> dict[str, str]:
    """Name of the column of each role found. A role asked for by name must be there; "" asks for none.

    Raises `DataError` for two columns of one name, a column asked for or needed and missing, and a tie of aliases.
    """
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise DataError(f"{place}: two columns are named {twice[0]!r}; names must differ")
    named = {name for role, name in asked.items() if not role.startswith("event_id")}  # an id may be of any columns
    free = [name for name in names if name not in named]
    found: dict[str, str] = {}
    for role, known in aliases.items():
        wanted = asked.get(role)
        if wanted and wanted not in names:
            raise DataError(f"{place}: no column {wanted!r} ({role}=); its columns are {listed(names)}")
        name = wanted if wanted is not None else _by_alias(free, known, role, place)
        if name:
            found[role] = name
        elif role in needed:
            raise DataError(
                f"{place}: no {role} column among {listed(names)}; a header must name the columns, and "
                f"{role}= says which one it is when its name is unusual"
            )
    return found


def _by_alias(names: Sequence[str], known: tuple[str, ...], role: str, place: str) -> str | None:
    for alias in known:
        same = [name for name in names if plain(name) == alias]
        if len(same) > 1:
            raise DataError(f"{place}: columns {listed(same)} could each be the {role}; choose with {role}=")
        if same:
            return same[0]
    return None


def listed(values: Iterable[object], most: int = 12) -> str:
    """Show the first values, quoted, and how many more there are."""
    shown = [repr(value) for value in values]
    return ", ".join(shown[:most]) + (f" and {len(shown) - most} more" if len(shown) > most else "")
