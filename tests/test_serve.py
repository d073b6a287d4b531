"""The HTTP service: wire forms, errors, keys and limits in process; the command as a real process."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from fastapi import FastAPI
from httpx2 import Client, Response
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from serving import EXAMPLE, Served, plain, serving
from starlette.routing import Match
from starlette.staticfiles import StaticFiles
from starlette.testclient import TestClient

from palate import IALS, Popularity
from palate.errors import SettingError
from palate.live.training import train
from palate.serve.app import create_app, documented
from palate.serve.figures import sweep
from palate.serve.rates import Rates
from palate.serve.routes import LateRoute, needs
from palate.serve.run import Retrain
from palate.serve.security import Scopes, needed_by
from palate.serve.service import Service
from palate.serve.settings import Settings
from palate.serve.wire import StepIn
from palate.store.backup import backup
from palate.store.events import Event, Store
from palate.store.items import Item
from palate.store.keys import Keys
from palate.store.transfer import import_items
from palate.store.versions import Versions

NAMES = [
    "a/b",
    "/a//b/",
    "line\nbreak",
    "é😀",
    "%2F",
    "a?b#c",
    " ",
    "..",
    "x" * 1000,
    "汉字",
    "'; DROP TABLE events;--",
    "events",
]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of 12 people and 9 items with a model."""
    path = tmp_path_factory.mktemp("shop") / "shop.db"
    with Store.open(path) as store:
        store.items.put(Item(f"i{n}", {"title": f"Item {n}", "price": n, "kind": "ab"[n % 2]}) for n in range(9))
        store.append(
            [Event(f"u{n}", f"i{m % 9}", "like", 10**15 + m) for n in range(12) for m in range(n, n + 3 + n % 2)]
        )
        train(store, Versions(store), IALS(dim=4, epochs=2))
    return path


@pytest.fixture(scope="module")
def client(shop: Path) -> Iterator[TestClient]:
    with TestClient(create_app(Settings(store=str(shop)))) as client:
        yield client


