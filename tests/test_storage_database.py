"""One thread writes in groups, a few read; a cancelled write did not happen, a failing one undoes itself alone."""

from __future__ import annotations

import re
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import trio
import trio.testing
from sqlalchemy import Connection, insert, select, text

from innkeeper.errors import InternalError, UsageError
from innkeeper.storage import lanes
from innkeeper.storage.database import Database, open_database
from innkeeper.storage.location import Location
from innkeeper.storage.schema import audit

PATIENCE = 60


@pytest.fixture
async def db(database_place: Location) -> AsyncIterator[Database]:
    async with open_database(database_place) as made:
        yield made


def adding(name: str) -> Callable[[Connection], None]:
    def add(connection: Connection) -> None:
        connection.execute(insert(audit).values(at=0.0, kind=name, plugin="p", digest="", details="{}"))

    return add


async def names(db: Database) -> list[str]:
    return await db.read(lambda connection: list(connection.scalars(select(audit.c.kind).order_by(audit.c.id))))


class Gate:
    """A write that holds up the writer until it is opened."""

    def __init__(self) -> None:
        self.began = threading.Event()
        self.open = threading.Event()

    def __call__(self, connection: Connection) -> str:
        adding("gate")(connection)
        self.began.set()
        assert self.open.wait(PATIENCE)
        return "through"

    async def held(self) -> None:
        assert await trio.to_thread.run_sync(self.began.wait, PATIENCE)


async def test_a_write_gives_what_its_function_gives_and_a_read_sees_it(db: Database) -> None:
    assert await db.write(lambda connection: adding("a")(connection) or 7) == 7
    assert await names(db) == ["a"]


async def test_a_thousand_concurrent_writes_share_a_commit_by_256(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes, "WINDOW", PATIENCE)
    gate = Gate()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(db.write, gate)
        await gate.held()
        before = db.commits
        for number in range(1000):
            nursery.start_soon(db.write, adding(str(number)))
        await trio.testing.wait_all_tasks_blocked()
        gate.open.set()
    assert len(await names(db)) == 1001
    assert db.commits - before == 4


async def test_a_group_ends_after_its_window_and_the_rest_makes_the_next(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes, "WINDOW", 0.0)
    before = db.commits
    async with trio.open_nursery() as nursery:
        for number in range(10):
            nursery.start_soon(db.write, adding(str(number)))
    assert db.commits - before == 10


async def test_a_write_returns_only_after_the_commit_of_its_group(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes, "WINDOW", PATIENCE)
    first, last = Gate(), Gate()
    returned = []

    async def write() -> None:
        await db.write(adding("a"))
        returned.append(await names(db))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(db.write, first)
        await first.held()
        nursery.start_soon(write)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(db.write, last)
        await trio.testing.wait_all_tasks_blocked()
        first.open.set()
        await last.held()
        # It was called, and its group is not committed yet.
        await trio.testing.wait_all_tasks_blocked()
        assert returned == []
        assert await names(db) == []
        last.open.set()
    assert returned == [["gate", "a", "gate"]]


async def test_writes_happen_in_the_order_in_which_they_were_asked_for(db: Database) -> None:
    gate = Gate()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(db.write, gate)
        await gate.held()
        for number in range(20):
            nursery.start_soon(db.write, adding(str(number)))
            await trio.testing.wait_all_tasks_blocked()
        gate.open.set()
    assert await names(db) == ["gate", *map(str, range(20))]


async def test_a_failing_write_undoes_its_own_writes_alone(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "WINDOW", PATIENCE)
    gate = Gate()
    failed = []

    async def fail() -> None:
        def function(connection: Connection) -> None:
            adding("undone")(connection)
            raise KeyError("mine")

        with pytest.raises(KeyError, match="mine"):
            await db.write(function)
        failed.append(True)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(db.write, gate)
        await gate.held()
        before = db.commits
        for task in (adding("before"), None, adding("after")):
            if task is None:
                nursery.start_soon(fail)
            else:
                nursery.start_soon(db.write, task)
            await trio.testing.wait_all_tasks_blocked()
        gate.open.set()
    assert failed == [True]
    assert await names(db) == ["gate", "before", "after"]
    assert db.commits - before == 1


