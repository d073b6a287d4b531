"""The embedding model: training, fold-in, reasons, neighbours, and an end before its time."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from conftest import ITEMS, USERS, block_events, log_of

from palate.arrays import Doubles
from palate.data.histories import Histories
from palate.data.interactions import Interactions
from palate.data.ragged import Ragged
from palate.data.readers import read_log
from palate.data.splits import split_ratio
from palate.data.vocabulary import Vocabulary
from palate.errors import SettingError, UnknownId
from palate.evaluation.protocol import Exam
from palate.kernels import reference
from palate.models.base import Progress
from palate.models.embedding import DEFAULTS, Embedding, EmbeddingModel, balanced
from palate.models.folding import BlockFolding
from palate.models.negative_sampling import NegativeSample

RATINGS = Path(__file__).parents[1] / "examples" / "movielens-small" / "ratings.csv.gz"
LOSSES = tuple(DEFAULTS)
every_loss = pytest.mark.parametrize("loss", LOSSES)


def small(loss: str = "softmax", epochs: int = 20, **settings: int | float | str) -> Embedding:
    return replace(Embedding(dim=6, loss=loss, l2=0.02, epochs=epochs, threads=1), **settings)  # type: ignore[arg-type]


def losses_of(recipe: Embedding, log: Interactions) -> list[float]:
    seen: list[Progress] = []
    recipe.fit(log, watch=seen.append)
    return [progress.loss for progress in seen if progress.loss is not None]


def refolded(model: EmbeddingModel) -> EmbeddingModel:
    """Return the model as if it had met nobody: everyone is folded in."""
    return replace(model, history_hashes=np.zeros_like(model.history_hashes))


# Training


@every_loss
def test_the_loss_falls(loss: str, block_log: Interactions) -> None:
    losses = losses_of(small(loss, l2=0.0, learning_rate=0.2), block_log)
    assert len(losses) == 20
    assert np.mean(losses[-3:]) < 0.95 * np.mean(losses[:3])


@every_loss
def test_one_thread_and_a_seed_repeat_every_bit(loss: str, block_log: Interactions) -> None:
    one, same, other = (small(loss, 3, seed=seed).fit(block_log) for seed in (5, 5, 6))
    assert one.user_vectors.tobytes() == same.user_vectors.tobytes()
    assert one.item_vectors.tobytes() == same.item_vectors.tobytes()
    assert not np.isclose(one.item_vectors, other.item_vectors, atol=1e-4).any(axis=1).all()


@every_loss
def test_two_threads_learn_as_well(loss: str, block_log: Interactions) -> None:
    losses = [losses_of(small(loss, l2=0.0, learning_rate=0.2, threads=n), block_log)[-1] for n in (1, 2)]
    assert losses[1] == pytest.approx(losses[0], rel=0.2)


@every_loss
@pytest.mark.parametrize("sampler", ["uniform", "popularity", "unseen"])
def test_every_sampler_learns_the_groups(loss: str, sampler: str, block_log: Interactions) -> None:
    model = small(loss, 60, sampler=sampler, negatives=3, learning_rate=0.2).fit(block_log)
    scores = model.scores(block_log.histories())
    own = np.array([int(str(user)[1:]) < 18 for user in block_log.users.ids])
    low = np.array([int(str(item)[1:]) < 12 for item in block_log.items.ids])
    right = own[:, None] == low
    assert scores[right].mean() > scores[~right].mean() + 0.5


@every_loss
@pytest.mark.parametrize("rate", [1e2, 1e6, 1e30])
def test_a_rate_much_too_large_is_an_error_or_harmless(loss: str, rate: float, block_log: Interactions) -> None:
    with suppress(SettingError):
        model = small(loss, 3, learning_rate=rate).fit(block_log)
        assert np.isfinite(model.user_vectors).all()
        assert np.isfinite(model.item_vectors).all()


# Weights


@pytest.mark.parametrize("power", [0.0, 0.4, 1.0])
def test_balanced_weights(power: float) -> None:
    log = log_of([(f"u{n % 7 % 5}", f"i{n}", 1 + n % 3, n) for n in range(40)])
    weight = balanced(log, power)
    sums = np.bincount(log.user, log.weight)
    expected = log.weight * sums[log.user] ** -power
    np.testing.assert_allclose(weight, expected / expected.mean(), rtol=1e-5)
    if power == 1:
        np.testing.assert_allclose(np.bincount(log.user, weight), 40 / 5, rtol=1e-5)


def test_balanced_weights_of_people_without_any() -> None:
    """A person without events in the middle and at the end, and one whose weights are all 0."""
    users = Vocabulary.of(["a", "b", "c", "d"])
    log = Interactions.of(
        users,
        Vocabulary.of(["x", "y"]),
        np.array([0, 0, 2], np.int32),
        np.array([0, 1, 1], np.int32),
        np.array([1, 2, 0], np.float32),
    )
    for power in (0.0, 0.25, 1.0):
        np.testing.assert_allclose(balanced(log, power), [1, 2, 0], rtol=1e-6)


@every_loss
def test_a_heavy_event_pulls_more(loss: str) -> None:
    """Person u0 with i0 and i13, which no one combines: the heavier one comes first."""
    for heavy, light in (("i0", "i13"), ("i13", "i0")):
        events = [event for event in block_events() if event[0] != "u0"]
        log = log_of([*events, ("u0", heavy, 20.0, 0), ("u0", light, 0.1, 1)])
        model = small(loss, 80, learning_rate=0.2, user_power=0.0).fit(log)
        scores = model.scores(log.histories(["u0"]))[0]
        assert scores[log.items.code(heavy)] > scores[log.items.code(light)] + 0.1


# Settings


def test_none_takes_the_figures_of_the_loss() -> None:
    for loss in LOSSES:
        recipe = Embedding(loss=loss).resolved()
        assert {name: getattr(recipe, name) for name in DEFAULTS[loss]} == DEFAULTS[loss]
        assert recipe == recipe.resolved()
    assert Embedding(l2=0.0, negatives=3).resolved().l2 == 0
    assert Embedding(l2=0.0, negatives=3).resolved().negatives == 3


@pytest.mark.parametrize(
    ("setting", "value"),
    [("dim", 0), ("negatives", 0), ("epochs", 0), ("learning_rate", np.inf), ("l2", -1), ("loss", "hinge")],
)
def test_a_bad_setting_is_quoted_with_its_rule(setting: str, value: float | str) -> None:
    with pytest.raises(SettingError, match=f"{setting}={value!r}: must be"):
        Embedding(**{setting: value})  # type: ignore[arg-type]


# Watch, Ctrl-C


@every_loss
def test_progress_rises_to_one(loss: str, block_log: Interactions) -> None:
    seen: list[Progress] = []
    small(loss, 4).fit(block_log, watch=seen.append)
    done = [progress.done for progress in seen]
    assert done == sorted(done)
    assert done[-1] == 1
    assert all(0 < progress.done <= 1 and progress.rate > 0 for progress in seen)
    ends = [progress for progress in seen if progress.loss is not None]
    assert [progress.epoch for progress in ends] == [1, 2, 3, 4]


def model_after(epochs: int, recipe: Embedding, log: Interactions) -> EmbeddingModel:
    """Return the model as it stood at the end of an epoch, by the watch."""
    kept: list[EmbeddingModel] = []

    def watch(progress: Progress) -> None:
        if progress.epoch == epochs and progress.model is not None:
            model = progress.model
            assert isinstance(model, EmbeddingModel)
            kept.append(model)

    recipe.fit(log, watch=watch)
    return kept[0]


@pytest.fixture
def small_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the watch called in the middle of an epoch too."""
    monkeypatch.setattr("palate.models.sgd.SLICE_SAMPLES", 40)
    monkeypatch.setattr("palate.models.sgd.BLOCK_SAMPLES", 20)


