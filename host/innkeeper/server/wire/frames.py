"""A message as it stands on the wire: a chunk of HTTP, a frame of a WebSocket, an event of a stream."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from wsproto.frame_protocol import CloseReason, FrameProtocol

Framing = Callable[[bytes], bytes]
"""Makes of a message what goes onto the wire."""

_LINES: Final = re.compile(rb"\r\n|\r|\n")


def plain(message: bytes) -> bytes:
    """The message itself: something below frames it."""
    return message


def chunk(message: bytes) -> bytes:
    """A chunk of a body with `Transfer-Encoding: chunked`. An empty message would end the body: it gives nothing."""
    return b"%x\r\n%b\r\n" % (len(message), message) if message else b""


def text_frame(message: bytes) -> bytes:
    """A WebSocket's frame with one whole text message, uncompressed.

    Args:
        message: UTF-8.

    Raises:
        UnicodeDecodeError: it is none; a client would have to close the connection.
    """
    return bytes(FrameProtocol(False, []).send_data(message.decode(), fin=True))


def close_frame(code: CloseReason) -> bytes:
    """A WebSocket's last frame."""
    return bytes(FrameProtocol(False, []).close(code))


PING: Final = bytes(FrameProtocol(False, []).ping())
"""Asks a WebSocket's client for a sign of life."""


def event_text(data: bytes, *, event: str = "", id: str | int = "", retry: int | None = None) -> bytes:
    """One server-sent event.

    Args:
        data: UTF-8; each of its lines becomes one of the event.
        event: its type; "": "message", as clients take it.
        id: which a client sends as Last-Event-ID when it comes back; "": none.
        retry: milliseconds after which a client that lost the stream comes back.

    Raises:
        ValueError: a type or an id that would end its line.
    """
    name = str(id)
    if _LINES.search(f"{event}{name}".encode()) or "\0" in name:
        raise ValueError("a server-sent event's type and id have one line each")
    head = f"event: {event}\n" if event else ""
    head += f"id: {name}\n" if name else ""
    head += f"retry: {retry}\n" if retry is not None else ""
    return head.encode() + b"".join(b"data: %b\n" % line for line in _LINES.split(data)) + b"\n"
