"""The service `scheduler`: workflows that plugins start, now, later or by cron, and what became of them."""

from __future__ import annotations

import json
from typing import Annotated, Any

import trio
from pydantic import Field

from innkeeper.bridge.caller import Caller
from innkeeper.bridge.lazy_scheduler import may_start
from innkeeper.bridge.needs import Needs
from innkeeper.bridge.operation import operation
from innkeeper.bridge.quota import Rate
from innkeeper.bridge.refusal import Refusal, ServiceError
from innkeeper.bridge.scheduler_desk import Desk, Front
from innkeeper.bridge.scheduler_values import no_such, refusing, run_value, schedule_value
from innkeeper.storage.names import new_id
from innkeeper.storage.run_model import MOST_LISTED, Account, NewRun
from innkeeper.storage.schedules_model import Schedule

RATE = Rate(per_second=100, burst=200)
"""Calls of one plugin."""

MOST_AHEAD = 10 * 366 * 86400.0
"""Seconds from now within which something is to run."""

Text = Annotated[str, Field(max_length=100)]
Id = Annotated[str, Field(min_length=1, max_length=64)]
Seconds = Annotated[float, Field(ge=0, le=MOST_AHEAD, allow_inf_nan=False)]
Instant = Annotated[float, Field(ge=0, le=1e11, allow_inf_nan=False)]
Workflow = dict[str, Any]
Inputs = dict[str, Any]


