"""Put the tables of `results/` on one page: `python benchmarks/page.py` writes docs/benchmarks.md."""

from __future__ import annotations

import re
from pathlib import Path

from common import RESULTS, ROOT

INTRO = """# Benchmarks

Every table here was printed by the command above it, on the machine and with the versions that it names, and stands
in `benchmarks/results`; `python benchmarks/page.py` makes this page of them. What was measured how, on which data and
against which targets is told in [benchmarks/README.md](../benchmarks/README.md). What the live service bears is in
[reliability](reliability.md), what small language models write in [descriptions](descriptions.md).
"""
PARTS = (
    ("kernel_speed", "kernel_speed.py", "Training speed of the embedding model, beside implicit's BPR."),
    (
        "ials_speed",
        "ials_speed.py",
        "An epoch of iALS beside its peers, and how far the objective has come.",
    ),
    ("topk", "topk.py", "Ranking: everybody at once, and one person over a million items."),
    ("item_models", "item_models.py", "EASE and item neighbours beside their peers."),
    ("sequences-amazon", "sequences.py --dataset beauty sports", "The next item: SLIST beside published networks."),
    ("sequences-diginetica", "sequences.py --dataset diginetica", "The next click of a session."),
    ("quality-movielens", "quality.py --dataset movielens", "Accuracy, everybody tuned with the same budget."),
    ("quality-gowalla", "quality.py --dataset gowalla --trials 1", "Accuracy on a published split."),
    ("deep", "deep.py", "Networks beside the closed forms."),
    ("content", "content.py", "Items that nobody has met yet."),
    ("transfer", "transfer.py", "A model of one shop in another."),
    ("scaling", "scaling.py --plot docs/scaling.svg", "From 1M to 50M events."),
    ("reading", "reading.py", "Reading 10M rows of CSV beside `polars.read_csv` alone."),
    ("memory", "memory.py", "Memory of a fit."),
    ("loading", "loading.py", "Loading a model of 1M items."),
    ("store", "store.py", "The store of the service: reading and writing events and items."),
)
PICTURES = {
    "scaling": "![Seconds against events](scaling.svg)\n\n",
    "quality-movielens": "![Accuracy against training time](quality.png)\n\n",
}


def part(name: str, command: str, about: str) -> str:
    """One table, its titles a level lower, the trials left out."""
    text = (RESULTS / f"{name}.md").read_text(encoding="utf-8").strip()
    text = re.sub(r"<details>.*?</details>\n*", "", text, flags=re.S)
    text = re.sub(r"^#", "##", text, flags=re.M)
    title, _, rest = text.partition("\n")
    if not title.startswith("#"):
        title, rest = f"## {about}", text
    return f"{title}\n\n{about} `python benchmarks/{command}`\n\n{PICTURES.get(name, '')}{rest.strip()}\n"


def main() -> None:
    """Write the page."""
    tables = [part(*each) for each in PARTS if (RESULTS / f"{each[0]}.md").is_file()]
    Path(ROOT / "docs" / "benchmarks.md").write_text("\n".join([INTRO, *tables]), encoding="utf-8")


if __name__ == "__main__":
    main()
