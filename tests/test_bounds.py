"""Bounds of requests and connections: refused before any work, and others are answered meanwhile."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from databases import postgresql
from hypothesis import given
from hypothesis import strategies as st
from serving import serving
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send

from palate.errors import StoreError
from palate.kernels.nesting import DEEPEST, Extent, extent
from palate.kernels.nesting import measured as whole
from palate.serve import connection
from palate.serve.app import create_app
from palate.serve.bodies import measure
from palate.serve.bounds import (
    MOST_DEPTH,
    MOST_ENTRIES,
    MOST_ENTRY,
    MOST_FORM,
    MOST_HEAD,
    MOST_NAMES,
    MOST_VALUES,
    MOST_WITHIN,
)
from palate.serve.connection import Connection
from palate.serve.problems import Problem
from palate.serve.rates import Rates, counted_as
from palate.serve.settings import Settings
from palate.store.dialects import open_database, shown_place
from palate.store.events import Store
from palate.store.keys import Keys

BATCHES = ("/v1/events", "/v1/items", "/api/feedback", "/api/items", "/api/users", "/api/session/recommend")


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with TestClient(create_app(Settings(store=str(tmp_path_factory.mktemp("shop") / "shop.db")))) as client:
        for path in BATCHES:  # the first call compiles
            client.post(path, content="[1]")
        yield client


# Bodies

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def measured(value: Any, depth: int = 0) -> tuple[int, int, int]:
    """Depth, names of the widest object, and values, counted the plain way."""
    if not isinstance(value, (list, dict)):
        return depth, 0, 1
    inner = [measured(each, depth + 1) for each in (value.values() if isinstance(value, dict) else value)]
    names = len(value) if isinstance(value, dict) else 0
    deepest, widest, many = zip(*inner, strict=True) if inner else ((), (), ())
    return max(depth + 1, *deepest, 0), max(names, *widest, 0), 1 + sum(many)


@given(values)
def test_json_is_measured_without_reading_it(value: Any) -> None:
    depth, names, many = measured(value)
    found = extent(json.dumps(value).encode())
    assert (found.depth, found.names) == (depth, names)
    assert many <= found.values <= 2 * many
    if isinstance(value, (list, dict)):
        assert found.entries == max(1, len(value))


@given(st.binary(max_size=200))
def test_anything_can_be_measured(text: bytes) -> None:
    assert extent(text).depth <= len(text)


def test_extents() -> None:
    assert extent(b"") == Extent(0, 1, 0, 1)
    assert extent(b'["a,b]\\"[", {"a": 1, "b": [1, 2]}]') == Extent(3, 2, 2, 7)
    assert extent(b"[" * 5000).depth == DEEPEST
    assert extent(b"]" * 10 + b"[1,2]") == Extent(1, 2, 0, 3)


@pytest.mark.parametrize("path", BATCHES)
@pytest.mark.parametrize(
    "body",
    [
        "[" + ",".join(["1"] * 500_000) + "]",
        "[" + ",".join(["[" + ",".join(["1"] * 1000) + "]"] * 500) + "]",
        "[" * 500_000,
        '[{"a":' * 100_000,
        "[{" + ",".join(f'"k{n}":1' for n in range(80_000)) + "}]",
        "[" + ",".join(['{"UserId":{},"a":[1,1]}'] * 40_000) + "]",
    ],
    ids=["entries", "nested", "deep", "deep objects", "names", "objects"],
)
def test_a_bomb_is_refused_before_any_work(client: TestClient, path: str, body: str) -> None:
    took = float("inf")
    for _ in range(3):  # a collection of all that earlier tests left may fall into one of them
        tracemalloc.start()
        began = time.process_time()
        answer = client.post(path, content=body)
        took, (_, most) = min(took, time.process_time() - began), tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert answer.status_code in (400, 413), answer.text[:200]
    assert took < 0.25  # of the client too, under tracemalloc
    assert most < 12 * len(body)  # the client's own copies are six of them
    assert len(answer.content) < 1000


def test_a_body_of_gorse_is_never_one_wide_text(client: TestClient) -> None:
    many = [{"FeedbackType": "see", "UserId": "u", "ItemId": "i", "Comment": f"{n}😀{'a' * 10**6}"} for n in range(8)]
    body = json.dumps(many, ensure_ascii=False).encode()
    tracemalloc.start()
    answer = client.post("/api/session/recommend", content=body)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert answer.status_code == 200
    assert most < 8 * len(body)  # its texts, and their bytes here and there; as one text it would be 4 more
    refused = client.post("/api/session/recommend", content=b'[{"ItemId": ')
    assert (refused.status_code, refused.text.partition(":")[0]) == (400, "the body is not JSON")


@pytest.mark.parametrize("path", BATCHES)
def test_the_first_bad_entry_ends_the_work(client: TestClient, path: str) -> None:
    answer = client.post(path, content="[" + ",".join(["1"] * MOST_ENTRIES) + "]")
    assert answer.status_code in (400, 422)
    assert "more" not in answer.text
    assert client.post(path, content="[" + ",".join(["1"] * (MOST_ENTRIES + 1)) + "]").status_code == 413


def test_lines_are_bounded_too(client: TestClient) -> None:
    for lines in ("\n" * (MOST_ENTRIES + 1), "1\n" * (MOST_ENTRIES + 1), "\r" * 3 * MOST_ENTRIES):
        for path in ("/v1/events", "/v1/items"):
            answer = client.post(path, content=lines, headers={"content-type": "application/x-ndjson"})
            assert answer.status_code == (200 if lines[0] == "\r" else 413)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"[" * MOST_DEPTH + b"]" * MOST_DEPTH, None),
        (b"[" * (MOST_DEPTH + 1) + b"]" * (MOST_DEPTH + 1), 400),
        (json.dumps({str(n): 1 for n in range(MOST_NAMES)}).encode(), None),
        (json.dumps({str(n): 1 for n in range(MOST_NAMES + 1)}).encode(), 413),
        (json.dumps([[0] * 100] * (MOST_VALUES // 102)).encode(), None),
        (json.dumps([[0] * 100] * (MOST_VALUES // 100)).encode(), 413),
    ],
)
def test_the_bounds_are_where_they_are_said_to_be(body: bytes, status: int | None) -> None:
    if status is None:
        measure(body, lines=False)
    else:
        with pytest.raises(Problem) as told:
            measure(body, lines=False)
        assert told.value.status == status


@pytest.mark.parametrize(
    ("body", "rule"),
    [
        (b'["%b"]' % (b"a" * MOST_ENTRY), "bytes in one entry"),
        (b'[{}, {"a": "%b"}]' % (b"a" * MOST_ENTRY), "bytes in one entry"),
        (b'{"%b": 1}' % (b"a" * MOST_ENTRY), "bytes in one entry"),
        (b"[[%b]]" % b",".join([b"[1]"] * (MOST_WITHIN // 2 + 1)), "values in one entry"),
        (b'{"a": [%b]}' % b",".join([b"1"] * (MOST_WITHIN + 1)), "values in one entry"),
    ],
    ids=["text", "second", "name", "lists", "object"],
)
@pytest.mark.parametrize("path", ["/v1/recommend", "/v1/recommend/session", *BATCHES])
def test_an_entry_is_bounded(client: TestClient, path: str, body: bytes, rule: str) -> None:
    answer = client.post(path, content=body)
    assert answer.status_code == 413
    assert rule in answer.text


@pytest.mark.parametrize("path", ["/v1/events", "/v1/items"])
def test_a_line_is_bounded(client: TestClient, path: str) -> None:
    lines = b'{}\n{"a": "%b"}\n' % (b"a" * MOST_ENTRY)
    answer = client.post(path, content=lines, headers={"content-type": "application/x-ndjson"})
    assert answer.status_code == 413
    assert "line 2 has 2,097,161 bytes; there can be 2,097,152" in answer.text


def test_as_much_as_may_be_is_taken(client: TestClient) -> None:
    item = b'{"item_id": "full", "text": "%b"}' % (b"\\u00e9" * 30_000)
    assert client.post("/v1/items", content=b"[%b]" % b",".join([item] * 80)).status_code == 200
    steps = [{"item_id": str(n), "event_type": "like", "weight": 1.0, "timestamp": n} for n in range(10_000)]
    assert client.post("/v1/recommend/session", content=json.dumps({"history": steps})).status_code == 200


@pytest.mark.parametrize("path", BATCHES)
def test_the_answer_to_a_long_name_is_short(client: TestClient, path: str) -> None:
    answer = client.post(path, content=b'[{"%b": 1}]' % ("😀".encode() * 100_000))
    assert answer.status_code in (400, 422)
    assert len(answer.content) < 3000


names = st.dictionaries(st.sampled_from(["", "a", "b", "é", "😀", "\n", '"', "\\", "/", "a:b", "{"]), st.just(0))


@given(st.lists(st.tuples(names, st.booleans()), max_size=3), st.data())
def test_a_name_is_twice_in_one_object_or_not(
    objects: list[tuple[dict[str, Any], bool]], data: st.DataObject
) -> None:
    parts, repeated = [], False
    for each, again in objects:
        pairs = [f"{json.dumps(name, ensure_ascii=data.draw(st.booleans()))}:{{}}" for name in each]
        if again and each:
            name = data.draw(st.sampled_from(sorted(each)))
            pairs.append("".join(f"\\u{unit:04x}" for unit in _units(name)).join('""') + ": [{}]")
            repeated = True
        parts.append("{" + " , ".join(pairs) + "}")
    found = whole(("[" + ",".join(parts) + "]").encode())
    assert (found.twice != (0, 0)) == repeated


def _units(name: str) -> list[int]:
    coded = name.encode("utf-16-le")
    return [coded[n] + 256 * coded[n + 1] for n in range(0, len(coded), 2)]


def test_a_long_number_is_told_and_is_no_fault(client: TestClient) -> None:
    for field in ("user_id", "weight", "timestamp"):
        event = {"user_id": "u", "item_id": "i", "event_type": "like"}
        body = json.dumps(event | {field: "N"}).replace('"N"', "9" * 5000)
        answer = client.post("/v1/events", content=body)
        assert answer.status_code in (400, 422)
        assert len(answer.content) < 2000


def test_the_form_of_the_login_is_small(tmp_path: Path) -> None:
    form = {"content-type": "application/x-www-form-urlencoded"}
    with TestClient(create_app(Settings(store=str(tmp_path / "shop.db"), keys=True))) as client:
        assert client.post("/login", content=b"a=1&" * 100_000, headers=form).status_code == 413
        assert client.post("/login", content=b"a" * (MOST_FORM + 1), headers=form).status_code == 413
        assert client.post("/login", content=b"a=1&" * 11, headers=form).status_code == 400
        assert client.post("/login", content=b"key=x&next=/users", headers=form).status_code == 401
        assert (
            client.post("/login", content=b'{"key": "x"}', headers={"content-type": "text/plain"}).status_code == 415
        )


def test_a_cookie_is_read_in_linear_time(tmp_path: Path) -> None:
    with TestClient(create_app(Settings(store=str(tmp_path / "shop.db"), keys=True))) as client:
        cookie = 'a="' + "\\" * 60_000 + '"; palate_key="x'
        client.get("/v1/users")
        began = time.process_time()
        assert client.get("/v1/users", headers={"Cookie": cookie}).status_code == 401
        assert time.process_time() - began < 0.3


# Connections


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the size of the body; /slow waits, /long says much."""
    if scope["type"] != "http":
        return
    size, more = 0, scope["method"] == "POST"
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size, more = size + len(message["body"]), message["more_body"]
    if scope["path"] == "/slow":
        await asyncio.sleep(2)
    answers = {"/long": "x" * 50_000_000, "/headers": b" ".join(name for name, _ in scope["headers"])}
    await PlainTextResponse(answers.get(scope["path"], str(size)))(scope, receive, send)


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch) -> Iterator[uvicorn.Server]:
    """A server of 40 connections whose clients have a second only."""
    for name in ("HEAD_SECONDS", "BODY_SECONDS", "ANSWER_SECONDS"):
        monkeypatch.setattr(connection, name, 1.0)
    monkeypatch.setattr(connection, "BODY_RATE", 1000)
    monkeypatch.setattr(connection, "most_connections", lambda: 40)
    config = uvicorn.Config(
        app, port=0, http=Connection, lifespan="off", log_level="critical", ws="none", loop="uvloop"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield server
    server.should_exit = True
    thread.join()


@pytest.fixture
def port(running: uvicorn.Server) -> int:
    return int(running.servers[0].sockets[0].getsockname()[1])


def opened(port: int, content: bytes = b"") -> socket.socket:
    made = socket.create_connection(("127.0.0.1", port), 10)
    made.sendall(content)
    return made


def answer(made: socket.socket) -> str:
    """The status line of an answer; "" for a connection that is closed without one."""
    told = b""
    with made:
        while part := made.recv(1 << 16):
            told += part
    return told.split(b"\r\n")[0].decode()


def asked(port: int, path: str = "/", *headers: str) -> str:
    head = "\r\n".join((f"GET {path} HTTP/1.1", "Host: localhost", "Connection: close", *headers, "", ""))
    return answer(opened(port, head.encode()))


HALF = b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: "
HALF_BODY = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{"


def test_a_head_is_bounded(port: int) -> None:
    assert asked(port, "/", *(f"x-{n}: y" for n in range(90))) == "HTTP/1.1 200 OK"
    assert asked(port, "/", *(f"x-{n}: y" for n in range(101))).startswith("HTTP/1.1 431")
    assert asked(port, "/", f"x: {'y' * (MOST_HEAD - 200)}") == "HTTP/1.1 200 OK"
    assert asked(port, "/", f"x: {'y' * MOST_HEAD}").startswith("HTTP/1.1 431")
    assert asked(port, f"/{'y' * (MOST_HEAD - 200)}") == "HTTP/1.1 200 OK"
    assert asked(port, f"/{'y' * MOST_HEAD}").startswith("HTTP/1.1 414")


@pytest.mark.parametrize("begin", [HALF, b"GET /", b"X" * 10, b"\r\n" * 10])
def test_an_endless_head_is_ended(port: int, begin: bytes) -> None:
    made = opened(port, begin)
    piece = (b"\r\n" if begin[:1] == b"\r" else b"y") * (1 << 15)
    try:
        for _ in range(200):  # it goes on though it is answered: what it sends is not kept
            made.sendall(piece)
    except OSError:  # no HTTP: closed at once
        made.close()
        assert begin[:1] == b"X"
    else:
        made.shutdown(socket.SHUT_WR)
        assert answer(made)[:12] in ("HTTP/1.1 431", "HTTP/1.1 414", "HTTP/1.1 400")
    assert asked(port) == "HTTP/1.1 200 OK"


def test_what_follows_a_body_is_no_header(port: int) -> None:
    head = b"POST /headers HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    with opened(port, head + b"1\r\nx\r\n0\r\nX-API-Key: y\r\n\r\n") as made:
        told = b"".join(iter(lambda: made.recv(1 << 16), b""))
    assert told.endswith(b"\r\n\r\nhost connection transfer-encoding")


def test_half_a_request_is_waited_for_and_then_ended(port: int) -> None:
    begun = [opened(port, begin) for begin in (HALF, b"", b"\r\n", HALF_BODY)]
    assert [answer(made) for made in begun] == ["", "", "", "HTTP/1.1 408 Request Timeout"]


def test_a_body_that_keeps_coming_has_more_time(port: int) -> None:
    made = opened(port, b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2000\r\n\r\n")
    for _ in range(20):
        made.sendall(b"x" * 100)
        time.sleep(0.1)
    assert answer(made) == "HTTP/1.1 200 OK"


def test_an_answer_may_take_longer(port: int) -> None:
    assert asked(port, "/slow") == "HTTP/1.1 200 OK"


def test_a_client_that_takes_no_answer_is_ended(running: uvicorn.Server, port: int) -> None:
    made = opened(port, b"GET /long HTTP/1.1\r\nHost: localhost\r\n\r\n")
    made.recv(1)
    while running.server_state.connections:
        time.sleep(0.01)
    with closing(made):
        assert sum(map(len, iter(lambda: made.recv(1 << 20), b""))) < 50_000_000


@pytest.mark.parametrize("begin", [HALF, HALF_BODY, b""])
def test_a_crowd_of_half_requests_keeps_nobody_out(port: int, begin: bytes) -> None:
    crowd = [opened(port, begin) for _ in range(200)]
    assert [asked(port) for _ in range(20)] == ["HTTP/1.1 200 OK"] * 20
    for made in crowd:
        made.close()


def test_when_all_are_busy_the_next_is_told(port: int) -> None:
    busy = [opened(port, b"GET /slow HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n") for _ in range(40)]
    assert asked(port) == "HTTP/1.1 503 Service Unavailable"
    assert {answer(made) for made in busy} == {"HTTP/1.1 200 OK"}
    assert asked(port) == "HTTP/1.1 200 OK"


# Rates


def test_a_rate_is_of_a_verified_key_or_an_address(tmp_path: Path) -> None:
    path = tmp_path / "shop.db"
    with Store.open(path) as store:
        key = Keys(store).create("owner", ["read"])
    with TestClient(create_app(Settings(store=str(path), keys=True, rate=2))) as client:

        def status(headers: dict[str, str]) -> int:
            return client.get("/v1/users", headers=headers).status_code

        wrong = [{"X-API-Key": f"{key[:11]}{n}"} for n in range(4)]
        more = [{"X-API-Key": f"pk_{n}"} for n in range(4)] + [{"X-Forwarded-For": f"10.1.1.{n}"} for n in range(4)]
        assert [status(headers) for headers in wrong] == [401] * 4
        assert [status(headers) for headers in more] == [429] * 8
        assert status({"X-API-Key": key}) == 200


def test_workers_count_together(tmp_path: Path) -> None:
    Rates.create(tmp_path / "rates")
    workers = [Rates(0.001, str(tmp_path / "rates")) for _ in range(3)]
    assert [rates.wait("a") > 0 for rates in workers] == [False, True, True]
    assert [rates.wait("b") > 0 for rates in workers] == [False, True, True]


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("10.0.0.7", "10.0.0.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:10.0.0.7", "10.0.0.7"),
        ("?", "?"),
        ("a:b", "a:b"),
    ],
)
def test_a_client_has_a_whole_network_of_version_6(address: str, counted: str) -> None:
    assert counted_as(address) == counted


def test_clients_are_told_apart() -> None:
    rates = Rates(0.001)
    assert sum(rates.wait(f"10.0.{n // 256}.{n % 256}") > 0 for n in range(2000)) <= 3


# What is told of the store


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("postgresql://ann:s3cret@db.example/shop", "postgresql://ann:***@db.example/shop"),
        ("postgresql://ann:s3%40cret@db.example/shop?password=s3cret", "postgresql://ann:***@db.example/shop"),
        ("postgresql://ann@db.example/shop", "postgresql://ann@db.example/shop"),
        ("shop.db", "shop.db"),
    ],
)
def test_a_password_is_shown_nowhere(url: str, told: str) -> None:
    assert shown_place(url) == told


