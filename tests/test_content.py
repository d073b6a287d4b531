"""Content against a plain reference, its reasons, and items that nobody has met."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from conftest import ITEMS, block_events, catalogue_of, log_of

from palate import IALS, Content, Hybrid, evaluate, load, read_catalogue, split_items
from palate.data.catalogue import Catalogue
from palate.data.histories import Histories
from palate.data.interactions import Interactions
from palate.errors import DataError, JoinWarning, SettingError
from palate.models.content import ContentModel
from palate.models.item_content import said


@pytest.fixture
def told(block_log: Interactions) -> Catalogue:
    """What is told of the 20 items of the blocks, and of two more that nobody met."""
    frame = catalogue_of(block_log).frame.with_columns(kind=pl.Series([["round"]] * ITEMS))
    more = pl.DataFrame(
        {"item_id": ["new1", "new2"], "title": ["first group", "second group"], "kind": [["round"]] * 2}
    )
    return read_catalogue(pl.concat([frame, more]))


@pytest.fixture
def model(block_log: Interactions, told: Catalogue) -> ContentModel:
    return Content(fields=("title", "kind"), dim=6).fit(block_log, told)


def test_weights_are_those_of_two_ridge_regressions(block_log: Interactions, model: ContentModel) -> None:
    """The formula in float64, the own row of each event taken out of its person's sum by a loop."""
    X = (block_log.matrix().toarray() > 0).astype(float)
    Z = model.vectors[: len(block_log.items)].astype(float)
    A = X @ Z
    cross = np.zeros((Z.shape[1], Z.shape[1]))
    for user, item in zip(*X.nonzero(), strict=True):
        cross += np.outer(A[user] - Z[item], Z[item])
    one = np.eye(len(cross))
    left = np.linalg.inv(A.T @ A + 0.3 * np.trace(A.T @ A) / len(one) * one)
    expected = left @ cross @ np.linalg.inv(Z.T @ Z + 10 * one)
    np.testing.assert_allclose(model.weights, expected, rtol=1e-3, atol=1e-6)


def test_items_that_nobody_met_are_ranked_by_what_they_are_like(block_log: Interactions, model: ContentModel) -> None:
    for user in block_log.users.ids:
        own, other = ("new1", "new2") if int(user[1:]) < 18 else ("new2", "new1")
        ranked = model.recommend(block_log.histories([user]), 2, only=["new1", "new2"]).lists()[0]
        assert ranked == [own, other]
        whole = model.recommend(block_log.histories([user]), ITEMS).lists()[0]
        assert whole.index(own) < whole.index(other)
        assert own not in model.recommend(block_log.histories([user]), ITEMS, exclude=[own]).lists()[0]


def test_parts_add_up_to_the_score(block_log: Interactions, model: ContentModel) -> None:
    past = block_log.histories(["u3"])
    items = np.arange(len(model.items), dtype=np.int32)
    parts = model.contributions(past.on(model.items).rows, items).sum(axis=0)
    np.testing.assert_allclose(parts, model.scores(past)[0], rtol=1e-3, atol=1e-5)


def test_reasons_are_terms_of_the_item(model: ContentModel) -> None:
    reasons = model.reasons(["i0", "i2", "i4"], "new1")
    terms = [term for term, _ in reasons]
    assert set(terms) & {"first", "first group"}
    assert not any(said(one, other) for one in terms for other in terms if one != other)
    assert [part for _, part in reasons] == sorted((part for _, part in reasons), reverse=True)
    assert model.reasons([], "new1") == []
    assert said("space opera", "the space opera")
    assert not said("opera", "space operas")


def test_similar_items_are_told_alike(model: ContentModel) -> None:
    best = model.similar_items(["new1"], 8).lists()[0]
    assert {int(str(item)[1:]) for item in best} <= set(range(12))


