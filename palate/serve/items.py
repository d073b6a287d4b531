"""Items of the catalogue: their bodies and routes."""

from __future__ import annotations

from typing import Annotated, Self

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator

from palate.data.times import to_iso
from palate.errors import DataError, UnknownId
from palate.serve.fast import json, many_of
from palate.serve.routes import FastRoute, documented, needs, new_router, page_of
from palate.serve.security import may
from palate.serve.service import Service
from palate.serve.wire import Batch, Body, WireId
from palate.store.items import Item


class Stored(Body):
    """The items are on the disk."""

    stored: int


class ItemFields(BaseModel):
    """The fields of an item: attributes stand under `attributes` or beside the other fields, by their names."""

    model_config = ConfigDict(
        strict=True,
        extra="allow",
        json_schema_extra={"examples": [{"title": "Star Wars", "categories": ["Sci-Fi"], "price": 9.5}]},
    )

    available: bool | None = Field(None, description="False hides the item at once; null changes nothing.")
    attributes: dict[str, object] = {}

    @model_validator(mode="after")
    def _once(self) -> Self:
        twice = self.attributes.keys() & (self.model_extra or {}).keys()
        if twice:
            raise ValueError(f"{min(twice)!r} is in `attributes` and beside it; it may be there once")
        return self

    def merged(self) -> dict[str, object]:
        """Return all attributes."""
        return {**(self.model_extra or {}), **self.attributes}


class ItemIn(ItemFields):
    """An item."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"item_id": "260", "title": "Star Wars", "categories": ["Sci-Fi"], "price": 9.5}]
        }
    )

    item_id: WireId


class ItemBody(ItemFields):
    """The fields of the item that the address names."""

    item_id: WireId | None = Field(None, description="Optional; it must equal the id in the address.")

    def with_id(self, item_id: str) -> ItemIn:
        """Return the item with its id; raises `DataError` where the body names another."""
        if self.item_id not in (None, item_id):
            raise DataError(f"item_id: {self.item_id!r}: the address names {item_id!r:.80}; both must be one")
        return ItemIn(item_id=item_id, available=self.available, attributes=self.merged())


class ItemOut(BaseModel):
    """A stored item."""

    item_id: str
    available: bool
    attributes: dict[str, object]
    created: str
    updated: str


MANY = TypeAdapter(Batch[ItemIn])


def item_out(item: Item) -> ItemOut:
    """Return an item as the answer holds it."""
    return ItemOut(
        item_id=item.item_id,
        available=item.available,
        attributes=dict(item.attributes),
        created=to_iso(item.created),
        updated=to_iso(item.updated),
    )


def stored(item: ItemIn) -> Item:
    """Return an item for the store; it is available unless the body says otherwise."""
    return Item(item.item_id, item.merged(), item.available is not False)


def _written(changed: Item, body: ItemIn) -> Item:
    """Return an item with only those attributes that the body names."""
    names = body.merged().keys()
    return changed._replace(attributes={name: value for name, value in changed.attributes.items() if name in names})


def items_router(service: Service) -> APIRouter:
    """Make the routes; a change takes effect in the next list."""
    router, items = new_router("items"), service.store.items

    @router.get("/v1/items")
    @needs("read")
    def page(limit: Annotated[int, Query(ge=1, le=10_000)] = 100, after: str = "") -> dict[str, object]:
        """Return items by id; the next page starts `after` the `next` of this one."""
        found = items.page(limit, after)
        return page_of("items", [item_out(item) for item in found], [item.item_id for item in found], limit)

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
        return item_out(found)

    @router.put("/v1/items/{item_id:id}")
    @needs("write")
    def put(item_id: str, body: ItemBody) -> ItemOut:
        """Put one item: it is new, or replaces the item that was stored."""
        items.put([stored(body.with_id(item_id))])
        return get(item_id)

    @router.patch("/v1/items/{item_id:id}")
    @needs("write")
    def patch(request: Request, item_id: str, body: ItemBody) -> ItemOut:
        """Change some attributes; null removes one. A key without the scope `read` gets back only what it wrote."""
        item = body.with_id(item_id)
        changed = items.patch(item_id, item.merged(), item.available)
        return item_out(changed if may(request.scope, "read") else _written(changed, item))

    @router.delete("/v1/items/{item_id:id}")
    @needs("write")
    def remove(item_id: str) -> dict[str, int]:
        """Remove an item: no list recommends it, its events stay."""
        return {"removed": items.remove([item_id])}

    return router
