"""Outcomes of long benchmarks, one a line of JSON: a run that is repeated measures only what is missing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def read_outcomes(path: Path) -> list[dict[str, Any]]:
    """Read the outcomes of earlier runs; none without the file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []


def add_outcome(path: Path, outcome: Mapping[str, Any]) -> None:
    """Append an outcome."""
    path.parent.mkdir(exist_ok=True)
    with path.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(outcome) + "\n")
