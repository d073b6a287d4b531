"""The page of the service, in a real Chromium, against a real server."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from unittest.mock import Mock
from urllib.parse import quote, urlencode

import httpx2 as httpx
import numpy as np
import polars as pl
import pytest
from databases import url  # noqa: F401  a fixture
from jinja2 import Environment, PackageLoader, StrictUndefined
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Error,
    Page,
    Request,
    expect,
    sync_playwright,
)
from processes import PALATE, started
from serving import plain
from starlette.datastructures import QueryParams

from palate import IALS, Popularity
from palate.data.times import DAY
from palate.errors import StoreAway, UnknownId
from palate.kernels.layout import settle
from palate.live.previewing import Previews
from palate.live.service import Live
from palate.live.training import train
from palate.ranking.request import SOURCES, ListItem, ListRequest, RecommendationList, SessionEvent, Source
from palate.serve.dashboard.audience import Audience, audience
from palate.serve.dashboard.cards import Cards
from palate.serve.dashboard.clicks import clicks
from palate.serve.dashboard.coverage import coverage
from palate.serve.dashboard.figures import Latency, RecentActivity, Throttled, drawn
from palate.serve.dashboard.listing import Availability, Sort, listing
from palate.serve.dashboard.lists import WhatIf
from palate.serve.dashboard.login import here
from palate.serve.dashboard.preview import Form
from palate.serve.dashboard.projection import placed
from palate.serve.dashboard.rates import Prices, Rate, rates, sales
from palate.serve.dashboard.searching import edits, meant_by
from palate.serve.dashboard.summaries import beginning, grouped, summaries
from palate.serve.dashboard.tuning import Tuning
from palate.serve.dashboard.wording import FILTERS
from palate.serve.fast import list_request, session_event
from palate.serve.metrics import Metrics, Place, Shown, Waiting
from palate.serve.outcomes import flush
from palate.serve.wire import SessionIn
from palate.store.activity import MOST, Window, activity, latest_users, newest_events, newest_users
from palate.store.events import Event, Store
from palate.store.items import Item
from palate.store.keys import Keys
from palate.store.outcomes import Cell, Outcome, add_outcomes, day_of, outcomes
from palate.store.recording import now
from palate.store.versions import Versions

EXAMPLE = Path(__file__).parents[1] / "examples/movielens-small"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
in_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: apt-get install chromium (make browser)")
HOUR = 3_600_000_000
get, post = partial(httpx.get, verify=False), partial(httpx.post, verify=False)  # as `plain`
START = 1_700_000_000_000_000
SCRIPT = "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>"
STRANGE = "a/b\"c'd<&?#%20"
LONG = "x" * 600
WORSE = {"against": 1, "difference": [-0.02, -0.03, -0.01]}
HEBREW = "מלחמת הכוכבים (1977)"


# Against a real server


class Served:
    """A server process of its own, and its store."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.store, self.address = folder / "shop.db", f"http://127.0.0.1:{port}"
        command = [
            *PALATE,
            "serve",
            "--store",
            self.store,
            "--port",
            port,
            "--recipe",
            "ials",
            "--set",
            "l2=0.008",
            *arguments,
        ]
        self.log = (folder / "log").open("wb")
        self._end = ExitStack()
        self.process = self._end.enter_context(started(command, stdout=self.log, stderr=subprocess.STDOUT))

    def ready(self) -> None:
        end = time.monotonic() + 120
        while time.monotonic() < end and self.process.poll() is None:
            try:
                if get(f"{self.address}/health/ready").status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.05)
        pytest.fail(Path(self.log.name).read_text())

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(30)

    def __enter__(self) -> Served:
        return self

    def __exit__(self, *_: object) -> None:
        self._end.close()
        self.log.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    files = ("--log", str(EXAMPLE / "ratings.csv.gz"), "--catalogue", str(EXAMPLE / "movies.csv.gz"))
    with Served(folder, *files, "--set", "epochs=3") as server:
        server.ready()
        with Store.open(server.store) as store:
            store.items.put(
                [
                    Item("script", {"title": SCRIPT, "categories": [SCRIPT]}),
                    Item(STRANGE, {"title": f"{STRANGE} title", "image": "javascript:window.hacked=1"}),
                    Item("long", {"title": LONG, "image": "data:image/gif;base64,R0lGODlhAQABAAAAACw="}),
                    Item("hebrew", {"title": HEBREW}),
                ]
            )
            liked = [Event(STRANGE, name, "like", START) for name in ("script", STRANGE, "long", "hebrew")]
            anna = [Event("anna", name, "like", START) for name in ("1", "588", "364")]
            store.append([*liked, *anna])
            versions = Versions(store)
            versions.add(Popularity().fit(store.log()).save, {"recipe": "Popularity", "verdict": SCRIPT, **WORSE})
        yield server
        server.stop()


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, dict[str, str]]]:
    folder = tmp_path_factory.mktemp("guarded")
    with Store.open(folder / "shop.db") as store:
        keys = {scope: Keys(store).create(scope, [scope]) for scope in ("read", "write", "admin")}
    with Served(folder, "--keys") as server:
        server.ready()
        yield server, keys
        server.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=20_000)  # the machine may be busy
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


class Watched:
    """A page that must have no fault: no error in its console, none of its content policy, none of a script."""

    def __init__(self, context: BrowserContext) -> None:
        self.faults: list[str] = []
        self.page: Page = context.new_page()
        self.page.set_default_timeout(60_000)  # the first list of a stage compiles its kernels
        self.page.on("console", self._console)
        self.page.on("pageerror", self._error)
        self.page.on("request", self._request)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.faults.append(message.text)

    def _error(self, error: Error) -> None:
        self.faults.append(str(error))

    def _request(self, request: Request) -> None:
        if not request.url.startswith(("http://127.0.0.1:", "data:")):
            self.faults.append(f"asked for {request.url}")


@pytest.fixture
def watched(browser: Browser) -> Iterator[Watched]:
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    each = Watched(context)
    yield each
    context.close()
    assert each.faults == []


def overflow(page: Page) -> int:
    return int(page.evaluate("document.documentElement.scrollWidth - innerWidth"))


ADDRESSES = {
    "overview": "/",
    "users": "/users",
    "users by id": "/users?q=an&sort=id",
    "a user": "/user?user=5",
    "no such user": "/user?user=nobody",
    "what if": "/user?user=5&like=260&dislike=1",
    "sliders": "/user?user=5&like=260&diversify=0.5&calibrate=0.5&by=categories&long_tail=0.5&explore=0.5",
    "preview": "/preview?user=5&a.boost.condition=title+%3E+'M'&a.boost.factor=2&b.history.item_id=1&b.k=0",
    "items": "/items",
    "an item": "/item?item=1",
    "found": "/items?q=star+wars",
    "items in a table": "/items?view=table&sort=price&shown=available&page=2",
    "a filter at fault": "/items?filter=price+%3C",
    "models": "/models",
    "privacy": "/privacy",
    "map": "/map",
    "strange user": f"/user?{urlencode({'user': STRANGE})}",
    "strange item": f"/items?{urlencode({'item': STRANGE})}",
    "script": "/item?item=script",
    "long title": "/item?item=long",
}


