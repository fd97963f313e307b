"""Deadlines, leases that run out, and what is kept of runs for how long."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgpack
import pytest
from sqlalchemy import ColumnElement, Connection, Table, func, literal, select, update

from innkeeper.storage import run_rows
from innkeeper.storage.clock import database_now
from innkeeper.storage.database import Database, open_database
from innkeeper.storage.retention import RunRetention
from innkeeper.storage.run_journal import RunRecord
from innkeeper.storage.run_leases import RunLeases
from innkeeper.storage.run_model import KEPT, Taken
from innkeeper.storage.run_reading import Known, RunReader, known_of
from innkeeper.storage.run_store import RunStore
from innkeeper.storage.runs_schema import node_results, run_events, runs
from innkeeper.workflow.engine.events import COMPLETE, RunEvent
from run_fakes import chunk, event, new_run

DAY = 86400.0


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    async with open_database(tmp_path / "private" / "inn.db") as opened:
        yield opened


async def counted(db: Database, table: Table) -> int:
    """How many rows a table has."""
    return await db.read(lambda connection: connection.scalar(select(func.count()).select_from(table)) or 0)


class Time:
    """A clock of the database that the test sets."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> ColumnElement[float]:
        return literal(self.now)


async def ended(db: Database, id: str, now: float, *, size: int = 0, **more: Any) -> Taken:
    """A run that ran and completed, whose node gave so many bytes."""
    await RunStore(db).submit(new_run(id, **more), now)
    (taken,) = await RunLeases(db).claim("host", 1, 100.0, now)
    record = RunRecord(db, taken.fence)
    await record.append([event(1), RunEvent(2, COMPLETE, {"nodeId": "n"}, {"out": b"x" * size}), chunk(3)])
    await record.end(taken.run, "complete", now, events=[], outputs=b"\x80")
    return taken


async def test_the_databases_clock_is_the_time(db: Database) -> None:
    one = await db.read(lambda connection: connection.scalar(select(database_now())))
    two = await db.read(lambda connection: connection.scalar(select(database_now() + 5.0)))
    assert one is not None
    assert two is not None
    assert 1.7e9 < one <= two - 4.9 < one + 3600


async def test_a_run_that_waited_past_its_deadline_fails_and_never_begins(db: Database) -> None:
    time, store = Time(), RunStore(db)
    leases = RunLeases(db, clock=time)
    await store.submit(new_run("late", deadline=1010.0), 1.0)
    await store.submit(new_run("free"), 1.0)
    assert await leases.lapse(1.0) == []
    time.now = 1010.0
    assert [(each.id, each.status) for each in await leases.lapse(5.0)] == [("late", "error")]
    found = await store.ended("late", 5.0)
    assert found is not None
    assert found.run.ended == 5.0
    assert found.error is not None
    assert '"limit"' in found.error
    assert "deadline" in found.error
    assert [each.run.id for each in await leases.claim("h", 5, 10.0, 5.0)] == ["free"]


async def test_who_takes_a_run_learns_how_long_it_may_take_by_the_databases_clock(db: Database) -> None:
    time, store = Time(), RunStore(db)
    leases = RunLeases(db, clock=time)
    await store.submit(new_run("a", deadline=1042.0), 1.0)
    await store.submit(new_run("b"), 1.0)
    a, b = await leases.claim("h", 2, 10.0, 1.0)
    assert (a.left, b.left) == (42.0, None)
    time.now = 1050.0
    loaded = await leases.load(a.fence)
    assert loaded is not None
    assert loaded.left == -8.0


async def test_a_run_whose_host_ended_does_not_begin_again_after_its_deadline(db: Database) -> None:
    time, store = Time(), RunStore(db)
    leases = RunLeases(db, clock=time)
    await store.submit(new_run("r", deadline=1015.0, after_crash="again"), 1.0)
    await leases.claim("h", 1, 10.0, 1.0)
    time.now = 1020.0
    assert [each.status for each in await leases.lapse(5.0)] == ["error"]


