"""Cross-validation: folds that cover the log, and reports that put them together."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import polars as pl
import pytest
from conftest import Run, block_events, catalogue_of, log_of
from rich.console import Console
from test_contract import FAST
from test_evaluation import typed_log
from test_splits import log_of as timed_log

from palate import EASE, IALS, ItemKNN, Popularity, compare, cross_validate, evaluate, read_catalogue, read_log
from palate.cli import estimate
from palate.data.folds import folds_of_time, folds_of_users
from palate.data.interactions import Interactions
from palate.data.splits import split_by_time, split_ratio
from palate.errors import DataError, SettingError
from palate.evaluation.lists import Lists
from palate.models import bars
from palate.models.bars import FitBar
from palate.models.base import Progress, Recipe
from palate.models.weights import unread


@pytest.fixture(scope="module")
def log() -> Interactions:
    rng = np.random.default_rng(3)
    rows = [(f"u{user}", f"i{item}", time) for user in range(40) for time, item in enumerate(rng.permutation(20)[:6])]
    return timed_log([(user, item, 1000 * time + n) for n, (user, item, time) in enumerate(rows)])


def test_each_user_is_left_out_once(log: Interactions) -> None:
    splits = folds_of_users(log, 4)
    out = [set(split.test.users.ids) for split in splits]
    assert sorted(user for each in out for user in each) == sorted(log.users.ids)
    for split in splits:
        split.check()
        assert split.fold_in is not None
        assert not set(split.train.users.ids) & set(split.test.users.ids)


def test_each_part_of_time_is_predicted_from_what_came_before(log: Interactions) -> None:
    splits = folds_of_time(log, 4)
    for split in splits:
        split.check()
    assert [len(split.train) for split in splits] == sorted(len(split.train) for split in splits)
    assert len(splits[0].train) == pytest.approx(len(log) / 5, abs=1)
    assert splits[-1].train.timestamp is not None
    assert log.timestamp is not None
    assert sum(len(split.test) + sum(split.dropped.values()) for split in splits) == len(log) - len(splits[0].train)


def test_bad_folds_are_refused(log: Interactions) -> None:
    with pytest.raises(SettingError, match="folds=1"):
        folds_of_users(log, 1)
    with pytest.raises(DataError, match="40 users have two events or more; 41 folds"):
        folds_of_users(log, 41)
    with pytest.raises(DataError, match="too few different times for 300 folds"):
        folds_of_time(log, 300)
    untimed = timed_log([(user, item, None) for user, item in (("a", "x"), ("b", "y"))])
    with pytest.raises(DataError, match="need times"):
        folds_of_time(untimed, 2)
    with pytest.raises(SettingError, match="by='items': is one of users, time"):
        cross_validate(Popularity(), log, by=cast("Any", "items"))
    with pytest.raises(SettingError, match="is fitted already"):
        cross_validate(cast("Any", [Popularity().fit(log)]), log)


def test_a_fold_of_users_counts_each_user_once(log: Interactions) -> None:
    result = cross_validate([Popularity(), ItemKNN()], log, 4, k=5)
    for name, recipe in (("Popularity", Popularity()), ("ItemKNN", ItemKNN())):
        report = result[name]
        parts = [evaluate(recipe, split, 5) for split in folds_of_users(log, 4)]
        values = np.concatenate([part.per_user["NDCG@5"] for part in parts])
        assert report["NDCG@5"] == pytest.approx(values.mean())
        assert report.by_fold["NDCG@5"] == tuple(part["NDCG@5"] for part in parts)
        assert len(report.users) == len(values) == report.users.n_unique()
    difference = result.difference("ItemKNN")
    assert difference.low <= difference.mean <= difference.high
    assert "cross-validation, 4 folds of users" in str(result)
    assert result["ItemKNN"].to_dict()["by_fold"] == dict(result["ItemKNN"].by_fold)


def test_a_user_in_several_folds_of_time_counts_once_with_the_mean(log: Interactions) -> None:
    report = cross_validate(Popularity(), log, 3, by="time", k=5)["Popularity"]
    found: dict[str, list[float]] = {}
    for split in folds_of_time(log, 3):
        part = evaluate(Popularity(), split, 5)
        for user, value in zip(part.users, part.per_user["Recall@5"], strict=True):
            found.setdefault(user, []).append(value)
    assert max(map(len, found.values())) > 1
    mine = dict(zip(report.users, report.per_user["Recall@5"], strict=True))
    assert mine == pytest.approx({user: np.mean(values) for user, values in found.items()})


def test_the_command_cross_validates(palate: Run, log: Interactions, tmp_path: Path) -> None:
    log.to_frame().write_csv(tmp_path / "log.csv")
    code, out, err = palate(
        "evaluate", "popularity", "itemknn", tmp_path / "log.csv", "--folds", 3, "-k", 5, "--json"
    )
    assert code == 0, err
    found = json.loads(out)["models"]["itemknn"]
    assert len(found["by_fold"]["NDCG@5"]) == 3
    assert "split: cross-validation, 3 folds of time" in found["protocol"]
    code, _, err = palate("evaluate", "popularity", tmp_path / "log.csv", "--folds", 3, "--split", "ratio")
    assert (code, "--folds goes with --split users or time" in err) == (2, True)


# Metrics of one's own, frames, progress


def test_a_metric_of_ones_own_knows_hits_and_relevant_items(log: Interactions) -> None:
    def my_recall(lists: Lists) -> np.ndarray:
        assert lists.hits is not None
        assert lists.relevant is not None
        return np.asarray(lists.hits.sum(1) / lists.relevant)

    report = evaluate(Popularity(), folds_of_users(log, 3)[0], 5, metrics=[my_recall])
    assert (report.per_user["my_recall@5"] == report.per_user["Recall@5"]).all()
    whole = cross_validate(Popularity(), log, 3, k=5, metrics=[my_recall])["Popularity"]
    assert whole["my_recall"] == pytest.approx(whole["Recall@5"])


def test_a_frame_is_a_catalogue(log: Interactions) -> None:
    from palate import Content, read_catalogue

    items = pl.DataFrame({"item_id": log.items.ids, "title": [f"thing {n % 4}" for n in range(len(log.items))]})
    fitted: Any = Content().fit(log, cast("Any", items))
    by_name: Any = Content().fit(log, catalogue=cast("Any", items))
    told: Any = Content().fit(log, read_catalogue(items))
    asked = log.histories().block(0, 3)
    assert (fitted.scores(asked) == told.scores(asked)).all()
    assert (by_name.scores(asked) == told.scores(asked)).all()
    split = folds_of_users(log, 3)[0]
    assert evaluate(Content(), split, catalogue=cast("Any", items))["NDCG"] >= 0


def test_a_fit_shows_its_progress(log: Interactions, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    monkeypatch.setattr(bars, "EACH", 0.0)
    seen: list[int] = []
    recipe: Any = IALS(dim=4, epochs=3)
    recipe.fit(log, progress=True, watch=lambda progress: seen.append(progress.epoch))
    assert seen == [1, 2, 3]
    err = capsys.readouterr().err
    assert "fitting IALS: 33% in" in err
    assert "epoch 1/3" in err
    assert err.count("\n") == 4
    recipe.fit(log)
    evaluate(recipe, folds_of_users(log, 3)[0], progress=True)
    assert "fitting: 33% in" in capsys.readouterr().err


def test_a_terminal_gets_a_bar_with_the_time_left() -> None:
    console = Console(force_terminal=True, width=120)
    with console.capture() as found, FitBar("fitting", console) as bar:
        bar(Progress(1, 2, 0.5, 1e6, 0.25))
    text = found.get()
    assert "epoch 1/2" in text
    assert "left" in text


def test_short_work_prints_no_line(capsys: pytest.CaptureFixture[str], log: Interactions) -> None:
    recipe: Any = IALS(dim=4, epochs=3)
    recipe.fit(log, progress=True)
    assert capsys.readouterr().err == ""


# What is hidden for how long, weights that are ignored, items that are not available


def test_items_are_hidden_for_as_many_days_as_asked() -> None:
    days = [(0, "old"), (9, "seen"), (20, "new"), (29, "now")]
    rows = {
        "user_id": ["ann"] * 4 + ["bob"] * 4,
        "item_id": [name for _, name in days] * 2,
        "event_type": ["purchase", "view", "purchase", "purchase"] * 2,
        "timestamp": [1_700_000_000 + 86_400 * day for day, _ in days] * 2,
    }
    bought = read_log(pl.DataFrame(rows))
    model = Popularity().fit(bought)
    hide: Any = {"purchase": 10}
    assert set(model.recommend(bought, hide=hide).lists()[0]) == {"old", "seen"}
    assert set(model.recommend(bought, hide={"purchase": 5.0, "view": 100}).lists()[0]) == {"old", "new"}
    assert set(model.recommend(bought, hide=["purchase"]).lists()[0]) == {"seen"}
    later = replace(bought.histories(), asked=np.full(2, (1_700_000_000 + 86_400 * 31) * 1_000_000))
    assert set(model.recommend(later, hide=hide).lists()[0]) == {"old", "seen", "new"}
    with pytest.raises(SettingError, match="a number of days must be above 0"):
        model.recommend(bought, hide={"purchase": 0})
    with pytest.raises(SettingError, match="hide='sale': is no event type"):
        model.recommend(bought, hide={"sale": 3})
    untimed = read_log(pl.DataFrame({name: rows[name] for name in ("user_id", "item_id", "event_type")}))
    with pytest.raises(SettingError, match="these events have no times"):
        model.recommend(untimed, hide={"purchase": 3})
    split = split_by_time(typed_log(), 0.3)
    report = evaluate(ItemKNN(), split, 5, hide={"purchase": 0.001})
    assert "items of the history removed after purchase (for 0.001 days) events" in "; ".join(report.protocol)
    wanted = [
        evaluate(ItemKNN(), split, 5, hide=each).counts
        for each in ({"purchase": 1e9}, ["purchase"], {"purchase": 1e-9})
    ]
    name = "relevant items that are in the history"
    assert wanted[0] == wanted[1]
    assert wanted[2].get(name, 0) < wanted[1][name]


QUICK = ("EASE", "ItemKNN", "SLIST", "SessionKNN", "InfiniteAE", "Content", "IALS", "Popularity", "Pipeline", "Blend")


@pytest.mark.parametrize("recipe", [each for each in FAST if type(each).__name__ in QUICK], ids=repr)
def test_recipes_say_that_they_ignore_weights(recipe: Recipe) -> None:
    """Those that say so, and only those, learn the same whatever the weights."""
    given = log_of(block_events())
    weight = np.where(np.arange(len(given)) % 3 == 0, 4.0, 1.0).astype(np.float32)
    heavy = replace(given, weight=weight)
    told = unread(recipe, heavy)
    assert unread(recipe, given) == ""
    past = given.histories().block(0, 5)
    one, other = (recipe.fit(log, catalogue_of(given)).scores(past) for log in (given, heavy))
    same = np.allclose(one, other, rtol=1e-4, atol=1e-6)
    assert same == ("ignores weights" in told)


def test_a_report_says_whose_weights_are_ignored(palate: Run, tmp_path: Path) -> None:
    given = log_of(block_events())
    heavy = replace(given, weight=np.where(np.arange(len(given)) % 3 == 0, 4.0, 1.0).astype(np.float32))
    split = split_ratio(heavy)
    line = "EASE(binary=True) ignores weights: each event of weight above 0 counts alike"
    assert line in str(compare([Popularity(), EASE(l2=100)], split))
    assert line in str(evaluate(EASE(l2=100), split))
    assert "ignores weights" not in str(evaluate(EASE(l2=100, binary=False), split))
    heavy.to_frame().write_parquet(tmp_path / "log.parquet")
    code, _, err = palate("fit", "slist", tmp_path / "log.parquet", "--out", tmp_path / "model")
    assert (code, "SLIST ignores weights" in err) == (0, True)


def test_what_is_not_available_is_left_out_of_lists_of_the_command(palate: Run, tmp_path: Path) -> None:
    given = log_of(block_events())
    Popularity().fit(given).save(tmp_path / "model", log=given)
    ids = given.items.ids
    best = Popularity().fit(given).recommend([[]], 2).lists()[0]
    state = [name != best[0] if n % 2 else None for n, name in enumerate(ids)]
    state[ids.to_list().index(best[0])] = False
    items = pl.DataFrame({"item_id": ids, "available": state})
    items.write_parquet(tmp_path / "items.parquet")
    assert read_catalogue(items).unavailable.to_list() == [best[0]]
    assert read_catalogue(items.select("item_id")).unavailable.to_list() == []
    (tmp_path / "h.txt").write_text(f"{ids[len(ids) - 1]}\n")
    asked = ("recommend", tmp_path / "model", "--history", tmp_path / "h.txt", "--keep-seen", "-k", 3, "--json")
    whole = [row["item_id"] for row in json.loads(palate(*asked)[1])["items"]]
    _, out, _ = palate(*asked, "--catalogue", tmp_path / "items.parquet")
    left = [row["item_id"] for row in json.loads(out)["items"]]
    assert whole[0] == best[0]
    assert left[:2] == whole[1:3]


def test_a_long_fit_is_announced(palate: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = log_of(block_events())
    given.to_frame().write_parquet(tmp_path / "log.parquet")
    asked = ("fit", "ials", tmp_path / "log.parquet", "--out", tmp_path / "model", "--set", "dim=4")
    assert "about" not in palate(*asked)[2]
    monkeypatch.setattr(estimate, "LONG", 0.0)
    assert "IALS: about 10 seconds here" in palate(*asked)[2]
    texts = [estimate._rounded(seconds) for seconds in (0.1, 24, 50, 100, 700, 5000, 40_000)]
    assert texts == ["10 seconds", "20 seconds", "a minute", "2 minutes", "12 minutes", "83 minutes", "11 hours"]
