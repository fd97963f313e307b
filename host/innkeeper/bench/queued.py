"""Workflows on the whole of their way: into the queue, executed with all events kept, and ended in the database."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgpack
import trio

import innkeeper
from innkeeper.bench.workspace import Workspace
from innkeeper.composition.interpreter import settle_interpreter
from innkeeper.errors import InternalError
from innkeeper.plugins.host import Host
from innkeeper.plugins.settings import RunsSettings
from innkeeper.storage.database import open_database
from innkeeper.storage.names import new_id
from innkeeper.storage.run_model import USER, Account, NewRun
from innkeeper.workflow.runner import WorkflowRunner
from innkeeper.workflow.scheduling.host_scheduler import HostScheduler
from innkeeper.workflow.scheduling.worker import Step

AT_ONCE = 200
"""Runs at the same time, at the most."""


class Queue:
    """A host that executes what is submitted to it.

    Attributes:
        host: it.
    """

    def __init__(self, host: Host, scheduler: HostScheduler) -> None:
        self.host = host
        self._scheduler = scheduler
        self._ended: dict[str, trio.Event] = {}
        self._steps: dict[str, Step] = {}
        scheduler.told = self._told

    def _told(self, step: Step) -> None:
        if step.status != "running" and step.run.id in self._ended:
            self._steps[step.run.id] = step
            self._ended[step.run.id].set()

    async def run(self, workflow: Mapping[str, Any]) -> None:
        """Submits a workflow and waits for its end.

        Raises:
            InternalError: it did not end well.
        """
        step = await self._ending(await self._submitted(workflow))
        if step.status != "complete":
            why = step.status if step.failure is None else step.failure.message
            raise InternalError(f"a run did not end well: {why}")

    async def cancelled(self, workflow: Mapping[str, Any], after: float) -> float:
        """Submits a workflow, cancels its run after so many seconds, and waits for its end.

        Returns:
            Seconds (float) from the cancellation to the end.

        Raises:
            InternalError: it ended by itself.
        """
        id = await self._submitted(workflow)
        await trio.sleep(after)
        begun = time.perf_counter()
        self._scheduler.cancel(id)
        step = await self._ending(id)
        seconds = time.perf_counter() - begun
        if step.status != "cancelled":
            raise InternalError(f"a run ended by itself: {step.status}")
        return seconds

    async def _submitted(self, workflow: Mapping[str, Any]) -> str:
        id = new_id()
        self._ended[id] = trio.Event()
        job = msgpack.packb({"workflow": workflow, "inputs": {}})
        answer = await self._scheduler.submit(NewRun(id, Account(USER), job))
        if answer != "accepted":
            raise InternalError(f"the queue did not take a run: {answer}")
        return id

    async def _ending(self, id: str) -> Step:
        await self._ended[id].wait()
        del self._ended[id]
        return self._steps.pop(id)


@asynccontextmanager
async def opened(workspace: Workspace) -> AsyncIterator[Queue]:
    """A host of the workspace's home with a queue of its own."""
    settings = RunsSettings(parallel=AT_ONCE, per_user=AT_ONCE)
    async with (
        innkeeper.open_host(workspace.home, watch=False) as host,
        open_database(workspace.folder / "runs" / "runs.db") as database,
        trio.open_nursery() as nursery,
    ):
        runner = WorkflowRunner(host)
        scheduler = HostScheduler(database, runner, runner, settings=settings)
        queue = Queue(host, scheduler)
        nursery.start_soon(scheduler.run)
        # As `innkeeper work` does.
        settle_interpreter()
        yield queue
        nursery.cancel_scope.cancel()
