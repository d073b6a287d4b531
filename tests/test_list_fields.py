"""Stages that a request brings, and those that the command line puts behind a recipe."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from conftest import Run
from httpx2 import Client
from starlette.testclient import TestClient
from test_rerank import CATALOGUE, ITEMS, LOG, RECIPE, genres_of
from test_serve import ids, problem

from palate import EASE, Calibrate, Diversify, LongTail, Pipeline, load
from palate.live.training import train
from palate.models.base import Recipe
from palate.serve.app import create_app, documented
from palate.serve.service import Service
from palate.serve.settings import Settings
from palate.store.events import Event, Store
from palate.store.items import Item
from palate.store.versions import Versions

USERS = [f"u{n}" for n in range(8)]
STAGES = (Diversify(0.6), Calibrate("genres", 0.7), LongTail(0.4))


def shop(path: Path, recipe: Recipe) -> Path:
    """Store what `test_rerank` fits, and train."""
    with Store.open(path) as store:
        genres = dict(enumerate(genres_of().to_list()))
        store.items.put([Item(f"i{n}", {} if own is None else {"genres": own}) for n, own in genres.items()])
        events = enumerate(LOG.to_frame().iter_rows(named=True))
        store.append([Event(each["user_id"], each["item_id"], "like", n + 1) for n, each in events])
        versions = Versions(store)
        versions.activate(train(store, versions, recipe).version.number)  # however the few events measure it
    return path


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    path = shop(tmp_path_factory.mktemp("plain") / "shop.db", RECIPE)
    with TestClient(create_app(Settings(store=str(path)))) as client:
        yield client


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    path = shop(tmp_path_factory.mktemp("staged") / "shop.db", Pipeline(RECIPE, STAGES))
    with TestClient(create_app(Settings(store=str(path)))) as client:
        yield client


def lists(client: Client, **fields: Any) -> list[list[str]]:
    return [
        ids(client.post("/v1/recommend", json={"user_id": user, "k": 6, "explore": 0, **fields})) for user in USERS
    ]


FIELDS: list[dict[str, Any]] = [
    {"diversify": 0.6},
    {"diversify": {"strength": 0.6, "by": "genres", "method": "mmr", "personal": False}},
    {"calibrate": {"attribute": "genres", "strength": 0.7}},
    {"long_tail": 0.4},
]


@pytest.mark.parametrize("fields", FIELDS, ids=str)
def test_a_field_changes_lists_and_leaves_others(plain: Client, fields: dict[str, Any]) -> None:
    before, changed = lists(plain), lists(plain, **fields)
    assert before != changed
    assert lists(plain) == before
    assert all(len(set(each)) == 6 for each in changed)
    off = {name: {**value, "strength": 0} if isinstance(value, dict) else 0 for name, value in fields.items()}
    assert lists(plain, **off) == before


def test_fields_are_the_stages_of_a_pipeline(plain: Client, staged: Client) -> None:
    fields = {"diversify": 0.6, "calibrate": {"attribute": "genres", "strength": 0.7}, "long_tail": 0.4}
    assert lists(plain, **fields) == lists(staged)
    model = Pipeline(RECIPE, STAGES).fit(LOG, CATALOGUE)
    offline = model.recommend(LOG.histories(USERS), 6).lists()
    assert offline != model.retriever.recommend(LOG.histories(USERS), 6).lists()


def test_a_field_takes_the_place_of_the_stage_of_its_kind(plain: Client, staged: Client) -> None:
    off = {"diversify": 0, "calibrate": {"attribute": "genres", "strength": 0}, "long_tail": 0}
    assert lists(staged, **off) == lists(plain)
    assert lists(staged, **(off | {"long_tail": 0.9})) == lists(plain, long_tail=0.9)


def test_a_query_has_the_plain_forms(plain: Client) -> None:
    for query, fields in (
        ("diversify=0.6", {"diversify": 0.6}),
        ("calibrate=genres:0.7", {"calibrate": {"attribute": "genres", "strength": 0.7}}),
        ("calibrate=genres", {"calibrate": {"attribute": "genres"}}),
        ("long_tail=0.4&diversify=1", {"long_tail": 0.4, "diversify": 1}),
    ):
        by_query = [ids(plain.get(f"/v1/recommend?user_id={user}&k=6&explore=0&{query}")) for user in USERS]
        assert by_query == lists(plain, **fields)
    session = {"history": ["i1", "i6", "i11"], "k": 6, "explore": 0}
    near = [ids(plain.post("/v1/recommend/session", json=session | more)) for more in ({}, {"long_tail": 0.9})]
    assert near[0] != near[1]


def test_what_a_stage_lacks_is_a_warning(plain: Client, tmp_path: Path) -> None:
    asked = {"user_id": "u1", "k": 6, "explore": 0}
    before = plain.post("/v1/recommend", json=asked).json()
    for fields, name in (
        ({"calibrate": {"attribute": "genre"}}, "calibrate"),
        ({"diversify": {"by": "genre"}}, "diversify"),
    ):
        answer = plain.post("/v1/recommend", json=asked | fields).json()
        assert answer.pop("warnings") == [f"{name}: no item has an attribute 'genre'; did you mean 'genres'?"]
        assert answer == before
    assert "warnings" not in plain.post("/v1/recommend", json=asked | FIELDS[1] | FIELDS[2]).json()
    path = shop(tmp_path / "shop.db", EASE())
    with TestClient(create_app(Settings(store=str(path)))) as client:
        answer = client.post("/v1/recommend", json=asked | {"diversify": 0.5}).json()
        assert answer.pop("warnings") == ["diversify: the model has no item vectors"]
        assert answer == client.post("/v1/recommend", json=asked).json()
        assert lists(client, diversify={"by": "genres", "strength": 0.9}) != lists(client)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"diversify": 1.5}, "diversify"),
        ({"diversify": "0.5"}, "diversify"),
        ({"diversify": True}, "diversify"),
        ({"diversify": {"strength": -1}}, "strength"),
        ({"diversify": {"method": "best"}}, "method"),
        ({"diversify": {"by": ""}}, "by"),
        ({"diversify": {"weight": 1}}, "weight"),
        ({"calibrate": 0.5}, "calibrate"),
        ({"calibrate": {"strength": 0.5}}, "calibrate.attribute"),
        ({"calibrate": {"attribute": "genres", "strength": 2}}, "calibrate.strength"),
        ({"calibrate": {"attribute": "genres", "half_life": -1}}, "calibrate.half_life"),
        ({"long_tail": -0.1}, "long_tail"),
        ({"share": 0.5}, "share"),
        ({"share": {"condition": "genres = 'a'"}}, "least"),
        ({"share": {"condition": "genres = 'a'", "least": 1.5}}, "least"),
        ({"share": [{"condition": "genres = 'a'", "least": 0.5}] * 21}, "share"),
        ({"long_tail": None, "k": 0}, "k: 0"),
    ],
    ids=str,
)
def test_bad_fields_are_refused(plain: Client, fields: dict[str, Any], words: str) -> None:
    assert words in problem(plain.post("/v1/recommend", json=fields), 422)["detail"]


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("diversify=2", "diversify: '2'"),
        ("diversify=nan", "diversify"),
        ("diversify={}", "diversify"),
        ("calibrate=", "calibrate"),
        ("calibrate=genres:much", "such as genres:0.5"),
        ("calibrate=genres:nan", "such as genres:0.5"),
        ("calibrate=:0.5", "such as genres:0.5"),
        ("calibrate=genres:1.01", "such as genres:0.5"),
        ("long_tail=1.1", "long_tail: '1.1'"),
        ("long_tail=0.1&long_tail=0.2", "long_tail: is there twice"),
    ],
)
def test_bad_queries_are_refused(plain: Client, query: str, words: str) -> None:
    assert words in problem(plain.get(f"/v1/recommend?{query}"), 422)["detail"]


def test_the_fields_are_documented(tmp_path: Path) -> None:
    service = Service.open(Settings(store=str(tmp_path / "shop.db")))
    try:
        told = documented(service).openapi()
    finally:
        service.store.close()
    query = {each["name"] for each in told["paths"]["/v1/recommend"]["get"]["parameters"]}
    body = told["components"]["schemas"]["RecommendIn"]["properties"]
    for name in ("diversify", "calibrate", "long_tail"):
        assert name in query
        assert name in body
    assert "CalibrateIn" in json.dumps(body["calibrate"])


def test_rules_hold_behind_stages(plain: Client) -> None:
    rules = {"filter": "item_id <> 'i3'", "cap": [{"attribute": "genres", "most": 2}], "exclude": ["i4"]}
    for user in USERS:
        asked = {"user_id": user, "k": 5, "explore": 0, "diversify": 0.9, "long_tail": 0.5, **rules}
        shown = ids(plain.post("/v1/recommend", json=asked))
        assert not {"i3", "i4"} & {*shown}
        counted = [genre for each in shown for genre in genres_of().to_list()[int(each[1:])] or []]
        assert all(counted.count(genre) <= 2 for genre in counted)
    first = plain.post("/v1/recommend", json={"user_id": "u1", "k": 5, "long_tail": 0.5}).json()
    more = {"user_id": "u1", "k": ITEMS, "long_tail": 0.5, "cursor": first["cursor"]}
    assert not {each["item_id"] for each in first["items"]} & {*ids(plain.post("/v1/recommend", json=more))}


def test_a_share_is_one_or_several_and_0_is_the_list_as_it_is(plain: Client) -> None:
    before = plain.post("/v1/recommend", json={"user_id": "u1", "k": 6}).json()
    share = {"condition": "item_id IN ('i7', 'i9', 'i11', 'i13')", "least": 0.5}
    for off in ([], {**share, "least": 0}, [{**share, "least": 0}]):
        assert plain.post("/v1/recommend", json={"user_id": "u1", "k": 6, "share": off}).json() == before
    for user in USERS:
        seen = {each["item_id"] for each in plain.get(f"/v1/users/{user}?limit=1000").json()["events"]}
        left = {"i7", "i9", "i11", "i13"} - seen
        for asked in (share, [share]):
            shown = ids(plain.post("/v1/recommend", json={"user_id": user, "k": 6, "share": asked}))
            assert len(left & {*shown}) >= min(3, len(left))
            assert len(shown) == 6
    answer = plain.post("/v1/recommend", json={"share": {"condition": "genre = 'a'", "least": 0.5}}).json()
    assert answer["warnings"] == ["share: no item has an attribute 'genre'; did you mean 'genres'?"]
    faulty = plain.post("/v1/recommend", json={"share": {"condition": "genres = ", "least": 0}})
    assert "condition" in problem(faulty, 400)["detail"]


# The command line


@pytest.fixture
def files(tmp_path: Path) -> list[object]:
    log, items = tmp_path / "log.csv", tmp_path / "items.csv"
    LOG.to_frame().with_columns(timestamp=pl.int_range(pl.len()) + 10**9).write_csv(log)
    CATALOGUE.frame.with_columns(genres=pl.col("genres").list.join("|")).write_csv(items)
    return [log, "--catalogue", items, "--set", "dim=4", "--set", "epochs=2"]


GIVEN = ["--stage", "Diversify(strength=0.4)", "--stage", "Calibrate('genres', 0.5)"]
WANTED = (Diversify(strength=0.4), Calibrate("genres", 0.5))


def test_a_fit_takes_stages(palate: Run, files: list[object], tmp_path: Path) -> None:
    code, out, err = palate("fit", "ials", *files, "--out", tmp_path / "model", *GIVEN)
    assert code == 0, err
    assert load(tmp_path / "model").stages == WANTED
    code, out, _ = palate("recommend", tmp_path / "model", "--user", "u1", "-k", 4, "--json")
    assert (code, len(json.loads(out)["items"])) == (0, 4)
    for text in ("Diversify(strength=4)", "Best()", "IALS()"):
        code, _, err = palate("fit", "ials", *files, "--out", tmp_path / "other", "--stage", text)
        assert code == 1
        assert ("must be 0 to 1" if "4" in text else "--stage=") in err
        assert not (tmp_path / "other").exists()


def test_a_service_keeps_its_stages_with_each_version(
    palate: Run, files: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[Settings] = []
    monkeypatch.setattr("palate.serve.run.run", lambda settings, **_: ran.append(settings))
    store = tmp_path / "shop.db"
    code, _, err = palate(
        "serve", "--recipe", "ials", "--store", store, "--log", *files, *GIVEN, "--retrain", "every=1h"
    )
    assert code == 0, err
    again = ran[0].recipe
    assert palate("train", "--store", store, *again)[0] == 0
    with Store.open(store) as opened:
        versions = Versions(opened, None, load)
        assert [load(versions.path(number)).stages for number in (1, 2)] == [WANTED, WANTED]
