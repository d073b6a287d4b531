"""What the benchmarks share: logs, the peers' virtual environment, tables."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path

import numpy as np

from palate import read_log
from palate.arrays import Ints
from palate.data.interactions import Interactions
from palate.data.vocabulary import Vocabulary
from palate.errors import PalateError

ROOT = Path(__file__).parents[1]
GOWALLA = ROOT / ".." / "shared" / "data" / "gowalla"
PEERS = ROOT / "benchmarks" / "peers" / "venv" / "bin" / "python"
RESULTS = ROOT / "benchmarks" / "results"
THREADS = ("OMP_NUM_THREADS", "RAYON_NUM_THREADS", "LK_NUM_THREADS", "LK_NUM_BACKEND_THREADS")


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


def movielens() -> Interactions:
    """Read MovieLens latest-small, its stars as weights."""
    return read_log(ROOT / "examples" / "movielens-small" / "ratings.csv.gz")


def gowalla() -> tuple[Interactions, Interactions] | None:
    """Train and test of the split published with LightGCN; None, with a message, where the files are absent."""
    if not GOWALLA.is_dir():
        print(f"skipped Gowalla: {GOWALLA} is absent; a line of its train.txt and test.txt is `user item item ...`")
        return None
    pairs = [_pairs(GOWALLA / name) for name in ("train.txt", "test.txt")]
    users, items = (Vocabulary.of(np.unique(pairs[0][side]).tolist()) for side in (0, 1))
    train, test = (Interactions.of(users, items, users.codes(u.tolist()), items.codes(i.tolist())) for u, i in pairs)
    return train, test


def _pairs(path: Path) -> tuple[Ints, Ints]:
    rows = [np.array(line.split(), np.int32) for line in path.read_text().splitlines()]
    return np.concatenate([np.full(len(row) - 1, row[0]) for row in rows if len(row)]), np.concatenate(
        [row[1:] for row in rows]
    )


def synthetic(n_users: int, n_items: int, n_events: int) -> Interactions:
    """Make a log of random events, item popularity falling off as a power."""
    draw = np.random.default_rng(0)
    user = draw.integers(0, n_users, n_events, dtype=np.int32)
    item = (n_items * draw.random(n_events) ** 3).astype(np.int32)
    return Interactions.of(Vocabulary.of(range(n_users)), Vocabulary.of(range(n_items)), user, item)


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
    all at once where the peer cannot tell.
    Raises `PalateError` with the last line of what the peer said.
    """
    script = str(Path(__file__).with_name("peer_fit.py"))
    return fit_apart(
        log, name, lambda given, answer: [str(python), script, name, json.dumps(settings), given, answer]
    )


def fit_apart(
    log: Interactions, name: str, command: Callable[[str, str], list[str]]
) -> dict[str, np.typing.NDArray[np.generic]]:
    """Run a command, made of the file of the log and of the answer, on one thread; returns the arrays it answers."""
    with tempfile.TemporaryDirectory() as place:
        given, answer = Path(place) / "log.npz", Path(place) / "factors.npz"
        np.savez(given, start=log.start, item=log.item, weight=log.weight, n_items=len(log.items))
        asked = command(str(given), str(answer))
        done = subprocess.run(asked, env=one_thread(), capture_output=True, text=True, check=False)
        if done.returncode:
            raise PalateError(f"{name} failed: {done.stderr.strip().splitlines()[-1]}")
        with np.load(answer) as found:
            return dict(found)


def one_thread() -> dict[str, str]:
    """Environment of a child process: one thread, and OpenBLAS left to choose for itself."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OPENBLAS")}
    return kept | dict.fromkeys(("OPENBLAS_NUM_THREADS", *THREADS), "1")