@in_chromium
@pytest.mark.parametrize("name", ADDRESSES)
def test_a_page_has_no_fault_and_fits_a_phone(served: Served, watched: Watched, name: str) -> None:
    page = watched.page
    answer = page.goto(served.address + ADDRESSES[name])
    assert answer is not None
    assert answer.status == 200
    page.wait_for_load_state("networkidle")
    assert page.locator("h1").count() == 1
    scripts = page.evaluate("performance.getEntriesByType('resource').map(each => each.name.split('?')[0])")
    assert scripts.count(f"{served.address}/static/page.js") == 1, "once, whatever imports it"
    assert overflow(page) <= 0
    page.emulate_media(color_scheme="dark")
    page.set_viewport_size({"width": 360, "height": 740})
    assert overflow(page) <= 0
    assert page.evaluate("window.hacked") is None
    unnamed = "button, a[href], input:not([type=hidden]), select, #map"
    for element in page.locator(unnamed).all():
        named = element.evaluate("e => (e.ariaLabel || e.textContent || e.labels?.[0]?.textContent || '').trim()")
        assert named, element.evaluate("e => e.outerHTML")


@in_chromium
def test_an_unknown_item_is_not_found(served: Served, browser: Browser) -> None:
    page = browser.new_page()
    answer = page.goto(f"{served.address}/item?item=nothing-like-it")
    assert answer is not None
    assert answer.status == 404
    expect(page.locator("main")).to_contain_text("nothing-like-it")
    page.close()


@in_chromium
def test_sliders_move_the_list_beside_the_old_one_and_store_nothing(served: Served, watched: Watched) -> None:
    page = watched.page
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(f"{served.address}/user?user=5")
    plain = page.locator(".list .title").all_inner_texts()
    assert page.locator(".before").count() == 0
    asked: dict[str, object] = {"user_id": "5", "k": 12}
    for name, label, field in (
        ("diversify", "Diversify", 0.9),
        ("calibrate", "Calibrate", {"attribute": "categories", "strength": 0.9}),
        ("long_tail", "Long tail", 0.9),
        ("explore", "Explore", {"method": "thompson", "strength": 0.9, "seed": 0}),
    ):
        slider = page.get_by_role("slider", name=label, exact=True)
        slider.focus()
        for _ in range(18):
            page.keyboard.press("ArrowRight")  # as a hand does that has no mouse
        expect(page.locator(f"output[for=tune-{name}]")).to_have_text("0.90")
        page.wait_for_url(re.compile(f"{name}=0.9"))
        asked[name] = field
        assert slider.evaluate("e => e === document.activeElement"), "the slider keeps the focus"
        answer = post(f"{served.address}/v1/recommend", json=asked).json()["items"]
        for place, item in enumerate(answer):
            expect(page.locator(".list > li").nth(place)).to_have_attribute("data-key", item["item_id"])
    titles = page.locator(".list .title").all_inner_texts()
    assert page.locator(".before .title").all_inner_texts() == plain
    assert set(titles) != set(plain)
    for place, row in enumerate(page.locator(".before li").all()):
        title, told = row.locator(".title").inner_text(), row.locator(".move").all_inner_texts()
        now = titles.index(title) if title in titles else None
        assert told == (["left"] if now is None else [] if now == place else [f"to {now + 1}"])
    page.get_by_role("button", name="Copy as a request").click()
    expect(page.locator("#status")).to_have_text("Copied.")
    head, _, body = page.evaluate("navigator.clipboard.readText()").partition("\n")
    assert (head, json.loads(body)) == ("POST /v1/recommend", asked)
    page.reload()
    expect(page.locator(".list .title")).to_have_text(titles)
    page.get_by_label(re.compile("What if they like")).first.click()
    expect(page.locator(".supposed li")).to_have_count(1)
    assert "explore=0.9" in page.url, "an event keeps the sliders"
    page.get_by_role("link", name="Start again").click()
    expect(page.locator(".list .title")).to_have_text(plain)
    expect(page.locator("output[for=tune-explore]")).to_have_text("0.00")


def test_the_request_of_what_if_is_the_one_that_is_sent() -> None:
    supposed = WhatIf("a", (("like", "1"),), Tuning(0.5, 0.2, 0, 0.3, "genres"))
    head, _, body = supposed.request.partition("\n")
    assert head == "POST /v1/recommend/session"
    asked = SessionIn.model_validate_json(body)
    wanted = list_request(asked, asked.user_id, session=tuple(map(session_event, asked.history)))
    assert wanted == supposed.asked
    assert supposed.bare.address == "/user?user=a&diversify=0.5&calibrate=0.2&explore=0.3&by=genres"
    assert not WhatIf("a")
    assert WhatIf("a").asked.explore == 0.1


EVERY_RULE = {
    "k": "8",
    "filter": "NOT title LIKE '%Star%'",
    "boost.condition": ["'Comedy' IN categories", ""],
    "boost.factor": ["1.5", ""],
    "pin.item_id": "1",
    "pin.position": "3",
    "cap.attribute": ["categories", ""],
    "cap.most": ["4", ""],
    "share.condition": "'Drama' IN categories",
    "share.least": "0.25",
    "exclude": ["2", "", "3"],
    "near": "260",
    "keep_seen": "true",
    "sources": ["personal", "newest"],
    "diversify.strength": "0.4",
    "diversify.by": "categories",
    "diversify.method": "mmr",
    "calibrate.strength": "0.3",
    "calibrate.attribute": "categories",
    "calibrate.half_life": "20",
    "long_tail": "0.1",
    "explore.method": "thompson",
    "explore.share": "0.2",
    "explore.strength": "0.5",
    "explore.seed": "7",
    "history.item_id": ["1196", ""],
    "history.event_type": ["purchase", "view"],
    "context.key": ["device", ""],
    "context.value": ["phone", ""],
}
AS_A_BODY = {
    "k": 8,
    "filter": "NOT title LIKE '%Star%'",
    "boost": [{"condition": "'Comedy' IN categories", "factor": 1.5}],
    "pin": [{"item_id": "1", "position": 3}],
    "cap": [{"attribute": "categories", "most": 4}],
    "share": [{"condition": "'Drama' IN categories", "least": 0.25}],
    "exclude": ["2", "3"],
    "near": ["260"],
    "keep_seen": True,
    "sources": ["personal", "newest"],
    "diversify": {"strength": 0.4, "by": "categories", "method": "mmr"},
    "calibrate": {"strength": 0.3, "attribute": "categories", "half_life": 20},
    "long_tail": 0.1,
    "explore": {"method": "thompson", "share": 0.2, "strength": 0.5, "seed": 7},
    "history": [{"item_id": "1196", "event_type": "purchase"}],
    "context": {"device": "phone"},
}


