"""Text of any dialect: found by looking, said, and stated where looking cannot tell."""

from __future__ import annotations

import tempfile
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from palate.data.catalogue import read_catalogue
from palate.data.readers import read_log
from palate.errors import DataError, DataWarning, MissingExtra, SettingError

ROWS = [("ann", "b 1", 4.5, "2020-12-31"), ("bob", "é", 3.0, "2020-02-01"), ("bob", "c", 2.25, "2020-02-02")]


def read(folder: Path, text: str | bytes, name: str = "a.csv", **reading: Any) -> tuple[list[tuple[Any, ...]], str]:
    """Rows of the log of a text, and what was said of it."""
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        log = read_log(path, **reading)
    return log.to_frame().rows(), "; ".join(str(one.message).removeprefix(f"{name}: read as ") for one in told)


def written(separator: str, comma: bool = False, blank: str = "", quote: str = "") -> str:
    lines = [("user", "item", "rating", "time"), *ROWS]
    cells = [
        [quote + (str(cell).replace(".", ",") if comma else str(cell)) + quote for cell in line] for line in lines
    ]
    return "".join((separator + blank).join(line) + "\n" for line in cells)


EXPECTED = [(user, item, rating, datetime.fromisoformat(day).replace(tzinfo=UTC)) for user, item, rating, day in ROWS]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (written(","), ""),
        (written(";"), "';'-separated"),
        (written("\t"), "tab-separated"),
        (written("|", quote='"'), "'|'-separated"),
        (written(";", comma=True), "';'-separated, decimal comma"),
        (written(";", comma=True, quote='"'), "';'-separated, decimal comma"),
        (written(",", blank=" "), "blanks after separators left out"),
        (written(",", blank=" ", quote='"'), "blanks after separators left out"),
        (written(";").encode("windows-1252"), "';'-separated, windows-1252"),
        (written(",").encode("utf-16"), "utf-16"),
        (b"\xef\xbb\xbf" + written(";").encode(), "';'-separated"),
        (written("|").replace("\n", "\r\n"), "'|'-separated"),
    ],
    ids=range(12),
)
def test_dialects_are_found_and_said(text: str | bytes, said: str, tmp_path: Path) -> None:
    assert read(tmp_path, text) == (EXPECTED, said)
    assert read(tmp_path, text, "a.txt")[0] == EXPECTED


def test_what_is_stated_is_not_said(tmp_path: Path) -> None:
    text = written(";", comma=True).encode("windows-1252")
    assert read(tmp_path, text, separator=";", decimal=",", encoding="windows-1252") == (EXPECTED, "")
    assert read(tmp_path, written("\t"), separator="tab") == (EXPECTED, "")
    with pytest.raises(DataError, match="no user column among 'user;item;rating;time'"):
        read(tmp_path, written(";"), separator=",")
    with pytest.raises(DataError, match=r"row 2 of a\.csv: b'bob;\\xe9;3,0;2020-02-01\\n' is not UTF-8"):
        read(tmp_path, text, encoding="utf-8")
    for wrong in ({"separator": ":|"}, {"separator": "é"}, {"decimal": "·"}, {"encoding": "klingon"}):
        with pytest.raises(SettingError, match=f"{next(iter(wrong))}="):
            read(tmp_path, text, **wrong)


def test_a_point_among_decimal_commas_is_a_fault(tmp_path: Path) -> None:
    text = "user;item;rating\nann;b;1.234\nbob;c;4,5\n"
    with pytest.raises(DataError, match=r"row 2 of a\.csv: rating is '4,5'; weights"):
        read(tmp_path, text)
    with pytest.raises(DataError, match=r"row 1 of a\.csv: rating is 1\.234; weights"):
        read(tmp_path, text, decimal=",")


def test_a_catalogue_has_dialects_too(tmp_path: Path) -> None:
    path = tmp_path / "items.csv"
    path.write_bytes("item;title;price\n1;Äpfel;2,50\n2;Tee, grün;3\n".encode("windows-1252"))
    with pytest.warns(DataWarning, match=r"items\.csv: read as ';'-separated, decimal comma, windows-1252"):
        items = read_catalogue(path)
    assert items.frame.rows() == [(1, "Äpfel", 2.5), (2, "Tee, grün", 3.0)]


