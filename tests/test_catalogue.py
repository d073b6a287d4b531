"""Reading catalogues: aliases, lists, titles, and every rule."""

from __future__ import annotations

import json
import tempfile
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from palate.data.catalogue import Catalogue, read_catalogue
from palate.errors import DataError, DataWarning, PalateError, SettingError, UnknownId

DATA = Path(__file__).parents[2] / "shared" / "data"
MOVIES = """movieId,title,genres
1,"Toy Story, the (1995)",Adventure|Animation
20,,
3,Heat,Action
"""


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8", newline="")
    return path


def test_movielens_names_need_no_help(tmp_path: Path) -> None:
    movies = read_catalogue(write(tmp_path, "movies.csv", MOVIES))
    assert (len(movies), movies.fields) == (3, ("title", "categories"))
    assert repr(movies) == "Catalogue(3 items: title, categories)"
    assert movies.items.ids.to_list() == movies.frame["item_id"].to_list() == [1, 20, 3]
    assert movies.row(1) == {"item_id": 1, "title": "Toy Story, the (1995)", "categories": ["Adventure", "Animation"]}
    assert movies.row(20) == {"item_id": 20, "title": None, "categories": None}
    with pytest.raises(UnknownId, match="id 4 is unknown"):
        movies.row(4)


def test_a_title_falls_back_to_the_id(tmp_path: Path) -> None:
    movies = read_catalogue(write(tmp_path, "movies.csv", MOVIES))
    assert movies.titles([3, 20, 99, "x", 1]) == ["Heat", "20", "99", "x", "Toy Story, the (1995)"]
    assert movies.title(3) == "Heat"
    assert movies.titles([]) == []
    untitled = read_catalogue(write(tmp_path, "movies.csv", MOVIES), title="")
    assert untitled.fields == ("categories",)
    assert untitled.titles([3, "x"]) == ["3", "x"]


def test_recbole_items(tmp_path: Path) -> None:
    text = 'item_id:token\tmovie_title:token_seq\tclass:token_seq\tyear:token\n7\t5" Disk\tComedy Drama\t1999\n'
    items = read_catalogue(write(tmp_path, "ml.item", text))
    row = {"item_id": 7, "title": '5" Disk', "categories": ["Comedy", "Drama"], "year:token": "1999"}
    assert items.row(7) == row


def sources(frame: pl.DataFrame, folder: Path) -> list[object]:
    lines = "".join(json.dumps(row) + "\n" for row in frame.iter_rows(named=True))
    frame.write_parquet(folder / "items.parquet")
    return [frame, frame.lazy(), frame.to_arrow(), write(folder, "items.jsonl", lines), folder / "items.parquet"]


def test_typed_sources_keep_lists_numbers_and_truths(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {
            "name": ["A", "B"],
            "asin": ["b1", "b2"],
            "description": ["long", None],
            "category": [["x", "y"], []],
            "price": [9.5, None],
            "in_stock": [True, False],
            "imUrl": ["http://x/1.jpg", None],
            "pages": [10, 20],
        }
    )
    for source in sources(frame, tmp_path):
        items = read_catalogue(source)
        assert items.row("b1") == {
            "item_id": "b1",
            "title": "A",
            "text": "long",
            "categories": ["x", "y"],
            "price": 9.5,
            "image": "http://x/1.jpg",
            "available": True,
            "pages": 10,
        }
        told = [items.row("b2")[name] for name in ("title", "text", "categories", "price", "available")]
        assert told == ["B", None, [], None, False]


def test_text_spells_lists_and_truths(tmp_path: Path) -> None:
    text = 'sku,categories,available,Price\na,"[""x"", ""y""]",yes,3\nb,x|y,0,\nc,x,TRUE,2.5\nd,,,0\n'
    items = read_catalogue(write(tmp_path, "items.csv", text))
    assert items.frame["categories"].to_list() == [["x", "y"], ["x", "y"], ["x"], None]
    assert items.frame["available"].to_list() == [True, False, True, None]
    assert items.frame["price"].to_list() == [3, None, 2.5, 0]


