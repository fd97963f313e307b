"""Messages to a WebSocket that was accepted, past the application and the server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
from starlette.websockets import WebSocket

from innkeeper.server.wire.outlets import OUTBOX_BYTES, Outlet, QueuedOutlet
from innkeeper.server.wire.passage import count_in, passage_of


@asynccontextmanager
async def messages_to(websocket: WebSocket, bound: int = OUTBOX_BYTES) -> AsyncIterator[Outlet]:
    """An outlet for the text messages of a WebSocket, for the time of the block.

    The block reads what the client sends (`websocket.receive()`), and is cancelled as the client is lost or the server
    stops; what follows it runs on, and `outlet.loss` says why. A client that leaves is found by reading alone. In the
    block nothing is sent with `websocket.send_text`: it may overtake what waits in the outlet.

    Args:
        websocket: accepted.
        bound: bytes that may wait for the client where they wait in this process's own queue.
    """

    async def put(data: bytes) -> None:
        await websocket.send_text(data.decode())

    passage = passage_of(websocket.scope)
    with trio.CancelScope() as open_scope:
        queued = QueuedOutlet(open_scope.cancel, put, bound)
        past = passage.messages(open_scope.cancel) if passage is not None else None
        outlet: Outlet = queued if past is None else past
        count_in(websocket.scope, "websocket", outlet)
        if passage is not None:
            passage.watch(outlet)
        try:
            async with trio.open_nursery() as tasks:
                if past is None:
                    tasks.start_soon(queued.pump)
                yield outlet
                tasks.cancel_scope.cancel()
        finally:
            if passage is not None:
                passage.unwatch(outlet)
