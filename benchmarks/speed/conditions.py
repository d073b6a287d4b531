"""What the costliest conditions take: `python -m benchmarks.speed.conditions [--items N] [--out FILE]`.

Lists of 1,000 with 20 pins, a filter and 20 boosts that have as many terms of one kind as may be, each list in a
process of its own that holds a catalogue of a million items and no model.
"""

from __future__ import annotations

import multiprocessing
import time
from itertools import count

import numpy as np
import polars as pl

from benchmarks.common.processes import resident, restart_peak
from benchmarks.common.tables import grid, parser, publish, title
from palate.data.contexts import MOST_PLACES
from palate.errors import ConditionError
from palate.live.catalogue import LiveCatalogue
from palate.live.popularity import Popular
from palate.live.snapshot import Snapshot
from palate.live.table import Table
from palate.ranking.pipeline import recommend
from palate.ranking.request import MOST_CHARACTERS, MOST_RULES, Boost, ListRequest, Pin

# By kind; `#` is another number in each term.
TERMS = {
    "comparisons of numbers": "stock > #",
    "`BETWEEN`": "stock BETWEEN # AND 900",
    "one of a list": "'g#' = ANY(genres)",
    "`LIKE`": "title LIKE '%a#%'",
    "`ILIKE`": "title ILIKE '%a%b#%'",
    "`LOWER`": "LOWER(title) = 'x#'",
    "numbers as text": "stock LIKE '%#%'",
    "text as a number": "year > #",
    "`%` of whole numbers": "stock % # = 1",
    "what one item of five has": "colour = 'c#'",
    "the same beside what all have": "stock > # OR colour = 'c#'",
}


def catalogue(items: int) -> LiveCatalogue:
    """Make the items; one of five has a colour."""
    random, number = np.random.default_rng(0), pl.int_range(items, eager=True)
    drawn = pl.Series(random.integers(0, 1000, items))
    made = number.to_frame("item_no").select(
        "item_no",
        pl.lit(True).alias("available"),
        pl.lit(0, pl.Int64).alias("created"),
        pl.format("i{}", "item_no").alias("item_id"),
        drawn.alias("whole:stock"),
        pl.select(pl.format("{}", drawn)).to_series().alias("text:year"),
        pl.select(pl.format("The title of an item, {}", drawn)).to_series().alias("text:title"),
        pl.select(pl.concat_list(pl.format("g{}", drawn % 10), pl.format("h{}", drawn % 7)))
        .to_series()
        .alias("list:genres"),
    )
    few = pl.select(item_no=number.gather_every(5), value=pl.format("c{}", drawn.gather_every(5) % 20))
    return LiveCatalogue(Table.of(made, {"text:colour": few}), 1)


def costliest(live: LiveCatalogue, term: str) -> list[str]:
    """Spread as many terms over a filter and all boosts as may be."""
    terms: list[list[str]] = [[] for _ in range(MOST_RULES + 1)]
    for n in count():
        terms[n % len(terms)].append(term.replace("#", str(n + 1)))
        every = [" OR ".join(each) for each in terms if each]
        try:
            live.steps(every)
        except ConditionError:
            break
        if sum(map(len, every)) > MOST_CHARACTERS:
            break
    terms[n % len(terms)].pop()
    return [" OR ".join(each) for each in terms if each]


def taken(items: int, kind: str) -> list[str]:
    """Make the list once; returns a row of the table."""
    live = catalogue(items)
    popular = Popular.of(np.arange(items, dtype=np.float64), items)
    context = Snapshot.of(live, popular).context
    pins = tuple(Pin(f"i{n}", n + 1) for n in range(MOST_RULES))
    recommend(ListRequest(k=MOST_PLACES, pin=pins), context)  # compiles
    filtered, *boosts = costliest(live, TERMS[kind])
    asked = ListRequest(k=MOST_PLACES, pin=pins, filter=filtered, boost=tuple(Boost(each, 1.5) for each in boosts))
    terms = sum(each.count(" OR ") + 1 for each in asked.conditions)
    restart_peak()
    before, began, cpu = resident("VmRSS"), time.perf_counter(), time.process_time()
    recommend(asked, context)
    took = time.process_time() - cpu, time.perf_counter() - began
    steps = live.steps(asked.conditions) / 1e6
    figures = f"{steps:.0f}", f"{took[0]:.2f}", f"{took[1]:.2f}", f"{(resident('VmHWM') - before) / 1e6:.0f}"
    return [kind, f"{len(asked.conditions)}", f"{terms}", *figures]


def main() -> None:
    """Print the table."""
    asked = parser(__doc__)
    asked.add_argument("--items", type=int, default=1_000_000)
    args = asked.parse_args()
    rows = []
    for kind in TERMS:
        with multiprocessing.get_context("spawn").Pool(1) as fresh:
            rows.append(fresh.apply(taken, (args.items, kind)))
    head = ["the conditions are", "conditions", "terms", "million steps", "CPU, s", "time, s", "memory, MB"]
    about = (
        f"Each is a list of {MOST_PLACES:,} of {args.items:,} items with {MOST_RULES} pins, in a process of its own."
    )
    publish("\n".join([*title("The costliest conditions"), about, "", *grid(head, rows), ""]), args.out)


if __name__ == "__main__":
    main()
