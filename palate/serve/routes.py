"""What a route states where it is defined: the scope that it needs, and its documentation."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Sequence
from inspect import Parameter, Signature, signature
from threading import RLock
from typing import Any, Literal, TypeAlias, TypeVar

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from starlette.convertors import Convertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import compile_path, get_name, request_response

Needed: TypeAlias = Literal["public", "read", "write", "admin"]
Handler: TypeAlias = Callable[[Request], Coroutine[object, object, Response]]
Responses: TypeAlias = dict[int | str, dict[str, object]]
E = TypeVar("E")
H = TypeVar("H", bound=Callable[..., object])
NEEDED = "palate_scope"  # attribute of an endpoint
READING = RLock()  # of the thread that reads an endpoint

PROBLEMS: Responses = {
    status: {
        "description": text,
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    for status, text in {
        400: "No JSON, or a condition that cannot be read; `position` is its place.",
        401: "No API key, or a wrong one.",
        403: "The key may not do this.",
        404: "Unknown.",
        409: "The model cannot be activated.",
        413: "Too large.",
        422: "A value breaks its rule.",
        429: "Too many requests.",
        503: "The store is out of reach; try again.",
    }.items()
}


class AnyId(Convertor[str]):
    """The rest of a path, including slashes and line breaks. A route writes it `{item_id:id}`."""

    regex = r"[\s\S]+"

    def convert(self, value: str) -> str:
        """Return the id."""
        return value

    def to_string(self, value: str) -> str:
        """Return the id."""
        return value


register_url_convertor("id", AnyId())


def needs(scope: Needed) -> Callable[[E], E]:
    """Declare the scope of an endpoint; `public` needs no key."""

    def declare(endpoint: E) -> E:
        setattr(endpoint, NEEDED, scope)
        return endpoint

    return declare


def documented(answer: object, **parameters: object) -> Callable[[H], H]:
    """Declare what a handler of a `FastRoute` parses and answers itself.

    answer      type of the answer
    parameters  types of the query or the body, with `Query()` for the query
    """
    read = [Parameter(name, Parameter.KEYWORD_ONLY, annotation=kind) for name, kind in parameters.items()]

    def declare(handler: H) -> H:
        own = [each for each in signature(handler).parameters.values() if each.name == "self"]
        setattr(handler, "__signature__", Signature([*own, *read], return_annotation=answer))  # noqa: B010
        return handler

    return declare


class LateRoute(APIRoute):
    """A route that FastAPI reads for its first request, or for the document: to read all at each start takes 0.1 s.

    What finds the route of a request is there at once; the first look at another attribute makes all of them.
    """

    def __init__(self, path: str, endpoint: Callable[..., object], **options: Any) -> None:
        self.path, self.endpoint, self.name = path, endpoint, options.get("name") or get_name(endpoint)
        self.path_regex, self.path_format, self.param_convertors = compile_path(path)
        self.methods = {each.upper() for each in options.get("methods") or ("GET",)}
        self._options = options

    def __getattr__(self, name: str) -> Any:
        """Read the endpoint, once; other threads wait."""
        with READING:
            options = vars(self).pop("_options", None)
            if options is not None:
                super().__init__(self.path, self.endpoint, **options)
        return object.__getattribute__(self, name)


class FastRoute(LateRoute):
    """A route whose endpoint gets the request itself: FastAPI documents it, and does nothing else."""

    def __init__(self, path: str, endpoint: Handler, **options: Any) -> None:
        super().__init__(path, endpoint, **options)
        self.app = request_response(endpoint)

    def get_route_handler(self) -> Handler:
        """Return the endpoint."""
        handler: Handler = self.endpoint
        return handler


def new_router(
    tag: str, prefix: str = "", route_class: type[APIRoute] = LateRoute, responses: Responses = PROBLEMS
) -> APIRouter:
    """Make a router whose documentation lists the problems that any route may answer."""
    return APIRouter(prefix=prefix, tags=[tag], route_class=route_class, responses=responses)


def add_routes(app: FastAPI, routers: Iterable[APIRouter]) -> None:
    """Add the routes themselves, the first ones first: a request is matched against one flat list."""
    for router in routers:
        app.router.routes.extend(router.routes)


def page_of(name: str, shown: Sequence[object], ids: Sequence[str], limit: int) -> dict[str, object]:
    """Return a page of rows under a name, and the id that the next page starts `after`; None where it is the last."""
    return {name: shown, "next": ids[-1] if len(ids) == limit else None}