def test_every_rule_of_the_api_is_an_input_of_the_preview() -> None:
    form = Form(QueryParams(urlencode({f"a.{name}": value for name, value in EVERY_RULE.items()}, doseq=True)), "a")
    assert form.fields == AS_A_BODY
    SessionIn.model_validate(form.fields)
    missing = set(SessionIn.model_fields) - {*form.fields, "user_id", "scenario", "cursor", "attributes"}
    assert missing == set(), "a new field of the API belongs into the preview too"
    assert Form(QueryParams(urlencode(form.address("b"))), "b").fields == AS_A_BODY
    assert Form(form.query, "b").fields == {"k": 12}
    few = "a.diversify.strength=0.4&a.calibrate.strength=0&a.explore.share=0.3&a.k=x&a.scenario=home&a.version=3"
    short = Form(QueryParams(few), "a")
    assert short.fields == {"k": "x", "scenario": "home", "diversify": 0.4, "explore": 0.3}
    assert (short.version, Form(QueryParams("a.version=active"), "a").version) == (3, None)


def test_a_preview_by_another_version_is_its_list_once_it_is_active(tmp_path: Path) -> None:
    with Store.open(tmp_path / "shop.db") as store:
        events = [(u, (u + 3 * n) % 20) for u in range(12) for n in range(3)]
        store.append([Event(f"u{u}", f"i{i}", "like", START + n) for n, (u, i) in enumerate(events)])
        versions = Versions(store)
        train(store, versions, IALS(dim=4, epochs=3))
        other = versions.add(Popularity().fit(store.log()).save, {"recipe": "Popularity", "settings": {}})
        live = Live(store, versions)
        previews = Previews(live, versions)
        session = (SessionEvent("i3", "like"),)
        sources: tuple[Source, ...] = ("personal", "bought_together")
        asked = [
            ListRequest(user_id="u1", explore=0),
            ListRequest(user_id="u1", session=session, filter="item_id > 'i2'", explore=0),
            ListRequest(anchor_items=("i4",), sources=sources, explore=0),
        ]
        before = [previews.recommend(each).items for each in asked]
        assert before == [live.recommend(each).items for each in asked]
        found = [previews.recommend(each, other.number).items for each in asked]
        assert found[0] != before[0]
        assert [previews.recommend(each, 1).items for each in asked] == before, "the active one"
        versions.activate(other.number)
        live.follow_model()
        end = time.monotonic() + 20
        while live.snapshot().version != other.number:
            assert time.monotonic() < end
        assert [live.recommend(each).items for each in asked] == found
        with pytest.raises(UnknownId):
            previews.recommend(asked[0], 99)


@in_chromium
def test_two_settings_side_by_side_are_the_lists_of_their_requests(served: Served, watched: Watched) -> None:
    page = watched.page
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(f"{served.address}/preview?user=5&a.explore.share=0&b.explore.share=0")
    first, second = page.locator("#lists > section").all()
    titles = second.locator(".list .title").all_inner_texts()
    assert first.locator(".list .title").all_inner_texts() == titles
    setting = page.locator(".setting").nth(1)
    setting.get_by_text("Rules", exact=True).click()
    setting.get_by_label("Boost: condition").fill("'Animation' IN categories")
    setting.get_by_label("Boost: factor").fill("3")
    pinned = setting.get_by_label("Pin: item id")
    pinned.press_sequentially("empire strikes")
    expect(setting.locator(".options [role=option]").first).to_contain_text("Empire Strikes Back")
    pinned.press("ArrowDown")
    pinned.press("Enter")
    expect(pinned).to_have_value("1196")
    setting.get_by_label("Pin: position").fill("2")
    expect(second.locator(".list .title").nth(1)).to_contain_text("Empire Strikes Back")
    setting.get_by_role("button", name="Another: Exclude").click()
    setting.get_by_role("combobox", name="Exclude").last.fill("1")
    setting.get_by_label("Length").fill("7")
    expect(second.locator(".list > li")).to_have_count(7)
    expect(second.locator(".move").first).to_be_visible()
    assert first.locator(".list .title").all_inner_texts() == titles
    second.get_by_role("button", name="Copy as a request").click()
    expect(page.locator("#status")).to_have_text("Copied.")
    head, _, body = page.evaluate("navigator.clipboard.readText()").partition("\n")
    answer = post(served.address + head.removeprefix("POST "), json=json.loads(body)).json()["items"]
    assert [row.get_attribute("data-key") for row in second.locator(".list > li").all()] == [
        f"B{item['item_id']}" for item in answer
    ]
    setting.get_by_label("Boost: condition").first.fill("price <")
    expect(second.locator(".fault")).to_contain_text("cannot be read")
    setting.get_by_label("Boost: condition").first.fill("")
    expect(second.locator(".fault")).to_have_count(0)
    setting.get_by_label("Model version").select_option("2")
    expect(second.locator(".list .title").first).not_to_have_text(titles[0])
    page.get_by_role("link", name="As A").click()
    expect(page.locator("#lists > section").nth(1).locator(".list .title")).to_have_text(titles)


@in_chromium
@pytest.mark.parametrize("wrong", ["diversify=2", "explore=-1", "long_tail=x", "calibrate=nan"])
def test_a_slider_beyond_its_ends_is_refused(served: Served, wrong: str) -> None:
    assert get(f"{served.address}/user?user=5&{wrong}").status_code in (400, 422)


@in_chromium
def test_strange_titles_stay_text(served: Served, watched: Watched) -> None:
    page = watched.page
    page.goto(f"{served.address}/user?{urlencode({'user': STRANGE})}")
    expect(page.locator("h1 bdi")).to_have_text(STRANGE)
    history = page.locator(".feed .title")
    assert sorted(history.all_inner_texts()) == sorted([SCRIPT, f"{STRANGE} title", LONG, HEBREW])
    page.get_by_role("link", name=f"{STRANGE} title").first.click()
    expect(page.locator("h1")).to_contain_text(STRANGE)
    assert page.locator("img.tile").count() == 0, "no picture but of http, https and data:image"
    page.goto(f"{served.address}/item?item=long")
    assert page.locator("img.tile").count() == 1
    page.locator("#find-q").press_sequentially("onerror")
    expect(page.locator(".options [role=option]").locator("bdi")).to_have_text([SCRIPT])
    page.goto(f"{served.address}/models")
    page.get_by_text("Verdict", exact=True).first.click()
    expect(page.locator(".verdict").first).to_have_text(SCRIPT)
    assert page.evaluate("window.hacked") is None


