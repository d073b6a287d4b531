"""Load on a service: requests at random moments, each timed from when it was due."""

from __future__ import annotations

import select
import socket
import time
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from benchmarks.common.client import Taken, connected


class Timings(NamedTuple):
    """Seconds from when a request was due to its whole answer, (N,); how many failed; requests a second reached."""

    seconds: np.typing.NDArray[np.float64]
    failed: int
    rate: float

    def ms(self, share: float) -> float:
        """Milliseconds that this share of the requests stays within."""
        return float(np.quantile(self.seconds, share) * 1000)


def paced(port: int, requests: Sequence[bytes], rate: float, connections: int = 32, seed: int = 0) -> Timings:
    """Send the requests at random moments (Poisson), `rate` a second, whatever the server does.

    Each is timed from the moment when it was due, also where it had to wait for a free connection: a slow answer
    delays no measurement of others (no coordinated omission).
    """
    due = np.cumsum(np.random.default_rng(seed).exponential(1 / rate, len(requests)))
    idle = deque(connected(port) for _ in range(connections))  # in turn, so that none is closed for being idle
    busy: dict[socket.socket, tuple[float, Taken]] = {}
    seconds, failed, sent = [], 0, 0
    began = time.perf_counter()
    while sent < len(requests) or busy:
        moment = time.perf_counter() - began
        while sent < len(requests) and idle and due[sent] <= moment:
            free = idle.popleft()
            free.sendall(requests[sent])
            busy[free] = due[sent], Taken()
            sent += 1
        wait = 10.0 if sent == len(requests) or not idle else max(0.0, due[sent] - (time.perf_counter() - began))
        for ready in select.select(list(busy), (), (), wait)[0]:
            moment, taken = busy[ready]
            taken.take(ready.recv(1 << 16))
            if taken.whole:
                seconds.append(time.perf_counter() - began - moment)
                failed += taken.status != 200
                del busy[ready]
                idle.append(ready)
    whole = time.perf_counter() - began
    for each in idle:
        each.close()
    return Timings(np.array(seconds), failed, len(requests) / whole)
