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
from innkeeper.storage.location import Location
from innkeeper.storage.process_lock import ProcessLock
from innkeeper.storage.runs import RunStore
from innkeeper.storage.schedules import ScheduleStore
from innkeeper.storage.schedules_model import KEPT, MOST_OUTPUTS, Account, Schedule
from innkeeper.storage.schema import schedules as table
from innkeeper.workflow.runner import MOST_LINES, WorkflowRunner
from node_fakes import text_host
from test_storage_schema import HOSTILE, watched

ACCOUNT = Account("local", "demo")


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
    assert len(await runs.list(ACCOUNT, 100.0)) == 1
    assert (await store.due(100.0), [each.due for each in await store.due(160.0)]) == ([], [160.0])


async def test_a_schedule_that_was_put_back_does_not_fire_again_for_the_same_time(db: Database) -> None:
    store, runs = ScheduleStore(db), RunStore(db)
    await store.add(schedule(), b"job")
    assert await store.fire(schedule(), "first", 100.0, 160.0) == "fired"
    # As if the leader before had not moved it on.
    await db.write(lambda connection: connection.execute(table.update().values(due=100.0, looked_at=100.0)))
    assert await store.fire(schedule(), "second", 101.0, 160.0) == "gone"
    assert [run.id for run in await runs.list(ACCOUNT, 101.0)] == ["first"]
    assert [each.due for each in await store.list(ACCOUNT)] == [160.0]


async def test_a_removed_schedule_does_not_fire(db: Database) -> None:
    store = ScheduleStore(db)
    await store.add(schedule(), b"job")
    (found,) = await store.due(100.0)
    assert not await store.remove(Account("local", "other"), "s")
    assert await store.remove(ACCOUNT, "s")
    assert await store.fire(found, "run", 100.0, None) == "gone"
    assert await RunStore(db).list(ACCOUNT, 100.0) == []


async def test_a_run_ends_once_and_its_job_is_not_kept(db: Database) -> None:
    store = RunStore(db)
    await store.submit(ACCOUNT, "r", "", 1, b"job", 1.0)
    (run,) = await store.next_of_each()
    assert await store.take(run.number, 2.0) == b"job"
    with pytest.raises(ValueError, match="at most"):
        await store.end(run, "complete", 3.0, outputs=b"x" * (MOST_OUTPUTS + 1))
    assert await store.end(run, "complete", 3.0, outputs=b"x")
    assert not await store.end(run, "error", 4.0, error="{}")
    ended = await store.ended(ACCOUNT, "r", 5.0)
    assert ended is not None
    assert (ended.run.status, ended.outputs, ended.error) == ("complete", b"x", None)


async def test_outputs_together_have_a_bound_and_the_newest_are_kept(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_rows, "MOST_KEPT_BYTES", 250)
    store = RunStore(db)
    for number in range(5):
        await store.submit(ACCOUNT, f"r{number}", "", 1, b"job", 1.0)
        (run,) = await store.next_of_each()
        await store.take(run.number, 1.0)
        await store.end(run, "complete", 1.0, outputs=b"x" * 100)
    assert [run.id for run in await store.list(ACCOUNT, 2.0)] == ["r4", "r3"]


async def everything(database: Location, word: str) -> None:
    """Uses each method, with a word wherever a guest chooses one."""
    account = Account(word, word)
    async with open_database(database) as db:
        runs, schedules = RunStore(db), ScheduleStore(db)
        for number in range(4):
            await runs.submit(account, f"{word}{number}", word, 1, word.encode(), 1.0)
        (first,) = await runs.next_of_each()
        assert await runs.next_of_each([f"{word}3"]) != [first]
        await runs.take(first.number, 2.0)
        await runs.cancel(account, f"{word}0", 2.0)
        await runs.cancel(account, f"{word}1", 2.0)
        assert await runs.to_cancel([first.number]) == [first.number]
        await runs.end(first, "error", 3.0, outputs=word.encode(), error=word)
        assert await runs.find(account, f"{word}0", 3.0) is not None
        assert await runs.ended(account, f"{word}0", 3.0) is not None
        assert len(await runs.list(account, 3.0, before=f"{word}3", limit=5)) == 3
        await schedules.add(schedule(word, account=account, name=word, expression=word, timezone=word), word.encode())
        (due,) = await schedules.due(100.0)
        await schedules.postpone(due, 110.0)
        assert await schedules.next_look() == 110.0
        assert await schedules.fire(due, f"{word}f", 110.0, 200.0) == "fired"
        assert len(await runs.list(account, 110.0, schedule=word)) == 1
        assert len(await schedules.list(account)) == 1
        await schedules.remove(account, word)
        await schedules.add(schedule(word, account=account), word.encode())
        assert await schedules.fire(schedule(word, account=account), f"{word}g", 110.0, None) == "fired"
        (second, *_) = await runs.next_of_each()
        await runs.take(second.number, 110.0)
        assert await runs.interrupt_all(111.0) == 1
        assert await runs.sweep(KEPT + 200) == 3
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
