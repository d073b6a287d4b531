"""The search: every family once, settings of the best by successive halving, larger parts of the log, and blends."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import cycle, islice

from palate.choosing.bench import Bench, Enough, Part
from palate.choosing.combinations import best_of_families, combinations_of
from palate.choosing.goals import Goal
from palate.choosing.hunts import Hunt, Place
from palate.choosing.journal import text_of
from palate.choosing.spaces import FAMILIES, Family, label, named, not_installed
from palate.choosing.verdict import Record, contenders
from palate.choosing.worker import POPULARITY
from palate.ending import lift
from palate.models.base import Recipe

FIRST = 0.2  # share of what is left that the first trial of a family may take
LATE = 0.4  # share, where the others have had their turns
KEPT = 4  # families whose settings are sought
ROUNDS = 3  # of halving
ASKED = 4  # settings of a family in the first round, twice as many in the next
SETTINGS = 0.55  # share of what is left that goes to settings, where nothing else is planned
MOST = 0.8  # at most, where combinations are planned, and they have their time
GAIN = 0.003  # share of the metric that a round must gain for another one to begin
PATIENCE = 3  # turns at what is best, one after the other, that gain less than that before the search ends
CLIMB = 6, 3  # recipes that are tried on the next part of the log, and on those after it
UNSURE = 0.25  # share of the metric by which intervals of differences are too wide for settings to be separated
BEHIND = 0.85  # share of the best metric from which on a family is worth its settings
KEPT_BACK = 3  # trials for them
FEW = 3_000  # users up to whom the best recipes are tried once more, on other cuts
AGAIN, MOST_AGAIN = 2, 6  # such cuts, and at most, where the best cannot be separated
FINALISTS = 6  # recipes that are tried on them


class Search:
    """One search: its bench, the parts of the log from small to large, and what competes."""

    def __init__(self, bench: Bench, parts: Sequence[Part], goal: Goal, seed: int, start: Sequence[Recipe]) -> None:
        self.bench, self.parts, self.goal, self.seed, self.start = bench, parts, goal, seed, start
        self.part = parts[0]  # the largest that was reached
        self.cuts: list[Part] = []  # other cuts of that part that the best were tried on once more
        self.ended = ""  # why the search ended before its time
        self._combined = True  # whether blends and second stages compete
        self._sought = {type(each).__name__ for each in start}  # names of recipes whose settings may be sought
        self._hunts: dict[tuple[int, str], Hunt] = {}
        self._late: list[Recipe] = []  # first trials that were left out

    def run(self, candidates: Sequence[Recipe | Family] | None) -> None:
        """Search until the time is over, or nothing is left that is likely to gain."""
        self._combined = candidates is None
        asked = FAMILIES if candidates is None else candidates
        self._sought |= {each.name for each in asked if isinstance(each, Family)}
        try:
            self._first(asked)
            discerns = self._discerns()
            if discerns:
                self._settings()
            self._climb()
            if discerns:
                self._combine()
                self._deepen()
                self._again()
        except Enough:
            self.ended = ""
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
        tried = {each.name for each in self._afford(cheap_first, part, FIRST)}
        self._late = [recipe for recipe in cheap_first if type(recipe).__name__ not in tried]

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
        best = best_of_families(self.bench.best(self.part))[:2]
        if len(best) < 2 or math.isinf(self.bench.left):
            return True
        gap = best[0].minus(best[1])
        discerns = (gap.high - gap.low) / 2 <= UNSURE * best[0].outcome.mean
        if not discerns:
            self.ended = f"{self.part.asked:,} users are too few to separate settings"
        return discerns

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

    def _deepen(self) -> None:
        """Give what is left to the best: settings of its parts and of the next family, and combinations of them."""
        self._afford(self._late, self.part, LATE)
        idle, end = 0, self.bench.spent + self.bench.left - self.bench.reserve - self._again_seconds()
        while self.bench.spent < end:
            before, trials = self._top(), len(self.bench.records)
            self._round([self._hunt(each) for each in self._leading()], ASKED, end)
            self._combine()
            idle = 0 if self._top() > (1 + GAIN) * before else idle + 1
            if len(self.bench.records) == trials:
                self.ended = "nothing else can be tried in it"
                return
            if idle == PATIENCE:
                self.ended = f"{PATIENCE} turns at what is best gained less than {GAIN:.1%} each"
                return

    def _again(self) -> None:
        """Try the best on other cuts, until they are separated: the best of many trials is partly luck."""
        for n, recipes in enumerate(self._cut_again(), 1):
            if n > AGAIN and self._separated():
                return
            cut = replace(self.part, number=len(self.parts) - 1 + n, seed=self.part.seed + n)
            if not self._afford(recipes, cut):
                return
            self.cuts.append(cut)

    def _cut_again(self) -> list[list[Recipe]]:
        """Return the recipes for each other cut; the last events of users are the same ones in all of them."""
        if self.goal.name == "next" or self.part.asked > FEW:
            return []
        ranked = self.bench.best(self.part)
        popular = [each.recipe for each in ranked if each.name == POPULARITY][:1]
        return [[*popular, *_varied(ranked, FINALISTS)]] * MOST_AGAIN

    def _again_seconds(self) -> float:
        recipes = [each for cut in self._cut_again()[:AGAIN] for each in cut]
        return sum(self.bench.trial(each, self.part) for each in recipes) / self.bench.width

    def _separated(self) -> bool:
        best, *others = contenders(self.finalists())
        return all(best.minus(each).clear for each in others)

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
        if not self._combined:
            return []
        ranked = self.bench.best(self.part)
        ways = combinations_of(ranked, self.goal.name, self.part.keep_seen)
        tried = {text_of(each.recipe) for each in self.bench.records if each.part == self.part.number}
        new = ((each for each in way if text_of(each) not in tried) for way in ways)
        found = [next((each for each in way if not self.bench.refusal(each, self.part)), None) for way in new]
        blends = ways[-1]
        if blends and not any(found) and (reason := self.bench.refusal(blends[0], self.part)):
            self.bench.left_out["Blend"] = reason
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
        return min(MOST, 1 - needed / left) if needed < left else SETTINGS

    def _promising(self) -> list[Family]:
        """Families near the best one, the best first."""
        ranked = best_of_families(self.bench.best(self.part))
        near = [r for r in ranked if r.outcome.mean >= BEHIND * ranked[0].outcome.mean]
        families = [named(each.name) for each in near]
        return [each for each in families if each is not None and self._seeks(each)][:KEPT]

    def _leading(self) -> list[Family]:
        """Families of the best trial, of the parts of a combination, and of the two best that are none."""
        ranked = self.bench.best(self.part)
        parts = [part for each in ranked[:1] for part in getattr(each.recipe, "recipes", [each.recipe])]
        names = [type(each).__name__ for each in parts] + [each.name for each in best_of_families(ranked)[:2]]
        families = map(named, dict.fromkeys(names))
        return [each for each in families if each is not None and self._seeks(each) and self._trials(each, self.part)]

    def _seeks(self, family: Family) -> bool:
        return family.name in self._sought and (family.name != POPULARITY or self.part.facts.time is not None)

    def _hunt(self, family: Family) -> Hunt:
        """Return the hunt for settings of a family on this part, which goes on where it was."""
        key = self.part.number, family.name
        if key not in self._hunts:
            best = self._trials(family, self.part)[0]
            self._hunts[key] = Hunt(Place(family, best.recipe), self.seed, self._known(family, best))
        return self._hunts[key]

    def _known(self, family: Family, best: Record) -> list[tuple[Recipe, float]]:
        """Return what trials of a family found here, and on smaller parts as shares of the best there."""
        found: dict[str, tuple[Recipe, float]] = {}
        for part in self.parts[: self.part.number + 1]:
            trials = self._trials(family, part)
            for each in trials:
                share = each.outcome.mean / max(trials[0].outcome.mean, 1e-9)
                found[text_of(each.recipe)] = each.recipe, share * best.outcome.mean
        return list(found.values())

    def _trials(self, family: Family, part: Part) -> list[Record]:
        return [each for each in self.bench.best(part) if each.name == family.name]

    def _of_recipe(self, recipe: Recipe) -> float:
        same = (each.outcome.mean for each in self.bench.best(self.part) if each.recipe == recipe)
        return next(same, -math.inf)

    def _top(self) -> float:
        ranked = self.bench.best(self.part)
        return ranked[0].outcome.mean if ranked else 0.0


def _number(part: Part) -> int:
    return part.number


def _varied(ranked: Sequence[Record], most: int) -> list[Recipe]:
    """Return the best recipes, a third of them of one family at most."""
    taken = list[Record]()
    for each in ranked:
        if sum(other.name == each.name for other in taken) < max(1, most // 3) and each.name != POPULARITY:
            taken.append(each)
    return [each.recipe for each in taken[:most]]