@pytest.mark.parametrize("url", ["postgresql://ann:s3cret@db:port/shop", "mysql://ann:s3cret@db/shop", "x://s3cret"])
def test_nor_is_it_in_an_error(url: str) -> None:
    with pytest.raises(StoreError) as error:
        open_database(url)
    assert "s3cret" not in str(error.value) or url == "x://s3cret"


@pytest.mark.parametrize("keys", [False, True])
def test_a_store_that_is_away_is_503_and_tells_no_address(tmp_path: Path, keys: bool) -> None:
    path = tmp_path / "shop.db"
    with TestClient(create_app(Settings(store=str(path), keys=keys))) as client:
        with Store.open(path) as store:
            connection = store.database.engine.raw_connection()
            for table in ("events", "keys"):
                connection.cursor().execute(f"ALTER TABLE {table} RENAME TO gone_{table}")
            connection.close()
        answers = [
            client.get("/health/ready"),
            client.get("/api/health/ready"),
            client.get("/api/health/live"),
            client.get("/v1/users/u", headers={"X-API-Key": "pk_12345678x"}),
        ]
        assert [answer.status_code for answer in answers] == [503, 503, 200, 503]
        assert not [answer.text for answer in answers if str(tmp_path) in answer.text or "shop.db" in answer.text]
        assert answers[3].headers["retry-after"] == "1"


def test_a_password_stands_in_no_log_and_no_list_of_processes(tmp_path: Path) -> None:
    running = postgresql()
    url = running.create().replace("palate@", "palate:s3cret@")
    with serving(tmp_path, "--store", url, "--models", "models", "--retrain", "events=1", forked=False) as served:
        events = [{"user_id": f"u{n % 9}", "item_id": f"i{n % 7}", "event_type": "like"} for n in range(40)]
        assert served.client.post("/v1/events", json=events).status_code == 200
        given = Path(f"/proc/{served.process.pid}/cmdline").read_text()  # which a child shows too until it begins
        end, shown = time.monotonic() + 60, set[str]()
        while time.monotonic() < end and not served.client.get("/v1/models").json()["models"]:
            for thread in Path(f"/proc/{served.process.pid}/task").iterdir():
                with suppress(OSError):  # it ended meanwhile
                    for child in (thread / "children").read_text().split():
                        shown.add(Path(f"/proc/{child}/cmdline").read_text())
            time.sleep(0.02)
        assert served.client.get("/v1/models").json()["models"]
        assert any("train" in each for each in shown)
        assert not [each for each in [served.said, *shown - {given}] if "s3cret" in each]
        assert "serving postgresql://palate:***@" in served.said