async def test_when_it_began_is_when_it_first_began(db: Database) -> None:
    store, leases = RunStore(db), RunLeases(db)
    await store.submit(new_run("r"), 1.0)
    (taken,) = await leases.claim("h", 1, 10.0, 2.0)
    assert await leases.release(taken.fence)
    (taken,) = await leases.claim("h", 1, 10.0, 9.0)
    assert (taken.run.started, taken.run.attempt) == (2.0, 2)


async def test_a_run_that_waits_can_be_refused_and_one_that_runs_cannot(db: Database) -> None:
    store, leases = RunStore(db), RunLeases(db)
    await store.submit(new_run("r"), 1.0)
    await store.submit(new_run("s"), 1.0)
    await leases.claim("h", 1, 10.0, 2.0)
    assert not await store.refuse("r", 3.0, "denied", "it may not")
    assert await store.refuse("s", 3.0, "denied", "it may not")
    page = await RunReader(db).page(2, 0)
    assert page is not None
    assert page.events[-1].fields == {"status": "error", "errorInfo": {"message": "it may not"}}


async def test_results_beyond_their_bound_are_not_kept_and_their_events_say_so(db: Database) -> None:
    await RunStore(db).submit(new_run("r"), 1.0)
    (taken,) = await RunLeases(db).claim("h", 1, 10.0, 1.0)
    record = RunRecord(db, taken.fence, result_bytes=5000)
    for number in range(1, 5):
        values = {"out": b"x" * 2000}
        await record.append([RunEvent(number, COMPLETE, {"nodeId": f"n{number}"}, values)])
    page = await RunReader(db).page(taken.run.number, 0)
    assert page is not None
    assert [bool(each.values) for each in page.events] == [True, True, False, False]
    assert [each.fields.get("outputGone") for each in page.events] == [None, None, True, True]
    known = await record.known()
    # What is not known has to be computed again.
    assert set(known.results) == {"n1", "n2"}


async def test_what_became_of_each_node_is_known_to_the_next_attempt(db: Database) -> None:
    await RunStore(db).submit(new_run("r"), 1.0)
    (taken,) = await RunLeases(db).claim("h", 1, 10.0, 1.0)
    record = RunRecord(db, taken.fence)
    details = {"message": "it broke", "kind": "limit"}
    said = [
        ("NODE_EXECUTING", "done"),
        ("NODE_EXECUTING", "broken"),
        ("NODE_EXECUTING", "open"),
        ("NODE_EXECUTING", "twice"),
        ("NODE_SKIPPED", "skipped"),
        ("NODE_BYPASSED", "bypassed"),
    ]
    events = [event(number, kind, nodeId=node) for number, (kind, node) in enumerate(said, 1)]
    events += [
        RunEvent(7, COMPLETE, {"nodeId": "done"}, {"out": b"\x01"}),
        event(8, "NODE_ERROR", nodeId="broken", errorDetails=details),
        RunEvent(9, COMPLETE, {"nodeId": "twice"}, {"out": b"\x01"}),
        event(10, "NODE_EXECUTING", nodeId="twice"),
    ]
    await record.append(events[:4])
    await record.append(events[4:])
    known = await record.known()
    assert known.results == {"done": {"out": b"\x01"}}
    assert known.failed == {"broken": ("limit", "it broke")}
    assert (known.begun, known.said) == ({"done", "broken", "open", "twice"}, {"skipped", "bypassed"})
    assert known.seq == 10


async def test_the_bounds_of_a_run_go_on_with_its_next_attempt(db: Database) -> None:
    store, leases = RunStore(db), RunLeases(db)
    await store.submit(new_run("r"), 1.0)
    (first,) = await leases.claim("h", 1, 10.0, 1.0)
    record = RunRecord(db, first.fence, chunk_bytes=10_000)
    number = 0
    for _ in range(8):
        number += 1
        await record.append([chunk(number, b"\xc5\x03\xe8" + b"x" * 1000)])
    assert await leases.release(first.fence)
    (second,) = await leases.claim("h", 1, 10.0, 1.0)
    record = RunRecord(db, second.fence, chunk_bytes=10_000)
    for _ in range(8):
        number += 1
        await record.append([chunk(number, b"\xc5\x03\xe8" + b"x" * 1000)])
    page = await RunReader(db).page(first.run.number, 0)
    assert page is not None
    assert page.gone is not None
    assert page.gone[0] == 1
    assert len(page.events) <= 9
    size = await db.read(lambda connection: connection.scalar(select(func.sum(run_events.c.size))))
    assert size <= 12_000


