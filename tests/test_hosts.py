"""Whole hosts, killed and stopped at any moment under load, on both databases: `innkeeper work` with real nodes.

The load, its schedules and the plugin that submits runs are in `host_load`; what is held against the database
afterwards is in `host_ledger`. This process stands for all others: it submits, cancels and subscribes.
"""

# Nothing else runs on this loop of trio that short calls of the system could hold up.

from __future__ import annotations

import signal
import time
from collections import defaultdict
from pathlib import Path

import pytest
import trio
from sqlalchemy import text

from host_ledger import Ledger, all_runs, sound
from host_load import LEASE, ME, HostProcess, chain, install, job
from innkeeper.bridge.bridge import FILE
from innkeeper.plugins.home import STATE
from innkeeper.storage.database import Database, open_database
from innkeeper.storage.location import Location
from innkeeper.storage.postgres import IDLE
from innkeeper.storage.run_model import NewRun, QueueBounds
from innkeeper.storage.run_store import RunStore
from innkeeper.workflow.engine.events import RunEvent
from innkeeper.workflow.scheduling.events import SqlEvents
from innkeeper.workflow.scheduling.seams import Gone


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    install(folder)
    return folder


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, home: Path) -> Location:
    """The database of the home: its file, or one of a server."""
    if request.param == "sqlite":
        return Location.of(home / STATE / FILE)
    return Location.of(request.getfixturevalue("postgres_url"), home / STATE)


async def ready(host: HostProcess) -> None:
    with trio.fail_after(120):
        while not host.ready:  # noqa: ASYNC110 (another process's work)
            await trio.sleep(0.02)


async def busy(host: HostProcess, ledger: Ledger) -> None:
    """Returns when something new was told of what it does."""
    before = ledger.heard
    with trio.fail_after(120):
        while ledger.heard < before + 20:
            assert host.ready
            await trio.sleep(0.01)


# --- killed ---------------------------------------------------------------------------------------------------------


async def killed(home: Path, place: Location, times: int, seed: int) -> Ledger:
    """Kills hosts so many times at random moments under load; then one that lives brings all to an end."""
    ledger = Ledger(seed)
    for number in range(times):
        host = HostProcess(home, place, f"{number}")
        before = set(ledger.accepted)
        try:
            # Nobody else has the database open when it is opened again: a log of SQLite's is then recovered.
            async with open_database(place) as db, trio.open_nursery() as nursery:
                nursery.start_soon(ledger.load, db)
                if ledger.chance.random() < 0.9:
                    await ready(host)
                    await busy(host, ledger)
                await trio.sleep(ledger.chance.random())
                host.kill()
                nursery.cancel_scope.cancel()
        finally:
            host.kill()
        async with open_database(place) as db:
            if number % 10 == 0 or place.url == "":
                await sound(db)
            await ledger.hold(db, only=ledger.accepted - before)
    await ended(home, place, ledger, 60 + 3 * times)
    return ledger


async def ended(home: Path, place: Location, ledger: Ledger, seconds: float) -> None:
    """A host that nobody kills brings everything to an end, and all is as it was promised."""
    host = HostProcess(home, place, "last")
    try:
        async with open_database(place) as db:
            await ready(host)
            await ledger.settled(db, seconds)
            await ledger.hold(db)
            await ledger.fired_once(db)
            await sound(db)
        host.send(signal.SIGTERM)
        with trio.fail_after(60):
            while host.process.poll() is None:  # noqa: ASYNC110 (another process's work)
                await trio.sleep(0.05)
        assert host.process.returncode == 0, host.errors()
    finally:
        host.kill()


def enough(ledger: Ledger) -> None:
    """Else nothing would have been proven."""
    assert len(ledger.accepted) > 20
    assert ledger.scheduled
    assert sum(map(len, ledger.told.values())) > 100
    assert ledger.ended


async def test_nothing_that_hosts_promised_is_lost_where_they_are_killed_under_load(
    home: Path, place: Location
) -> None:
    enough(await killed(home, place, 4, seed=1))


@pytest.mark.soak
async def test_nothing_that_hosts_promised_is_lost_in_two_hundred_kills_under_load(home: Path, place: Location) -> None:
    began = time.monotonic()
    ledger = await killed(home, place, 200, seed=time.time_ns())
    enough(ledger)
    told = sum(map(len, ledger.told.values()))
    print(
        f"200 kills in {time.monotonic() - began:.0f} s: {len(ledger.accepted):,} runs accepted, {ledger.refused:,} "
        f"refused, {len(ledger.scheduled):,} schedules, {told:,} events told"
    )


# --- from another process -------------------------------------------------------------------------------------------


