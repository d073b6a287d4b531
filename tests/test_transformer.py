"""The Transformer: what attention may see, its loss against plain numpy, one step for one event, ONNX."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from conftest import ITEMS, block_events, catalogue_of, log_of
from hypothesis import given
from hypothesis import strategies as st

from palate import fit_until_best, load, read_log, split_last
from palate.arrays import Floats
from palate.bundles.bundle import read_bundle, write_bundle
from palate.compute.svd import leading, unit
from palate.data.catalogue import Catalogue
from palate.data.histories import Histories
from palate.data.interactions import Interactions
from palate.data.ragged import NEVER, Ragged
from palate.data.vocabulary import Id
from palate.errors import BundleError, DataError, MissingExtra, SettingError
from palate.live.service import Live
from palate.live.training import train
from palate.models.attention import KNOTS, dropped, log_gap_features, states
from palate.models.network import Inputs
from palate.models.onnx import ExportedModel, exported
from palate.models.registry import load_with_log
from palate.models.sequence_batches import SequenceBatches
from palate.models.sequence_losses import gbce
from palate.models.spectral import near_vectors
from palate.models.transformer import (
    Transformer,
    TransformerModel,
    answering,
    first_weights,
    next_item_loss,
)
from palate.ranking.request import ListRequest, SessionEvent
from palate.store.events import Event, Store
from palate.store.versions import Versions

MINUTE = 60_000_000
SMALL = Transformer(dim=8, heads=2, window=4, epochs=2, batch=64, learning_rate=0.01)


def disturbed(model: TransformerModel, seed: int = 0) -> TransformerModel:
    """The model with weights at random, so that every part of the network matters."""
    rng = np.random.default_rng(seed)
    weights = {name: each + 0.5 * rng.standard_normal(each.shape, np.float32) for name, each in model.weights.items()}
    weights["items"] /= np.linalg.norm(weights["items"], axis=1, keepdims=True)
    return replace(model, weights=weights)


@pytest.fixture(scope="module")
def model() -> TransformerModel:
    return disturbed(SMALL.fit(log_of(block_events())))


def going_in(rows: Sequence[Sequence[int]], length: Sequence[int] | None = None) -> Inputs:
    """Events of weight 1 at every minute."""
    item = np.array(rows)
    ends = np.full(len(item), item.shape[1]) if length is None else np.array(length)
    time = np.zeros_like(item) + MINUTE * np.arange(item.shape[1])
    return Inputs(item, ends, np.ones(item.shape, np.float32), time, np.zeros_like(item))


def hidden(model: TransformerModel, rows: Sequence[Sequence[int]] | Inputs) -> Floats:
    inputs = rows if isinstance(rows, Inputs) else going_in(rows)
    with torch.inference_mode():
        return np.asarray(states(model.tensors, model.recipe, inputs.tensors())[0].numpy())


def score(model: TransformerModel, *lists: Sequence[Id]) -> Floats:
    return model.scores(Histories.of(model.items, lists))


def close(found: Floats, expected: Floats) -> None:
    """Equal to 1e-5 of the largest score: scores are cosines times the scale, here some 15."""
    np.testing.assert_allclose(found, expected, atol=1e-5 * max(1, np.abs(expected).max()))


# What an event sees


@given(st.lists(st.integers(0, ITEMS - 1), min_size=2, max_size=12), st.data())
def test_attention_is_causal(model: TransformerModel, row: list[int], data: st.DataObject) -> None:
    """A later event changes no earlier state, and its own at once."""
    place = data.draw(st.integers(1, len(row) - 1))
    other = [*row[:place], (row[place] + 1) % ITEMS, *row[place + 1 :]]
    before, after = hidden(model, [row, other])
    np.testing.assert_allclose(after[:place], before[:place], atol=1e-6)
    assert np.abs(after[place] - before[place]).max() > 1e-3


@given(st.lists(st.lists(st.integers(0, ITEMS - 1), max_size=14), min_size=2, max_size=5))
def test_padding_is_inert(model: TransformerModel, rows: list[list[int]]) -> None:
    lists = [[f"i{n}" for n in row] for row in rows]
    together = score(model, *lists)
    for alone, row in zip((score(model, each)[0] for each in lists), together, strict=True):
        close(row, alone)


def test_what_is_beyond_reach_changes_nothing(model: TransformerModel) -> None:
    """With two layers of a window of 4, the last state depends on 7 events."""
    assert model.recipe.reach == 7
    row = [3, 1, 4, 1, 5, 9, 2, 6, 5, 8]
    last = hidden(model, [row])[0, -1]
    for place in range(len(row)):
        changed = [*row[:place], 19, *row[place + 1 :]]
        moved = np.abs(hidden(model, [changed])[0, -1] - last).max()
        assert (moved > 1e-5) == (place >= 3), place
    shown = score(model, [f"i{n}" for n in row], [f"i{n}" for n in row[3:]])
    close(shown[0], shown[1])


def test_order_matters(model: TransformerModel) -> None:
    first, second = score(model, ["i1", "i2", "i3"], ["i2", "i1", "i3"])
    assert np.abs(first - second).max() > 1e-3


def test_an_event_of_no_weight_is_not_seen() -> None:
    start, column = np.array([0, 4, 5]), np.array([1, 2, 3, 4, 5], np.int32)
    rows = Ragged(start, column, np.array([1, -1, 0, 2, -3], np.float32))
    assert SMALL.seen(rows).column.tolist() == [1, 4]
    assert SMALL.seen(rows).start.tolist() == [0, 2, 2]


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 0.9])
def test_dropout_leaves_out_a_share_and_keeps_the_mean(share: float) -> None:
    x = torch.ones(101, 333)
    found = dropped(x, share, torch.Generator().manual_seed(0))
    assert float((found == 0).to(torch.float32).mean()) == pytest.approx(share, abs=0.01)
    assert np.unique(found.numpy()).tolist() == pytest.approx(sorted({0.0, 1 / (1 - share)})[0 if share else 1 :])


# One event, one step


@pytest.mark.parametrize("window", [1, 2, 4])
@pytest.mark.parametrize("layers", [1, 3])
def test_extending_a_trail_equals_the_full_pass(window: int, layers: int) -> None:
    recipe = replace(SMALL, window=window, layers=layers)
    model = disturbed(recipe.fit(log_of(block_events())))
    history = [f"i{n}" for n in np.random.default_rng(0).integers(0, ITEMS, 15)]
    session = model.start()
    np.testing.assert_array_equal(model.scores_after(session), model.popularity)
    for n, item in enumerate(history):
        before = session
        session = model.append(session, item)
        close(model.scores_after(session), score(model, history[: n + 1])[0])
        assert session.past is not None
        assert all(key.shape[2] <= window - 1 for key, _ in session.past.layers)
        assert before is not session
    assert model.append(session, "never heard") is session
    again = model.start(["?", *history[:5]])
    close(model.scores_after(again), score(model, history[:5])[0])


# The loss


@pytest.mark.parametrize("negatives", [None, ITEMS])
def test_with_every_item_the_loss_is_cross_entropy(model: TransformerModel, negatives: int | None) -> None:
    recipe = replace(model.recipe, negatives=negatives, dropout=0.0)
    item, target = np.array([[1, 2, 3], [4, -1, -1]], np.int32), np.array([[2, 3, 7], [5, -1, -1]], np.int32)
    inputs = going_in(np.maximum(item, 0).tolist(), [3, 1])
    found = next_item_loss(model.tensors, recipe, inputs, target, torch.Generator().manual_seed(1))
    h = hidden(model, inputs)[target >= 0]
    w = model.weights
    logits = (np.exp(w["scale"]) * h @ w["items"].T + w["bias"]).astype(np.float64)
    wanted = target[target >= 0]
    expected = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(wanted)), wanted]
    np.testing.assert_allclose(float(found), expected.mean(), rtol=1e-5)


def test_a_sample_stands_for_all_items(model: TransformerModel) -> None:
    """The mean of Σ exp over samples, the target left out, is that over all others."""
    inputs, target = going_in([[1]]), np.array([[2]], np.int32)
    weights = {**model.tensors, "scale": torch.zeros(1)}
    exact = replace(model.recipe, negatives=None, dropout=0.0)
    dice = torch.Generator().manual_seed(0)

    def odds(recipe: Transformer) -> float:
        return float(np.expm1(float(next_item_loss(weights, recipe, inputs, target, dice))))

    few = np.mean([odds(replace(exact, negatives=6)) for _ in range(400)])
    assert few == pytest.approx(odds(exact), rel=0.03)


# The loss of gSASRec


def gbce_of(right: float, wrong: Sequence[float], items: int, t: float) -> float:
    """The loss of Petrov and Macdonald 2023 in plain numbers, by probabilities."""
    alpha = len(wrong) / (items - 1)
    beta = alpha * (t * (1 - 1 / alpha) + 1 / alpha)
    p, q = 1 / (1 + np.exp(-right)), 1 / (1 + np.exp(-np.array(wrong)))
    return float(-(np.log(p**beta) + np.log(1 - q).sum()) / (len(wrong) + 1))


@pytest.mark.parametrize("t", [0.0, 0.3, 0.75, 1.0])
def test_gbce_is_that_of_the_paper(t: float) -> None:
    right, wrong = torch.tensor([1.5, -0.5]), torch.tensor([[0.2, -1.0, 0.7], [2.0, 0.1, -3.0]])
    itself = torch.tensor([[False, False, False], [False, True, False]])
    expected = [gbce_of(1.5, [0.2, -1.0, 0.7], 11, t), gbce_of(-0.5, [2.0, -3.0], 11, t)]
    assert float(gbce(right, wrong, itself, 11, t)) == pytest.approx(np.mean(expected), rel=1e-6)


def test_gbce_without_calibration_is_binary_cross_entropy() -> None:
    right, wrong = torch.tensor([1.5]), torch.tensor([[0.2, -1.0, 0.7]])
    logits, truth = torch.cat([right, wrong[0]]), torch.tensor([1.0, 0, 0, 0])
    usual = torch.nn.functional.binary_cross_entropy_with_logits(logits, truth)
    found = gbce(right, wrong, torch.zeros(1, 3, dtype=torch.bool), 99, 0.0)
    assert float(found) == pytest.approx(float(usual), rel=1e-6)


def test_gradients_of_gbce_are_those_of_differences() -> None:
    draw = torch.Generator().manual_seed(0)
    right, wrong = (torch.randn(shape, generator=draw, dtype=torch.float64) for shape in ((3,), (3, 4)))
    itself = torch.zeros(3, 4, dtype=torch.bool)
    itself[1, 2] = True
    right.requires_grad_()
    wrong.requires_grad_()
    assert torch.autograd.gradcheck(lambda one, two: gbce(one, two, itself, 21, 0.75), (right, wrong))
    (found,) = torch.autograd.grad(gbce(right, wrong, itself, 21, 0.75), [wrong])
    assert found[1, 2] == 0


@pytest.mark.parametrize(("t", "expected"), [(0.0, 0.5), (1.0, 0.2)])
def test_calibration_says_how_far_probabilities_are_too_high(t: float, expected: float) -> None:
    """An item that comes next with probability P, sampled at the rate α, gets βP / (βP + α (1 - P))."""
    score = torch.zeros(1, requires_grad=True)
    targets, drawn = 20, 25  # of 101 items: α = 1/4
    itself = torch.zeros(targets, drawn, dtype=torch.bool)
    steps = torch.optim.LBFGS([score], max_iter=100, tolerance_grad=1e-9, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        steps.zero_grad()
        right = torch.cat([score.expand(4), torch.zeros(16)])  # P = 1/5
        wrong = torch.zeros(targets, drawn)
        wrong[4:8, 0] = score  # drawn for a quarter of the others
        total = gbce(right, wrong, itself, 101, t)
        torch.autograd.backward([total])
        return total

    steps.step(loss)  # type: ignore[no-untyped-call]
    assert torch.sigmoid(score).item() == pytest.approx(expected, abs=1e-4)


def test_it_learns_by_gbce() -> None:
    """What follows two events, as with the other loss."""
    recipe = replace(SMALL, dim=16, epochs=40, dropout=0.0, loss="gbce", negatives=5)
    log = log_of([(f"u{n}", f"i{(n + 3 * t) % 10}", 1.0, t) for n in range(60) for t in range(8)])
    model = recipe.fit(log)
    best = model.recommend([[f"i{n}", f"i{(n + 3) % 10}"] for n in range(10)], 1, keep_seen=True).lists()
    assert [row[0] for row in best] == [f"i{(n + 6) % 10}" for n in range(10)]


@pytest.mark.parametrize("setting", [{"loss": "bpr"}, {"calibration": 1.5}, {"calibration": -0.1}])
def test_losses_that_there_are_not(setting: dict[str, object]) -> None:
    with pytest.raises(SettingError, match=next(iter(setting))):
        replace(SMALL, **setting)  # type: ignore[arg-type]


@given(st.lists(st.integers(0, 9), min_size=1, max_size=6), st.integers(1, 4), st.integers(1, 30))
def test_every_event_but_the_first_is_a_target_once(sizes: list[int], longest: int, events: int) -> None:
    names = [(f"u{u}", f"i{u}-{n}", 1.0, n) for u, size in enumerate(sizes) for n in range(size)]
    if not names:
        return
    log = log_of(names)
    sequences = SequenceBatches.of(log, longest)
    batches = sequences.batches(events, np.random.default_rng(0))
    pairs = [
        pair
        for inputs, target in batches
        for pair in zip(inputs.item.ravel().tolist(), target.ravel().tolist(), strict=True)
    ]
    kept = sorted(pair for pair in pairs if pair != (-1, -1))
    follows = np.flatnonzero(log.user[1:] == log.user[:-1])
    assert kept == sorted(zip(log.item[follows].tolist(), log.item[follows + 1].tolist(), strict=True))
    assert sequences.targets == len(kept)
    assert all(inputs.item.shape[1] <= longest for inputs, _ in batches)


# What it learns


def turning(people: int = 60) -> Interactions:
    """Everybody goes round the same 12 items, from anywhere: only the order tells what is next."""
    rng = np.random.default_rng(0)
    start, turn = rng.integers(0, 12, people), rng.choice([1, 5], people)
    return log_of([(f"u{u}", f"i{(start[u] + turn[u] * n) % 12}", 1.0, n) for u in range(people) for n in range(8)])


def test_it_learns_what_follows_from_two_events() -> None:
    """What follows i0 depends on the event before it: a step of 1 or of 5."""
    model = Transformer(dim=32, heads=2, epochs=60, batch=128, learning_rate=0.01, dropout=0.1).fit(turning())
    asked = [[f"i{(n - turn) % 12}", f"i{n}"] for n in range(12) for turn in (1, 5)]
    wanted = [f"i{(n + turn) % 12}" for n in range(12) for turn in (1, 5)]
    shown = [row[0] for row in model.recommend(asked, 1).lists()]
    assert np.mean([a == b for a, b in zip(shown, wanted, strict=True)]) > 0.9


def test_it_stops_where_validation_was_best() -> None:
    split = split_last(turning(), valid=True)
    recipe = Transformer(dim=16, epochs=12, batch=128, learning_rate=0.01)
    losses: list[float] = []
    best = fit_until_best(recipe, split, patience=2, watch=lambda p: losses.append(p.loss) if p.loss else None)
    assert isinstance(best, TransformerModel)
    assert losses[-1] < losses[0]


def test_first_vectors_know_the_two_groups() -> None:
    log = log_of(block_events())
    E = near_vectors(log, 6)
    np.testing.assert_allclose(np.linalg.norm(E, axis=1), 1, rtol=1e-5)
    first = np.array([int(str(name)[1:]) < 12 for name in log.items.ids])
    cosine = E @ E.T
    assert cosine[np.ix_(first, ~first)].max() < cosine[np.ix_(first, first)].min()
    assert near_vectors(log, 50).shape == (ITEMS, 50), "more dimensions than items"
    assert first_weights(SMALL, log)["items"].shape == (ITEMS, 8)


def test_leading_vectors_are_those_of_eigh() -> None:
    rng = np.random.default_rng(1)
    half = rng.standard_normal((30, 30)).astype(np.float32)

    A = (half + half.T) / 100 + np.diag([2.0, 1.5, 1.0, *np.linspace(-1, 0.3, 27)]).astype(np.float32)
    values, vectors = np.linalg.eigh(A)
    expected = (vectors[:, -3:] * values[-3:]) @ vectors[:, -3:].T
    found = leading(lambda Q: np.asarray(A @ Q, np.float32), 30, 3, 0)
    np.testing.assert_allclose(found @ found.T, expected, atol=5e-3)


@pytest.fixture(scope="module")
def timed() -> TransformerModel:
    return disturbed(SMALL.fit(timed_log(kinds=True)))


@pytest.fixture(scope="module")
def loaded(timed: TransformerModel, tmp_path_factory: pytest.TempPathFactory) -> TransformerModel:
    """A model as a graphics card saves it."""
    folder = tmp_path_factory.mktemp("card") / "model"
    replace(timed, recipe=replace(timed.recipe, device="cuda")).save(folder)
    found = load(folder)
    assert isinstance(found, TransformerModel)
    return found


@pytest.fixture(scope="module")
def graph(loaded: TransformerModel) -> ExportedModel:
    return exported(loaded)


def test_a_model_of_a_graphics_card_answers_on_a_processor(
    timed: TransformerModel, loaded: TransformerModel, graph: ExportedModel
) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a graphics card")
    asked = [["i3"], ["i1", "i4"]]
    np.testing.assert_array_equal(score(loaded, *asked), score(timed, *asked))
    close(loaded.scores_after(loaded.start(["i3"])), score(timed, ["i3"])[0])
    close(graph.scores(Histories.of(timed.items, asked)), score(timed, *asked))
    with pytest.raises(SettingError, match="this machine has no GPU for torch"):
        replace(SMALL, device="cuda").fit(log_of(block_events()))


# When, and what kind of event


def timed_log(kinds: bool = False) -> Interactions:
    """Views and purchases, some seconds and some days apart."""
    rng = np.random.default_rng(0)
    gap = np.where(rng.random((40, 8)) < 0.5, 20, 5 * 86_400) * 1_000_000
    moment = 10**15 + np.cumsum(gap, axis=1)
    weight = rng.choice([1.0, 5.0], (40, 8)) if kinds else np.ones((40, 8))
    item = rng.integers(0, ITEMS, (40, 8))
    rows = [(f"u{u}", f"i{item[u, n]}", weight[u, n], moment[u, n]) for u in range(40) for n in range(8)]
    user, name, weights, times = zip(*rows, strict=True)
    frame = {"user_id": user, "item_id": name, "weight": weights, "timestamp": times}
    return read_log(pl.DataFrame(frame))


def asked_at(
    model: TransformerModel, row: Sequence[Id], times: Sequence[int] | None, weights: Sequence[float]
) -> Floats:
    asked = Histories.of(model.items, [row], weights=[weights], times=None if times is None else [times])
    return np.asarray(model.scores(asked)[0])


def test_gaps_and_kinds_are_learned_where_the_log_has_them() -> None:
    without, with_times, with_kinds = log_of([("a", "x", 1.0, 1), ("a", "y", 1.0, 2)]), timed_log(), timed_log(True)
    for bare in (replace(without, timestamp=None), replace(without, timestamp=np.array([7, 7]))):
        assert not {name for name in first_weights(SMALL, bare) if "gap" in name or name in ("kinds", "between")}
    assert first_weights(SMALL, with_times)["1.attend.gap"].shape == (len(KNOTS), 2)
    assert "kinds" not in first_weights(SMALL, with_times)
    first = first_weights(SMALL, with_kinds)
    assert first["kinds"].shape == (2, 8)
    assert 1 < first["between"][0] < 5
    off = first_weights(replace(SMALL, gaps=False, kinds=False), with_kinds)
    assert "kinds" not in off
    assert "0.attend.gap" not in off
    learned = SMALL.fit(with_kinds).weights
    assert np.abs(learned["kinds"]).min() > 0
    assert np.abs(learned["0.attend.gap"]).max() > 0
    np.testing.assert_array_equal(learned["between"], first["between"])


def test_only_gaps_matter_not_the_date(timed: TransformerModel) -> None:
    row, weights = ["i1", "i4", "i2"], [1.0, 5.0, 1.0]
    times = [10**15, 10**15 + 3 * MINUTE, 10**15 + 3000 * MINUTE]
    found = asked_at(timed, row, times, weights)
    close(asked_at(timed, row, [time + 10**14 for time in times], weights), found)
    assert np.abs(asked_at(timed, row, [times[0], times[2] - MINUTE, times[2]], weights) - found).max() > 1e-3
    assert np.abs(asked_at(timed, row, None, weights) - found).max() > 1e-3
    close(asked_at(timed, row, [NEVER] * 3, weights), asked_at(timed, row, None, weights))


def test_the_kind_of_an_event_matters_and_not_just_its_weight(timed: TransformerModel) -> None:
    row = ["i1", "i4"]
    view, bought = (asked_at(timed, row, None, [1.0, weight]) for weight in (1.0, 5.0))
    assert np.abs(view - bought).max() > 1e-3
    close(asked_at(timed, row, None, [1.0, 4.0]), bought)  # nearer to 5 than to 1


def test_a_rise_is_the_logarithm_above_each_knot() -> None:
    moments = torch.tensor([[0, 90 * 1_000_000, NEVER]])
    found = log_gap_features(moments, moments)[0].numpy()
    expected = np.maximum(np.log1p(90) - np.log1p(np.array(KNOTS)), 0)
    np.testing.assert_allclose(found[1, 0], expected, rtol=1e-5)
    assert not found[1, 1].any(), "no time has passed"
    assert not found[2].any(), "not known"


def test_a_trail_with_times_and_kinds_equals_the_full_pass(timed: TransformerModel) -> None:
    rng = np.random.default_rng(1)
    row = [f"i{n}" for n in rng.integers(0, ITEMS, 12)]
    times = np.cumsum(rng.choice([20, 400_000], 12) * 1_000_000).tolist()
    weights = rng.choice([1.0, 5.0], 12).tolist()
    session = timed.start()
    for n, item in enumerate(row):
        session = timed.append(session, item, weights[n], times[n])
        close(timed.scores_after(session), asked_at(timed, row[: n + 1], times[: n + 1], weights[: n + 1]))
    assert timed.append(session, "i1", -1.0, times[-1]) is session


def test_an_exported_model_reads_times_and_kinds(
    timed: TransformerModel, graph: ExportedModel, tmp_path: Path
) -> None:
    log = timed_log(kinds=True)
    np.testing.assert_allclose(graph.scores(log.histories()), timed.scores(log.histories()), rtol=1e-4, atol=1e-4)
    timed.save(tmp_path / "model", log=log)
    loaded, kept = load_with_log(tmp_path / "model")
    assert kept is not None
    np.testing.assert_array_equal(kept.timestamp, log.timestamp)
    close(loaded.scores(kept.histories()), timed.scores(log.histories()))


def test_it_learns_from_the_time_between_events() -> None:
    """What comes next is told by how long ago the event before the last one was, and by nothing else."""
    rng = np.random.default_rng(0)
    rows = []
    for u in range(120):
        quick = rng.random() < 0.5
        middle = 1_000_000 * (20 if quick else 5 * 86_400)
        times = [10**15, 10**15 + middle, 10**15 + middle + 1_000_000]
        rows += [(f"u{u}", item, times[n]) for n, item in enumerate(["a", "b", "quick" if quick else "slow"])]
    user, item, time = zip(*rows, strict=True)
    log = read_log(pl.DataFrame({"user_id": user, "item_id": item, "timestamp": time}))
    recipe = Transformer(dim=16, epochs=60, batch=128, learning_rate=0.01, dropout=0.1)

    def right(model: TransformerModel) -> float:
        asked = Histories.of(
            model.items,
            [["a", "b"]] * 2,
            times=[[10**15, 10**15 + 20 * 1_000_000], [10**15, 10**15 + 5 * 86_400 * 1_000_000]],
        )
        shown = [row[0] for row in model.recommend(asked, 1).lists()]
        return float(np.mean([a == b for a, b in zip(shown, ["quick", "slow"], strict=True)]))

    assert right(recipe.fit(log)) == 1
    assert right(replace(recipe, gaps=False).fit(log)) == 0.5


# Event types


def typed_log(seed: int = 0) -> Interactions:
    """Views, clicks and dislikes at random; of views and clicks the weight is the same."""
    rng = np.random.default_rng(seed)
    user, item = np.repeat(np.arange(40), 8), rng.integers(0, ITEMS, 320)
    kind = rng.choice(["view", "click", "dislike"], 320)
    frame = pl.DataFrame({"user_id": user, "item_id": [f"i{n}" for n in item], "event_type": kind})
    return read_log(frame, weights={"view": 1, "click": 1, "dislike": -1})


@pytest.fixture(scope="module")
def typed() -> TransformerModel:
    return disturbed(SMALL.fit(typed_log()))


def asked_as(model: TransformerModel, row: Sequence[Id], *types: str | None) -> Floats:
    return np.asarray(model.scores(Histories.of(model.items, [row], event_types=[types]))[0])


def test_it_learns_from_types_of_one_weight() -> None:
    """What comes next follows from the type of the last event, and from nothing else."""
    rows = [
        (f"u{u}", item, kind)
        for u in range(60)
        for item, kind in [
            ("a", "view"),
            ("b", "view" if u % 2 else "share"),
            ("seen" if u % 2 else "shared", "view"),
        ]
    ]
    log = read_log(pl.DataFrame(rows, ["user_id", "item_id", "event_type"], orient="row"))
    assert set(log.weight) == {1}
    recipe = Transformer(dim=16, layers=1, epochs=30, batch=128, learning_rate=0.02, dropout=0.1)

    def first(model: TransformerModel) -> list[Id]:
        kinds = [["view", "view"], ["view", "share"]]
        return [
            row[0]
            for row in model.recommend(Histories.of(model.items, [["a", "b"]] * 2, event_types=kinds), 1).lists()
        ]

    assert first(recipe.fit(log)) == ["seen", "shared"]
    assert len(set(first(replace(recipe, kinds=False).fit(log)))) == 1


def test_types_are_inputs_where_there_are_several(typed: TransformerModel) -> None:
    log = typed_log()
    assert sorted(typed.event_types.ids) == ["click", "view"], "a dislike is no input"
    assert not {"kinds", "between"} & set(typed.weights)
    assert (
        np.abs(asked_as(typed, ["i1", "i4"], "view", "click") - asked_as(typed, ["i1", "i4"], "view", "view")).max()
        > 1e-3
    )
    assert typed.weights["types"].shape == (3, 8)
    assert np.abs(SMALL.fit(log).weights["types"]).min() > 0, "all are learned, that of unknown ones too"
    only = read_log(log.to_frame().filter(pl.col("event_type") == "view").drop("weight"))
    for bare in (only, replace(log, event=None, event_types=())):
        model = SMALL.fit(bare)
        assert not len(model.event_types)
        assert not {"types", "kinds"} & set(model.weights)
    assert not len(replace(SMALL, kinds=False).fit(log).event_types)


def test_weights_are_inputs_where_those_of_a_type_differ() -> None:
    log = timed_log(kinds=True)
    of_one_type = replace(log, event=np.zeros(len(log), np.int16), event_types=("star",))
    of_weight = replace(log, event=(log.weight > 1).astype(np.int16), event_types=("view", "purchase"))
    at_random = replace(of_weight, event=np.arange(len(log), dtype=np.int16) % 2)
    assert {"kinds", "types"} & set(first_weights(SMALL, of_one_type)) == {"kinds"}
    assert {"kinds", "types"} & set(first_weights(SMALL, of_weight)) == {"types"}
    assert {"kinds", "types"} & set(first_weights(SMALL, at_random)) == {"kinds", "types"}


def test_an_unknown_type_is_as_none(typed: TransformerModel) -> None:
    row = ["i1", "i4"]
    unknown = asked_as(typed, row, None, None)
    close(asked_as(typed, row, "unknown", "also unknown"), unknown)
    close(score(typed, row)[0], unknown)
    assert np.abs(asked_as(typed, row, "view", "view") - unknown).max() > 1e-3


def test_types_are_known_by_their_names(typed: TransformerModel) -> None:
    """The codes of a history are its own: another log may number its types in another way."""
    log = typed_log(seed=1)
    order = np.array([2, 0, 1], np.int16)
    names = tuple(log.event_types[n] for n in np.argsort(order))
    other = replace(log, event=order[log.event], event_types=names)
    assert other.to_frame().equals(log.to_frame())
    close(typed.scores(other.histories()), typed.scores(log.histories()))
    users = log.users.ids.reverse()
    close(typed.scores(other.histories(users)), typed.scores(log.histories())[::-1])


def test_extending_with_types_equals_the_full_pass(typed: TransformerModel) -> None:
    rng = np.random.default_rng(1)
    row = [f"i{n}" for n in rng.integers(0, ITEMS, 12)]
    types = rng.choice(["view", "click", "unknown"], 12).tolist()
    session = typed.start()
    for n, item in enumerate(row):
        session = typed.append(session, item, event_type=types[n])
        close(typed.scores_after(session), asked_as(typed, row[: n + 1], *types[: n + 1]))


def test_saved_and_exported_models_know_types(typed: TransformerModel, tmp_path: Path) -> None:
    log = typed_log()
    expected = typed.scores(log.histories())
    for model, home in ((typed, tmp_path / "model"), (exported(typed), tmp_path / "graph")):
        np.testing.assert_allclose(model.scores(log.histories()), expected, rtol=1e-4, atol=1e-4)
        model.save(home, log=log)
        loaded, kept = load_with_log(home)
        assert kept is not None
        assert kept.to_frame().equals(log.to_frame())
        assert (kept.event_types, kept.types) == (log.event_types, log.types)
        np.testing.assert_allclose(loaded.scores(kept.histories()), expected, rtol=1e-4, atol=1e-4)


def test_a_model_saved_before_types_loads(timed: TransformerModel, typed: TransformerModel, tmp_path: Path) -> None:
    log = timed_log(kinds=True)
    for name, model in (("old", timed), ("damaged", typed)):
        model.save(tmp_path / name)
        bundle = read_bundle(tmp_path / name)
        parts = {part: value for part, value in bundle.parts.items() if part != "event_types"}
        write_bundle(tmp_path / name, parts, bundle.about)
    close(load(tmp_path / "old").scores(log.histories()), timed.scores(log.histories()))
    with pytest.raises(BundleError, match="there must be 1 more than the 0 event types"):
        load(tmp_path / "damaged")


# What is told of items

READING = replace(SMALL, fields=("title",))


def wider() -> Catalogue:
    """Titles of the items, and of one of each group that nobody met."""
    log = log_of([*block_events(), ("u0", "i100", 1.0, 99), ("u0", "i0100", 1.0, 99)])
    known = catalogue_of(log)
    titles = known.frame["title"].to_list()
    titles[known.items.code("i0100")] = "first group, new"
    titles[known.items.code("i100")] = "second group, new"
    return Catalogue(known.items, known.frame.with_columns(pl.Series("title", titles)))


def test_an_item_that_nobody_met_stands_with_its_like() -> None:
    log = log_of(block_events())
    model = READING.fit(log, wider())
    assert "i100" in model.items
    assert set(model.weights) == set(SMALL.fit(log).weights), "what only the training needs is not kept"
    np.testing.assert_allclose(np.linalg.norm(model.weights["items"], axis=1), 1, rtol=1e-5)
    new = ["i0100", "i100"]
    shown = model.recommend([["i1", "i3"], ["i13", "i15"]], 1, only=new).lists()
    assert [row[0] for row in shown] == new
    close(model.scores_after(model.start(["i1", "i100"])), score(model, ["i1", "i100"])[0])
    assert np.abs(score(model, ["i1", "i100"]) - score(model, ["i1"])).max() > 1e-3, "it may be in a history"


def test_what_is_told_is_part_of_the_vectors() -> None:
    """The network in training, of own vectors and what is told, scores as the model that keeps their sum."""
    log = log_of(block_events())
    content = np.random.default_rng(0).standard_normal((ITEMS + 2, 5)).astype(np.float32)
    weights = first_weights(READING, log, content)
    first_sum = unit(weights["items"] + weights["content"] @ weights["reading"])
    np.testing.assert_allclose(first_sum, near_vectors(log, 8), atol=1e-6)
    weights["items"] += 0.3
    kept = answering(weights, content, log.item_counts().astype(np.float32))
    assert kept["items"].shape == (ITEMS + 2, 8)
    inputs = going_in([[1, 4, 2, 7, 7]]).tensors()
    tensors = [{name: torch.tensor(each) for name, each in w.items()} for w in (weights, kept)]
    first, second = (states(w, READING, inputs)[0].numpy() for w in tensors)
    np.testing.assert_allclose(first, second, atol=1e-5)


def test_the_matrix_of_what_is_told_learns(tmp_path: Path) -> None:
    log, films = log_of(block_events()), wider()
    recipe = replace(READING, checkpoint=str(tmp_path / "kept"))
    model = recipe.fit(log, films)
    assert not np.allclose(
        model.weights["items"][-1], replace(READING, epochs=1).fit(log, films).weights["items"][-1]
    )
    with pytest.raises(SettingError, match="was written by another fit"):
        recipe.fit(log, catalogue_of(log))
    with pytest.raises(DataError, match="no catalogue"):
        READING.fit(log)


# Without torch


def test_an_exported_model_scores_the_same(timed: TransformerModel, graph: ExportedModel, tmp_path: Path) -> None:
    lists = [["i3"], [], [f"i{n}" for n in range(15)], ["i1", "i4", "i1", "i5"]]
    asked = Histories.of(timed.items, lists)
    np.testing.assert_allclose(graph.scores(asked), timed.scores(asked), rtol=1e-4, atol=1e-4)
    graph.save(tmp_path / "model")
    loaded = load(tmp_path / "model")
    assert isinstance(loaded, ExportedModel)
    np.testing.assert_allclose(loaded.scores(asked), timed.scores(asked), rtol=1e-4, atol=1e-4)


def test_without_torch_a_fit_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtra, match=r"torch is not installed; run: pip install 'palate\[deep\]'"):
        SMALL.fit(log_of(block_events()))


def test_without_safetensors_saving_names_the_extra(
    model: TransformerModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    with pytest.raises(MissingExtra, match="safetensors is not installed"):
        model.save(tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_weights_are_kept_as_safetensors(model: TransformerModel, tmp_path: Path) -> None:
    model.save(tmp_path / "model")
    assert (tmp_path / "model" / "weights.safetensors").is_file()
    assert not list((tmp_path / "model").glob("items*.npy"))


# Live


def test_the_live_service_tells_times_and_types(tmp_path: Path) -> None:
    """A list of the service has the scores of the model asked with the times and types of the events."""
    rng = np.random.default_rng(0)
    kinds = ["view", "click", "purchase"]
    with Store.open(tmp_path / "shop.db") as store:
        moment = 10**15
        for u in range(12):
            for _ in range(8):
                moment += int(rng.choice([20, 400_000])) * 1_000_000
                store.append([Event(f"u{u}", f"i{rng.integers(ITEMS)}", str(rng.choice(kinds)), moment)])
        versions = Versions(store)
        assert train(store, versions, SMALL).activated
        fitted = load(versions.path(1))
        assert isinstance(fitted, TransformerModel)
        assert sorted(fitted.event_types.ids) == sorted(kinds)
        versions.activate(versions.add(disturbed(fitted).save, {}).number)
        live = Live(store, versions)
        model = live.snapshot().active.model
        assert isinstance(model, TransformerModel)
        assert {"types", "0.attend.gap"} <= set(model.weights)
        assert not {"kinds", "between"} & set(model.weights), "the weight of each type is always the same"
        past = store.history("u3")
        index = live.snapshot().index
        row = index.ids(index.at(past.item))
        types = [store.event_types()[number] for number in past.kind.tolist()]

        def shown(request: ListRequest, row: list[str], times: list[int], types: Sequence[str | None]) -> None:
            asked = Histories.of(model.items, [row], times=[times], event_types=[types])
            expected = dict(zip(model.items.ids.to_list(), model.scores(asked)[0].tolist(), strict=True))
            places = live.recommend(request).items
            assert len(places) == 5
            for place in places:
                assert place.score == pytest.approx(expected[place.item_id], rel=1e-4)

        times = past.time.tolist()
        shown(ListRequest(user_id="u3", k=5, explore=0), row, times, types)
        for own in (["click"] * len(row), [None] * len(row), ["never stored"] * len(row)):
            steps = tuple(SessionEvent(item, own[n], time=times[n]) for n, item in enumerate(row))
            shown(ListRequest(session=steps, k=5, explore=0), row, times, own)
        later = SessionEvent("i1", "click", time=times[-1]), SessionEvent("i2", "purchase", time=times[-1])
        request = ListRequest(user_id="u3", session=later, k=5, explore=0)
        shown(request, [*row, "i1", "i2"], [*times, times[-1], times[-1]], [*types, "click", "purchase"])
