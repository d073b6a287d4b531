"""Items of a store: attributes as JSON, and a counter of changes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from hashlib import blake2b
from typing import Any, NamedTuple, TypeAlias

import polars as pl

from palate.errors import DataError, UnknownId
from palate.store.database import Database, Query
from palate.store.recording import check_text, now
from palate.store.schema import (
    CHANGES,
    Expression,
    Row,
    get_state,
    items,
    next_change,
    sa,
    set_state,
    state,
)

MOST_BYTES = 1 << 18  # of an item's attributes as JSON
MOST_ATTRIBUTES = 128  # of an item
MOST_NAMES = 1000  # of attributes of all items, counted once for each kind of value that they have
MOST_DEPTH = 16  # levels of lists and objects in an attribute
LARGEST = 1 << 1023  # that a float surely holds
STORED = ("attributes", "available", "removed")
FIELDS = ("item_id", "available")  # which are no attributes
SCHEMA = pl.Schema(
    {
        "item_no": pl.Int64,
        "item_id": pl.String,
        "attributes": pl.String,
        "available": pl.Boolean,
        "removed": pl.Boolean,
        "created": pl.Int64,
        "updated": pl.Int64,
        "change": pl.Int64,
    }
)
NOTHING = SCHEMA.to_frame()
Attributes: TypeAlias = Mapping[str, Any]  # of an item or a user: what JSON has, by name


class Item(NamedTuple):
    """An item with its attributes; the store sets `created` and `updated`, microseconds since 1970 UTC."""

    item_id: str
    attributes: Mapping[str, Any] = {}
    available: bool = True
    created: int = 0
    updated: int = 0


class Items:
    """The items of a store. An item that an event names is there with no attributes until it is put."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, many: Iterable[Item]) -> int:
        """Insert items, or replace their attributes; returns the number of new or changed items.

        Raises `DataError` for an id or attributes that cannot be stored, before anything is written.
        """
        checked = {item.item_id: item for item in (check_item(f"item {n}", item) for n, item in enumerate(many))}
        if not checked:
            return 0
        with self._database.writing() as connection:
            return self.write(connection, list(checked.values()))

    def write(self, connection: sa.Connection, many: Sequence[Item]) -> int:
        """Write distinct, checked items within a transaction; returns the number of new or changed items."""
        listed = self._database.listed([item.item_id for item in many])
        chosen = items.c.item_id.in_(self._database.rows("ids", sa.Text()))
        asked = sa.select(items.c.item_id, items.c.attributes, items.c.available, items.c.removed).where(chosen)
        there = {row[0]: tuple(row[1:]) for row in connection.execute(asked, {"ids": listed})}
        given = {item.item_id: (encoded(item.attributes), item.available, False) for item in many}
        changed = {item_id: values for item_id, values in given.items() if not _equal(there.get(item_id), values)}
        if not changed:
            return 0
        before = {item_id: decoded(values[0]) for item_id, values in there.items() if not values[2]}
        _count_names(
            connection, ((before.get(it.item_id, {}), it.attributes) for it in many if it.item_id in changed)
        )
        moment = now()
        common = {"updated": moment, "change": next_change(connection)}
        rows = [
            {"id": item_id, **dict(zip(STORED, values, strict=True)), **common} for item_id, values in changed.items()
        ]
        names: dict[str, Expression] = {name: sa.bindparam(name) for name in (*STORED, *common)}
        old = [row for row in rows if row["id"] in there]
        if old:
            connection.execute(sa.update(items).where(items.c.item_id == sa.bindparam("id")).values(names), old)
        new = [row | {"created": moment} for row in rows if row["id"] not in there]
        if new:
            names |= {"item_id": sa.bindparam("id"), "created": sa.bindparam("created")}
            connection.execute(sa.insert(items).values(names), new)
        return len(changed)

    def patch(self, item_id: str, attributes: Attributes, available: bool | None = None) -> Item:
        """Change some attributes, None removes one; returns the item. Raises `UnknownId`, `DataError`."""
        return self.change(
            item_id,
            lambda old: old._replace(
                attributes=merged(old.attributes, attributes),
                available=old.available if available is None else available,
            ),
        )

    def change(self, item_id: str, changed: Callable[[Item], Item]) -> Item:
        """Replace an item by `changed(item)`, with no other change in between. Raises `UnknownId`, `DataError`."""
        with self._database.writing() as connection:
            row = connection.execute(_chosen.where(items.c.item_id == item_id, ~items.c.removed)).first()
            if row is None:
                raise UnknownId(f"item {item_id!r} is unknown")
            item = check_item("item 0", changed(_item(row)))
            self.write(connection, [item])
            return _item(connection.execute(_chosen.where(items.c.item_id == item_id)).one())

    def remove(self, ids: Iterable[str]) -> int:
        """Remove items: they are no longer recommended, their events stay; returns the number of removed items."""
        gone = self._database.listed(list(ids))
        rows = self._database.rows("ids", sa.Text())
        chosen = items.c.item_id.in_(rows) & ~items.c.removed
        with self._database.writing() as connection:
            stored = connection.scalars(sa.select(items.c.attributes).where(chosen), {"ids": gone})
            _count_names(connection, ((decoded(attributes), {}) for attributes in stored))
            values = {"removed": True, "updated": now(), "change": next_change(connection)}
            return int(connection.execute(sa.update(items).where(chosen).values(values), {"ids": gone}).rowcount)

    def get(self, item_id: str) -> Item | None:
        """Return an item, or None if there is none or it was removed."""
        with self._database.reading() as connection:
            row = connection.execute(_chosen.where(items.c.item_id == item_id, ~items.c.removed)).first()
        return None if row is None else _item(row)

    def removed(self, ids: Iterable[str]) -> set[str]:
        """Return those of the ids that were removed."""
        listed = self._database.listed(list(ids))
        chosen = items.c.item_id.in_(self._database.rows("ids", sa.Text())) & items.c.removed
        with self._database.reading() as connection:
            return set(connection.scalars(sa.select(items.c.item_id).where(chosen), {"ids": listed}))

    def page(self, limit: int = 100, after: str = "") -> list[Item]:
        """Items by id, those after `after`; removed ones left out."""
        asked = _chosen.where(items.c.item_id > after, ~items.c.removed).order_by(items.c.item_id).limit(limit)
        with self._database.reading() as connection:
            return [_item(row) for row in connection.execute(asked)]

    def every(self) -> list[Item]:
        """All items by id, of one moment; removed ones left out."""
        asked = _chosen.where(~items.c.removed).order_by(items.c.item_id)
        with self._database.reading() as connection:
            return [_item(row) for row in connection.execute(asked)]

    def changed(self, since: int = 0) -> tuple[pl.DataFrame, int]:
        """Rows changed after the counter stood at `since`, removed ones too, by number; and where it stands now.

        Columns as in `SCHEMA`; attributes are JSON. What changes meanwhile may come again.
        """
        counter = int(self._counter()[0][0])
        rows = [] if counter == since else self._changed(since=since)
        if not rows:
            return NOTHING, counter
        columns = zip(
            SCHEMA.items(), zip(*rows, strict=True), strict=True
        )  # several times as fast as a frame of rows
        return pl.DataFrame([_series(name, values, dtype) for (name, dtype), values in columns]), counter

    def column_names(self) -> dict[str, str]:
        """Names of attributes by the names that columns of imported files had."""
        found = self._column_names()
        return dict(json.loads(found[0][0])) if found else {}

    def name_columns(self, names: Mapping[str, str]) -> None:
        """Store the attribute of each column of an imported file, so that both names are understood."""
        with self._database.writing() as connection:
            before = _names(connection)
            if {**before, **names} != before:
                set_state(connection, NAMES, json.dumps({**before, **names}, ensure_ascii=False))
                next_change(connection)  # so that readers of items read the names too

    @cached_property
    def _changed(self) -> Query:
        since = sa.bindparam("since", type_=sa.BigInteger)
        number = items.c.item_no + 0  # which is no index: SQLite shall take the one of changes
        asked = sa.select(*(items.c[name] for name in SCHEMA)).where(items.c.change > since).order_by(number)
        return self._database.query(asked)

    @cached_property
    def _counter(self) -> Query:
        return self._database.query(_state(CHANGES))

    @cached_property
    def _column_names(self) -> Query:
        return self._database.query(_state(NAMES))


