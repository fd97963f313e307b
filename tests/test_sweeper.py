"""What has had its time goes by itself, a little at a time, and a host that keeps nothing opens nothing for it."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from sqlalchemy import Connection

from innkeeper.bridge import sweeper as sweeper_module
from innkeeper.bridge.sweeper import EVERY, FIRST, Sweeper
from innkeeper.errors import BusyError
from innkeeper.plugins.configuration import Configuration
from innkeeper.plugins.settings import JournalSettings, MemoSettings, Retention
from innkeeper.storage import sweeping
from innkeeper.storage.audit import AuditKind, AuditLog
from innkeeper.storage.database import Database, open_database
from innkeeper.storage.events import EventStore
from innkeeper.storage.journals import JournalStore, NewJournal
from innkeeper.storage.kv import KvStore
from innkeeper.storage.kv_model import Quota
from innkeeper.storage.llm_usage import LlmUsageStore
from innkeeper.storage.memo import MemoStore
from innkeeper.storage.run_model import KEPT
from innkeeper.storage.run_store import RunStore
from kept import rows
from run_fakes import new_run

DAY = 86400.0
QUOTA = Quota(10_000, 1 << 20)
SETTINGS = replace(
    Configuration(),
    retention=Retention(audit_days=10.0, event_days=2.0),
    journal=JournalSettings(days=5.0),
    memo=MemoSettings(days=6.0),
)


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    async with open_database(tmp_path / "state" / "innkeeper.db") as made:
        yield made


def opener(db: Database) -> Callable[[], Awaitable[Database]]:
    async def give() -> Database:
        return db

    return give


async def fill(db: Database, now: Callable[[], float]) -> None:
    """One of each, kept now."""
    kv = KvStore(db, now=now)
    await kv.put("o", "p", "", "short", b"", ttl=DAY, quota=QUOTA)
    await kv.put("o", "p", "", "for ever", b"", quota=QUOTA)
    await AuditLog(db, now=now).append(AuditKind.GRANT, plugin="p")
    await JournalStore(db, now=now).append("o", [NewJournal(now(), "p", "d", "f", "output", b"body")])
    events = EventStore(db, now=now)
    await events.subscribe("o", "p", "t", "on_event")
    await events.publish("o", None, "t", b"\xc0", matches=lambda pattern: True)
    runs = RunStore(db)
    await runs.submit(new_run("r", "o", "p"), now())
    await runs.cancel("r", now())
    await MemoStore(db, now=now).put("o", {"0" * 64: b"result"})
    await LlmUsageStore(db, now=now).reserve("o", "p", 1, 10)


async def test_what_has_had_its_time_goes_and_what_has_not_stays(db: Database, tmp_path: Path) -> None:
    now = [1e9]
    await fill(db, lambda: now[0])
    sweeper = Sweeper(tmp_path / "state" / "innkeeper.db", opener(db), SETTINGS, now=lambda: now[0])
    assert await sweeper.sweep() == {}
    now[0] += max(1.5 * DAY, KEPT + 1)
    assert await sweeper.sweep() == {"entries of kv": 1, "runs": 1}
    now[0] += DAY
    assert (await sweeper.sweep())["events"] >= 1
    now[0] += 3 * DAY
    assert await sweeper.sweep() == {"journals": 1}
    now[0] += 1 * DAY
    assert await sweeper.sweep() == {"remembered results": 1}
    now[0] += 4 * DAY
    assert await sweeper.sweep() == {"records of the audit log": 1}
    now[0] += 90 * DAY
    assert await sweeper.sweep() == {"counts of tokens": 1}
    left = rows(tmp_path / "state")
    assert left.pop("kv") == 1
    assert left.keys() <= {"kv_usage", "journals_usage", "memo_usage"}, left


async def test_it_goes_in_steps_between_which_others_write(
    db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1e9]
    kv = KvStore(db, now=lambda: now[0])
    async with trio.open_nursery() as nursery:
        for number in range(600):
            nursery.start_soon(partial(kv.put, "o", "p", "", f"k{number}", b"", ttl=1.0, quota=QUOTA))
    now[0] += 2
    sizes: list[int] = []
    write = db.write

    async def watched(function: Callable[[Connection], Any]) -> Any:
        done = await write(function)
        sizes.append(done)
        return done

    monkeypatch.setattr(db, "write", watched)
    monkeypatch.setattr(sweeper_module, "BREATH", 0.0)
    sweeper = Sweeper(tmp_path / "state" / "innkeeper.db", opener(db), SETTINGS, now=lambda: now[0])
    assert await sweeper.sweep() == {"entries of kv": 600}
    assert max(sizes) <= 256


async def test_a_host_sweeps_after_a_minute_and_then_every_hour(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    times: list[float] = []
    sweeper = Sweeper(tmp_path / "none", _never, Configuration())

    async def sweep() -> dict[str, int]:
        times.append(trio.current_time() - begun)
        if len(times) == 1:
            raise BusyError("the disk is full", bound="disk")
        return {}

    begun = trio.current_time()
    monkeypatch.setattr(sweeper, "sweep", sweep)
    with trio.move_on_after(FIRST + 2 * EVERY + 1):
        await sweeper.run()
    assert times == pytest.approx([FIRST, FIRST + EVERY, FIRST + 2 * EVERY])


async def _never() -> Database:
    raise AssertionError("the database was opened")


async def test_where_nothing_was_ever_kept_nothing_is_opened(tmp_path: Path) -> None:
    assert await Sweeper(tmp_path / "state" / "innkeeper.db", _never, Configuration()).sweep() == {}
    assert not (tmp_path / "state").exists()


async def test_a_sweep_that_fails_keeps_none_of_the_others(
    db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fails() -> int:
        raise BusyError("somebody holds it", bound="database")

    left = [1]

    async def works() -> int:
        return left.pop() if left else 0

    found = (sweeping.Sweep("the one", fails), sweeping.Sweep("the other", works))
    monkeypatch.setattr(sweeping, "sweeps", lambda *_, **__: found)
    sweeper = Sweeper(tmp_path / "state" / "innkeeper.db", opener(db), Configuration())
    with caplog.at_level(logging.WARNING):
        assert await sweeper.sweep() == {"the other": 1}
    assert "sweeping the one failed" in caplog.text
