"""The event loop of a worker; it listens at a socket of its own, so that connections spread over the workers."""

from __future__ import annotations

import socket
from typing import Any

import uvloop

from palate.ending import listen


class Loop(uvloop.Loop):
    """uvloop with a listening socket for each worker, and with the deadline after Ctrl-C.

    With one shared socket the worker that wakes first accepts all waiting connections: of 32, two
    workers got 2 and 30.
    Among sockets of the same port the kernel chooses by a hash of the addresses (SO_REUSEPORT).
    """

    def __init__(self) -> None:
        super().__init__()
        self.call_soon(listen)  # before the application is made, which compiles kernels

    def run_forever(self) -> None:
        """Run, then install the deadline's signal handlers again."""
        super().run_forever()
        listen()

    async def create_server(self, *args: Any, sock: socket.socket | None = None, **kwargs: Any) -> Any:
        """Listen at a new socket with the address of the given one."""
        return await super().create_server(*args, sock=None if sock is None else beside(sock), **kwargs)


def beside(shared: socket.socket) -> socket.socket:
    """Return another socket at the same address."""
    own = socket.socket(shared.family, shared.type)
    own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    for each in (shared, own):
        each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    own.bind(shared.getsockname())
    return own