@in_chromium
def test_what_if_moves_the_list_and_stores_nothing(served: Served, watched: Watched) -> None:
    page = watched.page
    page.goto(f"{served.address}/user?user=anna")
    before = page.locator(".list .title").all_inner_texts()
    assert page.locator(".move").count() == 0
    box = page.get_by_role("combobox", name="What if they")
    box.press_sequentially("empire strikes")
    expect(page.locator(".options [role=option]").first).to_contain_text("Empire Strikes Back")
    box.press("ArrowDown")
    assert box.get_attribute("aria-activedescendant")
    box.press("Enter")
    expect(page.locator(".supposed .title")).to_have_text(["Star Wars: Episode V - The Empire Strikes Back (1980)"])
    after = page.locator(".list .title").all_inner_texts()
    assert set(after) != set(before)
    assert page.url.endswith("/user?user=anna&like=1196")
    for place, row in enumerate(page.locator(".list > li").all()):
        title, told = row.locator(".title").inner_text(), row.locator(".move").all_inner_texts()
        was = before.index(title) if title in before else None
        by = None if was is None else was - place
        assert told == (["new"] if by is None else [] if by == 0 else [f"{'▲' if by > 0 else '▼'}{abs(by)}"])
    expect(page.locator(".list .why").filter(has_text="The Empire Strikes Back").first).to_be_visible()
    page.get_by_label(re.compile("What if they dislike")).first.click()
    expect(page.locator(".supposed li")).to_have_count(2)
    assert get(f"{served.address}/v1/users/anna").json()["next"] is None
    assert len(get(f"{served.address}/v1/users/anna").json()["events"]) == 3
    page.go_back()
    expect(page.locator(".supposed li")).to_have_count(1)
    page.get_by_role("link", name="Back to the list").click()
    expect(page.locator(".supposed li")).to_have_count(0)
    assert page.locator(".list .title").all_inner_texts() == before


@in_chromium
def test_a_supposed_event_can_be_stored(served: Served, watched: Watched) -> None:
    page = watched.page
    page.goto(f"{served.address}/user?user=new+one&like=260")
    page.get_by_role("button", name="Store it").click()
    expect(page.get_by_role("status")).to_have_text("Stored.")
    expect(page.locator(".feed li")).to_have_count(1)
    expect(page.locator(".feed .tag")).to_have_text("like")
    (event,) = get(f"{served.address}/v1/users/new%20one").json()["events"]
    assert (event["item_id"], event["event_type"]) == ("260", "like")


@in_chromium
def test_versions_are_activated_and_rolled_back(served: Served, watched: Watched) -> None:
    page = watched.page
    page.goto(f"{served.address}/models")
    active = page.locator("tr.active th")
    expect(active).to_have_text("1")
    expect(page.locator(".interval:not(.difference) svg")).to_have_count(1)
    expect(page.locator(".difference.worse svg")).to_have_attribute("aria-label", "95% interval -0.030 to -0.010")
    page.get_by_role("button", name="Activate").click()
    expect(page.get_by_role("dialog")).to_contain_text("version 2")
    page.get_by_role("button", name="Cancel").click()
    expect(active).to_have_text("1")
    page.get_by_role("button", name="Activate").click()
    page.get_by_role("button", name="Yes").click()
    expect(active).to_have_text("2")
    expect(page.get_by_role("status")).to_have_text("Version 2 is active.")
    assert get(f"{served.address}/v1/models").json()["models"][0]["active"]
    end = time.monotonic() + 20
    while get(f"{served.address}/health/ready").json()["model"] != 2:
        assert time.monotonic() < end
    page.goto(f"{served.address}/map")
    expect(page.locator("#map-note")).to_contain_text("has no item vectors")
    page.goto(f"{served.address}/privacy")
    assert page.get_by_role("link", name="Map", exact=True).count() == 0
    page.goto(f"{served.address}/models")
    page.get_by_role("button", name="Roll back").click()
    page.keyboard.press("Escape")
    expect(active).to_have_text("2")
    page.get_by_role("button", name="Roll back").click()
    page.get_by_role("button", name="Yes").click()
    expect(active).to_have_text("1")
    while get(f"{served.address}/health/ready").json()["model"] != 1:
        assert time.monotonic() < end


@in_chromium
def test_the_overview_follows_what_happens(served: Served, watched: Watched) -> None:
    page = watched.page
    page.goto(f"{served.address}/?range=all")
    expect(page.locator("#activity canvas")).to_be_visible()
    figures = page.locator("#figures dd")
    assert int(figures.nth(0).inner_text().replace(",", "")) > 100_000
    answered = int(figures.nth(3).inner_text().replace(",", ""))
    with plain(served.address) as client:
        shown = client.get("/v1/recommend?user_id=5&k=5").json()["items"]
        event = {"user_id": "5", "item_id": shown[0]["item_id"], "event_type": "a new type"}
        client.post("/v1/events", json=event).raise_for_status()
    expect(page.locator("#feed .tag").first).to_have_text("a new type")
    expect(figures.nth(3)).to_have_text(f"{answered + 1:,}")
    expect(page.locator("#sources")).to_contain_text("personal")
    expect(page.locator("#rates")).to_contain_text(re.compile("Click-through rate.*%"))
    page.goto(f"{served.address}/?by=version")
    expect(page.locator("#outcomes tbody th").first).to_have_text("version 1")
    expect(page.locator("#clicks canvas")).to_be_visible()
    expect(page.locator("[data-load]")).to_contain_text("Users without a personal list")


@in_chromium
def test_users_are_found_while_an_id_is_typed(served: Served, watched: Watched) -> None:
    page = watched.page
    page.goto(f"{served.address}/users")
    rows = page.locator("#found tbody tr")
    assert rows.count() > 5
    box = page.get_by_role("searchbox", name="Find users")
    box.press_sequentially("ann")
    expect(rows).to_have_count(1)
    row = rows.locator("th, td, td .title").all_inner_texts()
    assert [row[n] for n in (0, 1, 2, 4, 5)] == ["anna", "Nov 14, 2023", "3", "Lion King, The (1994)", "Adventure"]
    assert page.url.endswith("/users?q=ann")
    box.press_sequentially("x")
    expect(page.locator("#found")).to_contain_text("No user's id begins so.")
    page.get_by_role("link", name="show the list of").click()
    expect(page.locator("h1")).to_contain_text("annx")
    page.goto(f"{served.address}/users?sort=id")
    last = rows.last.locator("th").inner_text()
    page.get_by_role("link", name="Next").click()
    page.wait_for_url(re.compile("after="))
    assert rows.first.locator("th").inner_text() > last