class SchedulerService:
    """Starts workflows for plugins. A plugin sees and changes what it submitted itself, and nothing else.

    Whatever runs does so under the rights of the plugins that it consists of, never under those of who submitted it.
    """

    def __init__(self, desk: Front) -> None:
        """Args:
        desk: what stands behind it.
        """
        self._desk = desk

    async def serve(self) -> None:
        """Sees to it that what is queued runs and what is due fires, as soon as there may be something."""
        await self._desk.serve()

    # --- starting ---------------------------------------------------------------------------------------------------

    @operation("scheduler.submit", free_form=True)
    async def submit(
        self, caller: Caller, *, workflow: Workflow, inputs: Inputs | None = None, name: Text = ""
    ) -> dict[str, Any]:
        """Starts a workflow as soon as there is room for it.

        Args:
            workflow: an execution payload, as `innkeeper run` takes it.
            inputs: values of its interface inputs, by key.
            name: what to call the run.

        Returns:
            {run: its id}
        """
        with refusing():
            desk, generation = await self._desk.ready(caller, name)
            job = await self._desk.checked(desk, workflow, inputs)
            id = new_id()
            run = NewRun(id, _account(caller), job, name=name, generation=generation)
            if await desk.runs.submit(run, self._desk.now()) == "busy":
                raise ServiceError(Refusal.BUSY, "the queue is full; try again later")
        desk.scheduler.wake(id)
        return {"run": id}

    @operation("scheduler.submit", free_form=True)
    async def later(
        self,
        caller: Caller,
        *,
        workflow: Workflow,
        seconds: Seconds | None = None,
        at: Instant | None = None,
        inputs: Inputs | None = None,
        name: Text = "",
    ) -> dict[str, Any]:
        """Starts a workflow once, at a time to come.

        Args:
            workflow: an execution payload, as `innkeeper run` takes it.
            seconds: from now; this or `at`.
            at: seconds since 1970, not in the past.
            inputs: values of its interface inputs, by key.
            name: what to call the schedule and its run.

        Returns:
            {schedule: its id, due: seconds since 1970}
        """
        with refusing():
            now = self._desk.now()
            if (seconds is None) == (at is None):
                raise ValueError("give either 'seconds' or 'at'")
            due = now + seconds if seconds is not None else (at or 0.0)
            if not now <= due <= now + MOST_AHEAD:
                raise ValueError("the time must not be in the past, nor more than ten years from now")
            desk, generation = await self._desk.ready(caller, name)
            job = await self._desk.checked(desk, workflow, inputs)
            return await self._schedule(desk, caller, name, "", "", generation, due, job)

    @operation("scheduler.submit", free_form=True)
    async def cron(
        self,
        caller: Caller,
        *,
        workflow: Workflow,
        expression: Text,
        timezone: Text = "UTC",
        inputs: Inputs | None = None,
        name: Text = "",
    ) -> dict[str, Any]:
        """Starts a workflow again and again.

        Args:
            workflow: an execution payload, as `innkeeper run` takes it.
            expression: five fields: minute, hour, day of month, month, day of week.
            timezone: of the expression, such as "Europe/Berlin".
            inputs: values of its interface inputs, by key.
            name: what to call the schedule and its runs.

        Returns:
            {schedule: its id, due: seconds since 1970}
        """
        with refusing():
            desk, generation = await self._desk.ready(caller, name)
            due = await trio.to_thread.run_sync(_next_due, expression, timezone, self._desk.now())
            job = await self._desk.checked(desk, workflow, inputs)
            return await self._schedule(desk, caller, name, expression, timezone, generation, due, job)

    # --- ending -----------------------------------------------------------------------------------------------------

    @operation("scheduler.submit")
    async def cancel(self, caller: Caller, *, run: Id) -> dict[str, Any]:
        """Ends a run that the plugin submitted; one that has ended stays as it is.

        Args:
            run: its id.

        Returns:
            {status: how it stands; one that still says "running" is about to end}
        """
        with refusing():
            desk = await self._desk.opened()
            found = await desk.runs.cancel(run, self._desk.now(), _account(caller))
            if found is None:
                raise no_such("run")
        if found.status == "running":
            desk.scheduler.cancel(run)
        return {"status": found.status}

    @operation("scheduler.submit")
    async def unschedule(self, caller: Caller, *, schedule: Id) -> dict[str, Any]:
        """Removes a schedule; runs that it has started go on.

        Args:
            schedule: its id.

        Returns:
            {removed: whether there was one}
        """
        with refusing():
            desk = await self._desk.opened()
            return {"removed": await desk.schedules.remove(_account(caller), schedule)}

    # --- looking ----------------------------------------------------------------------------------------------------

    @operation("scheduler.read")
    async def status(self, caller: Caller, *, run: Id) -> dict[str, Any]:
        """Says how a run of the plugin stands.

        Args:
            run: its id.

        Returns:
            {run, name, status: "queued", "running", "complete", "error", "cancelled" or "interrupted", schedule: id
            or nil, submitted, started, ended: seconds since 1970 or nil}
        """
        with refusing():
            desk = await self._desk.opened()
            found = await desk.runs.find(run, self._desk.now(), _account(caller))
        if found is None:
            raise no_such("run")
        return run_value(found)

    @operation("scheduler.read")
    async def result(self, caller: Caller, *, run: Id) -> dict[str, Any]:
        """Gives what became of a run of the plugin.

        Args:
            run: its id.

        Returns:
            {status, outputs: bytes, a msgpack map of the workflow's outputs by key, or nil where it has not ended so,
            error: {kind, message, node, plugin} or nil}
        """
        with refusing():
            desk = await self._desk.opened()
            found = await desk.runs.ended(run, self._desk.now(), _account(caller))
        if found is None:
            raise no_such("run")
        error = None if found.error is None else json.loads(found.error)
        return {"status": found.run.status, "outputs": found.outputs, "error": error}

    @operation("scheduler.read")
    async def runs(
        self,
        caller: Caller,
        *,
        before: Annotated[str, Field(max_length=64)] = "",
        schedule: Annotated[str, Field(max_length=64)] = "",
        limit: Annotated[int, Field(ge=1, le=MOST_LISTED)] = 50,
    ) -> dict[str, Any]:
        """Lists the plugin's runs, the newest first.

        Args:
            before: id of the last run of the page before.
            schedule: only those that this schedule started.
            limit: how many at most.

        Returns:
            {runs: list of what `status` gives}
        """
        with refusing():
            desk = await self._desk.opened()
            now = self._desk.now()
            found = await desk.runs.list(now, _account(caller), before=before, schedule=schedule, limit=limit)
        return {"runs": [run_value(each) for each in found]}

    @operation("scheduler.read")
    async def schedules(self, caller: Caller) -> dict[str, Any]:
        """Lists the plugin's schedules, the oldest first.

        Returns:
            {schedules: list of {schedule: id, name, expression: text or nil, timezone: text or nil, due, last: seconds
            since 1970 or nil}}
        """
        with refusing():
            desk = await self._desk.opened()
            found = await desk.schedules.list(_account(caller))
        return {"schedules": [schedule_value(each) for each in found]}

    async def _schedule(
        self,
        desk: Desk,
        caller: Caller,
        name: str,
        expression: str,
        timezone: str,
        generation: int,
        due: float,
        job: bytes,
    ) -> dict[str, Any]:
        account, now = _account(caller), self._desk.now()
        schedule = Schedule(new_id(), account, name, expression, timezone, generation, now, due, None)
        await desk.schedules.add(schedule, job)
        desk.scheduler.wake()
        return {"schedule": schedule.id, "due": due}


def make(needs: Needs) -> SchedulerService:
    """The service of a host."""

    def known() -> bool:
        host = needs.host()
        return any(may_start(host, plugin) for plugin in host.plugins)

    lazy = needs.scheduler
    front = Front(
        needs.database,
        None if lazy is None else lazy.get,
        settings=needs.configuration.runs,
        known=known,
        everything=lazy is not None and lazy.everything,
        kept=needs.kept,
    )
    return SchedulerService(front)


def _account(caller: Caller) -> Account:
    return Account(caller.owner, caller.plugin)


def _next_due(expression: str, timezone: str, after: float) -> float:
    # Imported where it is used: in a thread, and only if something is scheduled.
    from innkeeper.bridge.cron import next_due

    return next_due(expression, timezone, after)
