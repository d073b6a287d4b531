"""Splits: a log cut into what is known and what is to be guessed, without a leak."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import reduce
from itertools import pairwise
from typing import Literal, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from palate.arrays import Bools, Ints, Longs
from palate.data.interactions import Interactions
from palate.data.joins import check_join
from palate.data.vocabulary import Vocabulary
from palate.errors import DataError, check, real, whole

Part: TypeAlias = Literal["test", "valid"]
Promise: TypeAlias = Literal["", "time", "cold users", "cold items"]

TRAIN, FOLD_IN, VALID, TEST = range(4)
_NAMES = {VALID: "validation", TEST: "test"}


@dataclass(frozen=True, eq=False)
class Split:
    """Train, test and, optionally, a validation part; each has only the ids of its own events.

    fold_in   the known events of users who are not in train
    kind      one line on how the split was made
    promise   what `check` checks beside shared events: the order in time, or that users or items are new
    dropped   events that are in no part, counted by reason
    """

    train: Interactions
    test: Interactions
    valid: Interactions | None = None
    fold_in: Interactions | None = None
    kind: str = "as given"
    promise: Promise = ""
    dropped: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raise `DataError` for an empty part; warn (`JoinWarning`) of one whose users or items train lacks."""
        for name, log in self.parts().items():
            if not len(log):
                raise DataError(
                    f"split ({self.kind}): the {name} part is empty; dropped: {self.dropped or 'nothing'}"
                )

        items, users = self.train.items, self.train.users
        known = users if self.fold_in is None else users.union(self.fold_in.users)
        for name, guessed in (("validation", self.valid), ("test", self.test)):
            if guessed is not None and self.promise != "cold items":
                check_join(items.recode(guessed.items), guessed.items.ids, items, name, "train")
            if guessed is not None:
                check_join(known.recode(guessed.users), guessed.users.ids, known, name, "train", "users")

    @classmethod
    def of(cls, train: Interactions, test: Interactions, valid: float | None = None, seed: int = 0) -> Split:
        """Take a published split; `valid` moves a random share of each user's events out of train."""
        if valid is None:
            return cls(train, test, kind="as published")
        _check_share("valid", valid)
        chosen = share_of_each(train.user, valid, np.random.default_rng(whole("seed", seed, 0)))
        part = np.where(chosen, VALID, TRAIN).astype(np.int8)
        carved, dropped = _usable(train, part, VALID)
        kind = f"as published; a random {valid:.0%} of each user's train events are the validation part (seed {seed})"
        return cls(train.select(part == TRAIN), test, train.select(carved), kind=kind, dropped=dropped)

    def parts(self) -> dict[str, Interactions]:
        """Return the existing parts by name: train, validation, test."""
        parts = {"train": self.train, "fold-in": self.fold_in, "validation": self.valid, "test": self.test}
        return {name: log for name, log in parts.items() if log is not None}

    def part(self, part: Part = "test") -> Interactions:
        """Return the events to predict; raises `DataError` where there is no validation part."""
        check(part in ("test", "valid"), "part", part, "is 'test' or 'valid'")
        log = self.test if part == "test" else self.valid
        if log is None:
            raise DataError(f"split ({self.kind}): there is no validation part; make the split with valid=")
        return log

    def history(self, part: Part = "test") -> Interactions:
        """Return the histories for this part: train, fold-in and, for the test, validation."""
        self.part(part)
        before_test = self.valid if part == "test" else None
        known = [log for log in (self.train, self.fold_in, before_test) if log is not None]
        return reduce(Interactions.merge, known)

    def check(self) -> None:
        """Raise `DataError` for the first leak: an event in two parts, or a broken promise.

        User, item and time identify an event; in a log without times, a repeated pair counts as a copy.
        """
        _check_events(self.parts())
        if self.promise == "time":
            _check_order(self.parts())
        elif self.promise == "cold users":
            _check_new(self.parts(), lambda log: log.users, "user")
        elif self.promise == "cold items":
            _check_new(self.parts(), lambda log: log.items, "item")

    def __repr__(self) -> str:
        lines = [f"Split: {self.kind}"]
        lines += [f"  {name:<10} {log!r}" for name, log in self.parts().items()]
        lines += [f"  dropped    {count:,} {reason}" for reason, count in self.dropped.items()]
        return "\n".join(lines)


def split_by_time(log: Interactions, test: float = 0.2, valid: float | None = None) -> Split:
    """Split at one time for all users: the newest share of events is the test, as in real use.

    `valid` is the newest share of the rest. Events of the same time stay together. Raises `DataError`
    for a log without times, or with a single time.
    """
    if log.timestamp is None:
        raise DataError(f"{log!r}: a split by time needs times; use split_last or split_ratio, or read a time column")
    time = log.timestamp
    part = _parts(len(log), test, valid, lambda left, share: _newest(time[left], share))
    kind = f"global time: the newest {test:.0%} of events are the test"
    return cut(log, part, kind + _also(valid, "the newest {} before them"), valid=valid is not None, promise="time")


