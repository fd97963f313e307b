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
from sqlalchemy import func, select

from host_ledger import sound
from innkeeper.storage.database import open_database
from innkeeper.storage.location import Location
from innkeeper.storage.postgres import IDLE
from innkeeper.storage.runs_schema import runs
from run_killed import SETTINGS
from test_run_killed import SCRIPT, Promises, argument, drained


def begun(place: Location, said: Path, prefix: str) -> subprocess.Popen[bytes]:
    """A host that has made its first promise, and writes the others into a file."""
    child = subprocess.Popen([sys.executable, SCRIPT, argument(place), prefix], stdout=(said / prefix).open("wb"))
    ends = time.monotonic() + 60
    while not (said / prefix).stat().st_size:
        assert child.poll() is None, "it came to nothing"
        assert time.monotonic() < ends, "it promised nothing"
        time.sleep(0.01)
    return child


async def stopped_again_and_again(place: Location, said: Path, times: int) -> None:
    promises, hosts = Promises(), [begun(place, said, "a"), begun(place, said, "b")]
    try:
        for number in range(times):
            stopped = random.choice(hosts)
            await trio.sleep(random.uniform(0.1, 0.5))
            stopped.send_signal(signal.SIGSTOP)
            # Long enough that the other one takes over what it had, and ends some of it.
            # A server first ends the transaction that it may have been in.
            held = IDLE if place.url and number % 3 == 0 else 0.0
            await trio.sleep(held + SETTINGS.lease * random.uniform(1.5, 2.5))
            stopped.send_signal(signal.SIGCONT)
        await trio.sleep(0.5)
        assert all(host.poll() is None for host in hosts), "one ended by itself"
    finally:
        for host in hosts:
            host.kill()
            host.wait()
    for name in ("a", "b"):
        lines = (said / name).read_bytes().splitlines(keepends=True)
        promises.add([line.decode().split() for line in lines if line.endswith(b"\n")])
    async with open_database(place) as db:
        await drained(db, promises, 60)
        await promises.hold(db, promises.accepted)
        await sound(db)
        twice = select(func.count()).select_from(runs).where(runs.c.attempt > 1)
        # Else it would prove nothing.
        assert (await db.read(lambda connection: connection.scalar(twice)) or 0) > 0


async def test_of_two_hosts_one_that_was_stopped_and_goes_on_changes_nothing_of_the_others(
    database_place: Location, tmp_path: Path
) -> None:
    with trio.fail_after(300):
        await stopped_again_and_again(database_place, tmp_path, 3)


@pytest.mark.soak
async def test_of_two_hosts_that_are_stopped_a_hundred_times_none_changes_what_is_the_others(
    database_place: Location, tmp_path: Path
) -> None:
    await stopped_again_and_again(database_place, tmp_path, 100)
