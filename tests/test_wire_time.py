"""A client that is slow, silent or in no hurry holds a connection for a bounded time."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from wsproto.frame_protocol import FrameProtocol

from wired import HANDSHAKE, PING, STREAM, frames, text, until, wired

POST = b"POST /echo HTTP/1.1\r\nHost: x\r\n"


@pytest.mark.parametrize("sent", [b"", b"G", PING[:-2], PING])
async def test_who_sends_no_whole_head_is_closed(sent: bytes) -> None:
    async with wired(head_timeout=0.3) as server:
        answer = await server.ask(sent)
        assert answer.endswith(b"pong") if sent == PING else answer == b""
        await server.alone()


async def test_a_head_that_trickles_is_closed_however_often_a_byte_comes() -> None:
    async with wired(head_timeout=0.3) as server:
        client = await server.connect(PING[:-2])
        async with trio.open_nursery() as nursery:

            async def trickle() -> None:
                while True:
                    await client.send(b"a")
                    await trio.sleep(0.02)

            nursery.start_soon(trickle)
            assert await client.rest() == b""
            nursery.cancel_scope.cancel()
        await server.alone()


@pytest.mark.parametrize("trickles", [False, True])
@pytest.mark.parametrize("framing", [b"Content-Length: 1000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n3e8\r\n"])
async def test_a_body_that_comes_too_slowly_is_refused(trickles: bool, framing: bytes) -> None:
    async with wired(body_timeout=0.3) as server:
        client = await server.connect(POST + framing)
        async with trio.open_nursery() as nursery:

            async def trickle() -> None:
                while trickles:
                    await client.send(b"a")
                    await trio.sleep(0.05)

            nursery.start_soon(trickle)
            answer = await client.rest()
            nursery.cancel_scope.cancel()
        assert answer.startswith(b"HTTP/1.1 408")
        await server.alone()
        assert server.shown.ended == ["echo"]


async def test_a_request_that_waits_for_its_application_has_no_deadline_of_a_body() -> None:
    async with wired(body_timeout=0.1, head_timeout=0.1) as server:
        client = await server.connect(STREAM + b"GET /ping")
        await server.shown.opened(1)
        await trio.sleep(0.5)
        assert len(server.shown.watchers) == 1
        await client.close()


async def test_a_websocket_without_a_sign_of_life_is_gone_and_one_with_it_stays() -> None:
    async with wired(ping_interval=0.2, ping_timeout=1.0) as server:
        silent = await server.connect(HANDSHAKE)
        living = await server.connect(HANDSHAKE)
        for client in (silent, living):
            await client.until(b"\r\n\r\n")
        await server.shown.opened(2)
        async with trio.open_nursery() as nursery:

            async def answering() -> None:
                while True:
                    if frames(await living.stream.receive_some(100))[0][0] == "PING":
                        await living.send(bytes(FrameProtocol(True, []).pong()))

            nursery.start_soon(answering)
            assert {name for name, _ in frames(await silent.rest())} == {"PING"}
            await until(lambda: server.server.streams.connections == 1)
            await trio.sleep(1.5)
            assert server.shown.losses == ["gone"]
            assert len(server.shown.watchers) == 1
            nursery.cancel_scope.cancel()
        await living.close()


async def test_who_floods_an_application_that_does_not_read_waits_and_is_dropped_when_it_is_silent() -> None:
    async with wired(seconds=8, ping_interval=0.1, ping_timeout=0.4) as server:
        client = await server.connect(HANDSHAKE.replace(b"/ws", b"/stuck"))
        await client.until(b"\r\n\r\n")
        async with trio.open_nursery() as nursery:

            async def flood() -> None:
                while True:
                    await client.send(text("") * 1000)
                    await trio.lowlevel.checkpoint()

            nursery.start_soon(flood)
            await client.rest()
            nursery.cancel_scope.cancel()
        # Its application hears of it although nobody reads any more.
        server.shown.go.set()
        await until(lambda: server.shown.got == ["websocket.disconnect"])
        await server.alone()
