"""The server stops in an orderly way, outlives defects, and knows the hypercorn that it was made for."""

from __future__ import annotations

import errno
import socket

import pytest
import trio
import trio.testing

from innkeeper.errors import UsageError
from innkeeper.plugins.settings import ServerSettings
from innkeeper.server.serving import listening
from innkeeper.server.wire.bounds import Bounds
from innkeeper.server.wire.frames import event_text
from innkeeper.server.wire.http import HttpProtocol
from innkeeper.server.wire.selfcheck import check_hypercorn
from innkeeper.server.wire.server import Server
from wired import HANDSHAKE, PING, STREAM, Shown, Wired, frames, until, wired


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


def test_another_hypercorn_is_refused_in_one_sentence() -> None:
    check_hypercorn()
    with pytest.raises(UsageError, match=r"^hypercorn 0\.19\.1 is installed, but .* install 'hypercorn==0\.18\.\*'$"):
        check_hypercorn("0.19.1")


def test_a_hypercorn_with_other_insides_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from innkeeper.server.wire import selfcheck

    monkeypatch.setattr(selfcheck, "USED", {selfcheck.TCPServer._close: ("self", "code")})
    with pytest.raises(UsageError, match="hypercorn"):
        check_hypercorn()