def split_last(log: Interactions, valid: bool = False) -> Split:
    """Leave one out: the last event of each user is the test; with `valid`, the one before it is the validation part.

    Users with fewer than 2 (with `valid` 3) events stay in train. Train has the future of some users here;
    `split_by_time` does not.
    """
    counts = np.diff(log.start)[log.user]
    left = log.rows.left
    part = np.full(len(log), TRAIN, np.int8)
    part[(left == 1) & (counts >= 2 + valid)] = TEST
    part[(left == 2) & (counts >= 3) & valid] = VALID
    kind = "last per user: each user's last event is the test"
    return cut(log, part, kind + (", the last but one the validation part" if valid else ""), valid=valid)


def split_ratio(log: Interactions, test: float = 0.2, valid: float | None = None, seed: int = 0) -> Split:
    """Take a random share of each user's events as the test, and a share `valid` of the rest as the validation part.

    At least one event of each user stays in train.
    """
    rng = np.random.default_rng(whole("seed", seed, 0))
    part = _parts(len(log), test, valid, lambda left, share: share_of_each(log.user[left], share, rng))
    kind = f"ratio per user: a random {test:.0%} of each user's events are the test"
    return cut(log, part, kind + _also(valid, "{} of the rest") + f" (seed {seed})", valid=valid is not None)


def split_users(
    log: Interactions, test: float = 0.2, valid: float | None = None, held_out: float = 0.2, seed: int = 0
) -> Split:
    """Hold out users: train has none of their events, and a random share `held_out` of them is the test.

    Strong generalisation, Liang et al. 2018 (Variational autoencoders for collaborative filtering), sec. 4.1.
    `test` and `valid` (of the rest) are shares of users; only those with 2 events or more are held out.
    """
    _check_share("held_out", held_out)
    rng = np.random.default_rng(whole("seed", seed, 0))
    able = np.diff(log.start) >= 2
    group = _parts(len(log.users), test, valid, lambda left, share: _some(able[left], share, rng))
    guessed = share_of_each(log.user, held_out, rng, at_least=1)
    home = group[log.user]
    part = np.where((home != TRAIN) & ~guessed, FOLD_IN, home).astype(np.int8)
    kind = f"cold users: {test:.0%} of users are not in train, {held_out:.0%} of their events are the test"
    line = kind + _also(valid, "{} of the other users") + f" (seed {seed})"
    return cut(log, part, line, valid=valid is not None, promise="cold users")


def split_items(log: Interactions, test: float = 0.2, valid: float | None = None, seed: int = 0) -> Split:
    """Hold out items: train has none of their events; the test has those of users with other events.

    `test` and `valid` (of the rest) are shares of items.
    """
    rng = np.random.default_rng(whole("seed", seed, 0))
    able = np.ones(len(log.items), np.bool_)
    group = _parts(len(log.items), test, valid, lambda left, share: _some(able[left], share, rng))
    kind = f"cold items: all events of {test:.0%} of items are the test"
    line = kind + _also(valid, "those of {} of the other items") + f" (seed {seed})"
    return cut(log, group[log.item], line, valid=valid is not None, promise="cold items")


def _check_share(setting: str, share: float) -> None:
    check(0 < real(setting, share) < 1, setting, share, "is a share, above 0 and below 1")


def _also(valid: float | None, share: str) -> str:
    return "" if valid is None else f", {share.format(f'{valid:.0%}')} the validation part"


def _parts(n: int, test: float, valid: float | None, choose: Callable[[Longs, float], Bools]) -> NDArray[np.int8]:
    """Part of each of n things, (n,): `choose` picks the test share, then the validation share of what is left."""
    part = np.full(n, TRAIN, np.int8)
    for setting, code, share in (("test", TEST, test), ("valid", VALID, valid)):
        if share is not None:
            _check_share(setting, share)
            left = np.flatnonzero(part == TRAIN)
            part[left[choose(left, share)]] = code
    return part


def _newest(time: Longs, share: float) -> Bools:
    """Mark the newest share, (N,); equal times fall on one side, the older ones are never empty."""
    if not len(time) or time.min() == time.max():
        raise DataError(f"{len(time):,} events to cut by time, all at the same time; a cut needs two different times")
    place = len(time) - max(1, round(share * len(time)))
    cut = np.partition(time, place)[place]
    return np.asarray(time >= cut if cut > time.min() else time > cut)


