"""The service `scheduler`: what a plugin submits runs within its quotas, once, and is nobody else's to see."""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgpack
import pytest
import trio
import trio.testing
from sqlalchemy import literal
from trio.testing import MockClock

from innkeeper.bridge.caller import Caller
from innkeeper.bridge.refusal import Refusal, ServiceError
from innkeeper.bridge.runner import Failure, Job, ProblemsError, Report
from innkeeper.bridge.scheduler import SchedulerService
from innkeeper.bridge.scheduler_desk import MOST_GENERATIONS, Front
from innkeeper.errors import BusyError, LimitError, RejectedError
from innkeeper.plugins.rights import NONE
from innkeeper.plugins.runs import Run, RunContext
from innkeeper.plugins.settings import RunsSettings
from innkeeper.storage import run_rows
from innkeeper.storage.database import Database, open_database
from innkeeper.storage.run_journal import RunRecord
from innkeeper.storage.run_leases import RunLeases
from innkeeper.storage.run_model import KEPT, MOST_RUNS
from innkeeper.storage.schedules import ScheduleStore
from innkeeper.storage.schedules_model import MOST_SCHEDULES
from innkeeper.workflow.engine.events import EventSink
from innkeeper.workflow.scheduling.execution import Task
from innkeeper.workflow.scheduling.host_scheduler import HostScheduler
from innkeeper.workflow.scheduling.schedules import AGAIN

FLOW: dict[str, Any] = {"nodes": [], "edges": []}
SETTINGS = RunsSettings()
LONGEST = SETTINGS.longest
PARALLEL = SETTINGS.plugins
MOST_OF_ONE = SETTINGS.per_plugin
POLL = 5.0
MORNING = 1_800_000_000.0  # 15 January 2027, 8:00 in UTC


@dataclass
class FakeRunner:
    """Runs what `then` says for a job's inputs."""

    then: Callable[[Job, str], Awaitable[Report]] | None = None
    begun: list[Any] = field(default_factory=list)
    running: set[str] = field(default_factory=set)
    most_running: int = 0
    wrong: list[str] = field(default_factory=list)

    async def check(self, job: Job, *, confined: bool = True) -> None:
        if self.wrong:
            raise ProblemsError(self.wrong, len(self.wrong))

    async def execute(self, task: Task, sink: EventSink) -> Report:
        job, id = Job(**msgpack.unpackb(task.job)), task.run.id
        self.begun.append(job.inputs.get("n"))
        self.running.add(id)
        self.most_running = max(self.most_running, len(self.running))
        try:
            if self.then is not None:
                return await self.then(job, id)
            return Report("complete", msgpack.packb({"out": job.inputs.get("n")}))
        finally:
            self.running.discard(id)


async def for_ever(job: Job, id: str) -> Report:
    await trio.sleep_forever()
    raise AssertionError


@dataclass
class Scene:
    """A service with its loop, and time that passes when it is told to."""

    clock: MockClock
    path: Path
    runner: FakeRunner = field(default_factory=FakeRunner)
    revoked: set[str] = field(default_factory=set)
    start: float = MORNING
    service: SchedulerService = field(init=False)
    db: Database = field(init=False)
    databases: list[Database] = field(default_factory=list)
    begin: Callable[[], Awaitable[None]] = field(init=False)

    def now(self) -> float:
        return self.start + trio.current_time()

    @asynccontextmanager
    async def host(self, *, serve: bool = True, everything: bool = True) -> AsyncIterator[SchedulerService]:
        async with open_database(self.path / "state" / "inn.db") as db, trio.open_nursery() as nursery:
            self.db = db
            self.databases.append(db)

            async def database() -> Database:
                return db

            made = HostScheduler(
                db,
                self.runner,
                self.runner,
                settings=SETTINGS,
                permitted=lambda plugin: plugin not in self.revoked,
                everything=everything,
                now=self.now,
                clock=lambda: literal(self.now()),
            )

            async def scheduler() -> HostScheduler:
                return made

            front = Front(database, scheduler, settings=SETTINGS, known=lambda: True, now=self.now)
            self.service = SchedulerService(front)

            async def begin() -> None:
                nursery.start_soon(made.run)

            self.begin = begin
            if serve:
                nursery.start_soon(self.service.serve)
                await begin()
            yield self.service
            self.databases.remove(db)
            nursery.cancel_scope.cancel()

    async def until(self, condition: Callable[[], Awaitable[bool]]) -> None:
        """Waits for what happens in threads; no time passes."""
        for _ in range(3000):
            if await condition():
                return
            await trio.to_thread.run_sync(_instant)
        raise AssertionError("it did not happen")

    async def until_status(self, run: str, *statuses: str, caller: Caller | None = None) -> dict[str, Any]:
        found: dict[str, Any] = {}

        async def reached() -> bool:
            found.update(await self.service.status(caller or plugin(), run=run))
            return found["status"] in statuses

        await self.until(reached)
        return found

    async def pass_time(self, seconds: float, step: float = 20.0) -> None:
        """Time passes in steps, so that the loop may act at each of its times."""
        steps = max(2, math.ceil(seconds / step))
        for _ in range(steps):
            self.clock.jump(seconds / steps)
            for _ in range(4):
                await trio.to_thread.run_sync(_instant)
                await trio.testing.wait_all_tasks_blocked()
                for db in self.databases:
                    # What was to be written before this is.
                    await db.write(lambda connection: None)


