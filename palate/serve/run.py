"""The processes of the service: workers that answer, and now and then one that trains."""

from __future__ import annotations

import logging
import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic

import uvicorn
from uvicorn.supervisors import multiprocess

from palate.errors import PalateError, SettingError
from palate.serve.bounds import BACKLOG
from palate.serve.figures import COLLECTED, figures
from palate.serve.orphans import STOP
from palate.serve.security import Rates
from palate.serve.settings import STORE, Settings
from palate.store.events import Store

LOG = logging.getLogger("palate.serve")
UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
LOOK = 1.0  # seconds between two looks whether it is time to train
TRAIN = """
from palate.serve.orphans import end_with_pipe
end_with_pipe(0)  # its input, whose other end is here
from palate.cli import main
main()
"""
SIGN = 120  # seconds without a sign of life after which a worker is replaced: it reads a whole catalogue first


@dataclass(frozen=True)
class Retrain:
    """When to train again: so many seconds after the last time, or after so many new events."""

    every: float | None = None
    events: int | None = None

    @classmethod
    def parse(cls, text: str) -> Retrain:
        """Read `every=1h`, `every=90s` or `events=10000`. Raises `SettingError`."""
        name, _, value = text.partition("=")
        try:
            if name == "events" and int(value) >= 1:
                return cls(events=int(value))
            if name == "every" and float(value[:-1]) > 0:
                return cls(every=float(value[:-1]) * UNITS[value[-1]])
        except (ValueError, LookupError):
            pass
        raise SettingError(f"retrain={text!r}: write every=1h (s, m, h or d) or events=10000")


def run(
    settings: Settings,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    workers: int = 1,
    trusted_proxies: Sequence[str] = (),
    retrain: Retrain | None = None,
    training: Sequence[str] = (),
) -> None:
    """Serve until SIGTERM or Ctrl-C; requests under way are answered, and what was acknowledged stays.

    trusted_proxies  addresses and networks whose X-Forwarded-For and X-Forwarded-Proto count
    training         arguments of `palate train`, which runs as a process of its own when `retrain` says so
    """
    signal.signal(signal.SIGTERM, _end)
    multiprocess.Process = Worker  # type: ignore[misc]
    trainer = Trainer(settings.store, retrain, training) if retrain else None
    with figures() as folder:
        if workers > 1:
            os.environ[COLLECTED] = str(folder)  # before the workers load the library
        _sharing(settings, folder, workers).to_environment()
        if trainer:
            trainer.start()
        try:
            uvicorn.run(
                "palate.serve.app:create_app",
                factory=True,
                host=host,
                port=port,
                workers=workers,
                loop="palate.serve.loop:Loop" if workers == 1 or sys.platform == "linux" else "uvloop",
                http="palate.serve.connection:Connection",
                backlog=BACKLOG,
                proxy_headers=bool(trusted_proxies),
                forwarded_allow_ips=list(trusted_proxies),
                ws="none",
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=STOP,
                timeout_worker_healthcheck=SIGN,
                log_config=logged(),
            )
        finally:
            if trainer:
                trainer.stop()


class Worker(multiprocess.Process):
    """A worker whose end the parent notices at once, even while it waits for a sign of life."""

    def start(self) -> None:
        """Leave the worker's end of the pipe to the worker alone: so the pipe ends when the worker does."""
        super().start()
        self.child_conn.close()


def _sharing(settings: Settings, folder: Path, workers: int) -> Settings:
    """Have workers count the requests of a client together."""
    if workers == 1 or not settings.rate:
        return settings
    table = folder / "rates"
    Rates.create(table)
    return replace(settings, rates=str(table))


def _end(*_: object) -> None:
    """End in order: uvicorn raises SIGTERM again once requests are answered, which would end it at once."""
    sys.exit(0)


class Trainer(threading.Thread):
    """Looks at the clock and the store, and starts a training when it is time."""

    def __init__(self, store: str, when: Retrain, arguments: Sequence[str]) -> None:
        super().__init__(daemon=True, name="trainer")
        self._url, self._when, self._arguments = store, when, arguments
        self._ended = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None

    def run(self) -> None:
        """Look until `stop`."""
        with Store.open(self._url) as store:
            last, newest = monotonic(), store.newest()
            while not self._ended.wait(LOOK):
                try:
                    now = store.newest()
                except PalateError as error:
                    LOG.error("retraining: %s", error)
                    continue
                if self._due(monotonic() - last, now - newest):
                    self._train()
                    last, newest = monotonic(), now

    def _due(self, seconds: float, events: int) -> bool:
        if self._when.every is not None:
            return seconds >= self._when.every and events > 0
        return events >= (self._when.events or 0)

    def _train(self) -> None:
        command = [sys.executable, "-c", TRAIN, "train", *self._arguments]
        LOG.info("retraining: palate train %s", shlex.join(self._arguments))
        # As nice as can be: whoever waits for an answer comes first.
        # The URL may hold a password, which would stand in the list of processes.
        environment = os.environ | {STORE: self._url}
        self._process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, preexec_fn=lambda: os.nice(10) and None
        )
        code = self._process.wait()
        if code and not self._ended.is_set():
            LOG.error("retraining: palate train ended with code %d; the model before stays", code)

    def stop(self) -> None:
        """End, and the training that is under way with it; its half-made bundle is no version."""
        self._ended.set()
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()


def logged() -> dict[str, object]:
    """Say how the loggers write: one line each, to stderr."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line", "stream": "ext://sys.stderr"}},
        "loggers": {
            "palate": {"handlers": ["stderr"], "level": "INFO", "propagate": False},
            "uvicorn": {"handlers": ["stderr"], "level": "INFO", "propagate": False},
        },
    }
