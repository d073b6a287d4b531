"""The preview: two settings of a list side by side, every field of the API in a form, stored nowhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from json import dumps
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import ValidationError
from starlette.datastructures import QueryParams

from palate.data.contexts import MOST_PLACES
from palate.errors import PalateError
from palate.live.previewing import Previews
from palate.live.weights import EVENT_WEIGHTS
from palate.ranking.request import SOURCES, USUAL_SOURCES, ListRequest
from palate.serve.dashboard.lists import Line, lines_of, moved
from palate.serve.dashboard.rendering import Pages, Text
from palate.serve.dashboard.tuning import attributes_of
from palate.serve.fast import completed, list_request, session_event
from palate.serve.problems import detail_of
from palate.serve.routes import needs
from palate.serve.service import Service
from palate.serve.wire import RecommendIn, RuledFields, SessionIn

SIDES = ("a", "b")
SHOWN = 12
# The fields of a setting as inputs of the form: `a.k`, and `a.boost.condition` as often as there are boosts.
ROWS: Mapping[str, tuple[str, ...]] = {
    "boost": ("condition", "factor"),
    "pin": ("item_id", "position"),
    "cap": ("attribute", "most"),
    "share": ("condition", "least"),
    "history": ("item_id", "event_type"),
    "context": ("key", "value"),
}
LISTS = ("exclude", "near")
STAGES: Mapping[str, tuple[str, ...]] = {
    "diversify": ("strength", "by", "method"),
    "calibrate": ("attribute", "strength", "half_life"),
    "explore": ("method", "share", "strength", "seed"),
}
USUAL = {"method": ("dpp", ""), "half_life": ("50",)}  # values that a request need not name
NUMBERS = ("k", "long_tail", "factor", "position", "most", "least", "strength", "half_life", "share", "seed")


@dataclass(frozen=True, eq=False)
class Form:
    """What the form says of one side."""

    query: QueryParams
    side: str

    def one(self, name: str, default: str = "") -> str:
        """Return the text of an input."""
        return self.query.get(f"{self.side}.{name}", default)

    def many(self, name: str) -> list[str]:
        """Return the texts of inputs of one name."""
        return self.query.getlist(f"{self.side}.{name}")

    def rows(self, name: str) -> list[dict[str, str]]:
        """Return rows of inputs whose first one is filled."""
        columns = [self.many(f"{name}.{column}") for column in ROWS[name]]
        every = [dict(zip(ROWS[name], row, strict=True)) for row in zip(*columns, strict=False)]
        return [row for row in every if next(iter(row.values()))]

    def stage(self, name: str) -> dict[str, str]:
        """Return what is filled of the inputs of a stage."""
        return {part: text for part in STAGES[name] if (text := self.one(f"{name}.{part}"))}

    @property
    def sources(self) -> list[str]:
        """Sources, in the order of the API."""
        asked = self.many("sources")
        return [name for name in SOURCES[1:] if name in asked] or list(USUAL_SOURCES)

    @property
    def version(self) -> int | None:
        """Version of the model, the active one by default."""
        text = self.one("version")
        return int(text) if text.isdecimal() and len(text) < 10 else None

    @property
    def fields(self) -> dict[str, Any]:
        """The fields of the request, but for the user; what is as usual is left out."""
        own: dict[str, Any] = {"k": _number("k", self.one("k", str(SHOWN)))}
        own |= {name: self.one(name) for name in ("scenario", "filter") if self.one(name)}
        own |= {name: found for name in LISTS if (found := [text for text in self.many(name) if text])}
        own |= {
            name: [_read(row) for row in rows] for name in ROWS if name != "context" and (rows := self.rows(name))
        }
        own |= {"context": {row["key"]: row["value"] for row in self.rows("context")}} if self.rows("context") else {}
        own |= {"keep_seen": True} if self.one("keep_seen") else {}
        own |= {"long_tail": _number("long_tail", self.one("long_tail"))} if _some(self.one("long_tail")) else {}
        own |= {"sources": self.sources} if tuple(self.sources) != USUAL_SOURCES else {}
        for name in ("diversify", "calibrate"):
            stage = self.stage(name)
            if _some(stage.get("strength", "")) and (name == "diversify" or "attribute" in stage):
                said = _read({part: text for part, text in stage.items() if text not in USUAL.get(part, ())})
                own[name] = said["strength"] if [*said] == ["strength"] else said
        return own | _exploring(self.stage("explore"))

    def address(self, side: str) -> list[tuple[str, str]]:
        """Names and values of the page's address with these inputs on a side."""
        own = f"{self.side}."
        return [(side + name[1:], text) for name, text in self.query.multi_items() if name.startswith(own)]