def test_more_items_may_come_later(block_log: Interactions, model: ContentModel, tmp_path: Path) -> None:
    model.save(tmp_path / "model")
    later = read_catalogue(pl.DataFrame({"item_id": ["new3", "new1"], "title": ["first group", "second group"]}))
    kept = load(tmp_path / "model")
    wider = kept.with_items(later)
    assert wider.items.ids.to_list() == [*model.items.ids.to_list(), "new3"]
    asked = Histories.of(model.items, [["i1", "i3"]])
    before, after = kept.scores(asked)[0], wider.scores(asked)[0]
    row = {item: n for n, item in enumerate(wider.items.ids)}
    assert after[row["new3"]] > before[row["new2"]]
    assert after[row["new1"]] < after[row["new3"]]  # read anew
    others = [n for item, n in row.items() if item not in ("new1", "new3")]
    np.testing.assert_array_equal(after[others], before[others])
    assert kept.with_items(catalogue_of(block_log)).items.ids.to_list() == model.items.ids.to_list()


def test_someone_who_knows_only_untold_items_gets_what_content_makes_popular(block_log: Interactions) -> None:
    told = catalogue_of(block_log)
    some = np.array([name != "i0" for name in told.items.ids])
    items = told.items.select(np.flatnonzero(some).astype(np.int32))
    model = Content(dim=6).fit(block_log, Catalogue(items, told.frame.filter(some)))
    scores = model.scores(Histories.of(model.items, [["i0"]]))[0]
    assert np.ptp(scores) > 1e-4


def test_what_is_missing_is_named(block_log: Interactions) -> None:
    with pytest.raises(DataError, match="no catalogue: this recipe reads the content of items"):
        Content().fit(block_log)
    with pytest.raises(SettingError, match="fields: 'genre' is none of the catalogue's, 'title'"):
        Content(fields=["genre"]).fit(block_log, catalogue_of(block_log))  # type: ignore[arg-type]
    numbers = log_of([(1, 5, 1, 0), (1, 6, 1, 0)])
    with pytest.warns(JoinWarning, match=r"catalogue: none of 20 items is known to the log: .*; the log has 5, 6"):
        Content(dim=2).fit(numbers, catalogue_of(block_log))


TYPES: dict[str, list[Any]] = {
    "date": [date(2000 + n, 1, 1) for n in range(ITEMS)],
    "datetime": [datetime(2000, 1, 1, n) for n in range(ITEMS)],
    "time": [time(n) for n in range(ITEMS)],
    "duration": [timedelta(minutes=n) for n in range(ITEMS)],
    "decimal": [Decimal(n) for n in range(ITEMS)],
    "struct": [{"a": n, "b": {"c": "x"}} for n in range(ITEMS)],
    "bool": [n % 2 == 0 for n in range(ITEMS)],
    "null": [None] * ITEMS,
}


@pytest.mark.parametrize("kind", TYPES)
def test_a_column_of_any_type_may_stand_beside_titles(kind: str, block_log: Interactions) -> None:
    told = read_catalogue(catalogue_of(block_log).frame.with_columns(pl.Series("told", TYPES[kind])))
    for recipe in (Content(dim=4), Hybrid(IALS(dim=4, epochs=3), dim=4)):
        model = recipe.fit(block_log, told)
        assert np.isfinite(model.scores(block_log.histories(["u1"]))).all()
        assert len(model.recommend(block_log.histories(["u1"]), 3).lists()[0]) == 3


@pytest.mark.parametrize("recipe", [Content(), Hybrid()])
def test_a_catalogue_of_ids_alone_is_refused(recipe: Content | Hybrid, block_log: Interactions) -> None:
    with pytest.raises(DataError, match="the catalogue has ids alone; there must be a title"):
        recipe.fit(block_log, read_catalogue(catalogue_of(block_log).frame.select("item_id")))


def test_new_items_have_a_report_of_their_own() -> None:
    log = log_of(block_events() + block_events(1))
    split = split_items(log, 0.2)
    catalogue = catalogue_of(log)
    report = evaluate(Content(dim=6), split, 5, catalogue=catalogue)
    assert report.groups["new items"]["Recall@5"] == pytest.approx(report["Recall@5"])
    assert 0 < report["coverage of new"] <= 1
    among = evaluate(Content(dim=6), split, 5, catalogue=catalogue, only=split.test.items.ids)
    assert among["Recall@5"] > report["Recall@5"]
    assert any(f"catalogue: {len(split.test.items)} items" in line for line in among.protocol)
