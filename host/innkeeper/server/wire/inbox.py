"""What a client sent and its application has not taken yet."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Final

import trio
from hypercorn.config import Config
from hypercorn.trio.task_group import TaskGroup
from hypercorn.typing import AppWrapper, ASGIReceiveEvent, ASGISendEvent, Scope

logger = logging.getLogger("innkeeper.server")

WAITING_BYTES: Final = 64 * 1024
"""Bytes of messages that wait for an application before the client is made to wait: four reads of a body."""

_EACH = 512
"""What a message counts for beside its bytes: a client can send millions of empty ones."""


class Inbox:
    """Messages of one request, bounded in bytes: a client that sends faster than its application reads waits.

    That the client is gone never waits, and neither does anything once the application has ended: hypercorn's own queue
    holds a connection for ever whose application answers without reading the body.
    """

    def __init__(self) -> None:
        self._messages: deque[tuple[Any, int]] = deque()
        self._bytes = 0
        self._over = False
        self._readers = trio.lowlevel.ParkingLot()
        self._writers = trio.lowlevel.ParkingLot()

    async def put(self, message: ASGIReceiveEvent) -> None:
        """Gives the application a message."""
        about: dict[str, Any] = dict(message)
        size = _EACH + len(about.get("body") or about.get("bytes") or about.get("text") or b"")
        if message["type"].endswith(".disconnect"):
            self._messages.append((message, 0))
            self.close()
            return
        while self._messages and self._bytes + size > WAITING_BYTES and not self._over:
            await self._writers.park()
        if not self._over:
            self._messages.append((message, size))
            self._bytes += size
            self._readers.unpark()

    async def receive(self) -> ASGIReceiveEvent:
        """The next message; the last one again and again."""
        await trio.lowlevel.checkpoint()
        while not self._messages:
            await self._readers.park()
        message, size = self._messages[0]
        if len(self._messages) > 1 or not self._over:
            self._messages.popleft()
        self._bytes -= size
        self._writers.unpark()
        found: ASGIReceiveEvent = message
        return found

    def close(self) -> None:
        """Nothing more comes, or nobody takes it."""
        self._over = True
        self._readers.unpark_all()
        self._writers.unpark_all()


class Tasks(TaskGroup):
    """The tasks of one connection."""

    def __init__(self, extension: Callable[[], dict[str, Any]]) -> None:
        """Args:
        extension: what is added to the extensions of a request's scope.
        """
        super().__init__()
        self._extension = extension

    async def spawn_app(
        self,
        app: AppWrapper,
        config: Config,
        scope: Scope,
        send: Callable[[ASGISendEvent | None], Awaitable[None]],
    ) -> Callable[[ASGIReceiveEvent], Awaitable[None]]:
        """Starts the application for a request; gives what it is told with."""
        about: Any = scope
        about["extensions"] = {**about.get("extensions", {}), **self._extension()}
        inbox = Inbox()
        self.spawn(_handle, app, scope, inbox, send)
        return inbox.put


async def _handle(
    app: AppWrapper, scope: Scope, inbox: Inbox, send: Callable[[ASGISendEvent | None], Awaitable[None]]
) -> None:
    try:
        await app(scope, inbox.receive, send, trio.to_thread.run_sync, trio.from_thread.run)
    except* Exception as failure:
        # Whoever handles a request's errors has logged what went wrong; this is for what nobody handles.
        logger.warning("a request ended with %s", ", ".join(type(each).__name__ for each in failure.exceptions))
    finally:
        inbox.close()
        await send(None)
