"""The server that is measured, in a process of its own: `python -m tests.load.stream_server wire | plain`.

It prints its port, and gives everybody who watches one message a second, with its number and when it was sent. "wire"
is the project's server. "plain" is hypercorn with the application that one would write for it: a queue for each client.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from innkeeper.plugins.settings import ServerSettings
from innkeeper.server.serving import listening
from innkeeper.server.wire.bounds import Bounds
from innkeeper.server.wire.events import EventStream
from innkeeper.server.wire.frames import event_text
from innkeeper.server.wire.outlets import Outlet, Watchers
from innkeeper.server.wire.server import Server
from innkeeper.server.wire.sockets import messages_to

EVERY = 1.0
PAD = "x" * 100
QUEUE = 64

Serving = Callable[[], Awaitable[None]]


async def ours(port: list[int]) -> tuple[Serving, Callable[[bytes], None]]:
    """The project's server."""
    events, messages = Watchers(), Watchers()

    async def feed(outlet: Outlet) -> None:
        events.add(outlet)
        try:
            await trio.sleep_forever()
        finally:
            events.discard(outlet)

    async def stream(request: Request) -> Response:
        return EventStream(feed)

    async def socket(websocket: WebSocket) -> None:
        await websocket.accept()
        async with messages_to(websocket) as outlet:
            messages.add(outlet)
            try:
                while (await websocket.receive())["type"] != "websocket.disconnect":
                    pass
            finally:
                messages.discard(outlet)

    def send(message: bytes) -> None:
        if events:
            events.write(event_text(message))
        if messages:
            messages.write(message)

    app = Starlette(routes=[Route("/events", stream), WebSocketRoute("/ws", socket)])
    sockets = listening("127.0.0.1", 0)
    port.append(sockets[0].getsockname()[1])
    server = Server(app, Bounds(ServerSettings(connections=8192)))
    return (lambda: server.serve(sockets, trio.Event())), send


async def plain(port: list[int]) -> tuple[Serving, Callable[[bytes], None]]:
    """Hypercorn alone."""
    queues: set[trio.MemorySendChannel[bytes]] = set()

    async def body() -> AsyncIterator[bytes]:
        sender, receiver = trio.open_memory_channel[bytes](QUEUE)
        queues.add(sender)
        try:
            yield b": open\n\n"
            async for message in receiver:
                yield event_text(message)
        finally:
            queues.discard(sender)

    async def stream(request: Request) -> Response:
        return StreamingResponse(body(), media_type="text/event-stream")

    async def socket(websocket: WebSocket) -> None:
        await websocket.accept()
        sender, receiver = trio.open_memory_channel[bytes](QUEUE)
        queues.add(sender)

        async def read() -> None:
            while (await websocket.receive())["type"] != "websocket.disconnect":
                pass
            sender.close()

        try:
            async with trio.open_nursery() as tasks:
                tasks.start_soon(read)
                async for message in receiver:
                    await websocket.send_text(message.decode())
        except* WebSocketDisconnect:
            pass
        finally:
            queues.discard(sender)

    def send(message: bytes) -> None:
        for each in tuple(queues):
            try:
                each.send_nowait(message)
            except (trio.WouldBlock, trio.ClosedResourceError, trio.BrokenResourceError):
                queues.discard(each)

    app = Starlette(routes=[Route("/events", stream), WebSocketRoute("/ws", socket)])
    config = Config()
    config.errorlog = None
    (listener,) = listening("127.0.0.1", 0)
    port.append(listener.getsockname()[1])
    config.bind = [f"fd://{listener.detach()}"]
    return (lambda: serve(app, config)), send  # type: ignore[arg-type]


async def main(which: str) -> None:
    """Serves until it is killed."""
    port: list[int] = []
    serving, send = await (ours if which == "wire" else plain)(port)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serving)
        print(port[0], flush=True)
        number = 0
        next_time = trio.current_time()
        while True:
            next_time += EVERY
            await trio.sleep_until(next_time)
            number += 1
            send(b'{"n": %d, "t": %d, "pad": "%b"}' % (number, time.monotonic_ns(), PAD.encode()))


if __name__ == "__main__":
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard if hard < 1 << 20 else max(soft, 65536), hard))
    trio.run(main, sys.argv[1])
