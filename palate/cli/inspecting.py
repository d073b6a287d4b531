"""What `palate inspect` shows of a log."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
from rich.table import Table

from palate.choosing.check import MANY, LogCheck
from palate.cli.lists import Row, facts, named, title
from palate.cli.terminal import print_json, stdout
from palate.data.catalogue import Catalogue
from palate.data.interactions import Interactions


def show_log(log: Interactions, titles: Catalogue | None, check: LogCheck, *, json: bool) -> None:
    """Print the facts of a log, its items with most events, and the check."""
    counts = log.item_counts()
    best = np.argsort(-counts, kind="stable")[:5]
    top: list[Row] = [{**named(log.items.ids[int(i)], titles), "events": int(counts[i])} for i in best]
    if json:
        source = {"columns": dict(log.columns), "form": list(log.form), "skipped": dict(log.skipped)}
        print_json(facts(log) | {"most_chosen": top, "read": source, "check": asdict(check)})
        return
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_row("columns", ", ".join(f"{role} {name!r}" for role, name in log.columns.items()))
    if log.form:
        table.add_row("read as", ", ".join(log.form))
    for name, value in facts(log).items():
        table.add_row(name.replace("_", " "), f"{value:,}" if isinstance(value, int) else str(value))
    for row in top:
        table.add_row("most chosen" if row is top[0] else "", f"{title(row)} ({row['events']:,})")
    for name, count in _counts(check).items():
        if count is not None:
            table.add_row(name, f"{count:,}")
    for name, left in check.splits.items():
        table.add_row(f"split by {name}", left)
    table.add_row("lists of", check.goal)
    table.add_row("recipe to begin with", f"{check.recipe}; palate choose measures which is best")
    stdout.print(table)


def _counts(check: LogCheck) -> dict[str, int | None]:
    return {
        "repeated events": check.duplicates,
        f"users, {MANY} events a minute": check.bots,
        "events ahead of the clock": check.future,
        "users with one event": check.single_users,
        "items with one event": check.single_items,
        "items not in the catalogue": check.unknown_items,
        "items without an event": check.unused_items,
    }
