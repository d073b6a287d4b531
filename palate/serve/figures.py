"""The folder that the workers of a service share, for their figures; that of a killed service is swept."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import time

COLLECTED = "PROMETHEUS_MULTIPROC_DIR"  # of the environment: the folder, where there are several workers
PREFIX = "palate-figures-"
LOCK = "lock"  # a file in it, locked as long as its service lives
FRESH = 60.0  # seconds after its making in which a folder may not have its lock yet


@contextmanager
def figures() -> Iterator[Path]:
    """Make a folder, and remove it at the end; those that killed services left are removed now."""
    sweep(Path(tempfile.gettempdir()))
    with tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True) as name:
        folder = Path(name)
        with (folder / LOCK).open("wb") as lock:
            _locked(lock.fileno())
            yield folder


def sweep(temporary: Path) -> None:
    """Remove the folders of services that are no more."""
    for folder in temporary.glob(f"{PREFIX}*"):
        with suppress(OSError), (folder / LOCK).open("rb") as lock:  # another user's, or without a lock: left alone
            if time() - os.fstat(lock.fileno()).st_mtime > FRESH and _locked(lock.fileno()):
                shutil.rmtree(folder, ignore_errors=True)


def _locked(file: int) -> bool:
    """Take the lock of a file, which ends with the process; False if another has it, or there are no such locks."""
    try:
        from fcntl import LOCK_EX, LOCK_NB, flock

        flock(file, LOCK_EX | LOCK_NB)
    except (ImportError, OSError):
        return False
    return True
