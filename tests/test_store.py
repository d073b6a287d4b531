from __future__ import annotations

import math
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from databases import Server, postgresql, url
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.common.served import FORKS
from palate.errors import DataError, EventConflict, StoreError
from palate.models.trending import STEP
from palate.store import recording, scan, schema
from palate.store.activity import newest_events
from palate.store.backup import check
from palate.store.dialects import SQLite
from palate.store.events import Appended, Event, Store
from palate.store.recording import Recorder, now
from palate.store.schema import sa

__all__ = ["url"]


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with Store.open(url) as opened:
        yield opened


def view(user: str, item: str, time: int = 0, **other: Any) -> Event:
    return Event(user, item, "view", time, **other)


def test_a_history_is_what_was_appended_oldest_first(store: Store) -> None:
    assert store.append([view("ann", f"i{n}", n, weight=n / 4) for n in range(5)]) == (5, 0)
    store.append([Event("bob", "i1", "cart", 7)])
    past = store.history("ann")
    assert past.time.tolist() == [0, 1, 2, 3, 4]
    assert past.weight.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert past.last == 5
    numbers = dict(zip(store.items.changed(0)[0]["item_id"], store.items.changed(0)[0]["item_no"], strict=True))
    assert past.item.tolist() == [numbers[f"i{n}"] for n in range(5)]
    (bobs,) = store.history("bob").kind
    assert store.event_types()[bobs] == "cart"
    assert {store.event_types()[kind] for kind in past.kind} == {"view"}
    assert all(column.flags.c_contiguous for column in (past.item, past.kind, past.time, past.weight))
    assert [column.dtype for column in (past.item, past.kind, past.time, past.weight)] == ["i8", "i8", "i8", "f4"]


def test_a_history_holds_the_newest_and_ends_where_asked(store: Store) -> None:
    store.append([view("ann", f"i{n}", n) for n in range(9)])
    assert store.history("ann", most=3).time.tolist() == [6, 7, 8]
    assert store.history("ann", most=3, until=4).time.tolist() == [2, 3, 4]
    assert store.history("ann", until=-1).last == 0


def test_an_unknown_person_has_an_empty_history(store: Store) -> None:
    past = store.history("nobody")
    assert len(past) == past.last == 0
    assert past.weight.dtype == np.float32


def test_an_event_sent_late_takes_its_place_by_time(store: Store) -> None:
    store.append([view("ann", "b", 20), view("ann", "c", 30, weight=3.0), view("ann", "a", 10, weight=1.0)])
    past = store.history("ann")
    assert past.time.tolist() == [10, 20, 30]
    assert past.weight.tolist()[::2] == [1, 3]
    assert math.isnan(past.weight[1])
    assert past.last == 3


NOW = now()
TIMES = st.sampled_from([0, 1, 2, NOW - 5, NOW + 10**12, NOW + 10**13, None])


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xy"), TIMES), max_size=12), st.integers(1, 5))
def test_there_is_one_order_of_the_events_of_a_user(
    tmp_path_factory: pytest.TempPathFactory, sent: list[tuple[str, str, int | None]], limit: int
) -> None:
    with Store.open(tmp_path_factory.mktemp("s") / "s.db") as store:
        for n, (item, kind, time) in enumerate(sent):
            store.append([Event("ann", item, kind, time, float(n))])
        # A time that is still to come, or none, is that of the arrival, and those come one after another.
        moments = [NOW + n if time is None else min(time, NOW + n) for n, (_, _, time) in enumerate(sent)]
        order = sorted(range(len(sent)), key=lambda n: (moments[n], n))
        assert store.history("ann").weight.tolist() == order
        assert store.log().weight.tolist() == order
        assert [event.weight for event in newest_events(store, 99)] == order[::-1]
        pages, before = [], None
        while page := store.events("ann", limit, before):
            pages += [event.weight for event in page]
            before = page[-1].seq
        assert pages == order[::-1]
        newest = {sent[n][:2]: n for n in order}
        assert {(e.item_id, e.event_type): e.weight for e in store.feedback.get(user_id="ann")} == newest
        if sent:
            store.append([Event("ann", *sent[0])], keep="last")
            changed = [event for event in store.events("ann", 99) if event.weight is None]
            assert [event.seq - 1 for event in changed] == [newest[sent[0][:2]]]


def test_a_time_that_is_still_to_come_is_kept_as_it_is_and_counts_as_its_arrival(store: Store) -> None:
    later = 4_000_000_000_000_000
    store.append([view("ann", "a", later), Event("ann", "b", "view"), view("ann", "c", later - 1)])
    assert store.history("ann").item.tolist() == [1, 2, 3]
    assert abs(store.history("ann").time - now()).max() < 60_000_000
    assert max(store.log().to_frame()["timestamp"]) <= datetime.now(UTC)
    assert [event.time for event in store.events("ann")][::2] == [later - 1, later]
    assert store.history("ann", until=now()).item.tolist() == [2]


