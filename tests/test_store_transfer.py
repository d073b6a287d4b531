from __future__ import annotations

import json
import resource
import shutil
import signal
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from conftest import block_events, log_of
from databases import KINDS, new_database, url

from palate.data.catalogue import read_catalogue
from palate.data.readers import read_log
from palate.errors import DataError, DataWarning, SettingError, StoreError
from palate.store import backup as backups
from palate.store import exports, transfer
from palate.store.backup import backup, check, facts, restore
from palate.store.dialects import SQLite, open_database
from palate.store.events import Event, Store
from palate.store.items import Item
from palate.store.keys import Keys
from palate.store.schema import events, sa, version_of
from palate.store.transfer import export_events, export_items, import_events, import_items, import_log

__all__ = ["url"]
ROOT = Path(__file__).parents[1]
RATINGS = ROOT / "examples" / "movielens-small" / "ratings.csv.gz"
MOVIES = ROOT / "examples" / "movielens-small" / "movies.csv.gz"


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with Store.open(url) as opened:
        yield opened


def rows(log: Any) -> list[Any]:
    return sorted(log.to_frame().select(sorted(log.to_frame().columns)).cast({"user_id": str, "item_id": str}).rows())


def everything(store: Store) -> list[Any]:
    with store.database.reading() as connection:
        return [
            event
            for user in connection.scalars(sa.text("SELECT user_id FROM users ORDER BY created, user_id"))
            for event in store.events(user)
        ]


def test_an_imported_log_is_the_log(store: Store) -> None:
    log = log_of(block_events())
    seen: list[tuple[int, int]] = []
    assert import_events(store, log.to_frame(), watch=lambda *done: seen.append(done)) == len(log)
    assert seen[-1] == (len(log), len(log))
    found = store.log()
    assert found.event_types == ("event",)
    assert [row[1:] for row in rows(found)] == rows(log)
    assert store.events("u1")[0].weight is None, "weights that are all 1 say nothing"
    assert check(store).faults == ()


def test_the_ids_of_an_export_count_once(store: Store, tmp_path: Path) -> None:
    """A grown export, in another order, with other prices and times, has its new events stored and no others."""
    path = tmp_path / "orders.csv"
    path.write_text(
        "order_id,user,item,value,date\n1,ann,x,9.5,2020-01-01\n2,bob,y,3,2020-01-02\n,bob,z,1,2020-01-02\n"
    )
    assert import_events(store, path, event_id="order_id") == 3
    path.write_text(
        "order_id,user,item,value,date\n,bob,z,1,2020-01-02\n3,cat,x,4,2020-01-05\n"
        "2,bob,y,2.5,2020-01-03\n1,ann,x,9.5,2020-01-01\n3,cat,x,4,2020-01-06\n"
    )
    with pytest.warns(
        DataWarning, match=r"1 rows left out, whose order_id stands in an earlier row; the first is '3'"
    ):
        assert import_events(store, path, event_id="order_id") == 1
    found = {(event.user_id, event.item_id, event.event_id, event.weight) for event in everything(store)}
    assert found == {("ann", "x", "1", 9.5), ("bob", "y", "2", 3), ("bob", "z", None, 1), ("cat", "x", "3", 4)}
    assert check(store).faults == ()
    path.write_text("order_id,user,item\n1,ann,other\n")
    with pytest.raises(DataError, match=r"the log and .*user 'ann', item 'x'.*event_id '1' with different events"):
        import_events(store, path, event_id="order_id")


def test_weights_of_types_count_once(store: Store) -> None:
    """A service weighs the types of a store: weights that hold those of types are stored without the types."""
    frame = pl.DataFrame({"user": ["a", "b"], "item": ["x", "y"], "event": ["cart", "view"]})
    weights = {"cart": 3.0, "view": 1.0}
    import_events(store, read_log(frame, weights=weights))
    assert store.log(weights).weight.tolist() == [3, 1]
    assert store.log(weights).event_types == ("event",)
    import_events(store, read_log(frame))
    assert sorted(store.log(weights).event_types) == ["cart", "event", "view"]
    assert sorted(store.log(weights).weight.tolist()) == [1, 1, 3, 3]


