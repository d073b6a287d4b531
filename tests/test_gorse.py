"""The REST API of gorse: its published clients against a real server, and what they do not reach, in process."""

from __future__ import annotations

import asyncio
import inspect
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from databases import url
from gorse import AsyncGorse, Gorse, GorseException
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from serving import Served, serving
from starlette.testclient import TestClient

from palate import IALS
from palate.errors import DataError, StoreError, UnknownId
from palate.live.training import train
from palate.serve.app import create_app
from palate.serve.settings import Settings
from palate.store.events import Event, Store
from palate.store.items import Item
from palate.store.keys import Keys
from palate.store.schema import sa
from palate.store.user_profiles import UserProfile
from palate.store.versions import Versions

__all__ = ["url"]

THEN = "2022-08-07T00:26:46Z"
SCRIPT = Path(__file__).with_name("gorse_client.js")


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store: 15 people who like some of 11 red things, and 9 who like some of 7 blue ones."""
    folder = tmp_path_factory.mktemp("filled")
    store = Store.open(folder / "shop.db")
    for colour, count in (("red", 11), ("blue", 7)):
        store.items.put(
            Item(f"{colour}/{n}", {"categories": [colour, "odd" if n % 2 else "even"], "comment": f"No {n}"})
            for n in range(count)
        )
    store.append(
        [
            Event(f"u{user}", f"{colour}/{(user + n) % count}", "like", 10**15 + n)
            for colour, count, users in (("red", 11, range(15)), ("blue", 7, range(15, 24)))
            for user in users
            for n in range(5)
        ]
    )
    train(store, Versions(store), IALS(dim=4, epochs=4))
    store.close()
    return folder


@pytest.fixture
def shop(filled: Path, tmp_path: Path) -> Path:
    """A store of the test's own."""
    return shutil.copytree(filled, tmp_path / "shop") / "shop.db"


@pytest.fixture(scope="module")
def server(filled: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, str]]:
    """A real server over such a store, and a key that may do all."""
    folder = shutil.copytree(filled, tmp_path_factory.mktemp("gorse") / "shop")
    with Store.open(folder / "shop.db") as store:
        key = Keys(store).create("all", ("read", "write", "admin"))
    with serving(folder, "--store", "shop.db", "--keys") as served:
        yield served, key


@pytest.fixture
def client(shop: Path) -> Iterator[TestClient]:
    with TestClient(create_app(Settings(store=str(shop)))) as client:
        yield client


