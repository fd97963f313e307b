"""A run whose host ended goes on in another: what was done is not done again, and what was not is done."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgpack
import pytest
import trio

from innkeeper.plugins.settings import RunsSettings
from innkeeper.storage.database import open_database
from innkeeper.storage.location import Location
from innkeeper.storage.run_model import Account, NewRun
from innkeeper.workflow.runner import WorkflowRunner
from innkeeper.workflow.scheduling.host_scheduler import HostScheduler
from node_fakes import text_host


class Hosts:
    """Hosts of one database, whose nodes count how often they are called."""

    def __init__(self, place: Location) -> None:
        self.place = place
        self.calls: list[str] = []
        self.held = trio.Event()
        self.release = False
        self.host = text_host()
        self.host.add("First", self.first, outputs={"out": "STRING"})
        self.host.add("Second", self.second, inputs={"text!": "STRING"}, outputs={"out": "STRING"})

    def first(self, inputs: Any, config: Any, run: Any) -> dict[str, Any]:
        self.calls.append("first")
        return {"out": "one"}

    async def second(self, inputs: Any, config: Any, run: Any) -> dict[str, Any]:
        self.calls.append("second")
        self.held.set()
        if not self.release:
            await trio.sleep_forever()
        return {"out": inputs["text"] + " two"}

    @asynccontextmanager
    async def up(self) -> AsyncIterator[HostScheduler]:
        runner = WorkflowRunner(self.host)
        with trio.fail_after(60):
            async with open_database(self.place) as db, trio.open_nursery() as nursery:
                made = HostScheduler(db, runner, runner, settings=RunsSettings())
                nursery.start_soon(made.run)
                yield made
                nursery.cancel_scope.cancel()


def job(after_crash: str) -> bytes:
    policy = {"innkeeper": {"afterCrash": after_crash}}
    packed: bytes = msgpack.packb(
        {
            "workflow": {
                "nodes": [
                    {"id": "a", "fullType": "t:First"},
                    {"id": "b", "fullType": "t:Second", "configValues": policy},
                ],
                "edges": [
                    {"id": "e", "sourceNodeId": "a", "sourceHandle": "out", "targetNodeId": "b", "targetHandle": "text"}
                ],
                "interfaceOutputs": {"out": {"dataFlowType": "STRING"}},
                "outputInterfaceMappings": {"out": {"sourceNodeId": "b", "sourceSlotKey": "out"}},
            },
            "inputs": {},
        }
    )
    return packed


@pytest.mark.parametrize(
    ("after_crash", "status", "calls"),
    [("again", "complete", ["first", "second", "second"]), ("never", "error", ["first", "second"])],
)
async def test_a_run_that_its_host_gave_back_goes_on_where_it_was(
    database_place: Location, after_crash: str, status: str, calls: list[str]
) -> None:
    hosts = Hosts(database_place)
    async with hosts.up() as host:
        await host.submit(NewRun("r", Account("local"), job(after_crash), after_crash="again"))
        await hosts.held.wait()
    hosts.release = True
    async with hosts.up() as host:
        async with host.events.subscribe("r") as events:
            told: list[Any] = [each async for each in events]
        ended = await host.store.ended("r", 0.0)
    assert ended is not None
    assert (ended.run.status, ended.run.attempt) == (status, 2), (ended.error, told)
    assert hosts.calls == calls
    assert [each.seq for each in told] == list(range(1, len(told) + 1))
    assert told[-1].fields["status"] == status
    if status == "complete":
        assert msgpack.unpackb(ended.outputs or b"") == {"out": "one two"}
    else:
        assert "afterCrash" in (ended.error or "")
