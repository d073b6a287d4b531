"""Hybrid: the prior against plain algebra, the objective, items old and new in one list, and the live service."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from conftest import block_events, catalogue_of, log_of
from scipy.stats import multivariate_normal

from palate import IALS, Embedding, Hybrid, compare, fit_until_best, load, read_catalogue, split_ratio
from palate.arrays import Doubles, Floats, Longs
from palate.data.catalogue import Catalogue
from palate.data.histories import Histories
from palate.data.interactions import Interactions
from palate.errors import DataError
from palate.live.service import Live
from palate.live.training import train
from palate.models.hybrid import HybridModel
from palate.models.ials import AlsState, IALSModel
from palate.models.prior import ContentPrior, Prior
from palate.ranking.request import ListRequest
from palate.store.events import Event, Store
from palate.store.items import Item
from palate.store.versions import Versions

BASE = IALS(dim=4, unseen_weight=0.3, l2=0.05, epochs=40, steps=8, threads=1)
RECIPE = Hybrid(BASE, dim=6, strength=0.5)
DAY = 86_400_000_000
BLOCKS: Longs = np.array([1, 6, 11])


def drawn(seed: int = 0, noise: float = 0.1) -> tuple[Floats, Floats]:
    """Content (400, 11) of two fields, of which only the first tells anything of the vectors (400, 8)."""
    rng = np.random.default_rng(seed)
    content = np.hstack([np.ones((400, 1)), rng.standard_normal((400, 10)) / np.sqrt(5)]).astype(np.float32)
    weights = np.vstack([np.zeros((1, 8)), rng.standard_normal((5, 8)), np.zeros((5, 8))])
    vectors = content @ weights + noise * rng.standard_normal((400, 8))
    return content, vectors.astype(np.float32)


def evidence(prior: Prior, vectors: Floats) -> float:
    """Log chance of the vectors under the variances, by the covariance of all items."""
    Z: Doubles = prior.content.astype(float)
    covariance = (Z * prior.variance[prior.block_of]) @ Z.T + prior.noise * np.eye(len(Z))
    normal = multivariate_normal(np.zeros(len(Z)), covariance)
    return float(sum(normal.logpdf(column) for column in vectors.T))


def test_variances_are_found_again() -> None:
    content, vectors = drawn()
    prior = Prior.of(content, BLOCKS, vectors)
    assert prior.noise == pytest.approx(0.01, rel=0.1)
    assert prior.variance[1] == pytest.approx(1, rel=0.5)
    assert prior.variance[2] < 0.001  # a field that tells nothing weighs nothing


def test_no_other_variances_make_the_vectors_more_likely() -> None:
    content, vectors = (part[:120] for part in drawn(noise=0.5))
    prior = Prior.of(content, BLOCKS, vectors)
    best = evidence(prior, vectors)
    for factor in (0.5, 2):
        other = np.array([1, factor, 1])
        assert evidence(Prior(content, BLOCKS, prior.variance * other, prior.noise), vectors) < best
        assert evidence(Prior(content, BLOCKS, prior.variance, prior.noise * factor), vectors) < best


def test_weights_are_those_of_a_ridge_regression() -> None:
    content, vectors = drawn()
    prior = Prior(content, BLOCKS, np.array([0.5, 2, 0.1]), 0.3)
    Z = content.astype(float)
    ridge = np.diag(0.3 / np.repeat([0.5, 2, 0.1], [1, 5, 5]))
    np.testing.assert_allclose(
        prior.weights(vectors), np.linalg.solve(Z.T @ Z + ridge, Z.T @ vectors), rtol=1e-3, atol=1e-5
    )


@pytest.fixture
def told(block_log: Interactions) -> Catalogue:
    more = pl.DataFrame({"item_id": ["new1", "new2"], "title": ["first group, odd", "second group, odd"]})
    return read_catalogue(pl.concat([catalogue_of(block_log).frame, more]))


@pytest.fixture
def model(block_log: Interactions, told: Catalogue) -> HybridModel:
    return RECIPE.fit(block_log, told)


def test_a_vector_minimises_the_objective_with_its_prior(block_log: Interactions, told: Catalogue) -> None:
    """q_i solves (α PᵀP + Σ w p pᵀ + λ_i + κ) q = Σ w p + κ W z_i over its people p, in float64."""
    encoded = RECIPE.fit(block_log, told)
    from palate.compute.threads import ThreadTeam
    from palate.encoders.encoding import Encoding

    _, read = Encoding.of((), told, 6, 0)
    content = read.on(told.items.recode(block_log.items)).vectors
    guided = AlsState.of(BASE, block_log, ContentPrior(content, encoded.encoding.blocks, 0.5))
    with ThreadTeam(1) as team:
        for _ in range(4):
            guided.epoch(team, 32)
        guided.half(team, guided.items, guided.users, guided.columns, guided.item_ridge, 64)
    assert guided.prior is not None
    assert guided.prior.learned is not None
    P = guided.users.astype(float)
    means = guided.prior_term(guided.items) / 0.5
    plain = AlsState.of(BASE, block_log).item_ridge
    for item in (0, 7, 19):
        own = guided.columns.column[guided.columns.start[item] : guided.columns.start[item + 1]]
        A = 0.3 * P.T @ P + P[own].T @ P[own] + (plain[item] + 0.5) * np.eye(P.shape[1])
        before = content[item].astype(float) @ guided.prior.learned.weights(guided.items)
        assert means[item] == pytest.approx(before, abs=1e-5)
        expected = np.linalg.solve(A, P[own].sum(axis=0) + 0.5 * before)
        np.testing.assert_allclose(guided.items[item], expected, atol=0.01)


def test_an_item_that_nobody_met_has_what_content_says(block_log: Interactions, model: HybridModel) -> None:
    row = model.items.code("new1")
    assert row == len(block_log.items)
    read = model.encoding.encode(catalogue_of(block_log)).vectors @ model.weights
    own, other = (model.base.item_vectors[model.items.code(name)] for name in ("new1", "new2"))
    assert np.linalg.norm(own - read[1]) < np.linalg.norm(other - read[1])  # told as i1 is, but for the id
    for user, first in (("u0", "new1"), ("u25", "new2")):
        assert model.recommend(block_log.histories([user]), 1, only=["new1", "new2"]).lists() == [[first]]
        ranked = model.recommend(block_log.histories([user]), 22).lists()[0]
        assert ranked.index(first) < 8  # among the items with events


def test_more_strength_draws_nearer_to_content(block_log: Interactions, told: Catalogue) -> None:
    distance = []
    for strength in (0.01, 1.0, 100.0):
        fitted = Hybrid(BASE, dim=6, strength=strength).fit(block_log, told)
        content = fitted.encoding.encode(told).vectors[: len(block_log.items)]
        vectors = fitted.base.item_vectors[: len(block_log.items)]
        distance.append(np.linalg.norm(content @ fitted.weights - vectors) / np.linalg.norm(vectors))
    assert distance[0] > distance[1] > distance[2]


def test_reasons_and_shares(model: HybridModel) -> None:
    assert {"first", "first group"} & set(dict(model.reasons(["i0", "i2"], "new1")))
    past = Histories.of(model.items, [["i0", "i2"]])
    parts = model.contributions(past.rows, np.arange(len(model.items), dtype=np.int32)).sum(axis=0)
    np.testing.assert_allclose(parts, model.scores(past)[0], rtol=1e-3, atol=1e-5)
    assert model.similar_users(["u0"], 3).lists()[0]


def test_items_that_come_later_and_again(model: HybridModel, block_log: Interactions, tmp_path: Path) -> None:
    model.save(tmp_path / "model")
    kept = load(tmp_path / "model")
    later = read_catalogue(
        pl.DataFrame(
            {"item_id": ["new3", "new2", "i0"], "title": ["first group", "first group, odd", "second group"]}
        )
    )
    wider = kept.with_items(later)
    assert wider.items.ids.to_list() == [*model.items.ids.to_list(), "new3"]
    past = block_log.histories(["u0"])
    before, after = kept.scores(past)[0], wider.scores(past)[0]
    row = {item: n for n, item in enumerate(wider.items.ids)}
    assert after[row["new2"]] > before[row["new2"]]  # nobody met it: it is read anew
    assert after[row["i0"]] == pytest.approx(before[row["i0"]], rel=0.05)  # its vector is its own
    assert dict(wider.reasons(["i0", "i2"], "new3"))
    wider.save(tmp_path / "model")
    assert load(tmp_path / "model").recommend(past, 5).lists() == wider.recommend(past, 5).lists()


def test_a_base_may_be_given_as_text_and_is_checked() -> None:
    assert Hybrid("IALS(dim=8)") == Hybrid(IALS(dim=8)) == Hybrid(base=IALS(dim=8))
    assert Hybrid() == Hybrid(IALS(dim=128))
    assert Hybrid(Embedding(dim=3)).base == Embedding(dim=3)


def test_the_best_epoch_is_a_whole_model(told: Catalogue, block_log: Interactions) -> None:
    split = split_ratio(block_log, 0.2, valid=0.2)
    best = fit_until_best(RECIPE, split, told)
    assert isinstance(best, HybridModel)
    assert "new1" in best.items


def test_no_catalogue_is_refused(block_log: Interactions) -> None:
    with pytest.raises(DataError, match="no catalogue"):
        RECIPE.fit(block_log)


def test_content_does_not_harm_items_with_events() -> None:
    log = log_of(block_events() + block_events(1))
    split = split_ratio(log, 0.3, seed=3)
    result = compare({"plain": BASE, "told": RECIPE}, split, 5, catalogue=catalogue_of(log))
    assert not result.difference("told").high < 0
    assert isinstance(result["plain"].model, IALSModel)


# Live


def shop(path: Path) -> Store:
    """The blocks as a store, its items told of by title."""
    store = Store.open(path)
    log = log_of(block_events())
    frame = catalogue_of(log).frame
    store.items.put(Item(name, {"name": title}) for name, title in frame.iter_rows())
    store.append([Event(str(user), str(item), "like", (1 + day) * DAY) for user, item, _, day in block_events()])
    return store


def test_a_new_item_is_recommended_as_soon_as_it_is_told_of(tmp_path: Path) -> None:
    with shop(tmp_path / "shop.db") as store:
        versions = Versions(store)
        assert train(store, versions, RECIPE).activated
        live = Live(store, versions)
        store.items.put([Item("bare", {})])
        assert "bare" not in live.snapshot().active.model.items.ids  # nothing is told of it yet
        began = time.perf_counter()
        store.items.put([Item("fresh", {"title": "first group, odd"}), Item("other", {"title": "second group, odd"})])
        places = {place.item_id: place for place in live.recommend(ListRequest(user_id="u0", k=30)).items}
        assert time.perf_counter() - began < 1
        assert places["fresh"].source == places["other"].source == "personal"
        assert places["fresh"].score > places["other"].score
        assert places["bare"].source == "newest"
        store.items.put([Item("bare", {"title": "first group"})])
        found = {place.item_id: place.source for place in live.recommend(ListRequest(user_id="u0", k=30)).items}
        assert found["bare"] == "personal"


def test_a_share_of_the_list_is_kept_for_items_that_nobody_met(tmp_path: Path) -> None:
    with shop(tmp_path / "shop.db") as store:
        versions = Versions(store)
        assert train(store, versions, RECIPE).activated
        live = Live(store, versions)

        def shown(explore: float, **more: Any) -> list[str]:
            asked = ListRequest(user_id="u0", k=5, explore=explore, **more)
            return [place.item_id for place in live.recommend(asked).items]

        met = shown(0.4)
        assert met == shown(0), "there are none"
        far = [Item("far", {"title": "second group, odd"}), Item("farther", {"title": "second group, even"})]
        store.items.put(far)
        assert shown(0) == met, "by themselves they stand too low"
        kept = live.recommend(ListRequest(user_id="u0", k=5, explore=0.4)).items
        assert [place.item_id for place in kept[:3]] == met[:3]
        assert {place.item_id for place in kept[3:]} == {"far", "farther"}
        assert {place.source for place in kept} == {"personal"}
        assert kept[3].score >= kept[4].score
        assert shown(0.4, exclude=("far", "farther")) == met
        assert shown(0.4, filter="title IS NULL OR title <> 'second group, even'")[3:] == [met[3], "far"]
        assert len(set(shown(1.0))) == 5
        store.items.put([Item("near", {"title": "first group, odd"})])
        assert len({"near", "far", "farther"} & set(shown(0.4))) == 2


def test_a_model_of_numbers_reads_items_of_any_id(tmp_path: Path) -> None:
    from palate.live.importing import import_model

    log = log_of(
        [(int(str(user)[1:]), int(str(item)[1:]), weight, day) for user, item, weight, day in block_events()]
    )
    RECIPE.fit(log, catalogue_of(log)).save(tmp_path / "model", log=log)
    with Store.open(tmp_path / "shop.db") as store:
        import_model(store, Versions(store), tmp_path / "model")
        live = Live(store, Versions(store))
        store.items.put([Item(name, {"title": "first group"}) for name in ("77", "077", "no number")])
        places = live.recommend(ListRequest(user_id="0", k=30)).items
        assert {"77", "077", "no number"} <= {place.item_id for place in places if place.source == "personal"}
        assert len(live.snapshot().active.model.items) == 23
        assert len({place.item_id for place in places}) == len(places)
