"""Ids compare by what they spell: models, logs, catalogues and splits meet whatever types hold their ids."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from conftest import block_events, catalogue_of, log_of

from palate.data.catalogue import read_catalogue
from palate.data.readers import read_log
from palate.data.splits import Split, split_ratio
from palate.errors import DataError, JoinWarning, SettingError
from palate.evaluation.compare import compare
from palate.evaluation.protocol import evaluate
from palate.models.base import Model
from palate.models.content import Content
from palate.models.hybrid import Hybrid
from palate.models.ials import IALS
from palate.models.item_knn import ItemKNN
from palate.models.popularity import Popularity
from palate.models.registry import load

NUMBERED = log_of([(user, int(str(item)[1:]), weight, day) for user, item, weight, day in block_events()])
FORMS: dict[str, Callable[[list[int]], Any]] = {
    "strings": lambda ids: [str(number) for number in ids],
    "numpy": lambda ids: np.array(ids, np.uint8),
    "Int32": lambda ids: pl.Series(ids, dtype=pl.Int32),
    "UInt64": lambda ids: pl.Series(ids, dtype=pl.UInt64),
    "Categorical": lambda ids: pl.Series([str(number) for number in ids], dtype=pl.Categorical),
    "pandas": lambda ids: pd.Series(ids, dtype="Int64"),
    "pyarrow": lambda ids: pa.array([str(number) for number in ids], pa.large_string()),
}


@pytest.fixture(scope="module")
def numbered() -> dict[str, Model]:
    """Models that keep their ids as integers, and as text."""
    frame = NUMBERED.to_frame()
    logs = {"integers": read_log(frame), "text": read_log(frame, ids="text")}
    return {name: ItemKNN().fit(log) for name, log in logs.items()}


@pytest.mark.parametrize("kept", ["integers", "text"])
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
def test_ids_may_be_of_any_type(numbered: dict[str, Model], kept: str, form: Callable[[list[int]], Any]) -> None:
    model = numbered[kept]
    some = [0, 5, 6, 13]
    plain = model.recommend([[0, 1]], keep_seen=True, only=some, exclude=[6]).lists()
    assert {str(item) for item in plain[0]} == {"0", "5", "13"}
    assert model.recommend([form([0, 1])], keep_seen=True, only=form(some), exclude=form([6])).lists() == plain
    assert model.recommend([form([0, 1])], 5).lists() == model.recommend([[0, 1]], 5).lists()
    assert (
        model.similar_items(form([3]), 4, exclude=form([5])).lists()
        == model.similar_items([3], 4, exclude=[5]).lists()
    )
    assert model.explain(form([0, 1]), "2") == model.explain([0, 1], 2) != []


WORDED = log_of(block_events())


def test_ids_of_a_kind_that_no_known_id_has_are_an_error() -> None:
    number: Any = ItemKNN().fit(NUMBERED)
    word: Any = ItemKNN().fit(WORDED)
    rule = "the known ids are whole numbers, as "
    for asked in ([["abc"]], [["x", "7.0"], ["05"]], [[], pl.Series(["z"])]):
        for call in (number.recommend, number.scores):
            with pytest.raises(DataError, match=f"^histories: '(abc|x|z)' is text; {rule}"):
                call(asked)
    with pytest.raises(DataError, match=f"^histories: 'abc' is text; {rule}"):
        number.explain(["abc"], 1)
    for numbers in ([[5]], [[], np.array([5, 6])], [[5.0], [7]]):
        with pytest.raises(DataError, match=r"^histories: 5 is a whole number; the known ids are text, as 'i"):
            word.recommend(numbers)
    with pytest.raises(DataError, match=r"^user_ids: 3 is a whole number; the known ids are text, as 'u"):
        WORDED.histories([3, 4])


def test_ids_that_may_be_new_are_no_error() -> None:
    """One id of the right kind shows that the others are new; a text of digits is text, and a number."""
    number: Any = ItemKNN().fit(NUMBERED)
    word: Any = ItemKNN().fit(WORDED)
    asked: Any
    popular = number.recommend([[]], 3).lists()[0]
    for asked in ([["abc"], ["0"]], [["abc", 999]], [["999"]], [[10**30]], [[], []]):
        assert popular in number.recommend(asked, 3).lists()
    for asked in ([["5"]], [["new"]], [[5, "i0"]], [[5], ["new"]]):
        assert len(word.recommend(asked, 3).lists()[0]) == 3
    text = ItemKNN().fit(read_log(NUMBERED.to_frame(), ids="text"))
    assert text.recommend([[999]], 3).lists() == text.recommend([[]], 3).lists()
    assert text.recommend([[1]], 3).lists() == text.recommend([["1"]], 3).lists()


@pytest.mark.parametrize("kept", ["integers", "text"])
def test_models_meet_logs_of_the_other_type(numbered: dict[str, Model], kept: str) -> None:
    texts = read_log(NUMBERED.to_frame().with_columns(pl.col("item_id").cast(pl.String)))
    answer = numbered[kept].recommend(texts.histories(), 4).lists()
    assert answer == numbered[kept].recommend(NUMBERED.histories(), 4).lists()
    assert len({tuple(row) for row in answer}) > 2


@pytest.mark.parametrize("kept", ["integers", "text"])
@pytest.mark.parametrize("value", [True, None, 2.5, {"id": 2}, float("nan")], ids=str)
def test_what_cannot_be_an_id_is_named(numbered: dict[str, Model], kept: str, value: Any) -> None:
    model = numbered[kept]
    rule = "; ids must be strings or whole numbers"
    for place in ("only", "exclude"):
        for asked in ([1, value], (1, value)):
            with pytest.raises(DataError, match=rf"^{place}\[1\] is .*{rule}"):
                model.recommend([[0]], **{place: asked})  # type: ignore[arg-type]
            with pytest.raises(DataError, match=rf"^{place}\[1\] is .*{rule}"):
                model.similar_items([0], **{place: asked})  # type: ignore[arg-type]
    with pytest.raises(DataError, match=rf"^history 1\[0\] is .*{rule}"):
        model.recommend([[0], [value]])
    with pytest.raises(DataError, match=rf"^ids\[0\] is .*{rule}"):
        model.similar_items([value])
    with pytest.raises(DataError, match=rf"^item is .*{rule}"):
        model.explain([0], value)
    with pytest.raises(DataError, match=rf"^history 0\[1\] is .*{rule}"):
        model.explain([0, value], 1)


def test_a_list_given_as_a_word_is_an_error(numbered: dict[str, Model]) -> None:
    for place in ("only", "exclude"):
        with pytest.raises(DataError, match=f"{place} is '10'; it must be a list or column of ids"):
            numbered["text"].recommend([[0]], **{place: "10"})  # type: ignore[arg-type]
    with pytest.raises(DataError, match="history 0 is '0'; it must be a list or column of ids"):
        numbered["text"].recommend(["0", "1"])


def test_whole_numbers_beyond_64_bits_come_back(tmp_path: Path) -> None:
    a, b = 2**63 + 5, 2**100
    texts = pl.DataFrame({"user": [1, 1, 2, 2], "item": [str(a), str(b), str(a), "7"]})
    wide = texts.with_columns(pl.col("item").cast(pl.Int128))
    (tmp_path / "log.jsonl").write_text("".join(f'{{"user": {u}, "item": {i}}}\n' for u, i in texts.iter_rows()))
    decimal = pa.table(
        {"user": [1, 1, 2, 2], "item": pa.array([Decimal(i) for i in texts["item"]], pa.decimal128(38))}
    )
    for source in (texts, wide, decimal, tmp_path / "log.jsonl"):
        ItemKNN().fit(read_log(source)).save(tmp_path / "model")
        model = load(tmp_path / "model")
        assert model.recommend([[a, b]]).lists() == [["7"]]
        assert model.recommend([[a]], exclude=[b, 7]).lists() == [[]]
        assert model.recommend([[]], only=[b]).lists() == [[str(b)]]
        assert model.explain([a], 7)


def test_a_join_without_a_partner_is_told_of(numbered: dict[str, Model]) -> None:
    model = numbered["integers"]
    named = log_of([("ann", "x", 1, 0), ("ann", "y", 1, 1), ("bob", "x", 1, 0)])
    with pytest.warns(
        JoinWarning, match=r"^histories: none of 2 items is known to the model: 'x', 'y'; the model has \d"
    ):
        model.recommend(named.histories(), 3)
    for place in ("only", "exclude"):
        with pytest.warns(
            JoinWarning, match=rf"^{place}: none of 1 items is known to the model: 'x'; the model has \d"
        ):
            model.recommend([[0]], **{place: ["x"]})  # type: ignore[arg-type]
    mixed = log_of([("ann", "x", 1, 0), ("ann", 3, 1, 1), ("bob", "x", 1, 0)])
    model.recommend(mixed.histories(), 3, only=[1, "x"], exclude=[2, "x"])
    model.recommend(mixed.histories(["bob"]), 3)
    model.recommend([[98], [99]], 3, only=[], exclude=[])


# Logs and catalogues


def test_one_id_that_is_no_number_parts_no_file_from_another(tmp_path: Path) -> None:
    """What a file's other ids are does not change whom an id meets."""
    (tmp_path / "log.csv").write_text("user,item\n1,10\n1,20\n2,10\n2,30\n3,20\n3,30\n")
    (tmp_path / "new.csv").write_text("user,item\nann,10\nann,NEW-9\n007,20\n")
    (tmp_path / "items.csv").write_text("item,title\n10,Ten\n20,Twenty\n30,Thirty\n007,Bond\n")
    log, new = read_log(tmp_path / "log.csv"), read_log(tmp_path / "new.csv")
    titles = read_catalogue(tmp_path / "items.csv")
    model = ItemKNN().fit(log)
    assert model.recommend(new.histories(["ann", "007"])).lists() == model.recommend([[10], [20]]).lists()
    assert titles.titles([10, "20", "007", 7]) == ["Ten", "Twenty", "Bond", "7"]
    assert titles.title(np.int32(10)) == titles.row("10")["title"] == "Ten"  # type: ignore[arg-type]
    assert len(titles.among(log.items)) == 3
    assert titles.without(log.items).items.ids.to_list() == ["007"]
    merged = log.merge(new)
    assert (len(merged.users), len(merged.items)) == (5, 4)
    with pytest.raises(DataError, match=r"items\[1\] is None; ids must be"):
        titles.titles([10, None])  # type: ignore[list-item]


