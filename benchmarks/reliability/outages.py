"""Services under writers that are killed, and a PostgreSQL that goes away: what is lost, and how soon all is back."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from databases import Server, new_database, server

from benchmarks.common.client import ADDRESS
from benchmarks.common.served import Served, fork, start
from benchmarks.reliability.parts import Facts, Part, Step, exactly
from benchmarks.reliability.writers import Writers, wait_for
from palate.store.events import Store
from palate.store.schema import sa

NOTHING = {"lost": 0, "doubled": 0, "faults": []}
BACK = 5.0  # seconds in which a service must be back


# Killed services


def killed(url: str | Path, rounds: int, *options: str) -> Facts:
    """Kill the service by SIGKILL, again and again, while events come in."""
    served = fork(url, *options)
    served.wait()
    writers = Writers(served)
    draw = random.Random(0)
    for _ in range(rounds):
        writers.wait_for_more()
        time.sleep(draw.uniform(0, 0.4))
        served.kill()
        served.log.unlink()
        served = writers.served = fork(url, *options)
        served.wait()
    facts = writers.end(url)
    served.kill()
    served.log.unlink()
    return {"kills": rounds, "left": 0, **facts}


def crew(url: str | Path, models: Path, temporary: Path, rounds: int) -> Facts:
    """Kill workers, each of which is replaced, then their parent: they end, and leave neither port nor folder."""
    temporary.mkdir()
    served = start(url, "--models", str(models), "--workers", "2", temporary=temporary)
    served.wait()
    writers = Writers(served)
    for n in range(rounds):
        wait_for(lambda: len(workers(served)) == 2)
        writers.wait_for_more()
        victim = workers(served)[n % 2]
        os.kill(victim, signal.SIGKILL)
        while exists(victim):  # a busy machine takes a moment
            time.sleep(0.001)
        writers.wait_for_more()
    wait_for(lambda: len(workers(served)) == 2)
    orphans = served.pids()[1:]
    os.kill(served.process.pid, signal.SIGKILL)
    served.process.wait()
    ends: dict[str, Callable[[], bool]] = {
        "workers": lambda: not any(map(exists, orphans)),
        "the port": lambda: is_free(served.port),
        "folders": lambda: not list(temporary.iterdir()),
    }
    with suppress(TimeoutError):
        wait_for(lambda: all(gone() for gone in ends.values()), 20)
    left = [f"left: {what}" for what, gone in ends.items() if not gone()]
    served.log.unlink()
    facts = writers.end(url)
    return {"kills": rounds + 1, "left": len(left), **facts, "faults": facts["faults"] + left}


def workers(served: Served) -> list[int]:
    """Find the processes that answer."""
    found = []
    for pid in served.pids()[1:]:
        with suppress(OSError):
            if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
    return found


def exists(pid: int) -> bool:
    """Whether a process runs; one that ended and is not waited for does not."""
    with suppress(OSError):
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][:1]
    return False


def is_free(port: int) -> bool:
    """Whether nobody listens."""
    with socket.socket() as asked:
        return asked.connect_ex((ADDRESS, port)) != 0


@contextmanager
def services(folder: Path) -> Iterator[Step]:
    """Over SQLite and PostgreSQL in turn: a service of one process, killed ten times; workers, then their parent."""

    def step(n: int) -> Facts:
        own = folder / f"step{n}"
        own.mkdir()
        url = new_database(("sqlite", "postgresql")[n % 2], own)
        if n % 4 < 2:
            facts = killed(url, 10, "--models", str(own / "models"))
        else:
            facts = crew(url, own / "models", own / "tmp", 5)
        shutil.rmtree(own)
        return facts

    yield step


# PostgreSQL


class Reader(threading.Thread):
    """Asks for lists all the time: of a user, and for a session that is in the request."""

    def __init__(self, served: Served) -> None:
        super().__init__(daemon=True)
        self.client, self.ended = served.client(), threading.Event()
        self.statuses: Counter[str] = Counter()
        self.last = 0.0  # when the newest list came
        self.longest = 0.0

    def run(self) -> None:
        """Ask."""
        session = {"history": ["i1", "i2"]}
        while not self.ended.wait(0.02):
            asks: dict[str, Callable[[], int]] = {
                "user": lambda: self.client.get("/v1/recommend?user_id=u1").status,
                "session": lambda: self.client.post("/v1/recommend/session", session).status,
                "similar": lambda: self.client.get("/v1/similar/i1").status,
            }
            for name, ask in asks.items():
                began = time.monotonic()
                status = ask()
                self.longest = max(self.longest, time.monotonic() - began)
                self.statuses[f"{name} {status}"] += 1
                self.last = time.monotonic() if status == 200 else self.last


def stopped(database: Server, _: str) -> None:
    """Crash, and come back after a second."""
    database.stop()
    time.sleep(1)
    database.start()


def restarted(database: Server, _: str) -> None:
    """Restart in order."""
    database.stop("fast")
    database.start()


def cut(_: Server, url: str) -> None:
    """End every connection, five times within a second."""
    engine = sa.create_engine(url.replace("://", "+psycopg://"))
    for _times in range(5):
        with engine.connect() as connection:
            ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
            connection.execute(sa.text(f"{ended} AND datname = current_database()")).all()
        time.sleep(0.2)
    engine.dispose()


def filled(database: Server, _: str) -> None:
    """Have no space on the disk for two seconds; what crashed of it is started again."""
    ballast = database.folder / "ballast"
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while file.write(bytes(1 << 16)):
            """Until it is full."""
    time.sleep(2)
    ballast.unlink()
    if not database.running():
        database.start()


FAULTS: tuple[Callable[[Server, str], None], ...] = (stopped, restarted, cut, filled)


@contextmanager
def outages(folder: Path, seconds: float = 2.0, first: int = 0) -> Iterator[Step]:
    """One fault after the other, on a PostgreSQL of its own that has a small disk."""
    found = server()
    if isinstance(found, str):
        raise SystemExit(found)
    disk = folder / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400m", "tmpfs", str(disk)], check=True)
    try:
        database = Server(found.programs, disk)
        yield lambda n: outage(database, FAULTS[(first + n) % len(FAULTS)], folder / f"models{n}", seconds)
        database.end()
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def outage(database: Server, fault: Callable[[Server, str], None], models: Path, seconds: float) -> Facts:
    """Let a fault happen under writers and a reader; what the service does meanwhile, and when it is back."""
    url = database.create()
    with Store.open(url) as store:
        trained(store, models)
    served = fork(url, "--models", str(models))
    try:
        served.wait()
        writers, reader = Writers(served), Reader(served)
        writers.wait_for_more()
        reader.start()
        time.sleep(seconds)
        before = Counter(reader.statuses)
        fault(database, url)
        during, came = Counter(reader.statuses) - before, time.monotonic()
        writers.wait_for_more()
        wait_for(lambda: reader.last > came)
        back = time.monotonic() - came
        reader.ended.set()
        reader.join()
        facts = writers.end(url)
        alive = served.process.poll() is None
    finally:
        served.kill()
        served.log.unlink()
    late = [f"{fault.__name__}: back after {back:.1f} s"] if back > BACK or not alive else []
    said = set().union(*(writer.told for writer in writers.all))
    late += [f"told a client where the store is: {each}" for each in said if str(models.parent) in each]
    told = {"outages": 1, "of": {fault.__name__: 1}, "longest_back_s": back, "longest_list_s": reader.longest}
    refused = sum(count for name, count in during.items() if not name.endswith("200"))
    lists = {"lists": sum(during.values()), "lists_refused": refused, "lists_of": dict(during)}
    return {**told, **lists, **facts, "faults": facts["faults"] + late}


def trained(store: Store, models: Path) -> None:
    """Give a store some events and a model."""
    from palate import Popularity
    from palate.store.events import Event
    from palate.store.versions import Versions

    store.append([Event(f"u{n % 30}", f"i{n * 7 % 23}", "view", n) for n in range(600)])
    versions = Versions(store, models)
    versions.activate(versions.add(Popularity().fit(store.log()).save, {"recipe": "Popularity"}).number)


SERVICES = Part(
    "`kill -9` of services under writers, of their workers, of the parents of workers; SQLite and PostgreSQL",
    24,
    services,
    exactly(**NOTHING, left=0),
    lambda facts: (
        f"{facts['kills']:,} kills, {facts['acknowledged']:,} acknowledged events; lost {facts['lost']}, doubled"
        f" {facts['doubled']}, left behind (processes, ports, folders) {facts['left']}"
    ),
)
OUTAGES = Part(
    "PostgreSQL stopped, restarted, its connections cut, its disk full, under load",
    20,
    outages,
    exactly(**NOTHING, hasty=0, lists_refused=0),
    lambda facts: (
        f"{facts['outages']} times, {facts['acknowledged']:,} acknowledged events; lost {facts['lost']}, doubled"
        f" {facts['doubled']}; {facts['answers'].get('503', 0):,} writes refused, all by 503 with Retry-After; of"
        f" {facts['lists']:,} lists meanwhile {facts['lists_refused']:,} refused; back after"
        f" {facts['longest_back_s']:.1f} s at most"
    ),
)
