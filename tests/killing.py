"""Kill a process that writes to a store, again and again, and count what was lost.

`python tests/killing.py [--kills 200] [URL]` does it as often as asked; the tests do it a few times.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from processes import started

from palate.store.backup import check
from palate.store.events import Event, Store
from palate.store.schema import events, sa

# Four threads write, so that submissions share transactions; a line is printed once its events are acknowledged.
WRITER = """
import itertools, sys, threading
from palate.store.events import Event, Store
store = Store.open(sys.argv[1])
numbers, lock = itertools.count(), threading.Lock()
def write(thread):
    for n in numbers:
        ids = [f"{sys.argv[2]}-{thread}-{n}-{k}" for k in range(1 + n % 3)]
        store.append([Event(f"u{n % 50}", f"i{n % 90}", "view", n, None, each) for each in ids])
        with lock:
            sys.stdout.write("".join(each + "\\n" for each in ids))
            sys.stdout.flush()
threads = [threading.Thread(target=write, args=(thread,)) for thread in range(4)]
for thread in threads:
    thread.start()
"""


class Outcome(NamedTuple):
    """Events acknowledged to the writers, those of them not found later, those found twice, and what `check` said."""

    acknowledged: int
    lost: int
    duplicates: int
    faults: tuple[str, ...]


def kill_writers(url: str, kills: int, seed: int = 0) -> Outcome:
    """Start a writer and kill it within moments of its first event, so many times; then look at the store."""
    rng = random.Random(seed)
    acknowledged: list[str] = []
    for run in range(kills):
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
        with started([sys.executable, "-c", WRITER, url, run], **pipes) as process:
            assert process.stdout is not None
            first = process.stdout.readline()
            time.sleep(rng.uniform(0, 0.2))
            process.kill()
            lines = (first + process.stdout.read()).splitlines(keepends=True)
        acknowledged += [line.strip() for line in lines if line.endswith("\n")]
    with Store.open(url) as store:
        again = store.append([sent(each) for each in acknowledged])
        with store.database.reading() as connection:
            ids = list(connection.scalars(sa.select(events.c.event_id)))
        return Outcome(len(acknowledged), again.new, len(ids) - len(set(ids)), check(store).faults)


def sent(event_id: str) -> Event:
    """Return the event that a writer sent under this id."""
    n = int(event_id.split("-")[2])
    return Event(f"u{n % 50}", f"i{n % 90}", "view", n, None, event_id)


def main() -> None:
    """Run it from the command line."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("url", nargs="?", help="a new store; an SQLite file in a folder for the moment by default")
    asked.add_argument("--kills", type=int, default=200)
    options = asked.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        outcome = kill_writers(options.url or str(Path(folder) / "store.db"), options.kills)
    sys.stdout.write(f"{options.kills} kills: {outcome}\n")
    sys.exit(bool(outcome.lost or outcome.duplicates or outcome.faults))


if __name__ == "__main__":
    main()