async def test_who_is_another_process_cancels_is_told_what_is_gone_and_hears_that_the_queue_is_full(
    home: Path, place: Location
) -> None:
    host = HostProcess(home, place, "one")
    try:
        async with open_database(place) as db:
            store, events = RunStore(db, bounds=QueueBounds(3, 3)), SqlEvents(db)

            async def submit(id: str, *types: str) -> str:
                return await store.submit(NewRun(id, ME, job(chain(*types, text=id))), time.time())

            assert [await submit(f"early{number}", "nodes:Quick") for number in range(4)] == ["accepted"] * 3 + ["busy"]
            await ready(host)
            await settled(db)
            assert await submit("sleeps", "nodes:Sleep") == "accepted"
            with trio.fail_after(120):
                async with events.subscribe("sleeps") as told:
                    async for event in told:
                        if isinstance(event, RunEvent) and event.kind == "NODE_EXECUTING":
                            await store.cancel("sleeps", time.time())
            # More than is ever written together, and so kept together.
            assert await submit("talks", *["tells:Tell"] * 200) == "accepted"
            await settled(db)
            found = {run.id: run for run in await all_runs(db)}
            assert found["sleeps"].status == "cancelled"
            assert "early3" not in found
            async with events.subscribe("talks") as told:
                story = [event async for event in told]
            (gone,) = [event for event in story if isinstance(event, Gone)]
            kept = [event.seq for event in story if isinstance(event, RunEvent)]
            missing = set(range(1, found["talks"].seq + 1)) - set(kept)
            assert missing
            assert missing <= set(range(gone.first, gone.last + 1))
    finally:
        host.kill()


async def settled(db: Database) -> None:
    await Ledger(0).settled(db, 120)


# --- stopped --------------------------------------------------------------------------------------------------------

# Who wrote which events, as the database itself saw it: which session, and whose the run was by then.
_WITNESS = (
    "CREATE TABLE seen_events (run bigint, upto bigint, attempt bigint, holder text, session integer)",
    """CREATE FUNCTION see_events() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
      INSERT INTO seen_events SELECT NEW.run, NEW.upto, attempt, holder, pg_backend_pid()
      FROM runs WHERE number = NEW.run AND status IN ('running', 'complete', 'error');
      RETURN NEW; END $$""",
    "CREATE TRIGGER see_events BEFORE INSERT ON run_events FOR EACH ROW EXECUTE FUNCTION see_events()",
)


async def stopped(home: Path, place: Location, times: int, seed: int) -> None:
    """Two hosts, of which one is stopped so many times for longer than its leases, and goes on; more often where it had
    nothing by chance that the other one took over."""
    ledger = Ledger(seed)
    hosts = [HostProcess(home, place, name) for name in ("a", "b")]
    try:
        async with open_database(place) as db, trio.open_nursery() as nursery:
            await db.write(lambda connection: [connection.execute(text(each)) for each in _WITNESS])
            for host in hosts:
                await ready(host)
            nursery.start_soon(ledger.load, db)
            number = 0
            while number < times or (number < times + 40 and not await taken_over(db)):
                number += 1
                host = ledger.chance.choice(hosts)
                await trio.sleep(ledger.chance.uniform(0.1, 1.0))
                host.send(signal.SIGSTOP)
                # In the midst of a transaction it holds up the other one too, until the server ends that.
                held = IDLE if number % 2 == 0 else 0.0
                await trio.sleep(held + LEASE * ledger.chance.uniform(1.5, 3.0))
                host.send(signal.SIGCONT)
            await trio.sleep(LEASE)
            nursery.cancel_scope.cancel()
        async with open_database(place) as db:
            await ledger.settled(db, 120 + 2 * times)
            assert [host.process.poll() for host in hosts] == [None, None], hosts[0].errors() + hosts[1].errors()
            await ledger.hold(db)
            await ledger.fired_once(db)
            for host in hosts:
                host.send(signal.SIGTERM)
                assert await trio.to_thread.run_sync(host.process.wait, 60) in (0, 6), host.errors()
            await held_by_one(db, hosts)
            await sound(db)
    finally:
        for host in hosts:
            host.kill()


async def taken_over(db: Database) -> bool:
    """Whether a host has begun anew what another one had."""
    query = text("SELECT count(*) FROM runs WHERE attempt > 1")
    return bool(await db.read(lambda connection: connection.execute(query).scalar_one()))


async def held_by_one(db: Database, hosts: list[HostProcess]) -> None:
    """Whatever was written of a run was written by the host that had it then, and its end by one host, once."""
    rows = await db.read(
        lambda connection: connection.execute(
            text("SELECT run, upto, attempt, holder, session FROM seen_events ORDER BY run, upto")
        ).all()
    )
    writers = defaultdict(set)
    attempts: dict[int, int] = {}
    for row in rows:
        writers[row.session].add(row.holder)
        assert row.attempt >= attempts.get(row.run, 0), f"run {row.run}: an attempt wrote after the next one"
        attempts[row.run] = row.attempt
    assert len({holder for found in writers.values() for holder in found}) == 2
    for found in writers.values():
        assert len(found) == 1, "a host wrote of a run that was the other's"
    assert any(attempt > 1 for attempt in attempts.values()), "nobody took over anything: it proves nothing"
    ends: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for host in hosts:
        for each in host.said():
            if each["event"] == "run" and each["status"] in ("complete", "error", "cancelled"):
                ends[each["run"]].append((each["attempt"], each["status"]))
    query = text("SELECT id, attempt, status FROM runs WHERE status IN ('complete', 'error')")
    for row in await db.read(lambda connection: connection.execute(query).all()):
        assert ends[row.id] == [(row.attempt, row.status)], f"{row.id}: {ends[row.id]}, and kept is {row}"


async def test_two_hosts_one_of_them_stopped_for_longer_than_its_lease_store_each_result_once(
    home: Path, postgres_url: str
) -> None:
    await stopped(home, Location.of(postgres_url, home / STATE), 3, seed=2)


@pytest.mark.soak
async def test_two_hosts_that_are_stopped_fifty_times_store_each_result_once(home: Path, postgres_url: str) -> None:
    await stopped(home, Location.of(postgres_url, home / STATE), 50, seed=time.time_ns())
