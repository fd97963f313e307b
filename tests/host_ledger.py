"""What hosts promised to others, and whether the database keeps it, whatever became of the hosts."""

from __future__ import annotations

import random
import time
from collections import Counter
from contextlib import suppress
from typing import Any

import trio
from sqlalchemy import Connection, func, select, text

from host_load import ME, any_job, any_run
from innkeeper.storage.database import Database
from innkeeper.storage.run_model import QueueBounds, StoredRun
from innkeeper.storage.run_store import RunStore
from innkeeper.storage.runs_schema import node_results, run_events, runs
from innkeeper.storage.schedules import ScheduleStore
from innkeeper.storage.schedules_model import Schedule
from innkeeper.storage.schema import schedules
from innkeeper.workflow.engine.events import COMPLETE, INTERFACE_OUTPUTS, STATUS, RunEvent
from innkeeper.workflow.scheduling.events import SqlEvents
from innkeeper.workflow.scheduling.seams import Gone

ENDS = {"complete", "error", "cancelled", "interrupted"}
QUEUED = 60
"""Runs that wait at most: the load does not grow beyond what hosts that are killed all the time get done."""

_HEAP = "SELECT count(*) FROM pg_class c, verify_heapam(c.oid) WHERE c.relname = ANY(:names)"
_TREES = """SELECT bt_index_check(i.indexrelid, true) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
  JOIN pg_class t ON t.oid = i.indrelid JOIN pg_am a ON a.oid = c.relam
  WHERE a.amname = 'btree' AND t.relname = ANY(:names)"""

Told = tuple[str, dict[str, Any]]