def test_a_user_in_a_line_and_events_on_an_item_together(tmp_path: Path) -> None:
    with Store.open(tmp_path / "shop.db") as store:
        store.items.put([Item(f"i{n}", {"categories": ["shoes", "hats"][n % 2], "price": n + 0.5}) for n in range(4)])
        steps = (
            ("i0", "view"),
            ("i1", "view"),
            ("i0", "view"),
            ("i0", "purchase"),
            ("i2", "view"),
            ("i3", "dislike"),
        )
        store.append([Event("u", item, kind, START + n) for n, (item, kind) in enumerate(steps)])
        live = Live(store)
        cards = Cards(live.snapshot())
        one, none = summaries(live, cards, ["u", "unknown"])
        assert (one.events, one.more, one.seen, one.favourite) == (6, False, START + 5, "shoes")
        assert one.last is not None
        assert (one.last.item_id, one.last.price) == ("i3", 3.5)
        assert (none.events, none.seen, none.last, none.favourite) == (0, None, None, None)
        groups = grouped(store.events("u"), cards)
        assert [(group.card.item_id, dict(group.types)) for group in groups] == [
            ("i3", {"dislike": 1}),
            ("i2", {"view": 1}),
            ("i0", {"purchase": 1, "view": 2}),
            ("i1", {"view": 1}),
        ]
        assert groups[2].event.time == START + 3
        store.append([Event("u2", "i0", "view", START - 1), Event("ux", "i0", "view", START + 9)])
        assert latest_users(store) == ["ux", "u", "u2"]
        assert beginning(store, "u", 2) == ["u", "u2"]
        assert beginning(store, "u", 2, after="u2") == ["ux"]
        assert beginning(store, "y", 2) == []


@in_chromium
def test_dates_are_those_of_the_locale(served: Served, browser: Browser) -> None:
    context = browser.new_context(locale="de-DE", timezone_id="Europe/Berlin")
    page = context.new_page()
    page.goto(f"{served.address}/user?user=anna")
    expect(page.locator(".feed time").first).to_have_text("14.11.2023")
    expect(page.locator(".feed time").first).to_have_attribute("title", "Dienstag, 14. November 2023 um 23:13:20")
    context.close()


@in_chromium
def test_who_would_get_an_item_really_gets_it(served: Served, watched: Watched) -> None:
    page = watched.page
    item = get(f"{served.address}/v1/recommend?user_id=5&k=1").json()["items"][0]["item_id"]
    page.goto(f"{served.address}/item?item={item}")
    listed = page.locator(".audience li")
    expect(listed.first).to_be_visible()
    for row in listed.all()[:5]:
        user, place = row.locator("a").inner_text(), int(row.locator(".why").inner_text().split()[1])
        answer = get(f"{served.address}/v1/recommend?{urlencode({'user_id': user, 'k': 10, 'explore': 0})}")
        assert answer.json()["items"][place - 1]["item_id"] == item


def test_the_audience_of_an_item_is_who_gets_it_in_a_list_of_ranking(tmp_path: Path) -> None:
    with Store.open(tmp_path / "shop.db") as store:
        events = [(u, (u + 3 * n) % 20) for u in range(12) for n in range(3)]
        store.append([Event(f"u{u}", f"i{i}", "like", START + n) for n, (u, i) in enumerate(events)])
        store.append([Event("u1", "i9", "dislike", START + 99), Event("hater", "i4", "dislike", START + 99)])
        versions = Versions(store)
        train(store, versions, IALS(dim=4, epochs=3))
        live = Live(store, versions)
        for item in ("i4", "i9"):
            found = audience(live, item)
            lists = {
                user: [each.item_id for each in live.recommend(ListRequest(user_id=user, explore=0)).items]
                for user in (f"u{n}" for n in range(12))
            }
            expected = {(user, shown.index(item) + 1) for user, shown in lists.items() if item in shown}
            assert {*found.users} == expected, "nobody whose list is by popularity"
            assert found.looked == 13
            assert [place for _, place in found.users] == sorted(place for _, place in found.users)
        assert audience(live, "never met") == Audience([], 13)


@in_chromium
def test_items_are_found_despite_typos_sorted_filtered_hidden_and_edited(served: Served, watched: Watched) -> None:
    page = watched.page
    page.goto(f"{served.address}/items?view=table")
    rows = page.locator("#found tbody tr")
    expect(rows).to_have_count(48)
    first = rows.first.locator(".title").inner_text()
    page.get_by_role("link", name="Next").click()
    expect(page.locator(".pager")).to_contain_text("Page 2 of 20")
    assert first not in rows.locator(".title").all_inner_texts()
    box = page.get_by_role("searchbox", name="Find items")
    box.press_sequentially("empier strkes back")
    expect(rows.locator(".title")).to_have_text(["Star Wars: Episode V - The Empire Strikes Back (1980)"])
    box.fill("")
    page.get_by_label("Filter").fill("'Film-Noir' IN categories AND 'Comedy' IN categories")
    page.get_by_label("Order").select_option("title")
    expect(rows.first.locator(".title")).to_have_text("Down by Law (1986)")
    titles = rows.locator(".title").all_inner_texts()
    assert titles == sorted(titles, key=str.lower)
    page.get_by_role("button", name="Hide Down by Law (1986)").click()
    expect(rows.first.locator(".tag")).to_have_text("hidden")
    item = rows.first.get_attribute("data-key")
    assert not get(f"{served.address}/v1/items/{item}").json()["available"]
    page.locator("select[name=shown]").select_option("hidden")
    expect(rows).to_have_count(1)
    rows.locator(".title").click()
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_role("button", name="Hide")).to_be_visible()
    page.get_by_text("Edit", exact=True).click()
    page.get_by_label("title", exact=True).fill("Down by Law, edited")
    page.get_by_label("categories").fill('["Crime", "Film-Noir"]')
    page.get_by_label("Another attribute").fill("price")
    page.get_by_label("Its value").fill("9.5")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#item .facts")).to_contain_text("Down by Law, edited")
    answer = get(f"{served.address}/v1/items/{item}").json()
    assert answer["available"]
    kept = {name: answer["attributes"][name] for name in ("title", "categories", "price")}
    assert kept == {"title": "Down by Law, edited", "categories": ["Crime", "Film-Noir"], "price": 9.5}


def test_the_catalogue_in_every_order(tmp_path: Path) -> None:
    with Store.open(tmp_path / "shop.db") as store:
        titles = ("b Shoe", "a shoe", "C hat", "d hat", "e glove")
        prices = (3.0, None, 1.0, 2.0, 9.0)
        for n, (title, price) in enumerate(zip(titles, prices, strict=True)):
            store.items.put([Item(f"i{n}", {"title": title, "price": price}, available=n != 3)])
        store.append([Event(f"u{n}", item, "like", START) for n, item in enumerate(("i2", "i2", "i0"))])
        store.items.remove(["i4"])
        cards = Cards(Live(store).snapshot())

        def found(q: str = "", condition: str = "", sort: Sort = "popular", shown: Availability = "all") -> list[str]:
            return [card.item_id for card, _ in listing(store, cards, q, condition, sort, shown, 0).items]

        assert found() == ["i2", "i0", "i1", "i3"]
        assert found(sort="title") == ["i1", "i0", "i2", "i3"]
        assert found(sort="price") == ["i2", "i3", "i0", "i1"]
        assert found(sort="newest") == ["i3", "i2", "i1", "i0"]
        assert found(shown="hidden") == ["i3"]
        assert found("sheo") == ["i0", "i1"]
        assert found("hat", "price > 1") == ["i3"]
        assert found("i1 shoe") == ["i1"]
        assert found("glov", shown="available") == []
        fault = listing(store, cards, "", "price <", "popular", "all", 0)
        assert fault.fault is not None
        assert fault.items == ()
        assert listing(store, cards, "", "", "popular", "all", 1).items == []


