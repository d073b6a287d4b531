"""The page of the HTTP routes, made from the program: method, path, scope and meaning of each."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from fastapi.routing import APIRoute

from palate.serve.app import documented
from palate.serve.security import needed_by
from palate.serve.service import Service
from palate.serve.settings import Settings

HEAD = """# HTTP routes

Made from the program: `/openapi.json` of a running service has the fields and answers of each route, too. What they
mean is in [The live service](../service.md). An API key must permit the [scope](../service.md#keys-and-limits);
`public` needs no key."""


class Route(NamedTuple):
    """One route of the service."""

    tag: str
    method: str
    path: str
    scope: str
    meaning: str


def routes() -> Iterator[Route]:
    """Yield the routes of the OpenAPI document, in its order."""
    with tempfile.TemporaryDirectory() as folder:
        service = Service.open(Settings(store=str(Path(folder) / "routes.db")))
        try:
            app = documented(service)
        finally:
            service.store.close()
    scopes = {
        (method, route.path_format): needed_by(route)
        for route in app.routes
        if isinstance(route, APIRoute)
        for method in route.methods or ()
    }
    for path, operations in app.openapi()["paths"].items():
        for verb, operation in operations.items():
            text = " ".join(operation["description"].partition("\n\n")[0].split()).rstrip(".").replace("|", "\\|")
            yield Route(operation["tags"][0], verb.upper(), path, scopes[verb.upper(), path], text)


def route_page() -> str:
    """Markdown of all routes, a table for each tag."""
    by_tag: defaultdict[str, list[Route]] = defaultdict(list)
    for route in routes():
        by_tag[route.tag].append(route)
    parts = [HEAD]
    for tag, own in by_tag.items():
        parts.append(f"\n## {tag}\n\n| method | path | scope | what it does |\n|---|---|---|---|")
        parts += [f"| {route.method} | `{route.path}` | {route.scope} | {route.meaning} |" for route in own]
    return "\n".join(parts) + "\n"
