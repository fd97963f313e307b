"""A host that is stopped for longer than its leases, and then goes on, changes nothing that another did since."""

# Nothing else runs on this loop of trio that short calls of the system could hold up.

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import trio
from sqlalchemy import func, select, text

from innkeeper.storage.database import open_database
from innkeeper.storage.runs_schema import runs
from run_killed import SETTINGS
from test_run_killed import SCRIPT, Promises, drained


def begun(path: Path, prefix: str) -> subprocess.Popen[bytes]:
    """A host that has made its first promise, and writes the others into a file beside the database."""
    child = subprocess.Popen([sys.executable, SCRIPT, str(path), prefix], stdout=(path.parent / prefix).open("wb"))
    ends = time.monotonic() + 60
    while not (path.parent / prefix).stat().st_size:
        assert child.poll() is None, "it came to nothing"
        assert time.monotonic() < ends, "it promised nothing"
        time.sleep(0.01)
    return child


async def stopped_again_and_again(path: Path, times: int) -> None:
    path.parent.mkdir(mode=0o700)
    promises, hosts = Promises(), [begun(path, "a"), begun(path, "b")]
    try:
        for _ in range(times):
            stopped = random.choice(hosts)
            await trio.sleep(random.uniform(0.1, 0.5))
            stopped.send_signal(signal.SIGSTOP)
            # Long enough that the other one takes over what it had, and ends some of it.
            await trio.sleep(SETTINGS.lease * random.uniform(1.5, 2.5))
            stopped.send_signal(signal.SIGCONT)
        await trio.sleep(0.5)
        assert all(host.poll() is None for host in hosts), "one ended by itself"
    finally:
        for host in hosts:
            host.kill()
            host.wait()
    for name in ("a", "b"):
        lines = (path.parent / name).read_bytes().splitlines(keepends=True)
        promises.add([line.decode().split() for line in lines if line.endswith(b"\n")])
    async with open_database(path) as db:
        await drained(db, promises, 60)
        await promises.hold(db, promises.accepted)
        check = await db.read(lambda connection: connection.execute(text("PRAGMA integrity_check")).all())
        assert [tuple(row) for row in check] == [("ok",)]
        twice = select(func.count()).select_from(runs).where(runs.c.attempt > 1)
        # Else it would prove nothing.
        assert (await db.read(lambda connection: connection.scalar(twice)) or 0) > 0


async def test_of_two_hosts_one_that_was_stopped_and_goes_on_changes_nothing_of_the_others(tmp_path: Path) -> None:
    with trio.fail_after(300):
        await stopped_again_and_again(tmp_path / "state" / "inn.db", 3)


@pytest.mark.soak
async def test_of_two_hosts_that_are_stopped_a_hundred_times_none_changes_what_is_the_others(tmp_path: Path) -> None:
    await stopped_again_and_again(tmp_path / "state" / "inn.db", 100)
