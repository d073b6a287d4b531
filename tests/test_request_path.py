"""The files that a warm `GET /v1/recommend` runs through: few enough to read in one sitting."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from types import FrameType

from starlette.types import Message, Scope

import palate
from palate import IALS
from palate.live.training import train
from palate.serve.app import create_app
from palate.serve.settings import Settings
from palate.store.events import Event, Store
from palate.store.items import Item
from palate.store.versions import Versions

MOST_FILES = 16  # may only fall
PACKAGE = Path(palate.__file__).parent
QUERY = b"user_id=u1&k=5"


def test_a_list_without_rules_runs_through_few_files(tmp_path: Path) -> None:
    path = tmp_path / "shop.db"
    with Store.open(path) as store:
        store.items.put(Item(f"i{n}", {"title": f"Item {n}"}) for n in range(30))
        store.append([Event(f"u{n % 12}", f"i{n * 7 % 30}", "like", 10**15 + n) for n in range(60)])
        train(store, Versions(store), IALS(dim=4, epochs=2))
    app = create_app(Settings(store=str(path)))
    status: list[int] = []
    files: set[str] = set()

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            status.append(message["status"])

    async def ask() -> None:
        scope: Scope = {"type": "http", "method": "GET", "path": "/v1/recommend", "raw_path": b"/v1/recommend"}
        scope.update(query_string=QUERY, headers=[(b"host", b"localhost")], client=("127.0.0.1", 1))
        scope.update(scheme="http", root_path="")
        await app(scope, receive, send)

    def note(frame: FrameType, event: str, _: object) -> None:
        file = Path(frame.f_code.co_filename)
        if event == "call" and file.is_relative_to(PACKAGE):
            files.add(file.relative_to(PACKAGE).as_posix())

    async def run() -> None:
        await ask()
        before = sys.getprofile()
        sys.setprofile(note)
        try:
            await ask()
        finally:
            sys.setprofile(before)

    asyncio.run(run())
    assert status == [200, 200]
    passed = sorted(file for file in files if not file.startswith("kernels/"))
    assert {"serve/fast.py", "ranking/pipeline.py"} <= {*passed}
    assert len(passed) <= MOST_FILES, "\n".join(passed)
