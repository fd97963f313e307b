"""A host that is killed at any moment loses nothing that it promised."""

# Nothing else runs on this loop of trio that short calls of the system could hold up.

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
import trio

from host_ledger import sound
from innkeeper.storage.database import Database, open_database
from innkeeper.storage.location import Location
from innkeeper.workflow.engine.events import STATUS, RunEvent
from innkeeper.workflow.scheduling.events import SqlEvents
from innkeeper.workflow.scheduling.host_scheduler import HostScheduler
from innkeeper.workflow.scheduling.seams import Gone
from run_killed import SETTINGS, Load

SCRIPT = Path(__file__).with_name("run_killed.py")
ENDS = {"complete", "error", "cancelled", "interrupted"}


def argument(place: Location) -> str:
    """Where the database is, as the script has it."""
    return place.url or str(place.path)


def killed_host(place: Location, prefix: str, seconds: float) -> list[list[str]]:
    """Runs a host that is killed after so many seconds from its first promise on; what it promised."""
    child = subprocess.Popen([sys.executable, SCRIPT, argument(place), prefix], stdout=subprocess.PIPE)
    assert child.stdout is not None
    try:
        lines = [child.stdout.readline()]
        assert lines[0].startswith(b"accepted"), "it came to nothing"
        time.sleep(seconds)
        assert child.poll() is None, "it ended by itself"
        child.kill()
        lines += child.stdout.read().splitlines(keepends=True)
    finally:
        child.kill()
        child.wait()
        child.stdout.close()
    # The last line may be cut off.
    return [line.decode().split() for line in lines if line.endswith(b"\n")]


class Promises:
    """What hosts promised."""

    def __init__(self) -> None:
        self.accepted: set[str] = set()
        self.told: dict[str, dict[int, str]] = {}
        self.ended: dict[str, str] = {}

    def add(self, lines: list[list[str]]) -> None:
        for what, run, *rest in lines:
            if what == "accepted":
                self.accepted.add(run)
            elif what == "event":
                self.told.setdefault(run, {})[int(rest[0])] = rest[1]
            else:
                self.ended[run] = rest[0]

    async def hold(self, db: Database, runs: set[str]) -> None:
        """Holds the database to what was promised of these runs."""
        host, events = HostScheduler(db, Load(), None, settings=SETTINGS), SqlEvents(db)
        for run in runs & self.accepted:
            found = await host.store.find(run, 0.0)
            assert found is not None, f"{run} was accepted and is not there"
            assert found.seq >= max(self.told.get(run, {0: ""})), f"events of {run} that were given out are not there"
            if run in self.ended:
                assert found.status == self.ended[run]
            if found.status not in ENDS:
                continue
            assert found.ended is not None
            kept: dict[int, str] = {}
            gone: set[int] = set()
            with trio.fail_after(60):
                async with events.subscribe(run) as told:
                    async for each in told:
                        if isinstance(each, Gone):
                            gone |= set(range(each.first, each.last + 1))
                        else:
                            kept[each.seq] = each.kind
                            last = each
            for number, kind in self.told.get(run, {}).items():
                assert kept.get(number) == kind or (number in gone and kind == "NODE_YIELD"), (run, number, kind)
            assert sorted(set(kept) | gone) == list(range(1, found.seq + 1))
            assert isinstance(last, RunEvent)
            assert last.kind == STATUS
            assert last.fields["status"] == {"cancelled": "interrupted"}.get(found.status, found.status)


async def drained(db: Database, promises: Promises, seconds: float) -> None:
    """A host that is not killed brings each run that was accepted to an end."""
    async with trio.open_nursery() as nursery:
        host = HostScheduler(db, Load(), None, settings=SETTINGS)
        nursery.start_soon(host.run)
        with trio.fail_after(seconds):
            for run in sorted(promises.accepted):
                async with host.events.subscribe(run) as told:
                    async for _ in told:
                        pass
        nursery.cancel_scope.cancel()


async def killed_again_and_again(place: Location, times: int) -> None:
    promises = Promises()
    for number in range(times):
        before = set(promises.accepted)
        promises.add(killed_host(place, f"h{number}", random.uniform(0.0, 0.7)))
        async with open_database(place) as db:
            await sound(db)
            await promises.hold(db, promises.accepted - before)
    async with open_database(place) as db:
        await drained(db, promises, 60 + 2 * times)
        await promises.hold(db, promises.accepted)
    assert len(promises.accepted) > times


async def test_nothing_that_a_host_promised_is_lost_however_it_is_killed(database_place: Location) -> None:
    await killed_again_and_again(database_place, 10)


@pytest.mark.soak
async def test_nothing_that_a_host_promised_is_lost_in_two_hundred_kills(database_place: Location) -> None:
    await killed_again_and_again(database_place, 200)