async def test_runs_are_forgotten_by_age_with_all_that_is_known_of_them(db: Database) -> None:
    await ended(db, "old", 0.0)
    await ended(db, "plugins", 29 * DAY, plugin="p")
    await ended(db, "new", 29 * DAY)
    await RunStore(db).submit(new_run("waits"), 0.0)
    retention = RunRetention(db, days=30)
    assert await retention.sweep(29 * DAY) == 0
    assert await retention.sweep(30 * DAY + KEPT) == 2
    left = await RunStore(db).list(30 * DAY)
    assert [run.id for run in left] == ["waits", "new"]
    for table, count in ((run_events, 3), (node_results, 1)):
        found = await db.read(
            lambda connection, table=table: connection.scalar(select(func.count()).select_from(table))
        )
        assert found == count


async def test_an_owner_with_too_many_bytes_loses_his_oldest_runs_and_nobody_else_any(db: Database) -> None:
    for number in range(6):
        await ended(db, f"a{number}", float(number), owner="a", size=10_000)
        await ended(db, f"b{number}", float(number), owner="b", size=1000)
    retention = RunRetention(db, most_bytes=35_000)
    while await retention.sweep(10.0):
        pass
    assert [run.id for run in await RunStore(db).list(10.0, owner="a")] == ["a5", "a4", "a3"]
    assert len(await RunStore(db).list(10.0, owner="b")) == 6


async def test_bytes_that_are_counted_are_those_that_are_there(db: Database) -> None:
    for size in (0, 5000, 100_000):
        number = (await ended(db, f"r{size}", 1.0, size=size)).run.number

        def sizes(connection: Connection, number: int = number) -> tuple[int, int]:
            there = 0
            for table in (run_events, node_results):
                there += connection.scalar(
                    select(func.coalesce(func.sum(table.c.size), 0)).where(table.c.run == number)
                )
            return connection.scalar(select(runs.c.kept).where(runs.c.number == number)) or 0, there

        kept, there = await db.read(sizes)
        assert kept == there > size


async def test_what_older_runs_of_a_plugin_said_goes_before_it_can_push_out_anything(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_rows, "MOST_TRACED_BYTES", 25_000)
    taken = [await ended(db, f"r{number}", 1.0, plugin="p", size=10_000) for number in range(4)]
    # The runs are there with what came of them.
    assert len(await RunStore(db).list(1.0)) == 4
    pages = [await RunReader(db).page(each.run.number, 0) for each in taken]
    assert [bool(page and page.events) for page in pages] == [False, False, True, True]
    assert pages[0] is not None
    assert (pages[0].gone, pages[0].upto) == ((1, 4), 4)


async def test_events_that_were_kept_before_they_had_times_are_read_without(db: Database) -> None:
    taken = await ended(db, "old", 1.0)
    number = taken.run.number

    def without(connection: Connection) -> None:
        for row in connection.execute(select(run_events).where(run_events.c.run == number)).all():
            body = [each[:-1] for each in msgpack.unpackb(row.body)]
            place = (run_events.c.run == number, run_events.c.upto == row.upto, run_events.c.kind == row.kind)
            connection.execute(update(run_events).where(*place).values(body=msgpack.packb(body)))

    def known(connection: Connection) -> Known:
        return known_of(connection, number)

    before, knew = await RunReader(db).page(number, 0), await db.read(known)
    await db.write(without)
    after = await RunReader(db).page(number, 0)
    assert before is not None
    assert after is not None
    assert [each.at for each in before.events] == [None, None, None, 1.0]
    assert after.events == [replace(each, at=None) for each in before.events]
    assert await db.read(known) == knew
