"""What a log and a catalogue show before any fit, counted in milliseconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from palate.arrays import Bools, Ints, Longs
from palate.data.catalogue import Catalogue
from palate.data.interactions import Interactions
from palate.data.times import DAY
from palate.encoders.fields import LEFT_OUT, USUAL, unread
from palate.evaluation.metrics import gini

LOOKED_AT = 200_000  # events of random users that what is slow to count is counted on
NEWEST = 0.1  # share of the events, the newest
TOP = 100  # items whose change shows drift
RATINGS = range(2, 21)  # different weights of events that are ratings
SORTED = 0.98  # share of rising steps from which on a history is sorted by item and has no order
SURE = 3.0  # standard errors
FIRST = 20  # values of a column that show whether it has files
SENTENCE = 6.0  # spaces of a text in the mean from which on it is sentences, not a title
MOST_USERS = 20_000  # whose last event asks whether order predicts


@dataclass(frozen=True)
class TimeFacts:
    """What times show.

    days       from the first event to the last
    kept_top   share of the items most chosen in the newest tenth that were so before: the rest is drift
    new_users  share of the users of the newest tenth without an earlier event; `length`, their median events
    new_items  share of its items without an earlier event
    """

    days: float
    kept_top: float
    new_users: float
    length: float
    new_items: float

    @classmethod
    def of(cls, log: Interactions) -> TimeFacts | None:
        """Compare the newest tenth with what came before; None for a log without times, or with a single one."""
        time = log.timestamp
        if time is None or not len(time) or time.min() == time.max():
            return None
        place = len(time) - max(1, round(NEWEST * len(time)))
        cut = np.partition(time, place)[place]
        newest = time >= cut if cut > time.min() else time > cut
        before, since = (np.bincount(log.item[part], minlength=len(log.items)) for part in (~newest, newest))
        recent = np.bincount(log.user[newest], minlength=len(log.users)) > 0
        known = np.bincount(log.user[~newest], minlength=len(log.users)) > 0
        return cls(
            days=float((time.max() - time.min()) / DAY),
            kept_top=len(set(_top(before)) & set(_top(since))) / len(_top(since)),
            new_users=float((recent & ~known).sum() / recent.sum()),
            length=float(np.median(np.diff(log.start)[recent])),
            new_items=float(((since > 0) & (before == 0)).sum() / (since > 0).sum()),
        )

    def describe(self) -> str:
        """Return the facts in a sentence."""
        return (
            f"The log spans {self.days:,.0f} days; in its newest tenth {self.new_users:.0%} of users and "
            f"{self.new_items:.0%} of items are new, and {self.kept_top:.0%} of the top items were so before."
        )


def _top(counts: Longs) -> list[int]:
    """Rows of the items most chosen."""
    top: list[int] = np.argsort(-counts, kind="stable")[: min(TOP, np.count_nonzero(counts))].tolist()
    return top


@dataclass(frozen=True)
class LogFacts:
    """Counts and shares of a log, and of the catalogue beside it.

    per_user      median events of a user
    squares       Σ_u n_u², the pairs of events of one user: what item-to-item models look at
    skew          Gini coefficient of the items' events
    repeats       share of the events whose user had an event on that item before
    ratings       whether weights differ as ratings do: a few values, no event types
    order         how much more often the item just before a user's last one leads to it than an earlier item does, 0
                  where that is not clear, where there is no order, or where histories are sorted by item
    time          what times show, None for a log without times, or with a single one
    without       items of the catalogue without an event
    content       columns of the catalogue that models read; pictures and sounds of `media` need pretrained encoders,
                  and `texts`, columns of sentences, may have one
    """

    users: int
    items: int
    events: int
    per_user: float
    squares: float
    skew: float
    repeats: float
    ratings: bool
    types: int
    order: float
    time: TimeFacts | None
    without: int
    content: tuple[str, ...]
    media: tuple[str, ...]
    texts: tuple[str, ...] = ()

    @classmethod
    def of(cls, log: Interactions, catalogue: Catalogue | None = None) -> LogFacts:
        """Count; a part of a large log stands for the whole where counting would take seconds."""
        lengths = np.diff(log.start)
        part = of_users(log, LOOKED_AT)
        weights = np.unique(part.weight)
        content, media = _content(catalogue)
        without = 0 if catalogue is None else int((log.items.recode(catalogue.items) < 0).sum())
        return cls(
            users=len(log.users),
            items=len(log.items),
            events=len(log),
            per_user=float(np.median(lengths)) if len(lengths) else 0.0,
            squares=float((lengths.astype(np.float64) ** 2).sum()),
            skew=gini(log.item_counts()),
            repeats=_repeats(part),
            ratings=len(weights) in RATINGS and log.event is None,
            types=len(log.event_types),
            order=_order(part),
            time=TimeFacts.of(log),
            without=without,
            content=content,
            media=media,
            texts=_texts(catalogue, content),
        )

    def counted(self, part: Interactions) -> LogFacts:
        """Return these facts with the counts of a part of the log."""
        squares = float((np.diff(part.start).astype(np.float64) ** 2).sum())
        return replace(self, users=len(part.users), items=len(part.items), events=len(part), squares=squares)

    @property
    def density(self) -> float:
        """Events for each pair of a user and an item."""
        return self.events / max(1, self.users * self.items)

    def to_dict(self) -> dict[str, object]:
        """Return all facts, ready for JSON."""
        lists = {name: list(getattr(self, name)) for name in ("content", "media", "texts")}
        return {**asdict(self), **lists, "density": self.density}

    def describe(self) -> list[str]:
        """Return the facts in sentences."""
        lines = [
            f"{_number(self.events, 'event')} of {_number(self.users, 'user')} on {_number(self.items, 'item')}; "
            f"a user has {self.per_user:g} in the median, and {self.density:.2%} of all pairs have an event.",
            f"The events of items have a Gini coefficient of {self.skew:.2f}; {self.repeats:.0%} are repeats.",
        ]
        if self.ratings:
            lines.append("Weights differ as ratings do.")
        lines.append(self._order_line())
        if self.time is not None:
            lines.append(self.time.describe())
        if self.content or self.media:
            columns = ", ".join(self.content + self.media)
            lines.append(f"The catalogue has {columns}; {self.without:,} of its items have no event.")
        return lines

    def _order_line(self) -> str:
        if self.order > 0:
            return (
                f"Order predicts: the item just before leads to the next {self.order:.0%} more often than others do."
            )
        return "The order of events shows no clear sign that it predicts the next one."


def _number(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def of_users(log: Interactions, most: int, seed: int = 0) -> Interactions:
    """Return the log of random users with about this many events together, itself where it has no more."""
    if len(log) <= most:
        return log
    order = np.random.default_rng(seed).permutation(len(log.users))
    together = np.cumsum(np.diff(log.start)[order])
    chosen = np.zeros(len(log.users), np.bool_)
    chosen[order[: max(1, int(np.searchsorted(together, most)))]] = True
    return log.select(chosen[log.user])


def _repeats(log: Interactions) -> float:
    if not len(log):
        return 0.0
    return 1 - len(np.unique(_pairs(log.user, log.item, len(log.items)))) / len(log)


def _pairs(left: Ints, right: Ints, items: int) -> Longs:
    return left.astype(np.int64) * items + right


def _order(log: Interactions) -> float:
    """How much more often the item before the last leads to it than a random earlier one; 0 where it is not clear.

    A pair leads where other users have it side by side in that order. Without order both are as likely, so only users
    in whom the two disagree count (McNemar 1947).
    """
    item, lengths = log.item, np.diff(log.start)
    able = np.flatnonzero(lengths >= 3)[:MOST_USERS]
    inner = log.user[1:] == log.user[:-1]
    if not len(able) or _sorted(log, inner):
        return 0.0
    end = log.start[able + 1]
    earlier = log.start[able] + (np.random.default_rng(0).random(len(able)) * (lengths[able] - 2)).astype(np.int64)
    last_step = np.zeros(len(item), np.bool_)
    last_step[end - 2] = True
    known = np.unique(_pairs(item[:-1], item[1:], len(log.items))[inner & ~last_step[:-1]])
    target = item[end - 1]
    before = _known(_pairs(item[end - 2], target, len(log.items)), known)
    random = _known(_pairs(item[earlier], target, len(log.items)), known)
    more, fewer = int((before & ~random).sum()), int((random & ~before).sum())
    clear = more - fewer > SURE * np.sqrt(more + fewer)
    return (int(before.sum()) / max(1, int(random.sum())) - 1) if clear else 0.0


def _known(pairs: Longs, known: Longs) -> Bools:
    place = np.minimum(np.searchsorted(known, pairs), max(0, len(known) - 1))
    return np.asarray(known[place] == pairs) if len(known) else np.zeros(len(pairs), np.bool_)


def _sorted(log: Interactions, inner: Bools) -> bool:
    """Whether histories are in the order of the ids, as files are whose rows were sorted."""
    ids = np.empty(len(log.items), np.int64)
    ids[np.asarray(log.items.ids.arg_sort())] = np.arange(len(log.items))
    rank = ids[log.item]
    steps = np.diff(rank)[inner]
    return len(steps) > 0 and max((steps >= 0).mean(), (steps <= 0).mean()) >= SORTED


def _content(catalogue: Catalogue | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Columns with values that models read, and those of pictures and sounds."""
    if catalogue is None:
        return (), ()
    there = [name for name in catalogue.fields if catalogue.frame[name].null_count() < len(catalogue)]
    media = tuple(n for n in there if n in USUAL and _has_files(catalogue.frame[n]))
    bytes_ = unread(catalogue)
    return tuple(n for n in there if n not in LEFT_OUT and n not in bytes_), media


def _has_files(values: pl.Series) -> bool:
    """Whether one of the first values is a file, which encoders read; addresses of the net are not."""
    first = values.drop_nulls().head(FIRST).to_list()
    return any(isinstance(each, str) and Path(each).is_file() for each in first)


def _texts(catalogue: Catalogue | None, columns: Sequence[str]) -> tuple[str, ...]:
    """Columns of sentences."""
    if catalogue is None:
        return ()
    texts = [catalogue.frame[name] for name in columns if catalogue.frame[name].dtype == pl.String]
    spaces = ((each.name, each.drop_nulls().head(LOOKED_AT).str.count_matches(r"\s").mean()) for each in texts)
    return tuple(name for name, mean in spaces if isinstance(mean, float) and mean >= SENTENCE)
