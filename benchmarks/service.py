"""What the benchmarks of the live service share: processes of `palate serve`, filled stores, a light HTTP client."""

from __future__ import annotations

import json
import multiprocessing
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from common import RESULTS, title

from palate import IALS
from palate.data.interactions import Interactions
from palate.live.importing import import_model
from palate.store.events import Store
from palate.store.items import Item
from palate.store.transfer import import_events
from palate.store.versions import Versions

ADDRESS = "127.0.0.1"
IDLE = 3.0  # seconds after which the server may be about to close a connection
GENRES = ("action", "comedy", "crime", "drama", "fantasy", "horror", "romance", "sci-fi", "thriller", "western")


class Answer(NamedTuple):
    """What a server said; body is JSON where it is that, head is in small letters."""

    status: int
    body: Any
    head: bytes = b""


class Client:
    """One connection that stays open while it is in use. Raises `OSError` where the server is gone."""

    def __init__(self, port: int, timeout: float = 30.0) -> None:
        self.port, self.timeout = port, timeout
        self._socket: socket.socket | None = None
        self._used = 0.0

    def __del__(self) -> None:
        self.close()

    def get(self, path: str) -> Answer:
        """Ask with GET."""
        return self.ask(message("GET", path))

    def post(self, path: str, body: object) -> Answer:
        """Ask with POST, JSON in the body."""
        return self.ask(message("POST", path, body))

    def ask(self, request: bytes) -> Answer:
        """Send a whole request, wait for the whole answer; after an error the next one opens a new connection."""
        if time.monotonic() - self._used > IDLE:
            self.close()
        try:
            if self._socket is None:
                self._socket = connected(self.port, self.timeout)
            self._socket.sendall(request)
            taken = Taken()
            while not taken.whole:
                taken.take(self._socket.recv(1 << 16))
        except BaseException:
            self.close()
            raise
        self._used = time.monotonic()
        return Answer(taken.status, json.loads(taken.body) if taken.body else None, taken.head)

    def close(self) -> None:
        """Close the connection."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class Taken:
    """An answer with a content-length, as it comes in."""

    def __init__(self) -> None:
        self.content = b""
        self.ends = 0

    def take(self, part: bytes) -> None:
        """Take the next part. Raises `ConnectionError` for the end of the connection."""
        if not part:
            raise ConnectionError("the server closed the connection")
        self.content += part
        if not self.ends and (head := self.content.find(b"\r\n\r\n")) >= 0:
            length = self.content.lower().find(b"content-length:", 0, head)
            self.ends = head + 4 + int(self.content[length + 15 : self.content.find(b"\r", length)])

    @property
    def whole(self) -> bool:
        """Whether all of it is here."""
        return 0 < self.ends <= len(self.content)

    @property
    def status(self) -> int:
        """The status code."""
        return int(self.content[9:12])

    @property
    def head(self) -> bytes:
        """The lines before the body, in small letters."""
        return self.content[: self.content.find(b"\r\n\r\n")].lower()

    @property
    def body(self) -> bytes:
        """The body."""
        return self.content[self.content.find(b"\r\n\r\n") + 4 : self.ends]


def message(method: str, path: str, body: object = None) -> bytes:
    """Write a request."""
    content = b"" if body is None else json.dumps(body).encode()
    kind = "" if body is None else f"content-type: application/json\r\ncontent-length: {len(content)}\r\n"
    return f"{method} {path} HTTP/1.1\r\nhost: {ADDRESS}\r\n{kind}\r\n".encode() + content


def connected(port: int, timeout: float = 30.0) -> socket.socket:
    """Open a connection that sends without delay."""
    opened = socket.create_connection((ADDRESS, port), timeout)
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return opened


class Served:
    """A running `palate serve`: the process that was started, and those that it started."""

    def __init__(self, process: subprocess.Popen[bytes] | Forked | Joined, port: int, log: Path) -> None:
        self.process, self.port, self.log = process, port, log

    def client(self, timeout: float = 30.0) -> Client:
        """Open a connection."""
        return Client(self.port, timeout)

    def wait(self, seconds: float = 120.0) -> float:
        """Wait until it is ready; returns the seconds that took. Raises `OSError` with its log if it ends instead."""
        began = time.perf_counter()
        while time.perf_counter() - began < seconds:
            if self.process.poll() is not None:
                break
            try:
                if Client(self.port, 5.0).get("/health/ready").status == 200:
                    return time.perf_counter() - began
            except OSError:
                time.sleep(0.005)
        raise OSError(f"palate serve is not ready: {self.log.read_text()[-2000:]}")

    def pids(self) -> list[int]:
        """Numbers of its processes, the first one's first."""
        return [self.process.pid, *_children(self.process.pid)]

    def memory(self) -> float:
        """Resident megabytes of all processes together, without what they share and what files are mapped for."""
        return sum(_private(pid) for pid in self.pids()) / 1e6

    def seconds(self) -> float:
        """CPU seconds used so far."""
        ticks = 0
        for pid in self.pids():
            parts = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
            ticks += int(parts[11]) + int(parts[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def kill(self) -> None:
        """End all processes at once, with no time to do anything."""
        for pid in self.pids():
            os.kill(pid, signal.SIGKILL)
        self.process.wait()

    def stop(self, seconds: float = 30.0) -> int:
        """End by SIGTERM; returns the exit code."""
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(seconds)


def start(
    url: str | Path,
    *options: str,
    port: int | None = None,
    nice: int = 0,
    temporary: Path | None = None,
    before: str = "",
) -> Served:
    """Start `palate serve` over a store, on a free port unless one is given; it is not ready yet.

    temporary  folder of its temporary files
    before     code that its process runs first
    """
    number = port or free_port()
    log = Path(tempfile.mkstemp(prefix="palate-serve-", suffix=".log")[1])
    command = [sys.executable, "-c", f"{before}\nfrom palate.cli import main; main()", "serve", "--store", str(url)]
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*command, "--port", str(number), *options],
            stdout=out,
            stderr=out,
            env=os.environ | ({"TMPDIR": str(temporary)} if temporary else {}),
            preexec_fn=lambda: _begin(nice),
            start_new_session=True,  # it ends when its benchmark says so
        )
    return Served(process, number, log)


