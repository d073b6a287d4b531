"""The templates of the page, and the values that all of them use."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated

from fastapi import Query, Request, Response
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse

from palate.serve.dashboard import wording
from palate.serve.dashboard.cards import Cards
from palate.serve.security import may
from palate.serve.service import Service
from palate.store.recording import MOST_CHARACTERS

METRIC = "NDCG@10"

Text = Annotated[str | None, Query(max_length=MOST_CHARACTERS)]


class Pages:
    """The templates, and the values that all of them use."""

    def __init__(self, service: Service) -> None:
        self.service = service
        loader = PackageLoader("palate.serve.dashboard")
        self.templates = Environment(
            loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
        )
        self.templates.filters |= wording.FILTERS
        self.templates.globals |= {"share": wording.share, "version": version("palate"), "metric": METRIC}

    def page(self, request: Request, name: str, status: int = 200, **values: object) -> Response:
        """Answer with a page."""
        allowed = {"may_write": may(request.scope, "write"), "may_admin": may(request.scope, "admin")}
        has_map = self.service.live.snapshot().active.model.item_embeddings is not None
        text = self.templates.get_template(name).render(
            values | allowed | {"path": request.url.path, "keys": self.service.settings.keys, "has_map": has_map}
        )
        return HTMLResponse(text, status, {"Cache-Control": "no-store"})

    def cards(self) -> Cards:
        """Return the cards of the current items."""
        return Cards(self.service.live.snapshot())
