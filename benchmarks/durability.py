"""What crashes leave: `python benchmarks/durability.py [--rounds N] [--only PART ...] [--publish]`.

Writers send events with ids of their own as fast as they are acknowledged, and send again what a crash left without
an answer, while the service, its database or its disk goes down. Counted is what was acknowledged and is not there,
and what is there twice. Parts: sqlite and postgresql (kill -9, N times each), restart (of PostgreSQL), disk (full),
bundle (damaged), swap (of models), stop (SIGTERM), lock (by another process, and a disk that cannot be written).
"""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from common import ROOT, synthetic
from service import Client, Served, fill, fork, goods, message, paced, report, serving, start

from palate import Popularity
from palate.store.backup import check
from palate.store.events import Store
from palate.store.schema import events, sa
from palate.store.versions import Versions

sys.path.append(str(ROOT / "tests"))
from databases import Server, new_database, server

Facts = dict[str, Any]
WRITERS = 4
PAUSE = 0.05  # seconds before a writer tries again


class Writer(threading.Thread):
    """Sends events, one to five at once, until it is told to end."""

    def __init__(self, name: str, port: Callable[[], int]) -> None:
        super().__init__(daemon=True)
        self.told, self._port = name, port
        self.acknowledged: set[str] = set()
        self.statuses: Counter[int] = Counter()  # 0: no answer
        self.unanswered = 0.0  # when the newest request without an answer was sent
        self.ended = threading.Event()

    def run(self) -> None:
        """Send; what had no answer, or 503, is sent again until it is acknowledged."""
        draw, number, client = random.Random(self.told), 0, Client(self._port(), 30.0)
        batch: list[dict[str, Any]] = []
        while not self.ended.is_set():
            if client.port != self._port():
                client = Client(self._port(), 30.0)
            if not batch:
                batch = [self._event(draw, number + n) for n in range(draw.randint(1, 5))]
                number += len(batch)
            sent = time.monotonic()
            try:
                status = client.post("/v1/events", batch if len(batch) > 1 else batch[0]).status
            except OSError:
                status, self.unanswered = 0, sent
            self.statuses[status] += 1
            if status == 200:
                self.acknowledged |= {event["event_id"] for event in batch}
                batch = []
            else:
                self.ended.wait(PAUSE)

    def _event(self, draw: random.Random, number: int) -> dict[str, Any]:
        """Make an event whose time, in microseconds, no other has."""
        moment = 1_700_000_000_000_000 + 1_000_000_000 * int(self.told) + number
        user, item = draw.randrange(50), draw.randrange(200)
        return {
            "event_id": f"{self.told}-{number}",
            "user_id": f"u{user}",
            "item_id": f"i{item}",
            "event_type": "view",
            "timestamp": moment,
        }


