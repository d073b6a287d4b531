from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from palate.errors import ConditionError, SettingError
from palate.live import catalogue
from palate.live.catalogue import LiveCatalogue
from palate.store.events import Event, Store
from palate.store.items import Item

MOVIES = [
    Item("alien", {"title": "Alien", "price": 9.5, "year": 1979, "genres": ["Horror", "Sci-Fi"], "adult": True}),
    Item("brazil", {"title": "Brazil", "price": 20, "year": 1985, "genres": ["Comedy", "Sci-Fi"]}),
    Item("cube", {"title": "Cube", "genres": [], "adult": False}, available=False),
    Item("dune", {"title": "Dune", "price": 12.0, "year": 2021, "genres": ["Sci-Fi", "Sci-Fi"], "adult": False}),
]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "shop.db") as opened:
        yield opened


def test_items_stand_by_number_with_typed_attributes(store: Store) -> None:
    store.items.put(MOVIES)
    live = LiveCatalogue.load(store)
    assert live.ids.to_list() == ["alien", "brazil", "cube", "dune"]
    assert live.available.tolist() == [True, True, False, True]
    assert (np.diff(live.numbers) > 0).all()
    assert (live.created > 1_600_000_000_000_000).all()
    assert [live.ids[int(live.position_of[number])] for number in live.numbers] == live.ids.to_list()
    assert live.position_of[0] == -1
    assert live.frame.schema == {
        "item_id": pl.String,
        "available": pl.Boolean,
        "adult": pl.Boolean,
        "genres": pl.List(pl.String),
        "price": pl.Float64,
        "title": pl.String,
        "year": pl.Int64,
    }
    assert live.frame["price"].to_list() == [9.5, 20.0, None, 12.0]
    assert live.frame["genres"].to_list()[2] == []


def column(store: Store, values: list[Any]) -> pl.Series:
    """The column of an attribute with these values."""
    told: list[dict[str, Any]] = [{"x": value} for value in values]
    store.items.put(Item(str(n), attributes) for n, attributes in enumerate(told))
    return LiveCatalogue.load(store).frame["x"]


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        ([1, -2, None], pl.Int64, [1, -2, None]),
        ([1, 2.5], pl.Float64, [1.0, 2.5]),
        ([2**63, 1], pl.Float64, [2.0**63, 1.0]),
        (["5", "07"], pl.String, ["5", "07"]),
        (["5", 5, 2.5, True], pl.String, ["5", "5", "2.5", "true"]),
        ([True, False], pl.Boolean, [True, False]),
        ([["a"], [], None], pl.List(pl.String), [["a"], [], None]),
        ([["a", None, 1, {"b": [2]}]], pl.List(pl.String), [["a", "1", '{"b":[2]}']]),
        (["a", ['"b"', "é"], []], pl.String, ["a", r'["\"b\"","é"]', "[]"]),
        ([{"a": "é"}, None], pl.String, ['{"a":"é"}', None]),
        ([10**400, 1], pl.String, [str(10**400), "1"]),
    ],
)
def test_types_follow_the_values(store: Store, values: list[Any], dtype: Any, expected: list[Any]) -> None:
    found = column(store, values)
    assert found.dtype == dtype
    assert found.to_list() == expected


def test_an_item_that_only_an_event_names_is_there(store: Store) -> None:
    store.append([Event("ann", "new", "view", 1)])
    live = LiveCatalogue.load(store)
    assert live.ids.to_list() == ["new"]
    assert live.available.tolist() == [True]
    assert live.mask("item_id = 'new' AND available").tolist() == [True]


def test_an_empty_store_gives_an_empty_catalogue(store: Store) -> None:
    live = LiveCatalogue.load(store)
    assert len(live) == len(live.ids) == len(live.position_of) == len(live.mask("TRUE")) == 0
    assert live.values("item_id").start.tolist() == [0]


def test_refreshing_reads_what_changed_and_leaves_the_old_catalogue(store: Store) -> None:
    store.items.put(MOVIES)
    old = LiveCatalogue.load(store)
    assert old.refreshed(store) is old
    cheap = old.mask("price < 10")
    store.items.put([Item("eraserhead", {"price": 3.0, "colour": "grey"})])
    store.items.patch("brazil", {"price": 5})
    store.items.remove(["alien"])
    new = old.refreshed(store)
    assert new.change > old.change
    assert new.refreshed(store) is new
    assert new.ids.to_list() == ["alien", "brazil", "cube", "dune", "eraserhead"]
    assert new.available.tolist() == [False, True, False, True, True]
    assert new.mask("price < 10").tolist() == [True, True, False, False, True]
    assert new.frame["colour"].to_list() == [None] * 4 + ["grey"]
    assert (old.numbers == new.numbers[:4]).all()
    assert old.ids.to_list() == [movie.item_id for movie in MOVIES]
    assert old.mask("price < 10") is cheap
    assert "colour" not in old.frame.columns
    store.items.remove(["nothing of this id"])
    assert new.refreshed(store).frame.equals(new.frame)
    store.items.put([MOVIES[0]])
    assert new.refreshed(store).available.tolist() == [True, True, False, True, True]