class Joined:
    """A process that another one started, in the manner of `subprocess.Popen`."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def poll(self) -> int | None:
        """Return None as long as it runs."""
        with suppress(OSError):
            if Path(f"/proc/{self.pid}/stat").read_text().rpartition(") ")[2][0] != "Z":
                return None
        return 0

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end. Raises `TimeoutError`."""
        end = time.monotonic() + (timeout or 60)
        while self.poll() is None:
            if time.monotonic() > end:
                raise TimeoutError(f"process {self.pid} has not ended")
            time.sleep(0.01)
        return 0

    def terminate(self) -> None:
        """Send SIGTERM."""
        os.kill(self.pid, signal.SIGTERM)


def _begin(nice: int = 0) -> None:
    """Have the signals of a terminal, which whoever runs in the background of a script would not hand down."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.nice(nice)


class Forked:
    """A child of a process that has everything loaded, in the manner of `subprocess.Popen`: it is up at once."""

    def __init__(self, arguments: Sequence[str], log: Path) -> None:
        self._process = _FORKS.Process(target=_serve, args=(list(arguments), log))
        self._process.start()
        self.pid = self._process.pid or 0

    def poll(self) -> int | None:
        """Return the exit code, None before the end."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end. Raises `TimeoutError`."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise TimeoutError(f"process {self.pid} has not ended within {timeout} s")
        return self._process.exitcode

    def terminate(self) -> None:
        """Send SIGTERM."""
        self._process.terminate()


_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["palate.serve.app", "palate.serve.run", "palate.cli", "palate.live.training"])


def _serve(arguments: list[str], log: Path) -> None:
    """Be `palate` with these arguments."""
    os.setsid()
    _begin()
    with log.open("wb") as out:
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)
    sys.argv[1:] = arguments
    from palate.cli import main

    main()


def fork(url: str | Path, *options: str) -> Served:
    """Start as `start` does, without the seconds that imports take."""
    port = free_port()
    log = Path(tempfile.mkstemp(prefix="palate-serve-", suffix=".log")[1])
    return Served(Forked(["serve", "--store", str(url), "--port", str(port), *options], log), port, log)


@contextmanager
def serving(url: str | Path, *options: str) -> Iterator[Served]:
    """Serve until the end of the block."""
    served = start(url, *options)
    try:
        served.wait()
        yield served
    finally:
        if served.process.poll() is None:
            served.kill()
        served.log.unlink(missing_ok=True)


