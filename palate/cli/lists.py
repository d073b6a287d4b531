"""A log in a few facts, and a user's list with titles and reasons."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

import numpy as np
from rich.table import Table

from palate.cli.settings import Hidden
from palate.data.catalogue import Catalogue
from palate.data.histories import Histories
from palate.data.interactions import Interactions
from palate.data.rankings import Rankings
from palate.data.vocabulary import Id
from palate.models.base import Model

Row: TypeAlias = dict[str, Any]
REASONS = 3  # past items named for each recommended one
_ONE_LINE: dict[str, Any] = {"no_wrap": True, "overflow": "ellipsis"}


def days(log: Interactions) -> tuple[str, str] | None:
    """First and last day of the log, UTC; None when it has no times."""
    if log.timestamp is None or not len(log):
        return None
    ends = np.array([log.timestamp.min(), log.timestamp.max()], "datetime64[us]").astype("datetime64[D]")
    return str(ends[0]), str(ends[1])


def sentence(log: Interactions) -> str:
    """Say the size of a log in a line."""
    span = days(log)
    when = "" if span is None else f", {span[0]} to {span[1]}"
    return f"{len(log):,} events by {len(log.users):,} users on {len(log.items):,} items{when}"


def facts(log: Interactions) -> Row:
    """Return the key facts of a log."""
    span = days(log)
    each = np.diff(log.start)
    found: Row = {"events": len(log), "users": len(log.users), "items": len(log.items)}
    if span is not None:
        found |= {"first_day": span[0], "last_day": span[1]}
    if len(log):
        found |= {
            "density": float(f"{len(log) / (len(log.users) * len(log.items)):.4g}"),
            "median_events_of_a_user": int(np.median(each)),
            "most_events_of_a_user": int(each.max()),
            "lowest_weight": float(log.weight.min()),
            "highest_weight": float(log.weight.max()),
        }
    if log.event is not None:
        counts = np.bincount(log.event, minlength=len(log.event_types)).tolist()
        found["event_types"] = dict(zip(log.event_types, counts, strict=True))
    return found


def named(item: Id, catalogue: Catalogue | None) -> Row:
    """Return the item with its title where a catalogue gives one."""
    return {"item_id": item} if catalogue is None else {"item_id": item, "title": catalogue.title(item)}


def title(row: Row) -> str:
    """Return the name of the item of a row for the terminal."""
    return str(row.get("title", row["item_id"]))


def ranked(answer: Rankings, catalogue: Catalogue | None) -> list[Row]:
    """Return one list of items as rows: rank, item_id, title, score."""
    return [
        {"rank": rank, **named(item, catalogue), "score": score}
        for item, score, rank in answer.to_frame().select("item_id", "score", "rank").iter_rows()
    ]


def recommended(
    model: Model,
    past: Histories,
    k: int,
    catalogue: Catalogue | None,
    keep_seen: bool = False,
    only: Iterable[Id] | None = None,
    exclude: Iterable[Id] | None = None,
    hide: Hidden = None,
) -> list[Row]:
    """Recommend to one user, each item with the past items that account for it."""
    seen = past.items.names(past.rows.column).to_list()
    rows = ranked(model.recommend(past, k, only=only, exclude=exclude, keep_seen=keep_seen, hide=hide), catalogue)
    for row, causes in zip(rows, model.explain(past, [row["item_id"] for row in rows], REASONS), strict=True):
        row["because"] = [named(cause, catalogue) for cause, _ in causes]
        terms = model.reasons(seen, row["item_id"], REASONS)
        if terms:
            row["terms"] = [term for term, _ in terms]
    return rows


def listing(rows: list[Row]) -> Table:
    """Draw rows as a table as wide as the terminal, with a reason each where there is one."""
    reasons, marks = (any(name in row for row in rows) for name in ("because", "chosen"))
    table = Table(box=None, pad_edge=False, header_style="dim", expand=reasons)
    table.add_column("", justify="right", min_width=2, style="dim")
    if marks:
        table.add_column("", width=1, style="green")
    table.add_column("title" if any("title" in row for row in rows) else "item", ratio=5, **_ONE_LINE)
    table.add_column("score", justify="right", min_width=6)
    if reasons:
        table.add_column("because of", ratio=4, style="cyan", **_ONE_LINE)
    for row in rows:
        mark = ["●" if row["chosen"] else ""] if marks else []
        table.add_row(str(row["rank"]), *mark, title(row), f"{row['score']:.3f}", *([reason(row)] if reasons else []))
    return table


def reason(row: Row) -> str:
    """Say why an item is in the list: the terms that account for it, and the past item."""
    terms = ", ".join(row.get("terms", ()))
    because = [title(row["because"][0])] if row["because"] else []
    return "; ".join([terms, *because] if terms else because) or "popular with everyone"
