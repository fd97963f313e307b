"""What is noted of each request: an id, how it was answered, how long it took."""

from __future__ import annotations

import logging
import re
import secrets
from typing import Final

import trio
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from innkeeper.server.guards.answering import headers_of, peer_of
from innkeeper.server.telemetry.counts import Counts, Stream
from innkeeper.server.telemetry.present import Present, present

logger = logging.getLogger("innkeeper.access")

_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_MOST_PATH: Final = 300

QUIET: Final = frozenset({"/healthz", "/readyz", "/metrics"})
"""Paths that something asks for all the time: logged as "debug"."""

UNMATCHED: Final = "unmatched"

STREAMS: Final = "innkeeper.streams"
"""Where a request's scope has the `StreamCounts`: whoever writes messages past the application counts them there."""


def route_of(scope: Scope) -> str:
    """The template of the path of the route that a request came to (str), such as "/api/prompt/{promptId}"; "unmatched"
    where there was none."""
    path = getattr(scope.get("route"), "path", None)
    return path if isinstance(path, str) else UNMATCHED


class Watch:
    """Notes each request. It stands before all else, so that nothing is answered unseen."""

    def __init__(self, app: ASGIApp, counts: Counts) -> None:
        self._app = app
        self._counts = counts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        asked = _Asked(scope, receive, send, self._counts)
        scope[STREAMS] = self._counts.streams
        token = present.set(asked.present)
        try:
            await self._app(scope, asked.receive, asked.send)
        finally:
            asked.end()
            present.reset(token)


class _Asked:
    """One request."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, counts: Counts) -> None:
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        # A proxy in front may have given it one, by which its own log names it.
        self.present = Present(given if _ID.fullmatch(given) else secrets.token_hex(8))
        self._scope = scope
        self._receive = receive
        self._send = send
        self._unread = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
        self._counts = counts
        self._begun = trio.current_time()
        self._headed: float | None = None
        self._status = 0
        self._sent = 0
        self._stream: Stream | None = None

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request" and not message.get("more_body", False):
            self._unread = False
        return message

    async def send(self, message: Message) -> None:
        kind = message["type"]
        if kind in ("http.response.start", "websocket.http.response.start", "websocket.accept"):
            headers = headers_of(message)
            headers["x-request-id"] = self.present.request
            if self._unread and self._scope.get("http_version", "1.1") in ("1.0", "1.1"):
                # The server reads no body that nobody wants: it closes the connection, and a client that was not told
                # would lose its next request.
                headers["connection"] = "close"
            self._status = message.get("status", 101)
            self._headed = trio.current_time() - self._begun
            if kind == "websocket.accept":
                self._streams("websocket")
            elif headers.get("content-type", "").startswith("text/event-stream"):
                self._streams("sse")
        elif kind == "http.response.body":
            self._sent += len(message.get("body", b""))
            if self._stream is not None and message.get("body"):
                self._counts.streams.sent[self._stream] += 1
        elif kind == "websocket.send":
            self._counts.streams.sent["websocket"] += 1
        elif kind == "websocket.close" and not self._status:
            self._status = 403
        await self._send(message)

    def end(self) -> None:
        """It is over, however that came."""
        scope, counts = self._scope, self._counts
        seconds = trio.current_time() - self._begun
        # Without a status its client went away before there was an answer, as proxies write it.
        status = self._status or 499
        method = scope.get("method", "GET")
        if self._stream is not None:
            counts.streams.end(self._stream)
        shown = method if method in _METHODS else "other"
        streamed = self._stream is not None and self._headed is not None
        counts.request(shown, route_of(scope), status, self._headed or 0.0 if streamed else seconds)
        path = scope["path"]
        level = logging.DEBUG if path in QUIET else logging.INFO
        if not logger.isEnabledFor(level):
            return
        about = {
            "method": shown,
            # Without the query, in which tickets are.
            "path": path[:_MOST_PATH],
            "status": status,
            "seconds": round(seconds, 6),
            "bytes": self._sent,
            "client": peer_of(scope),
        }
        logger.log(level, "%s %s %d", shown, about["path"], status, extra=about)

    def _streams(self, kind: Stream) -> None:
        self._stream = kind
        self._counts.streams.begin(kind)
