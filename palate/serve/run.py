"""The processes of the service: workers that answer, and a training run at intervals."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic

import uvicorn
from uvicorn.supervisors import multiprocess

from palate.compute.memory import ARENAS
from palate.errors import PalateError, SettingError
from palate.serve.bounds import BACKLOG
from palate.serve.figures import COLLECTED, figures
from palate.serve.orphans import STOP
from palate.serve.rates import Rates
from palate.serve.settings import Settings
from palate.serve.training import Trainings
from palate.store.events import Store
from palate.store.versions import Versions

LOG = logging.getLogger("palate.serve")
UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
LOOK = 1.0  # seconds between two checks whether to train
SIGN = 120  # seconds without a health check after which a worker is replaced; a start reads the whole catalogue


@dataclass(frozen=True)
class Retrain:
    """When to train again: `every` seconds, or after a number of new `events`."""

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
) -> None:
    """Serve until SIGTERM or Ctrl-C; running requests are answered, acknowledged events are stored.

    trusted_proxies  addresses and networks that may set X-Forwarded-For and X-Forwarded-Proto
    retrain          when to train again, in a process of its own
    """
    signal.signal(signal.SIGTERM, _end)
    multiprocess.Process = Worker  # type: ignore[misc]
    trainer = Trainer(settings, retrain) if retrain else None
    with figures() as folder:
        if workers > 1:
            os.environ[COLLECTED] = str(folder)  # before the workers load the library
            os.environ.setdefault("MALLOC_ARENA_MAX", str(ARENAS))  # glibc reads it when a worker starts
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
    """A worker; the parent notices its end at once, even during a health check."""

    def start(self) -> None:
        """Close the parent's copy of the worker's end of the pipe, so that the pipe ends with the worker."""
        super().start()
        self.child_conn.close()


def _sharing(settings: Settings, folder: Path, workers: int) -> Settings:
    """Make the table with which workers enforce one rate together."""
    if workers == 1 or not settings.rate:
        return settings
    table = folder / "rates"
    Rates.create(table)
    return replace(settings, rates=str(table))


def _end(*_: object) -> None:
    """Exit cleanly: uvicorn raises SIGTERM again after the last answer, which would kill the process."""
    sys.exit(0)


class Trainer(threading.Thread):
    """Watches the clock and the store, and starts training runs."""

    def __init__(self, settings: Settings, when: Retrain) -> None:
        super().__init__(daemon=True, name="trainer")
        self._settings, self._when = settings, when
        self._ended = threading.Event()
        self._trainings: Trainings | None = None

    def run(self) -> None:
        """Watch until `stop`."""
        with Store.open(self._settings.store) as store:
            self._trainings = Trainings(self._settings, Versions(store, self._settings.models))
            last, newest = monotonic(), store.newest()
            while not self._ended.wait(LOOK):
                try:
                    now = store.newest()
                except PalateError as error:
                    LOG.error("retraining: %s", error)
                    continue
                if self._due(monotonic() - last, now - newest) and self._trainings.run():
                    last, newest = monotonic(), now

    def _due(self, seconds: float, events: int) -> bool:
        if self._when.every is not None:
            return seconds >= self._when.every and events > 0
        return events >= (self._when.events or 0)

    def stop(self) -> None:
        """Stop, together with a running training; its unfinished bundle is no version."""
        self._ended.set()
        if self._trainings is not None:
            self._trainings.stop()


def logged() -> dict[str, object]:
    """Return the configuration of the loggers: one line a message, to stderr."""
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
