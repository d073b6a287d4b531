"""Differential privacy: the noise, the sensitivity of each sum, the ledger, and fits that keep to all of it.

Tests with chance in them state how often they fail where nothing is wrong.
"""

from __future__ import annotations

import json as jsons
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from conftest import block_events, catalogue_of, log_of
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array
from scipy.special import erfc
from scipy.stats import chi2
from starlette.testclient import TestClient
from typer.testing import CliRunner

from palate import (
    EASE,
    IALS,
    SLIST,
    Blend,
    ItemKNN,
    Pipeline,
    Popularity,
    Private,
    Ranked,
    SessionKNN,
    load,
    read_log,
)
from palate.cli import app
from palate.data.interactions import Interactions
from palate.errors import PalateError, SettingError
from palate.live.training import train
from palate.models.base import Recipe
from palate.models.guarantee import Release
from palate.models.registry import as_recipe
from palate.privacy.ledger import BudgetError, Ledger, delta_of, gaussian_noise
from palate.privacy.mechanisms import STEPS, Rows, exact_counts, exact_gram, exact_products, noisy_counts, noisy_gram
from palate.privacy.noise import SeededSource, SystemSource, probabilities, rounded_gaussian, table
from palate.privacy.private import PrivateModel, in_order, likes
from palate.privacy.released import Hopeless, Plan, evened, threshold, weigh
from palate.privacy.spectrum import Axes, above_noise, completed, edge_of
from palate.serve.app import create_app
from palate.serve.settings import Settings
from palate.store.events import Event, Store
from palate.store.ledger import ledger
from palate.store.transfer import import_log
from palate.store.versions import Versions

FALSE_ALARMS = 1e-6  # of a test of a distribution
PRIVATE: list[Recipe] = [
    EASE(),
    IALS(dim=4),
    ItemKNN(similarity="cosine", neighbours=8),
    SLIST(alpha=1.0),
    Popularity(),
]


def seeded(recipe: str | Recipe = "EASE()", epsilon: float = 20.0, **settings: object) -> Private:
    """A private recipe whose noise a seed fixes."""
    given: dict[str, object] = {"public": True, "refuse": False, "insecure_test_noise": True, "seed": 0, **settings}
    return Private(recipe, epsilon=epsilon, **given)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def log() -> Interactions:
    return log_of(block_events())


# The noise


def test_the_table_has_the_tails_of_the_gaussian() -> None:
    high, low = table(1000.0)
    found = high.astype(np.float64) / 2**64 + low.astype(np.float64) / 2**128
    k = np.arange(1, 10_000)
    np.testing.assert_allclose(found[k], erfc((k - 0.5) / 1000 / np.sqrt(2)), rtol=1e-10)
    assert 1 - 1e-11 < found[0] < 1
    assert found[-1] < 1e-37


def test_probabilities_are_those_of_cells_of_the_gaussian() -> None:
    share = probabilities(2000.0)
    assert abs(share[0] + 2 * share[1:].sum() - 1) < 1e-15
    edges = (np.arange(12_001) - 0.5) / 2000 / np.sqrt(2)
    np.testing.assert_allclose(share[:12_000], -np.diff(erfc(edges)) / 2, rtol=1e-9)


@pytest.mark.parametrize("source", [SystemSource(), SeededSource(3)])
def test_draws_are_gaussian(source: SystemSource | SeededSource) -> None:
    sigma, size = 1500.0, 100_000
    drawn = rounded_gaussian(sigma, size, source)
    cuts = np.quantile(np.random.default_rng(0).standard_normal(200_000), np.linspace(0.01, 0.99, 50)) * sigma
    cuts = np.floor(cuts) + 0.5
    below = np.concatenate([[0], 1 - erfc(cuts / sigma / np.sqrt(2)) / 2, [1]])
    expected = np.diff(below) * size
    counted = np.diff(np.concatenate([[0], np.searchsorted(np.sort(drawn), cuts), [size]]))
    statistic = float(((counted - expected) ** 2 / expected).sum())
    assert statistic < chi2.isf(FALSE_ALARMS, len(expected) - 1)


def test_a_seed_fixes_test_noise_and_nothing_else_does() -> None:
    one, same, other = (rounded_gaussian(1000.0, 50, SeededSource(seed)) for seed in (1, 1, 2))
    assert (one == same).all()
    assert (one != other).any()
    first, second = (rounded_gaussian(1000.0, 50, SystemSource()) for _ in range(2))
    assert (first != second).any()


