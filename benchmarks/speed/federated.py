"""Federated training by real processes, beside a training on all logs: `python -m benchmarks.speed.federated`.

`[--recipes ials ease embedding] [--out FILE]`. lastfm-music, its fold 2 held out: users are dealt out to 3 and to 5
clients, each a process, with a server that is another; TLS, keys of clients and masks are on. Distance is the largest
of a number of an item's vector (IALS) or of a weight (EASE) to the model of all logs; axes have no sign. Recall@20 is
the mean over the users of all clients, each ranked by the model of its client. "killed": after each epoch one of the
clients is killed with SIGKILL, each in its turn, and started again with nothing but its log.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.common.paths import DATA
from benchmarks.common.tables import grid, parser, publish, title
from palate import EASE, IALS, Embedding, evaluate, load, read_log
from palate.data.interactions import Interactions
from palate.data.splits import Split
from palate.models.base import Model, Recipe
from palate.models.ials import AlsState, IALSModel
from palate.models.item_to_item import DenseItemModel
from palate.privacy.federated.ials import item_starts, user_starts
from palate.privacy.federated.work import item_hashes

CLI = [sys.executable, "-c", "from palate.cli import main; main()", "federate"]
SECRET = b"known to clients alone"
RECIPES: dict[str, Recipe] = {
    "ials": IALS(threads=1),
    "ease": EASE(),
    "embedding": Embedding(threads=1),
}
HEAD = (
    *("recipe", "clients", "killed", "wall s", "MB an epoch down", "up", "formula", "other MB down", "up"),
    *("distance", "Recall@20", "of all logs"),
)
Process = subprocess.Popen  # of text
Bytes = dict[str, dict[str, dict[str, int]]]  # by client, way and what was asked


def music() -> Split:
    """Read lastfm-music: folds 0 and 1 are known, 2 is held out."""
    frame = pl.read_csv(DATA / "lastfm-music" / "listens.csv")
    known, test = (read_log(frame.filter(which).drop("fold")) for which in (pl.col("fold") < 2, pl.col("fold") == 2))
    return Split(known, test)


def central(recipe: Recipe, log: Interactions) -> Model:
    """Train on all logs; IALS from the start that clients have."""
    if not isinstance(recipe, IALS):
        return recipe.fit(log)
    start = np.empty((len(log.items), recipe.dim), np.float32)
    start[np.argsort([each.hex() for each in item_hashes(log.items, SECRET)])] = item_starts(len(log.items), recipe)
    return recipe.alternate(AlsState.of(recipe, log, vectors=(user_starts(log.users, recipe), start)), log, None)


def write_keys(folder: Path, names: list[str]) -> None:
    """Have openssl make a certificate and keys."""
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=palate", "-days", "2"]
    files = ["-keyout", folder / "server.key", "-out", folder / "server.pem"]
    run("openssl", "req", "-x509", *curve, *files, "-addext", "subjectAltName=IP:127.0.0.1")
    (folder / "clients").mkdir()
    for name in names:
        run("openssl", "genpkey", "-algorithm", "ed25519", "-out", folder / f"{name}.key")
        run("openssl", "pkey", "-in", folder / f"{name}.key", "-pubout", "-out", folder / "clients" / f"{name}.pem")
    (folder / "secret").write_bytes(SECRET)


def run(*command: object) -> None:
    """Run a command, silent."""
    subprocess.run(list(map(str, command)), check=True, capture_output=True)


def started(*command: object, **pipes: int) -> Process[str]:
    """Start a command of `palate federate`."""
    return Process([*CLI, *map(str, command)], text=True, **pipes)  # type: ignore[call-overload, no-any-return]


@dataclass
class Clients:
    """Clients in processes of their own."""

    folder: Path
    address: str
    running: dict[str, Process[str]] = field(default_factory=dict)

    def start(self, name: str) -> None:
        """Start a client."""
        own = ["--log", self.folder / f"{name}.csv", "--out", self.folder / f"model-{name}", "--name", name]
        keys = ["--key", self.folder / f"{name}.key", "--ca", self.folder / "server.pem"]
        where = ["--server", self.address, "--secret", self.folder / "secret"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.running[name] = started("client", *own, *keys, *where, **quiet)

    def restart(self, name: str) -> None:
        """Kill a client, and start it again."""
        self.running[name].kill()
        self.running[name].wait()
        self.start(name)


@contextmanager
def processes(folder: Path, name: str, recipe: Recipe, names: list[str]) -> Iterator[tuple[Process[str], Clients]]:
    """Start a server and clients; all are gone afterwards."""
    given = [f"--set={key}={str(value).lower()}" for key, value in recipe.settings().items() if value is not None]
    tls = ["--cert", folder / "server.pem", "--tls-key", folder / "server.key", "--clients", folder / "clients"]
    options = ["--listen", "127.0.0.1:0", *tls, "--expect", len(names), "--json", "--wait", 120]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    server = started("server", name, *options, *given, **pipes)
    assert server.stderr is not None
    clients = Clients(folder, server.stderr.readline().split()[-1])
    try:
        for each in names:
            clients.start(each)
        yield server, clients
    finally:
        for process in (server, *clients.running.values()):
            process.kill()
            process.wait()


def federated(folder: Path, name: str, recipe: Recipe, names: list[str], *, kill: bool) -> tuple[float, int, Bytes]:
    """Train; returns wall seconds from when all are here, how often one was killed, and the bytes."""
    killed, began = 0, 0.0
    with processes(folder, name, recipe, names) as (server, clients):
        assert server.stderr is not None
        assert server.stdout is not None
        for text in server.stderr:
            began = began or (time.perf_counter() if text.endswith(" items\n") else 0.0)
            if kill and re.match(r"epoch \d+ of", text):
                clients.restart(names[killed % len(names)])
                killed += 1
        seconds = time.perf_counter() - began
        for process in clients.running.values():
            process.wait(120)
        return seconds, killed, json.load(server.stdout)


def recall(models: list[Model], logs: list[Interactions], split: Split) -> float:
    """Recall@20 over the users of all clients."""
    found = []
    for model, log in zip(models, logs, strict=True):
        mine = np.isin(split.test.users.ids.to_numpy(), log.users.ids.to_numpy())
        test = split.test.select(mine[split.test.user])
        found.append((evaluate(model, Split(log, test), [20])["Recall@20"], len(test.users)))
    return sum(value * count for value, count in found) / sum(count for _, count in found)


def distance(one: Model, whole: Model) -> str:
    """Largest distance to the model of all logs."""
    rows = whole.items.codes(one.items.ids)
    if isinstance(one, IALSModel) and isinstance(whole, IALSModel):
        theirs = whole.item_vectors[rows]
        return f"{np.abs(one.item_vectors - theirs * np.sign((one.item_vectors * theirs).sum(axis=0))).max():.1e}"
    if isinstance(one, DenseItemModel) and isinstance(whole, DenseItemModel):
        return f"{np.abs(one.weights - whole.weights[np.ix_(rows, rows)]).max():.1e}"
    return ""


def compared(name: str, split: Split, clients: int, *, kill: bool = False) -> list[str]:
    """Train and compare."""
    recipe, log, names = RECIPES[name], split.train, [f"c{n}" for n in range(clients)]
    logs = [log.select(log.user % clients == n) for n in range(clients)]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_keys(folder, names)
        for each, part in zip(names, logs, strict=True):
            part.to_frame().write_csv(folder / f"{each}.csv")
        seconds, killed, traffic = federated(folder, name, recipe, names, kill=kill)
        models = [load(folder / f"model-{each}") for each in names]
        whole = central(recipe, log)
        cells = [f"{each:.3f}" for each in megabytes(recipe, len(log.items), traffic)]
        figures = recall(models, logs, split), recall([whole] * clients, logs, split)
        shown = [*cells, distance(models[0], whole), *(f"{each:.4f}" for each in figures)]
        return [type(recipe).__name__, str(clients), str(killed), f"{seconds:.1f}", *shown]


def megabytes(recipe: Recipe, items: int, traffic: Bytes) -> list[float]:
    """MB of a client: down and up an epoch, the formula for it, and all else of the run, down and up."""
    own, epochs, formula = kinds(recipe, items)
    inner, outer = ([0.0, 0.0], [0.0, 0.0])
    for each in traffic.values():
        for n, way in enumerate(("down", "up")):
            for kind, size in each[way].items():
                (inner if kind in own else outer)[n] += size / len(traffic) / 1e6
    return [*(each / epochs for each in inner), formula / 1e6, *outer]


def kinds(recipe: Recipe, items: int) -> tuple[tuple[str, ...], int, float]:
    """Return the sums of an epoch, the epochs, and the bytes that the formula says."""
    if isinstance(recipe, IALS):
        return ("items", "step", "users"), recipe.epochs, (recipe.steps + 2) * items * recipe.dim * 4
    if isinstance(recipe, Embedding):
        return ("round",), recipe.resolved().epochs or 1, (items + 1) * recipe.dim * 4
    return ("gram",), 1, items * (items + 1) * 2


def main() -> None:
    """Print the table."""
    asked = parser(__doc__)
    asked.add_argument("--recipes", nargs="+", default=list(RECIPES), choices=list(RECIPES))
    chosen = asked.parse_args()
    split = music()
    rows = []
    for name in chosen.recipes:
        for clients in (3, 5):
            rows.append(compared(name, split, clients))
            print(rows[-1], file=sys.stderr, flush=True)
    if "ials" in chosen.recipes:
        rows.append(compared("ials", split, 5, kill=True))
    head = title("Federated training by real processes", ("numpy", "flwr", "palate"))
    publish("\n".join([*head, *grid(HEAD, rows), ""]), chosen.out)


if __name__ == "__main__":
    main()
