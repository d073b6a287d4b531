"""Trainings of a service: `palate train` in a process of its own, one at a time over all processes of the service."""

from __future__ import annotations

import json
import logging
import os
import shlex
import subprocess
import sys
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from threading import Event, Lock, Thread
from time import monotonic

from palate.data.times import to_iso
from palate.errors import DataError, PalateError, SettingError, require
from palate.files import lock, written
from palate.live.weights import EVENT_WEIGHTS
from palate.models.registry import recipe_class, recipe_names
from palate.serve.figures import COLLECTED
from palate.serve.settings import STORE, Settings
from palate.store.recording import now
from palate.store.versions import Versions

LOG = logging.getLogger("palate.serve")
AUTO = "auto"
KEPT, LOCKED = "training.json", "training.lock"  # in the folder of the models
LINES = 200  # of the output of a training that are kept, the newest ones
EACH = 1.0  # seconds between two notes of what a training says
TRAIN = """
import os
os.nice(10)  # requests come first
from palate.serve.orphans import end_with_pipe
end_with_pipe(0)  # its standard input; the service holds the other end
from palate.cli import main
main()
"""


class Trainings:
    """Starts trainings, and says how the last one went, whichever process of the service has it.

    A lock on a file in the folder of the models says whether one runs: it is free again when its process dies.
    """

    def __init__(self, settings: Settings, versions: Versions) -> None:
        self._settings, self._versions = settings, versions
        self._ended, self._lock = Event(), Lock()
        self._process: subprocess.Popen[str] | None = None
        self._thread: Thread | None = None

    def start(self, recipe: str | None = None) -> bool:
        """Start a training, by default of the service's own recipe; False where one runs."""
        handle = self._held()
        if handle is None:
            return False
        began = self._begun()
        self._thread = Thread(target=self._run, args=(handle, recipe, began), daemon=True, name="palate-train")
        self._thread.start()
        return True

    def run(self) -> bool:
        """Train, and return when that is done; False where one runs."""
        handle = self._held()
        if handle is None:
            return False
        self._run(handle, None, self._begun())
        return True

    def status(self) -> dict[str, object]:
        """Return how the last training went."""
        try:
            found: dict[str, object] = json.loads((self._versions.folder / KEPT).read_bytes())
        except (OSError, ValueError):
            return {"state": "none"}
        if found["state"] == "running":
            handle = self._held()
            if handle is not None:
                os.close(handle)
                return found | {"state": "failed", "why": "its process was killed"}
        return found

    def stop(self) -> None:
        """End a training of this process; its unfinished bundle is no version."""
        self._ended.set()
        with self._lock:
            process, thread = self._process, self._thread
        if process is not None and process.poll() is None:
            process.terminate()
        if thread is not None:
            thread.join()

    def _held(self) -> int | None:
        """Lock the file; None where another training has it."""
        folder = self._versions.folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(folder / LOCKED, os.O_RDWR | os.O_CREAT, 0o600)
        if lock(handle):
            return handle
        os.close(handle)
        return None

    def _begun(self) -> dict[str, object]:
        facts: dict[str, object] = {"state": "running", "started": to_iso(now()), "ended": None, "version": None}
        facts |= {"activated": None, "why": None, "log": []}
        self._note(facts)
        return facts

    def _note(self, facts: Mapping[str, object]) -> None:
        with suppress(PalateError), written(self._versions.folder / KEPT) as path:
            path.write_text(json.dumps(facts), encoding="utf-8")

    def _run(self, handle: int, recipe: str | None, facts: dict[str, object]) -> None:
        """Run `palate train`, and note how it goes; the lock is free when that is done."""
        try:
            before = {version.number for version in self._versions.list()}
            lines = deque[str](maxlen=LINES)
            code = self._trained(recipe, facts, lines)
            facts |= {"state": "failed" if code else "done", "log": [*lines], "ended": to_iso(now())}
            facts["why"] = lines[-1] if lines else None
            new = [version for version in self._versions.list() if version.number not in before]
            if new and not code:
                about = new[-1].about
                facts |= {"version": new[-1].number, "activated": about["activated"], "why": about["verdict"]}
            if code and not self._ended.is_set():
                LOG.error("training: palate train ended with code %d; the model before stays", code)
        except (PalateError, OSError) as error:
            LOG.error("training: %s", error)
            facts |= {"state": "failed", "why": "the store is out of reach", "ended": to_iso(now())}
        finally:
            self._note(facts)
            os.close(handle)

    def _trained(self, recipe: str | None, facts: dict[str, object], lines: deque[str]) -> int:
        arguments = training_arguments(self._settings, recipe)
        LOG.info("training: palate train %s", shlex.join(arguments))
        with self._started(arguments) as process:
            last = monotonic()
            for line in process.stdout or ():
                text = line.rstrip()
                if not text:
                    continue
                LOG.info("training: %s", text)
                lines.append(text)
                if monotonic() - last >= EACH:
                    self._note(facts | {"log": [*lines]})
                    last = monotonic()
            return process.wait()

    @contextmanager
    def _started(self, arguments: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
        # The URL goes through the environment: its password would appear in the list of processes.
        # Threads of OpenMP that wait for one another would spin, beside workers that answer.
        inherited = {name: value for name, value in os.environ.items() if name != COLLECTED}
        environment = {"OMP_WAIT_POLICY": "PASSIVE"} | inherited | {STORE: self._settings.store}
        pipe, joined = subprocess.PIPE, subprocess.STDOUT
        command = [sys.executable, "-c", TRAIN, "train", *arguments]
        with subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, stderr=joined, text=True) as process:
            with self._lock:
                self._process = process
            if self._ended.is_set():
                process.terminate()
            yield process


def training_arguments(settings: Settings, recipe: str | None = None) -> list[str]:
    """Return the arguments of `palate train` for a service, of its own recipe or another with default settings."""
    chosen = settings.recipe if recipe is None else ("--recipe", recipe)
    weights = ",".join(f"{name}:{weight}" for name, weight in settings.weights.items())
    more = ["--weights", weights] if settings.weights != EVENT_WEIGHTS else []
    return [*chosen, *more, *(["--models", settings.models] if settings.models else [])]


def recipe_named(name: str) -> str:
    """Return a name of a recipe if it can be trained without settings. Raises `DataError`, `MissingExtra`."""
    by_name = {each.lower(): each for each in recipe_names()}
    if name == AUTO:
        return name
    if name not in by_name:
        raise DataError(f"recipe: {name!r} is unknown; known are {', '.join((AUTO, *by_name))}")
    try:
        built = recipe_class(by_name[name])()
    except (TypeError, SettingError):
        raise DataError(
            f"recipe: {name!r} needs settings; start the service with them, or use `palate train`"
        ) from None
    if built.guarantees():
        raise DataError(
            f"recipe: {name!r} spends privacy for good; `palate train --epsilon` does, and asks for the budget"
        )
    require(built.needs())
    return name
