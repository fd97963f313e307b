"""Runs and schedules in the database: a row for each firing, one process that runs things, statements without text."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio
from sqlalchemy.dialects import postgresql, sqlite

from innkeeper.bridge.runner import Job, ProblemsError
from innkeeper.errors import UsageError
from innkeeper.storage import run_rows
from innkeeper.storage.database import Database, open_database
from innkeeper.storage.leaders import LeaderStore
from innkeeper.storage.location import Location
from innkeeper.storage.process_lock import ProcessLock
from innkeeper.storage.retention import RunRetention
from innkeeper.storage.run_journal import RunRecord
from innkeeper.storage.run_leases import RunLeases
from innkeeper.storage.run_model import KEPT, Account, NewRun, StaleError
from innkeeper.storage.run_reading import RunReader
from innkeeper.storage.run_store import RunStore
from innkeeper.storage.schedules import ScheduleStore
from innkeeper.storage.schedules_model import Schedule
from innkeeper.storage.schema import schedules as table
from innkeeper.workflow.engine.events import RunEvent
from innkeeper.workflow.runner import MOST_LINES, WorkflowRunner
from node_fakes import text_host
from run_fakes import chunk, event
from test_storage_schema import HOSTILE, watched

ACCOUNT = Account("default_user", "demo")


@pytest.fixture
async def db(database_place: Location) -> AsyncIterator[Database]:
    async with open_database(database_place) as opened:
        yield opened


def schedule(id: str = "s", due: float = 100.0, account: Account = ACCOUNT, **more: Any) -> Schedule:
    fields: dict[str, Any] = {"name": "", "expression": "", "timezone": "", "generation": 1, "created": 0.0}
    return Schedule(id, account, due=due, last=None, **{**fields, **more})


async def test_a_time_fires_once_however_many_try(db: Database) -> None:
    store, runs = ScheduleStore(db), RunStore(db)
    await store.add(schedule(), b"job")
    (found,) = await store.due(100.0)
    answers: list[str] = []

    async def fire(number: int) -> None:
        answers.append(await store.fire(found, f"run{number}", 100.0, 160.0))

    async with trio.open_nursery() as nursery:
        for number in range(10):
            nursery.start_soon(fire, number)
    assert sorted(answers) == ["fired"] + ["gone"] * 9
    assert len(await runs.list(100.0, ACCOUNT)) == 1
    assert (await store.due(100.0), [each.due for each in await store.due(160.0)]) == ([], [160.0])


async def test_a_schedule_that_was_put_back_does_not_fire_again_for_the_same_time(db: Database) -> None:
    store, runs = ScheduleStore(db), RunStore(db)
    await store.add(schedule(), b"job")
    assert await store.fire(schedule(), "first", 100.0, 160.0) == "fired"
    # As if the leader before had not moved it on.
    await db.write(lambda connection: connection.execute(table.update().values(due=100.0, looked_at=100.0)))
    assert await store.fire(schedule(), "second", 101.0, 160.0) == "gone"
    assert [run.id for run in await runs.list(101.0, ACCOUNT)] == ["first"]
    assert [each.due for each in await store.list(ACCOUNT)] == [160.0]


async def test_a_removed_schedule_does_not_fire(db: Database) -> None:
    store = ScheduleStore(db)
    await store.add(schedule(), b"job")
    (found,) = await store.due(100.0)
    assert not await store.remove(Account("default_user", "other"), "s")
    assert await store.remove(ACCOUNT, "s")
    assert await store.fire(found, "run", 100.0, None) == "gone"
    assert await RunStore(db).list(100.0, ACCOUNT) == []


async def test_a_run_ends_once_and_the_job_of_a_plugin_is_not_kept(db: Database) -> None:
    store, leases = RunStore(db), RunLeases(db)
    await store.submit(NewRun("r", ACCOUNT, b"job"), 1.0)
    (taken,) = await leases.claim("host", 1, 10.0, 2.0)
    assert taken.job == b""
    loaded = await leases.load(taken.fence)
    assert loaded is not None
    assert (loaded.run, loaded.job) == (taken.run, b"job")
    record = RunRecord(db, taken.fence)
    await record.end(taken.run, "complete", 3.0, events=[], outputs=b"x")
    with pytest.raises(StaleError):
        await record.end(taken.run, "error", 4.0, events=[], error="{}")
    ended = await store.ended("r", 5.0, ACCOUNT)
    assert ended is not None
    assert (ended.run.status, ended.outputs, ended.error) == ("complete", b"x", None)
    assert await store.job("r") is None


async def test_outputs_together_have_a_bound_and_the_newest_are_kept(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_rows, "MOST_KEPT_BYTES", 250)
    store, leases = RunStore(db), RunLeases(db)
    for number in range(5):
        await store.submit(NewRun(f"r{number}", ACCOUNT, b"job"), 1.0)
        (taken,) = await leases.claim("host", 1, 10.0, 1.0)
        await RunRecord(db, taken.fence).end(taken.run, "complete", 1.0, events=[], outputs=b"x" * 100)
    assert [run.id for run in await store.list(2.0, ACCOUNT)] == ["r4", "r3"]


async def everything(database: Location, word: str) -> None:
    """Uses each method, with a word wherever a guest chooses one."""
    account = Account(word, word)
    async with open_database(database) as db:
        runs, schedules, leases, reader = RunStore(db), ScheduleStore(db), RunLeases(db), RunReader(db)
        for number in range(4):
            new = NewRun(f"{word}{number}", account, word.encode(), name=word)
            assert await runs.submit(new, 1.0, offered=number != 3) == "accepted"
        assert await runs.offer(f"{word}3") == "accepted"
        assert await leases.waiting()
        assert await leases.queued([f"{word}2"]) == {f"{word}2"}
        (first,) = await leases.claim(word, 1, 10.0, 2.0, among=[f"{word}0", f"{word}1"])
        assert await leases.load(first.fence) is not None
        assert await leases.extend([first.fence], 10.0) == [first.fence]
        await runs.cancel(f"{word}0", 2.0, account)
        await runs.cancel(f"{word}1", 2.0, account)
        assert [each.cancel for each in await leases.standing([first.fence])] == [True]
        record = RunRecord(db, first.fence, chunk_bytes=1)
        await record.append([event(1, nodeId=word), chunk(2, word.encode())])
        await record.append([chunk(3), RunEvent(4, "NODE_COMPLETE", {"nodeId": word}, {word: word.encode()})])
        await record.append([chunk(5)])
        assert (await record.known()).results == {word: {word: word.encode()}}
        await record.end(first.run, "error", 3.0, events=[], outputs=b"\x80", error='{"message": "' + "x" + '"}')
        page = await reader.page(first.run.number, 0)
        assert page is not None
        assert [each.seq for each in page.events] == [1, 4, 5, 6]
        assert page.gone == (2, 4)
        assert await reader.heads([first.run.number]) == {first.run.number: (6, True)}
        assert await runs.find(f"{word}0", 3.0, account) is not None
        assert await runs.ended(f"{word}0", 3.0, account) is not None
        assert await runs.job(f"{word}2", account) == word.encode()
        assert len(await runs.list(3.0, account, owner=word, before=f"{word}3", statuses=["queued"], limit=5)) == 1
        (second,) = await leases.claim(word, 1, 0.0, 3.0)
        assert await leases.release(second.fence)
        (second,) = await leases.claim(word, 1, -1.0, 3.0)
        assert [each.status for each in await leases.lapse(4.0)] == ["interrupted"]
        assert await runs.refuse(f"{word}3", 4.0, "denied", word)
        assert await runs.forget(f"{word}3", account)
        await schedules.add(schedule(word, account=account, name=word, expression=word, timezone=word), word.encode())
        (due,) = await schedules.due(100.0)
        await schedules.postpone(due, 110.0)
        assert await schedules.next_look() == 110.0
        assert await schedules.fire(due, f"{word}f", 110.0, 200.0) == "fired"
        assert await schedules.start(word, f"{word}s", 110.0, account) == "fired"
        assert await schedules.pause(word, account)
        assert await schedules.resume(word, 200.0, account)
        assert await schedules.find(word, account) is not None
        assert len(await runs.list(110.0, account, schedule=word)) == 2
        assert len(await schedules.list(account, owner=word)) == 1
        await schedules.remove(account, word)
        await schedules.add(schedule(word, account=account), word.encode())
        assert await schedules.fire(schedule(word, account=account), f"{word}g", 110.0, None) == "fired"
        leaders = LeaderStore(db)
        assert await leaders.lead(word, word, 10.0) == await leaders.lead(word, word, 10.0) == 1
        await leaders.resign(word, word)
        assert await RunRetention(db, most_bytes=1).sweep(KEPT + 200) == 3
        assert await schedules.sweep(KEPT + 200) == 1


async def test_no_text_is_ever_part_of_a_statement_and_postgresql_understands_each(
    two_places: tuple[Location, Location],
) -> None:
    with watched() as (built, hostile):
        await everything(two_places[0], HOSTILE)
    with watched() as (_, plain):
        await everything(two_places[1], "word")
    assert set(hostile) == set(plain)
    shared = [each for each in built if not isinstance(each, str | sqlite.Insert | postgresql.Insert)]
    texts = {str(each.compile(dialect=postgresql.dialect())) for each in shared}
    assert len(texts) > 20
    assert any("FOR UPDATE" in each for each in texts)
    assert not any(re.search(r"\b(OR (IGNORE|REPLACE)|REPLACE INTO|rowid|PRAGMA)\b", each) for each in texts)


def test_a_lock_is_one_processs_at_a_time(tmp_path: Path) -> None:
    one, two = (ProcessLock(tmp_path / "state" / "scheduler.lock") for _ in range(2))
    two.release()
    assert one.take()
    assert one.take()
    assert not two.take()
    one.release()
    assert two.take()
    two.release()
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700


def test_a_lock_in_a_folder_of_others_or_behind_a_link_is_not_used(tmp_path: Path) -> None:
    open_to_all = tmp_path / "open"
    open_to_all.mkdir()
    os.chmod(open_to_all, 0o777)
    with pytest.raises(UsageError, match="is not used"):
        ProcessLock(open_to_all / "scheduler.lock").take()
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    (private / "scheduler.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="cannot be made or opened"):
        ProcessLock(private / "scheduler.lock").take()
    assert not (tmp_path / "elsewhere").exists()


async def test_a_workflow_of_nothing_but_unknown_names_is_checked_away_from_trios_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    host = text_host()
    runner = WorkflowRunner(host)
    nodes = [{"id": f"n{number}", "fullType": f"t:Uper{number}"} for number in range(400)]
    with pytest.raises(ProblemsError) as caught:
        await runner.check(Job({"nodes": nodes, "edges": []}, {}))
    assert caught.value.count == 400
    assert len(caught.value.lines) == MOST_LINES + 1
    # What nobody is shown is not looked for: it takes the host milliseconds each time.
    asked: list[str] = []
    looked = host.node

    def counting(full_type: str) -> Any:
        asked.append(full_type)
        return looked(full_type)

    monkeypatch.setattr(host, "node", counting)
    for _ in range(2):
        asked.clear()
        with pytest.raises(ProblemsError):
            await runner.check(Job({"nodes": nodes, "edges": []}, {}))
        assert len(asked) == MOST_LINES
    # A plugin that is replaced meanwhile is a problem like any other.
    monkeypatch.setattr(host, "node", lambda full_type: {}[full_type])
    with pytest.raises(ProblemsError, match="being replaced"):
        await runner.check(Job({"nodes": nodes[:1], "edges": []}, {}))
