"""Small, lopsided logs: 30 users and 20 items, so that swapped axes fail."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

MEMORY = Path("/dev/shm")
if "PYTEST_VERSION" in os.environ:  # set before numpy and torch are loaded, and for processes that tests start
    # Threads of OpenMP and BLAS wait for one another by spinning: beside another process it costs ten times the CPU.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    for library in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(library, "1")
    # Files lie in memory where there is room: no test can tell, and none of many thousand commits waits for a disk.
    if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > 4 << 30:
        tempfile.tempdir = os.environ.setdefault("TMPDIR", str(MEMORY))  # pytest has looked before

import pytest
from hypothesis import settings

from palate.data.interactions import Interactions
from palate.testing.logs import ITEMS, USERS, block_events, catalogue_of, log_of

__all__ = ["ITEMS", "USERS", "block_events", "catalogue_of", "log_of"]

settings.register_profile("palate", deadline=None)  # a first call compiles
settings.load_profile("palate")


@pytest.fixture
def block_log() -> Interactions:
    return log_of(block_events())


# Files that take long for their number of tests: they start first, so that none is left for one process at the end.
LONG = (
    *("reliability", "transformer", "store_exports", "training", "tokens", "store_durability", "page", "live"),
    *(
        "describing",
        "forgetting",
        "cli",
        "serve",
        "docs",
        "choosing",
        "store_transfer",
        "cost",
        "ranked",
        "autoencoder",
    ),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {f"test_{name}": place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: places.get(item.path.stem, len(places)))
