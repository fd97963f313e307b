"""What an editor asks for through its socket besides runs: workflows of its projects, and the nodes that there are."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from innkeeper.server.answers import AnswerError
from innkeeper.server.live import protocol
from innkeeper.server.live.messages import encoded_object
from innkeeper.server.live.protocol import Received, payload_of
from innkeeper.server.plugins.describing import is_off
from innkeeper.server.projects.wire import listed_workflow
from innkeeper.server.projects.workflows import Workflows

if TYPE_CHECKING:
    from innkeeper.server.live.session import Session


async def load(session: Session, received: Received) -> None:
    """Sends a workflow as it was stored."""
    wanted = payload_of(protocol.Load, received)
    workflows = await _workflows(session, wanted.project_id)
    found = await session.parts.files.run(workflows.get, wanted.workflow_id)
    about = {"projectId": wanted.project_id, "workflowId": wanted.workflow_id}
    await session.say("workflow_loaded", {**about, "workflow": found.value})


async def save(session: Session, received: Received) -> None:
    """Stores a workflow, a new one where it has no id, and sends it as it is stored now."""
    wanted = payload_of(protocol.Save, received)
    workflows, files = await _workflows(session, wanted.project_id), session.parts.files
    if wanted.workflow_id is None:
        found = await files.run(workflows.create, wanted.workflow, files.now())
    else:
        found = await files.run(workflows.replace, wanted.workflow_id, wanted.workflow, files.now())
    about = {"projectId": wanted.project_id, "workflowId": found.value["id"]}
    await session.say("workflow_saved", {**about, "workflow": found.value})


async def listing(session: Session, received: Received) -> None:
    """Sends what is known of each workflow of a project."""
    wanted = payload_of(protocol.OfProject, received)
    workflows = await _workflows(session, wanted.project_id)
    found: list[Any] = [
        listed_workflow(summary).model_dump(mode="json", by_alias=True)
        for _, summary in await session.parts.files.run(workflows.summaries)
    ]
    await session.say("workflow_list", {"projectId": wanted.project_id, "workflows": found})


async def definitions(session: Session, received: Received) -> None:
    """Sends the definitions of all nodes."""
    if not session.identity.may("nodes"):
        raise AnswerError(403, "the API key does not reach 'nodes'")
    parts = session.parts
    text, _ = await parts.plugins.nodes.text(parts.host, partial(is_off, parts))
    # It is text already, once for all who ask.
    head, tail = encoded_object("node_definitions", {"definitions": []}).split(b"[]")
    await session.send(head + text + tail)


async def _workflows(session: Session, project: str) -> Workflows:
    """Those of a project of the user's. Raises FileError where there is none."""
    if not session.identity.may("files"):
        raise AnswerError(403, "the API key does not reach 'files'")
    return await session.parts.files.run(session.parts.projects.of(session.identity.uid).workflows, project)