# Sensitivity, by brute force


@st.composite
def matrices(draw: st.DrawFn) -> csr_array:
    """Users x items, weights 0 where a user does not like an item."""
    U, I = draw(st.integers(1, 6)), draw(st.integers(1, 9))
    weights = st.sampled_from([0.0, 0.0, 0.3, 1.0, 2.5])
    return csr_array(np.array(draw(st.lists(st.lists(weights, min_size=I, max_size=I), min_size=U, max_size=U))))


@given(matrices(), st.integers(0, 10**6), st.sampled_from([0.01, 0.4, 1.0]))
def test_no_user_changes_a_sum_by_more_than_its_sensitivity(X: csr_array, seed: int, most: float) -> None:
    """Remove each user and compare the sums: counts by STEPS, the others by STEPS² in L2 norm, at most."""
    draw = np.random.default_rng(seed)
    axes, weights = draw.standard_normal((X.shape[1], 3)), evened(draw.normal(2, 3, X.shape[1]), 1.0)
    rows = Rows.of(weigh(X, weights))
    places = rows.projected(axes, most)
    for user in range(X.shape[0]):
        rest = np.arange(X.shape[0]) != user
        fewer = Rows.of(weigh(csr_array(X[rest]), weights))
        others = fewer.projected(axes, most)
        assert (rows.matrix[rest].toarray() == fewer.matrix.toarray()).all()  # no other user's row is changed
        assert (places[rest] == others).all()
        assert np.linalg.norm(exact_counts(rows) - exact_counts(fewer)) <= STEPS
        assert np.linalg.norm(exact_gram(rows) - exact_gram(fewer)) <= STEPS**2
        assert np.linalg.norm(exact_products(rows, places) - exact_products(fewer, others)) <= STEPS**2


def test_rare_items_weigh_more_and_those_below_the_noise_alike() -> None:
    weights = evened(np.array([-3.0, 0.0, 10.0, 1000.0]), 2.0)
    assert weights[0] == weights[1] > weights[2] > weights[3]
    assert weights[0] / weights[3] == pytest.approx((1002 / 2) ** 0.15)
    X = csr_array(np.array([[1.0, 0, 1, 1], [0, 1, 0, 1]]))
    np.testing.assert_array_equal(weigh(X, weights).toarray(), X.toarray() * weights)


def test_rows_come_near_their_length() -> None:
    for n in (1, 7, 300, 2000):
        row = Rows.of(csr_array(np.ones((1, n)))).matrix
        assert 0.95 * STEPS < np.sqrt((row.data**2).sum()) <= STEPS


def test_the_noise_of_a_gram_matrix_is_that_of_its_norm() -> None:
    """√2 G_ij and G_ii have noise of one size; the false alarms of both bounds together are below 1e-6."""
    rows = Rows.of(csr_array(np.zeros((1, 200))))
    noise = noisy_gram(rows, 0.5, SystemSource())
    assert (noise == noise.T).all()
    above = noise[np.triu_indices(200, 1)]
    assert abs(above.var() * 2 / 0.25 - 1) < 6 * np.sqrt(2 / len(above))
    assert abs(np.diag(noise).var() / 0.25 - 1) < 6 * np.sqrt(2 / 200)
    assert np.linalg.eigvalsh(noise)[-1] < 1.15 * edge_of(200, 0.5)
    counts = noisy_counts(rows, 0.5, SystemSource())
    assert abs(counts.var() / 0.25 - 1) < 6 * np.sqrt(2 / 200)


def test_an_item_of_one_user_is_listed_with_a_chance_of_delta_at_most() -> None:
    from scipy.stats import norm

    noise, delta = 3.0, 1e-4
    least = threshold(noise, delta)
    for items in (1, 4, 16, STEPS**2):
        q = STEPS / np.sqrt(items)  # as many items as the length of a row allows
        assert items * norm.sf((least - q / STEPS) / noise) <= delta
    assert max(n * norm.sf((least - n**-0.5) / noise) for n in (1, 4, 16, STEPS**2)) > delta / 2


# The ledger


