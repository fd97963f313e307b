"""Headers that every answer has: what a browser must not do with it."""

from __future__ import annotations

from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from innkeeper.server.guards.answering import headers_of

ALWAYS: Final = {
    "x-content-type-options": "nosniff",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    # To nobody but the server itself. With "no-referrer" browsers would hide the Origin of the server's own forms, by
    # which they are told from others'.
    "referrer-policy": "same-origin",
}

POLICY: Final = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox"
"""Of what brings no policy of its own: what users uploaded is shown as a page of nobody's, without scripts, and without
the server's origin. A route that gives a page of the server's own has a policy of its own."""


class SecurityHeaders:
    """Adds them. An answer that says nothing of caches is kept by none."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = headers_of(message)
                for name, value in ALWAYS.items():
                    headers[name] = value
                if "frame-ancestors" not in headers.setdefault("content-security-policy", POLICY):
                    headers.setdefault("x-frame-options", "DENY")
                if "cache-control" not in headers:
                    headers["cache-control"] = "private, no-cache" if "etag" in headers else "no-store"
            await send(message)

        await self._app(scope, receive, with_headers)
