"""What lists are for: found from the facts of a log, with the cut that asks for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from palate.choosing.facts import LogFacts
from palate.data.interactions import Interactions
from palate.data.splits import Split, split_items, split_last, split_ratio, split_users
from palate.errors import check

GAIN = 0.2  # order counts from here on
WITHOUT = 0.5  # share of the items without an event from which on they are the goal
NEW = 2 / 3  # share of new users in the newest tenth, likewise
FEW = 5  # events of a visitor
ASKED = 5_000  # users who are asked for, at most


def next_of_visitors(log: Interactions, seed: int) -> Split:
    """Hold out users; the last event of each is asked for, and those before it are the history."""
    split = split_users(log, seed=seed)
    theirs = split_last(log.select(split.test.users.recode(log.users)[log.user] >= 0))
    known = split.train.items.recode(theirs.test.items)[theirs.test.item] >= 0
    kind = "cold users: 20% of users are not in train, their last event is the test"
    return replace(split, test=theirs.test.select(known), fold_in=theirs.train, kind=kind)


CUTS: dict[str, Callable[[Interactions, int], Split]] = {
    "next": lambda log, seed: split_last(log),  # noqa: ARG005
    "taste": lambda log, seed: split_ratio(log, seed=seed),
    "new-items": lambda log, seed: split_items(log, seed=seed),
    "new-users": next_of_visitors,
}
MEANING = {
    "next": "the next item of a history, whose order matters",
    "taste": "items that fit a history as a whole",
    "new-items": "items without events, by their content",
    "new-users": "visitors with few events, who are not in the log",
}


@dataclass(frozen=True)
class Goal:
    """What lists are for, and why that was taken."""

    name: str
    why: str

    @classmethod
    def of(cls, asked: str | None, facts: LogFacts) -> Goal:
        """Take the goal asked for, or find it. Raises `SettingError` for an unknown one."""
        if asked is not None:
            check(asked in CUTS, "goal", asked, f"is one of {', '.join(CUTS)}")
            return cls(asked, "as asked")
        of_all = facts.items + facts.without
        if facts.content and facts.without > WITHOUT * of_all:
            return cls(
                "new-items", f"{facts.without:,} of {of_all:,} items have no event, and the catalogue has content"
            )
        if facts.order >= GAIN and not facts.ratings:
            more = f"{facts.order:.0%} more often than an earlier one"
            return cls("next", f"order predicts: the item just before leads to the next one {more}")
        time = facts.time
        if time is not None and time.new_users >= NEW and time.length < FEW:
            of = f"{time.new_users:.0%} of the users of the newest tenth are new"
            events = "1 event" if time.length == 1 else f"{time.length:g} events"
            return cls("new-users", f"{of}, with {events} in the median")
        return cls("taste", "events are ratings" if facts.ratings else "the order of events does not clearly predict")

    @property
    def meaning(self) -> str:
        """What lists are for, in words."""
        return MEANING[self.name]

    def cut(self, log: Interactions, seed: int) -> Split:
        """Cut a validation part from the log, as the split's test, for at most `ASKED` users.

        Raises `DataError` where nothing can be held out.
        """
        split = CUTS[self.name](log, seed)
        if len(split.test.users) <= ASKED:
            return split
        chosen = np.zeros(len(split.test.users), np.bool_)
        chosen[np.random.default_rng(seed).permutation(len(chosen))[:ASKED]] = True
        test = split.test.select(chosen[split.test.user])
        fold_in = split.fold_in
        if fold_in is not None:
            fold_in = fold_in.select(test.users.recode(fold_in.users)[fold_in.user] >= 0)
        return replace(split, test=test, fold_in=fold_in)
