"""Processes that tests start: with the signals that a terminal gives, and ended whatever happens."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from benchmarks.common.served import FORKS

PALATE = [sys.executable, "-c", "from palate.cli import main; main()"]


def as_a_terminal() -> None:
    """Between fork and exec: tests that run in the background of a script hand down that Ctrl-C is ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextmanager
def started(command: Sequence[object], **options: Any) -> Iterator[subprocess.Popen[Any]]:
    """Run a command until the block ends; then it is killed, with all that it started, if it still runs."""
    process = subprocess.Popen([*map(str, command)], preexec_fn=as_a_terminal, start_new_session=True, **options)
    try:
        with process:
            try:
                yield process
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
    finally:
        process.wait()


def import_in_parts(url: str, path: Path, done: Connection) -> None:
    """Import a log, 20 events a transaction or a few more; each transaction that is on the disk is reported."""
    from palate.store import transfer
    from palate.store.events import Store

    transfer.EVENTS = 20
    with Store.open(url) as store:
        transfer.import_events(store, path, watch=lambda count, _: done.send(count))


class ForkedWorker:
    """A process of `palate.choosing.worker`, in the manner of `subprocess.Popen`, without the time of imports."""

    def __init__(self) -> None:
        asked, ask = FORKS.Pipe(duplex=False)
        answered, answer = FORKS.Pipe(duplex=False)
        self._process = FORKS.Process(target=_work, args=(asked, answer))
        self._process.start()
        self.pid = self._process.pid
        self.stdin, self.stdout = os.fdopen(os.dup(ask.fileno()), "wb"), os.fdopen(os.dup(answered.fileno()), "rb")
        for each in (asked, ask, answered, answer):
            each.close()

    def kill(self) -> None:
        self._process.kill()

    def wait(self) -> None:
        self._process.join()


def _work(asked: Connection, answer: Connection) -> None:
    from palate.choosing.worker import main

    os.setsid()
    os.dup2(asked.fileno(), 0)
    os.dup2(answer.fileno(), 1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    asked.close()
    answer.close()
    sys.stdin = os.fdopen(0, closefd=False)
    main()
