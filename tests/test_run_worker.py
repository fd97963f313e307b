"""A worker executes what is queued, keeps what it holds, and writes nothing once it holds it no more."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import msgpack
import pytest
import trio
import trio.testing
from sqlalchemy import literal
from trio.testing import MockClock

from innkeeper.bridge.runner import Failure, Report
from innkeeper.errors import BusyError
from innkeeper.plugins.settings import RunsSettings
from innkeeper.storage.clock import database_now
from innkeeper.storage.database import open_database
from innkeeper.storage.location import Location
from innkeeper.storage.run_model import StoredRun
from innkeeper.workflow.engine.events import COMPLETE, INTERFACE_OUTPUTS, STATUS, EventSink, RunEvent
from innkeeper.workflow.scheduling.execution import Executor, Task
from innkeeper.workflow.scheduling.host_scheduler import HostScheduler
from innkeeper.workflow.scheduling.journal import Journal
from innkeeper.workflow.scheduling.seams import Lease, LeaseLostError
from innkeeper.workflow.scheduling.worker import Step
from run_fakes import chunk, event, new_run, stored_run

NOW = 1_000_000.0
SETTINGS = RunsSettings(lease=30.0)
Body = Callable[[Task, EventSink], Awaitable[Report]]


@dataclass
class FakeExecutor:
    """Executes what `then` says; by default a node that completes."""

    then: Body | None = None
    tasks: list[Task] = field(default_factory=list)
    changed: trio.Event = field(default_factory=trio.Event)
    running: int = 0

    async def execute(self, task: Task, sink: EventSink) -> Report:
        self.tasks.append(task)
        self.running += 1
        self._note()
        try:
            return await (self.then or completes)(task, sink)
        finally:
            self.running -= 1
            self._note()

    def _note(self) -> None:
        self.changed.set()
        self.changed = trio.Event()

    async def until(self, running: int) -> None:
        """Returns when so many are executed at the same time."""
        while self.running != running:
            await self.changed.wait()


async def completes(task: Task, sink: EventSink) -> Report:
    seq = task.known.seq
    value = b"\xa4done"
    sink.emit(RunEvent(seq + 1, STATUS, {"status": "running"}))
    sink.emit(RunEvent(seq + 2, "NODE_EXECUTING", {"nodeId": "n"}))
    await sink.settled()
    sink.emit(RunEvent(seq + 3, COMPLETE, {"nodeId": "n"}, {"out": value}))
    sink.emit(RunEvent(seq + 4, COMPLETE, {"nodeId": INTERFACE_OUTPUTS}, {"out": value}))
    sink.emit(RunEvent(seq + 5, STATUS, {"status": "complete"}))
    return Report("complete", msgpack.packb({"out": "done"}))


async def for_ever(task: Task, sink: EventSink) -> Report:
    sink.emit(RunEvent(task.known.seq + 1, "NODE_EXECUTING", {"nodeId": "n"}))
    await sink.settled()
    try:
        await trio.sleep_forever()
    finally:
        # As the engine does: how it ended, and nothing after it.
        sink.emit(RunEvent(task.known.seq + 2, STATUS, {"status": "interrupted"}))
    raise AssertionError


class Home:
    """Hosts with one database."""

    def __init__(self, place: Location) -> None:
        self.place = place
        self.later = 0.0
        self.steps: list[Step] = []

    def clock(self) -> Any:
        return database_now() + literal(self.later)

    @asynccontextmanager
    async def host(
        self, executor: Executor, settings: RunsSettings = SETTINGS, *, serve: bool = True, **more: Any
    ) -> AsyncIterator[HostScheduler]:
        with trio.fail_after(60):
            async with open_database(self.place) as db, trio.open_nursery() as nursery:
                made = HostScheduler(db, executor, None, settings=settings, now=lambda: NOW, clock=self.clock, **more)
                made.told = self.steps.append
                if serve:
                    nursery.start_soon(made.run)
                yield made
                nursery.cancel_scope.cancel()


@pytest.fixture
def home(database_place: Location) -> Home:
    return Home(database_place)


async def story(host: HostScheduler, run: str) -> list[Any]:
    """All events of a run, up to its last one."""
    async with host.events.subscribe(run) as events:
        return [each async for each in events]


async def found(host: HostScheduler, run: str) -> StoredRun:
    stored = await host.store.find(run, NOW)
    assert stored is not None
    return stored


async def kept(host: HostScheduler, run: str, seq: int) -> None:
    """Returns when so many events of a run are kept."""
    async with host.events.subscribe(run) as events:
        async for each in events:
            if isinstance(each, RunEvent) and each.seq >= seq:
                return


async def error_of(host: HostScheduler, run: str) -> dict[str, Any]:
    ended = await host.store.ended(run, NOW)
    assert ended is not None
    assert ended.error is not None
    told: dict[str, Any] = json.loads(ended.error)
    return told


async def test_a_run_is_executed_and_all_that_it_said_and_gave_is_kept(home: Home) -> None:
    executor = FakeExecutor()
    async with home.host(executor) as host:
        await host.submit(new_run("r", job=b"the job"))
        told = await story(host, "r")
        assert [each.seq for each in told] == [1, 2, 3, 4, 5]
        assert (told[2].values, told[3].values) == ({"out": b"\xa4done"}, {"out": b"\xa4done"})
        ended = await host.store.ended("r", NOW)
        assert ended is not None
        assert (ended.run.status, ended.outputs, ended.error) == ("complete", msgpack.packb({"out": "done"}), None)
    (task,) = executor.tasks
    assert (task.run.id, task.job, task.most_outputs, task.known.seq) == ("r", b"the job", SETTINGS.outputs, 0)
    assert [(step.run.id, step.status) for step in home.steps] == [("r", "running"), ("r", "complete")]


async def test_no_more_run_at_a_time_than_there_are_slots_and_a_free_one_is_used(home: Home) -> None:
    executor, release = FakeExecutor(), trio.Event()
    most = 0

    async def wait(task: Task, sink: EventSink) -> Report:
        nonlocal most
        most = max(most, executor.running)
        await release.wait()
        return Report("complete", b"\x80")

    executor.then = wait
    async with home.host(executor, replace(SETTINGS, parallel=3)) as host:
        for number in range(9):
            await host.submit(new_run(f"r{number}", f"user{number}"))
        await executor.until(3)
        release.set()
        for number in range(9):
            await story(host, f"r{number}")
    assert (most, len(executor.tasks)) == (3, 9)


async def test_a_run_past_its_deadline_and_one_that_takes_too_long_fail_with_what_bound_it_was(home: Home) -> None:
    executor = FakeExecutor(for_ever)
    async with home.host(executor, replace(SETTINGS, longest=0.05), serve=False) as host:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(host.run)
            await host.submit(new_run("long"))
            told = await story(host, "long")
            assert told[-1].fields["status"] == "error"
            nursery.cancel_scope.cancel()
        assert await error_of(host, "long") == {
            "kind": "limit", "message": "the run took more than 0.05 seconds", "node": None, "plugin": None
        }  # fmt: skip
    async with home.host(executor) as host:
        now = await host.events._db.read(lambda connection: connection.scalar(_select_now()))
        await host.submit(new_run("late", deadline=now + 0.3))
        await story(host, "late")
        assert (await error_of(host, "late"))["message"] == "the run did not end before its deadline"


def _select_now() -> Any:
    from sqlalchemy import select

    return select(database_now())


@pytest.mark.parametrize(
    ("raised", "kind"), [(BusyError("no room", bound="live guests"), "busy"), (OSError("/etc/shadow"), "internal")]
)
async def test_what_an_executor_raises_ends_its_run_and_no_other(home: Home, raised: Exception, kind: str) -> None:
    async def fail(task: Task, sink: EventSink) -> Report:
        if task.run.id != "bad":
            return await completes(task, sink)
        sink.emit(event(1, nodeId="n"))
        raise raised

    async with home.host(FakeExecutor(fail)) as host:
        await host.submit(new_run("bad"))
        told = await story(host, "bad")
        # The engine did not say how it ended, so the journal does.
        assert [(each.seq, each.kind) for each in told] == [(1, "NODE_EXECUTING"), (2, STATUS)]
        error = await error_of(host, "bad")
        assert (error["kind"], "/etc" in error["message"]) == (kind, False)
        await host.submit(new_run("good"))
        assert (await story(host, "good"))[-1].fields["status"] == "complete"


async def test_what_the_engine_calls_complete_is_an_error_where_its_outputs_are_not_kept(home: Home) -> None:
    async def too_much(task: Task, sink: EventSink) -> Report:
        await completes(task, sink)
        return Report("error", b"\x80", Failure("limit", "too much"))

    async with home.host(FakeExecutor(too_much)) as host:
        await host.submit(new_run("r"))
        told = await story(host, "r")
        assert told[-1].fields == {"status": "error", "errorInfo": {"message": "too much"}}
        assert (await found(host, "r")).status == "error"


async def test_a_run_that_is_cancelled_ends_at_once_here_and_by_the_stored_wish_elsewhere(home: Home) -> None:
    executor = FakeExecutor(for_ever)
    async with home.host(executor) as host, home.host(FakeExecutor(), serve=False) as other:
        for run, by in (("here", host), ("there", other)):
            await host.submit(new_run(run))
            await executor.until(1)
            await by.store.cancel(run, NOW)
            assert by.cancel(run) == (by is host)
            told = await story(other, run)
            assert told[-1].fields == {"status": "interrupted"}
            assert (await found(other, run)).status == "cancelled"
            await executor.until(0)


async def test_a_host_that_closes_interrupts_what_runs_and_gives_back_what_may_begin_again(home: Home) -> None:
    async with home.host(executor := FakeExecutor(for_ever)) as host:
        await host.submit(new_run("never"))
        await host.submit(new_run("again", after_crash="again"))
        await kept(host, "never", 1)
        await kept(host, "again", 1)
    async with home.host(executor := FakeExecutor()) as host:
        assert [each.seq for each in await story(host, "again")][-1] == 6
        assert (await found(host, "never")).status == "interrupted"
        assert (await story(host, "never"))[-1].fields == {"status": "interrupted"}
        (task,) = executor.tasks
        # What was said is known, and the end that never came is not.
        assert (task.run.attempt, task.known.begun, task.known.seq) == (2, {"n"}, 1)


async def test_what_was_said_last_before_a_run_was_given_back_is_known_to_the_next_host(home: Home) -> None:
    said = trio.Event()

    async def busy(task: Task, sink: EventSink) -> Report:
        for number in range(1, 500):
            sink.emit(RunEvent(number, COMPLETE, {"nodeId": f"n{number}"}, {"out": b"\x01"}))
        said.set()
        await trio.sleep_forever()
        raise AssertionError

    async with home.host(FakeExecutor(busy)) as host:
        await host.submit(new_run("r", after_crash="again"))
        await said.wait()
    async with home.host(executor := FakeExecutor()) as host:
        await story(host, "r")
    (task,) = executor.tasks
    assert (task.known.seq, len(task.known.results)) == (499, 499)


async def test_a_run_that_was_taken_and_did_not_begin_before_the_host_closed_waits_for_another(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = trio.Event()

    async def slow(*arguments: Any) -> None:
        taken.set()
        await trio.sleep_forever()

    executor = FakeExecutor()
    async with home.host(executor, serve=False) as host, trio.open_nursery() as nursery:
        monkeypatch.setattr(host.worker._leases, "load", slow)
        nursery.start_soon(host.run)
        await host.submit(new_run("r"))
        await taken.wait()
        nursery.cancel_scope.cancel()
    async with home.host(executor) as host:
        assert (await story(host, "r"))[-1].fields == {"status": "complete"}
    assert [task.run.attempt for task in executor.tasks] == [2]


async def test_what_is_submitted_while_the_database_is_asked_for_what_was_begins_too(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor, asked, answer = FakeExecutor(), trio.Event(), trio.Event()
    async with home.host(executor, serve=False, everything=False) as host, trio.open_nursery() as nursery:
        queued = host.worker._leases.queued

        async def slow(ids: Collection[str]) -> set[str]:
            found = await queued(ids)
            asked.set()
            await answer.wait()
            return found

        monkeypatch.setattr(host.worker._leases, "queued", slow)
        nursery.start_soon(host.run)
        # Somebody else's by now, as far as this host can tell.
        host.wake("elsewhere")
        await asked.wait()
        await host.submit(new_run("r"))
        answer.set()
        assert (await story(host, "r"))[-1].fields == {"status": "complete"}
        nursery.cancel_scope.cancel()


async def test_a_host_that_drains_takes_nothing_more_and_ends_what_it_has(home: Home) -> None:
    executor, release = FakeExecutor(), trio.Event()

    async def wait(task: Task, sink: EventSink) -> Report:
        await release.wait()
        return await completes(task, sink)

    executor.then = wait
    async with home.host(executor) as host:
        await host.submit(new_run("r"))
        await executor.until(1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(host.worker.drain)
            await trio.testing.wait_all_tasks_blocked(0.01)
            await host.submit(new_run("later"))
            release.set()
        assert (await found(host, "r")).status == "complete"
        await trio.sleep(0.05)
        assert (await found(host, "later")).status == "queued"


async def test_a_host_whose_lease_ran_out_while_it_was_held_up_writes_nothing_more(home: Home) -> None:
    said: list[str] = []

    async def held_up(task: Task, sink: EventSink) -> Report:
        sink.emit(event(task.known.seq + 1, nodeId="n"))
        await sink.settled()
        try:
            await trio.sleep_forever()
        finally:
            said.append("ended")
            sink.emit(RunEvent(task.known.seq + 2, STATUS, {"status": "interrupted"}))
        raise AssertionError

    executor = FakeExecutor(held_up)
    async with home.host(executor) as host, home.host(FakeExecutor(), serve=False) as other:
        await host.submit(new_run("r", after_crash="again"))
        await executor.until(1)
        await kept(other, "r", 1)
        # Its lease is over, as if it had been stopped; it finds out by itself that another has the run.
        home.later += 1000.0
        assert [each.status for each in await other.worker._leases.lapse(NOW)] == ["queued"]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(other.worker._execute, *await other._dispatch.claim(1))
            told = await story(other, "r")
        await executor.until(0)
    assert said == ["ended"]
    assert [each.seq for each in told] == [1, 2, 3, 4, 5, 6]
    assert told[-1].fields == {"status": "complete"}
    assert ("r", None) in [(step.run.id, step.status) for step in home.steps]


async def test_runs_of_a_plugin_that_lost_its_right_do_not_begin(home: Home) -> None:
    executor = FakeExecutor()
    async with home.host(executor, permitted=lambda plugin: plugin != "p") as host:
        await host.submit(new_run("r", plugin="p"))
        await story(host, "r")
        assert (await error_of(host, "r"))["kind"] == "denied"
    assert executor.tasks == []


# --- the journal of a run -------------------------------------------------------------------------------------------


class Keeper:
    """Keeps batches in a list, when it may."""

    def __init__(self, takes: float = 0.0) -> None:
        self.takes = takes
        self.batches: list[list[RunEvent]] = []
        self.ended: list[tuple[str, list[RunEvent]]] = []
        self.open = trio.Event()
        self.open.set()
        self.failures: list[Exception] = []

    async def publish(self, lease: Lease, events: Any) -> None:
        await self.open.wait()
        if self.takes:
            await trio.sleep(self.takes)
        if self.failures:
            raise self.failures.pop(0)
        self.batches.append(list(events))

    async def end(self, lease: Lease, run: StoredRun, status: str, now: float, *, events: Any, **more: Any) -> None:
        self.ended.append((status, list(events)))


LEASE = Lease("r", 1, "host", 1, 30.0)


@asynccontextmanager
async def journal(keeper: Keeper, lost: list[bool] | None = None, **more: Any) -> AsyncIterator[Journal]:
    made = Journal(keeper, LEASE, lost=lambda: (lost if lost is not None else []).append(True), **more)
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(made.run)
            yield made
            made.leave()


async def test_what_comes_while_a_group_is_written_makes_the_next_group() -> None:
    keeper = Keeper()
    async with journal(keeper) as sink:
        keeper.open = trio.Event()
        sink.emit(event(1))
        await trio.testing.wait_all_tasks_blocked()
        for number in range(2, 200):
            sink.emit(event(number))
        keeper.open.set()
        await sink.settled()
    assert [len(batch) for batch in keeper.batches] == [1, 198]


@pytest.mark.parametrize(("takes", "groups"), [(0.0, 100), (0.02, 16), (0.2, 3)])
async def test_the_longer_writing_takes_the_fewer_groups_are_written(
    autojump_clock: MockClock, takes: float, groups: int
) -> None:
    keeper = Keeper(takes)
    async with journal(keeper) as sink:
        for number in range(1000):
            sink.emit(event(number + 1))
            await trio.sleep(0.001)
        # Who waits for it waits for one group at most, and for no pause.
        began = trio.current_time()
        await sink.settled()
        assert trio.current_time() - began <= 2 * takes
    assert groups * 0.8 <= len(keeper.batches) <= groups * 1.2 + 2
    assert [each.seq for batch in keeper.batches for each in batch] == list(range(1, 1001))


async def test_who_emits_much_waits_until_what_it_said_is_written() -> None:
    keeper = Keeper()
    keeper.open = trio.Event()
    passed = 0

    async with journal(keeper, buffer=10_000) as sink, trio.open_nursery() as nursery:

        async def emit() -> None:
            nonlocal passed
            for number in range(1, 401):
                await sink.room()
                sink.emit(chunk(number, b"x" * 744))
                passed = number

        nursery.start_soon(emit)
        await trio.testing.wait_all_tasks_blocked()
        assert passed == 10
        keeper.open.set()
    assert [each.seq for batch in keeper.batches for each in batch][-1] <= 400
    assert max(len(batch) for batch in keeper.batches) <= 11
    assert passed == 400


async def test_nothing_from_the_outputs_on_is_written_before_the_run_has_ended() -> None:
    keeper = Keeper()
    async with journal(keeper) as sink:
        sink.emit(event(1))
        sink.emit(RunEvent(2, COMPLETE, {"nodeId": INTERFACE_OUTPUTS}, {"out": b"\x01"}))
        sink.emit(RunEvent(3, STATUS, {"status": "complete"}))
        await sink.settled()
    assert [[each.seq for each in batch] for batch in keeper.batches] == [[1]]
    await sink.end(stored_run("r"), "complete", NOW)
    assert [(status, [each.seq for each in events]) for status, events in keeper.ended] == [("complete", [2, 3])]


async def test_a_database_that_is_busy_delays_events_and_neither_loses_nor_doubles_one() -> None:
    keeper = Keeper()
    keeper.failures = [BusyError("busy", bound="database") for _ in range(2)]
    async with journal(keeper) as sink:
        for number in range(1, 6):
            sink.emit(event(number))
        await sink.settled()
        sink.emit(event(6))
        await sink.settled()
    assert [each.seq for batch in keeper.batches for each in batch] == [1, 2, 3, 4, 5, 6]


async def test_after_a_lost_lease_nothing_is_taken_and_nobody_waits_for_ever() -> None:
    keeper, lost = Keeper(), []
    keeper.failures = [LeaseLostError("another has it")]
    async with journal(keeper, lost, buffer=100) as sink:
        sink.emit(event(1))
        with pytest.raises(LeaseLostError):
            await sink.settled()
        sink.emit(event(2))
        await sink.room()
        with pytest.raises(LeaseLostError):
            await sink.settled()
        with pytest.raises(LeaseLostError):
            await sink.end(stored_run("r"), "complete", NOW)
    assert (lost, keeper.batches, keeper.ended) == ([True], [], [])


async def test_what_is_not_written_when_the_run_ends_is_written_with_its_end() -> None:
    keeper = Keeper()
    keeper.open = trio.Event()
    async with journal(keeper) as sink, trio.open_nursery() as nursery:
        sink.emit(event(1))
        await trio.testing.wait_all_tasks_blocked()
        sink.emit(event(2))
        sink.leave()
        keeper.open.set()
        nursery.cancel_scope.cancel()
    await sink.end(stored_run("r"), "interrupted", NOW)
    ((status, events),) = keeper.ended
    assert status == "interrupted"
    assert [(each.seq, each.kind) for each in events][-2:] == [(2, "NODE_EXECUTING"), (3, STATUS)]
