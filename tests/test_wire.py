"""Streams past the server keep their order, notice who has left, bear slow readers and end in an orderly way."""

from __future__ import annotations

import errno
import socket
import struct
from collections import Counter
from types import SimpleNamespace

import httpx
import pytest
import trio
import trio.testing
from h2.connection import H2Connection
from h2.events import DataReceived
from hypercorn.config import Config
from hypercorn.trio import serve
from starlette.applications import Starlette
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from innkeeper.errors import UsageError
from innkeeper.plugins.settings import ServerSettings
from innkeeper.server.serving import listening
from innkeeper.server.wire.bounds import Bounds
from innkeeper.server.wire.direct import DirectOutlet
from innkeeper.server.wire.events import EventStream
from innkeeper.server.wire.frames import event_text
from innkeeper.server.wire.http import HttpProtocol
from innkeeper.server.wire.outlets import Outlet, QueuedOutlet
from innkeeper.server.wire.selfcheck import check_hypercorn
from innkeeper.server.wire.server import Server
from wired import HANDSHAKE, PING, STREAM, Shown, Wired, frames, text, unchunked, until, wired


async def test_events_go_past_the_server_in_order_and_end_with_the_last_chunk() -> None:
    async with wired() as server:
        client = await server.connect(STREAM)
        head = await client.until(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        assert b"content-type: text/event-stream" in head.lower()
        assert b"server:" not in head.lower()
        await server.shown.opened(1)
        assert isinstance(server.shown.outlets[0], DirectOutlet)
        assert server.server.streams.opened["events"] == 1
        for number in range(100):
            assert server.shown.watchers.write(event_text(b"%d" % number)) == 1
        server.stop.set()
        body, ended = unchunked(await client.rest())
        assert body == b": open\n\n" + b"".join(b"data: %d\n\n" % number for number in range(100))
        assert ended
        assert server.shown.losses == ["stopping"]


async def test_a_websocket_gets_messages_past_the_server_and_1001_when_it_stops() -> None:
    async with wired() as server:
        client = await server.connect(HANDSHAKE)
        assert b" 101 " in await client.until(b"\r\n\r\n")
        await server.shown.opened(1)
        await client.send(text("héllo"))
        await until(lambda: server.shown.got == ["héllo"])
        for number in range(100):
            server.shown.watchers.write(b"%d" % number)
        server.stop.set()
        got = frames(await client.rest())
        assert got[:100] == [("TEXT", str(number)) for number in range(100)]
        assert [(name, int(payload[0])) for name, payload in got[100:]] == [("CLOSE", 1001)]
        assert server.shown.losses == ["stopping"]


async def test_one_connection_has_requests_and_then_a_stream() -> None:
    async with wired() as server:
        client = await server.connect()
        for _ in range(3):
            await client.send(PING)
            assert b"200" in await client.until(b"pong")
        await client.send(STREAM)
        await client.until(b": open\n\n\r\n")
        await server.shown.opened(1)
        server.shown.watchers.write(event_text(b"past"))
        assert b"data: past" in await client.until(b"past")
        assert isinstance(server.shown.outlets[0], DirectOutlet)
        await client.close()
        await until(lambda: server.shown.losses == ["gone"])
        await server.alone()


async def test_a_stream_that_ends_leaves_its_connection_to_the_next_request_and_writes_nothing_into_it() -> None:
    kept: list[Outlet] = []

    async def feed(outlet: Outlet) -> None:
        kept.append(outlet)
        outlet.write(event_text(b"all there is"))

    async def route(request: Request) -> Response:
        return EventStream(feed)

    async def ping(request: Request) -> Response:
        assert not kept[0].write(event_text(b"too late"))
        return Response("pong")

    async with wired(Starlette(routes=[Route("/events", route), Route("/ping", ping)])) as server:
        client = await server.connect(STREAM)
        await client.until(b"all there is\n\n\r\n0\r\n\r\n")
        assert isinstance(kept[0], DirectOutlet)
        await client.send(PING)
        answer = await client.until(b"pong")
        assert answer.startswith(b"HTTP/1.1 200")
        assert b"too late" not in answer
        await client.close()


async def test_a_feed_that_fails_is_cut_off_and_does_not_look_complete() -> None:
    async def feed(outlet: Outlet) -> None:
        outlet.write(event_text(b"so far"))
        raise ValueError("on purpose")

    async def route(request: Request) -> Response:
        return EventStream(feed)

    app = Starlette(routes=[Route("/events", route), Route("/ping", Shown()._ping)])
    async with wired(app) as server:
        answer = await server.ask(STREAM)
        assert b"so far" in answer
        assert not answer.endswith(b"0\r\n\r\n")
        assert b"on purpose" not in answer
        await server.lives()
        await server.alone()


@pytest.mark.parametrize("left", ["closed", "reset"])
async def test_a_client_that_leaves_ends_its_route(left: str) -> None:
    async with wired() as server:
        for request in (STREAM, HANDSHAKE):
            client = await server.connect(request)
            await server.shown.opened(1)
            if left == "reset":
                client.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            await client.close()
            await until(lambda: not server.shown.watchers)
            await server.alone()
        assert len(server.shown.losses) == 2


async def test_behind_a_pipelined_request_a_departure_is_found_by_the_next_writes() -> None:
    async with wired() as server:
        client = await server.connect(STREAM + PING * 3)
        await server.shown.opened(1)
        server.shown.watchers.write(event_text(b"one"))
        assert b"pong" not in await client.until(b"data: one")
        await client.close()
        while server.shown.watchers:
            server.shown.watchers.write(event_text(b"is anybody there"))
            await trio.sleep(0.01)
        await until(lambda: server.shown.losses == ["gone"])
        await server.alone()
        await server.lives()


async def test_a_pipelined_request_behind_a_stream_is_not_answered_when_the_stream_stops() -> None:
    async with wired() as server:
        client = await server.connect(STREAM + PING)
        await server.shown.opened(1)
        server.stop.set()
        answer = await client.rest()
        assert answer.endswith(b"0\r\n\r\n")
        assert b"pong" not in answer


async def test_a_slow_reader_is_dropped_at_its_bound_and_nobody_else_notices() -> None:
    async with wired(outbox=32 * 1024) as server:
        slow = await server.connect(STREAM, receive_buffer=4096)
        quick = await server.connect(STREAM)
        socket_slow = await server.connect(HANDSHAKE, receive_buffer=4096)
        await server.shown.opened(3)
        sent = 0
        async with trio.open_nursery() as nursery:

            async def read() -> None:
                while not (await quick.stream.receive_some(65536)).endswith(b"data: the last\n\n\r\n"):
                    pass
                nursery.cancel_scope.cancel()

            nursery.start_soon(read)
            while len(server.shown.watchers) > 1:
                server.shown.watchers.write(event_text(b"x" * 1000))
                sent += 1
                # However slow the machine is, the quick one reads before the next message.
                await trio.testing.wait_all_tasks_blocked()
            server.shown.watchers.write(event_text(b"the last"))
        assert server.shown.losses == ["slow", "slow"]
        assert server.server.streams.lost == {"slow": 2}
        assert [each.loss for each in server.shown.outlets].count(None) == 1
        await until(lambda: server.server.streams.connections == 1)
        # In the system and in the outbox: some times the bound, whatever is sent.
        assert sent < 1000
        # They are cut off in the middle: no last chunk, no frame of goodbye.
        assert not (await slow.rest()).endswith(b"0\r\n\r\n")
        await socket_slow.rest()
        await quick.close()


async def test_who_sends_in_bulk_waits_for_a_slow_reader_until_it_stalls() -> None:
    done: list[bool] = []

    async def feed(outlet: object) -> None:
        assert isinstance(outlet, DirectOutlet)
        for _ in range(200):
            done.append(await outlet.send(event_text(b"x" * 100_000)))

    async def route(request: Request) -> Response:
        return EventStream(feed)

    app = Starlette(routes=[Route("/events", route)])
    async with wired(app, stall_timeout=1.0) as server:
        reader = await server.connect(STREAM)
        await reader.until(b": open\n\n\r\n")
        got = reader.had.count(b"x")
        while got < 200 * 100_000:
            got += (await reader.stream.receive_some(1 << 20)).count(b"x")
        await until(lambda: done == [True] * 200)
        await reader.close()
        done.clear()
        stuck = await server.connect(STREAM, receive_buffer=4096)
        await server.alone()
        assert len(done) < 200
        await stuck.close()


async def test_a_download_that_nobody_reads_is_cut_after_the_stall_limit() -> None:
    async with wired(stall_timeout=0.5) as server:
        stuck = await server.connect(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n", receive_buffer=4096)
        await until(lambda: server.server.streams.connections == 1)
        await server.alone()
        await server.lives()
        assert len(await stuck.rest()) < 16 << 20


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


async def test_a_stop_lets_requests_end_and_closes_what_is_idle() -> None:
    async with wired() as server:
        idle = await server.connect(PING)
        await idle.until(b"pong")
        silent = await server.connect()
        hanging = await server.connect(b"GET /hang HTTP/1.1\r\nHost: x\r\n\r\n")
        await until(lambda: server.server.streams.connections == 3)
        server.stop.set()
        assert await idle.rest() == b""
        assert await silent.rest() == b""
        await hanging.close()
        await until(lambda: server.shown.ended == ["hang"])
    assert server.server.streams.connections == 0


async def test_a_stream_that_begins_while_the_server_stops_ends_too() -> None:
    async with wired() as server:
        client = await server.connect(STREAM.replace(b"events", b"later"))
        await until(lambda: server.shown.got == ["later"])
        server.stop.set()
        await trio.testing.wait_all_tasks_blocked()
        server.shown.go.set()
        assert (await client.rest()).endswith(b": open\n\n\r\n0\r\n\r\n")
        assert server.shown.losses == ["stopping"]


async def test_an_application_that_does_not_end_is_ended_after_the_grace() -> None:
    async with wired(grace=0.3) as server:
        client = await server.connect(HANDSHAKE.replace(b"/ws", b"/deaf"))
        await client.until(b"\r\n\r\n")
        server.stop.set()
        # Its client is told all the same.
        assert frames(await client.rest())[-1][0] == "CLOSE"


async def test_a_message_longer_than_the_bound_does_not_lose_a_client_that_reads() -> None:
    async with wired(outbox=16 * 1024) as server:
        client = await server.connect(HANDSHAKE)
        await client.until(b"\r\n\r\n")
        await server.shown.opened(1)
        assert server.shown.watchers.write(b"x" * 5_000_000) == 1
        assert server.shown.watchers.write(b"and how it ended") == 1
        got = len(client.had)
        while got < 5_000_010 + 18:
            got += len(await client.stream.receive_some(1 << 20))
        assert server.shown.outlets[0].loss is None
        await client.close()


async def test_a_defect_in_one_connection_ends_that_one_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    async def defect(self: HttpProtocol, request: object) -> None:
        if request.target == b"/defect":  # type: ignore[attr-defined]
            raise RuntimeError("a defect")
        await create(self, request)  # type: ignore[arg-type]

    create = HttpProtocol._create_stream
    monkeypatch.setattr(HttpProtocol, "_create_stream", defect)
    async with wired() as server:
        watching = await server.connect(STREAM)
        await server.shown.opened(1)
        for _ in range(10):
            assert await server.ask(PING.replace(b"ping", b"defect")) == b""
        await server.lives()
        server.shown.watchers.write(event_text(b"undisturbed"))
        await watching.until(b"undisturbed")
        await watching.close()


async def test_a_process_without_descriptors_goes_on_once_there_are_some() -> None:
    class Full(socket.socket):
        times = 3

        def accept(self) -> tuple[socket.socket, object]:
            if self.times:
                self.times -= 1
                raise OSError(errno.EMFILE, "Too many open files")
            return super().accept()

    (listener,) = listening("127.0.0.1", 0)
    full = Full(fileno=listener.detach())
    full.setblocking(False)
    server = Server(Shown().app(), Bounds(ServerSettings()))
    stop = trio.Event()
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.serve, [full], stop)
            await Wired(full.getsockname()[1], Shown(), server, stop).lives()
            assert full.times == 0
            stop.set()
    assert full.fileno() == -1


async def test_the_system_gives_up_on_peers_that_vanished() -> None:
    async with wired(stall_timeout=7) as server:
        client = await server.connect(STREAM)
        await server.shown.opened(1)
        (connection,) = server.server._connections
        accepted = connection.wire.socket
        assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 14_000
        await client.close()


async def test_messages_that_go_past_the_server_are_counted_where_the_scope_says() -> None:
    counts = SimpleNamespace(sent=Counter(), dropped=Counter())
    shown = Shown()
    inner = shown.app()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope["innkeeper.streams"] = counts
        await inner(scope, receive, send)

    async with wired(app) as server:
        clients = [await server.connect(request, receive_buffer=4096) for request in (STREAM, HANDSHAKE)]
        await shown.opened(2)
        for _ in range(3):
            shown.watchers.write(b"data: x\n\n")
        assert counts.sent == {"sse": 3, "websocket": 3}
        while shown.watchers:
            shown.watchers.write(b"data: " + b"x" * 10_000)
        assert counts.dropped == {"sse": 1, "websocket": 1}
        for each in clients:
            await each.close()


def test_another_hypercorn_is_refused_in_one_sentence() -> None:
    check_hypercorn()
    with pytest.raises(UsageError, match=r"^hypercorn 0\.19\.1 is installed, but .* install 'hypercorn==0\.18\.\*'$"):
        check_hypercorn("0.19.1")


def test_a_hypercorn_with_other_insides_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from innkeeper.server.wire import selfcheck

    monkeypatch.setattr(selfcheck, "USED", {selfcheck.TCPServer._close: ("self", "code")})
    with pytest.raises(UsageError, match="hypercorn"):
        check_hypercorn()
