from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest
from conftest import Run
from databases import url

from palate import Popularity, load
from palate.bundles.bundle import manifest_checksum
from palate.data.readers import read_log
from palate.live.training import train
from palate.store.backup import restore
from palate.store.carried import models_of
from palate.store.events import Event, Store
from palate.store.items import Item
from palate.store.keys import Keys
from palate.store.user_profiles import UserProfile
from palate.store.versions import Versions

__all__ = ["url"]
ROOT = Path(__file__).parents[1]
MOVIELENS = ROOT / "examples" / "movielens-small"


@pytest.fixture
def ratings(tmp_path: Path) -> Path:
    path = tmp_path / "ratings.csv"
    lines = [f"u{n % 5},i{n % 3},{n % 5 + 1},{10**9 + n}" for n in range(30)]
    path.write_text("\n".join(["user,item,rating,timestamp", *lines]))
    return path


def test_a_store_from_end_to_end(palate: Run, url: str, ratings: Path, tmp_path: Path) -> None:
    movies = tmp_path / "movies.csv"
    movies.write_text("item,title\ni0,Heat\ni1,Up\nnew,Alien\n")
    given = ("store", "import", "--store", url, "--log", ratings, "--event-type", "star")
    code, out, _ = palate(*given, "--catalogue", movies)
    assert (code, out.partition(", in ")[0]) == (0, "30 new events, 3 new or changed items")
    assert json.loads(palate(*given, "--json")[1]) == {"store": url, "events": 0, "items": 0}
    found = json.loads(palate("store", "info", "--store", url, "--json")[1])
    assert (found["events"], found["users"], found["items"], found["event_types"]) == (30, 5, 4, "star")
    assert "star" in palate("store", "info", "--store", url)[1]
    code, out, _ = palate("store", "check", "--store", url)
    assert (code, out) == (0, "sound; schema 3, 30 events, 5 users, 4 items\n")
    out_log, out_items = tmp_path / "out.parquet", tmp_path / "out.jsonl"
    code, out, _ = palate("store", "export", "--store", url, "--log", out_log, "--catalogue", out_items)
    assert (code, out) == (0, "4 items, 30 events\n")
    assert len(read_log(out_log)) == 30
    assert palate("store", "backup", tmp_path / "copy", "--store", url)[0] == 0
    code, out, _ = palate("store", "restore", tmp_path / "copy", "--store", tmp_path / "again.db")
    assert (code, out.endswith("again.db: 30 events, 5 users, 4 items\n")) == (0, True)


def test_users_and_their_attributes_come_in_and_go_out(palate: Run, url: str, tmp_path: Path) -> None:
    out, other = tmp_path / "users.csv", tmp_path / "other.db"
    with Store.open(url) as store:
        store.profiles.put(
            [
                UserProfile("ann", {"age": 40, "likes": ["tea"]}),
                UserProfile("bob"),
                UserProfile("cem", {"age": "old"}),
            ]
        )
    assert palate("store", "export", "--store", url, "--users", out)[:2] == (0, "3 users\n")
    given = ("store", "import", "--store", other, "--users", out)
    code, said, _ = palate(*given)
    assert (code, said.partition(", in ")[0]) == (0, "0 new events, 0 new or changed items, 3 new or changed users")
    assert json.loads(palate(*given, "--json")[1])["users"] == 0
    with Store.open(url) as store, Store.open(other) as copy:
        assert copy.profiles.page() == store.profiles.page()
        copy.forget("ann")
    _, said, err = palate(*given, "--json")
    assert (json.loads(said)["users"], json.loads(said)["forgotten_users"]) == (0, 1)
    assert "left out: 1 users that were forgotten; --bring-back stores them\n" in err
    assert json.loads(palate(*given, "--bring-back", "--json")[1])["users"] == 1
    assert palate("store", "export", "--store", other)[0] == 2


def test_the_forgotten_are_left_out_unless_they_are_brought_back(palate: Run, ratings: Path, tmp_path: Path) -> None:
    given = ("store", "import", "--store", tmp_path / "s.db", "--log", ratings)
    palate(*given)
    with Store.open(tmp_path / "s.db") as store:
        store.forget("u1")
    with ratings.open("a") as file:
        file.write("\nu1,i9,4,1600000000\nu9,i9,4,1600000000")
    code, out, err = palate(*given)
    assert (code, out.partition(" events")[0]) == (0, "1 new")
    assert "left out: 7 events of users that were forgotten; --bring-back stores them\n" in err
    assert json.loads(palate(*given, "--json")[1])["forgotten"] == 7
    assert json.loads(palate(*given, "--bring-back", "--json")[1])["events"] == 7


