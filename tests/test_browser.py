"""What pages of other sites can have a browser do to a service: nothing. By HTTP, and in a real Chromium."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from httpx2 import Client, Response
from playwright.sync_api import sync_playwright
from serving import Served, serving
from starlette.testclient import TestClient
from test_page import CHROMIUM, in_chromium

from palate import Popularity
from palate.errors import SettingError
from palate.serve.app import create_app
from palate.serve.browser import hosts_of, networks_of, origins_of
from palate.serve.settings import Settings
from palate.store.events import Event, Store
from palate.store.items import Item
from palate.store.keys import Keys
from palate.store.versions import Versions

EVENT = {"user_id": "u", "item_id": "i1", "event_type": "like"}
EVIL = "https://evil.example"


def fill(path: Path) -> dict[str, str]:
    """Make a store of a few items with two versions of a model; returns its keys by their scopes."""
    with Store.open(path) as store:
        store.items.put(Item(f"i{n}", {"title": f"Item {n}"}) for n in range(5))
        store.append([Event("ann", "i0", "like", 10**15)])
        for _ in range(2):
            Versions(store).add(Popularity().fit(store.log()).save, {"recipe": "Popularity"})
        Versions(store).activate(1)
        return {scope: Keys(store).create(scope, [scope]) for scope in ("read", "write", "admin")}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("shop") / "shop.db"
    fill(path)
    return path


def client_of(path: Path, **more: Any) -> TestClient:
    app = create_app(Settings(store=str(path), **{"allowed_hosts": hosts_of("127.0.0.1", []), **more}))
    return TestClient(app, base_url="http://localhost:8000")


@pytest.fixture(scope="module")
def client(shop: Path) -> Iterator[TestClient]:
    with client_of(shop) as client:
        yield client


def rule(answer: Response, status: int = 403) -> str:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    return str(answer.json()["detail"])


# Hosts


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:1", "localhost.", "127.0.0.1:8000", "127.8.9.1", "[::1]:80"]
)
@pytest.mark.parametrize("path", ["/v1/users", "/v1/recommend", "/health/live", "/"])
def test_this_machine_is_answered_under_its_names(client: Client, host: str, path: str) -> None:
    assert client.get(path, headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8000",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "10.0.0.1",
        "0.0.0.0",
        "[::2]",
        "localhost:80:80",
        "localhost/evil",
        "evil@localhost",
        "localhost, evil.example",
        "x" * 1000,
        "",
    ],
)
def test_another_host_is_refused_everywhere(client: Client, host: str) -> None:
    for method, path in (
        ("GET", "/v1/users"),
        ("DELETE", "/v1/users/ann"),
        ("POST", "/v1/events"),
        ("GET", "/v1/recommend"),
        ("GET", "/api/recommend/ann"),
        ("GET", "/metrics"),
        ("GET", "/health/ready"),
        ("GET", "/"),
        ("GET", "/static/page.js"),
    ):
        assert rule(client.request(method, path, headers={"Host": host})).startswith("Host: ")


def test_hosts_are_names_addresses_and_networks(shop: Path) -> None:
    hosts = hosts_of("0.0.0.0", ["shop.example:443, *.shop.example", "10.0.0.0/8", "[fe80::1]"])
    with client_of(shop, allowed_hosts=hosts) as client:
        for host in (
            "shop.example",
            "SHOP.example:8443",
            "a.b.shop.example",
            "10.3.4.5:80",
            "[FE80::1]",
            "localhost",
        ):
            assert client.get("/v1/users", headers={"Host": host}).status_code == 200, host
        for host in ("example", "xshop.example", "shop.example.evil", "11.0.0.1", "0.0.0.0", "[fe80::2]"):
            rule(client.get("/v1/users", headers={"Host": host}))


def test_a_wildcard_needs_to_know_its_hosts(tmp_path: Path) -> None:
    for host in ("0.0.0.0", "::", "", "0"):
        with pytest.raises(SettingError, match="--allowed-hosts"):
            hosts_of(host, [])
        assert "shop.example" in hosts_of(host, ["shop.example"])
    assert "shop.example" in hosts_of("shop.example", [])
    with pytest.raises(SettingError, match="without scheme"):
        client_of(tmp_path / "unused.db", allowed_hosts=["https://shop.example"])
    with pytest.raises(SettingError, match=r"origin='shop\.example'"):
        origins_of(["shop.example"])
    with pytest.raises(SettingError, match="trusted_proxies='proxy'"):
        networks_of(["10.0.0.0/8,proxy"])


# Pages


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": EVIL},
        {"Origin": "null"},
        {"Origin": "http://localhost:3000"},
        {"Origin": "http://localhost"},
        {"Origin": "file://"},
        {"Origin": "chrome-extension://localhost:8000"},
        {"Origin": f"http://localhost:8000, {EVIL}"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"},
        {"Origin": EVIL, "X-API-Key": "any", "Authorization": "Bearer any"},
    ],
)
def test_pages_of_other_sites_may_nothing(client: Client, headers: dict[str, str]) -> None:
    before = client.get("/v1/users").json(), client.get("/v1/models").json()
    for method, path, body in (
        ("GET", "/v1/users", None),
        ("GET", "/v1/recommend", None),
        ("GET", "/api/recommend/ann?write-back-type=view", None),
        ("POST", "/v1/events", EVENT),
        ("POST", "/api/feedback", []),
        ("DELETE", "/v1/users/ann", None),
        ("POST", "/v1/models/2/activate", None),
        ("POST", "/v1/models/rollback", None),
        ("OPTIONS", "/v1/events", None),
        ("POST", "/login", None),
    ):
        rule(client.request(method, path, json=body, headers=headers))
    assert (client.get("/v1/users").json(), client.get("/v1/models").json()) == before


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://localhost:8000", "Sec-Fetch-Site": "same-origin"},
        {"Origin": "https://localhost:8000"},  # behind a proxy that adds TLS
        {"Sec-Fetch-Site": "none"},
        {},
    ],
)
def test_the_pages_of_the_service_and_programs_may_all(client: Client, headers: dict[str, str]) -> None:
    assert client.post("/v1/events", json=EVENT, headers=headers).status_code == 200
    assert client.get("/api/recommend/ann?write-back-type=view", headers=headers).status_code == 200


def test_other_sites_may_link_to_a_page(client: Client) -> None:
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert client.get("/users", headers=link).status_code == 200
    rule(client.get("/users", headers={"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}))


@pytest.mark.parametrize(
    "headers", [{"Sec-Fetch-Site": "same-site"}, {"Referer": f"{EVIL}/"}, {"Referer": "http://localhost:3000/x"}]
)
def test_a_get_of_another_page_reads_and_stores_nothing(client: Client, headers: dict[str, str]) -> None:
    assert client.get("/api/recommend/img", headers=headers).status_code == 200
    refused = client.get("/api/recommend/img?write-back-type=view", headers=headers)
    assert (refused.status_code, refused.text) == (403, "write-back-type: the page of another site may not write")
    assert client.get("/v1/users/img").json()["events"] == []


def test_sites_that_are_named_may_call(shop: Path) -> None:
    with client_of(shop, origins=origins_of(["https://Shop.example/"])) as client:
        calls = {"Origin": "https://shop.example", "Sec-Fetch-Site": "cross-site"}
        answer = client.post("/v1/events", json=EVENT, headers=calls)
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, calls["Origin"])
        asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
        assert client.options("/v1/events", headers=calls | asked).status_code == 200
        rule(client.post("/v1/events", json=EVENT, headers=calls | {"Origin": EVIL}))
        rule(client.post("/v1/events", json=EVENT, headers=calls | {"Host": "evil.example"}))


def test_a_key_in_a_header_comes_from_anywhere_and_a_cookie_does_not(tmp_path: Path) -> None:
    keys = fill(tmp_path / "shop.db")
    with client_of(tmp_path / "shop.db", keys=True) as client:
        for headers in ({"Origin": EVIL}, {"Sec-Fetch-Site": "cross-site"}):
            assert client.get("/v1/users", headers=headers | {"X-API-Key": keys["read"]}).status_code == 200
            rule(client.get("/v1/users", headers=headers | {"Cookie": f"palate_key={keys['read']}"}))
            rule(client.get("/v1/users", headers=headers | {"X-API-Key": "pk_wrong"}))
        cookie = {"Cookie": f"a=b; palate_key={keys['admin']}"}
        assert client.get("/v1/users", headers=cookie).status_code == 200
        link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
        assert client.get("/users", headers=link, follow_redirects=False).status_code == 303


# Kinds of bodies


@pytest.mark.parametrize(
    "kind",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "json", "text/json"],
)
def test_a_body_of_another_kind_is_refused(client: Client, kind: str) -> None:
    for method, path in (
        ("POST", "/v1/events"),
        ("PUT", "/v1/items/i1"),
        ("POST", "/api/feedback"),
        ("POST", "/v1/recommend"),
    ):
        answer = client.request(method, path, content=b'{"a": 1}', headers={"Content-Type": kind})
        assert "a body must be application/json" in rule(answer, 415)
    twice = [("Content-Type", "application/json"), ("Content-Type", kind)]
    assert "twice" in rule(client.post("/v1/events", content=b"[]", headers=twice), 400)


@pytest.mark.parametrize("kind", [None, "application/json", "Application/JSON; charset=utf-8", "application/x+json"])
def test_json_is_taken_with_or_without_its_name(client: Client, kind: str | None) -> None:
    headers = {} if kind is None else {"Content-Type": kind}
    for method, path, body in (
        ("POST", "/v1/events", b'{"user_id": "u", "item_id": "i", "event_type": "like"}'),
        ("PUT", "/v1/items/i4", b'{"title": "Four"}'),
        ("POST", "/api/feedback", b'[{"FeedbackType": "like", "UserId": "u", "ItemId": "i1"}]'),
        ("POST", "/v1/recommend/session", b'{"history": ["i1"]}'),
    ):
        assert client.request(method, path, content=body, headers=headers).status_code == 200


# In a browser

PAGE = """<!doctype html><title>evil</title><img src="{service}/api/recommend/img?n=5&write-back-type=view">
<iframe name="sink"></iframe>
<form method="post" action="{service}/v1/models/2/activate" target="sink"></form>
<script>
const event = JSON.stringify({{user_id: "csrf", item_id: "i1", event_type: "like"}});
const send = (path, more) => fetch("{service}" + path, {{mode: "no-cors", ...more}}).then(a => a.type, e => "");
const call = (path, more) => fetch("{service}" + path, more).then(a => a.json(), e => "blocked");
async function attack() {{
  document.forms[0].submit();
  return [
    await send("/v1/events", {{method: "POST", body: event}}),
    await send("/v1/events", {{method: "POST", body: new Blob([event])}}),
    await send("/v1/models/rollback", {{method: "POST"}}),
    await call("/v1/events", {{method: "POST", headers: {{"Content-Type": "application/json"}}, body: event}}),
    await call("/v1/users", {{headers: {{"X-API-Key": "any"}}}}),
    await call("/v1/users"),
  ];
}}
</script>"""


class Evil(BaseHTTPRequestHandler):
    """Another site."""

    page = b""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(self.page)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def sites(tmp_path: Path) -> Iterator[tuple[Served, str]]:
    """A service without keys, and the port of a page of another site."""
    fill(tmp_path / "shop.db")
    other = ThreadingHTTPServer(("127.0.0.1", 0), Evil)
    port = other.server_address[1]
    threading.Thread(target=other.serve_forever, daemon=True).start()
    with serving(tmp_path, "--store", "shop.db", "--origin", f"http://friend.example:{port}") as served:
        Evil.page = PAGE.format(service=str(served.client.base_url).rstrip("/")).encode()
        yield served, str(port)
    other.shutdown()
    other.server_close()


@in_chromium
def test_a_page_of_another_site_in_chromium(sites: tuple[Served, str]) -> None:
    served, port = sites
    with sync_playwright() as playwright:
        rules = "--host-resolver-rules=MAP *.example 127.0.0.1"
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", rules])
        page = browser.new_page()
        for site in ("evil.example", "localhost"):  # another site, and another port of this one
            page.goto(f"http://{site}:{port}/")
            assert page.evaluate("attack()")[3:] == ["blocked"] * 3
            page.wait_for_load_state("networkidle")
        assert served.client.get("/v1/users").json()["users"] == ["ann"]
        assert served.client.get("/v1/models").json()["models"][1]["active"]
        page.goto(f"http://friend.example:{port}/")
        users = {"users": ["ann", "csrf"], "next": None}
        assert page.evaluate("attack()")[3:] == [{"accepted": 1, "repeated": 0}, users, users]
        rebound = page.goto(f"http://evil.example:{served.client.base_url.port}/v1/users")  # DNS rebinding
        assert rebound is not None
        assert rebound.status == 403
        own = page.goto(f"{served.client.base_url}/user?user=ann")
        assert own is not None
        assert own.status == 200
        browser.close()
