"""What guards answer before any route has seen a request, and what they read of one."""

from __future__ import annotations

from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import Message, Receive, Scope, Send

from innkeeper.server.answers import answer


async def refuse(
    scope: Scope, receive: Receive, send: Send, status: int, error: str, headers: dict[str, str] | None = None
) -> None:
    """Ends a request, or a WebSocket that was not accepted yet, with an error as every route gives it.

    Args:
        status: of HTTP.
        error: the sentence.
        headers: further headers.
    """
    if scope["type"] == "websocket" and "websocket.http.response" not in scope.get("extensions", {}):
        # The server makes a bare 403 of it.
        await receive()
        await send({"type": "websocket.close", "code": 1008, "reason": ""})
        return
    await answer(status, error, headers=headers)(scope, receive, send)


def single(headers: Headers, name: str) -> str | None:
    """The value of a header that must not come twice.

    Returns:
        str | None: its value; None: it is not there.

    Raises:
        ValueError: it came more than once: whoever checks one of them must not leave another to be read.
    """
    found = headers.getlist(name)
    if len(found) > 1:
        raise ValueError(f"the header {name} came more than once")
    return found[0] if found else None


def headers_of(message: Message) -> MutableHeaders:
    """The headers of the beginning of an answer, to be changed; an application may leave them out, or give any
    sequence."""
    message["headers"] = list(message.get("headers", ()))
    return MutableHeaders(raw=message["headers"])


def peer_of(scope: Scope) -> str:
    """The address that a connection comes from (str), "" where there is none, as on a Unix socket."""
    client: Any = scope.get("client")
    return str(client[0]) if client else ""
