"""The examples of reverse proxies, with a real nginx and Caddy in front of a real service."""

from __future__ import annotations

import os
import re
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2 as httpx
import pytest
from processes import started
from serving import plain, serving

from palate.serve.rates import AT_ONCE

EXAMPLES = Path(__file__).parents[1] / "examples" / "proxy"
NGINX = """daemon off; pid {folder}/pid; error_log {folder}/error.log; events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
{example}
}}"""


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def nginx(folder: Path, port: int, service: int) -> list[str]:
    """Write the example for a port without TLS; returns the command."""
    text = (EXAMPLES / "nginx.conf").read_text()
    plain = re.sub(r".*ssl_certificate.*\n", "", text).replace("443 ssl", f"127.0.0.1:{port}")
    (folder / "nginx.conf").write_text(
        NGINX.format(folder=folder, example=plain.replace("127.0.0.1:8000", f"127.0.0.1:{service}"))
    )
    return ["nginx", "-e", f"{folder}/error.log", "-c", f"{folder}/nginx.conf"]


def caddy(folder: Path, port: int, service: int) -> list[str]:
    """Write the example for a port without TLS; returns the command."""
    text = (EXAMPLES / "Caddyfile").read_text().replace("127.0.0.1:8000", f"127.0.0.1:{service}")
    plain = text.replace("\nshop.example {", f"\nhttp://shop.example:{port} {{").replace("\n{", "\n{\n\tadmin off", 1)
    (folder / "Caddyfile").write_text(plain)
    return ["caddy", "run", "--adapter", "caddyfile", "--config", f"{folder}/Caddyfile"]


@pytest.fixture(params=[nginx, caddy])
def proxied(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[httpx.Client]:
    """A client of a proxy of one kind, before a service of few requests a second."""
    name = request.param.__name__
    if shutil.which(name) is None:
        pytest.skip(f"no {name} here: apt-get install {'nginx-light' if name == 'nginx' else name}")
    port = free_port()
    options = ("--allowed-hosts", "shop.example", "--trusted-proxies", "127.0.0.1", "--rate", "5")
    with serving(tmp_path, "--store", "shop.db", *options) as served:
        command = request.param(tmp_path, port, served.client.base_url.port)
        log = (tmp_path / "proxy.log").open("wb")
        environment = os.environ | {"HOME": str(tmp_path)}
        with (
            log,
            started(command, stdout=log, stderr=log, env=environment),
            plain(f"http://127.0.0.1:{port}", headers={"Host": "shop.example"}) as client,
        ):
            _await(client, tmp_path / "proxy.log")
            time.sleep(AT_ONCE)  # by the rule of the rate, the client may then send as many requests as ever
            yield client


def _await(client: httpx.Client, log: Path) -> None:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            if client.get("/health/live").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise AssertionError(log.read_text())


def test_a_proxy_by_the_example(proxied: httpx.Client) -> None:
    event = {"user_id": "u", "item_id": "i", "event_type": "like"}
    origin = str(proxied.base_url).rstrip("/").replace("127.0.0.1", "shop.example")
    proxied.headers["Host"] = origin.partition("//")[2]  # as a browser sends it
    assert proxied.post("/v1/events", json=event, headers={"Origin": origin}).status_code == 200
    assert proxied.post("/v1/events", json=event, headers={"Origin": "https://evil.example"}).status_code == 403
    assert proxied.get("/metrics").status_code == 404
    assert proxied.post("/v1/events", content=b" " * (17 << 20)).status_code == 413
    big = proxied.get("/health/live", headers={"x": "y" * 100_000})
    assert big.status_code in (400, 431, 494)
    other = proxied.get("/v1/users", headers={"Host": "evil.example"})
    assert (other.status_code, other.content) in ((421, other.content), (200, b""))  # not of the service
    spoofed = [proxied.get("/v1/users", headers={"X-Forwarded-For": f"10.1.1.{n}"}) for n in range(40)]
    assert sum(answer.status_code == 429 for answer in spoofed) >= 20