def _instant() -> None:
    time.sleep(0.001)


def plugin(id: str = "demo", owner: str = "default_user", run: str | None = None) -> Caller:
    return Caller(id, owner, NONE, None, None if run is None else RunContext(Run(run)))


@pytest.fixture
def scene(mock_clock: MockClock, tmp_path: Path) -> Scene:
    return Scene(mock_clock, tmp_path)


async def refused(kind: Refusal, awaitable: Awaitable[Any]) -> ServiceError:
    with pytest.raises(ServiceError) as caught:
        await awaitable
    assert caught.value.why is kind, caught.value.message
    return caught.value


async def test_what_is_submitted_runs_and_its_result_can_be_fetched(mock_clock: MockClock, scene: Scene) -> None:
    async with scene.host() as service:
        run = (await service.submit(plugin(), workflow=FLOW, inputs={"n": 5}, name="five"))["run"]
        found = await scene.until_status(run, "complete")
        assert (found["name"], found["submitted"], found["schedule"]) == ("five", scene.now(), None)
        result = await service.result(plugin(), run=run)
        assert (result["status"], msgpack.unpackb(result["outputs"]), result["error"]) == ("complete", {"out": 5}, None)
        (listed,) = (await service.runs(plugin()))["runs"]
        assert listed == await service.status(plugin(), run=run)


async def test_another_plugin_or_owner_sees_and_changes_nothing_of_it(mock_clock: MockClock, scene: Scene) -> None:
    scene.runner.then = for_ever
    async with scene.host() as service:
        run = (await service.submit(plugin(), workflow=FLOW))["run"]
        schedule = (await service.later(plugin(), workflow=FLOW, seconds=1000.0))["schedule"]
        await scene.until_status(run, "running")
        for other in (plugin("other"), plugin(owner="other")):
            for operation in (service.status, service.result, service.cancel):
                error = await refused(Refusal.NOT_FOUND, operation(other, run=run))
                assert run not in error.message
            assert await service.runs(other) == {"runs": []}
            assert await service.runs(other, schedule=schedule) == {"runs": []}
            assert await service.runs(other, before=run) == {"runs": []}
            assert await service.schedules(other) == {"schedules": []}
            assert await service.unschedule(other, schedule=schedule) == {"removed": False}
        assert len((await service.schedules(plugin()))["schedules"]) == 1
        assert (await service.status(plugin(), run=run))["status"] == "running"


async def test_a_workflow_that_does_not_check_is_refused_and_nothing_is_kept(
    mock_clock: MockClock, scene: Scene
) -> None:
    scene.runner.wrong = ["node 'a': there is no such type", "node 'b': nor this one"]
    async with scene.host() as service:
        for asked in (
            service.submit(plugin(), workflow=FLOW),
            service.later(plugin(), workflow=FLOW, seconds=1.0),
            service.cron(plugin(), workflow=FLOW, expression="* * * * *"),
        ):
            error = await refused(Refusal.INVALID, asked)
            assert (error.message.count("\n"), error.more["problems"]) == (1, 2)
        assert await service.runs(plugin()) == {"runs": []}
        assert await service.schedules(plugin()) == {"schedules": []}


