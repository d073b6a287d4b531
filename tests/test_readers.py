"""Reading logs: every kind of source, every rule, and no traceback of ours whatever the bytes."""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import json
import math
import tempfile
import warnings
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from palate.data import batch, delimited
from palate.data.columns import CATALOGUE, LOG
from palate.data.event_types import EventType
from palate.data.interactions import Interactions
from palate.data.readers import read_log
from palate.errors import DataError, DataWarning, PalateError, SettingError

DATA = Path(__file__).parents[2] / "shared" / "data"
SECOND = 1_000_000


def small() -> pl.DataFrame:
    """30 users, 20 items, 200 events, most of them of a few users."""
    draw = np.random.default_rng(5)
    user = np.append(np.arange(30), (30 * draw.random(170) ** 3).astype(int))
    item = np.append(np.arange(20), (20 * draw.random(180) ** 2).astype(int))
    return pl.DataFrame(
        {
            "user_id": [f"u{n}" for n in user],
            "item_id": item,
            "rating": draw.integers(1, 11, 200) / 2,
            "timestamp": draw.integers(1_500_000_000, 1_600_000_000, 200),
        }
    )


def expected(frame: pl.DataFrame) -> list[tuple[Any, ...]]:
    """Rows of a log read from a frame like `small`, by plain Python: users as they come, each in time order."""
    rows = list(frame.iter_rows())
    order = list(dict.fromkeys(row[0] for row in rows))
    grouped = sorted(rows, key=lambda row: (order.index(row[0]), row[3]))
    return [(u, i, float(np.float32(w)), datetime.fromtimestamp(t, UTC)) for u, i, w, t in grouped]


def write(folder: Path, name: str, text: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def to_jsonl(frame: pl.DataFrame, path: Path) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in frame.iter_rows(named=True)))


def to_zst(frame: pl.DataFrame, path: Path) -> None:
    frame.write_csv(path, compression="zstd", check_extension=False)


WRITERS: dict[str, Callable[[pl.DataFrame, Path], object]] = {
    "log.csv": lambda frame, path: frame.write_csv(path),
    "log.tsv": lambda frame, path: frame.write_csv(path, separator="\t"),
    "log.CSV.GZ": lambda frame, path: path.write_bytes(gzip.compress(frame.write_csv().encode())),
    "log.csv.zst": to_zst,
    "log.crlf.csv": lambda frame, path: path.write_bytes(frame.write_csv().replace("\n", "\r\n").encode()),
    "log.bom.csv": lambda frame, path: path.write_bytes(b"\xef\xbb\xbf" + frame.write_csv().encode()),
    "log.quoted.csv": lambda frame, path: frame.write_csv(path, quote_style="always"),
    "log.jsonl": to_jsonl,
    "log.parquet": lambda frame, path: frame.write_parquet(path, row_group_size=64),
    "log.parquet.gz": lambda frame, path: path.write_bytes(gzip.compress(parquet(frame))),
    "log.arrow": lambda frame, path: frame.write_ipc(path),
    "log.ipc": lambda frame, path: frame.write_ipc_stream(path),
}