@pytest.mark.usefixtures("small_slices")
@every_loss
def test_ctrl_c_gives_the_last_full_epoch(loss: str, block_log: Interactions) -> None:
    recipe, middle = small(loss, 6), []

    def interrupt(progress: Progress) -> None:
        if progress.epoch == 3 and progress.loss is None:
            middle.append(progress.done)
            raise KeyboardInterrupt

    stopped = recipe.fit(block_log, watch=interrupt)
    assert 2 / 6 < middle[0] < 3 / 6
    second = model_after(2, recipe, block_log)
    np.testing.assert_array_equal(stopped.user_vectors, second.user_vectors)
    np.testing.assert_array_equal(stopped.item_vectors, second.item_vectors)


@pytest.mark.usefixtures("small_slices")
def test_ctrl_c_in_the_first_epoch_is_passed_on(block_log: Interactions) -> None:
    def interrupt(_: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        small().fit(block_log, watch=interrupt)


@every_loss
def test_a_watch_ends_the_fit(loss: str, block_log: Interactions) -> None:
    recipe = small(loss, 5)
    ended = recipe.fit(block_log, watch=lambda progress: progress.epoch == 2 and progress.loss is not None)
    np.testing.assert_array_equal(ended.item_vectors, model_after(2, recipe, block_log).item_vectors)


# History in


@every_loss
def test_a_known_history_gets_the_trained_vector(loss: str, block_log: Interactions) -> None:
    model = small(loss, 5).fit(block_log)
    histories = block_log.histories()
    np.testing.assert_array_equal(model.vectors(histories), model.user_vectors)
    longer = Histories.of(block_log.items, [["i0", "i1", "i13"]], ["u0"])
    assert not np.allclose(model.vectors(longer)[0], model.user_vectors[0], atol=1e-3)
    lists = [block_log.items.names(row).to_list() for row in np.split(block_log.item, block_log.start[1:-1])]
    backwards = Histories.of(block_log.items, [row[::-1] for row in lists], block_log.users.ids)
    np.testing.assert_array_equal(model.vectors(backwards), model.user_vectors)
    stranger = Histories.of(block_log.items, lists[:1], ["someone"])
    assert not np.array_equal(model.vectors(stranger)[0], model.user_vectors[0])
    np.testing.assert_allclose(
        model.vectors(stranger)[0], refolded(model).vectors(histories)[0], rtol=1e-4, atol=1e-6
    )


def test_fold_in_finds_the_minimum() -> None:
    """The float64 gradient at the answer is a small part of the one at the start."""
    rng = np.random.default_rng(1)
    items = rng.normal(size=(ITEMS, 6)).astype(np.float32)
    lengths = rng.integers(1, 8, USERS)
    start = np.append(0, np.cumsum(lengths))
    column = np.concatenate([rng.permutation(ITEMS)[:n] for n in lengths]).astype(np.int32)
    rows = Ragged(start, column, rng.uniform(0.5, 3, start[-1]).astype(np.float32))
    sample = NegativeSample(rng.permutation(ITEMS)[:15].astype(np.int32), rng.uniform(-1, 1, 15).astype(np.float32))
    found, _ = BlockFolding(items, sample, 0.4, 0.1).vectors(rows)

    def size(user: int, u: Doubles) -> float:
        part = slice(start[user], start[user + 1])
        return float(
            np.linalg.norm(
                reference.of_user(
                    reference.softmax,
                    u,
                    items.astype(float),
                    column[part].astype(np.int64),
                    rows.weight[part].astype(float),
                    sample.items.astype(np.int64),
                    np.exp(sample.log_weight.astype(float)),
                    0.4,
                    0.1,
                ).user
            )
        )

    shares = [size(user, found[user].astype(float)) / size(user, np.zeros(6)) for user in range(USERS)]
    assert np.max(shares) < 0.1, shares
    assert np.median(shares) < 0.05, shares


def test_the_size_of_weights_does_not_matter_to_fold_in() -> None:
    rng = np.random.default_rng(2)
    items = rng.normal(size=(ITEMS, 6)).astype(np.float32)
    sample = NegativeSample(np.arange(ITEMS, dtype=np.int32), np.zeros(ITEMS, np.float32))
    start, column = np.array([0, 3, 3]), np.array([4, 1, 9], np.int32)
    weight = np.array([1, 2, 5], np.float32)
    folding = BlockFolding(items, sample, 0.4, 0.1)
    one, ten = (folding.vectors(Ragged(start, column, factor * weight))[0] for factor in (1, 10))
    np.testing.assert_allclose(one, ten, rtol=1e-3, atol=1e-4)
    assert not one[1].any()


@pytest.fixture(scope="module")
def movies() -> Exam:
    return Exam.of(split_ratio(read_log(RATINGS)))


@pytest.mark.parametrize("loss", LOSSES)
def test_fold_in_is_as_good_as_training(loss: str, movies: Exam) -> None:
    """NDCG@10 of everyone folded in, on MovieLens latest-small: at most 5% below the trained vectors."""
    model = Embedding(dim=32, loss=loss, epochs=20, threads=1).fit(movies.split.train)
    trained, folded = (movies.grade(each, 10)["NDCG@10"] for each in (model, refolded(model)))
    assert trained > 0.1
    assert folded > 0.95 * trained


@every_loss
def test_no_history_gets_the_popular_items(loss: str) -> None:
    events = [(f"u{n}", f"i{m}", 1.0, m) for m in range(6) for n in range(2 * m + 1)]
    model = small(loss, 3).fit(log_of([*events, ("u0", "i0", 30.0, 9)]))
    assert model.recommend([[], ["?"]], 6).lists() == [["i0", "i5", "i4", "i3", "i2", "i1"]] * 2


# Reasons and neighbours


def toy() -> EmbeddingModel:
    """Three directions; i0 and i1 point one way, i2 another, i3 against the first, i4 the third way."""
    vectors = 4 * np.array([[1, 0, 0], [1, 0.5, 0], [0, 1, 0], [-1, 0, 0], [0, 0, 1]], np.float32)
    items = Vocabulary.of([f"i{n}" for n in range(5)])
    users = Vocabulary.of(["u0", "u1"])
    people = np.array([[1, 0, 0], [0.9, 0.1, 0]], np.float32)
    recipe = Embedding(dim=3, l2=0.1).resolved()
    return EmbeddingModel(recipe, items, users, people, vectors, np.ones(5, np.float32), np.zeros(2, np.uint64))


def test_reasons_are_parts_of_the_score() -> None:
    """Each is what the event adds to the gradient that holds the vector where it is, up to one factor."""
    model, history = toy(), ["i0", "i2", "i4", "i3"]
    parts = model.explain(history, "i1")
    asked = model.histories([history])
    u = model.vectors(asked)[0].astype(float)
    items = model.item_vectors.astype(float)
    scores = items @ u / np.sqrt(3)
    free = np.array([1])
    influence = {n: -reference.softmax(scores[n], scores[free], np.ones(1)).positive for n in (0, 2, 4, 3)}
    expected = {f"i{n}": influence[n] * items[n] @ items[1] / 3 for n in (0, 2, 4, 3)}
    positive = sorted(((name, part) for name, part in expected.items() if part > 0), key=lambda pair: -pair[1])
    assert [name for name, _ in parts] == [name for name, _ in positive]
    got, wanted = (np.array([part for _, part in pairs]) for pairs in (parts, positive))
    np.testing.assert_allclose(got / got.sum(), wanted / wanted.sum(), rtol=0.03)


def test_reasons_come_from_the_past_alone() -> None:
    model = toy()
    assert {name for name, _ in model.explain(["i0", "?", "i2"], "i1")} == {"i0", "i2"}
    assert model.explain(["i0"], "i3") == []
    assert model.explain([], "i1") == []
    with pytest.raises(UnknownId, match="'nothing'"):
        model.explain(["i0"], "nothing")


def test_neighbours() -> None:
    model = toy()
    found = model.similar_items(["i0", "i2"], 10)
    assert found.lists() == [["i1", "i2", "i4", "i3"], ["i1", "i0", "i3", "i4"]]
    assert found.to_frame().filter(pl.col("target_item_id") == "i0")["score"][0] == pytest.approx(1 / np.sqrt(1.25))
    assert model.similar_users(["u1"], 3).lists() == [["u0"]]
    for ask in (model.similar_items, model.similar_users):
        with pytest.raises(UnknownId, match="'nothing'"):
            ask(["nothing"])
        with pytest.raises(SettingError, match="k=0"):
            ask([], 0)