async def test_a_few_run_at_a_time_and_who_submits_much_delays_itself(mock_clock: MockClock, scene: Scene) -> None:
    release = trio.Event()

    async def wait(job: Job, id: str) -> Report:
        await release.wait()
        return Report("complete", msgpack.packb({}))

    scene.runner.then = wait
    # All of it is queued before anything runs: what goes first is then the queue's decision alone.
    async with scene.host(serve=False) as service:
        flood = [
            (await service.submit(plugin("flood"), workflow=FLOW, inputs={"n": f"flood{number}"}))["run"]
            for number in range(10)
        ]
        second = (await service.submit(plugin("second"), workflow=FLOW, inputs={"n": "second"}))["run"]
        late = (await service.submit(plugin("late"), workflow=FLOW, inputs={"n": "late"}))["run"]
        await scene.begin()
        await scene.until(lambda: _has_running(scene, PARALLEL))
        assert sorted(scene.runner.begun) == ["flood0", "flood1", "late", "second"]
        # There is no room for a third one of the flood, though it came long before the others.
        assert (await service.status(plugin("flood"), run=flood[2]))["status"] == "queued"
        release.set()
        await scene.until_status(flood[-1], "complete", caller=plugin("flood"))
        await scene.until_status(second, "complete", caller=plugin("second"))
        await scene.until_status(late, "complete", caller=plugin("late"))
        assert scene.runner.most_running == PARALLEL


async def test_a_plugin_whose_runs_never_end_leaves_a_place_to_others(mock_clock: MockClock, scene: Scene) -> None:
    scene.runner.then = for_ever
    async with scene.host() as service:
        for _ in range(MOST_RUNS):
            await service.submit(plugin("flood"), workflow=FLOW)
        await scene.until(lambda: _has_running(scene, MOST_OF_ONE))
        scene.runner.then = None
        for _ in range(3):
            run = (await service.submit(plugin("other"), workflow=FLOW))["run"]
            await scene.until_status(run, "complete", caller=plugin("other"))
        assert len(scene.runner.running) == MOST_OF_ONE


async def _has_running(scene: Scene, count: int) -> bool:
    return len(scene.runner.running) == count


