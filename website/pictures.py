"""Draw the pictures of README and docs: `python -m website.pictures [demo] [page]`.

demo  docs/demo.svg, the output of `palate demo`
page  docs/page-*.png, the page of `palate serve` on MovieLens after random traffic; needs Chromium (make browser)
"""

from __future__ import annotations

import argparse
import io
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright
from rich.console import Console

from benchmarks.common.client import Client
from benchmarks.common.logs import RATINGS
from benchmarks.common.paths import ROOT
from benchmarks.common.served import serving
from palate.cli.demo import run_demo

DOCS = ROOT / "docs"
FILMS = RATINGS.with_name("movies.csv.gz")
VISITS, USERS = 1200, 610
CHOICES = {"view": 0.5, "like": 0.2, "cart": 0.17, "purchase": 0.13}
ANNA = (("1", "like"), ("588", "view"), ("2571", "like"), ("364", "like"))  # Toy Story, Aladdin, Matrix, Lion King
COLOURS = 256  # of a picture, the most frequent ones: its file is a third as large


def draw_demo() -> None:
    """Write docs/demo.svg."""
    console = Console(file=io.StringIO(), record=True, width=100, highlight=False, markup=False, emoji=False)
    run_demo(None, None, json=False, console=console)
    svg = console.export_svg(title="palate demo")
    # Pictures in a README may not fetch fonts.
    (DOCS / "demo.svg").write_text(re.sub(r"@font-face \{.*?\}", "", svg, flags=re.S), encoding="utf-8")


def visit(client: Client) -> None:
    """Send a day of traffic: users read lists, and choose one of the first items of half of them."""
    draw = np.random.default_rng(0)
    # Not the same number in every hour.
    hours = draw.choice(24, VISITS, p=(shares := 1.2 + np.sin(np.arange(24) / 24 * 2 * np.pi)) / shares.sum())
    for hour, user in zip(np.sort(hours), draw.integers(1, USERS + 1, VISITS), strict=True):
        items = client.get(f"/v1/recommend?user_id={user}").body["items"]
        if draw.random() < 0.5:
            item = items[min(int(draw.exponential(2)), len(items) - 1)]["item_id"]
            kind = str(draw.choice(list(CHOICES), p=list(CHOICES.values())))
            moment = time.time() - 3600 * (23 - hour + draw.random())
            event = {"user_id": str(user), "item_id": item, "event_type": kind, "timestamp": moment}
            assert client.post("/v1/events", event).status == 200
    for item, kind in ANNA:
        assert client.post("/v1/events", {"user_id": "anna", "item_id": item, "event_type": kind}).status == 200


@contextmanager
def shot(
    browser: Browser, name: str, width: int, height: int, *, dark: bool = False, scale: float = 1
) -> Iterator[Page]:
    """Open a page, and write what it shows in the end to docs/page-NAME.png."""
    page = browser.new_page(
        viewport={"width": width, "height": height},
        color_scheme="dark" if dark else "light",
        device_scale_factor=scale,
    )
    yield page
    taken = Image.open(io.BytesIO(page.screenshot(animations="disabled"))).convert("RGB")
    with_palette(np.asarray(taken)).save(DOCS / f"page-{name}.png", optimize=True)
    page.close()


def with_palette(pixels: np.typing.NDArray[np.uint8]) -> Image.Image:
    """Give each pixel (height, width, 3) the nearest of the most frequent colours: edges change, areas do not."""
    colours, where, count = np.unique(pixels.reshape(-1, 3), axis=0, return_inverse=True, return_counts=True)
    palette = colours[np.argsort(-count)[:COLOURS]]
    away = ((colours[:, None].astype(np.int32) - palette.astype(np.int32)) ** 2).sum(2)
    picture = Image.fromarray(away.argmin(1).astype(np.uint8)[where].reshape(pixels.shape[:2]), "P")
    picture.putpalette(palette.tobytes())
    return picture


def draw_page() -> None:
    """Write docs/page-*.png."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as play:
        options = ("--log", str(RATINGS), "--catalogue", str(FILMS))
        with serving(Path(folder) / "shop.db", *options) as served:
            visit(served.client())
            at = f"http://127.0.0.1:{served.port}"
            browser = play.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            with shot(browser, "overview", 1060, 780) as page:
                page.goto(f"{at}/?range=day")
                expect(page.locator("#activity canvas")).to_be_visible()
                page.wait_for_load_state("networkidle")
            with shot(browser, "user", 1200, 900) as page:
                page.goto(f"{at}/user?user=anna&like=1196")  # The Empire Strikes Back
                expect(page.locator(".move").first).to_be_visible()
            with shot(browser, "map", 1060, 780, dark=True) as page:
                page.goto(f"{at}/map")
                expect(page.locator("#map")).to_have_attribute("data-points", re.compile(r"\d{4}"), timeout=60_000)
                page.wait_for_timeout(500)  # labels fade in
            with shot(browser, "phone", 360, 740, scale=1.5) as page:
                page.goto(f"{at}/user?user=anna")
                page.get_by_role("combobox", name="What if they").press_sequentially("star wars")
                expect(page.locator(".options [role=option]").first).to_be_visible()
            browser.close()


PICTURES = {"demo": draw_demo, "page": draw_page}

if __name__ == "__main__":
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("pictures", nargs="*", default=list(PICTURES), choices=PICTURES)
    for each in asked.parse_args().pictures:
        PICTURES[each]()
