"""What a client can do to a connection ends that connection alone, in bounded time and memory."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from wsproto.frame_protocol import FrameProtocol, Opcode

from wired import HANDSHAKE, PING, STREAM, Client, Wired, text, until, wired

POST = b"POST /echo HTTP/1.1\r\nHost: x\r\n"


async def test_a_pipelined_request_behind_a_close_ends_no_server() -> None:
    closing = PING[:-2] + b"Connection: close\r\n\r\n"
    async with wired() as server:
        for _ in range(30):
            assert b"pong" in await server.ask(closing + PING)
        await server.lives()
        await server.alone()


@pytest.mark.parametrize("path", [b"/ws", b"/late", b"/nothing"])
async def test_bytes_behind_the_head_of_a_websocket_end_no_server(path: bytes) -> None:
    request = HANDSHAKE.replace(b"/ws", path)
    async with wired() as server:
        for _ in range(20):
            assert (await server.ask(request + text("too early"))).startswith(b"HTTP/1.1 400")
        assert server.shown.got == []
        await server.lives()
        await server.alone()


async def test_bytes_before_a_websocket_is_accepted_end_it_and_its_application_hears_so() -> None:
    async with wired() as server:
        client = await server.connect(HANDSHAKE.replace(b"/ws", b"/late"))
        await until(lambda: server.shown.got == ["late"])
        await client.send(text("still too early"))
        assert (await client.rest()).startswith(b"HTTP/1.1 400")
        await server.alone()
        assert server.shown.got == ["late", "websocket.disconnect"]


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
        b"Content-Length: 4\r\nContent-Length: 5\r\n",
        b"Transfer-Encoding: chunked, identity\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"Transfer-Encoding : chunked\r\n",
        b"Content-Length : 4\r\n",
        b"Content-Length: +4\r\n",
        b"Content-Length: 4, 5\r\n",
        b"Content-Length: 0x4\r\n",
        b"Content-Length: -1\r\n",
        b"Content-Length: " + b"9" * 30 + b"\r\n",
        b"A: \0\r\n",
        b"Host: y\r\n",
    ],
)
async def test_a_body_of_two_lengths_is_refused_and_what_follows_is_no_request(head: bytes) -> None:
    async with wired() as server:
        answer = await server.ask(POST + head + b"\r\n0\r\n\r\n" + PING)
        status = int(answer[9:12])
        assert 400 <= status < 600
        assert answer.count(b"HTTP/1.1") == 1
        assert b"pong" not in answer
        assert b"connection: close" in answer.lower()
        assert b'{"error": "' in answer
        assert server.shown.got == []
        await server.lives()


@pytest.mark.parametrize(
    "request_",
    [
        b"POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /ping HTTP/1.1\r\n\r\n",
        b"GET /ping HTTP/2.0\r\nHost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01",
        HANDSHAKE[:-2] + b"Content-Length: 4\r\n\r\n",
        HANDSHAKE.replace(b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", b""),
        HANDSHAKE.replace(b"Version: 13", b"Version: 7"),
    ],
)
async def test_what_is_no_request_is_refused_and_closed(request_: bytes) -> None:
    async with wired() as server:
        # The client never closes: the server does.
        answer = await server.ask(request_)
        assert answer.startswith((b"HTTP/1.1 4", b"HTTP/1.1 505"))
        await server.alone()


async def test_nobody_is_given_another_protocol() -> None:
    async with wired() as server:
        h2c = PING[:-2] + b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABk\r\n\r\n"
        client = await server.connect(h2c)
        assert (await client.until(b"pong")).startswith(b"HTTP/1.1 200")
        await client.close()
        offer = b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
        client = await server.connect(HANDSHAKE[:-2] + offer)
        assert b"xtensions" not in await client.until(b"\r\n\r\n")
        await client.close()


_PIECES = [
    *(PING, STREAM, HANDSHAKE, POST, text("x"), b"\r\n", b"\r\n\r\n", b"\0", b"0\r\n\r\n", b"5\r\nhello\r\n"),
    *(
        b"Content-Length: 5\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Connection: close\r\n",
        b"Expect: 100-continue\r\n",
    ),
    *(b"GET /hang HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /fails HTTP/1.1\r\nHost: x\r\n\r\n", b"HEAD /ping HTTP/1.1\r\n"),
    *(bytes(FrameProtocol(True, []).close(1000)), bytes(FrameProtocol(True, [])._serialize_frame(Opcode.PONG, b"a"))),
]
_SENT = st.lists(st.one_of(st.sampled_from(_PIECES), st.binary(max_size=20)), max_size=8)


# What fails here takes its whole time limit: made smaller a hundred times, it would take hours.
@settings(max_examples=60, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(st.lists(st.tuples(_SENT, st.booleans()), min_size=10, max_size=20))
def test_whatever_is_sent_the_server_lives_and_nothing_is_left(clients: list[tuple[list[bytes], bool]]) -> None:
    async def attack() -> None:
        async with wired(seconds=15, head_timeout=0.3, body_timeout=0.3, stall_timeout=0.3) as server:
            async with trio.open_nursery() as nursery:
                for pieces, at_once in clients:
                    nursery.start_soon(_attack, server, pieces, at_once)
            await server.lives()
            await server.alone()
            assert not server.shown.watchers
            assert +server.server.streams.opened == {}

    trio.run(attack)


async def test_who_leaves_behind_a_pipelined_request_is_seen_to_leave() -> None:
    async with wired() as server:
        client = await server.connect(b"GET /hang HTTP/1.1\r\nHost: x\r\n\r\n" + PING)
        await until(lambda: server.server.streams.connections == 1)
        await client.close()
        await server.alone()
        assert server.shown.ended == ["hang"]


async def test_requests_behind_one_that_takes_its_time_wait_bounded_and_are_answered_in_turn() -> None:
    count = 2000
    async with wired() as server:
        client = await server.connect(STREAM.replace(b"events", b"slow"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send, PING * count)
            await until(lambda: server.shown.got == ["slow"])
            await trio.testing.wait_all_tasks_blocked()
            server.shown.go.set()
            # One connection has 1,000 requests; this one's last answer says so.
            answers = await client.rest()
            nursery.cancel_scope.cancel()
        assert answers.index(b"at last") < answers.index(b"pong")
        assert answers.count(b"pong") == 999
        assert answers.lower().count(b"connection: close") == 1


async def _attack(server: Wired, pieces: list[bytes], at_once: bool) -> None:
    client: Client = await server.connect()
    for piece in [b"".join(pieces)] if at_once else pieces:
        await client.send(piece)
        await trio.lowlevel.checkpoint()
    with trio.move_on_after(0.02):
        await client.rest()
    await client.close()