async def test_a_write_that_is_cancelled_before_its_turn_never_happens(db: Database) -> None:
    gate = Gate()
    called = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(db.write, gate)
        await gate.held()
        with trio.move_on_after(0) as scope:
            await db.write(lambda connection: called.append(True))
        assert scope.cancelled_caught
        async with trio.open_nursery() as others:
            others.start_soon(db.write, lambda connection: called.append(True))
            await trio.testing.wait_all_tasks_blocked()
            others.cancel_scope.cancel()
        gate.open.set()
    assert await names(db) == ["gate"]
    assert called == []


async def test_a_write_that_is_cancelled_in_its_turn_happens_whole_and_says_so(db: Database) -> None:
    gate = Gate()
    got = []

    async def write() -> None:
        with trio.CancelScope() as scope:
            scopes.append(scope)
            got.append(await db.write(gate))

    scopes: list[trio.CancelScope] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(write)
        await gate.held()
        scopes[0].cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert got == []
        gate.open.set()
    assert got == ["through"]
    assert await names(db) == ["gate"]


async def test_many_cancelled_writes_happened_exactly_if_they_returned(db: Database) -> None:
    returned, cancelled = set(), set()

    async def write(number: int) -> None:
        with trio.CancelScope() as scope:
            scopes.append(scope)
            try:
                await db.write(adding(str(number)))
            except trio.Cancelled:
                cancelled.add(str(number))
                raise
            returned.add(str(number))

    scopes: list[trio.CancelScope] = []
    async with trio.open_nursery() as nursery:
        for number in range(600):
            nursery.start_soon(write, number)
        await trio.sleep(0.01)
        for scope in scopes[::2]:
            scope.cancel()
    assert set(await names(db)) == returned
    assert len(returned) + len(cancelled) == 600


async def test_a_function_that_ends_the_transaction_is_a_defect_and_the_next_write_works(db: Database) -> None:
    with pytest.raises(InternalError):
        await db.write(lambda connection: connection.execute(text("ROLLBACK")) and None)
    with pytest.raises(InternalError, match="ended its transaction"):
        await db.write(lambda connection: connection.rollback())
    await db.write(adding("next"))
    assert await names(db) == ["next"]


