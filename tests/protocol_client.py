"""A client that speaks ComfyTavern's protocol: a WebSocket on a socket, and JSON. It knows nothing of the server.

What it knows is how editors behave: frames `{"type", "payload"}`, the names of types, and that every message of a run
has its promptId.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import trio
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Message,
    Ping,
    RejectConnection,
    RejectData,
    Request,
    TextMessage,
)

FINAL = ("complete", "error", "interrupted")


class RefusedError(Exception):
    """The handshake was refused: status and body."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(f"{status}: {body!r}")
        self.status = status
        self.body = body


class ClosedError(Exception):
    """The server closed: the code, or None where the connection just ended."""

    def __init__(self, code: int | None) -> None:
        super().__init__(f"closed with {code}")
        self.code = code


class Client:
    """A socket that is open.

    Attributes:
        seen: all messages so far.
    """

    def __init__(self, stream: trio.SocketStream, connection: WSConnection) -> None:
        self.seen: list[dict[str, Any]] = []
        self._stream = stream
        self._connection = connection
        self._text: list[str] = []
        self._came: list[dict[str, Any]] = []
        self._closed: ClosedError | None = None

    async def send(self, type: str, payload: Any = None) -> None:
        """Sends a message."""
        await self.send_text(json.dumps({"type": type, "payload": payload}))

    async def send_text(self, text: str | bytes) -> None:
        """Sends a frame, whatever is in it."""
        event = TextMessage(data=text) if isinstance(text, str) else BytesMessage(data=text)
        await self._stream.send_all(self._connection.send(event))

    async def receive(self) -> dict[str, Any]:
        """The next message.

        Raises:
            ClosedError: the server closed.
        """
        while not self._came:
            if self._closed is not None:
                raise self._closed
            try:
                self._take(await self._stream.receive_some(65536))
            except trio.BrokenResourceError:
                self._take(b"")
            for event in self._connection.events():
                await self._event(event)
        self.seen.append(self._came.pop(0))
        return self.seen[-1]

    def _take(self, data: bytes) -> None:
        if data:
            self._connection.receive_data(data)
        else:
            self._closed = ClosedError(None)

    async def _event(self, event: Any) -> None:
        if isinstance(event, Message):
            self._text.append(event.data)
            if event.message_finished:
                self._came.append(json.loads("".join(self._text)))
                self._text.clear()
        elif isinstance(event, Ping):
            await self._stream.send_all(self._connection.send(event.response()))
        elif isinstance(event, CloseConnection):
            self._closed = ClosedError(event.code)

    async def until(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The next message that is wanted; the others are only seen."""
        while True:
            message = await self.receive()
            if wanted(message):
                return message

    async def of(self, type: str) -> dict[str, Any]:
        """The next message of a type."""
        return await self.until(lambda message: message["type"] == type)

    async def submit(self, workflow: dict[str, Any]) -> str:
        """Submits a workflow; its promptId."""
        await self.send("PROMPT_REQUEST", workflow)
        found: str = (await self.of("PROMPT_ACCEPTED_RESPONSE"))["payload"]["promptId"]
        return found

    async def ended(self, prompt: str) -> str:
        """How a prompt ended, once it has."""
        found: str = (await self.until(lambda message: is_final(message, prompt)))["payload"]["status"]
        return found

    def about(self, prompt: str) -> list[dict[str, Any]]:
        """What was seen of a prompt."""
        return [each for each in self.seen if isinstance(each["payload"], dict) and of_prompt(each) == prompt]

    async def vanish(self) -> None:
        """Goes without a word."""
        await trio.aclose_forcefully(self._stream)

    async def close(self) -> None:
        """Says goodbye."""
        await self._stream.send_all(self._connection.send(CloseConnection(1000)))


def of_prompt(message: dict[str, Any]) -> str | None:
    """The promptId of a message."""
    found: str | None = message["payload"].get("promptId")
    return found


def is_final(message: dict[str, Any], prompt: str) -> bool:
    """Whether a message says how a prompt ended."""
    payload = message["payload"]
    return message["type"] == "EXECUTION_STATUS_UPDATE" and payload["promptId"] == prompt and payload["status"] in FINAL


@asynccontextmanager
async def connected(
    url: str, path: str = "/ws", headers: dict[str, str] | None = None, *, room: int | None = None
) -> AsyncIterator[Client]:
    """A client of the server at a URL.

    Args:
        url: the server's.
        path: of the WebSocket.
        headers: further ones of the handshake.
        room: bytes that the system keeps for a client that reads nothing; None: many.

    Raises:
        RefusedError: the handshake was refused.
    """
    where = urlsplit(url)
    assert where.hostname is not None
    socket = trio.socket.socket()
    if room is not None:
        # Before it connects: what is offered then is never taken back.
        socket.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, room)
    await socket.connect((where.hostname, where.port or 80))
    stream = trio.SocketStream(socket)
    try:
        yield await _handshake(stream, where.netloc, path, headers or {})
    finally:
        await trio.aclose_forcefully(stream)


async def _handshake(stream: trio.SocketStream, host: str, path: str, headers: dict[str, str]) -> Client:
    connection = WSConnection(ConnectionType.CLIENT)
    extra = [(key.encode(), value.encode()) for key, value in headers.items()]
    await stream.send_all(connection.send(Request(host=host, target=path, extra_headers=extra)))
    refused: RejectConnection | None = None
    body = b""
    while True:
        data = await stream.receive_some(65536)
        connection.receive_data(data or None)
        for event in connection.events():
            if isinstance(event, AcceptConnection):
                return Client(stream, connection)
            if isinstance(event, RejectConnection):
                refused = event
                if not event.has_body:
                    raise RefusedError(event.status_code, b"")
            if isinstance(event, RejectData):
                body += event.data
                if event.body_finished and refused is not None:
                    raise RefusedError(refused.status_code, body)
        if not data:
            raise RefusedError(0 if refused is None else refused.status_code, body)