def problem(response: Response, status: int) -> dict[str, Any]:
    """The problem details of an answer, whose form is checked (RFC 9457)."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    told: dict[str, Any] = response.json()
    assert told["status"] == status
    assert {"type", "title", "detail"} <= told.keys()
    assert "Traceback" not in response.text
    return told


def ids(response: Response) -> list[str]:
    assert response.status_code == 200, response.text
    return [item["item_id"] for item in response.json()["items"]]


# Recommend and events


def test_get_and_post_give_the_same_list(client: Client) -> None:
    asked: dict[str, Any] = {"user_id": "u1", "k": 4, "filter": "price < 8", "exclude": ["i7"], "explore": 0}
    by_post = client.post("/v1/recommend", json=asked)
    by_get = client.get("/v1/recommend", params=asked)
    assert by_get.json()["items"] == by_post.json()["items"]
    item = by_get.json()["items"][0]
    assert item.keys() == {"item_id", "score", "source", "reason", "because"}
    assert by_get.json()["model"]["recipe"] == "IALS"


def test_excluded_items_may_stand_between_commas(client: Client) -> None:
    client.put("/v1/items/i0,i1", json={"title": "Comma"})
    everything = set(ids(client.get("/v1/recommend", params={"k": 20})))
    assert {"i0", "i1", "i0,i1"} <= everything
    assert everything - set(ids(client.get("/v1/recommend?k=20&exclude=i2,i3"))) == {"i2", "i3"}
    assert everything - set(ids(client.get("/v1/recommend?k=20&exclude=i2&exclude=i3"))) == {"i2", "i3"}
    assert everything - set(ids(client.get("/v1/recommend?k=20&exclude=i0,i1"))) == {"i0,i1"}
    client.delete("/v1/items/i0,i1")


def test_an_event_changes_the_next_list(client: Client) -> None:
    first = ids(client.get("/v1/recommend?user_id=fresh&k=5"))
    answer = client.post("/v1/events", json={"user_id": "fresh", "item_id": first[1], "event_type": "like"})
    assert answer.json() == {"accepted": 1, "repeated": 0}
    second = client.get("/v1/recommend?user_id=fresh&k=5")
    assert first[1] not in ids(second)
    assert second.json()["items"][0]["source"] == "personal"
    assert second.json()["items"][0]["because"] == [first[1]]


def test_events_come_one_by_one_in_lists_and_in_lines(client: Client) -> None:
    event = {"user_id": 7, "item_id": 8, "event_type": "view", "event_id": "once"}
    assert client.post("/v1/events", json=event).json() == {"accepted": 1, "repeated": 0}
    assert client.post("/v1/events", json=[event, event | {"event_id": "two"}]).json() == {
        "accepted": 1,
        "repeated": 1,
    }
    lines = "\n".join(json.dumps(event | {"event_id": f"line {n}"}) for n in range(3)) + "\n\n"
    sent = client.post("/v1/events", content=lines, headers={"content-type": "application/x-ndjson"})
    assert sent.json() == {"accepted": 3, "repeated": 0}
    assert client.post("/v1/events", json=[]).json() == {"accepted": 0, "repeated": 0}
    history = client.get("/v1/users/7?limit=2").json()
    assert [found["event_id"] for found in history["events"]] == ["line 2", "line 1"]
    rest = client.get(f"/v1/users/7?limit=9&before={history['next']}").json()
    assert [found["event_id"] for found in rest["events"]] == ["line 0", "two", "once"]
    assert rest["next"] is None


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (1_700_000_000, "2023-11-14T22:13:20Z"),
        (1_700_000_000_500, "2023-11-14T22:13:20.500000Z"),
        (1_700_000_000_000_000, "2023-11-14T22:13:20Z"),
        (1_700_000_000.25, "2023-11-14T22:13:20.250000Z"),
        ("2023-11-14T23:13:20+01:00", "2023-11-14T22:13:20Z"),
        ("2023-11-14 22:13:20", "2023-11-14T22:13:20Z"),
    ],
)
def test_times_of_every_kind(client: Client, given: object, told: str) -> None:
    event = {"user_id": f"at {given}", "item_id": "i1", "event_type": "view", "timestamp": given}
    assert client.post("/v1/events", json=event).status_code == 200
    assert client.get(f"/v1/users/at {given}").json()["events"][0]["timestamp"] == told


EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FIRST, LAST = -62_135_596_800_000_000, 253_402_300_799_999_999  # microseconds of the years 1 to 9999
MOMENTS = st.integers(FIRST, LAST) | st.integers(-(10**13), 10**13) | st.sampled_from([FIRST, LAST, -1, 0, 1])


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(moments=st.lists(MOMENTS, min_size=1, max_size=40), hours=st.integers(-14, 14))
def test_a_time_comes_back_to_the_microsecond(client: Client, moments: list[int], hours: int) -> None:
    times = [EPOCH + timedelta(microseconds=moment) for moment in moments]
    told = [each.isoformat().replace("+00:00", "Z") for each in times]
    zone, day = timezone(timedelta(hours=hours)), timedelta(days=1)
    inside = [EPOCH.replace(year=1) + day < each < EPOCH.replace(year=9999) for each in times]
    texts = [(each.astimezone(zone) if near else each).isoformat() for each, near in zip(times, inside, strict=True)]
    name = f"user of {uuid4()}"
    feedback = [
        {"FeedbackType": "like", "UserId": name, "ItemId": f"t{n}", "Timestamp": text} for n, text in enumerate(texts)
    ]
    assert client.post("/api/feedback", json=feedback).json() == {"RowAffected": len(moments)}
    found = {each["ItemId"]: each["Timestamp"] for each in client.get("/api/feedback?n=10000").json()["Feedback"]}
    past = {f"t{n}": told[n] for n, each in enumerate(times) if each <= datetime.now(UTC)}
    assert {n: found.get(n) for n in past} == past
    events = client.get(f"/v1/users/{name}?limit=10000").json()["events"]
    assert {each["item_id"]: each["timestamp"] for each in events} == {f"t{n}": text for n, text in enumerate(told)}
    client.delete(f"/v1/users/{name}")


@settings(max_examples=200)
@given(moment=st.integers(0, 4 * 10**15))
def test_a_number_is_the_time_that_it_spells(moment: int) -> None:
    def read(spelt: str) -> int | None:
        return StepIn.model_validate_json(f'{{"item_id": "i", "timestamp": {spelt}}}').timestamp

    seconds, rest = divmod(moment, 10**6)
    assert read(f"{seconds}.{rest:06}") == moment
    assert read(str(10**14 + moment)) == 10**14 + moment
    assert read(str(10**11 + seconds)) == (10**11 + seconds) * 1000


@pytest.mark.parametrize("name", NAMES)
def test_any_unicode_is_an_id(served: Served, name: str) -> None:
    client = served.client
    event = {"user_id": name, "item_id": name, "event_type": "view"}
    assert client.post("/v1/events", json=event).status_code == 200
    path = "".join(f"%{byte:02X}" for byte in name.encode())
    assert client.get(f"/v1/users/{path}").json()["events"][0]["item_id"] == name
    assert client.get(f"/v1/items/{path}").json()["item_id"] == name
    assert client.get(f"/v1/similar/{path}").status_code == 200
    assert name not in ids(client.get("/v1/recommend", params={"user_id": name, "k": 100}))
    assert client.delete(f"/v1/users/{path}").json()["deleted"] == 2
    assert client.get(f"/v1/users/{path}").json()["events"] == []
    assert client.delete(f"/v1/items/{path}").json() == {"removed": 1}


def test_a_session_leaves_no_trace(client: Client) -> None:
    before = client.get("/v1/users?limit=10000").json()
    answer = client.post(
        "/v1/recommend/session",
        json={"history": ["i1", {"item_id": "i2", "event_type": "dislike"}, 3], "k": 3, "attributes": ["title"]},
    )
    assert {item["source"] for item in answer.json()["items"]} == {"session"}
    assert all(item["attributes"]["title"].startswith("Item") for item in answer.json()["items"])
    assert client.get("/v1/users?limit=10000").json() == before


def test_rules_over_the_wire(client: Client) -> None:
    rules = {
        "k": 5,
        "filter": "kind IS NOT NULL",
        "pin": [{"item_id": "i8", "position": 1}],
        "cap": [{"attribute": "kind", "most": 2}],
        "boost": [{"condition": "price > 5", "factor": 9}],
    }
    answer = client.post("/v1/recommend", json=rules)
    assert answer.json()["items"][0] | {"score": 0} == {
        "item_id": "i8",
        "score": 0,
        "source": "pinned",
        "reason": "pinned here",
        "because": [],
    }
    assert len(ids(answer)) == 4  # two of each kind


def test_pages_of_people_and_items(client: Client) -> None:
    first = client.get("/v1/users?limit=5").json()["users"]
    assert client.get(f"/v1/users?limit=5&after={first[-1]}").json()["users"][0] > first[-1]
    items = client.get("/v1/items?limit=3").json()["items"]
    assert [item["item_id"] for item in items] == sorted(item["item_id"] for item in items)


def test_items_are_put_changed_and_taken_away(client: Client) -> None:
    made = client.put("/v1/items/new", json={"title": "New", "price": 3, "attributes": {"kind": "c"}})
    assert made.json()["attributes"] == {"title": "New", "price": 3, "kind": "c"}
    assert ids(client.get("/v1/recommend", params={"filter": "kind = 'c'"})) == ["new"]
    changed = client.patch("/v1/items/new", json={"price": 4, "kind": None})
    assert changed.json()["attributes"] == {"title": "New", "price": 4}
    client.patch("/v1/items/new", json={"available": False})
    assert ids(client.get("/v1/recommend", params={"filter": "price = 4 AND title = 'New'"})) == []
    many = [{"item_id": f"many {n}", "n": n} for n in range(3)]
    assert client.post("/v1/items", json=many).json() == {"stored": 3}
    assert ids(client.get("/v1/recommend", params={"filter": "n >= 1"})) != []
    for name in ("new", "many 0", "many 1", "many 2"):
        assert client.delete(f"/v1/items/{name}").json() == {"removed": 1}
    problem(client.get("/v1/items/new"), 404)
    problem(client.patch("/v1/items/new", json={"price": 4}), 404)


def test_models_are_listed_activated_and_rolled_back(client: Client, shop: Path) -> None:
    with Store.open(shop) as store:
        train(store, Versions(store), IALS(dim=4, epochs=2))
    assert [model["active"] for model in client.get("/v1/models").json()["models"]] == [True, False]
    assert client.post("/v1/models/1/activate").json()["version"] == 1
    assert client.post("/v1/models/rollback").json()["version"] == 2
    problem(client.post("/v1/models/9/activate"), 404)
    problem(client.post("/v1/models/x/activate"), 422)
    manifest = shop.with_suffix(".models") / "000001" / "manifest.json"
    manifest.rename(manifest.with_suffix(".gone"))
    for path in ("rollback", "1/activate"):
        assert "manifest.json: missing" in problem(client.post(f"/v1/models/{path}"), 409)["detail"]
    manifest.with_suffix(".gone").rename(manifest)
    assert [model["active"] for model in client.get("/v1/models").json()["models"]] == [True, False]


# Errors


@pytest.mark.parametrize(
    ("query", "status", "words"),
    [
        ("k=0", 422, "k: '0'"),
        ("k=many", 422, "k: 'many'"),
        ("k=1&k=2", 422, "twice"),
        ("kk=1", 422, "kk"),
        ("filter=price <", 400, "condition, character"),
        ("filter=1; DROP TABLE items", 400, "condition, character 2"),
        ("explore=nan", 422, "explore"),
        ("cursor=?", 422, "cursor"),
        ("user_id=", 422, "user_id"),
        ("user_id=%00", 200, ""),
    ],
)
def test_a_bad_question_is_told_what_is_wrong(client: Client, query: str, status: int, words: str) -> None:
    answer = client.get(f"/v1/recommend?{query}")
    if status == 200:
        assert answer.status_code == 200
    else:
        assert words in problem(answer, status)["detail"]


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ("{", 400, "not JSON"),
        ("", 400, "not JSON"),
        ("[1]", 422, "0: 1"),
        ('{"user_id": "u", "item_id": "i"}', 422, "event_type"),
        ('{"user_id": "u", "item_id": "i", "event_type": "like", "wieght": 2}', 422, "wieght"),
        ('{"user_id": "u", "item_id": "i", "event_type": "like", "weight": 1e999}', 422, "weight"),
        ('{"user_id": "u", "item_id": "i", "event_type": "like", "timestamp": "soon"}', 422, "ISO 8601"),
        ('{"user_id": "u", "item_id": true, "event_type": "like"}', 422, "item_id"),
        ('{"user_id": "\\ud800", "item_id": "i", "event_type": "like"}', 400, ""),
        ('{"user_id": "a\\u0000b", "item_id": "i", "event_type": "like"}', 422, "NUL"),
    ],
)
def test_a_bad_event_is_refused_whole(client: Client, body: str, status: int, words: str) -> None:
    before = client.get("/v1/users?limit=10000").json()
    good = '{"user_id": "never", "item_id": "i", "event_type": "like"}'
    assert words in problem(client.post("/v1/events", content=body), status)["detail"]
    if body.startswith('{"'):
        problem(client.post("/v1/events", content=f"[{good}, {body}]"), status)
    assert client.get("/v1/users?limit=10000").json() == before


ROUTES: list[tuple[str, str, dict[str, Any]]] = [
    ("POST", "/v1/events", {"user_id": "exact", "item_id": "i1", "event_type": "view"}),
    ("POST", "/v1/items", {"item_id": "exact", "title": "x"}),
    ("PUT", "/v1/items/exact", {"title": "x"}),
    ("PATCH", "/v1/items/i1", {"title": "Item 1"}),
    ("POST", "/v1/recommend", {"user_id": "u1", "boost": [{"condition": "price < 3", "factor": 2}]}),
    ("POST", "/v1/recommend/session", {"history": ["i1"]}),
    ("POST", "/api/feedback", {"FeedbackType": "view", "UserId": "exact", "ItemId": "i1"}),
    ("POST", "/api/item", {"ItemId": "exact"}),
    ("POST", "/api/user", {"UserId": "exact"}),
    ("PATCH", "/api/item/i1", {"IsHidden": False}),
]


@pytest.fixture
def own(shop: Path, tmp_path: Path) -> Iterator[TestClient]:
    """A service over a store of the test's own."""
    with Store.open(shop) as store:
        backup(store, tmp_path / "own.db")
    with TestClient(create_app(Settings(store=str(tmp_path / "own.db")))) as client:
        yield client