def test_stars_times_and_types_are_kept(store: Store, tmp_path: Path) -> None:
    text = "user,item,rating,timestamp,event_type\n1,10,4.1,1000000000,star\n2,10,0.5,1000000001,cart\n"
    (tmp_path / "log.csv").write_text(text)
    assert import_events(store, tmp_path / "log.csv") == 2
    assert store.events("1")[0][1:6] == ("1", "10", "star", 1_000_000_000_000_000, 4.1)
    assert store.events("2")[0][3:6] == ("cart", 1_000_000_001_000_000, 0.5)


def test_an_import_is_done_once_and_goes_on_where_it_stopped(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "EVENTS", 40)
    log = log_of(block_events())

    def stop(done: int, _: int) -> None:
        if done >= 80:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_events(store, log.to_frame(), watch=stop)
    assert store.counts().events == 80
    assert import_events(store, log.to_frame()) == len(log) - 80
    assert import_events(store, log.to_frame()) == 0
    assert [row[1:] for row in rows(store.log())] == rows(log)
    other = log_of(block_events(seed=1))
    assert import_events(store, other.to_frame()) == len(set(rows(other)) - set(rows(log)))


@pytest.mark.parametrize("timed", [True, False])
def test_each_event_of_a_log_is_stored_once(store: Store, timed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often the log comes: the same, grown, in another order, in parts; n equal rows are n events."""
    monkeypatch.setattr(transfer, "EVENTS", 7)
    rng = np.random.default_rng(0)
    n = 60
    log = pl.DataFrame(
        {
            "user": [f"u{each}" for each in rng.integers(0, 5, n)],
            "item": [f"i{each}" for each in rng.integers(0, 3, n)],
            "rating": rng.integers(1, 3, n) / 10,
            "timestamp": 10**9 + rng.integers(0, 4, n),
        }
    )
    given = log if timed else log.drop("timestamp")
    assert import_events(store, given[:20]) == 20
    assert import_events(store, given[:45]) == 25
    assert import_events(store, given.sample(fraction=1, shuffle=True, seed=1)) == 15
    assert import_events(store, given[30:]) == 0
    assert import_events(store, given) == 0
    stored = store.log().to_frame().select("user_id", "item_id", pl.col("weight").cast(pl.String))
    assert sorted(stored.rows()) == sorted(log.select("user", "item", pl.col("rating").cast(pl.String)).rows())
    assert import_events(store, pl.concat([given, given[:3]])) == 3


def test_a_log_whose_weights_begin_to_differ_is_the_same_log(store: Store) -> None:
    log = pl.DataFrame({"user": ["ann", "bob"], "item": ["a", "a"], "rating": [1, 1], "timestamp": [10**9, 10**9]})
    assert import_events(store, log) == 2
    grown = pl.concat([log, log[:1].with_columns(rating=pl.lit(5, pl.Int64))])
    assert import_events(store, grown) == 1


def test_an_event_sent_to_the_store_is_the_event_of_the_log(store: Store) -> None:
    store.append([Event("ann", "a", "event", 10**15, None, "web-1"), Event("ann", "b", "event", 10**15)])
    log = pl.DataFrame({"user": ["ann"] * 3, "item": ["a", "a", "b"], "timestamp": [10**9] * 3})
    assert import_events(store, log) == 1, "two of a are in the log, one was sent"
    without_times = log.drop("timestamp")
    assert import_events(store, without_times) == 3, "nobody knows that they are the same"
    assert import_events(store, without_times) == 0


def test_the_forgotten_stay_forgotten(store: Store) -> None:
    log = pl.DataFrame({"user": ["ann", "bob", "ann"], "item": ["a", "b", "c"], "timestamp": [10**9, 10**9, 10**9]})
    import_events(store, log)
    store.forget("ann")
    store.forget("eve")
    assert import_log(store, log) == (0, 2)
    grown = pl.concat([log, pl.DataFrame({"user": ["eve", "dan"], "item": ["a", "b"], "timestamp": [10**9, 10**9]})])
    assert import_log(store, grown) == (1, 3)
    assert store.users() == ["bob", "dan"]
    with store.database.reading() as connection:
        kept = str(connection.execute(sa.text("SELECT * FROM state")).all())
    assert "ann" not in kept.replace("channel", "")
    store.append([Event("ann", "z", "event", 2 * 10**15)])
    assert import_log(store, log) == (0, 2), "what is sent since is theirs; what was forgotten stays away"
    assert [event.item_id for event in store.events("ann")] == ["z"]
    assert import_log(store, log, bring_back=True) == (2, 0)
    assert import_log(store, log) == (0, 0)
    assert len(store.history("ann")) == 3


@pytest.mark.parametrize("timed", [True, False])
def test_what_was_taken_back_or_replaced_stays_so(store: Store, timed: bool) -> None:
    times = [10**9, 10**9, 10**9, 10**9 + 1]
    log = pl.DataFrame(
        {"user": ["ann"] * 4, "item": ["a", "a", "b", "c"], "rating": [1, 1, 2, 3], "timestamp": times}
    )
    given = log if timed else log.drop("timestamp")
    import_events(store, given)
    assert store.feedback.withdraw("ann", "a") == 2
    store.append([Event("ann", "b", "event", 2 * 10**15, 5.0)], keep="last")
    assert import_events(store, given) == 0
    assert import_events(store, pl.concat([given, given[:1]])) == 1, "a third of a is new"
    assert sorted(event.item_id for event in store.events("ann")) == ["a", "b", "c"]
    assert import_events(store, given, bring_back=True) == 2


def test_an_event_id_stands_for_one_event(store: Store, tmp_path: Path) -> None:
    store.append([Event("ann", "a", "view", 10**15, 2.5, "e1"), Event("ann", "b", "view", 10**15, None, "e2")])
    export_events(store, tmp_path / "log.csv")
    text = (tmp_path / "log.csv").read_text()
    (tmp_path / "log.csv").write_text(text.replace(",b,", ",c,"))
    with pytest.raises(
        DataError, match=r"row 2 of log\.csv and .*\(user 'ann', item 'b', 'view'\): event_id 'e2' with"
    ):
        import_events(store, tmp_path / "log.csv")
    (tmp_path / "log.csv").write_text(text.replace("e2", "e1"))
    with Store.open(tmp_path / "new.db") as other:
        with pytest.raises(DataError, match=r"row 1 of log\.csv and row 2 of log\.csv: event_id 'e1' with"):
            import_events(other, tmp_path / "log.csv")
        assert other.counts() == (0, 0, 0)
    lines = text.splitlines(keepends=True)
    (tmp_path / "log.csv").write_text("".join([*lines, lines[1], lines[2].replace("e2", "e3")]))
    assert import_events(store, tmp_path / "log.csv") == 1
    assert store.counts().events == 3


def test_two_imports_of_one_log_at_once_store_it_once(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "EVENTS", 10)
    log = log_of(block_events())

    def work() -> None:
        with Store.open(url) as store:
            import_events(store, log.to_frame())

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with Store.open(url) as store:
        assert store.counts().events == len(log)


def test_a_bad_log_is_named_by_row_and_changes_nothing(store: Store, tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("user,item,rating\n1,10,4\n2,10,much\n")
    with pytest.raises(DataError, match=r"row 2 of log\.csv: rating is 'much'"):
        import_events(store, tmp_path / "log.csv")
    frame = pl.DataFrame({"user": ["ann", "x" * 1001], "item": ["a", "b"]})
    with pytest.raises(DataError, match=r"row 2 of the frame: user_id is 'xxx.*1 to 1,000 characters"):
        import_events(store, frame)
    assert store.counts() == (0, 0, 0)
    assert import_events(store, tmp_path / "log.csv", weight="") == 2


def test_an_event_between_the_parts_of_an_import_is_kept(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "EVENTS", 50)
    log = log_of(block_events())
    import_events(store, log.to_frame(), watch=lambda *_: store.append([Event("live", "i1", "view", 1)]) and None)
    assert len(store.history("live")) == -(-len(log) // 50)


def test_a_catalogue_comes_in_and_goes_out(store: Store, tmp_path: Path) -> None:
    movies = read_catalogue(MOVIES)
    assert import_items(store, MOVIES) == len(movies)
    assert import_items(store, MOVIES) == 0
    found = store.items.get("1")
    assert found is not None
    assert found.attributes["title"] == movies.title(1)
    assert found.attributes["categories"] == movies.row(1)["categories"]
    for name in ("out.parquet", "out.csv", "out.jsonl"):
        assert export_items(store, tmp_path / name) == len(movies)
        again = read_catalogue(tmp_path / name)
        frame = again.frame.with_columns(pl.col("item_id").cast(pl.Int64)).sort("item_id")
        same = ["item_id", "title", "categories"]
        assert frame.select(same).equals(movies.frame.sort("item_id").select(same)), name


def test_attributes_of_every_kind_are_told(store: Store, tmp_path: Path) -> None:
    told = {"price": 9.99, "adult": False, "n": 3, "mixed": 1, "deep": {"x": [1]}, "tags": ["a|b", "c"]}
    store.items.put([Item("a", told, available=False), Item("b", {"mixed": "text"}), Item("c", {"price": 2})])
    export_items(store, tmp_path / "out.parquet")
    frame = pl.read_parquet(tmp_path / "out.parquet")
    assert frame.row(0, named=True) == {
        **told, "item_id": "a", "available": False, "mixed": "1", "deep": '{"x": [1]}',
        "attributes": '{"mixed":1,"deep":{"x":[1]}}',
    }  # fmt: skip
    assert frame.schema["price"] == pl.Float64
    assert frame.schema["tags"] == pl.List(pl.String)
    export_items(store, tmp_path / "out.csv")
    with Store.open(tmp_path / "other.db") as other:
        import_items(other, tmp_path / "out.csv")
        found = other.items.get("a")
        assert found is not None
        assert (found.available, found.attributes) == (False, told)
        import_items(other, tmp_path / "out.csv", categories="tags")
        found = other.items.get("a")
        assert found is not None
        assert found.attributes["categories"] == ["a|b", "c"]


def test_all_items_of_a_catalogue_are_stored_or_none(store: Store, tmp_path: Path) -> None:
    lines = [f'{{"item_id": "i{n}", "title": "t"}}' for n in range(20)]
    lines[15] = json.dumps({"item_id": "i15", "title": "t" * 300_000})
    (tmp_path / "items.jsonl").write_text("\n".join(["", *lines]))
    with pytest.raises(DataError, match=r"row 17 of items\.jsonl: its attributes have 300,012 bytes"):
        import_items(store, tmp_path / "items.jsonl")
    assert store.counts().items == 0

    def stop(*_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_items(store, MOVIES, watch=stop)
    assert store.counts().items == 0


@pytest.mark.parametrize("name", ["out.parquet", "out.csv", "out.jsonl"])
def test_exported_events_are_read_as_the_log(
    store: Store, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "PART", 16)
    many = [Event(f"u{n % 7}", f'i{n % 5}, "x"', "view", 10**15 + n, n / 8, f"e{n}") for n in range(40)]
    store.append(many)
    store.append([Event("ann", "a", "cart", 10**15)])
    store.forget("u2")
    assert export_events(store, tmp_path / name) == 41 - 6
    assert rows(read_log(tmp_path / name)) == rows(store.log())
    assert [path.name for path in tmp_path.glob("*out*")] == [name], "nothing is left beside it"


def test_columns_that_no_event_has_are_left_out(store: Store, tmp_path: Path) -> None:
    store.append([Event("ann", "a", "cart", 5)])
    export_events(store, tmp_path / "out.parquet")
    assert pl.read_parquet(tmp_path / "out.parquet").columns == ["user_id", "item_id", "event_type", "timestamp"]


def test_an_export_that_cannot_be_written_says_so(store: Store, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"must end with one of .parquet .csv .jsonl"):
        export_events(store, tmp_path / "out.xlsx")
    with pytest.raises(StoreError, match="cannot be written"):
        export_events(store, tmp_path / "nowhere" / "out.csv")


# Backups


def filled(store: Store) -> Store:
    store.append([Event(f"u{n % 7}", f"i{n % 5}", "view", n, n / 10 if n % 2 else None, f"e{n}") for n in range(60)])
    store.append([Event("ann", "a", "cart", 5)])
    store.items.put([Item("a", {"title": "A", "tags": ['x,\n"y"']}), Item("gone")])
    store.items.remove(["gone"])
    store.forget("u3")
    Keys(store).create("shop", ["read"])
    return store


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["copy", "copy.db"])
def test_a_store_restored_is_the_store(url: str, kind: str, name: str, tmp_path: Path) -> None:
    copy = tmp_path / name
    with Store.open(url) as store:
        filled(store)
        if name.endswith(".db") and not store.in_process:
            with pytest.raises(SettingError, match="name a folder"):
                backup(store, copy)
            return
        backup(store, copy)
        with restore(copy, new_database(kind, tmp_path)) as other:
            assert everything(other) == everything(store)
            assert other.items.changed()[0].equals(store.items.changed()[0])
            assert other.items.changed()[1] == store.items.changed()[1]
            assert Keys(other).list() == Keys(store).list()
            assert other.append([Event("new", "a", "view", 0), Event("u0", "i0", "view", 0, None, "e0")]) == (1, 1)
            assert other.newest() == 62
            assert other.items.put([Item("next")]) == 1
            assert check(other).faults == ()


@pytest.mark.parametrize("name", ["copy", "copy.db"])
def test_a_backup_is_of_one_moment_while_others_write(tmp_path: Path, name: str) -> None:
    with Store.open(tmp_path / "s.db") as store:
        stop = threading.Event()

        def write() -> None:
            n = 0
            while not stop.is_set():
                store.append([Event("ann", f"i{n}", "view", n), Event("bob", f"i{n}", "view", n)])
                n += 1

        thread = threading.Thread(target=write)
        thread.start()
        try:
            for n in range(5):
                backup(store, tmp_path / f"{n}{name}")
        finally:
            stop.set()
            thread.join()
    for n in range(5):
        with restore(tmp_path / f"{n}{name}", tmp_path / f"r{n}.db") as found:
            assert len(found.history("ann")) == len(found.history("bob"))
            assert check(found).faults == ()


def test_a_backup_replaces_nothing_and_leaves_nothing(store: Store, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(StoreError, match="there: exists; a backup never replaces anything"):
        backup(store, tmp_path / "there")
    before = sorted(tmp_path.iterdir())

    def fail(*_: object) -> str:
        raise OSError("disk full")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backups, "sha256_of", fail)
        with pytest.raises(StoreError, match="copy: cannot be written: disk full"):
            backup(store, tmp_path / "copy")
        if store.in_process:
            with pytest.raises(StoreError, match=r"copy\.db: cannot be written: disk full"):
                backup(store, tmp_path / "new" / "folder" / "copy.db")
    assert [path for path in sorted(tmp_path.iterdir()) if path not in before] == []


def test_a_damaged_backup_is_refused_before_anything_is_written(url: str, tmp_path: Path) -> None:
    with Store.open(tmp_path / "s.db") as store:
        backup(filled(store), tmp_path / "copy")
    whole = (tmp_path / "copy" / "events.parquet").read_bytes()
    for damage, fault in (
        (lambda path: (path / "events.parquet").write_bytes(whole[:-9] + b"x" + whole[-8:]), "sha256 is not the one"),
        (lambda path: (path / "events.parquet").unlink(), "is damaged"),
        (lambda path: (path / "manifest.json").write_text("{"), "is no backup"),
        (lambda path: (path / "manifest.json").unlink(), "is no backup"),
        (_newer, "schema 99, written by palate .*; this version restores 1 and 3"),
    ):
        shutil.copytree(tmp_path / "copy", tmp_path / "bad")
        damage(tmp_path / "bad")
        with pytest.raises(StoreError, match=fault):
            restore(tmp_path / "bad", url)
        shutil.rmtree(tmp_path / "bad")
    with pytest.raises(StoreError, match="no such file or folder"):
        restore(tmp_path / "nothing.db", url)
    assert untouched(url)


def untouched(url: str) -> bool:
    """Whether a database has neither a file nor tables."""
    with closing(open_database(url)) as database:
        if isinstance(database, SQLite):
            return not list(database.file.parent.glob(f"*{database.file.name}*"))
        with database.reading() as connection:
            return version_of(connection) == 0


def _newer(folder: Path) -> None:
    body = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(body | {"schema": 99}))


def test_a_restore_needs_a_new_store_and_is_all_or_nothing(url: str, tmp_path: Path) -> None:
    with Store.open(tmp_path / "s.db") as store:
        backup(filled(store), tmp_path / "copy")

    def stop(*_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        restore(tmp_path / "copy", url, watch=stop)
    assert untouched(url)
    with Store.open(url) as store:
        assert store.counts() == (0, 0, 0)
    with restore(tmp_path / "copy", url) as store:
        assert store.counts().events > 0
    with pytest.raises(StoreError, match="has users already; a backup is restored to a new store"):
        restore(tmp_path / "copy", url)


def test_a_file_is_restored_whole_while_it_is_in_use(url: str, tmp_path: Path) -> None:
    with Store.open(tmp_path / "shop.db") as store:
        store.append([Event("ann", f"i{n}", "view", n) for n in range(100)])
        with restore(tmp_path / "shop.db", url) as copy:
            assert copy.counts().events == 100
        assert store.append([Event("ann", "a", "view", 0)]).new == 1


def test_a_damaged_file_is_refused(tmp_path: Path, url: str) -> None:
    with Store.open(tmp_path / "s.db") as store:
        store.append([Event(f"user {n}", f"i{n}", "view", n) for n in range(3000)])
        backup(store, tmp_path / "copy.db")
    whole = (tmp_path / "copy.db").read_bytes()
    (tmp_path / "copy.db").write_bytes(whole.replace(b"user 77", b"user 78", 1))
    with pytest.raises(StoreError, match=r"its sha256 is not the one that copy.db.sha256 states"):
        restore(tmp_path / "copy.db", url)
    (tmp_path / "copy.db.sha256").unlink()
    middle = len(whole) // 2 & ~4095
    for damaged in (whole[:middle], whole[:middle] + bytes(4096) + whole[middle + 4096 :], b"", b"palate" * 999):
        (tmp_path / "copy.db").write_bytes(damaged)
        with pytest.raises(StoreError, match=r"copy.db: is (no backup|damaged)"):
            restore(tmp_path / "copy.db", url)
    assert untouched(url)


def test_what_a_store_writes_is_its_owners_alone(tmp_path: Path) -> None:
    with Store.open(tmp_path / "s.db") as store:
        filled(store)
        for name in ("e.csv", "e.jsonl", "e.parquet"):
            export_events(store, tmp_path / name)
            export_items(store, tmp_path / f"items-{name}")
        backup(store, tmp_path / "copy.db")
        backup(store, tmp_path / "copy")
        restore(tmp_path / "copy", tmp_path / "again.db").close()
        loose = [path.name for path in tmp_path.rglob("*") if path.stat().st_mode & 0o077]
    assert set(loose) <= {"s.db-turn", "manifest.json"}, "which hold nothing of anybody"


def test_a_full_disk_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    with Store.open(tmp_path / "s.db") as store:
        store.append([Event(f"u{n * 7919 % 3001}", f"i{n}", "view", n * 997, n / 7, f"e{n}") for n in range(15_000)])
        before = sorted(tmp_path.iterdir())
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
        try:
            for name in ("e.csv", "e.jsonl", "e.parquet"):
                with pytest.raises(StoreError, match=f"{name}: cannot be written"):
                    export_events(store, tmp_path / name)
            for name in ("copy.db", "copy"):
                with pytest.raises(StoreError, match="cannot be written"):
                    backup(store, tmp_path / "new" / name)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            signal.signal(signal.SIGXFSZ, ignored)
        assert sorted(tmp_path.iterdir()) == before


# Checking


def test_check_names_what_points_to_nothing(store: Store) -> None:
    filled(store)
    assert check(store).faults == ()
    with store.database.writing() as connection:
        connection.execute(sa.text("DELETE FROM users WHERE user_id = 'u1'"))
        connection.execute(sa.text("DELETE FROM event_types WHERE name = 'cart'"))
        connection.execute(sa.text("UPDATE items SET attributes = '[1' WHERE item_id = 'a'"))
        connection.execute(sa.update(events).where(events.c.event_id == "e0").values(item_no=999))
    assert check(store).faults == (
        "events with a user_no that is not in users: 9",
        "events with a item_no that is not in items: 1",
        "events with a type_no that is not in event_types: 1",
        "item 'a': its attributes are no JSON object: '[1'",
    )


def test_check_finds_a_damaged_page(tmp_path: Path) -> None:
    with Store.open(tmp_path / "s.db") as store:
        store.append([Event(f"u{n}", f"i{n}", "view", n) for n in range(5000)])
    with sqlite3.connect(tmp_path / "s.db") as connection:
        (root,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'events_of_user'").fetchone()
    connection.close()
    body = bytearray((tmp_path / "s.db").read_bytes())
    body[4096 * (root - 1) + 100 : 4096 * root] = bytes(4096 - 100)
    (tmp_path / "s.db").write_bytes(body)
    with Store.open(tmp_path / "s.db") as store:
        report = check(store)
    assert report.counts is None
    assert "events_of_user" in "".join(report.faults)


def test_facts(store: Store) -> None:
    assert facts(store)["first"] is None
    store.append([Event("ann", "a", "cart", 1_000_000), Event("ann", "b", "view", 0)])
    found = facts(store)
    assert {name: found[name] for name in ("schema", "events", "users", "items", "event_types", "first", "last")} == {
        "schema": 3,
        "events": 2,
        "users": 1,
        "items": 2,
        "event_types": "cart, view",
        "first": "1970-01-01T00:00:00Z",
        "last": "1970-01-01T00:00:01Z",
    }
    assert found["bytes"] > 4096
