"""What a store exports is what it had: read back by an import, and by the readers of logs and catalogues."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from databases import new_database
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from palate.data.catalogue import read_catalogue
from palate.data.readers import read_log
from palate.data.values import LARGEST_WEIGHT
from palate.errors import DataError
from palate.store.events import Event, Store
from palate.store.items import Item
from palate.store.recording import EARLIEST, LATEST
from palate.store.schema import metadata, sa
from palate.store.transfer import (
    export_events,
    export_items,
    export_users,
    import_events,
    import_items,
    import_users,
)
from palate.store.user_profiles import UserProfile

EXPECTED = 1_700_000_000_123_456  # a time that has been
ENDINGS = (".csv", ".jsonl", ".parquet")
Pair = tuple[Store, Store]

ODD = (
    " 007",
    "+5",
    "007",
    "7",
    "NaN",
    "null",
    "1e5",
    'say "x"',
    "a\nb",
    "a\rb",
    "a,b",
    " ",
    "\t",
    "\ufeffx",
    "é",
    "|",
)
texts = st.sampled_from(ODD) | st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=8
)
# Times of any year are drawn; those that stand apart are told of, which tests/test_readers.py has.
pytestmark = pytest.mark.filterwarnings("ignore:.* times are .*the first:palate.errors.DataWarning")
weights = st.none() | st.sampled_from([0.0, 1.0, -1.0, 5e-324, 0.1]) | st.floats(-LARGEST_WEIGHT, LARGEST_WEIGHT)
times = st.sampled_from([EARLIEST, LATEST, 0, -1, EXPECTED]) | st.integers(EARLIEST, LATEST)


@st.composite
def logs(draw: st.DrawFn) -> list[Event]:
    """Events of a few users, so that some are equal but for their ids."""
    users, items, kinds = (draw(st.lists(texts, min_size=1, max_size=3, unique=True)) for _ in range(3))
    event = st.builds(
        Event,
        st.sampled_from(users),
        st.sampled_from(items),
        st.sampled_from(kinds),
        times,
        weights,
        st.none() | texts,
        st.none() | st.dictionaries(texts, st.none() | texts | st.integers() | st.booleans(), max_size=2),
    )
    return draw(st.lists(event, min_size=1, max_size=12, unique_by=lambda each: each.event_id or object()))


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["", "2020-01-01", "true", "5", "A|B", "[1]", "null", -5, -0.0, 2, 2.0]) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)  # fmt: skip
NAMES = (
    *("item", "name", "genre", "genres", "labels", "productName", "product_name", "price", "title", "categories"),
    *("image", "attributes", "time", "weight", "user", "Title", "tags:token_seq", "x", "*", "^x$", 'a"b', "a,b"),
)
alike = [st.integers(-9, 9), st.floats(-9, 9), st.booleans(), texts, st.lists(texts, max_size=3)]


@st.composite
def catalogues(draw: st.DrawFn) -> list[Item]:
    """Items with attributes of any kind, or all of one kind as shops have them."""
    names = draw(st.lists(st.sampled_from(NAMES) | texts, max_size=4, unique=True))
    kinds = {name: draw(st.sampled_from([values, *alike])) for name in names if name not in ("item_id", "available")}
    told = st.fixed_dictionaries({}, optional=kinds)
    return draw(
        st.lists(st.builds(Item, texts, told, st.booleans()), min_size=1, max_size=5, unique_by=lambda each: each[0])
    )


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Two stores, to be emptied by each test."""
    with ExitStack() as opened:
        folder = tmp_path_factory.mktemp("pair")
        one, other = (opened.enter_context(Store.open(new_database(request.param, folder))) for _ in range(2))
        yield one, other


def emptied(*stores: Store) -> None:
    for store in stores:
        with store.database.writing() as connection:
            for table in ("events", "users", "items", "event_types", "contexts"):
                connection.execute(sa.delete(metadata.tables[table]))


def told(store: Store) -> Counter[tuple[Any, ...]]:
    """All events, counted, but for their seq."""
    return Counter(tuple(event[1:]) for user in store.users() for event in store.events(user))


def catalogue(store: Store) -> list[tuple[Any, ...]]:
    return [(item.item_id, repr(sorted(item.attributes.items())), item.available) for item in store.items.page()]


