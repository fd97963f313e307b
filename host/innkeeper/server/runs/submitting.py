"""A workflow that somebody sends goes into the queue, checked first."""

from __future__ import annotations

from typing import Any

from innkeeper.bridge.runner import Job, ProblemsError
from innkeeper.server.answers import AnswerError
from innkeeper.server.identity import Identity
from innkeeper.server.parts import Parts
from innkeeper.storage.names import new_id
from innkeeper.storage.run_model import Account, NewRun


async def submit(
    parts: Parts, identity: Identity, workflow: dict[str, Any], *, metadata: dict[str, Any] | None = None
) -> str:
    """Checks a workflow and queues it as a run of whoever asks.

    Args:
        parts: of the server.
        identity: who asks; whether a key reaches runs, the caller has asked.
        workflow: in either form, as plain data that is bounded.
        metadata: what stands for the workflow's own; None: that.

    Returns:
        str: the run's id, its promptId.

    Raises:
        AnswerError: 422: it does not check; 503: the queue is full, or the server is stopping.
    """
    if parts.stopping.is_set():
        raise AnswerError(503, "the server is stopping")
    if metadata is not None:
        workflow = {**workflow, "metadata": metadata}
    job = Job(workflow, {})
    try:
        await parts.scheduler.check(job, confined=False)
    except ProblemsError as error:
        problems = [{"text": line} for line in error.lines]
        raise AnswerError(422, f"the workflow does not check: {error.lines[0]}", {"problems": problems}) from None
    new = NewRun(new_id(), Account(identity.uid), job.packed())
    if await parts.scheduler.submit(new) == "busy":
        raise AnswerError(503, "the queue is full: wait for runs to end, or interrupt some")
    return new.id
