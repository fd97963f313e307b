"""What a client can do to a connection ends that connection alone, in bounded time and memory."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from wsproto.frame_protocol import FrameProtocol, Opcode

from innkeeper.server.wire.admission import Admission
from innkeeper.server.wire.bounds import LOOPBACK
from wired import HANDSHAKE, PING, STREAM, Client, Wired, frames, text, until, wired

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


# --- amounts --------------------------------------------------------------------------------------------------------


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


# --- time -----------------------------------------------------------------------------------------------------------


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


# --- any bytes ------------------------------------------------------------------------------------------------------

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
