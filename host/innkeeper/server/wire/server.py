"""Accepts connections, watches over them, and ends them in an orderly way."""

from __future__ import annotations

import errno
import logging
import math
import resource
import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

import trio
from hypercorn.trio.lifespan import Lifespan
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState, LifespanState
from hypercorn.utils import wrap_app

from innkeeper.server.wire.admission import Admission
from innkeeper.server.wire.bounds import Bounds
from innkeeper.server.wire.connection import Connection
from innkeeper.server.wire.direct import Streams
from innkeeper.server.wire.selfcheck import check_hypercorn
from innkeeper.server.wire.wire import Wire

logger = logging.getLogger("innkeeper.server")

_OTHER_FILES: Final = 512
"""Descriptors that the host itself may need beside those of connections: databases, plugins, processes."""

_AT_ONCE: Final = 64
"""Connections that are accepted, and WebSockets that are asked for a sign of life, before others have a turn."""

_FULL: Final = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS)
_PAUSE: Final = 0.1

_BODY: Final = b'{"error": "too many connections"}'
BUSY: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\ncontent-length: %d\r\n"
    b"retry-after: 5\r\nconnection: close\r\n\r\n%b" % (len(_BODY), _BODY)
)


class Server:
    """Serves an application of ASGI on sockets that listen.

    Attributes:
        streams: what is open.
    """

    def __init__(self, app: Any, bounds: Bounds, streams: Streams | None = None) -> None:
        """Args:
        app: of ASGI.
        bounds: what clients may do.
        streams: counts what is open.

        Raises:
            UsageError: hypercorn is another than the server was made for.
        """
        check_hypercorn()
        self.streams = streams or Streams()
        self._bounds = bounds
        self._config = bounds.config()
        self._app = wrap_app(app, self._config.wsgi_max_body_size, "asgi")
        self._context = WorkerContext(None)
        self._connections: set[Connection] = set()
        settings = bounds.settings
        self._admission = Admission(_room(settings.connections), settings.connections_per_address, bounds.exempt)

    async def serve(self, sockets: Sequence[socket.socket], stop: trio.Event) -> None:
        """Serves until `stop` is set, and closes the sockets.

        What is open then ends: idle connections at once, streams with their last chunk, WebSockets with 1001, requests
        under way within five seconds.
        """
        state: LifespanState = {}
        lifespan = Lifespan(self._app, self._config, state)
        try:
            async with trio.open_nursery() as living:
                await living.start(lifespan.handle_lifespan)
                await lifespan.wait_for_startup()
                async with trio.open_nursery() as tasks:
                    async with trio.open_nursery() as accepting:
                        for each in sockets:
                            accepting.start_soon(self._accept, each, tasks, state)
                        accepting.start_soon(self._pulse)
                        await stop.wait()
                        accepting.cancel_scope.cancel()
                    for each in sockets:
                        each.close()
                    await self._context.terminated.set()
                    tasks.cancel_scope.deadline = trio.current_time() + self._bounds.grace
                    for connection in tuple(self._connections):
                        tasks.start_soon(self._drain, connection)
                await lifespan.wait_for_shutdown()
                living.cancel_scope.cancel()
        finally:
            for each in sockets:
                each.close()

    async def _accept(self, listener: socket.socket, tasks: trio.Nursery, state: LifespanState) -> None:
        while True:
            await trio.lowlevel.wait_readable(listener)
            for _ in range(_AT_ONCE):
                try:
                    accepted, address = listener.accept()
                except BlockingIOError:
                    break
                except OSError as error:
                    if error.errno in _FULL:
                        # Those that are open go on, and one that ends makes room.
                        logger.warning("no connection can be accepted: %s", error.strerror)
                        await trio.sleep(_PAUSE)
                        break
                    # It was gone before it was accepted.
                    continue
                self._enter(accepted, str(address[0]), tasks, state)

    def _enter(self, accepted: socket.socket, address: str, tasks: trio.Nursery, state: LifespanState) -> None:
        accepted.setblocking(False)
        key = self._admission.enter(address)
        if key is None:
            self.streams.refused += 1
            with accepted, suppress(OSError):
                accepted.send(BUSY)
            return
        tasks.start_soon(self._handle, accepted, key, tasks, state)

    async def _handle(self, accepted: socket.socket, key: str, tasks: trio.Nursery, state: LifespanState) -> None:
        connection = None
        try:
            wire = Wire(accepted, tasks, self._bounds.settings.stall_timeout or math.inf)
            connection = Connection(
                self._app, self._config, self._context, ConnectionState(state.copy()), wire, self._bounds, self.streams
            )
            self._connections.add(connection)
            self.streams.connections = self._admission.open
            await connection.run()
        except OSError:
            # It was gone before it was served.
            accepted.close()
        finally:
            self._admission.leave(key)
            self.streams.connections = self._admission.open
            if connection is not None:
                self._connections.discard(connection)

    async def _pulse(self) -> None:
        while True:
            await trio.sleep(self._bounds.settings.ping_interval or math.inf)
            now = trio.current_time()
            for number, connection in enumerate(tuple(self._connections)):
                connection.pulse(now)
                if number % _AT_ONCE == _AT_ONCE - 1:
                    await trio.lowlevel.checkpoint()

    async def _drain(self, connection: Connection) -> None:
        with suppress(OSError):
            await connection.drain()


def _room(connections: int) -> int:
    """How many connections this process has descriptors for. The soft limit is raised where that is allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + _OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft_now = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft_now, hard))
            soft = soft_now
        if soft < wanted:
            room = max(soft - _OTHER_FILES, soft // 2)
            logger.warning("this process may open %d files: at most %d connections are served", soft, room)
            return min(connections, room)
    return connections
