"""From a person's past to the list shown: always an answer, each item labelled by where it comes from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeAlias
from zlib import crc32

import numpy as np
import polars as pl
from numpy.typing import NDArray

from palate.arrays import Bools, Floats, Ints, Longs
from palate.data.histories import Histories
from palate.data.ragged import Ragged
from palate.errors import SettingError
from palate.kernels.strongest import strongest
from palate.kernels.topk import select_top
from palate.live import cursors
from palate.live.asking import Answer, Asked, Place, Source
from palate.live.caps import Counted
from palate.live.history import History, last_below_zero
from palate.live.snapshot import Snapshot

SOMEBODY = pl.Series("user", [None], pl.String)
NOBODY = Ragged(np.zeros(2, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32))
NAMED = 2  # past items that a reason names
LARGEST_BOOST = 1e30  # of all boosts of a list together
SPEAKS = 0.05  # part of a score that a past item must have to be named
CHUNK = 4096  # of an order, looked through at once

# Best positions that are allowed, and their scores; fewer than asked for only when there are no more.
Best: TypeAlias = Callable[[int], tuple[Longs, Floats]]


@dataclass(frozen=True, eq=False)
class Known:
    """What is known of whoever asks, by position in the catalogue.

    position, weight, time (N,)  events as the model takes them, oldest first; none weighs 0
    seen (S,)                    items that were met, these among them
    disliked (E,)                items whose newest event with a weight other than 0 has one below 0
    stored                       whether there are events in the store
    """

    position: Longs
    weight: Floats
    time: Longs
    seen: Longs
    disliked: Longs
    stored: bool

    @classmethod
    def of(cls, snapshot: Snapshot, past: History) -> Known:
        """Translate what the store tells; an item of no snapshot is left out."""
        position_of = snapshot.catalogue.position_of
        position = position_of[past.item].astype(np.int64)
        seen, disliked = (
            found[found >= 0] for found in (position_of[each].astype(np.int64) for each in (past.seen, past.disliked))
        )
        kept = position >= 0
        return cls(position[kept], past.weight[kept], past.time[kept], seen, disliked, stored=len(past.seen) > 0)

    def and_then(self, position: Longs, weight: Floats, time: Longs) -> Known:
        """Return it with later events (M,) that are not stored; those of weight 0 are seen, no more."""
        counts = weight != 0
        now = position[counts], weight[counts], time[counts]
        old = self.disliked[~np.isin(self.disliked, now[0])]
        return replace(
            self,
            position=np.concatenate([self.position, now[0]]),
            weight=np.concatenate([self.weight, now[1]]),
            time=np.concatenate([self.time, now[2]]),
            seen=np.concatenate([self.seen, position]),
            disliked=np.concatenate([old, last_below_zero(*now[:2])]),
        )

    def seeing(self, positions: Longs) -> Known:
        """Return it with more items that were met."""
        return replace(self, seen=np.concatenate([self.seen, positions]))


_NONE = np.zeros(0, np.int64)
NOTHING = Known(_NONE, np.zeros(0, np.float32), _NONE, _NONE, _NONE, stored=False)


def answer(snapshot: Snapshot, asked: Asked, known: Known) -> Answer:
    """Return the list. Raises `ConditionError`, `SettingError` or `DataError` for what cannot be asked."""
    return _Listing(snapshot, asked, known).answer()


class _Listing:
    """One list in the making."""

    def __init__(self, snapshot: Snapshot, asked: Asked, known: Known) -> None:
        self.snapshot, self.asked, self.known = snapshot, asked, known
        self.shown = cursors.read(asked.cursor)
        self.allowed, self.rows_allowed = self._masks()
        self.caps = [Counted(cap.most, snapshot.catalogue.values(cap.attribute)) for cap in asked.cap]
        self.chosen: dict[int, tuple[float, Source]] = {}  # by position, in the order of the list

    def answer(self) -> Answer:
        asked = self.asked
        pins = self._pins() if not self.shown else {}
        for position in pins.values():
            self._count(position)
        self._use(list(pins.values()))
        places = int(asked.explore * asked.k)
        fresh = self._fresh(places, max(0, asked.k - len(pins)))
        self._use(fresh)
        wanted = max(0, asked.k - len(pins)) - len(fresh)
        self._fill(wanted, min(wanted, places - len(fresh)))
        created = self.snapshot.catalogue.created
        self.chosen |= {position: (float(created[position]) / 1e6, "newest") for position in fresh}
        order: list[tuple[int, float, Source]] = [(p, score, source) for p, (score, source) in self.chosen.items()]
        for place in sorted(pins):
            order.insert(place - 1, (pins[place], 0.0, "pinned"))
        return self._finished(order)

    # What may be shown

    def _masks(self) -> tuple[Bools, Bools]:
        """Masks over positions (P,) and over rows of the model (I,), of this list's own."""
        snapshot, asked = self.snapshot, self.asked
        named = [snapshot.places[name] for name in (*asked.exclude, *asked.near) if name in snapshot.places]
        position = snapshot.catalogue.position_of
        named += [int(position[number]) for number in self.shown if number < len(position) and position[number] >= 0]
        met = self.known.disliked if asked.keep_seen else self.known.seen
        gone = np.concatenate([np.array(named, np.int64), met])
        allowed, rows_allowed = snapshot.allowed(asked.filter).copy(), snapshot.rows_allowed(asked.filter).copy()
        allowed[gone] = False
        row = snapshot.row_of[gone]
        rows_allowed[row[row >= 0]] = False
        return allowed, rows_allowed

    def _forbid(self, positions: Longs) -> None:
        self.allowed[positions] = False
        row = self.snapshot.row_of[positions]
        self.rows_allowed[row[row >= 0]] = False

    def _use(self, positions: list[int]) -> None:
        """Take note of items that stand in the list: they and whatever a cap now rules out may not come again."""
        self._forbid(np.array(positions, np.int64))
        for cap in self.caps:
            self._forbid(cap.full())

    def _pins(self) -> dict[int, int]:
        """Positions of pinned items by their place; those that cannot be had are left out."""
        pins = {}
        for pin in self.asked.pin:
            position = self.snapshot.places.get(pin.item_id)
            if position is None:
                raise SettingError(f"pin: item {pin.item_id!r} is unknown")
            if pin.position <= self.asked.k and self.snapshot.catalogue.available[position]:
                pins[pin.position] = position
        return pins

    def _fresh(self, most: int, wanted: int) -> list[int]:
        """Choose new items that no model knows, another choice for everybody, so that each is seen by some."""
        unknown = self.snapshot.unknown if most else self.snapshot.unknown[:0]
        unknown = unknown[self.allowed[unknown]]
        if not len(unknown):
            return []
        first = crc32((self.asked.user_id or "").encode()) % len(unknown)
        return self._fitting(np.roll(unknown, -first), min(most, wanted))

    def _fitting(self, positions: Longs, most: int) -> list[int]:
        """First `most` of the positions that no cap forbids beside those before them; counts them."""
        if not self.caps:
            return positions[:most].tolist()  # type: ignore[no-any-return]
        fitting: list[int] = []
        for position in positions.tolist():
            if len(fitting) == most:
                break
            if all(cap.has_room(position) for cap in self.caps):
                fitting.append(position)
                self._count(position)
        return fitting

    def _count(self, position: int) -> None:
        for cap in self.caps:
            cap.count(position)

    # Where items come from

    def _sources(self) -> Iterator[tuple[Source, Best]]:
        """Yield the sources in their order, each asked only for what is still missing."""
        if self.rows is not None and (self.rows.weight > 0).any():
            yield ("personal" if self.known.stored else "session"), self._by_model
        rows = [row for row in (self._row(name) for name in self.asked.near) if row >= 0]
        if rows:
            yield "similar", lambda most: self._by_likeness(rows, most)
        yield "popular", self._by_popularity
        yield "newest", self._by_age

    @cached_property
    def rows(self) -> Ragged | None:
        """The past over the rows of the model, one row; None without a model."""
        if self.snapshot.active is None:
            return None
        row = self.snapshot.row_of[self.known.position]
        kept = row >= 0
        if not kept.any():
            return NOBODY
        known = self.known
        return Ragged(np.array([0, np.count_nonzero(kept)]), row[kept], known.weight[kept], known.time[kept])

    def _fill(self, wanted: int, unmet: int) -> None:
        """Fill the list by the sources; so many of it, at the end, shall be items that nobody met but the model read.

        Those that stand higher up by themselves count.
        """
        sources, known = list(self._sources()), self.snapshot.unmet
        last: dict[int, tuple[float, Source]] = {}
        if unmet and known is not None and sources[0][1] == self._by_model:
            source, best = sources[0]
            self._take(source, best, wanted - unmet)
            above = list(self.chosen)
            self._use(above)
            there = int(np.count_nonzero(known[self.snapshot.row_of[above]]))
            self._take(source, lambda most: self._ranked(most, self.rows_allowed & known), wanted - there)
            last = {position: self.chosen.pop(position) for position in list(self.chosen)[len(above) :]}
            self._use(list(last))
        for source, best in sources:
            self._take(source, best, wanted - len(last))
        self.chosen |= last

    def _row(self, name: str) -> int:
        position = self.snapshot.places.get(name)
        return -1 if position is None else int(self.snapshot.row_of[position])

    def _take(self, source: Source, best: Best, wanted: int) -> None:
        """Let a source fill the list, asking it again while caps turn items away; the first one always fits."""
        while len(self.chosen) < wanted:
            missing = wanted - len(self.chosen)
            found, score = best(missing)
            if not len(found):
                return
            values = dict(zip(found.tolist(), score.tolist(), strict=True))
            fitting = self._fitting(found, missing)
            self.chosen |= {position: (values[position], source) for position in fitting}
            if len(self.chosen) < wanted:
                self._use(fitting)

    def _by_model(self, most: int) -> tuple[Longs, Floats]:
        return self._ranked(most, self.rows_allowed)

    def _ranked(self, most: int, allowed: Bools) -> tuple[Longs, Floats]:
        model = self.snapshot.active.model  # type: ignore[union-attr]
        past = Histories(SOMEBODY, model.items, self.rows)  # type: ignore[arg-type]
        most = min(most, len(model.items))
        if self.boosts is None:
            return self._positions(*model.top(past, most, allowed, True))
        return self._best_rows(model.scores(past)[0], most, allowed)

    def _by_likeness(self, rows: Sequence[int], most: int) -> tuple[Longs, Floats]:
        model = self.snapshot.active.model  # type: ignore[union-attr]
        try:
            likeness = sum((model.item_similarity(row) for row in rows), np.zeros(len(model.items), np.float32))
        except SettingError:  # a model that has none
            return np.zeros(0, np.int64), np.zeros(0, np.float32)
        return self._best_rows(likeness / np.float32(len(rows)), min(most, len(model.items)), self.rows_allowed)

    def _best_rows(self, scores: Floats, most: int, allowed: Bools) -> tuple[Longs, Floats]:
        if self.boosts is not None:
            scores = _boosted(scores, self.boosts[np.maximum(self.snapshot.position_of, 0)])
        return self._positions(*select_top(scores[None], allowed, most))

    def _positions(self, row: Ints, score: Floats) -> tuple[Longs, Floats]:
        filled = row[0] >= 0
        return self.snapshot.position_of[row[0, filled]].astype(np.int64), finite(score[0, filled])

    def _by_popularity(self, most: int) -> tuple[Longs, Floats]:
        order, score = self.snapshot.by_popularity, self.snapshot.popularity
        if self.boosts is not None:
            score = _boosted(score, self.boosts)
            order = order[np.argsort(-score[order], kind="stable")]
        found = _first(order, self.allowed, most)
        return found, score[found]

    def _by_age(self, most: int) -> tuple[Longs, Floats]:
        found = _first(self.snapshot.by_age, self.allowed, most)
        return found, (self.snapshot.catalogue.created[found] / 1e6).astype(np.float32)

    @cached_property
    def boosts(self) -> Floats | None:
        """Factor of each position's score, (P,); None for no boost."""
        if not self.asked.boost:
            return None
        factor = np.ones(len(self.snapshot.catalogue))
        for boost in self.asked.boost:
            factor[self.snapshot.catalogue.mask(boost.condition)] *= boost.factor
        return np.clip(factor, 1 / LARGEST_BOOST, LARGEST_BOOST).astype(np.float32)

    # The list

    def _finished(self, order: list[tuple[int, float, Source]]) -> Answer:
        snapshot = self.snapshot
        because = self._because([position for position, _, source in order if source in ("personal", "session")])
        places = []
        for position, score, source in order:
            past = because.get(position, ())
            places.append(Place(snapshot.names[position], score, source, _reason(source, past, self.asked), past))
        sources = dict(Counter(source for _, _, source in order))
        numbers = snapshot.catalogue.numbers[[position for position, _, _ in order]].tolist() if order else []
        full = len(order) == self.asked.k
        return Answer(
            tuple(places),
            None if snapshot.active is None else snapshot.active.about,
            cursors.write([*self.shown, *numbers]) if full else None,
            None if order else self._why_empty(),
            sources,
            tuple(self._warnings()),
        )

    def _warnings(self) -> Iterator[str]:
        asked, catalogue = self.asked, self.snapshot.catalogue
        for name, condition in (("filter", asked.filter), *(("boost", boost.condition) for boost in asked.boost)):
            yield from (f"{name}: {note}" for note in (catalogue.met(condition).notes if condition else ()))
        for cap in asked.cap:
            note = catalogue.attributes.unknown(cap.attribute)
            yield from () if note is None else (f"cap: {note}",)

    def _because(self, positions: list[int]) -> dict[int, tuple[str, ...]]:
        """Ids of the past items that speak most for each, by position."""
        if not positions or self.rows is None:
            return {}
        snapshot, rows = self.snapshot, self.rows
        parts = snapshot.active.model.contributions(rows, snapshot.row_of[positions])  # type: ignore[union-attr]
        named = strongest(rows.column, parts, NAMED, SPEAKS)
        return {
            position: tuple(snapshot.names[snapshot.position_of[row]] for row in past if row >= 0)
            for position, past in zip(positions, named.tolist(), strict=True)
        }

    def _why_empty(self) -> str:
        if not len(self.snapshot.catalogue):
            return "the store is empty"
        if self.asked.filter and not self.snapshot.allowed(self.asked.filter).any():
            return "no available item meets the filter"
        if self.shown:
            return "there are no more items"
        return "every item there is was seen, excluded or is not available"


