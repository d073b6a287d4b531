"""The login: a form for the API key, which a cookie keeps."""

from __future__ import annotations

from urllib.parse import parse_qs

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse

from palate.serve.bounds import MOST_FIELDS
from palate.serve.dashboard.rendering import Pages
from palate.serve.problems import Problem
from palate.serve.routes import LateRoute, needs
from palate.serve.security import COOKIE
from palate.serve.service import Service


def login_router(service: Service) -> APIRouter:
    """Make the routes; the guard redirects a request for a page without a key to the login."""
    router, pages = APIRouter(include_in_schema=False, route_class=LateRoute), Pages(service)

    @router.get("/login")
    @needs("public")
    def form(request: Request, next: str = "/") -> Response:
        if not service.settings.keys:
            return RedirectResponse("/", 303)
        return pages.page(request, "login.html", next=next, fault=None)

    @router.post("/login")
    @needs("public")
    async def login(request: Request) -> Response:
        sent = _fields(await request.body())
        key, where = sent.get("key", [""])[0].strip(), sent.get("next", ["/"])[0]
        scopes = await run_in_threadpool(service.keys.verify, key)
        if not scopes & {"read", "admin"}:
            fault = "This key may not read, which the page needs." if scopes else "This key is unknown, or revoked."
            return pages.page(request, "login.html", 401, next=where, fault=fault)
        answer = RedirectResponse(here(where), 303)
        secure = request.url.scheme == "https"
        answer.set_cookie(COOKIE, key, httponly=True, samesite="strict", secure=secure)
        return answer

    @router.post("/logout")
    @needs("public")
    def logout() -> Response:
        answer = RedirectResponse("/login", 303)
        answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
        return answer

    return router


def _fields(body: bytes) -> dict[str, list[str]]:
    try:
        return parse_qs(body.decode("utf-8", "replace"), max_num_fields=MOST_FIELDS)
    except ValueError:
        raise Problem(400, f"the form can have {MOST_FIELDS} fields") from None


def here(where: str) -> str:
    """Return a path of this site, "/" for anything else."""
    outside = not where.startswith("/") or where[1:2] in ("/", "\\") or not where.isprintable()
    return "/" if outside else where
