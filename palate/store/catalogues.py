"""Items in files: laid out in columns for an export, read for an import; JSON keeps what columns cannot hold."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime, time
from typing import Any, NamedTuple, TypeAlias

import polars as pl

from palate.data.batch import Batch, Choose
from palate.data.catalogue import CATALOGUE_RULES, read_catalogue
from palate.data.columns import CATALOGUE, plain, untyped
from palate.data.faults import Faults
from palate.data.sources import batches, place_of
from palate.data.values import as_text, as_truth
from palate.errors import DataError
from palate.store.exported import NoExport, Reading
from palate.store.items import Attributes, Item, encoded

# Columns of an export. The last holds, as a JSON object, the attributes that their columns do not give back exactly.
ITEM, AVAILABLE, EXACT = "item_id", "available", "attributes"
FIXED = ("item", "available")  # roles that become no attributes
EXACT_RULE = {EXACT: "attributes must be a JSON object"}
EXPORT_RULES = CATALOGUE_RULES | EXACT_RULE
ROLES = {"item": ITEM, AVAILABLE: AVAILABLE, EXACT: EXACT}
PATTERN = re.compile(r"\*|\^.*\$").fullmatch  # names that polars takes for a pattern of names
OWN = "attribute "  # begins the role of a column that is no other
Cells: TypeAlias = list[Any]  # of a column


def frame_of(items: Sequence[Item], *, spelled: bool) -> pl.DataFrame:
    """Lay items out in columns, as `export_items` says; `spelled` is for files that have nothing but text."""
    ids = pl.Series(ITEM, [item.item_id for item in items], pl.String)
    available = pl.Series(AVAILABLE, [item.available for item in items], pl.Boolean)
    return laid_out(ids, [item.attributes for item in items], spelled, _readable).insert_column(1, available)


def laid_out(
    ids: pl.Series,
    attributes: Sequence[Attributes],
    spelled: bool,
    readable: Callable[[pl.DataFrame], pl.DataFrame] = lambda frame: frame,
) -> pl.DataFrame:
    """Lay attributes out beside the ids: a column for each that is `readable`, and JSON for the rest."""
    names = dict.fromkeys(name for each in attributes for name in each)
    columns = {name: _column(name, [each.get(name) for each in attributes], spelled) for name in names}
    taken = (EXACT, ids.name)
    kept = [c for name, c in columns.items() if name not in taken and name.isprintable() and not PATTERN(name)]
    frame = readable(pl.DataFrame([ids, *kept]))
    back = {name: _meant(frame[name].to_list(), spelled) for name in frame.columns if name != ids.name}
    exact = [
        _not_given(each, {name: values[n] for name, values in back.items()}) for n, each in enumerate(attributes)
    ]
    return frame.with_columns(pl.Series(EXACT, exact, pl.String))


def _column(name: str, values: Cells, spelled: bool) -> pl.Series:
    """Values of an attribute, as text unless all are of one kind."""
    kinds = {type(value) for value in values if value is not None}
    if not spelled and kinds == {list} and all(isinstance(each, str) for value in values if value for each in value):
        return pl.Series(name, values, pl.List(pl.String))
    for allowed, dtype in (({bool}, pl.Boolean), ({int}, pl.Int64), ({int, float}, pl.Float64)):
        if kinds <= allowed and all(abs(value or 0) < 1 << 63 for value in values):
            return pl.Series(name, values, dtype, strict=False)
    return pl.Series(name, [_json(value) for value in values], pl.String)


def _json(value: object) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _readable(frame: pl.DataFrame) -> pl.DataFrame:
    """Leave out the columns that `read_catalogue` would take for a role and refuse."""
    aliases = {alias for known in CATALOGUE.values() for alias in known}
    left: list[str] = []
    for name in frame.columns[1:]:
        if plain(name) in aliases:
            try:
                read_catalogue(frame[[ITEM, *left, name]])
            except DataError:
                continue
            left.append(name)
    return frame[[name for name in frame.columns if plain(name) not in aliases or name in {ITEM, *left}]]


def _not_given(attributes: Attributes, back: Attributes) -> str | None:
    """Return the attributes that the columns do not give back, as JSON."""
    exact = {name: value for name, value in attributes.items() if not _same(value, back.get(name))}
    return encoded(exact) if exact else None


def _same(value: object, other: object) -> bool:
    if isinstance(value, list):
        return value == other and all(value)
    return value is not None and type(value) is type(other) and value == other and value != ""


def _meant(cells: Cells, spelled: bool) -> Cells:
    """Return what the cells of a column mean: in a file of text they are JSON, unless one of them is not."""
    if not spelled:
        return cells
    try:
        return [json.loads(cell, parse_constant=_refuse) if isinstance(cell, str) else cell for cell in cells]
    except (ValueError, RecursionError):
        return cells


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


class ReadItems(NamedTuple):
    """A function that yields the items of a file from the start; and the attribute of each renamed column."""

    items: Callable[[], Iterator[Item]]
    names: Mapping[str, str] = {}


def read_items(source: object, reading: Reading) -> ReadItems:
    """Read what `read_catalogue` reads, or an export of a store."""
    try:
        if reading.keys() - {"on_error"}:
            raise NoExport
        return ReadItems(_read_export(source, reading.get("on_error", "raise")))
    except NoExport:
        read = read_catalogue(source, **reading)
        frame = read.frame.with_columns(pl.col(ITEM).cast(pl.String))
        # As short as they can be: 9.99, not 9.989999771118164.
        frame = frame.with_columns(pl.col(pl.Float32).cast(pl.String).cast(pl.Float64))
        own = {role: name for role, name in read.named.items() if role not in FIXED}
        names = {name: role for role, full in own.items() for name in (full, untyped(full))}
        return ReadItems(lambda: map(_item, frame.iter_rows(named=True)), names)


def _item(row: dict[str, Any]) -> Item:
    available = row.pop(AVAILABLE, None)
    item_id = row.pop(ITEM)
    values = {name: _plain(value) for name, value in row.items()}
    attributes = {name: value for name, value in values.items() if value is not None}
    return Item(item_id, attributes, available is not False)


def _plain(value: object) -> object:
    """Turn a value into what JSON has: dates and the like are text, nan and infinity are None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, (date, datetime, time)):
        return value.isoformat()
    return value if value is None or isinstance(value, (str, int)) else str(value)