async def test_a_database_that_is_damaged_is_said_once_and_asked_for_again(
    mock_clock: MockClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    asked = 0

    async def database() -> Database:
        nonlocal asked
        asked += 1
        raise RejectedError("the database 'inn.db' is damaged")

    async def scheduler() -> HostScheduler:
        raise AssertionError("there is no database for it")

    front = Front(database, scheduler, settings=SETTINGS, known=lambda: True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(SchedulerService(front).serve)
        for _ in range(20):
            await trio.testing.wait_all_tasks_blocked()
            mock_clock.jump(POLL)
        nursery.cancel_scope.cancel()
    assert asked > 3
    assert caplog.messages == ["the scheduler does not run yet: the database 'inn.db' is damaged"]


async def test_a_flood_of_submissions_meets_the_quota_and_then_the_rate(mock_clock: MockClock, scene: Scene) -> None:
    scene.runner.then = for_ever
    async with scene.host() as service:
        for _ in range(MOST_RUNS):
            await service.submit(plugin(), workflow=FLOW)
        error = await refused(Refusal.QUOTA, service.submit(plugin(), workflow=FLOW))
        assert "more than 2 times a second" in error.message
        scene.clock.jump(10)
        error = await refused(Refusal.QUOTA, service.submit(plugin(), workflow=FLOW))
        assert error.more == {"quota": "runs", "value": MOST_RUNS}
        # Others have their own.
        await service.submit(plugin("other"), workflow=FLOW)
        (oldest,) = (await service.runs(plugin(), limit=100))["runs"][-1:]
        await service.cancel(plugin(), run=oldest["run"])
        await scene.until_status(oldest["run"], "cancelled")
        await service.submit(plugin(), workflow=FLOW)


async def test_a_run_that_is_queued_or_runs_can_be_cancelled_and_one_that_ended_stays_as_it_is(
    mock_clock: MockClock, scene: Scene
) -> None:
    scene.runner.then = for_ever
    async with scene.host() as service:
        runs = [(await service.submit(plugin(), workflow=FLOW))["run"] for _ in range(MOST_OF_ONE + 1)]
        await scene.until_status(runs[MOST_OF_ONE - 1], "running")
        assert await service.cancel(plugin(), run=runs[-1]) == {"status": "cancelled"}
        assert await service.cancel(plugin(), run=runs[0]) == {"status": "running"}
        found = await scene.until_status(runs[0], "cancelled")
        assert found["ended"] == scene.now()
        assert await service.cancel(plugin(), run=runs[0]) == {"status": "cancelled"}
        assert (await service.result(plugin(), run=runs[0]))["outputs"] is None
        assert len(scene.runner.begun) == MOST_OF_ONE


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (LimitError("too much", limit="cpu"), "limit"),
        (BusyError("no room", bound="live guests"), "busy"),
        (ProblemsError(["it does not check any more"], 1), "usage"),
        (OSError("/etc/shadow is not readable"), "internal"),
    ],
)
async def test_a_run_that_fails_says_why_and_ends_nothing_else(
    mock_clock: MockClock, scene: Scene, raised: Exception, kind: str
) -> None:
    async def fail(job: Job, id: str) -> Report:
        if job.inputs["n"] == "bad":
            raise raised
        return Report("error", msgpack.packb({"a": 1}), Failure("guest", "x" * 5000, "node", "plugin"))

    scene.runner.then = fail
    async with scene.host() as service:
        bad = (await service.submit(plugin(), workflow=FLOW, inputs={"n": "bad"}))["run"]
        await scene.until_status(bad, "error")
        error = (await service.result(plugin(), run=bad))["error"]
        assert error["kind"] == kind
        assert "/etc" not in error["message"]
        partial = (await service.submit(plugin(), workflow=FLOW, inputs={"n": "ok"}))["run"]
        await scene.until_status(partial, "error")
        result = await service.result(plugin(), run=partial)
        assert msgpack.unpackb(result["outputs"]) == {"a": 1}
        assert (result["error"]["node"], result["error"]["plugin"]) == ("node", "plugin")
        assert len(result["error"]["message"]) == 2000


async def test_a_run_that_never_ends_is_ended(mock_clock: MockClock, scene: Scene) -> None:
    scene.runner.then = for_ever
    async with scene.host() as service:
        run = (await service.submit(plugin(), workflow=FLOW))["run"]
        await scene.until(lambda: _has(scene, 1))
        scene.clock.jump(LONGEST + 1)
        await scene.until_status(run, "error")
        assert (await service.result(plugin(), run=run))["error"]["kind"] == "limit"


async def test_runs_that_submit_runs_come_to_an_end(mock_clock: MockClock, scene: Scene) -> None:
    said: list[ServiceError] = []

    async def again(job: Job, id: str) -> Report:
        for start in (
            lambda caller: scene.service.submit(caller, workflow=FLOW),
            lambda caller: scene.service.later(caller, workflow=FLOW, seconds=0.0),
        ):
            try:
                await start(plugin(run=id))
            except ServiceError as error:
                said.append(error)
        return Report("complete", msgpack.packb({}))

    scene.runner.then = again
    async with scene.host() as service:
        await service.submit(plugin(), workflow=FLOW)

        async def over() -> bool:
            runs = (await service.runs(plugin(), limit=100))["runs"]
            schedules = (await service.schedules(plugin()))["schedules"]
            return not schedules and all(run["ended"] for run in runs) and len(runs) > MOST_GENERATIONS

        for _ in range(20):
            scene.clock.jump(10)
            await scene.pass_time(POLL)
        await scene.until(over)
        assert len(scene.runner.begun) == 2**MOST_GENERATIONS - 1
        assert {(error.why, error.more.get("quota")) for error in said} == {(Refusal.QUOTA, "generations")}