def _series(name: str, values: Sequence[object], dtype: pl.DataType) -> pl.Series:
    return pl.Series(name, list(map(bool, values)) if dtype == pl.Boolean else values, dtype)  # SQLite has 0 and 1


_chosen = sa.select(items.c.item_id, items.c.attributes, items.c.available, items.c.created, items.c.updated)


IN_USE = "names of attributes"  # in the state of the store: how many items have each, by `_key`
NAMES = "names of columns"  # of imported catalogues, in the state of the store: the attributes that they became


def _state(name: str) -> sa.Select[str]:
    return sa.select(state.c.value).where(state.c.name == sa.literal_column(f"'{name}'"))


def _names(connection: sa.Connection) -> dict[str, str]:
    return dict(json.loads(get_state(connection, NAMES) or "{}"))


def _count_names(connection: sa.Connection, changes: Iterable[tuple[Attributes, Attributes]]) -> None:
    """Count the names of attributes as those of items change, from old to new ones.

    Raises `DataError` for more than `MOST_NAMES` of them.
    """
    change: Counter[str] = Counter()
    for old, new in changes:
        change.update(_parts(new))
        change.subtract(_parts(old))
    changed = {_key(part): part for part, number in change.items() if number}
    if not changed:
        return
    counts = _counts(connection)
    came = [part for key, part in changed.items() if key not in counts]
    counts.update({key: change[part] for key, part in changed.items()})  # which adds
    kept = +counts
    if len(kept) > MOST_NAMES and came:
        rule = f"there can be {MOST_NAMES:,}, each kind of value counted"
        name = min(came).partition(":")[2]
        raise DataError(f"attribute {name!r}: the items have {len(kept):,} different attributes; {rule}")
    set_state(connection, IN_USE, json.dumps(kept))


