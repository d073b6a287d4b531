"""The routes of the page, rendered from templates; its scripts read /page/."""

from __future__ import annotations

from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse, RedirectResponse
from starlette.staticfiles import StaticFiles

from palate.ranking.request import ListRequest
from palate.serve.dashboard import wording
from palate.serve.dashboard.audience import audience
from palate.serve.dashboard.cards import Cards
from palate.serve.dashboard.figures import RANGES, Answers, RecentActivity, drawn
from palate.serve.dashboard.lists import Verb, WhatIf, lines_of, listed
from palate.serve.dashboard.privacy import Spent
from palate.serve.dashboard.projection import Maps
from palate.serve.dashboard.tuning import Tuning, attributes_of, may_explore
from palate.serve.fast import json
from palate.serve.routes import LateRoute, needs
from palate.serve.security import may
from palate.serve.service import Service
from palate.store.activity import newest_events, newest_users
from palate.store.recording import MOST_CHARACTERS
from palate.store.versions import CHOICE, Version

METRIC = "NDCG@10"
STATIC = StaticFiles(directory=Path(__file__).parent / "static")
FEED, NEWEST, HISTORY, GRID, SIMILAR = 12, 24, 30, 24, 12  # lines of the lists of the page
MOST_USERS = 30
MOST_IF = 100  # hypothetical events of one request

Text = Annotated[str | None, Query(max_length=MOST_CHARACTERS)]
Slider = Annotated[float, Query(ge=0, le=1)]
Texts = Annotated[list[str], Query(max_length=MOST_IF)]


class Pages:
    """The templates, and the values that all of them use."""

    def __init__(self, service: Service) -> None:
        self.service = service
        loader = PackageLoader("palate.serve.dashboard")
        self.templates = Environment(
            loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
        )
        self.templates.filters |= wording.FILTERS
        self.templates.globals |= {"share": wording.share, "version": version("palate"), "metric": METRIC}

    def page(self, request: Request, name: str, status: int = 200, **values: object) -> Response:
        """Answer with a page."""
        allowed = {"may_write": may(request.scope, "write"), "may_admin": may(request.scope, "admin")}
        text = self.templates.get_template(name).render(
            values | allowed | {"path": request.url.path, "keys": self.service.settings.keys}
        )
        return HTMLResponse(text, status, {"Cache-Control": "no-store"})

    def cards(self) -> Cards:
        """Return the cards of the current items."""
        return Cards(self.service.live.snapshot())


def pages_router(service: Service) -> APIRouter:
    """Make all routes of the page."""
    router, pages = APIRouter(include_in_schema=False, route_class=LateRoute), Pages(service)
    overview_routes(router, pages)
    users_routes(router, pages)
    items_routes(router, pages)
    models_routes(router, pages)
    privacy_routes(router, pages)
    return router


def overview_routes(router: APIRouter, pages: Pages) -> None:
    """Add the overview."""
    service, recent = pages.service, RecentActivity(pages.service.store)

    @router.get("/")
    @needs("read")
    def overview(
        request: Request, span: Annotated[Literal["hour", "day", "month", "all"] | None, Query(alias="range")] = None
    ) -> Response:
        counts, cards = recent.counts(), pages.cards()
        chosen, found = recent.activity(span)
        events = newest_events(service.store, FEED)
        answers = Answers.of(service.metrics)
        return pages.page(
            request,
            "overview.html",
            counts=counts,
            ranges=list(RANGES),
            span=chosen,
            activity=found,
            drawn=drawn(found),
            answers=answers,
            latency=answers.latency,
            feed=list(zip(events, cards.of(event.item_id for event in events), strict=True)),
            active=_active(service),
            address=str(request.base_url),
        )


def users_routes(router: APIRouter, pages: Pages) -> None:
    """Add the page of a user: history, list, and "what if"."""
    service = pages.service
    store, live = service.store, service.live

    @router.get("/people")
    @needs("read")
    def users(
        request: Request,
        user: Text = None,
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
        if not user:
            return pages.page(request, "users.html", user=None, newest=newest_users(store, NEWEST))
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
            "users.html",
            user=user,
            what_if=what_if,
            supposed=list(zip([verb for verb, _ in what_if.events], cards.of([*like, *dislike]), strict=True)),
            lines=lines,
            old=old,
            tuning=tuning,
            attributes=attributes,
            drawing=drawing,
            history=list(zip(past, cards.of(event.item_id for event in past), strict=True)),
            older=past[-1].seq if len(past) == HISTORY else None,
            before=before,
        )

    @router.get("/page/people")
    @needs("read")
    def suggested(q: Annotated[str, Query(max_length=MOST_CHARACTERS)] = "") -> Response:
        """Return users whose id begins with the text."""
        after = [name for name in store.users(8, q) if name.startswith(q)]
        first = [q] if q and store.events(q, 1) else []
        return json([{"item_id": name, "title": name, "colour": 0} for name in [*first, *after][:8]])