async def test_what_was_queued_runs_after_a_restart_and_what_ran_is_interrupted(
    mock_clock: MockClock, scene: Scene
) -> None:
    scene.runner.then = for_ever
    async with scene.host() as service:
        runs = [(await service.submit(plugin(), workflow=FLOW))["run"] for _ in range(MOST_OF_ONE + 2)]
        await scene.until_status(runs[MOST_OF_ONE - 1], "running")
    scene.runner = FakeRunner()
    async with scene.host():
        for run in runs[MOST_OF_ONE:]:
            await scene.until_status(run, "complete")
        for run in runs[:MOST_OF_ONE]:
            assert (await scene.until_status(run, "interrupted"))["ended"] is not None


async def test_what_ran_when_a_process_died_is_interrupted_by_the_next_one(mock_clock: MockClock, scene: Scene) -> None:
    async with scene.host(serve=False) as service:
        run = (await service.submit(plugin(), workflow=FLOW))["run"]
        leases = RunLeases(scene.db, clock=lambda: literal(scene.now()))
        (taken,) = await leases.claim("dead", 1, SETTINGS.lease, scene.now())
        # Whoever comes too late gets nothing.
        assert await leases.claim("late", 1, SETTINGS.lease, scene.now()) == []
    async with scene.host():
        await scene.pass_time(SETTINGS.lease / 2, step=2.0)
        assert (await scene.service.status(plugin(), run=run))["status"] == "running"
        await scene.pass_time(2 * SETTINGS.lease)
        await scene.until_status(run, "interrupted")
        assert scene.runner.begun == []
        assert await RunLeases(scene.db).load(taken.fence) is None


async def test_of_two_processes_each_runs_things_and_leaves_the_others_runs_alone(
    mock_clock: MockClock, scene: Scene
) -> None:
    scene.runner.then = for_ever
    second = Scene(scene.clock, scene.path, databases=scene.databases)
    second.runner.then = for_ever
    async with second.host(serve=False) as elsewhere:
        # It takes what its own guests submit, so which of the two takes the other run is no matter of time.
        async with scene.host(everything=False) as service:
            runs = [(await service.submit(plugin(), workflow=FLOW))["run"] for _ in range(2)]
            await scene.until_status(runs[0], "running")
            await scene.until_status(runs[1], "running")
            await second.begin()
            other = (await elsewhere.submit(plugin("other"), workflow=FLOW))["run"]
            await second.until_status(other, "running", caller=plugin("other"))
            await scene.pass_time(3 * SETTINGS.lease, step=2.0)
            assert (len(scene.runner.begun) + len(second.runner.begun), len(scene.runner.running)) == (3, 2)
            # Cancelling is a mark that the other process finds.
            assert await elsewhere.cancel(plugin(), run=runs[0]) == {"status": "running"}
            await scene.pass_time(POLL, step=2.0)
            await scene.until_status(runs[0], "cancelled")
            assert (await service.status(plugin(), run=runs[1]))["status"] == "running"
        await second.until_status(runs[1], "interrupted")
        assert (await elsewhere.status(plugin("other"), run=other))["status"] == "running"


async def test_later_starts_once_at_its_time(mock_clock: MockClock, scene: Scene) -> None:
    async with scene.host() as service:
        made = await service.later(plugin(), workflow=FLOW, seconds=100.0, inputs={"n": 1}, name="soon")
        assert made["due"] == scene.now() + 100
        await service.later(plugin(), workflow=FLOW, at=scene.now() + 200, inputs={"n": 2})
        await scene.pass_time(90)
        assert scene.runner.begun == []
        await scene.pass_time(20)
        await scene.until(lambda: _has(scene, 1))
        (run,) = (await service.runs(plugin(), schedule=made["schedule"]))["runs"]
        assert (run["name"], run["schedule"]) == ("soon", made["schedule"])
        (left,) = (await service.schedules(plugin()))["schedules"]
        assert (left["due"], left["expression"]) == (MORNING + 200, None)
        await scene.pass_time(300)
        assert scene.runner.begun == [1, 2]
        assert await service.schedules(plugin()) == {"schedules": []}


async def _has(scene: Scene, count: int) -> bool:
    return len(scene.runner.begun) >= count


