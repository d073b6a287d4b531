from __future__ import annotations

import json
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from conftest import block_events, log_of
from databases import KINDS, new_database, url

from palate.data.catalogue import read_catalogue
from palate.data.readers import read_log
from palate.errors import DataError, SettingError, StoreError
from palate.store import backup as backups
from palate.store import transfer
from palate.store.backup import backup, check, facts, restore
from palate.store.events import Event, Store
from palate.store.items import Item
from palate.store.keys import Keys
from palate.store.schema import events, sa
from palate.store.transfer import export_events, export_items, import_events, import_items

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
    assert import_events(store, other.to_frame()) == len(other)


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
    with pytest.raises(DataError, match=r"import: user_id is 'xxx.*1 to 1,000 characters"):
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
        **told, "item_id": "a", "available": False, "mixed": "1", "deep": '{"x": [1]}'
    }  # fmt: skip
    assert frame.schema["price"] == pl.Float64
    assert frame.schema["tags"] == pl.List(pl.String)
    export_items(store, tmp_path / "out.csv")
    with Store.open(tmp_path / "other.db") as other:
        import_items(other, tmp_path / "out.csv", categories="tags")
        found = other.items.get("a")
        assert found is not None
        assert (found.available, found.attributes["price"]) == (False, 9.99)
        assert found.attributes["categories"] == ["a|b", "c"]


@pytest.mark.parametrize("name", ["out.parquet", "out.csv", "out.jsonl"])
def test_exported_events_are_read_as_the_log(
    store: Store, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "PART", 16)
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
        patch.setattr(backups, "_sha256", fail)
        with pytest.raises(StoreError, match="copy: cannot be written: disk full"):
            backup(store, tmp_path / "copy")
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
        (_newer, "schema 99, written by palate .*; this version restores 1 and 2"),
    ):
        shutil.copytree(tmp_path / "copy", tmp_path / "bad")
        damage(tmp_path / "bad")
        with pytest.raises(StoreError, match=fault):
            restore(tmp_path / "bad", url)
        shutil.rmtree(tmp_path / "bad")
    with Store.open(url) as store:
        assert store.counts() == (0, 0, 0)
    with pytest.raises(StoreError, match="no such file or folder"):
        restore(tmp_path / "nothing.db", url)


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
    with Store.open(url) as store:
        assert store.counts() == (0, 0, 0)
        store.append([Event("ann", "a", "view", 0)])
    with pytest.raises(StoreError, match="has users already; a backup is restored to a new store"):
        restore(tmp_path / "copy", url)


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
        "schema": 2,
        "events": 2,
        "users": 1,
        "items": 2,
        "event_types": "cart, view",
        "first": "1970-01-01 00:00:00+00:00",
        "last": "1970-01-01 00:00:01+00:00",
    }
    assert found["bytes"] > 4096