@pytest.mark.parametrize(("method", "path", "body"), ROUTES, ids=lambda value: str(value)[:24])
def test_a_name_that_is_there_twice_is_refused(own: Client, method: str, path: str, body: dict[str, Any]) -> None:
    good = json.dumps(body)
    many = "[%s]" if path in ("/api/feedback",) else "%s"
    name = next(iter(body))
    told = own.get("/v1/items").json(), own.get("/v1/users").json()
    twice = [f'{good[:-1]}, "{name}": "other"}}', f'{{"\\u{ord(name[0]):04x}{name[1:]}": "other", {good[1:]}']
    for bad in [*twice, f'{good[:-1]}, "more": {{"a": 1, "b": {{"c": 1, "c": 1}}}}}}']:
        answer = own.request(method, path, content=many % bad, headers={"content-type": "application/json"})
        assert answer.status_code == 400
        assert "twice in one object; a name must be there once" in answer.text
    assert told == (own.get("/v1/items").json(), own.get("/v1/users").json())
    assert own.request(method, path, content=many % good, headers={"content-type": "application/json"}).is_success


def test_lines_of_json_are_one_thing_each(own: Client) -> None:
    good = '{"user_id": "lines", "item_id": "i1", "event_type": "view"}'
    for bad, words in (
        (f"{good}, {good}", "line 2"),
        (good[:-1], "line 2"),
        (f'{good[:-1]}, "user_id": "x"}}', "'user_id' twice"),
    ):
        sent: dict[str, Any] = {"content": f"{good}\n{bad}\n", "headers": {"content-type": "application/x-ndjson"}}
        assert words in problem(own.post("/v1/events", **sent), 400)["detail"]
    assert own.get("/v1/users/lines").json()["events"] == []


@pytest.mark.parametrize("bad", ["%FF", "%FE", "a%C3", "%ED%A0%80", "%C0%AF", "%f8%88%80%80%80"])
def test_an_address_that_is_no_text_is_refused(own: Client, bad: str) -> None:
    before = own.get("/v1/items").json()
    for method, path, body in (
        ("PUT", f"/v1/items/{bad}", {"title": "one"}),
        ("PATCH", f"/v1/items/{bad}", {"title": "one"}),
        ("GET", f"/v1/items/{bad}", None),
        ("DELETE", f"/v1/items/{bad}", None),
        ("GET", f"/v1/users/{bad}", None),
        ("DELETE", f"/v1/users/{bad}", None),
        ("GET", f"/v1/similar/{bad}", None),
        ("GET", f"/v1/recommend?user_id={bad}", None),
        ("GET", f"/v1/items?after={bad}", None),
    ):
        assert "must be UTF-8" in problem(own.request(method, path, json=body), 400)["detail"]
    for method, path in (
        ("PUT", f"/api/item/i1/category/{bad}"),
        ("GET", f"/api/item/{bad}"),
        ("DELETE", f"/api/user/{bad}"),
        ("GET", f"/api/popular?user-id={bad}"),
    ):
        assert "must be UTF-8" in problem(own.request(method, path), 400)["detail"]
    assert own.get("/v1/items").json() == before
    assert own.put("/v1/items/%EF%BF%BD", json={}).json()["item_id"] == "\ufffd"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        *(("POST", "/v1/events", {**ROUTES[0][2], "weight": weight}) for weight in ("5", True, [1])),
        ("POST", "/v1/events", {**ROUTES[0][2], "timestamp": True}),
        ("POST", "/v1/items", {"item_id": "exact", "available": "no"}),
        ("POST", "/v1/items", {"item_id": "exact", "available": 0}),
        ("PUT", "/v1/items/exact", {"available": "false"}),
        ("PATCH", "/v1/items/i1", {"available": 0}),
        ("PUT", "/v1/items/exact", {"item_id": "another"}),
        ("PATCH", "/v1/items/i1", {"item_id": "i2", "title": "x"}),
        ("PUT", "/v1/items/exact", {"item_id": True}),
        ("PUT", "/v1/items/exact", {"title": "x", "attributes": {"title": "y"}}),
        ("POST", "/v1/items", {"item_id": "exact", "title": "x", "attributes": {"title": "x"}}),
        ("POST", "/v1/recommend", {"k": "5"}),
        ("POST", "/v1/recommend", {"k": True}),
        ("POST", "/v1/recommend", {"keep_seen": "yes"}),
        ("POST", "/v1/recommend", {"explore": "0.5"}),
        ("POST", "/v1/recommend", {"pin": [{"item_id": "i1", "position": "1"}]}),
        ("POST", "/v1/recommend", {"boost": [{"condition": "price < 3", "factor": True}]}),
        ("POST", "/v1/recommend", {"cap": [{"attribute": "kind", "most": "1"}]}),
        ("POST", "/v1/recommend/session", {"history": [{"item_id": "i1", "weight": "2"}]}),
    ],
    ids=str,
)
def test_a_value_of_another_type_is_refused(own: Client, method: str, path: str, body: dict[str, Any]) -> None:
    before = own.get("/v1/items").json(), own.get("/v1/users").json()
    problem(own.request(method, path, json=body), 422)
    assert before == (own.get("/v1/items").json(), own.get("/v1/users").json())


