"""A WebSocket: hypercorn's, with each way in which it goes wrong ending in a close."""

from __future__ import annotations

from typing import Any

from hypercorn.protocol.events import Body, Data, Request, StreamClosed
from hypercorn.protocol.ws_stream import ASGIWebsocketState, FrameTooLargeError, WSStream
from wsproto.connection import ConnectionState
from wsproto.events import CloseConnection, Message, Ping
from wsproto.frame_protocol import CloseReason


class SocketStream(WSStream):
    """One WebSocket. Hypercorn leaves a connection open for ever after a bad handshake, and goes on to keep what comes
    of a message that is too large."""

    @property
    def accepted(self) -> bool:
        """Whether it is open."""
        return self.state is ASGIWebsocketState.CONNECTED and not self.closed

    async def handle(self, event: Any) -> None:
        """As `WSStream`."""
        if isinstance(event, Request):
            await super().handle(event)
            if self.closed:
                # The handshake was wrong and is answered.
                await self.send(StreamClosed(stream_id=self.stream_id))
        elif isinstance(event, Body | Data) and not self.closed and not self.handshake.accepted:
            if self.state is ASGIWebsocketState.HANDSHAKE:
                self.state = ASGIWebsocketState.HTTPCLOSED
                await self._send_error_response(400)
            await self.send(StreamClosed(stream_id=self.stream_id))
        else:
            await super().handle(event)

    async def end(self, code: CloseReason) -> None:
        """Closes it from this side, once it is open; its application is told that it has ended."""
        if self.accepted:
            # First: what its application does once it is told has no other code follow.
            self.state = ASGIWebsocketState.CLOSED
            await self._send_wsproto_event(CloseConnection(code=code))
        if self.handshake.accepted and not self.closed:
            await self.send(StreamClosed(stream_id=self.stream_id))

    async def _handle_events(self) -> None:
        for event in self.connection.events():
            if isinstance(event, Message):
                if not self.accepted:
                    # What still comes after the last frame is for nobody.
                    continue
                try:
                    self.buffer.extend(event)
                except FrameTooLargeError:
                    await self.end(CloseReason.MESSAGE_TOO_BIG)
                    return
                if event.message_finished:
                    message = self.buffer.to_message()
                    self.buffer.clear()
                    assert self.app_put is not None
                    await self.app_put(message)
            elif isinstance(event, Ping):
                await self._send_wsproto_event(event.response())
            elif isinstance(event, CloseConnection):
                if self.connection.state is ConnectionState.REMOTE_CLOSING:
                    await self._send_wsproto_event(event.response())
                elif self.connection.state is ConnectionState.OPEN:
                    # Not a frame of the client's: what it sent is none.
                    await self.end(CloseReason(event.code))
                    return
                await self.send(StreamClosed(stream_id=self.stream_id))
                return
