"""The figures of the second stage: those that the pages state are those that were measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.accuracy.second_stage import OUTCOMES
from benchmarks.common.outcomes import read_outcomes

ROOT = Path(__file__).parents[1]
TIME = "fit on Beauty, CPU s"
CATALOGUE = "`Ranked` with the catalogue"
# Rows of the tables of the next item, and what their outcomes are called.
ROWS = {
    "docs/benchmarks.md": {
        "`Ranked(SLIST, IALS, Transformer)`, with titles and categories": f"{CATALOGUE} and `Transformer`",
        "`Ranked(SLIST, IALS)`, with titles and categories": CATALOGUE,
        "the same, fitted to the validation items too": f"{CATALOGUE}, validation items are labels",
        "`Ranked(SLIST, IALS, SessionKNN)`": "`Ranked`",
        "`Ranked(SLIST, IALS)`": "`Ranked`",
    },
    "README.md": {
        "`Ranked` of `SLIST`, `IALS` and `Transformer`, with titles and categories": f"{CATALOGUE} and `Transformer`",
        "`Ranked` of `SLIST` and `IALS`, with titles and categories": CATALOGUE,
        "`Ranked` of `SLIST` and `IALS`; of `SessionKNN` too for sessions": "`Ranked`",
    },
}


def measured(column: str, name: str) -> tuple[str, ...]:
    """Mean over the seeds and, of several, with their standard deviation, as a column of the pages shows them."""
    dataset, metric = ("Beauty", TIME) if column == TIME else column.split()
    runs = [each for each in read_outcomes(OUTCOMES) if (each["dataset"], each["name"]) == (dataset.lower(), name)]
    values = [each["seconds"] if metric == TIME else each["figures"][metric] for each in runs]
    mean, digits = float(np.mean(values)), 0 if metric == TIME else 1 if dataset == "Diginetica" else 3
    shown = f"{mean:,.{digits}f}".removeprefix("0")
    return shown, f"{shown} ± {np.std(values):.3f}".replace("0.", ".")


@pytest.mark.parametrize("page", ROWS)
def test_pages_state_what_was_measured(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]
    head = next(row for row in rows if "Beauty HR@10" in row)
    for row, name in ROWS[page].items():
        cells = next(each for each in rows if each[0] == row)
        for column, cell in zip(head[1:], cells[1:], strict=True):
            assert not cell or cell.replace("**", "") in measured(column, name), (row, column, measured(column, name))


def test_no_run_counts_twice() -> None:
    keys = [(each["dataset"], each["name"], each["seed"]) for each in read_outcomes(OUTCOMES)]
    assert len(set(keys)) == len(keys)
