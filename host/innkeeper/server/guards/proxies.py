"""Where a request comes from behind a reverse proxy: what the proxy says counts, and nobody else's word does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from innkeeper.plugins.web_names import Network, address_of, within
from innkeeper.server.guards.answering import peer_of

_MOST_HOPS: Final = 20

_MARKS: Final = ("x-forwarded-for", "forwarded", "x-real-ip", "via")


class Forwarded:
    """Puts the client that a proxy names in place of the proxy, where the operator named that proxy."""

    def __init__(self, app: ASGIApp, proxies: Sequence[Network]) -> None:
        self._app = app
        self._proxies = proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket") and self._proxies and within(peer_of(scope), self._proxies):
            headers = Headers(scope=scope)
            client = self._client(headers.getlist("x-forwarded-for"))
            if client is not None:
                scope["client"] = (client, 0)
            if headers.get("x-forwarded-proto") in ("http", "https"):
                secure = headers["x-forwarded-proto"] == "https"
                scheme = "http" if scope["type"] == "http" else "ws"
                scope["scheme"] = scheme + ("s" if secure else "")
        await self._app(scope, receive, send)

    def _client(self, said: Sequence[str]) -> str | None:
        """The last address that no proxy of the operator's has: what stands before it is that client's own word."""
        hops = [hop.strip() for hop in ",".join(said)[-2000:].split(",")][-_MOST_HOPS:]
        for hop in reversed(hops):
            found = address_of(hop)
            if found is None:
                return None
            if not within(hop, self._proxies):
                return str(found)
        return None


def is_forwarded(scope: Scope) -> bool:
    """Whether a request says that it came through a proxy (bool): its peer's address then says nothing of who asks."""
    headers = Headers(scope=scope)
    return any(mark in headers for mark in _MARKS)
