"""A model of one shop asked for the items of another: Amazon Beauty to Sports, which share neither items nor users.

`python -m benchmarks.accuracy.transfer [--fields keywords keywords:minilm] [--users N] [--out FILE]`

`Content` is fitted to Beauty's histories and a field of its items. Then it reads the field in Sports, and
recommends to users of Sports from their history there: Recall@20 of each user's last item, all items of Sports
being ranked. Beside it stand chance, what is popular in Sports, and the same recipe fitted to the users of Sports
themselves.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from benchmarks.accuracy.content import beauty
from benchmarks.common.tables import grid, parser, publish, title
from palate import Content, Popularity, Split, evaluate, read_catalogue, read_log, split_last
from palate.data.catalogue import Catalogue
from palate.data.interactions import Interactions

FAR = 1_000_000  # added to the ids of Sports: each shop counts from 1


def sports() -> tuple[Interactions, Catalogue]:
    """Return the log and the catalogue of Sports, under ids of their own."""
    shop = beauty("sports")
    frame = shop.catalogue.frame.with_columns(pl.col("item_id") + FAR)
    events = shop.log.to_frame().with_columns(pl.col("item_id") + FAR)
    return read_log(events), read_catalogue(frame)


def main() -> None:
    """Run the benchmark."""
    asked = parser(__doc__)
    asked.add_argument("--fields", nargs="+", default=["keywords", "keywords:minilm"])
    asked.add_argument("--users", type=int, default=5000, help="of Sports that are graded")
    options = asked.parse_args()
    home = beauty()
    log, catalogue = sports()
    split = split_last(log)
    some = np.random.default_rng(0).permutation(len(split.test.users))[: options.users]
    part = Split(split.train, split.test.select(np.isin(split.test.user, some)), kind=split.kind)
    items = log.items.ids
    popular = evaluate(Popularity(), part, 20)
    rows = [
        ["chance", f"{20 / len(items):.4f}", ""],
        ["popular in Sports", f"{popular['Recall@20']:.4f}", f"{popular['coverage@20']:.0%}"],
    ]
    for field in options.fields:
        recipe = Content(fields=(field,))
        far = recipe.fit(home.log, home.catalogue).with_items(catalogue)
        near = recipe.fit(part.train, catalogue)
        for name, model in ((f"fitted to Beauty, {field}", far), (f"fitted to Sports, {field}", near)):
            report = evaluate(model, part, 20, only=items)
            low, high = report.interval("Recall@20")
            shown = report["coverage@20"] * len(model.items) / len(items)
            rows.append([name, f"{report['Recall@20']:.4f} [{low:.4f}, {high:.4f}]", f"{shown:.0%}"])
            print(rows[-1], flush=True)
    logs = f"Beauty {home.log!r}; Sports {part.train!r}, {len(part.test):,} last items asked for."
    table = grid(["", "Recall@20", "items shown"], rows)
    publish("\n".join([*title("From one shop to another"), logs, "", *table, ""]), options.out)


if __name__ == "__main__":
    main()