@pytest.mark.filterwarnings("ignore:orders.csv. read as ';'-separated, dates day first")
def test_a_later_import_needs_no_options(palate: Run, tmp_path: Path) -> None:
    log, items = tmp_path / "orders.csv", tmp_path / "items.csv"
    rows = ["ann;a1;31.12.2020 10:00\n", "bob;a2;01.02.2021 11:00\n", "ann;a2;03.04.2021 12:00\n"]
    log.write_text("kunde;artikel;wann\n" + "".join(rows[:2]))
    items.write_text("artikel,titel\na1,Tee\n")
    given = ("store", "import", "--store", tmp_path / "s.db", "--log", log, "--catalogue", items)
    named = [each for text in ("user=kunde", "item=artikel", "time=wann") for each in ("--read", text)]
    assert palate(*given, *named)[0] == 1, "the catalogue's column has no known name"
    more = ["--read-catalogue", "item=artikel", "--read-catalogue", "title=titel"]
    code, out, err = palate(*given, *named, *more)
    assert (code, out.partition(", in ")[0]) == (0, "2 new events, 1 new or changed items")
    assert "read as by" not in err
    log.write_text("kunde;artikel;wann\n" + "".join(reversed(rows)))  # grown, in another order
    code, out, err = palate(*given)
    assert (code, out.partition(", in ")[0]) == (0, "1 new events, 0 new or changed items")
    assert "read as by the import before: --read user=kunde --read item=artikel --read time=wann\n" in err
    assert json.loads(palate(*given, "--json")[1])["events"] == 0
    code, _, err = palate(*given, "--read", "user=name")
    assert (code, "no column 'name' (user=)" in err) == (1, True)
    assert palate(*given)[0] == 0, "options of an import that failed are not kept"


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
def test_an_export_is_imported_as_it_was(palate: Run, tmp_path: Path, ending: str) -> None:
    items, log = tmp_path / f"items{ending}", tmp_path / f"log{ending}"
    with Store.open(tmp_path / "s.db") as store:
        store.append([Event("007", " 1", "rate", 1, -1.5, "e1"), Event("7", "1", "view", 2)])
        store.items.put([Item("1", {"name": "X", "genre": "A|B", "price": -5, "item": [1]}, available=False)])
        kept = [*store.events("007"), *store.events("7")], store.items.page()
    assert palate("store", "export", "--store", tmp_path / "s.db", "--log", log, "--catalogue", items)[0] == 0
    given = ("store", "import", "--store", tmp_path / "new.db", "--log", log, "--catalogue", items)
    assert palate(*given)[0] == 0
    with Store.open(tmp_path / "new.db") as store:
        assert [event[1:] for user in ("007", "7") for event in store.events(user)] == [each[1:] for each in kept[0]]
        assert [item[:3] for item in store.items.page()] == [item[:3] for item in kept[1]]


def test_check_fails_on_a_damaged_store(palate: Run, ratings: Path, tmp_path: Path) -> None:
    palate("store", "import", "--store", tmp_path / "s.db", "--log", ratings)
    with sqlite3.connect(tmp_path / "s.db") as connection:
        connection.execute("DELETE FROM items WHERE item_id = 'i0'")
    connection.close()
    code, out, err = palate("store", "check", "--store", tmp_path / "s.db")
    assert (code, err) == (1, "fault: events with a item_no that is not in items: 10\n")
    assert out == "faults: 1; schema 3, 30 events, 5 users, 2 items\n"
    code, out, _ = palate("store", "check", "--store", tmp_path / "s.db", "--json")
    assert (code, len(json.loads(out)["faults"])) == (1, 1)


def test_keys(palate: Run, url: str) -> None:
    code, out, err = palate("key", "create", "shop", "--store", url, "--scope", "read", "--scope", "write")
    secret = out.strip()
    assert (code, err) == (0, "the key of shop, shown this once:\n")
    with Store.open(url) as store:
        assert Keys(store).verify(secret) == {"read", "write"}
    assert json.loads(palate("key", "list", "--store", url, "--json")[1])[0]["scopes"] == ["read", "write"]
    _, out, _ = palate("key", "list", "--store", url)
    assert "good" in out
    assert secret not in out
    assert palate("key", "revoke", "shop", "--store", url)[:2] == (0, "shop: revoked\n")
    assert "revoked" in palate("key", "list", "--store", url)[1]
    code, _, err = palate("key", "revoke", "shop", "--store", url)
    assert (code, err) == (1, "error: key 'shop' is unknown, or was revoked before\n")
    assert palate("key", "create", "x", "--store", url, "--scope", "all")[0] == 1