@pytest.mark.parametrize(
    ("cells", "typed"),
    [
        (["5", "-7", ""], [5, -7, None]),
        (["5", "7.25", "1e3"], [5.0, 7.25, 1000.0]),
        (["true", "False", "TRUE"], [True, False, True]),
        (["007", "5"], ["007", "5"]),
        (["+7", "5"], ["+7", "5"]),
        (["1", "true"], ["1", "true"]),
        (["yes", "no"], ["yes", "no"]),
        (["2024-05-31", "2024-06-01"], ["2024-05-31", "2024-06-01"]),
        (["9007199254740993", "1.5"], ["9007199254740993", "1.5"]),
        (["9007199254740993", "1"], [9007199254740993, 1]),
        (["99999999999999999999", "1"], ["99999999999999999999", "1"]),
        (["1e999", "1"], ["1e999", "1"]),
        (["nan", "1"], ["nan", "1"]),
        (["Infinity", "1"], ["Infinity", "1"]),
        (["1 ", "1"], ["1 ", "1"]),
        (["", ""], [None, None]),
    ],
)
def test_other_columns_of_text_are_typed_as_all_their_values_are_spelled(
    cells: list[str], typed: list[object], tmp_path: Path
) -> None:
    rows = "".join(f"{n},{cell}\n" for n, cell in enumerate(cells))
    for name, text in (("items.csv", "id,x\n" + rows), ("items.tsv", ("id,x\n" + rows).replace(",", "\t"))):
        found = read_catalogue(write(tmp_path, name, text), item="id").frame["x"].to_list()
        assert found == typed
        assert [type(value) for value in found] == [type(value) for value in typed]
    frame = pl.DataFrame({"id": range(len(cells)), "x": [cell or None for cell in cells]})
    assert read_catalogue(frame, item="id").frame["x"].to_list() == frame["x"].to_list(), "typed already"


def test_types_do_not_depend_on_where_a_file_is_cut(tmp_path: Path) -> None:
    folder = tmp_path / "items"
    folder.mkdir()
    write(folder, "a.csv", "id,x,y\n1,5,5\n2,6,6\n")
    write(folder, "b.csv", "id,x,y\n3,007,7.5\n")
    items = read_catalogue(folder, item="id")
    assert items.frame["x"].to_list() == ["5", "6", "007"]
    assert items.frame["y"].to_list() == [5.0, 6.0, 7.5]
    pl.DataFrame({"id": [4], "x": ["5"], "y": ["8"]}).write_parquet(folder / "c.parquet")
    assert read_catalogue(folder, item="id").frame["y"].to_list() == ["5", "6", "7.5", "8"]


def test_a_catalogue_knows_what_its_columns_were_called(tmp_path: Path) -> None:
    movies = read_catalogue(write(tmp_path, "movies.csv", MOVIES))
    assert movies.named == {"item": "movieId", "categories": "genres"}
    assert movies.among(movies.items).named == movies.named


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("1,x,,", "item 1 is on row 1 already; each must have one row"),
        (",x,,", "item_id is empty; ids"),
        ("5,x,-1,", "price is -1; prices must be finite numbers, 0 or more"),
        ("5,x,cheap,", "price is 'cheap'; prices"),
        ("5,x,1,maybe", "available is 'maybe'; must be true or false, yes or no, 1 or 0"),
        ("5,[x,1,yes", "genre is '[x'; categories must be"),
        ("5,x,1", "3 fields; the header has 4"),
    ],
)
def test_a_bad_row_is_named_or_skipped(row: str, message: str, tmp_path: Path) -> None:
    path = write(tmp_path, "items.csv", f"item_id,genre,price,available\n1,x,1,1\n2,y,,\n{row}\n")
    with pytest.raises(DataError) as raised:
        read_catalogue(path)
    assert str(raised.value).startswith(f"row 3 of items.csv: {message}")
    with pytest.warns(DataWarning, match=r"items.csv: skipped 1 of 3 rows"):
        assert read_catalogue(path, on_error="skip").items.ids.to_list() == [1, 2]