def test_ids_are_kept_as_text_where_asked(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("user,item\n1,10\n2,20\n")
    (tmp_path / "items.csv").write_text("item,title\n10,Ten\n20,Twenty\n")
    frame = pl.DataFrame({"user": [1, 2], "item": [10, 20]})
    for source in (tmp_path / "log.csv", frame, frame.to_arrow()):
        assert read_log(source).items.ids.to_list() == [10, 20]
        assert read_log(source, ids="text").items.ids.to_list() == ["10", "20"]
        assert read_log(source, ids="text").users.ids.to_list() == ["1", "2"]
    assert read_catalogue(tmp_path / "items.csv").items.ids.to_list() == [10, 20]
    texts = read_catalogue(tmp_path / "items.csv", ids="text")
    assert texts.frame["item_id"].to_list() == ["10", "20"]
    for read in (read_log, read_catalogue):
        with pytest.raises(SettingError, match='ids=\'int\': must be "auto" or "text"'):
            read(frame, ids="int")


WHOLE = [5, 7, 5, 10**12]
COLUMNS = {
    "Int8 to Int64": pl.Series(WHOLE),
    "UInt64": pl.Series(WHOLE, dtype=pl.UInt64),
    "Int128": pl.Series(WHOLE, dtype=pl.Int128),
    "Decimal": pl.Series([Decimal(n) for n in WHOLE], dtype=pl.Decimal(38, 0)),
    "Decimal with places": pl.Series([Decimal(n) for n in WHOLE], dtype=pl.Decimal(38, 4)),
    "Float64": pl.Series(WHOLE, dtype=pl.Float64),
}


@pytest.mark.parametrize("column", COLUMNS.values(), ids=COLUMNS.keys())
def test_whole_numbers_of_any_type_are_read(column: pl.Series) -> None:
    log = read_log(pl.DataFrame({"user": column, "item": column}))
    assert log.to_frame()["item_id"].to_list() == sorted(WHOLE)
    assert log.histories(column).users.to_list() == WHOLE
    items = read_catalogue(pl.DataFrame({"item": column.unique(maintain_order=True)}))
    assert items.items.ids.to_list() == [5, 7, 10**12]


def test_binary_ids_are_text_in_utf8() -> None:
    frame = pl.DataFrame({"user": [b"ann", "é".encode()], "item": [b"5", b"x"]})
    log = read_log(frame)
    assert log.to_frame().select("user_id", "item_id").rows() == [("ann", "5"), ("é", "x")]
    assert read_log(frame.to_arrow()).items.ids.to_list() == ["5", "x"]
    for bad in (b"\xff", b"", None):
        broken = pl.DataFrame({"user": [b"ann", bad], "item": [1, 2]}, schema_overrides={"user": pl.Binary})
        with pytest.raises(
            DataError, match=r"row 2 of .*: user is .*; ids must be strings or whole numbers, not empty"
        ):
            read_log(broken)


@pytest.mark.parametrize("column", [[True, False], [1.5, 2.0], [[1], [2]], [Decimal("1.5"), Decimal(2)]], ids=str)
def test_a_column_of_no_ids_is_refused(column: list[Any]) -> None:
    with pytest.raises(DataError, match=r"row 1 of .*: item is .*; ids must be strings or whole numbers, not empty"):
        read_log(pl.DataFrame({"user": [1, 2], "item": column}))


def test_a_float_that_cannot_hold_its_number_is_refused() -> None:
    assert read_log(
        pl.DataFrame({"user": [1], "item": pl.Series([2**24], dtype=pl.Float32)})
    ).items.ids.to_list() == [2**24]
    for kind, number in ((pl.Float32, 2**24 + 2), (pl.Float64, 2**53 + 2)):
        with pytest.raises(DataError, match="ids must be strings or whole numbers"):
            read_log(pl.DataFrame({"user": [1], "item": pl.Series([number], dtype=kind)}))


# Measuring


def test_measures_are_the_same_whatever_holds_the_ids() -> None:
    frame = NUMBERED.to_frame()
    logs = [read_log(frame), read_log(frame, ids="text")]
    splits = [split_ratio(log, test=0.4) for log in logs]
    splits += [Split.of(splits[0].train, splits[1].test), Split.of(splits[1].train, splits[0].test)]
    catalogue = catalogue_of(NUMBERED)
    for subject in (
        IALS(dim=4).fit(logs[0]),
        IALS(dim=4).fit(logs[1]),
        Content(dim=4),
        Hybrid(dim=4, base="IALS(dim=4)"),
    ):
        scores = {evaluate(subject, split, 5, catalogue=catalogue)["NDCG@5"] for split in splits}
        assert len(scores) == 1
        assert scores.pop() > 0.1


def test_only_is_read_by_spelling_in_a_measure() -> None:
    split = split_ratio(NUMBERED, test=0.4)
    model = Popularity().fit(split.train)
    expected = evaluate(model, split, 5, only=[0, 1, 2, 13, 14])["NDCG@5"]
    for only in (
        ["0", "1", "2", "13", "14"],
        pl.Series([0, 1, 2, 13, 14], dtype=pl.UInt16),
        np.array([0, 1, 2, 13, 14]),
    ):
        assert evaluate(model, split, 5, only=only)["NDCG@5"] == expected
        assert compare([model], split, 5, only=only)["Popularity"]["NDCG@5"] == expected
    for measure in (evaluate, lambda model, *rest, **named: compare([model], *rest, **named)):
        with pytest.raises(DataError, match=r"only\[1\] is True; ids must be"):
            measure(model, split, 5, only=[0, True])
        with pytest.warns(JoinWarning, match="only: none of 1 items is known to the model: 'x'"):
            measure(model, split, 5, only=["x"])


def test_new_items_of_a_catalogue_are_ranked_beside_ids_of_the_other_type() -> None:
    catalogue = read_catalogue(
        pl.DataFrame({"item": ["0", "1", "NEW-9"], "title": ["first, 0", "first, 1", "first, 9"]})
    )
    for recipe in (Content(dim=4), Hybrid(dim=4, base="IALS(dim=4)")):
        model = recipe.fit(NUMBERED, catalogue)
        assert model.items.ids.to_list() == [*map(str, NUMBERED.items.ids), "NEW-9"]
        wider = recipe.fit(NUMBERED, catalogue_of(NUMBERED)).with_items(catalogue)
        assert wider.items.ids.to_list() == model.items.ids.to_list()
        assert wider.recommend([[0, 2]], only=["NEW-9", 13], keep_seen=True).lists() == [["NEW-9", "13"]]
