"""The overview: rates, charts over time, what lists show, and the newest events."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated, Literal, get_args

from fastapi import APIRouter, Query, Request, Response

from palate.errors import StoreError
from palate.serve.dashboard.clicks import By, clicks
from palate.serve.dashboard.coverage import Coverage, coverage
from palate.serve.dashboard.figures import RANGES, Answers, RecentActivity, Throttled, drawn
from palate.serve.dashboard.rates import Prices, sold
from palate.serve.dashboard.rendering import Pages
from palate.serve.outcomes import flush
from palate.serve.routes import needs
from palate.serve.service import Service
from palate.store.activity import MOST, newest_events
from palate.store.versions import Version

FEED, TOP = 12, 8  # lines of lists
Span = Annotated[Literal["day", "week", "month", "year", "all"] | None, Query(alias="range")]


def overview_routes(router: APIRouter, pages: Pages) -> None:
    """Add the overview."""
    service = pages.service
    recent = RecentActivity(service.store, lambda: Prices.of(service.live.snapshot()))
    lists: Throttled[Coverage] = Throttled(lambda: coverage(service.live))

    @router.get("/")
    @needs("read")
    def overview(request: Request, span: Span = None, by: By = "source") -> Response:
        cards = pages.cards()
        chosen = span or "month"
        found = recent.activity(chosen)
        events = newest_events(service.store, FEED)
        answers = Answers.of(service.metrics)
        with suppress(StoreError):  # it waits on
            flush(service.metrics.outcomes, service.live)
        outcomes = clicks(service.store, chosen, by)
        return pages.page(
            request,
            "overview.html",
            counts=recent.counts(),
            rates=recent.rates(),
            ranges=list(RANGES),
            span=chosen,
            activity=found.activity,
            drawn={"activity": drawn(found.activity), "sold": sold(found.sales), "clicks": outcomes.drawn},
            outcomes=outcomes,
            by=by,
            bys=get_args(By),
            sales=found.sales,
            most=MOST,
            answers=answers,
            latency=answers.latency,
            feed=list(zip(events, cards.of(event.item_id for event in events), strict=True)),
            active=_active(service),
            address=str(request.base_url),
        )

    @router.get("/page/coverage")
    @needs("read")
    def covered(request: Request) -> Response:
        """Return what the lists of the newest users show, as a part of a page."""
        found, cards = lists.now(), pages.cards()
        top = found.top[:TOP]
        return pages.page(
            request,
            "coverage.html",
            found=found,
            top=list(zip(cards.of(item_id for item_id, _ in top), [count for _, count in top], strict=True)),
            never=cards.of(found.never[:TOP]),
        )


def _active(service: Service) -> Version | None:
    """Return the version that this process answers with."""
    number = service.live.snapshot().version
    return next((each for each in service.versions.list() if each.number == number), None)