def _read_export(source: object, on_error: str) -> Callable[[], Iterator[Item]]:
    """Read an export; raises `NoExport` for what is none."""
    columns, given = read_attributes(
        source, "item", _export_columns, Faults(on_error, EXPORT_RULES, ["item"], once="item")
    )

    def items() -> Iterator[Item]:
        for item_id, available, attributes in zip(columns["item"], columns[AVAILABLE], given(), strict=True):
            yield Item(item_id, attributes, available is not False)

    return items


def read_attributes(
    source: object, role: str, choose: Choose, faults: Faults
) -> tuple[dict[str, Cells], Callable[[], Iterator[Attributes]]]:
    """Read a file with attributes beside the ids in `role`: its columns by role, and the attributes of each row.

    choose  gives columns that are attributes roles which begin with `OWN`
    """
    columns: dict[str, Cells] = {}
    spelled = False
    for batch in batches(source, choose):
        values = faults.sift(batch, _converted(batch, role))
        spelled |= not batch.typed
        for name, column in values.to_dict().items():
            columns.setdefault(name, []).extend(column.to_list())
    faults.report(place_of(source))
    given = {name.removeprefix(OWN): _meant(columns[name], spelled) for name in columns if name.startswith(OWN)}

    def rows() -> Iterator[Attributes]:
        for n in range(len(columns.get(role, ()))):
            exact = columns[EXACT][n] if EXACT in columns else None
            own = {name: values[n] for name, values in given.items() if values[n] is not None}
            yield own | json.loads(exact or "{}")

    return columns, rows


def _export_columns(names: Sequence[str], _: str) -> dict[str, str]:
    if [*names[:2], *names[-1:]] != [ITEM, AVAILABLE, EXACT]:
        raise NoExport
    return ROLES | {OWN + name: name for name in names[2:-1]}


def _converted(batch: Batch, role: str) -> pl.DataFrame:
    """Convert a batch, null where a rule is broken."""
    columns = [as_text(batch.frame[role])]
    if AVAILABLE in batch.frame.columns:
        columns.append(as_truth(batch.frame[AVAILABLE]))
    if EXACT in batch.frame.columns:
        exact = as_text(batch.frame[EXACT])
        wrong = ~pl.Series([text is None or _is_object(text) for text in exact], dtype=pl.Boolean)
        columns.append(exact.set(wrong, None))
    return batch.frame.with_columns(columns)


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False
