"""Items without events: models that read the content of items, beside lightfm-next, DropoutNet and chance.

`python -m benchmarks.accuracy.content [--dataset movies music beauty] [--trials N] [--peers PYTHON] [--out FILE]`

A fifth of the items, drawn at random, is held out with all events on them; of the others another fifth is the
validation part, on which each contestant chooses its settings among the same number of trials. Then it is fitted on
all but the test, and read once: Recall@20 of the new items among the new items. A second test is a mixture: a fifth
of every user's events on all items; all events on the new items are among them. So an event on a new item
is as likely to be asked for as any other, and all items compete in one list. A third is about new users, after
a single event. Outcomes are kept in results/content.jsonl.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.common.logs import movielens
from benchmarks.common.outcomes import add_outcome, read_outcomes
from benchmarks.common.paths import DATA, RESULTS, ROOT
from benchmarks.common.peers import has_peers, run_peer
from benchmarks.common.tables import grid, parser, publish, title
from benchmarks.peers.dropout_net import DropoutNet
from benchmarks.peers.vectors import Vectors, VectorsModel
from palate import (
    IALS,
    Content,
    Hybrid,
    Popularity,
    Split,
    Transformer,
    evaluate,
    read_catalogue,
    read_log,
    split_items,
    split_ratio,
    split_users,
)
from palate.data.catalogue import Catalogue
from palate.data.interactions import Interactions
from palate.data.vocabulary import Vocabulary
from palate.encoders.encoding import Encoding
from palate.evaluation.protocol import Exam
from palate.models.base import Model, Recipe, Watch

KEPT = RESULTS / "content.jsonl"
Settings = dict[str, Any]
TRIALS = 6


@dataclass(frozen=True)
class Shop:
    """A log, the content of its items, and the fields that are words, pictures or sounds.

    dims: how many numbers of a field are tried; many where titles are all there is
    """

    name: str
    log: Interactions
    catalogue: Catalogue
    words: tuple[str, ...]
    others: Mapping[str, tuple[str, ...]]
    dims: tuple[int, ...] = (128, 256)

    @cached_property
    def cold(self) -> Split:
        """New items, with a validation part."""
        return split_items(self.log, 0.2, valid=0.2)

    @cached_property
    def final(self) -> Split:
        """The same with all but the test to learn from."""
        return Split(self.cold.history("test"), self.cold.test, kind=self.cold.kind, promise="cold items")

    @cached_property
    def mixture(self) -> Split:
        """A fifth of every user's events; the others, but for those on the new items, are known."""
        return mixed(self.log, self.final.test.items.ids)


def mixed(log: Interactions, new: pl.Series, seed: int = 0) -> Split:
    """Hold out a fifth of every user's events; those known of the new items are left out too."""
    whole = split_ratio(log, 0.2, seed=seed)
    known = whole.train.select(~np.isin(whole.train.item, whole.train.items.codes(new)))
    test = whole.test.select(np.isin(whole.test.user, whole.test.users.codes(known.users.ids)))
    return Split(known, test, kind=f"{whole.kind}; of the new items nothing else is known")


def movies() -> Shop:
    """MovieLens latest-small with tags, keywords, cast and posters."""
    folder = DATA / "movielens-small"
    lists = [
        pl.col("plot_keywords").str.split("|").alias("keywords"),
        pl.concat_list("director_name").alias("director"),
    ]
    cast = pl.concat_list("actor_1_name", "actor_2_name", "actor_3_name").alias("cast")
    keywords = pl.read_csv(folder / "keywords.csv").select("movieId", *lists, cast)
    examples = ROOT / "examples" / "movielens-small"
    tags = pl.read_csv(examples / "tags.csv.gz").group_by("movieId").agg(pl.col("tag").cast(pl.String).alias("tags"))
    frame = pl.read_csv(examples / "movies.csv.gz").join(keywords, on="movieId", how="left")
    frame = frame.join(tags, on="movieId", how="left")
    posters = [folder / "posters" / f"{item}.jpg" for item in frame["movieId"]]
    image = pl.Series("image", [str(path) if path.is_file() else None for path in posters])
    log = movielens()
    words = ("title", "genres", "tags", "keywords", "cast", "director")
    catalogue = read_catalogue(frame.with_columns(image))
    return Shop(
        "movielens-small", replace(log, weight=np.ones_like(log.weight)), catalogue, words, {"posters": ("image",)}
    )