def _counts(connection: sa.Connection) -> Counter[str]:
    """Return how many items have each attribute; a store of an older version has its items counted, once."""
    known = json.loads(get_state(connection, IN_USE) or "[]")
    if isinstance(known, dict):
        return Counter(known)
    there = connection.scalars(sa.select(items.c.attributes).where(~items.c.removed))
    return Counter(_key(part) for text in there for part in _parts(decoded(text)))


def _key(part: str) -> str:
    """Return what stands for a part, however long its name is."""
    return blake2b(part.encode(), digest_size=8).hexdigest()


def merged(old: Attributes, new: Attributes) -> Attributes:
    """Return the old attributes changed by the new; None removes one."""
    return {name: value for name, value in {**old, **new}.items() if value is not None}


def _item(row: Row) -> Item:
    item_id, attributes, available, created, updated = row
    return Item(item_id, decoded(attributes), available, created, updated)


def _equal(old: tuple[str, bool, bool] | None, new: tuple[str, bool, bool]) -> bool:
    """Whether an item is unchanged; the order of its attributes means nothing."""
    if old is None or old == new:
        return old == new
    return old[1:] == new[1:] and _ordered(old[0]) == _ordered(new[0])


def _ordered(attributes: str) -> str:
    return json.dumps(decoded(attributes), sort_keys=True)


def encoded(attributes: Attributes) -> str:
    """Attributes as they are stored."""
    return json.dumps(attributes, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def kind_of(value: object) -> str:
    """Kind of a value: whole, real, truth, text, list, or object, which numbers beyond all floats are too."""
    if isinstance(value, bool):
        return "truth"
    if isinstance(value, str):
        return "text"
    if isinstance(value, int) and abs(value) < 1 << 63:
        return "whole"
    if isinstance(value, int | float) and abs(value) < LARGEST:
        return "real"
    return "list" if isinstance(value, list) else "object"


def _parts(attributes: Attributes) -> Iterator[str]:
    return (f"{kind_of(value)}:{name}" for name, value in attributes.items() if value is not None)


def decoded(attributes: str) -> Attributes:
    """Attributes that are stored; what an older version stored deeper than `MOST_DEPTH` is its JSON, as text."""
    try:
        found: Attributes = json.loads(attributes)
    except RecursionError:
        return {}
    if attributes.count("[") + attributes.count("{") <= MOST_DEPTH:  # which most have
        return found
    return {name: json.dumps(value) if too_deep(value) else value for name, value in found.items()}


def too_deep(value: object) -> bool:
    """Whether lists and objects stand more than `MOST_DEPTH` deep in one another."""
    level = [value]
    for _ in range(MOST_DEPTH + 1):
        nested = [each for each in level if isinstance(each, (list, tuple, Mapping))]
        level = [part for each in nested for part in (each.values() if isinstance(each, Mapping) else each)]
        if not nested:
            return False
    return True


def check_item(place: str, item: Item) -> Item:
    """Raise `DataError` with the place, the value and the rule it breaks."""
    check_text(place, "item_id", item.item_id)
    if not isinstance(item.available, bool):
        raise DataError(f"{place}: available is {item.available!r}; it must be true or false")
    check_attributes(place, item.attributes)
    for name in FIELDS:
        if name in item.attributes:
            raise DataError(f"{place}: an attribute is named {name!r}, which is a field of its own; rename it")
    return item


def check_attributes(place: str, attributes: Attributes) -> None:
    """Raise `DataError` unless the attributes can be stored."""
    if not isinstance(attributes, Mapping):
        raise DataError(f"{place}: attributes are {attributes!r:.80}; they must be an object of names and values")
    if len(attributes) > MOST_ATTRIBUTES:
        raise DataError(f"{place}: {len(attributes):,} attributes; an item can have {MOST_ATTRIBUTES:,}")
    for name, value in attributes.items():
        check_text(place, "the name of an attribute", name)
        if too_deep(value):
            rule = f"lists and objects may stand {MOST_DEPTH} deep in one another"
            raise DataError(f"{place}: attribute {name!r} is nested too deeply; {rule}")
    try:
        size = len(encoded(attributes).encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise DataError(f"{place}: its attributes cannot be stored as JSON: {error}") from None
    if size > MOST_BYTES:
        raise DataError(f"{place}: its attributes have {size:,} bytes as JSON; there can be {MOST_BYTES:,}")
