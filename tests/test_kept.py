"""What is kept for the next start: it answers as if all had been read, or is not taken."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from palate.live import kept as module
from palate.live import popularity
from palate.live.kept import FOLDER, Kept
from palate.live.service import Live
from palate.ranking.request import ListRequest
from palate.store.backup import backup, restore
from palate.store.events import Event, Store
from palate.store.items import Item
from palate.store.versions import Versions

ITEMS = [Item(f"i{n}", {"title": f"Item {n}", "price": n, "tags": ["a", "b"][: n % 3]}) for n in range(20)]
RARE = [Item(f"rare{n}", {f"{n}": value}) for n, value in enumerate([5, 1.5, True, "x", ["y", "z"], {"k": [1]}])]
EVENTS = [Event(f"u{n % 5}", f"i{n % 7}", "like", n + 1) for n in range(30)]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.setattr(module, "WORTH", 5)
    with Store.open(tmp_path / "shop.db") as opened:
        opened.items.put(ITEMS + RARE)
        opened.append(EVENTS)
        yield opened


def started(store: Store, weights: dict[str, float] | None = None) -> Live:
    """Start, and wait until what was read is kept."""
    versions = Versions(store)
    live = Live(store, versions, weights or {"like": 3})
    end = time.monotonic() + 20
    while time.monotonic() < end:
        found = Kept.read(versions.folder, store)
        if found is not None and not live.kept().tells_more_than(found):
            return live
        time.sleep(0.01)
    raise AssertionError("nothing was kept")


def same(one: Live, other: Live) -> bool:
    mine, theirs = one.snapshot(), other.snapshot()
    return bool(
        mine.catalogue.frame.equals(theirs.catalogue.frame)
        and mine.catalogue.frame.schema == theirs.catalogue.frame.schema
        and (mine.by_popularity.score == theirs.by_popularity.score).all()
        and one.recommend(ListRequest(k=20)).items == other.recommend(ListRequest(k=20)).items
    )


def test_a_start_reads_what_changed_since(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    started(store)
    store.items.put([Item("new", {"price": "much"}), ITEMS[3]._replace(available=False)])
    store.items.remove(["i4"])
    store.append([Event("u9", "new", "like", 99), Event("u9", "i19", "view", 100)])
    read: list[int] = []
    changed = store.items.changed

    def spied(since: int = 0) -> tuple[pl.DataFrame, int]:
        read.append(since)
        return changed(since)

    monkeypatch.setattr(store.items, "changed", spied)
    again = Live(store, Versions(store), {"like": 3})
    assert read[0] > 0
    assert same(again, Live(store, None, {"like": 3}))
    assert again._popularity.newest == len(EVENTS) + 2


def test_events_that_were_withdrawn_are_in_no_count(store: Store) -> None:
    started(store)
    store.forget("u1")
    store.feedback.withdraw("u2", "i2")
    assert same(Live(store, Versions(store), {"like": 3}), Live(store, None, {"like": 3}))


def test_a_running_service_counts_again_what_was_withdrawn(store: Store) -> None:
    live = started(store)
    store.forget("u1")
    end = time.monotonic() + 20  # counts rest in between, longer where the machine is busy
    while not same(live, Live(store, None, {"like": 3})) and time.monotonic() < end:
        time.sleep(0.02)
    assert same(live, Live(store, None, {"like": 3}))


def test_many_events_are_counted_again_beside_the_answers(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(popularity, "FEW", 0)
    live = started(store)
    store.forget("u1")
    end = time.monotonic() + 20
    while not same(live, Live(store, None, {"like": 3})) and time.monotonic() < end:
        time.sleep(0.02)
    assert same(live, Live(store, None, {"like": 3}))


def test_other_weights_are_counted_anew(store: Store) -> None:
    started(store)
    assert same(started(store, {"like": 7}), Live(store, None, {"like": 7}))


def test_a_store_that_was_restored_has_nothing_kept(store: Store, tmp_path: Path) -> None:
    started(store)
    backup(store, tmp_path / "copy.db")
    store.items.put([Item("lost", {})])
    started(store)
    store.close()
    for file in tmp_path.glob("shop.db*"):
        file.unlink()
    with restore(tmp_path / "copy.db", tmp_path / "shop.db") as back:
        back.items.put([Item("other", {})])  # which has the number that the lost one had
        assert Kept.read(Versions(back).folder, back) is None
        assert started(back).number_of("lost") == -1


def test_what_is_damaged_is_read_again(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    live = started(store)
    file = Versions(store).folder / FOLDER / "rows.arrow"
    file.write_bytes(file.read_bytes()[:-9] + b"x" * 9)
    assert Kept.read(Versions(store).folder, store) is None
    assert "rows.arrow" in caplog.text
    assert same(started(store), live)


def test_little_is_not_kept(tmp_path: Path) -> None:
    with Store.open(tmp_path / "small.db") as store:
        store.items.put(ITEMS)
        live = Live(store, Versions(store))
        assert not live.kept().tells_more_than(None)
