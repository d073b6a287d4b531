"""The catalogue: the attributes of the items."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import polars as pl

from palate.arrays import Bools, Ints
from palate.data.batch import FILLED, Batch
from palate.data.categories import as_categories
from palate.data.coder import vocabulary_of
from palate.data.columns import CATALOGUE, find_columns, plain
from palate.data.dialects import Form
from palate.data.faults import Faults, warn_of_form
from palate.data.ids import as_id, check_ids, column_of, listed
from palate.data.kinds import joined, writable
from palate.data.sources import batches, place_of
from palate.data.values import RULES, as_amount, as_lines, as_spelled, as_text, as_truth, has_strings, with_point
from palate.data.vocabulary import Id, Vocabulary
from palate.errors import DataError

CATALOGUE_RULES = {
    "item": RULES["item"],
    "title": "titles must be text",
    "text": "texts must be text, or lists of text",
    "categories": "categories must be text like A|B, or a list of texts, or of objects with a name; in JSON too",
    "price": "prices must be finite numbers, 0 or more",
    "image": "an image must be a path or an address",
    "audio": "an audio file must be a path or an address",
    "available": "must be true or false, yes or no, 1 or 0, in stock or out of stock",
}


@dataclass(frozen=True, eq=False)
class Catalogue:
    """I items; row i of `frame` has the attributes of item i of `items`.

    frame (I, ...): column item_id, then those found of title, text, image, audio (strings), categories (lists of
    strings), price (float32) and available (boolean), then all others under their own names. A missing value is null.
    named: the source's names of columns that have another name here; skipped: rows left out, by reason
    """

    items: Vocabulary
    frame: pl.DataFrame
    named: Mapping[str, str] = field(default_factory=dict)
    skipped: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.items)

    def __repr__(self) -> str:
        return f"Catalogue({len(self):,} items: {', '.join(self.fields)})"

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the attributes."""
        return tuple(name for name in self.frame.columns if name != "item_id")

    @property
    def unavailable(self) -> pl.Series:
        """Ids of the items that are said not to be available, for `exclude=`."""
        if "available" not in self.fields:
            return self.items.ids.clear()
        return self.items.ids.filter(~self.frame["available"].fill_null(True))

    def row(self, item: Id) -> dict[str, Any]:
        """Return all attributes of an item; raises `UnknownId`."""
        return self.frame.row(self.items.code(item, "item"), named=True)

    def column(self, name: str) -> str | None:
        """Find a field by its name here or in the source, or by any usual name of its role: `genres`, `tags`."""
        if name in self.fields:
            return name
        called = [role for role, own in self.named.items() if own == name and role in self.fields]
        usual = [role for role, known in CATALOGUE.items() if plain(name) in known and role in self.fields]
        return next(iter(called + usual), None)

    def values(self, field: str, items: Vocabulary) -> pl.Series:
        """Values of a field for items (N,), null for one that is not here."""
        row = pl.Series(self.items.recode(items), dtype=pl.Int64)
        return self.frame[field].gather(row.set(row < 0, None))

    def without(self, items: Vocabulary) -> Catalogue:
        """Return the catalogue without these items."""
        return self._select(items.recode(self.items) < 0)

    def among(self, items: Vocabulary) -> Catalogue:
        """Return the catalogue with these items only."""
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
    separator: str | None = None,
    decimal: str | None = None,
    encoding: str | None = None,
    header: str = "first",
    on_error: str = "raise",
) -> Catalogue:
    """Read items and their attributes from the files and frames that `read_log` reads.

    item, title, ...  names of columns with other than the usual names; "" reads none
    ids               "text" keeps all ids as strings; "auto" as `read_log` does
    separator, decimal, encoding, header
                      of delimited text, as `read_log` has them; without a header the name of a column is its number
    on_error          "raise" stops at the first bad row; "skip" leaves bad rows out, counts them in
                      `catalogue.skipped` and warns

    An item has one row. In delimited text, a further column has numbers or booleans if all its values are spelled so.
    Each value is checked by itself. Raises `DataError` with the place, value and rule.
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
    written = Form.of(separator, decimal, encoding, header)
    faults = Faults(on_error, CATALOGUE_RULES, ["item"], once="item")
    strings = ids == "text"
    names: dict[str, str] = {}
    typed = set(CATALOGUE_RULES)
    parts = []
    form: dict[str, None] = {}
    for batch in batches(source, choose, written):
        form |= dict.fromkeys(batch.form)
        parts.append(faults.sift(batch, _converted(batch)))
        strings |= batch.typed and has_strings(batch.frame["item"])
        names |= batch.columns
        typed |= {role for role, name in batch.columns.items() if batch.typed or ":token" in name}
    skipped = faults.report(place_of(source))
    warn_of_form(place_of(source), form)
    frame = pl.DataFrame([joined([_part(part, role) for part in parts]) for role in names]).with_columns(FILLED)
    items = vocabulary_of(frame["item"], strings=strings)
    columns = [items.ids.alias("item"), *(as_spelled(frame[name]) for name in names if name not in typed)]
    named = {role: name for role, name in names.items() if role != name}
    return Catalogue(items, frame.with_columns(columns).rename({"item": "item_id"}), named, skipped)


def as_catalogue(source: object) -> Catalogue | None:
    """Return a catalogue, or None, as it is, and what `read_catalogue` reads of anything else."""
    return source if source is None or isinstance(source, Catalogue) else read_catalogue(source)


def _converted(batch: Batch) -> pl.DataFrame:
    """Convert the columns of a batch, null where a rule is broken or a value is missing."""
    separator = " " if batch.columns.get("categories", "").endswith(":token_seq") else "|"
    convert = CONVERT | {"categories": partial(as_categories, separator=separator)}
    if batch.comma:
        convert["price"] = lambda column: as_amount(with_point(column))
    return pl.DataFrame([convert.get(role, writable)(batch.frame[role]) for role in batch.columns])


def _part(part: pl.DataFrame, role: str) -> pl.Series:
    """Return a column of a part, nulls where it has none."""
    return part[role] if role in part.columns else pl.Series(role, [None] * len(part), pl.Null)


CONVERT: dict[str, Callable[[pl.Series], pl.Series]] = {
    "item": as_id,
    "title": as_lines,
    "text": as_lines,
    "price": as_amount,
    "image": as_text,
    "audio": as_text,
    "available": as_truth,
}