@pytest.mark.parametrize(
    "when",
    [{}, {"seconds": 1.0, "at": MORNING + 9}, {"at": 1.0}, {"at": MORNING + 4e8}, {"at": 1e11}],
    ids=["neither", "both", "past", "far", "very far"],
)
async def test_a_time_that_is_none_or_far_away_is_refused(
    mock_clock: MockClock, scene: Scene, when: dict[str, float]
) -> None:
    async with scene.host() as service:
        await refused(Refusal.INVALID, service.later(plugin(), workflow=FLOW, **when))


async def test_cron_starts_again_and_again_until_it_is_removed(mock_clock: MockClock, scene: Scene) -> None:
    async with scene.host() as service:
        made = await service.cron(plugin(), workflow=FLOW, expression="*/2 * * * *", name="often")
        assert made["due"] == MORNING + 120
        await scene.pass_time(250)
        await scene.until(lambda: _has(scene, 2))
        (schedule,) = (await service.schedules(plugin()))["schedules"]
        assert (schedule["due"], schedule["expression"], schedule["timezone"]) == (MORNING + 360, "*/2 * * * *", "UTC")
        assert schedule["last"] >= MORNING + 240
        assert await service.unschedule(plugin(), schedule=made["schedule"]) == {"removed": True}
        await scene.pass_time(300)
        assert len(scene.runner.begun) == 2


@pytest.mark.parametrize("expression", ["* * * * * *", "*/0 * * * *", "0 0 30 2 *", "@reboot", ""])
async def test_a_cron_bomb_is_refused(mock_clock: MockClock, scene: Scene, expression: str) -> None:
    async with scene.host() as service:
        await refused(Refusal.INVALID, service.cron(plugin(), workflow=FLOW, expression=expression))


async def test_there_are_no_more_schedules_than_the_quota_allows(mock_clock: MockClock, scene: Scene) -> None:
    async with scene.host() as service:
        for _ in range(MOST_SCHEDULES):
            await service.cron(plugin(), workflow=FLOW, expression="0 0 1 1 *")
            scene.clock.jump(1)
        error = await refused(Refusal.QUOTA, service.later(plugin(), workflow=FLOW, seconds=5.0))
        assert error.more == {"quota": "schedules", "value": MOST_SCHEDULES}
        await service.later(plugin("other"), workflow=FLOW, seconds=5.0)


async def test_what_was_due_while_no_host_was_up_starts_once(mock_clock: MockClock, scene: Scene) -> None:
    async with scene.host() as service:
        await service.cron(plugin(), workflow=FLOW, expression="* * * * *", inputs={"n": "cron"})
        await service.later(plugin(), workflow=FLOW, seconds=30.0, inputs={"n": "later"})
    scene.start += 5 * 86400
    async with scene.host() as service:
        await scene.until(lambda: _has(scene, 2))
        assert sorted(scene.runner.begun) == ["cron", "later"]
        (schedule,) = (await service.schedules(plugin()))["schedules"]
        assert 0 < schedule["due"] - scene.now() <= 60


async def test_a_plugin_that_may_no_longer_start_workflows_starts_none(mock_clock: MockClock, scene: Scene) -> None:
    async with scene.host(serve=False) as service:
        await service.later(plugin(), workflow=FLOW, seconds=10.0)
        run = (await service.submit(plugin(), workflow=FLOW))["run"]
    scene.revoked.add("demo")
    async with scene.host() as service:
        await scene.until_status(run, "error")
        assert (await service.result(plugin(), run=run))["error"]["kind"] == "denied"
        await scene.pass_time(2 * AGAIN)
        assert scene.runner.begun == []
        scene.revoked.clear()
        await scene.pass_time(2 * AGAIN)
        await scene.until(lambda: _has(scene, 1))


async def test_a_schedule_waits_while_its_plugin_has_too_many_runs(mock_clock: MockClock, scene: Scene) -> None:
    scene.runner.then = for_ever
    async with scene.host() as service:
        runs = [(await service.submit(plugin(), workflow=FLOW))["run"] for _ in range(MOST_RUNS)]
        scene.clock.jump(1)
        made = await service.later(plugin(), workflow=FLOW, seconds=10.0)
        await scene.pass_time(2 * AGAIN)
        assert len((await service.schedules(plugin()))["schedules"]) == 1
        for run in runs[:2]:
            await service.cancel(plugin(), run=run)
        await scene.pass_time(2 * AGAIN)
        assert len((await service.runs(plugin(), schedule=made["schedule"]))["runs"]) == 1


