"""Streams go past the server only where nothing in front of the application would be gone past, and work everywhere."""

from __future__ import annotations

import httpx
import pytest
import trio
import trio.testing
from h2.connection import H2Connection
from h2.events import DataReceived
from hypercorn.config import Config
from hypercorn.trio import serve
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from innkeeper.server.serving import listening
from innkeeper.server.wire.frames import event_text
from innkeeper.server.wire.outlets import QueuedOutlet
from wired import PING, STREAM, Shown, until, wired


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        (b"GET /events HTTP/1.0\r\nHost: x\r\n\r\n", "HTTP/1.0 has no chunks"),
        (b"POST /events HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", "it is no GET"),
    ],
)
async def test_a_stream_stays_on_the_ordinary_way_where_the_fence_says_so(request_: bytes, why: str) -> None:
    async with wired() as server:
        client = await server.connect(request_)
        await server.shown.opened(1)
        assert isinstance(server.shown.outlets[0], QueuedOutlet), why
        server.shown.watchers.write(event_text(b"still comes"))
        await client.until(b"still comes")
        server.stop.set()
        await client.rest()
        assert server.shown.losses == ["stopping"]


async def test_a_head_request_gets_no_body_of_a_stream() -> None:
    async with wired(_headed()) as server:
        client = await server.connect(b"HEAD /events HTTP/1.1\r\nHost: x\r\n\r\n" + PING)
        assert (await client.until(b"pong")).count(b"HTTP/1.1 200") == 2
        await client.close()


def _headed() -> object:
    shown = Shown()
    app = shown.app()
    app.router.routes[0].methods.add("HEAD")  # type: ignore[attr-defined]
    return app


@pytest.mark.parametrize("how", ["encoded", "changed", "refused"])
async def test_what_middleware_does_to_a_stream_is_not_gone_past(how: str) -> None:
    shown = Shown()
    app = shown.app()
    if how == "encoded":
        app.add_middleware(_Encoding)
    else:

        async def middle(request: Request, call_next: object) -> Response:
            if how == "refused":
                return Response("no", 403)
            answer: Response = await call_next(request)  # type: ignore[operator]
            answer.body_iterator = _shouted(answer.body_iterator)  # type: ignore[attr-defined]
            return answer

        app.add_middleware(BaseHTTPMiddleware, dispatch=middle)
    async with wired(app) as server:
        request = STREAM[:-2] + b"Accept-Encoding: gzip\r\n\r\n"
        client = await server.connect(request)
        head = await client.until(b"\r\n\r\n")
        if how == "refused":
            assert b" 403 " in head
            assert not shown.outlets
        else:
            await shown.opened(1)
            shown.watchers.write(event_text(b"secret"))
            assert b"SECRET" in await client.until(b"SECRET")
            assert isinstance(shown.outlets[0], QueuedOutlet)
        server.stop.set()
        answer = await client.rest()
        assert b"data: secret" not in answer


class _Encoding:
    """Encodes bodies, and says so."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def encoded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"content-encoding", b"shouted")]
            elif not message.get("body", b"").startswith(b":"):
                message["body"] = message.get("body", b"").upper()
            await send(message)

        await self.app(scope, receive, encoded)


async def _shouted(parts: object) -> object:
    async for part in parts:  # type: ignore[attr-defined]
        yield part.upper()


async def test_streams_work_under_a_server_that_knows_nothing_of_them() -> None:
    shown = Shown()
    stop = trio.Event()
    config = Config()
    config.errorlog = None
    (listener,) = listening("127.0.0.1", 0)
    port = listener.getsockname()[1]
    config.bind = [f"fd://{listener.detach()}"]
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: serve(shown.app(), config, shutdown_trigger=stop.wait))  # type: ignore[arg-type]
            url = f"http://127.0.0.1:{port}/events"
            async with httpx.AsyncClient(trust_env=False) as client, client.stream("GET", url) as answer:
                await shown.opened(1)
                assert isinstance(shown.outlets[0], QueuedOutlet)
                lines = answer.aiter_lines()
                shown.watchers.write(event_text(b"one"))
                while await anext(lines) != "data: one":
                    pass
            await until(lambda: shown.losses == ["gone"])
            stop.set()


async def test_streams_work_over_http2() -> None:
    shown = Shown()
    stop = trio.Event()
    config = Config()
    config.errorlog = None
    (listener,) = listening("127.0.0.1", 0)
    port = listener.getsockname()[1]
    config.bind = [f"fd://{listener.detach()}"]
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: serve(shown.app(), config, shutdown_trigger=stop.wait))  # type: ignore[arg-type]
            stream = await trio.open_tcp_stream("127.0.0.1", port)
            client = H2Connection()
            client.initiate_connection()
            names = {":method": "GET", ":path": "/events", ":authority": "x", ":scheme": "http"}
            client.send_headers(1, list(names.items()), end_stream=True)
            await stream.send_all(client.data_to_send())
            await shown.opened(1)
            assert isinstance(shown.outlets[0], QueuedOutlet)
            shown.watchers.write(event_text(b"one"))
            body = b""
            while b"data: one" not in body:
                for event in client.receive_data(await stream.receive_some(65536)):
                    body += event.data if isinstance(event, DataReceived) else b""
                await stream.send_all(client.data_to_send())
            await stream.aclose()
            await until(lambda: shown.losses == ["gone"])
            stop.set()
