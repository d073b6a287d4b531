"""What differential privacy costs: private fits beside plain ones, DP-ALS and popularity.

`python -m benchmarks.accuracy.private [--dataset music dense gowalla diginetica] [--seeds N] [--out FILE]`

The unit is a user with all events, δ is 1e-6, and the list of items is public. `music` is lastfm-music, its fold 2
held out, without and with the artists' tags as public attributes; `dense` is made here: 6,000 users with 3,700 items
by 20 latent factors and a power law. Gowalla and Diginetica are cut to their 2,000 and 1,000 most chosen items, for
all recipes alike. The settings of `Private` were chosen on the validation part of lastfm-music (fold 1), on a dense
log of another seed, and on a part cut from the training log of Gowalla.

DP-ALS follows Chien et al. 2021: item vectors by noisy sums over users, `STEPS` rounds, users solved on their own
side. Its noise is calibrated like ours, and its dimensions are those of the best of `DIMS`, chosen on what it is
tested on: more than it could have.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from benchmarks.common.logs import gowalla
from benchmarks.common.paths import DATA
from benchmarks.common.tables import grid, parser, publish, title
from palate import EASE, SLIST, Embedding, ItemKNN, Popularity, Private, Split, evaluate, read_catalogue, read_log
from palate.arrays import AnyArray, Doubles, Floats
from palate.data.catalogue import Catalogue
from palate.data.histories import Histories
from palate.data.interactions import Interactions
from palate.errors import PalateError
from palate.models.base import Model, Recipe
from palate.models.item_to_item import positives
from palate.privacy.ledger import gaussian_noise

DELTA = 1e-6
STEPS, EVENTS = 2, 50  # rounds of DP-ALS; events of a user that it takes
DIMS = (4, 8, 16)


@dataclass(frozen=True)
class Data:
    """A split, the ε to measure, recipes that may be made private, and public attributes of the items."""

    split: Split
    epsilons: Sequence[float]
    recipes: Sequence[Recipe]
    catalogue: Catalogue | None = None
    fields: tuple[str, ...] = ()


def music() -> Data:
    """lastfm-music: folds 0 and 1 are known, 2 is held out."""
    frame = pl.read_csv(DATA / "lastfm-music" / "listens.csv")
    known, test = (read_log(frame.filter(which).drop("fold")) for which in (pl.col("fold") < 2, pl.col("fold") == 2))
    tags = pl.col("tags").fill_null("").str.replace_all(",", "|")
    artists = read_catalogue(pl.read_csv(DATA / "lastfm-music" / "artists.csv").with_columns(tags))
    return Data(Split(known, test), (3.2, 10, 20), (EASE(), Embedding()), artists, ("tags",))


def dense(seed: int = 0, users: int = 6000, items: int = 3700) -> Data:
    """Make the dense log; a fifth of each history is held out."""
    draw = np.random.default_rng(seed)
    popular = -0.9 * np.log(np.arange(1, items + 1) + 10)
    taste, kind = draw.standard_normal((users, 20)) * 2 / np.sqrt(20), draw.standard_normal((items, 20))
    sizes = np.clip(draw.lognormal(np.log(100), 1.0, users), 20, 1500).astype(int)
    pairs: list[list[tuple[int, int]]] = [[], []]
    for user, size in enumerate(sizes):
        score = popular + kind @ taste[user] + draw.gumbel(size=items)
        own = draw.permutation(np.argpartition(-score, size)[:size])
        held_out = max(1, size // 5)
        for part, chosen in zip(pairs, (own[held_out:], own[:held_out]), strict=True):
            part.extend((user, int(item)) for item in chosen)
    columns = ["user_id", "item_id"]
    known, test = (read_log(pl.DataFrame(part, schema=columns, orient="row")) for part in pairs)
    return Data(Split(known, test), (1, 5), (EASE(),))


def checkins() -> Data:
    """Gowalla, of its 2,000 most chosen items."""
    found = gowalla()
    if found is None:
        raise SystemExit(1)
    return Data(most_chosen(*found, 2000), (1, 3, 10, 30), (EASE(), ItemKNN(similarity="cosine")))


def sessions() -> Data:
    """Diginetica: sessions as users, of its 1,000 most chosen items; the item after each prefix is held out."""
    home = DATA / "diginetica"
    train = [line.split() for line in (home / "train.txt").read_text().splitlines()]
    test = [line.split("\t") for line in (home / "test.txt").read_text().splitlines()]
    known, asked, wanted = list[tuple[str, str]](), list[tuple[str, str]](), list[tuple[str, str]]()
    for n, row in enumerate(train):
        known += [(f"s{n}", item) for item in row]
    for n, (prefix, item) in enumerate(test):
        asked += [(f"t{n}", each) for each in prefix.split()]
        wanted.append((f"t{n}", item))
    log, past, future = (
        read_log(pl.DataFrame(each, schema=["user_id", "item_id"], orient="row")) for each in (known, asked, wanted)
    )
    head = set(np.asarray(log.items.ids)[np.argsort(-log.item_counts(), kind="stable")[:1000]].tolist())
    log, past, future = (among(each, head) for each in (log, past, future))
    plain = (EASE(), SLIST(alpha=1.0), ItemKNN(similarity="cosine"))
    return Data(Split(log, future, fold_in=past), (1, 3, 10, 30), plain)


def most_chosen(known: Interactions, test: Interactions, count: int) -> Split:
    """Cut both parts to the items that are chosen most in the known one."""
    head = set(np.asarray(known.items.ids)[np.argsort(-known.item_counts(), kind="stable")[:count]].tolist())
    return Split(among(known, head), among(test, head))


def among(log: Interactions, items: set[object]) -> Interactions:
    """Return the events of these items."""
    kept = np.isin(np.arange(len(log.items)), [n for n, each in enumerate(log.items.ids) if each in items])
    return log.select(kept[log.item])


@dataclass(frozen=True, eq=False)
class DPALSModel(Model):
    """item_vectors (I, D); popularity (I,), noisy."""

    vectors: Floats
    popularity: Floats

    def scores(self, histories: Histories) -> Floats:
        """Solve each user on the own side, and score all items; equal ones by popularity."""
        asked = histories.on(self.items)
        users = solved(self.vectors.astype(np.float64), asked.rows.start, asked.rows.column)
        found = users @ self.vectors.T + 1e-6 * self.popularity / self.popularity.max()
        return np.asarray(found, np.float32)


def solved(items: Doubles, start: AnyArray, column: AnyArray) -> Doubles:
    """Vectors (U, D) of users: (α Σ_i v vᵀ + Σ_own v vᵀ + λ)⁻¹ Σ_own v."""
    D = items.shape[1]
    shared = 0.02 * items.T @ items + 1e-3 * np.eye(D)
    found = np.zeros((len(start) - 1, D))
    for user in range(len(found)):
        own = items[column[start[user] : start[user + 1]]]
        if len(own):
            found[user] = np.linalg.solve(shared + own.T @ own, own.sum(axis=0))
    return found


def dp_als(log: Interactions, epsilon: float, dim: int, seed: int) -> DPALSModel:
    """Fit DP-ALS: a tenth of the budget for counts, the rest for A_i = Σ u uᵀ, b_i = Σ u and Σ u uᵀ of each round.

    A user has a vector of length 1 at most and EVENTS items, so that each A and b changes by √EVENTS at most.
    """
    draw = np.random.default_rng(seed)
    X = positives(log, binary=True)
    for user in range(X.shape[0]):
        size = X.indptr[user + 1] - X.indptr[user]
        if size > EVENTS:
            X.data[X.indptr[user] + draw.permutation(size)[EVENTS:]] = 0
    X.eliminate_zeros()
    I = X.shape[1]
    noise = gaussian_noise(epsilon, DELTA)
    counts = X.sum(axis=0) + noise / np.sqrt(0.1) * np.sqrt(EVENTS) * draw.standard_normal(I)
    each = noise * np.sqrt(3 * STEPS / 0.9)  # three sums a round
    items = draw.standard_normal((I, dim)) / np.sqrt(dim)
    reach = np.sqrt(EVENTS)
    for _ in range(STEPS):
        users = solved(items, X.indptr, X.indices)
        users /= np.maximum(np.linalg.norm(users, axis=1), 1e-12)[:, None]
        outer = (users[:, :, None] * users[:, None, :]).reshape(len(users), -1)
        noisy = (X.T @ outer).reshape(I, dim, dim) + each * reach * symmetric(draw, (I, dim))
        whole = users.T @ users + each * symmetric(draw, (1, dim))[0]
        sums = X.T @ users + each * reach * draw.standard_normal((I, dim))
        systems = noisy + 0.02 * whole
        values, axes = np.linalg.eigh(systems)
        values = np.maximum(values, 0) + each * reach * np.sqrt(2 * dim)
        items = np.einsum("iab,ib,icb,ic->ia", axes, 1 / values, axes, sums)
    popularity = np.maximum(counts, 1e-3).astype(np.float32)
    return DPALSModel(Popularity(), log.items, items.astype(np.float32), popularity)


def symmetric(draw: np.random.Generator, shape: tuple[int, int]) -> Doubles:
    """Symmetric noise (N, D, D), of L2 length 1 in each direction."""
    raw = draw.standard_normal((*shape, shape[1]))
    return np.asarray((raw + raw.transpose(0, 2, 1)) / 2)


def recall(model: Model | Recipe, split: Split) -> float:
    """Recall@20."""
    return float(evaluate(model, split, 20)["Recall@20"])


def table(name: str, data: Data, seeds: int) -> list[str]:
    """Rows of one data set."""
    split, rows = data.split, []
    popular = f"{recall(Popularity(), split):.4f}"
    als = {
        each: f"{max(recall(dp_als(split.train, each, dim, 0), split) for dim in DIMS):.4f}" for each in data.epsilons
    }
    for recipe in data.recipes:
        plain, seconds = timed(lambda: recipe.fit(split.train))  # noqa: B023
        whole = recall(plain, split)
        kind = type(recipe).__name__
        rows.append([kind, "none", f"{whole:.4f}", "100%", "", popular, f"{seconds:.2f}"])
        print(rows[-1], flush=True)
        for fields in {(): None, data.fields if isinstance(recipe, EASE) else (): None}:
            named = ", ".join([kind, *fields])
            for epsilon in data.epsilons:
                private = Private(recipe, epsilon=epsilon, public=True, fields=fields)
                cells = row(private, data.catalogue if fields else None, split, whole, seeds)
                rows.append([named, f"{epsilon:g}", *cells[:2], als[epsilon], popular, cells[2]])
                print(rows[-1], flush=True)
    head = ["recipe", "ε", "Recall@20", "of plain", "DP-ALS", "popularity", "CPU s"]
    return [f"## {name}", "", f"{split.train!r}.", "", *grid(head, rows), ""]


def row(private: Private, catalogue: Catalogue | None, split: Split, whole: float, seeds: int) -> list[str]:
    """Fit several times: the Recall, its share of a `whole` one, and CPU seconds; why not where it is refused."""
    found, spent = list[float](), list[float]()
    for _ in range(seeds):
        try:
            model, seconds = timed(lambda: private.fit(split.train, catalogue))
        except PalateError as error:
            return [str(error), "", ""]
        found.append(recall(model, split))
        spent.append(seconds)
    mean = float(np.mean(found))
    return [f"{mean:.4f} ± {np.std(found):.4f}", f"{mean / whole:.0%}", f"{min(spent):.2f}"]


def timed(fit: Callable[[], Model]) -> tuple[Model, float]:
    """Return a model, and the CPU seconds of its fit."""
    began = time.process_time()
    model = fit()
    return model, time.process_time() - began


DATASETS = {"music": music, "dense": dense, "gowalla": checkins, "diginetica": sessions}


def main() -> None:
    """Print the tables."""
    asked = parser(__doc__)
    asked.add_argument("--dataset", nargs="+", choices=DATASETS, default=["music", "dense"])
    asked.add_argument("--seeds", type=int, default=3)
    options = asked.parse_args()
    text = title("Private fits")
    for name in options.dataset:
        data = DATASETS[name]()
        Private(data.recipes[0], epsilon=30, public=True, refuse=False).fit(data.split.train)  # compiles the kernels
        text += table(name, data, options.seeds)
    publish("\n".join(text), options.out)


if __name__ == "__main__":
    main()
