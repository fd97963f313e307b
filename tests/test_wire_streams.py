"""What is written to streams reaches their clients through any server, past ours or not."""

from __future__ import annotations

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket
from wsproto.frame_protocol import FrameProtocol

from innkeeper.server.wire.events import EventStream
from innkeeper.server.wire.frames import chunk, event_text, text_frame
from innkeeper.server.wire.outlets import Outlet, QueuedOutlet, Watchers
from innkeeper.server.wire.sockets import messages_to


async def _three(outlet: Outlet) -> None:
    for number in range(3):
        assert outlet.write(event_text(b"%d" % number, id=number))


async def _events(request: Request) -> EventStream:
    return EventStream(_three)


async def _messages(websocket: WebSocket) -> None:
    await websocket.accept()
    async with messages_to(websocket) as outlet:
        while (message := await websocket.receive())["type"] == "websocket.receive":
            assert outlet.write(b"heard " + message["text"].encode())


APP = Starlette(routes=[Route("/events", _events), WebSocketRoute("/messages", _messages)])


def test_a_stream_goes_through_a_server_that_has_no_wire() -> None:
    client = TestClient(APP, backend="trio")
    answer = client.get("/events")
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert "content-length" not in answer.headers
    assert answer.text == ": open\n\nid: 0\ndata: 0\n\nid: 1\ndata: 1\n\nid: 2\ndata: 2\n\n"
    assert client.head("/events").content == b""
    with client.websocket_connect("/messages") as socket:
        for text in ("one", "two"):
            socket.send_text(text)
            assert socket.receive_text() == f"heard {text}"


async def test_an_outbox_is_bounded_and_who_falls_behind_is_lost_alone() -> None:
    lost: list[str] = []
    taken: list[bytes] = []

    async def never(data: bytes) -> None:
        await trio.sleep_forever()

    async def at_once(data: bytes) -> None:
        taken.append(data)

    slow = QueuedOutlet(lambda: lost.append("slow"), never, bound=10)
    quick = QueuedOutlet(lambda: lost.append("quick"), at_once, bound=10)
    watchers = Watchers()
    watchers.add(slow)
    watchers.add(quick)
    async with trio.open_nursery() as tasks:
        tasks.start_soon(slow.pump)
        tasks.start_soon(quick.pump)
        for message, left in (b"a longer message than fits", 2), (b"0123456789", 2), (b"x", 1):
            assert watchers.write(message) == left
            await quick.emptied()
        assert (slow.loss, quick.loss, lost) == ("slow", None, ["slow"])
        assert taken == [b"a longer message than fits", b"0123456789", b"x"]
        assert len(watchers) == 1
        # Whoever waits for room does not wait for ever.
        with trio.fail_after(10):
            assert not await slow.send(b"y")
        tasks.cancel_scope.cancel()


@given(st.binary(min_size=1))
def test_a_chunk_holds_its_message(message: bytes) -> None:
    size, _, rest = chunk(message).partition(b"\r\n")
    assert int(size, 16) == len(message)
    assert rest == message + b"\r\n"


@given(st.text(max_size=70_000))
def test_a_frame_holds_its_message(text: str) -> None:
    reader = FrameProtocol(True, [])
    reader.receive_bytes(text_frame(text.encode()))
    frames = list(reader.received_frames())
    assert "".join(str(each.payload) for each in frames) == text
    assert frames[-1].message_finished


def test_an_empty_message_does_not_end_a_body() -> None:
    assert chunk(b"") == b""


@given(st.text(st.characters(codec="utf-8")), st.text(st.characters(codec="utf-8")))
def test_nothing_that_is_told_forges_an_event(data: str, event: str) -> None:
    try:
        text = event_text(data.encode(), event=event).decode()
    except ValueError:
        assert "\n" in event or "\r" in event
        return
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    assert lines[-2:] == ["", ""]
    assert all(line.startswith(("data: ", "event: ")) for line in lines[:-2])
    assert "" not in lines[:-2]


def test_an_id_has_one_line() -> None:
    for wrong in ("1\n2", "1\r", "a\0b"):
        with pytest.raises(ValueError, match="one line each"):
            event_text(b"", id=wrong)
