"""A run's events by long polling, for clients that can neither stream nor open a WebSocket."""

from __future__ import annotations

from typing import Annotated, Any, Final

import trio
from fastapi import Path, Query
from pydantic import Field
from starlette.responses import Response

from innkeeper.server.guards.bodies import BoundedRouter
from innkeeper.server.identity import Identity, scoped
from innkeeper.server.live.messages import Message, compact
from innkeeper.server.models import ASKED, Model, problems
from innkeeper.server.parts import Parts, PartsOf
from innkeeper.server.runs.finding import MOST_ID, find_run, wire_status
from innkeeper.storage.run_model import StoredRun

router = BoundedRouter(tags=["live"])

MOST_WAIT: Final = 60.0
"""Seconds: proxies give up after a minute."""

MOST_EVENTS: Final = 500
MOST_BYTES: Final = 1 << 20
"""Events of one answer, and bytes of them; one event may have more."""


MISSING: Final = {
    **ASKED,
    **problems(_404="there is no such run, or it is not the user's", _503="as many runs are watched as may be"),
}


class RunMessage(Model):
    """An event of a run."""

    type: str
    seq: int | None = Field(None, description="Its number in its run; an event that is not kept any more has none.")
    timestamp: float | None = Field(None, description="Seconds since 1970.")
    payload: dict[str, Any]


class RunMessages(Model):
    """Some events of a run."""

    prompt_id: str
    status: str = Field(description="How the run stood when the request came.")
    events: list[RunMessage]
    after: int = Field(description="What to ask after next.")
    ended: bool = Field(description="Whether there will be no more.")
    gone: bool = Field(description="Whether an EVENTS_GONE says that chunks are not kept any more.")


@router.get("/api/runs/{prompt_id}/events", response_model=RunMessages, responses=MISSING)
async def run_events(
    parts: PartsOf,
    identity: Annotated[Identity, scoped("runs")],
    prompt_id: Annotated[str, Path(min_length=1, max_length=MOST_ID)],
    after: Annotated[int, Query(ge=0, le=2**53)] = 0,
    wait: Annotated[float, Query(ge=0, le=MOST_WAIT)] = 0.0,
    limit: Annotated[int, Query(ge=1, le=MOST_EVENTS)] = MOST_EVENTS,
) -> Response:
    """The events of a run after a number. Where there are none yet, the answer waits so many seconds for one."""
    run = await find_run(parts, identity, prompt_id)
    found, over = await _found(parts, identity, run, after, wait, limit)
    # They are JSON already, once for all who watch.
    head = {
        "promptId": run.id,
        "status": wire_status(run),
        "after": max([after, *(message.seq for message in found)]),
        "ended": over,
        "gone": any(message.upto for message in found),
    }
    events = b",".join(message.text for message in found)
    body = compact(head)[:-1] + b',"events":[' + events + b"]}"
    return Response(body, media_type="application/json", headers={"cache-control": "no-store"})


async def _found(
    parts: Parts, identity: Identity, run: StoredRun, after: int, wait: float, limit: int
) -> tuple[list[Message], bool]:
    async with parts.live.feeds.watch(run, after, who=identity.uid) as watcher:
        # What is there already is read, however short one wants to wait.
        await watcher.look()
        found = watcher.ready(limit, MOST_BYTES)
        if not found and not watcher.over and wait:
            async with trio.open_nursery() as nursery:

                async def stopping() -> None:
                    await parts.stopping.wait()
                    nursery.cancel_scope.cancel()

                nursery.start_soon(stopping)
                with trio.move_on_after(wait):
                    async for message in watcher:
                        found.append(message)
                        found += watcher.ready(limit - 1, MOST_BYTES - message.size)
                        break
                nursery.cancel_scope.cancel()
        return found, watcher.over or any(message.ends for message in found)
