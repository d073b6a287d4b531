"""Model bundles as versions, one of them active; a bundle only changes when forgotten users are removed from it."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from palate.bundles.bundle import About, finish_replacing, is_there, read_bundle
from palate.errors import SettingError, UnknownId, check
from palate.files import lock, remove, share
from palate.store.dialects import SQLite
from palate.store.events import Store
from palate.store.recording import now
from palate.store.schema import ACTIVE, REPLACED, get_state, models, next_of, sa, set_state

FOLDER = re.compile(r"\.?\d{6,}(\..+)?")  # of a version, and of what is written aside
CHOICE = "choice"  # the fact of a version that keeps what the search for its recipe found
PREVIOUS, LAST = "previous model", "last model"


class Version(NamedTuple):
    """A model of a store: its number, its time (microseconds since 1970 UTC), and facts: recipe, metrics."""

    number: int
    created: int
    about: About


class Versions:
    """The models of a store, each a bundle in a folder of its own.

    The database lists the versions and the active one. A folder that it does not list was left by a crash; the next
    `add` removes it.
    """

    def __init__(
        self, store: Store, folder: str | Path | None = None, read: Callable[[Path], object] = read_bundle
    ) -> None:
        """Take a store and the folder of its models; `read` raises `BundleError` for one that cannot answer."""
        self._store, self._read = store, read
        self.folder = _beside(store) if folder is None else Path(folder)

    def path(self, number: int) -> Path:
        """Folder of a version's bundle."""
        return self.folder / f"{number:06d}"

    def add(self, write: Callable[[Path], object], about: About) -> Version:
        """Write a bundle to the folder of a new version; it is not active yet.

        Raises what `write` raises, and `BundleError` if it left no sound bundle; then there is no version.
        """
        with self._locked():
            number = self._next()
            path = self.path(number)
            try:
                write(path)
                self._read(path)
            except BaseException:
                shutil.rmtree(path, ignore_errors=True)
                raise
            version = Version(number, now(), dict(about))
            with self._store.database.writing() as connection:
                connection.execute(
                    sa.insert(models).values(version=number, created=version.created, about=json.dumps(version.about))
                )
        return version

    def rewrite(self, number: int, write: Callable[[Path], tuple[bool, About]]) -> None:
        """Replace the bundle of a version by `write`, which says whether it did; what it returns are new facts.

        A kill leaves the old bundle or the new one. Raises what `write` raises; then the version stays as it was.
        """
        with self._locked(alone=True):
            replaced, about = write(self.path(number))
            with self._store.database.writing() as connection:
                chosen = models.c.version == number
                before = json.loads(connection.scalar(sa.select(models.c.about).where(chosen)) or "{}")
                facts = json.dumps({**before, **about})
                connection.execute(sa.update(models).where(chosen).values(about=facts))
                if replaced:
                    next_of(connection, REPLACED)

    @contextmanager
    def _locked(self, *, alone: bool = False) -> Iterator[None]:
        """Hold a lock, alone or shared by all that add versions; alone, first remove what kills left."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(self.folder, os.O_RDONLY)
        try:
            if lock(handle, wait=alone):
                self._sweep()
            if not alone:
                share(handle)
            yield
        finally:
            os.close(handle)

    def _sweep(self) -> None:
        """Remove the folders that are no version, once each version is in its place."""
        named = [self.path(version.number) for version in self.list()]
        for path in named:
            finish_replacing(path)
        for path in self.folder.iterdir():
            if FOLDER.fullmatch(path.name) and path not in named:
                remove(path)

    def _next(self) -> int:
        """Take a number that was never used: two trainings at once must not write to one folder."""
        with self._store.database.writing() as connection:
            number = 1 + int(get_state(connection, LAST) or 0)
            set_state(connection, LAST, str(number))
        return number

    def list(self) -> list[Version]:
        """All versions, oldest first."""
        with self._store.database.reading() as connection:
            rows = connection.execute(sa.select(models).order_by(models.c.version)).all()
        return [Version(number, created, json.loads(about)) for number, created, about in rows]

    def active(self) -> int | None:
        """Return the number of the active version, None without one; a few µs on SQLite."""
        number = self._store.state(ACTIVE)
        return int(number) if number else None

    def answering(self) -> int | None:
        """Return the number of the active version; None without one, or without its bundle, as after a restore."""
        number = self.active()
        return number if number is not None and is_there(self.path(number)) else None

    def activate(self, number: int) -> Version:
        """Make a version the active one; all processes see it in their next request.

        Raises `UnknownId` for a number that is none, and `BundleError` for a bundle that is missing or damaged; then
        the one that was active stays so.
        """
        version = self.get(number)
        self._read(self.path(number))
        with self._store.database.writing() as connection:
            if connection.scalar(sa.select(models.c.version).where(models.c.version == number)) is None:
                raise UnknownId(f"model version {number} was deleted meanwhile")
            before = get_state(connection, ACTIVE)
            if before != str(number):
                set_state(connection, PREVIOUS, before or "")
                set_state(connection, ACTIVE, str(number))
        return version

    def rollback(self) -> Version:
        """Activate the version that was active before; raises as `activate`, and `SettingError` if there was none."""
        previous = self._store.state(PREVIOUS)
        if not previous:
            raise SettingError("rollback: no other version was active before")
        return self.activate(int(previous))

    def keep(self, n: int) -> tuple[int, ...]:
        """Delete the oldest versions beyond n, never the active one nor the one before it; returns their numbers."""
        check(n >= 1, "n", n, "must be 1 or more")
        with self._store.database.writing() as connection:
            needed = {get_state(connection, name) for name in (ACTIVE, PREVIOUS)}
            numbers = list(connection.scalars(sa.select(models.c.version).order_by(models.c.version.desc())))
            gone = sorted(number for number in numbers[n:] if str(number) not in needed)
            connection.execute(sa.delete(models).where(models.c.version.in_(gone)))
        for number in gone:
            shutil.rmtree(self.path(number), ignore_errors=True)
        return tuple(gone)

    def remove(self, number: int) -> None:
        """Delete a version; there is no rollback to it. Raises `SettingError` for the active one."""
        with self._store.database.writing() as connection:
            check(get_state(connection, ACTIVE) != str(number), "number", number, "must not be the active version")
            if get_state(connection, PREVIOUS) == str(number):
                set_state(connection, PREVIOUS, "")
            connection.execute(sa.delete(models).where(models.c.version == number))
        shutil.rmtree(self.path(number), ignore_errors=True)

    def get(self, number: int) -> Version:
        """Return a version; raises `UnknownId` for a number that is none."""
        for version in self.list():
            if version.number == number:
                return version
        raise UnknownId(
            f"model version {number} is unknown; known are {', '.join(str(v.number) for v in self.list())}"
        )


def _beside(store: Store) -> Path:
    """`shop.db` has its models in `shop.models`."""
    if not isinstance(store.database, SQLite):
        raise SettingError("folder=None: a store in PostgreSQL has no folder beside it; name one for the models")
    return store.database.file.with_suffix(".models")
