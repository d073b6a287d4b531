from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
from conftest import block_events, log_of
from hypothesis import given
from hypothesis import strategies as st

from palate.data.event_types import EventType
from palate.data.histories import Histories
from palate.data.interactions import Interactions
from palate.data.ragged import Ragged
from palate.data.readers import read_log
from palate.data.splits import split_ratio
from palate.data.vocabulary import Id, Vocabulary
from palate.errors import DataError

EVENTS = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 8), st.sampled_from([0.5, 1.0, 2.0]), st.integers(0, 4)), max_size=40
)


def small() -> Interactions:
    events: list[tuple[Id, Id, float, int]] = [
        ("ann", "x", 1, 3),
        ("bob", "y", 2, 1),
        ("ann", "y", 3, 1),
        ("ann", "x", 4, 3),
        ("bob", "z", 5, 0),
    ]
    return log_of(events)


@given(EVENTS)
def test_events_are_grouped_by_user_in_time_order(events: list[tuple[int, int, float, int]]) -> None:
    log = log_of([*events])
    order = list(dict.fromkeys(user for user, *_ in events))
    expected = sorted(events, key=lambda event: (order.index(event[0]), event[3]))  # stable, as in the file
    frame = log.to_frame()
    assert frame.select("user_id", "item_id", "weight").rows() == [event[:3] for event in expected]
    assert (frame["timestamp"].dt.epoch("d") == pl.Series([event[3] for event in expected])).all()


def test_a_log_says_its_size() -> None:
    assert repr(small()) == "Interactions(5 events, 2 users, 3 items)"
    assert len(small()) == 5
    assert small().item_counts().tolist() == [2, 2, 1]


def test_what_is_made_of_a_log_was_read_when_it_was() -> None:
    log = replace(small(), read_at=5)
    assert log.select(log.weight > 2).read_at == log.filter(min_weight=2).read_at == 5
    assert log.merge(replace(small(), read_at=9)).read_at == 9
    split = split_ratio(replace(log_of(block_events()), read_at=5), 0.3, 0.3)
    assert {part.read_at for part in (*split.parts().values(), split.history())} == {5}
    before = time.time_ns() // 1000
    assert before <= small().read_at <= time.time_ns() // 1000


