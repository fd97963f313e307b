"""The WebSocket of editors and chat front ends, which speaks ComfyTavern's protocol."""

from __future__ import annotations

from typing import Annotated, Final, Literal

import trio
from fastapi import Query
from starlette.websockets import WebSocket

from innkeeper.server.answers import AnswerError, answer
from innkeeper.server.guards.bodies import BoundedRouter
from innkeeper.server.identity import current
from innkeeper.server.live.session import TOO_LARGE, UNSUPPORTED, Session
from innkeeper.server.live.standing import until_unknown
from innkeeper.server.parts import PartsOf
from innkeeper.server.wire.sockets import messages_to

router = BoundedRouter(tags=["live"])

POLICY: Final = 1008
"""The code that closes a socket whose client reads too slowly, or is not logged in any more."""

_REASONS: Final = {
    POLICY: "who it is counts no more: log in again",
    TOO_LARGE: "the message is too large",
    UNSUPPORTED: "a message is text",
}
_CLOSING = 1.0
"""Seconds for the last frame of a client that may not read at all."""


@router.websocket("/ws")
async def ws(websocket: WebSocket, parts: PartsOf, events: Annotated[Literal["", "all"], Query()] = "") -> None:
    """Submits, interrupts and watches runs; docs/protocol.md has the messages."""
    try:
        identity = await current(websocket)
        if parts.stopping.is_set():
            raise AnswerError(503, "the server is stopping")
    except AnswerError as error:
        await websocket.send_denial_response(answer(error.status, error.error, error.details, error.headers))
        return
    await websocket.accept()
    code: int | None = None
    async with messages_to(websocket) as outlet, trio.open_nursery() as tasks:

        async def known() -> None:
            nonlocal code
            await until_unknown(parts, websocket, identity)
            code = POLICY
            tasks.cancel_scope.cancel()

        tasks.start_soon(known)
        code = await Session(parts, identity, outlet, ours=events == "all").run(websocket.receive)
        await outlet.emptied()
        tasks.cancel_scope.cancel()
    if outlet.loss == "slow":
        code = POLICY
    if code is not None and outlet.loss != "gone":
        with trio.move_on_after(_CLOSING):
            reason = "it reads too slowly" if outlet.loss == "slow" else _REASONS[code]
            await websocket.close(code, reason)
