"""Streams past the server keep their order, notice who has left, and bear slow readers."""

from __future__ import annotations

import socket
import struct
from collections import Counter
from types import SimpleNamespace

import pytest
import trio
import trio.testing
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from innkeeper.server.wire.direct import DirectOutlet
from innkeeper.server.wire.events import EventStream
from innkeeper.server.wire.frames import event_text
from innkeeper.server.wire.outlets import Outlet
from wired import HANDSHAKE, PING, STREAM, Shown, frames, text, unchunked, until, wired


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
