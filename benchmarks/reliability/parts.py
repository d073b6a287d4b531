"""The frame of the reliability benchmarks: parts of many steps, whose counts are kept and continued."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from benchmarks.common.paths import RESULTS
from benchmarks.common.tables import SERVICE, title

Facts: TypeAlias = dict[str, Any]
Step: TypeAlias = Callable[[int], Facts]
MOST = 30  # texts that a list of faults keeps


@dataclass(frozen=True)
class Part:
    """One row of the table.

    what     the fault
    steps    how many there are; step n does the same whenever it runs
    open     makes what the steps of one run share, in a folder of their own; gives the function of a step
    faults   says what is wrong with the counts
    said     the outcome in words, from the counts
    """

    what: str
    steps: int
    open: Callable[[Path], AbstractContextManager[Step]]
    faults: Callable[[Facts], list[str]]
    said: Callable[[Facts], str]


def exactly(**wanted: Any) -> Callable[[Facts], list[str]]:
    """Say which counts are not as wanted."""
    return lambda facts: [
        f"{name}: {facts.get(name)}, wanted {value}" for name, value in wanted.items() if facts.get(name) != value
    ]


def once(work: Callable[[Path], Facts]) -> Callable[[Path], AbstractContextManager[Step]]:
    """Make the one step of a part out of work in a folder."""
    return contextmanager(lambda folder: iter([lambda _: work(folder)]))


def added(old: Facts, new: Facts) -> Facts:
    """Put the counts of a step to those before: numbers are summed up, `longest` is a maximum, texts collect."""
    sums = dict(old)
    for name, value in new.items():
        if name not in sums:
            sums[name] = value
        elif isinstance(value, dict):
            sums[name] = added(sums[name], value)
        elif isinstance(value, list):
            sums[name] = (sums[name] + value)[:MOST] if name == "faults" else sums[name] + value
        elif isinstance(value, str):
            sums[name] = value
        else:
            sums[name] = max(sums[name], value) if name.startswith(("longest", "most")) else sums[name] + value
    return {name: round(value, 3) if isinstance(value, float) else value for name, value in sums.items()}


def run(part: Part, facts: Facts, seconds: float, keep: Callable[[Facts], None] = lambda _: None) -> Facts:
    """Do steps from where the counts stop, until all are done or the time is over; `keep` is called after each."""
    end = time.monotonic() + seconds
    with tempfile.TemporaryDirectory(prefix="palate-reliability-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # PostgreSQL runs as another user
        with part.open(folder) as step:
            while facts.get("steps", 0) < part.steps and time.monotonic() < end:
                began = time.monotonic()
                counts = step(facts.get("steps", 0))
                facts = added(facts, {"steps": 1, "seconds": time.monotonic() - began, **counts})
                keep(facts)
    return facts


def file_of(name: str) -> Path:
    """Where the counts of a part are kept."""
    return RESULTS / f"reliability-{name}.json"


def kept(name: str) -> Facts:
    """Read the counts of a part; none before its first step."""
    path = file_of(name)
    return json.loads(path.read_text(encoding="utf-8"))["facts"] if path.exists() else {}


def keep(name: str, part: Part, facts: Facts) -> None:
    """Keep the counts, with date, machine and versions."""
    machine = title(part.what, SERVICE)[2]
    body = {"what": part.what, "machine": machine, "facts": facts}
    aside = file_of(name).with_suffix(".new")  # a run that is cut off leaves the counts before, or these
    aside.parent.mkdir(parents=True, exist_ok=True)
    aside.write_text(json.dumps(body, indent=2) + "\n", encoding="utf-8")
    aside.replace(file_of(name))