class Ledger:
    """Load, and what was said of it to who stands outside of the hosts: this process.

    Attributes:
        accepted: runs that were taken into the queue.
        told: events by run and number.
        ended: how runs ended, where somebody was told.
        scheduled: schedules that fire once.
        refused: how often the queue was full.
        heard: how many events were told.
    """

    def __init__(self, seed: int) -> None:
        self.accepted: set[str] = set()
        self.told: dict[str, dict[int, Told]] = {}
        self.ended: dict[str, str] = {}
        self.scheduled: set[str] = set()
        self.refused = 0
        self.heard = 0
        self.chance = random.Random(seed)
        self._number = 0

    async def load(self, db: Database, *, every: float = 0.02) -> None:
        """Submits runs, schedules and cancellations until it is cancelled, and follows what it submitted."""
        store, events = RunStore(db, bounds=QueueBounds(QUEUED, QUEUED)), SqlEvents(db)
        plans = ScheduleStore(db)
        async with trio.open_nursery() as nursery:
            while True:
                self._number += 1
                run = any_run(self.chance, f"run{self._number}")
                # Who was cut off while it asked was promised nothing.
                if await store.submit(run, time.time()) == "accepted":
                    self.accepted.add(run.id)
                    nursery.start_soon(self._follow, store, events, run.id)
                else:
                    self.refused += 1
                dice = self.chance.random()
                if dice < 0.05:
                    await store.cancel(run.id, time.time())
                elif dice < 0.1:
                    await self._schedule(plans)
                await trio.sleep(every)

    async def _schedule(self, plans: ScheduleStore) -> None:
        now = time.time()
        id = f"once{self._number}"
        due = now + self.chance.random()
        once = Schedule(id, ME, "load", "", "", 1, now, due, None, after_crash="again")
        await plans.add(once, any_job(self.chance, id))
        self.scheduled.add(id)

    async def _follow(self, store: RunStore, events: SqlEvents, run: str) -> None:
        told = self.told.setdefault(run, {})
        async with events.subscribe(run) as found:
            async for event in found:
                if isinstance(event, RunEvent):
                    self.heard += 1
                    told[event.seq] = (event.kind, dict(event.fields))
        found_run = await store.find(run, time.time())
        assert found_run is not None
        self.ended[run] = found_run.status

    # --- looking ----------------------------------------------------------------------------------------------------

    async def hold(self, db: Database, *, only: set[str] | None = None) -> None:
        """Holds the database to what was promised: of these runs, or of all runs there are, whoever submitted them."""
        store = RunStore(db)
        found = {run.id: run for run in await all_runs(db)}
        lost = self.accepted - set(found)
        assert not lost, f"accepted, and not there: {lost}"
        for run in found.values() if only is None else [found[id] for id in only]:
            told = self.told.get(run.id, {})
            assert run.seq >= max(told, default=0), f"{run.id}: events that were given out are not there"
            if run.id in self.ended:
                assert run.status == self.ended[run.id], f"{run.id}: its end became another one"
            if run.status in ENDS:
                await self._hold_story(db, store, run, told)

    async def _hold_story(self, db: Database, store: RunStore, run: StoredRun, told: dict[int, Told]) -> None:
        kept: dict[int, Told] = {}
        gone: set[int] = set()
        with trio.fail_after(120):
            async with SqlEvents(db).subscribe(run.id) as events:
                async for each in events:
                    if isinstance(each, Gone):
                        gone |= set(range(each.first, each.last + 1))
                    else:
                        assert each.seq not in kept
                        kept[each.seq] = (each.kind, dict(each.fields))
        assert set(kept) | gone == set(range(1, run.seq + 1)), f"{run.id}: numbers are missing"
        for number, event in told.items():
            if number in kept:
                assert kept[number] == event, f"{run.id}: an event is another than was given out"
            else:
                assert event[0] == "NODE_YIELD", f"{run.id}: an event that was given out is missing: {event}"
        kinds = Counter(kind for kind, _ in kept.values())
        ends = [number for number, (kind, fields) in kept.items() if _is_end(kind, fields)]
        assert ends == [run.seq], f"{run.id}: ends at {ends} of {run.seq}"
        wire = {"cancelled": "interrupted"}.get(run.status, run.status)
        assert kept[run.seq][1]["status"] == wire
        results = sum(kind == COMPLETE and more.get("nodeId") == INTERFACE_OUTPUTS for kind, more in kept.values())
        ended = await store.ended(run.id, time.time())
        assert ended is not None
        assert (run.status == "complete", ended.outputs is not None) in ((True, True), (False, True), (False, False))
        assert results == (ended.outputs is not None), f"{run.id}: {results} results are stored"
        assert kinds[STATUS] - 1 <= run.attempt

    async def settled(self, db: Database, seconds: float) -> None:
        """Returns when nothing waits or runs any more, and no schedule is due. Who is left alone fails here."""
        waiting = select(func.count()).select_from(runs).where(runs.c.status.in_(["queued", "running"]))
        due = select(func.count()).select_from(schedules).where(schedules.c.expression == "")
        left: list[int] = []
        with suppress(trio.TooSlowError):
            with trio.fail_after(seconds):
                while True:
                    left = [await db.read(lambda c, q=q: int(c.scalar(q) or 0)) for q in (waiting, due)]
                    if not any(left):
                        return
                    await trio.sleep(0.2)
        raise AssertionError(f"{left[0]} runs and {left[1]} schedules that nobody brings to an end")

    async def fired_once(self, db: Database) -> None:
        """Each schedule that was to fire once has done so, once."""
        query = select(runs.c.schedule).where(runs.c.schedule != "", runs.c.plugin == "")
        found = Counter(await db.read(lambda connection: list(connection.scalars(query))))
        assert found == Counter(self.scheduled)


def _is_end(kind: str, fields: dict[str, Any]) -> bool:
    return kind == STATUS and fields.get("status") != "running"


async def all_runs(db: Database) -> list[StoredRun]:
    """Each run that there is."""
    ids = await db.read(lambda connection: list(connection.scalars(select(runs.c.id).order_by(runs.c.number))))
    store = RunStore(db)
    found = []
    for id in ids:
        run = await store.find(id, time.time())
        if run is not None:
            found.append(run)
    return found


async def sound(db: Database) -> None:
    """The database passes its own check of what it has on the disk."""
    if db.path is not None:
        check = await db.read(lambda connection: connection.execute(text("PRAGMA integrity_check")).all())
        assert [tuple(row) for row in check] == [("ok",)]
        return

    def verified(connection: Connection) -> int:
        names = {"names": [table.name for table in (runs, run_events, node_results, schedules)]}
        connection.execute(text("CREATE EXTENSION IF NOT EXISTS amcheck"))
        connection.execute(text(_TREES), names).all()
        return int(connection.execute(text(_HEAP), names).scalar_one())

    assert await db.write(verified) == 0