@pytest.mark.parametrize("weight", [1.1e6, -1e7, 3e38])
def test_a_weight_out_of_bounds_is_refused(own: Client, weight: float) -> None:
    detail = problem(own.post("/v1/events", json=ROUTES[0][2] | {"weight": weight}), 400)["detail"]
    assert detail.endswith("weights are at most 1,000,000 in size")
    gorse = {"FeedbackType": "view", "UserId": "exact", "ItemId": "i1", "Value": weight}
    assert own.post("/api/feedback", json=[gorse]).status_code == 400
    assert own.get("/v1/users/exact").json()["events"] == []
    assert own.post("/v1/events", json=ROUTES[0][2] | {"weight": -1e6}).status_code == 200


def test_what_a_body_says_of_its_id_may_agree_with_the_address(own: Client) -> None:
    own.put("/v1/items/77", json={"item_id": 77, "title": "x"})
    assert own.get("/v1/items/77").json()["attributes"] == {"title": "x"}
    detail = problem(own.put("/v1/items/77", json={"item_id": "78"}), 422)["detail"]
    assert detail == "item_id: '78': the address names '77'; both must be one"


def test_scores_are_numbers_whatever_is_asked(own: Client) -> None:
    huge = [{"item_id": f"i{n}", "weight": 1e6, "event_type": "purchase"} for n in (1, 2, 3)]
    for factor in (1e6, 1e-6):
        rules = {"boost": [{"condition": "price >= 0", "factor": factor}] * 20, "k": 9, "explore": 0}
        for path, body in (
            ("/v1/recommend", {**rules, "user_id": "u1"}),
            ("/v1/recommend", rules),
            ("/v1/recommend", {**rules, "near": ["i1"]}),
            ("/v1/recommend/session", {**rules, "history": huge * 100}),
        ):
            items = own.post(path, json=body).json()["items"]
            assert items
            assert all(isinstance(item["score"], float) for item in items)


def test_an_event_id_of_another_event_is_refused(client: Client) -> None:
    ann = {"user_id": "ann 1", "item_id": "i1", "event_type": "view", "event_id": "number 1"}
    bob = ann | {"user_id": "bob 1", "item_id": "i2", "event_type": "purchase"}
    assert client.post("/v1/events", json=ann).json() == {"accepted": 1, "repeated": 0}
    assert client.post("/v1/events", json=ann).json() == {"accepted": 0, "repeated": 1}
    detail = problem(client.post("/v1/events", json=[bob | {"event_id": "2"}, bob]), 409)["detail"]
    assert detail == (
        "event 1: event_id 'number 1' is that of 'view' of user 'ann 1' on item 'i1', "
        "not of 'purchase' of user 'bob 1' on item 'i2'"
    )
    assert client.get("/v1/users/bob 1").json()["events"] == []


@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize("moment", [48.1, 24 * 365 * 1000, "9999-12-31T23:59:59.999999Z"])
def test_an_event_of_a_clock_far_ahead_is_refused(client: Client, many: bool, moment: float | str) -> None:
    def sent(moment: float | str) -> Any:
        time = moment if isinstance(moment, str) else (datetime.now(UTC) + timedelta(hours=moment)).isoformat()
        event = {"user_id": "ahead", "item_id": "i1", "event_type": "view", "timestamp": time}
        return client.post("/v1/events", json=[event | {"timestamp": 0}, event] if many else event)

    detail = problem(sent(moment), 400)["detail"]
    assert detail.startswith("1.timestamp: '" if many else "timestamp: '")
    assert "may be at most 48 hours ahead of the clock here, which says 20" in detail
    assert client.get("/v1/users/ahead").json()["events"] == []
    assert sent(47.9).json() == {"accepted": 1 + many, "repeated": 0}
    client.delete("/v1/users/ahead")


def test_what_is_not_there_and_what_cannot_be_done(client: Client) -> None:
    problem(client.get("/v2"), 404)
    problem(client.put("/v1/recommend"), 405)
    assert client.get("/docs").status_code == 404


def test_a_body_may_not_be_too_large(shop: Path) -> None:
    with TestClient(create_app(Settings(store=str(shop), most_bytes=1000))) as client:
        problem(client.post("/v1/events", content=b" " * 1001), 413)

        def chunks() -> Iterator[bytes]:
            yield from [b" " * 400] * 3

        problem(client.post("/v1/events", content=chunks()), 413)
        problem(client.post("/v1/events", headers={"content-length": "x"}, content=b""), 413)


# Keys and limits


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[tuple[Client, dict[str, str]]]:
    path = tmp_path / "guarded.db"
    with Store.open(path) as store:
        secrets = {scope: Keys(store).create(scope, [scope]) for scope in ("read", "write", "admin")}
    with TestClient(create_app(Settings(store=str(path), keys=True))) as client:
        yield client, secrets


def test_keys_open_what_their_scopes_say(guarded: tuple[Client, dict[str, str]]) -> None:
    client, secrets = guarded
    event = {"user_id": "u", "item_id": "i", "event_type": "like"}
    calls: dict[str, tuple[str, str, Any]] = {
        "read": ("GET", "/v1/recommend", None),
        "write": ("POST", "/v1/events", event),
        "admin": ("DELETE", "/v1/users/u", None),
    }
    may = {"read": {"read"}, "write": {"write"}, "admin": {"read", "write", "admin"}}
    for needed, (method, path, body) in calls.items():
        assert problem(client.request(method, path, json=body), 401)["detail"].startswith("this needs an API key")
        problem(client.request(method, path, json=body, headers={"X-API-Key": "pk_wrong"}), 401)
        for scope, secret in secrets.items():
            for headers in ({"X-API-Key": secret}, {"Authorization": f"Bearer {secret}"}):
                answer = client.request(method, path, json=body, headers=headers)
                if needed in may[scope]:
                    assert answer.status_code == (202 if method == "DELETE" else 200)
                else:
                    problem(answer, 403)
    assert client.get("/health/ready").status_code == 200
    problem(client.get("/metrics"), 401)
    problem(client.get("/openapi.json"), 401)


