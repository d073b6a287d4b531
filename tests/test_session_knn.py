"""Session neighbours against sums over all sessions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from conftest import block_events, log_of

from palate import SessionKNN
from palate.arrays import Doubles, Floats
from palate.data.interactions import Interactions
from palate.models.base import Model

DAY = 24 * 3_600_000_000  # microseconds


def random_log(seed: int) -> Interactions:
    draw = np.random.default_rng(seed)
    events = [
        (f"u{user}", f"i{int(9 * draw.random() ** 2)}", float(draw.choice([1, 1, 2, -1])), 10 * user + n)
        for user in range(30)
        for n in range(draw.integers(1, 7))
    ]
    return log_of([*events, *((f"all{n}", f"i{n}", 1.0, n) for n in range(9))])


def reference(log: Interactions, recipe: SessionKNN, history: list[str]) -> Doubles:
    """Votes of the sessions, in the formulas' own words; all sessions are looked at."""
    names = log.items.ids.to_list()
    liked, ends = [], []
    for u in range(len(log.users)):
        rows = [n for n in range(log.start[u], log.start[u + 1]) if log.weight[n] > 0]
        if rows:
            liked.append([int(log.item[n]) for n in rows][-recipe.longest :])
            ends.append(log.ages[rows[-1]] / DAY)
    past = [names.index(each) for each in history][-recipe.longest :]
    counts = [sum(i in each for each in liked) for i in range(len(names))]
    similarity = []
    for session, age in zip(liked, ends, strict=True):
        total = 0.0
        for item in set(past) & set(session):
            back = past[::-1].index(item)
            total += recipe.decay**back * math.log(1 + len(liked) / counts[item])
        similarity.append(total * (1 if recipe.half_life_days is None else 0.5 ** (age / recipe.half_life_days)))
    least = sorted(similarity)[-min(len(similarity), recipe.neighbours)]
    votes = np.zeros(len(names))
    for session, like in zip(liked, similarity, strict=True):
        if like > 0 and like >= least:
            newest = next(item for item in past[::-1] if item in session)
            place = len(session) - 1 - session[::-1].index(newest)
            for n, item in enumerate(session):
                votes[item] += like * recipe.near ** max(0, abs(n - place) - 1)
    return votes / np.maximum(counts, 1) ** recipe.beta


def scores_of(model: Model, history: list[str]) -> Floats:
    return np.asarray(model.scores(model.histories([history]))[0])


@pytest.mark.parametrize(
    "recipe",
    [
        SessionKNN(),
        SessionKNN(decay=0.9, near=0.4, beta=0.0, half_life_days=40.0),
        SessionKNN(neighbours=5, half_life_days=30.0, beta=0.5),
        SessionKNN(longest=2),
    ],
    ids=str,
)
@pytest.mark.parametrize("seed", [0, 1])
def test_scores_are_the_votes_of_the_sessions(recipe: SessionKNN, seed: int) -> None:
    log = random_log(seed)
    model = recipe.fit(log)
    for history in (["i0"], ["i3", "i1"], ["i2", "i7", "i2", "i0", "i5"]):
        wanted = reference(log, recipe, history).astype(np.float32)
        np.testing.assert_allclose(scores_of(model, history), wanted, rtol=1e-5, atol=1e-6)


def test_the_newest_sessions_of_an_item_are_looked_at() -> None:
    log = log_of([(f"u{n}", item, 1.0, n) for n in range(6) for item in ("a", "old" if n < 3 else "new")])
    scores = dict(zip(log.items.ids, scores_of(SessionKNN(sample=3).fit(log), ["a"]), strict=True))
    assert scores["new"] > 1
    assert scores["old"] < 1e-6
    assert scores_of(SessionKNN().fit(log), ["a"])[log.items.code("old", "item")] > 1


def test_the_newest_event_counts_most() -> None:
    log = log_of([("u", "a", 1.0, 0), ("u", "x", 1.0, 1), ("v", "b", 1.0, 0), ("v", "y", 1.0, 1)])
    model = SessionKNN().fit(log)
    assert model.recommend([["a", "b"], ["b", "a"]], 1).lists() == [["y"], ["x"]]


def test_parts_of_a_score_add_up_to_it() -> None:
    log = random_log(3)
    model = SessionKNN(beta=0.2, half_life_days=50.0).fit(log)
    past = model.histories([["i2", "i7", "i2", "i0"]])
    every = np.arange(len(model.items), dtype=np.int32)
    parts = model.contributions(past.rows, every)
    np.testing.assert_allclose(parts.sum(axis=0), model.scores(past)[0], rtol=1e-5, atol=1e-6)
    assert not parts[0].any()  # the item comes again


def test_a_model_of_no_sessions_ranks() -> None:
    log = log_of(block_events())
    model = SessionKNN().fit(log).without(log.users.texts())
    assert len(model.recommend([["i0"]], 3).lists()[0]) == 3