def music() -> Shop:
    """Artists heard on Last.fm, with tags and what networks make of their sound."""
    folder = DATA / "lastfm-music"
    log = read_log(pl.read_csv(folder / "listens.csv").select("user_id", "item_id"))
    frame = pl.read_csv(folder / "artists.csv").with_columns(pl.col("tags").str.split(","))
    sounds = {name: (str(folder / f"audio_{name}.npy"),) for name in ("vggish", "whisper")}
    both = tuple(path for paths in sounds.values() for path in paths)
    return Shop("lastfm-music", log, read_catalogue(frame), ("artist", "tags"), sounds | {"vggish + whisper": both})


def beauty(name: str = "beauty") -> Shop:
    """Amazon Beauty or Sports with titles and keywords."""
    rows = [np.array(line.split(), np.int64) for line in (DATA / f"amazon-{name}" / "sequences.txt").open()]
    user = np.repeat([row[0] for row in rows], [len(row) - 1 for row in rows])
    log = read_log(pl.DataFrame({"user_id": user, "item_id": np.concatenate([row[1:] for row in rows])}))
    frame = pl.read_csv(DATA / f"amazon-{name}" / "items.csv").drop("asin")
    return Shop(f"amazon-{name}", log, read_catalogue(frame, item="item"), ("title", "keywords"), {}, (256, 768))


SHOPS: dict[str, Callable[[], Shop]] = {"movies": movies, "music": music, "beauty": beauty}


@dataclass(frozen=True, kw_only=True)
class Chance(Recipe):
    """Another order of all items for every user."""

    def fit(
        self, log: Interactions, catalogue: Catalogue | None = None, *, watch: Watch | None = None
    ) -> VectorsModel:
        """Draw vectors."""
        rng = np.random.default_rng(0)
        assert catalogue is not None
        items = log.items.union(catalogue.items)
        sides = (rng.standard_normal((len(each), 64), np.float32) for each in (log.users, items))
        return VectorsModel(Vectors(), items, log.users, *sides)


@dataclass(frozen=True, kw_only=True)
class LightFM(Recipe):
    """lightfm-next over the terms that palate finds in the same fields."""

    python: Path
    fields: tuple[str, ...]
    options: Mapping[str, object]

    def fit(
        self, log: Interactions, catalogue: Catalogue | None = None, *, watch: Watch | None = None
    ) -> VectorsModel:
        """Fit in a process of its own."""
        assert catalogue is not None
        items = log.items.union(catalogue.items)
        encoding, encoded = Encoding.of(self.fields, catalogue, 1, 0)
        rows = encoded.on(catalogue.items.recode(items)).terms
        count = sum(len(getattr(reader, "names", ())) for reader in encoding.readers)
        with tempfile.TemporaryDirectory() as place:
            file = Path(place) / "features.npz"
            np.savez(file, start=rows.start, column=rows.column, weight=rows.weight, shape=(len(rows), count))
            settings = {**self.options, "features": str(file)}
            found = run_peer(self.python, "lightfm_content", replace(log, items=items), settings)
        return VectorsModel(Vectors(), items, log.users, found["users"], found["items"])  # type: ignore[arg-type]


@dataclass(frozen=True)
class Contestant:
    """A recipe of fields and settings; the settings that are tried, the first being the defaults."""

    name: str
    make: Callable[[tuple[str, ...], Settings], Recipe]
    space: Mapping[str, Sequence[Any]]
    first: Settings

    def trial(self, number: int) -> Settings:
        """Return the settings of a trial."""
        if number == 0:
            return dict(self.first)
        rng = np.random.default_rng(number)
        return {name: values[int(rng.integers(len(values)))] for name, values in self.space.items()}


def of_base(settings: Settings) -> Settings:
    """Return those of the vectors, the dimensions of Hybrid's default where they are not said."""
    named = {name.removeprefix("base_"): value for name, value in settings.items() if "base_" in name}
    return {"dim": 128} | named