def test_edits_count_letters_and_swaps() -> None:
    pairs = {("", ""): 0, ("abc", ""): 3, ("star", "star"): 0, ("star", "tsar"): 1, ("star", "sta"): 1}
    pairs |= {("matirx", "matrix"): 1, ("empier", "empire"): 1, ("kitten", "sitting"): 3, ("ca", "abc"): 3}
    assert {pair: edits(*pair) for pair in pairs} == pairs
    assert {pair: edits(*reversed(pair)) for pair in pairs} == pairs


def test_a_misspelt_word_stands_for_the_closest() -> None:
    known = pl.Series(["matrix", "matron", "star", "stars", "wars", "a", "empire", "back"])
    assert meant_by("matirx", known) == ["matrix"]
    assert meant_by("mtarix", known) == ["matrix"]
    assert meant_by("emprie", known) == ["empire"]
    assert meant_by("strr", known) == ["star", "stars"]
    assert meant_by("bakc", known) == ["back"]
    assert meant_by("str", known) == ["star"]
    assert meant_by("zzzzzz", known) == meant_by("b", known) == meant_by("ab", known) == []
    assert meant_by("matirx", pl.Series([], dtype=pl.String)) == []


@in_chromium
def test_the_map_can_be_walked_by_keyboard(served: Served, watched: Watched) -> None:
    page = watched.page
    page.goto(f"{served.address}/map")
    canvas = page.locator("#map")
    expect(canvas).to_have_attribute("data-points", re.compile(r"\d{4}"))

    seen: set[str] = set()

    def see_another() -> None:
        """Wait for a picture that was not seen yet."""
        page.wait_for_function("seen => !seen.includes(document.querySelector('#map').toDataURL())", arg=sorted(seen))
        seen.add(str(canvas.evaluate("e => e.toDataURL()")))

    see_another()
    items = get(f"{served.address}/page/map").json()
    noir = items["categories"].index("Film-Noir")
    page.get_by_label("Category", exact=True).select_option("Film-Noir")
    expect(canvas).to_have_attribute("data-shown", str(sum(noir in item[3] for item in items["items"])))
    see_another()
    page.get_by_role("button", name="Animation").click()
    expect(canvas).to_have_attribute("data-shown", str(sum(item[2] == 8 for item in items["items"])))
    expect(page.get_by_label("Category", exact=True)).to_have_value("")
    page.get_by_role("button", name="Animation").click()
    expect(canvas).to_have_attribute("data-shown", str(len(items["items"])))
    box = page.get_by_role("combobox", name="Find on the map")
    box.press_sequentially("matrix")
    expect(page.locator(".options [role=option]").first.locator("bdi")).to_have_text("Matrix, The (1999)")
    box.press("ArrowDown")
    box.press("Enter")
    expect(page.locator("#map-tip")).to_have_text("Matrix, The (1999)")
    expect(canvas).to_be_focused()
    see_another()
    for key in ("ArrowLeft", "-"):
        page.keyboard.press(key)
        see_another()
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_contain_text("Matrix, The (1999)")


@in_chromium
def test_the_keyboard_reaches_everything(served: Served, watched: Watched) -> None:
    page = watched.page
    page.goto(f"{served.address}/user?user=5")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "find-user"
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
    page.keyboard.type("anna")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_contain_text("anna")


@in_chromium
def test_it_works_without_scripts(served: Served, browser: Browser) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{served.address}/user?user=anna")
    page.locator("#find-add").fill("empire strikes back")
    page.get_by_role("button", name="Try").click()
    expect(page.locator(".supposed .title")).to_contain_text("The Empire Strikes Back")
    expect(page.locator(".move").first).to_be_visible()
    context.close()


@in_chromium
def test_signing_in_with_a_key(guarded: tuple[Served, dict[str, str]], browser: Browser) -> None:
    server, keys = guarded
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{server.address}/models?from=here")
    assert page.url == f"{server.address}/login?next={quote('/models?from=here', safe='')}"
    for key, fault in (("pk_wrong", "unknown"), (keys["write"], "may not read")):
        page.get_by_label("API key").fill(key)
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("alert")).to_contain_text(fault)
    page.get_by_label("API key").fill(keys["read"])
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator("h1")).to_have_text("Models")
    assert page.url == f"{server.address}/models?from=here"
    (cookie,) = context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    page.goto(f"{server.address}/")
    expect(page.locator("pre").first).to_contain_text("v1/events")  # the store is empty
    page.goto(f"{server.address}/user?user=anna&like=1")
    assert page.get_by_role("button", name="Store it").count() == 0, "this key may only read"
    page.get_by_role("button", name="Sign out").click()
    assert page.url == f"{server.address}/login"
    assert context.cookies() == []
    context.close()


@in_chromium
def test_a_training_is_started_and_followed(guarded: tuple[Served, dict[str, str]], browser: Browser) -> None:
    server, keys = guarded
    context = browser.new_context()
    page = context.new_page()
    for scope in ("read", "admin"):
        page.goto(f"{server.address}/login?next=/models")
        page.get_by_label("API key").fill(keys[scope])
        page.get_by_role("button", name="Sign in").click()
        expect(page.locator("#training-title")).to_be_visible()
        expect(page.get_by_role("button", name="Train now")).to_have_count(int(scope == "admin"))
    expect(page.locator("#models")).to_contain_text("none: palate serve --retrain every=1h")
    page.get_by_role("button", name="Train now").click()
    expect(page.get_by_role("status")).to_have_text("The training began.")
    expect(page.locator("#models .tag").first).to_have_text("failed", timeout=60_000)  # the store has no event
    expect(page.locator("#models pre").first).to_contain_text("nothing to learn from")
    context.close()


def test_the_cookie_counts_only_where_another_site_cannot_send_it(guarded: tuple[Served, dict[str, str]]) -> None:
    server, keys = guarded
    event = {"user_id": "u", "item_id": "i", "event_type": "like"}
    cookie = {"Cookie": f"palate_key={keys['admin']}"}
    with plain(server.address) as client:
        assert client.get("/v1/users").status_code == 401
        assert client.get("/v1/users", headers=cookie).status_code == 200
        assert client.post("/v1/events", json=event, headers=cookie).status_code == 401
        assert client.post("/v1/events", json=event, headers=cookie | {"X-Palate-Page": "1"}).status_code == 200
        assert client.get("/page/map").status_code == 401
        assert client.get("/static/page.css").status_code == 200
        assert client.get("/static/../pages.py").status_code in (303, 401, 404)


