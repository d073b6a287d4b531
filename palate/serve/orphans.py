"""A worker or a training run ends when its parent is killed; a worker would keep the port."""

from __future__ import annotations

import os
import shutil
import signal
from multiprocessing import parent_process
from multiprocessing.connection import wait
from threading import Thread
from time import sleep

from palate.serve.figures import COLLECTED

STOP = 10  # seconds that running requests get to finish


def end_with_parent() -> None:
    """End this process together with its parent, if it is a worker."""
    parent = parent_process()
    if parent is not None:
        end_with_pipe(parent.sentinel)


def end_with_pipe(pipe: int) -> None:
    """End this process when its parent closes the other end of a pipe; a thread watches it."""
    Thread(target=_watch, args=(pipe,), daemon=True, name="orphan").start()


def _watch(pipe: int) -> None:
    wait([pipe])
    os.kill(os.getpid(), signal.SIGTERM)
    folder = os.environ.get(COLLECTED)
    if folder is not None:  # the parent can no longer remove it
        shutil.rmtree(folder, ignore_errors=True)
    sleep(STOP + 1)
    os._exit(1)