def test_every_route_states_its_scope(tmp_path: Path) -> None:
    service = Service.open(Settings(store=str(tmp_path / "routes.db")))
    routes = documented(service).routes
    service.store.close()
    stated: dict[str, set[str]] = {}
    for route in routes:
        for method in getattr(route, "methods", None) or {"*"}:
            stated.setdefault(needed_by(route), set()).add(f"{method} {getattr(route, 'path', '?')}")
    assert stated["public"] == {
        *("GET /health/live", "GET /health/ready", "GET /api/health/live", "GET /api/health/ready"),
        *("GET /login", "POST /login", "POST /logout", "* /static"),
    }
    assert stated["admin"] == {
        *("DELETE /v1/users/{user_id:id}", "DELETE /api/user/{user_id}"),
        *("POST /v1/models/{number}/activate", "POST /v1/models/rollback", "POST /v1/train"),
        *("PUT /v1/scenarios/{name:id}", "DELETE /v1/scenarios/{name:id}"),
    }
    assert {each for each in stated["read"] if not each.startswith("GET ")} == {
        *("POST /v1/recommend", "POST /v1/recommend/session", "POST /v1/rank", "POST /v1/page"),
        *("POST /api/session/recommend", "POST /api/session/recommend/{category}"),
    }
    assert {each.split()[0] for each in stated["write"]} == {"POST", "PUT", "PATCH", "DELETE"}
    assert sum(map(len, stated.values())) > 70


def test_a_route_without_a_scope_is_refused() -> None:
    app = FastAPI(openapi_url=None)
    app.mount("/files", needs("public")(StaticFiles(directory=Path(__file__).parent)))
    Scopes(app.routes)
    app.mount("/more", StaticFiles(directory=Path(__file__).parent))
    with pytest.raises(TypeError, match="route '/more': its endpoint declares no scope"):
        Scopes(app.routes)
    app.router.routes.pop()
    app.get("/shown")(lambda: None)
    with pytest.raises(TypeError, match="route '/shown': its endpoint declares no scope"):
        Scopes(app.routes)


def test_what_no_route_answers_needs_a_key_too(guarded: tuple[Client, dict[str, str]]) -> None:
    client, secrets = guarded
    read, write = ({"X-API-Key": secrets[scope]} for scope in ("read", "write"))
    for method, path, status in (
        ("GET", "/v1/nothing", 404),
        ("POST", "/api/nothing", 404),
        ("PUT", "/v1/users", 405),
    ):
        problem(client.request(method, path), 401)
        problem(client.request(method, path, headers=write if method != "GET" else read), status)
        problem(client.request(method, path, headers=read if method != "GET" else write), 403)
    problem(client.put("/health/live"), 405)


def test_a_key_that_may_only_write_reads_no_item(guarded: tuple[Client, dict[str, str]]) -> None:
    client, secrets = guarded
    write, admin = {"X-API-Key": secrets["write"]}, {"X-API-Key": secrets["admin"]}
    client.put("/v1/items/x", json={"secret": "margin 40%"}, headers=admin)
    for method, body in (
        ("PATCH", {}),
        ("PATCH", {"price": 5}),
        ("PATCH", {"secret2": None}),
        ("PATCH", {"price": None}),
    ):
        answer = client.request(method, "/v1/items/x", json=body, headers=write)
        assert answer.status_code == 200
        assert answer.json()["attributes"] == {name: value for name, value in body.items() if value is not None}
    assert client.patch("/v1/items/x", json={}, headers=admin).json()["attributes"] == {"secret": "margin 40%"}
    assert client.put("/v1/items/x", json={"price": 6}, headers=write).json()["attributes"] == {"price": 6}


def test_a_revoked_key_opens_nothing_more(tmp_path: Path, guarded: tuple[Client, dict[str, str]]) -> None:
    client, secrets = guarded
    headers = {"X-API-Key": secrets["read"]}
    assert client.get("/v1/recommend", headers=headers).status_code == 200
    with Store.open(tmp_path / "guarded.db") as store:
        Keys(store).revoke("read")
    problem(client.get("/v1/recommend", headers=headers), 401)


def test_admin_calls_leave_a_line(guarded: tuple[Client, dict[str, str]], caplog: pytest.LogCaptureFixture) -> None:
    client, secrets = guarded
    with caplog.at_level(logging.INFO, "palate.audit"):
        client.delete("/v1/users/a%0Ab", headers={"X-API-Key": secrets["admin"]})
    line = caplog.records[-1].getMessage()
    assert line.startswith("DELETE /v1/users/a%0Ab 202 by 'pk_")
    assert secrets["admin"] not in line


def test_other_sites_may_call_only_where_allowed(shop: Path, client: Client) -> None:
    asking = {"Origin": "https://shop.example", "Access-Control-Request-Method": "POST"}
    assert "access-control-allow-origin" not in client.get("/v1/recommend", headers=asking).headers
    with TestClient(create_app(Settings(store=str(shop), origins=("https://shop.example",)))) as open_client:
        answer = open_client.options("/v1/events", headers=asking)
        assert answer.headers["access-control-allow-origin"] == "https://shop.example"


def test_headers_are_strict(client: Client) -> None:
    for path in ("/v1/recommend", "/nothing", "/health/live"):
        headers = client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "default-src 'self'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]


def test_a_hurried_client_is_asked_to_wait(shop: Path) -> None:
    with TestClient(create_app(Settings(store=str(shop), rate=2))) as client:
        answers = [client.get("/health/live") for _ in range(6)]
    assert [answer.status_code for answer in answers[:4]] == [200] * 4
    assert int(answers[-1].headers["retry-after"]) >= 1
    problem(answers[-1], 429)


def test_rates_fill_up_again(monkeypatch: pytest.MonkeyPatch) -> None:
    moment = 0.0
    monkeypatch.setattr("palate.serve.rates.monotonic", lambda: moment)
    rates = Rates(10)
    assert [rates.wait("a") for _ in range(20)] == [0.0] * 20
    assert rates.wait("a") == pytest.approx(0.1)
    assert rates.wait("b") == 0.0
    moment = 0.15
    assert rates.wait("a") == 0.0
    assert rates.wait("a") > 0


# Figures and documents


