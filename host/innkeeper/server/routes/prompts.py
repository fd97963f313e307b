"""Runs of workflows, as ComfyTavern's clients know them: submit, ask, list, interrupt."""

from __future__ import annotations

import time
from typing import Annotated, Any

from fastapi import Query, Request
from starlette.responses import Response

from innkeeper.server.guards.bodies import BoundedRouter, takes
from innkeeper.server.identity import Identity, scoped
from innkeeper.server.models import ASKED, Model, problems
from innkeeper.server.parts import PartsOf
from innkeeper.server.runs import finding
from innkeeper.server.runs.describing import PromptInfo, PromptResult, info_of, result_text
from innkeeper.server.runs.finding import RunId, find_ended
from innkeeper.server.runs.outcomes import outcomes_of
from innkeeper.server.runs.submitting import MOST_BYTES, read_workflow, submit
from innkeeper.storage.run_model import MOST_LISTED
from innkeeper.storage.run_reading import RunReader

router = BoundedRouter(tags=["runs"])

Runner = Annotated[Identity, scoped("runs")]

_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "A workflow, in the form in which it is executed or as an editor stores it.",
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["nodes", "edges"],
                    "properties": {
                        "workflowId": {"type": "string", "minLength": 1, "maxLength": 256},
                        "nodes": {"type": "array", "items": {"type": "object"}},
                        "edges": {"type": "array", "items": {"type": "object"}},
                        "interfaceInputs": {"type": "object"},
                        "interfaceOutputs": {"type": "object"},
                        "outputInterfaceMappings": {"type": "object"},
                        "metadata": {
                            "type": "object",
                            "properties": {
                                "priority": {"type": "integer", "minimum": -1000, "maximum": 1000},
                                "deadline": {"type": "number", "exclusiveMinimum": 0, "maximum": 2592000},
                                "afterCrash": {"enum": ["interrupt", "again"]},
                                "name": {"type": "string", "maxLength": 256},
                                "projectId": {"type": "string", "minLength": 1, "maxLength": 256},
                            },
                        },
                    },
                }
            }
        },
    }
}


class Accepted(Model):
    """A run was queued."""

    prompt_id: str


class Executions(Model):
    """Runs that are under way.

    Attributes:
        running: those that hosts execute.
        pending: those that wait, the newest first.
        next: what `before` is for the next page of those that wait, or None.
    """

    running: list[PromptInfo]
    pending: list[PromptInfo]
    next: str | None = None


class Interrupted(Model):
    """Whether a run is ended, or is being."""

    success: bool
    message: str


@router.post(
    "/api/prompt",
    openapi_extra=_BODY,
    responses=ASKED
    | problems(
        _400="it is not JSON",
        _404="there is no such project",
        _413="it is too large",
        _422="it does not check; `details` says all that is wrong",
        _503="the queue is full, or the server is stopping",
    ),
)
@takes(MOST_BYTES)
async def post_prompt(request: Request, parts: PartsOf, identity: Runner) -> Accepted:
    """Checks a workflow and queues it. Its `metadata` may say `priority`, `deadline` (seconds), `afterCrash`, `name`
    and `projectId`."""
    workflow = await read_workflow(parts, await request.body())
    return Accepted(prompt_id=await submit(parts, identity, workflow))


@router.get(
    "/api/prompt/{prompt_id}",
    responses={**ASKED, **problems(_404="there is no such run, or it is not yours"), 200: {"model": PromptResult}},
)
async def get_prompt(
    prompt_id: RunId, parts: PartsOf, identity: Runner, outputs: bool = True, nodes: bool = True
) -> Response:
    """How a run stands, and what became of it after its end. `outputs=false` and `nodes=false` leave these out."""
    ended = await find_ended(parts, identity, prompt_id)
    outcomes = await outcomes_of(RunReader(parts.database), ended.run) if nodes else None
    return Response(await result_text(parts, ended, outcomes, outputs=outputs), media_type="application/json")


@router.get("/api/executions", responses=ASKED)
async def get_executions(
    parts: PartsOf,
    identity: Runner,
    limit: Annotated[int, Query(ge=1, le=MOST_LISTED)] = MOST_LISTED,
    before: Annotated[str, Query(max_length=64, pattern="^[0-9A-Za-z]*$")] = "",
) -> Executions:
    """Runs that are under way: the user's own, and for an administrator everybody's."""
    owner = "" if identity.is_admin and identity.may("admin") else identity.uid
    store, now = parts.scheduler.store, time.time()
    running = await store.list(now, owner=owner, statuses=["running"])
    pending = await store.list(now, owner=owner, statuses=["queued"], before=before, limit=limit)
    return Executions(
        running=[info_of(run) for run in running],
        pending=[info_of(run) for run in pending],
        next=pending[-1].id if len(pending) == limit else None,
    )


_INTERRUPT = {**ASKED, **problems(_404="there is no such run, or it is not yours")}


@router.delete("/api/interrupt/{prompt_id}", responses=_INTERRUPT)
@router.post("/api/interrupt/{prompt_id}", responses=_INTERRUPT)
async def interrupt(prompt_id: RunId, parts: PartsOf, identity: Runner) -> Interrupted:
    """Ends a run, wherever it is executed. Doing it twice is harmless."""
    run = await finding.interrupt(parts, identity, prompt_id)
    if run.status == "running":
        return Interrupted(success=True, message="the run is being interrupted")
    if run.status in ("cancelled", "interrupted"):
        return Interrupted(success=True, message="the run is interrupted")
    return Interrupted(success=False, message=f"the run has ended already: {run.status}")