def test_duplicates_are_found_across_parts(tmp_path: Path) -> None:
    folder = tmp_path / "items"
    folder.mkdir()
    write(folder, "a.csv", "item,title\n1,x\n2,y\n")
    write(folder, "b.csv", "item,title,year\n3,x,1999\n")
    assert read_catalogue(folder).row(3) == {"item_id": 3, "title": "x", "year": 1999}
    write(folder, "c.csv", "item,title\n4,x\n2,y\n")
    with pytest.raises(DataError, match=r"row 2 of items/c.csv: item 2 is on row 2 of items/a.csv already"):
        read_catalogue(folder)


def test_bad_catalogues(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a.csv: no item column among 'title'"):
        read_catalogue(write(tmp_path, "a.csv", "title\nx\n"))
    with pytest.raises(DataError, match=r"a.csv: no rows"):
        read_catalogue(write(tmp_path, "a.csv", "item,title\n"))
    with pytest.raises(DataError, match="column 'title' has the name of another role; rename it"):
        read_catalogue(write(tmp_path, "a.csv", "item,title,name\n1,x,y\n"), title="name")
    with pytest.raises(SettingError, match="on_error='never'"):
        read_catalogue(write(tmp_path, "a.csv", "item\n1\n"), on_error="never")


def test_pandas_frames_may_have_gaps() -> None:
    frame = pd.DataFrame({"item_id": [1, 2], "title": ["x", None], "price": [None, 2.0]})
    assert read_catalogue(frame).frame["price"].to_list() == [None, 2.0]


# Values one by one, whatever stands beside them


def from_json(folder: Path, *rows: dict[str, object]) -> Catalogue:
    return read_catalogue(write(folder, "items.jsonl", "".join(json.dumps(row) + "\n" for row in rows)))


def test_a_rare_kind_is_not_lost(tmp_path: Path) -> None:
    items = from_json(
        tmp_path,
        {
            "item": "a",
            "title": ["A", "B"],
            "categories": ["x", "y"],
            "available": False,
            "price": "5",
            "note": {"k": [1]},
        },
        {"item": "b", "title": 7, "categories": "z", "available": "Yes", "price": 7, "note": "n"},
        {"item": "c", "title": "C", "categories": 3, "available": 0, "price": 2.5, "note": 1},
    )
    assert items.frame["title"].to_list() == ["A\nB", "7", "C"]
    assert items.frame["categories"].to_list() == [["x", "y"], ["z"], ["3"]]
    assert items.frame["available"].to_list() == [False, True, False]
    assert items.frame["price"].to_list() == [5, 7, 2.5]
    assert items.frame["note"].to_list() == [{"k": [1]}, "n", 1]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("price", {"amount": 5}, "price is \"{'amount': 5}\"; prices must be finite numbers"),
        ("price", True, "price is 'True'; prices"),
        ("title", {"en": "A"}, "title is \"{'en': 'A'}\"; titles must be text"),
        ("title", [["A"]], "title is \"[['A']]\"; titles"),
        ("available", ["yes"], "available is \"['yes']\"; must be true or false"),
        ("available", 2, "available is 2; must be"),
        ("categories", True, "categories is 'True'; categories must be"),
        ("categories", [{"id": 28}], "categories is \"[{'id': 28}]\"; categories must be"),
        ("note", {"a": ["\ud800"]}, "note is \"{'a': ['\\\\ud800']}\"; a value must be text"),
        ("item", 1.5, "item is 1.5; ids must be"),
    ],
)
def test_a_value_of_the_wrong_kind_is_named(name: str, value: object, message: str, tmp_path: Path) -> None:
    fine = {"item": 1, "price": 1, "title": "A", "available": "no", "categories": "x", "note": "n"}
    with pytest.raises(DataError) as raised:
        from_json(tmp_path, fine, {"item": 2, name: value})
    assert str(raised.value).startswith(f"row 2 of items.jsonl: {message}")