@pytest.mark.parametrize(("epsilon", "delta"), [(0.01, 1e-6), (1, 1e-6), (1, 1e-9), (20, 1e-6), (30, 1e-5)])
def test_the_noise_is_the_least_that_is_private(epsilon: float, delta: float) -> None:
    noise = gaussian_noise(epsilon, delta)
    assert delta_of(noise, epsilon) <= delta < delta_of(noise * 0.9999, epsilon)
    accounting = pytest.importorskip("dp_accounting")
    assert noise == pytest.approx(accounting.get_sigma_gaussian(epsilon, delta), rel=1e-4)


def test_the_ledger_is_what_dp_accounting_composes() -> None:
    accounting = pytest.importorskip("dp_accounting")
    pld = pytest.importorskip("dp_accounting.pld")
    draw = np.random.default_rng(0)
    for _ in range(50):
        accountant, releases = pld.PLDAccountant(), list[Release]()
        for _ in range(draw.integers(1, 3)):
            noise, times, kind = draw.uniform(20, 60), int(draw.integers(1, 3)), draw.integers(3)
            if kind == 0:
                release, event = Release("gaussian", noise, times), accounting.GaussianDpEvent(noise)
            elif kind == 1:
                release, event = Release("laplace", noise, times), accounting.LaplaceDpEvent(noise)
            else:
                release = Release("sampled gaussian", noise, times, 0.1)
                event = accounting.PoissonSampledDpEvent(0.1, accounting.GaussianDpEvent(noise))
            accountant.compose(accounting.SelfComposedDpEvent(event, times))
            releases.append(release)
        ledger = Ledger(tuple(releases))
        assert ledger.epsilon(1e-6) == pytest.approx(accountant.get_epsilon(1e-6), rel=1e-9)
        assert Ledger.from_json(ledger.as_json()) == ledger


@pytest.mark.parametrize("public", [True, False])
@pytest.mark.parametrize("recipe", ["EASE()", "Popularity()"])
@pytest.mark.parametrize("epsilon", [0.1, 3.0])
def test_a_fit_costs_what_it_says(public: bool, recipe: str, epsilon: float) -> None:
    pytest.importorskip("dp_accounting")
    spent = Ledger(Private(recipe, epsilon=epsilon, public=public).releases()).epsilon(1e-6)
    assert 0.98 * epsilon < spent <= epsilon


def test_a_release_beyond_the_budget_is_refused_with_the_sum() -> None:
    pytest.importorskip("dp_accounting")
    once = Private(epsilon=1.0, delta=1e-6).releases()
    ledger = Ledger().spend(once, 1.0, 1e-5)
    with pytest.raises(BudgetError, match=r"epsilon 1 .* 4 releases have spent 0\.\d+ of it, and 1\.\d+ would be"):
        ledger.spend(once, 1.0, 1e-5)
    assert Ledger().epsilon(1e-6) == 0
    assert ledger.epsilon(1e-7) == np.inf  # the list of items alone has a larger chance to fail


@pytest.mark.parametrize(
    "wrong", [{"mechanism": "none"}, {"noise": 0}, {"times": 0}, {"sampling": 0.5}, {"delta": 1}]
)
def test_a_release_that_means_nothing_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(SettingError):
        replace(Release("gaussian", 1.0), **wrong)  # type: ignore[arg-type]


# What is made of the sums


def test_axes_that_stand_out_are_found_and_their_strength_is_given_back() -> None:
    draw = np.random.default_rng(0)
    I, noise = 300, 1.0
    basis = np.linalg.qr(draw.standard_normal((I, 2)))[0]
    raw = draw.standard_normal((I, I))
    strong = np.array([4.0, 2.0]) * edge_of(I, noise)
    found = above_noise((basis * strong) @ basis.T + noise * (raw + raw.T) / 2, noise, 50)
    assert len(found.strength) == 2
    np.testing.assert_allclose(found.strength, strong, rtol=0.1)
    assert np.abs(found.vectors.T @ basis).diagonal().min() > 0.9


def test_products_with_axes_give_the_matrix_back() -> None:
    draw = np.random.default_rng(0)
    columns = draw.standard_normal((30, 3))
    G = columns @ columns.T
    found = completed(G @ columns, columns)
    assert np.linalg.norm((found.vectors * found.strength) @ found.vectors.T - G) < 0.1 * np.linalg.norm(G)
    joined = Axes.of(columns).joined(columns[:, :1])
    np.testing.assert_allclose(
        (joined.vectors * joined.strength) @ joined.vectors.T, G + columns[:, :1] @ columns[:, :1].T, atol=1e-9
    )