def parquet(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("name", WRITERS)
def test_every_kind_of_file_gives_the_same_log(name: str, tmp_path: Path) -> None:
    WRITERS[name](small(), tmp_path / name)
    assert list(read_log(tmp_path / name).to_frame().iter_rows()) == expected(small())


@pytest.mark.parametrize(
    "convert",
    [
        lambda frame: frame,
        lambda frame: frame.lazy(),
        lambda frame: frame.to_pandas(),
        lambda frame: frame.to_arrow(),
        lambda frame: pa.RecordBatchReader.from_batches(frame.to_arrow().schema, frame.to_arrow().to_batches()),
        lambda frame: frame.with_columns(pl.col("user_id").cast(pl.Categorical)),
    ],
    ids=["polars", "lazy", "pandas", "arrow", "stream", "categorical"],
)
def test_every_kind_of_frame_gives_the_same_log(convert: Callable[[pl.DataFrame], object]) -> None:
    assert list(read_log(convert(small())).to_frame().iter_rows()) == expected(small())


def test_a_folder_is_its_parts_in_the_order_of_names(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    folder.mkdir()
    small()[120:].write_csv(folder / "part-2.csv")
    small()[:120].write_parquet(folder / "part-1.parquet")
    write(folder, "_SUCCESS", "")
    write(folder, ".part-1.crc", "x")
    assert list(read_log(str(folder)).to_frame().iter_rows()) == expected(small())
    write(folder, "part-3.csv", "user_id,item_id\nu1,3\n")
    with pytest.raises(DataError, match=r"log/part-3.csv: has columns of 'user', 'item'; the parts before have"):
        read_log(folder)


def test_small_blocks_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = small().with_columns(pl.format('a,"{}\n"', "user_id").alias("user_id"))
    frame.write_csv(tmp_path / "log.csv")
    to_jsonl(frame, tmp_path / "log.jsonl")
    monkeypatch.setattr(delimited, "CHUNK", 7)
    monkeypatch.setattr("palate.data.jsonlines.CHUNK", 7)
    for name in ("log.csv", "log.jsonl"):
        assert list(read_log(tmp_path / name).to_frame().iter_rows()) == expected(frame)


@pytest.mark.parametrize(
    ("header", "columns"),
    [
        ("userId,movieId,rating,timestamp", "user item weight time"),
        ("FeedbackType,UserId,ItemId,Timestamp", "event user item time"),
        ("USER_ID,ITEM_ID,TIMESTAMP,EVENT_TYPE,EVENT_VALUE", "user item time event weight"),
        ("user_id:token,item_id:token,rating:float,timestamp:float", "user item weight time"),
        ("timestamp,visitorid,event,itemid,transactionid", "time user event item -"),
        ("event_time,event_type,product_id,category_id,brand,price,user_id", "time event item - - - user"),
        ("reviewerID,asin,overall,unixReviewTime", "user item weight time"),
        ("t_dat,customer_id,article_id,price,sales_channel_id", "time user item - -"),
        ("uid,type,iid,ts", "user event item time"),
    ],
)
def test_usual_names_need_no_help(header: str, columns: str, tmp_path: Path) -> None:
    values = {"user": "ann", "item": "b1", "time": "2020-01-02", "weight": "2.5", "event": "view", "-": "?"}
    row = ",".join(values[role] for role in columns.split())
    log = read_log(write(tmp_path, "log.csv", f"{header}\n{row}\n"))
    assert (log.users.ids.to_list(), log.items.ids.to_list()) == (["ann"], ["b1"])
    assert log.weight.tolist() == [2.5 if "weight" in columns else 1]
    assert (log.timestamp is not None) == ("time" in columns)
    assert log.event_types == (("view",) if "event" in columns else ())


def test_overrides_name_any_column(tmp_path: Path) -> None:
    path = write(tmp_path, "log.csv", "1,user,^x$,when\nann,x,b,5\n")
    log = read_log(path, user="1", item="^x$", time="when")
    assert log.to_frame().rows() == [("ann", "b", 1, datetime(1970, 1, 1, 0, 0, 5, tzinfo=UTC))]
    assert read_log(small(), weight="").weight.tolist() == [1] * 200
    assert read_log(small().rename({"item_id": "*"}), item="*").items.ids.dtype == pl.Int64
    with pytest.raises(DataError, match=r"log.csv: no column 'nobody' \(user=\); its columns are '1', 'user'"):
        read_log(path, user="nobody")


@pytest.mark.parametrize(
    "ids", [["007", "7", "08"], ["+1", "2"], ["-0", "1"], ["9223372036854775808", "1"], [" 1", "2"], ["1.0", "2"]]
)
def test_ids_of_text_stay_strings_unless_all_are_integers(ids: list[str], tmp_path: Path) -> None:
    text = "user_id,item_id\n" + "".join(f"{value},5\n" for value in ids)
    log = read_log(write(tmp_path, "log.csv", text))
    assert log.users.ids.to_list() == ids
    assert log.items.ids.to_list() == [5]


def test_typed_ids_keep_their_type(tmp_path: Path) -> None:
    frame = pl.DataFrame({"user_id": ["1", "2"], "item_id": [-3, 4]})
    to_jsonl(frame, tmp_path / "log.jsonl")
    for source in (frame, frame.to_pandas(), tmp_path / "log.jsonl"):
        log = read_log(source)
        assert log.users.ids.to_list() == ["1", "2"]
        assert log.items.ids.to_list() == [-3, 4]
    mixed = write(tmp_path, "mixed.jsonl", '{"user": 1, "item": "a"}\n{"user": "x", "item": 99999999999999999999}\n')
    log = read_log(mixed)
    assert (log.users.ids.to_list(), log.items.ids.to_list()) == (["1", "x"], ["a", "99999999999999999999"])


def test_a_bad_value_does_not_turn_integer_ids_into_strings(tmp_path: Path) -> None:
    path = write(tmp_path, "a.jsonl", '{"user": 1, "item": 2}\n{"user": [1], "item": 2}\n{"user": true, "item": 2}\n')
    with pytest.warns(DataWarning, match="skipped 2 of 3"):
        assert read_log(path, on_error="skip").users.ids.to_list() == [1]
    shelf = pl.DataFrame({"user": ["a", ""], "item": [1, 2]}).cast({"user": pl.Categorical})
    with pytest.raises(DataError, match="row 2 of the frame: user is"):
        read_log(shelf)


odd_ids = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6) | st.sampled_from(
    ["a/b", "😀", '"', ",", "\n", "\r\n", "x\x01", "\ufeff", "x\x9c", " a ", "#", "\\", "nan", "null"]
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(odd_ids, odd_ids), min_size=1, max_size=20), st.integers(1, 40))
def test_any_unicode_id_survives(pairs: list[tuple[str, str]], chunk: int) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        path = Path(folder, "log.csv")
        with path.open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL)
            writer.writerows([("user_id", "item_id"), *pairs])
        patch.setattr(delimited, "CHUNK", chunk)
        log = read_log(path)
        order = list(dict.fromkeys(user for user, _ in pairs))
        told = log.to_frame().cast(pl.String).rows()
        assert [row[:2] for row in told] == sorted(pairs, key=lambda pair: order.index(pair[0]))


