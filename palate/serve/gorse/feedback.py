"""Routes of feedback: the newest event of each user, item and type."""

from __future__ import annotations

import re

from fastapi import APIRouter, Request, Response

from palate.errors import UnknownId
from palate.serve.fast import json
from palate.serve.gorse.lists import AHEAD
from palate.serve.gorse.routes import CURSOR, MOST_ROWS, cursor_of, new_router, page
from palate.serve.gorse.wire import FeedbackIn, FeedbackOut, FeedbackPage, N, Segment, Success, Word, feedback_out
from palate.serve.problems import Problem
from palate.serve.routes import needs
from palate.serve.service import Service
from palate.serve.wire import Batch
from palate.store.events import Recorded
from palate.store.recording import Keep, now


def writing_router(service: Service) -> APIRouter:
    """Make the routes that store and delete."""
    router, feedback = new_router(), service.store.feedback

    async def stored(many: list[FeedbackIn], keep: Keep) -> Success:
        await service.append([each.event() for each in many], keep)
        return Success(RowAffected=len(many))

    @router.post("/feedback")
    @needs("write")
    async def insert(many: Batch[FeedbackIn]) -> Success:
        """Store feedback; stored feedback stays as it is."""
        return await stored(many, "first")

    @router.put("/feedback")
    @needs("write")
    async def overwrite(many: Batch[FeedbackIn]) -> Success:
        """Store feedback; it replaces stored feedback."""
        return await stored(many, "last")

    @router.delete("/feedback/{user_id}/{item_id}")
    @needs("write")
    def delete(user_id: Segment, item_id: Segment) -> Success:
        """Delete the feedback of a user on an item."""
        return Success(RowAffected=feedback.withdraw(user_id, item_id))

    @router.delete("/feedback/{event_type}/{user_id}/{item_id}")
    @needs("write")
    def delete_one(event_type: Segment, user_id: Segment, item_id: Segment) -> Success:
        """Delete the feedback of a type of a user on an item."""
        return Success(RowAffected=feedback.withdraw(user_id, item_id, event_type))

    return router


def reading_router(service: Service) -> APIRouter:
    """Make the routes that read all feedback in pages."""
    router, feedback = new_router(), service.store.feedback

    def page_of(request: Request, n: int, cursor: str, event_type: str | None) -> Response:
        until, after = now() + AHEAD, _after(request, cursor)

        def read(most: int) -> list[Recorded]:
            return feedback.get(event_type=event_type, until=until, after=after, limit=most)

        return page("Feedback", n, read, feedback_out, lambda row: row.seq)

    @router.get("/feedback", response_model=FeedbackPage)
    @needs("read")
    def every(request: Request, n: N = 10, cursor: Word = "") -> Response:
        """Return feedback in the order in which it was stored."""
        return page_of(request, n, cursor, None)

    @router.get("/feedback/{event_type}", response_model=FeedbackPage)
    @needs("read")
    def of_type(request: Request, event_type: Segment, n: N = 10, cursor: Word = "") -> Response:
        """Return feedback of a type in the order in which it was stored."""
        return page_of(request, n, cursor, event_type)

    return router


def choosing_router(service: Service) -> APIRouter:
    """Make the routes that read the feedback of a user on an item."""
    router, feedback = new_router(), service.store.feedback

    @router.get("/feedback/{user_id}/{item_id}", response_model=list[FeedbackOut])
    @needs("read")
    def between(user_id: Segment, item_id: Segment) -> Response:
        """Return the feedback of a user on an item."""
        return json([feedback_out(event) for event in feedback.get(user_id=user_id, item_id=item_id)])

    @router.get("/feedback/{event_type}/{user_id}/{item_id}", response_model=FeedbackOut)
    @needs("read")
    def one(event_type: Segment, user_id: Segment, item_id: Segment) -> Response:
        """Return the feedback of a type of a user on an item."""
        found = feedback.get(event_type=event_type, user_id=user_id, item_id=item_id)
        if not found:
            raise UnknownId(f"feedback {event_type!r} of user {user_id!r} on item {item_id!r} is unknown")
        return json(feedback_out(found[0]))

    return router


def listing_router(service: Service) -> APIRouter:
    """Make the routes that read the feedback of a user or on an item."""
    router, feedback = new_router(), service.store.feedback

    def part(request: Request, n: int, cursor: str, **chosen: str) -> Response:
        """Answer with n rows, and with the cursor of the next page in a header if there is one."""
        most = min(n, MOST_ROWS)
        after = _after(request, cursor)
        rows = feedback.get(until=now() + AHEAD, after=after, limit=most + 1, **chosen) if most else []
        answer = json([feedback_out(event) for event in rows[:most]])
        if len(rows) > most:
            answer.headers[CURSOR] = str(rows[most - 1].seq)
        return answer

    @router.get("/user/{user_id}/feedback", response_model=list[FeedbackOut])
    @needs("read")
    def of_user(request: Request, user_id: Segment, n: N = MOST_ROWS, cursor: Word = "") -> Response:
        """Return the feedback of a user."""
        return part(request, n, cursor, user_id=user_id)

    @router.get("/user/{user_id}/feedback/{event_type}", response_model=list[FeedbackOut])
    @needs("read")
    def of_user_and_type(
        request: Request, user_id: Segment, event_type: Segment, n: N = MOST_ROWS, cursor: Word = ""
    ) -> Response:
        """Return a user's feedback of a type."""
        return part(request, n, cursor, user_id=user_id, event_type=event_type)

    @router.get("/item/{item_id}/feedback", response_model=list[FeedbackOut])
    @needs("read")
    def of_item(request: Request, item_id: Segment, n: N = MOST_ROWS, cursor: Word = "") -> Response:
        """Return the feedback on an item."""
        return part(request, n, cursor, item_id=item_id)

    @router.get("/item/{item_id}/feedback/{event_type}", response_model=list[FeedbackOut])
    @needs("read")
    def of_item_and_type(
        request: Request, item_id: Segment, event_type: Segment, n: N = MOST_ROWS, cursor: Word = ""
    ) -> Response:
        """Return the feedback of a type on an item."""
        return part(request, n, cursor, item_id=item_id, event_type=event_type)

    return router


def _after(request: Request, cursor: str) -> int:
    """Return the seq of a cursor, 0 for an empty one."""
    after = cursor_of(request, cursor) or "0"
    if not re.fullmatch("[0-9]{1,19}", after) or int(after) >= 1 << 63:
        raise Problem(400, f"cursor={after[:40]!r}: is not one that an answer gave")
    return int(after)
