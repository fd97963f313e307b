"""A run as server-sent events."""

from __future__ import annotations

from typing import Annotated, Any, Final

import trio
from fastapi import Header, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from innkeeper.errors import InnkeeperError
from innkeeper.server.guards.bodies import BoundedRouter
from innkeeper.server.identity import Identity, scoped
from innkeeper.server.live.messages import Message, encoded_object
from innkeeper.server.live.session import BATCH, taken
from innkeeper.server.live.standing import until_unknown
from innkeeper.server.live.watcher import Watcher
from innkeeper.server.parts import Parts, PartsOf
from innkeeper.server.routes.run_events import MISSING
from innkeeper.server.runs.finding import MOST_ID, find_run
from innkeeper.server.wire.events import EventStream
from innkeeper.server.wire.frames import event_text
from innkeeper.server.wire.outlets import Outlet
from innkeeper.storage.run_model import StoredRun

router = BoundedRouter(tags=["live"])

RETRY: Final = 3000
"""Milliseconds after which a client that lost the stream comes back."""

_MANY: Final = 256

_OPEN: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "Events", "content": {"text/event-stream": {"schema": {"type": "string"}}}},
    204: {"description": "The run has ended, and the client has all of it: it need not come back."},
}


@router.get("/api/stream/{prompt_id}", response_class=Response, responses={**_OPEN, **MISSING})
async def stream(
    request: Request,
    parts: PartsOf,
    identity: Annotated[Identity, scoped("runs")],
    prompt_id: Annotated[str, Path(min_length=1, max_length=MOST_ID)],
    after: Annotated[int, Query(ge=0, le=2**53)] = 0,
    last_event_id: Annotated[str | None, Header(max_length=32)] = None,
) -> Response:
    """The events of a run until it ends: `message` for each, `complete` or `error` for the last, and `heartbeat`
    where nothing is said for a while. Each has its number as id, after which a client that comes back goes on."""
    run = await find_run(parts, identity, prompt_id)
    if last_event_id is not None and last_event_id.isascii() and last_event_id.isdecimal():
        # It is what the client saw last; the address stays what it was when it came first.
        after = max(after, int(last_event_id))
    if run.ended is not None and after >= run.seq:
        return Response(status_code=204)

    async def feed(outlet: Outlet) -> None:
        async with trio.open_nursery() as tasks:

            async def known() -> None:
                await until_unknown(parts, request, identity)
                tasks.cancel_scope.cancel()

            tasks.start_soon(known)
            await _feed(parts, identity, run, after, outlet)
            tasks.cancel_scope.cancel()

    return EventStream(feed, opening=f"retry: {RETRY}\n\n".encode())


async def _feed(parts: Parts, identity: Identity, run: StoredRun, after: int, outlet: Outlet) -> None:
    settings = parts.settings
    try:
        async with parts.live.feeds.watch(run, after, who=identity.uid) as watcher:
            sent = 0
            while await taken(outlet, settings.stall_timeout, sent):
                text = await _next(watcher, settings.heartbeat)
                if text is None:
                    return
                sent = len(text)
                outlet.write(text)
    except InnkeeperError as error:
        payload = {"promptId": run.id, "message": error.message}
        outlet.write(event_text(encoded_object("error", payload), event="error"))


async def _next(watcher: Watcher, seconds: float) -> bytes | None:
    with trio.move_on_after(seconds):
        try:
            first = await anext(watcher)
            # What waits already goes along.
            return b"".join(map(_event, [first, *watcher.ready(_MANY, BATCH - first.size)]))
        except StopAsyncIteration:
            return None
    return event_text(b"{}", event="heartbeat")


def _event(message: Message) -> bytes:
    name = "message"
    if message.ends:
        name = "error" if message.status == "error" else "complete"
    return event_text(message.text, event=name, id=message.seq or "")
