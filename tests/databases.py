"""Databases for tests of the store: an SQLite file, and a database of a real PostgreSQL server."""

from __future__ import annotations

import atexit
import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

KINDS = ("sqlite", "postgresql")
NUMBERS = count(1)


class Server:
    """A PostgreSQL server of its own, reached through a socket in its folder; it ends with the process."""

    def __init__(self, programs: Path, folder: Path | None = None) -> None:
        self.programs = programs
        self.folder = folder or Path(tempfile.mkdtemp(prefix="palate-pg-"))
        self.user: str | None = None
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            self.user = next(
                name for name in ("postgres", "nobody") if name in {each.pw_name for each in pwd.getpwall()}
            )
            shutil.chown(self.folder, self.user)
        atexit.register(self.end)
        self.run(
            "initdb", "-D", str(self.data), "-U", "palate", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8"
        )
        self.start()

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def run(self, program: str, *arguments: str) -> None:
        command = [str(self.programs / program), *arguments]
        done = subprocess.run(command, user=self.user, cwd=self.folder, capture_output=True, text=True, check=False)
        if done.returncode:
            raise OSError(f"{program}: {done.stderr.strip() or done.stdout.strip()}")

    def start(self) -> None:
        settings = f"-c listen_addresses='' -c unix_socket_directories={self.folder} -c shared_buffers=64MB"
        self.run("pg_ctl", "-D", str(self.data), "-l", str(self.folder / "log"), "-o", settings, "-w", "start")

    def stop(self, mode: str = "immediate") -> None:
        self.run("pg_ctl", "-D", str(self.data), "-m", mode, "-w", "stop")

    def running(self) -> bool:
        with suppress(OSError):
            self.run("pg_ctl", "-D", str(self.data), "status")
            return True
        return False

    def end(self) -> None:
        with suppress(OSError):
            self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, name: str) -> str:
        return f"postgresql://palate@/{name}?host={self.folder}"

    def create(self) -> str:
        """Make an empty database; returns its URL."""
        name = f"test{next(NUMBERS)}"
        engine = create_engine(self.url("postgres").replace("://", "+psycopg://"), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
        engine.dispose()
        return self.url(name)


@cache
def server() -> Server | str:
    """The server of this test run, or why there is none: from the system, or from the package pgserver."""
    reasons = []
    for programs in _programs():
        try:
            return Server(programs)
        except (OSError, StopIteration) as error:
            reasons.append(f"{programs}: {error}")
    return "no PostgreSQL: " + ("; ".join(reasons) or "neither in /usr/lib/postgresql nor the package pgserver")


def _programs() -> Iterator[Path]:
    yield from sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    found = importlib.util.find_spec("pgserver")
    if found is not None and found.origin is not None:
        yield Path(found.origin).parent / "pginstall" / "bin"


def new_database(kind: str, folder: Path) -> str:
    """URL of a database that holds nothing yet; skips the test where there is no PostgreSQL."""
    if kind == "sqlite":
        return f"sqlite:///{folder}/store{next(NUMBERS)}.db"
    running = server()
    if isinstance(running, str):
        pytest.skip(running)
    return running.create()


@pytest.fixture(params=KINDS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return new_database(request.param, tmp_path)
