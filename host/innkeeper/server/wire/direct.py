"""Outlets that write to a connection past the server, and the fence that says which requests have one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Final, Literal

from innkeeper.server.wire.frames import Framing
from innkeeper.server.wire.outlets import OUTBOX_BYTES, Loss, Outlet
from innkeeper.server.wire.wire import Wire

Way = Literal["events", "messages"]
"""Server-sent events, or a WebSocket's messages."""

_OPENING_BYTES: Final = 4096


class DirectOutlet(Outlet):
    """Messages go to the connection itself, with one call of the system where its client keeps up."""

    def __init__(self, on_loss: Callable[[], object], wire: Wire, framing: Framing, bound: int = OUTBOX_BYTES) -> None:
        """Args:
        on_loss: as of `Outlet`.
        wire: below the connection.
        framing: makes of a message what stands on the wire.
        bound: bytes that may wait.
        """
        super().__init__(on_loss)
        self.framing = framing
        self._wire = wire
        self._bound = bound

    def write_framed(self, data: bytes) -> bool:
        """As `Outlet.write_framed`."""
        if self.loss is not None:
            return False
        # A wire that is lost loses its outlet.
        sent = self._wire.write(data, self._bound)
        if self.count is not None:
            self.count(sent)
        return sent

    async def emptied(self) -> None:
        """As `Outlet.emptied`."""
        await self._wire.emptied()


class Streams:
    """The streams of a server, for its operator.

    Attributes:
        opened: streams that are open, by way: "events" (server-sent), "messages" (of WebSockets).
        lost: clients that were lost, by why: "slow", "gone".
        connections: that are open, of any kind.
        refused: connections that were closed at once, since there were too many.
    """

    def __init__(self) -> None:
        self.opened: Counter[Way] = Counter()
        self.lost: Counter[Loss] = Counter()
        self.connections = 0
        self.refused = 0


class Answered:
    """What of an answer has gone out: the fence in front of writing past the server.

    A body is written past the server only if the client has its head, with status 200, and of the body the very bytes
    with which the stream opens. So whatever stands in front of the application and changes, holds back or encodes
    bodies, or refuses the request, keeps the stream on the ordinary way.
    """

    def __init__(self) -> None:
        self._begun: bytes | None = None

    def head(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """The head goes out."""
        framed = {name.lower() for name, _ in headers} & {b"content-length", b"content-encoding", b"transfer-encoding"}
        self._begun = b"" if status == 200 and not framed else None

    def body(self, data: bytes) -> None:
        """A part of the body goes out."""
        if self._begun is not None:
            # Longer than any opening: nobody will ask for the rest.
            self._begun = self._begun + data if len(self._begun) + len(data) <= _OPENING_BYTES else None

    def end(self) -> None:
        """The body has ended."""
        self._begun = None

    def opened_with(self, opening: bytes) -> bool:
        """Whether exactly this has gone out, and the body is open."""
        return bool(opening) and self._begun == opening
