from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from palate.data.catalogue import read_catalogue
from palate.data.interactions import Interactions
from palate.data.readers import read_log
from palate.errors import DataError, DataWarning, SettingError

RATINGS = ["1::1193::5::978300760", "1::661::3::978302109", "2::914::4::978301968"]


def write(folder: Path, name: str, lines: list[str]) -> Path:
    path = folder / name
    path.write_text("\n".join(lines) + "\n")
    return path


def read(path: Path, **reading: str) -> tuple[Interactions, list[str]]:
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        log = read_log(path, **reading)  # type: ignore[arg-type]
    return log, [str(each.message) for each in found]


@pytest.mark.parametrize("mark", ["::", "\t", ",", "|"])
def test_columns_without_names_are_found_by_their_values(mark: str, tmp_path: Path) -> None:
    path = write(tmp_path, "ratings.dat", [line.replace("::", mark) for line in RATINGS])
    log, said = read(path)
    assert log.users.ids.to_list() == [1, 2]
    assert log.items.names(log.item).to_list() == [1193, 661, 914]
    assert log.weight.tolist() == [5, 3, 4]
    assert log.timestamp is not None
    assert log.timestamp.tolist() == [978300760_000000, 978302109_000000, 978301968_000000]
    columns = "no header, column 1 user, column 2 item, column 3 weight, column 4 time"
    form = columns if mark == "\t" else f"{mark!r}-separated, {columns}"
    assert said == [f"ratings.dat: read as {form}"]


def test_the_time_may_stand_anywhere_and_events_be_words(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", ["2020-01-02,ann,500,view", "2020-01-03,bob,501,buy"])
    log, said = read(path)
    assert log.event_types == ("view", "buy")
    assert log.users.ids.to_list() == ["ann", "bob"]
    assert said == ["a.csv: read as no header, column 1 time, column 2 user, column 3 item, column 4 event"]


@pytest.mark.parametrize(
    "row",
    [
        "1,2268318,2520377,978300760",  # an item or its category?
        "1,5,3",  # item and rating look alike
        "1,4.5,300",
        "1,978300760",
        "1,2,978300760,978300761",
    ],
)
def test_a_doubt_is_an_error_that_shows_the_row(row: str, tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", [row, row])
    with pytest.raises(DataError, match=r"a.csv: no header.*" + row.replace(",", "', '") + ".*header=none, user=1"):
        read_log(path)


def test_columns_are_chosen_by_their_numbers(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", ["5,ann,x", "3,bob,y", "4,bob"])
    with pytest.raises(DataError, match=r"row 3 of a\.csv: 2 fields; the first row has 3"):
        read_log(path, header="none", user="2", item="3", weight="1")
    log, said = read(write(tmp_path, "a.csv", ["5,ann,x", "3,bob,y"]), header="none", user="2", item="3", weight="1")
    assert (log.weight.tolist(), log.users.ids.to_list(), said) == ([5, 3], ["ann", "bob"], [])
    with pytest.raises(DataError, match="no column '4'"):
        read_log(path, header="none", user="2", item="4")
    path = write(tmp_path, "f.dat", ['1::Toy, "A"::x|y'])
    films = read_catalogue(path, separator="::", header="none", item="1", title="2")
    assert films.frame.rows() == [(1, 'Toy, "A"', "x|y")]


def test_a_header_of_names_is_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no user column"):
        read_log(write(tmp_path, "a.csv", ["who,what", "1,2"]))
    with pytest.raises(DataError, match="no user column"):
        read_log(write(tmp_path, "a.csv", ["1,2", "1,2"]), header="first")
    with pytest.raises(SettingError, match="header"):
        read_log(tmp_path / "a.csv", header="second")


def test_a_separator_may_be_cut_between_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("palate.data.delimited.CHUNK", 50)
    log, _ = read(write(tmp_path, "r.dat", RATINGS * 20))
    assert len(log) == 60
    with pytest.warns(DataWarning, match="no header"):
        assert read_log(write(tmp_path, "r.dat", RATINGS), separator="::").weight.tolist() == [5, 3, 4]
