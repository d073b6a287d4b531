"""`palate demo`: the whole path on real data, one screen after the other."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from rich.console import Console, Group
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from palate.cli.example import movielens
from palate.cli.lists import Row, facts, listing, named, recommended, sentence, title
from palate.cli.terminal import FitBar, print_json, stderr, stdout
from palate.data.catalogue import Catalogue, read_catalogue
from palate.data.interactions import Interactions
from palate.data.joins import check_join
from palate.data.readers import read_log
from palate.data.splits import Split, split_ratio
from palate.data.vocabulary import Id
from palate.evaluation.compare import Comparison, compare
from palate.evaluation.report import Report
from palate.kernels.clock import clock
from palate.models.base import Model, Recipe
from palate.models.ease import EASE
from palate.models.ials import IALS
from palate.models.popularity import Popularity

USERS, LATEST, K = 3, 3, 10
SHOWN = ("NDCG@10", "Recall@20", "HitRate@10", "MRR@20")
ALIKE, AMONG, NEAR = 3, 50, 4  # items that are shown, among the most chosen, and items like each of them
DENSE = 20_000  # items up to which EASE holds all weights


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

    split = split_ratio(events)
    head(out, "2  A fifth of each user's events is hidden", parts(split))

    recipe: Recipe = EASE() if len(events.items) <= DENSE else IALS()
    name = type(recipe).__name__
    head(out, f"3  Learning which items go together: {name}")
    with FitBar(recipe.named(), console=stderr if json else out) as bar:
        began = clock()
        model = recipe.fit(split.train, watch=bar)
        seconds = clock() - began
    out.print(f"fitted in {seconds:.2f} s; `palate choose` finds the recipe for a log of your own", style="dim")

    result = compare({"popularity": Popularity().fit(split.train), name: model}, split)
    head(out, f"4  How well it guesses the hidden events of {len(result[name].users)} users")
    out.print(_scores(result, name))

    whole = recipe.fit(events)
    alike = _alike(whole, events, titles)
    head(out, "5  Items alike", "\n".join(f"{title(row)}: {', '.join(map(title, row['items']))}" for row in alike))

    shown_users = [_user_row(user, model, split, titles) for user in _quartiles(result[name])]
    hits = sum(row["chosen"] for user in shown_users for row in user["items"])
    shown = sum(len(user["items"]) for user in shown_users)
    what = "with a weak, a middling and a strong list, the quartiles of NDCG@10"
    head(out, "6  Three users", f"{what}; ● marks what was hidden and guessed: {hits} of {shown}")
    for user in shown_users:
        out.print(_portrait(user))
    if json:
        print_json(
            {
                "log": facts(events),
                "split": {"kind": split.kind, "dropped": split.dropped},
                "fit": {"recipe": name, "settings": recipe.settings(), "seconds": seconds},
                "evaluation": result.to_dict(),
                "similar": alike,
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


def _scores(result: Comparison, name: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("", "popularity", name, "difference, 95% interval"):
        table.add_column(column, justify="right" if column else "left")
    for metric in SHOWN:
        cells = [f"{result[each][metric]:.3f}" for each in ("popularity", name)]
        gain = result.difference(name, metric)
        word = "better" if gain.low > 0 else "worse" if gain.high < 0 else "may be chance"
        table.add_row(metric, *cells, f"{gain.mean:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}], {word}")
    cover = [f"{result[each]['coverage@20']:.1%}" for each in ("popularity", name)]
    table.add_row("items shown @20", *cover, "")
    return table


def _alike(model: Model, log: Interactions, titles: Catalogue | None) -> list[Row]:
    """Of the items chosen most, those with the closest neighbours, none of which is a neighbour of another."""
    most = np.argsort(-log.item_counts(), kind="stable")[:AMONG]
    ids = [log.items.ids[int(item)] for item in most]
    near = model.similar_items(ids, NEAR)
    lists = near.lists()
    rows: list[Row] = []
    seen: set[Id] = set()
    for place in np.argsort(-near.score[:, 0], kind="stable").tolist():
        if lists[place] and not seen & {ids[place], *lists[place][:2]} and len(rows) < ALIKE:
            rows.append({**named(ids[place], titles), "items": [named(item, titles) for item in lists[place]]})
            seen |= {ids[place], *lists[place]}
    return rows


def _quartiles(report: Report) -> list[Id]:
    """Users whose lists are better than those of a quarter, of half, and of three quarters of all."""
    order = np.argsort(report.per_user[f"NDCG@{K}"], kind="stable")
    picks = {len(order) * (n + 1) // (USERS + 1) for n in range(USERS)}
    return [report.users[int(order[pick])] for pick in sorted(picks)]


def _user_row(user: Id, model: Model, split: Split, titles: Catalogue | None) -> Row:
    past = model.histories(split.history().histories([user]))
    latest = past.items.names(past.rows.column[-LATEST:]).to_list()
    future = split.test.histories([user])
    chosen = set(future.items.names(future.rows.column).to_list())
    rows = recommended(model, past, K, titles)
    for row in rows:
        row["chosen"] = row["item_id"] in chosen
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
