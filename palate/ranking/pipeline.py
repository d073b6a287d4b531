"""A list from a request and a context: candidates, draws, stages and the rules of the request, in this order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np

from palate.arrays import Longs
from palate.models.posterior import Posterior
from palate.ranking import candidates, rules
from palate.ranking.candidates import Candidates
from palate.ranking.context import Context
from palate.ranking.explain import listed, warnings, why_empty
from palate.ranking.request import (
    SOURCES,
    Explore,
    ListRequest,
    RecommendationList,
    Source,
    read_cursor,
    write_cursor,
)
from palate.ranking.slate import CODE, EMPTY, Eligible, Slate
from palate.ranking.stages import Stage, pool_of, run, with_others
from palate.ranking.thompson import COLD, Draws, pool_size, posterior_of


def recommend(request: ListRequest, context: Context) -> RecommendationList:
    """Make the list: candidates go through the stages of the model, then the rules of the request hold.

    Raises `ConditionError`, `SettingError` or `DataError` for what cannot be asked.
    """
    if request.only is None:
        return _recommended(request, context)
    known = context.known(request.only)
    narrow = context.among(np.array(list(known.values()), np.int64))
    made = _recommended(request, narrow)
    cursor = made.cursor if request.k < len(known) else None
    unknown = tuple(dict.fromkeys(item_id for item_id in request.only if item_id not in known))
    return replace(made, cursor=cursor, unknown=unknown)


def _recommended(request: ListRequest, context: Context) -> RecommendationList:
    shown = [] if request.cursor is None else read_cursor(request.cursor)
    eligible = Eligible.of(request, context, shown)
    filling = Filling(request, context, eligible)
    slate = filling.slate(pinning=not shown)
    codes = slate.source.tolist()
    sources: dict[Source, int] = {SOURCES[code]: codes.count(code) for code in dict.fromkeys(codes)}
    own = context.index.number[slate.position].tolist()
    numbers = own
    if request.shown_above:
        above = context.index.positions(request.shown_above)
        numbers = [*context.index.number[above[above >= 0]].tolist(), *own]
    return RecommendationList(
        tuple(listed(slate, request, context)),
        context.about,
        write_cursor([*shown, *numbers]) if len(slate) == request.k else None,
        None if len(slate) else why_empty(request, context, bool(shown)),
        sources,
        tuple(warnings(request, context)) if request.conditions or request.cap or request.stages else (),
        propensities=filling.propensities(slate) if isinstance(request.explore, Explore) else (),
        numbers=tuple(own),
        first=1 + len(shown),
    )


@dataclass(eq=False)
class Filling:
    """One list as it is filled: what is chosen leaves `eligible` and counts against the caps."""

    request: ListRequest
    context: Context
    eligible: Eligible

    def __post_init__(self) -> None:
        request, context = self.request, self.context
        self.stages = cast("tuple[Stage, ...]", context.stages)
        if request.stages:
            self.stages = with_others(self.stages, cast("tuple[Stage, ...]", request.stages))
        self.caps = rules.Caps(request, context) if request.cap else None
        self.factor = rules.boosts(request, context) if request.boost else None
        self.sources: list[Candidates] = []
        self.draws: Draws | None = None
        self.chance: dict[int, float] = {}  # of positions whose place is left to chance
        self.posterior = posterior_of(context) if request.exploring else None

    def slate(self, *, pinning: bool) -> Slate:
        """Fill the list: cold-start items get their share at its end, and pins their places."""
        request = self.request
        pins = rules.pins(request, self.context) if request.pin and pinning else {}
        pinned = np.array(list(pins.values()), np.int64)
        if pins:
            if self.caps:
                self.caps.count(pinned.tolist())
            self._remove(pinned)
        start = self.eligible.copy() if request.share else self.eligible
        room = max(0, request.k - len(pins))
        share = int(request.explored * request.k)
        fresh = EMPTY
        if share and len(self.context.fresh) and "newest" in request.sources:
            new = candidates.fresh(request, self.context, self.eligible)
            fresh = self._chosen(new, min(share, room))
            self.chance |= dict.fromkeys(fresh.position.tolist(), 1 / max(1, len(new)))
        wanted = room - len(fresh)
        filled = self._filled(wanted, min(wanted, share - len(fresh)))
        if self.draws is not None and not (request.cap or request.share):
            self.chance |= self._chances(self.draws, filled)
        slate = Slate.joined([filled, fresh])
        if request.share:
            slate = self._shared(slate, len(filled), pinned, start)
        return _pinned(slate, pins) if pins else slate

    def _filled(self, wanted: int, share: int) -> Slate:
        """Fill the places from the sources; `share` of them, at the end, are cold-start items if there are some.

        Those are items that the model knows by their attributes alone. Where some stand higher up, fewer follow.
        """
        request, context = self.request, self.context
        self.sources = sources = list(candidates.sources(request, context, self.factor))
        own = candidates.own_source(context) in request.sources and candidates.knows_taste(context)
        posterior = self.posterior if own else None
        if self.stages or posterior:
            sources.insert(0, self._staged(sources, posterior))
        if posterior or not (share and len(context.cold) and own):
            return self._taken(sources, wanted)
        head = self._taken(sources[:1], wanted - share)
        there = int(np.count_nonzero(context.cold[context.index.row[head.position]]))
        tail = self._taken([candidates.cold(context, self.factor)], share - there)
        rest = self._taken(sources, wanted - len(head) - len(tail))
        return Slate.joined([head, rest, tail])

    def _staged(self, sources: Sequence[Candidates], posterior: Posterior | None) -> Candidates:
        """Make a source of the pool of the others, in the order of the draw and the stages."""
        k = self.request.k
        pool, missing = list[Slate](), max(pool_of(self.stages, k), pool_size(k) if posterior else 0)
        eligible = self.eligible.copy()
        for source in sources:
            if missing == 0:
                break
            found = source(missing, eligible)
            eligible.remove(found.position)
            pool.append(found)
            missing -= len(found)
        joined = self._drawn(pool, eligible, posterior) if posterior else Slate.joined(pool)
        staged = run(self.stages, joined, self.context, k)
        return lambda most, eligible: staged.take(np.flatnonzero(eligible.allowed(staged))[:most])

    def _drawn(self, pool: Sequence[Slate], eligible: Eligible, posterior: Posterior) -> Slate:
        """Return the pool in the order of a draw, with cold-start items behind those of the model."""
        request, context, own = self.request, self.context, candidates.own_source(self.context)
        last = next((n for n, part in enumerate(pool) if len(part) and part.source[0] == CODE[own]), None)
        if last is None:
            return Slate.joined(pool)
        cold = candidates.cold(context, self.factor)(COLD, eligible) if len(context.cold) else EMPTY
        whole = Slate.joined([*pool[: last + 1], cold, *pool[last + 1 :]])
        self.draws = Draws.of(whole, own, request, context, posterior, staged=bool(self.stages))
        return self.draws.slate()

    def _chances(self, draws: Draws, filled: Slate) -> dict[int, float]:
        """Return how likely the items of a list stood at their places, for those that were drawn."""
        k = self.request.k
        staged = (lambda slate: run(self.stages, slate, self.context, k)) if self.stages else None
        return dict(zip(filled.position.tolist(), draws.propensities(len(filled), staged).tolist(), strict=False))

    def propensities(self, slate: Slate) -> tuple[float | None, ...]:
        """Return how likely each item of the whole list stood at its place; what no chance decides is certain."""
        chosen = self.request.cap or self.request.share
        if chosen and (self.draws is not None or self.chance):
            pinned = slate.source == CODE["pinned"]
            return tuple(1.0 if each else None for each in pinned.tolist())
        return tuple(self.chance.get(position, 1.0) for position in slate.position.tolist())

    def _shared(self, slate: Slate, head: int, pinned: Longs, start: Eligible) -> Slate:
        """Choose the items of a list again where a share lacks some: those for the shares first.

        head  places before the items that are new; start  what is eligible beside the pinned
        """
        shares = rules.reserved(self.request, self.context)
        if not any(share.missing(np.append(slate.position, pinned)) for share in shares):
            return slate
        self.eligible = start
        if self.caps:
            self.caps = rules.Caps(self.request, self.context)
            self.caps.count(pinned.tolist())
        chosen, room = EMPTY, max(0, self.request.k - len(pinned))
        for share in shares:
            missing = share.missing(np.append(chosen.position, pinned))
            chosen = self._more(chosen, slate, min(missing, room - len(chosen)), share)
        chosen = self._more(chosen, slate, room - len(chosen))
        place = {position: float(n) for n, position in enumerate(slate.position.tolist())}
        order = [place.get(position, head - 0.5) for position in chosen.position.tolist()]
        return chosen.take(np.argsort(order, kind="stable"))

    def _more(self, chosen: Slate, slate: Slate, wanted: int, share: rules.Reserved | None = None) -> Slate:
        """Return what is chosen with more behind it, of the slate, then of the sources; share  the only items."""
        left = ~np.isin(slate.position, chosen.position)
        if share is not None:
            left &= share.items[slate.position]
        kept = self._chosen(slate.take(np.flatnonzero(left)), wanted)
        return Slate.joined([chosen, kept, self._taken(self.sources, wanted - len(kept), share)])

    def _taken(self, sources: Sequence[Candidates], wanted: int, share: rules.Reserved | None = None) -> Slate:
        """Take from each source in turn, asking it again while caps turn items away; share  the only items."""
        taken: list[Slate] = []
        missing = wanted
        for source in sources:
            while missing > 0:
                most = candidates.block(missing) if self.caps else missing
                eligible = self.eligible if share is None else self.eligible.within(share.items, share.rows)
                found = source(most, eligible)
                fitting = self._chosen(found, missing)
                taken.append(fitting)
                missing -= len(fitting)
                if len(found) < most:
                    break
        return Slate.joined(taken)

    def _chosen(self, slate: Slate, most: int) -> Slate:
        """First items of a slate that the caps allow; they, and what the caps now rule out, are eligible no more."""
        fitting = self.caps.fit(slate, most) if self.caps else slate.take(slice(most))
        self._remove(fitting.position)
        return fitting

    def _remove(self, positions: Longs) -> None:
        self.eligible.remove(positions)
        if self.caps:
            self.eligible.remove(self.caps.full())


def _pinned(slate: Slate, pins: Mapping[int, int]) -> Slate:
    """Put pinned positions at their places, or at the end of a list that is shorter."""
    for place in sorted(pins):
        pin = Slate.of(np.array([pins[place]]), np.zeros(1), "pinned")
        slate = Slate.joined([slate.take(slice(place - 1)), pin, slate.take(slice(place - 1, None))])
    return slate
