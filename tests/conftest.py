"""Small, lopsided logs: 30 users and 20 items, so that swapped axes fail."""

from __future__ import annotations

import fcntl
import gc
import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

MEMORY = Path("/dev/shm")
if "PYTEST_VERSION" in os.environ:  # set before numpy and torch are loaded, and for processes that tests start
    # Threads of OpenMP and BLAS wait for one another by spinning: beside another process it costs ten times the CPU.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    for library in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(library, "1")
    # Files lie in memory where there is room: no test can tell, and none of many thousand commits waits for a disk.
    if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > 4 << 30:
        tempfile.tempdir = os.environ.setdefault("TMPDIR", str(MEMORY))  # pytest has looked before

import pytest
from hypothesis import settings
from numba.core.compiler_lock import global_compiler_lock
from numba.core.dispatcher import Dispatcher

from palate.data.interactions import Interactions
from palate.testing.logs import ITEMS, USERS, block_events, catalogue_of, log_of

__all__ = ["ITEMS", "USERS", "Run", "block_events", "catalogue_of", "log_of"]

Run = Callable[..., tuple[int, str, str]]

settings.register_profile("palate", deadline=None)  # a first call compiles
settings.load_profile("palate")


def pytest_collection() -> None:
    """Leave the garbage of imports for later."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Let collections skip what was imported, 700,000 objects: it took a third of a second each time."""
    gc.collect()
    gc.freeze()
    gc.enable()


# Files that take longest, many of them waiting for processes: they come first, so that no core is idle at the end.
LONGEST = (
    *("reliability", "contract", "serve", "docs", "page", "choosing", "cli", "bounds"),
    *("gorse", "given_up", "browser", "store", "transformer"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the files, which processes take one after the other."""
    place = {f"test_{name}": n for n, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.stem, len(place)))


def pytest_configure() -> None:
    """Let one process compile a kernel while the others wait for it: they share a cache on the disk."""
    run, compiled, held = os.environ.get("PYTEST_XDIST_TESTRUNUID"), Dispatcher.compile, set[str]()
    if run is None:
        return

    def compiled_once(kernel: Any, signature: Any) -> Any:
        key = hashlib.sha1(
            f"{kernel.py_func.__module__} {kernel.py_func.__qualname__} {signature}".encode()
        ).hexdigest()
        if key in held:
            return compiled(kernel, signature)
        # numba's own lock first: a thread that has it never waits for a file that another of its process has locked.
        with global_compiler_lock, Path(tempfile.gettempdir(), f"palate-kernel-{run}-{key}").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            held.add(key)
            try:
                return compiled(kernel, signature)
            finally:
                held.discard(key)
                Path(file.name).unlink(missing_ok=True)

    pytest.MonkeyPatch().setattr(Dispatcher, "compile", compiled_once)


@pytest.fixture
def block_log() -> Interactions:
    return log_of(block_events())


@pytest.fixture
def palate(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command line in this process, and return its status, output and messages."""
    from palate.cli import main

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["palate", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        return int(end.value.code or 0), *capsys.readouterr()

    return run
