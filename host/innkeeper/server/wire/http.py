"""HTTP/1.1 on one connection: hypercorn's, with what is refused before an application hears of a request."""

from __future__ import annotations

import json
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, cast

import h11
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.events import Body, Data, EndBody, Request, Response
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.h11 import STREAM_ID, H11Protocol, H11WSConnection
from hypercorn.protocol.http_stream import HTTPStream

from innkeeper.server.wire.bounds import HEAD_BYTES, Bounds
from innkeeper.server.wire.direct import Answered, DirectOutlet
from innkeeper.server.wire.frames import chunk, text_frame
from innkeeper.server.wire.outlets import Outlet
from innkeeper.server.wire.refusals import Refusal, refusal_of
from innkeeper.server.wire.websocket import SocketStream
from innkeeper.server.wire.wire import Wire


class HttpProtocol(H11Protocol):
    """The requests of one connection, one after another. HTTP/2 is not spoken, so nothing can ask for it.

    Attributes:
        refused: whether a request was refused: nothing more is read or answered then.
        requests: how many came.
        paused: whether a request waits for the answer to another.
        resumed: whether one that waited can be read: `go_on`.
        on_resume: called as it can.
    """

    def __init__(self, *arguments: Any, wire: Wire, bounds: Bounds) -> None:
        """Args:
        arguments: of `H11Protocol`.
        wire: below the connection.
        bounds: what clients may do.
        """
        super().__init__(*arguments)
        self.refused = False
        self.requests = 0
        self.paused = False
        self.resumed = False
        self.on_resume: Callable[[], object] = lambda: None
        self._wire = wire
        self._bounds = bounds
        self._answered = Answered()
        self._request: h11.Request | None = None
        self._past: DirectOutlet | None = None
        # Whether no further request is taken.
        self._last = False

    @property
    def body_expected(self) -> bool:
        """Whether the client owes bytes of a request's body."""
        return self.connection.their_state is h11.SEND_BODY

    @property
    def full(self) -> bool:
        """Whether as much waits for the answer to a request as may."""
        return self.paused and len(self.connection.trailing_data[0]) >= HEAD_BYTES

    @property
    def socket(self) -> SocketStream | None:
        """The WebSocket that the connection has become, if any."""
        return self.stream if isinstance(self.stream, SocketStream) else None

    # --- past the server --------------------------------------------------------------------------------------------

    def outlet(self, number: int, opening: bytes, on_loss: Callable[[], object]) -> Outlet | None:
        """An outlet for the events of a request's answer, if the fence lets it through.

        Args:
            number: of the request, as `requests` was.
            opening: what has gone out of the body.
            on_loss: as of `Outlet`.
        """
        request = self._request
        if (
            self.refused
            or number != self.requests
            or self.stream is None
            or request is None
            or (request.method, request.http_version) != (b"GET", b"1.1")
            or not self._answered.opened_with(opening)
        ):
            return None
        return self._direct(DirectOutlet(on_loss, self._wire, chunk, self._bounds.settings.outbox))

    def messages(self, number: int, on_loss: Callable[[], object]) -> Outlet | None:
        """The same for a WebSocket: once it is accepted."""
        if self.refused or number != self.requests or self.socket is None or not self.socket.accepted:
            return None
        return self._direct(DirectOutlet(on_loss, self._wire, text_frame, self._bounds.settings.outbox))

    def _direct(self, outlet: DirectOutlet) -> Outlet:
        self._wire.narrow(self._bounds.settings.outbox)
        self._past = outlet
        return outlet

    async def _close_stream(self) -> None:
        # Nothing may follow a body's last chunk or a WebSocket's last frame: it would belong to the next answer.
        if self._past is not None:
            self._past.lose("gone")
            self._past = None
        await super()._close_stream()

    # --- what is refused --------------------------------------------------------------------------------------------

    async def refuse(self, refusal: Refusal) -> None:
        """Answers with an error where no answer has begun, and closes the connection."""
        if self.refused:
            return
        # First: an application that answers meanwhile must not come between.
        self.refused = True
        if self.connection.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            await self.send(RawData(self._error(refusal)))
        await self.send(Closed())

    def _error(self, refusal: Refusal) -> bytes:
        body = json.dumps({"error": refusal.sentence}).encode()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),
            *self.config.response_headers("h11"),
        ]
        connection = cast(h11.Connection, self.connection)
        head = connection.send(h11.Response(status_code=refusal.status, headers=headers)) or b""
        asked_for_head = self._request is not None and self._request.method == b"HEAD"
        return head if asked_for_head else head + (connection.send(h11.Data(data=body)) or b"")

    # --- as hypercorn calls it --------------------------------------------------------------------------------------

    async def handle(self, event: Event) -> None:
        """As `H11Protocol`; what follows a refused request, or a last one, is read by nobody."""
        if not (isinstance(event, RawData) and (self.refused or self._last)):
            await super().handle(event)

    async def _handle_events(self) -> None:
        while not self.refused:
            if self.connection.they_are_waiting_for_100_continue:
                await self._send_h11_event(
                    h11.InformationalResponse(status_code=100, headers=self.config.response_headers("h11"))
                )
            try:
                event = self.connection.next_event()
            except h11.RemoteProtocolError as error:
                status = HTTPStatus(error.error_status_hint)
                await self.refuse(Refusal(status, status.phrase.lower()))
                return
            if isinstance(event, h11.Request):
                await self.send(Updated(idle=False))
                await self._create_stream(event)
            elif event is h11.PAUSED:
                # A request waits for the answer to another. Reading goes on: else nobody would see the client leave.
                self.paused = True
                return
            elif self.stream is None or event is h11.NEED_DATA or isinstance(event, h11.ConnectionClosed):
                return
            elif isinstance(event, h11.Data):
                await self.stream.handle(Body(stream_id=STREAM_ID, data=bytes(event.data)))
            elif isinstance(event, h11.EndOfMessage):
                await self.stream.handle(EndBody(stream_id=STREAM_ID))
                if self.connection.their_state is h11.MUST_CLOSE:
                    # It asked for a close: a request behind it is none, and must not spoil its answer.
                    self._last = True
                    return
            elif isinstance(event, Data):
                await self.stream.handle(event)

    async def go_on(self) -> None:
        """Reads the requests that waited for an answer."""
        self.resumed = False
        await self._handle_events()

    def end(self) -> None:
        """No further request is taken: the one under way is the last."""
        self._last = True

    async def _maybe_recycle(self) -> None:
        await self._close_stream()
        both = {self.connection.our_state, self.connection.their_state}
        if self._last or both != {h11.DONE} or self.context.terminated.is_set():
            self._last = True
            await self.send(Closed())
            return
        self.connection.start_next_cycle()
        await self.send(Updated(idle=True))
        if self.paused:
            self.paused, self.resumed = False, True
            self.on_resume()

    async def _create_stream(self, request: h11.Request) -> None:
        self._request = request
        self._answered.end()
        self.requests += 1
        websocket = _wants_websocket(request)
        more = bool(self.connection.trailing_data[0])
        refusal = refusal_of(request, self._bounds, websocket=websocket, more=more)
        if refusal is not None:
            await self.refuse(refusal)
            return
        shared = (self.app, self.config, self.context, self.task_group, self.ssl, self.client, self.server)
        headers = list(request.headers)
        if websocket:
            # Compressed messages would cost 300 KB of memory for each client, and one read could become 8 MB.
            headers = [each for each in headers if each[0] != b"sec-websocket-extensions"]
            self.stream = SocketStream(*shared, self.stream_send, STREAM_ID)
            self.connection = H11WSConnection(cast(h11.Connection, self.connection))
        else:
            self.stream = HttpStream(
                *shared, self.stream_send, STREAM_ID, refuse=self.refuse, most=self._bounds.settings.body_size
            )
        await self.stream.handle(
            Request(
                stream_id=STREAM_ID,
                headers=headers,
                http_version=request.http_version.decode(),
                method=request.method.decode("ascii").upper(),
                raw_path=request.target,
                state=self.connection_state,
            )
        )
        self.keep_alive_requests += 1
        await self.context.mark_request()

    async def stream_send(self, event: StreamEvent) -> None:
        """As `H11Protocol`; what an application answers to a request that was refused goes nowhere."""
        if self.refused:
            return
        if isinstance(event, Response):
            self._answered.head(event.status_code, event.headers)
        elif isinstance(event, Body):
            self._answered.body(event.data)
        elif isinstance(event, EndBody):
            self._answered.end()
        await super().stream_send(event)


class HttpStream(HTTPStream):
    """One request and its answer, with a bound on the body, however it is framed."""

    def __init__(self, *arguments: Any, refuse: Callable[[Refusal], Any], most: int) -> None:
        """Args:
        arguments: of `HTTPStream`.
        refuse: answers with an error, and closes.
        most: bytes of a body.
        """
        super().__init__(*arguments)
        self._refuse = refuse
        self._most = most
        self._received = 0

    async def handle(self, event: Any) -> None:
        """As `HTTPStream`."""
        if isinstance(event, Body) and not self.closed:
            self._received += len(event.data)
            if self._received > self._most:
                await self._refuse(Refusal(413, f"the body has more than {self._most} bytes"))
                return
        await super().handle(event)


def _wants_websocket(request: h11.Request) -> bool:
    headers = dict(request.headers)
    tokens = {each.strip() for each in headers.get(b"connection", b"").lower().split(b",")}
    upgrade = headers.get(b"upgrade", b"").strip().lower()
    return request.method == b"GET" and upgrade == b"websocket" and b"upgrade" in tokens
