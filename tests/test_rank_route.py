"""The client's own items in order (`/v1/rank`), named scenarios, and the rows of a page."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from databases import new_database, url
from httpx2 import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient
from test_serve import ids, problem

from palate import IALS
from palate.data.contexts import MOST_PLACES
from palate.errors import DataError, SettingError, StoreAway, UnknownId
from palate.live.scenarios import LatestScenarios
from palate.live.service import Live
from palate.live.training import train
from palate.ranking.request import Cap, ListRequest, Pin
from palate.serve.app import create_app
from palate.serve.settings import Settings
from palate.store import scenarios as stored
from palate.store.backup import backup, restore
from palate.store.events import Event, Store
from palate.store.items import Item
from palate.store.keys import Keys
from palate.store.scenarios import Scenarios
from palate.store.versions import Versions

__all__ = ["url"]
USERS, ITEMS = 23, 20
NEW = ("new1", "new2", "new3")  # after the training: two users liked the second, none the others
GONE, HIDDEN = "gone", "i7"  # removed; not available


def fill(store: Store, folder: Path) -> None:
    """Store users, items and a model, and items that came after it."""
    items = store.items
    items.put(Item(f"i{n}", {"kind": "abc"[n % 3], "price": n}, n != 7) for n in range(ITEMS))
    items.put([Item(GONE, {})])
    moments = enumerate((u, n) for u in range(USERS) for n in range(ITEMS) if (n - u) % ITEMS < 3 + u % 3)
    store.append([Event(f"u{u}", f"i{n}", "like", 10**15 + m) for m, (u, n) in moments])
    store.append([Event("u1", "i12", "dislike", 10**15 + 999)])
    versions = Versions(store, folder)
    versions.activate(train(store, versions, IALS(dim=4, epochs=3)).version.number)
    items.put([Item(name, {"kind": "a"}) for name in NEW])
    store.append([Event(f"v{n}", "new2", "like", 10**15 + 2000 + n) for n in range(2)])
    items.remove([GONE])


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def shop(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("shop")
    place = Settings(store=new_database(request.param, folder), models=str(folder / "models"))
    with Store.open(place.store) as store:
        fill(store, folder / "models")
    return place


@pytest.fixture(scope="module")
def client(shop: Settings) -> Iterator[Client]:
    with TestClient(create_app(shop)) as client:
        yield client


@pytest.fixture(scope="module")
def other(shop: Settings) -> Iterator[Client]:
    """Another worker over the same store."""
    with TestClient(create_app(shop)) as client:
        yield client


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live]:
    with Store.open(tmp_path / "shop.db") as store:
        fill(store, tmp_path / "shop.models")
        yield Live(store, Versions(store))


def rank(client: Client, items: list[Any], **fields: Any) -> dict[str, Any]:
    answer = client.post("/v1/rank", json={"items": items, **fields})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def order(answer: dict[str, Any]) -> list[str]:
    return [item["item_id"] for item in answer["items"]]


# The client's own items


def test_items_come_in_the_order_of_the_list(client: Client) -> None:
    for user in ("u0", "u1", "u5"):
        asked = {"user_id": user, "k": ITEMS, "keep_seen": True, "explore": 0}
        whole = client.post("/v1/recommend", json=asked).json()["items"]
        some = [f"i{n}" for n in (3, 17, 0, 9, 5, 2)]
        answer = rank(client, some, user_id=user)
        expected = [item for item in whole if item["item_id"] in some]
        assert order(answer) == [item["item_id"] for item in expected]
        for item, same in zip(answer["items"], expected, strict=True):
            assert item == {**same, "score": pytest.approx(item["score"], rel=1e-5)}
            assert item["source"] == "personal"
        assert answer["items"][0]["because"]
        assert answer.keys() == {"id", "items", "model", "cursor", "reason", "unknown"}
        assert (answer["cursor"], answer["reason"], answer["unknown"]) == (None, None, [])


def test_every_item_of_the_catalogue_comes_once(client: Client) -> None:
    asked = ["?", "i1", GONE, "i12", HIDDEN, "i1", "new1", "?", "i3"]  # u1 has seen i1 and dislikes i12
    answer = rank(client, asked, user_id="u1")
    assert sorted(order(answer)) == sorted({"i1", "i12", HIDDEN, "new1", "i3"})
    assert answer["unknown"] == ["?", GONE]
    assert order(answer)[-1] == "new1"
    nothing = rank(client, ["?", GONE], user_id="u1")
    assert (nothing["items"], nothing["unknown"]) == ([], ["?", GONE])
    assert nothing["reason"] == "none of the items is in the catalogue"


def test_items_that_the_model_does_not_know_come_behind_by_popularity(client: Client) -> None:
    answer = rank(client, ["new3", "new2", "i2", "new1", "i4"], user_id="u3")
    assert order(answer)[2:] == ["new2", "new3", "new1"]  # as given where they are as popular
    assert [item["source"] for item in answer["items"]] == ["personal"] * 2 + ["popular"] * 3
    assert [item["reason"] for item in answer["items"][2:]] == ["by popularity"] * 3
    assert order(rank(client, ["new1", "new3", "new2", "i4"], user_id="u3"))[1:] == ["new2", "new1", "new3"]


def test_a_user_without_events_gets_them_by_popularity(client: Client) -> None:
    popular = [item["item_id"] for item in client.get(f"/v1/recommend?k={ITEMS}&explore=0").json()["items"]]
    some = ["i9", "i0", "i4", "i11"]
    for fields in ({}, {"user_id": "nobody"}):
        answer = rank(client, some, **fields)
        scores = [item["score"] for item in answer["items"]]
        assert scores == sorted(scores, reverse=True)
        assert {item["source"] for item in answer["items"]} == {"popular"}
        assert {*order(answer)} == {*some} <= {*popular}


def test_a_history_ranks_as_in_a_session(client: Client) -> None:
    history: list[Any] = ["i3", {"item_id": "i4", "event_type": "view"}]
    asked = {"history": history, "k": ITEMS, "keep_seen": True, "explore": 0}
    some = ["i16", "i4", "i8", "i1"]
    whole = ids(client.post("/v1/recommend/session", json=asked))
    answer = rank(client, some, history=history)
    assert order(answer) == [item for item in whole if item in some]
    assert {item["source"] for item in answer["items"]} == {"session"}
    both = (rank(client, some, user_id="u9", **fields)["items"] for fields in ({}, {"history": history}))
    assert next(both)[0]["score"] != next(both)[0]["score"]


def test_rules_hold_among_the_items(client: Client) -> None:
    some = [f"i{n}" for n in range(9)]
    plain = order(rank(client, some, user_id="u0"))
    last = plain[-1]
    assert order(rank(client, some, user_id="u0", pin=[{"item_id": last, "position": 2}]))[1] == last
    boost = {"boost": [{"condition": "kind = 'b'", "factor": 1e6}], "user_id": "u0"}
    boosted = order(rank(client, some, **boost))
    whole = ids(client.post("/v1/recommend", json={"k": ITEMS, "keep_seen": True, "explore": 0, **boost}))
    assert boosted != plain
    assert [each for each in boosted if each != HIDDEN] == [each for each in whole if each in some]
    capped = order(rank(client, some, user_id="u0", cap=[{"attribute": "kind", "most": 1}]))
    assert capped == [next(each for each in plain if int(each[1:]) % 3 == kind) for kind in _kinds(plain)]
    tailed = order(rank(client, some, user_id="u0", long_tail=1))
    assert tailed != plain
    assert {*tailed} == {*some}
    off = {
        "long_tail": 0,
        "diversify": {"by": "kind", "strength": 0},
        "calibrate": {"attribute": "kind", "strength": 0},
    }
    assert order(rank(client, some, user_id="u0", **off)) == plain
    answer = rank(client, some, user_id="u0", attributes=["price"], calibrate={"attribute": "sort"})
    assert [item["attributes"] for item in answer["items"]] == [{"price": int(each[1:])} for each in plain]
    assert "sort" in answer["warnings"][0]


def _kinds(items: list[str]) -> list[int]:
    return list(dict.fromkeys(int(each[1:]) % 3 for each in items))


def test_a_pin_is_one_of_the_items(client: Client) -> None:
    detail = problem(client.post("/v1/rank", json={"items": ["i1"], "pin": [{"item_id": "i2", "position": 1}]}), 422)[
        "detail"
    ]
    assert detail == "pin: item 'i2' is not among those of the request"
    for name in ("?", GONE):
        answer = rank(client, ["i1", name], pin=[{"item_id": name, "position": 1}])
        assert (order(answer), answer["unknown"]) == (["i1"], [name])
    hidden = rank(client, ["i1", HIDDEN], pin=[{"item_id": HIDDEN, "position": 1}])
    assert order(hidden) == [HIDDEN, "i1"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "items"),
        ({"items": []}, "items"),
        ({"items": ["i1"] * 1001}, "items"),
        ({"items": [1.5]}, "items.0"),
        ({"items": [""]}, "items.0"),
        ({"items": ["i1"], "k": 3}, "k"),
        ({"items": ["i1"], "filter": "price < 3"}, "filter"),
        ({"items": ["i1"], "history": [{}]}, "history.0"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_bad_items_are_refused(client: Client, body: dict[str, Any], words: str) -> None:
    assert words in problem(client.post("/v1/rank", json=body), 422)["detail"]


def test_a_thousand_items_are_ranked(client: Client) -> None:
    answer = rank(client, [*range(990), *(f"i{n}" for n in range(10))], user_id="u2", diversify=0.5)
    assert {*order(answer)} == {f"i{n}" for n in range(10)}
    assert answer["unknown"] == [str(n) for n in range(990)]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_each_item_is_ranked_or_unknown(client: Client, data: st.DataObject) -> None:
    names = st.sampled_from(["?", "??", GONE, *NEW, *(f"i{n}" for n in range(ITEMS))])
    asked = data.draw(st.lists(names, min_size=1, max_size=40))
    fields: dict[str, Any] = data.draw(st.fixed_dictionaries({}, optional={"user_id": st.sampled_from(["u1", "v0"])}))
    stage: dict[str, Any] = data.draw(st.fixed_dictionaries({}, optional={"long_tail": st.floats(0, 1)}))
    answer = rank(client, asked, **fields, **stage)
    assert len({*order(answer)}) == len(answer["items"])
    assert {*order(answer), *answer["unknown"]} == {*asked}
    assert answer["unknown"] == list(dict.fromkeys(each for each in asked if each in ("?", "??", GONE)))
    known = [item["source"] for item in answer["items"]]
    assert known == sorted(known)  # personal before popular


def test_a_short_list_of_some_items_has_pages(live: Live) -> None:
    """`only` is a field of any request of the recommender."""
    only = ("i2", "i3", "new1", "i5", "i9", "?")
    whole = [item.item_id for item in live.recommend(ListRequest(user_id="u0", only=only, k=9, explore=0)).items]
    first = live.recommend(ListRequest(user_id="u0", only=only, k=3, explore=0))
    assert first.cursor is not None
    rest = live.recommend(ListRequest(user_id="u0", only=only, k=3, explore=0, cursor=first.cursor))
    assert [item.item_id for item in (*first.items, *rest.items)] == whole
    cheap = live.recommend(ListRequest(user_id="u0", only=only, k=9, explore=0, filter="price < 4"))
    assert {item.item_id for item in cheap.items} == {"i2", "i3"}
    with pytest.raises(SettingError, match=r"only='1001 items': there may be 1,000"):
        ListRequest(only=("x",) * (MOST_PLACES + 1))


# Scenarios

HOME: dict[str, Any] = {
    "k": 4,
    "filter": "price < 15",
    "exclude": ["i2"],
    "boost": [{"condition": "kind = 'a'", "factor": 3}],
    "pin": [{"item_id": "i9", "position": 2}],
    "cap": [{"attribute": "kind", "most": 2}],
    "diversify": 0.4,
    "long_tail": 0.3,
    "keep_seen": True,
    "explore": 0,
    "near": ["i4"],
    "attributes": ["price"],
}


@pytest.fixture
def home(client: Client) -> Iterator[str]:
    assert client.put("/v1/scenarios/home", json=HOME).status_code == 200
    yield "home"
    client.delete("/v1/scenarios/home")


def test_a_scenario_stands_for_its_fields(client: Client, home: str) -> None:
    for user in ("u0", "u4", "nobody"):
        expected = client.post("/v1/recommend", json={"user_id": user, **HOME}).json()
        assert len(expected["items"]) == 4
        assert client.get(f"/v1/recommend?user_id={user}&scenario={home}").json() == expected
        assert client.post("/v1/recommend", json={"user_id": user, "scenario": home}).json() == expected
    history = {"history": ["i3", "i4"]}
    session = client.post("/v1/recommend/session", json=history | HOME).json()
    assert client.post("/v1/recommend/session", json=history | {"scenario": home}).json() == session


def test_fields_of_the_request_win(client: Client, home: str) -> None:
    own: dict[str, Any] = {"k": 6, "filter": None, "diversify": None, "boost": [], "explore": 0.5}
    expected = client.post("/v1/recommend", json={"user_id": "u0", **HOME, **own}).json()
    assert client.post("/v1/recommend", json={"user_id": "u0", "scenario": home, **own}).json() == expected
    assert expected != client.post("/v1/recommend", json={"user_id": "u0", "scenario": home}).json()
    query = "k=3&keep_seen=false&long_tail=0&calibrate=kind:0.9&exclude=i5,i6"
    stated = {"k": 3, "keep_seen": False, "long_tail": 0, "exclude": ["i5", "i6"]}
    stated["calibrate"] = {"attribute": "kind", "strength": 0.9}
    expected = client.post("/v1/recommend", json={"user_id": "u0", **HOME, **stated}).json()
    assert client.get(f"/v1/recommend?user_id=u0&scenario={home}&{query}").json() == expected


def test_a_scenario_is_kept_as_it_was_put(client: Client, home: str) -> None:
    shown = {"name": home, **HOME}
    assert client.get(f"/v1/scenarios/{home}").json() == shown
    assert client.put("/v1/scenarios/home", json=shown).json() == shown
    for name in ("a/b", "汉字 😀", "scenario", "x" * 100):
        assert client.put(f"/v1/scenarios/{name}", json={"k": 2, "filter": None}).json()["name"] == name
        assert client.get(f"/v1/scenarios/{name}").json() == {"name": name, "k": 2, "filter": None}
        assert len(client.get("/v1/recommend", params={"scenario": name}).json()["items"]) == 2
    listed = client.get("/v1/scenarios").json()["scenarios"]
    names = [each["name"] for each in listed]
    assert names == sorted(names)
    assert {home, "a/b", "汉字 😀", "scenario", "x" * 100} == {*names}
    assert shown in listed
    after = client.get("/v1/scenarios", params={"limit": 2, "after": names[1]}).json()["scenarios"]
    assert after == listed[2:4]
    for name in names[:-1]:
        assert client.delete(f"/v1/scenarios/{name}").json() == {"removed": 1}
    assert client.delete(f"/v1/scenarios/{names[0]}").json() == {"removed": 0}
    assert [each["name"] for each in client.get("/v1/scenarios").json()["scenarios"]] == names[-1:]
    client.delete(f"/v1/scenarios/{names[-1]}")


def test_an_unknown_scenario_is_named(client: Client) -> None:
    for answer in (
        client.get("/v1/scenarios/away"),
        client.get("/v1/recommend?scenario=away"),
        client.post("/v1/recommend", json={"scenario": "away"}),
        client.post("/v1/recommend/session", json={"scenario": "away", "history": ["i1"]}),
        client.post("/v1/page", json={"rows": [{"k": 1}, "away"]}),
        client.post("/v1/page", json={"rows": [{"scenario": "away"}]}),
    ):
        assert problem(answer, 404)["detail"] == "scenario 'away' is unknown"
    assert problem(client.get("/v1/recommend?scenario=a%00b"), 404)
    assert "scenario" in problem(client.get("/v1/recommend?scenario="), 422)["detail"]
    assert "scenario" in problem(client.get("/v1/recommend?scenario=a&scenario=b"), 422)["detail"]


@pytest.mark.parametrize(
    ("fields", "status", "words"),
    [
        ({"k": 0}, 422, "k: 0"),
        ({"k": "4"}, 422, "k"),
        ({"colour": "red"}, 422, "colour"),
        ({"user_id": "u1"}, 422, "user_id"),
        ({"cursor": "x"}, 422, "cursor"),
        ({"scenario": "other"}, 422, "scenario"),
        ({"filter": "price <"}, 400, "condition"),
        ({"boost": [{"condition": "nothing(1)", "factor": 2}]}, 400, "condition"),
        ({"filter": "x" * 4001}, 422, "filter"),
        ({"diversify": 2}, 422, "diversify"),
        ({"pin": [{"item_id": "?", "position": 1}]}, 422, "item '?' is unknown"),
        ({"pin": [{"item_id": f"i{n}", "position": 1} for n in range(2)]}, 422, "two pins"),
        ({"exclude": ["x" * 1000] * 40}, 422, "bytes as JSON; there can be 32,768"),
        ({"name": "away"}, 422, "the address names 'bad'"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_bad_scenario_is_refused_when_it_is_put(
    client: Client, fields: dict[str, Any], status: int, words: str
) -> None:
    client.put("/v1/scenarios/bad", json={"k": 3})
    assert words in problem(client.put("/v1/scenarios/bad", json=fields), status)["detail"]
    assert client.get("/v1/scenarios/bad").json() == {"name": "bad", "k": 3}
    client.delete("/v1/scenarios/bad")


def test_what_a_scenario_names_in_vain_is_a_warning(client: Client) -> None:
    answer = client.put("/v1/scenarios/odd", json={"filter": "colour = 'red'"}).json()
    assert "colour" in answer.pop("warnings")[0]
    assert client.get("/v1/scenarios/odd").json() == answer
    client.delete("/v1/scenarios/odd")


@pytest.mark.parametrize("name", ["x" * 101, "a\0b"], ids=["long", "NUL"])
def test_a_bad_name_is_refused(client: Client, name: str) -> None:
    place = f"/v1/scenarios/{name.replace(chr(0), '%00')}"
    assert "scenario: the name" in problem(client.put(place, json={}), 422)["detail"]
    assert problem(client.get(place), 404)
    assert "scenario: the name" in problem(client.delete(place), 422)["detail"]


def test_another_worker_sees_a_change_at_once(client: Client, other: Client) -> None:
    asked = {"user_id": "u0", "scenario": "row"}
    for k in (2, 5):
        client.put("/v1/scenarios/row", json={"k": k})
        assert len(ids(other.post("/v1/recommend", json=asked))) == k
        assert len(ids(client.post("/v1/recommend", json=asked))) == k
    other.delete("/v1/scenarios/row")
    problem(client.post("/v1/recommend", json=asked), 404)
    problem(other.post("/v1/recommend", json=asked), 404)


def test_scopes(tmp_path: Path) -> None:
    with Store.open(tmp_path / "shop.db") as store:
        keys = {scope: Keys(store).create(scope, [scope]) for scope in ("read", "write", "admin")}
    with TestClient(create_app(Settings(store=str(tmp_path / "shop.db"), keys=True))) as client:

        def status(scope: str, method: str, path: str, body: object = None) -> int:
            headers = {"X-API-Key": keys[scope]} if scope in keys else {}
            return client.request(method, path, json=body, headers=headers).status_code

        for scope, read, change in (("read", 200, 403), ("write", 403, 403), ("admin", 200, 200), ("", 401, 401)):
            assert status(scope, "PUT", "/v1/scenarios/home", {"k": 3}) == change
            assert status(scope, "GET", "/v1/scenarios") == read
            assert status(scope, "POST", "/v1/rank", {"items": ["i1"]}) == read
            assert status(scope, "POST", "/v1/page", {"rows": [{"k": 3}]}) == read
        assert status("read", "GET", "/v1/scenarios/home") == 200
        assert status("read", "DELETE", "/v1/scenarios/home") == 403
        assert status("admin", "DELETE", "/v1/scenarios/home") == 200


def test_a_store_keeps_scenarios(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store.open(url) as store, Store.open(url) as other:
        store.set_state("scenario", "of another use")
        store.set_state("scenario!", "of another use")
        for name in ("b", "a", "ä"):
            store.scenarios.put(name, f'{{"k":{ord(name)}}}')
        assert list(other.scenarios.page()) == ["a", "b", "ä"]
        assert other.scenarios.page(1, "a") == {"b": '{"k":98}'}
        store.scenarios.put("b", "{}")
        assert other.scenarios.get("b") == "{}"
        assert (other.scenarios.remove("b"), other.scenarios.remove("b"), store.scenarios.get("b")) == (1, 0, None)
        monkeypatch.setattr(stored, "MOST_SCENARIOS", 2)
        store.scenarios.put("a", "{}")  # one that is there
        with pytest.raises(DataError, match="scenario 'c' cannot be added: there are 2 others"):
            store.scenarios.put("c", "{}")
        backup(store, tmp_path / "copy")
    with restore(tmp_path / "copy", new_database("sqlite", tmp_path)) as again:
        assert list(again.scenarios.page()) == ["a", "ä"]


def test_a_scenario_used_before_counts_while_the_store_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Store.open(tmp_path / "shop.db") as store:
        latest = LatestScenarios(store.scenarios)
        store.scenarios.put("home", "{}")
        assert latest.fields("home") == "{}"
        store.scenarios.put("new", "{}")

        def away(*_: object) -> None:
            raise StoreAway("away", "away")

        with monkeypatch.context() as patch:
            patch.setattr(Scenarios, "get", away)
            assert latest.fields("home") == "{}"
            with pytest.raises(StoreAway):
                latest.fields("new")
        store.scenarios.remove("home")
        for _ in range(2):
            with pytest.raises(UnknownId, match="scenario 'home' is unknown"):
                latest.fields("home")


# Rows of a page


def page(client: Client, *rows: object, **fields: Any) -> list[dict[str, Any]]:
    answer = client.post("/v1/page", json={"rows": rows, **fields})
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["rows"]
    return found


def test_no_row_shows_an_item_of_a_row_above(client: Client, home: str) -> None:
    for user in ("u0", "u6", "nobody"):
        rows = page(
            client,
            {"k": 3, "explore": 0},
            home,
            {"name": "more", "scenario": home, "k": 3, "near": []},
            {"name": "rest", "k": 20},
            user_id=user,
        )
        assert [row["name"] for row in rows] == [None, "home", "more", "rest"]
        shown = [order(row) for row in rows]
        every = [item for row in shown for item in row]
        assert len(every) == len({*every})
        first = client.post("/v1/recommend", json={"user_id": user, "k": 3, "explore": 0}).json()
        assert {**rows[0], "cursor": first["cursor"]} == {"name": None, **first}
        pins = [pin for pin in HOME["pin"] if pin["item_id"] not in shown[0]]
        fields = HOME | {"exclude": [*HOME["exclude"], *shown[0]], "pin": pins}
        second = client.post("/v1/recommend", json={"user_id": user, **fields}).json()
        assert {**rows[1], "cursor": second["cursor"]} == {"name": "home", **second}
        assert all(item["attributes"].keys() == {"price"} for item in rows[2]["items"])


def test_a_pin_of_an_item_shown_above_gives_way(client: Client) -> None:
    pinned = {"k": 3, "pin": [{"item_id": "i9", "position": 1}]}
    rows = page(client, pinned, {**pinned, "k": 2}, {**pinned, "exclude": ["i1"]}, user_id="u0")
    assert order(rows[0])[0] == "i9"
    assert not any("i9" in order(row) for row in rows[1:])
    assert [len(row["items"]) for row in rows] == [3, 2, 3]


def test_the_next_page_of_a_row_repeats_no_row_above(client: Client) -> None:
    rows = page(client, {"k": 3}, {"k": 2, "keep_seen": True}, user_id="u0")
    asked = {"user_id": "u0", "k": ITEMS, "keep_seen": True, "cursor": rows[1]["cursor"]}
    later = ids(client.post("/v1/recommend", json=asked))
    assert later
    assert not {*later} & {*order(rows[0]), *order(rows[1])}


def test_a_row_that_nothing_is_left_for_says_so(client: Client) -> None:
    rows = page(client, {"k": 100, "keep_seen": True}, {"name": "empty", "k": 5, "keep_seen": True}, user_id="v0")
    assert rows[1]["items"] == []
    assert rows[1]["reason"] == "every item there is was seen, excluded or is not available"


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({}, 422, "rows"),
        ({"rows": []}, 422, "rows"),
        ({"rows": [{"k": 1}] * 21}, 422, "rows"),
        ({"rows": ["x" * 101]}, 422, "rows.0"),
        ({"rows": [{"k": 1}, {"k": 0}]}, 422, "rows.1.k: 0"),
        ({"rows": [{"user_id": "u1"}]}, 422, "rows.0.user_id"),
        ({"rows": [{"k": 600}, {"k": 401}]}, 422, "1,001 places together"),
        ({"rows": [{"near": ["i1"] * 60}] * 2}, 422, "120 items in near together"),
        ({"rows": [{"filter": f"price < {n}{' ' * 3900}"} for n in range(3)]}, 422, "characters of conditions"),
        *(
            ({"rows": [{name: [rule] * 11}] * 2}, 422, f"22 rules in {name} together': there may be 20")
            for name, rule in (
                ("boost", {"condition": "price < 9", "factor": 2}),
                ("cap", {"attribute": "kind", "most": 1}),
                ("share", {"condition": "price < 9", "least": 0.1}),
            )
        ),
        ({"rows": [{"pin": [{"item_id": "i1", "position": 1}]}] * 20 + [{}]}, 422, "rows"),
        (
            {"rows": [{"diversify": 0.5, "long_tail": 0.5, "calibrate": {"attribute": "kind"}}] * 14},
            422,
            "42 stages together': there may be 40",
        ),
        ({"rows": [{"explore": {}}] * 11}, 422, "11 rows by draws together': there may be 10"),
        ({"rows": [{"k": 1}, {"filter": "price <"}]}, 400, "condition"),
        ({"rows": [3]}, 422, "rows.0"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_bad_page_is_refused(client: Client, body: dict[str, Any], status: int, words: str) -> None:
    assert words in problem(client.post("/v1/page", json=body), status)["detail"]


def test_rows_with_one_condition_count_it_once(client: Client) -> None:
    rows = page(client, *[{"k": 1, "filter": f"price < 19{' ' * 3900}"}] * 5, user_id="u0")
    assert len({item for row in rows for item in order(row)}) == 5


def test_rules_and_stages_up_to_the_bound_make_a_page(client: Client) -> None:
    row = {"k": 1, "boost": [{"condition": "price < 9", "factor": 2}], "diversify": 0.5, "long_tail": 0.5}
    assert len(page(client, *[row] * 20, user_id="u0")) == 20


def test_pages_of_the_recommender_are_bounded(live: Live) -> None:
    lists = live.page([ListRequest(user_id="u0", k=2), ListRequest(user_id="u0", k=2, pin=(Pin("i9", 1),))])
    assert len({item.item_id for made in lists for item in made.items}) == 4
    with pytest.raises(SettingError, match="rows='0 rows': must be 1 to 20"):
        live.page([])
    with pytest.raises(SettingError, match=r"rows='1,010 places together': there may be 1,000"):
        live.page([ListRequest(k=505, cap=(Cap("kind", 1),))] * 2)


def test_the_fields_are_documented(client: Client) -> None:
    document = json.loads(client.get("/openapi.json").text)
    query = {each["name"] for each in document["paths"]["/v1/recommend"]["get"]["parameters"]}
    assert {"scenario", "user_id", "cursor", "diversify"} <= query
    schemas = document["components"]["schemas"]
    assert {"items", "history", "pin", "long_tail"} <= schemas["RankIn"]["properties"].keys()
    assert schemas["RankIn"]["properties"]["items"]["maxItems"] == MOST_PLACES
    assert {"scenario", "name", "filter", "cap"} <= schemas["RowIn"]["properties"].keys()
    assert not {"user_id", "cursor", "scenario"} & schemas["ScenarioIn"]["properties"].keys()
