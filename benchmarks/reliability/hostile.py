"""What hostile requests cost the service, and others who ask it meanwhile.

Requests of up to 64 KB, valid and not, for every route of /openapi.json: values as its schemas say, and in their
place deep nesting, long texts, huge numbers, thousands of names, bad filters, bytes at random. Each may take half a
second of the service's CPU, and 16 MB and ten times its own size and four times its answer's of memory; an answer of
5xx is a fault.
"""

from __future__ import annotations

import multiprocessing
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.common.client import Client, Taken, connected
from benchmarks.common.logs import synthetic
from benchmarks.common.processes import resident
from benchmarks.common.served import Served, serving
from benchmarks.common.stores import fill, random_attributes
from benchmarks.reliability.bad_input import RAW, break_rules, counted, fuzz_filters, fuzz_routes
from benchmarks.reliability.parts import Facts, Part, Step, exactly
from benchmarks.reliability.wild import Maker, Request

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
        before, began = resident("VmRSS", self.pid), self.cpu()
        status, answer = self._sent(request)
        last = self.cpu()
        while True:  # what goes on after the answer counts too
            time.sleep(0.002)
            now = self.cpu()
            if now - last < 0.001:
                break
            last = now
        return Cost(request, status, answer, now - began, resident("VmHWM", self.pid) - before)

    def cpu(self) -> float:
        """Seconds that all threads have used."""
        used = 0
        for task in Path(f"/proc/{self.pid}/task").iterdir():
            with suppress(OSError):  # it ended
                used += int((task / "schedstat").read_text().split()[0])
        return used / 1e9

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
    """Send so many requests after one for each route; returns the costs of all, and those that are faults.

    One that costs too much is sent again, and the second time counts: a collection of what requests before it left
    may fall into the first.
    """
    maker, meter = Maker(served.client().get("/openapi.json").body, seed), Meter(served)
    for _ in range(2):
        for request in maker.sound():
            meter.cost(request)
    costs = []
    for request, _ in zip(maker.wild(), range(requests), strict=False):
        cost = meter.cost(request)
        costs.append(meter.cost(request) if cost.fault and cost.status < 500 else cost)
    return costs, [cost for cost in costs if cost.fault]


# Another client


class Canary:
    """A process that asks for a list every 50 ms, each wait counted from when the request was due."""

    def __init__(self, served: Served) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=sing, args=(served.port, served.process.pid, other), daemon=True)
        self._process.start()
        self._pipe.recv()

    def waits(self) -> tuple[list[float], list[float]]:
        """Milliseconds of each wait since the last time; the same without what processes waited for a CPU."""
        self._pipe.send("told")
        told: tuple[list[float], list[float]] = self._pipe.recv()
        return told

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.join()


def sing(port: int, pid: int, pipe: Connection) -> None:
    """Be the canary."""
    client, mine = Client(port), multiprocessing.current_process().pid
    whole: list[float] = []
    own: list[float] = []
    pipe.send("ready")
    due = time.perf_counter()
    while True:
        due += 0.05
        idle = idle_for(pid) + idle_for(mine)
        time.sleep(max(0.0, due - time.perf_counter()))
        with suppress(OSError):
            client.get(f"/v1/recommend?user_id={len(whole) % 500}")
        wait = time.perf_counter() - due
        whole.append(1000 * wait)
        own.append(1000 * max(0.0, wait - max(0.0, idle_for(pid) + idle_for(mine) - idle)))  # a thread may have ended
        if wait > 1:  # what was due meanwhile is not asked all at once
            due = time.perf_counter()
        if pipe.poll():
            pipe.recv()
            pipe.send((whole, own))
            whole, own = [], []


def idle_for(pid: int | None) -> float:
    """Seconds that threads of a process were ready, but the CPUs worked for others: one may hold up all."""
    waited = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(OSError):  # it ended
            waited += int((task / "schedstat").read_text().split()[1])
    return waited / 1e9


