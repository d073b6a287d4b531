"""Fresh processes: code that is measured alone, on one thread where asked, and what a process takes of memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from benchmarks.common.paths import ROOT

THREADS = ("OMP_NUM_THREADS", "RAYON_NUM_THREADS", "LK_NUM_THREADS", "LK_NUM_BACKEND_THREADS")


def run_code(code: str, *arguments: str) -> str:
    """Run Python code in a fresh process; returns what it prints. It may import from `benchmarks`."""
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def one_thread() -> dict[str, str]:
    """Environment of a child process: one thread, and OpenBLAS left to choose for itself."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OPENBLAS")}
    return kept | dict.fromkeys(("OPENBLAS_NUM_THREADS", *THREADS), "1")


def resident(field: str, pid: int | str = "self") -> int:
    """Bytes of memory of a process: `VmRSS` now, `VmHWM` at its peak."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(f"{field}:"))


def restart_peak() -> None:
    """Let the peak of this process start again from what it has now."""
    Path("/proc/self/clear_refs").write_text("5")
