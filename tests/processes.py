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
