"""A real `palate serve` for tests: a process of its own on a free port."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2 as httpx
from processes import PALATE, started

from benchmarks.common.served import Forked, free_port

EXAMPLE = Path(__file__).parents[1] / "examples" / "movielens-small"
PATIENCE = 120  # seconds that a server may take to come up or go down


Process = Forked | subprocess.Popen[bytes]


@dataclass
class Served:
    """A running server: a client that speaks to it, its process, and the file its words go to."""

    client: httpx.Client
    process: Process
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
def serving(folder: Path, *arguments: str, key: str | None = None, forked: bool = True) -> Iterator[Served]:
    """Run `palate serve` in a folder until the block ends; then it is killed, with all that it started.

    forked  without the time of imports, but for several workers; the list of processes does not show its arguments
    """
    port = free_port()
    recipe = () if "--recipe" in arguments else ("--recipe", "ials")  # `auto` would search for a minute
    words = folder / "server.log"
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    command = ["serve", "--port", str(port), *arguments, *recipe]
    with (
        _running(command, words, folder, forked and "--workers" not in arguments) as process,
        plain(f"http://127.0.0.1:{port}", timeout=30, headers=headers) as client,
    ):
        served = Served(client, process, words)
        _await(served)
        yield served
        if process.poll() is None:
            served.stop()


@contextmanager
def _running(command: list[str], words: Path, folder: Path, forked: bool) -> Iterator[Process]:
    environment = os.environ | {"NO_COLOR": "1"}
    if not forked:
        with words.open("ab") as log:
            options: dict[str, Any] = {"cwd": folder, "env": environment}
            with started([*PALATE, *command], stdout=log, stderr=log, **options) as process:
                yield process
        return
    child = Forked(command, words, folder, environment)
    try:
        yield child
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()


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
