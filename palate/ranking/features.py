"""What the second stage knows of a candidate: one list of features, by the same code in training and serving.

Each feature is a function of one user's question: the history, and the candidates with their scores and places in
the first stages. What is counted over a log, as popularity, comes from the log that the first stages were fitted to:
nothing of a label is in it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from palate.arrays import Floats, Ints, Longs
from palate.data.ragged import NEVER, liked
from palate.data.times import HOUR
from palate.errors import SettingError
from palate.kernels.forest import in_history, shared_values
from palate.kernels.rows import crossings
from palate.models.base import Model
from palate.ranking.facts import COUNTED, DAY_PARTS, Facts, parts_of

NEWEST = 5  # liked events that similarities are taken to
PAST = 50  # events of a history that attributes are compared with
FADE = 0.9  # weight of an event beside the next one there


@dataclass(frozen=True, eq=False)
class Question:
    """A user's candidates, C of them, and what the first stages, M of them, say.

    comparing                those of the stages that have a similarity of items
    past, weight, time (H,)  events of the history, oldest first; item (C,); place, score (M, C)
    asked, context           when the list is asked for, and in which context; times are `NEVER` where not known
    """

    facts: Facts
    comparing: tuple[Model, ...]
    past: Ints
    weight: Floats
    time: Longs
    asked: int
    context: Mapping[str, str]
    item: Ints
    place: Ints
    score: Floats

    @cached_property
    def liked(self) -> Ints:
        """Liked items of the history, oldest first."""
        return self.past[liked(self.weight)]

    @cached_property
    def newest(self) -> Ints:
        """The newest of them, the newest first."""
        return self.liked[::-1][:NEWEST]

    @cached_property
    def moment(self) -> int:
        """When the list is asked for, or is taken to be; `NEVER` where the history has no times either."""
        last = int(self.time[-1])
        return self.asked if self.asked != NEVER or last == NEVER else last + self.facts.pause

    def constant(self, *values: float) -> Floats:
        """Return what is the same for every candidate, a row a value."""
        return np.repeat(np.array(values, np.float32)[:, None], len(self.item), axis=1)


@dataclass(frozen=True)
class Group:
    """Features that are computed together: their names, and their values (F, C)."""

    names: tuple[str, ...]
    values: Callable[[Question], Floats]


TIMES = ("pause", "hour", "week day", "times in these hours", "times on this day")


def of_stages(q: Question) -> Floats:
    """How high each first stage puts the candidate, beside its best one."""
    best = q.score.max(axis=1, keepdims=True)
    place = np.log2(1 + q.place.astype(np.float32))
    return np.concatenate([q.score, q.score - best, place])


def of_places(q: Question) -> Floats:
    """Return the best place, and the sum of the reciprocals of all (Cormack et al. 2009)."""
    return np.stack([q.place.min(axis=0), (1 / (10 + q.place)).sum(axis=0)]).astype(np.float32)


def of_items(q: Question) -> Floats:
    """Return what was counted of the item."""
    return q.facts.counts[:, q.item]


def of_users(q: Question) -> Floats:
    """Length of the history, share of repeats in it, popularity of its items, and of the newest ones."""
    popular = q.facts.counts[0]
    repeats = 1 - len(np.unique(q.liked)) / len(q.liked)
    return q.constant(np.log1p(len(q.liked)), repeats, popular[q.liked].mean(), popular[q.newest].mean())


def of_history(q: Question) -> Floats:
    """How often the item was seen, and how many events ago."""
    return in_history(q.past, q.item)


def of_successors(q: Question) -> Floats:
    """How often the item came right after the newest item, as a count and a share, and after the one before it."""
    found = np.zeros((3, len(q.item)), np.float32)
    counts = crossings(q.facts.start, q.facts.column, q.facts.followed, q.newest[:2], q.item)
    found[0], found[2 : 1 + len(counts)] = counts[0], counts[1:]
    low, high = q.facts.start[q.newest[0]], q.facts.start[q.newest[0] + 1]
    found[1] = found[0] / max(q.facts.followed[low:high].sum(), np.float32(1))
    return found


def of_similarity(q: Question) -> Floats:
    """Similarity to the newest item, the one before, the nearest of the newest and their mean, a stage at a time."""
    found = []
    for model in q.comparing:
        near = model.similarities(q.newest, q.item)
        second = near[1] if len(near) > 1 else np.zeros_like(near[0])
        found.append(np.stack([near[0], second, near.max(axis=0), near.mean(axis=0)]))
    return np.concatenate(found) if found else q.constant()


def of_attributes(q: Question) -> Floats:
    """How much of each attribute the item shares with the newest item, and with the history."""
    past = q.liked[-PAST:]
    found = [shared_values(each.start, each.code, past, q.item, FADE) for each in q.facts.attributes]
    return np.concatenate(found) if found else q.constant()


def of_times(q: Question) -> Floats:
    """Return the pause since the newest event, hour and day, and how much the item is one of them; 0 if unknown."""
    if q.moment == NEVER:
        return q.constant(-1, -1, -1, 0, 0)
    last = int(q.time[-1])
    pause = -1.0 if last == NEVER else float(np.log1p(max(0, q.moment - last) / HOUR))
    part, day = parts_of(np.array([q.moment]))[:, 0].tolist()
    of_item = q.facts.parts[[part, day]][:, q.item]
    return np.concatenate([q.constant(pause, q.moment / HOUR % 24, day - DAY_PARTS), of_item])


def of_contexts(q: Question) -> Floats:
    """Return the value of each key of the context, and how much the item is one for it; -1 and 0 if unknown."""
    found = [each.features(q.context.get(each.key, ""), q.item) for each in q.facts.contexts]
    return np.concatenate(found) if found else q.constant()


def of_prices(q: Question) -> Floats:
    """Return the price, and its ratio to what the user usually takes; logarithms, -1 and 0 where one is not known."""
    prices = q.facts.prices
    own, past = prices[q.item], prices[q.liked]
    usual = past[past >= 0]
    ratio = np.where(own >= 0, own - usual.mean(), 0) if len(usual) else np.zeros(len(own))
    return np.stack([own, ratio]).astype(np.float32)


def groups(models: Sequence[Model], facts: Facts) -> tuple[Group, ...]:
    """Return the list of all features for these first stages and facts."""
    attributes = [each.attribute for each in facts.attributes]
    stages = [f"{m} {type(model.recipe).__name__}" for m, model in enumerate(models, 1)]
    near = [stage for stage, model in zip(stages, models, strict=True) if compares(model)]

    def each(of: Sequence[str], *words: str) -> tuple[str, ...]:
        return tuple(f"{word} {name}" for name in of for word in words)

    return (
        Group(
            tuple(f"{word} {name}" for word in ("score of", "score below", "place in") for name in stages), of_stages
        ),
        Group(("best place", "reciprocal places"), of_places),
        Group(COUNTED, of_items),
        Group(("events", "repeats", "popularity of history", "popularity of newest"), of_users),
        Group(("times seen", "events since seen"), of_history),
        Group(("followed newest", "share after newest", "followed second"), of_successors),
        Group(each(near, "like newest by", "like second by", "nearest by", "like newest five by"), of_similarity),
        Group(each(attributes, "shares with newest", "shares with history"), of_attributes),
        Group(("price", "price beside usual"), of_prices),
        *([Group(TIMES, of_times)] if facts.timed else []),
        Group(each([usual.key for usual in facts.contexts], "context", "times with this"), of_contexts),
    )


def compares(model: Model) -> bool:
    """Whether a model has a similarity of items."""
    if model.item_embeddings is not None:
        return True
    try:
        model.item_similarity(0)
    except SettingError:
        return False
    return True
