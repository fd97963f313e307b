"""What a request's scope says of the wire below it: whether messages may be written past the server, and where to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

from starlette.types import Scope

from innkeeper.server.wire.outlets import Outlet

EXTENSION: Final = "innkeeper.wire"
"""The key under `scope["extensions"]` of a request's `Passage`. Another server's requests have none."""


class Passage(Protocol):
    """The way past the server, of one request."""

    def events(self, opening: bytes, on_loss: Callable[[], object]) -> Outlet | None:
        """An outlet that writes to the connection itself; None where the answer is not, byte by byte, an open body in
        chunks of which the client has got the opening alone."""

    def messages(self, on_loss: Callable[[], object]) -> Outlet | None:
        """The same of a WebSocket that was accepted."""

    def watch(self, outlet: Outlet) -> None:
        """The server counts an outlet and, when it stops, loses it."""

    def unwatch(self, outlet: Outlet) -> None:
        """It is closed."""


def passage_of(scope: Scope) -> Passage | None:
    """The way past the server that a request has, if any."""
    extensions: dict[str, Any] = scope.get("extensions") or {}
    passage: Passage | None = extensions.get(EXTENSION)
    return passage