def contestants(python: Path, dims: Sequence[int]) -> list[Contestant]:
    """Return all contestants that read fields."""

    def hybrid(fields: tuple[str, ...], settings: Settings) -> Recipe:
        own = {name: value for name, value in settings.items() if "base_" not in name}
        return Hybrid(IALS(threads=1, **of_base(settings)), fields=fields, **own)

    contenders = [
        Contestant(
            "palate Hybrid(IALS)",
            hybrid,
            {
                "strength": [3.0, 10.0],
                "base_dim": [64, 128, 256],
                "base_l2": [0.002, 0.008],
                "dim": dims,
            },
            {},
        ),
        Contestant(
            "palate Content",
            lambda fields, settings: Content(fields=fields, **settings),
            {"l2": [3.0, 10.0, 30.0], "profile_l2": [0.1, 0.3, 1.0], "dim": dims},
            {},
        ),
        Contestant(
            "DropoutNet",
            lambda fields, settings: DropoutNet(fields=fields, **settings),
            {"dim": [64, 128], "hidden": [256, 512], "dropout": [0.3, 0.5, 0.8], "learning_rate": [0.0003, 0.001]},
            {},
        ),
        Contestant(
            "lightfm-next WARP",
            lambda fields, settings: LightFM(python=python, fields=fields, options=settings),
            {
                "no_components": [32, 64, 128],
                "learning_rate": [0.02, 0.05, 0.1],
                "item_alpha": [0.0, 1e-6, 1e-5],
                "user_alpha": [0.0, 1e-6, 1e-5],
                "max_sampled": [10, 50],
                "epochs": [10, 20, 40],
            },
            {"no_components": 64, "epochs": 20},
        ),
    ]
    return contenders if has_peers(python) else contenders[:-1]


def known() -> dict[str, Settings]:
    """Outcomes of earlier runs."""
    return {outcome["asked"]: outcome for outcome in read_outcomes(KEPT)}


def outcome(asked: Sequence[object], work: Callable[[], Settings]) -> Settings:
    """Do the work, or find what it gave before."""
    key = re.sub(r'"/[^"]*/', '"', json.dumps(asked))  # files by their names, on any machine
    before = known().get(key)
    if before is not None:
        return before
    found = {"asked": key} | work()
    add_outcome(KEPT, found)
    print(f"{key[:150]}: { ({name: value for name, value in found.items() if name != 'asked'}) }", flush=True)
    return found


def new_items(shop: Shop, recipe: Recipe, part: str) -> Settings:
    """Recall@20 of the new items of a part, among them, and how many of them are shown to a user."""
    split = shop.final if part == "test" else shop.cold
    new = (split.test if part == "test" else split.part("valid")).items
    model = recipe.fit(split.train, shop.catalogue)
    exam = Exam.of(split, "test" if part == "test" else "valid")
    report = exam.grade(model, 20, only=new.ids)
    low, high = report.interval("Recall@20")
    shown = report.of_lists.get("coverage of new@20", 0.0) * (len(shop.catalogue) - len(split.train.items)) / len(new)
    return {"recall": report["Recall@20"], "low": low, "high": high, "shown": shown}


def chosen(shop: Shop, contestant: Contestant, fields: tuple[str, ...], trials: int) -> Settings:
    """Best settings on the validation part."""
    tried = []
    for number in range(trials if contestant.space else 1):
        settings = contestant.trial(number)
        asked = [shop.name, "valid", contestant.name, fields, settings]
        found = outcome(asked, partial(new_items, shop, contestant.make(fields, settings), "valid"))
        tried.append((found["recall"], settings))
    return max(tried, key=lambda pair: pair[0])[1]


