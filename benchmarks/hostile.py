"""What a hostile request costs: `python benchmarks/hostile.py [--requests N] [--seed S] [--publish]`.

Requests of up to 64 KB, valid and not, for every route of /openapi.json: values as its schemas say, and in their
place deep nesting, long texts, huge numbers, thousands of names, bad filters, bytes at random. Each may take half a
second of the service's CPU, and 16 MB and ten times its own size and four times its answer's of memory; an answer of
5xx is a fault.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from common import synthetic
from service import Served, Taken, connected, fill, goods, report, serving
from wild import Maker, Request

CPU = 0.5  # seconds
MEMORY = 16 << 20  # bytes, and
BODIES, ANSWERS = 10, 4  # times the sizes of both
PATIENCE = 30.0  # seconds


class Cost(NamedTuple):
    """What a request cost the service: status and size of the answer, seconds of CPU, bytes of memory."""

    request: Request
    status: int
    answer: int
    cpu: float
    memory: int

    @property
    def fault(self) -> str | None:
        """What is wrong with it."""
        allowed = MEMORY + BODIES * len(self.request.content()) + ANSWERS * self.answer
        if self.status >= 500:
            return f"status {self.status}"
        if self.cpu > CPU:
            return f"{self.cpu:.2f} s of CPU"
        if self.memory > allowed:
            return f"{self.memory / 1e6:.0f} MB of memory, {allowed / 1e6:.0f} allowed"
        return None

    def described(self) -> str:
        """Say it in a line."""
        request = self.request
        return f"{self.fault}: {request.method} {request.path[:150]} {request.body[:150]!r} -> {self.status}"


# Measuring them


class Meter:
    """Sends requests to a service, one at a time, and reads what each cost from /proc."""

    def __init__(self, served: Served) -> None:
        self.served, self.pid = served, served.process.pid

    def cost(self, request: Request) -> Cost:
        """Send a request, and wait until the service rests."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")  # the highest begins anew
        before, began = self._resident("VmRSS"), self.cpu()
        status, answer = self._sent(request)
        last = self.cpu()
        while True:  # what goes on after the answer counts too
            time.sleep(0.002)
            now = self.cpu()
            if now - last < 0.001:
                break
            last = now
        return Cost(request, status, answer, now - began, self._resident("VmHWM") - before)

    def cpu(self) -> float:
        """Seconds that all threads have used."""
        used = 0
        for task in Path(f"/proc/{self.pid}/task").iterdir():
            with suppress(OSError):  # it ended
                used += int((task / "schedstat").read_text().split()[0])
        return used / 1e9

    def _resident(self, name: str) -> int:
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith(name))

    def _sent(self, request: Request) -> tuple[int, int]:
        with connected(self.served.port, PATIENCE) as made:
            taken = Taken()
            try:
                made.sendall(request.content())
                while not taken.whole:
                    taken.take(made.recv(1 << 16))
            except TimeoutError:
                return 599, 0
            except OSError:  # closed: what came before the end counts
                return (taken.status if taken.content else 400), len(taken.content)
            return taken.status, len(taken.content)


def attack(served: Served, requests: int, seed: int = 0) -> tuple[list[Cost], list[Cost]]:
    """Send so many requests after one for each route; returns the costs of all, and those that are faults."""
    maker, meter = Maker(served.client().get("/openapi.json").body, seed), Meter(served)
    for _ in range(2):
        for request in maker.sound():
            meter.cost(request)
    costs = [meter.cost(request) for request, _ in zip(maker.wild(), range(requests), strict=False)]
    return costs, [cost for cost in costs if cost.fault]


def measured(folder: Path, requests: int, seed: int) -> dict[str, Any]:
    """Attack a service of 500 items."""
    url = folder / "shop.db"
    fill(url, synthetic(500, 500, 10_000), goods(500), dim=16)
    with serving(url) as served:
        costs, faults = attack(served, requests, seed)
        facts: dict[str, Any] = {
            "requests": len(costs),
            "routes": len({(cost.request.method, cost.request.path.partition("?")[0]) for cost in costs}),
            "statuses": dict(sorted(Counter(cost.status for cost in costs).items())),
            "longest_cpu_s": round(max(cost.cpu for cost in costs), 3),
            "most_memory_mb": round(max(cost.memory for cost in costs) / 1e6, 1),
            "alive": served.client().get("/health/ready").status == 200,
            "errors_logged": served.log.read_text().count("Traceback"),
            "faults": [cost.described() for cost in faults],
        }
        if facts["errors_logged"]:
            print(*served.log.read_text().split("Traceback")[1:], sep="\n", file=sys.stderr)
    return facts


def main() -> None:
    """Run from the command line."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--requests", type=int, default=10_000)
    asked.add_argument("--seed", type=int, default=0)
    asked.add_argument("--publish", action="store_true", help="keep the results")
    options = asked.parse_args()
    with tempfile.TemporaryDirectory(prefix="palate-hostile-") as folder:
        facts = measured(Path(folder), options.requests, options.seed)
    report("hostile", "What hostile requests cost", facts, publish=options.publish)


if __name__ == "__main__":
    main()
