"""The memory of a process with many threads."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from palate.compute.memory import MEMINFO

ENV = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
GROWTH = """
import sys, threading
from ctypes import CDLL
from pathlib import Path
if sys.argv[1] == "shared":
    from palate.compute.memory import settle_allocator
    settle_allocator()
threads, together = 12, threading.Barrier(13)

def allocate():
    CDLL(None).malloc(1000)
    together.wait()
    together.wait()

def reserved():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmSize"))

threading.stack_size(1 << 18)
before = reserved()
for _ in range(threads):
    threading.Thread(target=allocate).start()
together.wait()
print((reserved() - before) // 1024)
together.wait()
"""


@pytest.mark.skipif(not MEMINFO.is_file(), reason="needs /proc and glibc")
def test_many_threads_allocate_from_two_arenas() -> None:
    own, shared = (
        int(subprocess.run([sys.executable, "-c", GROWTH, how], env=ENV, capture_output=True, check=True).stdout)
        for how in ("own", "shared")
    )
    assert own > 400  # MB of address space: 64 for each arena
    assert shared < 200
