"""What a list costs the service, over a bare route: `python -m benchmarks.speed.list_cost [--publish]`.

CPU seconds of the server for `GET /v1/recommend` on MovieLens (long histories), one worker, over those of an empty
Starlette route served by the same uvicorn, both asked in turn over one connection. Best of five rounds.
"""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.common.client import message
from benchmarks.common.logs import RATINGS
from benchmarks.common.served import Served, free_port, start
from benchmarks.common.tables import report
from palate.data.readers import read_log

ROUNDS, REQUESTS = 5, 2000
BARE = """
import sys, uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
app = Starlette(routes=[Route("/health/ready", lambda request: JSONResponse({}))])
uvicorn.run(app, port=int(sys.argv[1]), log_level="warning", access_log=False)
"""


def bare(folder: Path) -> Served:
    """Serve the empty route."""
    port, log = free_port(), folder / "bare.log"
    with log.open("ab") as out:
        process = subprocess.Popen([sys.executable, "-c", BARE, str(port)], stdout=out, stderr=out)
    served = Served(process, port, log)
    served.wait()
    return served


def cost(served: Served, requests: list[bytes]) -> float:
    """CPU microseconds of the server for a request, each after the other."""
    client = served.client()
    best = float("inf")
    for _ in range(ROUNDS):
        began = served.seconds()
        for request in requests:
            assert client.ask(request).status == 200
        best = min(best, (served.seconds() - began) / len(requests))
    return 1e6 * best


def main() -> None:
    """Measure both and print."""
    users = read_log(RATINGS).users.ids.to_list()
    chosen = random.Random(0).choices(users, k=REQUESTS)
    lists = [message("GET", f"/v1/recommend?user_id={user}") for user in chosen]
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home)
        service = start(folder / "shop.db", "--log", str(RATINGS))
        empty = bare(folder)
        try:
            service.wait()
            nothing, whole = cost(empty, [message("GET", "/health/ready")] * REQUESTS), cost(service, lists)
        finally:
            service.stop()
            empty.stop()
    facts = {"bare_us": round(nothing), "list_us": round(whole), "times": round(whole / nothing, 1)}
    report("list_cost", "a list over a bare route", facts, publish="--publish" in sys.argv)


if __name__ == "__main__":
    main()
