"""Fit one peer on one thread and write its vectors: `python peer_fit.py NAME SETTINGS LOG.npz OUT.npz`.

Runs in the peers' own virtual environment, so it imports nothing of palate. A score is the dot product of the
vectors written: biases are columns of them. Times are CPU seconds of the fit, data conversion left out.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix

Fitted = tuple[Any, Any, list[float]]


def implicit_als(matrix: Any, settings: dict[str, Any]) -> Fitted:
    """Alternating least squares of `implicit`."""
    from implicit.cpu.als import AlternatingLeastSquares

    model = AlternatingLeastSquares(num_threads=1, random_state=0, **settings)
    moments = []
    model.fit(matrix, show_progress=False, callback=lambda *_: moments.append(time.process_time()))
    return model.user_factors, model.item_factors, np.diff(moments).tolist()


def irspack_ials(matrix: Any, settings: dict[str, Any]) -> Fitted:
    """Implicit ALS of `irspack`, as Rendle et al. 2022 have it, by conjugate gradients."""
    from irspack.recommenders import IALSRecommender

    epochs = settings.pop("train_epochs")
    model = IALSRecommender(matrix, n_threads=1, **settings)
    model.start_learning()
    moments = [time.process_time()]
    for _ in range(epochs):
        model.run_epoch()
        moments.append(time.process_time())
    core = model.trainer_as_ials.core_trainer
    return core.user, core.item, np.diff(moments).tolist()


def implicit_bpr(matrix: Any, settings: dict[str, Any]) -> Fitted:
    """BPR of `implicit`; its vectors hold the bias of the item beside a 1."""
    from implicit.cpu.bpr import BayesianPersonalizedRanking

    model = BayesianPersonalizedRanking(num_threads=1, random_state=0, **settings)
    moments = []
    model.fit(matrix, show_progress=False, callback=lambda *_: moments.append(time.process_time()))
    return model.user_factors, model.item_factors, np.diff(moments).tolist()


def lightfm_warp(matrix: Any, settings: dict[str, Any]) -> Fitted:
    """WARP of `lightfm-next`."""
    from lightfm import LightFM

    epochs = settings.pop("epochs")
    model = LightFM(loss="warp", random_state=0, **settings)
    model.fit(matrix.tocoo(), epochs=epochs, num_threads=1)
    _, users = model.get_user_representations()
    biases, items = model.get_item_representations()
    return np.column_stack([users, np.ones(len(users))]), np.column_stack([items, biases]), []


PEERS: dict[str, Callable[[Any, dict[str, Any]], Fitted]] = {
    "implicit_als": implicit_als,
    "implicit_bpr": implicit_bpr,
    "irspack_ials": irspack_ials,
    "lightfm_warp": lightfm_warp,
}


def main() -> None:
    """Fit and write."""
    name, settings, given, answer = sys.argv[1:]
    log = np.load(given)
    shape = (len(log["start"]) - 1, int(log["n_items"]))
    matrix = csr_matrix((log["weight"], log["item"], log["start"].astype(np.int32)), shape=shape)
    matrix.sum_duplicates()
    began = time.process_time()
    users, items, epoch_seconds = PEERS[name](matrix, json.loads(settings))
    np.savez(
        answer,
        users=users.astype(np.float32),
        items=items.astype(np.float32),
        cpu_seconds=time.process_time() - began,
        epoch_seconds=epoch_seconds,
    )


if __name__ == "__main__":
    main()
