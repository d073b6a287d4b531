"""Routes of users."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from palate.errors import UnknownId
from palate.serve.fast import json
from palate.serve.gorse.routes import cursor_of, new_router, page
from palate.serve.gorse.wire import N, Segment, Success, User, UserPage, UserPatch, Word, user_out
from palate.serve.routes import needs
from palate.serve.service import Service
from palate.serve.wire import Batch


def users_router(service: Service) -> APIRouter:
    """Make the routes."""
    router, store = new_router(), service.store

    @router.post("/user")
    @needs("write")
    def insert_user(user: User) -> Success:
        """Put a user; this replaces the stored attributes."""
        store.profiles.put([user.user()])
        return Success(RowAffected=1)

    @router.post("/users")
    @needs("write")
    def insert_users(users: Batch[User]) -> Success:
        """Put users."""
        store.profiles.put(user.user() for user in users)
        return Success(RowAffected=len(users))

    @router.get("/users", response_model=UserPage)
    @needs("read")
    def users(request: Request, n: N = 10, cursor: Word = "") -> Response:
        """Return users by id."""
        after = cursor_of(request, cursor)
        return page("Users", n, lambda most: store.profiles.page(most, after), user_out, lambda row: row.user_id)

    @router.get("/user/{user_id}", response_model=User)
    @needs("read")
    def user(user_id: Segment) -> Response:
        """Return a user."""
        found = store.profiles.get(user_id)
        if found is None:
            raise UnknownId(f"user {user_id!r} is unknown")
        return json(user_out(found))

    @router.patch("/user/{user_id}")
    @needs("write")
    def modify_user(user_id: Segment, user: UserPatch) -> Success:
        """Change attributes of a user."""
        store.profiles.patch(user_id, user.attributes())
        return Success(RowAffected=1)

    @router.delete("/user/{user_id}")
    @needs("admin")
    def delete_user(user_id: Segment) -> Success:
        """Delete a user with all feedback."""
        return Success(RowAffected=int(service.forgetter.forget([user_id]).deleted > 0))

    return router