@pytest.mark.parametrize(
    ("where", "path"),
    [
        ("/user?user=5", "/user?user=5"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("https://evil.example", "/"),
        ("/a\r\nSet-Cookie: x=y", "/"),
        ("", "/"),
    ],
)
def test_signing_in_leads_nowhere_else(where: str, path: str) -> None:
    assert here(where) == path


# What the figures are made of


def test_activity_counts_the_newest_events_by_time_and_type(url: str) -> None:  # noqa: F811
    with Store.open(url) as store:
        assert activity(Window.of(store)).count.shape == (0, 0)
        assert newest_events(store) == []
        assert newest_users(store) == []
        kinds = ["view", "view", "like", "view", "like"]
        hours = [0, 0, 1, 30, 47]
        store.append([Event(f"u{n}", "i", kinds[n], START + hours[n] * HOUR) for n in range(5)])
        found = activity(Window.of(store), START, START + 48 * HOUR, buckets=48)
        assert (found.start, found.width, found.types) == (START, HOUR, ["view", "like"])
        assert {(n, t): c for (n, t), c in np.ndenumerate(found.count) if c} == {
            (0, 0): 2,
            (1, 1): 1,
            (30, 0): 1,
            (47, 1): 1,
        }
        assert found.whole
        all_of_it = activity(Window.of(store), buckets=3)
        assert all_of_it.width == DAY
        assert all_of_it.count.sum(axis=0).tolist() == [3, 2]
        assert activity(Window.of(store), START + HOUR, START + 2 * HOUR).count.sum() == 1
        assert [event.user_id for event in newest_events(store, 2)] == ["u4", "u3"]
        assert newest_users(store, 3) == ["u4", "u3", "u2"]
        assert len(activity(Window.of(store), START, START + MOST * DAY, buckets=7).count) == 7


def test_a_window_reads_what_is_new_and_loses_what_is_taken_out(
    url: str,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("palate.store.activity.MOST", 4)
    with Store.open(url) as store:
        store.append([Event(f"u{n}", f"i{n}", "view", START - n) for n in range(3)])
        first = Window.of(store)
        assert Window.of(store, first) is first
        store.append([Event("u0", "new", "like", START + n) for n in range(2)])
        later = Window.of(store, first)
        assert later.columns.tolist() == Window.of(store).columns.tolist()
        assert later.moment.tolist() == [START - 1, START - 2, START, START + 1]
        assert [later.types[kind] for kind in later.kind] == ["view", "view", "like", "like"]
        assert not activity(later, START - 9).whole
        assert activity(later, START).whole
        store.feedback.withdraw("u1", "i1")
        assert Window.of(store, later).moment.tolist() == [START - 2, START, START + 1]
        store.forget("u0")
        assert Window.of(store, later).moment.tolist() == [START - 2]


def test_rates_compare_the_last_week_with_the_one_before(url: str) -> None:  # noqa: F811
    with Store.open(url) as store:
        assert Window.of(store).newest is None
        store.items.put([Item("i", {"price": 2.5}), Item("j", {"price": "4"}), Item("k", {"title": "no price"})])
        days = {0: 3, 6: 1, 7: 2, 13: 4, 27: 1, 28: 9}  # days before the newest event, and its events
        end = START + 100 * DAY
        for day, many in days.items():
            store.append([Event(f"u{n % 2}", "ijk"[n % 3], "purchase", end - day * DAY) for n in range(many)])
        store.append([Event("viewer", "i", "view", end)])
        window = Window.of(store)
        assert window.newest == end
        prices = Prices.of(Live(store).snapshot())
        found = {rate.name: rate for rate in rates(window, prices, end + 1)}
        assert found["Events"].daily.tolist() == [1, *[0] * 13, 4, *[0] * 5, 2, 1, *[0] * 5, 4]
        assert found["Active users"].daily.tolist() == [1, *[0] * 13, 2, *[0] * 5, 2, 1, *[0] * 5, 3]
        assert found["Conversions"].daily[-1] == 3
        assert found["Value of conversions"].daily[[-1, -7, -8, -14]].tolist() == [6.5, 2.5, 6.5, 9]
        assert found["Events"].change == pytest.approx(5 / 6 - 1)
        assert Rate("none", np.zeros(28)).change is None
        assert Rate("part", found["Events"].daily, whole=False).change is None
        made = sales(window, prices, end - 14 * DAY + 1, 7 * DAY, 2)
        assert (made.count.tolist(), made.value.tolist()) == ([6, 4], [15.5, 9.0])


def test_what_came_of_lists_is_kept_by_day_source_and_version(url: str) -> None:  # noqa: F811
    with Store.open(url) as store:
        store.items.put([Item("i", {"price": 2.5}), Item("j", {"title": "no price"}), Item("k", {"price": 4})])
        live, metrics = Live(store), Metrics()
        sources: tuple[Source, ...] = ("personal", "personal", "buy_again")
        items = tuple(ListItem(name, 1.0, source, "") for name, source in zip("ijk", sources, strict=True))
        made = RecommendationList(items, {"version": 3}, sources=Counter(sources))
        metrics.answered("u", made)
        metrics.answered(None, made)
        metrics.answered("v", replace(made, model=None))
        kinds = [("u", "i", "view"), ("u", "i", "purchase"), ("u", "k", "purchase"), ("u", "j", "order")]
        metrics.stored([Event(*kind) for kind in [*kinds, ("w", "i", "purchase"), ("v", "x", "view")]])
        flush(metrics.outcomes, live)
        flush(metrics.outcomes, live)
        metrics.answered("u", made)
        flush(metrics.outcomes, live)
        today = day_of(now())
        found = outcomes(store, today - 1, today)
        assert {(cell.source, cell.version): tuple(outcome) for cell, outcome in found.items()} == {
            ("personal", 3): (4, 2, 2, 2.5),
            ("buy_again", 3): (2, 1, 1, 4.0),
            ("personal", 0): (2, 0, 0, 0.0),
            ("buy_again", 0): (1, 0, 0, 0.0),
        }
        add_outcomes(store, {Cell(today - 8, "personal", 2): Outcome(10, 5), Cell(today, "personal", 3): Outcome(1)})
        by_source, by_version = clicks(store, "week", "source"), clicks(store, "month", "version")
        assert {name: tuple(sums) for name, sums in by_source.sums.items()} == {
            "personal": (7, 2, 2, 2.5),
            "buy again": (3, 1, 1, 4.0),
        }
        assert [row[-1] for row in by_source.steps.values()] == list(by_source.sums.values())
        assert [*by_version.sums] == ["version 2", "version 3", "no model"]
        assert by_version.drawn["counts"][0] == [*[None] * 21, 50.0, *[None] * 8]
        assert by_version.drawn["times"][-1] == today * 86_400
        assert clicks(store, "all", "source").sums["personal"].shown == 17


def test_counts_that_cannot_be_stored_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store.open(tmp_path / "shop.db") as store:
        live, waiting = Live(store), Waiting()
        waiting.shown([("personal", 3)], 1)
        with monkeypatch.context() as broken:
            broken.setattr("palate.serve.outcomes.add_outcomes", Mock(side_effect=StoreAway("away")))
            with pytest.raises(StoreAway):
                flush(waiting, live)
        waiting.shown([("personal", 1)], 1)
        flush(waiting, live)
        today = day_of(now())
        assert outcomes(store, today, today)[Cell(today, "personal", 1)] == Outcome(4)


def test_an_entry_of_a_shown_item_holds_its_place() -> None:
    shown = Shown()
    places = [ListItem(f"i{n}", 1.0, source, "") for n, source in enumerate(SOURCES)]
    shown.add("u", places, 2047)
    assert shown.event("u", "other") is shown.event("other", "i0") is None
    for clicked in (False, True):
        assert [shown.event("u", item.item_id) for item in places] == [
            Place(item.source, 2047, clicked) for item in places
        ]
    shown.add("u", places[:1], 2048)
    assert shown.event("u", "i0") == Place(SOURCES[0], 0, False)


def test_a_range_without_events_ends_at_the_newest(tmp_path: Path) -> None:
    with Store.open(tmp_path / "shop.db") as store:
        store.append([Event("u", "i", "view", START), Event("u", "i", "view", START - 40 * DAY)])
        recent = RecentActivity(store, lambda: Prices(None, np.zeros(0)))
        for span, count in (("day", 1), ("week", 1), ("month", 1), ("year", 2), ("all", 2)):
            found = recent.activity(span)
            assert found.activity.count.sum() == count
            assert (found.sales.types, found.sales.count.sum()) == ([], 0)
        assert recent.rates()[0].daily[-1] == 1


def test_coverage_counts_the_items_of_lists(tmp_path: Path) -> None:
    with Store.open(tmp_path / "shop.db") as store:
        events = [(u, (u + 3 * n) % 20) for u in range(12) for n in range(3)]
        store.append([Event(f"u{u}", f"i{i}", "like", START + n) for n, (u, i) in enumerate(events)])
        store.append([Event("without", "i1", "dislike", START)])
        store.items.put([Item("hidden", {}, available=False), Item("new", {})])
        versions = Versions(store)
        train(store, versions, IALS(dim=4, epochs=3))
        live = Live(store, versions)
        found = coverage(live)
        lists = [
            [item.item_id for item in live.recommend(ListRequest(user_id=user, explore=0)).items]
            for user in (*(f"u{n}" for n in range(12)), "without")
        ]
        assert dict(found.top) == Counter(item_id for each in lists for item_id in each)
        assert (found.lists, found.impersonal, found.available) == (13, 1, 19)
        assert set(found.never) == {*(f"i{n}" for n in range(18)), "new"} - dict(found.top).keys()


@pytest.mark.parametrize("name", ["interval", "difference"])
def test_a_metric_of_zero_has_a_bar_of_no_length(name: str) -> None:
    templates = Environment(loader=PackageLoader("palate.serve.dashboard"), undefined=StrictUndefined)
    templates.filters |= FILTERS
    bar = getattr(templates.get_template("parts.html").module, name)([0.0, 0.0, 0.0], 0.0)
    first, last = (re.search(rf'class="range" [^/]*{end}="([0-9.]+)"', bar) for end in ("x1", "x2"))
    assert first is not None
    assert last is not None
    assert first[1] == last[1]


def test_a_chart_puts_the_rarer_types_together(tmp_path: Path) -> None:
    with Store.open(tmp_path / "shop.db") as store:
        store.append([Event("u", "i", f"type {n}", START) for n in range(6) for _ in range(7 - n)])
        told = drawn(activity(Window.of(store)))
        assert told["names"] == ["type 0", "type 1", "type 2", "type 3", "other"]
        assert told["counts"] == [[7], [6], [5], [4], [5]]


def test_quantiles_lie_between_the_bounds() -> None:
    latency = Latency([0.001, 0.002, float("inf")], [50, 40, 10])
    assert latency.answers == 100
    assert latency.quantile(0.25) == pytest.approx(0.0005)
    assert latency.quantile(0.7) == pytest.approx(0.0015)
    assert latency.quantile(0.99) == 0.002
    assert np.isnan(Latency([0.001], [0]).quantile(0.5))


def test_what_is_costly_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("palate.serve.dashboard.figures.monotonic", lambda: clock[0])
    done = []

    def work() -> int:
        clock[0] += 2
        done.append(clock[0])
        return len(done)

    rested = Throttled(work)
    assert [rested.now(), rested.now()] == [1, 1]
    clock[0] += 99
    assert rested.now() == 1
    clock[0] += 2
    assert rested.now() == 2


def test_an_event_of_what_if_takes_the_place_of_the_one_before() -> None:
    supposed = WhatIf("a b").plus("like", "1").plus("like", "2&").plus("dislike", "1")
    assert supposed.events == (("like", "2&"), ("dislike", "1"))
    assert supposed.address == "/user?user=a+b&like=2%26&dislike=1"
    assert supposed.minus("2&").events == (("dislike", "1"),)


def test_the_map_keeps_neighbours_together() -> None:
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(12), 25)
    vectors = (rng.normal(size=(12, 16))[group] + 0.3 * rng.normal(size=(300, 16))).astype(np.float32)
    place = placed(vectors)
    distance = ((place[:, None] - place) ** 2).sum(-1)
    nearest = np.argsort(distance, axis=1)[:, 1:6]
    assert (group[nearest] == group[:, None]).mean() > 0.95
    assert np.abs(place).max() < 1.5
    assert np.array_equal(place, placed(vectors))
    for n in range(4):
        few = placed(vectors[:n])
        assert few.shape == (n, 2)
        assert np.isfinite(few).all()
    assert np.isfinite(placed(np.ones((30, 4), np.float32))).all()


def test_points_at_one_place_come_apart() -> None:
    place = np.zeros((20, 2), np.float32)
    place[:, 0] = np.linspace(0, 1e-6, 20)
    settle(place, np.zeros((20, 0), np.int32), 0, 1, np.uint64(1))
    assert place[:, 0].max() < 1e-5
    neighbour = np.roll(np.arange(20, dtype=np.int32), 1)[:, None]
    settle(place, neighbour, 50, 3, np.uint64(1))
    assert np.isfinite(place).all()
    assert place[:, 0].std() > 0.1
