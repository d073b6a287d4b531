"""Routes of the items of the catalogue."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import TypeAdapter

from palate.data.times import to_iso
from palate.errors import UnknownId
from palate.serve.fast import json, many_of
from palate.serve.routes import FastRoute, documented, needs, new_router
from palate.serve.security import may
from palate.serve.service import Service
from palate.serve.wire import Batch, ItemBody, ItemIn, ItemOut, Stored
from palate.store.items import Item

MANY = TypeAdapter(Batch[ItemIn])


def told(item: Item) -> ItemOut:
    """Return an item as it goes over the wire."""
    return ItemOut(
        item_id=item.item_id,
        available=item.available,
        attributes=dict(item.attributes),
        created=to_iso(item.created),
        updated=to_iso(item.updated),
    )


def stored(item: ItemIn) -> Item:
    """Return an item as the store takes it; one that is put is available unless it says otherwise."""
    return Item(item.item_id, item.told(), item.available is not False)


def _written(changed: Item, body: ItemIn) -> Item:
    """Return an item with the attributes alone that a body told."""
    told = body.told()
    return changed._replace(attributes={name: value for name, value in changed.attributes.items() if name in told})


def items_router(service: Service) -> APIRouter:
    """Make the routes; what changes acts at once, in the next list."""
    router, items = new_router("items"), service.store.items

    @router.get("/v1/items")
    @needs("read")
    def page(limit: Annotated[int, Query(ge=1, le=10_000)] = 100, after: str = "") -> dict[str, Any]:
        """Items by id; the next page comes `after` the last of this one."""
        return {"items": [told(item) for item in items.page(limit, after)]}

    @needs("write")
    @documented(Stored, body=ItemIn | list[ItemIn])
    async def put_many(request: Request) -> Response:
        """Put items, a list or lines of JSON (application/x-ndjson); each replaces the item that was stored."""
        body = await many_of(request)
        many = MANY.validate_json(body) if body[:1] == b"[" else [ItemIn.model_validate_json(body)]
        return json({"stored": await run_in_threadpool(items.put, [stored(item) for item in many])})

    router.add_api_route("/v1/items", put_many, methods=["POST"], route_class_override=FastRoute)

    @router.get("/v1/items/{item_id:id}")
    @needs("read")
    def get(item_id: str) -> ItemOut:
        """Return one item."""
        found = items.get(item_id)
        if found is None:
            raise UnknownId(f"item {item_id!r} is unknown")
        return told(found)

    @router.put("/v1/items/{item_id:id}")
    @needs("write")
    def put(item_id: str, body: ItemBody) -> ItemOut:
        """Put one item: it is new, or this replaces what was told of it."""
        items.put([stored(body.of(item_id))])
        return get(item_id)

    @router.patch("/v1/items/{item_id:id}")
    @needs("write")
    def patch(request: Request, item_id: str, body: ItemBody) -> ItemOut:
        """Change some attributes; null takes one away. A key that may not read is answered what it wrote alone."""
        item = body.of(item_id)
        changed = items.patch(item_id, item.told(), item.available)
        return told(changed if may(request.scope, "read") else _written(changed, item))

    @router.delete("/v1/items/{item_id:id}")
    @needs("write")
    def remove(item_id: str) -> dict[str, int]:
        """Take an item away: it is recommended no more, what people did with it stays."""
        return {"removed": items.remove([item_id])}

    return router
