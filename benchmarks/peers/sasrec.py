"""CPU seconds of an epoch of RecTools' SASRec; run by deep.py with a Python that has rectools[torch].

`python peer_sasrec.py LOG.npz LOSS EPOCHS DIM LAYERS HEADS WINDOW`: the log's start (U + 1,) and item (N,). Prints
JSON.
"""

import json
import sys
import time

import numpy as np
import pandas as pd
import torch
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import SASRecModel


def main() -> None:
    """Fit for one epoch, then for some more: the difference is what epochs take."""
    path, loss, epochs, dim, layers, heads, window = sys.argv[1:]
    torch.set_num_threads(1)
    log = np.load(path)
    user = np.repeat(np.arange(len(log["start"]) - 1), np.diff(log["start"]))
    place = np.arange(len(user)) - log["start"][user]
    frame = pd.DataFrame(
        {
            Columns.User: user,
            Columns.Item: log["item"],
            Columns.Weight: 1.0,
            Columns.Datetime: pd.Timestamp("2020-01-01") + pd.to_timedelta(place, unit="D"),
        }
    )
    dataset = Dataset.construct(frame)
    seconds = []
    for count in (1, 1 + int(epochs)):
        model = SASRecModel(
            n_factors=int(dim),
            n_blocks=int(layers),
            n_heads=int(heads),
            session_max_len=int(window),
            loss=loss,
            n_negatives=1,
            batch_size=128,
            epochs=count,
            dropout_rate=0.5,
            deterministic=False,
            verbose=0,
        )
        began = time.process_time()
        model.fit(dataset)
        seconds.append(time.process_time() - began)
    print(json.dumps({"seconds": (seconds[1] - seconds[0]) / int(epochs)}))


if __name__ == "__main__":
    main()
