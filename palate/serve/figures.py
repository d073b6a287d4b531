"""The folder of metrics that the workers of a service share; the next start removes that of a killed service."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import time

COLLECTED = "PROMETHEUS_MULTIPROC_DIR"  # environment variable with the folder, where there are several workers
PREFIX = "palate-figures-"
LOCK = "lock"  # a file in the folder, locked while its service runs
FRESH = 60.0  # seconds in which a new folder may not be locked yet


@contextmanager
def figures() -> Iterator[Path]:
    """Make a folder and remove it at the end; folders of killed services are removed at once."""
    sweep(Path(tempfile.gettempdir()))
    with tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True) as name:
        folder = Path(name)
        with (folder / LOCK).open("wb") as lock:
            _locked(lock.fileno())
            yield folder


def sweep(temporary: Path) -> None:
    """Remove the folders of services that no longer run."""
    for folder in temporary.glob(f"{PREFIX}*"):
        with suppress(OSError), (folder / LOCK).open("rb") as lock:  # another user's, or without a lock: left alone
            if time() - os.fstat(lock.fileno()).st_mtime > FRESH and _locked(lock.fileno()):
                shutil.rmtree(folder, ignore_errors=True)


def _locked(file: int) -> bool:
    """Lock a file until the process ends; False if another process has the lock, or the system has no such locks."""
    try:
        from fcntl import LOCK_EX, LOCK_NB, flock

        flock(file, LOCK_EX | LOCK_NB)
    except (ImportError, OSError):
        return False
    return True
