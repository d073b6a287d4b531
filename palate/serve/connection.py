"""One connection, with bounds that uvicorn lacks: size of the head, time, number of connections."""

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

SPARE = 20  # when all places are taken, one connection in this many is closed
CROWD = 10  # when more than one place in this many is taken, a late client gets no answer
PIECE = 16 << 10  # bytes that are parsed at once
REFUSED = {
    408: f"a head must come within {HEAD_SECONDS:g} s, a body too, and 1 s more for each {BODY_RATE:,} bytes of it",
    413: f"more than {MOST_SENT:,} bytes were sent for one body",
    414: f"the address and the headers can have {MOST_HEAD:,} bytes together",
    431: f"there can be {MOST_HEADERS} headers, with the address of {MOST_HEAD:,} bytes together",
    503: "all connections are busy; try again",
}


@cache
def most_connections() -> int:
    """Return the most connections of a worker: half the file descriptors stay for the store and the models."""
    try:
        import resource
    except ImportError:  # not on Windows
        return MOST_CONNECTIONS
    return max(SPARE, min(MOST_CONNECTIONS, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2))


class Connection(HttpToolsProtocol):
    """A connection that waits for a head or a body of its client, or is busy with an answer.

    A connection that waits too long is closed, with 408 where the body is missing. When all places are taken, those
    that have waited longest are closed, so that half-sent requests lock no client out; where all are busy, a new one
    gets 503.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start to wait for a head."""
        super().connection_made(transport)
        self._in_head, self._refused = True, False
        self._came, self._unsent, self.url = 0, 0, b""
        self._since = self.loop.time()
        self._timer = self.loop.call_later(HEAD_SECONDS, self._look)
        if len(self.connections) > most_connections():
            self._make_room(most_connections())

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse bytes within the bounds of a head and a body; in pieces, since a head may end within `data`."""
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
        """Start a head."""
        super().on_message_begin()
        self._since = self.loop.time()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; trailers of a body are ignored."""
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Start a request, or refuse a head out of bounds."""
        self._in_head, self._came, self._since = False, 0, self.loop.time()
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > MOST_HEAD or len(self.headers) > MOST_HEADERS:
            self.app, self.url = refusal(self._too_large()), b"/"  # a URL that can be parsed
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Start to wait for the next head."""
        super().on_message_complete()
        self._in_head, self._came = True, 0

    def on_response_complete(self) -> None:
        """Measure the waiting time from here."""
        self._since = self.loop.time()
        super().on_response_complete()

    def _too_large(self) -> int:
        return 414 if len(self.url) > MOST_HEAD // 2 else 431

    def _is_busy(self) -> bool:
        """Whether the connection waits for the application, not for the client."""
        cycle = self.cycle
        return bool(self.pipeline) or not (cycle is None or cycle.response_complete or cycle.more_body)

    def _look(self) -> None:
        """Close the connection if it has waited too long, else check again later."""
        unsent = self.transport.get_write_buffer_size()
        wait = ANSWER_SECONDS if unsent else self._left()
        if wait <= 0 or (unsent and unsent == self._unsent):  # the client sends nothing, or reads nothing
            self._give_up()
        self._unsent = unsent
        self._timer = self.loop.call_later(wait if wait > 0 else HEAD_SECONDS, self._look)

    def _left(self) -> float:
        """Seconds that the client has left; while the application works, until the next check."""
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
        connections = (each for each in self.connections if isinstance(each, Connection))
        there = [each for each in connections if not each.transport.is_closing()]
        if len(there) <= most:
            return
        waiting = (each for each in there if each is not self and not each._is_busy())
        longest = nsmallest(1 + most // SPARE, waiting, key=lambda each: each._since)
        for each in longest:
            each._give_up()
        if not longest:
            self.app = refusal(503)

    def _refuse(self, status: int) -> None:
        """Answer without the application, unless it has started an answer.

        Further bytes of the client are received for a while but not parsed: closing at once would reset the
        connection before the client sees the answer.
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
    """Make the answer that names a bound and closes the connection."""
    retry = {"Retry-After": "1"} if status == 503 else {}
    return response(status, REFUSED[status], {"Connection": "close", **retry})