def test_ages_are_measured_from_the_newest_event_that_has_been() -> None:
    day = 86_400_000_000
    assert (small().ages // day).tolist() == [2, 0, 0, 3, 2]
    assert (replace(small(), read_at=2 * day).ages // day).tolist() == [0, 0, 0, 1, 0]
    assert (replace(small(), read_at=-1).ages // day).tolist() == [0] * 5
    assert log_of([]).ages.tolist() == []
    with pytest.raises(DataError, match="has no times"):
        len(replace(small(), timestamp=None).ages)


def test_without_times_the_order_of_the_file_stays() -> None:
    ids = Vocabulary.of(["a", "b"])
    log = Interactions.of(ids, ids, np.array([1, 0, 1], np.int32), np.array([1, 1, 0], np.int32))
    assert log.to_frame().rows() == [("a", "b", 1.0), ("b", "b", 1.0), ("b", "a", 1.0)]


@pytest.mark.parametrize(
    ("weight", "teaches", "hides"), [(2.5, True, False), (0, False, False), (-1, False, True), (1e-60, False, False)]
)
def test_what_an_event_type_means(weight: float, teaches: bool, hides: bool) -> None:
    kind = EventType.of("x", {"x": weight, "y": 7})
    assert (kind.teaches, kind.hides, kind.silent) == (teaches, hides, not teaches and not hides)
    log = read_log(pl.DataFrame({"user": [1], "item": [7], "event": ["x"]}), weights={"x": weight})
    assert log.types == (EventType("x", weight),)
    assert (log.liked.tolist(), log.disliked.tolist()) == ([teaches], [hides])
    assert (log.rows.liked.tolist(), log.rows.disliked.tolist()) == ([teaches], [hides])
    assert EventType.of("z", {}) == EventType("z", 1)
    assert (kind.weigh(), kind.weigh(-2)) == (weight, -2 * weight)


def test_histories_keep_event_types() -> None:
    frame = pl.DataFrame({"user": [1, 1, 2, 2], "item": [7, 8, 8, 7], "event": ["view", "buy", "cart", "view"]})
    log = read_log(frame)

    def types(histories: Histories) -> list[str]:
        return [histories.event_types[n] for n in histories.rows.types]

    assert types(log.histories([2, 3, 1])) == ["cart", "view", "view", "buy"]
    assert types(log.histories().on(Vocabulary.of([7]))) == ["view", "view"]
    assert types(log.histories().block(1, 2)) == ["cart", "view"]
    assert types(log.histories().gather(np.array([1, 0]))) == ["cart", "view", "view", "buy"]
    plain = Histories.of(log.items, [[7, 9, 8], []], event_types=[["cart", "view", None], []])
    assert (plain.event_types, plain.rows.types.tolist()) == (("cart", "view"), [0, -1])
    assert plain.typed(Vocabulary.of(["x", "cart"])).types.tolist() == [1, -1]
    assert Histories.of(log.items, [[7]]).typed(Vocabulary.of(["x"])).types.tolist() == [-1]
    with pytest.raises(DataError, match="1 columns and 2 event types; the two must agree"):
        Histories.of(log.items, [[7]], event_types=[["view", "cart"]])
    with pytest.raises(DataError, match="event types are 1 to 1; they must be from -1, below 1"):
        replace(plain, event_types=("cart",), rows=replace(plain.rows, event=np.array([1, 1], np.int16)))


def test_event_types_follow_their_events() -> None:
    ids = Vocabulary.of(["a", "b"])
    user, item = np.array([1, 0, 1], np.int32), np.array([1, 1, 0], np.int32)
    log = Interactions.of(ids, ids, user, item, event=np.array([0, 1, 1], np.int16), event_types=("view", "buy"))
    assert log.to_frame()["event_type"].to_list() == ["buy", "view", "buy"]
    assert log.select(np.array([False, True, True])).to_frame()["event_type"].to_list() == ["view", "buy"]


@given(EVENTS)
def test_the_matrix_adds_up_repeated_events(events: list[tuple[int, int, float, int]]) -> None:
    log = log_of([*events])
    expected = np.zeros((len(log.users), len(log.items)), np.float32)
    for user, item, weight, _ in events:
        expected[log.users.code(user), log.items.code(item)] += weight
    np.testing.assert_array_equal(log.matrix().toarray(), expected)
    assert len(log) == len(events)  # and leaves the log as it is


def test_histories_in_the_order_asked_for() -> None:
    histories = small().histories(["bob", "nobody", "ann", "bob"])
    assert histories.users.to_list() == ["bob", "nobody", "ann", "bob"]
    assert histories.rows.lengths.tolist() == [2, 0, 3, 2]
    assert histories.items.names(histories.rows.column).to_list() == ["z", "y", "y", "x", "x", "z", "y"]
    assert histories.rows.weight.tolist() == [5, 2, 3, 1, 4, 5, 2]
    assert small().histories().users.to_list() == ["ann", "bob"]


def test_histories_of_users_in_any_type() -> None:
    log = log_of([(1, "x", 1, 0), (2, "7", 1, 0)])
    for asked in (["2", 1], pl.Series(["2", "1"], dtype=pl.Categorical), np.array([2, 1], np.uint8), [2.0, 1.0]):
        histories = log.histories(asked)  # type: ignore[arg-type]
        assert [str(user) for user in histories.users] == ["2", "1"]
        assert histories.items.names(histories.rows.column).to_list() == ["7", "x"]
    for wrong in ([1, None], [True], [1.5], [{"id": 1}], pl.Series([1, None])):
        with pytest.raises(DataError, match=r"user_ids\[\d\] is .*; ids must be strings or whole numbers"):
            log.histories(wrong)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="user_ids is '1'; it must be a list or column of ids"):
        log.histories("1")


def test_lists_of_items_in_any_type() -> None:
    lists = [[10, "20"], np.array([20], np.uint16), pl.Series(["10", "7"], dtype=pl.Categorical), (10.0,)]
    for items in (Vocabulary.of([10, 20]), Vocabulary.of(["10", "20"])):
        histories = Histories.of(items, lists)  # type: ignore[arg-type]
        assert histories.rows.start.tolist() == [0, 2, 3, 4, 5]
        assert histories.rows.column.tolist() == [0, 1, 1, 0, 0]
        with pytest.raises(DataError, match=r"history 1\[2\] is True; ids must be"):
            Histories.of(items, [[10], [20, 10, True]])
        with pytest.raises(DataError, match="history 0 is '10'; it must be a list or column of ids"):
            Histories.of(items, ["10", "20"])
        with pytest.raises(DataError, match="history 1 is 20; it must be a list or column of ids"):
            Histories.of(items, [[10], 20])  # type: ignore[list-item]


def test_histories_move_to_other_items() -> None:
    moved = small().histories(["ann", "bob"]).on(Vocabulary.of(["w", "y"]))
    assert moved.rows.lengths.tolist() == [1, 1]
    assert moved.rows.column.tolist() == [1, 1]
    assert moved.rows.weight.tolist() == [3, 2]


def test_histories_of_plain_lists() -> None:
    items = Vocabulary.of(["x", "y", "z"])
    histories = Histories.of(items, [["z", "?", "x"], [], ["y"]], weights=[[1, 9, 2], [], [3]])
    assert histories.users.to_list() == [0, 1, 2]
    assert histories.rows.lengths.tolist() == [2, 0, 1]
    assert histories.rows.column.tolist() == [2, 0, 1]
    assert histories.rows.weight.tolist() == [1, 2, 3]
    assert len(Histories.of(items, [])) == 0


def test_a_block_of_histories() -> None:
    whole = small().histories(["bob", "nobody", "ann", "bob"])
    block = whole.block(1, 3)
    assert block.users.to_list() == ["nobody", "ann"]
    assert block.rows.start.tolist() == [0, 0, 3]
    assert block.items.names(block.rows.column).to_list() == ["y", "x", "x"]


@given(EVENTS, st.integers(0, 2**20))
def test_select_drops_users_and_items_without_events(events: list[tuple[int, int, float, int]], seed: int) -> None:
    log = log_of([*events])
    kept = np.random.default_rng(seed).random(len(log)) < 0.5
    part = log.select(kept)
    assert part.to_frame().equals(log.to_frame().filter(kept))
    assert set(part.users.ids) == set(part.to_frame()["user_id"])
    assert set(part.items.ids) == set(part.to_frame()["item_id"])
    assert part.start[-1] == len(part)


def test_fingerprints_tell_pairs_and_not_their_order() -> None:
    start = np.array([0, 2, 4, 6, 8, 8], np.int64)
    column = np.array([1, 2, 2, 1, 1, 2, 2, 2], np.int32)
    weight = np.array([1, 1, 1, 1, 1, 2, 1, 1], np.float32)
    prints = Ragged(start, column, weight).fingerprints()
    assert prints[0] == prints[1]
    assert len(set(prints.tolist())) == 4
    assert prints[4] == 0


def test_ragged_parts_must_agree() -> None:
    with pytest.raises(DataError, match="1 columns, 1 weights and an end at 2; the three must agree"):
        Ragged(np.array([0, 2], np.int64), np.zeros(1, np.int32), np.zeros(1, np.float32))
    with pytest.raises(DataError, match="1 columns and 2 times; the two must agree"):
        Ragged(np.array([0, 1], np.int64), np.zeros(1, np.int32), np.zeros(1, np.float32), np.zeros(2, np.int64))


@given(EVENTS, st.integers(0, 2**20))
def test_times_stay_with_their_events(events: list[tuple[int, int, float, int]], seed: int) -> None:
    """However rows are chosen, cut or renamed: each pair of item and time left is one of the log."""
    log = log_of([*events])
    assert log.timestamp is not None
    rng = np.random.default_rng(seed)
    rows = log.histories(log.users.ids.to_list()[::-1]).rows
    low = int(rng.integers(0, len(rows) + 1))
    some = [rows.block(low, len(rows)), rows.where(rng.random(len(log)) < 0.5), rows.clipped()]
    renaming = rng.permutation(len(log.items)).astype(np.int32)
    renaming[rng.random(len(renaming)) < 0.3] = -1
    there = set(zip(log.item.tolist(), log.timestamp.tolist(), strict=True))
    for part in some:
        assert part.time is not None
        assert set(zip(part.column.tolist(), part.time.tolist(), strict=True)) <= there
    named = rows.recoded(renaming)
    assert named.time is not None
    expected = {(int(renaming[item]), time) for item, time in there if renaming[item] >= 0}
    assert set(zip(named.column.tolist(), named.time.tolist(), strict=True)) == expected


def test_plain_lists_take_times() -> None:
    items = Vocabulary.of(["x", "y"])
    asked = Histories.of(items, [["x", "?", "y"], ["y"]], times=[[5, 6, 7], [8]])
    assert asked.rows.time is not None
    assert asked.rows.time.tolist() == [5, 7, 8]
    assert asked.block(1, 2).rows.time.tolist() == [8]  # type: ignore[union-attr]
    with pytest.raises(DataError, match="2 columns and 1 times"):
        Histories.of(items, [["x", "y"]], times=[[1]])


def test_columns_that_do_not_fit_are_named() -> None:
    ids = Vocabulary.of(["a", "b"])
    user, item = np.array([1, 0, 1], np.int32), np.array([1, 1, 0], np.int32)
    ones = np.ones(3, np.float32)
    bad: list[tuple[tuple[Any, ...], str]] = [
        ((user, item - 2), "item: has numbers -2 to -1; they must be from 0, below 2"),
        ((user, item + 1), "item: has numbers 1 to 2"),
        ((user - 1, item), "user: has rows -1 to 0"),
        ((user + 1, item), "user: has rows 1 to 2"),
        ((user, item[:-1]), r"item: holds int32 of the shape \(2,\); it must hold int32, one for each of 3 events"),
        ((user, item, ones[:-1]), "weight: holds"),
        ((user, item, ones.astype(np.float16)), "weight: holds float16"),
        ((user, item, ones * np.float32(np.nan)), "weight: 3 are not finite"),
        ((user, item, ones, item), "timestamp: holds int32"),
        ((user, item, ones, None, item.astype(np.int16)), "event: has numbers 0 to 1; they must be from 0, below 0"),
    ]
    for columns, told in bad:
        with pytest.raises(DataError, match=told):
            Interactions.of(ids, ids, *columns)
    log = Interactions.of(ids, ids, user, item)
    with pytest.raises(DataError, match="item: has numbers"):
        replace(log, item=log.item - 1)
    with pytest.raises(DataError, match="start: must rise"):
        replace(log, start=np.array([0, 4, 3]))


def test_a_history_of_items_that_are_not_there_is_refused() -> None:
    items = Vocabulary.of(["a", "b"])
    start, ones = np.array([0, 2]), np.ones(2, np.float32)
    for column in ([0, -1], [0, 2]):
        with pytest.raises(DataError, match="they must be from 0, below 2"):
            Histories(pl.Series(["u"]), items, Ragged(start, np.array(column, np.int32), ones))
    with pytest.raises(DataError, match="weights are not finite"):
        Histories.of(items, [["a", "b"]], weights=[[1, float("inf")]])
    for wrong in ([1, 2], [0, 3, 2], []):
        with pytest.raises(DataError, match="ragged rows"):
            Ragged(np.array(wrong, np.int64), np.zeros(2, np.int32), ones)