def test_a_bad_value_spoils_a_column_only_while_it_is_there(store: Store) -> None:
    store.items.put(MOVIES)
    good = LiveCatalogue.load(store)
    store.items.patch("dune", {"price": "ask"})
    bad = good.refreshed(store)
    assert bad.frame["price"].to_list() == ["9.5", "20", None, "ask"]
    with pytest.raises(ConditionError, match=r"10 \(a number\) cannot be compared with price \(text\)"):
        bad.mask("price < 10")
    store.items.patch("dune", {"price": 1})
    assert bad.refreshed(store).mask("price < 10").tolist() == [True, False, False, True]


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([0.5, 1e300, 2**70]),
    st.sampled_from(["", "a", "[]", "é\x00"]),
    st.lists(st.sampled_from(["a", "b", 1]), max_size=2),
    st.just({"k": [1]}),
)
ATTRIBUTES = st.dictionaries(st.sampled_from(["x", "y", "whole:x", "*"]), VALUES, max_size=3)
CHANGES = st.lists(
    st.tuples(st.sampled_from("abcdefghijkl"), ATTRIBUTES, st.booleans(), st.booleans()), min_size=1, max_size=12
)


@pytest.mark.parametrize("most_runs", [0, 256])
@settings(max_examples=25, deadline=None)
@given(rounds=st.lists(CHANGES, min_size=1, max_size=4))
def test_refreshing_gives_what_loading_gives(most_runs: int, rounds: list[list[Any]]) -> None:
    with tempfile.TemporaryDirectory() as folder, Store.open(Path(folder) / "shop.db") as store:
        live = LiveCatalogue.load(store)
        for changes in rounds:
            store.items.put(Item(name, attributes, available) for name, attributes, available, _ in changes)
            store.items.remove([name for name, *_, gone in changes if gone])
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(catalogue, "MOST_RUNS", most_runs)
                live = live.refreshed(store)
            fresh = LiveCatalogue.load(store)
            assert live.frame.equals(fresh.frame)
            assert live.frame.schema == fresh.frame.schema
            for name in ("numbers", "available", "created", "position_of"):
                np.testing.assert_array_equal(getattr(live, name), getattr(fresh, name))


def test_masks_are_kept_and_read_only(store: Store) -> None:
    store.items.put(MOVIES)
    live = LiveCatalogue.load(store)
    mask = live.mask("'Sci-Fi' = ANY(genres) AND NOT adult")
    assert mask.tolist() == [False, False, False, True]
    assert mask.dtype == np.bool_
    assert live.mask("'Sci-Fi' = ANY(genres) AND NOT adult") is mask
    with pytest.raises(ValueError, match="read-only"):
        mask[0] = True
    with pytest.raises(ValueError, match="read-only"):
        live.available[0] = True
    assert live.mask("1 = 1").tolist() == [True] * 4
    assert live.mask("NULL").tolist() == [False] * 4
    with pytest.raises(ConditionError, match="column 'pric' is unknown; did you mean 'price'"):
        live.mask("pric < 5")


def test_the_masks_kept_are_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "MASK_BYTES", 12)
    store.items.put(MOVIES)
    live = LiveCatalogue.load(store)
    first = live.mask("year > 0")
    assert live.mask("year > 0") is first
    for year in range(1, 4):
        live.mask(f"year > {year}")
    assert live.mask("year > 0") is not first


def test_values_are_codes_by_position(store: Store) -> None:
    store.items.put(MOVIES)
    live = LiveCatalogue.load(store)
    genres = live.values("genres")
    assert genres.start.tolist() == [0, 2, 4, 4, 5]
    assert genres.names.gather(genres.code.astype(np.int64)).to_list() == [
        *("Horror", "Sci-Fi"),
        *("Comedy", "Sci-Fi"),
        "Sci-Fi",
    ]
    adult = live.values("adult")
    assert adult.start.tolist() == [0, 1, 1, 2, 3]
    assert adult.names.gather(adult.code.astype(np.int64)).to_list() == [True, False, False]
    assert genres.code.dtype == np.int32
    assert live.values("genres") is genres
    with pytest.raises(SettingError, match=r"attribute='colour': known are item_id, available, adult"):
        live.values("colour")


def test_readers_see_whole_catalogues_while_another_thread_refreshes(store: Store) -> None:
    """Every put changes both attributes of all items, so a torn catalogue would show two values."""
    names = [f"item {n}" for n in range(30)]

    def told(n: int) -> list[Item]:
        return [Item(name, {"left": n, "right": n}) for name in names]

    store.items.put(told(0))
    current = [LiveCatalogue.load(store)]
    faults: list[str] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            live = current[0]
            n = int(live.frame["left"][0])
            if not (live.mask(f"left = {n} AND right = {n}").all() and len(live) == len(names)):
                faults.append(repr(live))

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for n in range(1, 15):
        store.items.put(told(n))
        current[0] = current[0].refreshed(store)
    done.set()
    for reader in readers:
        reader.join()
    assert faults == []
    assert current[0].frame["right"].to_list() == [14] * len(names)