class Writers:
    """Some writers to one service, which may move to another port."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self.all = [Writer(str(n), lambda: self.served.port) for n in range(WRITERS)]
        for writer in self.all:
            writer.start()

    def acknowledged(self) -> int:
        """How many events so far."""
        return sum(len(writer.acknowledged) for writer in self.all)

    def end(self, url: str | Path) -> Facts:
        """Stop, and compare what was acknowledged with what is in the store."""
        for writer in self.all:
            writer.ended.set()
        for writer in self.all:
            writer.join()
        acknowledged = set().union(*(writer.acknowledged for writer in self.all))
        statuses = sum((writer.statuses for writer in self.all), Counter[int]())
        with Store.open(url) as store:
            with store.database.reading() as connection:
                rows = connection.execute(sa.select(events.c.event_id, events.c.time)).all()
            faults = check(store).faults
        return {
            "acknowledged": len(acknowledged),
            "lost": len(acknowledged - {row[0] for row in rows}),
            "twice": len(rows) - len({row[1] for row in rows}),
            "faults": list(faults),
            "answers": {str(status) if status else "none": count for status, count in sorted(statuses.items())},
        }


def kills(url: str | Path, rounds: int, *options: str) -> Facts:
    """Kill the service by SIGKILL, again and again, while events come in."""
    began = time.monotonic()
    served = fork(url, *options)
    served.wait()
    writers = Writers(served)
    draw = random.Random(0)
    for _ in range(rounds):
        before, deadline = writers.acknowledged(), time.monotonic() + 60
        while writers.acknowledged() == before and time.monotonic() < deadline:  # events are coming in
            time.sleep(0.005)
        time.sleep(draw.uniform(0, 0.4))
        served.kill()
        served.log.unlink()
        served = writers.served = fork(url, *options)
        served.wait()
    facts = writers.end(url)
    served.kill()
    return {"kills": rounds, "minutes": round((time.monotonic() - began) / 60, 1), **facts}


def restarts(database: Server, models: Path, rounds: int = 5) -> Facts:
    """Let PostgreSQL crash and come back under writers and readers."""
    url = database.create()
    recovered = []
    with serving(url, "--models", str(models)) as served:
        writers = Writers(served)
        client = served.client()
        for _ in range(rounds):
            time.sleep(1.0)
            database.stop()
            time.sleep(0.5)
            assert client.get("/v1/recommend?user_id=u1").status == 503
            database.start()
            began, before = time.monotonic(), writers.acknowledged()
            while writers.acknowledged() == before or client.get("/v1/recommend?user_id=u1").status != 200:
                time.sleep(0.005)
            recovered.append(round(time.monotonic() - began, 2))
        return {"restarts": rounds, "seconds_to_recover": recovered, **writers.end(url)}


def disk_full(folder: Path) -> Facts:
    """Let a disk of 12 MB run full under writers, then make room."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(folder)], check=True)
    try:
        url = folder / "shop.db"
        with serving(url) as served:
            ballast = folder / "ballast"
            ballast.write_bytes(bytes(6 << 20))
            writers = Writers(served)
            client = served.client()
            wait_for(lambda: sum(writer.statuses[503] for writer in writers.all) >= 20)
            told = client.get("/v1/recommend?user_id=u1")
            full = client.post("/v1/events", {"user_id": "a", "item_id": "b", "event_type": "c"})
            ballast.unlink()
            before = writers.acknowledged()
            wait_for(lambda: writers.acknowledged() >= before + 50)
            facts = writers.end(url)
        answers = {"write_while_full": full.status, "why": full.body.get("detail"), "read_while_full": told.status}
        return {**answers, **facts}
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def wait_for(condition: Callable[[], bool], seconds: float = 120.0) -> None:
    """Wait until it holds. Raises `TimeoutError`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds:g} s")
        time.sleep(0.005)


def two_models(folder: Path, people: int = 2000, items: int = 500) -> Path:
    """Make a store with two versions of a model; the first is active."""
    url, log = folder / "shop.db", synthetic(people, items, people * 10)
    fill(url, log, goods(items), dim=16)
    with Store.open(url) as store:
        Versions(store).add(lambda path: Popularity().fit(log).save(path), {"recipe": "Popularity"})
    return url


def damaged(folder: Path) -> Facts:
    """Damage a bundle by one byte, then try to activate it, and then to have a service load it."""
    url = two_models(folder)
    with Store.open(url) as store:
        versions = Versions(store)
        path = versions.path(2) / "item_scores.npy"
        sound = path.read_bytes()
        with serving(url) as served:
            client = served.client()
            path.write_bytes(sound[:-1] + bytes([sound[-1] ^ 1]))
            refused = client.post("/v1/models/2/activate", None)
            after = client.get("/v1/recommend?user_id=1")
            path.write_bytes(sound)
            versions.activate(2)  # in another process, and damaged before this one has loaded it
            path.write_bytes(sound[:-1] + bytes([sound[-1] ^ 1]))
            time.sleep(0.5)
            told = [client.get(f"/v1/recommend?user_id={user}") for user in range(50)]
    return {
        "activate": refused.status,
        "why": refused.body["detail"].rpartition("/")[2],
        "model_after": after.body["model"]["version"],
        "answers_after_damage": sorted({answer.status for answer in told}),
        "models_after_damage": sorted({answer.body["model"]["version"] for answer in told}),
    }


def swaps(folder: Path, rounds: int = 20, rate: float = 200) -> Facts:
    """Activate one model and the other, in turn, under load."""
    url = two_models(folder)
    draw = np.random.default_rng(0).integers(0, 2000, int(rate * rounds * 0.3))
    requests = [message("GET", f"/v1/recommend?user_id={user}") for user in draw.tolist()]
    used: list[int] = []
    with serving(url) as served:
        ended = threading.Event()

        def swapping() -> None:
            client = served.client()
            for n in range(rounds):
                if ended.wait(0.25):
                    return
                assert client.post(f"/v1/models/{2 - n % 2}/activate", None).status == 200
                used.append(2 - n % 2)

        swapper = threading.Thread(target=swapping)
        swapper.start()
        timed = paced(served.port, requests, rate)
        ended.set()
        swapper.join()
    facts = {"swaps": len(used), "requests": len(requests), "failed": timed.failed}
    return {**facts, "p50_ms": round(timed.ms(0.5), 2), "p99_ms": round(timed.ms(0.99), 2)}


def stops(url: str | Path, rounds: int = 10) -> Facts:
    """Send SIGTERM under load: what is under way is answered, what was acknowledged stays."""
    codes: Counter[int] = Counter()
    dropped, seconds = 0, []
    served = fork(url)
    served.wait()
    writers = Writers(served)
    for _ in range(rounds):
        time.sleep(0.5)
        told = time.monotonic()
        codes[served.stop()] += 1
        seconds.append(round(time.monotonic() - told, 2))
        # A request sent as the server closes a connection may find nobody; one that it had is answered.
        dropped += sum(0 < writer.unanswered < told - 0.001 for writer in writers.all)
        served = fork(url)
        served.wait()
        for writer in writers.all:
            writer.unanswered = 0.0
        writers.served = served
    facts = writers.end(url)
    served.kill()
    return {"stops": rounds, "exit_codes": dict(codes), "longest_s": max(seconds), "cut_off": dropped, **facts}


def locked(url: Path, seconds: float = 2.0) -> Facts:
    """Hold the write lock of an SQLite store from another process: writes wait, reads go on."""
    event = {"user_id": "a", "item_id": "b", "event_type": "view"}
    with serving(url) as served, closing(sqlite3.connect(url, isolation_level=None)) as other:
        client = served.client()
        assert client.post("/v1/events", event).status == 200
        other.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        with ThreadPoolExecutor(1) as pool:
            write = pool.submit(lambda: (served.client().post("/v1/events", event).status, time.monotonic() - began))
            reads = []
            while time.monotonic() - began < seconds:
                asked = time.monotonic()
                assert client.get("/v1/recommend?user_id=a").status == 200
                reads.append(time.monotonic() - asked)
            other.execute("ROLLBACK")
            status, waited = write.result()
    told = {"locked_s": seconds, "write": status, "write_waited_s": round(waited, 2)}
    return {**told, "reads": len(reads), "longest_read_ms": round(1000 * max(reads), 1)}


def read_only(folder: Path) -> Facts:
    """Start on a disk that can only be read."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(folder)], check=True)
    try:
        Store.open(folder / "shop.db").close()
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
        served = start(folder / "shop.db")
        return {"exit_code": served.process.wait(60), "told": served.log.read_text().strip().rpartition("/")[2]}
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def main() -> None:
    """Run the parts asked for."""
    asked = arguments()
    here = Path(tempfile.mkdtemp(prefix="palate-durability-"))
    for part in asked.only:
        folder = here / part
        folder.mkdir(mode=0o755)
        facts = measured(part, folder, asked.rounds)
        report(f"durability-{part}", TITLES[part], facts, publish=asked.publish)


