"""One connection below the server: everything that its client gets passes through one bounded outbox, in order."""

from __future__ import annotations

import math
import socket
from collections.abc import Callable
from contextlib import suppress

import trio

from innkeeper.server.wire.bounds import VANISHED
from innkeeper.server.wire.outlets import OUTBOX_BYTES, Loss

_AT_ONCE = 64 * 1024
_KEEPALIVE_IDLE, _KEEPALIVE_EVERY = 30, 10


class Wire:
    """The stream that hypercorn sees (`send_all`, `receive_some`, `send_eof`, `aclose`), and the way past it (`write`).

    Both use one outbox, so what each writes keeps its place. Nothing is sent but by this object: only so may `write`
    call the socket without a wait.

    Attributes:
        lost: why the client gets nothing more, or None.
        heard: when it last sent something, in seconds of trio's clock.
        on_loss: called once, as it is lost; must not raise.
    """

    def __init__(self, connected: socket.socket, tasks: trio.Nursery, stall: float) -> None:
        """Args:
        connected: of TCP; it is closed with the wire.
        tasks: what waits for a slow client runs there.
        stall: seconds without room for one more byte after which a client is lost.
        """
        connected.setblocking(False)
        _notice_vanished_peers(connected, stall)
        self._socket = connected
        # The same object below: one owner of the descriptor, so neither closes what the other has.
        self._stream = trio.SocketStream(trio.socket.from_stdlib_socket(connected))
        self._tasks = tasks
        self._stall = stall
        self._outbox = bytearray()
        # Bytes at its beginning of the one write that nothing waited before.
        self._under_way = 0
        self._emptied = trio.Event()
        self._emptied.set()
        self.lost: Loss | None = None
        self.heard = trio.current_time()
        self.on_loss: Callable[[Loss], object] = lambda why: None

    # --- past the server --------------------------------------------------------------------------------------------

    def narrow(self, bound: int) -> None:
        """What the system keeps for a client that does not read, in bytes: from then on it has no more than that."""
        with suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, bound)

    def write(self, data: bytes, bound: int | None = OUTBOX_BYTES) -> bool:
        """Sends what goes at once, and keeps the rest. Never waits.

        Args:
            data: whole chunks or frames.
            bound: bytes that may wait behind the data that is being sent, which may be longer; a client for whom more
                would wait is lost. None: any.

        Returns:
            False: the client is lost.
        """
        if self.lost is not None:
            return False
        if self._outbox:
            if bound is not None and len(self._outbox) - self._under_way + len(data) > bound:
                self.lose("slow")
                return False
            self._outbox += data
            return True
        try:
            sent = self._socket.send(data)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError:
            self.lose("gone")
            return False
        if sent < len(data):
            self._outbox += memoryview(data)[sent:]
            self._under_way = len(self._outbox)
            self._emptied = trio.Event()
            self._tasks.start_soon(self._drain)
        return True

    async def emptied(self) -> None:
        """Returns once nothing waits any more, or the client is lost."""
        await self._emptied.wait()

    async def _drain(self) -> None:
        try:
            while self._outbox:
                with trio.fail_after(self._stall):
                    await trio.lowlevel.wait_writable(self._socket)
                with suppress(BlockingIOError, InterruptedError):
                    sent = self._socket.send(bytes(self._outbox[:_AT_ONCE]))
                    del self._outbox[:sent]
                    self._under_way = max(0, self._under_way - sent)
        except trio.TooSlowError:
            self.lose("slow")
        except (OSError, trio.ClosedResourceError):
            self.lose("gone")
        finally:
            # Also where the server is cancelled: whoever waits for room must not wait for ever.
            self._emptied.set()

    def lose(self, why: Loss) -> None:
        """Nothing more goes to the client, and nothing more is read of it."""
        if self.lost is not None:
            return
        self.lost = why
        self._outbox.clear()
        self._emptied.set()
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        # Behind a pipelined request nobody reads, so nobody else would notice.
        self.on_loss(why)

    # --- the stream that hypercorn sees -----------------------------------------------------------------------------

    @property
    def socket(self) -> trio.socket.SocketType:
        """The socket, for its addresses."""
        return self._stream.socket

    async def send_all(self, data: bytes) -> None:
        """Sends data and waits until the system has all of it.

        Raises:
            trio.BrokenResourceError: the client is lost.
        """
        self.write(bytes(data), None)
        if self._emptied.is_set():
            await trio.lowlevel.checkpoint()
        else:
            await self._emptied.wait()
        if self.lost is not None or self._outbox:
            raise trio.BrokenResourceError("the client is lost")

    async def receive_some(self, most: int) -> bytes:
        """What the client sent, up to so many bytes; b"": it sends no more.

        Raises:
            trio.BrokenResourceError, trio.ClosedResourceError: it is gone, or the wire closed.
        """
        data = bytes(await self._stream.receive_some(most))
        self.heard = trio.current_time()
        return data

    async def send_eof(self) -> None:
        """Nothing more is sent; the client may still send."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        """Closes the socket."""
        if self.lost is None:
            self.lost = "gone"
        self._outbox.clear()
        self._emptied.set()
        await self._stream.aclose()


def _notice_vanished_peers(connected: socket.socket, stall: float) -> None:
    """A peer whose machine or network is gone sends no sign of it: the system asks, and gives up in bounded time."""
    with suppress(OSError):
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if hasattr(socket, "TCP_KEEPIDLE"):
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEPALIVE_IDLE)
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _KEEPALIVE_EVERY)
        if hasattr(socket, "TCP_USER_TIMEOUT") and stall < math.inf:
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(stall * VANISHED * 1000))