@pytest.mark.parametrize("command", [("check",), ("info",), ("export", "--log", "x.csv"), ("backup", "x")])
def test_a_store_that_is_not_there_is_not_made(palate: Run, tmp_path: Path, command: tuple[str, ...]) -> None:
    code, _, err = palate("store", *command, "--store", tmp_path / "none.db")
    assert (code, err.partition("none.db")[2]) == (1, ": no such file; `palate store import` makes a store\n")
    assert list(tmp_path.iterdir()) == []


def test_nothing_asked_is_wrong_usage(palate: Run, tmp_path: Path) -> None:
    for command in ("import", "export"):
        code, _, err = palate("store", command, "--store", tmp_path / "s.db")
        assert (code, "give --log FILE" in err) == (2, True)


def test_a_version_is_activated_whatever_was_measured(palate: Run, ratings: Path, tmp_path: Path) -> None:
    given = ("--store", tmp_path / "shop.db")
    assert palate("store", "import", *given, "--log", ratings)[0] == 0
    for _ in range(2):
        assert palate("train", *given, "--recipe", "popularity")[0] == 0
    with Store.open(tmp_path / "shop.db") as store:
        versions = Versions(store)
        first = versions.active()
        code, out, _ = palate("activate", 2 if first == 1 else 1, *given)
        assert (code, out) == (0, f"version {versions.active()} answers now\n")
        assert versions.active() != first
        code, _, err = palate("activate", 9, *given)
        assert (code, err) == (1, "error: model version 9 is unknown; known are 1, 2\n")
        (versions.path(first or 0) / "item_scores.npy").write_bytes(b"")
        code, _, err = palate("activate", first, *given)
        assert code == 1
        assert "item_scores" in err
        assert versions.active() != first


@pytest.mark.parametrize("name", ["copy.db", "copy"])
def test_a_backup_has_the_active_model(palate: Run, tmp_path: Path, name: str) -> None:
    shop, copy, again = tmp_path / "shop.db", tmp_path / name, tmp_path / "new" / "again.db"
    with Store.open(shop) as store:
        store.append([Event(f"u{n % 4}", f"i{n % 5}", "like", 10**15 + n) for n in range(12)])
        versions = Versions(store, None, load)
        for _ in range(2):
            train(store, versions, Popularity())
        active, wanted = versions.active(), versions.path(versions.active() or 0)
    assert palate("store", "backup", copy, "--store", shop)[0] == 0
    assert [path.name for path in models_of(copy).iterdir()] == [wanted.name]
    assert palate("store", "restore", copy, "--store", again)[0] == 0
    with Store.open(again) as store:
        restored = Versions(store, None, load)
        assert restored.answering() == active
        assert manifest_checksum(restored.path(active or 0)) == manifest_checksum(wanted)
    code, _, err = palate("store", "backup", tmp_path / "other.db", "--store", shop)
    assert code == 0, err
    (tmp_path / "third.models").mkdir()
    code, _, err = palate("store", "backup", tmp_path / "third.db", "--store", shop)
    assert (code, "third.models: exists; a backup never replaces anything" in err) == (1, True)
    assert not (tmp_path / "third.db").exists()


def test_a_backup_without_a_sound_model_is_a_backup_all_the_same(
    palate: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Store.open(tmp_path / "shop.db") as store:
        store.append([Event(f"u{n % 4}", f"i{n % 5}", "like", 10**15 + n) for n in range(12)])
        train(store, Versions(store, None, load), Popularity())
    (tmp_path / "shop.models" / "000001" / "manifest.json").write_text("{}")
    assert palate("store", "backup", tmp_path / "copy", "--store", tmp_path / "shop.db")[0] == 0
    assert "model version 1 is not in the backup" in caplog.text
    with restore(tmp_path / "copy", tmp_path / "again.db") as again:
        assert again.counts().events == 12
        assert Versions(again, None, load).answering() is None
