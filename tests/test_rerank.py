"""Diversity, calibration and the long tail: kernels against slow references, and stages at their edges."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from palate import EASE, IALS, Calibrate, Diversify, LongTail, Pipeline, load
from palate.arrays import Bools, Doubles, Floats, Ints, Longs
from palate.data.catalogue import Catalogue
from palate.data.interactions import Interactions
from palate.data.vocabulary import Id, Vocabulary
from palate.errors import SettingError
from palate.kernels.rerank import (
    WIDE,
    choose_calibrated,
    choose_dpp,
    choose_mmr,
    mix_of,
    spread,
    unit_rows,
    value_rows,
    values_at,
)
from palate.live.service import Live
from palate.live.training import train
from palate.models.base import Model, Progress
from palate.models.registry import as_recipe
from palate.ranking.context import Context, Masks, Order, UserHistory
from palate.ranking.diversify import personal_factor
from palate.ranking.item_index import ItemIndex
from palate.ranking.labels import Labels
from palate.ranking.pipeline import recommend
from palate.ranking.request import ListRequest
from palate.ranking.slate import Slate
from palate.ranking.staged import PipelineModel
from palate.ranking.stages import Stage, as_stage, tempered, with_others
from palate.store.events import Event, Store
from palate.store.items import Item
from palate.store.versions import Versions
from palate.testing import check_recipe
from palate.testing.logs import block_events, catalogue_of, log_of

ITEMS, GENRES = 40, 5
STAGES: list[Stage] = [
    Diversify(0.5),
    Diversify(0.5, method="mmr", personal=False),
    Diversify(0.5, by="genres"),
    Calibrate("genres", 0.6),
    LongTail(0.4),
]
OFF: list[Stage] = [Diversify(0), Diversify(0, by="genres"), Calibrate("genres", 0), LongTail(0)]


def unit(vectors: Floats) -> Floats:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


# Kernels


def check_greedy(found: Longs, value: Callable[[list[int]], float], count: int) -> None:
    """Check that each choice is the best there is beside those before it; ties within rounding go to any."""
    chosen: list[int] = []
    for each in found.tolist():
        left = [i for i in range(count) if i not in chosen]
        best = max(value([*chosen, i]) for i in left)
        assert each in left
        chosen.append(each)
        assert value(chosen) == pytest.approx(best, rel=1e-5, abs=1e-4)


def divergence(wanted: Doubles, mix: Doubles, smoothing: float = 0.01) -> float:
    there = wanted > 0
    smooth = (1 - smoothing) * mix[there] + smoothing * wanted[there]
    return float(wanted[there] @ np.log(wanted[there] / smooth))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), k=st.integers(1, 8), strength=st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]))
def test_diverse_choices_are_those_of_the_slow_references(seed: int, k: int, strength: float) -> None:
    rng = np.random.default_rng(seed)
    N = int(rng.integers(k, 25))
    relevance, vectors = rng.random(N, np.float32), unit(rng.standard_normal((N, 12)).astype(np.float32))
    alike = vectors.astype(np.float64) @ vectors.T.astype(np.float64)

    def by_determinant(rows: list[int]) -> float:
        """Chen et al. 2018, eq. 13, of the whole list."""
        return float(
            (1 - strength) * relevance[rows].sum() + strength * np.linalg.slogdet(alike[np.ix_(rows, rows)])[1]
        )

    def by_nearest(rows: list[int]) -> float:
        """Carbonell and Goldstein 1998, of the last one."""
        nearest = max((alike[rows[-1], j] for j in rows[:-1]), default=0.0)
        return float((1 - strength) * relevance[rows[-1]] - strength * nearest)

    check_greedy(choose_dpp(relevance, vectors, strength, k), by_determinant, N)
    check_greedy(choose_mmr(relevance, vectors, strength, k), by_nearest, N)


def coded(shares: Doubles) -> tuple[Longs, Ints]:
    place, code = np.nonzero(shares)
    return np.searchsorted(place, np.arange(len(shares) + 1)), code.astype(np.int32)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), k=st.integers(1, 8), strength=st.sampled_from([0.0, 0.02, 0.3, 1.0]))
def test_calibration_minimises_the_whole_divergence(seed: int, k: int, strength: float) -> None:
    rng = np.random.default_rng(seed)
    N = int(rng.integers(k, 25))
    relevance = rng.random(N, np.float32)
    shares = (rng.random((N, GENRES)) < 0.4).astype(np.float64)  # some have none
    shares /= np.maximum(shares.sum(axis=1, keepdims=True), 1)
    wanted = rng.dirichlet(np.ones(GENRES)).astype(np.float32)
    wanted[0] = 0
    wanted /= wanted.sum()

    def by_divergence(rows: list[int]) -> float:
        """Steck 2018, eq. 2 to 5: the whole divergence of the list so far."""
        away = divergence(wanted.astype(np.float64), shares[rows].mean(axis=0))
        return float((1 - strength) * relevance[rows[-1]] - strength * k * away)

    check_greedy(choose_calibrated(relevance, *coded(shares), wanted, strength, 0.01, k), by_divergence, N)


def test_an_item_of_many_values_counts_as_any_other_and_takes_no_square_of_them() -> None:
    start, code = np.array([0, 40, 42], np.int64), np.array([*range(40), 0, 1], np.int32)
    wanted, relevance = np.full(40, 1 / 40, np.float32), np.array([0, 0.01], np.float32)
    assert choose_calibrated(relevance, start, code, wanted, 0.5, 0.01, 1).tolist() == [0]
    assert choose_calibrated(relevance, start, code, np.eye(40, dtype=np.float32)[0], 0.5, 0.01, 1).tolist() == [1]
    wide = value_rows(np.array([0, 3, 10_000], np.int64), np.arange(10_000, dtype=np.int32), 10_000)
    assert wide.shape == (2, WIDE)
    np.testing.assert_allclose(np.linalg.norm(wide, axis=1), 1, rtol=1e-5)


def test_ties_go_to_the_first_and_like_vectors_are_not_lost() -> None:
    relevance = np.full(6, 0.5, np.float32)
    same = np.tile(unit(np.ones((1, 3), np.float32)), (6, 1))
    for choose in (choose_dpp, choose_mmr):
        assert choose(relevance, same, 0.5, 6).tolist() == [0, 1, 2, 3, 4, 5]
        assert choose(relevance, np.zeros((6, 3), np.float32), 0.5, 4).tolist() == [0, 1, 2, 3]
    pairs = unit(np.array([[1, 0], [1, 0.01], [0, 1], [0.01, 1]], np.float32))
    assert choose_dpp(np.array([1, 0.9, 0.5, 0.4], np.float32), pairs, 0.5, 2).tolist() == [0, 2]
    assert choose_mmr(np.array([1, 0.9, 0.5, 0.4], np.float32), pairs, 0.5, 2).tolist() == [0, 2]


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_what_stages_read_is_gathered_right(seed: int) -> None:
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((9, 5)).astype(np.float32)
    vectors[3] = 0
    rows = unit_rows(vectors, np.array([4, -1, 3, 4], np.int32))
    np.testing.assert_allclose(rows[[0, 3]], unit(vectors[[4, 4]]), atol=1e-6)
    assert not rows[1:3].any()
    start = np.concatenate([np.zeros(1, np.int64), np.cumsum(rng.integers(0, 4, 9))])
    code = np.concatenate([rng.choice(30, size, replace=False) for size in np.diff(start)]).astype(np.int32)
    position = rng.integers(0, 9, 6)
    starts, codes, count = values_at(start, code, position, 30)
    names: dict[int, int] = {}
    for n, each in enumerate(position):
        own = code[start[each] : start[each + 1]].tolist()
        assert codes[starts[n] : starts[n + 1]].tolist() == [names.setdefault(value, len(names)) for value in own]
    assert count == len(names)
    weight = rng.random(4).astype(np.float32)
    mix = np.zeros(count)
    for n in range(4):
        for each in codes[starts[n] : starts[n + 1]]:
            mix[each] += weight[n] * 0.5 ** ((3 - n) / 2.5) / (starts[n + 1] - starts[n])
    np.testing.assert_allclose(mix_of(starts, codes, weight, 2.5, count), mix / (mix.sum() or 1), atol=1e-6)
    own_values = value_rows(starts, codes, count)
    np.testing.assert_allclose((own_values**2).sum(axis=1), np.diff(starts) > 0, atol=1e-6)


def test_spread_is_the_weighted_mean_over_pairs() -> None:
    rng = np.random.default_rng(0)
    vectors = np.insert(unit(rng.standard_normal((7, 4)).astype(np.float32)), 3, 0, axis=0)  # an unknown item
    known, weight = np.delete(vectors, 3, axis=0), 0.8 ** np.arange(6, -1, -1)
    pairs = [(i, j) for i in range(7) for j in range(i)]
    expected = np.average(
        [1 - known[i] @ known[j] for i, j in pairs], weights=[weight[i] * weight[j] for i, j in pairs]
    )
    assert spread(vectors, 0.8) == pytest.approx(expected, abs=1e-5)
    assert spread(vectors[:1], 0.8) == spread(vectors[3:4], 0.8) == spread(vectors[:0], 0.8) == -1
    assert personal_factor(vectors[:1], vectors) == 1
    assert personal_factor(np.tile(vectors[:1], (5, 1)), vectors) == pytest.approx(0.1)


# Stages


def genres_of(count: int = ITEMS) -> pl.Series:
    """Give item n the genre n % 5, every third another one, and item 7 none."""
    names = [[f"g{n % GENRES}", *([f"g{(n + 1) % GENRES}"] if n % 3 == 0 else [])] for n in range(count)]
    return pl.Series("genres", [None if n == 7 else each for n, each in enumerate(names)], pl.List(pl.String))


class Genres:
    """Attributes of items: their genres."""

    def __init__(self, values: pl.Series) -> None:
        self.labels = Labels.of(values)

    def mask(self, condition: str) -> Bools:
        raise NotImplementedError

    def notes(self, condition: str) -> tuple[str, ...]:
        return ()

    def values(self, attribute: str) -> Labels:
        return self.labels if attribute == "genres" else Labels.none(len(self.labels.start) - 1)

    def unknown(self, attribute: str) -> str | None:
        return None if attribute == "genres" else f"no item has an attribute {attribute!r}"


def random_log(seed: int = 0) -> Interactions:
    """Return 60 users, each mostly of two genres."""
    rng = np.random.default_rng(seed)
    events = []
    for user in range(60):
        taste = np.where(np.isin(np.arange(ITEMS) % GENRES, [user % GENRES, (user + 1) % GENRES]), 6.0, 1.0)
        for day, item in enumerate(rng.choice(ITEMS, 8, replace=False, p=taste / taste.sum())):
            events.append((f"u{user}", f"i{item}", 1.0, day))
    return log_of([*(("all", f"i{n}", 1.0, n) for n in range(ITEMS)), *events])  # items in the order of their numbers


LOG = random_log()
RECIPE = IALS(dim=8, epochs=5)
CATALOGUE = Catalogue(LOG.items, pl.DataFrame({"item_id": LOG.items.ids, "genres": genres_of()}))


@cache
def fitted() -> Model:
    """Return the model of the log, fitted when it is first needed: each process lists all tests, and runs a part."""
    return RECIPE.fit(LOG)


def context(*past: int, model: Model | None = None, weight: float = 1.0) -> Context:
    """Return the context of a user with events on items at positions; the model does not know the last of 41."""
    known = model or fitted()
    index = ItemIndex.of(
        pl.concat([LOG.items.ids, pl.Series(["new"])]), np.arange(ITEMS + 1), np.zeros(ITEMS + 1, np.int64)
    ).with_model(known.items)
    popular = Order(np.arange(ITEMS + 1), (1000 * 0.8 ** np.arange(ITEMS + 1)).astype(np.float32))
    masks = Masks(np.ones(ITEMS + 1, np.bool_), Genres(genres_of(ITEMS + 1)), index)
    events = np.array(past, np.int64), np.full(len(past), weight, np.float32), np.arange(len(past))
    return Context(known, index, masks, popular, popular, history=UserHistory.of(*events))


def pool(count: int = 20, score: Floats | None = None, *, first: int = 10) -> Slate:
    scores = (
        2 - np.linspace(0, 1, count, dtype=np.float32) ** 2 if score is None else score
    )  # near each other at first
    return Slate.of(np.arange(first, first + count), scores, "personal")


def same(one: Slate, other: Slate) -> bool:
    pairs = ((one.position, other.position), (one.score, other.score), (one.source, other.source))
    return all(np.array_equal(a, b) for a, b in pairs)


def call(stage: Stage, slate: Slate, given: Context, k: int = 5) -> Slate:
    """Run a stage, and check what holds of each: it loses no item, and changes neither slate nor scores."""
    before = Slate(slate.position.copy(), slate.score.copy(), slate.source.copy())
    made = stage(slate, given, k)
    assert same(slate, before)
    assert sorted(made.position.tolist()) == sorted(slate.position.tolist())
    assert np.array_equal(made.score, slate.score)
    return made


@pytest.mark.parametrize("stage", OFF, ids=repr)
def test_strength_0_is_the_old_list(stage: Stage) -> None:
    assert same(call(stage, pool(), context(0, 1, 2)), pool())
    fitted = Pipeline(IALS(dim=8, epochs=5), (stage,)).fit(LOG, CATALOGUE)
    for k in (1, 7, ITEMS):
        staged, plain = fitted.recommend(LOG, k), fitted.retriever.recommend(LOG, k)
        assert np.array_equal(staged.item, plain.item)
        assert np.array_equal(staged.score, plain.score)


@pytest.mark.parametrize("stage", STAGES, ids=repr)
def test_stages_at_their_edges(stage: Stage) -> None:
    given = context(0, 1, 2, 3)
    assert not same(call(stage, pool(), given), pool())
    assert len(call(stage, pool(0), given)) == 0
    assert same(call(stage, pool(1), given), pool(1))
    for k in (1, 3, 4, 50):
        call(stage, pool(3), given, k)
    call(stage, pool(4, np.zeros(4, np.float32)), given)
    call(stage, pool(4, np.array([3e38, 1, 0, -3e38], np.float32)), given)
    call(stage, pool(21, first=20), given)  # with an item that the model does not know
    call(stage, pool(), context(40, 40, 7))  # events that say nothing
    call(stage, pool(), context(3, 3, 3, 3), 20)  # the narrowest history
    call(stage, pool(), context(1, 2, weight=-1.0))  # dislikes alone
    call(replace(stage, strength=1.0), pool(), context(3, 3, 3))  # type: ignore[call-arg]


@pytest.mark.parametrize("stage", [Diversify(by="colour"), Calibrate("colour")], ids=repr)
def test_without_the_attribute_the_list_stays_and_a_fit_is_refused(stage: Stage) -> None:
    given = context(0, 1, 2)
    assert same(call(stage, pool(), given), pool())
    assert list(stage.notes(given)) == ["no item has an attribute 'colour'"]
    for catalogue in (None, CATALOGUE):
        with pytest.raises(SettingError, match="attribute 'colour': a stage reads it, and the"):
            Pipeline(IALS(dim=4, epochs=1), (stage,)).fit(LOG, catalogue)


def test_without_vectors_the_list_stays() -> None:
    given = context(0, 1, 2, model=EASE().fit(LOG))
    assert same(call(Diversify(), pool(), given), pool())
    assert list(Diversify().notes(given)) == ["the model has no item vectors"]
    assert not list(Diversify(by="genres").notes(given))


def test_without_a_history_only_calibration_has_nothing_to_follow() -> None:
    moved = {repr(stage): not same(call(stage, pool(), context()), pool()) for stage in STAGES}
    assert moved == {repr(stage): not isinstance(stage, Calibrate) for stage in STAGES}


@pytest.mark.parametrize("stage", STAGES, ids=repr)
def test_items_of_other_sources_stay_behind(stage: Stage) -> None:
    other = Slate.of(np.array([1, 3, 40]), np.array([9.0, 8.0, 7.0]), "popular")
    made = call(stage, Slate.joined([pool(12), other]), context(0, 1, 2, 3))
    assert same(made.take(slice(12, None)), other)
    assert same(made.take(slice(12)), stage(pool(12), context(0, 1, 2, 3), 5))


def test_equal_scores_are_chosen_from_by_the_stage_alone() -> None:
    flat = pool(20, np.ones(20, np.float32))
    calibrated = call(Calibrate("genres", 0.5), flat, context(1, 2, 1, 2), 4)
    assert {int(position) % GENRES for position in calibrated.position[:4]} <= {0, 1, 2}
    assert call(LongTail(0.5), flat, context()).position.tolist() == flat.position[::-1].tolist()


def test_weights_that_vanish_do_not_become_a_mix() -> None:
    given = context(*[1] * 2000, 7)  # the newest item has no genre, the others are 1000 half-lives away
    assert same(call(Calibrate("genres", 0.5, half_life=1e-4), pool(), given), pool())


def distance(slate: Slate, given: Context, k: int) -> float:
    vectors = given.unit_vectors(slate.position[:k])
    assert vectors is not None
    return float(1 - (np.square(vectors.sum(axis=0)).sum() - k) / (k * (k - 1)))


def pools(count: int = 25) -> list[Slate]:
    rng = np.random.default_rng(0)
    return [Slate.of(rng.permutation(ITEMS)[:count], np.sort(rng.random(count))[::-1], "personal") for _ in range(20)]


def test_diversify_spreads_a_list_and_more_so_with_strength() -> None:
    given = context(0, 1, 2)
    for method in ("dpp", "mmr"):
        stages = [Diversify(s, method=method, personal=False) for s in (0, 0.3, 0.6, 0.9)]
        spreads = [np.mean([distance(call(stage, slate, given), given, 5) for slate in pools()]) for stage in stages]
        assert spreads == sorted(spreads)
        assert spreads[0] < spreads[-1]
    by_genre = call(Diversify(1, by="genres"), pool(30), given, GENRES)
    assert len({int(position) % GENRES for position in by_genre.position[:GENRES]}) >= 3


def test_a_narrow_taste_gets_less_diversity_than_one_that_roams() -> None:
    stage = Diversify(0.5, by="genres")
    narrow, roaming = context(*[4, 14, 19] * 3), context(1, 2, 8, 14, 5, 11, 22, 28, 34)
    by_genre = np.array(sorted(range(10, 40), key=lambda n: n % GENRES))
    slate = Slate.of(by_genre, 2 - np.linspace(0, 1, 30) ** 2, "personal")
    changed = [int((call(stage, slate, given, 6).position[:6] != by_genre[:6]).sum()) for given in (narrow, roaming)]
    assert changed[0] < changed[1]
    alike = [call(replace(stage, personal=False), slate, given, 6).position.tolist() for given in (narrow, roaming)]
    assert alike[0] == alike[1]


def mix(positions: Longs, half_life: float = 0) -> Doubles:
    labels = Labels.of(genres_of(ITEMS + 1))
    total = np.zeros(GENRES)
    for n, position in enumerate(positions[::-1]):
        codes = labels.code[labels.start[position] : labels.start[position + 1]]
        total[codes] += (0.5 ** (n / half_life) if half_life else 1) / max(len(codes), 1)
    return np.asarray(total / total.sum())


def test_calibration_comes_nearer_to_the_history_with_strength() -> None:
    given, wanted = context(1, 2, 3, 11), mix(np.array([1, 2, 3, 11]), 50)
    for k in (3, 10):
        stages = [Calibrate("genres", s) for s in (0, 0.5, 0.8, 1)]
        away = [
            np.mean([divergence(wanted, mix(call(stage, slate, given, k).position[:k])) for slate in pools()])
            for stage in stages
        ]
        assert away == sorted(away, reverse=True)
        assert away[0] > away[-1]


def test_recent_events_count_more() -> None:
    flat, past = pool(20, np.ones(20, np.float32)), [*[1] * 60, *[2] * 20]
    shares = []
    for half_life in (0, 50, 5):
        made = call(Calibrate("genres", 0.5, half_life=half_life), flat, context(*past), 4)
        shares.append(float(mix(made.position[:4])[2]))
    assert shares == sorted(shares)
    assert shares[0] < shares[2]


def test_the_long_tail_weighs_popularity() -> None:
    given = context(0)
    made = [call(LongTail(s), pool(20), given).position[:5].mean() for s in (0, 0.3, 1)]
    assert made == sorted(made)  # popularity falls with the position
    assert made[0] < made[2]


def test_a_calibrated_list_keeps_the_order_of_its_pool() -> None:
    given = context(1, 2, 3, 11)
    for slate in pools():
        made, place = (
            call(Calibrate("genres", 0.8), slate, given, 6),
            {p: n for n, p in enumerate(slate.position.tolist())},
        )
        order = [place[p] for p in made.position.tolist()]
        assert order[:6] == sorted(order[:6])
        assert order[6:] == sorted(order[6:])


def test_one_event_that_turns_elsewhere_moves_the_list() -> None:
    staged = PipelineModel(Pipeline(RECIPE, (Calibrate("genres", 0.5, half_life=5),)), LOG.items, (fitted(),))
    before, after = context(1, 11, 16, 26, model=staged), context(1, 11, 16, 26, 13, model=staged)
    lists = [
        given.index.positions([item.item_id for item in recommend(ListRequest(k=8, explore=0), given).items])
        for given in (before, after)
    ]
    assert lists[0].tolist() != lists[1].tolist()
    assert mix(lists[0])[3] < mix(lists[1])[3]


# Pipelines


def test_a_pipeline_of_all_three_is_fitted_saved_and_loaded(tmp_path: Path) -> None:
    recipe = Pipeline(IALS(dim=8, epochs=5), (Diversify(strength=0.3), Calibrate("genres", 0.5), LongTail(0.2)))
    model = recipe.fit(LOG, CATALOGUE)
    lists = model.recommend(LOG, 6)
    assert lists.lists() != model.retriever.recommend(LOG, 6).lists()
    assert (np.diff(lists.score[lists.item[:, -1] >= 0], axis=1) <= 0).all()
    model.save(tmp_path / "model")
    again = load(tmp_path / "model")
    assert again.recipe == recipe == as_recipe(repr(recipe)) == as_recipe(recipe.as_dict())
    assert again.recommend(LOG, 6).lists() == lists.lists()
    assert again.stages == recipe.stages


@pytest.mark.parametrize("catalogue", [CATALOGUE, CATALOGUE.among(LOG.items.select(np.arange(30, dtype=np.int32)))])
def test_a_model_without_vectors_gets_some(catalogue: Catalogue, tmp_path: Path) -> None:
    model = Pipeline(EASE(), (Diversify(0.6), Calibrate("genres", 0.5))).fit(LOG, catalogue)
    assert model.item_embeddings is not None
    assert model.item_embeddings.shape[0] == ITEMS
    assert model.recommend(LOG, 6).lists() != model.retriever.recommend(LOG, 6).lists()
    model.save(tmp_path / "model")
    assert load(tmp_path / "model").recommend(LOG, 6).lists() == model.recommend(LOG, 6).lists()


def test_a_staged_recipe_keeps_the_rules_of_recipes() -> None:
    check_recipe(Pipeline(IALS(dim=4, epochs=2), (Diversify(), Calibrate("title"), LongTail())))
    check_recipe(Pipeline(EASE(), (Diversify(method="mmr"),)))


def test_the_service_ranks_as_offline(tmp_path: Path) -> None:
    with Store.open(tmp_path / "shop.db") as store:
        genres = dict(zip(range(ITEMS), genres_of().to_list(), strict=True))
        store.items.put([Item(f"i{n}", {} if own is None else {"genres": own}) for n, own in genres.items()])
        events = LOG.to_frame().sort("timestamp").iter_rows(named=True)  # so that many users are asked about
        store.append([Event(e["user_id"], e["item_id"], "like", n + 1) for n, e in enumerate(events)])
        versions = Versions(store)
        stages = (Diversify(0.3), Diversify(0.2, by="genres"), Calibrate("genres", 0.5), LongTail(0.2))
        assert train(store, versions, Pipeline(RECIPE, stages)).activated
        live, model = Live(store, versions), load(versions.path(1))
        for user in ("u1", "u20", "u33"):
            shown = live.recommend(ListRequest(user_id=user, k=6, explore=0)).items
            assert [item.item_id for item in shown] == model.recommend(
                live.store.log(live.weights.by_type).histories([user]), 6
            ).lists()[0]


def test_items_that_come_later_are_staged_too() -> None:
    from palate import Hybrid

    log = log_of(block_events())
    films = catalogue_of(log)
    model = Pipeline(Hybrid(IALS(dim=8, epochs=3), fields=("title",)), (Calibrate("title"), Diversify(), LongTail()))
    fitted = model.fit(log, films)
    new = pl.DataFrame({"item_id": [*films.items.ids, "i99"], "title": [*films.frame["title"], "first group, i99"]})
    later = fitted.with_items(Catalogue(Vocabulary.of(new["item_id"]), new))
    assert isinstance(later, PipelineModel)
    assert later.data is not None
    labels = later.data.labels("title")
    assert labels is not None
    assert labels.names[int(labels.code[labels.start[-2]])] == "first group, i99"
    assert later.data.popularity[-1] == 0
    shown: list[list[Id]] = later.recommend([["i0", "i1"]], len(later.items)).lists()
    assert "i99" in shown[0]


def test_what_watches_a_fit_sees_staged_models() -> None:
    seen: list[Progress] = []
    Pipeline(IALS(dim=4, epochs=2), (LongTail(0.5),)).fit(LOG, watch=seen.append)
    models = [each.model for each in seen if each.model is not None]
    assert models
    assert all(isinstance(each, PipelineModel) and each.stages == (LongTail(0.5),) for each in models)


# Settings


def test_stages_stand_in_text() -> None:
    wanted = Pipeline(IALS(dim=8), (Diversify(0.5), Calibrate("genres", 0.2), LongTail(0.1)))
    texts = ("Diversify(strength=0.5)", 'Calibrate("genres", 0.2)', "LongTail(0.1)")
    assert Pipeline("IALS(dim=8)", texts) == wanted
    assert as_recipe(f"Pipeline(recipe=IALS(dim=8), stages=({', '.join(texts)}))") == wanted
    assert Pipeline(IALS(), "LongTail()") == Pipeline(IALS(), (LongTail(),))  # type: ignore[arg-type]
    wrong = ("IALS()", "Diversify", "Nothing()", "LongTail(0.1, 5)", "LongTail(0.1, strength=0.1)", "", "1 +", 5)
    for text in wrong:
        with pytest.raises(SettingError, match="stages"):
            as_stage(text)
    with pytest.raises(SettingError, match="stages=5: must be stages"):
        Pipeline(IALS(), 5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("build", "fault"),
    [
        (lambda: Diversify(1.5), "strength=1.5: must be 0 to 1"),
        (lambda: Diversify(float("nan")), "strength=nan: must be 0 to 1"),
        (lambda: Diversify(method="best"), "method='best': must be one of dpp, mmr"),
        (lambda: Calibrate(""), "attribute='': must name an attribute"),
        (lambda: Calibrate("genres", -0.1), "strength=-0.1: must be 0 to 1"),
        (lambda: Calibrate("genres", half_life=float("inf")), "half_life=inf: must be a number of 0 or more"),
        (lambda: LongTail(2), "strength=2: must be 0 to 1"),
        (lambda: LongTail("much"), "strength='much': must be a number"),  # type: ignore[arg-type]
    ],
)
def test_bad_settings_are_refused(build: Callable[[], Stage], fault: str) -> None:
    with pytest.raises(SettingError, match=fault.replace("'", "['\"]")):
        build()


def test_stages_of_a_request_take_the_place_of_their_kind() -> None:
    own = (Diversify(0.3), LongTail(0.2))
    assert with_others(own, (Diversify(0), Calibrate("a"))) == (Diversify(0), LongTail(0.2), Calibrate("a"))
    assert with_others((), (LongTail(),)) == (LongTail(),)
    assert tempered(1.0, 0.1) == 1
    assert tempered(0.0, 0.1) == 0
    assert tempered(0.5, 0.3) / (1 - tempered(0.5, 0.3)) == pytest.approx(0.3)
