"""No request costs more than its size: requests of up to 64 KB at random, valid and not, on every route."""

from __future__ import annotations

import json
import os
from itertools import islice
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from benchmarks.common.served import fork
from benchmarks.reliability.durability import two_models
from benchmarks.reliability.hostile import Cost, attack
from benchmarks.reliability.wild import MOST, Maker, Request
from palate import kernels
from palate.serve.app import create_app
from palate.serve.settings import Settings

REQUESTS = 300


def attacked(store: Path) -> tuple[list[Cost], list[Cost]]:
    """Send the requests to a new service; returns the costs of all, and those that are faults."""
    served = fork(store)
    try:
        served.wait()
        costs = attack(served, REQUESTS)
        assert served.client().get("/health/ready").status == 200
        assert "Traceback" not in served.log.read_text()
        return costs
    finally:
        served.kill()


def compiled() -> int:
    """Kernels that are compiled, by any process of this checkout."""
    cache = Path(os.environ.get("NUMBA_CACHE_DIR") or Path(kernels.__path__[0]) / "__pycache__")
    return sum(1 for _ in cache.rglob("*.nbc"))


def test_no_request_costs_more_than_its_size(tmp_path: Path) -> None:
    store = two_models(tmp_path)
    before, (costs, faults) = compiled(), attacked(store)
    while faults and compiled() > before:  # a kernel is compiled once on a machine: that is no cost of a request
        before, (costs, faults) = compiled(), attacked(store)
    assert [cost.described() for cost in faults] == []
    assert len(costs) == REQUESTS


def test_every_route_is_asked_in_every_way(tmp_path: Path) -> None:
    with TestClient(create_app(Settings(store=str(tmp_path / "shop.db")))) as client:
        maker = Maker(client.get("/openapi.json").json(), seed=1)
    sound = list(maker.sound())
    assert {method for method, _, _ in maker.routes} == {"GET", "POST", "PUT", "PATCH", "DELETE"}
    assert len(sound) == len(maker.routes) > 50
    wild = list(islice(maker.wild(), 1000))
    assert max(len(request.content()) for request in wild) in range(MOST // 2, MOST + 1)
    bodies = [request.body for request in wild if request.body]
    assert 0.2 < sum(map(_is_json, bodies)) / len(bodies) < 0.98
    assert any(b"[[[[[[[[" in body or b'{"a": {"a": {"a":' in body for body in bodies)
    assert any(len(body) > 30_000 for body in bodies)


def _is_json(body: bytes) -> bool:
    try:
        json.loads(body)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize(
    ("status", "cpu", "memory", "fault"),
    [
        (200, 0.1, 0, None),
        (500, 0.1, 0, "status 500"),
        (200, 0.6, 0, "0.60 s of CPU"),
        (200, 0.1, 20 << 20, "21 MB of memory, 17 allowed"),
        (200, 0.1, 16 << 20, None),
    ],
)
def test_a_fault_is_told(status: int, cpu: float, memory: int, fault: str | None) -> None:
    assert Cost(Request("GET", "/"), status, 100, cpu, memory).fault == fault