def sung(name: str, waits: tuple[list[float], list[float]]) -> Facts:
    """Count waits."""
    whole, own = (np.array(each) for each in waits)
    return {
        f"asked_{name}": len(whole),
        f"longest_{name}_ms": float(whole.max()),
        f"longest_{name}_without_cpu_ms": float(own.max()),
        f"over_250_{name}": int((whole > 250).sum()),
        f"over_250_{name}_without_cpu": int((own > 250).sum()),
        f"over_100_{name}": int((whole > 100).sum()),
    }


# Together


@contextmanager
def hostile(
    folder: Path, wild: int = 3000, filters: int = 3000, examples: int = 8, calm: float = 3.0
) -> Iterator[Step]:
    """Attack a service of 500 items in every way, with a canary beside; then let it sing alone for `calm` seconds."""
    url = folder / "shop.db"
    fill(url, synthetic(500, 500, 10_000), random_attributes(500), dim=16)
    with serving(url) as served:
        canary = Canary(served)

        def step(n: int) -> Facts:
            canary.waits()
            before, logged = counted(served), len(errors_of(served.log.read_text()))
            costs, faults = attack(served, wild, seed=n)
            told = fuzz_filters(served, filters, seed=n)
            routes = fuzz_routes(served, examples, "fuzzing" if n % 10 else "examples,coverage,fuzzing", seed=n)
            raw = break_rules(served)
            beside = canary.waits()
            statuses = counted(served) - before
            time.sleep(calm)
            errors = sum(count for status, count in statuses.items() if status >= "500")
            errors += sum(" 5" in answer[:12] for answer in raw.values())
            texts = [cost.described() for cost in faults] + [f"schemathesis: {each}" for each in routes["failures"]]
            texts += errors_of(served.log.read_text())[logged:]
            texts += [f"hung: {told['hung']}"] if told["hung"] else []
            return {
                "requests": statuses.total() + len(RAW) - len(beside[0]),
                "statuses": dict(sorted(statuses.items())),
                "errors": errors,
                "restarts": int(served.process.poll() is not None),
                "longest_cpu_s": max(cost.cpu for cost in costs),
                "most_memory_mb": max(cost.memory for cost in costs) / 1e6,
                "faults": texts,
                **sung("beside", beside),
                **sung("calm", canary.waits()),
            }

        yield step
        canary.close()


def errors_of(log: str) -> list[str]:
    """Return the end of each traceback in a log."""
    return [
        f"in the log: {each[-300:]}"
        for each in re.findall(r"^Traceback .*\n(?:[ \t].*\n|\n)*(?:.*\n)?", log, re.MULTILINE)
    ]


def wrong(facts: Facts) -> list[str]:
    """Say which counts are not as wanted; of requests that cost too much, their number and the first ones."""
    counts = exactly(errors=0, restarts=0, over_250_beside_without_cpu=0)(facts)
    texts = facts["faults"]
    some = "; ".join(each[:60] for each in texts[:2])
    return [*counts, *([f"{len(texts)} requests beyond a bound, as {some}"] if texts else [])]


HOSTILE = Part(
    "hostile requests: schemathesis, cost fuzz, filters, raw sockets, beside a client that asks 20 lists a second",
    15,
    hostile,
    wrong,
    lambda facts: (
        f"{facts['requests']:,} requests; 5xx {facts['errors']}, restarts {facts['restarts']}; at most"
        f" {facts['longest_cpu_s']:.2f} s of CPU each; of {facts['asked_beside']:,} lists for another client"
        f" {facts['over_250_beside']} waited over 250 ms (longest {facts['longest_beside_ms']:.0f} ms;"
        f" {facts['longest_beside_without_cpu_ms']:.0f} ms but for waiting for a CPU; with no attack"
        f" {facts['longest_calm_ms']:.0f} ms)"
    ),
)
