"""One request and its answer over one connection, as HTTP/1.1 has it."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from typing import Final

import h11
import trio

from innkeeper.bridge.web.decoding import ACCEPTED, Decoder, decoder_for
from innkeeper.bridge.web.faults import Rule, WebError
from innkeeper.bridge.web.giveway import GiveWay
from innkeeper.bridge.web.message import MOST_HEAD, MOST_HEADERS, Head, Request

FIRST: Final = 20.0
"""Seconds from the request's end to that of the answer's head: a server that computes for long, and none that sends a
header every minute."""

_READ = 64 * 1024
_SLICE = 2 * 1024
"""Bytes of a body in chunks that are parsed in one go, and of its trailers: a server chooses how many items these are,
and 2 KiB of the smallest are some 0.8 ms."""

_MOST_INTERIM = 16
"""Heads such as "100 Continue" before the answer's own."""

_MOST_CHUNKS = 100_000
"""Pieces in which a body comes: each costs some 5 us, however small it is."""

_OVERHEAD = 1 << 20
"""Bytes on the wire beyond those of a body: sizes of its pieces."""

_MOST_LINE = 1024
"""Bytes of an answer's first line, whose words nobody reads: the parser takes some 20 ms and as many MiB for 64 KiB."""

_BLANK = re.compile(rb"\n\r?\n")


class Exchange:
    """One request over one connection. What it needs of the server is bounded; nothing is kept for another."""

    def __init__(self, stream: trio.abc.Stream, most: int, *, first: float | None = None) -> None:
        """Args:
        stream: connected; whoever made the exchange closes it.
        most: bytes that the answer's body may have, decompressed.
        first: seconds from the request's end to that of the answer's head; by default `FIRST`.
        """
        self._stream = stream
        self._most = most
        self._first = FIRST if first is None else first
        self._wire = h11.Connection(h11.CLIENT, max_incomplete_event_size=_SLICE)
        self._pending = bytearray()
        self._way = GiveWay()
        self._sliced = True
        self._decoder: Decoder | None = None

    async def ask(self, request: Request) -> Head:
        """Sends the request and reads until the answer's head is complete.

        Raises:
            WebError: the server does not answer, in time or as HTTP has it.
        """
        try:
            await self._send(request)
            with trio.move_on_after(self._first):
                return await self._head()
        except (h11.ProtocolError, trio.BrokenResourceError):
            # The texts of h11 have the headers in them.
            raise WebError(Rule.PROTOCOL, "the server does not answer as HTTP/1.1 has it") from None
        raise WebError(Rule.TIME, f"the server did not begin to answer within {self._first:g} s")

    async def _send(self, request: Request) -> None:
        headers = [("host", request.url.origin.partition("://")[2]), *request.headers]
        headers += [("accept-encoding", ACCEPTED), ("connection", "close")]
        if request.body or request.method in ("POST", "PUT", "PATCH"):
            headers.append(("content-length", str(len(request.body))))
        target = request.url.path + ("" if request.url.query is None else f"?{request.url.query}")
        head = self._wire.send(h11.Request(method=request.method, target=target, headers=headers))
        body = memoryview(request.body)
        try:
            await self._stream.send_all(head or b"")
            for at in range(0, len(body), _READ):
                piece = bytes(body[at : at + _READ])
                self._wire.send(h11.Data(data=piece))
                await self._stream.send_all(piece)
                await self._way.often()
            self._wire.send(h11.EndOfMessage())
        except trio.BrokenResourceError:
            # It may have answered before it had read everything; what it said is read.
            return

    async def _head(self) -> Head:
        for _ in range(_MOST_INTERIM):
            self._wire.receive_data(await self._head_bytes())
            event = self._wire.next_event()
            while isinstance(event, h11.InformationalResponse):
                event = self._wire.next_event()
            if isinstance(event, h11.Response):
                return self._begin(event)
            if event is not h11.NEED_DATA:
                raise h11.RemoteProtocolError("no answer")
        raise WebError(Rule.PROTOCOL, f"the server sent more than {_MOST_INTERIM} interim answers")

    async def _head_bytes(self) -> bytes:
        """The bytes of one head, looked at before they are parsed: the parser takes all lines in one go."""
        scanned = 0
        while True:
            found = _BLANK.search(self._pending, max(0, scanned - 2))
            end = len(self._pending) if found is None else found.end()
            if end > MOST_HEAD:
                raise WebError(Rule.HEADERS, f"the answer's headers have more than {MOST_HEAD:,} bytes")
            if self._pending.count(b"\n", 0, end) > MOST_HEADERS + 2:
                raise WebError(Rule.HEADERS, f"the answer has more than {MOST_HEADERS} headers")
            first = self._pending.find(b"\n", 0, end)
            if (end if first < 0 else first) > _MOST_LINE:
                raise WebError(Rule.HEADERS, f"the answer's first line has more than {_MOST_LINE:,} bytes")
            if found is not None:
                head = bytes(self._pending[:end])
                del self._pending[:end]
                return head
            scanned = end
            data = await self._stream.receive_some(_READ)
            if not data:
                raise h11.RemoteProtocolError("no answer")
            self._pending += data

    def _begin(self, response: h11.Response) -> Head:
        found = tuple((name.decode("ascii"), _text(value)) for name, value in response.headers)
        head = Head(response.status_code, found)
        self._sliced = bool(head.all("transfer-encoding"))
        self._decoder = decoder_for(", ".join(head.all("content-encoding")).strip().lower())
        return head

    async def body(self) -> AsyncGenerator[bytes, None]:
        """The answer's body, decompressed, in pieces.

        Raises:
            WebError: it is too large, cut short or not what it says.
        """
        decoder = self._decoder
        assert decoder is not None
        came = chunks = gave = 0
        try:
            while (data := await self._data()) is not None:
                came += len(data)
                chunks += 1
                if came > self._most + _OVERHEAD or chunks > _MOST_CHUNKS:
                    raise self._too_large()
                for piece in decoder.feed(data):
                    gave += len(piece)
                    if gave > self._most:
                        raise self._too_large()
                    if piece:
                        yield piece
                    await self._way.often()
        except h11.ProtocolError:
            raise WebError(Rule.PROTOCOL, "the answer's body is cut short, or not as HTTP/1.1 has it") from None
        except trio.BrokenResourceError:
            raise WebError(Rule.PROTOCOL, "the connection broke in the midst of the answer") from None
        decoder.finish()

    def _too_large(self) -> WebError:
        return WebError(Rule.SIZE, f"the answer is larger than {self._most:,} bytes", limit=self._most)

    async def _data(self) -> bytes | None:
        while True:
            event = self._wire.next_event()
            if event is h11.NEED_DATA:
                await self._more()
                continue
            return bytes(event.data) if isinstance(event, h11.Data) else None

    async def _more(self) -> None:
        if not self._pending:
            data = await self._stream.receive_some(_READ)
            self._way.begin()
            self._pending += data
        taken = _SLICE if self._sliced else _READ
        # No bytes say that there are no more.
        self._wire.receive_data(bytes(self._pending[:taken]))
        del self._pending[:taken]


def _text(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")