def free_port() -> int:
    """Find a port that nobody listens on."""
    with socket.socket() as found:
        found.bind((ADDRESS, 0))
        return int(found.getsockname()[1])


def _children(pid: int) -> list[int]:
    found = [int(name) for name in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return found + [grandchild for child in found for grandchild in _children(child)]


def _private(pid: int) -> int:
    facts = dict(line.split(":") for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])
    return int(facts["Private_Dirty"].split()[0]) * 1024


# Stores


def fill(url: str | Path, log: Interactions, attributes: Sequence[dict[str, Any]], dim: int = 64) -> None:
    """Make a store of a log and the attributes of its items, answered by an IALS model of it."""
    names = log.items.ids.to_list()
    with Store.open(url) as store:
        for low in range(0, len(names), 50_000):
            part = zip(names[low : low + 50_000], attributes[low : low + 50_000], strict=True)
            store.items.put(Item(str(name), told) for name, told in part)
        import_events(store, log.to_frame(), event_type="view")
        with tempfile.TemporaryDirectory() as folder:
            IALS(dim=dim, epochs=4).fit(log).save(Path(folder) / "model")
            import_model(store, Versions(store), Path(folder) / "model")


def goods(n: int) -> list[dict[str, Any]]:
    """Attributes of n items: a title, one to three categories, a price."""
    draw = np.random.default_rng(1)
    price, first, many = draw.gamma(2.0, 10.0, n).round(2), draw.integers(0, len(GENRES), n), draw.integers(1, 4, n)
    return [
        {
            "title": f"Item number {number}",
            "categories": [GENRES[(genre + 3 * each) % len(GENRES)] for each in range(count)],
            "price": cost,
        }
        for number, (cost, genre, count) in enumerate(zip(price.tolist(), first.tolist(), many.tolist(), strict=True))
    ]


# Load


class Timings(NamedTuple):
    """Seconds from when a request was due to its whole answer, (N,); how many failed; requests a second reached."""

    seconds: np.typing.NDArray[np.float64]
    failed: int
    rate: float

    def ms(self, share: float) -> float:
        """Milliseconds that this share of the requests stays within."""
        return float(np.quantile(self.seconds, share) * 1000)


def paced(port: int, requests: Sequence[bytes], rate: float, connections: int = 32, seed: int = 0) -> Timings:
    """Send the requests at random moments (Poisson), `rate` a second, whatever the server does.

    Each is timed from the moment when it was due, also where it had to wait for a free connection: a slow answer
    delays no measurement of others (no coordinated omission).
    """
    due = np.cumsum(np.random.default_rng(seed).exponential(1 / rate, len(requests)))
    idle = deque(connected(port) for _ in range(connections))  # in turn, so that none is closed for being idle
    busy: dict[socket.socket, tuple[float, Taken]] = {}
    seconds, failed, sent = [], 0, 0
    began = time.perf_counter()
    while sent < len(requests) or busy:
        moment = time.perf_counter() - began
        while sent < len(requests) and idle and due[sent] <= moment:
            free = idle.popleft()
            free.sendall(requests[sent])
            busy[free] = due[sent], Taken()
            sent += 1
        wait = 10.0 if sent == len(requests) or not idle else max(0.0, due[sent] - (time.perf_counter() - began))
        for ready in select.select(list(busy), (), (), wait)[0]:
            moment, taken = busy[ready]
            taken.take(ready.recv(1 << 16))
            if taken.whole:
                seconds.append(time.perf_counter() - began - moment)
                failed += taken.status != 200
                del busy[ready]
                idle.append(ready)
    whole = time.perf_counter() - began
    for each in idle:
        each.close()
    return Timings(np.array(seconds), failed, len(requests) / whole)


# Results


def report(name: str, what: str, facts: dict[str, Any], *, publish: bool = True) -> None:
    """Print the facts, and keep them in benchmarks/results/NAME.json with the date, machine and versions."""
    head = title(what, ("numpy", "polars", "fastapi", "uvicorn", "sqlalchemy", "palate"))
    body = {"what": what, "machine": head[2], **facts}
    text = json.dumps(body, indent=2)
    print(text)
    if publish:
        RESULTS.mkdir(parents=True, exist_ok=True)
        (RESULTS / f"{name}.json").write_text(text + "\n", encoding="utf-8")
