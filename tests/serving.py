"""A real `palate serve` for tests: a process of its own on a free port."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2 as httpx
from processes import PALATE, started

EXAMPLE = Path(__file__).parents[1] / "examples" / "movielens-small"
PATIENCE = 60  # seconds that a server may take to come up or go down


@dataclass
class Served:
    """A running server: a client that speaks to it, its process, and the file its words go to."""

    client: httpx.Client
    process: subprocess.Popen[bytes]
    words: Path

    @property
    def said(self) -> str:
        return self.words.read_text()

    def stop(self, how: int = signal.SIGTERM) -> int:
        self.process.send_signal(how)
        return self.process.wait(PATIENCE)


def plain(address: str, **options: Any) -> httpx.Client:
    """Make a client of a server without TLS; httpx reads all certificates by default, which takes 20 ms a client."""
    return httpx.Client(base_url=address, verify=False, **options)


@contextmanager
def serving(folder: Path, *arguments: str, key: str | None = None) -> Iterator[Served]:
    """Run `palate serve` in a folder until the block ends."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    recipe = () if "--recipe" in arguments else ("--recipe", "ials")  # `auto` would search for a minute
    command = [*PALATE, "serve", "--port", str(port), *arguments, *recipe]
    words = folder / "server.log"
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    options: dict[str, Any] = {"cwd": folder, "env": os.environ | {"NO_COLOR": "1"}}
    with (
        words.open("ab") as log,
        started(command, stdout=log, stderr=log, **options) as process,
        plain(f"http://127.0.0.1:{port}", timeout=30, headers=headers) as client,
    ):
        served = Served(client, process, words)
        _await(served)
        yield served
        if process.poll() is None:
            served.stop()


def _await(served: Served) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if served.process.poll() is not None:
            break
        try:
            if served.client.get("/health/ready").status_code in (200, 401):
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise AssertionError(f"the server did not come up:\n{served.said}")