def test_pages_of_events_go_on_where_the_last_one_of_a_page_is_gone(store: Store) -> None:
    store.append([view("ann", f"i{n}", n) for n in range(9)])
    page = store.events("ann", 3)
    assert [event.item_id for event in page] == ["i8", "i7", "i6"]
    store.feedback.withdraw("ann", "i6")
    assert [event.item_id for event in store.events("ann", 3, page[-1].seq)] == ["i5", "i4", "i3"]
    store.append([view("ann", "late", 4)])
    assert [event.item_id for event in store.events("ann", 3, page[-1].seq)] == ["i5", "late", "i4"]
    assert store.events("ann", before=1) == store.events("nobody", before=5) == []


EVENTS = st.tuples(
    st.sampled_from("abcde"),
    st.sampled_from("vlds"),
    st.sampled_from([0, 3, 10**16]),
    st.sampled_from([None, 0, 2, -1]),
)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sent=st.lists(EVENTS, max_size=15))
def test_the_items_of_a_user_are_read_as_a_loop_over_all_events_would(store: Store, sent: list[Any]) -> None:
    user = f"u{store.newest()}"
    store.append([Event("zoe", "a", "d", 1), *(Event(user, *each) for each in sent)])
    types, ids = store.event_types(), store.items.changed(0)[0]
    number = {name: n for n, name in types.items()}
    silent, negative = ([number[name]] if name in number else [] for name in "sd")
    name_of = dict(zip(ids["item_no"], ids["item_id"], strict=True))
    for until in (None, 5):
        happened = [each for each in sent if until is None or each[2] <= until]
        wanted: dict[str, bool] = {item: False for item, *_ in happened}
        for item, kind, _, weight in sorted(happened, key=lambda each: each[2]):
            if kind != "s" and weight != 0:
                wanted[item] = ((weight or 1) < 0) != (kind == "d")
        item, disliked = store.histories.items(user, silent, negative, until)
        assert {name_of[n]: bad for n, bad in zip(item.tolist(), disliked.tolist(), strict=True)} == wanted
        counted = store.histories.weighted(user, 3, silent, until)
        assert len(counted) == min(3, sum(kind != "s" and weight != 0 for _, kind, _, weight in happened))


def test_reading_a_history_touches_an_index_alone(tmp_path: Path) -> None:
    with Store.open(tmp_path / "s.db") as store:
        store.append([view("ann", "a")])
        read = store.histories
        given = {"user": "ann", "most": 9, "until": 9, "silent": "[]", "negative": "[]"}
        for query, index in ((read._every, "user"), (read._weighted, "user"), (read._items, "pair")):
            values = query._brought | {name: value for name, value in given.items() if f":{name}" in query._text}
            with store.database.reading() as connection:
                plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query._text}", values).fetchall()
            used = {line[3] for line in plan if " events" in line[3]}
            assert used, plan
            assert all(
                line.startswith(f"SEARCH events USING COVERING INDEX events_of_{index} (user_no=?") for line in used
            )
            assert not any("TEMP B-TREE" in line[3] for line in plan), "it is in order"


def test_feedback_on_an_item_comes_in_pages(store: Store) -> None:
    drawn = np.random.default_rng(0).integers(0, [5, 3, 2, 50], (200, 4)).tolist()
    sent = [Event(f"u{user}", f"i{item}", f"t{kind}", time) for user, item, kind, time in drawn]
    store.append(sent)
    last: dict[Any, tuple[int, int]] = {}
    for seq, event in enumerate(sent, 1):
        last[event[:3]] = max(last.get(event[:3], (-1, -1)), (event.time or 0, seq))
    for kind in (None, "t1"):
        chosen = [seq for (_, i, t), (_, seq) in last.items() if i == "i1" and kind in (None, t)]
        found, after = [], 0
        while page := store.feedback.get(item_id="i1", event_type=kind, limit=3, after=after):
            found += [event.seq for event in page]
            after = page[-1].seq
        assert found == sorted(chosen)


def test_what_is_replaced_is_read_once(tmp_path: Path) -> None:
    asked: list[str] = []
    with Store.open(tmp_path / "s.db") as store:
        store.append([view("ann", "a", 1, weight=2.0), view("ann", "b", 2)])
        sa.event.listen(store.database.engine, "before_cursor_execute", lambda *given: asked.append(given[2]))
        store.append([view("ann", "a", 3, weight=4.0), view("ann", "b", 4)], keep="last")
        assert [(event.time, event.weight) for event in store.events("ann")] == [(4, None), (3, 4.0)]
        assert len([text for text in asked if text.startswith("SELECT events.")]) == 2  # and the last line's own
        asked.clear()
        assert store.feedback.withdraw("ann", "a") == 1
        assert not [text for text in asked if text.startswith("SELECT events.")]


