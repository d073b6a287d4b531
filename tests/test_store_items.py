from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from databases import url

from palate.errors import DataError, UnknownId
from palate.live.catalogue import LiveCatalogue
from palate.store.events import Event, Store
from palate.store.items import IN_USE, SCHEMA, Item
from palate.store.schema import items, sa, state

__all__ = ["url"]


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with Store.open(url) as opened:
        yield opened


ODD = {
    "title": "Ünïcode '\"\0",
    "price": 9.99,
    "tags": ["a", "b"],
    "deep": {"x": [1, None]},
    "adult": False,
    "n": 2**60,
}


def test_items_come_back_as_they_were_put(store: Store) -> None:
    assert store.items.put([Item("a", ODD), Item("b", {"title": "B"}, available=False)]) == 2
    found = store.items.get("a")
    assert found is not None
    assert (found.attributes, found.available) == (ODD, True)
    assert found.created == found.updated > 1_700_000_000_000_000
    assert store.items.get("b")[:3] == ("b", {"title": "B"}, False)  # type: ignore[index]
    assert store.items.get("c") is None


def test_to_put_an_item_again_replaces_it(store: Store) -> None:
    store.items.put([Item("a", {"title": "A", "price": 1})])
    first = store.items.get("a")
    assert store.items.put([Item("a", {"title": "A2"}), Item("c")]) == 2
    found = store.items.get("a")
    assert found is not None
    assert first is not None
    assert found.attributes == {"title": "A2"}
    assert found.created == first.created
    assert found.updated > first.updated
    assert store.items.put([Item("d", {"n": 1}), Item("d", {"n": 2})]) == 1
    assert store.items.get("d").attributes == {"n": 2}  # type: ignore[union-attr]


def test_what_is_there_already_changes_nothing(store: Store) -> None:
    store.items.put([Item("a", ODD)])
    counter = store.items.changed()[1]
    assert store.items.put([Item("a", ODD)]) == 0
    assert store.items.changed(counter)[1] == counter


def test_a_patch_changes_some_attributes(store: Store) -> None:
    store.items.put([Item("a", {"title": "A", "price": 1})])
    assert store.items.patch("a", {"price": None, "new": [1]}).attributes == {"title": "A", "new": [1]}
    assert store.items.patch("a", {}, available=False)[1:3] == ({"title": "A", "new": [1]}, False)
    assert store.items.patch("a", {"title": "B"}).available is False
    with pytest.raises(UnknownId, match="item 'z' is unknown"):
        store.items.patch("z", {})


def test_a_removed_item_keeps_its_events_and_can_return(store: Store) -> None:
    store.items.put([Item("a", {"title": "A"}), Item("b")])
    store.append([Event("ann", "a", "view", 1)])
    assert store.items.remove(["a", "zzz", "a"]) == 1
    assert store.items.remove(["a"]) == 0
    assert store.items.get("a") is None
    assert [item.item_id for item in store.items.page()] == ["b"]
    assert store.counts() == (1, 1, 1)
    store.append([Event("ann", "a", "view", 2)])
    assert store.items.get("a") is None, "an event does not bring it back"
    assert len(store.history("ann")) == 2
    store.items.put([Item("a", {"title": "A"})])
    assert store.items.get("a") is not None
    store.items.remove(["b"])
    with pytest.raises(UnknownId):
        store.items.patch("b", {})


def test_pages_are_by_id(store: Store) -> None:
    store.items.put([Item(name) for name in ("c", "B", "a", "é", "d")])
    assert [item.item_id for item in store.items.page(limit=3)] == ["B", "a", "c"]
    assert [item.item_id for item in store.items.page(after="c")] == ["d", "é"]


def test_changes_since_a_counter(store: Store) -> None:
    nothing, zero = store.items.changed()
    assert (len(nothing), zero, nothing.schema) == (0, 0, SCHEMA)
    store.items.put([Item("a", {"n": 1}), Item("b"), Item("c")])
    frame, counter = store.items.changed(zero)
    assert frame.schema == SCHEMA
    assert frame["item_id"].to_list() == ["a", "b", "c"]
    assert json.loads(frame["attributes"][0]) == {"n": 1}
    assert frame["item_no"].to_list() == [1, 2, 3]
    store.items.remove(["b"])
    store.items.patch("c", {"n": 2})
    store.append([Event("ann", "new", "view", 0), Event("ann", "a", "view", 0)])
    frame, later = store.items.changed(counter)
    assert frame["item_id"].to_list() == ["b", "c", "new"]
    assert frame["removed"].to_list() == [True, False, False]
    assert store.items.changed(later)[0].is_empty()
    store.append([Event("ann", "new", "view", 0)])
    assert store.items.changed(later)[1] == later, "an event on a known item changes no item"