@pytest.mark.parametrize("ending", ENDINGS)
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(many=logs())
def test_events_come_back_as_they_were(pair: Pair, tmp_path: Path, ending: str, many: list[Event]) -> None:
    store, other = pair
    emptied(*pair)
    store.append(many)
    out = tmp_path / f"events{ending}"
    assert export_events(store, out) == len(many)
    assert import_events(other, out) == len(many)
    assert told(other) == told(store)
    assert import_events(other, out) == 0
    assert import_events(store, out) == 0
    log = read_log(out).to_frame().cast({"user_id": str, "item_id": str})
    if any(event.time is None or event.time > EXPECTED for event in many):  # the store learns them as of now
        log = log.drop("timestamp")
    expected = store.log().to_frame().select(log.columns)
    if all(event.weight is None or abs(np.float32(event.weight)) < np.inf for event in many):
        assert Counter(log.rows()) == Counter(expected.rows())


@pytest.mark.parametrize("ending", ENDINGS)
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(many=catalogues())
def test_items_come_back_as_they_were(pair: Pair, tmp_path: Path, ending: str, many: list[Item]) -> None:
    store, other = pair
    emptied(*pair)
    store.items.put(many)
    out = tmp_path / f"items{ending}"
    assert export_items(store, out) == len(many)
    assert import_items(other, out) == len(many)
    assert catalogue(other) == catalogue(store)
    assert import_items(store, out) == 0
    assert len(read_catalogue(out)) == len(many)


@st.composite
def profiles(draw: st.DrawFn) -> list[UserProfile]:
    """Users with attributes of any kind, or all of one kind; some have none."""
    names = draw(
        st.lists(st.sampled_from([*NAMES, "user_id", "userId", "available"]) | texts, max_size=4, unique=True)
    )
    kinds = {name: draw(st.sampled_from([values, *alike])) for name in names}
    user = st.builds(UserProfile, texts, st.fixed_dictionaries({}, optional=kinds))
    return draw(st.lists(user, min_size=1, max_size=5, unique_by=lambda each: each[0]))


def users(store: Store) -> list[tuple[str, str]]:
    return [(user.user_id, repr(sorted(user.attributes.items()))) for user in store.profiles.page()]


@pytest.mark.parametrize("ending", ENDINGS)
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(many=profiles())
def test_users_come_back_as_they_were(pair: Pair, tmp_path: Path, ending: str, many: list[UserProfile]) -> None:
    store, other = pair
    emptied(*pair)
    store.profiles.put(many)
    out = tmp_path / f"users{ending}"
    assert export_users(store, out) == len(many)
    assert import_users(other, out) == (len(many), 0)
    assert users(other) == users(store)
    assert import_users(store, out) == (0, 0)


def test_users_of_any_file_are_imported_all_or_none(pair: Pair, tmp_path: Path) -> None:
    store, _ = pair
    emptied(*pair)
    file = tmp_path / "customers.csv"
    file.write_text("age,customer_id,city\n40,ann,Rome\n,bob,\n7,007,5\n")
    assert import_users(store, file) == (3, 0)
    found = {user.user_id: user.attributes for user in store.profiles.page()}
    assert found == {"ann": {"age": 40, "city": "Rome"}, "bob": {}, "007": {"age": 7, "city": "5"}}
    file.write_text(f"user_id,city\ncem,Oslo\ndan,{'x' * 300_000}\n")
    with pytest.raises(DataError, match=r"row 2 of customers\.csv: its attributes have 300,011 bytes"):
        import_users(store, file)
    file.write_text("user_id,city\ncem,Oslo\ncem,Bonn\n")
    with pytest.raises(DataError, match=r"row 2 of customers\.csv: user 'cem' is on row 1 already"):
        import_users(store, file)
    assert len(store.profiles.page()) == 3
    store.forget("ann")
    file.write_text("user_id,city\nann,Oslo\ncem,Bonn\n")
    assert import_users(store, file) == (1, 1)
    assert store.profiles.get("ann") is None
    assert import_users(store, file, bring_back=True) == (1, 0)
    assert store.profiles.get("ann") == UserProfile("ann", {"city": "Oslo"})
