"""The pages of users: history, list, and "what if"."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response
from starlette.responses import RedirectResponse

from palate.serve.dashboard.lists import Verb, WhatIf, listed
from palate.serve.dashboard.rendering import Pages, Text
from palate.serve.dashboard.summaries import beginning, grouped, summaries
from palate.serve.dashboard.tuning import Tuning, attributes_of, may_explore
from palate.serve.fast import json
from palate.serve.routes import needs
from palate.store.activity import latest_users
from palate.store.recording import MOST_CHARACTERS

LINES, HISTORY = 50, 100  # users of a table, events of a page
MOST_IF = 100  # hypothetical events of one request

Slider = Annotated[float, Query(ge=0, le=1)]
Texts = Annotated[list[str], Query(max_length=MOST_IF)]


def users_routes(router: APIRouter, pages: Pages) -> None:
    """Add the page of a user: history, list, and "what if"."""
    service = pages.service
    store, live = service.store, service.live

    @router.get("/users")
    @needs("read")
    def users(request: Request, q: Text = None, after: Text = None, sort: Literal["seen", "id"] = "seen") -> Response:
        named = bool(q or after) or sort == "id"
        found = beginning(store, q or "", LINES + 1, after) if named else latest_users(store, LINES)
        return pages.page(
            request,
            "users.html",
            lines=summaries(service.live, pages.cards(), found[:LINES]),
            more=found[LINES - 1] if len(found) > LINES else None,
            q=q or "",
            named=named,
        )

    @router.get("/user")
    @needs("read")
    def user_page(
        request: Request,
        user: Annotated[str, Query(min_length=1, max_length=MOST_CHARACTERS)],
        like: Texts = [],  # noqa: B006  FastAPI copies it
        dislike: Texts = [],  # noqa: B006
        add: Text = None,
        verb: Verb = "like",
        before: Annotated[int | None, Query(ge=0, lt=1 << 63)] = None,
        diversify: Slider = 0,
        calibrate: Slider = 0,
        long_tail: Slider = 0,
        explore: Slider = 0,
        by: Text = None,
    ) -> Response:
        cards = pages.cards()
        attributes, drawing = attributes_of(cards.snapshot), may_explore(cards.snapshot)
        by = by if by in attributes else next(iter(attributes), "")
        tuning = Tuning(diversify, calibrate, long_tail, explore if drawing else 0, by)
        events: tuple[tuple[Verb, str], ...] = (
            *(("like", name) for name in like),
            *(("dislike", name) for name in dislike),
        )
        what_if = WhatIf(user, events, tuning)
        if add:
            found = cards.search(add, 1)
            return RedirectResponse((what_if.plus(verb, found[0].item_id) if found else what_if).address, 303)
        past = store.events(user, HISTORY, before)
        lines, old = listed(live, cards, what_if)
        return pages.page(
            request,
            "user.html",
            user=user,
            what_if=what_if,
            supposed=list(zip([verb for verb, _ in what_if.events], cards.of([*like, *dislike]), strict=True)),
            lines=lines,
            old=old,
            tuning=tuning,
            attributes=attributes,
            drawing=drawing,
            history=grouped(past, cards),
            older=past[-1].seq if len(past) == HISTORY else None,
            before=before,
        )

    @router.get("/page/users")
    @needs("read")
    def suggested(q: Annotated[str, Query(max_length=MOST_CHARACTERS)] = "") -> Response:
        """Return users whose id begins with the text."""
        return json([{"item_id": name, "title": name, "colour": 0} for name in beginning(store, q, 8)])
