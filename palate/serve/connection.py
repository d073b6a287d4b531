"""One connection, within bounds that uvicorn leaves open: of its head, its time, and how many there are."""

from __future__ import annotations

import asyncio
from functools import cache
from heapq import nsmallest

from starlette.responses import Response
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from palate.serve.bounds import (
    ANSWER_SECONDS,
    BODY_RATE,
    BODY_SECONDS,
    HEAD_SECONDS,
    MOST_CONNECTIONS,
    MOST_HEAD,
    MOST_HEADERS,
    MOST_SENT,
)
from palate.serve.problems import response

SPARE = 20  # one of so many connections makes room when all places are taken
CROWD = 10  # one of so many places: when more are taken, a client that is late gets no answer
PIECE = 16 << 10  # bytes that are read at once
REFUSED = {
    408: f"a head must come within {HEAD_SECONDS:g} s, a body too, and 1 s more for each {BODY_RATE:,} bytes of it",
    413: f"more than {MOST_SENT:,} bytes were sent for one body",
    414: f"the address and the headers can have {MOST_HEAD:,} bytes together",
    431: f"there can be {MOST_HEADERS} headers, with the address of {MOST_HEAD:,} bytes together",
    503: "all connections are busy; try again",
}


@cache
def most_connections() -> int:
    """Return how many there may be: half the files of this process are left for the store and the models."""
    try:
        import resource
    except ImportError:  # not on Windows
        return MOST_CONNECTIONS
    return max(SPARE, min(MOST_CONNECTIONS, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2))


class Connection(HttpToolsProtocol):
    """A connection that waits for its client in a head or a body, or is busy with an answer.

    One that waits too long is ended, one whose body is missing with 408. When all places are taken those that have
    waited longest make room, so that half-sent requests keep no other client out; where all are busy the next one is
    answered 503.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a head."""
        super().connection_made(transport)
        self._in_head, self._refused = True, False
        self._came, self._unsent, self.url = 0, 0, b""
        self._since = self.loop.time()
        self._timer = self.loop.call_later(HEAD_SECONDS, self._look)
        if len(self.connections) > most_connections():
            self._make_room(most_connections())

    def connection_lost(self, exc: Exception | None) -> None:
        """End the waiting."""
        self._timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes, as many as a head or a body may have; in pieces, since what ends a head stands within one."""
        for begin in range(0, len(data), PIECE):
            if self._refused or self.transport.is_closing():
                return
            piece = data[begin : begin + PIECE]
            self._came += len(piece)
            super().data_received(piece)
            if self._in_head and self._came > MOST_HEAD:
                self._refuse(self._too_large())
            elif self._came > MOST_SENT:
                self._refuse(413)

    def on_message_begin(self) -> None:
        """Begin a head."""
        super().on_message_begin()
        self._since = self.loop.time()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; what comes behind a body is none."""
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Answer a request, if its head is within bounds."""
        self._in_head, self._came, self._since = False, 0, self.loop.time()
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > MOST_HEAD or len(self.headers) > MOST_HEADERS:
            self.app, self.url = refusal(self._too_large()), b"/"  # one that can be parsed
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Begin to wait for another head."""
        super().on_message_complete()
        self._in_head, self._came = True, 0

    def on_response_complete(self) -> None:
        """Count the time from here."""
        self._since = self.loop.time()
        super().on_response_complete()

    def _too_large(self) -> int:
        return 414 if len(self.url) > MOST_HEAD // 2 else 431

    def _is_busy(self) -> bool:
        """Whether it waits for an answer of the application, and not for its client."""
        cycle = self.cycle
        return bool(self.pipeline) or not (cycle is None or cycle.response_complete or cycle.more_body)

    def _look(self) -> None:
        """End what has waited too long, and look again when it may have."""
        unsent = self.transport.get_write_buffer_size()
        wait = ANSWER_SECONDS if unsent else self._left()
        if wait <= 0 or (unsent and unsent == self._unsent):  # the client sends nothing, or takes nothing
            self._give_up()
        self._unsent = unsent
        self._timer = self.loop.call_later(wait if wait > 0 else HEAD_SECONDS, self._look)

    def _left(self) -> float:
        """Seconds that the client has left; while it waits for the answer, until the next look."""
        if self._is_busy():
            return HEAD_SECONDS
        allowed = HEAD_SECONDS if self._in_head else BODY_SECONDS + self._came / BODY_RATE
        return self._since + allowed - self.loop.time()

    def _give_up(self) -> None:
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        elif self._in_head or self._refused or len(self.connections) > most_connections() // CROWD:
            self.transport.close()
        else:
            self._refuse(408)

    def _make_room(self, most: int) -> None:
        there: list[Connection] = [each for each in self.connections if not each.transport.is_closing()]  # type: ignore[misc]
        if len(there) <= most:
            return
        waiting = (each for each in there if each is not self and not each._is_busy())
        longest = nsmallest(1 + most // SPARE, waiting, key=lambda each: each._since)
        for each in longest:
            each._give_up()
        if not longest:
            self.app = refusal(503)

    def _refuse(self, status: int) -> None:
        """Answer without the application, unless it has begun to.

        What else the client sends is not read, but it is taken for a while: to close at once would reset the
        connection, and the client would never see the answer.
        """
        if self._is_busy() or (self.cycle is not None and self.cycle.response_started and not self._in_head):
            self.transport.abort()
            return
        answer = refusal(status)
        head = b"".join(b"%b: %b\r\n" % header for header in answer.raw_headers)
        self.transport.write(STATUS_LINE[status] + head + b"\r\n" + bytes(answer.body))
        self.transport.write_eof()
        self._in_head, self._refused, self._since = True, True, self.loop.time()


def refusal(status: int) -> Response:
    """Make the answer that tells of a bound, after which the connection is closed."""
    retry = {"Retry-After": "1"} if status == 503 else {}
    return response(status, REFUSED[status], {"Connection": "close", **retry})