async def test_a_command_runs_what_its_own_guests_submit_and_leaves_the_rest_to_a_host(
    mock_clock: MockClock, scene: Scene
) -> None:
    async with scene.host(serve=False) as service:
        earlier = (await service.submit(plugin(), workflow=FLOW))["run"]
        await service.later(plugin(), workflow=FLOW, seconds=1.0)
    async with scene.host(everything=False) as service:
        await scene.pass_time(20)
        own = (await service.submit(plugin(), workflow=FLOW))["run"]
        await scene.until_status(own, "complete")
        await scene.pass_time(20)
        assert (await service.status(plugin(), run=earlier))["status"] == "queued"
        assert len(scene.runner.begun) == 1
        assert len((await service.schedules(plugin()))["schedules"]) == 1
    async with scene.host():
        await scene.until_status(earlier, "complete")
        await scene.until(lambda: _has(scene, 3))


async def test_results_are_forgotten_after_a_day_and_beyond_a_number(
    mock_clock: MockClock, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    most = 8
    monkeypatch.setattr(run_rows, "MOST_KEPT", most)
    async with scene.host() as service:
        runs = []
        for number in range(most + 3):
            scene.clock.jump(0.5)
            runs.append((await service.submit(plugin(), workflow=FLOW, inputs={"n": number}))["run"])
            await scene.until_status(runs[-1], "complete")
        await refused(Refusal.NOT_FOUND, service.status(plugin(), run=runs[0]))
        listed = (await service.runs(plugin(), limit=100))["runs"]
        assert [run["run"] for run in listed] == runs[:2:-1]
        page = (await service.runs(plugin(), limit=2, before=runs[9]))["runs"]
        assert [run["run"] for run in page] == [runs[8], runs[7]]
        scene.clock.jump(KEPT + 1)
        await refused(Refusal.NOT_FOUND, service.result(plugin(), run=runs[-1]))
        assert await service.runs(plugin()) == {"runs": []}


async def test_a_host_that_runs_no_workflows_says_so() -> None:
    async def database() -> Database:
        raise AssertionError("nothing is opened")

    front = Front(database, None, settings=SETTINGS, known=lambda: True)
    service = SchedulerService(front)
    await service.serve()
    await refused(Refusal.UNAVAILABLE, service.submit(plugin(), workflow=FLOW))
    await refused(Refusal.UNAVAILABLE, service.schedules(plugin()))


async def test_a_database_that_is_busy_for_a_while_loses_nothing(
    mock_clock: MockClock, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = {"end": 3, "append": 2, "claim": 2, "due": 2, "lapse": 2, "extend": 2, "load": 2}

    def failing(owner: type[Any], name: str) -> None:
        original = getattr(owner, name)

        async def sometimes(self: Any, *arguments: Any, **more: Any) -> Any:
            if failures[name]:
                failures[name] -= 1
                raise BusyError("the database was busy", bound="database")
            return await original(self, *arguments, **more)

        monkeypatch.setattr(owner, name, sometimes)

    for name in ("claim", "lapse", "extend", "load"):
        failing(RunLeases, name)
    failing(RunRecord, "append")
    failing(RunRecord, "end")
    failing(ScheduleStore, "due")
    async with scene.host(serve=False) as service:
        died = (await service.submit(plugin(), workflow=FLOW))["run"]
        failures["claim"] = 0
        assert await RunLeases(scene.db, clock=lambda: literal(scene.now())).claim("dead", 1, 1.0, scene.now())
        failures["claim"] = 2
    async with scene.host() as service:
        run = (await service.submit(plugin(), workflow=FLOW))["run"]
        await service.later(plugin(), workflow=FLOW, seconds=1.0)
        for _ in range(10):
            await scene.pass_time(POLL)
        await scene.until_status(run, "complete")
        await scene.until(lambda: _has(scene, 2))
        assert (await service.status(plugin(), run=died))["status"] == "interrupted"
