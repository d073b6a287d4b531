"""Copies of SQLite files, with their checksums."""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import closing
from pathlib import Path

from palate.errors import StoreError


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