def test_figures_tell_of_answers_events_and_clicks(shop: Path) -> None:
    with TestClient(create_app(Settings(store=str(shop)))) as client:
        shown = ids(client.get("/v1/recommend?user_id=clicks&k=3"))
        for item in (shown[0], shown[0], "elsewhere"):
            client.post("/v1/events", json={"user_id": "clicks", "item_id": item, "event_type": "purchase"})
        client.get("/nothing-here")
        text = client.get("/metrics").text

    def figure(name: str) -> float:
        found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
        assert found, text
        return float(found[1])

    assert figure('palate_recommended_total{source="popular"}') == 3
    assert figure("palate_shown_total") == 3
    assert figure("palate_chosen_total") == 1  # the second purchase is of an item that was chosen
    assert figure('palate_events_total{event_type="purchase"}') == 3
    assert figure('palate_request_seconds_count{method="GET",route="/v1/recommend",status="200"}') == 1
    assert figure('palate_request_seconds_count{method="GET",route="none",status="404"}') == 1
    assert figure("palate_model_version") >= 1
    assert figure("palate_model_age_seconds") >= 0


def test_the_openapi_knows_every_route_and_its_bodies(client: Client) -> None:
    told = client.get("/openapi.json").json()
    assert {"/v1/events", "/v1/recommend", "/v1/recommend/session", "/v1/similar/{item_id}", "/metrics"} <= set(
        told["paths"]
    )
    post = told["paths"]["/v1/recommend"]["post"]
    assert post["requestBody"]["content"]["application/json"]["schema"]["$ref"].endswith("RecommendIn")
    names = {parameter["name"] for parameter in told["paths"]["/v1/recommend"]["get"]["parameters"]}
    assert {"user_id", "k", "filter", "exclude", "cursor"} <= names
    references = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(told)))
    assert references <= set(told["components"]["schemas"])
    assert told["components"]["schemas"]["EventIn"]["examples"]


@pytest.mark.parametrize("text", ["every=0s", "every=1w", "every", "events=0", "events=x", "often=1", ""])
def test_when_to_train_must_be_said_clearly(text: str) -> None:
    with pytest.raises(SettingError, match="retrain="):
        Retrain.parse(text)
    assert Retrain.parse("every=90s") == Retrain(every=90.0)
    assert Retrain.parse("every=1.5h") == Retrain(every=5400.0)
    assert Retrain.parse("events=10") == Retrain(events=10)


def test_an_idle_service_takes_another_model_and_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "palate.live")
    path = tmp_path / "s.db"
    with Store.open(path) as store:
        store.append([Event(f"u{n}", f"i{m}", "like", m) for n in range(4) for m in range(n, n + 3)])
        train(store, Versions(store), Popularity())
        with TestClient(create_app(Settings(store=str(path)))):
            assert "model version 1 answers" in caplog.messages
            versions = Versions(store)
            versions.activate(versions.add(Popularity().fit(store.log()).save, {"recipe": "Popularity"}).number)
            end = time.monotonic() + 30
            while "model version 2 answers" not in caplog.messages:
                assert time.monotonic() < end
                time.sleep(0.01)