def share_of_each(user: Ints, share: float, rng: np.random.Generator, at_least: int = 0) -> Bools:
    """Mark a random share of each user's events, (N,), never all of them; `user` (N,) is sorted."""
    counts = np.bincount(user)
    take = np.minimum(np.maximum(np.floor(counts * share + 0.5), at_least), counts - 1)
    order = np.argsort(user + rng.random(len(user)))  # a shuffle within each user
    place = np.arange(len(user)) - (np.cumsum(counts) - counts)[user]
    chosen = np.empty(len(user), np.bool_)
    chosen[order] = place < take[user]
    return chosen


def _some(able: Bools, share: float, rng: np.random.Generator) -> Bools:
    """Mark a random share of N things, (N,): at least one, never all, and only able ones."""
    candidates = np.flatnonzero(able)
    wanted = min(max(1, round(share * len(able))), len(able) - 1, len(candidates))
    chosen = np.zeros(len(able), np.bool_)
    chosen[rng.permutation(candidates)[: max(wanted, 0)]] = True
    return chosen


def cut(log: Interactions, part: NDArray[np.int8], kind: str, *, valid: bool, promise: Promise = "") -> Split:
    """Build the split from the part of each event, (N,); events that cannot be predicted are dropped and counted."""
    tested, lost_tests = _usable(log, part, TEST, promise == "cold items")
    checked, lost_checks = _usable(log, part, VALID, promise == "cold items")
    return Split(
        log.select(part == TRAIN),
        log.select(tested),
        log.select(checked) if valid else None,
        log.select(part == FOLD_IN) if promise == "cold users" else None,
        kind,
        promise,
        lost_checks | lost_tests,
    )


def _usable(
    log: Interactions, part: NDArray[np.int8], code: int, new_items: bool = False
) -> tuple[Bools, dict[str, int]]:
    """Mark the events of a part that can be guessed, (N,), and count the others by reason."""
    known_user = np.zeros(len(log.users), np.bool_)
    known_user[log.user[part <= FOLD_IN]] = True
    known_item = np.full(len(log.items), new_items)
    known_item[log.item[part == TRAIN]] = True
    kept = part == code
    dropped = {}
    for reason, passes in (
        ("of users without a history", known_user[log.user]),
        ("on items not in train", known_item[log.item]),
        ("that copy an event of an earlier part", part == _earliest(log, part)),
    ):
        lost = np.count_nonzero(kept & ~passes)
        if lost:
            dropped[f"{_NAMES[code]} events {reason}"] = int(lost)
        kept = kept & passes
    return kept, dropped


def _earliest(log: Interactions, part: NDArray[np.int8]) -> NDArray[np.int8]:
    """Return the earliest part that holds a copy of each event, (N,)."""
    keys: dict[str, Ints | Longs] = {"user": log.user, "item": log.item}
    if log.timestamp is not None:
        keys["time"] = log.timestamp
    return pl.DataFrame(keys | {"part": part}).select(pl.col("part").min().over(list(keys)))["part"].to_numpy()


def _check_events(parts: dict[str, Interactions]) -> None:
    keys = ["user_id", "item_id"]
    if all(log.timestamp is not None for log in parts.values()):
        keys.append("timestamp")
    frames = [log.to_frame().select(*keys, part=pl.lit(name)) for name, log in parts.items()]
    events = (
        pl.concat(frames, how="vertical_relaxed")
        .group_by(keys, maintain_order=True)
        .agg(pl.col("part").unique(maintain_order=True))
    )
    for row in events.filter(pl.col("part").list.len() > 1).head(1).iter_rows(named=True):
        when = f" at {row['timestamp']}" if "timestamp" in row else ""
        raise DataError(
            f"leak: user {row['user_id']!r} with item {row['item_id']!r}{when} is in {' and '.join(row['part'])}; "
            "an event belongs to one part"
        )


def _check_order(parts: dict[str, Interactions]) -> None:
    ends = {name: log.timestamp for name, log in parts.items() if log.timestamp is not None}
    for (earlier, before), (later, after) in pairwise(ends.items()):
        if before.max() >= after.min():
            newest, oldest = (pl.Series([t]).cast(pl.Datetime("us", "UTC"))[0] for t in (before.max(), after.min()))
            raise DataError(
                f"leak: {earlier} has an event at {newest}, {later} begins at {oldest}; {earlier} must end before"
            )


def _check_new(parts: dict[str, Interactions], ids: Callable[[Interactions], Vocabulary], noun: str) -> None:
    pairs = [("train", name) for name in parts if name != "train"]
    if "validation" in parts:
        pairs.append(("validation", "test"))
    for known, new in pairs:
        seen = ids(parts[known])
        both = np.flatnonzero(ids(parts[new]).codes(seen.ids) >= 0)
        if len(both):
            raise DataError(
                f"leak: {noun} {seen.ids[int(both[0])]!r} is in {known} and in {new}; {noun}s must be new there"
            )
