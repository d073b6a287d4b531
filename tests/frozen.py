"""Answers of the service as they are, kept to compare with: `python tests/frozen.py` writes them anew.

The archive `frozen.tar.xz` holds items and events, which are sent to a store over the wire, bundles of fitted models,
and requests with their answers, for each model and without one. Only public forms are used, so that the lists may be
made in another way, and have to be the same.
"""

from __future__ import annotations

import io
import json
import random
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import polars as pl
from starlette.testclient import TestClient

from palate import IALS, SLIST, Hybrid, read_catalogue, read_log
from palate.bundles.bundle import copy_bundle
from palate.models.base import Model
from palate.serve.app import create_app
from palate.serve.settings import Settings
from palate.store.events import Store
from palate.store.schema import sa
from palate.store.versions import Versions

ARCHIVE = Path(__file__).with_suffix(".tar.xz")
USERS, ITEMS, LATE = 40, 90, 12  # the last items come after the training, every third of them without attributes
START, DAY = 1_700_000_000_000_000, 86_400_000_000  # microseconds
REQUESTS = 500  # of each model
KINDS, BRANDS = ("red", "green", "blue"), ("north", "south", "east", "west", "o'hara")

Row = dict[str, Any]
Request = dict[str, Any]  # method, path, and body where there is one


def items() -> list[Row]:
    """Return the items, with words by which those of a kind are alike."""
    rows = []
    for n in range(ITEMS):
        told: Row = {"item_id": f"i{n}"}
        if n < ITEMS - LATE or n % 3:
            kind = KINDS[n % 3]
            told |= {"title": f"{kind} thing {n % 7} of {BRANDS[n % 5]}", "kind": kind, "brand": BRANDS[n % 5]}
            told |= {"price": n * 1.5, "categories": [kind, "even" if n % 2 == 0 else "odd"]}
        if n % 11 == 5:
            told["available"] = False
        if n % 4 == 0:
            told["timestamp"] = f"2023-0{1 + n % 9}-01T00:00:00Z"
        rows.append(told)
    return rows


