"""What models give away of their users: `python -m benchmarks.accuracy.audit [--dataset NAME ...] [--recipe TEXT]`.

Every recipe, plain and private, by `palate.privacy.audit`: attacks on a model that half of the users are in, with
shadow models, and trainings with and without a canary. `music` is lastfm-music, `movielens` the 1,000 most chosen
items of MovieLens latest-small; `dense`, `gowalla` and `diginetica` are those of `benchmarks.accuracy.private`.
Private fits that would be refused as hopeless are made all the same. `--plot DIR` draws a picture each.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.accuracy import private
from benchmarks.common.logs import movielens
from benchmarks.common.tables import grid, parser, publish, title
from palate.data.interactions import Interactions
from palate.privacy import audit
from palate.privacy.attacks import ATTACKS
from palate.privacy.auditing import AFTER, Audit

RECIPES = (
    *("EASE()", "ItemKNN()", "SLIST()", "InfiniteAE()", "IALS(dim=64)", "Embedding(dim=32)", "Popularity()"),
    *(
        f"Private({recipe}, epsilon={epsilon}, public=True, refuse=False)"
        for epsilon in (10, 1)
        for recipe in (
            *("EASE()", "IALS(dim=64)", "ItemKNN(similarity='cosine')", "SLIST(alpha=1.0)"),
            "Popularity()",
        )
    ),
)
LOGS: dict[str, Callable[[], Interactions]] = {
    "music": lambda: private.music().split.train,
    "movielens": lambda: private.most_chosen(movielens(), movielens(), 1000).train,
    "dense": lambda: private.dense().split.train,
    "gowalla": lambda: private.checkins().split.train,
    "diginetica": lambda: private.sessions().split.train,
}
HEAD = (
    *("recipe", "lists", "weights", "true at 1% false", "reconstruction, in / not", "attribute, in / not"),
    *("after forgetting", "ε ≥", "CPU s"),
)


def row(found: Audit, name: str, seconds: float) -> list[str]:
    """Figures of one recipe."""
    lists, weights, *others = (found[attack] for attack in ATTACKS)
    rights = [" / ".join(f"{each.value:.3f}" for each in other.right or ()) for other in others]
    after = [f"{each.apart.auc}{each.note}" for each in found.findings if each.attack == AFTER] or [""]
    bound = "" if found.bound is None else f"{found.bound.epsilon:.2f}"
    cells = [str(lists.apart.auc), str(weights.apart.auc), str(weights.apart.caught), *rights, *after, bound]
    return [name, *cells, f"{seconds:.0f}"]


def table(name: str, log: Interactions, recipes: list[str], users: int, shadows: int, plot: Path | None) -> list[str]:
    """Rows of one log."""
    rows = []
    for recipe in recipes:
        began = time.process_time()
        found = audit(recipe, log, users=users, shadows=shadows)
        short = recipe.replace(", public=True, refuse=False", "")
        rows.append(row(found, short, time.process_time() - began))
        print(rows[-1], flush=True)
        if plot is not None:
            found.plot(plot / f"audit-{name}-{len(rows)}.png")
    return [f"## {name}", "", f"{log!r}; {shadows} shadow models.", "", *grid(HEAD, rows), ""]


def main() -> None:
    """Print the tables."""
    asked = parser(__doc__)
    asked.add_argument("--dataset", nargs="+", choices=LOGS, default=["music", "movielens"])
    asked.add_argument("--recipe", nargs="+", default=list(RECIPES))
    asked.add_argument("--users", type=int, default=1000, help="a side, at most")
    asked.add_argument("--shadows", type=int, default=8)
    asked.add_argument("--plot", type=Path, help="draw pictures into this folder")
    options = asked.parse_args()
    text = title("What models give away")
    figures = "AUC (lists, weights, after forgetting) and true positives with 95% intervals; .5 and .01: chance."
    text += [figures, ""]
    for name in options.dataset:
        text += table(name, LOGS[name](), options.recipe, options.users, options.shadows, options.plot)
    publish("\n".join(text), options.out)


if __name__ == "__main__":
    main()
