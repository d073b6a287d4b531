from __future__ import annotations

import itertools
import tempfile
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from palate.conditions import effort
from palate.errors import ConditionError
from palate.live import blocks, masks, table
from palate.live.catalogue import LiveCatalogue, stored_catalogue
from palate.live.written import containing
from palate.ranking.labels import Labels
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
    _, numbers, created = live.columns()
    assert (np.diff(numbers) > 0).all()
    assert (created > 1_600_000_000_000_000).all()
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
        (["5", 5, 2.5, True, "ask"], pl.Float64, [5.0, 5.0, 2.5, None, None]),
        (["9.99", 5], pl.Float64, [9.99, 5.0]),
        (["9", "ask", 5], pl.String, ["9", "ask", "5"]),
        ([True, "false", "no"], pl.String, ["true", "false", "no"]),
        ([True, False, "false", "no", 1], pl.Boolean, [True, False, False, None, None]),
        ([True, False], pl.Boolean, [True, False]),
        ([["a"], [], None], pl.List(pl.String), [["a"], [], None]),
        ([["a", None, 1, {"b": [2]}]], pl.List(pl.String), [["a", "1", '{"b":[2]}']]),
        (["a", ['"b"', "é"], []], pl.List(pl.String), [["a"], ['"b"', "é"], []]),
        (["a", ["b"], 5], pl.List(pl.String), [["a"], ["b"], ["5"]]),
        (["a", "b", ['"b"', "é"], {"c": 1}], pl.String, ["a", "b", r'["\"b\"","é"]', '{"c":1}']),
        ([{"a": "é"}, None], pl.String, ['{"a":"é"}', None]),
        ([10**400, 1], pl.Int64, [None, 1]),
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
    assert len(live) == len(live.ids) == len(live.mask("TRUE")) == 0
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
    assert new.mask("price < 10").tolist() == [False, True, False, False, True], "what was told of alien is gone"
    assert new.frame["colour"].to_list() == [None] * 4 + ["grey"]
    assert (old.columns()[1] == new.columns()[1][:4]).all()
    assert old.ids.to_list() == [movie.item_id for movie in MOVIES]
    assert old.mask("price < 10") is cheap
    assert "colour" not in old.frame.columns
    store.items.remove(["nothing of this id"])
    assert new.refreshed(store).frame.equals(new.frame)
    store.items.put([MOVIES[0]])
    assert new.refreshed(store).available.tolist() == [True, True, False, True, True]


def test_a_value_of_another_kind_is_no_obstacle_to_the_others(store: Store) -> None:
    store.items.put(MOVIES)
    good = LiveCatalogue.load(store)
    store.items.patch("dune", {"price": "ask"})
    bad = good.refreshed(store)
    assert bad.frame["price"].to_list() == [9.5, 20, None, None]
    assert bad.attributes.odd == 1
    assert bad.mask("price < 10").tolist() == [True, False, False, False]
    assert bad.mask("price = 'ask'").tolist() == [False, False, False, True]
    assert bad.attributes.said([0, 3, 2], ["price"]) == [{"price": 9.5}, {"price": "ask"}, {"price": None}]
    store.items.patch("dune", {"price": "1.5"})
    assert bad.refreshed(store).mask("price < 10").tolist() == [True, False, False, True]
    assert bad.refreshed(store).attributes.odd == 0


