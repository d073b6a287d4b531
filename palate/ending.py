"""Ctrl-C ends a process within seconds, whatever it does."""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import suppress
from multiprocessing import active_children
from types import TracebackType

PATIENCE = 4.0  # seconds from Ctrl-C to the end of a process that has not ended by itself
_deadlines: list[Deadline] = []  # of this process: none or one


class Deadline:
    """Ends the process in time after Ctrl-C. Use it in a `with` block, in the main thread; elsewhere it does nothing.

    What handles a signal runs in the main thread between two steps of Python, and there is none for half a minute
    while LLVM compiles a kernel. The signal's number, however, is written to a pipe at once, where a thread waits.
    Files are written aside and renamed, and transactions are whole or undone: so to end at any moment is safe.
    """

    def __init__(self) -> None:
        self.interrupted = False  # whether Ctrl-C came
        self._timer: threading.Timer | None = None
        self._before = -1

    def __enter__(self) -> Deadline:
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)
        if threading.current_thread() is threading.main_thread():
            _deadlines.append(self)
            self.listen()
            threading.Thread(target=self._watch, daemon=True, name="deadline").start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self in _deadlines:
            _deadlines.remove(self)
            try:
                signal.set_wakeup_fd(self._before)
            except (OSError, ValueError):  # that of an event loop which is gone
                signal.set_wakeup_fd(-1)
        self.lift()
        os.close(self._write)  # which ends the thread

    def listen(self) -> None:
        """Have signals come here first; an event loop that listens in the same way gets them from here."""
        before = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        self._before = before if before != self._write else self._before

    def lift(self) -> None:
        """Let the process take its time after all, until the next Ctrl-C."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _watch(self) -> None:
        with os.fdopen(self._read, "rb", buffering=0) as read:
            while number := read.read(1):
                if self._before >= 0:
                    with suppress(OSError):  # the loop is gone
                        os.write(self._before, number)
                if number[0] == signal.SIGINT:
                    self.interrupted = True
                    if self._timer is None:
                        self._timer = threading.Timer(PATIENCE, self._end)
                        self._timer.daemon = True
                        self._timer.start()

    def _end(self) -> None:
        for child in active_children():
            child.kill()
        with suppress(Exception):
            sys.stderr.write("interrupted\n")
            sys.stderr.flush()
        os._exit(130)


def listen() -> None:
    """Have the deadline of this process, if it has one, listen again: an event loop has begun to."""
    for deadline in _deadlines:
        deadline.listen()


def interrupted() -> bool:
    """Whether Ctrl-C came."""
    return any(deadline.interrupted for deadline in _deadlines)


def lift() -> None:
    """Let what is left after Ctrl-C take its time: to write what was kept."""
    for deadline in _deadlines:
        deadline.lift()
