"""Processes of `palate serve`: started, forked, measured, ended."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from benchmarks.common.client import ADDRESS, Client


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
    variables: Mapping[str, str] | None = None,
) -> Served:
    """Start `palate serve` over a store, on a free port unless one is given; it is not ready yet.

    temporary  folder of its temporary files
    before     code that its process runs first
    variables  of its environment, beside those of this process
    """
    number = port or free_port()
    log = Path(tempfile.mkstemp(prefix="palate-serve-", suffix=".log")[1])
    command = [sys.executable, "-c", f"{before}\nfrom palate.cli import main; main()", "serve", "--store", str(url)]
    command += [] if "--recipe" in options else ["--recipe", "ials"]
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*command, "--port", str(number), *options],
            stdout=out,
            stderr=out,
            env=os.environ | ({"TMPDIR": str(temporary)} if temporary else {}) | dict(variables or {}),
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
    """A child of a process that has everything loaded, in the manner of `subprocess.Popen`: it is up at once.

    arguments    of `palate`
    log          file of what it prints
    folder       where it runs
    environment  variables beside those of the first process that forks
    """

    def __init__(
        self, arguments: Sequence[str], log: Path, folder: Path | None = None, environment: Mapping[str, str] = {}
    ) -> None:
        self._process = FORKS.Process(target=_palate, args=(list(arguments), log, folder, dict(environment)))
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

    def send_signal(self, number: int) -> None:
        """Send a signal."""
        os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self._process.terminate()


FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["palate.serve.app", "palate.serve.run", "palate.cli", "palate.live.training"])


def _palate(arguments: list[str], log: Path, folder: Path | None, environment: Mapping[str, str]) -> None:
    """Be `palate` with these arguments."""
    os.setsid()
    _begin()
    os.environ.update(environment)
    if folder:
        os.chdir(folder)
    with log.open("ab") as out:
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)
    sys.argv[1:] = arguments
    from palate.cli import main

    main()


def fork(url: str | Path, *options: str) -> Served:
    """Start as `start` does, without the seconds that imports take."""
    port = free_port()
    log = Path(tempfile.mkstemp(prefix="palate-serve-", suffix=".log")[1])
    return Served(
        Forked(["serve", "--store", str(url), "--port", str(port), "--recipe", "ials", *options], log), port, log
    )


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
    """Find a port that is free."""
    with socket.socket() as found:
        found.bind((ADDRESS, 0))
        return int(found.getsockname()[1])


def _children(pid: int) -> list[int]:
    """Return the processes below one; none if it has ended meanwhile."""
    try:
        found = [int(name) for name in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []
    return found + [grandchild for child in found for grandchild in _children(child)]


def _private(pid: int) -> int:
    facts = dict(line.split(":") for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])
    return int(facts["Private_Dirty"].split()[0]) * 1024
