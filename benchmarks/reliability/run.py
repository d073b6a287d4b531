"""Faults under the service: `python -m benchmarks.reliability.run [PART ...] [--minutes N] [--again] [--table]`.

A part has steps, whose counts are kept in benchmarks/results after each; a run of N minutes goes on where the last
one stopped, and puts the table into docs/reliability.md. A part that is done is not run again unless asked.
"""

from __future__ import annotations

import argparse
import sys
import time
from functools import partial

from benchmarks.common.paths import ROOT
from benchmarks.common.tables import grid
from benchmarks.reliability.clock import CLOCK
from benchmarks.reliability.damages import DAMAGES
from benchmarks.reliability.durability import DURABILITY
from benchmarks.reliability.hostile import HOSTILE
from benchmarks.reliability.kills import KILLED
from benchmarks.reliability.outages import OUTAGES, SERVICES
from benchmarks.reliability.parts import Facts, Part, file_of, keep, kept, run
from benchmarks.reliability.soak import SOAK

PARTS: dict[str, Part] = {
    "damages": DAMAGES,
    "kills": KILLED,
    "services": SERVICES,
    "postgresql": OUTAGES,
    "clock": CLOCK,
    "hostile": HOSTILE,
    "soak": SOAK,
    **DURABILITY,
}
PAGE = ROOT / "docs" / "reliability.md"
HEAD = ("what", "outcome", "command, `python -m benchmarks.reliability.run` and")


def row(name: str, part: Part, facts: Facts) -> list[str]:
    """Say what came of a part."""
    done = f" ({facts['steps']} of {part.steps} steps)" if facts["steps"] < part.steps else ""
    faults = part.faults(facts)
    wrong = f" **Not as wanted**: {'; '.join(faults)}." if faults else ""
    return [part.what, f"{part.said(facts)}{done}.{wrong}".replace("|", "/"), f"`{name}`"]


def table() -> str:
    """Make the table of all parts that have begun."""
    rows = [row(name, part, facts) for name, part in PARTS.items() if (facts := kept(name))]
    return "\n".join(grid(HEAD, rows))


def published(page: str, shown: str) -> str:
    """Put the table in the place of the first one of a page."""
    lines = page.split("\n")
    first = next(n for n, line in enumerate(lines) if line.startswith("|"))
    last = next(n for n in range(first, len(lines)) if not lines[n].startswith("|"))
    return "\n".join([*lines[:first], shown, *lines[last:]])


def main() -> None:
    """Run the parts asked for."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("parts", nargs="*", metavar="PART", help=f"some of {', '.join(PARTS)}; all by default")
    asked.add_argument("--minutes", type=float, default=18, help="after which no step begins")
    asked.add_argument("--again", action="store_true", help="forget what the parts asked for have counted")
    asked.add_argument("--table", action="store_true", help="print the table, and run nothing")
    options = asked.parse_args()
    names = options.parts or list(PARTS)
    if unknown := set(names) - set(PARTS):
        asked.error(f"unknown: {', '.join(unknown)}; there are {', '.join(PARTS)}")
    end = time.monotonic() + 60 * options.minutes
    for name in () if options.table else names:
        if options.again:
            file_of(name).unlink(missing_ok=True)
        part, facts = PARTS[name], kept(name)
        if facts.get("steps", 0) < part.steps and time.monotonic() < end:
            run(part, facts, end - time.monotonic(), partial(keep, name, part))
    shown = table()
    PAGE.write_text(published(PAGE.read_text(encoding="utf-8"), shown), encoding="utf-8")
    print(shown)
    rest = [name for name in names if kept(name).get("steps", 0) < PARTS[name].steps]
    wrong = [name for name in names if (facts := kept(name)) and PARTS[name].faults(facts)]
    print(f"\nto go on with: {', '.join(rest) or 'nothing'}; not as wanted: {', '.join(wrong) or 'nothing'}")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
