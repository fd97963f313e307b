"""A workflow that somebody sends goes into the queue: checked first, with all that is wrong with it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

import trio

from innkeeper.bridge.runner import Job
from innkeeper.bridge.scan import DEFAULT_BOUNDS
from innkeeper.errors import UsageError
from innkeeper.knowledge.settling import unsearched
from innkeeper.plugins.host import Host
from innkeeper.server.answers import AnswerError
from innkeeper.server.identity import Identity
from innkeeper.server.parts import Parts
from innkeeper.server.runs.wishes import wishes_of
from innkeeper.storage.names import new_id
from innkeeper.storage.run_model import Account, NewRun
from innkeeper.workflow.checking.aside import StillHost
from innkeeper.workflow.checking.check import check_workflow
from innkeeper.workflow.checking.problems import WorkflowError
from innkeeper.workflow.formats.parts import parsed
from innkeeper.workflow.formats.payload import WorkflowPayload, payload_of

MOST_BYTES: Final = 2 * DEFAULT_BOUNDS.size
"""Bytes of a workflow as the queue keeps it."""

MOST_PROBLEMS: Final = 100
"""Problems of a workflow that are told."""

_MOST_UNKNOWN: Final = 20
"""Node types that are looked for in vain, each of which takes milliseconds."""

_RETRY_AFTER: Final = 5
"""Seconds after which a full queue may have room."""


async def submit(
    parts: Parts, identity: Identity, workflow: dict[str, Any], *, metadata: dict[str, Any] | None = None
) -> str:
    """Checks a workflow and queues it as a run of whoever asks.

    Args:
        parts: of the server.
        identity: who asks; whether a key reaches runs, the caller has asked.
        workflow: in either form, as plain data that `read_workflow` gave or that is bounded like it.
        metadata: what stands for the workflow's own `metadata`; None: that. See `wishes_of`.

    Returns:
        str: the run's id, its promptId.

    Raises:
        AnswerError: 422: it is not a workflow, or does not check: `details` has all that is wrong; 413: it is too
            large; 404: there is no such project; 503: the queue is full, or the server is stopping.
    """
    if parts.stopping.is_set():
        raise AnswerError(503, "the server is stopping")
    if metadata is not None:
        workflow = {**workflow, "metadata": metadata}
    said = workflow.get("metadata")
    wishes = wishes_of(said if isinstance(said, dict) else None)
    payload = await trio.to_thread.run_sync(_read, workflow, limiter=parts.runs.checking)
    folder = ""
    if wishes.project is not None:
        if parts.runs.projects is None:
            raise AnswerError(404, "there is no project of this id")
        try:
            payload = await parts.runs.projects.bundled(identity, wishes.project, payload)
        except UsageError as error:
            raise AnswerError(422, error.message) from None
        workflow = await trio.to_thread.run_sync(_plain, payload, limiter=parts.runs.checking)
        folder = str(await parts.runs.projects.folder(identity.uid, wishes.project))
    # A native node has all rights of the host: other users' data, too.
    job = Job(workflow, {}, folder, confined=not identity.is_admin)
    data = await trio.to_thread.run_sync(_checked, payload, job, parts.host, limiter=parts.runs.checking)
    now = time.time()
    new = NewRun(
        new_id(),
        Account(identity.uid),
        data,
        wishes.name,
        wishes.priority,
        None if wishes.lasting is None else now + wishes.lasting,
        wishes.after_crash,
    )
    await queue(parts, new)
    return new.id


async def queue(parts: Parts, new: NewRun) -> None:
    """Queues a run.

    Raises:
        AnswerError: 503: the queue is full.
    """
    if await parts.scheduler.submit(new) == "busy":
        raise AnswerError(
            503,
            "the queue is full: wait for runs to end, or interrupt some",
            headers={"Retry-After": str(_RETRY_AFTER)},
        )


async def read_workflow(parts: Parts, data: bytes) -> dict[str, Any]:
    """The bytes of a workflow as plain data, in a thread.

    Raises:
        AnswerError: 400: they are not JSON, or nested too deep, or too many values; 413: they are too many.
    """
    if len(data) > MOST_BYTES:
        raise too_large()
    try:
        found = await trio.to_thread.run_sync(parsed, data, limiter=parts.runs.checking)
    except UsageError as error:
        raise AnswerError(400, error.message) from None
    if not isinstance(found, dict):
        raise AnswerError(422, "the workflow is not a JSON object with 'nodes' and 'edges'")
    return found


def too_large() -> AnswerError:
    """What is answered to a workflow of too many bytes."""
    return AnswerError(413, f"a workflow may have {MOST_BYTES:,} bytes")


def _read(workflow: Mapping[str, Any]) -> WorkflowPayload:
    with unsearched(_parts(workflow)):
        try:
            return payload_of(dict(workflow))
        except UsageError as error:
            lines = error.message.splitlines()
            raise _problems("this is not a workflow that can be read", [{"text": line} for line in lines], 0) from None


def _plain(payload: WorkflowPayload) -> dict[str, Any]:
    """A payload as plain data, built piece by piece: one call for all of it would keep the interpreter's lock."""
    how: dict[str, Any] = {"mode": "json", "by_alias": True, "exclude_unset": True}
    found = payload.model_dump(exclude={"nodes", "edges"}, **how)
    found["nodes"] = [node.model_dump(**how) for node in payload.nodes]
    found["edges"] = [edge.model_dump(**how) for edge in payload.edges]
    return found


def _checked(payload: WorkflowPayload, job: Job, host: Host) -> bytes:
    """A job that could run now, as the queue keeps it.

    Args:
        payload: its workflow.
        job: the job.
        host: has the nodes.
    """
    with unsearched(len(payload.nodes) + len(payload.edges)):
        try:
            check_workflow(payload, StillHost(host, confined=job.confined, most_unknown=_MOST_UNKNOWN))
        except WorkflowError as error:
            found = [
                {key: value for key, value in asdict(problem).items() if value is not None}
                for problem in error.problems[:MOST_PROBLEMS]
            ]
            raise _problems("the workflow does not check", found, len(error.problems) - len(found)) from None
        except UsageError as error:
            raise _problems("the workflow does not check", [{"text": error.message}], 0) from None
        try:
            data = job.packed()
        except (TypeError, ValueError, OverflowError):
            raise AnswerError(422, "the workflow has a value that cannot be kept: an integer of over 64 bits") from None
    if len(data) > MOST_BYTES:
        raise too_large()
    return data


def _problems(error: str, problems: list[dict[str, Any]], more: int) -> AnswerError:
    first = problems[0]["text"] if problems else ""
    node = problems[0].get("node") if problems else None
    where = f"node {node!r}: " if node is not None else ""
    details: dict[str, Any] = {"problems": problems}
    if more > 0:
        details["more"] = more
    return AnswerError(422, f"{error}: {where}{first}"[:1000], details)


def _parts(workflow: Mapping[str, Any]) -> int:
    """Nodes and edges of a workflow, about (int)."""
    return sum(len(found) for key in ("nodes", "edges") if isinstance(found := workflow.get(key), list))
