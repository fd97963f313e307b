"""Server-sent events as a response: its head goes through the application and the server, its events past them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import trio
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from innkeeper.server.wire.outlets import OUTBOX_BYTES, Outlet, QueuedOutlet
from innkeeper.server.wire.passage import count_in, passage_of

Feed = Callable[[Outlet], Awaitable[None]]
"""Writes the events of one stream; the stream ends as it returns, and it is cancelled as the client is lost."""

HEADERS = {
    # No proxy keeps it or waits for more of it, and none changes it.
    "cache-control": "no-store, no-transform",
    "x-accel-buffering": "no",
}


class EventStream(Response):
    """A stream of server-sent events."""

    media_type = "text/event-stream"

    def __init__(
        self,
        feed: Feed,
        *,
        opening: bytes = b": open\n\n",
        headers: Mapping[str, str] | None = None,
        bound: int = OUTBOX_BYTES,
    ) -> None:
        """Args:
        feed: writes the events.
        opening: the stream's first text, such as `b"retry: 3000\\n\\n"`; not empty.
        headers: further ones of the response.
        bound: bytes that may wait for the client where they wait in this process's own queue.
        """
        super().__init__(headers={**HEADERS, **(headers or {})})
        # An open body has no length.
        self.raw_headers = [each for each in self.raw_headers if each[0] != b"content-length"]
        self._feed = feed
        self._opening = opening
        self._bound = bound

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        if scope["method"] == "HEAD":
            await send({"type": "http.response.body", "body": b""})
            return

        async def put(data: bytes) -> None:
            await send({"type": "http.response.body", "body": data, "more_body": True})

        await put(self._opening)
        passage = passage_of(scope)
        with trio.CancelScope() as streaming:
            queued = QueuedOutlet(streaming.cancel, put, self._bound)
            past = passage.events(self._opening, streaming.cancel) if passage is not None else None
            outlet: Outlet = queued if past is None else past
            count_in(scope, "sse", outlet)
            if passage is not None:
                passage.watch(outlet)
            try:
                async with trio.open_nursery() as tasks:
                    if past is None:
                        tasks.start_soon(queued.pump)
                    tasks.start_soon(_left, receive, outlet)
                    await self._feed(outlet)
                    await outlet.emptied()
                    tasks.cancel_scope.cancel()
            finally:
                if passage is not None:
                    passage.unwatch(outlet)
        if outlet.loss in (None, "stopping"):
            # Not to a client that is lost: the end says that nothing is missing.
            await send({"type": "http.response.body", "body": b""})


async def _left(receive: Receive, outlet: Outlet) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    outlet.lose("gone")
