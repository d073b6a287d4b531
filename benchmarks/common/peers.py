"""Fits of other libraries, each in a process of its own, by the Python of an environment that has them."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common.paths import ROOT
from benchmarks.common.processes import one_thread
from palate.data.interactions import Interactions
from palate.errors import PalateError

PEERS = ROOT / ".venv-peers" / "bin" / "python"


def has_peers(python: Path) -> bool:
    """Whether the peers can be run; says how to get them where not."""
    if python.is_file():
        return True
    print(f"skipped the peers: {python} is absent; run `make peers`")
    return False


def run_peer(
    python: Path, name: str, log: Interactions, settings: Mapping[str, object]
) -> dict[str, np.typing.NDArray[np.generic]]:
    """Fit a peer to the log in its own process on one thread.

    Returns users (U, D), items (I, D), cpu_seconds of the fit and epoch_seconds, CPU seconds of each epoch, or of
    all at once where the peer does not report them.
    Raises `PalateError` with the last line of what the peer said.
    """
    script = str(ROOT / "benchmarks" / "peers" / "fit.py")
    return fit_apart(
        log, name, lambda given, answer: [str(python), script, name, json.dumps(settings), given, answer]
    )


def fit_apart(
    log: Interactions,
    name: str,
    command: Callable[[str, str], list[str]],
    more: Mapping[str, Any] | None = None,
    *,
    all_cores: bool = False,
) -> dict[str, np.typing.NDArray[np.generic]]:
    """Run a command, made of the file of the log and of the answer; returns the arrays it answers.

    It has one thread, or those that its libraries take with `all_cores`.

    `more` arrays lie in the file of the log as well. Raises `PalateError` with the last line that the command wrote.
    """
    with tempfile.TemporaryDirectory() as place:
        given, answer = Path(place) / "log.npz", Path(place) / "factors.npz"
        np.savez(given, start=log.start, item=log.item, weight=log.weight, n_items=len(log.items), **(more or {}))
        asked = command(str(given), str(answer))
        done = subprocess.run(
            asked, env=dict(os.environ) if all_cores else one_thread(), capture_output=True, text=True, check=False
        )
        if done.returncode:
            said = done.stderr.strip().splitlines() or [f"code {done.returncode}"]
            raise PalateError(f"{name} failed: {said[-1]}")
        with np.load(answer) as found:
            return dict(found)
