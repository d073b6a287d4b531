"""What exploration finds: users click what they would have rated, half of the items are new, the model learns.

`python -m benchmarks.accuracy.exploration [--out FILE]`

MovieLens latest-small. Half of the items are new: no event of the log that training starts from has them. Of the
ratings of the others it has three tenths of each user's, three at least. In each round every user gets one list and
clicks what they rated, and the model is fitted anew to all events. Regret: what lists of clicks alone had more.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from benchmarks.common.logs import RATINGS, movielens
from benchmarks.common.tables import grid, parser, publish, title
from palate import IALS, Catalogue, Hybrid, read_catalogue
from palate.arrays import Bools, Floats
from palate.data.interactions import Interactions
from palate.models.base import Model
from palate.ranking.context import Order, UserHistory, offline
from palate.ranking.item_index import ItemIndex
from palate.ranking.pipeline import recommend
from palate.ranking.request import Explore, ListRequest

K, ROUNDS, SEEDS = 10, 12, 2
START = 0.3  # of the events of a user on items that are not new
RECIPE = Hybrid(IALS(dim=32, epochs=5, threads=1), fields=("genres",))
POLICIES: dict[str, float | Explore] = {
    "none": 0.0,
    "a tenth": 0.1,
    "thompson:0.25": Explore(share=0, strength=0.25),
    "thompson:0.5": Explore(share=0, strength=0.5),
    "thompson": Explore(share=0),
}


@dataclass(eq=False)
class World:
    """Users, with what they would click, (U, I), what they have seen and clicked so far, and what is new (I,)."""

    log: Interactions
    truth: Bools
    seen: Bools
    clicked: Bools
    new: Bools

    @classmethod
    def of(cls, log: Interactions, seed: int) -> World:
        """Draw what is new, and what training starts from."""
        draw = np.random.default_rng(seed)
        new = draw.random(len(log.items)) < 0.5
        truth = np.zeros((len(log.users), len(log.items)), np.bool_)
        truth[log.user, log.item] = True
        start = np.zeros_like(truth)
        for own, known in zip(start, truth & ~new, strict=True):
            there = draw.permutation(np.flatnonzero(known))
            own[there[: max(3, int(START * len(there)))]] = True
        return cls(log, truth, start.copy(), start, new)

    def fit(self, catalogue: Catalogue, seed: int) -> Model:
        """Fit to what was clicked."""
        there = np.flatnonzero(self.clicked.any(axis=0)).astype(np.int32)
        user, item = np.nonzero(self.clicked[:, there])
        log = Interactions.of(
            self.log.users, self.log.items.select(there), user.astype(np.int32), item.astype(np.int32)
        )
        return replace(RECIPE, seed=seed).fit(log, catalogue)

    def round(self, model: Model, explore: float | Explore) -> tuple[int, int, int]:
        """Show each user a list: clicks, those on new items, and regret."""
        code, row = self.log.items.codes(model.items.ids), model.items.codes(self.log.items.ids)
        popular = self.clicked.sum(axis=0)[code].astype(np.float32)
        index = ItemIndex.of_model(model.items)
        order = Order(np.argsort(-popular, kind="stable"), popular)
        base = replace(offline(model, index, np.ones(len(index), np.bool_)), popular=order, newest=order)
        clicks = fresh = regret = 0
        for user in range(len(self.truth)):
            past = row[np.flatnonzero(self.clicked[user])].astype(np.int64)
            history = UserHistory.of(past, np.ones(len(past), np.float32), np.zeros(len(past), np.int64))
            context = base.of(history.hiding(row[np.flatnonzero(self.seen[user])].astype(np.int64)))
            list_ = recommend(ListRequest(user_id=str(user), k=K, explore=explore), context)
            shown = self.log.items.codes([item.item_id for item in list_.items])
            found = self.truth[user, shown]
            regret += min(K, int((self.truth[user] & ~self.seen[user]).sum())) - int(found.sum())
            clicks, fresh = clicks + int(found.sum()), fresh + int(self.new[shown[found]].sum())
            self.seen[user, shown] = True
            self.clicked[user, shown[found]] = True
        return clicks, fresh, regret


def played(log: Interactions, catalogue: Catalogue, explore: float | Explore, seed: int) -> Floats:
    """Clicks, those on new items, and regret of each round, (ROUNDS, 3)."""
    world, rounds = World.of(log, seed), []
    for turn in range(ROUNDS):
        own = replace(explore, seed=turn) if isinstance(explore, Explore) else explore
        rounds.append(world.round(world.fit(catalogue, seed), own))
    return np.array(rounds, np.float32)


def main() -> None:
    """Play each policy in the same worlds."""
    asked = parser(__doc__)
    options = asked.parse_args()
    log, catalogue = movielens(), read_catalogue(RATINGS.with_name("movies.csv.gz"))
    rows, third = [], ROUNDS // 3
    for name, explore in POLICIES.items():
        found = np.stack([played(log, catalogue, explore, seed) for seed in range(SEEDS)])
        users = found.mean(axis=0) / len(log.users)
        parts = [users[low : low + third, 0].mean() for low in range(0, ROUNDS, third)]
        regret = found[:, :, 2].sum(axis=1) / len(log.users)
        cells = [f"{each:.2f}" for each in (*parts, users[:, 1].sum(), regret.mean())]
        rows.append([f"`{name}`", *cells, f"{regret.min():.2f} to {regret.max():.2f}"])
        print(rows[-1], flush=True)
    head = ["explore", *(f"clicks, rounds {n * third + 1} to {(n + 1) * third}" for n in range(3))]
    table = grid([*head, "on new items", "regret", "of the seeds"], rows)
    about = f"`{RECIPE}`, lists of {K}, {ROUNDS} rounds, means of {SEEDS} seeds; clicks a list, the rest a user."
    publish("\n".join([*title("Exploration"), about, "", *table, ""]), options.out)


if __name__ == "__main__":
    main()