def finite(scores: NDArray[np.floating]) -> Floats:
    """Scores as numbers that JSON has: what a history of huge weights sums up to is the largest there is."""
    largest = np.finfo(np.float32).max
    sound: Floats = np.nan_to_num(np.clip(scores, -largest, largest)).astype(np.float32)
    return sound


def _boosted(scores: Floats, factor: Floats) -> Floats:
    """Multiply scores above 0 and divide those below, so that a factor above 1 always lifts."""
    wide = factor.astype(np.float64)
    return finite(np.where(scores > 0, scores * wide, scores / wide))


def _first(order: Longs, allowed: Bools, most: int) -> Longs:
    """First `most` of the positions in this order that are allowed."""
    found: list[Longs] = []
    for low in range(0, len(order), CHUNK):
        part = order[low : low + CHUNK]
        found.append(part[allowed[part]])
        if sum(map(len, found)) >= most:
            break
    return np.concatenate(found)[:most] if found else np.zeros(0, np.int64)


def _reason(source: Source, because: tuple[str, ...], asked: Asked) -> str:
    if source in ("personal", "session"):
        return "because of your history" if not because else f"because of {' and '.join(because)}"
    where = " within the filter" if asked.filter else ""
    return {
        "pinned": "pinned here",
        "similar": "like what is on the page",
        "popular": f"popular{where}",
        "newest": f"new{where}",
    }[source]