def nested(levels: int) -> Any:
    value: Any = []
    for n in range(levels - 1):
        value = [value] if n % 2 else {"a": value}
    return value


def wide(n: int, value: Any = 1) -> Item:
    return Item(f"wide{n}", {f"n{n}-{m}": value for m in range(100)})


def test_names_of_attributes_are_bounded_and_those_out_of_use_are_free(store: Store) -> None:
    assert store.items.put(wide(n) for n in range(10)) == 10
    with pytest.raises(DataError, match="attribute 'n10-0': the items have 1,100 different attributes; there can be"):
        store.items.put([wide(10)])
    with pytest.raises(DataError, match="attribute 'n0-0'"):
        store.items.put([wide(0, "another kind"), wide(10)])
    assert store.items.put([wide(0, 2), Item("x", {"n1-5": 3, "gone": None})]) == 2
    store.items.remove(["wide1"])
    with pytest.raises(DataError, match="1,001 different"):
        store.items.put([wide(10)])
    store.items.patch("x", {"n1-5": None})
    assert store.items.put([wide(10)]) == 1
    with pytest.raises(DataError, match="'n1-0'"):
        store.items.put([wide(1)])
    store.items.put([wide(10, "another kind")])
    store.items.remove(["wide2", "wide2", "nothing"])
    store.items.remove(["wide2"])
    assert store.items.put([wide(1)]) == 1
    with pytest.raises(DataError, match="1,100 different"):
        store.items.put([wide(2)])


def test_names_of_a_store_that_did_not_count_them_are_counted(store: Store) -> None:
    store.items.put(wide(n) for n in range(10))
    store.items.remove(["wide0"])
    with store.database.writing() as connection:
        connection.execute(sa.update(state).where(state.c.name == IN_USE).values(value='["whole:n0-0"]'))
    assert store.items.put([wide(0)]) == 1
    with pytest.raises(DataError, match="1,100 different"):
        store.items.put([wide(10)])


def test_what_an_older_version_stored_too_deep_is_read_as_text(store: Store) -> None:
    deep = json.dumps({"a": nested(300), "b": nested(16), "c": 2**70})
    store.items.put([Item("x")])
    with store.database.writing() as connection:
        connection.execute(sa.update(items).values(attributes=deep))
    found = store.items.get("x")
    assert found is not None
    assert found.attributes == {"a": json.dumps(nested(300)), "b": nested(16), "c": 2**70}
    assert LiveCatalogue.load(store).mask("c > 5 AND a LIKE '{%' AND b IS NOT NULL").tolist() == [True]


@pytest.mark.parametrize(
    ("item", "fault"),
    [
        (Item(""), "item 1: item_id is ''"),
        (Item("x", {"item_id": "y"}), "item 1: an attribute is named 'item_id', which is a field of its own"),
        (Item("x", {"available": True}), "an attribute is named 'available'"),
        (Item("x", {"": 1}), "item 1: the name of an attribute is ''"),
        (Item("x", {1: 1}), "the name of an attribute is 1"),  # type: ignore[dict-item]
        (Item("x", {"n": float("nan")}), "item 1: its attributes cannot be stored as JSON"),
        (Item("x", {"n": object()}), "cannot be stored as JSON"),
        (Item("x", {"n": "\ud800"}), "cannot be stored as JSON"),
        (
            Item("x", {"n": "y" * (1 << 18)}),
            "item 1: its attributes have 262,152 bytes as JSON; there can be 262,144",
        ),
        (Item("x", {"n": nested(17)}), "attribute 'n' is nested too deeply; lists and objects may stand 16 deep"),
        (Item("x", {"n": nested(100_000)}), "nested too deeply"),
        (Item("x", {"n": 10**5000}), "cannot be stored as JSON"),
        (Item("x", {f"n{n}": n for n in range(129)}), "item 1: 129 attributes; an item can have 128"),
        (Item("x", [1]), r"item 1: attributes are \[1\]; they must be an object"),  # type: ignore[arg-type]
        (Item("x", {}, available=1), "item 1: available is 1; it must be true or false"),  # type: ignore[arg-type]
    ],
)
def test_a_bad_item_is_refused_with_all_that_came_with_it(tmp_path: Any, item: Item, fault: str) -> None:
    with Store.open(tmp_path / "s.db") as store:
        with pytest.raises(DataError, match=fault):
            store.items.put([Item("good"), item])
        assert store.items.page() == []


def test_more_items_than_a_statement_has_parameters(store: Store) -> None:
    assert store.items.put(Item(f"i{n:05}", {"n": n}) for n in range(40_000)) == 40_000
    assert store.items.put(Item(f"i{n:05}", {"n": n // 2 * 2}) for n in range(40_000)) == 20_000