# What holds of an item by what it alone has, whatever kinds of values others have.
HOLDS: dict[str, list[Any]] = {
    "x < 20": [5, 9.99, "9.99", -1],
    "x + 1 BETWEEN 6 AND 11": [5, 9.99, "9.99"],
    "(x + 1) % 2 = 0 AND ABS(COALESCE(x, 1)) % 2 = 1": [5, -1],
    "x % 2 = 1": [5],
    "ABS(x) = 1": [-1],
    "x IN (5, 9.99)": [5, 9.99, "9.99"],
    "x = 'Action'": ["Action", ["Action", "War"]],
    "x <> 'Action'": [5, 9.99, "9.99", -1, True, False, "true", "War", [], {"k": 1}],
    "'Action' = ANY(x)": ["Action", ["Action", "War"]],
    "'War' IN x": ["War", ["Action", "War"]],
    "x IN ('Action', 'War')": ["Action", "War", ["Action", "War"]],
    "x LIKE 'A%'": ["Action"],
    "UPPER(x) LIKE '%WAR%'": ["War", ["Action", "War"]],
    "LENGTH(x) = 3": ["War"],
    "NOT x": [False],
    "x": [True, "true"],
    "x = TRUE": [True, "true"],
    "x IS NULL": [None],
    "x IS NOT NULL AND x <> 'Action' AND NOT x < 20": [],
    "COALESCE(x, 0) = 0": [True, False, "true", "Action", "War", ["Action", "War"], [], {"k": 1}, None],
    "COALESCE(y, x) = 'War'": ["War", ["Action", "War"]],
    "COALESCE(x, y) IS NULL": [None],
    "(x = x OR x < x OR x IN (x, 1) OR x BETWEEN x AND 2 OR x = ANY(x)) AND FALSE": [],
    "y = x": [],
    "y = 1 OR y < 'a' OR y LIKE 'a' OR 'a' = ANY(y) OR y IN (1, 2) OR y": [],
}
KNOWN = [5, 9.99, "9.99", -1, True, False, "true", "Action", "War", ["Action", "War"], [], {"k": 1}, None]


@settings(max_examples=60, deadline=None)
@given(chosen=st.sets(st.sampled_from(range(len(KNOWN))), min_size=1))
def test_no_value_of_another_item_changes_or_breaks_a_condition(chosen: set[int]) -> None:
    values = [KNOWN[n] for n in sorted(chosen)]
    with tempfile.TemporaryDirectory() as folder, Store.open(Path(folder) / "shop.db") as store:
        store.items.put(Item(f"i{n:02}", {"x": value}) for n, value in enumerate(values))
        live = LiveCatalogue.load(store)
        for condition, held in HOLDS.items():
            expected = [any(value == one and type(value) is type(one) for one in held) for value in values]
            assert live.mask(condition).tolist() == expected, condition


def test_what_no_item_has_is_unknown_and_noted(store: Store) -> None:
    empty = LiveCatalogue.load(store)
    assert empty.mask("price < 5 AND genres = 'War' AND NOT adult").tolist() == []
    store.items.put(MOVIES)
    live = LiveCatalogue.load(store)
    found = live.evaluate("pric < 5 OR title = 'Cube'")
    assert found.mask.tolist() == [False, False, True, False]
    assert found.notes == ("no item has an attribute 'pric'; did you mean 'price'?",)
    assert live.evaluate("price < 'cheap'").notes == ("'price' is text of no item",)
    assert live.evaluate("PRICE < 5 AND Item_Id = 'a' AND title LIKE 'A%'").notes == ()
    assert live.values("pric").start.tolist() == [0] * 5
    assert live.attributes.said([1], ["pric", "title"]) == [{"pric": None, "title": "Brazil"}]


