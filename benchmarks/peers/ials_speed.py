"""CPU seconds of an iALS epoch on Gowalla beside its peers: `python -m benchmarks.peers.ials_speed [--out FILE]`.

One thread each, alternating rounds in fresh processes, median and range over the epochs but the first. Each
starts from the same objective of Rendle et al. 2022 where it has it (implicit, rusket and lenskit have that of Hu et
al. 2008). The objective after the same number of epochs is given, too: a fast epoch that does less work is no
gain. rusket does not report single epochs: its figure is the mean over the epochs by which a fit is longer.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks.common.logs import gowalla
from benchmarks.common.peers import fit_apart, has_peers, run_peer
from benchmarks.common.tables import grid, parser, publish, title
from palate.arrays import Floats
from palate.data.interactions import Interactions
from palate.models.ials import IALS, AlsState

EPOCHS = 4
ALPHA, L2 = 0.01, 0.003
Vectors = tuple[Floats, Floats]
MEASURE = """
import json, sys, time
import numpy as np
from palate.data.interactions import Interactions
from palate.data.vocabulary import Vocabulary
from palate.compute.threads import ThreadTeam
from palate.models.ials import IALS, AlsState

given, answer, settings, epochs = sys.argv[1:]
log = np.load(given)
ids = [Vocabulary.of(range(n)) for n in (len(log["start"]) - 1, int(log["n_items"]))]
recipe = IALS(**json.loads(settings))
log = Interactions(*ids, log["start"], log["item"], log["weight"])
with ThreadTeam(1) as team:
    AlsState.of(recipe, log).epoch(team, recipe.steps)  # kernels are compiled outside the clock
    work = AlsState.of(recipe, log)
    moments = [time.process_time()]
    for _ in range(int(epochs)):
        work.epoch(team, recipe.steps)
        moments.append(time.process_time())
np.savez(answer, users=work.users, items=work.items, epoch_seconds=np.diff(moments))
"""


def run_palate(log: Interactions, settings: Mapping[str, object]) -> dict[str, np.typing.NDArray[np.generic]]:
    """Fit in a fresh process on one thread; returns what `run_peer` does."""
    shown = json.dumps(settings), str(EPOCHS)
    return fit_apart(log, "palate", lambda given, answer: [sys.executable, "-c", MEASURE, given, answer, *shown])


def objective(users: Floats, items: Floats, log: Interactions, recipe: IALS) -> float:
    """Objective of Rendle et al. 2022 a unit of weight."""
    work = AlsState.of(recipe, log)
    work.users, work.items = (np.ascontiguousarray(side, np.float32) for side in (users, items))
    return work.loss()


def contestants_of(dim: int, peers: bool) -> dict[str, tuple[str, Mapping[str, object]]]:
    """Return the model of fit.py, "" for palate, and the settings of each contestant by its name."""
    ours = {"dim": dim, "epochs": EPOCHS, "unseen_weight": ALPHA, "l2": L2, "threads": 1}
    contestants: dict[str, tuple[str, Mapping[str, object]]] = {
        f"palate, {steps} steps": ("", ours | {"steps": steps}) for steps in (2, 3)
    }
    if not peers:
        return contestants
    weight = {"alpha": 1 / ALPHA}
    shared = {"n_components": dim, "alpha0": ALPHA, "reg": L2, "train_epochs": EPOCHS}
    contestants["irspack, CG"] = "irspack_ials", shared | {"solver_type": "CG", "max_cg_steps": 3}
    contestants["implicit, CG"] = "implicit_als", {"factors": dim, "iterations": EPOCHS, **weight}
    contestants["rusket, CG"] = "rusket_als", {"factors": dim, "iterations": EPOCHS, "cg_iters": 3, **weight}
    if dim < 1024:
        contestants["irspack, iALS++"] = "irspack_ials", shared | {"solver_type": "IALSPP"}
        exact = {"embedding_size": dim, "epochs": EPOCHS, "weight": 1 / ALPHA}
        contestants["lenskit, Cholesky"] = "lenskit_als", exact
    return contestants


def epochs_of(
    python: Path, log: Interactions, peer: str, settings: Mapping[str, object]
) -> tuple[list[float], Vectors]:
    """CPU seconds of the epochs but the first, and the vectors of users and items after the last."""
    found = run_peer(python, peer, log, settings) if peer else run_palate(log, settings)
    seconds = found["epoch_seconds"].astype(float).tolist()
    if len(seconds) == 1:
        first = run_peer(python, peer, log, {**settings, "iterations": 1})["epoch_seconds"].astype(float)[0]
        seconds = [first, (seconds[0] - first) / (EPOCHS - 1)]
    return seconds[1:], (found["users"].astype(np.float32), found["items"].astype(np.float32))


def main() -> None:
    """Run the benchmark."""
    asked = parser(__doc__)
    asked.add_argument("--rounds", type=int, default=3)
    asked.add_argument("--dims", type=int, nargs="+", default=[64, 128, 256, 1024])
    options = asked.parse_args()
    logs = gowalla()
    if logs is None:
        return
    log = logs[0]
    rows = []
    for dim in options.dims:
        contestants = contestants_of(dim, has_peers(options.peers))
        recipe = IALS(dim=dim, unseen_weight=ALPHA, l2=L2)
        seconds: dict[str, list[float]] = {name: [] for name in contestants}
        reached: dict[str, float] = {}
        for _ in range(options.rounds if dim < 1024 else 1):
            for name, (peer, settings) in contestants.items():
                taken, (users, items) = epochs_of(options.peers, log, peer, settings)
                seconds[name] += taken
                if peer in ("", "irspack_ials"):
                    reached[name] = objective(users, items, log, recipe)
        best = median(seconds["palate, 2 steps"])
        for name, taken in seconds.items():
            cells = f"{median(taken):.3f}", f"{min(taken):.3f} to {max(taken):.3f}", f"{median(taken) / best:.2f}"
            rows.append([str(dim), name, *cells, f"{reached[name]:.4f}" if name in reached else "another"])
    lines = [
        *title("iALS: CPU seconds of an epoch on Gowalla, one thread"),
        f"Median and range over rounds and epochs; unseen_weight {ALPHA}, l2 {L2}; objective (Rendle et al. 2022) a",
        f"unit of weight after {EPOCHS} epochs.",
        "",
        *grid(["dim", "library", "CPU s an epoch", "range", "times palate's 2 steps", "objective"], rows),
        "",
    ]
    publish("\n".join(lines), options.out)


if __name__ == "__main__":
    main()