MOMENT = datetime(2020, 2, 29, 12, 30, 15, 123456, tzinfo=UTC)
MICROSECONDS = (MOMENT - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("written", "lost"),
    [
        (str(MICROSECONDS // SECOND), SECOND),
        (f"{MICROSECONDS / SECOND:.6f}", 1),
        (f"{MICROSECONDS // SECOND}e0", SECOND),
        (str(MICROSECONDS // 1000), 1000),
        (str(MICROSECONDS), 1),
        (str(MICROSECONDS * 1000 + 999), 1),
        (MOMENT.isoformat(), 1),
        ("2020-02-29T12:30:15.123456Z", 1),
        ("2020-02-29 12:30:15.123456 UTC", 1),
        ("2020-02-29 12:30:15.123456", 1),
        ("2020-02-29T14:30:15.123456+02:00", 1),
        ("2020-02-29 10:00:15.123456-0230", 1),
        ("2020-02-29T12:30", 60 * SECOND),
        ("20200229T123015", SECOND),
        ("2020-02-29", 86400 * SECOND),
    ],
)
def test_times_of_every_unit_and_form(written: str, lost: int, tmp_path: Path) -> None:
    log = read_log(write(tmp_path, "log.csv", f"user,item,time\na,b,{written}\n"))
    assert log.timestamp is not None
    assert log.timestamp.tolist() == [MICROSECONDS // lost * lost]


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Asia/Tokyo"])
def test_times_of_frames(unit: Any, zone: str | None) -> None:
    moment = MOMENT.replace(microsecond=123000)
    times = pl.Series([moment.replace(tzinfo=None)]).cast(pl.Datetime(unit)).dt.replace_time_zone("UTC")
    times = times.dt.convert_time_zone(zone) if zone else times.dt.replace_time_zone(None)
    frame = pl.DataFrame({"user": ["a"], "item": ["b"], "time": times})
    for source in (frame, frame.to_pandas(), frame.to_arrow()):
        assert read_log(source).to_frame()["timestamp"].to_list() == [moment]
    days = frame.with_columns(time=pl.lit(date(2020, 2, 29)))
    assert read_log(days).to_frame()["timestamp"].to_list() == [datetime(2020, 2, 29, tzinfo=UTC)]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(4 * 10**11, 17 * 10**11), min_size=1, max_size=20))
def test_numbers_of_milliseconds_are_exact(times: list[int]) -> None:
    log = read_log(pl.DataFrame({"user": [1] * len(times), "item": [1] * len(times), "time": times}))
    assert log.timestamp is not None
    assert log.timestamp.tolist() == sorted(time * 1000 for time in times)


def test_event_types_are_kept_and_may_weigh(tmp_path: Path) -> None:
    path = write(tmp_path, "log.csv", "user,item,event,value\na,x,view,2\na,x,cart,1\nb,y,view,0.5\nb,y,view,0.5\n")
    log = read_log(path)
    assert log.event_types == ("view", "cart")
    assert log.event is not None
    assert log.event.tolist() == [0, 1, 0, 0]
    assert len(log) == 4, "repeated events are kept"
    assert read_log(path, weight="", weights={"view": -0.5, "cart": 3}).weight.tolist() == [-0.5, 3, -0.5, -0.5]
    weighed = read_log(path, weights={"view": 1, "cart": 3})
    assert weighed.weight.tolist() == [2, 3, 0.5, 0.5]
    assert weighed.event is not None
    assert (weighed.event.tolist(), weighed.types) == ([0, 1, 0, 0], (EventType("view", 1), EventType("cart", 3)))
    assert read_log(path, weight="", weights={"view": 1, "cart": 3}).weight.tolist() == [1, 3, 1, 1]
    assert read_log(path, weights={"view": 1, "cart": 3}, min_weight=2).weight.tolist() == [2, 3]
    with pytest.raises(DataError, match=r"row 2 of log.csv: event is 'cart'; weights= knows 'view', 'buy'"):
        read_log(path, weights={"view": 1, "buy": 3})
    with pytest.raises(DataError, match=r"the frame: no event column among"):
        read_log(small(), weights={"view": 1})


def test_min_weight_drops_events_and_those_left_without() -> None:
    log = read_log(small(), min_weight=3.5)
    kept = small().filter(pl.col("rating") >= 3.5)
    assert list(log.to_frame().iter_rows()) == expected(kept)
    tenths = pl.DataFrame({"user": [1], "item": [1], "weight": [3.3]})
    assert len(read_log(tenths, min_weight=3.3)) == 1, "compared as stored"
    assert len(read_log(small(), min_weight=9)) == 0
    with pytest.raises(DataError, match="no weight column"):
        read_log(small().drop("rating"), min_weight=1)


HEAD = "userId,movieId,rating,timestamp\n"
GOOD = "1,10,4.0,964982703\n"
BAD_ROWS = [
    (",10,4,964982703", "user", "userId is empty; ids must be"),
    ('1,"",4,964982703', "item", "movieId is empty; ids must be"),
    ("1,10,-3,964982703", "weight", "rating is -3; weights must be finite numbers, 0 or more"),
    ("1,10,1000001,964982703", "weight", "rating is 1000001; weights must be finite numbers, 0 or more, at most"),
    ("1,10,NaN,964982703", "weight", "rating is nan; weights"),
    ("1,10,inf,964982703", "weight", "rating is inf; weights"),
    ("1,10,1e99,964982703", "weight", "rating is '1e+99'; weights"),
    ("1,10,good,964982703", "weight", "rating is 'good'; weights"),
    ("1,10,,964982703", "weight", "rating is empty; weights"),
    ("1,10,4,yesterday", "time", "timestamp is 'yesterday'; times must be"),
    ("1,10,4,", "time", "timestamp is empty; times"),
    ("1,10,4,9649827030000000", "time", "timestamp is 9649827030000000; times"),
    ("1,10,4", "row", "3 fields; the header has 4"),
    ("1,10,4,964982703,x", "row", "5 fields; the header has 4"),
    ('1,10,4,"964982703', "row", "a quote out of place"),
    ('1,1"0,4,964982703', "row", "a quote out of place"),
    ('1,"10"0,4,964982703', "row", "a quote out of place"),
]


@pytest.mark.parametrize(("bad", "reason", "message"), BAD_ROWS, ids=[bad for bad, _, _ in BAD_ROWS])
def test_a_bad_row_is_named_or_skipped(bad: str, reason: str, message: str, tmp_path: Path) -> None:
    path = write(tmp_path, "plays.csv", HEAD + GOOD * 2 + "\n" + bad + "\n" + GOOD * 2 + bad + "\n")
    with pytest.raises(DataError) as raised:
        read_log(path)
    assert str(raised.value).startswith(f"row 4 of plays.csv: {message}"), "the blank line is a row too"
    with pytest.warns(DataWarning, match=rf"plays.csv: skipped 2 of 6 rows \({reason} 2\); the first is row 4 of"):
        log = read_log(path, on_error="skip")
    assert (len(log), dict(log.skipped)) == (4, {reason: 2})


def test_the_first_bad_row_is_named_whatever_its_kind(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", HEAD + GOOD + "1,10,4,soon\n" + "1,10\n" + "1,10,-1,5\n")
    with pytest.raises(DataError, match=r"row 2 of a\.csv: timestamp is 'soon'"):
        read_log(path)
    with pytest.warns(DataWarning, match=r"skipped 3 of 4 rows \(row 1, weight 1, time 1\)"):
        assert dict(read_log(path, on_error="skip").skipped) == {"row": 1, "time": 1, "weight": 1}


def test_bytes_that_are_not_utf8(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", (HEAD + GOOD + "é,10,4,5\n").encode() + "é,10,4,5\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"row 3 of a.csv: b'\\xe9,10,4,5\\n' is not UTF-8; save the file as UTF-8"):
        read_log(path)
    with pytest.warns(DataWarning, match="skipped 1 of 3"):
        assert read_log(path, on_error="skip").users.ids.to_list() == ["1", "é"]
    with pytest.raises(DataError, match=r"b.csv: the header is not UTF-8"):
        read_log(write(tmp_path, "b.csv", ("é" + HEAD + GOOD).encode("utf-16-le")))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"user": 1, "item": 2,}', "is not a JSON object in UTF-8"),
        ("[1, 2]", "it must be an object"),
        ('{"item": 2}', "user is empty; ids"),
        ('{"user": null, "item": 2}', "user is empty; ids"),
        ('{"user": [1], "item": 2}', "user is '[1]'; ids"),
        ('{"user": true, "item": 2}', "user is 'True'; ids"),
        ('{"user": 1.5, "item": 2}', "user is 1.5; ids must be strings or whole numbers"),
        ('{"user": "\\ud800", "item": 2}', "user is '\\ud800'; ids"),
        ("[" * 100_000, "is not a JSON object"),
    ],
    ids=range(9),
)
def test_bad_json_lines(line: str, message: str, tmp_path: Path) -> None:
    path = write(tmp_path, "a.jsonl", '{"user": 1, "item": 2}\n\n' + line + "\n")
    with pytest.raises(DataError) as raised:
        read_log(path)
    assert str(raised.value).startswith("row 3 of a.jsonl: ")
    assert message in str(raised.value)
    with pytest.warns(DataWarning, match="skipped 1 of 2"):
        assert len(read_log(path, on_error="skip")) == 1


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        ({"user": [1, None], "item": [1, 1]}, "row 2 of the frame: user is empty; ids"),
        ({"user": [1.0, None], "item": [1, 1]}, "row 2 of the frame: user is empty; ids"),
        ({"user": [1.0, 2.5], "item": [1, 1]}, "row 2 of the frame: user is 2.5; ids"),
        ({"user": ["a", ""], "item": [1, 1]}, "row 2 of the frame: user is empty; ids"),
        ({"user": [True, False], "item": [1, 1]}, "row 1 of the frame: user is 'True'; ids"),
        ({"user": [1, 2], "item": [1, 1], "weight": [1.0, math.nan]}, "row 2 of the frame: weight is"),
        ({"user": [1, 2], "item": [1, 1], "weight": [1.0, None]}, "row 2 of the frame: weight is"),
        ({"user": [1, 2], "item": [1, 1], "weight": [1.0, -math.inf]}, "row 2 of the frame: weight is -inf"),
        ({"user": [1, 2], "item": [1, 1], "time": [True, False]}, "row 1 of the frame: time is 'True'"),
        ({"user": [], "item": []}, "the frame: no rows"),
        ({"user": [1]}, "the frame: no item column among 'user'"),
        (
            {"user_id": [1], "userId": [1], "item": [1]},
            "the frame: columns 'user_id', 'userId' could each be the user",
        ),
    ],
)
@pytest.mark.parametrize("kind", [pl.DataFrame, pd.DataFrame])
def test_bad_frames(kind: Callable[..., object], frame: dict[str, list[object]], message: str) -> None:
    with pytest.raises(DataError) as raised:
        read_log(kind(frame))
    assert str(raised.value).startswith(message)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"", "a.csv: empty; the first line must name the columns"),
        ("a.csv", b"\n\n", "a.csv: the first line must name the columns"),
        ("a.csv", HEAD.encode(), "a.csv: no rows"),
        ("a.jsonl", b"", "a.jsonl: empty"),
        ("a.jsonl", b"\n", "a.jsonl: no user column"),
        (
            "a.csv",
            b"1,10,4,964982703\n2,10,4,964982703\n",
            "a.csv: no header, and its first row '1', '10', '4', '964982703' does not show",
        ),
        ("a.csv", b"user,item,user\n1,2,3\n", "a.csv: two columns are named 'user'"),
        ("a.csv", b"user,item\n,\n", "row 1 of a.csv: user is empty"),
        ("a.csv.gz", gzip.compress((HEAD + GOOD * 999).encode())[:-20], "a.csv.gz: cannot be read: "),
        ("a.csv.gz", b"user,item\n1,2\n", "a.csv.gz: cannot be read: Not a gzipped file"),
        ("a.csv.zst", b"user,item\n1,2\n"[:5] + b"\xff", "a.csv.zst: cannot be read: "),
        ("a.parquet", parquet(small())[:-30], "a.parquet: cannot be read: "),
        ("a.parquet", b"", "a.parquet: cannot be read: "),
        ("a.arrow", b"ARROW1", "a.arrow: cannot be read: "),
        ("a.ods", b"", "a.ods: unknown suffix '.ods'; known are .csv .tsv"),
        ("a.parquet.zst", b"", "a.parquet.zst: unknown suffix '.parquet.zst'"),
        ("ratings", b"", "ratings: unknown suffix ''"),
    ],
    ids=range(17),
)
def test_bad_files(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    for on_error in ("raise", "skip"):
        with pytest.raises(DataError) as raised:
            read_log(write(tmp_path, name, content), on_error=on_error)
        assert message in str(raised.value)


def test_bad_places_and_settings(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere.csv: no such file or folder"):
        read_log(tmp_path / "nowhere.csv")
    with pytest.raises(DataError, match="an empty folder"):
        read_log(tmp_path)
    with pytest.raises(DataError, match=r"a builtins.list: cannot be read; give a path, or a frame"):
        read_log([(1, 2)])
    with pytest.raises(DataError, match=r"every row is bad; the first is row 1 of a\.csv"):
        read_log(write(tmp_path, "a.csv", "user,item\n1,\n2,\n"), on_error="skip")
    refused: list[dict[str, Any]] = [{"on_error": "ignore"}, {"weights": {"view": float("nan")}}, {"weights": {}}]
    for wrong in [*refused, {"min_weight": math.nan}]:
        with pytest.raises(SettingError):
            read_log(small(), **wrong)
    with pytest.raises(SettingError, match="user=3"):
        read_log(small(), user=3)  # type: ignore[arg-type]


def test_a_quote_left_open_does_not_eat_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delimited, "LONGEST", 1 << 12)
    monkeypatch.setattr(delimited, "CHUNK", 1 << 10)
    with pytest.raises(DataError, match="is a quote left open"):
        read_log(write(tmp_path, "a.csv", HEAD + '"' + GOOD * 999))


def test_a_line_of_json_has_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for chunk in (1 << 10, 1 << 20):
        monkeypatch.setattr("palate.data.jsonlines.LONGEST", 1 << 12)
        monkeypatch.setattr("palate.data.jsonlines.CHUNK", chunk)
        line = '{"user": 1, "item": "%s"}\n'
        assert len(read_log(write(tmp_path, "a.jsonl", line % ("x" * 4000)))) == 1
        with pytest.raises(DataError, match=r"a\.jsonl\.gz: a line of more than 0 MB"):
            read_log(write(tmp_path, "a.jsonl.gz", gzip.compress((line % ("x" * 5000)).encode())))


def only_our_errors(read: Callable[[], object]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        with contextlib.suppress(PalateError):
            read()


def fuzz(name: str, content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder), name, content)
        for on_error in ("raise", "skip"):
            only_our_errors(lambda on_error=on_error: read_log(path, on_error=on_error))  # type: ignore[misc]


NAMES = ["a.csv", "a.tsv", "a.inter", "a.jsonl", "a.csv.gz", "a.csv.zst", "a.parquet", "a.arrow"]
csv_text = st.text(st.sampled_from('aé1.-,"\n\r\t 0e'), max_size=60)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(NAMES), st.binary(max_size=80), st.booleans())
def test_random_bytes_never_give_a_traceback(name: str, content: bytes, headed: bool) -> None:
    fuzz(name, b"user,item,rating,time\n" + content if headed else content)