def test_feedback_on_an_item_is_looked_up_in_an_index(tmp_path: Path) -> None:
    asked: list[tuple[str, Any]] = []
    with Store.open(tmp_path / "s.db") as store:
        store.append([view("ann", "a"), view("bob", "b")])
        sa.event.listen(store.database.engine, "before_cursor_execute", lambda *given: asked.append(given[2:4]))
        store.feedback.get(item_id="a", event_type="view", until=9, limit=2)
        (query,) = [each for each in asked if "events" in each[0]]
        with store.database.reading() as connection:
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query[0]}", query[1]).fetchall()
    assert any("USING INDEX events_of_item (item_no=? AND seq>?)" in line[3] for line in plan), plan
    assert not any("SCAN" in line[3] or "TEMP B-TREE" in line[3] for line in plan), plan


def test_an_event_id_counts_once(store: Store) -> None:
    assert store.append([view("ann", "a", event_id="1"), view("ann", "a", 9, event_id="1")]) == Appended(1, 1)
    assert store.append([view("ann", "a", 5, event_id="1"), view("bob", "c")]) == Appended(1, 1)
    assert [event.time for event in store.events("ann")] == [0]
    assert store.counts() == (2, 2, 2)


@pytest.mark.parametrize(
    "other",
    [
        Event("bob", "a", "view", 0, event_id="1"),
        Event("ann", "b", "view", 0, event_id="1"),
        Event("ann", "a", "cart", 0, event_id="1"),
        Event("ann", "a", "view", 0, 2.0, event_id="1"),
    ],
)
def test_an_event_id_of_another_event_is_refused(store: Store, other: Event) -> None:
    known = view("ann", "a", event_id="1")
    with pytest.raises(EventConflict, match="event 2: event_id '1' is that of 'view' of user 'ann' on item 'a'"):
        store.append([view("cem", "z"), known, other])
    assert store.counts() == (0, 0, 0), "nothing of them is stored"
    store.append([known])
    futures = [store.submit([view("cem", "z", event_id=name), each]) for name, each in (("2", other), ("3", known))]
    with pytest.raises(EventConflict, match="event 1: event_id '1' is that of 'view' of user 'ann'"):
        futures[0].result()
    assert futures[1].result() == (1, 1), "others in the transaction are stored"
    assert store.append([view("cem", "z", event_id="2")]) == (1, 0)
    assert [event.item_id for event in store.events("ann")] == ["a"]


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.lists(st.sampled_from([("a", None), *((item, item + n) for item in "abc" for n in "12")])), max_size=5
    )
)
def test_any_batches_are_stored_as_a_dictionary_would(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[tuple[str, str | None]]]
) -> None:
    seen: dict[object, str] = {}
    with Store.open(tmp_path_factory.mktemp("s") / "s.db") as store:
        for batch in batches:
            before = len(seen)
            for n, (item, event_id) in enumerate(batch):
                seen.setdefault(event_id or (before, n, object()), item)
            answer = store.append([view("ann", item, event_id=event_id) for item, event_id in batch])
            assert answer == (len(seen) - before, len(batch) - len(seen) + before)
        assert [event.item_id for event in reversed(store.events("ann"))] == list(seen.values())


@pytest.mark.parametrize(
    ("event", "fault"),
    [
        (view("", "a"), "event 1: user_id is ''; it must be text of 1 to 1,000 characters"),
        (view("x" * 1001, "a"), "event 1: user_id is 'xxx"),
        (view("ann", 7), "event 1: item_id is 7"),  # type: ignore[arg-type]
        (view("a\0", "a"), r"event 1: user_id is 'a\\x00'; it must be Unicode text without NUL"),
        (view("ann", "\ud800"), r"event 1: item_id is '\\ud800'"),
        (view("ann", "é\0"), "without NUL"),
        (view("ann", "a", event_id=""), "event 1: event_id is ''"),
        (Event("ann", "a", "x" * 101, 0), "event 1: event_type is .*1 to 100"),
        (view("ann", "a", 2**62), "event 1: time is 4611686018427387904; .*years 1 to 9999"),
        (view("ann", "a", 1.5), "event 1: time is 1.5"),  # type: ignore[arg-type]
        (view("ann", "a", True), "event 1: time is True"),
        (view("ann", "a", weight=math.nan), "event 1: weight is nan; it must be a finite number"),
        (view("ann", "a", weight=1e39), r"event 1: weight is 1e\+39"),
        (view("ann", "a", weight="2"), "event 1: weight is '2'"),
    ],
)
def test_a_bad_event_is_refused_with_all_that_came_with_it(tmp_path: Path, event: Event, fault: str) -> None:
    with Store.open(tmp_path / "s.db") as store:
        with pytest.raises(DataError, match=fault):
            store.append([view("ann", "a"), event])
        assert store.counts() == (0, 0, 0)