def _some(text: str) -> bool:
    return text not in ("", "0", "0.0")


def _number(name: str, text: str) -> float | str:
    """Return the number that an input of a number spells; other text as it is, for the API to refuse."""
    if name not in NUMBERS:
        return text
    try:
        return int(text) if text.lstrip("-").isdecimal() else float(text)
    except ValueError:
        return text


def _read(row: Mapping[str, str]) -> dict[str, float | str]:
    return {name: _number(name, text) for name, text in row.items() if text}


def _exploring(stage: Mapping[str, str]) -> dict[str, Any]:
    said = _read(stage)
    method, share = said.pop("method", ""), said.get("share")
    if method:
        return {"explore": {"method": method, **said}}
    return {} if share is None else {"explore": share}


@dataclass(frozen=True)
class Preview:
    """A list by a setting: its request over HTTP, its lines, and what is said about it, or why there is none."""

    request: str
    lines: Sequence[Line] = ()
    notes: Sequence[str] = ()
    fault: str | None = None


def asked_of(service: Service, body: Mapping[str, object]) -> ListRequest:
    """Return the request for the recommender, as the API reads a body. Raises what the API answers with."""
    kind = SessionIn if "history" in body else RecommendIn
    asked = kind.model_validate_json(dumps(body))
    whole: RuledFields = asked
    if asked.scenario is not None:
        whole = completed(asked, service.live.scenarios.fields(asked.scenario))
    session = tuple(map(session_event, asked.history)) if isinstance(asked, SessionIn) else ()
    wanted = list_request(whole, asked.user_id, session=session)
    return replace(wanted, context=asked.context) if asked.context else wanted


def preview_routes(router: APIRouter, pages: Pages) -> None:
    """Add the preview."""
    service = pages.service
    previews = Previews(service.live, service.versions)

    def shown(form: Form, user: str | None) -> Preview:
        body = ({"user_id": user} if user else {}) | form.fields
        path = "/v1/recommend/session" if "history" in body else "/v1/recommend"
        request = f"POST {path}\n{dumps(body, indent=2, ensure_ascii=False)}"
        try:
            made = previews.recommend(asked_of(service, body), form.version)
        except ValidationError as error:
            return Preview(request, fault=detail_of(error))
        except PalateError as error:
            return Preview(request, fault=str(error))
        notes = [*made.warnings, *([made.reason] if made.reason else [])]
        return Preview(request, lines_of(made.items, pages.cards()), notes)

    @router.get("/preview")
    @needs("read")
    def preview(request: Request, user: Text = None) -> Response:
        """Show two lists; the address holds both settings."""
        forms = [Form(request.query_params, side) for side in SIDES]
        first, second = (shown(form, user) for form in forms)
        lines = moved(second.lines, first.lines) if first.lines else second.lines
        return pages.page(
            request,
            "preview.html",
            user=user or "",
            forms=forms,
            previews=[(first, first.lines), (second, lines)],
            same=[("user", user or ""), *forms[0].address("a"), *forms[0].address("b")],
            versions=[version.number for version in reversed(service.versions.list())],
            active=service.live.snapshot().version,
            scenarios=list(service.store.scenarios.page(100)),
            attributes=attributes_of(pages.cards().snapshot),
            types=list(dict.fromkeys([*service.store.event_types().values(), *EVENT_WEIGHTS])),
            sources=SOURCES[1:],
            most=MOST_PLACES,
        )