@settings(max_examples=150, deadline=None)
@given(csv_text)
def test_random_text_never_gives_a_traceback(text: str) -> None:
    fuzz("a.csv", f"user,item,rating,time\n{text}".encode())
    fuzz("a.tsv", f"user\titem\n{text}".encode())


@settings(max_examples=120, deadline=None)
@given(
    st.sampled_from(["log.csv", "log.csv.zst", "log.CSV.GZ", "log.jsonl", "log.parquet", "log.arrow", "log.ipc"]),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.binary(max_size=3)), min_size=1, max_size=4),
    st.floats(0.2, 1),
)
def test_mutated_files_never_give_a_traceback(name: str, edits: list[tuple[float, bytes]], kept: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        WRITERS[name](small()[:40], Path(folder, name))
        content = bytearray(Path(folder, name).read_bytes())
    for place, new in edits:
        at = int(place * len(content))
        content[at : at + len(new)] = new
    fuzz(name, bytes(content[: math.ceil(kept * len(content))] if kept < 0.6 else content))


cells = st.one_of(
    st.none(), st.integers(), st.floats(), st.text(max_size=3), st.booleans(), st.datetimes(), st.binary(max_size=2)
)
columns = st.one_of(
    st.lists(st.integers(-(2**63), 2**63 - 1) | st.none(), min_size=4, max_size=4),
    st.lists(st.floats() | st.none(), min_size=4, max_size=4),
    st.lists(st.text(max_size=3) | st.none(), min_size=4, max_size=4),
    st.lists(st.datetimes() | st.none(), min_size=4, max_size=4),
    st.lists(st.dates() | st.none(), min_size=4, max_size=4),
    st.lists(st.booleans() | st.none(), min_size=4, max_size=4),
    st.lists(st.binary(max_size=2), min_size=4, max_size=4),
    st.lists(st.lists(st.integers(0, 9), max_size=2), min_size=4, max_size=4),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(columns, min_size=5, max_size=5), st.sampled_from(["raise", "skip"]))
def test_random_frames_never_give_a_traceback(values: list[list[object]], on_error: str) -> None:
    names = ["user", "item", "weight", "time", "event"]
    frame = pl.DataFrame(dict(zip(names, values, strict=True)), strict=False)
    only_our_errors(lambda: read_log(frame, on_error=on_error))


@settings(max_examples=80, deadline=None)
@given(st.lists(st.lists(cells, min_size=3, max_size=3), min_size=5, max_size=5))
def test_random_pandas_frames_never_give_a_traceback(values: list[list[object]]) -> None:
    names = ["user", "item", "weight", "time", "event"]
    only_our_errors(lambda: read_log(pd.DataFrame(dict(zip(names, values, strict=True))), on_error="skip"))


# JSON lines: a rule by value, whatever stands beside it

json_ids = st.integers(-9, 99) | st.sampled_from(["a", "b", "7"])
json_rows = st.fixed_dictionaries(
    {"user": json_ids | st.none() | st.booleans(), "item": json_ids},
    optional={
        "rating": st.sampled_from([1, 2.5, "3", "x", None, [4]]),
        "time": st.sampled_from([1_600_000_000, 1_600_000_001.5, "2020-01-01", "soon", {"at": 1}]),
        "note": st.sampled_from([1, "a", [1], {"x": [None]}, None, "\ud800"]),
    },
)


def log_rows(rows: list[dict[str, object]], chunk: int) -> tuple[Any, ...] | str:
    """What a file of these rows gives, in blocks of `chunk` bytes; users and items as text, in no order."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        patch.setattr("palate.data.jsonlines.CHUNK", chunk)
        path = write(Path(folder), "a.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
        try:
            log = read_log(path, on_error="skip")
        except DataError as error:
            return str(error).partition(":")[2].partition(";")[0]
        return (sorted(map(str, log.to_frame().rows())), log.users.ids.dtype, dict(sorted(log.skipped.items())))


@settings(max_examples=60, deadline=None)
@given(st.lists(json_rows, min_size=1, max_size=8), st.integers(1, 200), st.randoms(use_true_random=False))
def test_order_and_blocks_change_nothing_in_json_lines(rows: list[dict[str, object]], chunk: int, draw: Any) -> None:
    found = log_rows(rows, 1 << 20)
    assert log_rows(rows, chunk) == found
    shuffled = draw.sample(rows, len(rows))
    if not isinstance(found, str):
        assert log_rows(shuffled, chunk) == found


def test_a_key_that_comes_late_is_a_column(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("palate.data.jsonlines.CHUNK", 20)
    path = write(tmp_path, "a.jsonl", '{"user": 1, "item": 2}\n' * 5 + '{"user": 1, "item": 2, "rating": 3}\n')
    with pytest.raises(DataError, match=r"row 1 of a\.jsonl: rating is empty; weights"):
        read_log(path)


# Packed files: the same bytes, the same log


def zst(content: bytes) -> bytes:
    return bytes(pa.Codec("zstd").compress(content, asbytes=True))


SKIPPABLE = b"\x50\x2a\x4d\x18\x04\0\0\0abcd"


def outcome(folder: Path, name: str, content: bytes, on_error: str) -> object:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            log = read_log(write(folder, name, content), on_error=on_error)
        except DataError as error:
            return str(error).replace(name, "FILE")
        return log.to_frame().rows(), log.skipped, [str(one.message).replace(name, "FILE") for one in told]


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(["csv", "tsv", "jsonl"]),
    st.lists(
        st.sampled_from([b"a", b"1", b",", b'"', b"\n", b"\r\n", b"\xe9", "é".encode(), b"\0", b"{}", b"\t"]),
        max_size=20,
    ),
    st.integers(0, 20),
    st.sampled_from(["raise", "skip"]),
)
def test_packed_files_are_read_as_plain_ones(suffix: str, parts: list[bytes], cut: int, on_error: str) -> None:
    heads = {"csv": b"user,item\r\n1,2\n", "tsv": b"user\titem\n1\t2\n", "jsonl": b'{"user": 1, "item": 2}\n'}
    text = heads[suffix] + b"".join(parts)
    one, two = text[:cut], text[cut:]
    packed = {
        f"a.{suffix}.gz": gzip.compress(one) + gzip.compress(two),
        f"b.{suffix}.zst": SKIPPABLE + zst(one) + SKIPPABLE + zst(b"") + zst(two) + SKIPPABLE,
    }
    with tempfile.TemporaryDirectory() as folder:
        plain = outcome(Path(folder), f"c.{suffix}", text, on_error)
        for name, content in packed.items():
            assert outcome(Path(folder), name, content, on_error) == plain


def test_a_truncated_file_is_an_error(tmp_path: Path) -> None:
    content = zst((HEAD + GOOD * 999).encode())
    for kept in (len(content) - 3, len(content) // 2, 3):
        with pytest.raises(DataError, match=r"a\.csv\.zst: cannot be read: "):
            read_log(write(tmp_path, "a.csv.zst", content[:kept]))


# Frames: only the columns asked for are converted

ODD: dict[str, Any] = {
    "big-endian": np.array([1, 2], ">f4"),
    "complex": np.array([1j, 2j]),
    "long double": np.array([1, 2], np.longdouble),
    "mixed": pd.Series([1, "a"], dtype=object),
    "lists and dicts": [{"a": 1}, [1]],
    "beyond 64 bits": pd.Series([2**70, 1], dtype=object),
    "sparse": pd.arrays.SparseArray([0.0, 1.0]),
    "periods": pd.period_range("2020-01", periods=2, freq="M"),
    "intervals": pd.interval_range(0, 2),
    "categories": pd.Categorical(["a", "b"]),
    "durations": pd.to_timedelta([1, 2]),
    "nullable": pd.array([True, None], dtype="boolean"),
    "objects": [object(), {1, 2}],
}


@pytest.mark.parametrize("kind", ODD)
def test_a_column_of_any_kind_stops_nothing(kind: str) -> None:
    frame = pd.DataFrame({"user": [1, 2], "item": [3, 4]}).assign(note=ODD[kind])
    log = read_log(frame)
    assert (log.users.ids.to_list(), log.items.ids.to_list()) == ([1, 2], [3, 4])
    for role in ("user", "time", "weight", "event"):
        asked: dict[str, Any] = {role: "note"}
        only_our_errors(lambda asked=asked: read_log(frame, on_error="skip", **asked))  # type: ignore[misc]


def test_asked_for_columns_of_odd_kinds_are_read() -> None:
    frame = pd.DataFrame({"user": np.array([7, 8], ">i8"), "item": pd.Series([2**70, "b"], dtype=object)})
    log = read_log(frame.assign(rating=pd.arrays.SparseArray([0.0, 2.0]), time=["2020-01-01", date(2020, 1, 2)]))
    assert log.to_frame().rows() == [
        (7, str(2**70), 0.0, datetime(2020, 1, 1, tzinfo=UTC)),
        (8, "b", 2.0, datetime(2020, 1, 2, tzinfo=UTC)),
    ]
    missing = pd.DataFrame({"user": pd.Series([1, None, pd.NA, "x"], dtype=object), "item": [1, 2, 3, 4]})
    with pytest.warns(
        DataWarning, match=r"skipped 2 of 4 rows \(user 2\); the first is row 2 of the frame: user is empty"
    ):
        assert read_log(missing, on_error="skip").users.ids.to_list() == ["1", "x"]


def test_columns_named_alike_are_our_error() -> None:
    twice = pd.DataFrame([[1, 2, 3]], columns=["user", "item", "user"])
    with pytest.raises(DataError, match="the frame: two columns are named 'user'"):
        read_log(twice)
    levels = pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_tuples([("user", "a"), ("item", "a")]))
    with pytest.raises(DataError, match="the frame: no user column among"):
        read_log(levels)
    assert len(read_log(levels, user="('user', 'a')", item="('item', 'a')")) == 1
    assert len(read_log(pd.DataFrame([[1, 2]]), user="0", item="1")) == 1


def test_arrow_types_that_polars_lacks_are_left_alone() -> None:
    moment = pa.array([pa.MonthDayNano([1, 2, 3])] * 2)
    table = pa.table({"user": [1, 2], "item": [3, 4], "note": moment})
    for source in (table, table.to_batches()[0], pa.RecordBatchReader.from_batches(table.schema, table.to_batches())):
        assert len(read_log(source)) == 2
    with pytest.raises(DataError, match="row 1 of the frame: note is"):
        read_log(table, time="note")


# Times: one unit for all, and a word about those that stand apart


def day(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def times_of(tmp_path: Path, values: list[str], **reading: Any) -> list[datetime]:
    rows = "".join(f"{n},1,{value}\n" for n, value in enumerate(values))
    frame = read_log(write(tmp_path, "a.csv", f"user,item,timestamp\n{rows}"), **reading).to_frame()
    return list(frame["timestamp"])


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("20201231", "2020-12-31"),
        ("202012312359", "2020-12-31T23:59"),
        ("20201231235958", "2020-12-31T23:59:58"),
        ("19990101", "1999-01-01"),
    ],
)
def test_days_written_as_numbers(written: str, read: str, tmp_path: Path) -> None:
    assert times_of(tmp_path, [written, "2021-02-03"]) == [day(read), day("2021-02-03")]
    assert times_of(tmp_path, [f'"{written}"']) == [day(read)]
    for column in ([int(written)], [float(written)], [written]):
        assert read_log(pl.DataFrame({"user": [1], "item": [1], "time": column})).to_frame()["timestamp"][0] == day(
            read
        )


def test_a_number_that_is_no_day_among_days(tmp_path: Path) -> None:
    days = ["20201231", "20210101", "20210229"]
    with pytest.raises(DataError, match=r"row 3 of a\.csv: timestamp is 20210229; times must be"):
        times_of(tmp_path, days)
    assert times_of(tmp_path, days, time_unit="s")[0] == datetime(1970, 8, 22, 19, 27, 11, tzinfo=UTC)


def test_the_unit_is_that_of_the_whole_column(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delimited, "CHUNK", 64)
    most = [str(1_650_000_000_000 + n) for n in range(20)]
    with pytest.warns(DataWarning, match=r"a\.csv: timestamp is 1650000002, read as 1970-01-20 02:20:00"):
        found = times_of(tmp_path, ["1650000002"] * 4 + most)
    assert found[4:] == [day("2022-04-15T05:20") + timedelta(milliseconds=n) for n in range(20)]
    with pytest.warns(
        DataWarning, match=r"4 of 24 times are before 1980, the others not; the first: row 21 of a\.csv"
    ):
        assert times_of(tmp_path, most + ["1650000002"] * 4)[:20] == found[4:]
    rows = ["1650000000"] * 3 + ["1650000002000", "1650000001"]
    with pytest.raises(DataError, match=r"row 4 of a\.csv: timestamp is 1650000002000; times must be"):
        times_of(tmp_path, rows)
    with pytest.warns(DataWarning, match=r"skipped 1 of 5 rows \(time 1\); the first is row 4 of a\.csv"):
        found = times_of(tmp_path, rows, on_error="skip")
    assert found == [day("2022-04-15T05:20")] * 3 + [day("2022-04-15T05:20:01")]


def test_times_ahead_of_the_clock_are_flagged(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    fine, ahead = (now + timedelta(hours=47)).isoformat(), (now + timedelta(hours=49)).isoformat()
    assert len(times_of(tmp_path, [fine])) == 1
    with pytest.warns(
        DataWarning, match=r"2 of 3 times are more than 48 hours ahead of the clock; the first: row 2 of a"
    ):
        assert len(times_of(tmp_path, [fine, ahead, "2099-01-01"])) == 3
    with pytest.warns(DataWarning, match=r"row 2 of a\.csv: timestamp is 4070908800, read as 2099-01-01 00:00:00"):
        times_of(tmp_path, ["1600000000", "4070908800"])


def test_times_of_an_unusual_form(tmp_path: Path) -> None:
    assert times_of(tmp_path, ["31.12.2020", "01.02.2021"], time_format="%d.%m.%Y") == [
        day("2020-12-31"),
        day("2021-02-01"),
    ]
    assert times_of(tmp_path, ["2020", "2021"], time_format="%Y") == [day("2020-01-01"), day("2021-01-01")]
    assert times_of(tmp_path, ["31/12/20 23:00 +0200"], time_format="%d/%m/%y %H:%M %z") == [day("2020-12-31T21:00")]
    with pytest.raises(DataError, match=r"row 2 of a\.csv: timestamp is 2020-01-02; times must be written as %d"):
        times_of(tmp_path, ["31.12.2020", "2020-01-02"], time_format="%d.%m.%Y")
    with pytest.raises(SettingError, match="time_unit='h': must be one of s, ms, us, ns"):
        times_of(tmp_path, ["1"], time_unit="h")
    for wrong in ("no form", "%Q", "%"):
        with pytest.raises(SettingError, match="time_format="):
            times_of(tmp_path, ["1"], time_format=wrong)


# Files joined end to end


@pytest.mark.parametrize("head", ["user,item", "user,item,rating", "user,item,time,event", '"user","item"'])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_header_once_more_is_no_event(head: str, mark: str, tmp_path: Path) -> None:
    row = ",".join(
        {"user": "ann", "item": "b", "rating": "3", "time": "5", "event": "view"}[name.strip('"')]
        for name in head.split(",")
    )
    again = head if head.startswith('"') else mark + head  # a quote must begin its field
    path = write(tmp_path, "a.csv", f"{mark}{head}\n{row}\n{again}\n{row}\n")
    with pytest.raises(DataError, match=r"row 2 of a\.csv: the header once more"):
        read_log(path)
    with pytest.warns(DataWarning, match=r"skipped 1 of 3 rows \(row 1\)"):
        log = read_log(path, on_error="skip")
    assert (log.users.ids.to_list(), len(log)) == (["ann"], 2)


def test_names_of_columns_may_be_ids() -> None:
    log = read_log(pl.DataFrame({"user": ["user", "x"], "item": ["item", "y"]}))
    assert log.users.ids.to_list() == ["user", "x"]


def filtered(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.cast({"timestamp": pl.Int64, "weight": pl.Float64}).sort(pl.all())


def test_filters_against_plain_polars() -> None:
    log = read_log(small())
    rows = log.to_frame()
    assert filtered(log.filter(min_weight=3).to_frame()).equals(filtered(rows.filter(pl.col("weight") >= 3)))
    cut = datetime(2019, 3, 1, 5, tzinfo=UTC)
    for since in (cut, cut.replace(tzinfo=None), "2019-03-01T06:00+01:00", "2019-03-01 05:00"):
        assert filtered(log.filter(since=since).to_frame()).equals(filtered(rows.filter(pl.col("timestamp") >= cut)))
    assert len(log.filter(since=date(2019, 3, 1))) == rows.filter(pl.col("timestamp") >= date(2019, 3, 1)).height
    assert len(log.filter()) == 200
    core = rows
    while True:
        least = (pl.len().over("user_id") >= 5) & (pl.len().over("item_id") >= 5)
        smaller = core.filter(least)
        if smaller.height == core.height:
            break
        core = smaller
    assert 0 < core.height < rows.filter(least).height, "one round is not enough here"
    assert filtered(log.filter(min_events=5).to_frame()).equals(filtered(core))
    assert len(log.filter(min_events=500)) == 0
    both = log.filter(min_weight=3, min_events=3)
    assert len(both) > 0
    assert both.item_counts().min() >= 3
    assert np.diff(both.start).min() >= 3
    assert both.weight.min() >= 3


def test_filters_refuse_nonsense() -> None:
    log = read_log(small())
    refused: list[dict[str, Any]] = [{"min_events": 0}, {"since": "soon"}, {"since": 5}, {"min_weight": math.inf}]
    for wrong in refused:
        with pytest.raises(SettingError):
            log.filter(**wrong)
    with pytest.raises(SettingError, match="the log has no times"):
        read_log(small().drop("timestamp")).filter(since="2020-01-01")


def test_movielens_agrees_with_pandas() -> None:
    path = DATA / "movielens-small" / "ratings.csv"
    if not path.exists():
        pytest.skip(f"{path} is absent: real data lies outside the project")
    frame = pd.read_csv(path, dtype={"timestamp": str})
    times = pd.to_numeric(frame["timestamp"], errors="coerce")
    frame = frame[times.notna()].assign(timestamp=times)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        log: Interactions = read_log(path, on_error="skip")
    assert len(log) == len(frame) == 100_836 - sum(log.skipped.values())
    assert log.users.ids.to_list() == frame["userId"].drop_duplicates().tolist()
    assert log.items.ids.to_list() == frame["movieId"].drop_duplicates().tolist()
    ordered = frame.sort_values(["userId", "timestamp"], kind="stable")
    assert log.timestamp is not None
    assert (log.timestamp == ordered["timestamp"].to_numpy() * SECOND).all()
    assert (log.weight == ordered["rating"].to_numpy()).all()
    assert path.stat().st_size > batch.CHUNK, "the file is longer than a block"


def test_the_docs_list_every_name() -> None:
    page = (Path(__file__).parents[1] / "docs" / "data.md").read_text(encoding="utf-8")
    for role, names in LOG.items():
        assert f"| `{role}` | {' '.join(names)} |" in page
    for role, names in CATALOGUE.items():
        assert role == "item" or f" {' '.join(names)}" in page