def events() -> list[Row]:
    """Return what users of three crowds did with the items that are there at the training."""
    draw, rows = random.Random(1), []
    known = ITEMS - LATE
    for user in range(USERS):
        for n in range(draw.choice([2, 5, 12, 25])):
            item = 3 * draw.randrange(known // 3) + user % 3 if draw.random() < 0.8 else draw.randrange(known)
            kind = draw.choice(["view", "view", "click", "cart", "like", "purchase", "dislike", "read"])
            row: Row = {"user_id": f"u{user}", "item_id": f"i{item}", "event_type": kind}
            row |= {"timestamp": (START + n * DAY + user) / 1e6, "event_id": f"{user}-{n}"}
            rows.append(row | ({"weight": draw.choice([0.5, 2.0])} if draw.random() < 0.1 else {}))
    return rows


@contextmanager
def served(folder: Path, stock: list[Row], done: list[Row], bundle: Path | None) -> Iterator[TestClient]:
    """Serve a store that was filled over the wire, whose items came at fixed times, with a model or without one."""
    settings = Settings(store=str(folder / "shop.db"))
    with TestClient(create_app(settings)) as client:
        for path, body in (("/v1/items", stock), ("/v1/events", done)):
            answer = client.post(path, json=body)
            assert answer.status_code == 200, answer.text
    with Store.open(folder / "shop.db") as store:
        if bundle is not None:
            versions = Versions(store)
            version = versions.add(lambda path: copy_bundle(bundle, path), {"recipe": bundle.name})
            versions.activate(version.number)
        with store.database.writing() as connection:
            trained = START + 100 * DAY
            connection.execute(sa.text("UPDATE models SET created = :at"), {"at": trained})
            for n in range(ITEMS):
                at = trained + DAY * (n - ITEMS + LATE) - 1
                connection.execute(
                    sa.text("UPDATE items SET created = :at, updated = :at WHERE item_id = :name"),
                    {"at": at, "name": f"i{n}"},
                )
    with TestClient(create_app(settings)) as client:
        yield client


# What is asked


def asked(draw: random.Random, cursors: list[str]) -> Request:
    """Draw a request; `cursors` are those of answers before it."""
    kind = draw.random()
    if kind < 0.25:
        return gorse(draw)
    if kind < 0.35:
        condition = draw.choice(["", "", "&filter=price%20%3E%2020", "&filter=kind%20%3D%20'red'"])
        return {
            "method": "GET",
            "path": f"/v1/similar/i{draw.randrange(ITEMS + 2)}?k={draw.randint(1, 30)}{condition}",
        }
    body = rules(draw)
    if kind < 0.55:
        return {"method": "POST", "path": "/v1/recommend/session", "body": body | {"history": session(draw)}}
    body |= {"user_id": user(draw)} if draw.random() < 0.9 else {}
    if cursors and draw.random() < 0.2:
        body["cursor"] = draw.choice(cursors)
    if not body.keys() & {"boost", "pin", "cap"} and draw.random() < 0.5:
        return {"method": "GET", "path": f"/v1/recommend?{urlencode(body, doseq=True)}"}
    return {"method": "POST", "path": "/v1/recommend", "body": body}


def user(draw: random.Random) -> str:
    return draw.choice(["nobody", *(f"u{draw.randrange(USERS)}" for _ in range(8))])


def session(draw: random.Random) -> list[Row]:
    steps = []
    for n in range(draw.choice([0, 1, 3, 8])):
        step: Row = {"item_id": f"i{draw.randrange(ITEMS + 2)}"}
        step |= {"event_type": draw.choice(["view", "like", "dislike", "read"])} if draw.random() < 0.6 else {}
        step |= {"weight": draw.choice([0.0, 0.5, -1.0, 3.0])} if draw.random() < 0.2 else {}
        step |= {"timestamp": START / 1e6 + 60 * n} if draw.random() < 0.5 else {}
        steps.append(step)
    return steps


CONDITIONS = (
    "price >= 60",
    "kind <> 'red'",
    "'even' = ANY(categories)",
    "price < 0",
    "brand = 'o''hara'",
    "title LIKE '%thing 3%'",
    "price / 2 < 30 AND NOT kind = 'blue'",
    "brand IN ('north', 'south')",
    "kind IS NULL",
    "lower(title) LIKE 'green%'",
    "price BETWEEN 10 AND 90 OR brand IS NULL",
    "colour = 'x'",
    "price >",
)


def rules(draw: random.Random) -> Row:
    """Draw what is asked of a list beside whose it is."""
    body: Row = {"k": draw.choice([1, 3, 10, 10, 10, 25, 100])}

    def some(name: str, chance: float, value: Any) -> None:
        if draw.random() < chance:
            body[name] = value

    some("filter", 0.3, draw.choice(CONDITIONS))
    some("exclude", 0.2, [f"i{draw.randrange(ITEMS + 2)}" for _ in range(draw.choice([1, 5, 30]))])
    some("near", 0.2, [f"i{draw.randrange(ITEMS + 2)}" for _ in range(draw.choice([1, 3]))])
    factors = [0.2, 0.9, 1.5, 10.0]
    some("boost", 0.2, [boost(draw, factors) for _ in range(draw.choice([1, 2]))])
    places = draw.sample(range(1, 12), 3)
    pinned = draw.sample(range(ITEMS), 3)
    some("pin", 0.15, [{"item_id": f"i{i}", "position": p} for i, p in zip(pinned, places, strict=True)])
    caps = [
        {"attribute": "kind", "most": 2},
        {"attribute": "categories", "most": 3},
        {"attribute": "brand", "most": 1},
    ]
    some("cap", 0.2, draw.sample(caps, draw.choice([1, 2])))
    some("keep_seen", 0.3, True)
    some("explore", 0.4, draw.choice([0, 0.2, 0.5, 1]))
    some("attributes", 0.1, ["title", "price"])
    return body


def boost(draw: random.Random, factors: list[float]) -> Row:
    return {"condition": draw.choice(CONDITIONS[:-2]), "factor": draw.choice(factors)}


def gorse(draw: random.Random) -> Request:
    """Draw a request to a route of gorse."""
    part = f"n={draw.choice([1, 5, 10, 40])}&offset={draw.choice([0, 0, 0, 3])}"
    category = draw.choice(["", "", "/red", "/even"])
    item, of = f"i{draw.randrange(ITEMS + 1)}", f"&user-id={user(draw)}" if draw.random() < 0.4 else ""
    paths = [f"recommend/{user(draw)}{category}?{part}", f"item/{item}/neighbors{category}?{part}{of}"]
    paths += [f"user/{user(draw)}/neighbors?{part}", f"popular{category}?{part}{of}", f"latest{category}?{part}{of}"]
    if draw.random() < 0.2:
        days = [(f"2023-12-{n + 1:02}T00:00:00Z", step["item_id"]) for n, step in enumerate(session(draw))]
        same = {"FeedbackType": "view", "UserId": ""}
        feedback = [same | {"ItemId": name, "Timestamp": day} for day, name in days]
        return {"method": "POST", "path": f"/api/session/recommend{category}?{part}", "body": feedback}
    return {"method": "GET", "path": f"/api/{draw.choice(paths)}", "version": "2"}


def answer(client: TestClient, request: Request) -> tuple[int, Any]:
    """Return the status and, of a list, the body."""
    headers = {"X-API-Version": request["version"]} if "version" in request else {}
    got = client.request(request["method"], request["path"], json=request.get("body"), headers=headers)
    return got.status_code, got.json() if got.status_code == 200 else None


# The archive


def frozen() -> dict[str, Any]:
    """Read the archive: items, events, and the requests with their answers by the name of a model, "" for none."""
    with tarfile.open(ARCHIVE) as archive:
        return json.load(archive.extractfile("answers.json"))  # type: ignore[arg-type, no-any-return]


def unpack(name: str, folder: Path) -> Path:
    """Unpack the bundle of a model."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, [each for each in archive if each.name.startswith(f"{name}/")], filter="data")
    return folder / name


def models(stock: list[Row], done: list[Row]) -> dict[str, Model]:
    """Fit a model of each kind: factors, products of items, and one that reads new items, some only later."""
    weights = {"read": 0.0, "dislike": 0.0, "cart": 3.0, "like": 3.0, "purchase": 5.0}
    rows = [(e["user_id"], e["item_id"], e["timestamp"], weights.get(e["event_type"], 1.0)) for e in done]
    log = read_log(pl.DataFrame(rows, ["user", "item", "timestamp", "weight"], orient="row"))
    told = [{name: row.get(name) for name in ("item_id", "title", "kind", "brand")} for row in stock[: -LATE // 2]]
    content = Hybrid("IALS(dim=8)", fields=("title", "kind", "brand"))
    catalogue = read_catalogue(pl.DataFrame(told))
    recipes = {"factors": IALS(dim=8), "products": SLIST(), "content": content}
    return {name: recipe.fit(log, catalogue) for name, recipe in recipes.items()}


def write() -> None:
    """Make the archive."""
    stock, done = items(), events()
    kept: dict[str, Any] = {"items": stock, "events": done, "answers": {}}
    with tempfile.TemporaryDirectory() as home, tarfile.open(ARCHIVE, "w:xz") as archive:
        folder = Path(home)
        bundles: dict[str, Path | None] = {"": None}
        for name, model in models(stock, done).items():
            bundles[name] = folder / name
            model.save(folder / name)
            archive.add(folder / name, name)
        for seed, (name, bundle) in enumerate(bundles.items()):
            (folder / f"store {seed}").mkdir()
            draw, cursors, answers = random.Random(seed), list[str](), list[Row]()
            with served(folder / f"store {seed}", stock, done, bundle) as client:
                for _ in range(REQUESTS):
                    request = asked(draw, cursors)
                    status, body = answer(client, request)
                    if isinstance(body, dict) and body["cursor"]:
                        cursors.append(body["cursor"])
                    answers.append(request | {"status": status, "answer": body})
            kept["answers"][name] = answers
        text = json.dumps(kept, separators=(",", ":")).encode()
        entry = tarfile.TarInfo("answers.json")
        entry.size = len(text)
        archive.addfile(entry, io.BytesIO(text))


if __name__ == "__main__":
    write()