def test_extreme_values_come_back(store: Store) -> None:
    odd = Event("u" * 1000, "ключ 🗝 'x';--", 'a"b', -62_135_596_800_000_000, -1e6, "é" * 1000)
    store.append([odd, Event(",", "\n\\", "{}", 253_402_300_799_000_000, 0.1), view("big", "a", weight=10**6)])
    assert store.events("u" * 1000)[0][1:] == odd
    assert store.history("u" * 1000).time.tolist() == [-62_135_596_800_000_000]
    assert store.history(",").weight.tolist() == [np.float32(0.1)]
    assert store.log().items.ids.to_list() == ["ключ 🗝 'x';--", "\n\\", "a"]


def test_there_can_be_only_so_many_event_types(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store._types, "_most", 3)
    store.append([Event("ann", "a", kind, 0) for kind in "xyz"])
    with pytest.raises(DataError, match="event 1: event_type is 'w'; there are 3 other types"):
        store.append([Event("ann", "a", "x", 0), Event("ann", "a", "w", 0)])
    assert store.append([Event("ann", "a", "z", 0)]).new == 1


def test_event_types_that_were_refused_count_for_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store._types, "_most", 3)
    with pytest.raises(DataError, match="event 3: user_id"):
        store.append([*(Event("ann", "a", kind, 0) for kind in "xyz"), Event("", "a", "x", 0)])
    with pytest.raises(DataError, match="event 3: event_type is 'd'; there are 3 other types"):
        store.append([Event("ann", "a", kind, 0) for kind in "abcd"])
    assert store.append([Event("ann", "a", "e", 0, event_id="1")]).new == 1
    assert store.append([Event("ann", "a", "e", 0, event_id="1"), *(Event("ann", "a", n, 0) for n in "fg")]).new == 2
    futures = [store.submit([Event("ann", "a", "e", 0)]) for _ in range(3)]
    assert sum(future.result().new for future in futures) == 3
    assert list(store.event_types().values()) == ["e", "f", "g"]


def test_events_on_their_way_share_the_number_of_types(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store._types, "_most", 5)

    def work(n: int) -> int:
        try:
            return store.append([Event("ann", "a", f"t{n}", 0)]).new
        except DataError:
            return 0

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(work, range(20))) == len(store.event_types()) == 5


def test_pages_of_events_and_users(store: Store) -> None:
    store.append([view(f"u{n % 3}", f"i{n}", n) for n in range(12)])
    first = store.events("u1", limit=2)
    assert [event.item_id for event in first] == ["i10", "i7"]
    assert [event.item_id for event in store.events("u1", before=first[-1].seq)] == ["i4", "i1"]
    assert store.users(limit=2) == ["u0", "u1"]
    assert store.users(after="u1") == ["u2"]
    assert store.newest() == 12


def test_ids_are_ordered_by_code_point_everywhere(store: Store) -> None:
    store.append([view(user, "a") for user in ("b", "B", "a", "é", "10", "9")])
    assert store.users() == ["10", "9", "B", "a", "b", "é"]


def test_a_tally_counts_events_of_one_weight_and_step_of_time(store: Store) -> None:
    store.append([view("ann", "a"), view("bob", "a"), Event("bob", "a", "cart", 0), view("bob", "b")])
    store.append([Event("bob", "a", "cart", 0, weight) for weight in (-2.5, 0.0, -2.5)])
    store.append([Event("bob", "b", "view", time) for time in (STEP - 1, STEP, STEP + 1)])

    def tally(low: int, high: int) -> list[tuple[float, ...]]:
        columns = [np.nan_to_num(column, nan=99).tolist() for column in store.tally(low, high)]
        return sorted(zip(*columns, strict=True))

    assert tally(0, 3) == [(1, 1, 99, 0, 2), (1, 2, 99, 0, 1)]
    assert tally(3, 7) == [(1, 2, -2.5, 0, 2), (1, 2, 0, 0, 1), (2, 1, 99, 0, 1)]
    assert tally(7, 12) == [(2, 1, 99, 0, 1), (2, 1, 99, 1, 2)]
    assert tally(12, 14) == []


