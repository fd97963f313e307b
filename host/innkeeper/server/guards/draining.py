"""A server that is stopping begins nothing new, and goes on telling what becomes of what it began."""

from __future__ import annotations

from typing import Final

import trio
from starlette.types import ASGIApp, Receive, Scope, Send

from innkeeper.server.guards.answering import refuse

_READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})

_AGAIN: Final = {"retry-after": "5"}
"""Soon: another server, or this one after its start, takes it."""


class DrainGuard:
    """Refuses with 503, once the server is stopping, what may change or begin something; reading goes on to the end, so
    that whoever waits for a run learns what became of it."""

    def __init__(self, app: ASGIApp, stopping: trio.Event) -> None:
        self._app = app
        self._stopping = stopping

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._stopping.is_set() and (
            scope["type"] == "websocket" or (scope["type"] == "http" and scope["method"] not in _READING)
        ):
            await refuse(scope, receive, send, 503, "the server is stopping: try again soon", _AGAIN)
            return
        await self._app(scope, receive, send)
