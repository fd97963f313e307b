"""What a request's scope says of the wire below it: whether messages may be written past the server, and where to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, Final, Literal, Protocol

from starlette.types import Scope

from innkeeper.server.wire.outlets import Outlet

EXTENSION: Final = "innkeeper.wire"
"""The key under `scope["extensions"]` of a request's `Passage`. Another server's requests have none."""


COUNTS: Final = "innkeeper.streams"
"""The key in a request's scope of the `MessageCounts` of whoever counts what is sent, if anybody does."""

Kind = Literal["sse", "websocket"]


class MessageCounts(Protocol):
    """Messages of streams, by kind of stream.

    Attributes:
        sent: those that were written past the server; whoever counts sees the others by itself.
        dropped: those that were not sent, since their client did not read.
    """

    sent: Counter[Kind]
    dropped: Counter[Kind]


def count_in(scope: Scope, kind: Kind, outlet: Outlet) -> None:
    """Has an outlet count what it is given, where the request's scope says where."""
    counts: MessageCounts | None = scope.get(COUNTS)
    if counts is not None:

        def count(sent: bool) -> None:
            (counts.sent if sent else counts.dropped)[kind] += 1

        outlet.count = count


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
