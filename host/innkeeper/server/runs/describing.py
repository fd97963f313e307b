"""Runs as answers say them."""

from __future__ import annotations

import json
from typing import Any, Literal

import trio
from pydantic import Field

from innkeeper.bridge.runner import NO_OUTPUTS
from innkeeper.server.answers import AnswerError
from innkeeper.server.models import Model, moment
from innkeeper.server.parts import Parts
from innkeeper.server.runs.outcomes import NodeState, Outcomes
from innkeeper.server.runs.plain_json import json_text
from innkeeper.storage.run_model import Ended, StoredRun

Status = Literal["queued", "running", "complete", "error", "interrupted"]


class PromptInfo(Model):
    """A run.

    Attributes:
        prompt_id: its id.
        status: how it stands; one that somebody ended is "interrupted", as in events.
        workflow_name: what whoever submitted it called it.
        submitted_at: when it was queued, as are the other times in ISO 8601.
        owner: id of the user whose it is.
        plugin: id of the plugin that submitted it, or None.
        schedule: id of the schedule that it comes from, or None.
        cancelled: whether somebody wanted it to end.
        attempt: how often a host took it.
        seq: number of its last event.
    """

    prompt_id: str
    status: Status
    workflow_name: str | None = None
    submitted_at: str | None = None
    started_at: str | None = None
    ended_at: str | None = None
    deadline: str | None = None
    owner: str
    plugin: str | None = None
    schedule: str | None = None
    priority: int = 0
    cancelled: bool = False
    attempt: int = 0
    seq: int = 0


class RunFailure(Model):
    """Why a run failed: the kind of error, a sentence, and the node and plugin if it was one."""

    kind: str
    message: str
    node: str | None = None
    plugin: str | None = None


class NodeOutcome(Model):
    """What became of a node: "running", "complete", "error", "skipped", "bypassed" or "interrupted"; how long it took,
    how often it was called where that is more than once, and why it failed."""

    status: str
    began_at: str | None = None
    seconds: float | None = None
    message: str | None = None
    tries: int | None = None


class PromptResult(PromptInfo):
    """A run and what became of it.

    Attributes:
        error: why it failed.
        outputs: of the workflow, by key; bytes are base64 text, and NaN is null. None where there are none yet.
        nodes: by id, those of groups and of turns of loops too.
        nodes_left_out: events of nodes that are not told one by one.
    """

    error: RunFailure | None = None
    outputs: dict[str, Any] | None = None
    nodes: dict[str, NodeOutcome] = Field(default_factory=dict)
    nodes_left_out: int = 0


def info_of(run: StoredRun) -> PromptInfo:
    """A run as lists say it."""
    return PromptInfo(
        prompt_id=run.id,
        status="interrupted" if run.status == "cancelled" else run.status,
        workflow_name=run.name or None,
        submitted_at=moment(run.submitted),
        started_at=moment(run.started),
        ended_at=moment(run.ended),
        deadline=moment(run.deadline),
        owner=run.account.owner,
        plugin=run.account.plugin or None,
        schedule=run.schedule or None,
        priority=run.priority,
        cancelled=run.cancel or run.status == "cancelled",
        attempt=run.attempt,
        seq=run.seq,
    )


async def result_text(parts: Parts, ended: Ended, outcomes: Outcomes | None, *, outputs: bool) -> bytes:
    """A `PromptResult` as JSON text. What may be large is written in a thread, and never built as a whole.

    Args:
        parts: of the server.
        ended: the run.
        outcomes: of its nodes, or None to leave them out.
        outputs: whether the workflow's outputs are in it.

    Raises:
        AnswerError: 500: what the database keeps of it is damaged.
    """
    data = (ended.outputs or NO_OUTPUTS) if outputs and ended.run.ended is not None else None
    return await trio.to_thread.run_sync(_result, ended, outcomes, data, limiter=parts.runs.packing)


def _result(ended: Ended, outcomes: Outcomes | None, data: bytes | None) -> bytes:
    run = ended.run
    try:
        failure = json.loads(ended.error) if ended.error else None
        error = RunFailure.model_validate(failure) if failure else None
        said = b"null" if data is None else json_text(data)
    except (ValueError, RecursionError):
        raise AnswerError(500, f"what the database keeps of the run {run.id} is damaged") from None
    found = PromptResult(**info_of(run).model_dump(), error=error, nodes_left_out=outcomes.more if outcomes else 0)
    # Halves of characters in a name or a message must not keep all the rest from being read.
    head = json.dumps(found.model_dump(by_alias=True, exclude={"nodes", "outputs"}), allow_nan=False)
    nodes = ",".join(_node(id, node) for id, node in outcomes.nodes.items()) if outcomes else ""
    return f'{head[:-1]},"nodes":{{{nodes}}},"outputs":'.encode() + said + b"}"


def _node(id: str, node: NodeState) -> str:
    # One by one: a call for ten thousand of them would keep the interpreter's lock for a third of a second.
    said = {
        "status": node.status,
        "beganAt": moment(node.began),
        "seconds": node.seconds,
        "message": node.message,
        "tries": node.tries,
    }
    return f"{json.dumps(id)}:{json.dumps(said, allow_nan=False)}"
