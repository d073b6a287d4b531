"""Files of a store's copies: written aside, flushed and renamed; those that are SQLite databases checked."""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from palate.errors import StoreError


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
def written(target: Path, aside: Path) -> Iterator[None]:
    """Say that the target cannot be written where that is so, and leave nothing aside."""
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        checksum_of(target).unlink(missing_ok=True)
        raise StoreError(f"{target}: cannot be written: {error}") from error
    finally:
        if aside.is_dir():
            shutil.rmtree(aside)
        aside.unlink(missing_ok=True)


def checksum_of(path: Path) -> Path:
    """File beside a backup that is one file, in the form of `sha256sum`."""
    return path.with_name(f"{path.name}.sha256")


def copy_database(source: Path, target: Path) -> None:
    """Copy an SQLite file as it is at one moment, what is in its write-ahead log too."""
    with closing(sqlite3.connect(source)) as original, closing(sqlite3.connect(target)) as copy:
        original.backup(copy)
        copy.execute("PRAGMA journal_mode=DELETE")  # one file, with no log beside it


def copy_checked(source: Path, target: Path) -> None:
    """Copy an SQLite file. Raises `StoreError` where it is not what its checksum says, or is damaged within."""
    stated = checksum_of(source)
    try:
        if stated.exists() and stated.read_text(encoding="utf-8").split()[:1] != [sha256_of(source)]:
            raise StoreError(f"{source}: its sha256 is not the one that {stated.name} states: it was changed")
        copy_database(source, target)
        with closing(sqlite3.connect(target)) as connection:
            faults = [line for (line,) in connection.execute("PRAGMA integrity_check") if line != "ok"]
    except (OSError, sqlite3.Error, UnicodeDecodeError) as error:
        raise StoreError(f"{source}: is no backup, or is damaged: {error}") from error
    if faults:
        raise StoreError(f"{source}: is damaged: {faults[0]}")


def sha256_of(path: Path) -> str:
    """Checksum of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def flush(path: Path) -> None:
    """Have a file, or the names in a folder, on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
