from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from databases import url
from processes import import_in_parts

from benchmarks.common.served import FORKS
from palate.errors import StoreError
from palate.store.backup import check
from palate.store.events import Event, Store
from palate.store.transfer import import_events

__all__ = ["url"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MB."""
    place = tmp_path / "small"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4M", "tmpfs", str(place)]
    if os.geteuid() or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a small file system can be mounted by root only")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_on_a_full_disk_what_was_acknowledged_stays(small_disk: Path) -> None:
    filler = small_disk / "filler"
    filler.write_bytes(bytes(1 << 20))
    stored = 0
    with Store.open(small_disk / "s.db") as store:
        error = None
        while error is None:
            batch = [Event(f"u{n}", f"i{n}", "view", n, None, f"{stored}-{n}" + "x" * 500) for n in range(100)]
            try:
                stored += store.append(batch).new
            except StoreError as full:
                error = full
        assert "full" in str(error)
        assert stored > 0
        assert store.counts().events == stored
        filler.unlink()
        assert store.append([Event("ann", "a", "view", 0)]).new == 1
        assert store.counts().events == stored + 1
    with Store.open(small_disk / "s.db") as store:
        assert store.counts().events == stored + 1
        assert check(store).faults == ()


@pytest.mark.parametrize("times", [True, False])
def test_an_import_that_is_killed_goes_on_where_it_stopped(url: str, tmp_path: Path, times: bool) -> None:
    rng = random.Random(0)
    rows = [(f"u{rng.randrange(40)}", f"i{rng.randrange(4)}", 10**9 + rng.randrange(3)) for _ in range(800)]
    log = pl.DataFrame(rows, ["user", "item", "timestamp"], orient="row")
    path = tmp_path / "log.csv"
    (log if times else log.drop("timestamp")).write_csv(path)
    for parts in (5, 2, 9):
        reports, done = FORKS.Pipe(duplex=False)
        process = FORKS.Process(target=import_in_parts, args=(url, path, done))
        process.start()
        done.close()
        with reports:
            for _ in range(parts):
                reports.recv()
            process.kill()
            process.join()
    with Store.open(url) as store:
        stored = store.counts().events
        assert 0 < stored < len(log)
        assert import_events(store, path) == len(log) - stored
        found = store.log().to_frame().select("user_id", "item_id").sort("user_id", "item_id")
        assert found.rows() == log.select("user", "item").sort("user", "item").rows()
        assert check(store).faults == ()
