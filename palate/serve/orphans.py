"""A worker whose parent was killed ends: nobody would replace it, and it holds the port."""

from __future__ import annotations

import os
import shutil
import signal
from multiprocessing import parent_process
from multiprocessing.connection import wait
from threading import Thread
from time import sleep

from palate.serve.figures import COLLECTED

STOP = 10  # seconds that requests get to end


def end_with_parent() -> None:
    """Watch the parent from a thread, if this process is a worker; the pipe to it ends when it does."""
    parent = parent_process()
    if parent is not None:
        Thread(target=_watch, args=(parent.sentinel,), daemon=True, name="orphan").start()


def _watch(sentinel: int) -> None:
    wait([sentinel])
    os.kill(os.getpid(), signal.SIGTERM)
    folder = os.environ.get(COLLECTED)
    if folder is not None:  # which the parent would have removed
        shutil.rmtree(folder, ignore_errors=True)
    sleep(STOP + 1)
    os._exit(1)