def test_neighbours_in_histories_are_counted_by_user(store: Store) -> None:
    hour = 3_600_000_000

    def acted(user: str, *names: str, kind: str = "purchase", apart: int = 24 * hour) -> None:
        store.append([Event(user, name, kind, (n + 1) * apart) for n, name in enumerate(names)])

    acted("a", "x", "after", "then")
    acted("b", "before", "x", "after")  # a day before: not together
    acted("c", "basket", "x", "x", "after", "after", apart=hour // 4)
    acted("d", "x", "after", kind="dislike")
    acted("e", "x", "seen", kind="shown")
    acted("g", "p0", "p1", "x", "p2", apart=0)
    acted("f", "x", *(f"n{n}" for n in range(9)))
    order = ["x", "after", "then", "before", "basket", "seen", "p0", "p1", "p2"]
    order += [f"n{n}" for n in range(9)]
    number = {name: n for n, name in enumerate(order, start=1)}  # as they were stored
    types = {name: number for number, name in store.event_types().items()}
    item, users = store.together.users(number["x"], [types["dislike"], types["shown"]])
    once = ["then", "basket", "p0", "p1", "p2", *(f"n{n}" for n in range(4))]
    found = dict(zip(item.tolist(), users.tolist(), strict=True))
    assert found == {number["after"]: 3} | {number[name]: 1 for name in once}
    assert item[0] == number["after"]
    assert [len(each) for each in store.together.users(999, [])] == [0, 0]


def test_a_forgotten_person_leaves_nothing(store: Store) -> None:
    store.append([view("ann", "a"), view("bob-the-secret", "b"), view("bob-the-secret", "a")])
    assert store.forget("bob-the-secret") == 3
    assert store.forget("bob-the-secret") == 0
    assert store.counts() == (1, 1, 2)
    assert len(store.history("bob-the-secret")) == 0
    assert store.log().users.ids.to_list() == ["ann"]
    store.append([view("cem", "a")])
    assert store.newest() == 4, "a number is never given twice"
    assert check(store).faults == ()


def test_what_is_forgotten_is_overwritten_on_disk(tmp_path: Path) -> None:
    with Store.open(tmp_path / "s.db") as store:
        store.append([view("bob-the-secret", "b", event_id="secret-event")])
        store.forget("bob-the-secret")
    assert b"secret" not in (tmp_path / "s.db").read_bytes()


def test_what_is_forgotten_leaves_the_write_ahead_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "s.db-wal"
    with Store.open(tmp_path / "s.db") as store, Store.open(tmp_path / "s.db") as other:
        store.append([view("bob-the-secret", "b", event_id="secret-event"), view("ann", "b")])
        assert len(other.history("bob-the-secret")) == 1
        assert b"secret" in log.read_bytes()
        store.forget("bob-the-secret")
        other.append([view("ann", "a")])
        assert b"secret" not in log.read_bytes() + (tmp_path / "s.db").read_bytes()
        monkeypatch.setattr("palate.store.dialects.REST", 0)
        store.append([view("cem-the-secret", "b")])
        with other.database.reading() as connection:
            connection.execute(sa.select(schema.events)).all()
            store.forget("cem-the-secret")
            assert b"secret" in log.read_bytes(), "a reader may still need it"
        store.append([view("ann", "a")])
        assert b"secret" not in log.read_bytes() + (tmp_path / "s.db").read_bytes()


def test_a_long_write_ahead_log_is_emptied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("palate.store.dialects.LONG", 100_000)
    with Store.open(tmp_path / "s.db") as store:
        for n in range(50):
            store.append([view(f"u{n}", f"i{k}") for k in range(30)])
            assert (tmp_path / "s.db-wal").stat().st_size <= 100_000


def test_state_is_shared(url: str) -> None:
    with Store.open(url) as one, Store.open(url) as other:
        assert one.state("x") is None
        one.set_state("x", "1")
        other.set_state("x", "2")
        assert one.state("x") == "2"


def test_a_log_holds_every_event_weighted(store: Store) -> None:
    store.append([view("bob", "z", 5), Event("ann", "y", "cart", 3, 2.0), view("bob", "y", 2), view("bob", "z", 2)])
    store.items.remove(["y"])
    log = store.log({"cart": 3.0, "view": 0.5})
    rows = log.to_frame().with_columns(timestamp=log.to_frame()["timestamp"].to_physical()).rows()
    assert rows == [
        ("bob", "y", 0.5, 2, "view"),
        ("bob", "z", 0.5, 2, "view"),
        ("bob", "z", 0.5, 5, "view"),
        ("ann", "y", 6.0, 3, "cart"),
    ]
    late = store.log(since=4)
    assert (late.users.ids.to_list(), late.items.ids.to_list(), late.event_types) == (["bob"], ["z"], ("view",))


def test_the_log_of_an_empty_store_is_empty(store: Store) -> None:
    assert len(store.log()) == 0


def test_a_log_is_the_same_in_parts(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.append([view(f"u{n % 7}", f"i{n % 11}", n % 13, weight=None if n % 3 else float(n)) for n in range(100)])
    store.forget("u3")
    whole = store.log().to_frame()
    monkeypatch.setattr("palate.store.scan.PART", 8)
    assert store.log().to_frame().equals(whole)
    assert len(whole) == 86


def test_somebody_forgotten_while_a_log_is_read_is_not_in_it(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.append([view("ann", "a", 1), view("bob", "b", 2)])
    columns = scan._columns

    def then_forget(*given: Any) -> Any:
        found = columns(*given)
        store.forget("ann")
        store.append([view("cem", "c")])
        return found

    monkeypatch.setattr(scan, "_columns", then_forget)
    log = store.log()
    assert (log.users.ids.to_list(), log.items.ids.to_list(), log.item.tolist()) == (["bob"], ["b"], [0])


# Many writers


def test_submissions_that_wait_share_a_transaction(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    groups: list[int] = []
    go = threading.Event()
    record = Recorder.record

    def slow(self: Recorder, connection: Any, batches: Any) -> Any:
        go.wait(10)
        groups.append(len(batches))
        return record(self, connection, batches)

    monkeypatch.setattr(Recorder, "record", slow)
    futures = [store.submit([view(f"u{n % 20}", "a", event_id=str(n % 20))]) for n in range(40)]
    go.set()
    assert sum(future.result(10).new for future in futures) == 20
    assert sum(future.result().repeated for future in futures) == 20
    assert sum(groups) == 40
    assert len(groups) <= 3


def test_a_cancelled_submission_is_not_written(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    go = threading.Event()
    record = Recorder.record
    monkeypatch.setattr(Recorder, "record", lambda *given: (go.wait(10), record(*given))[1])
    first = store.submit([view("ann", "a")])
    while not first.running():
        pass
    second, third = store.submit([view("ann", "b")]), store.submit([view("ann", "c")])
    assert second.cancel()
    go.set()
    assert third.result(10).new == 1
    assert [event.item_id for event in store.events("ann")] == ["c", "a"]


def test_a_failed_transaction_fails_everybody_in_it_and_stores_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert = type(store.database).insert

    def broken(self: Any, cursor: Any, table: Any, *rest: Any) -> None:
        insert(self, cursor, table, *rest)
        if table.name == "events":
            cursor.execute("SELECT * FROM nowhere")

    with monkeypatch.context() as patch:
        patch.setattr(type(store.database), "insert", broken)
        futures = [store.submit([view("ann", str(n))]) for n in range(5)]
        for future in futures:
            with pytest.raises(StoreError, match="nowhere"):
                future.result(10)
    assert store.counts() == (0, 0, 0)
    assert store.append([view("ann", "a")]).new == 1


def test_threads_append_side_by_side(store: Store) -> None:
    def work(n: int) -> int:
        return sum(store.append([view(f"u{n % 4}", f"i{k}", k, event_id=f"{n % 4}-{k}")]).new for k in range(25))

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(work, range(8))) == 100
    assert store.counts().events == 100
    assert check(store).faults == ()


def write_and_forget(url: str, process: int) -> None:
    """Store the events of one of several processes, some of them twice, and forget users."""
    with Store.open(url) as store:
        for n in range(40):
            store.append([Event(f"u{n % 5}", f"i{n}", "view", n, None, f"{process % 2}-{n}")])
            if n % 10 == 9:
                store.forget(f"u{n % 5}")


def test_processes_share_a_store(url: str) -> None:
    processes = [FORKS.Process(target=write_and_forget, args=(url, n)) for n in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    with Store.open(url) as store:
        assert check(store).faults == ()
        assert 0 < store.counts().events <= 120


def test_another_process_is_seen_at_once(url: str) -> None:
    with Store.open(url) as one, Store.open(url) as other:
        one.append([view("ann", "a")])
        assert len(other.history("ann")) == 1
        other.append([view("ann", "b")])
        assert len(one.history("ann")) == 2
        assert one.event_types() == other.event_types() == {1: "view"}


def test_a_closed_store_takes_nothing_more(url: str) -> None:
    store = Store.open(url)
    waiting = [store.submit([view("ann", str(n))]) for n in range(20)]
    store.close()
    assert all(future.result(0).new == 1 for future in waiting)
    for use in (lambda: store.append([view("ann", "a")]), lambda: store.history("ann"), store.counts):
        with pytest.raises(StoreError, match="the store is closed"):
            use()


# PostgreSQL


@pytest.fixture(name="postgresql")
def running_server() -> Server:
    return postgresql()


def kill_connections(running: Server, database: str) -> None:
    engine = sa.create_engine(running.url("postgres").replace("://", "+psycopg://"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        asked = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name"
        connection.execute(sa.text(asked), {"name": database})
    engine.dispose()


def test_a_lost_connection_is_replaced(postgresql: Server) -> None:
    url = postgresql.create()
    with Store.open(url) as store:
        store.append([view("ann", "a", event_id="1")])
        assert len(store.history("ann")) == 1
        kill_connections(postgresql, sa.make_url(url).database or "")
        assert len(store.history("ann")) == 1
        kill_connections(postgresql, sa.make_url(url).database or "")
        assert store.append([view("ann", "a", event_id="1"), view("ann", "b", event_id="2")]) == (1, 1)


def test_a_connection_lost_within_a_transaction_is_tried_again(
    postgresql: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgresql.create()
    record = Recorder.record
    lost: list[bool] = []

    def losing(self: Recorder, connection: Any, batches: Any) -> Any:
        if not lost:
            lost.append(True)
            kill_connections(postgresql, sa.make_url(url).database or "")
        return record(self, connection, batches)

    monkeypatch.setattr(Recorder, "record", losing)
    with Store.open(url) as store:
        assert store.append([view("ann", "a")]).new == 1
        assert store.counts().events == 1


def test_a_server_that_comes_back_is_used_again(postgresql: Server) -> None:
    own = Server(postgresql.programs)
    try:
        with Store.open(own.create()) as store:
            store.append([view("ann", "a", event_id="1")])
            own.stop()
            with pytest.raises(StoreError):
                store.append([view("ann", "b", event_id="2")])
            with pytest.raises(StoreError):
                store.history("ann")
            own.start()
            assert store.append([view("ann", "b", event_id="2"), view("ann", "a", event_id="1")]) == (1, 1)
            assert len(store.history("ann")) == 2
    finally:
        own.end()


# Opening


@pytest.mark.parametrize(
    ("where", "fault"),
    [
        ("mysql://x/y", "'mysql://x/y': a store cannot be kept there; give the path of an SQLite file"),
        ("sqlite://", "cannot be kept there"),
        ("://", "no URL of a database"),
        ("/nowhere/at/all/s.db", "unable to open database file"),
        ("postgresql://me:secret@/x?host=/nowhere", r"postgresql\+psycopg://me:\*\*\*@/x"),
    ],
)
def test_what_cannot_be_opened_says_so(where: str, fault: str) -> None:
    with pytest.raises(StoreError, match=fault) as caught:
        Store.open(where)
    assert "secret" not in str(caught.value)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s.db").write_text("hello, this is a text and nothing else" * 100)
    with pytest.raises(StoreError, match=r"s\.db: file is not a database"):
        Store.open(tmp_path / "s.db")


def test_a_store_opens_by_path_and_by_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for where in ("s.db", tmp_path / "s.db", f"sqlite:///{tmp_path}/s.db", "sqlite:///s.db"):
        with Store.open(where) as store:
            store.append([view("ann", "a")])
            assert store.in_process
            with Store.open(store.url) as again:
                count = again.counts().events
    assert count == 4


def test_a_newer_schema_is_refused(url: str) -> None:
    with Store.open(url) as store:
        store.set_state("schema", "99")
    with pytest.raises(
        StoreError, match="its schema is version 99; this version of palate reads up to 3: upgrade it"
    ):
        Store.open(url)


def test_an_older_store_is_migrated_in_order(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store.open(url) as store:
        store.append([view("ann", "a")])
    today = len(schema.MIGRATIONS)
    steps = [
        *schema.MIGRATIONS,
        lambda connection: connection.execute(sa.text("ALTER TABLE events ADD COLUMN place TEXT")),
        lambda connection: connection.execute(sa.text("UPDATE events SET place = 'moved'")),
    ]
    monkeypatch.setattr(schema, "MIGRATIONS", steps[:-1])
    with Store.open(url) as store:
        assert store.state("schema") == str(today + 2)
    monkeypatch.setattr(schema, "MIGRATIONS", steps)
    with Store.open(url) as store:
        assert store.state("schema") == str(today + 3)
        with store.database.reading() as connection:
            assert connection.scalar(sa.text("SELECT place FROM events")) == "moved"
        assert store.append([view("ann", "b")]).new == 1


FROM_VERSION_3 = (
    "DROP INDEX events_of_context",
    "ALTER TABLE events DROP COLUMN context_no",
    "DROP TABLE contexts",
    "DROP TABLE impressions",
)


def as_version_1(url: str) -> None:
    """Make a store what version 1 of the schema was."""
    with Store.open(url) as store, store.database.writing() as connection:
        for statement in (
            *FROM_VERSION_3,
            "DROP INDEX events_of_item",
            "DROP INDEX events_of_pair",
            "DROP INDEX events_of_user",
            "ALTER TABLE events DROP COLUMN moment",
            "CREATE INDEX events_of_user ON events (user_no, seq, item_no, type_no, time, weight)",
            "UPDATE state SET value = '1' WHERE name = 'schema'",
        ):
            connection.execute(sa.text(statement))


def layout(store: Store) -> Any:
    with store.database.reading() as connection:
        looked = sa.inspect(connection)
        indexes = {each["name"]: each["column_names"] for each in looked.get_indexes("events")}
        return [column["name"] for column in looked.get_columns("events")], indexes


def test_a_store_of_version_1_gets_the_order_of_its_events(url: str) -> None:
    later = 4_000_000_000_000_000
    with Store.open(url) as store:
        store.append([view("ann", "a", later, weight=1.0), view("ann", "b", 20), view("ann", "c", 10)])
        new = layout(store)
        exported = store.events("ann")
    as_version_1(url)
    before = now()
    with Store.open(url) as store:
        assert layout(store) == new
        assert store.state("schema") == "3"
        assert store.history("ann").item.tolist() == [3, 2, 1]
        assert before <= store.history("ann").time[-1] <= now()
        assert {event.item_id: event for event in store.events("ann")} == {event.item_id: event for event in exported}
        store.append([Event("ann", "d", "view")])
        assert store.history("ann").item.tolist() == [3, 2, 1, 4], "it came after the migration"
        assert check(store).faults == ()


def test_a_migration_that_fails_changes_nothing(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Store.open(url).close()
    today = schema.MIGRATIONS
    steps = [
        *today,
        lambda connection: connection.execute(sa.text("CREATE TABLE half (x INTEGER)")),
        lambda connection: connection.execute(sa.text("INSERT INTO nowhere VALUES (1)")),
    ]
    monkeypatch.setattr(schema, "MIGRATIONS", steps)
    with pytest.raises(StoreError, match="nowhere"):
        Store.open(url)
    monkeypatch.setattr(schema, "MIGRATIONS", today)
    with Store.open(url) as store, store.database.reading() as connection:
        assert not sa.inspect(connection).has_table("half")


def test_two_may_open_a_new_store_at_once(url: str) -> None:
    def work(n: int) -> Appended:
        with Store.open(url) as store:
            return store.append([view("ann", f"i{n}")])

    with ThreadPoolExecutor(6) as pool:
        assert all(answer == (1, 0) for answer in pool.map(work, range(6)))


def test_a_clock_that_is_set_back_changes_no_order(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    day, true = 86_400_000_000, 1_700_000_000_000_000
    sent = []
    with Store.open(url) as store:
        for n, off in enumerate((0, day, -day, 0, -day, day)):
            clock = true + n * 1_000_000 + off
            monkeypatch.setattr(recording, "now", partial(int, clock))
            sent.append(f"i{n}")
            for keep in ("all", "last"):
                store.append([Event("untimed", f"i{n}", keep)], keep)
                store.append([Event("timed", f"i{n}", keep, true + n * 1_000_000)], keep)
        for user in ("untimed", "timed"):
            found = store.events(user)[::-1]
            assert [event.item_id for event in found if event.event_type == "all"] == sent
            assert [event.item_id for event in found if event.event_type == "last"] == sent
            assert len(store.history(user)) == 2 * len(sent)
        assert store.events("timed")[1].time == true + 5_000_000
        store.append([Event("timed", "late", "view", true - 5 * day)])
        assert store.events("timed")[-1].item_id == "late"


def test_a_burst_leaves_few_connections_open(tmp_path: Path) -> None:
    with Store.open(tmp_path / "shop.db") as store:
        database = store.database
        cursors = [database.cursor() for _ in range(10)]
        for cursor in cursors:
            database.give_back(cursor)
        still = 0
        for cursor in cursors:
            with suppress(sqlite3.ProgrammingError):
                cursor.execute("SELECT 1")
                still += 1
        assert still == database.pool


def test_the_log_of_a_new_file_is_turned_on_when_another_process_has_done_so(tmp_path: Path) -> None:
    """SQLite refuses one of two that turn it on at once, without waiting."""

    class Refusing:
        asked = 0

        def execute(self, statement: str) -> None:
            self.asked += 1
            if self.asked < 3:
                error = sqlite3.OperationalError("database is locked")
                error.sqlite_errorcode = sqlite3.SQLITE_BUSY
                raise error

    refusing: Any = Refusing()
    SQLite(sa.make_url(f"sqlite:///{tmp_path / 'new.db'}"))._to_wal(refusing)
    assert refusing.asked == 3
