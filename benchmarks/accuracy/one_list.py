"""Whether new and met items stand rightly in one list of `Hybrid`.

`python -m benchmarks.accuracy.one_list [--dataset movies music beauty] [--out FILE]`

From the known part of the mixture of `content.py` another mixture is cut in the same way: its test is never read.
`Hybrid`, with the settings chosen there, is fitted; then the vectors of new items are multiplied by a factor. At 1
they are as the model has them. If new items were scored too low, a factor above 1 would find more of all users'
events; if too high, one below 1. And of pairs of a user and an item with about the same score the share that is
an event held out is given for known and for new items; pairs that happened are no pairs.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from benchmarks.accuracy.content import SHOPS, TRIALS, chosen, contestants, mixed
from benchmarks.common.tables import grid, parser, publish, title
from palate import Split, evaluate, split_items
from palate.arrays import aligned_copy
from palate.data.interactions import Interactions
from palate.models.blend import marked
from palate.models.hybrid import HybridModel

FACTORS = (0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0)
EDGES = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6)
ROWS = 512  # users scored at once


def times(model: HybridModel, factor: float) -> HybridModel:
    """Return the model with vectors of new items scaled by a factor."""
    base = model.base
    vectors = aligned_copy(base.item_vectors)
    vectors[model.cold_items] *= np.float32(factor)
    return replace(model, models=(replace(base, item_vectors=vectors),))


def by_factor(model: HybridModel, split: Split) -> list[str]:
    """Table of what each factor finds."""
    rows = []
    for factor in FACTORS:
        report = evaluate(times(model, factor), split, 20)
        new = report.groups["new items"]["Recall@20"]
        found = (report["Recall@20"], report["NDCG@20"], new)
        rows.append([f"{factor:g}", *(f"{each:.4f}" for each in found)])
        print(rows[-1], flush=True)
    return grid(["new vectors times", "Recall@20, all", "NDCG@20, all", "Recall@20, new items"], rows)


def by_score(model: HybridModel, split: Split, whole: Interactions) -> list[str]:
    """Table of how often pairs of about the same score are events held out; `whole` is all that happened."""
    new = model.cold_items
    edges = np.array([*EDGES, np.inf])
    count, hits = np.zeros((2, 2, len(edges) + 1), np.int64)
    histories = split.train.histories(split.test.users.ids).on(model.items)
    for low in range(0, len(histories), ROWS):
        block = histories.block(low, min(low + ROWS, len(histories)))
        place = np.searchsorted(edges, model.scores(block), side="right")
        held_out, happened = (marked(log.histories(block.users).on(model.items)) for log in (split.test, whole))
        pair = held_out | ~happened
        for side, kind in enumerate((~new, new)):
            wanted = pair & kind
            count[side] += np.bincount(place[wanted], minlength=len(edges) + 1)
            hits[side] += np.bincount(place[wanted & held_out], minlength=len(edges) + 1)
    rows = []
    for n, low_edge in enumerate(EDGES, 1):
        shares = [f"{hits[side, n] / max(1, count[side, n]):.2%} of {count[side, n]:,}" for side in range(2)]
        rows.append([f"{low_edge:g} to {edges[n]:g}", *shares])
    return grid(["score", "events among pairs of met items", "of new items"], rows)


def main() -> None:
    """Run the benchmark."""
    asked = parser(__doc__)
    asked.add_argument("--dataset", nargs="+", choices=list(SHOPS), default=list(SHOPS))
    options = asked.parse_args()
    text = title("New and met items in one list")
    for name in options.dataset:
        shop = SHOPS[name]()
        whole = shop.mixture.train
        split = mixed(whole, split_items(whole, 0.2, seed=1).test.items.ids, seed=1)
        hybrid = contestants(options.peers, shop.dims)[0]
        settings = chosen(shop, hybrid, shop.words, TRIALS)
        model = hybrid.make(shop.words, settings).fit(split.train, shop.catalogue)
        assert isinstance(model, HybridModel)
        text += [f"## {shop.name}", "", f"Known {split.train!r}, asked for {split.test!r}; {settings}.", ""]
        text += [*by_factor(model, split), "", *by_score(model, split, whole), ""]
    publish("\n".join(text), options.out)


if __name__ == "__main__":
    main()
