"""Rows of runs that are damaged: whoever needs them is told so, and everybody else goes on."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, insert, select, update

from innkeeper.cli.kept_runs import failure_of, outputs_of
from innkeeper.cli.watch import event_line
from innkeeper.errors import RejectedError
from innkeeper.storage.database import Database, open_database
from innkeeper.storage.run_leases import RunLeases
from innkeeper.storage.run_model import Ended, Fence
from innkeeper.storage.run_reading import PAGE_BYTES, RunReader
from innkeeper.storage.run_store import RunStore
from innkeeper.storage.runs_schema import node_results, run_events, runs
from innkeeper.workflow.engine.events import COMPLETE, RunEvent
from innkeeper.workflow.runner import WorkflowRunner
from innkeeper.workflow.scheduling.events import SqlEvents
from innkeeper.workflow.scheduling.execution import Task
from innkeeper.workflow.scheduling.seams import Lease
from node_fakes import text_host
from run_fakes import NoSink, chunk, event, new_run, stored_run
from test_run_worker import FakeExecutor, Home, completes, error_of, found


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "state" / "inn.db")


RUBBISH = [
    b"",
    b"\xc1",
    b"\x93\x01",
    b"\x01",
    msgpack.packb([1]),
    msgpack.packb([[1]]),
    msgpack.packb([[1, "NODE_COMPLETE", None]]),
    msgpack.packb([["1", "NODE_COMPLETE", {}]]),
    msgpack.packb({"a": 1}),
    b"\x91" * 5000,
]


async def with_events(db: Database) -> Fence:
    """A run that has said something."""
    await RunStore(db).submit(new_run("r"), 1.0)
    (taken,) = await RunLeases(db).claim("host", 1, 60.0, 1.0)
    lease = Lease("r", taken.run.number, "host", taken.run.attempt, 60.0)
    await SqlEvents(db).publish(
        lease, [event(1, nodeId="n"), RunEvent(2, COMPLETE, {"nodeId": "n"}, {"o": b"\x01"}), chunk(3)]
    )
    return taken.fence


@pytest.mark.parametrize("kind", ["lifecycle", "chunks"])
@pytest.mark.parametrize("rubbish", RUBBISH)
async def test_damaged_events_are_said_to_be_damaged(tmp_path: Path, kind: str, rubbish: bytes) -> None:
    async with open_database(tmp_path / "state" / "inn.db") as db:
        fence = await with_events(db)
        damage = update(run_events).where(run_events.c.kind == kind).values(body=rubbish)
        await db.write(lambda connection: connection.execute(damage))
        with pytest.raises(RejectedError, match="damaged"):
            await RunReader(db).page(fence.number, 0)


async def test_damaged_results_of_nodes_are_said_to_be_damaged(tmp_path: Path) -> None:
    async with open_database(tmp_path / "state" / "inn.db") as db:
        fence = await with_events(db)
        for rubbish in (b"\xc1", msgpack.packb([1]), msgpack.packb({"o": 1})):
            damage = update(node_results).values(body=rubbish)
            await db.write(lambda connection, damage=damage: connection.execute(damage))
            with pytest.raises(RejectedError, match="damaged"):
                await RunReader(db).page(fence.number, 0)


async def test_a_run_whose_earlier_attempt_cannot_be_read_fails_and_is_not_taken_again_and_again(home: Home) -> None:
    executor = FakeExecutor(completes)
    async with home.host(executor, serve=False) as host:
        await host.store.submit(new_run("bad", after_crash="again"), 1.0)
        await host.store.submit(new_run("good"), 1.0)

    def damage(connection: Connection) -> None:
        number = connection.scalar(select(runs.c.number).where(runs.c.id == "bad"))
        connection.execute(update(runs).where(runs.c.number == number).values(attempt=1, seq=1))
        row = {"run": number, "upto": 1, "kind": "lifecycle", "first": 1, "size": 1, "body": b"\xc1"}
        connection.execute(insert(run_events), [row])

    async with open_database(home.place) as db:
        await db.write(damage)
    async with home.host(executor) as host:
        while (await found(host, "bad")).ended is None or (await found(host, "good")).ended is None:
            await host.events.look()
        assert (await found(host, "good")).status == "complete"
        run = await found(host, "bad")
        assert (run.status, run.attempt) == ("error", 2)
        error = await error_of(host, "bad")
        assert error["kind"] == "rejected"
        assert "damaged" in error["message"]
    assert [task.run.id for task in executor.tasks] == ["good"]


@pytest.mark.parametrize("job", [*RUBBISH, msgpack.packb({"workflow": 1, "inputs": {}})])
async def test_a_run_whose_job_is_damaged_says_so(job: bytes) -> None:
    with pytest.raises(RejectedError, match="damaged"):
        await WorkflowRunner(text_host()).execute(Task(stored_run("r"), job, 1000), NoSink())


@given(st.binary(max_size=40), st.text(max_size=40))
def test_what_became_of_a_run_is_read_or_said_to_be_damaged(outputs: bytes, error: str) -> None:
    ended = Ended(stored_run("r"), outputs, error)
    reads: list[Callable[[Ended], Any]] = [outputs_of, failure_of]
    for read in reads:
        with suppress(RejectedError):
            assert isinstance(read(ended), dict | None)


@given(st.binary(max_size=40))
def test_a_chunk_is_shown_or_said_to_be_damaged(content: bytes) -> None:
    with suppress(RejectedError):
        assert event_line(chunk(1, content), "r")["seq"] == 1


async def test_a_page_of_events_with_large_results_is_bounded(tmp_path: Path) -> None:
    """Each subscriber has a page in memory; sixteen flushes could bring hundreds of megabytes of results."""
    async with open_database(tmp_path / "state" / "inn.db") as db:
        await RunStore(db).submit(new_run("r"), 1.0)
        (taken,) = await RunLeases(db).claim("host", 1, 60.0, 1.0)
        lease = Lease("r", taken.run.number, "host", taken.run.attempt, 60.0)
        events, large = SqlEvents(db), {"o": b"\xc6" + (PAGE_BYTES // 2).to_bytes(4, "big") + bytes(PAGE_BYTES // 2)}
        for flush in range(12):
            first = 2 * flush + 1
            await events.publish(lease, [event(first), RunEvent(first + 1, COMPLETE, {"nodeId": "n"}, large)])
        after, seen = 0, []
        while after < 24:
            page = await RunReader(db).page(taken.run.number, after)
            assert page is not None
            assert sum(len(value) for each in page.events for value in each.values.values()) <= 2 * PAGE_BYTES
            assert page.upto > after
            seen += [each.seq for each in page.events]
            after = page.upto
        assert seen == list(range(1, 25))
