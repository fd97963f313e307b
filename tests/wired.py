"""A small application on the project's server, and raw clients that speak to it byte by byte."""

from __future__ import annotations

import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import trio
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket
from wsproto.frame_protocol import FrameProtocol

from innkeeper.plugins.settings import ServerSettings
from innkeeper.server.serving import listening
from innkeeper.server.wire.bounds import GRACE, LOOPBACK, Bounds
from innkeeper.server.wire.events import EventStream
from innkeeper.server.wire.outlets import Outlet, Watchers
from innkeeper.server.wire.server import Server
from innkeeper.server.wire.sockets import messages_to

HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
STREAM = b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n"
PING = b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n"


@dataclass
class Shown:
    """The application, and what can be seen of it.

    Attributes:
        watchers: of `/events` and `/ws`.
        outlets: each that was opened, in turn.
        losses: of each that was closed.
        got: messages that WebSockets sent, and lengths of bodies.
        ended: requests of `/hang` that were told that their client is gone.
        go: until it is set, `/later` and `/slow` do not answer, and `/stuck` does not read.
    """

    watchers: Watchers = field(default_factory=Watchers)
    outlets: list[Outlet] = field(default_factory=list)
    losses: list[str | None] = field(default_factory=list)
    got: list[Any] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    go: trio.Event = field(default_factory=trio.Event)

    def app(self) -> Starlette:
        """The application."""
        return Starlette(
            routes=[
                Route("/events", self._events, methods=["GET", "POST"]),
                WebSocketRoute("/ws", self._messages),
                WebSocketRoute("/late", self._late),
                WebSocketRoute("/deaf", self._deaf),
                WebSocketRoute("/stuck", self._stuck),
                Route("/later", self._later),
                Route("/slow", self._slow),
                Route("/ping", self._ping),
                Route("/echo", self._echo, methods=["POST"]),
                Route("/ignore", self._ignore, methods=["POST"]),
                Route("/hang", self._hang),
                Route("/large", self._large),
                Route("/fails", self._fails),
            ]
        )

    async def opened(self, count: int) -> None:
        """Returns once so many streams watch."""
        await until(lambda: len(self.watchers) >= count)

    async def _feed(self, outlet: Outlet) -> None:
        self.outlets.append(outlet)
        self.watchers.add(outlet)
        try:
            await trio.sleep_forever()
        finally:
            self.watchers.discard(outlet)
            self.losses.append(outlet.loss)

    async def _events(self, request: Request) -> Response:
        return EventStream(self._feed)

    async def _later(self, request: Request) -> Response:
        self.got.append("later")
        await self.go.wait()
        return EventStream(self._feed)

    async def _slow(self, request: Request) -> Response:
        self.got.append("slow")
        await self.go.wait()
        return PlainTextResponse("at last")

    async def _messages(self, websocket: WebSocket) -> None:
        await websocket.accept()
        async with messages_to(websocket) as outlet:
            self.outlets.append(outlet)
            self.watchers.add(outlet)
            try:
                while (message := await websocket.receive())["type"] == "websocket.receive":
                    self.got.append(message["text"] or message["bytes"])
            finally:
                self.watchers.discard(outlet)
        self.losses.append(outlet.loss)

    async def _late(self, websocket: WebSocket) -> None:
        await websocket.receive()
        self.got.append("late")
        # Told that the client is gone, without an accept.
        self.got.append((await websocket.receive())["type"])

    async def _deaf(self, websocket: WebSocket) -> None:
        await websocket.accept()
        await trio.sleep_forever()

    async def _stuck(self, websocket: WebSocket) -> None:
        await websocket.accept()
        await self.go.wait()
        while (message := await websocket.receive())["type"] == "websocket.receive":
            pass
        self.got.append(message["type"])

    async def _ping(self, request: Request) -> Response:
        return PlainTextResponse("pong")

    async def _echo(self, request: Request) -> Response:
        try:
            body = await request.body()
        except ClientDisconnect:
            self.ended.append("echo")
            raise
        self.got.append(len(body))
        return JSONResponse({"length": len(body)})

    async def _ignore(self, request: Request) -> Response:
        return PlainTextResponse("not read")

    async def _hang(self, request: Request) -> Response:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        self.ended.append("hang")
        return PlainTextResponse("")

    async def _large(self, request: Request) -> Response:
        return PlainTextResponse("x" * (16 << 20))

    async def _fails(self, request: Request) -> Response:
        raise ValueError("on purpose")


