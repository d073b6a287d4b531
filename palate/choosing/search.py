"""The search: every family once, settings of the best by successive halving, larger parts of the log, and blends."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, cycle, islice

import numpy as np

from palate.choosing.bench import Bench, Enough, Part
from palate.choosing.goals import Goal
from palate.choosing.journal import text_of
from palate.choosing.samplers import Sampler, sampler_of, settings_of
from palate.choosing.spaces import FAMILIES, Family, Settings, changed, label, named, not_installed
from palate.choosing.verdict import Record
from palate.choosing.worker import POPULARITY
from palate.ending import lift
from palate.models.base import Recipe
from palate.models.blend import Blend
from palate.ranking.ranked import Ranked

FIRST = 0.2  # share of what is left that the first trial of a family may take
KEPT = 4  # families whose settings are sought
ROUNDS = 3  # of halving
ASKED = 4  # settings of a family in the first round, twice as many in the next
SETTINGS = 0.55  # share of what is left that goes to settings, where nothing else is planned
LEAST, MOST = 0.2, 0.8  # between them, where combinations are planned
GAIN = 0.003  # share of the metric that a round must gain for another one to begin
CLIMB = 6, 3  # recipes that are tried on the next part of the log, and on those after it
UNSURE = 0.25  # share of the metric by which intervals of differences are too wide for settings to be separated
BEHIND = 0.85  # share of the best metric from which on a family is worth its settings
COMBINED = 4  # best recipes of different families of which some are combined
KEPT_BACK = 3  # trials for them
QUERIES = 20_000, 5_000  # users that a second stage learns from, as the time allows
FEW = 3_000  # users up to whom the best recipes are tried once more, on other cuts
AGAIN, FINALISTS = 2, 6  # such cuts, and recipes
HELD_OUT = {"next": "events", "taste": "ratio", "new-users": "users"}


class Search:
    """One search: its bench, the parts of the log from small to large, and what competes."""

    def __init__(self, bench: Bench, parts: Sequence[Part], goal: Goal, seed: int, start: Sequence[Recipe]) -> None:
        self.bench, self.parts, self.goal, self.seed, self.start = bench, parts, goal, seed, start
        self.part = parts[0]  # the largest that was reached
        self.cuts: list[Part] = []  # other cuts of that part that the best were tried on once more
        self._combined = True  # whether blends and second stages compete

    def run(self, candidates: Sequence[Recipe | Family] | None) -> None:
        """Search until the time is over, or nothing is left that is likely to gain."""
        self._combined = candidates is None
        try:
            self._first(FAMILIES if candidates is None else candidates)
            discerns = self._discerns()
            if discerns:
                self._settings()
            self._climb()
            if discerns:
                self._combine()
                self._again()
        except Enough:
            pass
        except KeyboardInterrupt:  # the best so far is wanted, and its fit may take its time
            lift()
        self.part = max((each for each in self.parts if self._reached(each)), key=_number, default=self.part)

    def _first(self, candidates: Sequence[Recipe | Family]) -> None:
        """Try every family once, from cheap to dear; recipes that were given, as they are."""
        facts, part = self.part.facts, self.part
        given = [each for each in candidates if isinstance(each, Recipe)]
        if any(isinstance(each, Family) and each.name == "Hybrid" for each in candidates):
            self.bench.left_out.update(not_installed(facts))
        starts = [*self.start, *given]
        for family in (each for each in candidates if isinstance(each, Family)):
            if reason := family.bars(facts, self.goal.name):
                self.bench.left_out[family.name] = reason
            else:
                starts += family.starts(facts)
        cheap_first = sorted(starts, key=lambda recipe: self.bench.costs.predict(recipe, facts).seconds)
        self._afford(cheap_first, part, FIRST)

    def _afford(self, recipes: Sequence[Recipe], part: Part, share: float = 1.0) -> list[Record]:
        """Try what can be afforded, and note why the others are left out."""
        found = list[Record]()
        waiting = iter(recipes)
        while batch := list(islice(self._affordable(waiting, part, share), self.bench.width)):
            found += self.bench.grade(batch, part)
        return found

    def _affordable(self, recipes: Iterator[Recipe], part: Part, share: float) -> Iterator[Recipe]:
        for recipe in recipes:
            reason = self.bench.refusal(recipe, part, share)
            if not reason or (type(recipe).__name__ == POPULARITY and not self.bench.records):
                yield recipe
            else:
                self.bench.left_out.setdefault(label(recipe), reason)

    def _discerns(self) -> bool:
        """Whether more trials could be separated; for a number of trials, all of them are run."""
        best = _of_families(self.bench.best(self.part))[:2]
        if len(best) < 2 or math.isinf(self.bench.left):
            return True
        gap = best[0].minus(best[1])
        return (gap.high - gap.low) / 2 <= UNSURE * best[0].outcome.mean

    def _settings(self) -> None:
        """Seek settings of the best families: half as many families in each round, with twice the settings."""
        hunts = [self._hunt(family) for family in self._promising()]
        seconds = self._settings_share() * max(0.0, self.bench.left - self.bench.reserve)
        end = self.bench.spent + seconds
        for n in range(ROUNDS):
            before = self._top()
            self._round(hunts, ASKED * 2**n, self.bench.spent + (end - self.bench.spent) / (ROUNDS - n))
            hunts = sorted(hunts, key=lambda hunt: -hunt.best)[: math.ceil(len(hunts) / 2)]
            if n and self._top() < (1 + GAIN) * before:
                return

    def _round(self, hunts: Sequence[Hunt], settings: int, until: float) -> None:
        """Ask each family for settings in turn, until this many seconds are spent; keep trials for combinations."""
        turns = islice(cycle(hunts), len(hunts) * settings)
        while self.bench.spent < until and self.bench.trials_left > KEPT_BACK * self._combined:
            batch = [hunt.ask() for hunt in islice(turns, self.bench.width)]
            if not batch:
                return
            trials = [asked for asked in batch if not self.bench.refusal(asked.recipe, self.part)]
            self.bench.grade([asked.recipe for asked in trials], self.part)
            for asked in batch:
                asked.note(self._of_recipe(asked.recipe))

    def _climb(self) -> None:
        """Try the best on the next larger part of the log, and fewer of them on the one after it."""
        for part, most in zip(self.parts[1:], (CLIMB[0], *[CLIMB[1]] * len(self.parts)), strict=False):
            ranked = self.bench.best(self.part)
            popular = [each.recipe for each in ranked if each.name == POPULARITY][:1]
            best = _varied(ranked, most)
            families = dict.fromkeys(each.name for each in ranked[:most])
            starts = [r for name in families if (own := named(name)) for r in own.starts(part.facts)]
            self._afford([*popular, *best, *starts], part)
            if not self._reached(part):
                return
            self.part = part

    def _reached(self, part: Part) -> bool:
        """Whether a trial of a part ended that is worth a choice."""
        return any(each.name != POPULARITY for each in self.bench.best(part))

    def _combine(self) -> None:
        """Try blends of the best recipes of different families, and a second stage behind them."""
        self._afford(self._combinations(), self.part)

    def _again(self) -> None:
        """Try the best once more on other cuts where users are few: the best of many trials is partly luck."""
        if self.goal.name == "next" or self.part.asked > FEW:  # the last events are the same ones in each cut
            return
        ranked = self.bench.best(self.part)
        popular = [each.recipe for each in ranked if each.name == POPULARITY][:1]
        for n in range(1, AGAIN + 1):
            cut = replace(self.part, number=len(self.parts) - 1 + n, seed=self.part.seed + n)
            self._afford([*popular, *_varied(ranked, FINALISTS)], cut)
            self.cuts.append(cut)

    def finalists(self) -> list[Record]:
        """Return the trials to decide between, the best first: those of all cuts together."""
        ranked = self.bench.best(self.part)
        for cut in self.cuts:
            more = {text_of(each.recipe): each for each in self.bench.best(cut)}
            if ranked and text_of(ranked[0].recipe) not in more:  # there was no time for the best one
                break
            both = [(each, more[text_of(each.recipe)]) for each in ranked if text_of(each.recipe) in more]
            if not any(each.name != POPULARITY for each, _ in both):
                break
            ranked = sorted((each.joined(other) for each, other in both), key=lambda record: -record.outcome.mean)
        return ranked

    def _combinations(self) -> list[Recipe]:
        """Return blends and a second stage of the best recipes of different families that can be afforded."""
        if self.goal.name not in HELD_OUT or not self._combined:  # blends rank items of the log alone
            return []
        best = [each.recipe for each in _of_families(self.bench.best(self.part))[:COMBINED]]
        pairs = list(combinations(best, 2))
        held_out = HELD_OUT[self.goal.name]
        stages = (Ranked(recipes=pair, users=n, held_out=held_out) for pair in pairs for n in QUERIES)
        blends = (Blend(recipes=pair) for pair in pairs)
        of_three = [Blend(recipes=tuple(best[:3]))] if len(best) > 2 else []
        ways: list[Iterable[Recipe]] = [blends, of_three, stages]
        found = [next((each for each in way if not self.bench.refusal(each, self.part)), None) for way in ways]
        if pairs and not any(found):
            self.bench.left_out["Blend"] = self.bench.refusal(Blend(recipes=pairs[0]), self.part)
        return [each for each in found if each is not None]

    def _settings_share(self) -> float:
        """Share of what is left that settings may take, so that time is left for a second stage."""
        left = self.bench.left - self.bench.reserve
        if math.isinf(left) or left <= 0:
            return SETTINGS
        planned = self._combinations()
        needed = max((self.bench.trial(r, self.parts[-1]) + self.bench.last_fit(r) for r in planned), default=0.0)
        if len(self.parts) > 1:
            return SETTINGS / 2
        return float(np.clip(1 - needed / left, LEAST, MOST)) if needed < left else SETTINGS

    def _promising(self) -> list[Family]:
        """Families near the best one, the best first."""
        ranked = _of_families(self.bench.best(self.part))
        near = [r for r in ranked if r.outcome.mean >= BEHIND * ranked[0].outcome.mean]
        families = [named(each.name) for each in near]
        return [each for each in families if each is not None and self._sought(each)][:KEPT]

    def _sought(self, family: Family) -> bool:
        return family.name != POPULARITY or self.part.facts.time is not None

    def _hunt(self, family: Family) -> Hunt:
        own = [each for each in self.bench.best(self.part) if each.name == family.name]
        return Hunt(Place(family, own[0].recipe), self.seed, [(each.recipe, each.outcome.mean) for each in own])

    def _of_recipe(self, recipe: Recipe) -> float:
        same = (each.outcome.mean for each in self.bench.best(self.part) if each.recipe == recipe)
        return next(same, -math.inf)

    def _top(self) -> float:
        ranked = self.bench.best(self.part)
        return ranked[0].outcome.mean if ranked else 0.0


@dataclass(frozen=True)
class Place:
    """A recipe whose settings are sought, and what is tried with each of its changes: itself, or a combination."""

    family: Family
    recipe: Recipe
    within: Callable[[Recipe], Recipe] = lambda changed: changed


class Hunt:
    """The settings of one family: the recipe that they change, and the best metric so far."""

    def __init__(self, place: Place, seed: int, known: Iterable[tuple[Recipe, float]]) -> None:
        self.best = -math.inf
        self._place = place
        self._sampler: Sampler = sampler_of(place.family, seed)
        for recipe, value in known:
            if type(recipe) is type(place.recipe):
                self.note(settings_of(place.family, recipe), value)

    def ask(self) -> Proposal:
        """Return a recipe to try."""
        settings = self._sampler.ask()
        return Proposal(self, settings, self._place.within(changed(self._place.recipe, settings)))

    def note(self, settings: Settings, value: float) -> None:
        """Take the metric of settings."""
        self.best = max(self.best, value)
        self._sampler.note(settings, value)


class Proposal:
    """Settings that were asked for, and the recipe with them."""

    def __init__(self, hunt: Hunt, settings: Settings, recipe: Recipe) -> None:
        self.hunt, self.settings, self.recipe = hunt, settings, recipe

    def note(self, value: float) -> None:
        """Take the metric."""
        self.hunt.note(self.settings, value)


def _number(part: Part) -> int:
    return part.number


def _of_families(ranked: Sequence[Record]) -> list[Record]:
    """Return the best of each family, without combinations."""
    first = {each.name: each for each in reversed(ranked) if each.name not in ("Blend", "Ranked", POPULARITY)}
    return sorted(first.values(), key=lambda record: -record.outcome.mean)


def _varied(ranked: Sequence[Record], most: int) -> list[Recipe]:
    """Return the best recipes, a third of them of one family at most."""
    taken = list[Record]()
    for each in ranked:
        if sum(other.name == each.name for other in taken) < max(1, most // 3) and each.name != POPULARITY:
            taken.append(each)
    return [each.recipe for each in taken[:most]]
