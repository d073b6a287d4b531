"""Processes to be killed: forked from one that has palate loaded, so that a kill costs a fraction of a second.

The kinds say in a file, a line each, what is done and on the disk; they go on until they are killed.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PATIENCE = 20.0  # seconds that a victim gets to do what it is let do
TRANSACTION = 20  # events of an import that are written at once, or a few more
Say = Callable[[object], None]


class Nursery:
    """A process that forks victims, its temporary files in a folder of their own."""

    def __init__(self, temporary: Path) -> None:
        temporary.mkdir(exist_ok=True)
        pipe = subprocess.PIPE
        settings = os.environ | {"TMPDIR": str(temporary), "POLARS_MAX_THREADS": "1"}
        self._process = subprocess.Popen([sys.executable, __file__], stdin=pipe, stdout=pipe, text=True, env=settings)

    def kill(self, kind: str, said: Path, seconds: float, draw: random.Random, **given: Any) -> list[Any]:
        """Start a victim, let it do nothing yet or a thing or two, and kill it within `seconds` from then.

        Returns what it had said by then.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        said.unlink(missing_ok=True)
        self._process.stdin.write(json.dumps([kind, str(said), given]) + "\n")
        self._process.stdin.flush()
        pid = int(self._process.stdout.readline())
        deadline = time.monotonic() + PATIENCE
        lines = 1 + draw.choice((0, 1, 1, 2))
        while alive(pid) and time.monotonic() < deadline:
            if said.exists() and said.read_bytes().count(b"\n") >= lines:
                break
            time.sleep(0.002)
        time.sleep(draw.uniform(0, seconds))
        if not alive(pid):
            raise OSError(f"{kind}: ended by itself: {said.read_text() if said.exists() else 'it said nothing'}")
        os.kill(pid, signal.SIGKILL)
        while alive(pid):
            time.sleep(0.001)
        reported = said.read_text(encoding="utf-8").splitlines(keepends=True)
        return [json.loads(line) for line in reported[1:] if line.endswith("\n")]

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


def alive(pid: int) -> bool:
    """Whether there is a process; the nursery leaves none that ended."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


# Kinds


def writers(say: Say, url: str, run: int) -> None:
    """Append events from four threads, so that submissions share transactions."""
    from palate.store.events import Event, Store

    store, lock = Store.open(url), threading.Lock()

    def write(thread: int) -> None:
        for n in itertools.count():
            ids = [f"{run}-{thread}-{n}-{k}" for k in range(1 + n % 3)]
            store.append([Event(f"u{n % 50}", f"i{n % 90}", "view", n, None, each) for each in ids])
            with lock:
                say(ids)

    say("begun")
    for thread in range(4):
        threading.Thread(target=write, args=(thread,)).start()


def imports(say: Say, url: str, logs: list[str], catalogues: list[str]) -> None:
    """Import logs and catalogues, `TRANSACTION` events or a few more at once."""
    from palate.store import transfer
    from palate.store.events import Store

    transfer.EVENTS = TRANSACTION
    with Store.open(url) as store:
        say("begun")
        for log, catalogue in zip(logs, catalogues, strict=True):
            transfer.import_items(store, catalogue)
            transfer.import_events(store, log)
            say(log)
    signal.pause()


def forgets(say: Say, url: str, users: list[str]) -> None:
    """Forget users."""
    from palate.store.events import Store

    with Store.open(url) as store:
        say("begun")
        for user in users:
            store.forget(user)
            say(user)
    signal.pause()


def trainings(say: Say, url: str, models: str) -> None:
    """Train, activate and prune; the database has the versions."""
    from palate.live.training import train
    from palate.models.popularity import Popularity
    from palate.models.registry import load
    from palate.store.events import Store
    from palate.store.versions import Versions

    with Store.open(url) as store:
        versions = Versions(store, models, load)
        say("begun")
        while True:
            made = train(store, versions, Popularity(), keep=2).version.number
            versions.activate(made)
            say(made)


def activations(say: Say, url: str, models: str) -> None:
    """Add versions, and activate and prune from two threads."""
    from palate.errors import PalateError
    from palate.models.registry import load
    from palate.store.events import Store
    from palate.store.versions import Versions

    with Store.open(url) as store:
        versions = Versions(store, models, load)
        model = load(versions.path(versions.list()[-1].number))

        def prune() -> None:
            while True:
                versions.keep(1)

        say("begun")
        threading.Thread(target=prune, daemon=True).start()
        while True:
            made = versions.add(model.save, {}).number
            try:
                say(versions.activate(made).number)
            except PalateError:
                continue  # it was pruned meanwhile


def saves(say: Say, model: str, log: str, target: str, run: int) -> None:
    """Save models of rising numbers in the place of one another."""
    from dataclasses import replace

    import numpy as np

    from palate import read_log
    from palate.models.popularity import PopularityModel
    from palate.models.registry import load

    found, read = load(model), read_log(log)
    assert isinstance(found, PopularityModel)
    say("begun")
    for n in itertools.count(1):
        stamped = replace(found, item_scores=np.full_like(found.item_scores, 1000 * run + n))
        stamped.save(target, log=read)
        say(1000 * run + n)


def backups(say: Say, url: str, folder: str, ending: str, run: int) -> None:
    """Back up a store and restore the backup, again and again."""
    from palate.store.backup import backup, restore
    from palate.store.events import Store

    with Store.open(url) as store:
        say("begun")
        for n in itertools.count():
            copy = f"{folder}/copy-{run}-{n}{ending}"
            backup(store, copy)
            say(copy)
            restore(copy, f"{folder}/restored-{run}-{n}.db").close()
            say(f"{folder}/restored-{run}-{n}.db")


KINDS = {each.__name__: each for each in (writers, imports, forgets, trainings, activations, saves, backups)}


def main() -> None:
    """Fork a victim for each line: kind, file to speak to, arguments."""
    import palate.live.training
    import palate.store.backup
    import palate.store.transfer  # noqa: F401

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the system buries them
    for line in sys.stdin:
        kind, said, given = json.loads(line)
        pid = os.fork()
        if pid == 0:
            live(kind, said, given)
        print(pid, flush=True)


def live(kind: str, said: str, given: dict[str, Any]) -> None:
    """Be a victim."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    threading.Thread(target=end_with, args=(os.getppid(),), daemon=True).start()
    handle = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def say(what: object) -> None:
        os.write(handle, json.dumps(what).encode() + b"\n")

    try:
        KINDS[kind](say, **given)
        for thread in threading.enumerate():
            if thread is not threading.current_thread() and not thread.daemon:
                thread.join()
    except BaseException as error:
        os.write(handle, json.dumps(f"{type(error).__name__}: {error}").encode())
    os._exit(1)


def end_with(parent: int) -> None:
    """End when the nursery does."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


if __name__ == "__main__":
    main()
