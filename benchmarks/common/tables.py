"""Arguments, tables and figures of a benchmark."""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.common.paths import RESULTS
from benchmarks.common.peers import PEERS

SERVICE = ("numpy", "polars", "fastapi", "uvicorn", "sqlalchemy", "palate")  # packages whose versions matter to it


def parser(about: str | None) -> argparse.ArgumentParser:
    """Arguments that every benchmark takes."""
    asked = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--out", type=Path, help="write the table to this file as well")
    asked.add_argument("--peers", type=Path, default=PEERS, help="Python that has the peers (make peers)")
    return asked


def publish(text: str, out: Path | None) -> None:
    """Print the text, and write it to a file where asked."""
    print(text)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text, encoding="utf-8")


def title(what: str, packages: Sequence[str] = ("numpy", "numba", "palate")) -> list[str]:
    """First lines of a table: what, when, on which machine, with which versions."""
    with Path("/proc/cpuinfo").open() as info:
        processor = next((line.split(":")[1].strip() for line in info if line.startswith("model name")), "unknown")
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    machine = f"{processor}, {os.cpu_count()} cores; Python {platform.python_version()}, {versions}"
    return [f"# {what}", "", f"{date.today().isoformat()}. {machine}.", ""]


def grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines]


def spread(values: Sequence[float], digits: int = 2) -> tuple[str, str]:
    """Cells of the median and of the range."""
    return f"{median(values):.{digits}f}", f"{min(values):.{digits}f} to {max(values):.{digits}f}"


def report(name: str, what: str, facts: dict[str, Any], *, publish: bool = True) -> None:
    """Print the facts, and keep them in benchmarks/results/NAME.json with the date, machine and versions."""
    head = title(what, SERVICE)
    body = {"what": what, "machine": head[2], **facts}
    text = json.dumps(body, indent=2)
    print(text)
    if publish:
        RESULTS.mkdir(parents=True, exist_ok=True)
        (RESULTS / f"{name}.json").write_text(text + "\n", encoding="utf-8")
