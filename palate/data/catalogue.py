"""The catalogue: what is known of the items beside who chose them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import polars as pl

from palate.arrays import Bools, Ints
from palate.data.batch import Batch
from palate.data.coder import vocabulary_of
from palate.data.columns import CATALOGUE, find_columns
from palate.data.faults import Faults
from palate.data.ids import as_id, check_ids, column_of, listed
from palate.data.sources import batches, place_of
from palate.data.values import RULES, as_spelled, as_text, as_weight
from palate.data.vocabulary import Id, Vocabulary
from palate.errors import DataError

CATALOGUE_RULES = {
    "item": f"{RULES['item']}, each once",
    "title": "titles must be text",
    "text": "texts must be text",
    "categories": "categories must be text like A|B, a JSON list, or a list of strings",
    "price": "prices must be finite numbers, 0 or more",
    "image": "an image must be a path or an address",
    "audio": "an audio file must be a path or an address",
    "available": "must be true or false, yes or no, 1 or 0",
}
WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


@dataclass(frozen=True, eq=False)
class Catalogue:
    """I items; row i of `frame` tells of item i of `items`.

    frame (I, ...): column item_id, then those found of title, text, image, audio (strings), categories (lists of
    strings), price (float32) and available (boolean), then all others under their own names. What is missing is null.
    named: what the source calls the columns that have another name here
    """

    items: Vocabulary
    frame: pl.DataFrame
    named: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.items)

    def __repr__(self) -> str:
        return f"Catalogue({len(self):,} items: {', '.join(self.fields)})"

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of what is told of items."""
        return tuple(name for name in self.frame.columns if name != "item_id")

    def row(self, item: Id) -> dict[str, Any]:
        """Return all that is told of an item; raises `UnknownId`."""
        return self.frame.row(self.items.code(item, "item"), named=True)

    def without(self, items: Vocabulary) -> Catalogue:
        """Return the catalogue without these items."""
        return self._select(items.recode(self.items) < 0)

    def among(self, items: Vocabulary) -> Catalogue:
        """Return what is told of these items alone."""
        return self._select(items.recode(self.items) >= 0)

    def _select(self, kept: Bools) -> Catalogue:
        rows = np.flatnonzero(kept).astype(np.int32)
        return replace(self, items=self.items.select(rows), frame=self.frame[rows])

    def title(self, item: Id) -> str:
        """Title of an item, or its id as text where there is none."""
        return self.titles([item])[0]

    def titles(self, items: Iterable[Id]) -> list[str]:
        """Titles of items, in this order."""
        asked = listed(items, "items")
        names = column_of(asked, "items").cast(pl.String).to_list()
        if "title" not in self.fields:
            return names
        codes: Ints = self.items.codes(asked)
        found = self.frame["title"].gather(pl.Series(codes).cast(pl.Int64).set(pl.Series(codes) < 0, None))
        return [title or name for title, name in zip(found, names, strict=True)]


def read_catalogue(
    source: object,
    *,
    item: str | None = None,
    title: str | None = None,
    text: str | None = None,
    categories: str | None = None,
    price: str | None = None,
    image: str | None = None,
    audio: str | None = None,
    available: str | None = None,
    ids: str = "auto",
    on_error: str = "raise",
) -> Catalogue:
    """Read what is known of items from the files and frames that `read_log` reads.

    item, title, ...  names of columns that are not known by their usual names; "" reads none
    ids               "text" keeps all ids as strings; "auto" as `read_log` does
    on_error          "raise" stops at the first bad row; "skip" leaves bad rows out and warns

    An item has one row. Of delimited text, other columns are numbers, or true and false, where every value is spelled
    so. Raises `DataError` with the place, value and rule.
    """
    asked = {"item": item, "title": title, "text": text, "categories": categories}
    asked |= {"price": price, "image": image, "audio": audio, "available": available}

    def choose(names: Sequence[str], place: str) -> dict[str, str]:
        found = find_columns(names, asked, CATALOGUE, ["item"], place)
        others = [name for name in names if name not in found.values() and asked.get(name) != ""]
        taken = {*found, "item_id"}.intersection(others)
        if taken:
            raise DataError(f"{place}: column {min(taken)!r} has the name of another role; rename it")
        return found | {name: name for name in others}

    check_ids(ids)
    faults = Faults(on_error, CATALOGUE_RULES, ["item"])
    strings = ids == "text"
    seen: set[str] = set()
    names: dict[str, str] = {}
    typed = set(CATALOGUE_RULES)
    parts = []
    for batch in batches(source, choose):
        values = faults.sift(batch, _converted(batch, seen))
        seen.update(values["item"])
        given = batch.frame["item"]
        strings |= batch.typed and given.count() > 0 and not given.dtype.is_numeric()
        names |= batch.columns
        typed |= {role for role, name in batch.columns.items() if batch.typed or ":token" in name}
        parts.append(values)
    faults.report(place_of(source))
    try:
        frame = pl.concat(parts, how="diagonal_relaxed")
    except pl.exceptions.PolarsError as error:
        raise DataError(f"{place_of(source)}: parts do not fit together: {error}") from error
    items = vocabulary_of(frame["item"], strings=strings)
    columns = [items.ids.alias("item"), *(as_spelled(frame[name]) for name in names if name not in typed)]
    named = {role: name for role, name in names.items() if role != name}
    return Catalogue(items, frame.with_columns(columns).rename({"item": "item_id"}), named)


def _converted(batch: Batch, seen: set[str]) -> pl.DataFrame:
    """Convert the columns of a batch, null where a rule is broken or nothing is told."""
    item = as_id(batch.frame["item"])
    again = ~item.is_first_distinct() | pl.Series([value in seen for value in item], dtype=pl.Boolean)
    values = [item.set(again, None)]
    for role in batch.columns:
        column = batch.frame[role]
        if role == "categories":
            values.append(_as_lists(column, " " if batch.columns[role].endswith(":token_seq") else "|"))
        elif role != "item":
            values.append(CONVERT[role](column) if role in CONVERT else column)
    return pl.DataFrame(values)


def _as_lists(column: pl.Series, separator: str) -> pl.Series:
    """Make lists of strings, of lists, JSON lists, or text to be cut at the separator."""
    if isinstance(column.dtype, pl.List):
        return column.cast(pl.List(pl.String))
    lists = [None if text is None else _parts(text, separator) for text in as_text(column)]
    return pl.Series(column.name, lists, pl.List(pl.String))


def _parts(text: str, separator: str) -> list[str] | None:
    if not text.startswith("["):
        return text.split(separator)
    try:
        parts = [str(part) for part in json.loads(text)]
        "".join(parts).encode()  # JSON can spell half a surrogate pair, which is no Unicode
    except (ValueError, RecursionError):
        return None
    return parts


def _as_truth(column: pl.Series) -> pl.Series:
    if column.dtype == pl.Boolean:
        return column
    said = as_text(column).str.to_lowercase()
    return said.replace_strict(list(WORDS), list(WORDS.values()), default=None, return_dtype=pl.Boolean)


CONVERT = {
    "title": as_text,
    "text": as_text,
    "price": as_weight,
    "image": as_text,
    "audio": as_text,
    "available": _as_truth,
}