async def test_a_group_whose_transaction_is_lost_fails_as_a_whole(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes, "WINDOW", PATIENCE)
    gate = Gate()
    outcomes: dict[str, str] = {}

    async def write(name: str, function: Callable[[Connection], object]) -> None:
        try:
            await db.write(function)
        except (InternalError, KeyError) as error:
            outcomes[name] = type(error).__name__
        else:
            outcomes[name] = "kept"

    def fail(connection: Connection) -> None:
        raise KeyError

    def lose(connection: Connection) -> None:
        # As SQLite does by itself when the disk is full.
        connection.execute(text("ROLLBACK"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write, "gate", gate)
        await gate.held()
        for name, function in (("failing", fail), ("losing", lose), ("next", adding("next"))):
            nursery.start_soon(write, name, function)
            await trio.testing.wait_all_tasks_blocked()
        gate.open.set()
    # Who failed by himself hears of that; who came after the loss is in another group.
    assert outcomes == {"gate": "InternalError", "failing": "KeyError", "losing": "InternalError", "next": "kept"}
    assert await names(db) == ["next"]


async def test_a_read_cannot_write(db: Database) -> None:
    with pytest.raises(UsageError):
        await db.read(adding("never"))
    assert await names(db) == []


async def test_a_read_sees_one_state_while_others_write(db: Database) -> None:
    began, go_on = threading.Event(), threading.Event()
    counts = []

    def read(connection: Connection) -> None:
        for _ in range(2):
            counts.append(len(connection.execute(select(audit.c.id)).all()))
            began.set()
            assert go_on.wait(PATIENCE)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(db.read, read)
        assert await trio.to_thread.run_sync(began.wait, PATIENCE)
        await db.write(adding("meanwhile"))
        go_on.set()
    assert counts == [0, 0]
    assert await names(db) == ["meanwhile"]


async def test_the_error_of_a_statement_shows_no_value(db: Database) -> None:
    for failing in ("SELECT * FROM nowhere WHERE a = :v", "INSERT INTO audit (kind) VALUES (:v)"):
        with pytest.raises(InternalError) as caught:
            await db.write(lambda connection, failing=failing: connection.execute(text(failing), {"v": "hunter2"}))
        assert "hunter2" not in str(caught.value)
        assert "nowhere" not in str(caught.value)


async def test_closing_finishes_what_is_queued_and_refuses_what_waits_outside(database_place: Location) -> None:
    gate = Gate()
    ended = []

    async def write(number: int) -> None:
        try:
            await db.write(adding(str(number)))
        except UsageError:
            ended.append(("refused", number))
            # Only now: before the queue is closed nobody is refused.
            gate.open.set()
        else:
            ended.append(("done", number))

    async with trio.open_nursery() as nursery:
        async with open_database(database_place, queue=5) as db:
            nursery.start_soon(db.write, gate)
            await gate.held()
            for number in range(8):
                nursery.start_soon(write, number)
                await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(UsageError, match=f"{re.escape(repr(db.name))} is closed"):
            await db.write(adding("late"))
        with pytest.raises(UsageError, match=f"{re.escape(repr(db.name))} is closed"):
            await names(db)
    assert sorted(ended) == [*(("done", n) for n in range(5)), *(("refused", n) for n in range(5, 8))]
    async with open_database(database_place) as again:
        assert await names(again) == ["gate", *map(str, range(5))]


async def test_a_block_that_is_cancelled_still_finishes_what_began(database_place: Location) -> None:
    with trio.CancelScope() as scope:
        async with open_database(database_place) as db:
            await db.write(adding("first"))
            scope.cancel()
            await trio.lowlevel.checkpoint()
    async with open_database(database_place) as again:
        assert await names(again) == ["first"]


async def test_no_thread_stays_after_the_block(database_place: Location) -> None:
    async with open_database(database_place) as db:
        threads = list(db._threads)
        await db.write(adding("a"))
        await names(db)
    assert not any(thread.is_alive() for thread in threads)


async def test_another_loop_of_trio_may_use_it_too(db: Database) -> None:
    async def elsewhere() -> None:
        await db.write(adding("elsewhere"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(db.write, adding("here"))
        await trio.to_thread.run_sync(trio.run, elsewhere)
    assert sorted(await names(db)) == ["elsewhere", "here"]


async def test_a_task_that_was_thrown_away_is_not_woken(db: Database) -> None:
    gate = Gate()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(db.write, gate)
        await gate.held()
        queued = db.write(adding("never begun"))
        # It has asked trio to sleep, and trio never hears of it.
        queued.send(None)
        queued.close()
        gate.open.set()
    await db.write(adding("after"))
    assert await names(db) == ["gate", "after"]


async def test_a_task_that_was_thrown_away_while_its_write_ran_is_not_woken(db: Database) -> None:
    gate = Gate()
    running = db.write(gate)
    running.send(None)
    await gate.held()
    running.close()
    gate.open.set()
    await db.write(adding("after"))
    assert await names(db) == ["gate", "after"]


@pytest.mark.parametrize("arguments", [{"readers": 0}, {"queue": 0}])
async def test_a_database_without_readers_or_queue_is_refused(tmp_path: Path, arguments: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="at least one"):
        async with open_database(tmp_path / "inn.db", **arguments):
            pass
