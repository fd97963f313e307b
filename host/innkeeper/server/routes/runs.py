"""Runs that were: the history of a user, and runs again."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Annotated

from fastapi import Query

from innkeeper.server.answers import AnswerError
from innkeeper.server.guards.bodies import BoundedRouter
from innkeeper.server.identity import Identity, scoped
from innkeeper.server.models import ASKED, Model, problems
from innkeeper.server.parts import PartsOf
from innkeeper.server.runs.describing import PromptInfo, Status, info_of
from innkeeper.server.runs.finding import RunId, find_run
from innkeeper.server.runs.submitting import queue
from innkeeper.storage.names import new_id
from innkeeper.storage.run_model import MOST_LISTED, NewRun, RunStatus, TooManyError

router = BoundedRouter(tags=["runs"])

Runner = Annotated[Identity, scoped("runs")]


class Runs(Model):
    """Runs, newest first. `next` is what `before` is for the next page, or None."""

    runs: list[PromptInfo]
    next: str | None = None


class Retried(Model):
    """A run does what another one did."""

    prompt_id: str
    retry_of: str


@router.get("/api/runs", responses=ASKED)
async def get_runs(
    parts: PartsOf,
    identity: Runner,
    status: Annotated[list[Status], Query(max_length=5)] = [],  # noqa: B006
    limit: Annotated[int, Query(ge=1, le=MOST_LISTED)] = 20,
    before: Annotated[str, Query(max_length=64, pattern="^[0-9A-Za-z]*$")] = "",
    schedule: Annotated[str, Query(max_length=64, pattern="^[0-9A-Za-z]*$")] = "",
    everybody: bool = False,
) -> Runs:
    """The user's runs; `everybody=true` gives an administrator all."""
    if everybody and not (identity.is_admin and identity.may("admin")):
        raise AnswerError(403, "only an administrator may see everybody's runs")
    wanted: list[RunStatus] = [*status]
    if "interrupted" in wanted:
        wanted.append("cancelled")
    owner = "" if everybody else identity.uid
    found = await parts.scheduler.store.list(
        time.time(), owner=owner, before=before, schedule=schedule, statuses=wanted, limit=limit
    )
    return Runs(runs=[info_of(run) for run in found], next=found[-1].id if len(found) == limit else None)


@router.post(
    "/api/runs/{prompt_id}/retry",
    responses=ASKED
    | problems(
        _404="there is no such run, or it is not yours",
        _409="it has not ended, or what it was to do is not kept",
        _503="the queue is full, or the server is stopping",
    ),
)
async def retry_run(prompt_id: RunId, parts: PartsOf, identity: Runner) -> Retried:
    """Queues again what a run was to do, as its owner's."""
    if parts.stopping.is_set():
        raise AnswerError(503, "the server is stopping")
    run = await find_run(parts, identity, prompt_id)
    if run.ended is None:
        raise AnswerError(409, f"the run has not ended: it is {run.status}")
    job = await parts.scheduler.store.job(run.id)
    if job is None:
        raise AnswerError(409, "what the run was to do is not kept any more: submit the workflow again")
    now = time.time()
    deadline = None if run.deadline is None else now + max(1.0, run.deadline - run.submitted)
    new = NewRun(new_id(), run.account, job, run.name, run.priority, deadline, run.after_crash)
    try:
        await queue(parts, replace(new, generation=run.generation, schedule=run.schedule))
    except TooManyError as error:
        raise AnswerError(503, str(error)) from None
    return Retried(prompt_id=new.id, retry_of=run.id)
