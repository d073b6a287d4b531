"""Where trials are run: what can be afforded is fitted, what was fitted before is read from the journal."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from palate.choosing.costs import Costs
from palate.choosing.facts import LogFacts, of_users
from palate.choosing.goals import ASKED, Goal
from palate.choosing.journal import Journal, text_of
from palate.choosing.spaces import label
from palate.choosing.trials import Children, Job
from palate.choosing.verdict import Record, graded
from palate.choosing.worker import Allowed, Grade, Prepare
from palate.data.catalogue import Catalogue
from palate.data.interactions import Interactions
from palate.data.times import seconds_text
from palate.errors import missing_extra
from palate.evaluation.protocol import Exam
from palate.models.base import Recipe

SPARE = 1.5  # times the predicted seconds that a fit must have
START, READY = 1.0, 0.3  # CPU seconds beside a fit, of a process that has to start, and of one that has
RANKED_MS = 0.3  # of the milliseconds of a single list, where many are ranked at once
CUT, SENT = 1.5e-6, 3e-7  # CPU seconds of an event until a part is cut, and the log sent for the last fit
HELD = 3e8  # bytes of a process beside a log
A_EVENT = 100  # bytes of a log's event in a process, its copies for a fit among them
STEPS = 4  # factor between the sizes of the parts of a log
A_MINUTE = 100_000  # events of the smallest part for each minute


class Enough(Exception):
    """The search ends here, with what it has found."""


@dataclass(frozen=True)
class Limits:
    """What a search may take: seconds or a number of trials, bytes, and milliseconds of a list."""

    seconds: float
    memory: float
    latency_ms: float | None = None
    trials: int | None = None
    last_fit: bool = True  # whether the seconds have to do for the fit to the whole log, too
    live: bool = False  # whether events must count at once


@dataclass(frozen=True, eq=False)
class Part:
    """A part of a log by random users, all of them in the last one; it is cut when a trial first needs it.

    whole  facts of the whole log
    """

    number: int
    share: float
    log: Interactions
    catalogue: Catalogue | None
    goal: Goal
    seed: int
    whole: LogFacts
    keep_seen: bool = False  # whether items of a history may be answers

    @cached_property
    def prepare(self) -> Prepare:
        """What children need for trials on it."""
        return Prepare(self.goal.cut(self.log, self.seed), self.catalogue, self.keep_seen)

    @property
    def facts(self) -> LogFacts:
        """Facts of what trials are fitted to; until it is cut, which takes a while, the counts of all of the part."""
        return self._cut_facts if self._is_cut else self._counts

    @property
    def _is_cut(self) -> bool:
        return "prepare" in self.__dict__

    @cached_property
    def _cut_facts(self) -> LogFacts:
        return LogFacts.of(self.prepare.split.train, self.catalogue)

    @cached_property
    def _counts(self) -> LogFacts:
        return self.whole.counted(self.log)

    @property
    def cutting(self) -> float:
        """CPU seconds until it is cut and sent to the children; 0 once it is."""
        return 0.0 if self._is_cut else CUT * len(self.log)

    @property
    def key(self) -> str:
        """What tells it from other parts and cuts of the log, of a search with another time among them."""
        return f"{len(self.log)} events, seed {self.seed}"

    @property
    def asked(self) -> int:
        """Users who are asked for; the most it may be until it is cut."""
        return len(self.prepare.split.test.users) if self._is_cut else min(ASKED, self.facts.users)


def parts_of(
    log: Interactions,
    catalogue: Catalogue | None,
    goal: Goal,
    least: float,
    seed: int,
    facts: LogFacts,
    keep_seen: bool = False,
) -> list[Part]:
    """Return samples of a log from small to large, the smallest of about `least` events, and last the log itself.

    Raises `DataError` where nothing can be held out, or nothing that is held out can be asked for.
    """
    sizes = [len(log)]
    while sizes[0] > 2 * least:
        sizes.insert(0, max(int(least), sizes[0] // STEPS))
    samples = [of_users(log, size, seed) for size in sizes]
    shares = [len(each) / len(log) for each in samples]
    parts = [
        Part(n, share, each, catalogue, goal, seed, facts, keep_seen)
        for n, (share, each) in enumerate(zip(shares, samples, strict=True))
    ]
    Exam.of(parts[0].prepare.split, keep_seen=keep_seen)
    return parts


class Bench:
    """Runs trials within limits, notes what they found, and says why others are left out.

    whole  facts of the whole log, to which what is chosen is fitted
    tick   called after each trial and while they run; True ends the search
    """

    def __init__(
        self,
        whole: LogFacts,
        metric: str,
        limits: Limits,
        costs: Costs,
        journal: Journal,
        children: Children,
        tick: Callable[[Bench], bool],
    ) -> None:
        self.whole, self.metric, self.limits, self.costs = whole, metric, limits, costs
        self.records: list[Record] = []
        self.left_out: dict[str, str] = {}
        self.compiling = 0.0  # seconds that trials waited for kernels to be compiled
        self._journal, self._children, self._tick = journal, children, tick

    @property
    def width(self) -> int:
        """Trials side by side."""
        return self._children.most

    @property
    def spent(self) -> float:
        """Seconds spent, those before a kill among them."""
        return self._journal.spent

    @property
    def left(self) -> float:
        """Seconds left."""
        return self.limits.seconds - self.spent

    @property
    def trials_left(self) -> float:
        """Trials left."""
        return math.inf if self.limits.trials is None else self.limits.trials - len(self.records)

    def best(self, part: Part) -> list[Record]:
        """Return the trials of a part, the best first."""
        return graded(self.records, part.number, self.limits.latency_ms)

    @property
    def reserve(self) -> float:
        """Seconds that the last fit needs, of the best so far."""
        best = max(self.records, key=lambda record: (record.part, record.outcome.mean), default=None)
        return START * self.limits.last_fit if best is None else self.last_fit(best.recipe)

    @property
    def beside(self) -> float:
        """CPU seconds of a trial, or of the last fit, beside its fit and its lists."""
        return READY if self.records else START

    def last_fit(self, recipe: Recipe) -> float:
        """Seconds that a recipe needs for the whole log, 0 where they are not of this search."""
        if not self.limits.last_fit:
            return 0.0
        sent = SENT * self.whole.events
        return self.costs.load * (self.beside + sent + SPARE * self.costs.predict(recipe, self.whole).seconds)

    def trial(self, recipe: Recipe, part: Part) -> float:
        """Seconds that a trial needs."""
        cost = self.costs.predict(recipe, part.facts)
        ranked = RANKED_MS * cost.list_ms * part.asked / 1000
        return self.costs.load * (self.beside + part.cutting + SPARE * (cost.seconds + ranked))

    def refusal(self, recipe: Recipe, part: Part, share: float = 1.0) -> str:
        """Say why a recipe cannot be tried in this share of what is left, "" where it can."""
        if absent := missing_extra(recipe.needs()):
            return str(absent)
        cost, whole = self.costs.predict(recipe, part.facts), self.costs.predict(recipe, self.whole)
        memory = HELD + A_EVENT * self.whole.events + whole.memory
        if memory > self.limits.memory:
            return f"{self.whole.items:,} items and {self.whole.users:,} users take {_bytes(memory)}"
        latency = self.limits.latency_ms
        if latency is not None and cost.list_ms > 2 * latency:
            return f"a list takes about {cost.list_ms:.1f} ms"
        if math.isinf(self.limits.seconds) or self._journal.find(part.key, recipe, self._allowed):
            return ""
        last, left = max(self.last_fit(recipe), self.reserve), max(0.0, self.left)
        together, of = self.trial(recipe, part) + last, f"{left:.0f} s that were left"
        if together > left:
            return f"a trial and the last fit take about {seconds_text(together)}, more than the {of}"
        if (seconds := self.costs.load * cost.seconds) > share * left:
            return f"a first fit takes about {seconds_text(seconds)}, more than {share:.0%} of the {of}"
        return ""

    def grade(self, recipes: Sequence[Recipe], part: Part) -> list[Record]:
        """Try recipes side by side; those of the journal are not run again. Raises `Enough`."""
        distinct = list({text_of(each): each for each in recipes}.values())
        known = {text_of(each.recipe) for each in self.records if each.part == part.number}
        new = [each for each in distinct if text_of(each) not in known]
        new = new[: int(min(len(new), self.trials_left))]
        allowed = self._allowed
        found = {text_of(each): self._journal.find(part.key, each, allowed) for each in new}
        missing = [each for each in new if found[text_of(each)] is None]
        prepare = part.prepare if missing else None
        predicted = {text_of(each): self.costs.predict(each, part.facts) for each in missing}
        jobs = [Job(Grade(each, self.metric, self.limits.live), allowed.seconds) for each in missing]
        outcomes = self._children.run(jobs, prepare)
        self._spare(max((each.compiling for each in outcomes), default=0.0))
        for recipe, outcome in zip(missing, outcomes, strict=True):
            self._journal.add(part.key, recipe, outcome)
            found[text_of(recipe)] = outcome
        added = []
        for recipe in new:
            ended = found[text_of(recipe)]
            assert ended is not None
            added.append(self._note(Record(recipe, part.number, ended, predicted.get(text_of(recipe))), part))
        if self._tick(self) or self.trials_left < 1:
            raise Enough
        return added

    def recall(self, part: Part) -> None:
        """Note the trials that a search before a kill has finished: they are not run again, and settings follow them.

        A search of a number of trials does without: it asks for the same ones in the same order, and finds them.
        """
        if math.isfinite(self.limits.seconds):
            for recipe, outcome in self._journal.finished(part.key):
                self._note(Record(recipe, part.number, outcome), part)

    def _spare(self, seconds: float) -> None:
        """Leave what kernels took to compile out of the time spent: the next search does without."""
        self.compiling += seconds
        self._journal.spare(seconds)

    @property
    def _allowed(self) -> Allowed:
        """What a trial may take."""
        return Allowed(max(1.0, self.left - self.reserve), self.limits.memory)

    def _note(self, record: Record, part: Part) -> Record:
        self.records.append(record)
        if record.outcome.error:
            self.left_out[label(record.recipe)] = record.outcome.error
        elif math.isfinite(self.limits.seconds):  # with a number of trials what is tried must not depend on a clock
            self.costs.learn(record.recipe, part.facts, record.outcome.cost, record.outcome.load)
        return record


def _bytes(number: float) -> str:
    return f"{number / 1e9:.1f} GB" if number >= 1e8 else f"{number / 1e6:.0f} MB"
