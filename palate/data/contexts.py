"""Contexts: the circumstances of an event or a request, short texts by key, as {"device": "phone"}.

A log keeps each distinct context once, as one text of JSON; `NO_CONTEXT` stands for an event without any.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np
import polars as pl

from palate.arrays import Ints
from palate.data.values import as_text, each
from palate.errors import DataError

MOST_KEYS = 10
MOST_CHARACTERS = 100  # of a key, and of a value
MOST_CONTEXTS = 10_000  # distinct ones of a log or a store
NO_CONTEXT = "{}"
POSITION = "position"  # the place, 1 and more, at which a list showed the item of the event
MOST_PLACES = 1000  # of a list
PREFIX = "context."  # of the roles of columns that are keys
RULE = (
    f"contexts are objects of {MOST_KEYS} keys at most, each with a text, a whole number or a truth value, "
    f"of {MOST_CHARACTERS} characters at most"
)


def as_context(given: object, place: str = "context") -> dict[str, str]:
    """Return a context with its values as texts, without empty ones. Raises `DataError` for what is none."""
    if not isinstance(given, Mapping) or len(given) > MOST_KEYS:
        raise DataError(f"{place}: {str(given)[:80]!r}; {RULE}")
    found = {key: _text(value) for key, value in given.items() if value not in (None, "")}
    for key, value in found.items():
        if not key or not _fits(key) or not _fits(value):
            raise DataError(f"{place}: {str(key)[:80]!r} is {str(given[key])[:80]!r}; {RULE}")
    return {key: str(found[key]) for key in sorted(found)}


def written(context: Mapping[str, str]) -> str:
    """Return a context as one text: equal ones are equal texts."""
    return json.dumps(dict(sorted(context.items())), ensure_ascii=False, separators=(",", ":"))


def parsed(text: str) -> dict[str, str]:
    """Return the context that a text stands for. Raises `DataError`."""
    try:
        given = json.loads(text)
    except (ValueError, RecursionError):
        raise DataError(f"context: {text[:80]!r}; {RULE}") from None
    return as_context(given)


def position_of(context: Mapping[str, str]) -> int:
    """Place in a list that a context names, 0 where it names none."""
    text = context.get(POSITION, "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 5 else 0


def as_values(column: pl.Series) -> pl.Series:
    """Values of one key as texts, or whole contexts as texts of JSON, null where one breaks the rule."""
    if column.dtype == pl.Object:
        texts = each(column, _as_json)
    else:
        texts = column.cast(pl.String) if column.dtype == pl.Boolean else as_text(column)
    distinct = texts.drop_nulls().unique()
    bad = [text for text in distinct.to_list() if not _is_value(text)]
    return texts.set(texts.is_in(bad), None) if bad else texts


def joined(columns: pl.DataFrame) -> pl.Series:
    """Contexts (N,) as texts, of columns named by `PREFIX` and the key; null and empty values are none.

    What is an object of JSON holds keys of its own. Raises `DataError` for a context of too many keys.
    """
    distinct = columns.unique(maintain_order=True)
    found = []
    for row in distinct.iter_rows(named=True):
        context = dict[str, str]()
        for name, value in row.items():
            context |= parsed(value) if value and value[0] == "{" else {name.removeprefix(PREFIX): value or ""}
        found.append(written(as_context(context)))
    texts = pl.Series("context", found, dtype=pl.String)
    whole = columns.join(
        distinct.with_columns(texts), on=columns.columns, how="left", nulls_equal=True, maintain_order="left"
    )
    return whole["context"]


def merged(*logs: tuple[tuple[str, ...], Ints | None, int]) -> tuple[Ints | None, tuple[str, ...]]:
    """Return the contexts of the events of several logs, one behind the other, and their texts; None without any.

    logs  texts, the place of each event's among them or None, and the number of events
    """
    if all(context is None for _, context, _ in logs):
        return None, ()
    known = [((NO_CONTEXT,), np.zeros(n, np.int32)) if each is None else (own, each) for own, each, n in logs]
    texts = tuple(dict.fromkeys(text for own, _ in known for text in own))
    place = {text: n for n, text in enumerate(texts)}
    codes = [np.array([place[text] for text in own], np.int32)[each] for own, each in known]
    return np.concatenate(codes), texts


def _is_value(text: str) -> bool:
    if text[:1] != "{":
        return _fits(text)
    try:
        return parsed(text) is not None
    except DataError:
        return False


def _as_json(value: object) -> str | None:
    if not isinstance(value, Mapping):
        return _text(value)
    try:
        return written(as_context(value))
    except DataError:
        return None


def _text(value: object) -> str | None:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, str | int) else None


def _fits(text: object) -> bool:
    if not isinstance(text, str) or len(text) > MOST_CHARACTERS or "\0" in text:
        return False
    return text.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in text)
