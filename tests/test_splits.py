"""Splits: parts are disjoint and complete, promises are kept, planted leaks are found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from palate.data.interactions import Interactions
from palate.data.splits import Split, split_by_time, split_items, split_last, split_ratio, split_users
from palate.data.vocabulary import Id, Vocabulary
from palate.errors import DataError, JoinWarning, SettingError

Event = tuple[Id, Id, int | None]


def log_of(events: Sequence[Event]) -> Interactions:
    users = Vocabulary.of(event[0] for event in events)
    items = Vocabulary.of(event[1] for event in events)
    times = [event[2] for event in events if event[2] is not None]
    return Interactions.of(
        users,
        items,
        users.codes(event[0] for event in events),
        items.codes(event[1] for event in events),
        timestamp=np.array(times, np.int64) if times else None,
    )


def events_of(log: Interactions | None) -> Counter[Event]:
    if log is None:
        return Counter()
    times = [None] * len(log) if log.timestamp is None else log.timestamp.tolist()
    frame = log.to_frame()
    return Counter(zip(frame["user_id"].to_list(), frame["item_id"].to_list(), times, strict=True))


def lopsided(seed: int = 0, n: int = 400, timed: bool = True) -> Interactions:
    """30 users, 20 items, more events for the low ones."""
    rng = np.random.default_rng(seed)
    user, item = (30 * rng.random(n) ** 2).astype(int), (20 * rng.random(n) ** 2).astype(int)
    time = rng.integers(0, 10**12, n)
    return log_of([(f"u{u}", int(i), int(t) if timed else None) for u, i, t in zip(user, item, time, strict=True)])


SPLITS: dict[str, Callable[[Interactions], Split]] = {
    "time": lambda log: split_by_time(log, 0.3),
    "time, valid": lambda log: split_by_time(log, 0.3, 0.3),
    "last": split_last,
    "last, valid": lambda log: split_last(log, valid=True),
    "ratio": lambda log: split_ratio(log, 0.3),
    "ratio, valid": lambda log: split_ratio(log, 0.3, 0.3),
    "users": lambda log: split_users(log, 0.3),
    "users, valid": lambda log: split_users(log, 0.3, 0.3, held_out=0.5),
    "items": lambda log: split_items(log, 0.3),
    "items, valid": lambda log: split_items(log, 0.3, 0.3),
    "given": lambda log: Split.of(log, log_of([("u0", 0, 2 * 10**12)]), valid=0.3),
}
OWN = [name for name in SPLITS if name != "given"]


@pytest.mark.parametrize("timed", [True, False])
@pytest.mark.parametrize("name", OWN)
def test_parts_are_the_log_without_the_dropped(name: str, timed: bool) -> None:
    log = lopsided(timed=timed)
    if not timed and name.startswith("time"):
        with pytest.raises(DataError, match="needs times"):
            SPLITS[name](log)
        return
    split = SPLITS[name](log)
    split.check()
    together = sum((events_of(part) for part in split.parts().values()), Counter[Event]())
    assert together <= events_of(log)
    assert len(log) - sum(map(len, split.parts().values())) == sum(split.dropped.values())
    assert ("valid" in name) == (split.valid is not None)


@pytest.mark.parametrize("name", SPLITS)
def test_vocabularies_hold_only_their_own_ids(name: str) -> None:
    for part in SPLITS[name](lopsided()).parts().values():
        assert set(part.users.ids) == set(part.to_frame()["user_id"])
        assert set(part.items.ids) == set(part.to_frame()["item_id"])


events = st.tuples(st.integers(0, 7), st.integers(0, 4), st.integers(0, 9))


@pytest.mark.parametrize("name", OWN)
@settings(max_examples=60, deadline=None)
@given(st.lists(events, min_size=1, max_size=60))
def test_any_log_is_split_or_refused(name: str, rows: list[tuple[int, int, int]]) -> None:
    log = log_of(rows)
    try:
        split = SPLITS[name](log)
    except DataError:
        return
    split.check()
    parts = list(split.parts().values())
    assert all(len(part) for part in parts)
    together = sum((events_of(part) for part in parts), Counter[Event]())
    assert together <= events_of(log)
    assert together.total() + sum(split.dropped.values()) == len(log)
    for part in [split.test] + ([split.valid] if split.valid else []):
        known = split.history("valid" if part is split.valid else "test")
        assert set(part.users.ids) <= set(known.users.ids)
        if not name.startswith("items"):
            assert set(part.items.ids) <= set(split.train.items.ids)


def test_time_cut_is_the_newest_share_and_never_parts_equal_times() -> None:
    same = log_of([("a", i % 3, t) for i, t in enumerate([0, 0, 0, 1, 1, 1, 2, 2, 2, 2])])
    split = split_by_time(same, 0.1)  # one event is a tenth, but four share the newest time
    assert len(split.test) == 4
    assert split.train.timestamp is not None
    assert split.train.timestamp.max() == 1


def test_time_cut_keeps_train_when_the_oldest_time_holds_most() -> None:
    split = split_by_time(log_of([("a", i % 2, 0) for i in range(9)] + [("a", 0, 1)]), 0.5)
    assert (len(split.train), len(split.test)) == (9, 1)
    with pytest.raises(DataError, match="same time"):
        split_by_time(log_of([("a", 1, 5), ("b", 1, 5)]))


def test_last_takes_the_newest_event_of_each() -> None:
    rows: list[Event] = [("a", 1, 5), ("a", 2, 9), ("a", 3, 1), ("b", 1, 2), ("b", 2, 1), ("c", 3, 4), ("b", 3, 0)]
    split = split_last(log_of([*rows, ("d", 2, 0)]))
    assert events_of(split.test) == Counter([("a", 2, 9), ("b", 1, 2)])
    valid = split_last(log_of([*rows, ("d", 2, 0), ("d", 1, 0)]), valid=True)
    assert valid.valid is not None
    assert events_of(valid.valid) == Counter([("a", 1, 5), ("b", 2, 1)])
    assert "d" in valid.train.users


def test_last_follows_the_order_of_a_log_without_times() -> None:
    split = split_last(log_of([("a", 3, None), ("b", 1, None), ("a", 1, None), ("b", 3, None), ("b", 1, None)]))
    assert events_of(split.test) == Counter([("a", 1, None)])
    assert split.dropped == {"test events that copy an event of an earlier part": 1}


def test_ratio_takes_the_share_of_each_user_and_follows_the_seed() -> None:
    log = log_of([(u, i, 100 * u + i) for u in range(30) for i in range(u + 1)])
    split = split_ratio(log, 0.2, seed=3)
    taken = split.test.to_frame().group_by("user_id").len()
    for user, count in taken.iter_rows():
        assert count <= int((user + 1) * 0.2 + 0.5)
    assert 0 not in split.test.users
    assert set(split.train.users.ids) == set(range(30))
    assert events_of(split.test) == events_of(split_ratio(log, 0.2, seed=3).test)
    assert events_of(split.test) != events_of(split_ratio(log, 0.2, seed=4).test)


def test_ratio_leaves_everyone_an_event() -> None:
    split = split_ratio(lopsided(), 0.9, 0.9)
    assert set(split.train.users.ids) == set(lopsided().users.ids)


def test_ratio_chooses_every_place_alike() -> None:
    log = log_of([(u, i, i) for u in range(2000) for i in range(5)])
    counts = split_ratio(log, 0.2).test.item_counts()
    assert counts.sum() == 2000
    assert np.abs(counts - 400).max() < 5 * np.sqrt(2000 * 0.2 * 0.8)


def test_users_are_new_and_guessed_from_their_fold_in() -> None:
    log = lopsided()
    split = split_users(log, 0.2, 0.25, held_out=0.5)
    assert split.fold_in is not None
    assert split.valid is not None
    new = set(split.test.users.ids) | set(split.valid.users.ids)
    assert new == set(split.fold_in.users.ids)
    assert not new & set(split.train.users.ids)
    asked = split.test.users.ids
    known = split.history().histories(asked)
    for row, user in enumerate(asked):
        n = int(known.rows.lengths[row])
        assert n >= 1
        assert set(known.items.names(known.rows.column[known.rows.start[row] :][:n])) == {
            item for (u, item, _) in events_of(split.fold_in) if u == user
        }


def test_items_are_new_and_their_people_known() -> None:
    split = split_items(lopsided(), 0.2, 0.25)
    assert split.valid is not None
    parts = [set(split.train.items.ids), set(split.valid.items.ids), set(split.test.items.ids)]
    assert [len(part) for part in parts] == [12, 4, 4]
    assert len(set.union(*parts)) == 20
    assert set(split.test.users.ids) <= set(split.train.users.ids)


def test_history_grows_with_the_part() -> None:
    split = split_by_time(lopsided(), 0.3, 0.3)
    assert split.valid is not None
    assert split.history("valid") is split.train
    assert events_of(split.history()) == events_of(split.train) + events_of(split.valid)
    known = split.history()
    assert known.timestamp is not None
    for row in range(len(known.users)):
        assert (np.diff(known.timestamp[known.start[row] : known.start[row + 1]]) >= 0).all()


def test_published_split_is_kept_whole() -> None:
    train, test = log_of([("a", 1, None), ("a", 2, None), ("b", 1, None)]), log_of([("a", 9, None), ("z", 1, None)])
    split = Split.of(train, test)
    split.check()
    assert (split.train, split.test, split.valid, split.dropped) == (train, test, None, {})


@pytest.mark.parametrize("name", SPLITS)
def test_planted_copy_is_found(name: str) -> None:
    split = SPLITS[name](lopsided())
    copied = split.train.select(np.arange(len(split.train)) == 7)
    user, item, _ = next(iter(events_of(copied)))
    with pytest.raises(DataError, match=f"leak: user '{user}' with item {item} at .* is in train and test"):
        replace(split, test=split.test.merge(copied)).check()


def test_planted_copy_is_found_without_times() -> None:
    log = lopsided(timed=False)
    split = Split.of(log.select(np.arange(len(log)) % 2 == 0), log.select(np.arange(len(log)) % 2 == 1))
    with pytest.raises(DataError, match="is in train and test; an event belongs to one part"):
        split.check()


def test_repeated_consumption_is_no_leak() -> None:
    Split.of(log_of([("a", 1, 5)]), log_of([("a", 1, 6)])).check()


def test_broken_promises_are_found() -> None:
    log = lopsided()
    by_time = split_by_time(log, 0.3, 0.3)
    assert by_time.valid is not None
    with pytest.raises(DataError, match=r"train has an event at .*, validation begins at"):
        replace(by_time, train=by_time.train.merge(log_of([("u0", 0, 10**13)]))).check()
    with pytest.raises(DataError, match=r"validation has an event at .*, test begins at"):
        replace(by_time, valid=by_time.valid.merge(log_of([("u0", 0, 10**13)]))).check()
    users = split_users(log)
    user = users.test.users.ids[0]
    with pytest.raises(DataError, match=f"user '{user}' is in train and in fold-in"):
        replace(users, train=users.train.merge(log_of([(user, 0, 10**13)]))).check()
    items = split_items(log)
    item = items.test.items.ids[0]
    with pytest.raises(DataError, match=f"item {item} is in train and in test"):
        replace(items, train=items.train.merge(log_of([("u0", item, 10**13)]))).check()


@pytest.mark.parametrize("share", [0, 1, -0.1, 1.5, float("nan"), "0.2", True])
def test_shares_are_checked(share: Any) -> None:
    log = lopsided()
    for split in (split_by_time, split_ratio, split_users, split_items):
        with pytest.raises(SettingError, match="test="):
            split(log, share)
        with pytest.raises(SettingError, match="valid="):
            split(log, 0.2, share)
    with pytest.raises(SettingError, match="held_out="):
        split_users(log, held_out=share)
    with pytest.raises(SettingError, match="valid="):
        Split.of(log, log, share)


def test_bad_parts_are_named() -> None:
    log = lopsided()
    with pytest.raises(DataError, match="make the split with valid="):
        split_ratio(log).history("valid")
    with pytest.raises(SettingError, match="part='tset'"):
        split_ratio(log).part("tset")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="train part is empty"):
        split_ratio(log.select(np.zeros(len(log), np.bool_)))


def test_repr_tells_sizes_and_what_was_dropped() -> None:
    text = repr(split_last(log_of([("a", 1, 1), ("a", 9, 2), ("b", 1, 1), ("b", 2, 2), ("c", 2, 0)])))
    assert text.splitlines() == [
        "Split: last per user: each user's last event is the test",
        "  train      Interactions(3 events, 3 users, 2 items)",
        "  test       Interactions(1 events, 1 users, 1 items)",
        "  dropped    1 test events on items not in train",
    ]


@given(st.lists(events, min_size=1, max_size=30), st.lists(events, min_size=1, max_size=30))
@settings(max_examples=60, deadline=None)
def test_merge_is_both_logs(left: list[tuple[int, int, int]], right: list[tuple[int, int, int]]) -> None:
    both = log_of(left).merge(log_of(right))
    assert events_of(both) == events_of(log_of(left)) + events_of(log_of(right))
    expected = sorted(left, key=lambda row: row[2]) + sorted(right, key=lambda row: row[2])
    for row, user in enumerate(both.users.ids):
        mine = sorted((event for event in expected if event[0] == user), key=lambda event: event[2])
        assert both.items.names(both.item[both.start[row] : both.start[row + 1]]).to_list() == [e[1] for e in mine]


def test_merge_keeps_event_types() -> None:
    def typed(item: int, kinds: tuple[str, ...], kind: int) -> Interactions:
        one = log_of([("a", item, None)])
        return replace(one, event=np.array([kind], np.int16), event_types=kinds)

    both = typed(1, ("view", "buy"), 1).merge(typed(2, ("cart", "buy"), 0))
    assert both.to_frame()["event_type"].to_list() == ["buy", "cart"]
    assert both.event_types == ("view", "buy", "cart")
    assert typed(1, ("view",), 0).merge(log_of([("b", 2, None)])).event is None


def test_ids_of_two_logs_meet_by_what_they_spell() -> None:
    numbers, texts = log_of([(1, 1, 1), (2, 2, 2)]), log_of([("2", "3", 4), ("007", "1", 5)])
    both = numbers.merge(texts)
    assert both.users.ids.to_list() == ["1", "2", "007"]
    assert both.items.ids.to_list() == [1, 2, 3]
    assert events_of(both) == Counter([("1", 1, 1), ("2", 2, 2), ("2", 3, 4), ("007", 1, 5)])
    split = Split.of(numbers, log_of([("1", "2", 9)]))
    split.check()
    assert split.history().users.ids.to_list() == [1, 2]
    with pytest.raises(DataError, match=r"leak: user '2' with item '2' at .* is in train and test"):
        Split.of(numbers, log_of([("2", "2", 2)])).check()


def test_a_test_that_shares_no_id_with_train_is_told_of() -> None:
    log = lopsided()
    with pytest.warns(JoinWarning, match=r"test: none of 1 users is known to train: 1; train has 'u"):
        Split.of(log, log_of([(1, 1, 1)]))
    with pytest.warns(JoinWarning, match=r"test: none of 2 items is known to train: 'x', 'y'; train has"):
        Split.of(log, log_of([("u0", "x", 1), ("u1", "y", 1)]))