# Fits


def test_a_model_states_its_guarantee_and_keeps_it_when_saved(log: Interactions, tmp_path: Path) -> None:
    model = seeded(epsilon=3.0, insecure_test_noise=False, seed=None).fit(log)
    assert (model.guarantee.epsilon, model.guarantee.delta, model.guarantee.public) == (3.0, 1e-6, True)
    said = "With or without one user with all events, any model comes out .* at most e\\^3 times .* chance of 1e-06"
    assert re.match(said, str(model.guarantee))
    assert model.known_users() == set()
    model.save(tmp_path / "model")
    loaded = load(tmp_path / "model")
    assert isinstance(loaded, PrivateModel)
    assert loaded.guarantee == model.guarantee
    assert loaded.guarantee.releases == model.recipe.releases()
    tested = seeded().fit(log)
    assert str(tested.guarantee).startswith("Nothing is protected")
    tested.save(tmp_path / "seeded")
    assert "insecure_test_noise" in (tmp_path / "seeded" / "manifest.json").read_text()


@pytest.mark.parametrize("recipe", PRIVATE, ids=str)
def test_each_recipe_learns_what_there_is_to_learn(recipe: Recipe) -> None:
    """Two groups of users and items, with so little noise that a list shows the items of the own group."""
    draw = np.random.default_rng(0)
    events = [
        (f"u{user}", f"i{10 * (user % 2) + item:02}", 1.0, 0)
        for user in range(2000)
        for item in draw.choice(10, 5, replace=False)
    ]
    model = seeded(recipe, epsilon=30.0).fit(log_of(events))
    shown = model.recommend([["i01", "i02"], ["i11", "i12"]], 5).lists()
    if isinstance(recipe, Popularity):
        counts = model.scores(model.histories([[]]))[0]
        assert counts.max() < 1.2 * counts.min()
    else:
        assert [{str(item)[1] for item in row} for row in shown] == [{"0"}, {"1"}]


def test_nothing_but_likes_and_ids_is_read() -> None:
    """Weights, times, the order of the log, of its users and of its items: the same noise gives the same model."""
    events = [(f"{copy}{user}", item, weight, day) for copy in range(9) for user, item, weight, day in block_events()]
    log = log_of(events)
    other = log_of([(user, item, 7.0 + n, 99 - day) for n, (user, item, _, day) in enumerate(reversed(events))])
    for public in (True, False):
        recipe = seeded(public=public, epsilon=30.0)
        one, same = recipe.fit(log), recipe.fit(other)
        assert one.items.ids.equals(same.items.ids)
        asked = [["i1", "i2"], []]
        np.testing.assert_array_equal(one.scores(one.histories(asked)), same.scores(same.histories(asked)))


def test_an_item_of_one_user_is_not_listed() -> None:
    events = [(f"u{n}", f"i{m}", 1.0, 0) for n in range(3000) for m in range(2)]
    log = log_of([*events, ("u0", "secret", 1.0, 0)])
    model = Private(Popularity(), epsilon=2.0).fit(log)  # the chance that it fails is 5e-7
    assert model.items.ids.to_list() == ["i0", "i1"]
    assert Private(Popularity(), epsilon=2.0).fit(log).recommend([["secret"]], 5).lists()


def test_numbers_as_ids_are_listed_as_text_unless_they_are_public() -> None:
    log = log_of([(n, m, 1.0, 0) for n in range(3000) for m in range(2)])
    assert Private(Popularity(), epsilon=2.0).fit(log).items.ids.dtype == pl.String
    assert Private(Popularity(), epsilon=2.0, public=True).fit(log).items.ids.dtype == log.items.ids.dtype


def test_a_public_catalogue_lists_its_items_and_no_others(log: Interactions) -> None:
    catalogue = catalogue_of(log_of([("u", f"i{n}", 1.0, 0) for n in (3, 1, 99)]))
    model = seeded(fields=("title",)).fit(log, catalogue)
    assert model.items.ids.to_list() == ["i3", "i1", "i99"]
    X = likes(log, in_order(log.items, text=True))
    assert X.shape == (30, 20)
    assert X.has_sorted_indices


