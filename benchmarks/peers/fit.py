"""Fit one peer on one thread and write its vectors: `python peer_fit.py NAME SETTINGS LOG.npz OUT.npz`.

Runs in the peers' own virtual environment, so it imports nothing of palate. A score is the dot product of the
vectors written: biases are columns of them. Times are CPU seconds of the fit, imports and conversion left out.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix

Fitted = tuple[Any, Any, list[float]]  # users, items, and process_time before the first and after each epoch


def implicit_als(matrix: Any, settings: dict[str, Any]) -> Fitted:
    """Alternating least squares of `implicit`."""
    from implicit.cpu.als import AlternatingLeastSquares

    model = AlternatingLeastSquares(num_threads=1, random_state=0, **settings)
    return fitted_implicit(model, matrix)


def implicit_bpr(matrix: Any, settings: dict[str, Any]) -> Fitted:
    """BPR of `implicit`; its vectors hold the bias of the item beside a 1."""
    from implicit.cpu.bpr import BayesianPersonalizedRanking

    model = BayesianPersonalizedRanking(num_threads=1, random_state=0, **settings)
    return fitted_implicit(model, matrix)


def fitted_implicit(model: Any, matrix: Any) -> Fitted:
    """Fit a model of `implicit`."""
    moments = [time.process_time()]
    model.fit(matrix, show_progress=False, callback=lambda *_: moments.append(time.process_time()))
    return model.user_factors, model.item_factors, moments


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
    return core.user, core.item, moments


def lenskit_als(matrix: Any, settings: dict[str, Any]) -> Fitted:
    """Implicit ALS of `lenskit`, solved exactly; users get their vectors once more at the end, as it ranks."""
    import pandas as pd
    from lenskit.als import ImplicitMFScorer  # type: ignore[import-not-found]
    from lenskit.data import from_interactions_df  # type: ignore[import-not-found]
    from lenskit.training import TrainingOptions  # type: ignore[import-not-found]

    pairs = matrix.tocoo()
    frame = pd.DataFrame({"user_id": pairs.row, "item_id": pairs.col, "rating": pairs.data})
    users, items = (np.arange(n) for n in matrix.shape)
    model = ImplicitMFScorer(use_ratings=True, **settings)
    trainer = model.create_trainer(from_interactions_df(frame, users=users, items=items), TrainingOptions(rng=0))
    moments = [time.process_time()]
    for _ in range(model.config.epochs):
        trainer.train_epoch()
        moments.append(time.process_time())
    trainer.als_half_epoch(model.config.epochs, trainer.u_ctx)
    return model.user_embeddings, model.item_embeddings, moments


def lightfm_warp(matrix: Any, settings: dict[str, Any]) -> Fitted:
    """WARP of `lightfm-next`."""
    from lightfm import LightFM

    epochs = settings.pop("epochs")
    model = LightFM(loss="warp", random_state=0, **settings)
    began, pairs = time.process_time(), matrix.tocoo()
    model.fit(pairs, epochs=epochs, num_threads=1)
    moments = [began, time.process_time()]
    _, users = model.get_user_representations()
    biases, items = model.get_item_representations()
    return np.column_stack([users, np.ones(len(users))]), np.column_stack([items, biases]), moments


def lightfm_content(matrix: Any, settings: dict[str, Any]) -> Fitted:
    """WARP of `lightfm-next` over the content of the items: a file of sparse rows of features, beside their ids.

    An item without events has its features alone.
    """
    from lightfm import LightFM
    from scipy.sparse import diags, hstack

    epochs, content = settings.pop("epochs"), np.load(settings.pop("features"))
    rows = csr_matrix(
        (content["weight"], content["column"], content["start"].astype(np.int32)), shape=tuple(content["shape"])
    )
    met = np.bincount(matrix.indices, minlength=matrix.shape[1]) > 0
    features = csr_matrix(hstack([diags(met.astype(np.float32)), rows]), dtype=np.float32)
    model = LightFM(loss="warp", random_state=0, **settings)
    began, pairs = time.process_time(), matrix.tocoo()
    model.fit(pairs, item_features=features, epochs=epochs, num_threads=1)
    moments = [began, time.process_time()]
    _, users = model.get_user_representations()
    biases, items = model.get_item_representations(features)
    return np.column_stack([users, np.ones(len(users))]), np.column_stack([items, biases]), moments


def rusket_als(matrix: Any, settings: dict[str, Any]) -> Fitted:
    """Implicit ALS of `rusket`, whose epochs cannot be measured one by one."""
    from rusket import ALS  # type: ignore[import-not-found]

    model = ALS(seed=0, **settings)
    began = time.process_time()
    model.fit(matrix)
    return model.user_factors, model.item_factors, [began, time.process_time()]


PEERS: dict[str, Callable[[Any, dict[str, Any]], Fitted]] = {
    "implicit_als": implicit_als,
    "implicit_bpr": implicit_bpr,
    "irspack_ials": irspack_ials,
    "lenskit_als": lenskit_als,
    "lightfm_content": lightfm_content,
    "lightfm_warp": lightfm_warp,
    "rusket_als": rusket_als,
}


def main() -> None:
    """Fit and write."""
    name, settings, given, answer = sys.argv[1:]
    log = np.load(given)
    shape = (len(log["start"]) - 1, int(log["n_items"]))
    matrix = csr_matrix((log["weight"], log["item"], log["start"].astype(np.int32)), shape=shape)
    matrix.sum_duplicates()
    users, items, moments = PEERS[name](matrix, json.loads(settings))
    np.savez(
        answer,
        users=np.asarray(users, np.float32),
        items=np.asarray(items, np.float32),
        cpu_seconds=moments[-1] - moments[0],
        epoch_seconds=np.diff(moments),
    )


if __name__ == "__main__":
    main()
