"""Where messages for one client go, and for many: each is framed once, whoever and however many get it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final, Literal

import trio
from starlette.websockets import WebSocketDisconnect

from innkeeper.server.wire.frames import Framing, plain

OUTBOX_BYTES: Final = 64 * 1024
"""What may wait for one client of a stream where nobody says another bound: a screen of events. 1,000 clients that stop
reading have 64 MB in all."""

Loss = Literal["slow", "gone", "stopping"]
"""Why a client gets nothing more: it read too slowly; it left; the server stops."""


class Outlet(ABC):
    """Where messages for one client go, in order.

    A message is the text of one server-sent event (`frames.event_text`), or one text message of a WebSocket, in UTF-8.

    Attributes:
        loss: why the client gets nothing more, or None.
        count: told of each message whether it was sent past the server (True), or dropped (False); None: nobody counts.
    """

    count: Callable[[bool], object] | None = None
    framing: Framing = staticmethod(plain)

    def __init__(self, on_loss: Callable[[], object]) -> None:
        """Args:
        on_loss: called once, as the client is lost; must not raise.
        """
        self.loss: Loss | None = None
        self._on_loss = on_loss

    def write(self, message: bytes) -> bool:
        """Gives the client a message. Never waits: a client for whom too much waits already is lost.

        One message may be longer than the bound where nothing else waits; for several such, `send`.

        Returns:
            False: it is lost.

        Raises:
            UnicodeDecodeError: a WebSocket's message that is no UTF-8.
        """
        return self.write_framed(self.framing(message))

    async def send(self, message: bytes) -> bool:
        """As `write`, but waits first until nothing else waits: for what a client gets in bulk, such as what it missed.

        Returns:
            False: it is lost.
        """
        await self.emptied()
        return self.write(message)

    @abstractmethod
    def write_framed(self, data: bytes) -> bool:
        """As `write`, of what `framing` made of a message."""

    @abstractmethod
    async def emptied(self) -> None:
        """Returns once nothing waits any more, or the client is lost."""

    def lose(self, why: Loss) -> None:
        """Nothing more goes to the client."""
        if self.loss is None:
            self.loss = why
            self._on_loss()


class QueuedOutlet(Outlet):
    """Where there is no wire to write to: messages wait in a bounded outbox, from which the server takes them."""

    def __init__(
        self, on_loss: Callable[[], object], put: Callable[[bytes], Awaitable[None]], bound: int = OUTBOX_BYTES
    ) -> None:
        """Args:
        on_loss: as of `Outlet`.
        put: gives one message to the server.
        bound: bytes that may wait behind the message that the server is taking, which may be longer.
        """
        super().__init__(on_loss)
        self._put = put
        self._bound = bound
        self._waiting: deque[bytes] = deque()
        self._bytes = 0
        self._came = trio.Event()
        self._empty = trio.Event()
        self._empty.set()

    def write_framed(self, data: bytes) -> bool:
        """As `Outlet.write_framed`."""
        if self.loss is not None:
            return False
        if self._waiting and self._bytes - len(self._waiting[0]) + len(data) > self._bound:
            self.lose("slow")
            if self.count is not None:
                self.count(False)
            return False
        if data:
            self._waiting.append(data)
            self._bytes += len(data)
            if self._empty.is_set():
                self._empty = trio.Event()
            self._came.set()
        return True

    async def emptied(self) -> None:
        """As `Outlet.emptied`."""
        await self._empty.wait()

    async def pump(self) -> None:
        """Gives the server what waits, until the client is lost."""
        try:
            while True:
                await self._came.wait()
                self._came = trio.Event()
                while self._waiting:
                    # It counts until the server has taken it: else a slow client would have two outboxes.
                    data = self._waiting[0]
                    await self._put(data)
                    self._waiting.popleft()
                    self._bytes -= len(data)
                self._empty.set()
        except (OSError, WebSocketDisconnect, trio.BrokenResourceError, trio.ClosedResourceError):
            self.lose("gone")

    def lose(self, why: Loss) -> None:
        """As `Outlet.lose`."""
        super().lose(why)
        self._empty.set()


class Watchers:
    """Outlets that all get the same messages."""

    def __init__(self) -> None:
        self._outlets: set[Outlet] = set()

    def __len__(self) -> int:
        return len(self._outlets)

    def add(self, outlet: Outlet) -> None:
        """From now on it gets each message."""
        self._outlets.add(outlet)

    def discard(self, outlet: Outlet) -> None:
        """It gets none any more."""
        self._outlets.discard(outlet)

    def write(self, message: bytes) -> int:
        """Gives a message to each; 1,000 take about 10 ms. Whoever is lost leaves.

        Returns:
            How many got it.
        """
        framed: dict[Framing, bytes] = {}
        # Losing one may remove others: a route that ends takes its outlets along.
        for outlet in tuple(self._outlets):
            data = framed.get(outlet.framing)
            if data is None:
                data = framed[outlet.framing] = outlet.framing(message)
            if not outlet.write_framed(data):
                self._outlets.discard(outlet)
        return len(self._outlets)
