"""Files written aside, flushed and renamed: what a kill leaves is swept by the next write beside it."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import polars as pl

from palate.errors import StoreError

ASIDE = re.compile(r"\..+\.[0-9a-f]{32}\.new")
SIDECARS = ("-wal", "-shm", "-journal", "-turn")  # what SQLite and its writers keep beside a file
FAULTS = (OSError, sqlite3.Error, pl.exceptions.PolarsError)  # of what writes files


@contextmanager
def aside_of(target: Path, *, folder: bool = False) -> Iterator[Path]:
    """Make an empty file, or a folder, beside a target, to be written and renamed; what is not renamed is removed.

    Only its owner may read it, or the readers of the target that it replaces. It is locked as long as its process
    lives, so that files of dead processes can be removed.
    """
    _sweep(target.parent)
    mode = target.stat().st_mode & 0o777 if target.exists() else 0o700 if folder else 0o600
    handle, path = _locked(target, folder, mode)
    try:
        yield path
    finally:
        remove(path)
        os.close(handle)


def _locked(target: Path, folder: bool, mode: int) -> tuple[int, Path]:
    """Make a path aside and lock it; made again if a sweep took it in between."""
    while True:
        path = target.with_name(f".{target.name}.{uuid.uuid4().hex}.new")
        if folder:
            path.mkdir(mode)
            handle = os.open(path, os.O_RDONLY)
        else:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, mode)
        if lock(handle) and path.exists():
            path.chmod(mode)
            return handle, path
        os.close(handle)


def lock(handle: int, *, wait: bool = False) -> bool:
    """Lock an open file or folder until it is closed; False if another process has it. Without locks, True.

    wait  waits until the other process releases it
    """
    with suppress(BlockingIOError):
        with suppress(ImportError):
            from fcntl import LOCK_EX, LOCK_NB, flock

            flock(handle, LOCK_EX if wait else LOCK_EX | LOCK_NB)
        return True
    return False


def share(handle: int) -> None:
    """Lock an open file for sharing, in place of an exclusive lock; waits for the holder of an exclusive one."""
    with suppress(ImportError):
        from fcntl import LOCK_SH, flock

        flock(handle, LOCK_SH)


def _sweep(folder: Path) -> None:
    """Remove what killed processes left aside."""
    for path in folder.iterdir() if os.name == "posix" else ():
        if ASIDE.fullmatch(path.name):
            with suppress(OSError):
                handle = os.open(path, os.O_RDONLY)
                if lock(handle):
                    remove(path)
                os.close(handle)


def remove(path: Path) -> None:
    """Remove a file or folder, if it is there, and what SQLite keeps beside it."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        for ending in ("", *SIDECARS):
            Path(f"{path}{ending}").unlink(missing_ok=True)


@contextmanager
def parent_of(target: Path) -> Iterator[None]:
    """Make the folders above a path; those that were missing go again if what follows fails."""
    missing = [folder for folder in target.parents if not folder.exists()]
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        for folder in missing:
            with suppress(OSError):
                folder.rmdir()
        raise


@contextmanager
def written(target: Path, *, folder: bool = False) -> Iterator[Path]:
    """Write a file or folder aside, then flush and rename it; raises `StoreError` where it cannot be written."""
    try:
        with aside_of(target, folder=folder) as path:
            yield path
            flush(path)
            path.rename(target)
            flush(target.parent)
    except FAULTS as error:
        raise StoreError(f"{target}: cannot be written: {error}") from error


def flush(path: Path) -> None:
    """Have a file, or the names in a folder, on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