@pytest.fixture(scope="module")
def unchanged(filled: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A service over such a store, for requests that change nothing."""
    folder = shutil.copytree(filled, tmp_path_factory.mktemp("unchanged") / "shop")
    with TestClient(create_app(Settings(store=str(folder / "shop.db")))) as client:
        yield client


@pytest.mark.parametrize("cursor", ["9" * 4301, "9" * 19, "٣", "-1", "1.0", "+1", "x"])
def test_a_cursor_that_no_answer_gave_is_refused(unchanged: TestClient, cursor: str) -> None:
    for path in ("/api/feedback", "/api/feedback/like"):
        for name in ("cursor", "Cursor"):
            answer = unchanged.get(path, params={name: cursor})
            assert (answer.status_code, "is not one that an answer gave" in answer.text) == (400, True)


@pytest.mark.parametrize(
    "body", [{"Value": "5"}, {"Value": True}, {"UserId": True}, {"Timestamp": True}, {"FeedbackType": 5}], ids=str
)
def test_feedback_of_another_type_is_refused(unchanged: TestClient, body: dict[str, Any]) -> None:
    good = {"FeedbackType": "like", "UserId": "exact", "ItemId": "red/1"}
    answer = unchanged.post("/api/feedback", json=[good, good | body])
    assert answer.status_code == 400
    assert unchanged.get("/api/user/exact/feedback").json() == []
    assert unchanged.patch("/api/item/red%2F1", json={"IsHidden": "yes"}).status_code == 400


class Noting:
    """A client that notes which of its methods were called."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.called: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        self.called.add(name)
        return getattr(self.client, name)

    @property
    def left(self) -> set[str]:
        return {name for name in vars(type(self.client)) if not name.startswith("_")} - self.called


def like(user: str, item: str, time: str = THEN, **more: Any) -> dict[str, Any]:
    return {"FeedbackType": "like", "UserId": user, "ItemId": item, "Timestamp": time, **more}


# The clients


def check_pygorse(call: Any, name: str) -> None:
    """Use every method as `call(method, ...)`; `name` keeps the ids of two runs apart."""
    bob, vue = f"bob {name}", f"vuejs:vue {name}"
    assert call("insert_user", {"UserId": bob, "Labels": {"age": 24}, "Comment": "my user"}) == {"RowAffected": 1}
    assert call("insert_users", [{"UserId": f"{name}{n}"} for n in range(2)]) == {"RowAffected": 2}
    assert call("get_user", bob) == {"UserId": bob, "Labels": {"age": 24}, "Subscribe": None, "Comment": "my user"}
    users, cursor = call("get_users", 3)
    assert len(users) == 3
    assert call("get_users", 100, cursor)[0][0]["UserId"] > cursor == users[-1]["UserId"]

    item = {"ItemId": vue, "IsHidden": False, "Labels": {"language": "JavaScript"}, "Categories": ["framework"]}
    assert call("insert_item", item | {"Timestamp": THEN, "Comment": "Vue.js framework"}) == {"RowAffected": 1}
    assert call("get_item", vue) == item | {"Timestamp": THEN, "Comment": "Vue.js framework"}
    assert call("update_item", vue, comment="a framework", categories=["framework", "red"])["RowAffected"] == 1
    assert call("get_item", vue) == item | {
        "Timestamp": THEN,
        "Comment": "a framework",
        "Categories": ["framework", "red"],
    }
    items, cursor = call("get_items", 5)
    assert [item["ItemId"] for item in items] == [f"blue/{n}" for n in range(5)]
    assert call("get_items", 2, cursor)[0][0]["ItemId"] == "blue/5"
    assert [item["ItemId"] for item in call("search_items", f"FRAMEWORK {name}")] == [vue]

    assert call("insert_feedback", "star", bob, vue, THEN) == {"RowAffected": 1}
    assert call("insert_feedbacks", [like(bob, "red/1"), like(bob, "red/2")]) == {"RowAffected": 2}
    (star,) = call("list_feedbacks", "star", bob)
    assert star == {
        "FeedbackType": "star",
        "UserId": bob,
        "ItemId": vue,
        "Timestamp": THEN,
        "Value": 0,
        "Comment": "",
    }
    first, cursor = call("get_feedbacks", 2)
    second, _ = call("get_feedbacks", 2, cursor)
    assert [each["ItemId"] for each in first + second] == ["red/0", "red/1", "red/2", "red/3"]

    scored = call("get_recommend", bob, n=6)
    assert len(scored) == 6
    assert {each.id for each in scored} <= {f"red/{n}" for n in range(11)} - {"red/1", "red/2"}
    assert scored[0].score > scored[-1].score
    assert [each.id for each in call("get_recommend", bob, n=3, offset=3)] == [each.id for each in scored[3:]]
    assert {each.id.split("/")[0] for each in call("get_recommend", bob, "blue", n=4)} == {"blue"}
    shown = [each.id for each in call("get_recommend", bob, "red", n=3, write_back_type="read")]
    assert {each["ItemId"] for each in call("list_feedbacks", "read", bob)} == set(shown)
    assert not set(shown) & {each.id for each in call("get_recommend", bob, n=6)}
    later = [each.id for each in call("get_recommend", bob, n=2, write_back_type="read", write_back_delay="1h")]
    assert later == [each.id for each in call("get_recommend", bob, n=2)], "shown again until the hour is over"

    session = call("session_recommend", [like("x", "blue/1"), like("x", "blue/2")], n=3)
    assert {each["Id"].split("/")[0] for each in session} == {"blue"}
    near = call("get_neighbors", "red%2F1", n=3)
    assert [each["Id"].split("/")[0] for each in near] == ["red"] * 3
    assert near[1:] == call("get_neighbors", "red%2F1", n=2, offset=1)

    assert call("delete_feedback", bob, vue) == {"RowAffected": 1}
    assert call("list_feedbacks", "star", bob) == []
    assert call("delete_item", vue) == {"RowAffected": 1}
    assert call("delete_user", bob) == {"RowAffected": 1}
    for method, unknown in (("get_item", vue), ("get_user", bob)):
        with pytest.raises(GorseException) as raised:
            call(method, unknown)
        assert raised.value.status_code == 404
        assert raised.value.message == f"{method.removeprefix('get_')} {unknown!r} is unknown"
    assert len(call("get_recommend", bob, n=4)) == 4, "whoever is forgotten gets what is popular"


def test_pygorse_works_unmodified(server: tuple[Served, str]) -> None:
    served, key = server
    client = Noting(Gorse(str(served.client.base_url).rstrip("/"), key, timeout=30))
    check_pygorse(lambda method, *given, **named: getattr(client, method)(*given, **named), "sync")
    assert client.left == set()


def test_pygorse_works_unmodified_without_blocking(server: tuple[Served, str]) -> None:
    served, key = server
    client = Noting(AsyncGorse(str(served.client.base_url).rstrip("/"), key, timeout=30))
    assert inspect.iscoroutinefunction(client.client.get_user)
    with asyncio.Runner() as loop:
        check_pygorse(lambda method, *given, **named: loop.run(getattr(client, method)(*given, **named)), "async")
    assert client.left == set()


def test_a_wrong_key_is_told_to_pygorse(server: tuple[Served, str]) -> None:
    base = str(server[0].client.base_url).rstrip("/")
    with pytest.raises(GorseException) as raised:
        Gorse(base, "pk_wrong").get_user("u1")
    assert raised.value.status_code == 401
    assert server[0].client.get("/api/health/ready").json()["Ready"] is True, "health needs no key"


@pytest.fixture(scope="session")
def gorsejs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with gorsejs from npm."""
    if not shutil.which("node") or not shutil.which("npm"):
        pytest.skip("no node or npm")
    folder = tmp_path_factory.mktemp("gorsejs")
    quiet = ["--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
    try:
        # It needs tslib without saying so.
        subprocess.run(["npm", "install", *quiet, "gorsejs@0.4.8", "tslib@2"], cwd=folder, check=True, timeout=120)
    except (subprocess.SubprocessError, OSError) as error:
        pytest.skip(f"gorsejs cannot be had: {error}")
    return folder


def test_gorsejs_works_unmodified(server: tuple[Served, str], gorsejs: Path) -> None:
    served, key = server
    script = shutil.copy(SCRIPT, gorsejs)
    base = str(served.client.base_url).rstrip("/")
    done = subprocess.run(["node", script, base, key], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    answers = told["answers"]
    assert set(told["methods"]) <= answers.keys()
    faults = {name: answer for name, answer in answers.items() if isinstance(answer, dict) and "code" in answer}
    message = "user 'js user' is unknown"
    assert faults == {"missing": {"name": "GorseException", "code": 404, "message": message}}
    assert answers["getUser"] == {
        "UserId": "js user",
        "Labels": ["a", "b"],
        "Subscribe": None,
        "Comment": "other",
    }
    assert answers["getUsers"]["Cursor"] == answers["getUsers"]["Users"][0]["UserId"]
    assert answers["nextUsers"]["Users"][0]["UserId"] > answers["getUsers"]["Cursor"]
    assert answers["getItem"] == {
        "ItemId": "js",
        "IsHidden": False,
        "Labels": ["a"],
        "Categories": ["e", "f"],
        "Timestamp": THEN,
        "Comment": "changed",
    }
    feedback = like("js user", "js", "2023-01-01T00:00:00Z", Value=0, Comment="")
    for name in ("getItemFeedback", "getItemFeedbackByType", "getUserFeedback", "getUserFeedbackByType"):
        assert answers[name] == [feedback], name
    assert answers["getFeedback"] == feedback
    assert [len(answers[name]["Feedback"]) for name in ("getFeedbacks", "allFeedbacks")] == [2, 3]
    assert len(answers["getPopular"]) == 3
    assert [each["Id"] for each in answers["getLatest"]] == ["js"], "js2 is hidden"
    assert [name.split("/")[0] for name in answers["getRecommend"]] == ["red"] * 3
    assert [each["Id"].split("/")[0] for each in answers["getSessionRecommend"]] == ["red"] * 2
    assert [each["Id"].split("/")[0] for each in answers["getItemNeighbors"]] == ["red"] * 2
    assert {each["Id"] for each in answers["getUserNeighbors"]} <= {f"u{n}" for n in range(15)} - {"u1"}
    numbers = {name: answer for name, answer in answers.items() if isinstance(answer, int)}
    assert numbers == dict.fromkeys(numbers, 1) | {"upsertItems": 2}
    assert answers["deleteFeedback"] == {"RowAffected": 1}


# Feedback


def test_post_keeps_what_is_there_and_put_takes_its_place(client: TestClient) -> None:
    def there() -> tuple[str, float]:
        (found,) = client.get("/api/feedback/u1/red%2F1").json()
        return found["Timestamp"], found["Value"]

    old = there()
    assert client.post("/api/feedback", json=[like("u1", "red/1", Value=4)]).json() == {"RowAffected": 1}
    assert there() == old, "events of any origin are feedback"
    client.put("/api/feedback", json=[like("u1", "red/1", Value=4), like("u1", "red/1", Value=3)])
    assert there() == (THEN, 3)
    assert client.get("/health/ready").json()["items"] == 18
    assert len(client.get("/v1/users/u1").json()["events"]) == 5


def test_an_event_of_another_type_is_other_feedback(client: TestClient) -> None:
    client.post("/api/feedback", json=[like("u1", "red/1", FeedbackType="star")])
    both = client.get("/api/feedback/u1/red%2F1").json()
    assert {each["FeedbackType"] for each in both} == {"like", "star"}
    assert client.delete("/api/feedback/star/u1/red%2F1").json() == {"RowAffected": 1}
    assert client.get("/api/feedback/star/u1/red%2F1").status_code == 404
    assert client.get("/api/feedback/like/u1/red%2F1").status_code == 200


def test_feedback_changes_the_next_list_and_so_does_its_end(client: TestClient) -> None:
    def list_of(user: str) -> list[str]:
        return list(client.get(f"/api/recommend/{user}?n=5").json())

    assert list_of("new") == list_of("other")
    client.post("/api/feedback", json=[like("new", "blue/2"), like("new", "blue/3")])
    assert {name.split("/")[0] for name in list_of("new")} == {"blue"}
    client.delete("/api/feedback/new/blue%2F2")
    client.delete("/api/feedback/new/blue%2F3")
    end = time.monotonic() + 20  # popularity is counted again after a rest, a longer one on a busy machine
    while (new := list_of("new")) != list_of("other") and time.monotonic() < end:
        time.sleep(0.02)
    assert new == list_of("other")


def test_pages_of_feedback_hold_each_once(client: TestClient) -> None:
    client.post("/v1/events", json={"user_id": "u1", "item_id": "red/1", "event_type": "like"})  # there twice now
    cursor, found = "", []
    while True:
        page = client.get("/api/feedback/like", params={"n": 7, "cursor": cursor}).json()
        found += [(each["UserId"], each["ItemId"]) for each in page["Feedback"]]
        cursor = page["Cursor"]
        if not cursor:
            break
    assert len(found) == len(set(found)) == 24 * 5
    assert found[-1] == ("u1", "red/1"), "the newest counts"
    assert client.get("/api/feedback/like?n=0").json() == {"Cursor": "", "Feedback": []}
    assert client.get("/api/feedback/none").json() == {"Cursor": "", "Feedback": []}
    assert client.get("/api/feedback?cursor=x").status_code == 400


def test_the_feedback_of_a_user_and_on_an_item_comes_in_pages(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("palate.serve.gorse.feedback.MOST_ROWS", 4)
    many = [like("much", f"red/{n}") for n in range(9)]
    client.post("/api/feedback", json=many)
    for path in ("user/much/feedback", "user/much/feedback/like"):
        found, cursor = [], ""
        for size in (4, 2, 3):
            page = client.get(f"/api/{path}", params={"n": size, "cursor": cursor})
            found += page.json()
            cursor = page.headers.get("X-Cursor", "")
        assert [each["ItemId"] for each in found] == [each["ItemId"] for each in many]
        assert cursor == ""
        assert len(client.get(f"/api/{path}").json()) == 4
        assert client.get(f"/api/{path}?cursor=x").status_code == 400
    on_item = client.get("/api/item/red%2F1/feedback?n=3")
    rest = client.get(f"/api/item/red%2F1/feedback?cursor={on_item.headers['X-Cursor']}").json()
    assert len({each["UserId"] for each in (*on_item.json(), *rest)}) == 3 + 4


def test_the_feedback_of_a_user_is_looked_up(tmp_path: Path) -> None:
    asked: list[tuple[str, Any]] = []
    with Store.open(tmp_path / "s.db") as store:
        store.append([Event("ann", f"i{n}", "like", n) for n in range(3)])
        engine = store.database.engine
        sa.event.listen(engine, "before_cursor_execute", lambda *call: asked.append((call[2], call[3])))
        assert len(store.feedback.get(user_id="ann", limit=3, until=9)) == 3
        (statement, values) = next(each for each in asked if each[0].startswith("SELECT"))
        with store.database.reading() as connection:
            plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)]
    assert not [line for line in plan if line.startswith("SCAN events")]
    assert any(line.startswith("SEARCH events USING INDEX events_of_") for line in plan)
    assert any("USING COVERING INDEX events_of_pair (user_no=? AND item_no=? AND moment>?)" in line for line in plan)


def test_a_value_of_zero_and_an_empty_time_are_none(client: TestClient) -> None:
    client.post("/api/feedback", json=[like("z", "red/1", "", Value=0), like("z", "red/2", "0001-01-01T00:00:00Z")])
    one, two = client.get("/v1/users/z").json()["events"]
    assert one["weight"] is two["weight"] is None
    for event in (one, two):
        assert datetime.now(UTC) - datetime.fromisoformat(event["timestamp"]) < timedelta(minutes=1)
    client.post("/api/feedback", json=[like("z", "blue/1", Value=-2.5)])
    assert client.get("/api/feedback/like/z/blue%2F1").json()["Value"] == -2.5


# Lists


def test_a_write_back_is_seen_but_teaches_nothing(client: TestClient) -> None:
    shown = client.get("/api/recommend/fresh?n=4&write-back-type=read").json()
    events = client.get("/v1/users/fresh").json()["events"]
    assert {event["item_id"] for event in events} == set(shown)
    assert {(event["event_type"], event["weight"]) for event in events} == {("read", 0)}
    following = client.post("/v1/recommend", json={"user_id": "fresh", "k": 4, "explore": 0}).json()["items"]
    assert not set(shown) & {item["item_id"] for item in following}
    assert {item["source"] for item in following} == {"popular"}
    figures = client.get("/metrics").text
    assert "palate_chosen_total 0.0" in figures, "what was shown was not chosen"


def test_a_delayed_write_back_counts_when_its_time_has_come(client: TestClient) -> None:
    shown = client.get("/api/recommend/u1?n=2&write-back-type=read&write-back-delay=1h0m").json()
    assert client.get("/api/recommend/u1?n=2").json() == shown
    assert client.get("/api/user/u1/feedback/read").json() == []
    assert client.get("/api/feedback/read").json()["Feedback"] == []
    (event, _) = client.get("/v1/users/u1?limit=2").json()["events"]
    wait = datetime.fromisoformat(event["timestamp"]) - datetime.now(UTC)
    assert timedelta(minutes=59) < wait <= timedelta(hours=1)
    past = [like("u1", name, FeedbackType="read") for name in shown]
    client.put("/api/feedback", json=past)
    assert not set(shown) & set(client.get("/api/recommend/u1?n=2").json())


def test_what_is_read_without_a_value_is_seen_and_no_more(client: TestClient) -> None:
    client.post("/api/feedback", json=[like("fan", "red/1"), like("fan", "red/2")])
    seen = ["red/3", "red/4", "blue/1"]
    before = client.get("/api/recommend/fan?n=50", headers={"X-API-Version": "2"}).json()
    client.post("/api/feedback", json=[like("fan", name, FeedbackType="read") for name in seen])
    after = client.get("/api/recommend/fan?n=50", headers={"X-API-Version": "2"}).json()
    assert after == [each for each in before if each["Id"] not in seen]
    client.put("/api/feedback", json=[like("fan", "red/3", FeedbackType="read", Value=0.5)])
    assert {e["item_id"]: e["weight"] for e in client.get("/v1/users/fan").json()["events"]} == {
        "red/1": None,
        "red/2": None,
        "red/3": 0.5,
        "red/4": 0,
        "blue/1": 0,
    }


def test_lists_leave_out_what_was_seen_however_long_ago(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("palate.live.history.WHOLE", 20)
    monkeypatch.setattr("palate.live.history.EVENTS", 10)
    monkeypatch.setattr("palate.ranking.request.MOST_NAMED", 5)
    everything = {f"red/{n}" for n in range(11)} | {f"blue/{n}" for n in range(7)}
    seen = {f"red/{n}" for n in range(2, 9)}
    client.post("/v1/events", json=[{"user_id": "old", "item_id": n, "event_type": "view"} for n in sorted(seen)])
    repeated = {"user_id": "old", "item_id": "blue/1", "event_type": "view"}
    client.post("/v1/events", json=[repeated] * 30)
    left = everything - seen - {"blue/1"}
    assert set(client.get("/api/recommend/old?n=50").json()) == left
    for path in ("popular", "latest"):
        assert {each["Id"] for each in client.get(f"/api/{path}?n=50&user-id=old").json()} == left
    near = {each["Id"] for each in client.get("/api/item/red%2F2/neighbors?n=50&user-id=old").json()}
    assert near
    assert near <= left


def test_the_newest_feedback_is_that_of_the_newest_time(client: TestClient) -> None:
    rated = [("2024-06-01T00:00:00Z", 5), ("2020-01-01T00:00:00Z", 1), ("2024-06-01T00:00:00Z", 4)]
    for time_of, weight in rated[:2]:
        event = {"user_id": "u", "item_id": "red/1", "event_type": "rate", "timestamp": time_of, "weight": weight}
        client.post("/v1/events", json=event)
    assert client.get("/api/feedback/rate/u/red%2F1").json()["Value"] == 5
    client.post("/v1/events", json=event | {"timestamp": rated[2][0], "weight": rated[2][1]})
    assert client.get("/api/feedback/rate/u/red%2F1").json()["Value"] == 4, "at one time the last to arrive"


def test_a_dislike_of_a_clock_that_is_ahead_can_be_taken_back(client: TestClient) -> None:
    ahead = (datetime.now(UTC) + timedelta(hours=40)).isoformat()
    dislike = {"user_id": "d", "item_id": "red/1", "event_type": "dislike", "timestamp": ahead}
    liked = {"user_id": "d", "item_id": "red/1", "event_type": "like"}

    def shown() -> bool:
        found = client.post("/v1/recommend", json={"user_id": "d", "keep_seen": True, "k": 50}).json()["items"]
        return "red/1" in {item["item_id"] for item in found}

    client.post("/v1/events", json=[dislike, liked])
    assert shown()
    client.post("/v1/events", json=dislike)
    assert not shown()
    client.post("/v1/events", json=liked)
    assert shown()
    assert [e["timestamp"] for e in client.get("/v1/users/d").json()["events"]][1] == ahead.replace("+00:00", "Z")


def test_writing_back_needs_a_key_that_may_write(shop: Path) -> None:
    with Store.open(shop) as store:
        headers = {"X-API-Key": Keys(store).create("reader", ["read"])}
    with TestClient(create_app(Settings(store=str(shop), keys=True)), headers=headers) as client:
        assert client.get("/api/recommend/u1?n=2").status_code == 200
        assert client.post("/api/session/recommend", json=[like("x", "red/1")]).status_code == 200
        refused = client.get("/api/recommend/u1?n=2&write-back-type=read")
        assert (refused.status_code, refused.text) == (403, "write-back-type: this key may not write")
        assert client.get("/api/user/u1/feedback/read").json() == []
        assert client.post("/api/feedback", json=[like("x", "red/1")]).status_code == 403
        assert client.delete("/api/user/u1").status_code == 403


def test_categories_choose_and_several_all_apply(client: TestClient) -> None:
    odd = client.get("/api/recommend/u1", params={"category": ["red", "odd"], "n": 20}).json()
    assert set(odd) == {f"red/{n}" for n in (7, 9)}, "1, 3 and 5 were seen"
    assert client.get("/api/recommend/u1?category=&n=3").json() == client.get("/api/recommend/u1?n=3").json()
    assert client.get("/api/recommend/u1/it's%20none").json() == []
    client.put("/api/item/red%2F7/category/it's%20%2F%5C%22new")
    assert client.get("/api/recommend/u1/it's%20%2F%5C%22new").json() == ["red/7"]
    client.delete("/api/item/red%2F7/category/it's%20%2F%5C%22new")
    assert client.get("/api/recommend/u1/it's%20%2F%5C%22new").json() == []


def test_a_store_without_categories_has_nothing_of_any(tmp_path: Path) -> None:
    with TestClient(create_app(Settings(store=str(tmp_path / "new.db")))) as client:
        assert client.get("/api/recommend/u1").json() == []
        client.post("/api/feedback", json=[like("u1", "a")])
        assert client.get("/api/recommend/u2").json() == ["a"]
        assert client.get("/api/recommend/u2/red").json() == []
        assert client.get("/api/latest/red").json() == client.get("/api/popular/red").json() == []
        assert client.get("/api/user/u1/neighbors").json() == []


def test_popular_items_leave_out_what_a_person_has_seen(client: TestClient) -> None:
    popular = [each["Id"] for each in client.get("/api/popular?n=100").json()]
    scores = [each["Score"] for each in client.get("/api/popular?n=100").json()]
    assert len(popular) == 18
    assert scores == sorted(scores, reverse=True)
    assert [each["Id"] for each in client.get("/api/popular?n=4&offset=3").json()] == popular[3:7]
    seen = {f"red/{n}" for n in range(1, 6)}
    left = [each["Id"] for each in client.get("/api/popular?n=100&user-id=u1").json()]
    assert left == [name for name in popular if name not in seen]
    near = [each["Id"] for each in client.get("/api/item/red%2F2/neighbors/odd?n=9&user-id=u1").json()]
    assert sorted(near) == ["blue/1", "blue/3", "blue/5", "red/7", "red/9"]


def test_the_latest_go_by_the_time_they_are_told(client: TestClient) -> None:
    times = {"a": "2999-01-01T00:00:00.25Z", "b": "2999-01-01T01:00:00+02:00", "c": "2999-01-01T00:00:00.5Z"}
    for name, moment in times.items():
        client.post("/api/item", json={"ItemId": name, "Timestamp": moment, "Categories": ["new"]})
    client.post("/api/item", json={"ItemId": "d", "Timestamp": "2998-01-01", "Categories": ["new"], "IsHidden": True})
    latest = client.get("/api/latest?n=4").json()
    assert [each["Id"] for each in latest][:3] == ["c", "a", "b"]
    assert latest[0]["Score"] == datetime(2999, 1, 1, tzinfo=UTC).timestamp()
    assert [each["Id"] for each in client.get("/api/latest/new").json()] == ["c", "a", "b"]
    client.patch("/api/item/d", json={"IsHidden": False, "Timestamp": "3001-01-01"})
    assert client.get("/api/latest/new?n=1").json()[0]["Id"] == "d"


TIMES: dict[str, Any] = {
    "seconds": 1_700_000_000,
    "milliseconds": 1_700_000_000_250,
    "microseconds": 1_700_000_000_500_000,
    "fraction": 1_700_000_000.75,
    "day": "2023-11-15",
    "zone": "2023-11-15T01:00:00+02:00",
    "plain": "2023-11-14 22:13:19",
    "usual": "2023-11-14T22:13:18.5Z",
}
NO_TIMES: dict[str, Any] = {
    "word": "soon",
    "truth": True,
    "list": [1],
    "object": {"a": 1},
    "empty": "",
    "none": None,
    "huge": 10**40,
    "go": "0001-01-01T00:00:00Z",
    "negative": -(10**18) + 1,
    "later": "10000-01-01",
}


def test_times_of_every_kind_are_answered_as_rfc_3339_and_order_the_latest(tmp_path: Path) -> None:
    with TestClient(create_app(Settings(store=str(tmp_path / "new.db")))) as client:
        told = [{"item_id": name, "timestamp": value} for name, value in {**TIMES, **NO_TIMES}.items()]
        assert client.post("/v1/items", json=told).status_code == 200
        shown = {name: client.get(f"/api/item/{name}").json()["Timestamp"] for name in {**TIMES, **NO_TIMES}}
        latest = client.get("/api/latest?n=50").json()
    assert shown["seconds"] == "2023-11-14T22:13:20Z"
    assert shown["milliseconds"] == "2023-11-14T22:13:20.250000Z"
    assert shown["day"] == "2023-11-15T00:00:00Z"
    assert shown["zone"] == "2023-11-14T23:00:00Z"
    moments = {name: datetime.fromisoformat(value) for name, value in shown.items()}
    assert all(abs(moments[name] - datetime.now(UTC)) < timedelta(minutes=5) for name in NO_TIMES)
    order = [each["Id"] for each in latest]
    assert sorted(order[: len(NO_TIMES)]) == sorted(NO_TIMES)
    assert order[len(NO_TIMES) :] == sorted(TIMES, key=lambda name: moments[name], reverse=True)
    assert {each["Id"]: each["Score"] for each in latest} == {
        name: moment.timestamp() // 1 for name, moment in moments.items()
    }


def test_whatever_was_put_gorse_answers_its_own_types(client: TestClient) -> None:
    client.post(
        "/v1/items",
        json=[
            {"item_id": "g1", "comment": 5, "categories": ["a", None, 1, {"b": 2}], "labels": [{"x": None}]},
            {"item_id": "g2", "comment": {"a": ["é"]}, "categories": 7},
            {"item_id": "g3", "comment": None, "categories": None},
        ],
    )
    items = {each["ItemId"]: each for each in client.get("/api/items?n=100").json()["Items"]}
    assert items["g1"]["Comment"] == "5"
    assert items["g1"]["Categories"] == ["a", "1", '{"b": 2}']
    assert items["g1"]["Labels"] == [{"x": None}]
    assert items["g2"]["Comment"] == '{"a": ["é"]}'
    assert items["g2"]["Categories"] == ["7"]
    assert (items["g3"]["Comment"], items["g3"]["Categories"]) == ("", [])
    assert [each["Id"] for each in client.get("/api/latest/7").json()] == ["g2"]
    assert [each["Id"] for each in client.get("/api/latest/1").json()] == ["g1"]


@pytest.mark.parametrize("bad", ["red", 5, True, {"a": 1}, [], ["x", 1], "it's"])
def test_categories_of_another_kind_break_no_list(tmp_path: Path, bad: Any) -> None:
    names = ("latest/red", "recommend/x/red", "recommend/x?category=red")
    others = ("popular/red", "item/good/neighbors/red", "item/bad/neighbors/red", "items?q=red", "items")
    with TestClient(create_app(Settings(store=str(tmp_path / "new.db")))) as client:
        for deleted in ([], ["bad"], ["good"]):
            client.post(
                "/v1/items", json=[{"item_id": "good", "categories": ["red"]}, {"item_id": "bad", "categories": bad}]
            )
            client.post("/v1/events", json={"user_id": "a", "item_id": "good", "event_type": "like"})
            for name in deleted:
                client.delete(f"/v1/items/{name}")
            expected = {"good", "bad"} if bad == "red" else {"good"}
            for path in names:
                answer = client.get(f"/api/{path}")
                assert answer.status_code == 200, answer.text
                found = {each if isinstance(each, str) else each["Id"] for each in answer.json()}
                assert found == expected - {*deleted}, (path, deleted)
            for path in others:
                assert client.get(f"/api/{path}").status_code == 200
            body = [like("x", "good")]
            assert client.post("/api/session/recommend/red", json=body).status_code == 200


def test_neighbours_of_a_person_are_alike_and_not_forgotten(client: TestClient) -> None:
    near = [each["Id"] for each in client.get("/api/user/u20/neighbors?n=8").json()]
    assert set(near) == {f"u{n}" for n in range(15, 24)} - {"u20"}
    client.delete(f"/api/user/{near[0]}")
    assert [each["Id"] for each in client.get("/api/user/u20/neighbors?n=8").json()] == near[1:]
    assert client.get(f"/api/user/{near[0]}/neighbors").json() == []
    assert client.get("/api/user/nobody/neighbors").json() == []


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(0, 20), max_size=4))
def test_parts_of_a_list_fit_together(client: TestClient, cuts: list[int]) -> None:
    client.post("/api/items", json=[{"ItemId": f"new {n}"} for n in range(9)])
    parts = [
        name
        for low, high in pairwise([0, *sorted(cuts), 1200])
        for name in client.get(f"/api/recommend/u3?offset={low}&n={high - low}").json()
    ]
    assert parts == client.get("/api/recommend/u3?n=1000").json()
    assert len(parts) == 18 - 5 + 9


# People, items, errors


def test_ids_may_hold_slashes_and_anything_else(client: TestClient) -> None:
    for name in ("a/b", "/", "a%2Fb", "..", "é 汉\n", "x?y#z", "neighbors", "feedback/like"):
        coded = "".join(f"%{byte:02X}" for byte in name.encode())
        client.post("/api/user", json={"UserId": name, "Comment": name})
        client.post("/api/item", json={"ItemId": name, "Comment": name})
        client.post("/api/feedback", json=[like(name, name)])
        assert client.get(f"/api/user/{coded}").json()["Comment"] == name
        assert client.get(f"/api/item/{coded}").json()["Comment"] == name
        assert client.get(f"/api/feedback/like/{coded}/{coded}").json()["UserId"] == name
        assert [each["ItemId"] for each in client.get(f"/api/item/{coded}/feedback").json()] == [name]
        assert name not in client.get(f"/api/recommend/{coded}?n=50").json()
        assert client.delete(f"/api/user/{coded}").json() == {"RowAffected": 1}


def test_a_person_is_replaced_patched_and_forgotten(client: TestClient) -> None:
    told = {"UserId": "u1", "Labels": {"a": [1, None]}, "Subscribe": ["x"], "Comment": "c"}
    assert client.get("/api/user/u1").json() == {
        "UserId": "u1",
        "Labels": None,
        "Subscribe": None,
        "Comment": "",
    }
    client.post("/api/user", json=told | {"Unknown": 1})
    assert client.get("/api/user/u1").json() == told
    client.patch("/api/user/u1", json={"Comment": "", "Subscribe": None})
    assert client.get("/api/user/u1").json() == told | {"Comment": ""}
    assert len(client.get("/api/user/u1/feedback").json()) == 5
    assert client.delete("/api/user/u1").json() == {"RowAffected": 1}
    assert client.get("/api/user/u1/feedback").json() == []
    assert client.delete("/api/user/u1").json() == {"RowAffected": 0}
    assert client.patch("/api/user/u1", json={"Comment": "x"}).status_code == 404


def test_an_item_put_by_gorse_is_one_of_the_catalogue(client: TestClient) -> None:
    client.post("/api/items", json=[{"ItemId": "a", "Categories": ["red"], "Labels": ["x"], "Timestamp": THEN}])
    here = client.get("/v1/items/a").json()
    assert here["attributes"] == {"categories": ["red"], "labels": ["x"], "timestamp": THEN}
    client.patch("/v1/items/a", json={"price": 3})
    client.patch("/api/item/a", json={"Categories": [], "IsHidden": True})
    here = client.get("/v1/items/a").json()
    assert here["attributes"] == {"labels": ["x"], "timestamp": THEN, "price": 3}
    assert here["available"] is False
    assert client.get("/api/item/a").json()["Categories"] == []
    client.patch("/v1/items/a", json={"categories": "single"})
    client.put("/api/item/a/category/other")
    assert client.get("/api/item/a").json()["Categories"] == ["single", "other"]


def test_a_search_needs_all_words_and_gives_the_popular_first(client: TestClient) -> None:
    def found(words: str, n: int = 10) -> list[str]:
        return [each["ItemId"] for each in client.get("/api/items", params={"q": words, "n": n}).json()["Items"]]

    assert found("no 1 blue") == ["blue/1"]
    popular = [each["Id"] for each in client.get("/api/popular/odd?n=20").json()]
    assert found("ODD red") == [name for name in popular if name.startswith("red")]
    assert found("odd red", 2) == found("odd red")[:2]
    assert set(found("odd red")) == {f"red/{n}" for n in (1, 3, 5, 7, 9)}
    assert found(".*") == []
    client.delete("/api/item/red%2F1")
    assert "red/1" not in found("odd red")


@pytest.mark.parametrize(
    ("method", "path", "body", "told"),
    [
        ("GET", "/api/recommend/u1?n=-1", None, "query.n: '-1'"),
        ("GET", "/api/recommend/u1?n=x", None, "query.n: 'x'"),
        ("GET", "/api/recommend/u1?write-back-delay=1x", None, "must be a duration such as 1h30m"),
        ("GET", f"/api/recommend/u1?write-back-delay={'9' * 400}h", None, "must be 30 years at most"),
        ("GET", "/api/user/%00", None, "must be text without NUL"),
        ("POST", "/api/feedback", {"UserId": "x"}, "Input should be a valid list"),
        ("POST", "/api/feedback", [like("", "x")], "at least 1 character"),
        ("POST", "/api/feedback", [like("x", "x", "yesterday")], "must be ISO 8601"),
        ("POST", "/api/user", {"UserId": "x" * 1001}, "at most 1000 characters"),
        ("POST", "/api/item", {"Comment": "x"}, "body.ItemId"),
        ("POST", "/api/session/recommend", None, "body"),
    ],
)
def test_errors_are_plain_text(unchanged: TestClient, method: str, path: str, body: Any, told: str) -> None:
    answer = unchanged.request(method, path, json=body)
    assert answer.status_code == 400, answer.text
    assert answer.headers["content-type"].startswith("text/plain")
    assert told in answer.text


def test_health_tells_when_the_store_is_gone(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    fine = {
        "Ready": True,
        "DataStoreError": None,
        "CacheStoreError": None,
        "DataStoreConnected": True,
        "CacheStoreConnected": True,
    }
    assert client.get("/api/health/live").json() == client.get("/api/health/ready").json() == fine

    def gone(_: Store) -> int:
        raise StoreError("gone")

    monkeypatch.setattr(Store, "newest", gone)
    assert client.get("/api/health/live").json()["DataStoreError"] == "gone"
    answer = client.get("/api/health/ready")
    assert answer.status_code == 503
    assert json.loads(answer.text)["Ready"] is False


# The store


def test_what_is_kept_of_events_that_mean_the_same(url: str) -> None:
    with Store.open(url) as store:
        first, second, third = (Event("ann", "a", "like", n, n / 2) for n in range(3))
        other = Event("ann", "b", "like", 9)
        assert store.append([first, second, other], keep="first") == (2, 1)
        assert [(e.item_id, e.time) for e in store.feedback.get()] == [("a", 0), ("b", 9)]
        assert store.append([second, third, Event("bob", "a", "like", 5)], keep="last") == (1, 2)
        assert [(e.user_id, e.time, e.weight) for e in store.feedback.get(item_id="a")] == [
            ("ann", 2, 1.0),
            ("bob", 5, None),
        ]
        assert store.counts().events == 3
        assert store.append([second]) == (1, 0)
        assert [e.time for e in store.feedback.get(user_id="ann", item_id="a")] == [2], "the newest by its time"
        assert store.append([first], keep="last") == (0, 1)
        assert [e.time for e in store.events("ann") if e.item_id == "a"] == [1, 0], "it takes the place of the newest"
        assert store.append([third._replace(event_id="1")], keep="first") == (0, 1)
        assert store.append([Event("cat", "a", "like", 5, event_id="1")], keep="last") == (1, 0)
        assert store.append([Event("cat", "a", "like", 6, event_id="1")], keep="last") == (0, 1)


def test_batches_of_one_transaction_see_each_other(url: str) -> None:
    with Store.open(url) as store:
        event = Event("ann", "a", "like", 1)
        futures = [store.submit([event], keep) for keep in ("all", "first", "all", "last", "first") for _ in range(5)]
        assert sum(future.result().new for future in futures) == store.counts().events == 10


def test_feedback_is_chosen_and_withdrawn(url: str) -> None:
    with Store.open(url) as store:
        events = [Event(u, i, t, n) for n, (u, i, t) in enumerate([*zip("aab", "xyx", "lll", strict=True), "axs"])]
        store.append(events)

        def got(**chosen: Any) -> list[int]:
            return [event.time for event in store.feedback.get(**chosen)]

        assert got() == [0, 1, 2, 3]
        assert got(user_id="a") == [0, 1, 3]
        assert got(item_id="x", event_type="l") == [0, 2]
        assert got(until=1) == got(limit=2) == [0, 1]
        assert got(after=2) == [2, 3]
        assert got(user_id="nobody") == got(event_type="none") == []
        assert store.feedback.withdraw("a", "x", "s") == 1
        assert store.feedback.withdraw("a", "nothing") == store.feedback.withdraw("nobody", "x") == 0
        store.append([events[0]])
        assert store.feedback.withdraw("a", "x") == 2
        assert got() == [1, 2]
        assert len(store.history("a")) == 1


def test_a_later_event_that_is_still_to_come_hides_no_earlier_one(url: str) -> None:
    with Store.open(url) as store:
        store.append([Event("ann", "a", "like", 10), Event("ann", "a", "like", 20)])
        assert [e.time for e in store.feedback.get(until=15)] == [10]
        assert [e.time for e in store.feedback.get(until=25)] == [20]


def test_people_are_kept_with_what_is_told_of_them(url: str) -> None:
    with Store.open(url) as store:
        store.append([Event("ann", "a", "like", 1)])
        assert store.profiles.get("ann") == UserProfile("ann", {})
        store.profiles.put([UserProfile("ann", {"x": 1}), UserProfile("bob"), UserProfile("bob", {"y": [None]})])
        assert store.profiles.page() == [UserProfile("ann", {"x": 1}), UserProfile("bob", {"y": [None]})]
        assert store.profiles.known(["bob", "cat"]) == {"bob"}
        assert store.profiles.page(1, "ann") == [UserProfile("bob", {"y": [None]})]
        assert store.profiles.patch("ann", {"z": 2, "x": None}) == UserProfile("ann", {"z": 2})
        assert len(store.history("ann")) == 1
        with pytest.raises(UnknownId, match="user 'cat' is unknown"):
            store.profiles.patch("cat", {})
        for bad in (UserProfile(""), UserProfile("x", {"": 1}), UserProfile("x", {"a": float("nan")})):
            with pytest.raises(DataError, match="user 1: "):
                store.profiles.put([UserProfile("dan"), bad])
        assert store.profiles.get("dan") is None
        assert store.forget("ann") == 2
        assert store.profiles.get("ann") is None


def test_popular_is_the_sum_of_weights_and_follows_what_is_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("palate.live.popularity.REST", 0)  # counted at once
    with TestClient(create_app(Settings(store=str(tmp_path / "shop.db")))) as client:

        def popular() -> list[tuple[str, float]]:
            return [(each["Id"], each["Score"]) for each in client.get("/api/popular").json()]

        def put(user: str, item: str, value: float, method: str = "PUT") -> None:
            told = {"FeedbackType": "rate", "UserId": user, "ItemId": item, "Timestamp": "2026-01-01", "Value": value}
            assert client.request(method, "/api/feedback", json=[told]).status_code == 200

        for n in range(10):
            put(f"u{n}", "hated", -1)
        for n in range(3):
            put(f"u{n}", "loved", 5)
            put(f"u{n}", "liked", 4)
        assert popular() == [("loved", 15), ("liked", 12)]
        put("u0", "loved", 1)  # in the place of a 5
        put("u3", "hated", 2)
        assert popular() == [("liked", 12), ("loved", 11), ("hated", 2)]
        assert client.delete("/api/feedback/rate/u1/liked").status_code == 200
        assert popular() == [("loved", 11), ("liked", 8), ("hated", 2)]
        assert client.delete("/api/user/u2").status_code == 200
        assert popular() == [("loved", 6), ("liked", 4), ("hated", 2)]
        put("u0", "loved", 9, "POST")  # which keeps what is there
        assert popular()[0] == ("loved", 6)
