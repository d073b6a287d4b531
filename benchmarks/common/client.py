"""A light HTTP client: it costs little beside the server that it measures."""

from __future__ import annotations

import json
import socket
import time
from typing import Any, NamedTuple

ADDRESS = "127.0.0.1"
IDLE = 3.0  # seconds after which the server may be about to close a connection


class Answer(NamedTuple):
    """What a server said; body is JSON where it is that, head is in small letters."""

    status: int
    body: Any
    head: bytes = b""


class Client:
    """One connection that stays open while it is in use. Raises `OSError` where the server is gone."""

    def __init__(self, port: int, timeout: float = 30.0) -> None:
        self.port, self.timeout = port, timeout
        self._socket: socket.socket | None = None
        self._used = 0.0

    def __del__(self) -> None:
        self.close()

    def get(self, path: str) -> Answer:
        """Ask with GET."""
        return self.ask(message("GET", path))

    def post(self, path: str, body: object) -> Answer:
        """Ask with POST, JSON in the body."""
        return self.ask(message("POST", path, body))

    def ask(self, request: bytes) -> Answer:
        """Send a whole request, wait for the whole answer; after an error the next one opens a new connection."""
        if time.monotonic() - self._used > IDLE:
            self.close()
        try:
            if self._socket is None:
                self._socket = connected(self.port, self.timeout)
            self._socket.sendall(request)
            taken = Taken()
            while not taken.whole:
                taken.take(self._socket.recv(1 << 16))
        except BaseException:
            self.close()
            raise
        self._used = time.monotonic()
        return Answer(taken.status, json.loads(taken.body) if taken.body else None, taken.head)

    def close(self) -> None:
        """Close the connection."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class Taken:
    """An answer with a content-length, as it comes in."""

    def __init__(self) -> None:
        self.content = b""
        self.ends = 0

    def take(self, part: bytes) -> None:
        """Take the next part. Raises `ConnectionError` for the end of the connection."""
        if not part:
            raise ConnectionError("the server closed the connection")
        self.content += part
        if not self.ends and (head := self.content.find(b"\r\n\r\n")) >= 0:
            length = self.content.lower().find(b"content-length:", 0, head)
            self.ends = head + 4 + int(self.content[length + 15 : self.content.find(b"\r", length)])

    @property
    def whole(self) -> bool:
        """Whether all of it is here."""
        return 0 < self.ends <= len(self.content)

    @property
    def status(self) -> int:
        """The status code."""
        return int(self.content[9:12])

    @property
    def head(self) -> bytes:
        """The lines before the body, in small letters."""
        return self.content[: self.content.find(b"\r\n\r\n")].lower()

    @property
    def body(self) -> bytes:
        """The body."""
        return self.content[self.content.find(b"\r\n\r\n") + 4 : self.ends]


def message(method: str, path: str, body: object = None) -> bytes:
    """Write a request."""
    content = b"" if body is None else json.dumps(body).encode()
    kind = "" if body is None else f"content-type: application/json\r\ncontent-length: {len(content)}\r\n"
    return f"{method} {path} HTTP/1.1\r\nhost: {ADDRESS}\r\n{kind}\r\n".encode() + content


def connected(port: int, timeout: float = 30.0) -> socket.socket:
    """Open a connection that sends without delay."""
    opened = socket.create_connection((ADDRESS, port), timeout)
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return opened
