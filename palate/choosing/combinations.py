"""Combinations of the recipes that were tried: second stages behind them, and blends."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from palate.choosing.spaces import named
from palate.choosing.verdict import Record
from palate.choosing.worker import POPULARITY
from palate.models.base import Recipe
from palate.models.blend import Blend
from palate.ranking.ranked import Ranked

QUERIES = 20_000, 10_000, 5_000  # users that a second stage learns from, as the time allows
HELD_OUT = {"next": "events", "taste": "ratio", "new-users": "users"}
GAPS = {"next": (1, 0)}  # events between what first stages know and what is asked for, where order counts
COMBINED = 4  # best recipes of different families of which some are combined, with the best of each kind
THRIFTY, HALF = 0.95, 0.5  # share of a family's best metric, at this share of its cost, that is combined in its place


def combinations_of(ranked: Sequence[Record], goal: str, keep_seen: bool) -> list[list[Recipe]]:
    """Return second stages, and blends, of the best trials of a part, each in the order in which they are tried.

    Where items without events are the goal there are none: both rank items of the log alone.
    """
    if goal not in HELD_OUT:
        return [[], []]
    groups = groups_of(_thrifty(ranked))
    stages = [
        Ranked(recipes=group, users=users, held_out=HELD_OUT[goal], gap=gap, keep_seen=keep_seen)
        for users in QUERIES
        for gap in GAPS.get(goal, (1,))
        for group in groups
    ]
    return [[*stages], [Blend(recipes=group) for group in groups]]


def best_of_families(ranked: Sequence[Record]) -> list[Record]:
    """Return the best of each family, without combinations."""
    first = {each.name: each for each in reversed(ranked) if each.name not in ("Blend", "Ranked", POPULARITY)}
    return sorted(first.values(), key=lambda record: -record.outcome.mean)


def _thrifty(ranked: Sequence[Record]) -> list[Record]:
    """Return the best of each family, or a much cheaper one near it: a combination fits its parts several times."""
    found = []
    for best in best_of_families(ranked):
        near = (r for r in ranked if r.name == best.name and r.outcome.mean >= THRIFTY * best.outcome.mean)
        cheapest = min(near, key=_seconds)
        found.append(cheapest if _seconds(cheapest) <= HALF * _seconds(best) else best)
    return found


def _seconds(record: Record) -> float:
    return record.outcome.cost.seconds


def groups_of(best: Sequence[Record]) -> list[tuple[Recipe, ...]]:
    """Return what is combined of the best of each family: first the best with the best of another kind, then a third.

    Stages of one kind find much the same items, so pairs of them come last.
    """
    kinds = {each.name: family.kind for each in best if (family := named(each.name)) is not None}
    leaders = list({kinds.get(each.name, each.name): each for each in reversed(best)}.values())
    chosen = [each for n, each in enumerate(best) if n < COMBINED or each in leaders]
    pairs = sorted(combinations(chosen, 2), key=lambda pair: kinds.get(pair[0].name) == kinds.get(pair[1].name))
    threes = [(*pair, third) for pair in pairs[:1] for third in chosen if third not in pair][:1]
    return [tuple(each.recipe for each in group) for group in (*pairs[:1], *threes, *pairs[1:])]