def test_ready_means_that_a_model_answers_where_there_were_events(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    with TestClient(create_app(Settings(store=str(path)))) as client:  # begins without events: nothing to wait for
        assert client.get("/health/ready").json() == {"status": "ready", "items": 0, "model": None}
        client.post("/v1/events", json={"user_id": "u", "item_id": "i", "event_type": "like"})
        assert client.get("/health/ready").status_code == 200
    with TestClient(create_app(Settings(store=str(path), without_model=True))) as client:
        assert client.get("/health/ready").status_code == 200
    with TestClient(create_app(Settings(store=str(path)))) as client:
        answer = problem(client.get("/health/ready"), 503)
        assert answer["detail"] == "the store has events, and no model answers yet; `palate train` makes one"
        assert client.get("/api/health/ready").status_code == 503
        assert client.get("/health/live").status_code == 200
        assert ids(client.get("/v1/recommend")) == ["i"]
        with Store.open(path) as store:
            train(store, Versions(store), Popularity())
        end = time.monotonic() + 30
        while client.get("/health/ready").status_code == 503:
            assert time.monotonic() < end
        assert client.get("/health/ready").json()["model"] == 1


# The command itself


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    files = "--log", str(EXAMPLE / "ratings.csv.gz"), "--catalogue", str(EXAMPLE / "movies.csv.gz")
    with serving(folder, *files, "--workers", "2", "--retrain", "events=50") as server:
        yield server


def test_a_csv_becomes_a_service(served: Served) -> None:
    answer = served.client.get("/v1/recommend?user_id=5&k=10&attributes=title")
    assert {item["source"] for item in answer.json()["items"]} == {"personal"}
    assert all(item["attributes"]["title"] for item in answer.json()["items"])
    comedy = "'Comedy' = ANY(categories)"
    filtered = served.client.get("/v1/recommend", params={"user_id": 5, "k": 10, "filter": comedy})
    assert len(ids(filtered)) == 10
    for condition in ("genres = 'Comedy'", "'Comedy' IN genres", "categories = 'Comedy'", "GENRES IN ('Comedy')"):
        same = served.client.get("/v1/recommend", params={"user_id": 5, "k": 10, "filter": condition})
        assert ids(same) == ids(filtered), condition
        assert "warnings" not in same.json()
    told = served.client.get("/v1/recommend?user_id=5&k=1&attributes=genres&attributes=categories").json()["items"][0]
    assert told["attributes"]["genres"] == told["attributes"]["categories"] != []


def test_columns_of_a_file_are_filtered_by_their_own_names_and_types(tmp_path: Path) -> None:
    text = (
        "item_id,name,price,category,adult,year,code\n1,A,5,sci-fi|war,false,1994,007\n2,B,7.5,sci-fi,true,2001,8\n"
    )
    (tmp_path / "items.csv").write_text(text)
    with Store.open(tmp_path / "s.db") as store:
        import_items(store, tmp_path / "items.csv")
        import_items(store, tmp_path / "items.csv")  # changes nothing
    for _ in range(2):  # another start knows them too
        with TestClient(create_app(Settings(store=str(tmp_path / "s.db")))) as client:
            for condition, expected in {
                "price < 20 AND category = 'sci-fi' AND NOT adult": {"1"},
                "category = 'sci-fi'": {"1", "2"},
                "categories = 'war'": {"1"},
                "name = 'B' OR title = 'A'": {"1", "2"},
                "year > 1995 AND year / 10 = 200": {"2"},
                "code = '007'": {"1"},
            }.items():
                answer = client.get("/v1/recommend", params={"filter": condition})
                assert set(ids(answer)) == expected, condition
            capped = client.post("/v1/recommend", json={"cap": [{"attribute": "category", "most": 1}]})
            assert len(ids(capped)) == 1
            boosted = client.post("/v1/recommend", json={"boost": [{"condition": "category = 'war'", "factor": 2}]})
            assert "warnings" not in boosted.json()


def test_what_no_item_has_is_null_also_in_an_empty_store(tmp_path: Path) -> None:
    with TestClient(create_app(Settings(store=str(tmp_path / "s.db")))) as client:
        query = {"user_id": "anna", "k": 5, "attributes": ["title", "brand"], "filter": "NOT adult OR brand IS NULL"}
        rules = {"boost": [{"condition": "brand = 'us'", "factor": 2}], "cap": [{"attribute": "brand", "most": 1}]}
        assert ids(client.post("/v1/recommend", json=query | rules)) == []
        client.post("/v1/events", json={"user_id": "anna", "item_id": "260", "event_type": "like"})
        answer = client.post("/v1/recommend", json=query | rules | {"user_id": "bob"})
        assert ids(answer) == ["260"]
        assert answer.json()["items"][0]["attributes"] == {"title": None, "brand": None}
        assert "cap: no item has an attribute 'brand'" in answer.json()["warnings"]
        client.put("/v1/items/261", json={"brand": "us", "price": "ask"})
        answer = client.get("/v1/recommend?attributes=brnad&filter=price < 5 OR brand = 3 OR brand = 'us'")
        assert ids(answer) == ["261"]
        assert answer.json()["warnings"] == [
            "filter: 'price' is a number of no item",
            "filter: 'brand' is a number of no item",
            "attributes: no item has an attribute 'brnad'; did you mean 'brand'?",
        ]
        similar = client.get("/v1/similar/260?filter=pric < 5")
        assert similar.json()["warnings"] == ["filter: no item has an attribute 'pric'; did you mean 'price'?"]
        assert "palate_odd_values 0.0" in client.get("/metrics").text


def test_the_page_shows_titles_and_categories_of_every_kind(tmp_path: Path) -> None:
    with TestClient(create_app(Settings(store=str(tmp_path / "s.db")))) as client:
        client.post("/v1/items", json=[{"item_id": "a", "title": 1984, "categories": "old"}])
        client.post("/v1/items", json=[{"item_id": "b", "title": "Brazil", "categories": ["new", None]}])
        client.post("/v1/items", json=[{"item_id": "c", "title": 2001, "categories": 5}])
        found = client.get("/page/search?q=1984").json()[0]
        assert (found["title"], found["categories"]) == ("1984", ["old"])
        assert client.get("/page/search?q=brazil").json()[0]["categories"] == ["new"]
        assert client.get("/page/search?q=2001").json()[0]["categories"] == ["5"]
        for path in ("/items", "/item?item=a", "/items?item=b", "/items?q=200", "/map", "/page/map"):
            assert client.get(path).status_code == 200


def test_numbers_beyond_64_bits_break_no_answer(tmp_path: Path) -> None:
    large = {"a": 2**70, "b": -(2**65), "c": [2**64], "d": {"x": 10**400}}
    with TestClient(create_app(Settings(store=str(tmp_path / "s.db")))) as client:
        assert client.put("/v1/items/x", json=large).json()["attributes"] == large
        assert client.patch("/v1/items/x", json={"e": 1}).json()["attributes"] == large | {"e": 1}
        assert client.get("/v1/items").json()["items"][0]["attributes"] == large | {"e": 1}
        assert client.post("/api/item", json={"ItemId": "y", "Labels": large}).status_code == 200
        assert client.get("/api/item/y").json()["Labels"] == large
        assert client.get("/api/items").json()["Items"][1]["Labels"] == large
        client.post("/api/user", json={"UserId": "u", "Labels": large})
        assert (
            client.get("/api/user/u").json()["Labels"]
            == client.get("/api/users").json()["Users"][0]["Labels"]
            == large
        )
        told = client.get("/v1/recommend?filter=a > 5&attributes=a&attributes=c&attributes=d").json()["items"]
        assert told[0]["attributes"] == {"a": 2.0**70, "c": [str(2**64)], "d": f'{{"x":{10**400}}}'}
        assert client.get("/item?item=x").status_code == 200


@pytest.mark.parametrize(
    "attributes",
    [
        '{"a": ' + "[" * 17 + "]" * 17 + "}",
        '{"a": ' + "[" * 300 + "]" * 300 + "}",
        '{"a": ' + "[" * 9000 + "]" * 9000 + "}",
        '{"a": ' + '{"b":' * 20 + "1" + "}" * 21,
        '{"a": ' + "1" * 5000 + "}",
        "{" + ",".join(f'"n{n}": 1' for n in range(200)) + "}",
    ],
)
def test_attributes_beyond_the_bounds_are_refused_and_break_nothing(tmp_path: Path, attributes: str) -> None:
    calls = [
        ("PUT", "/v1/items/x", attributes),
        ("PATCH", "/v1/items/y", attributes),
        ("POST", "/v1/items", f'[{{"item_id": "x", "attributes": {attributes}}}]'),
        ("POST", "/api/item", f'{{"ItemId": "x", "Labels": {attributes}}}'),
    ]
    with TestClient(create_app(Settings(store=str(tmp_path / "s.db")))) as client:
        client.put("/v1/items/y", json={"b": 1})
        for method, path, body in calls:
            answer = client.request(method, path, content=body, headers={"Content-Type": "application/json"})
            fine = "n199" in body and path == "/api/item"  # Labels are one attribute
            assert answer.status_code in ((200,) if fine else (400, 422)), answer.text
        assert client.get("/v1/items/y").json()["attributes"] == {"b": 1}
        assert client.get("/v1/recommend").status_code == client.get("/api/items").status_code == 200


def test_workers_see_each_others_events_in_the_next_answer(served: Served) -> None:
    for n in range(40):  # each on a connection of its own, so that both workers are asked
        event = {"user_id": f"w{n}", "item_id": "260", "event_type": "like"}
        client = plain(str(served.client.base_url))
        with client:
            client.post("/v1/events", json=event)
        with plain(str(served.client.base_url)) as other:
            item = other.get(f"/v1/recommend?user_id=w{n}&k=1").json()["items"][0]
        assert (item["source"], item["because"]) == ("personal", ["260"])


def test_figures_are_those_of_all_workers(served: Served) -> None:
    """A list by one worker, the event that comes of it by another: each connection falls to one of them."""

    def fresh() -> Client:
        return plain(str(served.client.base_url), timeout=30)

    def figures() -> list[float]:
        with fresh() as client:
            text = client.get("/metrics").text
        names = "palate_shown_total", "palate_chosen_total", 'palate_events_total{event_type="cart"}'
        found = [re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE) for name in names]
        return [0.0 if each is None else float(each[1]) for each in found]

    before = figures()
    for n in range(30):
        with fresh() as client:
            shown = ids(client.get(f"/v1/recommend?user_id=figures{n}&k=4"))
        for item in (shown[1], shown[1], "elsewhere"):
            with fresh() as client:
                client.post("/v1/events", json={"user_id": f"figures{n}", "item_id": item, "event_type": "cart"})
    assert [after - old for after, old in zip(figures(), before, strict=True)] == [120, 30, 90]


