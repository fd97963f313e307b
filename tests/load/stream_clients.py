"""Many clients of one server, in one thread: what each message took, and what did not come."""

from __future__ import annotations

import contextlib
import re
import select
import socket
import time
from dataclasses import dataclass, field

EVENTS = b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n"
MESSAGES = (
    b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
_MESSAGE = re.compile(rb'"n": (\d+), "t": (\d+)')
_PING, _PONG = b"\x89\0", b"\x8a\x80\0\0\0\0"
_READY = {EVENTS: b": open\n\n", MESSAGES: b"\r\n\r\n"}


@dataclass
class Clients:
    """Connections to one server.

    Attributes:
        delays: milliseconds from a broadcast to a client, of each message while it was counted.
        lost: connections that ended.
    """

    port: int
    request: bytes
    open: dict[int, socket.socket] = field(default_factory=dict)
    delays: list[float] = field(default_factory=list)
    lost: int = 0
    _numbers: dict[int, list[int]] = field(default_factory=dict)

    def connect(self, count: int) -> None:
        """Opens so many, each once the one before has its answer's head."""
        self._poll = select.epoll()
        for _ in range(count):
            client = socket.create_connection(("127.0.0.1", self.port), 10)
            client.sendall(self.request)
            answer = b""
            while _READY[self.request] not in answer:
                data = client.recv(65536)
                if not data:
                    raise ConnectionError(f"a client was refused: {answer[:100]!r}")
                answer += data
            client.setblocking(False)
            self.open[client.fileno()] = client
            self._poll.register(client.fileno(), select.EPOLLIN)

    def run(self, seconds: float, *, count: bool) -> None:
        """Takes what comes for so long.

        Args:
            seconds: for which.
            count: whether it is counted.
        """
        came: list[tuple[int, bytes, int]] = []
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            for number, _ in self._poll.poll(left):
                data = b""
                with contextlib.suppress(ConnectionError):
                    data = self.open[number].recv(65536)
                came.append((number, data, time.monotonic_ns()))
                if not data:
                    self.lost += 1
                    self._poll.unregister(number)
                    self.open.pop(number).close()
            # Read first, understood later: what the client takes is not the server's.
            for number, data, at in came:
                if self.request is MESSAGES and _PING in data and number in self.open:
                    # As every client of a WebSocket must: one that gives no sign of life is gone after a while.
                    self.open[number].sendall(_PONG)
                for sent, began in _MESSAGE.findall(data):
                    if count:
                        self.delays.append((at - int(began)) / 1e6)
                        self._numbers.setdefault(number, []).append(int(sent))
            came.clear()

    def missed(self) -> int:
        """Messages that clients did not get between the first and the last that anybody got."""
        seen = [number for numbers in self._numbers.values() for number in numbers]
        if not seen:
            return 0
        # The first and the last second are cut off in the middle.
        inner = set(range(min(seen) + 1, max(seen)))
        return sum(len(inner.difference(self._numbers.get(each, ()))) for each in self.open)

    def close(self) -> None:
        """Closes all."""
        for each in self.open.values():
            each.close()
        self.open.clear()
