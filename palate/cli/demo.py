"""`palate demo`: the whole path on real data, one screen after the other."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl
from rich.console import Console, Group
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from palate.cli.example import movielens
from palate.cli.lists import Row, facts, listing, named, recommended, sentence, title
from palate.cli.terminal import FitBar, print_json, stderr, stdout
from palate.data.catalogue import Catalogue, read_catalogue
from palate.data.joins import check_join
from palate.data.readers import read_log
from palate.data.splits import Split, split_by_time
from palate.data.vocabulary import Id
from palate.evaluation.compare import Comparison, compare
from palate.kernels.clock import clock
from palate.models.base import Model
from palate.models.embedding import Embedding
from palate.models.popularity import Popularity

USERS, LATEST, K = 3, 3, 10
SHOWN = ("NDCG@10", "Recall@20", "HitRate@10", "MRR@20")


def run_demo(
    log: Path | None,
    catalogue: Path | None,
    json: bool,
    console: Console = stdout,
    reading: Mapping[str, str] | None = None,
) -> None:
    """Read, split, train, evaluate, recommend; on MovieLens unless a log is given."""
    out = Console(quiet=True) if json else console
    source, items = movielens() if log is None else (log, catalogue)
    began = clock()
    events = read_log(source)
    titles = None if items is None else read_catalogue(items, **(reading or {}))
    if titles is not None:
        check_join(events.items.recode(titles.items), titles.items.ids, events.items, str(items), "the log")
    head(out, "1  The log", f"{sentence(events)}\nread in {clock() - began:.2f} s from {source.name}")

    split = split_by_time(events)
    head(out, "2  The past to learn from, the future to guess", parts(split))

    recipe = Embedding()
    head(out, "3  Learning a vector for every item")
    with FitBar("embedding", console=stderr if json else out) as bar:
        model = recipe.fit(split.train, watch=bar)
    if bar.losses:
        out.print("loss by epoch  " + "  ".join(f"{loss:.3f}" for loss in bar.losses), style="dim")

    result = compare({"popularity": Popularity().fit(split.train), "embedding": model}, split)
    head(out, f"4  How well it guesses the future of {len(result['embedding'].users)} users")
    out.print(_scores(result))

    shown_users = [_user_row(user, model, split, titles) for user in sample_users(result["embedding"].users, split)]
    hits = sum(row["chosen_later"] for user in shown_users for row in user["items"])
    shown = sum(len(user["items"]) for user in shown_users)
    head(out, "5  Three users", f"● marks what they really chose later: {hits} of {shown}")
    for user in shown_users:
        out.print(_portrait(user))
    if json:
        print_json(
            {
                "log": facts(events),
                "split": {"kind": split.kind, "dropped": split.dropped},
                "fit": {"settings": recipe.settings(), "losses": bar.losses, "samples_a_second": bar.rate},
                "evaluation": result.to_dict(),
                "people": shown_users,
            }
        )


def head(out: Console, heading: str, content: str | Table = "") -> None:
    """Print a heading, and what stands below it."""
    out.print()
    out.print(Rule(heading, align="left", style="cyan"))
    if content:
        out.print(content)


def parts(split: Split) -> Table:
    """Draw the parts of a split, and what was left out."""
    table = Table(box=None, show_header=False, pad_edge=False)
    for name, log in split.parts().items():
        table.add_row(name, sentence(log))
    for reason, count in split.dropped.items():
        table.add_row("left out", f"{count:,} {reason}", style="dim")
    return table


def _scores(result: Comparison) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("", "popularity", "embedding", "difference (* clear)"):
        table.add_column(name, justify="right" if name else "left")
    for metric in SHOWN:
        cells = []
        for name in ("popularity", "embedding"):
            low, high = result[name].interval(metric)
            cells.append(f"{result[name][metric]:.3f} [{low:.3f}, {high:.3f}]")
        table.add_row(metric, *cells, str(result.difference("embedding", metric)))
    cover = [f"{result[name]['coverage@20']:.1%}" for name in ("popularity", "embedding")]
    table.add_row("items shown @20", *cover, "")
    return table


def sample_users(users: pl.Series, split: Split) -> list[Id]:
    """Users with a short, a middling and a long history: they are not chosen for their results."""
    order = np.argsort(split.history().histories(users).rows.lengths, kind="stable")
    picks = {len(order) * (n + 1) // (USERS + 1) for n in range(USERS)}  # quartiles
    return [users[int(order[pick])] for pick in sorted(picks)]


def _user_row(user: Id, model: Model, split: Split, titles: Catalogue | None) -> Row:
    past = model.histories(split.history().histories([user]))
    latest = past.items.names(past.rows.column[-LATEST:]).to_list()
    future = split.test.histories([user])
    chosen = set(future.items.names(future.rows.column).to_list())
    rows = recommended(model, past, K, titles)
    for row in rows:
        row["chosen_later"] = row["item_id"] in chosen
    return {
        "user_id": user,
        "known_events": len(past.rows.column),
        "latest": [named(item, titles) for item in latest],
        "items": rows,
    }


def _portrait(user: Row) -> Group:
    latest = ", ".join(title(row) for row in user["latest"])
    heading = Text(f"user {user['user_id']}", style="bold")
    heading.append(f", {user['known_events']:,} events; the latest: {latest}", style="not bold")
    return Group("", heading, listing(user["items"]))