field = st.text(st.sampled_from('ab ,"\n;é'), max_size=4)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(field, field), min_size=1, max_size=6), st.sampled_from(";|\t"), st.booleans())
def test_any_quoted_text_survives_any_separator(rows: list[tuple[str, str]], separator: str, blank: bool) -> None:
    cells = [("user", "item"), *((f"u{user}", f"i{item}") for user, item in rows)]
    quoted = [['"' + cell.replace('"', '""') + '"' for cell in line] for line in cells]
    text = "".join((separator + " " * blank).join(line) + "\n" for line in quoted)
    with tempfile.TemporaryDirectory() as folder:
        found = read(Path(folder), text, ids="text")[0]
    assert sorted(row[:2] for row in found) == sorted(cells[1:])


# Dates: the reading that the whole column shows


def times(folder: Path, values: list[str], **reading: Any) -> tuple[list[str], str]:
    text = "user\titem\ttime\n" + "".join(f"{n}\tx\t{value}\n" for n, value in enumerate(values))
    rows, said = read(folder, text, "a.tsv", **reading)
    return [row[3].isoformat(" ", "minutes")[:16] for row in rows], said


@pytest.mark.parametrize(
    ("values", "found", "said"),
    [
        (["31.12.2020", "1.2.2021 13:05"], ["2020-12-31 00:00", "2021-02-01 13:05"], "dates day first"),
        (
            ["01/02/2021 12:30 am", "12/31/2020, 1:05 p.m."],
            ["2021-01-02 00:30", "2020-12-31 13:05"],
            "dates month first",
        ),
        (["05-05-2020"], ["2020-05-05 00:00"], ""),
        (["2020-01-02", "30-01-2020 07:08:09"], ["2020-01-02 00:00", "2020-01-30 07:08"], "dates day first"),
    ],
    ids=range(4),
)
def test_the_order_of_days_and_months_is_that_of_the_whole_column(
    values: list[str], found: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert times(tmp_path, values) == (found, said)
    monkeypatch.setattr("palate.data.delimited.CHUNK", 20)
    assert times(tmp_path, values) == (found, said)


def test_an_order_that_nothing_shows_is_asked_for(tmp_path: Path) -> None:
    values = ["05.05.2020", "03.04.2020", "01.02.2021"]
    message = (
        r"row 2 of a\.tsv: time is '3/4/2020', which may be 2020-04-03 or 2020-03-04, as no other time shows; time_f"
    )
    with pytest.raises(DataError, match=message):
        times(tmp_path, values)
    assert times(tmp_path, values, time_format="day first")[0][1:] == ["2020-04-03 00:00", "2021-02-01 00:00"]
    assert times(tmp_path, values, time_format="month first")[0][1:] == ["2020-03-04 00:00", "2021-01-02 00:00"]


@pytest.mark.parametrize("bad", ["01/22/2021", "31/02/2020", "01.02.2021 25:00", "1/2/20201", "0/1/2020"])
def test_a_day_that_is_none_in_this_order_is_a_fault(bad: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"row 3 of a\.tsv: time is .*; times must be"):
        times(tmp_path, ["13/04/2020", "14/04/2020", bad])


# Sources of several files


def test_lists_patterns_archives_and_folders_of_keys_are_one_log(tmp_path: Path) -> None:
    head, rows = "user,item\n", ["ann,x\n", "bob,y\n", "ann,z\n"]
    for n, row in enumerate(rows):
        (tmp_path / f"part-{n}.csv").write_text(head + row)
    expected = read_log([tmp_path / f"part-{n}.csv" for n in range(3)]).to_frame().rows()
    assert [row[:2] for row in expected] == [("ann", "x"), ("ann", "z"), ("bob", "y")]
    with ZipFile(tmp_path / "log.zip", "w") as archive:
        for n, row in enumerate(rows):
            archive.writestr(f"export/part-{n}.csv", head + row)
        archive.writestr("__MACOSX/export/._part-1.csv", "?")
        archive.writestr("export/.hidden", "?")
    for source in (
        str(tmp_path / "part-?.csv"),
        tmp_path / "log.zip",
        (str(tmp_path / "part-[01].csv"), tmp_path / "part-2.csv"),
    ):
        assert read_log(source).to_frame().rows() == expected
    with pytest.raises(DataError, match=r"part-x\*\.csv: no such file or folder"):
        read_log(tmp_path / "part-x*.csv")
    (tmp_path / "part-3.csv").write_text(head + ",x\n")
    with pytest.raises(DataError, match=r"row 1 of part-3\.csv: user is empty"):
        read_log(tmp_path / "part-*.csv")
    (tmp_path / "bad.zip").write_bytes((tmp_path / "log.zip").read_bytes()[:-30])
    with pytest.raises(DataError, match=r"bad\.zip: cannot be read: "):
        read_log(tmp_path / "bad.zip")


def test_folders_named_by_keys_give_columns(tmp_path: Path) -> None:
    for kind, day, text in (("view", "2020-01-02", "ann,x\n"), ("add%20to cart", "2020-01-03", "ann,y\nbob,y\n")):
        folder = tmp_path / "log" / f"event={kind}" / f"date={day}"
        folder.mkdir(parents=True)
        (folder / "part.csv").write_text("user,item\n" + text)
    rows = read_log(tmp_path / "log").to_frame().sort("user_id", "item_id").rows()
    assert [(user, item, time.day, kind) for user, item, _, time, kind in rows] == [
        ("ann", "x", 2, "view"),
        ("ann", "y", 3, "add to cart"),
        ("bob", "y", 3, "add to cart"),
    ]


SHEET = '<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>%s</sheetData></worksheet>'
CONTENT = "application/vnd.openxmlformats-officedocument.spreadsheetml"
WORKBOOK = {
    "[Content_Types].xml": '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
    '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    f'<Override PartName="/xl/workbook.xml" ContentType="{CONTENT}.sheet.main+xml"/>'
    f'<Override PartName="/xl/sheet.xml" ContentType="{CONTENT}.worksheet+xml"/></Types>',
    "_rels/.rels": '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
    '<Relationship Id="r1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" '
    'Target="xl/workbook.xml"/></Relationships>',
    "xl/_rels/workbook.xml.rels": '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
    '<Relationship Id="r1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet" '
    'Target="sheet.xml"/></Relationships>',
    "xl/workbook.xml": '<workbook xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" '
    'xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships">'
    '<sheets><sheet name="log" sheetId="1" r:id="r1"/></sheets></workbook>',
}


def write_workbook(path: Path, rows: list[tuple[str | float | None, ...]]) -> None:
    def cell(value: str | float | None) -> str:
        if value is None:
            return "<c/>"
        return f'<c t="inlineStr"><is><t>{value}</t></is></c>' if isinstance(value, str) else f"<c><v>{value}</v></c>"

    text = "".join(f"<row>{''.join(map(cell, row))}</row>" for row in rows)
    with ZipFile(path, "w") as archive:
        for name, content in WORKBOOK.items():
            archive.writestr(name, content)
        archive.writestr("xl/sheet.xml", SHEET % text)


def test_a_workbook_is_a_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log.xlsx"
    write_workbook(path, [("user", "item", "rating"), ("ann", 7, 4.5), (None, None, None), ("bob", 8, -3)])
    monkeypatch.setattr("palate.errors.find_spec", lambda _: None)
    with pytest.raises(MissingExtra, match=r"palate\[excel\]"):
        read_log(path)
    monkeypatch.undo()
    pytest.importorskip("fastexcel")
    with pytest.raises(DataError, match=r"row 3 of log\.xlsx: rating is -3; weights"):
        read_log(path)
    with pytest.warns(DataWarning, match="skipped 1 of 2"):
        assert read_log(path, on_error="skip").to_frame().rows() == [("ann", 7, 4.5)]
    path.write_bytes(b"PK no workbook")
    with pytest.raises(DataError, match=r"log\.xlsx: cannot be read: "):
        read_log(path)