def test_too_few_users_are_refused_with_a_figure() -> None:
    ratings = read_log(Path(__file__).parents[1] / "examples" / "movielens-small" / "ratings.csv.gz")
    with pytest.raises(Hopeless, match=r"about \d+ users and epsilon=1: expected to be worse than popularity; needs"):
        Private(EASE(), epsilon=1.0, public=True).fit(ratings)
    with pytest.raises(Hopeless, match="no item was chosen often enough"):
        Private(EASE(), epsilon=0.01).fit(ratings)


@pytest.mark.parametrize(
    ("recipe", "settings", "said"),
    [
        (
            SessionKNN(),
            {},
            "SessionKNN.*no private fit; recipes that have one are EASE, Embedding, IALS, ItemKNN, Popularity, SLIST",
        ),
        (Pipeline("EASE()"), {}, "Pipeline.*no private fit"),
        (EASE(half_life_days=3), {}, "half_life_days"),
        (EASE(binary=False), {}, "binary"),
        (SLIST(), {}, "alpha"),
        (ItemKNN(), {}, "similarity"),
        (EASE(), {"epsilon": 0}, "epsilon"),
        (EASE(), {"epsilon": float("nan")}, "epsilon"),
        (EASE(), {"delta": 0.5}, "delta"),
        (EASE(), {"seed": 1}, "insecure_test_noise"),
        (EASE(), {"insecure_test_noise": True}, "seed"),
        (EASE(), {"fields": ("title",)}, "public=True"),
    ],
)
def test_what_cannot_be_private_is_refused(recipe: Recipe, settings: dict[str, object], said: str) -> None:
    with pytest.raises(SettingError, match=said):
        Private(recipe, **settings)  # type: ignore[arg-type]


def test_all_of_a_budget_goes_to_the_counts_where_nothing_else_is_asked() -> None:
    plan = Plan.of(1.0, 1e-6, public=True, counts_alone=True)
    assert plan.counts == pytest.approx(gaussian_noise(1.0, 1e-6), rel=1e-4)


# Recipes around private ones


def test_recipes_add_up_what_those_within_them_release() -> None:
    private, other = seeded(epsilon=3.0), seeded("IALS(dim=4)", epsilon=2.0)
    once = private.releases()
    assert once
    assert EASE().releases() == Blend(recipes=("EASE()",)).releases() == ()
    assert Pipeline(Pipeline(private)).releases() == once
    assert Blend(recipes=(private,)).releases() == once
    twice = Blend(recipes=(Pipeline(private), "EASE()", other))  # once for the weights, and once for good
    assert twice.releases() == (*once, *other.releases()) * 2
    assert Ranked((twice,), folds=2).releases() == twice.releases() * 3
    assert sum(each.epsilon for each in twice.guarantees()) == 10


def test_stages_behind_a_private_model_read_what_it_released(log: Interactions, tmp_path: Path) -> None:
    recipe = Pipeline(seeded("IALS(dim=4)", epsilon=3.0), ("LongTail(0.5)", "Diversify(0.3)"))
    model = recipe.fit(log)
    assert model.guarantee == recipe.guarantees()[0]
    assert model.data is not None
    released = np.maximum(model.scores(model.histories([[]]))[0], 0)
    np.testing.assert_array_equal(model.data.popularity, released)
    assert (released != log.item_weights()[log.items.codes(model.items.ids)]).any()
    model.save(tmp_path / "model")
    assert load(tmp_path / "model").guarantee == model.guarantee
    with pytest.raises(SettingError, match="would read vectors of the log, and the private model has none"):
        Pipeline(seeded(), ("Diversify(0.3)",)).fit(log)


def test_a_model_that_learned_from_events_beside_a_private_one_has_no_guarantee() -> None:
    log = log_of([(f"u{n:02}", f"i{(n + m) % 9}", 1.0, m) for n in range(30) for m in range(4)])
    assert EASE().fit(log).guarantee is None
    assert Blend(recipes=(seeded(), "EASE()")).fit(log).guarantee is None
    assert Blend(recipes=(seeded(), seeded(seed=1))).fit(log).guarantee is None  # the weights between them have none


