"""The protocol against a slow reading of it; reports, comparisons, the picture, early stopping."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from io import StringIO
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import polars as pl
import pytest
from rich.console import Console
from test_metrics import by_hand
from test_splits import events_of, log_of, lopsided

from palate import IALS
from palate.arrays import Floats
from palate.data.catalogue import Catalogue
from palate.data.histories import Histories
from palate.data.interactions import Interactions
from palate.data.readers import read_log
from palate.data.splits import Part, Split, split_by_time, split_items, split_last, split_ratio, split_users
from palate.data.vocabulary import Vocabulary
from palate.errors import DataError, MissingExtra, SettingError
from palate.evaluation import protocol
from palate.evaluation.compare import Comparison, compare
from palate.evaluation.early import fit_until_best
from palate.evaluation.lists import intra_list_distance, popularity_lift, self_information, serendipity
from palate.evaluation.mixes import attribute_coverage, calibration_kl
from palate.evaluation.picture import LABEL_GAP, Point, _spread, draw
from palate.evaluation.protocol import evaluate
from palate.evaluation.report import Report
from palate.models.base import Model, Progress, Recipe, Watch
from palate.models.item_knn import ItemKNN
from palate.models.popularity import Popularity


@dataclass(frozen=True, kw_only=True)
class Fixed(Recipe):
    """Scores that depend on the last item of the history, with many ties; it learns nothing but the items."""

    seed: int = 0
    levels: int = 6

    def fit(self, log: Interactions, catalogue: Catalogue | None = None, *, watch: Watch | None = None) -> FixedModel:
        table = np.random.default_rng(self.seed).integers(0, self.levels, (len(log.items) + 1, len(log.items)))
        return FixedModel(self, log.items, table.astype(np.float32))


@dataclass(frozen=True, eq=False)
class FixedModel(Model):
    recipe: Recipe
    items: Vocabulary
    table: Floats

    def scores(self, histories: Histories) -> Floats:
        start, column = histories.rows.start, histories.rows.column
        last = [column[end - 1] if end > begin else -1 for begin, end in pairwise(start)]
        return np.array(self.table[last], copy=True)


def read_slowly(model: Model, split: Split, k: int, part: Part) -> dict[str, dict[object, float]]:
    """The protocol by loops over people: metric, then person."""
    known, asked = events_of(split.history(part)), events_of(split.part(part))
    result: dict[str, dict[object, float]] = {}
    for user in split.part(part).users.ids:
        seen = {item for (who, item, _) in known if who == user}
        relevant = {item for (who, item, _) in asked if who == user} - seen
        if not relevant:
            continue
        scores = model.scores(split.history(part).histories([user]).on(model.items))[0]
        order = sorted(range(len(model.items)), key=lambda row: (-scores[row], row))
        ids = model.items.ids.to_list()
        ranking = [ids[row] for row in order if ids[row] not in seen]
        everything = sorted(set(ranking) | relevant, key=str)
        rows = {item: row for row, item in enumerate(everything)}
        for name, value in by_hand([rows[i] for i in ranking], {rows[i] for i in relevant}, k).items():
            result.setdefault(f"{name}@{k}", {})[user] = value
    return result


CASES: dict[str, tuple[Callable[[], Split], Part]] = {
    "time": (lambda: split_by_time(lopsided(), 0.3, 0.3), "test"),
    "time, valid": (lambda: split_by_time(lopsided(), 0.3, 0.3), "valid"),
    "last": (lambda: split_last(lopsided()), "test"),
    "ratio, sparse": (lambda: split_ratio(lopsided(n=120), 0.3, 0.2), "test"),
    "cold users": (lambda: split_users(lopsided(n=150), 0.4, 0.3, held_out=0.5), "test"),
    "cold users, valid": (lambda: split_users(lopsided(n=150), 0.4, 0.3, held_out=0.5), "valid"),
    "cold items": (lambda: split_items(lopsided(n=150), 0.3), "test"),
    "published, new people": (lambda: Split.of(lopsided(n=80), log_of([("u1", 2, 1), ("new", 3, 2)])), "test"),
}


@pytest.mark.parametrize("k", [3, 10, 40])
@pytest.mark.parametrize("case", CASES)
def test_protocol_as_read_slowly(case: str, k: int) -> None:
    make, part = CASES[case]
    split = make()
    report = evaluate(Fixed(), split, k, part=part)
    expected = read_slowly(report.model, split, k, part)
    for name, values in expected.items():
        assert report.users.to_list() == list(values), name
        np.testing.assert_allclose(report.per_user[name], list(values.values()), rtol=0, atol=1e-12, err_msg=name)
        assert report[name] == pytest.approx(np.mean(list(values.values())))


PARTS: tuple[Part, ...] = ("valid", "test")


def test_blocks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    split = split_ratio(lopsided(), 0.3)
    whole = evaluate(Fixed(), split)
    monkeypatch.setattr(protocol, "BLOCK_USERS", 7)
    np.testing.assert_array_equal(evaluate(Fixed(), split).per_user["NDCG@10"], whole.per_user["NDCG@10"])


def test_relevant_once_seen_removed_and_weight_needed() -> None:
    train = log_of([("a", 1, 1), ("a", 2, 2), ("b", 3, 3), ("b", 4, 3), ("c", 5, 4)])
    test = log_of([("a", 3, 5), ("a", 3, 6), ("a", 1, 7), ("a", 4, 8), ("b", 3, 9), ("c", 1, 9)])
    weight = np.where(test.timestamp == 8, 0, 1).astype(np.float32)
    report = evaluate(Popularity(), Split.of(train, replace(test, weight=weight)), 1)
    assert report.users.to_list() == ["a", "c"]
    assert report.per_user["Recall@1"].tolist() == [1, 1]
    assert report.counts == {"relevant items that are in the history": 2, "users without a relevant item": 1}
    with pytest.raises(DataError, match="no user of the test part has a relevant item"):
        evaluate(Popularity(), Split.of(train, log_of([("a", 1, 9)])))


def test_a_recipe_sees_train_alone_and_a_model_is_taken_as_it_is() -> None:
    split = split_by_time(lopsided(), 0.3, 0.3)
    report = evaluate(Popularity(), split)
    assert report.model.items is split.train.items
    assert report.fit_seconds is not None
    again = evaluate(report.model, split)
    assert (again.fit_seconds, again.model) == (None, report.model)
    assert again.minus(report).mean == 0


def test_items_are_counted_over_the_whole_catalogue() -> None:
    train = log_of([("a", i, 1) for i in range(8)] + [("b", 0, 1), ("c", 0, 1)])
    report = evaluate(Popularity(), Split.of(train, log_of([("b", 1, 2), ("c", 5, 2)])), (2, 7))
    assert report["coverage@2"] == 2 / 8
    assert report["coverage@7"] == 7 / 8
    assert report["novelty@2"] == pytest.approx(np.log2(10))
    assert report["Gini@2"] == pytest.approx(sum(abs(a - b) for a in [2, 2] for b in [0] * 6) / (8 * 4) * 8 / 7)
    assert report["HitRate@2"] == 0.5


def test_groups_cut_people_and_items() -> None:
    split = split_ratio(lopsided(), 0.3)
    report = evaluate(Fixed(), split)
    lengths = split.train.histories(report.users).rows.lengths
    middle = int(np.median(lengths))
    short, long = (report.groups[f"history {name}"] for name in (f"of 1 to {middle} events", f"over {middle} events"))
    np.testing.assert_array_equal(short.per_user["NDCG@10"], report.per_user["NDCG@10"][lengths <= middle])
    assert len(short) + len(long) == len(report.users)
    popular, tail = report.groups["popular items"], report.groups["tail items"]
    hits = report.per_user["Precision@20"].sum()  # hits over k add up over the two kinds
    assert popular.per_user["Precision@20"].sum() + tail.per_user["Precision@20"].sum() == pytest.approx(hits)
    counts = dict(zip(split.train.items.ids, split.train.item_counts(), strict=True))
    head = set(sorted(counts, key=lambda item: -counts[item])[: round(0.2 * len(counts))])
    seen = events_of(split.train)
    fans = {
        user
        for (user, item, _) in events_of(split.test)
        if item in head and not any((who, what) == (user, item) for (who, what, _) in seen)
    }
    assert len(popular) == len(fans)


def test_people_without_a_history_are_a_group() -> None:
    split = CASES["published, new people"][0]()
    report = evaluate(Popularity(), split)
    assert len(report.groups["no history"]) == 1


def test_names_without_k_mean_the_largest() -> None:
    report = evaluate(Fixed(), split_ratio(lopsided(), 0.3), (5, 10))
    assert report["MRR"] == report["MRR@10"]
    assert report["coverage"] == report["coverage@10"]
    low, high = report.interval("NDCG@5")
    assert low < report["NDCG@5"] < high
    assert report.interval("NDCG@5") == evaluate(report.model, split_ratio(lopsided(), 0.3), (5, 10)).interval(
        "NDCG@5"
    )
    for bad in ("NDCG@7", "ndcg@5", "NDCG@"):
        with pytest.raises(SettingError, match="is one of NDCG@5"):
            report[bad]
    with pytest.raises(SettingError, match="coverage"):
        report.interval("coverage@5")


@pytest.mark.parametrize("k", [0, (), (5, 5), (3, -1), 2.5, "10", True, None, (5, 10.0), (5, True), np.float64(5)])
def test_k_is_checked(k: Any) -> None:
    with pytest.raises(SettingError, match="k="):
        evaluate(Popularity(), split_ratio(lopsided(), 0.3), k)


@pytest.mark.parametrize("k", [np.int64(5), np.int8(5), [np.int64(5), 3], np.array([5, 3]), range(3, 6, 2)])
def test_k_may_be_of_numpy(k: Any) -> None:
    seed: Any = np.int64(1)
    report = evaluate(Popularity(), split_ratio(lopsided(), np.float64(0.3), seed=seed), k)
    plain = evaluate(Popularity(), split_ratio(lopsided(), 0.3, seed=1), [int(each) for each in np.atleast_1d(k)])
    assert report.metrics == plain.metrics
    assert all(type(each) is int for each in report.cuts)
    without_times = [{k: v for k, v in r.to_dict().items() if "seconds" not in k} for r in (report, plain)]
    assert json.dumps(without_times[0]) == json.dumps(without_times[1])


def test_what_a_split_knows_is_asked_with() -> None:
    split = split_ratio(lopsided(), 0.3, 0.3)
    model = Popularity().fit(split.train)
    for part in PARTS:
        known = split.history(part)
        assert model.recommend(known, 3).lists() == model.recommend(known.histories(), 3).lists()


def test_a_report_prints_its_protocol_and_what_it_left_out() -> None:
    report = evaluate(Fixed(), split_last(lopsided(n=90)))
    assert report.counts
    console = Console(record=True, width=120, file=StringIO())
    console.print(report)
    for text in (str(report), report.to_markdown(), console.export_text()):
        for words in (*protocol.STANDARD, "split: last per user", *report.counts, "NDCG", "coverage", "tail items"):
            assert words in text
        assert f"{report['NDCG@10']:.4f}" in text
    kept = json.loads(json.dumps(report.to_dict()))
    assert kept["metrics"]["NDCG@10"]["mean"] == report["NDCG@10"]
    assert kept["settings"] == {"seed": 0, "levels": 6}
    assert kept["groups"]["tail items"]["users"] == len(report.groups["tail items"])


def test_pairs_need_the_same_people() -> None:
    log = lopsided()
    one, other = evaluate(Fixed(), split_ratio(log, 0.3)), evaluate(Fixed(), split_last(log))
    with pytest.raises(DataError, match="users that are not the same"):
        one.minus(other)
    better = evaluate(Fixed(seed=1), split_ratio(log, 0.3))
    gain = better.minus(one, "Recall@20")
    assert gain.mean == pytest.approx(better["Recall@20"] - one["Recall@20"])
    assert gain.low <= gain.mean <= gain.high


def compared() -> Comparison:
    return compare([Popularity(), Fixed(), Fixed(seed=1), Fixed(seed=1)], split_ratio(lopsided(), 0.3), (5, 20))


def test_comparison_names_and_measures_by_the_first() -> None:
    result = compared()
    assert list(result.reports) == ["Popularity", "Fixed", "Fixed seed=1", "Fixed seed=1 #2"]
    assert result.difference("Fixed").mean == pytest.approx(
        result["Fixed"]["NDCG@5"] - result["Popularity"]["NDCG@5"]
    )
    for text in (str(result), result.to_markdown()):
        for words in (
            "Fixed seed=1 #2",
            "NDCG@5",
            "coverage@20",
            "full catalogue",
            str(result.difference("Fixed"))[:7],
        ):
            assert words in text
    kept = json.loads(json.dumps(result.to_dict()))
    assert kept["first"] == "Popularity"
    assert set(kept["differences"]) == {"Fixed", "Fixed seed=1", "Fixed seed=1 #2"}
    with pytest.raises(SettingError, match="name='EASE'"):
        result["EASE"]
    with pytest.raises(SettingError, match="at least one"):
        compare([], split_ratio(lopsided(), 0.3))


def test_comparison_takes_names_from_a_mapping() -> None:
    split = split_ratio(lopsided(), 0.3)
    model = Popularity().fit(split.train)
    result = compare({"base": model, "new": Fixed()}, split)
    assert list(result.reports) == ["base", "new"]
    assert isinstance(result["base"], Report)
    assert result["base"].model is model


def test_the_picture_is_written(tmp_path: Path) -> None:
    result = compared()
    result.plot(tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    result.plot(str(tmp_path / "a.svg"))
    assert (tmp_path / "a.svg").read_text(encoding="utf-8").startswith("<?xml")
    fitted = {name: report.model for name, report in result.reports.items()}
    with pytest.raises(SettingError, match="nothing to draw"):
        compare(fitted, split_ratio(lopsided(), 0.3)).plot(tmp_path / "b.png")


def test_labels_never_touch() -> None:
    heights = _spread([0.93, 0.92, 0.91, 0.5, 0.03, 0.02, 0.01, 0.0], LABEL_GAP)
    assert (-np.diff(heights) >= LABEL_GAP - 1e-9).all()
    assert min(heights) >= 0
    assert heights[3] == 0.5


def test_a_missing_matplotlib_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtra, match=r"palate\[plot\]"):
        draw(tmp_path / "a.png", [Point("a", 1.0, 0.5, (0.4, 0.6), 0.1)], "NDCG@10", "")


@dataclass(frozen=True, kw_only=True)
class Rising(Recipe):
    """Epoch n ranks by popularity as far as `quality[n]` says, and by its opposite for the rest."""

    quality: tuple[float, ...] = (-1.0, 0.5, 1.0, -1.0, -1.0, -1.0, 1.0)

    def fit(self, log: Interactions, catalogue: Catalogue | None = None, *, watch: Watch | None = None) -> FixedModel:
        counts = log.item_counts().astype(np.float32)
        model = FixedModel(self, log.items, counts[None])
        for epoch, quality in enumerate(self.quality, 1):
            model = FixedModel(self, log.items, np.tile(counts * np.float32(quality), (len(counts) + 1, 1)))
            done = epoch / len(self.quality)
            if watch and watch(Progress(epoch, len(self.quality), done - 0.01, 1.0)):
                break
            if watch and watch(Progress(epoch, len(self.quality), done, 1.0, 0.5, model)):
                break
        return model


def test_early_stopping_keeps_the_best_epoch() -> None:
    split = split_ratio(lopsided(), 0.3, 0.3)
    seen: list[Progress] = []
    model = fit_until_best(Rising(), split, patience=2, watch=seen.append)
    assert evaluate(model, split, part="valid")["NDCG@10"] == evaluate(Popularity(), split, part="valid")["NDCG@10"]
    assert max(progress.epoch for progress in seen) == 4  # epoch 2 is as good as 3 in order; two epochs without gain
    patient = fit_until_best(Rising(quality=(0.5, -1.0, -1.0, -1.0)), split, metric="Recall@5", patience=9)
    assert evaluate(patient, split)["NDCG@10"] == evaluate(Popularity(), split)["NDCG@10"]


def test_early_stopping_listens_to_the_watch() -> None:
    split = split_ratio(lopsided(), 0.3, 0.3)
    epochs: list[int] = []

    def stop_at_once(progress: Progress) -> bool:
        epochs.append(progress.epoch)
        return progress.model is not None

    fit_until_best(Rising(), split, watch=stop_at_once)
    assert max(epochs) == 1


def test_early_stopping_without_epochs_and_without_validation() -> None:
    split = split_ratio(lopsided(), 0.3, 0.3)
    model = fit_until_best(Popularity(), split)
    assert model.recommend([[]], 20).lists() == Popularity().fit(split.train).recommend([[]], 20).lists()
    with pytest.raises(DataError, match="no validation part"):
        fit_until_best(Popularity(), split_ratio(lopsided(), 0.3))
    for metric in ("coverage@10", "NDCG", "NDCG@x"):
        with pytest.raises(SettingError, match="metric="):
            fit_until_best(Popularity(), split, metric=metric)
    with pytest.raises(SettingError, match="patience=0"):
        fit_until_best(Popularity(), split, patience=0)


def test_popularity_on_movielens() -> None:
    """80/20 per user: popularity is known to reach an NDCG@10 of about .18 on this data."""
    root = Path(__file__).parents[1]
    split = split_ratio(read_log(root / "examples" / "movielens-small" / "ratings.csv.gz"), seed=1)
    split.check()
    counts = replace(split.train, weight=np.ones(len(split.train), np.float32))
    report = evaluate(Popularity(), replace(split, train=counts))
    assert 0.16 < report["NDCG@10"] < 0.20
    assert len(report.users) == 610
    low, high = report.interval("NDCG@10")
    assert 0.02 < high - low < 0.05


def test_a_report_has_the_metrics_of_lists_beside_the_others() -> None:
    split = split_ratio(lopsided(n=150), 0.3, seed=1)
    plain = evaluate(IALS(dim=4, epochs=2), split, (3, 5))
    report = evaluate(plain.model, split, (3, 5), metrics=[intra_list_distance, self_information])
    assert {*report.metrics} - {*plain.metrics} == {
        f"{name}@{k}" for name in ("intra_list_distance", "self_information") for k in (3, 5)
    }
    assert {name: report[name] for name in plain.metrics} == {name: plain[name] for name in plain.metrics}
    low, high = report.interval("intra_list_distance@5")
    assert low <= report["intra_list_distance"] <= high
    shown = report.model.recommend(split.history("test").histories(report.users), 3).item
    vectors = report.model.item_embeddings
    assert vectors is not None
    first = vectors[shown[0]] / np.linalg.norm(vectors[shown[0]], axis=1)[:, None]
    cosines = first @ first.T
    assert report.per_user["intra_list_distance@3"][0] == pytest.approx(1 - (cosines.sum() - 3) / 6, abs=1e-5)
    assert "intra_list_distance" in str(report)
    both = compare([IALS(dim=4, epochs=2), Popularity()], split, 3, metrics=[self_information])
    assert both.difference("Popularity", "self_information@3").mean < 0
    with pytest.raises(SettingError, match="no item vectors"):
        evaluate(Popularity(), split, metrics=[intra_list_distance])


def test_metrics_of_lists_know_histories_hits_and_attributes() -> None:
    split = split_ratio(lopsided(n=150), 0.3, seed=1)
    items = split.train.items
    kinds = Catalogue(items, pl.DataFrame({"item_id": items.ids, "kind": ["ab"[n % 2] for n in range(len(items))]}))
    measured = [calibration_kl("kind"), attribute_coverage("kind"), popularity_lift, serendipity]
    report = evaluate(IALS(dim=4, epochs=2), split, (3, 5), catalogue=kinds, metrics=measured)
    past = split.history("test").histories(report.users).on(report.model.items)
    shown = report.model.recommend(past, 3).item
    own = past.rows.column[past.rows.start[0] : past.rows.start[1]]
    p, q = (np.bincount(each % 2, minlength=2) / len(each) for each in (own, shown[0]))
    mixed = 0.99 * q + 0.01 * p
    kl = sum(a * np.log(a / b) for a, b in zip(p, mixed, strict=True) if a)
    assert report.per_user["calibration_kl(kind)@3"][0] == pytest.approx(kl)
    events = split.train.item_counts()
    lift = events[shown[0]].mean() / events[own].mean() - 1
    assert report.per_user["popularity_lift@3"][0] == pytest.approx(lift)
    assert (report.per_user["serendipity@5"] <= report.per_user["Precision@5"]).all()
    low, high = report.interval("attribute_coverage(kind)@5")
    assert 0 < low <= report["attribute_coverage(kind)@5"] <= high <= 1


def test_reports_are_a_line_in_a_console_and_tables_in_a_notebook() -> None:
    split = split_ratio(lopsided(), 0.3)
    report = evaluate(ItemKNN(), split, 5)
    assert repr(report) == f"Report(ItemKNN: NDCG@5 {report['NDCG@5']:.4f}, {len(report.users)} users)"
    result = compare({"a <b>": ItemKNN(), "popular": Popularity()}, split, 5)
    assert repr(result) == f"Comparison(a <b>, popular: {len(report.users)} users)"
    for shown, texts in (
        (report._repr_html_(), ("<b>ItemKNN: ", "<td>Recall</td>", "<li>split: ", "<td>tail items</td>")),
        (result._repr_html_(), ("<td>a &lt;b&gt;</td>", "<th>difference</th>", "<li>split: ")),
    ):
        root = ElementTree.fromstring(f"<div>{shown}</div>")
        assert len(root.findall("table/tbody/tr")) >= 2
        assert all(text in shown for text in texts)


# Event types


def typed_log() -> Interactions:
    rng = np.random.default_rng(3)
    columns = {
        "user": rng.integers(0, 15, 400),
        "item": rng.integers(0, 20, 400),
        "time": np.arange(400) + 1_000_000_000,
    }
    return read_log(pl.DataFrame({**columns, "event": rng.choice(["view", "purchase"], 400)}))


@pytest.mark.parametrize("relevant", [None, ["purchase"]], ids=str)
@pytest.mark.parametrize("seen", [{}, {"keep_seen": True}, {"hide": ["purchase"]}, {"hide": ()}], ids=str)
def test_relevance_and_what_is_removed_by_event_type(relevant: list[str] | None, seen: dict[str, Any]) -> None:
    split = split_by_time(typed_log(), 0.3)
    report = evaluate(ItemKNN(), split, 5, relevant=relevant, **seen)
    train, test = split.train.to_frame(), split.test.to_frame()
    ranked = report.model.recommend(split.train, 20, keep_seen=True)
    bought = pl.col("event_type") == "purchase"
    expected = {}
    for user, row in zip(ranked.users, ranked.lists(), strict=True):
        past = train.filter(pl.col("user_id") == user, *([bought] if seen.get("hide") else []))
        gone = set() if seen.get("keep_seen") or seen.get("hide") == () else set(past["item_id"])
        asked = test.filter(pl.col("user_id") == user, *([bought] if relevant else []))
        wanted = set(asked["item_id"]) - gone
        if wanted:
            expected[user] = len(wanted & set([item for item in row if item not in gone][:5])) / len(wanted)
    assert dict(zip(report.users, report.per_user["Recall@5"].tolist(), strict=True)) == pytest.approx(expected)
    rules = "; ".join(report.protocol)
    assert ("relevant: items of purchase events" in rules) == (relevant is not None)
    kept = {"keep_seen": "history kept", "hide": "removed after purchase events" if seen.get("hide") else "after no"}
    assert next((kept[name] for name in seen), "items of the history removed, binary") in rules
    assert compare([report.model], split, 5, relevant=relevant, **seen)["ItemKNN"]["NDCG@5"] == report["NDCG@5"]


def test_event_types_that_are_not_there_are_named() -> None:
    split = split_by_time(typed_log(), 0.3)
    measure: Any = evaluate
    wrong: Any
    for name in ("relevant", "hide"):
        for wrong, rule in ((["sale"], "'sale': is no event type; known are"), ("view", "'view': must be a list")):
            with pytest.raises(SettingError, match=f"^{name}={rule}"):
                measure(ItemKNN(), split, **{name: wrong})
        with pytest.raises(SettingError, match=rf"^{name}=\['view'\]: these events have no types"):
            measure(ItemKNN(), split_ratio(lopsided(), 0.3), **{name: ["view"]})
    model = ItemKNN().fit(split.train)
    for call in (lambda **more: evaluate(model, split, **more), lambda **more: model.recommend(split.train, **more)):
        with pytest.raises(SettingError, match=r"^hide=.*keep_seen keeps all items of a history"):
            call(hide=["view"], keep_seen=True)
    with pytest.raises(SettingError, match=r"^hide=\['view'\]: these events have no types"):
        model.recommend([[1, 2]], hide=["view"])
