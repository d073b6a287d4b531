"""Whether new and met items stand rightly in one list of `Hybrid`.

`python benchmarks/one_list.py [--dataset movies music beauty] [--out FILE]`

From the known part of the mixture of `content.py` another mixture is cut in the same way: its test is never read.
`Hybrid`, with the settings chosen there, is fitted; then the vectors of new items are multiplied by a factor. At 1
they are as the model has them. If new items were scored too low, a factor above 1 would find more of everybody's
events; if too high, one below 1. And of pairs of a person and an item with about the same score the share that is
an event held out is told for met and for new items; pairs that happened are no pairs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from common import grid, parser, publish, title
from content import SHOPS, Shop

from palate import IALS, Hybrid, Split, evaluate, split_items, split_ratio
from palate.arrays import Bools, aligned_copy
from palate.data.histories import Histories
from palate.data.interactions import Interactions
from palate.models.hybrid import HybridModel

CHOSEN = {
    "movies": {"base": IALS(dim=128, l2=0.008), "dim": 256},
    "music": {"base": IALS(dim=64, l2=0.002), "dim": 128, "strength": 10.0},
    "beauty": {"base": IALS(dim=128), "dim": 768},
}
FACTORS = (0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0)
EDGES = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6)
ROWS = 512  # people scored at once


@dataclass(frozen=True)
class Mixture:
    """What is known, what is asked for, and everything that happened."""

    known: Interactions
    test: Interactions
    whole: Interactions

    @classmethod
    def of(cls, shop: Shop) -> Mixture:
        """Hold out a fifth of the events; those known of a fifth of the items are left out too."""
        log = shop.mixture.train
        parts = split_ratio(log, 0.2, seed=1)
        new = parts.train.items.codes(split_items(log, 0.2, seed=1).test.items.ids)
        known = parts.train.select(~np.isin(parts.train.item, new))
        asked = parts.test.select(np.isin(parts.test.user, parts.test.users.codes(known.users.ids)))
        return cls(known, asked, log)

    @cached_property
    def split(self) -> Split:
        """As `evaluate` takes it."""
        return Split(self.known, self.test, kind="mixture cut from train")

    def marked(self, log: Interactions, model: HybridModel, people: Histories) -> Bools:
        """Whether a pair is in the log, (B, I)."""
        rows = log.histories(people.users).on(model.items).rows
        mask = np.zeros((len(people), len(model.items)), np.bool_)
        mask[np.repeat(np.arange(len(people)), rows.lengths), rows.column] = True
        return mask


def times(model: HybridModel, factor: float) -> HybridModel:
    """Return the model with vectors of new items so many times as long."""
    base = model.base
    vectors = aligned_copy(base.item_vectors)
    vectors[base.popularity == 0] *= np.float32(factor)
    return replace(model, models=(replace(base, item_vectors=vectors),))


def by_factor(model: HybridModel, mixture: Mixture) -> list[str]:
    """Table of what each factor finds."""
    rows = []
    for factor in FACTORS:
        report = evaluate(times(model, factor), mixture.split, 20)
        new = report.groups["new items"]["Recall@20"]
        found = (report["Recall@20"], report["NDCG@20"], new)
        rows.append([f"{factor:g}", *(f"{each:.4f}" for each in found)])
        print(rows[-1], flush=True)
    return grid(["new vectors times", "Recall@20, all", "NDCG@20, all", "Recall@20, new items"], rows)


def by_score(model: HybridModel, mixture: Mixture) -> list[str]:
    """Table of how often pairs of about the same score are events held out."""
    new = model.base.popularity == 0
    edges = np.array([*EDGES, np.inf])
    count, hits = np.zeros((2, 2, len(edges) + 1), np.int64)
    everybody = mixture.known.histories(mixture.test.users.ids).on(model.items)
    for low in range(0, len(everybody), ROWS):
        people = everybody.block(low, min(low + ROWS, len(everybody)))
        place = np.searchsorted(edges, model.scores(people), side="right")
        held_out = mixture.marked(mixture.test, model, people)
        pair = held_out | ~mixture.marked(mixture.whole, model, people)
        for side, kind in enumerate((~new, new)):
            wanted = pair & kind
            count[side] += np.bincount(place[wanted], minlength=len(edges) + 1)
            hits[side] += np.bincount(place[wanted & held_out], minlength=len(edges) + 1)
    rows = []
    for n, low_edge in enumerate(EDGES, 1):
        told = [f"{hits[side, n] / max(1, count[side, n]):.2%} of {count[side, n]:,}" for side in range(2)]
        rows.append([f"{low_edge:g} to {edges[n]:g}", *told])
    return grid(["score", "events among pairs of met items", "of new items"], rows)


def main() -> None:
    """Run the benchmark."""
    asked = parser(__doc__)
    asked.add_argument("--dataset", nargs="+", choices=list(SHOPS), default=list(SHOPS))
    options = asked.parse_args()
    text = title("New and met items in one list")
    for name in options.dataset:
        shop = SHOPS[name]()
        mixture = Mixture.of(shop)
        recipe = Hybrid(fields=shop.words, **CHOSEN[name])  # type: ignore[arg-type]
        model = recipe.fit(mixture.known, shop.catalogue)
        text += [f"## {shop.name}", "", f"Known {mixture.known!r}, asked for {mixture.test!r}.", ""]
        text += [*by_factor(model, mixture), "", *by_score(model, mixture), ""]
    publish("\n".join(text), options.out)


if __name__ == "__main__":
    main()