def test_what_a_condition_costs_is_counted_before_it_is_run(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(effort, "ANY_ROWS", 0)
    monkeypatch.setattr(effort, "NAMED", 0)
    store.items.put([*MOVIES, Item("long", {"text": "ab" * 5000})])
    live = LiveCatalogue.load(store)
    assert live.mask("text LIKE '%b_b%' AND price IS NULL").tolist() == [False] * 4 + [True]
    monkeypatch.setattr(masks, "MOST_STEPS", 20_000)
    assert live.mask("title LIKE '%l__n' AND price + 1 > 2").tolist() == [True] + [False] * 4
    for condition in (
        "text LIKE '%a_b%'",
        "LOWER(UPPER(text)) = 'x'",
        "UPPER(CATEGORY) = 'x' AND UPPER(TEXT) < text",
    ):
        with pytest.raises(
            ConditionError, match=r"over [15] items and their texts this takes .* steps; there can be 20,000"
        ):
            live.mask(condition)


def test_what_few_items_have_is_counted_by_those_that_have_it(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(effort, "ANY_ROWS", 0)
    monkeypatch.setattr(effort, "NAMED", 0)
    rare = [{"rare": n, "text": "ab"} if n % 100 == 7 else {} for n in range(1000)]
    store.items.put(Item(f"i{n}", {"price": n, **more}) for n, more in enumerate(rare))
    live = LiveCatalogue.load(store)
    alone, beside, dense = (live.steps([text]) for text in ("rare > 500", "rare > 500 AND price > 1", "price > 1"))
    assert 10 * 3 < alone < dense < beside
    blocks: list[None] = []
    monkeypatch.setattr(masks, "still_wanted", lambda: blocks.append(None))
    monkeypatch.setattr(masks, "MOST_ROWS", 4)
    wanted = [n % 100 == 7 and n > 500 for n in range(1000)]
    for text, count in (("rare > 500", 3), ("text = 'ab' AND rare > 500", 3), ("rare > 500 AND price > 1", 250)):
        blocks.clear()
        assert live.mask(text).tolist() == wanted
        assert len(blocks) == count
    assert live.mask("rare IS NULL").sum() == 990
    monkeypatch.setattr(masks, "MOST_STEPS", 2000)
    assert live.steps(["rare > 501"]) == alone
    with pytest.raises(ConditionError, match=r"over 1,000 items and their texts this takes"):
        live.steps(["rare > 501 AND price > 2"])


def test_a_misspelt_name_has_one_note_and_the_first_three_a_suggestion(store: Store) -> None:
    store.items.put(MOVIES)
    live = LiveCatalogue.load(store)
    odd = live.notes("pric < 1 OR pric < 2 OR pric < 3 OR TITLEX = 'x' OR yeear = 1 OR pricee < 4")
    assert [note.partition("; ")[2] for note in odd] == [
        "did you mean 'price'?",
        "did you mean 'title'?",
        "did you mean 'year'?",
        "",
    ]
    assert live.attributes.unknown(["pric", "pric", "title", "x" * 51 + "pric"]) == [
        "no item has an attribute 'pric'; did you mean 'price'?",
        f"no item has an attribute {'x' * 51 + 'pric'!r}",
    ]


def test_names_of_columns_of_imported_files_stand_for_the_attributes_they_became(store: Store) -> None:
    store.items.put(MOVIES)
    live = LiveCatalogue.load(store)
    assert live.mask("genre = 'Comedy'").tolist() == [False] * 4
    store.items.name_columns({"genre": "genres", "movie title": "title"})
    live = live.refreshed(store)
    for condition in ("genre = 'Comedy'", "GENRE = 'Comedy'", "\"movie title\" = 'Brazil'", "'Comedy' IN genre"):
        assert live.mask(condition).tolist() == [False, True, False, False], condition
    assert live.evaluate("genre = 'Comedy'").notes == ()
    assert live.attributes.said([1], ["genre"]) == [{"genre": ["Comedy", "Sci-Fi"]}]
    assert live.values("genre").names.to_list() == live.values("genres").names.to_list()
    store.items.patch("dune", {"genre": "Epic"})  # an attribute of that name hides the other of no other item
    live = live.refreshed(store)
    assert live.mask("genre IN ('Comedy', 'Epic')").tolist() == [False, True, False, True]
    assert LiveCatalogue.load(store).names == live.names == {"genre": "genres", "movie title": "title"}


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


@pytest.mark.parametrize(("block", "few", "many"), [(2, 64, 1), (3, 0, 4), (1 << 16, 64, 1 << 16)])
@settings(max_examples=20, deadline=None)
@given(rounds=st.lists(CHANGES, min_size=1, max_size=4))
def test_refreshing_gives_what_loading_gives(block: int, few: int, many: int, rounds: list[list[Any]]) -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        Store.open(Path(folder) / "shop.db") as store,
        pytest.MonkeyPatch.context() as reading,
    ):
        reading.setattr(blocks, "NEAR", few // 32)  # none: all blocks are joined for every reading
        live = LiveCatalogue.load(store)
        for changes in rounds:
            store.items.put(Item(name, attributes, available) for name, attributes, available, _ in changes)
            store.items.remove([name for name, *_, gone in changes if gone])
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(blocks, "BLOCK", block)
                patch.setattr(blocks, "FEW", few)
                patch.setattr(table, "MANY", many)
                live = live.refreshed(store)
            fresh = LiveCatalogue.load(store)
            assert live.frame.equals(fresh.frame)
            assert live.frame.schema == fresh.frame.schema
            for condition in (
                "x IS NULL",
                "x = 'a' OR y < 2",
                "NOT x",
                "COALESCE(y, x) = 1 AND item_id > 'c'",
                "TRUE",
            ):
                assert live.mask(condition).tolist() == fresh.mask(condition).tolist()
            places = range(len(fresh))[::-1]
            assert live.attributes.said(places, ["x", "item_id"]) == fresh.attributes.said(places, ["x", "item_id"])
            assert live.attributes.odd == fresh.attributes.odd
            assert (
                containing(live.attributes.table, ["a"]).tolist()
                == containing(fresh.attributes.table, ["a"]).tolist()
            )
            assert live.values("x").start.tolist() == fresh.values("x").start.tolist()
            assert live.values("x").code.tolist() == fresh.values("x").code.tolist()
            assert live.available.tolist() == fresh.available.tolist()
            for one, other in zip(live.columns(), fresh.columns(), strict=True):
                np.testing.assert_array_equal(one, other)


MASKED = (
    *(
        "x IS NULL",
        "x = 'a' OR y < 2",
        "NOT x",
        "COALESCE(y, x) = 1 AND item_id > 'c'",
        "x < y",
        "y > x",
        "available",
    ),
    *("x IN (1, y)", "x LIKE '%a%' AND NOT available", "'a' = ANY(x)", "TRUE", '"whole:x" = x OR "*" > 0'),
)
ASKED = st.tuples(CHANGES, st.sets(st.sampled_from(MASKED)))


@settings(max_examples=15, deadline=None)
@given(rounds=st.lists(ASKED, min_size=2, max_size=8), part=st.sampled_from([1, 2, 5]), many=st.sampled_from([1, 4]))
def test_masks_brought_up_to_date_are_those_made_from_scratch(rounds: list[Any], part: int, many: int) -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        Store.open(Path(folder) / "shop.db") as store,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(masks, "PART", part)
        patch.setattr(masks, "CHANGES", 3)
        patch.setattr(table, "MANY", many)
        store.items.put(Item(name, {"x": n}) for n, name in enumerate("gdaj"))
        live = LiveCatalogue.load(store)
        for changes, asked in rounds:
            before = {condition: live.mask(condition).copy() for condition in asked}
            old = live
            store.items.put(Item(name, attributes, available) for name, attributes, available, _ in changes)
            store.items.remove([name for name, *_, gone in changes if gone])
            live, fresh = live.refreshed(store), LiveCatalogue.load(store)
            for condition in asked:
                assert live.mask(condition).tolist() == fresh.mask(condition).tolist(), condition
                assert live.notes(condition) == fresh.notes(condition)
                assert old.mask(condition).tolist() == before[condition].tolist()
        for condition in MASKED:
            assert live.mask(condition).tolist() == fresh.mask(condition).tolist(), condition


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Numbers of the rows that conditions are computed over."""
    counts: list[int] = []
    of_rows = masks._of_rows

    def counted(plan: masks.Plan, rows: pl.DataFrame) -> Any:
        counts.append(len(rows))
        return of_rows(plan, rows)

    monkeypatch.setattr(masks, "_of_rows", counted)
    return counts


def test_a_mask_is_computed_for_the_changed_items_alone(store: Store, rows: list[int]) -> None:
    store.items.put(Item(f"i{n:03}", {"price": n, "rare": n} if n % 50 == 0 else {"price": n}) for n in range(200))
    live = LiveCatalogue.load(store)
    conditions = ("price < 20", "rare > 60", "price IN (3, 4, 5)")
    for condition in conditions:
        live.mask(condition)
    store.items.put([Item("i007", {"price": 70}), Item("i100", {"price": 1, "rare": 1}), Item("new", {"price": 4})])
    store.items.remove(["i003"])
    live = live.refreshed(store)
    rows.clear()
    under, rare, among = (live.mask(condition).nonzero()[0].tolist() for condition in conditions)
    assert rows == [4, 4, 4]
    assert under == [n for n in range(20) if n not in (3, 7)] + [100, 200]
    assert (rare, among) == ([150], [4, 5, 200])
    store.items.patch("i008", {"price": 80})
    live = live.refreshed(store)
    store.items.patch("i009", {"price": 90})
    live = live.refreshed(store)
    rows.clear()
    assert not live.mask("price < 20")[[8, 9]].any()
    assert rows == [2], "what changed since it was last asked for"
    store.items.put(Item(f"i{n:03}", {"price": 0}) for n in range(20))
    live = live.refreshed(store)
    rows.clear()
    assert live.mask("price < 20").sum() == 22
    assert rows == [201], "so many that all are read"


def test_a_condition_that_reads_values_in_another_way_is_computed_for_all_items(
    store: Store, rows: list[int]
) -> None:
    store.items.put([Item("a", {"x": "10", "y": "9"}), *(Item(f"b{n}", {"x": 1, "y": 1}) for n in range(60))])
    live = LiveCatalogue.load(store)
    assert not live.mask("x < y").any()
    store.items.put(Item(f"c{n}", {"x": "1", "y": "1"}) for n in range(2))
    live = live.refreshed(store)
    rows.clear()
    assert not live.mask("x < y").any()
    assert rows == [2]
    for low in range(0, 63, 3):  # most values become text, and "10" is before "9"
        store.items.put(Item(f"d{n}", {"x": "1", "y": "1"}) for n in range(low, low + 3))
        live = live.refreshed(store)
        rows.clear()
        mask = live.mask("x < y")
    assert mask.nonzero()[0].tolist() == [0]
    store.items.put([Item("e", {"z": 1})])
    live = live.refreshed(store)
    assert live.mask("z = 1").sum() == 1
    store.items.name_columns({"zed": "x"})
    live = live.refreshed(store)
    rows.clear()
    assert live.mask("zed < y").nonzero()[0].tolist() == [0]
    assert rows == [len(live)]


def test_masks_of_one_catalogue_are_none_of_another(tmp_path: Path) -> None:
    with Store.open(tmp_path / "one.db") as one, Store.open(tmp_path / "two.db") as two:
        one.items.put(Item(name, {"price": 1}) for name in "abcd")
        two.items.put(Item(name, {"price": 5}) for name in "abcd")
        first, second = LiveCatalogue.load(one), LiveCatalogue.load(two)
        assert (first.mask("price < 3").sum(), second.mask("price < 3").sum()) == (4, 0)
        one.items.patch("a", {"price": 9})
        two.items.patch("a", {"price": 0})
        first, second = first.refreshed(one), second.refreshed(two)
        assert (first.mask("price < 3").tolist(), second.mask("price < 3").tolist()) == (
            [False, True, True, True],
            [True, False, False, False],
        )


def test_the_masks_handed_on_are_bounded_and_keep_no_old_catalogue(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(masks, "PART", 1)
    monkeypatch.setattr(masks, "CHANGES", 3)
    store.items.put(MOVIES)
    live = LiveCatalogue.load(store)
    old, mask = weakref.ref(live), weakref.ref(live.mask("year > 0"))
    for n in range(4):
        store.items.patch("dune", {"year": n})
        live = live.refreshed(store)
        live.mask("year > 1")
    assert old() is None
    assert mask() is None, "not asked for over more changes than are kept"
    monkeypatch.setattr(masks, "KEPT_BYTES", 8)
    live = LiveCatalogue.load(store)
    for n in range(4):
        live.mask(f"year > {n}")
        store.items.patch("dune", {"year": n + 10})
        live = live.refreshed(store)
    live.mask("year > 5")
    assert len(live._conditions._made) == 2


def size(live: LiveCatalogue) -> int:
    """Bytes of all columns."""
    return int(sum(part.frame.estimated_size() for part in (live.table.rows, *live.table.sparse.values())))


def test_names_that_few_items_have_cost_what_their_values_take_and_nothing_when_they_are_gone(store: Store) -> None:
    store.items.put(Item(f"i{n}", {"title": f"title {n}", "price": n}) for n in range(20_000))
    live = LiveCatalogue.load(store)
    before = size(live)
    told = {f"name {n}": ["text", n, n / 7, True, ["a"], {"b": n}][n % 6] for n in range(128)}
    store.items.put([Item("wide", told), Item("i7", {"title": "7", "price": 3, "name 1": 5, "name 0": "other"})])
    wide = live.refreshed(store)
    assert size(wide) - before < 2 * len(str(told))
    assert size(LiveCatalogue.load(store)) - before < 2 * len(str(told))
    seven, last = 7, 20_000
    assert wide.mask('"name 1" > 2').nonzero()[0].tolist() == [seven]
    assert wide.mask('"name 1" IS NULL').sum() == 19_999
    assert wide.mask("\"name 0\" = 'text' AND price IS NULL").nonzero()[0].tolist() == [last]
    assert wide.mask("\"name 0\" > 'a' AND item_id < 'j'").nonzero()[0].tolist() == [seven]
    assert wide.attributes.said([last, 0, seven, last], ["name 0"]) == [
        {"name 0": value} for value in ("text", None, "other", "text")
    ]
    assert wide.values("name 0").names.to_list() == ["other", "text"]
    assert containing(wide.attributes.table, ["ext"]).nonzero()[0].tolist() == [last]
    store.items.remove(["wide"])
    store.items.put([Item("i7", {"title": "title 7", "price": 7})])
    gone = wide.refreshed(store)
    assert size(gone) - before < 3_000, "the row of the removed item, and bits that say what it has not"
    assert set(gone.attributes.counts) == {"title", "price"}


def test_only_the_first_names_that_no_item_has_are_looked_for_among_the_others(store: Store) -> None:
    store.items.put([Item("a", {f"attribute_{n}": n for n in range(120)})])
    live = LiveCatalogue.load(store)
    names = [f"atribute_{n}" for n in range(6)]
    notes = live.evaluate(f"COALESCE({', '.join(names)}) IS NULL").notes
    assert [note.partition("; ")[2] for note in notes] == [
        *(f"did you mean 'attribute_{n}'?" for n in range(3)),
        *[""] * 3,
    ]
    assert live.attributes.unknown([*names, "attribute_1", "item_id", "ATTRIBUTE_5", names[0]]) == list(notes)


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
    with pytest.raises(ConditionError, match="cannot be read"):
        live.mask("price <")


def test_the_masks_kept_are_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masks, "KEPT_BYTES", 12)
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


@pytest.mark.parametrize(
    ("condition", "mask"),
    [
        ("1 + 1 = 2", [True] * 4),
        ("LOWER('A') = 'b' OR NULL", [False] * 4),
        ("9223372036854775807 + 1 IS NULL AND 1 / 0 IS NULL AND 1e308 * 10 > 1e308", [True] * 4),
        ("price IN (" + ", ".join(f"{n} - 1 + 1" for n in range(40)) + ")", [False, True, False, True]),
    ],
)
def test_constants_take_nothing_for_each_row(store: Store, condition: str, mask: list[bool]) -> None:
    store.items.put([Item(name, {"price": price}) for name, price in zip("abcd", (50, 7, None, 0), strict=True)])
    live = LiveCatalogue.load(store)
    assert live.mask(condition).tolist() == mask
    assert live.steps([condition]) == (0 if "price" not in condition else live.steps(["price IN (1)"]))


@pytest.mark.parametrize("pattern", ["title", "price", "genres", "COALESCE(title, price)"])
def test_a_pattern_that_is_no_text_in_quotes_is_a_fault_of_the_condition(store: Store, pattern: str) -> None:
    store.items.put(MOVIES)
    with pytest.raises(ConditionError, match="the pattern of LIKE must stand in quotes"):
        LiveCatalogue.load(store).mask(f"title LIKE {pattern}")


OPERANDS = (
    "NULL",
    "title",
    "price",
    "1",
    "'x'",
    "genres",
    "nothing",
    "adult",
    "COALESCE(title, price)",
    "ABS(price)",
)
FORMS = (
    *("{0} LIKE {1}", "{0} ILIKE {1}", "{0} LIKE 'x' ESCAPE {1}", "{0} = {1}", "{0} < {1}", "{0} + {1} > 1"),
    *("{0} IN ({1}, {1})", "{0} BETWEEN {1} AND {0}", "{0} = ANY({1})", "CONTAINS({0}, {1})", "LOWER({0}) = {1}"),
    *("ROUND({0}, {1}) = 1", "LENGTH({0}) > {1}", "COALESCE({0}, {1}) = {0}", "NOT {0} AND {1}", "-{0} % {1} = 1"),
)


@pytest.mark.parametrize("form", FORMS)
def test_any_operands_are_read_or_refused(store: Store, form: str) -> None:
    store.items.put(MOVIES)
    live = LiveCatalogue.load(store)
    for first, second in itertools.product(OPERANDS, OPERANDS):
        with suppress(ConditionError):
            assert len(live.mask(form.format(first, second))) == len(MOVIES)


def test_a_column_and_an_operation_cost_something_however_few_items_there_are(store: Store) -> None:
    store.items.put(MOVIES)
    live = LiveCatalogue.load(store)
    fixed = effort.ANY_ROWS + effort.NAMED
    assert fixed <= live.steps(["price > 1"]) < 1.1 * fixed
    many = [" OR ".join([column] * 100) for column in ("title", "genres", "TITLE", "Title")]
    with pytest.raises(ConditionError, match="with the conditions before it: over 4 items"):
        live.steps(many)


def test_many_operations_on_few_items_run_in_one_block(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.items.put(MOVIES)
    live, blocks = LiveCatalogue.load(store), list[None]()
    monkeypatch.setattr(masks, "still_wanted", lambda: blocks.append(None))
    live.mask(" OR ".join(f"price > {n}" for n in range(90)))
    assert len(blocks) == 1


def test_the_conditions_of_a_request_are_within_the_bounds_together(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.items.put(MOVIES)
    live = LiveCatalogue.load(store)
    conditions = [f"'{genre}' = ANY(genres)" for genre in ("Horror", "Comedy", "Drama")]
    each = live.steps(conditions[:1])
    monkeypatch.setattr(masks, "MOST_STEPS", 2 * each)
    assert live.steps([*conditions[:2], *conditions[:2]]) == 2 * each  # what is there twice is run once
    with pytest.raises(ConditionError, match="with the conditions before it: over 4 items"):
        live.steps(conditions)


@pytest.mark.parametrize(
    "condition",
    [
        "COALESCE(" + ",".join(["title"] * 500) + ") = 5",
        "year IN (" + ",".join(["title"] * 500) + ")",
        " OR ".join(["title = 1"] * 99),
        "genres LIKE '%a%' OR " * 30 + "title LIKE '%a" + "_" * 40 + "b%'",
    ],
)
def test_what_is_read_as_another_type_or_many_times_costs_more(
    store: Store, monkeypatch: pytest.MonkeyPatch, condition: str
) -> None:
    store.items.put(MOVIES)
    live = LiveCatalogue.load(store)
    monkeypatch.setattr(masks, "MOST_STEPS", 10_000)
    with pytest.raises(ConditionError, match="steps; there can be 10,000"):
        live.mask(condition)


def test_many_names_that_no_item_has_take_no_time(store: Store) -> None:
    for low in range(0, 960, 120):
        store.items.put([Item(f"{low}", {f"attribute_{n:04d}_x": 1 for n in range(low, low + 120)})])
    live = LiveCatalogue.load(store)
    began = time.process_time()
    notes = live.evaluate(" OR ".join(f"attribut_{n:04d}" for n in range(190))).notes
    assert time.process_time() - began < 1
    assert len(notes) == 190
    assert sum("did you mean 'attribute_0" in note for note in notes) == 3


def test_values_are_those_that_a_training_sees(store: Store) -> None:
    given = [[None, "x"], ["y", "y", ""], [], "z", "", [None], ["x", "z"]]
    store.items.put([Item(f"i{n}", {"kinds": each}) for n, each in enumerate(given)])
    live, trained = LiveCatalogue.load(store).values("kinds"), Labels.of(stored_catalogue(store).frame["kinds"])
    assert live.start.tolist() == trained.start.tolist()
    assert live.names.gather(live.code).to_list() == trained.names.gather(trained.code).to_list()
    none = LiveCatalogue.load(store).values("colour")
    assert (len(none.names), none.start.tolist(), none.code.dtype.name) == (0, [0] * 8, "int32")


def named(store: Store, names: int) -> LiveCatalogue:
    """Store 490 items with texts and numbers under two of these names each."""
    store.items.put(
        Item(f"i{n}", {f"n{(2 * n + k) % names}": ["Text", 5][n // 245] for k in (0, 1)}) for n in range(490)
    )
    return LiveCatalogue.load(store)


def test_a_refresh_touches_the_parts_of_what_changed_however_many_names_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touched = Mock(side_effect=blocks.Blocks.merged)
    monkeypatch.setattr(blocks.Blocks, "merged", lambda *asked: touched(*asked))
    counts = []
    for names in (10, 490):
        with Store.open(tmp_path / f"{names}.db") as store:
            live = named(store, names)
            store.items.put([Item("i3", {"n6": "other", "new": 1})])
            touched.reset_mock()
            live = live.refreshed(store)
            counts.append(touched.call_count)
            assert live.attributes.said([3], ["n6", "n7", "new"]) == [{"n6": "other", "n7": None, "new": 1}]
    assert counts == [5, 5], "rows, what is new and what was, and which items have what"


def test_a_search_and_odd_values_read_all_names_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gathered, each = Mock(side_effect=table.Table.gathered), Mock(side_effect=table.Table.at)
    for names in (10, 490):
        with Store.open(tmp_path / f"{names}.db") as store:
            attributes = named(store, names).attributes
            assert len(attributes.table.sparse) == 2 * names
            with monkeypatch.context() as patch:
                patch.setattr(table.Table, "gathered", lambda *asked: gathered(*asked))
                for way in ("at", "having", "values"):
                    patch.setattr(table.Table, way, each)
                assert containing(attributes.table, ["ex", "t"]).sum() == 245
                assert attributes.odd == 490
    assert (gathered.call_count, each.call_count) == (4, 0)


def test_a_search_finds_each_word_in_any_value_and_none_across_two(store: Store) -> None:
    store.items.put([Item("Red", {"a": "Big SHOE", "b": ["Left", "foot"], "c": {"Size": 5}, "d": 7})])
    store.items.put([Item("b", {"a": "BaΣ"}), *(Item(f"other {n}", {"a": "wide"}) for n in "rstuvwxyz")])
    found = partial(containing, LiveCatalogue.load(store).attributes.table)
    for words in (["shoe", "red"], ["left", "foot", "big"], ['{"size":5}']):
        assert found(words).nonzero()[0].tolist() == [0], words
    for words in (["redbig"], ["7"], ["shoe", "ba"], ["shoeleft"]):
        assert not found(words).any(), words
    assert found(["b"]).nonzero()[0].tolist() == [0, 1]
    assert found(["baς"]).nonzero()[0].tolist() == [1]
    assert found([]).all()
