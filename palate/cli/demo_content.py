"""`palate demo --content`: films without ratings, recommended by their content."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
from rich.console import Console
from rich.text import Text

from palate.cli.demo import USERS, head, parts
from palate.cli.example import movielens
from palate.cli.lists import Row, listing, named, recommended, sentence, title
from palate.cli.terminal import FitBar, print_json, stderr, stdout
from palate.data.catalogue import Catalogue, read_catalogue
from palate.data.readers import read_log
from palate.data.splits import Split, split_items
from palate.data.vocabulary import Id
from palate.evaluation.protocol import evaluate
from palate.kernels.clock import clock
from palate.models.base import Model
from palate.models.hybrid import Hybrid, HybridModel

K, AMONG, LATEST = 5, 20, 3
NEW = {
    "item_id": [0],
    "title": ["Moon Pirates"],
    "categories": [["Sci-Fi", "Adventure"]],
    "tags": [["space", "robots"]],
}


def run_content_demo(json: bool, console: Console = stdout) -> None:
    """Hold out a fifth of the films, fit to the others, recommend those held out; then a film that is made up."""
    out = Console(quiet=True) if json else console
    ratings, movies = movielens()
    log, films = read_log(ratings), read_films(movies)
    head(
        out,
        "1  The log, and the catalogue of the films",
        f"{sentence(log)}\n{len(films):,} films: {', '.join(films.fields)}",
    )

    split = split_items(log)
    new = split.test.items
    head(out, f"2  {len(new):,} films without ratings: all of theirs are held out", parts(split))

    head(out, "3  Learning vectors, and how they follow from the content")
    began = clock()
    with FitBar("hybrid", console=stderr if json else out) as bar:
        model = Hybrid().fit(split.train, films, watch=bar)
    out.print(f"fitted in {clock() - began:.1f} s", style="dim")

    report = evaluate(model, split, AMONG, only=new.ids)
    chance = AMONG / len(new)
    low, high = report.interval(f"Recall@{AMONG}")
    recall = report[f"Recall@{AMONG}"]
    head(out, f"4  The best {AMONG} new films for each of {len(report.users)} users")
    out.print(f"hold {recall:.1%} [{low:.1%}, {high:.1%}] of what they really chose; by chance it is {chance:.1%}")

    shown_users = [_user_row(user, model, split, films) for user in _sample(report.users, split)]
    head(out, "5  Three users", "new films; ● marks what they really chose")
    for user in shown_users:
        out.print("", Text(f"user {user['user_id']}, the latest: {', '.join(map(title, user['latest']))}"))
        out.print(listing(user["items"]))

    nearest = _nearest(model, films)
    head(out, "6  A film that does not exist: Moon Pirates, Sci-Fi and Adventure, with space and robots")
    out.print(f"it stands near {', '.join(map(title, nearest))}")
    if json:
        measured = {"mean": recall, "low": low, "high": high, "chance": chance}
        print_json({f"recall@{AMONG}": measured, "people": shown_users, "nearest": nearest})


def read_films(movies: Path) -> Catalogue:
    """Titles and genres, and the tags of the file beside them where it is there."""
    frame = read_catalogue(movies).frame
    tags = movies.with_name(f"tags{''.join(movies.suffixes)}")
    if tags.is_file():
        each = pl.read_csv(tags).group_by(pl.col("movieId").alias("item_id"))
        frame = frame.join(each.agg(pl.col("tag").cast(pl.String).alias("tags")), "item_id", how="left")
    return read_catalogue(frame)


def _user_row(user: Id, model: Model, split: Split, films: Catalogue) -> Row:
    past, future = split.history().histories([user]), split.test.histories([user])
    chosen = set(future.items.names(future.rows.column).to_list())
    rows = recommended(model, model.histories(past), K, films, only=split.test.items.ids)
    for row in rows:
        row["chosen"] = row["item_id"] in chosen
    latest = past.items.names(past.rows.column[-LATEST:]).to_list()
    return {"user_id": user, "latest": [named(item, films) for item in latest], "items": rows}


def _nearest(model: HybridModel, films: Catalogue) -> list[Row]:
    wider = model.with_items(read_catalogue(pl.DataFrame(NEW)))
    near = wider.similar_items([0], K, only=films.items.ids).lists()[0]
    return [named(item, films) for item in near]


def _sample(users: pl.Series, split: Split) -> list[Id]:
    """Users with a short, a middling and a long history: they are not chosen for their results."""
    order = np.argsort(split.history().histories(users).rows.lengths, kind="stable")
    picks = {len(order) * (n + 1) // (USERS + 1) for n in range(USERS)}  # quartiles
    return [users[int(order[pick])] for pick in sorted(picks)]
