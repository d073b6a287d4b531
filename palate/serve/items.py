"""Routes of the items of the catalogue."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import TypeAdapter

from palate.data.times import to_iso
from palate.errors import UnknownId
from palate.serve.hot import json, many_of, plain
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


def items_router(service: Service) -> APIRouter:
    """Make the routes; what changes acts at once, in the next list."""
    router, items = APIRouter(tags=["items"]), service.store.items

    @router.get("/v1/items")
    def page(limit: Annotated[int, Query(ge=1, le=10_000)] = 100, after: str = "") -> dict[str, Any]:
        """Items by id; the next page comes `after` the last of this one."""
        return {"items": [told(item) for item in items.page(limit, after)]}

    def put_many(body: ItemIn | list[ItemIn]) -> Stored:  # type: ignore[empty-body]
        """Put many items, a list or lines of JSON (application/x-ndjson); each replaces what was told of it."""

    async def put_all(request: Request) -> Response:
        body = await many_of(request)
        many = MANY.validate_json(body) if body[:1] == b"[" else [ItemIn.model_validate_json(body)]
        return json({"stored": await run_in_threadpool(items.put, [stored(item) for item in many])})

    router.add_api_route("/v1/items", put_many, methods=["POST"], route_class_override=plain(put_all))

    @router.get("/v1/items/{item_id:id}")
    def get(item_id: str) -> ItemOut:
        """Return one item."""
        found = items.get(item_id)
        if found is None:
            raise UnknownId(f"item {item_id!r} is unknown")
        return told(found)

    @router.put("/v1/items/{item_id:id}")
    def put(item_id: str, body: ItemBody) -> ItemOut:
        """Put one item: it is new, or this replaces what was told of it."""
        items.put([stored(body.of(item_id))])
        return get(item_id)

    @router.patch("/v1/items/{item_id:id}")
    def patch(item_id: str, body: ItemBody) -> ItemOut:
        """Change some attributes; null takes one away."""
        item = body.of(item_id)
        return told(items.patch(item_id, item.told(), item.available))

    @router.delete("/v1/items/{item_id:id}")
    def remove(item_id: str) -> dict[str, int]:
        """Take an item away: it is recommended no more, what people did with it stays."""
        return {"removed": items.remove([item_id])}

    return router
