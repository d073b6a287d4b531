"""Conditions that take long: off the event loop, beside each other, and given up when no client waits for them."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from serving import serving
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Message

from palate.errors import GivenUp
from palate.live import masks
from palate.live.catalogue import LiveCatalogue
from palate.live.patience import still_wanted, waiting
from palate.serve import service
from palate.serve.app import create_app
from palate.serve.settings import Settings
from palate.store.events import Store
from palate.store.items import Item

PATIENCE = 60.0  # seconds in which whatever is awaited has to come; kernels may be compiled first
COSTLY = json.dumps({"filter": "price < 3 OR " + " OR ".join(f"price = {n}" for n in range(90))}).encode()


class Block:
    """A block of a condition that ends only on a signal, or when no client waits for it."""

    def __init__(self) -> None:
        self.begun, self.given_up, self.ended = (threading.Event() for _ in range(3))

    def __call__(self) -> None:
        self.begun.set()
        try:
            while not self.ended.wait(0.01):
                still_wanted()
        except GivenUp:
            self.given_up.set()
            raise


@pytest.fixture
def block(monkeypatch: pytest.MonkeyPatch) -> Iterator[Block]:
    held = Block()
    monkeypatch.setattr(masks, "still_wanted", held)
    yield held
    held.ended.set()


@pytest.fixture
def app(tmp_path: Path) -> ASGIApp:
    with Store.open(tmp_path / "shop.db") as store:
        store.items.put([Item(f"i{n}", {"price": n, "categories": ["x"]}) for n in range(5)])
    return create_app(Settings(store=str(tmp_path / "shop.db")))


@pytest.mark.parametrize(
    ("path", "query", "body"),
    [
        ("/v1/recommend", b"", COSTLY),
        ("/v1/similar/i1", b"filter=price%3C3", b""),
        ("/api/recommend/u/x", b"", b""),
        ("/api/session/recommend/x", b"", b"[]"),
        ("/api/item/i1/neighbors/x", b"", b""),
        ("/api/popular/x", b"", b""),
        ("/api/latest/x", b"", b""),
    ],
)
def test_a_client_that_leaves_ends_the_work(app: ASGIApp, block: Block, path: str, query: bytes, body: bytes) -> None:
    async def ask() -> list[Message]:
        sent: list[Message] = []
        messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> Message:
            if messages:
                return messages.pop()
            while not block.begun.is_set():
                await asyncio.sleep(0.01)
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            sent.append(message)

        scope: dict[str, Any] = {"type": "http", "method": "POST" if body else "GET", "path": path}
        scope |= {
            "query_string": query,
            "raw_path": path.encode(),
            "client": ("127.0.0.1", 1),
            "http_version": "1.1",
            "scheme": "http",
        }
        headers = [(b"host", b"localhost"), (b"content-type", b"application/json")]
        await asyncio.wait_for(app(scope | {"headers": headers}, receive, send), PATIENCE)
        return sent

    assert asyncio.run(ask())[0]["status"] == 503
    assert block.given_up.wait(PATIENCE)


def test_time_is_bounded_and_others_are_answered_meanwhile(
    app: ASGIApp, block: Block, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "CONDITION_SECONDS", 1)
    with TestClient(app) as client, ThreadPoolExecutor(60) as many:
        costly = [many.submit(client.post, "/v1/recommend", content=COSTLY) for _ in range(60)]
        assert block.begun.wait(PATIENCE)
        assert client.get("/health/live").status_code == 200
        assert len(client.get("/v1/recommend").json()["items"]) == 5
        assert len(client.get("/v1/similar/i1").json()["items"]) == 4
        assert not any(each.done() and each.result().status_code == 200 for each in costly)
        for each in costly:
            answer = each.result(PATIENCE)
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
            assert "conditions took longer than 1 s beside others" in answer.json()["detail"]
        block.ended.set()
        assert client.post("/v1/recommend", content=COSTLY).status_code == 200


def test_a_mask_is_given_up_and_can_be_had_later(tmp_path: Path) -> None:
    with Store.open(tmp_path / "shop.db") as store:
        store.items.put([Item("a", {"price": 1, "n": "5"}), Item("b", {"price": 2, "n": "6.5"})])
        live = LiveCatalogue.load(store)
    with waiting():
        left = asyncio.run(_later(live))
    assert left == "no client waits for this any more"
    assert live.mask("price < 2 AND n > 4").tolist() == [True, False]


async def _later(live: LiveCatalogue) -> str:
    with waiting():
        work = asyncio.create_task(_mask(live))
    return await work  # begun when no client waits any more


async def _mask(live: LiveCatalogue) -> str:
    with pytest.raises(GivenUp) as caught:
        live.mask("price < 2 AND n > 4")
    return str(caught.value)


def test_a_service_stops_while_conditions_run(tmp_path: Path) -> None:
    with Store.open(tmp_path / "shop.db") as store:
        store.items.put([Item(f"i{n}", {"text": f"{n} " * 20}) for n in range(20_000)])
    body = json.dumps({"filter": " OR ".join(f"text LIKE '%a%b{n}'" for n in range(20))})
    with serving(tmp_path, "--store", "shop.db") as served, ThreadPoolExecutor(8) as many:
        asked = [
            many.submit(served.client.post, "/v1/recommend", content=body.replace("%a", f"%{n}a")) for n in range(8)
        ]
        while not any(each.done() for each in asked):
            time.sleep(0.01)
        began = time.monotonic()
        assert served.stop() == 0
        assert time.monotonic() - began < 10
