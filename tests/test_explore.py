"""Exploration: the posterior of a user's vector, lists by draws from it, and how likely they were."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import polars as pl
import pytest
from httpx2 import Client
from starlette.testclient import TestClient
from test_list_fields import shop
from test_rerank import ITEMS, LOG, context, fitted
from test_serve import ids, problem

from palate import EASE, IALS, Diversify, Embedding, Hybrid, Pipeline
from palate.arrays import Doubles
from palate.data.catalogue import Catalogue
from palate.data.histories import Histories
from palate.data.ragged import Ragged
from palate.data.vocabulary import Vocabulary
from palate.errors import NoPosterior
from palate.models.base import Model
from palate.models.hybrid import HybridModel
from palate.models.ials import IALSModel
from palate.models.posterior import Posterior
from palate.ranking.context import history_of, offline
from palate.ranking.item_index import ItemIndex
from palate.ranking.pipeline import recommend
from palate.ranking.request import Cap, Explore, ListRequest, Pin, RecommendationList
from palate.ranking.staged import PipelineModel
from palate.serve.app import create_app
from palate.serve.settings import Settings
from palate.testing.logs import block_events, catalogue_of, log_of

FEW, MANY = (3, 20, 31), tuple(range(0, 36, 3))  # fewer and more events than the model has dimensions


def ials() -> IALSModel:
    """Return the model of `test_rerank`."""
    model = fitted()
    assert isinstance(model, IALSModel)
    return model


def past(events: tuple[int, ...], weight: float = 1.0, model: Model | None = None) -> Histories:
    """Return the history of one user, whose last event has the opposite sign."""
    weights = np.full(len(events), weight, np.float32)
    weights[-1:] *= -1
    rows = Ragged(np.array([0, len(events)]), np.array(events, np.int32), weights)
    return Histories(pl.Series("user", ["u"]), (model or ials()).items, rows)


def objective(x: Doubles, histories: Histories, model: IALSModel | None = None) -> float:
    """Hu, Koren and Volinsky 2008, eq. 3, of one user, as the docstring of `IALS` has it."""
    known = model or ials()
    recipe, rows, items = known.recipe, histories.rows, known.item_vectors.astype(float)
    alpha, weight = recipe.unseen_weight or 0, rows.weight.astype(float) / known.unit
    score = items @ x
    seen = np.abs(weight) * (score[rows.column] - (weight > 0)) ** 2
    norm = np.abs(weight).sum() + alpha * len(items)
    penalty = recipe.fold_l2 * (recipe.l2 or 0) * norm**recipe.l2_scaling
    return float(seen.sum() + alpha * (score**2).sum() + penalty * x @ x)


def hessian(of: Callable[[Doubles], float], x: Doubles, step: float = 1e-3) -> Doubles:
    """Second derivatives by central differences."""
    ways = step * np.eye(len(x))
    return np.array(
        [
            [(of(x + a + b) - of(x + a - b) - of(x - a + b) + of(x - a - b)) / (4 * step**2) for b in ways]
            for a in ways
        ]
    )


def covariance(posterior: Posterior) -> Doubles:
    """Covariance of the draws, which are linear in normal numbers."""
    basis = posterior.deviations(np.eye(posterior.numbers))
    return np.asarray(basis.T @ basis)


@pytest.mark.parametrize("events", [(), FEW, MANY], ids=len)
@pytest.mark.parametrize("weight", [1.0, 2.5])
def test_the_posterior_has_the_fold_in_as_mean_and_the_inverse_hessian(
    events: tuple[int, ...], weight: float
) -> None:
    histories = past(events, weight)
    posterior, x = ials().posterior(histories), ials().vectors(histories)[0].astype(float)
    H = hessian(lambda at: objective(at, histories), x)
    slope = [
        objective(x + way, histories) - objective(x - way, histories) for way in 1e-4 * np.eye(len(x))
    ]  # at the mean the objective is flat
    np.testing.assert_allclose(np.array(slope) / 2e-4, 0, atol=1e-3 * np.abs(H).max())
    np.testing.assert_allclose(covariance(posterior) @ H, np.eye(len(x)), atol=2e-3)
    assert posterior.numbers == (8 if len(events) >= 8 else 8 + len(events))


def test_drawn_scores_have_the_spread_of_the_vectors() -> None:
    posterior, rows = ials().posterior(past(FEW)), np.array([0, 5, 5, 9])
    drawn = posterior.scores(rows, 20_000, np.random.default_rng(0))
    Q = ials().item_vectors[rows].astype(float)
    np.testing.assert_allclose(np.cov(drawn.T), Q @ covariance(posterior) @ Q.T, rtol=0.05, atol=2e-3)
    np.testing.assert_array_equal(drawn[:, 1], drawn[:, 2])


# Lists


def asked(k: int = 6, seed: int | None = 1, **more: Any) -> ListRequest:
    exploring = {name: more.pop(name) for name in ("method", "share", "strength") if name in more}
    return ListRequest(user_id="u", k=k, explore=Explore(seed=seed, **exploring), **more)


def shown(made: RecommendationList) -> list[str]:
    return [item.item_id for item in made.items]


def test_a_draw_is_that_of_the_user_the_seed_and_the_time() -> None:
    own = context(*FEW)
    plain = shown(recommend(ListRequest(user_id="u", k=6, explore=0), own))
    drawn = {seed: shown(recommend(asked(seed=seed), own)) for seed in range(20)}
    assert all(shown(recommend(asked(seed=seed), own)) == each for seed, each in drawn.items())
    assert len({tuple(each) for each in drawn.values()}) > 10
    assert all(len(set(each)) == 6 and not {f"i{n}" for n in FEW} & set(each) for each in drawn.values())
    assert shown(recommend(replace(asked(), user_id="other"), own)) != drawn[1]
    by_time = [shown(recommend(asked(seed=None), own.at(now))) for now in (5, 5, 6)]
    assert by_time[0] == by_time[1] != by_time[2]
    near = shown(recommend(asked(strength=1e-6), own))
    assert near == plain


@pytest.mark.parametrize("more", [{"strength": 0}, {"method": "share"}, {"strength": 0, "share": 0.5}])
def test_without_strength_a_list_is_the_old_one(more: dict[str, Any]) -> None:
    for own in (context(*FEW), context(), replace(context(*FEW), fresh=np.array([ITEMS]))):
        made = recommend(asked(**more), own)
        old = recommend(ListRequest(user_id="u", k=6, explore=more.get("share", 0.1)), own)
        assert made.items == old.items
        assert made.cursor == old.cursor
        assert old.propensities == ()
        assert made.propensities == (1.0,) * 6


def test_a_propensity_is_the_chance_of_the_place() -> None:
    """Of two items the difference of the scores is normal."""
    own, (a, b) = context(*FEW), (10, 24)
    posterior = ials().posterior(own.past)
    x, away = ials().vectors(own.past)[0], ials().item_vectors[a].astype(float) - ials().item_vectors[b]
    spread = 0.5 * np.sqrt(away @ covariance(posterior) @ away)
    first = NormalDist(float(x @ away), float(spread)).cdf(float("inf")) - NormalDist(float(x @ away), spread).cdf(0)
    assert 0.2 < first < 0.8
    made = [recommend(asked(2, seed, strength=0.5, only=(f"i{a}", f"i{b}")), own) for seed in range(400)]
    led = np.array([shown(each)[0] == f"i{a}" for each in made])
    said = np.array([each.propensities[0] for each in made], float)
    assert led.mean() == pytest.approx(first, abs=4 * np.sqrt(0.25 / len(made)))
    for there, chance in ((led, first), (~led, 1 - first)):
        assert said[there].mean() == pytest.approx((1 + 32 * chance) / 33, abs=0.02)
        assert (there / said).mean() == pytest.approx(1, abs=0.15), "weights by the inverse are right in the mean"
    assert all(each.propensities[0] == each.propensities[1] for each in made)


def test_stages_and_rules_come_behind_a_draw() -> None:
    own, stages = context(*FEW), (Diversify(0.7, personal=False),)
    staged = recommend(asked(stages=stages), own)
    assert shown(staged) != shown(recommend(asked(), own))
    assert all(1 / 34 <= each <= 1 for each in np.array(staged.propensities, float))
    pinned = recommend(asked(pin=(Pin("i39", 2),)), own)
    assert pinned.propensities[1] == 1
    without = recommend(asked(5, exclude=("i39",)), own)
    assert shown(pinned) == [*shown(without)[:1], "i39", *shown(without)[1:]]
    assert (*pinned.propensities[:1], *pinned.propensities[2:]) == without.propensities
    capped = recommend(asked(cap=(Cap("genres", 2),), pin=(Pin("i39", 1),)), own)
    assert capped.propensities == (1.0, *[None] * 5)


def test_what_nobody_can_draw() -> None:
    nobody = recommend(asked(), context())
    assert nobody.items == recommend(ListRequest(user_id="u", k=6), context()).items
    assert nobody.propensities == (1.0,) * 6, "a user without a history gets what is popular"
    whole = recommend(asked(60), context(*FEW))
    assert len(whole.items) == ITEMS + 1 - len(FEW)
    assert whole.propensities[-1] == 1, "the model does not know the last item"
    one = recommend(asked(1, only=("i0",)), context(*FEW))
    assert one.propensities == (1.0,)
    assert recommend(asked(only=("none",)), context(*FEW)).propensities == ()
    for recipe in (EASE(), Embedding(dim=4, epochs=1), Pipeline(EASE(), (Diversify(0.5),))):
        model = recipe.fit(LOG)
        for own in (context(*FEW, model=model), context(model=model)):
            with pytest.raises(NoPosterior, match=r"explore: method 'thompson' with a model of (EASE|Embedding): a"):
                recommend(asked(), own)
            assert recommend(asked(strength=0), own).items


def test_items_that_the_model_does_not_know_keep_their_share() -> None:
    own = replace(context(*FEW), fresh=np.array([ITEMS]))
    for method, others in (("share", 1.0), ("thompson", None)):
        made = recommend(asked(k=10, share=0.2, method=method), own)
        assert (shown(made)[-1], made.propensities[-1]) == ("new", 1.0)
        assert others is None or set(made.propensities) == {others}
    many = replace(own, fresh=np.array([ITEMS, 39, 38, 37]))
    assert recommend(asked(k=10, share=0.2), many).propensities[-2:] == (0.25, 0.25)


def test_a_pipeline_and_an_index_have_the_posterior_of_their_model() -> None:
    staged = Pipeline(ials().recipe, (Diversify(0.5),)).fit(LOG)
    assert isinstance(staged, PipelineModel)
    own = context(*FEW, model=staged)
    assert staged.posterior(own.past).numbers == 11  # type: ignore[union-attr]
    assert EASE().fit(LOG).posterior(own.past) is None


# Cold-start items of a hybrid


@pytest.fixture(scope="module")
def hybrid() -> HybridModel:
    log = log_of(block_events())
    wide = Hybrid(IALS(dim=4, epochs=10, threads=1), dim=6, strength=0.5).fit(log, catalogue_of(log))
    more = pl.DataFrame({"item_id": [f"c{n}" for n in range(30)], "title": ["second group"] * 30})
    return wide.with_items(Catalogue(Vocabulary.of(more["item_id"]), more))


def test_cold_start_items_are_drawn_with_a_spread_of_their_own(hybrid: HybridModel) -> None:
    known, cold = past((0, 1, 2), model=hybrid), np.flatnonzero(hybrid.cold_items)
    posterior = hybrid.posterior(known)
    assert posterior is not None
    assert len(cold) == 30
    drawn = posterior.scores(cold, 4000, np.random.default_rng(0))
    by_vector = hybrid.item_embeddings[cold[0]].astype(float)
    together = by_vector @ covariance(posterior) @ by_vector
    np.testing.assert_allclose(drawn.var(axis=0), together + posterior.spread**2, rtol=0.15)
    recipe, users = hybrid.base.recipe, hybrid.base.user_vectors.astype(float)  # its item's objective, 2nd derivative
    alpha = recipe.unseen_weight or 0  # type: ignore[attr-defined]

    def own(q: Doubles) -> float:
        ridge = recipe.l2 * alpha * len(users) + hybrid.recipe.strength  # type: ignore[attr-defined]
        return float(alpha * ((users @ q) ** 2).sum() + ridge * q @ q)

    x = hybrid.base.vectors(known)[0].astype(float)
    assert posterior.spread**2 == pytest.approx(x @ np.linalg.inv(hessian(own, x)) @ x, rel=1e-2)


def test_cold_start_items_come_by_the_draw_and_not_by_a_share(hybrid: HybridModel) -> None:
    index = ItemIndex.of_model(hybrid.items)
    own = offline(hybrid, index, np.ones(len(index), np.bool_)).of(history_of(past((0, 1, 2), model=hybrid)))
    plain = recommend(ListRequest(user_id="u", k=8, explore=0), own)
    assert not any(name.startswith("c") for name in shown(plain))
    found = [recommend(asked(8, seed, strength=3), own) for seed in range(30)]
    cold = [sum(name.startswith("c") for name in shown(each)) for each in found]
    assert 0 < np.mean(cold) < 8
    assert len({name for each in found for name in shown(each) if name.startswith("c")}) > 5
    assert all(0 < chance <= 1 for each in found for chance in np.array(each.propensities, float))
    kept = recommend(asked(8, share=0.25, strength=0), own)
    assert kept.items == recommend(ListRequest(user_id="u", k=8, explore=0.25), own).items


# HTTP


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    path = shop(tmp_path_factory.mktemp("explore") / "shop.db", ials().recipe)
    with TestClient(create_app(Settings(store=str(path)))) as served:
        yield served


def test_the_wire_has_the_plain_forms_and_that_of_today(client: Client) -> None:
    user = {"user_id": "u1", "k": 5}
    old = client.post("/v1/recommend", json=user).json()
    assert "propensity" not in old["items"][0]
    for number in (0, 0.1, 1):
        assert client.post("/v1/recommend", json=user | {"explore": number}).json() == old
    full = client.post("/v1/recommend", json=user | {"explore": {"strength": 0}}).json()
    assert [each.pop("propensity") for each in full["items"]] == [1] * 5
    assert full == old
    drawn = [
        client.post("/v1/recommend", json=user | {"explore": {"method": "thompson", "seed": n}}).json()["items"]
        for n in (7, 7, 8)
    ]
    assert drawn[0] == drawn[1] != drawn[2]
    assert all(0 < each["propensity"] <= 1 for each in drawn[0])
    queries = ("thompson", "thompson:0.5", "share:0.3")
    by_query = [client.get(f"/v1/recommend?user_id=u1&k=5&explore={each}") for each in queries]
    assert all("propensity" in each.json()["items"][0] for each in by_query)
    assert client.get("/v1/recommend?user_id=u1&k=5&explore=0.2").json() == old
    session = {"history": ["i1", "i6"], "k": 5, "explore": {"seed": 1}, "attributes": ["genres"]}
    assert {"propensity", "attributes"} <= client.post("/v1/recommend/session", json=session).json()["items"][
        0
    ].keys()
    page = {"user_id": "u1", "rows": [{"k": 3, "explore": {"seed": 1}}, {"k": 3}]}
    rows = client.post("/v1/page", json=page).json()["rows"]
    assert ["propensity" in row["items"][0] for row in rows] == [True, False]
    client.put("/v1/scenarios/home", json={"k": 4, "explore": {"seed": 1}})
    assert len(client.get("/v1/recommend?user_id=u1&scenario=home").json()["items"][0]) == 6
    assert len(client.get("/v1/recommend?user_id=u1&scenario=home&explore=0").json()["items"][0]) == 5


@pytest.mark.parametrize(
    "wrong",
    [
        {"method": "best"},
        {"strength": -1},
        {"strength": 11},
        {"share": 2},
        {"seed": -1},
        {"seed": 1 << 63},
        {"seed": 0.5},
        {"rate": 1},
        "thompson",
        True,
        -0.1,
        1.1,
    ],
    ids=str,
)
def test_what_does_not_say_how_to_explore_is_refused(client: Client, wrong: object) -> None:
    assert "explore" in str(problem(client.post("/v1/recommend", json={"explore": wrong}), 422))


def test_a_query_that_does_not_say_how_is_refused(client: Client) -> None:
    for wrong in ("2", "thompson:x", "thompson:-1", "thompson:nan", "share:2", "best", "", "thompson:"):
        assert "explore" in str(problem(client.get(f"/v1/recommend?explore={wrong}"), 422)), wrong


def test_a_model_without_a_posterior_is_a_clear_error(tmp_path: Path) -> None:
    path = shop(tmp_path / "shop.db", EASE())
    with TestClient(create_app(Settings(store=str(path)))) as served:
        told = problem(served.get("/v1/recommend?user_id=u1&explore=thompson"), 400)
        assert told["detail"].startswith("explore: method 'thompson' with a model of EASE: a model with a posterior")
        assert len(ids(served.get("/v1/recommend?user_id=u1&explore=thompson:0"))) == 10
