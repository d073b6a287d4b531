"""Users: their attributes, their histories, single events of theirs, and forgetting."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter

from palate.errors import DataError, UnknownId
from palate.live.access import events_of, known_of
from palate.serve.fast import json, many_of
from palate.serve.items import Stored
from palate.serve.routes import FastRoute, documented, needs, new_router, page_of
from palate.serve.security import may
from palate.serve.service import Service
from palate.serve.wire import Batch, Body, Moment, Strict, Text, WireId
from palate.store.user_profiles import UserProfile

Most = Annotated[int, Query(ge=1, le=10_000)]
Before = Annotated[int | None, Query(ge=0, lt=1 << 63)]


class UserFields(Strict):
    """The attributes of a user."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"attributes": {"country": "de", "age": 34}}]})

    attributes: dict[str, object] = Field(default_factory=dict)


class UserBody(UserFields):
    """The attributes of the user that the address names."""

    user_id: WireId | None = Field(None, description="Optional; it must equal the id in the address.")

    def check(self, user_id: str) -> None:
        """Raise `DataError` where the body names another user."""
        if self.user_id not in (None, user_id):
            raise DataError(f"user_id: {self.user_id!r}: the address names {user_id!r:.80}; both must be one")


class UserIn(UserFields):
    """A user."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"user_id": "anna", "attributes": {"country": "de"}}]})

    user_id: WireId


class UserOut(Body):
    """A stored user."""

    user_id: str
    attributes: dict[str, object]


def _as_number(value: object) -> object:
    """Return the number that a query spells: a query is text."""
    return int(value) if isinstance(value, str) and re.fullmatch(r"-?\d{1,18}", value) else value


AskedMoment = Annotated[Moment, BeforeValidator(_as_number, json_schema_input_type=int | str)]
MANY = TypeAdapter(Batch[UserIn])


def users_router(service: Service) -> APIRouter:
    """Make the routes of users; no model reads their attributes."""
    router, profiles = new_router("users"), service.store.profiles

    @router.get("/v1/users")
    @needs("read")
    def users(limit: Most = 100, after: str = "") -> dict[str, object]:
        """Return ids of users; the next page starts `after` the `next` of this one."""
        found = service.store.users(limit, after)
        return page_of("users", found, found, limit)

    @needs("write")
    @documented(Stored, body=UserIn | list[UserIn])
    async def put_many(request: Request) -> Response:
        """Put users, one, a list or lines of JSON (application/x-ndjson); each replaces the stored attributes."""
        body = await many_of(request)
        many = MANY.validate_json(body) if body[:1] == b"[" else [UserIn.model_validate_json(body)]
        await run_in_threadpool(profiles.put, [UserProfile(each.user_id, each.attributes) for each in many])
        return json({"stored": len({each.user_id for each in many})})

    router.add_api_route("/v1/users", put_many, methods=["POST"], route_class_override=FastRoute)

    @router.get("/v1/users/{user_id:id}")
    @needs("read")
    def history(user_id: str, limit: Most = 100, before: Before = None) -> dict[str, object]:
        """Return attributes and events of a user, newest first; the next page starts `before` the `next` of this."""
        profile = profiles.get(user_id)
        attributes = {} if profile is None else dict(profile.attributes)
        events = events_of(service.store.events(user_id, limit, before), limit)
        return {"user_id": user_id, "attributes": attributes, **events}

    @router.put("/v1/users/{user_id:id}")
    @needs("write")
    def put(user_id: str, body: UserBody) -> UserOut:
        """Put a user: a new one, or other attributes in place of the stored ones."""
        body.check(user_id)
        profiles.put([UserProfile(user_id, body.attributes)])
        return UserOut(user_id=user_id, attributes=body.attributes)

    @router.patch("/v1/users/{user_id:id}")
    @needs("write")
    def patch(request: Request, user_id: str, body: UserBody) -> UserOut:
        """Change some attributes; null removes one. A key without the scope `read` gets back only what it wrote."""
        body.check(user_id)
        changed = profiles.patch(user_id, body.attributes).attributes
        own = {name: value for name, value in changed.items() if name in body.attributes}
        return UserOut(user_id=user_id, attributes=dict(changed) if may(request.scope, "read") else own)

    @router.get("/v1/access/{user_id:id}")
    @needs("read")
    def access(user_id: str, limit: Most = 10_000, before: Before = None) -> dict[str, object]:
        """Return all that the store knows of a user: attributes and events, newest first, a page of them."""
        return known_of(service.store, user_id, limit, before)

    @router.delete("/v1/users/{user_id:id}", status_code=202)
    @needs("admin")
    def forget(user_id: str) -> dict[str, object]:
        """Delete a user: the events are gone when the answer comes, files and models follow."""
        made = service.forgetter.forget([user_id])
        return {
            "deleted": made.deleted,
            "receipt": made.receipt,
            "model": "The rows are gone now, and no list uses them. Files and all versions of the model follow: "
            f"GET /v1/receipts/{made.receipt} says when they are done, and how.",
        }

    @router.get("/v1/receipts/{receipt}")
    @needs("read")
    def receipt(receipt: str) -> dict[str, object]:
        """Return a receipt of forgetting, whose `state` is pending or done."""
        return service.store.receipts.get(receipt)

    return router


def withdrawing_router(service: Service) -> APIRouter:
    """Make the routes that delete single events: no list uses them from then on, and the next training does not."""
    router, feedback = new_router("events"), service.store.feedback

    @router.delete("/v1/events/{event_id:id}")
    @needs("write")
    def by_id(event_id: str) -> dict[str, int]:
        """Delete the event that was sent with this `event_id`."""
        if not feedback.withdraw_event(event_id):
            raise UnknownId(f"event {event_id!r} is unknown")
        return {"deleted": 1}

    @router.delete("/v1/events")
    @needs("write")
    def by_fields(
        user_id: Annotated[Text, Query()],
        item_id: Annotated[Text, Query()],
        event_type: Annotated[Text | None, Query()] = None,
        timestamp: Annotated[AskedMoment | None, Query(description="As in an event.")] = None,
    ) -> dict[str, int]:
        """Delete the events of a user on an item: all, or those of a type, of a time, or of both."""
        return {"deleted": feedback.withdraw(user_id, item_id, event_type, timestamp)}

    return router