TITLES = {
    "sqlite": "kill -9 under writers, SQLite",
    "postgresql": "kill -9 under writers, PostgreSQL",
    "restart": "PostgreSQL crashes and comes back under writers",
    "disk": "The disk runs full under writers",
    "bundle": "A damaged model",
    "swap": "Models swapped under load",
    "stop": "SIGTERM under writers",
    "lock": "A store locked by another process, and one on a disk that can only be read",
}


def measured(part: str, folder: Path, rounds: int) -> Facts:
    """Measure one part."""
    if part in ("sqlite", "postgresql"):
        return kills(new_database(part, folder), rounds, "--models", str(folder / "models"))
    if part == "restart":
        running = server()
        if isinstance(running, str):
            raise SystemExit(running)
        return restarts(running, folder / "models")
    if part == "lock":
        return {"locked": locked(folder / "shop.db"), "read_only": read_only(folder)}
    if part == "stop":
        return stops(folder / "shop.db")
    return {"disk": disk_full, "bundle": damaged, "swap": swaps}[part](folder)


def arguments() -> Any:
    """Read the command line."""
    import argparse

    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--rounds", type=int, default=200, help="kills")
    asked.add_argument("--only", nargs="+", choices=TITLES, default=list(TITLES), metavar="PART")
    asked.add_argument("--publish", action="store_true", help="keep the results")
    return asked.parse_args()


if __name__ == "__main__":
    main()