def test_enough_new_events_train_another_model(served: Served) -> None:
    many = [{"user_id": f"n{n}", "item_id": str(1 + n % 3), "event_type": "like"} for n in range(60)]
    assert served.client.post("/v1/events", json=many).json()["accepted"] == 60
    end = time.monotonic() + 60
    while time.monotonic() < end and len(served.client.get("/v1/models").json()["models"]) < 2:
        time.sleep(0.2)
    models = served.client.get("/v1/models").json()["models"]
    assert len(models) >= 2, served.said
    assert "verdict" in models[0]
    assert "palate_model_version" in served.client.get("/metrics").text


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_without_losing_a_request_or_an_event(tmp_path: Path, how: int) -> None:
    acknowledged = 0
    refused = 0
    with serving(tmp_path, "--store", "shop.db") as server:

        def write() -> None:
            nonlocal acknowledged, refused
            with plain(str(server.client.base_url), timeout=30) as client:
                for n in range(100_000):
                    try:
                        answer = client.post(
                            "/v1/events", json={"user_id": "u", "item_id": f"i{n}", "event_type": "view"}
                        )
                    except Exception:
                        refused += 1
                        return
                    assert answer.status_code == 200
                    acknowledged += 1

        writer = threading.Thread(target=write)
        writer.start()
        soon(lambda: acknowledged >= 20, server)
        server.stop(how)
        writer.join()
    assert (acknowledged > 0, refused) == (True, 1)
    with Store.open(tmp_path / "shop.db") as store:
        assert store.counts().events in (acknowledged, acknowledged + 1)


def test_beyond_this_machine_keys_are_asked_for(tmp_path: Path) -> None:
    with serving(tmp_path, "--store", "shop.db", "--host", "0.0.0.0", "--allowed-hosts", "a.example") as server:
        key = re.search(r"API key 'first-1', shown only now: (pk_\S+)", server.said)
        assert key, server.said
        problem(server.client.get("/v1/recommend"), 401)
        assert server.client.get("/v1/recommend", headers={"X-API-Key": key[1]}).status_code == 200
    with serving(tmp_path, "--store", "shop.db", "--host", "0.0.0.0", "--allowed-hosts", "a.example") as server:
        assert server.said.count("API key") == 1  # there is one already


def test_a_saved_model_is_served(tmp_path: Path) -> None:
    from palate import read_log

    log = read_log(EXAMPLE / "ratings.csv.gz")
    IALS(dim=8, epochs=2).fit(log).save(tmp_path / "model", log=log)
    with serving(tmp_path, "--model", "model") as server:
        answer = server.client.get("/v1/recommend?user_id=5&k=3").json()
        assert answer["items"][0]["source"] == "personal"
        assert answer["model"]["version"] == 1
    assert (tmp_path / "palate.db").is_file()


def test_workers_end_when_their_parent_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what it leaves in the temporary directory goes with them, or with the next start."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with serving(tmp_path, "--store", "shop.db", "--workers", "2") as server:
        assert list(tmp_path.glob("palate-figures-*"))
        server.stop(signal.SIGKILL)

        def left() -> bool:
            try:
                socket.create_connection(("127.0.0.1", server.client.base_url.port or 0), 2).close()
            except OSError:
                return bool(list(tmp_path.glob("palate-figures-*")))
            return True

        end = time.monotonic() + 60
        while left() and time.monotonic() < end:
            time.sleep(0.1)
        assert not left(), server.said


@pytest.mark.skipif(sys.platform != "linux", reason="looks for the process in /proc")
def test_a_training_ends_when_the_service_is_killed(tmp_path: Path) -> None:
    """One that would take hours; its half-made version is none."""
    retrain = ("--retrain", "events=50", "--set", "epochs=100000000")
    with serving(tmp_path, "--store", "shop.db", *retrain) as server:
        many = [{"user_id": f"n{n}", "item_id": str(n % 3), "event_type": "like"} for n in range(60)]
        server.client.post("/v1/events", json=many)
        soon(lambda: trainings(server.process.pid), server)
        (training,) = trainings(server.process.pid)
        try:
            server.stop(signal.SIGKILL)
            soon(lambda: state(training) in "Z", server)
        finally:
            with suppress(ProcessLookupError):
                os.kill(training, signal.SIGKILL)


def soon(condition: Callable[[], object], server: Served) -> None:
    """Wait until something holds."""
    end = time.monotonic() + 60
    while not condition() and time.monotonic() < end:
        time.sleep(0.1)
    assert condition(), server.said


def command_line(process: int | str) -> str:
    """Arguments of a process, each between zeros; "" if it has ended."""
    try:
        return Path(f"/proc/{process}/cmdline").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def trainings(parent: int) -> list[int]:
    """Numbers of the processes that train for a service."""
    children = Path(f"/proc/{parent}/task").glob("*/children")
    every = [int(child) for each in children for child in each.read_text().split()]
    return [child for child in every if "\0train\0" in command_line(child)]


def state(process: int) -> str:
    """Letter of the state of a process; "" if there is none, "Z" until somebody takes note of its end."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def test_a_worker_that_dies_while_it_is_asked_for_a_sign_of_life_is_replaced_at_once(tmp_path: Path) -> None:
    def workers(parent: int) -> list[int]:
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        return [int(pid) for pid in children if "spawn_main" in command_line(pid)]

    with serving(tmp_path, "--store", "shop.db", "--workers", "2") as server:
        first, second = workers(server.process.pid)
        os.kill(first, signal.SIGSTOP)
        end = time.monotonic() + 30
        time.sleep(2)  # it is asked every half a second, and waited for two minutes
        os.kill(first, signal.SIGKILL)
        while len(set(workers(server.process.pid)) - {first}) < 2 and time.monotonic() < end:
            time.sleep(0.1)
        assert len(set(workers(server.process.pid)) - {first, second}) == 1


def test_a_route_is_read_once_when_it_is_first_asked() -> None:
    def twice(n: int) -> int:
        return 2 * n

    route = LateRoute("/twice/{n}", twice, methods=["get"])
    scope = {"type": "http", "method": "GET", "path": "/twice/4", "root_path": ""}
    assert route.matches(scope)[0] is Match.FULL
    assert "dependant" not in vars(route)
    with ThreadPoolExecutor(8) as threads:
        assert len(set(threads.map(lambda _: id(route.dependant), range(8)))) == 1
    assert (route.path, route.methods, route.response_model, route.name) == ("/twice/{n}", {"GET"}, int, "twice")
    with pytest.raises(AttributeError, match="nothing"):
        _ = route.nothing


def test_the_next_start_sweeps_what_a_killed_service_left(tmp_path: Path) -> None:
    for name in ("killed", "alive", "fresh"):
        (tmp_path / f"palate-figures-{name}").mkdir()
        (tmp_path / f"palate-figures-{name}" / "lock").touch()
        (tmp_path / f"palate-figures-{name}" / "counter.db").touch()
    (tmp_path / "palate-figures-unknown").mkdir()
    long_ago = time.time() - 3600
    for name in ("killed", "alive"):
        os.utime(tmp_path / f"palate-figures-{name}" / "lock", (long_ago, long_ago))
    with (tmp_path / "palate-figures-alive" / "lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        sweep(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "palate-figures-alive",
        "palate-figures-fresh",
        "palate-figures-unknown",
    ]
