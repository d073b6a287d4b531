"""Sources that a request may name: trending items, and items that are due again."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from httpx2 import Client
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient
from test_kept import started
from test_live import DAY, soon
from test_serve import ids, problem

from palate.live import kept, popularity
from palate.live.service import Live
from palate.models.trending import STEP, Trend, trending
from palate.ranking.context import UserHistory
from palate.ranking.repeats import due
from palate.ranking.request import SOURCES, ListRequest
from palate.serve.app import create_app
from palate.serve.settings import Settings
from palate.store.events import Event, Store
from palate.store.items import Item
from palate.store.recording import now
from palate.store.versions import Versions

# Trending


def rise(*days: list[int]) -> list[float]:
    """Scores of items with so many events on each day, the last being the newest."""
    rows = [(item, day, count) for item, own in enumerate(days) for day, count in enumerate(own)]
    item, day, count = np.array(rows).T
    trend = Trend().followed_by(item, np.ones(len(item), np.float32), day * (DAY // STEP), count)
    scores: list[float] = trending(trend).tolist()
    return scores


def test_a_rising_item_is_above_one_that_was_always_popular() -> None:
    always, rising, falling = rise([100] * 60, [0] * 58 + [5, 10], [200] * 30 + [20] * 30)
    assert rising > 3 > 1 > always >= falling == 0
    short = rise([20] * 5, [0, 0, 0, 0, 10])
    assert short[1] > short[0] == 0


def test_growth_of_all_items_makes_none_trend() -> None:
    growing = [[2**day * size for day in range(10)] for size in (1, 3, 5)]
    assert max(rise(*growing)) < 1


@pytest.mark.parametrize("counts", [[3, 9, 1], [1, 1, 2]])
def test_where_all_is_new_the_most_popular_trend(counts: list[int]) -> None:
    assert np.argsort(rise(*([count] for count in counts))).tolist() == np.argsort(counts).tolist()


def test_what_ended_a_week_ago_trends_no_more() -> None:
    assert rise([0] * 20 + [1] + [0] * 9, [5] * 30)[0] == 0
    assert trending(Trend()).tolist() == []


EVENT = st.tuples(
    st.integers(0, 4), st.sampled_from([-1.0, 0.0, 1.0, 5.0]), st.integers(-100, 100), st.integers(1, 3)
)


@given(events=st.lists(EVENT, max_size=30), cuts=st.lists(st.integers(0, 30), max_size=4))
def test_events_counted_in_parts_count_as_at_once(events: list[tuple[int, float, int, int]], cuts: list[int]) -> None:
    def following(trend: Trend, rows: list[tuple[int, float, int, int]]) -> Trend:
        item, weight, step, count = np.array(rows, np.float64).reshape(-1, 4).T
        whole = (column.astype(np.int64) for column in (item, step, count))
        item_no, at, many = whole
        return trend.followed_by(item_no, weight.astype(np.float32), at, many)

    parts = Trend()
    edges = sorted({0, *(min(cut, len(events)) for cut in cuts), len(events)})
    for low, high in pairwise(edges):
        parts = following(parts, events[low:high])
    whole = following(Trend(), events)
    assert (parts.first, parts.last) == (whole.first, whole.last)
    np.testing.assert_allclose(parts.recent, whole.recent, rtol=1e-9)
    np.testing.assert_allclose(parts.longer, whole.longer, rtol=1e-9)


def shop_events(today: int) -> list[Event]:
    """30 days in which `always` has 6 events a day and `often` 2; `rising` has 4 on each of the last two."""
    counts = {"always": [6] * 30, "often": [2] * 30, "rising": [0] * 28 + [4, 4]}
    return [
        Event(f"{name}{day}-{n}", name, "view", today - DAY * (29 - day))
        for day in range(30)
        for name, each in counts.items()
        for n in range(each[day])
    ]


def trend_of(live: Live, **fields: Any) -> list[tuple[str, float]]:
    answer = live.recommend(ListRequest(sources=("trending",), **fields))
    assert {item.source for item in answer.items} <= {"trending"}
    return [(item.item_id, item.score) for item in answer.items]


@pytest.mark.parametrize("few", [0, 20_000])
def test_the_service_follows_what_trends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, few: int) -> None:
    monkeypatch.setattr(popularity, "REST", 0)
    monkeypatch.setattr(popularity, "FEW", few)
    monkeypatch.setattr(popularity, "PART", 50)
    today = now() - DAY
    with Store.open(tmp_path / "shop.db") as store:
        store.append(shop_events(today))
        live = Live(store)
        assert [name for name, _ in trend_of(live)] == ["rising"]
        popular = [item.item_id for item in live.recommend(ListRequest(explore=0)).items]
        assert popular == ["always", "often", "rising"]
        store.items.put([Item("unseen", {})])
        store.append([Event(f"fan{n}", "new", "view", today + DAY // 2) for n in range(20)])
        assert [name for name, _ in trend_of(live)] == ["new", "rising"]
        assert trend_of(live, filter="item_id <> 'new'") == trend_of(live)[1:]
        assert trend_of(live, user_id="fan3") == trend_of(live)[1:]
        assert dict(trend_of(live)) == pytest.approx(dict(trend_of(Live(store))))
        store.forget("fan3")
        soon(lambda: dict(trend_of(live))["new"] == 19)


def test_what_trends_is_kept_for_the_next_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "WORTH", 5)
    with Store.open(tmp_path / "shop.db") as store:
        store.append(shop_events(now() - DAY))
        first = started(store)
        monkeypatch.setattr(popularity.Popularity, "_count_again", lambda _: pytest.fail("counted again"))
        assert trend_of(Live(store, Versions(store), {"like": 3})) == trend_of(first)


# Items that are due again


def bought(*events: tuple[int, float], kind: str = "purchase", weight: float = 5.0) -> UserHistory:
    """Return the history of purchases of items on days."""
    position = np.array([item for item, _ in events], np.int64)
    time = np.array([int(day * DAY) for _, day in events], np.int64)
    types = np.zeros(len(events), np.int16)
    return UserHistory.of(position, np.full(len(events), weight, np.float32), time, types, (kind,))


def found(history: UserHistory, day: float) -> dict[int, float]:
    position, score = due(history, int(day * DAY))
    return dict(zip(position.tolist(), score.tolist(), strict=True))


def test_an_item_is_due_after_the_median_interval_of_its_purchases() -> None:
    history = bought((7, 0), (7, 10), (3, 11), (7, 12), (7, 22))  # intervals 10, 2, 10
    assert found(history, 31.9) == {}
    assert found(history, 32) == {7: 1}
    assert found(history, 42) == {7: 0.5}
    even = bought((7, 0), (7, 10), (7, 16))
    assert found(even, 23.9) == {}
    assert found(even, 24) == {7: 1}


def test_what_became_due_last_is_first() -> None:
    history = bought((1, 0), (2, 0), (1, 5), (2, 9))
    position, score = due(history, 20 * DAY)
    assert position.tolist() == [2, 1]
    np.testing.assert_allclose(score, [9 / 11, 5 / 15])


@pytest.mark.parametrize(
    "history",
    [
        bought((7, 0)),
        bought((7, 0), (7, 0.01)),
        bought((7, 0), (7, 10), kind="view"),
        bought((7, 0), (7, 10), weight=-1),
        bought((7, 0), (7, 500)),
        UserHistory(),
        UserHistory.of(np.array([7, 7]), np.ones(2, np.float32), np.full(2, -(1 << 62))),
        bought((7, 0), (7, 10)).followed_by(bought((7, 11), kind="dislike", weight=-1)),
    ],
    ids=[
        "once",
        "twice in a moment",
        "viewed",
        "disliked",
        "in the future",
        "nothing",
        "without times",
        "now disliked",
    ],
)
def test_without_a_habit_nothing_is_due(history: UserHistory) -> None:
    assert found(history, 100) == {}


PURCHASE = st.tuples(st.integers(0, 3), st.integers(0, 60))


@given(events=st.lists(PURCHASE, max_size=25), day=st.integers(0, 200))
def test_due_items_are_those_of_a_slow_reference(events: list[tuple[int, int]], day: int) -> None:
    expected = {}
    for item in {item for item, _ in events}:
        days = sorted({at for own, at in events if own == item and at <= day})
        gaps = np.diff(days)
        if len(gaps) and day - days[-1] >= np.median(gaps):
            expected[item] = np.median(gaps) / (day - days[-1])
    assert found(bought(*events), day) == pytest.approx(expected)


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    today = now()
    with Store.open(tmp_path / "shop.db") as store:
        store.items.put([Item(name, {"kind": name[0]}) for name in ("coffee", "cheese", "bread", "lamp", "cup")])
        habits = {"coffee": (40, 30, 20), "cheese": (9, 6), "bread": (5, 3, 1), "lamp": (50,), "cup": (50, 40, 1)}
        store.append(
            [Event("ann", name, "purchase", today - DAY * day) for name, days in habits.items() for day in days]
        )
        store.append([Event("bob", "cup", "purchase", today), Event("ann", "cup", "dislike", today)])
        store.append([Event("ann", "lamp", "view", today - DAY * day) for day in (3, 2)])
    with TestClient(create_app(Settings(store=str(tmp_path / "shop.db")))) as opened:
        yield opened


def test_a_list_of_what_is_due_again(client: Client) -> None:
    asked = {"user_id": "ann", "sources": ["buy_again"]}
    answer = client.post("/v1/recommend", json=asked).json()
    assert [(item["item_id"], item["source"]) for item in answer["items"]] == [
        ("coffee", "buy_again"),
        ("cheese", "buy_again"),
    ]
    assert {item["reason"] for item in answer["items"]} == {"due again by the intervals of your purchases"}
    assert [item["score"] for item in answer["items"]] == pytest.approx([0.5, 0.5], abs=1e-3)
    assert ids(client.post("/v1/recommend", json=asked | {"exclude": ["coffee"]})) == ["cheese"]
    assert ids(client.post("/v1/recommend", json=asked | {"filter": "kind = 'x'"})) == []
    boost = [{"condition": "item_id = 'cheese'", "factor": 2}]
    assert ids(client.post("/v1/recommend", json=asked | {"boost": boost})) == ["cheese", "coffee"]
    first = client.post("/v1/recommend", json=asked | {"k": 1}).json()
    assert ids(client.post("/v1/recommend", json=asked | {"cursor": first["cursor"]})) == ["cheese"]
    client.post("/v1/events", json={"user_id": "ann", "item_id": "coffee", "event_type": "purchase"})
    assert ids(client.post("/v1/recommend", json=asked)) == ["cheese"]


def test_an_item_of_the_history_comes_from_no_other_source(client: Client) -> None:
    for sources in (["buy_again", "popular"], ["popular", "buy_again"]):
        shown = client.post("/v1/recommend", json={"user_id": "ann", "sources": sources}).json()["items"]
        assert {item["item_id"]: item["source"] for item in shown} == dict.fromkeys(("coffee", "cheese"), "buy_again")
    empty = client.post("/v1/recommend", json={"user_id": "bob", "sources": ["buy_again", "trending"]}).json()
    assert empty["items"] == [] or {item["source"] for item in empty["items"]} == {"trending"}
    nothing = client.post("/v1/recommend", json={"user_id": "eve", "sources": ["buy_again"]}).json()
    assert nothing["reason"] == "no eligible item comes from buy_again"


def test_sources_are_asked_in_the_order_of_the_request(client: Client) -> None:
    def sources(*names: str) -> list[str]:
        answer = client.get("/v1/recommend", params={"user_id": "ann", "sources": ",".join(names)})
        return [item["source"] for item in answer.json()["items"]]

    client.post("/v1/items", json=[{"item_id": f"n{n}"} for n in range(2)])
    assert sources("newest", "buy_again") == ["newest"] * 2 + ["buy_again"] * 2
    assert sources("buy_again", "newest") == ["buy_again"] * 2 + ["newest"] * 2
    session = {
        "history": [{"item_id": "lamp", "event_type": "purchase", "timestamp": day * 86_400} for day in (1, 9)]
    }
    again = client.post("/v1/recommend/session", json=session | {"sources": ["buy_again"]})
    assert ids(again) == ["lamp"]


@pytest.mark.parametrize("sources", [[], ["pinned"], ["best"], "popular", ["popular"] * 20])
def test_sources_that_there_are_not_are_refused(client: Client, sources: Any) -> None:
    assert "sources" in problem(client.post("/v1/recommend", json={"sources": sources}), 422)["detail"]


def test_the_codes_of_sources_stay() -> None:
    assert SOURCES[:6] == ("pinned", "personal", "session", "similar", "popular", "newest")


# Items that are bought together


def test_a_list_of_what_is_bought_together(client: Client) -> None:
    baskets = [("p", "q"), ("p", "q", "r"), ("p", "r"), ("p", "q"), ("s", "p")]
    events = [
        {"user_id": f"w{n}", "item_id": name, "event_type": "purchase"}
        for n, names in enumerate(baskets)
        for name in names
    ]
    assert client.post("/v1/events", json=events).status_code == 200

    def asked(**fields: Any) -> list[tuple[str, float, str]]:
        answer = client.post("/v1/recommend", json={"sources": ["bought_together"], **fields})
        assert answer.status_code == 200, answer.text
        return [(item["item_id"], item["score"], item["source"]) for item in answer.json()["items"]]

    expected = [("q", 3.0, "bought_together"), ("r", 2.0, "bought_together"), ("s", 1.0, "bought_together")]
    assert asked(near=["p"]) == expected
    assert asked(near=["p"], k=1, filter="item_id <> 'q'") == expected[1:2]
    assert asked(near=["?"]) == asked() == asked(user_id="nobody") == []
    client.post("/v1/events", json={"user_id": "new", "item_id": "p", "event_type": "view"})
    assert asked(user_id="new") == expected
    session = client.post("/v1/recommend/session", json={"history": ["lamp", "p"], "sources": ["bought_together"]})
    assert ids(session) == ["q", "r", "s"]
    assert asked(user_id="w1", near=["p"]) == expected[2:]
    by_query = client.get("/v1/recommend?near=p&sources=bought_together&k=1").json()["items"][0]
    assert by_query["reason"] == "chosen by users together with what is on the page"