@pytest.mark.parametrize("around", ["Pipeline({})", "Pipeline(Pipeline({}))", "Blend(recipes=({}, Popularity()))"])
def test_a_store_counts_private_fits_within_other_recipes(around: str, tmp_path: Path) -> None:
    pytest.importorskip("dp_accounting")
    log = log_of([(f"u{n:02}", f"i{(n + m) % 9}", 1.0, m) for n in range(30) for m in range(4)])
    log.to_frame().write_csv(tmp_path / "log.csv")
    recipe = as_recipe(around.format("Private(Popularity(), epsilon=1, public=True)"))
    with Store.open(str(tmp_path / "shop.db")) as store:
        import_log(store, tmp_path / "log.csv")
        versions = Versions(store, None, load)
        trained = train(store, versions, recipe)
        assert trained.activated
        assert "private" in trained.why
        assert ledger(store)[0].releases == recipe.releases()
        with pytest.raises(BudgetError):
            train(store, versions, recipe, lifetime=ledger(store)[0].epsilon(1e-5) + 0.01)


def test_the_page_shows_guarantee_and_budget(tmp_path: Path) -> None:
    pytest.importorskip("dp_accounting")
    with Store.open(str(tmp_path / "shop.db")) as store:
        store.append([Event(f"u{n}", f"i{n % 3}", "like", 10**15 + n) for n in range(30)])
        versions = Versions(store, None, load)
        with TestClient(create_app(Settings(store=str(tmp_path / "shop.db")))) as client:
            assert "Nothing is spent" in client.get("/privacy").text
        for _ in range(2):
            train(store, versions, Private(Popularity(), epsilon=1, public=True), lifetime=2)
        spent = ledger(store)[0].epsilon(1e-5)
    with TestClient(create_app(Settings(store=str(tmp_path / "shop.db")))) as client:
        shown = client.get("/privacy").text
    assert "at most e^1 times as likely" in shown
    assert f"<dd>{spent:.2f}</dd>" in shown
    assert "<dd>2.00</dd>" in shown
    assert re.search(r"counts of items</th>.*gaussian</td>.*>2</td>", shown)


# The command line


def test_the_command_line_fits_privately_and_keeps_a_ledger(log: Interactions, tmp_path: Path) -> None:
    pytest.importorskip("dp_accounting")
    log.to_frame().write_csv(tmp_path / "log.csv")
    run = CliRunner()
    model, store = str(tmp_path / "model"), str(tmp_path / "shop.db")
    settings = [f"--set={each}" for each in ("epsilon=30", "recipe=EASE()", "public=true", "refuse=false")]
    done = run.invoke(app, ["fit", "private", str(tmp_path / "log.csv"), "--out", model, *settings])
    assert done.exit_code == 0, done.output
    assert isinstance(load(model), PrivateModel)
    assert not list((tmp_path / "model").glob("log.*"))
    assert run.invoke(app, ["store", "import", "--store", store, "--log", str(tmp_path / "log.csv")]).exit_code == 0
    train = ["train", "--store", store, "--recipe", "popularity", "--epsilon", "1", "--public-items"]
    first = run.invoke(app, train)
    assert first.exit_code == 0, first.output
    assert "answers now" in first.output
    second = run.invoke(app, train)
    assert isinstance(second.exception, PalateError)
    assert "epsilon 1 " in str(second.exception)
    assert run.invoke(app, [*train, "--lifetime-epsilon", "2"]).exit_code == 0
    assert run.invoke(app, [*train[:3], "--lifetime-epsilon", "2"]).exit_code != 0
    assert run.invoke(app, [*train[:3], "--recipe", "popularity", "--public-items"]).exit_code != 0
    staged = run.invoke(app, [*train, "--lifetime-epsilon", "4", "--stage", "LongTail(0.5)", "--json"])
    assert staged.exit_code == 0, staged.output
    about = jsons.loads(staged.output[staged.output.index("{") :])
    assert about["recipe"] == "Pipeline"
    assert [each["name"] for each in about["settings"]["stages"]] == ["LongTail"]


def test_a_pipeline_around_a_private_recipe_is_saved_without_histories(log: Interactions, tmp_path: Path) -> None:
    log.to_frame().write_csv(tmp_path / "log.csv")
    recipe = "recipe=Private(EASE(), epsilon=30, public=True, refuse=False)"
    model = str(tmp_path / "model")
    done = CliRunner().invoke(app, ["fit", "pipeline", str(tmp_path / "log.csv"), "--out", model, "--set", recipe])
    assert done.exit_code == 0, done.output
    assert not list((tmp_path / "model").glob("log.*"))