def cold_table(shop: Shop, contenders: Sequence[Contestant], trials: int) -> tuple[list[str], dict[str, Settings]]:
    """Measure all contestants, tuned, on new items by words alone."""
    rows, best = [], {}
    plain: list[tuple[str, Recipe, Settings]] = [("popularity", Popularity(), {}), ("chance", Chance(), {})]
    for contestant in contenders:
        best[contestant.name] = chosen(shop, contestant, shop.words, trials)
        plain.append((contestant.name, contestant.make(shop.words, best[contestant.name]), best[contestant.name]))
        if contestant is contenders[0]:
            plain.append((f"{contestant.name}, defaults", contestant.make(shop.words, {}), {}))
            plain.append(("palate Transformer, defaults", Transformer(fields=shop.words), {}))
    for name, recipe, settings in sorted(plain, key=lambda each: each[0] in ("popularity", "chance")):
        found = outcome([shop.name, "test", name, shop.words, settings], partial(new_items, shop, recipe, "test"))
        shown = ", ".join(f"{key} {value}" for key, value in settings.items()) or "defaults"
        recall = f"{found['recall']:.4f} [{found['low']:.4f}, {found['high']:.4f}]"
        rows.append([name, recall, f"{found['shown']:.0%}", shown])
    return grid(["", "Recall@20 of new items", "new items shown", "chosen"], rows), best


def fields_table(shop: Shop, contenders: Sequence[Contestant], best: Mapping[str, Settings]) -> list[str]:
    """Each field alone, words together, and what pictures or sounds add; settings as chosen for words."""
    sets = {field: (field,) for field in shop.words} | {"all words": shop.words} | dict(shop.others)
    if "tags" in shop.words:  # tags come from users of the item: a really new one has none
        sets["all words but tags"] = tuple(field for field in shop.words if field != "tags")
    sets |= {f"{shop.words[0]} + {name}": (shop.words[0], *fields) for name, fields in shop.others.items()}
    sets |= {f"all words + {name}": (*shop.words, *fields) for name, fields in shop.others.items()}
    rows = []
    for name, fields in sets.items():
        cells = []
        for contestant in contenders[:2]:
            settings = best[contestant.name]
            asked = [shop.name, "test", contestant.name, fields, settings]
            found = outcome(asked, partial(new_items, shop, contestant.make(fields, settings), "test"))
            cells.append(f"{found['recall']:.4f}")
        rows.append([name, *cells])
    return grid(["fields", *(contestant.name for contestant in contenders[:2])], rows)


def mixture(shop: Shop, recipe: Recipe) -> Settings:
    """All items in one list; then the same users' other events among the items with events alone."""
    model = recipe.fit(shop.mixture.train, shop.catalogue)
    report = evaluate(model, shop.mixture, 20)
    found = {"all": report["Recall@20"], "new": 0.0, "shown": report.of_lists.get("coverage of new@20", 0.0)}
    if "new items" in report.groups:
        found["new"] = report.groups["new items"]["Recall@20"]
    return found | {"warm": warm(shop, model)["recall"]}


def warm(shop: Shop, model: Model) -> Settings:
    """Recall@20 and NDCG@10 of each user's other events, among items with events."""
    split = shop.mixture
    old = Vocabulary(split.train.items.ids)
    kept = np.isin(split.test.item, np.flatnonzero(old.recode(split.test.items) >= 0))
    report = evaluate(model, Split(split.train, split.test.select(kept)), (10, 20), only=old.ids)
    return {"recall": report["Recall@20"], "ndcg": report["NDCG@10"], "report": report}


def mixture_table(shop: Shop, contenders: Sequence[Contestant], best: Mapping[str, Settings]) -> list[str]:
    """One list of all items."""
    recipes: dict[str, Recipe] = {each.name: each.make(shop.words, best[each.name]) for each in contenders}
    same = of_base(best["palate Hybrid(IALS)"])
    recipes["palate IALS, the same without content"] = IALS(threads=1, **same)
    recipes["popularity"] = Popularity()
    rows = []
    for name, recipe in recipes.items():
        found = outcome(
            [shop.name, "one list", name, shop.words, best.get(name, same)], partial(mixture, shop, recipe)
        )
        rows.append([name, *(f"{found[key]:.4f}" for key in ("all", "warm", "new")), f"{found['shown']:.0%}"])
    return grid(
        ["", "Recall@20, all", "of known items, among them", "of new items, among all", "new items shown"], rows
    )


