"""Reading catalogues: aliases, lists, titles, and every rule."""

from __future__ import annotations

import json
import tempfile
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

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
        ("1,x,,", "item_id is 1; ids must be strings or whole numbers, not empty, each once"),
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
    with pytest.raises(DataError, match=r"row 2 of items/c.csv: item is 2; ids must be .* each once"):
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