def items_routes(router: APIRouter, pages: Pages) -> None:
    """Add the page of an item, the search, the audience, and the map."""
    service, maps = pages.service, Maps()

    @router.get("/items")
    @needs("read")
    def items(request: Request, item: Text = None, q: Text = None) -> Response:
        cards = pages.cards()
        snapshot = cards.snapshot
        if item is None:
            found = cards.search(q, GRID) if q else cards.at(snapshot.by_popularity.position[:GRID])
            return pages.page(request, "items.html", item=None, q=q or "", found=found)
        there = service.store.items.get(item)
        if there is None:
            return pages.page(request, "items.html", 404, item=None, q=item, found=[])
        position = snapshot.index.position(item)
        similar = service.live.recommend(ListRequest(k=SIMILAR, anchor_items=(item,), explore=0)).items
        return pages.page(
            request,
            "items.html",
            item=there,
            card=cards.of([item])[0],
            weight=0.0 if position < 0 else float(snapshot.by_popularity.score[position]),
            known=position >= 0 and snapshot.index.row[position] >= 0,
            similar=[line for line in lines_of(similar, cards) if line.place.source == "similar"],
        )

    @router.get("/page/search")
    @needs("read")
    def search(q: Annotated[str, Query(max_length=MOST_CHARACTERS)] = "") -> Response:
        """Return items by words of their title."""
        return json([asdict(card) for card in pages.cards().search(q)] if q.strip() else [])

    @router.get("/page/audience")
    @needs("read")
    def would_get(request: Request, item: Annotated[str, Query(max_length=MOST_CHARACTERS)]) -> Response:
        """Return users whose list has the item, as a part of a page."""
        return pages.page(request, "audience.html", audience=audience(service.live, item), most=MOST_USERS)

    @router.get("/map")
    @needs("read")
    def shown(request: Request) -> Response:
        cards = pages.cards()
        return pages.page(request, "map.html", categories=cards.categories, active=cards.snapshot.active)

    @router.get("/page/map")
    @needs("read")
    def drawn_map() -> Response:
        """Return the items of the map: id, title, colour, x and y; null for a model without item vectors."""
        cards = pages.cards()
        found = maps.of(cards.snapshot)
        if found is None:
            return json(None)
        shown = [(card.item_id, card.title, card.colour) for card in cards.at(found.position)]
        return json({"items": shown, "places": found.place.ravel().tolist()})


def models_routes(router: APIRouter, pages: Pages) -> None:
    """Add the versions of the model."""
    service = pages.service

    @router.get("/models")
    @needs("read")
    def models(request: Request) -> Response:
        versions = list(reversed(service.versions.list()))
        active = service.versions.active()
        choice = next((each.about.get(CHOICE) for each in versions if each.number == active), None)
        tried = [] if choice is None else choice["models"]
        highest = [max(each.about["metrics"][METRIC]) for each in versions if METRIC in each.about.get("metrics", {})]
        return pages.page(
            request,
            "models.html",
            versions=versions,
            active=active,
            answering=service.live.snapshot().version,
            most=max(highest, default=0) or 1,
            choice=choice,
            top=max((each["metric"]["high"] for each in tried), default=0) or 1,
        )


def privacy_routes(router: APIRouter, pages: Pages) -> None:
    """Add what is proven of the active model, and what private trainings have spent."""
    service = pages.service

    @router.get("/privacy")
    @needs("read")
    def privacy(request: Request) -> Response:
        active = service.live.snapshot().active
        return pages.page(
            request,
            "privacy.html",
            active=active.version,
            guarantee=active.model.guarantee,
            spent=Spent.of(service.store),
        )


def _active(service: Service) -> Version | None:
    """Return the version that this process answers with."""
    number = service.live.snapshot().version
    return next((each for each in service.versions.list() if each.number == number), None)
