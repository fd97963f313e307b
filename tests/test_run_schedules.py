"""Schedules of users: each time fires once, by whoever leads; paused ones wait; their runs are what they say."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio

from innkeeper.errors import BusyError
from innkeeper.storage.database import Database, open_database
from innkeeper.storage.leaders import LeaderStore
from innkeeper.storage.location import Location
from innkeeper.storage.run_model import Account, QueueBounds, TooManyError
from innkeeper.storage.run_store import RunStore
from innkeeper.storage.schedules import ScheduleStore
from innkeeper.storage.schedules_model import Schedule
from innkeeper.workflow.scheduling import schedules as schedules_module
from innkeeper.workflow.scheduling.leader import SqlLeader
from innkeeper.workflow.scheduling.schedules import AGAIN, Schedules

MORNING = 1_800_000_000.0
ME = Account("default_user")


@pytest.fixture
async def db(database_place: Location) -> AsyncIterator[Database]:
    async with open_database(database_place) as opened:
        yield opened


def schedule(id: str = "s", due: float = MORNING, **more: Any) -> Schedule:
    fields: dict[str, Any] = {"name": "nightly", "expression": "*/10 * * * *", "timezone": "UTC", "generation": 1}
    return Schedule(id, more.pop("account", ME), created=1.0, due=due, last=None, **{**fields, **more})


class Hosts:
    """Hosts that look at the same schedules, at a time that the test sets."""

    def __init__(self, db: Database, **more: Any) -> None:
        self.now = MORNING
        self.fired = 0
        self.permitted = True
        self._db = db
        self.store = ScheduleStore(db, **more)

    def host(self, name: str) -> Schedules:
        def fired() -> None:
            self.fired += 1

        leader = SqlLeader(LeaderStore(self._db), "schedules", name, seconds=30.0)
        return Schedules(self.store, leader, permitted=lambda plugin: self.permitted, fired=fired, now=lambda: self.now)


async def test_what_is_due_starts_a_run_as_its_schedule_says(db: Database) -> None:
    hosts, runs = Hosts(db), RunStore(db)
    await hosts.store.add(schedule(priority=7, after_crash="again", lasting=600.0), b"the job")
    assert await hosts.host("one").fire() == 0.0
    (run,) = await runs.list(MORNING, ME)
    assert (run.name, run.schedule, run.priority, run.after_crash, run.deadline, run.status) == (
        "nightly", "s", 7, "again", MORNING + 600.0, "queued"
    )  # fmt: skip
    assert await runs.job(run.id) == b"the job"
    (left,) = await hosts.store.list(ME)
    assert (left.due, left.last, hosts.fired) == (MORNING + 600.0, MORNING, 1)


async def test_a_host_that_does_not_lead_fires_nothing_and_looks_again_later(db: Database) -> None:
    hosts = Hosts(db)
    one, two = hosts.host("one"), hosts.host("two")
    await hosts.store.add(schedule(), b"job")
    await one.fire()
    hosts.now += 600.0
    assert await two.fire() > 0
    assert hosts.fired == 1
    await one.fire()
    assert hosts.fired == 2


async def test_until_something_is_due_there_is_nothing_to_do_but_to_look_now_and_then(db: Database) -> None:
    hosts = Hosts(db)
    host = hosts.host("one")
    assert await host.fire() == schedules_module.POLL
    await hosts.store.add(schedule(due=MORNING + 0.25), b"job")
    assert await host.fire() == 0.25
    await hosts.store.add(schedule("later", due=MORNING + 500), b"job")
    assert await host.fire() == 0.25


async def test_a_paused_schedule_does_not_fire_until_it_is_resumed(db: Database) -> None:
    hosts = Hosts(db)
    host = hosts.host("one")
    await hosts.store.add(schedule(), b"job")
    (found,) = await hosts.store.due(MORNING)
    assert not await hosts.store.resume("s", MORNING, ME)
    assert await hosts.store.pause("s", ME)
    await host.fire()
    # Nor does one that was read before.
    assert await hosts.store.fire(found, "run", MORNING, MORNING + 600) == "gone"
    assert hosts.fired == 0
    hosts.now += 5000.0
    assert await hosts.store.resume("s", hosts.now + 60, ME)
    await host.fire()
    assert hosts.fired == 0
    hosts.now += 60.0
    await host.fire()
    assert hosts.fired == 1


async def test_a_schedule_can_be_started_now_whatever_its_times_are(db: Database) -> None:
    hosts, runs = Hosts(db), RunStore(db)
    await hosts.store.add(schedule(due=MORNING + 1000), b"job")
    assert await hosts.store.start("s", "by hand", MORNING, ME) == "fired"
    assert await hosts.store.start("s", "by hand too", MORNING, Account("somebody")) == "gone"
    assert [run.id for run in await runs.list(MORNING, schedule="s")] == ["by hand"]
    (left,) = await hosts.store.list(ME)
    assert (left.due, left.last) == (MORNING + 1000, None)


async def test_where_the_queue_is_full_or_the_right_is_gone_it_fires_later(db: Database) -> None:
    hosts = Hosts(db, bounds=QueueBounds(user=0))
    await hosts.store.add(schedule(), b"job")
    await hosts.store.add(schedule("p", account=Account("o", "plugin")), b"job")
    hosts.permitted = False
    host = hosts.host("one")
    await host.fire()
    assert hosts.fired == 0
    assert await hosts.store.next_look() == MORNING + AGAIN
    hosts.store._bounds = QueueBounds()
    hosts.permitted = True
    hosts.now += AGAIN
    await host.fire()
    assert hosts.fired == 2


async def test_a_user_may_have_more_schedules_than_a_plugin_and_not_any_number(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("innkeeper.storage.schedules.MOST_OWN", 5)
    store = ScheduleStore(db, most=2)
    for number in range(5):
        await store.add(schedule(f"s{number}"), b"job")
    with pytest.raises(TooManyError):
        await store.add(schedule("more"), b"job")
    for number in range(2):
        await store.add(schedule(f"p{number}", account=Account("default_user", "plugin")), b"job")
    with pytest.raises(TooManyError):
        await store.add(schedule("p", account=Account("default_user", "plugin")), b"job")


async def test_a_database_that_is_busy_delays_schedules_and_ends_nothing(
    db: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    hosts = Hosts(db)
    host = hosts.host("one")
    await hosts.store.add(schedule(), b"job")
    failures, look = [1, 2], hosts.store.next_look

    async def busy() -> float | None:
        if failures:
            failures.pop()
            host.ring()
            raise BusyError("the database was busy", bound="database")
        return await look()

    monkeypatch.setattr(hosts.store, "next_look", busy)
    fired = trio.Event()
    monkeypatch.setattr(host, "_fired", fired.set)
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(host.run)
            await fired.wait()
            nursery.cancel_scope.cancel()
    assert len(caplog.messages) == 1