WAYS = {
    True: [True, "true", "YES", "1", 1, 1.0, "in stock", "In_Stock", "InStock", "available"],
    False: [False, "false", "No", "0", 0, 0.0, "out of stock", "out_of_stock", "OutOfStock", "sold out"],
}


@pytest.mark.parametrize(("truth", "way"), [(truth, way) for truth, ways in WAYS.items() for way in ways], ids=str)
def test_available_is_one_rule_in_all_sources(truth: bool, way: Any, tmp_path: Path) -> None:
    csv = write(tmp_path, "items.csv", f"item,available\n1,{way}\n2,\n")
    lines = write(
        tmp_path, "items.jsonl", json.dumps({"item": 1, "available": way}) + '\n{"item": 2, "available": null}\n'
    )
    frame = {"item": [1, 2], "available": [way, None]}
    for source in (csv, lines, pl.DataFrame(frame), pd.DataFrame(frame), pd.DataFrame(frame, dtype=object)):
        assert read_catalogue(source).frame["available"].to_list() == [truth, None]


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ([["Books", "Fiction"], ["Films"]], ["Books", "Fiction", "Films"]),
        ([{"id": 28, "name": "Action"}, {"title": "War"}, {"label": 5}], ["Action", "War", "5"]),
        ({"name": "Action"}, ["Action"]),
        (["A", None, "", [None, 7]], ["A", "7"]),
        ('[{"id": 28, "name": "Action"}, ["War", null]]', ["Action", "War"]),
        ('{"name": "Action"}', ["Action"]),
        ("A||B", ["A", "B"]),
        ([], []),
        (None, None),
    ],
    ids=range(9),
)
def test_categories_of_any_form_are_names(value: Any, names: list[str] | None, tmp_path: Path) -> None:
    sources: list[object] = [
        write(tmp_path, "a.jsonl", json.dumps({"item": 1, "categories": value}) + "\n"),
        pd.DataFrame({"item": [1], "categories": [value]}),
    ]
    with suppress(TypeError):  # what polars itself cannot hold
        sources.append(pl.DataFrame({"item": [1], "categories": [value]}))
    for source in sources:
        assert read_catalogue(source).frame["categories"].to_list() == [names]


def test_categories_of_frames() -> None:
    for dtype, value, names in (
        (pl.Array(pl.String, 2), ["A", "B"], ["A", "B"]),
        (pl.List(pl.Categorical), ["A", None], ["A"]),
        (pl.List(pl.Int64), [1, 2], ["1", "2"]),
        (pl.List(pl.Struct({"id": pl.Int64, "name": pl.String})), [{"id": 1, "name": "A"}, None], ["A"]),
        (pl.Struct({"label": pl.String}), {"label": "A"}, ["A"]),
    ):
        frame = pl.DataFrame({"item": [1], "categories": pl.Series([value], dtype=dtype)})
        assert read_catalogue(frame).frame["categories"].to_list() == [names]
    for bad in ('["A", true]', "[1", '[{"id": 1}]', "[" * 100_000):
        with pytest.raises(DataError, match="row 1 of the frame: categories is"):
            read_catalogue(pl.DataFrame({"item": [1], "categories": [bad]}))


kinds = st.sampled_from([1, 2.5, 2**70, "a", "", True, None, [1], [1.5], ["a"], [], {"k": 1}, "yes", 0])
told_rows = st.lists(
    st.dictionaries(st.sampled_from(["title", "categories", "price", "available", "note", "more"]), kinds), max_size=7
)


