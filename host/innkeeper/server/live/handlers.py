"""What each message of a client does."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Final

from innkeeper.printable import printable
from innkeeper.server.answers import AnswerError
from innkeeper.server.live import editing, protocol
from innkeeper.server.live.protocol import Received, payload_of
from innkeeper.server.runs.finding import find_run, interrupt, wire_status
from innkeeper.server.runs.submitting import submit
from innkeeper.workflow.engine.events import ACCEPTED, STATUS

if TYPE_CHECKING:
    from innkeeper.server.live.session import Session

logger = logging.getLogger("innkeeper.server")

Handler = Callable[["Session", Received], Awaitable[None]]


async def handle(session: Session, received: Received) -> None:
    """Does what a client wants.

    Raises:
        AnswerError, InnkeeperError: why it cannot be done.
    """
    handler = HANDLERS.get(received.type)
    if handler is None:
        raise protocol.unknown(received)
    await handler(session, received)


def _reaches(session: Session, scope: str) -> None:
    if not session.identity.may(scope):
        raise AnswerError(403, f"the API key does not reach {scope!r}")


async def _prompt(session: Session, received: Received) -> None:
    _reaches(session, "runs")
    if not isinstance(received.payload, dict):
        raise AnswerError(422, "Error processing message: the payload is not a workflow with 'nodes' and 'edges'")
    # Before it is queued: it would run, and the client would hear nothing of it.
    session.room()
    id = await submit(session.parts, session.identity, received.payload)
    run = await find_run(session.parts, session.identity, id)
    await session.say(ACCEPTED, {"promptId": id})
    # What it says itself, "running" to begin with, may come much later.
    await session.say(STATUS, {"promptId": id, "status": "queued"})
    session.watch(run, submitted=True)


async def _interrupt(session: Session, received: Received) -> None:
    _reaches(session, "runs")
    wanted = payload_of(protocol.OfRun, received)
    await interrupt(session.parts, session.identity, wanted.prompt_id)


async def _click(session: Session, received: Received) -> None:
    _reaches(session, "runs")
    click = payload_of(protocol.Click, received)
    logger.info(
        "the button %s of the node %s was clicked", printable(click.button_name, 100), printable(click.node_id, 100)
    )


async def _subscribe(session: Session, received: Received) -> None:
    _reaches(session, "runs")
    wanted = payload_of(protocol.Subscribe, received)
    await _watch(session, wanted.prompt_id, wanted.after)


async def _resume(session: Session, received: Received) -> None:
    _reaches(session, "runs")
    for id, after in payload_of(protocol.Resume, received).runs.items():
        try:
            await _watch(session, id, after)
        except AnswerError as error:
            # The others are watched all the same.
            await session.error(error.error, {"promptId": id})


async def _watch(session: Session, id: str, after: int) -> None:
    session.ours = True
    run = await find_run(session.parts, session.identity, id)
    # Nothing of what was watched before may follow the answer.
    session.leave(run.id)
    session.room()
    await session.say("SUBSCRIBED", {"promptId": run.id, "status": wire_status(run), "after": after})
    session.watch(run, after)


async def _unsubscribe(session: Session, received: Received) -> None:
    wanted = payload_of(protocol.OfRun, received)
    if not session.leave(wanted.prompt_id):
        raise AnswerError(404, "this socket does not watch that run")
    await session.say("UNSUBSCRIBED", {"promptId": wanted.prompt_id})


async def _reload(session: Session, received: Received) -> None:
    if not session.identity.is_admin or not session.identity.may("admin"):
        raise AnswerError(403, "only an administrator may do this")
    host = session.parts.host
    changes = await host.reload()
    # What is wrong names files, and stays in the host's log.
    problems = sum(change.kind == "problem" for change in changes)
    plugins = sorted({change.plugin for change in changes if change.plugin is not None and change.kind != "problem"})
    about = {"plugins": plugins, "problems": problems, "count": len(host.node_types())}
    await session.say("backend_reloaded", {"success": not problems, **about})
    session.parts.live.board.reloaded(host)


HANDLERS: Final[Mapping[str, Handler]] = {
    protocol.PROMPT_REQUEST: _prompt,
    protocol.INTERRUPT_REQUEST: _interrupt,
    protocol.BUTTON_CLICK: _click,
    protocol.LOAD_WORKFLOW: editing.load,
    protocol.SAVE_WORKFLOW: editing.save,
    protocol.LIST_WORKFLOWS: editing.listing,
    protocol.GET_NODE_DEFINITIONS: editing.definitions,
    protocol.RELOAD_BACKEND: _reload,
    protocol.SUBSCRIBE: _subscribe,
    protocol.UNSUBSCRIBE: _unsubscribe,
    protocol.RESUME: _resume,
}
