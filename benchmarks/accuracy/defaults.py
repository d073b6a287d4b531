"""What the defaults of each loss give on the validation part of MovieLens latest-small.

`python -m benchmarks.accuracy.defaults [--out FILE]`
"""

from __future__ import annotations

import time

from benchmarks.common.logs import movielens
from benchmarks.common.tables import grid, parser, publish, title
from palate import Embedding, Popularity, evaluate, split_ratio
from palate.models.embedding import DEFAULTS

SETTINGS = ("negatives", "epochs", "learning_rate", "l2", "sampler", "user_power")


def main() -> None:
    """Print the table."""
    options = parser(__doc__).parse_args()
    split = split_ratio(movielens(), valid=0.15)
    Popularity().fit(split.train)
    rows = [["`popularity`", f"{evaluate(Popularity(), split, part='valid')['NDCG@10']:.3f}", *[""] * 7]]
    for loss in DEFAULTS:
        recipe = Embedding(loss=loss, threads=1)
        Embedding(loss=loss, threads=1, epochs=1).fit(split.train)  # compiles the kernels
        began = time.process_time()
        model = recipe.fit(split.train)
        seconds = time.process_time() - began
        score = evaluate(model, split, part="valid")["NDCG@10"]
        settings = model.recipe.settings()
        rows.append([f"`{loss}`", f"{score:.3f}", *(str(settings[name]) for name in SETTINGS), f"{seconds:.1f}"])
    table = grid(["`loss`", "NDCG@10", *(f"`{name}`" for name in SETTINGS), "CPU s"], rows)
    about = f"NDCG@10 and CPU seconds of the fit on one thread, dim 64; {split.kind}."
    publish("\n".join([*title("Defaults of the embedding model"), about, "", *table, ""]), options.out)


if __name__ == "__main__":
    main()