def told(rows: list[dict[str, object]], chunk: int) -> object:
    """What is told of each item, by item and field, and the kinds of the columns."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        patch.setattr("palate.data.jsonlines.CHUNK", chunk)
        path = write(Path(folder), "a.jsonl", '{"item": "first"}\n' + "".join(json.dumps(row) + "\n" for row in rows))
        items = read_catalogue(path, on_error="skip")
    names = sorted(items.frame.columns)
    found = sorted(repr([row[name] for name in names]) for row in items.frame.iter_rows(named=True))
    return found, {name: items.frame.schema[name] for name in names}, dict(sorted(items.skipped.items()))


@settings(max_examples=80, deadline=None)
@given(told_rows, st.integers(1, 200), st.randoms(use_true_random=False))
def test_order_and_blocks_change_nothing(rows: list[dict[str, object]], chunk: int, draw: Any) -> None:
    named = [{"item": f"i{n}"} | row for n, row in enumerate(rows)]
    found = told(named, 1 << 20)
    assert told(named, chunk) == found
    assert told(draw.sample(named, len(named)), chunk) == found


def test_a_bad_row_does_not_take_the_place_of_a_good_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, "a.jsonl", '{"item": 1, "price": -1}\n{"item": 1, "price": 2}\n{"item": 1, "price": 3}\n')
    for chunk in (1 << 20, 5):
        monkeypatch.setattr("palate.data.jsonlines.CHUNK", chunk)
        with pytest.warns(DataWarning, match=r"skipped 2 of 3 rows \(price 1, item 1\); the first is row 1"):
            items = read_catalogue(path, on_error="skip")
        assert (items.frame["price"].to_list(), items.skipped) == ([2], {"price": 1, "item": 1})


def test_a_header_once_more_is_no_item(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", "item,title\n1,x\nitem,title\n2,y\n")
    with pytest.raises(DataError, match=r"row 2 of a\.csv: the header once more"):
        read_catalogue(path)
    with pytest.warns(DataWarning, match="skipped 1 of 3"):
        assert read_catalogue(path, on_error="skip").items.ids.to_list() == [1, 2]


def test_a_column_is_found_by_the_name_of_the_source(tmp_path: Path) -> None:
    items = read_catalogue(write(tmp_path, "a.csv", "sku,Genre,blurb,year\n1,x,long,1999\n"), text="blurb")
    assert items.fields == ("text", "categories", "year")
    names = {"Genre": "categories", "genres": "categories", "tags": "categories", "blurb": "text", "year": "year"}
    assert {name: items.column(name) for name in names} == names
    assert items.column("title") is None
    assert items.among(items.items).column("blurb") == "text"


def only_our_errors(read: Callable[[], Catalogue]) -> None:
    with warnings.catch_warnings(), suppress(PalateError):
        warnings.simplefilter("ignore", DataWarning)
        read().titles([1, "x"])


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(["a.csv", "a.item", "a.jsonl"]),
    st.text(st.sampled_from('aé1[]",|\n\r\t {}:'), max_size=50),
    st.booleans(),
)
def test_random_text_never_gives_a_traceback(name: str, text: str, skip: bool) -> None:
    head = {"a.csv": "item,title,genres,price\n", "a.item": "item\tclass:token_seq\n", "a.jsonl": '{"item": 1}\n'}[
        name
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder), name, head + text)
        only_our_errors(lambda: read_catalogue(path, on_error="skip" if skip else "raise"))


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=4,
)
NAMES = ["item", "title", "categories", "price", "available", "other"]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.dictionaries(st.sampled_from(NAMES), values, min_size=3), min_size=1, max_size=5))
def test_random_json_never_gives_a_traceback(rows: list[dict[str, object]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder), "a.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
        only_our_errors(lambda: read_catalogue(path))
        only_our_errors(lambda: read_catalogue(path, on_error="skip"))


def test_movielens_titles() -> None:
    path = DATA / "movielens-small" / "movies.csv"
    if not path.exists():
        pytest.skip(f"{path} is absent: real data lies outside the project")
    movies = read_catalogue(path)
    frame = pd.read_csv(path, keep_default_na=False)
    assert movies.titles(frame["movieId"].tolist()) == frame["title"].tolist()
    assert movies.frame["categories"].list.join("|").to_list() == frame["genres"].tolist()