def one_click(shop: Shop, recipe: Recipe) -> Settings:
    """Recall@20 of new users after a single event."""
    split = split_users(shop.log, 0.2, held_out=0.5)
    assert split.fold_in is not None
    first = np.zeros(len(split.fold_in), np.bool_)
    first[split.fold_in.start[:-1]] = True
    known = split.fold_in.select(first)
    report = evaluate(recipe, replace(split, fold_in=known), 20, catalogue=shop.catalogue, only=split.train.items.ids)
    low, high = report.interval("Recall@20")
    return {"recall": report["Recall@20"], "low": low, "high": high}


def click_table(shop: Shop, contenders: Sequence[Contestant], best: Mapping[str, Settings]) -> list[str]:
    """Make the table of new users with one event."""
    recipes: dict[str, Recipe] = {each.name: each.make(shop.words, best[each.name]) for each in contenders[:2]}
    same = of_base(best["palate Hybrid(IALS)"])
    recipes |= {"palate IALS, the same without content": IALS(threads=1, **same), "popularity": Popularity()}
    rows = []
    for name, recipe in recipes.items():
        asked = [shop.name, "one click", name, shop.words, best.get(name, same)]
        found = outcome(asked, partial(one_click, shop, recipe))
        rows.append([name, f"{found['recall']:.4f} [{found['low']:.4f}, {found['high']:.4f}]"])
    return grid(["", "Recall@20 after one event"], rows)


def warm_table(shop: Shop, best: Settings) -> list[str]:
    """Say what content does to items with events: NDCG@10 beside the same recipe without it.

    The settings were chosen for new items, which may do `IALS` wrong, so its defaults are compared as well.
    """
    rows = [warm_row(shop, "as chosen for new items", best), warm_row(shop, "defaults", {})]
    return grid(["NDCG@10 of known items", "IALS", "Hybrid(IALS)", "difference, by user"], rows)


def warm_row(shop: Shop, name: str, best: Settings) -> list[str]:
    """Compare with these settings."""
    same = of_base(best)
    own = {key: value for key, value in best.items() if "base_" not in key}

    def work() -> Settings:
        base = IALS(threads=1, **same)
        plain = warm(shop, base.fit(shop.mixture.train))["report"]
        report = warm(shop, Hybrid(base, fields=shop.words, **own).fit(shop.mixture.train, shop.catalogue))["report"]
        gain = report.minus(plain, "NDCG@10")
        return {
            "plain": plain["NDCG@10"],
            "content": report["NDCG@10"],
            "gain": [gain.mean, gain.low, gain.high],
        }

    found = outcome([shop.name, "met", best], work)
    mean, low, high = found["gain"]
    return [name, f"{found['plain']:.4f}", f"{found['content']:.4f}", f"{mean:+.4f} [{low:+.4f}, {high:+.4f}]"]


def section(shop: Shop, contenders: Sequence[Contestant], trials: int) -> list[str]:
    """All tables of a shop."""
    cold, best = cold_table(shop, contenders, trials)
    new = shop.final.test
    return [
        f"## {shop.name}",
        "",
        f"Train {shop.final.train!r}; new: {new!r}; {trials} trials each.",
        "",
        *cold,
        "",
        "What each field adds, settings as chosen for all words:",
        "",
        *fields_table(shop, contenders, best),
        "",
        "All items in one list:",
        "",
        *mixture_table(shop, contenders, best),
        "",
        "New users, after one event:",
        "",
        *click_table(shop, contenders, best),
        "",
        "The same users' other events on items with events:",
        "",
        *warm_table(shop, best["palate Hybrid(IALS)"]),
        "",
    ]


def main() -> None:
    """Run the benchmark."""
    asked = parser(__doc__)
    asked.add_argument("--dataset", nargs="+", choices=list(SHOPS), default=list(SHOPS))
    asked.add_argument("--trials", type=int, default=TRIALS)
    options = asked.parse_args()
    text = title("New items", ("numpy", "numba", "palate"))
    for name in options.dataset:
        shop = SHOPS[name]()
        text += section(shop, contestants(options.peers, shop.dims), options.trials)
    publish("\n".join(text), options.out)


if __name__ == "__main__":
    main()
