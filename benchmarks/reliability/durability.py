"""A disk that runs full, a damaged bundle, swaps of models, SIGTERM, a lock: each under writers or load."""

from __future__ import annotations

import sqlite3
import subprocess
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np

from benchmarks.common.client import Answer, Client, message
from benchmarks.common.load import paced
from benchmarks.common.logs import synthetic
from benchmarks.common.served import fork, serving, start
from benchmarks.common.stores import fill, random_attributes
from benchmarks.reliability.parts import Facts, Part, exactly, once
from benchmarks.reliability.writers import Writers, wait_for
from palate import Popularity
from palate.store.events import Store
from palate.store.versions import Versions


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
            answer = client.get("/v1/recommend?user_id=u1")
            full = _until_refused(client)
            ballast.unlink()
            before = writers.acknowledged()
            wait_for(lambda: writers.acknowledged() >= before + 50)
            facts = writers.end(url)
        answers = {"write_while_full": full.status, "why": full.body.get("detail"), "read_while_full": answer.status}
        return {**answers, **facts}
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def _until_refused(client: Client, tries: int = 200) -> Answer:
    """Post single events until one is refused: where a batch finds no room, a single event still may."""
    for n in range(tries):
        answer = client.post("/v1/events", {"user_id": "a", "item_id": f"b{n}", "event_type": "c"})
        if answer.status != 200:
            break
    return answer


def two_models(folder: Path, users: int = 2000, items: int = 500) -> Path:
    """Make a store with two versions of a model; the first is active."""
    url, log = folder / "shop.db", synthetic(users, items, users * 10)
    fill(url, log, random_attributes(items), dim=16)
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
            answers = [client.get(f"/v1/recommend?user_id={user}") for user in range(50)]
    return {
        "activate": refused.status,
        "why": refused.body["detail"].rpartition("/")[2],
        "model_after": after.body["model"]["version"],
        "answers_after_damage": sorted({answer.status for answer in answers}),
        "models_after_damage": sorted({answer.body["model"]["version"] for answer in answers}),
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
        asked = time.monotonic()
        codes[served.stop()] += 1
        seconds.append(round(time.monotonic() - asked, 2))
        # A request sent as the server closes a connection may find no server; one that it had is answered.
        dropped += sum(0 < writer.unanswered < asked - 0.001 for writer in writers.all)
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
    facts = {"locked_s": seconds, "write": status, "write_waited_s": round(waited, 2)}
    return {**facts, "reads": len(reads), "longest_read_ms": round(1000 * max(reads), 1)}


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


def both_locks(folder: Path) -> Facts:
    """Hold the lock of a store; then start on a disk that can only be read."""
    small = folder / "small"
    small.mkdir()
    return {"locked": locked(folder / "shop.db"), "read_only": read_only(small)}


DURABILITY = {
    "disk": Part(
        "the disk runs full under writers, SQLite",
        1,
        once(disk_full),
        exactly(lost=0, doubled=0, faults=[], hasty=0, write_while_full=503, read_while_full=200),
        lambda facts: (
            f"writes {facts['write_while_full']} with Retry-After, reads {facts['read_while_full']}; of"
            f" {facts['acknowledged']:,} acknowledged events lost {facts['lost']}; writes again once there is space"
        ),
    ),
    "bundle": Part(
        "a bundle with a changed byte",
        1,
        once(damaged),
        exactly(activate=409, model_after=1, answers_after_damage=[200], models_after_damage=[1]),
        lambda facts: f"`activate` is refused ({facts['activate']}) with the file's name; the old model stays",
    ),
    "swap": Part(
        "models swapped under load",
        1,
        once(swaps),
        exactly(failed=0),
        lambda facts: f"{facts['swaps']} swaps, {facts['requests']:,} requests; failed {facts['failed']}",
    ),
    "stop": Part(
        "SIGTERM under writers",
        1,
        once(lambda folder: stops(folder / "shop.db")),
        exactly(lost=0, doubled=0, faults=[], cut_off=0),
        lambda facts: (
            f"{facts['stops']} times; requests cut off {facts['cut_off']}, lost {facts['lost']}; the longest took"
            f" {facts['longest_s']} s"
        ),
    ),
    "lock": Part(
        "the file locked for 2 s by another process",
        1,
        once(both_locks),
        lambda facts: [] if facts["locked"]["write"] == 200 else ["a write failed"],
        lambda facts: (
            f"writes wait, {facts['locked']['reads']} reads go on, the longest for"
            f" {facts['locked']['longest_read_ms']:.0f} ms"
        ),
    ),
}
