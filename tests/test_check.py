"""The check of a log: each count against a log made for it."""

from __future__ import annotations

import json
import time
import warnings
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from palate.choosing.check import MANY, LogCheck
from palate.cli.commands import SPLITS, app
from palate.data.catalogue import read_catalogue
from palate.data.interactions import Interactions
from palate.data.readers import read_log
from palate.errors import DataWarning

DAY = 86_400


def log_of(users: list[str], items: list[str], times: list[int] | None = None) -> Interactions:
    columns = {"user": users, "item": items} | ({} if times is None else {"time": times})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        return read_log(pl.DataFrame(columns))


def test_repeated_and_single_events_are_counted() -> None:
    log = log_of(["a", "a", "a", "b", "c", "c"], ["x", "x", "y", "y", "z", "z"], [1, 1, 1, 5, 7, 8])
    check = LogCheck.of(log, None, {})
    assert (check.duplicates, check.single_users, check.single_items) == (1, 1, 0)
    untimed = LogCheck.of(log_of(["a", "a", "b"], ["x", "x", "y"]), None, {})
    assert (untimed.duplicates, untimed.bots, untimed.future, untimed.single_items) == (1, 0, 0, 1)


def test_users_quicker_than_any_hand_are_counted() -> None:
    def bots(step: float, events: int) -> int:
        times = [int(1_600_000_000 + step * n) for n in range(events)]
        return LogCheck.of(log_of(["bot"] * events + ["ann"], ["x"] * (events + 1), [*times, 5]), None, {}).bots

    assert bots(0.1, MANY + 1) == 1
    assert bots(0.1, MANY) == 0
    assert bots(1, MANY * 3) == 0
    assert bots(0, MANY * 3) == 1
    days = log_of(["ann"] * 300, ["x"] * 300, [20201231] * 300)
    assert LogCheck.of(days, None, {}).bots == 0, "the time of day is not known"


def test_clocks_that_are_ahead_are_counted() -> None:
    now = int(time.time())
    check = LogCheck.of(log_of(["a", "b", "c"], ["x", "x", "x"], [now, now + DAY, now + 3 * DAY]), None, {})
    assert check.future == 1


def test_items_without_a_partner_are_counted() -> None:
    items = read_catalogue(pl.DataFrame({"item": ["x", "p", "q"], "title": ["X", "P", "Q"]}))
    log = log_of(["a", "a", "b"], ["x", "y", "y"])
    check = LogCheck.of(log, items, {})
    assert (check.unknown_items, check.unused_items) == (1, 2)
    assert LogCheck.of(log, None, {}).unknown_items is None


def test_what_splits_leave_and_which_recipe_suits() -> None:
    log = log_of([f"u{n % 30}" for n in range(300)], [f"i{n * 7 % 20}" for n in range(300)], list(range(300)))
    check = LogCheck.of(log, None, SPLITS)
    assert check.splits.keys() == SPLITS.keys()
    assert check.splits["last"] == "270 events in train, 30 events of 30 users in test"
    one = LogCheck.of(log_of(["a", "b"], ["x", "y"]), None, SPLITS)
    assert one.splits["time"].startswith("none: ")
    assert check.recipe in ("slist", "ease")


@pytest.mark.filterwarnings("ignore:shop.csv. read as ';'-separated, decimal comma, dates day first")
def test_the_command_shows_what_was_recognised(tmp_path: Path) -> None:
    path = tmp_path / "shop.csv"
    path.write_text("kunde;artikel;wann;sterne\nann;a;31.12.2020;4,5\nann;b;30.12.2020;3\nbob;a;1.1.2021;2\n")
    named = ["user=kunde", "item=artikel", "time=wann", "weight=sterne"]
    options = [each for text in named for each in ("--read", text)]
    shown = CliRunner().invoke(app, ["inspect", str(path), *options])
    found = json.loads(CliRunner().invoke(app, ["inspect", str(path), *options, "--json"]).stdout)
    assert shown.exit_code == 0
    assert "';'-separated, decimal comma, dates day first" in " ".join(shown.stdout.split())
    assert found["read"]["columns"] == {"user": "kunde", "item": "artikel", "time": "wann", "weight": "sterne"}
    assert found["read"]["form"] == ["';'-separated", "decimal comma", "dates day first"]
    assert found["check"]["single_users"] == 1
