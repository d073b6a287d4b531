"""The pages of items, and the map."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import Annotated, Literal, get_args

from fastapi import APIRouter, Query, Request, Response

from palate.ranking.request import ListRequest
from palate.serve.dashboard.audience import audience
from palate.serve.dashboard.listing import PAGE, Availability, Sort, has_pictures, listing
from palate.serve.dashboard.lists import lines_of
from palate.serve.dashboard.projection import Maps
from palate.serve.dashboard.rendering import Pages, Text
from palate.serve.fast import json
from palate.serve.routes import needs
from palate.store.recording import MOST_CHARACTERS

SIMILAR = 12  # lines of a list
MOST_USERS = 30
MOST_CATEGORIES = 200  # of the items of the map, that can be chosen


def items_routes(router: APIRouter, pages: Pages) -> None:
    """Add the catalogue, the page of an item, its audience, and the search."""
    service = pages.service

    @router.get("/items")
    @needs("read")
    def items(
        request: Request,
        q: Text = None,
        condition: Annotated[str | None, Query(alias="filter", max_length=4000)] = None,
        sort: Sort = "popular",
        shown: Availability = "all",
        page: Annotated[int, Query(ge=0, lt=1 << 20)] = 0,
        view: Literal["tiles", "table"] | None = None,
    ) -> Response:
        """Show the catalogue; the address says how."""
        cards = pages.cards()
        asked = {"q": q or "", "filter": condition or "", "sort": sort, "shown": shown}
        asked |= {"view": view} if view else {}
        found = listing(service.store, cards, asked["q"], asked["filter"], sort, shown, page)
        return pages.page(
            request,
            "items.html",
            asked=asked,
            found=found,
            page=page,
            last=-(-found.count // PAGE),
            sorts=get_args(Sort),
            shows=get_args(Availability),
            tiles=view == "tiles" or (view is None and has_pictures(cards)),
        )

    @router.get("/item")
    @needs("read")
    def one_item(request: Request, item: Annotated[str, Query(min_length=1, max_length=MOST_CHARACTERS)]) -> Response:
        cards = pages.cards()
        snapshot = cards.snapshot
        there = service.store.items.get(item)
        if there is None:
            return pages.page(request, "item.html", 404, item=None, asked=item)
        position = snapshot.index.position(item)
        similar = service.live.recommend(ListRequest(k=SIMILAR, anchor_items=(item,), explore=0)).items
        return pages.page(
            request,
            "item.html",
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


def map_routes(router: APIRouter, pages: Pages) -> None:
    """Add the map."""
    maps = Maps()

    @router.get("/map")
    @needs("read")
    def shown(request: Request) -> Response:
        cards = pages.cards()
        return pages.page(request, "map.html", categories=cards.categories, active=cards.snapshot.active)

    @router.get("/page/map")
    @needs("read")
    def drawn_map() -> Response:
        """Return the items of the map: id, title, colour and categories, x and y; null without item vectors."""
        cards = pages.cards()
        found = maps.of(cards.snapshot)
        if found is None:
            return json(None)
        on_map = cards.at(found.position)
        count = Counter(name for card in on_map for name in card.categories)
        names = [name for name, _ in count.most_common(MOST_CATEGORIES)]
        number = {name: n for n, name in enumerate(names)}
        items = [
            (card.item_id, card.title, card.colour, [number[name] for name in card.categories if name in number])
            for card in on_map
        ]
        return json({"items": items, "places": found.place.ravel().tolist(), "categories": names})
