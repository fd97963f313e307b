"""One connection: hypercorn's server of it, on a wire."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import Any, Final

import trio
from hypercorn.config import Config
from hypercorn.events import Closed, RawData
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import AppWrapper, ConnectionState, LifespanState
from hypercorn.utils import parse_socket_addr
from wsproto.frame_protocol import CloseReason

from innkeeper.server.wire.bounds import BODY_RATE, BODY_READ, HEAD_READ, LINGER, Bounds
from innkeeper.server.wire.direct import Streams, Way
from innkeeper.server.wire.frames import PING
from innkeeper.server.wire.http import HttpProtocol
from innkeeper.server.wire.inbox import Tasks
from innkeeper.server.wire.outlets import Loss, Outlet
from innkeeper.server.wire.passage import EXTENSION
from innkeeper.server.wire.refusals import Refusal
from innkeeper.server.wire.wire import Wire

logger = logging.getLogger("innkeeper.server")

_SLOW: Final = Refusal(408, "the body came too slowly")


class Connection(TCPServer):
    """One connection of plain TCP, from its first byte to its last. Whatever goes wrong with it ends it alone."""

    protocol: HttpProtocol  # type: ignore[assignment]

    def __init__(
        self,
        app: AppWrapper,
        config: Config,
        context: WorkerContext,
        state: LifespanState,
        wire: Wire,
        bounds: Bounds,
        streams: Streams,
    ) -> None:
        """Args:
        app, config, context, state: as of `TCPServer`.
        wire: below it.
        bounds: what the client may do.
        streams: count what is open.
        """
        super().__init__(app, config, context, state, wire)  # type: ignore[arg-type]
        self.wire = wire
        self._bounds = bounds
        self._streams = streams
        self._outlet: Outlet | None = None
        self._reading = trio.CancelScope()
        self._waiting = trio.CancelScope()
        self._closing = False
        self._stopping = False
        # Seconds for which a client may still keep the server waiting for a body.
        self._most_patience = bounds.settings.body_timeout or math.inf
        self._patience = self._most_patience
        wire.on_loss = self._lost

    async def run(self) -> None:
        """Serves it."""
        try:
            await self._serve()
        except* OSError:
            pass
        except* Exception as failure:
            # One short line without anything of the client's: what it can cause it can cause a thousand times a second.
            logger.warning("a connection ended with %s", ", ".join(type(each).__name__ for each in failure.exceptions))
            logger.debug("a connection ended", exc_info=failure)
        finally:
            with trio.CancelScope(shield=True):
                await self.wire.aclose()

    async def _serve(self) -> None:
        socket = self.wire.socket
        client = parse_socket_addr(socket.family, socket.getpeername())
        server = parse_socket_addr(socket.family, socket.getsockname())
        async with Tasks(self._extension) as tasks:
            self._task_group = tasks
            self.protocol = HttpProtocol(
                self.app,
                self.config,
                self.context,
                tasks,
                ConnectionState(self.state),
                False,
                client,
                server,
                self.protocol_send,
                wire=self.wire,
                bounds=self._bounds,
            )
            self.protocol.on_resume = self._wake
            await self.idle_task.restart(tasks, self._idle_timeout)
            await self._read_data()
            # Else it would hold the connection for its whole time after the client has left.
            await self.idle_task.stop()

    # --- reading ----------------------------------------------------------------------------------------------------

    async def _read_data(self) -> None:
        with self._reading:
            while True:
                if self.protocol.resumed:
                    await self.protocol.go_on()
                    continue
                with trio.CancelScope() as self._waiting:
                    data = await self._receive()
                if self._waiting.cancelled_caught:
                    continue
                if data is None:
                    break
                if not self._closing:
                    await self.protocol.handle(RawData(data))
                # Else nothing of it is for anybody; the reading ends with its deadline.
                if not data:
                    break
        self.protocol.end()
        await self.protocol.handle(Closed())

    async def _receive(self) -> bytes | None:
        try:
            if self._closing or not self.protocol.body_expected:
                self._patience = self._most_patience
                if self.protocol.full and not self._closing:
                    await trio.sleep_forever()
                return await self.wire.receive_some(HEAD_READ)
            # Only waiting counts: an application that takes a body slowly is no client that sends it slowly.
            began = trio.current_time()
            with trio.move_on_after(self._patience):
                data = await self.wire.receive_some(BODY_READ)
                left = self._patience - (trio.current_time() - began) + len(data) / BODY_RATE
                self._patience = min(max(left, 0.0), self._most_patience)
                return data
            await self.protocol.refuse(_SLOW)
            return await self.wire.receive_some(HEAD_READ)
        except (trio.ClosedResourceError, trio.BrokenResourceError):
            return None

    def _wake(self) -> None:
        self._waiting.cancel()

    async def _close(self) -> None:
        """The client gets nothing more; what it still sends is read and thrown away for a moment."""
        if not self._closing:
            self._closing = True
            await self.wire.send_eof()
            # A reader that waits for room goes on, and finds the end.
            self._wake()
            self._reading.deadline = min(self._reading.deadline, trio.current_time() + LINGER)

    # --- past the server --------------------------------------------------------------------------------------------

    def _extension(self) -> dict[str, Any]:
        return {EXTENSION: _RequestPassage(self, self.protocol.requests)}

    def watch(self, outlet: Outlet, way: Way) -> None:
        """An outlet of the request under way is open."""
        self._outlet = outlet
        self._streams.opened[way] += 1
        if self._stopping:
            outlet.lose("stopping")

    def unwatch(self, outlet: Outlet, way: Way) -> None:
        """It is closed."""
        self._streams.opened[way] -= 1
        if outlet.loss is not None:
            self._streams.lost[outlet.loss] += 1
        if self._outlet is outlet:
            self._outlet = None

    def _lost(self, why: Loss) -> None:
        if self._outlet is not None:
            self._outlet.lose(why)

    # --- from the server --------------------------------------------------------------------------------------------

    def pulse(self, now: float) -> None:
        """Asks a WebSocket's client for a sign of life, and loses one that gave none.

        Args:
            now: trio's clock.
        """
        protocol: HttpProtocol | None = getattr(self, "protocol", None)
        if protocol is None or protocol.socket is None or not protocol.socket.accepted:
            return
        settings = self._bounds.settings
        if now - self.wire.heard > settings.ping_interval + settings.ping_timeout:
            self.wire.lose("gone")
        else:
            self.wire.write(PING, settings.outbox)

    async def drain(self) -> None:
        """The server stops: a stream ends with its last chunk, a WebSocket with 1001, other requests go on."""
        self._stopping = True
        if self._outlet is not None:
            self._outlet.lose("stopping")
        protocol: HttpProtocol | None = getattr(self, "protocol", None)
        if protocol is not None and protocol.socket is not None:
            await protocol.socket.end(CloseReason.GOING_AWAY)


class _RequestPassage:
    """The way past the server, of one request of a connection."""

    def __init__(self, connection: Connection, number: int) -> None:
        self._connection = connection
        self._number = number
        self._way: Way = "messages"

    def events(self, opening: bytes, on_loss: Callable[[], object]) -> Outlet | None:
        """As `Passage.events`."""
        self._way = "events"
        return self._connection.protocol.outlet(self._number, opening, on_loss)

    def messages(self, on_loss: Callable[[], object]) -> Outlet | None:
        """As `Passage.messages`."""
        return self._connection.protocol.messages(self._number, on_loss)

    def watch(self, outlet: Outlet) -> None:
        """As `Passage.watch`."""
        self._connection.watch(outlet, self._way)

    def unwatch(self, outlet: Outlet) -> None:
        """As `Passage.unwatch`."""
        self._connection.unwatch(outlet, self._way)