@dataclass
class Wired:
    """A server that runs.

    Attributes:
        port: of loopback.
        shown: its application.
        server: itself.
        stop: ends it.
    """

    port: int
    shown: Shown
    server: Server
    stop: trio.Event

    async def connect(self, sent: bytes = b"", *, receive_buffer: int | None = None) -> Client:
        """A client that has sent something."""
        raw = socket.socket()
        if receive_buffer is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        raw.setblocking(False)
        connected = trio.socket.from_stdlib_socket(raw)
        await connected.connect(("127.0.0.1", self.port))
        client = Client(trio.SocketStream(connected))
        await client.send(sent)
        return client

    async def ask(self, sent: bytes) -> bytes:
        """All that the server answers to something until it closes."""
        client = await self.connect(sent)
        return await client.rest()

    async def lives(self) -> None:
        """The server answers others."""
        client = await self.connect(PING)
        assert b"pong" in await client.until(b"pong")
        await client.close()

    async def alone(self) -> None:
        """Nothing is left of earlier connections."""
        await until(lambda: self.server.streams.connections == 0)


class Client:
    """One end of a connection."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.had = b""

    async def send(self, data: bytes) -> None:
        """Sends; that either side has closed is no error."""
        try:
            if data:
                await self.stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass

    async def until(self, mark: bytes, count: int = 1) -> bytes:
        """Reads until something was answered so many times; gives all up to its end, and keeps the rest."""
        while self.had.count(mark) < count:
            data = await self.stream.receive_some(65536)
            assert data, f"the server closed after {self.had!r}"
            self.had += data
        end = 0
        for _ in range(count):
            end = self.had.index(mark, end) + len(mark)
        found, self.had = self.had[:end], self.had[end:]
        return found

    async def rest(self) -> bytes:
        """Reads until the server closes."""
        try:
            while data := await self.stream.receive_some(65536):
                self.had += data
        except trio.BrokenResourceError:
            pass
        await self.close()
        return self.had

    async def close(self) -> None:
        """Closes."""
        await self.stream.aclose()


@asynccontextmanager
async def wired(
    app: Any = None, *, exempt: tuple[str, ...] = LOOPBACK, grace: float = GRACE, seconds: float = 60, **settings: Any
) -> AsyncIterator[Wired]:
    """Serves an application, by default that of `Shown`, for the time of the block."""
    shown = Shown()
    server = Server(app or shown.app(), Bounds(ServerSettings(**settings), exempt, grace))
    stop = trio.Event()
    with trio.fail_after(seconds):
        async with trio.open_nursery() as nursery:
            sockets = listening("127.0.0.1", 0)
            port = sockets[0].getsockname()[1]
            nursery.start_soon(server.serve, sockets, stop)
            yield Wired(port, shown, server, stop)
            stop.set()


async def until(condition: Any) -> None:
    """Returns once a condition holds; the test's own time limit is the bound."""
    while not condition():  # noqa: ASYNC110 - what is waited for has no event
        await trio.sleep(0.005)


def frames(data: bytes) -> list[tuple[str, Any]]:
    """The frames in what a server sent, as (name of the opcode, payload)."""
    reader = FrameProtocol(True, [])
    reader.receive_bytes(data)
    return [(each.opcode.name, each.payload) for each in reader.received_frames()]


def text(message: str) -> bytes:
    """A client's frame."""
    return bytes(FrameProtocol(True, []).send_data(message, fin=True))


def unchunked(body: bytes) -> tuple[bytes, bool]:
    """What chunks hold, and whether the last one has come."""
    found = b""
    while match := re.match(rb"([0-9a-f]+)\r\n", body):
        size = int(match[1], 16)
        part = body[match.end() : match.end() + size]
        assert body[match.end() + size :][:2] == b"\r\n"
        if not size:
            assert body[match.end() + 2 :] == b"", "something follows the last chunk"
            return found, True
        found += part
        body = body[match.end() + size + 2 :]
    assert body == b""
    return found, False
