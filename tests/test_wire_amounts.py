"""Heads, bodies, messages and connections are bounded, whatever a client sends."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from wsproto.frame_protocol import FrameProtocol

from innkeeper.server.wire.admission import Admission
from innkeeper.server.wire.bounds import LOOPBACK
from wired import HANDSHAKE, PING, frames, text, until, wired

POST = b"POST /echo HTTP/1.1\r\nHost: x\r\n"


@pytest.mark.parametrize("size", [17_000, 24_000, 40_000, 1_000_000])
@pytest.mark.parametrize("piece", [1000, 1 << 20])
async def test_a_large_head_is_refused(size: int, piece: int) -> None:
    request = PING[:-2] + b"A: " + b"a" * size + b"\r\n\r\n"
    async with wired() as server:
        client = await server.connect()
        for start in range(0, len(request), piece):
            await client.send(request[start : start + piece])
        assert (await client.rest()).startswith(b"HTTP/1.1 431")
        await server.lives()


async def test_a_head_that_fits_is_taken() -> None:
    async with wired() as server:
        client = await server.connect(PING[:-2] + b"A: " + b"a" * 16_000 + b"\r\n\r\n")
        assert b"200" in await client.until(b"pong")
        await client.close()


async def test_a_large_body_is_refused_by_its_length_before_a_byte_of_it() -> None:
    async with wired(body_size=1000) as server:
        expecting = POST + b"Expect: 100-continue\r\nContent-Length: 1001\r\n\r\n"
        for request in (expecting, POST + b"Content-Length: 1001\r\n\r\n" + b"x" * 1001):
            answer = await server.ask(request)
            assert answer.startswith(b"HTTP/1.1 413")
            assert b"the body has more than 1000 bytes" in answer
        assert server.shown.got == []
        client = await server.connect(POST + b"Content-Length: 1000\r\n\r\n" + b"x" * 1000)
        await client.until(b'{"length":1000}')
        await client.close()


async def test_a_large_body_in_chunks_is_refused_where_it_becomes_too_large() -> None:
    async with wired(body_size=100_000) as server:
        client = await server.connect(POST + b"Transfer-Encoding: chunked\r\n\r\n")
        async with trio.open_nursery() as nursery:

            async def send() -> None:
                for _ in range(10_000):
                    await client.send(b"2710\r\n" + b"x" * 10_000 + b"\r\n")

            nursery.start_soon(send)
            assert b"HTTP/1.1 413" in await client.until(b"100000 bytes")
            nursery.cancel_scope.cancel()
        await client.close()
        await server.alone()
        assert server.shown.got == []
        assert server.shown.ended == ["echo"]


async def test_an_answer_to_a_body_that_nobody_reads_holds_no_connection() -> None:
    async with wired() as server:
        client = await server.connect(b"POST /ignore HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000\r\n\r\n")
        async with trio.open_nursery() as nursery:

            async def send() -> None:
                await client.send(b"x" * 10_000_000)

            nursery.start_soon(send)
            assert b"HTTP/1.1 200" in await client.until(b"not read")
            await server.alone()
            nursery.cancel_scope.cancel()
        await client.close()
        await server.lives()


@pytest.mark.parametrize("kind", ["text", "bytes"])
@pytest.mark.parametrize("piece", [100, 100_000])
async def test_a_large_message_closes_its_websocket_however_much_follows(kind: str, piece: int) -> None:
    async with wired(message_size=1000) as server:
        client = await server.connect(HANDSHAKE)
        await client.until(b"\r\n\r\n")
        await client.send(text("x" * 1000))
        await until(lambda: server.shown.got == ["x" * 1000])
        sender = FrameProtocol(True, [])
        part = "x" * piece if kind == "text" else b"x" * piece
        async with trio.open_nursery() as nursery:

            async def send() -> None:
                while True:
                    await client.send(bytes(sender.send_data(part, fin=False)))
                    await trio.lowlevel.checkpoint()

            nursery.start_soon(send)
            # It closes though its client does not stop.
            await server.alone()
            nursery.cancel_scope.cancel()
        await until(lambda: len(server.shown.losses) == 1)
        assert server.shown.got == ["x" * 1000]
        await client.close()
        await server.lives()


async def test_a_large_message_is_told_as_1009() -> None:
    async with wired(message_size=1000) as server:
        client = await server.connect(HANDSHAKE)
        await client.until(b"\r\n\r\n")
        await client.send(text("x" * 1001))
        assert [(name, int(payload[0])) for name, payload in frames(await client.rest())] == [("CLOSE", 1009)]


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (bytes(FrameProtocol(False, []).send_data("unmasked", fin=True)), 1002),
        (b"\x83\x80\0\0\0\0", 1002),
        (b"\xf1\x80\0\0\0\0", 1002),
        (b"\x89\xff" + b"\xff" * 8 + b"\0" * 4, 1002),
        (b"\x81\x82\0\0\0\0\xff\xfe", 1007),
        (b"\x88\x81\0\0\0\0\0", 1002),
        (b"\x80\x80\0\0\0\0", 1002),
    ],
)
async def test_what_is_no_frame_closes_its_websocket_with_a_code(sent: bytes, code: int) -> None:
    async with wired() as server:
        client = await server.connect(HANDSHAKE)
        await client.until(b"\r\n\r\n")
        await client.send(sent * 3)
        assert [(name, int(payload[0])) for name, payload in frames(await client.rest())] == [("CLOSE", code)]
        await server.alone()
        assert server.shown.losses == ["gone"]
        await server.lives()


async def test_bytes_behind_a_close_frame_end_no_server() -> None:
    async with wired() as server:
        for _ in range(20):
            client = await server.connect(HANDSHAKE)
            await client.until(b"\r\n\r\n")
            await client.send(bytes(FrameProtocol(True, []).close(1000)) + text("after the end") * 3)
            assert [name for name, _ in frames(await client.rest())] == ["CLOSE"]
        await server.alone()
        assert server.shown.got == []


async def test_pings_are_answered_and_who_does_not_read_the_answers_is_dropped() -> None:
    async with wired(stall_timeout=0.5) as server:
        client = await server.connect(HANDSHAKE, receive_buffer=4096)
        await client.until(b"\r\n\r\n")
        await client.send(bytes(FrameProtocol(True, []).ping(b"there?")))
        assert frames(await client.until(b"there?")) == [("PONG", b"there?")]
        async with trio.open_nursery() as nursery:

            async def flood() -> None:
                while True:
                    await client.send(bytes(FrameProtocol(True, []).ping(b"x" * 125)) * 100)
                    await trio.lowlevel.checkpoint()

            nursery.start_soon(flood)
            await server.alone()
            nursery.cancel_scope.cancel()
        await client.close()
        await server.lives()


async def test_connections_are_bounded_in_all() -> None:
    async with wired(connections=3) as server:
        kept = [await server.connect(PING) for _ in range(3)]
        for each in kept:
            await each.until(b"pong")
        refused = await server.ask(b"")
        assert refused.startswith(b"HTTP/1.1 503")
        assert b"too many connections" in refused
        assert server.server.streams.refused == 1
        await kept[0].close()
        await until(lambda: server.server.streams.connections == 2)
        await server.lives()
        for each in kept[1:]:
            await each.close()


async def test_connections_of_one_address_are_bounded() -> None:
    async with wired(connections_per_address=2, exempt=()) as server:
        kept = [await server.connect(PING) for _ in range(2)]
        for each in kept:
            await each.until(b"pong")
        assert (await server.ask(b"")).startswith(b"HTTP/1.1 503")
        for each in kept:
            await each.close()
        await server.alone()
        await server.lives()


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=100))
def test_admission_never_lets_in_more_than_it_says_and_forgets_who_left(steps: list[tuple[int, bool]]) -> None:
    addresses = ["127.0.0.1", "10.0.0.1", "10.0.0.2", "2001:db8::1", "2001:db8::2", "::ffff:10.0.0.1"]
    networks = ["", "10.0.0.1", "10.0.0.2", "2001:db8::/64", "2001:db8::/64", "10.0.0.1"]
    admission = Admission(6, 2, LOOPBACK)
    inside: list[str] = []
    for which, enters in steps:
        if enters:
            key = admission.enter(addresses[which])
            full = len(inside) >= 6 or (which and inside.count(networks[which]) >= 2)
            assert key == (None if full else networks[which])
            if key is not None:
                inside.append(key)
        elif inside:
            admission.leave(inside.pop(which % len(inside)))
        assert admission.open == len(inside)
    for key in inside:
        admission.leave(key)
    assert (admission.open, len(admission._counts)) == (0, 0)
