"""Routes of items."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

from fastapi import APIRouter, Request, Response

from palate.errors import UnknownId
from palate.serve.fast import json
from palate.serve.gorse.lists import Lists
from palate.serve.gorse.routes import MOST_ROWS, cursor_of, new_router, page
from palate.serve.gorse.wire import (
    ItemIn,
    ItemOut,
    ItemPage,
    ItemPatch,
    N,
    Segment,
    Success,
    Word,
    categories_of,
    item_out,
)
from palate.serve.problems import Problem
from palate.serve.routes import needs
from palate.serve.service import Service
from palate.serve.wire import Batch
from palate.store.items import Item

MOST_WORDS = 20  # of a search, which scans all texts for each


def items_router(service: Service) -> APIRouter:
    """Make the routes."""
    router, items, lists = new_router(), service.store.items, Lists(service)

    @router.post("/item")
    @needs("write")
    def insert_item(item: ItemIn) -> Success:
        """Put an item; it replaces the item that was stored."""
        items.put([item.item()])
        return Success(RowAffected=1)

    @router.post("/items")
    @needs("write")
    def insert_items(many: Batch[ItemIn]) -> Success:
        """Put items."""
        items.put(item.item() for item in many)
        return Success(RowAffected=len(many))

    @router.get("/items", response_model=ItemPage)
    @needs("read")
    def page_of_items(request: Request, n: N = 10, cursor: Word = "", q: Word = "") -> Response:
        """Return items by id; with q, items whose text has all words of q, the most popular first."""
        words = list(dict.fromkeys(q.lower().split()))
        if len(words) > MOST_WORDS:
            raise Problem(400, f"q: has {len(words):,} words; there can be {MOST_WORDS}")
        if words:
            named = (items.get(name) for name in lists.found(words))
            found = islice(filter(None, named), min(n, MOST_ROWS))
            return json({"Cursor": "", "Items": [item_out(item) for item in found]})
        after = cursor_of(request, cursor)
        return page("Items", n, lambda most: items.page(most, after), item_out, lambda row: row.item_id)

    @router.get("/item/{item_id}", response_model=ItemOut)
    @needs("read")
    def item(item_id: Segment) -> Response:
        """Return an item."""
        found = items.get(item_id)
        if found is None:
            raise UnknownId(f"item {item_id!r} is unknown")
        return json(item_out(found))

    @router.patch("/item/{item_id}")
    @needs("write")
    def modify_item(item_id: Segment, item: ItemPatch) -> Success:
        """Change attributes of an item."""
        items.patch(item_id, item.attributes(), None if item.IsHidden is None else not item.IsHidden)
        return Success(RowAffected=1)

    @router.delete("/item/{item_id}")
    @needs("write")
    def delete_item(item_id: Segment) -> Success:
        """Remove an item; its feedback stays."""
        return Success(RowAffected=items.remove([item_id]))

    return router


def categories_router(service: Service) -> APIRouter:
    """Make the routes of the categories of an item."""
    router = new_router()

    def change(item_id: str, changed: Callable[[list[str]], list[str]]) -> Success:
        def other(item: Item) -> Item:
            categories = changed(categories_of(item))
            return item._replace(attributes={**item.attributes, "categories": categories})

        service.store.items.change(item_id, other)
        return Success(RowAffected=1)

    @router.put("/item/{item_id}/category/{category}")
    @needs("write")
    def insert_category(item_id: Segment, category: Segment) -> Success:
        """Add a category to an item."""
        return change(item_id, lambda old: old if category in old else [*old, category])

    @router.delete("/item/{item_id}/category/{category}")
    @needs("write")
    def delete_category(item_id: Segment, category: Segment) -> Success:
        """Remove a category from an item."""
        return change(item_id, lambda old: [name for name in old if name != category])

    return router
