"""Routes for users, single events, lists for many users, and trainings that a request starts."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from httpx2 import Client
from starlette.testclient import TestClient

from palate import IALS
from palate.files import lock
from palate.live.training import train
from palate.serve.app import create_app
from palate.serve.settings import Settings
from palate.serve.training import KEPT, LOCKED, training_arguments
from palate.store.events import Event, Store
from palate.store.items import Item
from palate.store.keys import Keys
from palate.store.transfer import import_log
from palate.store.versions import Versions


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("shop") / "shop.db"
    with Store.open(path) as store:
        store.items.put(Item(f"i{n}", {"title": f"Item {n}", "price": n}) for n in range(9))
        store.append([Event(f"u{n}", f"i{m % 9}", "like", 10**15 + m) for n in range(12) for m in range(n, n + 3)])
        train(store, Versions(store), IALS(dim=4, epochs=2))
    return path


@pytest.fixture(scope="module")
def client(shop: Path) -> Iterator[TestClient]:
    with TestClient(create_app(Settings(store=str(shop)))) as client:
        yield client


# Similar items, pages, times


def test_similar_items_come_with_attributes(client: Client) -> None:
    answer = client.get("/v1/similar/i3?k=4&attributes=title,price&attributes=colour").json()
    assert [each["attributes"]["title"] for each in answer["items"]] == [
        f"Item {each['item_id'][1:]}" for each in answer["items"]
    ]
    assert answer["items"][0]["attributes"].keys() == {"title", "price", "colour"}
    assert "colour" in answer["warnings"][0]
    assert "attributes" not in client.get("/v1/similar/i3?k=4").json()["items"][0]


@pytest.mark.parametrize(("path", "name", "total"), [("users", "users", 12), ("items", "items", 9)])
def test_pages_lead_to_the_next(client: Client, path: str, name: str, total: int) -> None:
    found: list[Any] = []
    after: str | None = ""
    for _ in range(total):
        page = client.get(f"/v1/{path}", params={"limit": 4, "after": after}).json()
        found += page[name]
        after = page["next"]
        if after is None:
            break
    assert len(found) == total == len({json.dumps(each) for each in found})


def test_all_times_have_one_form(client: Client) -> None:
    models = client.get("/v1/models").json()["models"][0]
    listed = client.get("/v1/recommend?user_id=u1").json()["model"]["created"]
    event = client.get("/v1/users/u1").json()["events"][0]["timestamp"]
    item = client.get("/v1/items/i1").json()
    asked = client.delete("/v1/users/nobody").json()["receipt"]
    receipt = client.get(f"/v1/receipts/{asked}").json()["asked"]
    assert models["created"] == listed
    for text in (models["created"], models["until"], event, item["created"], item["updated"], receipt):
        assert text.endswith("Z"), text
        assert text[10] == "T"


# Users and their attributes


def test_attributes_of_a_user_are_kept_changed_and_returned(client: Client) -> None:
    assert client.put("/v1/users/ann", json={"attributes": {"country": "de", "age": 30}}).status_code == 200
    told = client.get("/v1/users/ann").json()
    assert (told["attributes"], told["events"]) == ({"country": "de", "age": 30}, [])
    changed = client.patch("/v1/users/ann", json={"attributes": {"age": None, "vip": True}}).json()
    assert changed == {"user_id": "ann", "attributes": {"country": "de", "vip": True}}
    assert client.post("/v1/users", json=[{"user_id": "ann"}, {"user_id": 7, "attributes": {"age": 1}}]).json() == {
        "stored": 2
    }
    assert client.get("/v1/users/ann").json()["attributes"] == {}
    assert client.get("/v1/users/7").json()["attributes"] == {"age": 1}
    assert {"ann", "7"} <= set(client.get("/v1/users?limit=1000").json()["users"])
    for user in ("ann", "7"):
        client.delete(f"/v1/users/{user}")
    assert client.get("/v1/users/7").json()["attributes"] == {}


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "rule"),
    [
        ("PUT", "ann", {"user_id": "bob", "attributes": {}}, 422, "the address names 'ann'"),
        ("PUT", "ann", {"attributes": {"x": [[[[1] * 3] * 3] * 3] * 3}, "more": 1}, 422, "more"),
        ("PUT", "ann", {"attributes": ["a"]}, 422, "dictionary"),
        ("PATCH", "nobody", {"attributes": {"a": 1}}, 404, "user 'nobody' is unknown"),
        ("PUT", "ann", {"attributes": {"": 1}}, 422, "text of 1 to 1,000 characters"),
    ],
)
def test_bad_attributes_of_users_are_refused(
    client: Client, method: str, path: str, body: object, status: int, rule: str
) -> None:
    answer = client.request(method, f"/v1/users/{path}", json=body)
    assert answer.status_code == status
    assert rule in answer.json()["detail"]
    assert client.get("/v1/users/ann").json()["attributes"] == {}


def test_a_key_that_only_writes_reads_no_attributes_back(tmp_path: Path) -> None:
    path = tmp_path / "shop.db"
    with Store.open(path) as store:
        secret = Keys(store).create("w", ["write"])
    with TestClient(create_app(Settings(store=str(path), keys=True)), headers={"X-API-Key": secret}) as client:
        client.put("/v1/users/ann", json={"attributes": {"country": "de"}})
        assert client.patch("/v1/users/ann", json={"attributes": {"age": 3}}).json()["attributes"] == {"age": 3}
        assert client.get("/v1/users/ann").status_code == 403
        assert client.post("/v1/train").status_code == 403


# Single events


def test_one_event_is_deleted_and_stays_out_of_imports(client: Client, shop: Path, tmp_path: Path) -> None:
    many = [
        {"user_id": "del", "item_id": "i1", "event_type": "like", "event_id": "a/1", "timestamp": 1_700_000_000},
        {"user_id": "del", "item_id": "i2", "event_type": "view", "timestamp": 1_700_000_001},
        {"user_id": "del", "item_id": "i2", "event_type": "view", "timestamp": 1_700_000_002},
    ]
    client.post("/v1/events", json=many)
    assert "i1" not in [each["item_id"] for each in client.get("/v1/recommend?user_id=del&k=9").json()["items"]]
    assert client.delete("/v1/events/a/1").json() == {"deleted": 1}
    assert client.delete("/v1/events/a/1").status_code == 404
    assert "i1" in [each["item_id"] for each in client.get("/v1/recommend?user_id=del&k=9").json()["items"]]
    asked = {"user_id": "del", "item_id": "i2", "event_type": "view"}
    assert client.delete("/v1/events", params=asked | {"timestamp": "1700000001"}).json() == {"deleted": 1}
    assert client.delete("/v1/events", params=asked | {"event_type": "like"}).json() == {"deleted": 0}
    left = client.get("/v1/users/del").json()["events"]
    assert [each["timestamp"] for each in left] == ["2023-11-14T22:13:22Z"]
    (tmp_path / "log.csv").write_text(
        "user_id,item_id,event_type,timestamp\ndel,i1,like,1700000000\ndel,i2,view,1700000001\n"
    )
    with Store.open(shop) as store:
        assert import_log(store, tmp_path / "log.csv")[0] == 0
    assert client.delete("/v1/events", params={"user_id": "del"}).status_code == 422
    client.delete("/v1/users/del")


# Lists of many users


def test_lists_of_many_users_are_those_of_each(client: Client) -> None:
    fields = {"k": 4, "filter": "price < 8", "explore": 0, "attributes": ["price"]}
    users = ["u1", "u5", "new", "u1"]
    lists = client.post("/v1/recommend", json=fields | {"user_ids": users}).json()["lists"]
    assert [each["user_id"] for each in lists] == ["u1", "u5", "new"]
    for each in lists:
        alone = client.post("/v1/recommend", json=fields | {"user_id": each["user_id"]}).json()
        assert {name: value for name, value in each.items() if name != "user_id"} == alone


@pytest.mark.parametrize(
    ("body", "rule"),
    [
        ({"user_ids": [f"u{n}" for n in range(101)]}, "at most 100"),
        ({"user_ids": []}, "at least 1"),
        ({"user_ids": ["a"], "user_id": "b"}, "neither with `user_id`"),
        ({"user_ids": [f"u{n}" for n in range(100)], "k": 101}, "'10,100 places together': there may be 10,000"),
        ({"user_ids": [f"u{n}" for n in range(60)], "diversify": 0.3, "long_tail": 0.1}, "120 stages together"),
        ({"user_ids": [f"u{n}" for n in range(11)], "explore": {}}, "11 lists by draws together"),
    ],
)
def test_lists_of_many_users_are_bounded(client: Client, body: object, rule: str) -> None:
    answer = client.post("/v1/recommend", json=body)
    assert answer.status_code == 422
    assert rule in answer.json()["detail"]


# Trainings


def _ended(client: Client) -> dict[str, Any]:
    end = time.monotonic() + 60
    while (found := client.get("/v1/train").json())["state"] == "running" and time.monotonic() < end:
        time.sleep(0.05)
    return dict(found)


def test_a_request_trains_one_model_at_a_time(client: Client, shop: Path) -> None:
    assert client.get("/v1/train").json() == {"state": "none"}
    begun = client.post("/v1/train", json={"recipe": "popularity"})
    assert (begun.status_code, begun.json()["state"]) == (202, "running")
    again = client.post("/v1/train")
    assert (again.status_code, "a training runs" in again.json()["detail"]) == (409, True)
    with Store.open(shop) as store:
        other = TestClient(create_app(Settings(store=str(shop))))  # another process of the service says the same
        assert other.get("/v1/train").json()["state"] == "running"
        assert other.post("/v1/train").status_code == 409
        done = _ended(client)
        assert done["state"] == "done", done
        newest = Versions(store).list()[-1]
    assert (done["version"], newest.about["recipe"]) == (newest.number, "Popularity")
    assert (done["activated"], done["why"]) == (newest.about["activated"], newest.about["verdict"])
    assert done["started"] < done["ended"]
    assert any("version" in line for line in done["log"])


def test_a_training_that_fails_says_why(tmp_path: Path) -> None:
    with TestClient(create_app(Settings(store=str(tmp_path / "empty.db")))) as client:
        client.post("/v1/train", json={"recipe": "popularity"})
        failed = _ended(client)
    assert failed["state"] == "failed"
    assert "nothing to learn from" in failed["why"]


@pytest.mark.parametrize(
    ("recipe", "rule"),
    [
        ("best", "'best' is unknown; known are auto, "),
        ("pipeline", "'pipeline' needs settings"),
        ("private", "'private' spends privacy"),
    ],
)
def test_what_cannot_be_trained_is_refused(client: Client, recipe: str, rule: str) -> None:
    answer = client.post("/v1/train", json={"recipe": recipe})
    assert answer.status_code == 422
    assert rule in answer.json()["detail"]


def test_a_training_whose_process_was_killed_is_not_running(tmp_path: Path) -> None:
    with TestClient(create_app(Settings(store=str(tmp_path / "s.db")))) as client:
        folder = tmp_path / "s.models"
        folder.mkdir(exist_ok=True)
        (folder / KEPT).write_text(json.dumps({"state": "running"}))
        handle = os.open(folder / LOCKED, os.O_RDWR | os.O_CREAT)
        assert lock(handle)
        assert client.get("/v1/train").json()["state"] == "running"
        os.close(handle)
        assert client.get("/v1/train").json() == {"state": "failed", "why": "its process was killed"}


def test_a_training_takes_what_the_service_was_started_with() -> None:
    recipe = ("--recipe", "ials", "--set", "dim=8")
    settings = Settings(store="s.db", models="m", recipe=recipe, weights={"view": 2.0})
    assert training_arguments(settings) == [*recipe, *("--weights", "view:2.0", "--models", "m")]
    assert training_arguments(settings, "slist")[:3] == ["--recipe", "slist", "--weights"]
    assert training_arguments(Settings(store="s.db")) == ["--recipe", "auto", "--search", "10%"]
