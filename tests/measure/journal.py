"""What it costs to keep what a run says before it is given out, and to hand runs to a host."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack
import trio
from sqlalchemy import insert

from innkeeper.storage.database import Database, open_database
from innkeeper.storage.run_leases import RunLeases
from innkeeper.storage.run_model import Account, NewRun
from innkeeper.storage.run_store import RunStore
from innkeeper.storage.runs_schema import runs
from innkeeper.workflow.engine.events import COMPLETE, EXECUTING, YIELD, RunEvent
from innkeeper.workflow.scheduling.events import SqlEvents
from innkeeper.workflow.scheduling.journal import Journal
from innkeeper.workflow.scheduling.seams import Lease

from .table import show

ROUNDS = 7
NODES = 1000
_VALUE = msgpack.packb("what a node gave, about as long as a sentence is")


async def _run(db: Database, name: str, say: Callable[[Journal], Any]) -> tuple[int, float, float, float, int]:
    """Events, seconds in all, processor seconds of trio's thread and of the others, and commits."""
    await RunStore(db).submit(NewRun(name, Account("o"), b"job"), 1.0)
    (taken,) = await RunLeases(db).claim("host", 1, 100.0, 1.0)
    lease = Lease(name, taken.run.number, "host", taken.run.attempt, 100.0)
    journal = Journal(SqlEvents(db), lease, lost=lambda: None)
    commits = db.commits
    async with trio.open_nursery() as nursery:
        nursery.start_soon(journal.run)
        await trio.lowlevel.checkpoint()
        began, own, process = time.perf_counter(), time.thread_time(), time.process_time()
        events = await say(journal)
        await journal.settled()
        seconds, own, process = time.perf_counter() - began, time.thread_time() - own, time.process_time() - process
        journal.leave()
    await journal.end(taken.run, "complete", 2.0, outputs=b"\x80")
    return events, seconds, own, process - own, db.commits - commits


async def _nodes(journal: Journal) -> int:
    for number in range(NODES):
        journal.emit(RunEvent(2 * number + 1, EXECUTING, {"nodeId": f"n{number}"}))
        journal.emit(RunEvent(2 * number + 2, COMPLETE, {"nodeId": f"n{number}"}, {"out": _VALUE}))
        await journal.room()
        await trio.lowlevel.checkpoint()
    return 2 * NODES


async def _chunks(journal: Journal) -> int:
    for number in range(1, 50_001):
        journal.emit(RunEvent(number, YIELD, {"nodeId": "n", "slot": "out", "isLastChunk": False}, {}, _VALUE))
        await journal.room()
        if number % 64 == 0:
            await trio.lowlevel.checkpoint()
    return 50_000


async def _queue(db: Database) -> list[float]:
    """Milliseconds in which 16 runs are taken of 10,000 that wait, of 500 users."""
    row = {
        "plugin": "", "name": "", "status": "queued", "offered": True, "cancel": False, "priority": 0,
        "after_crash": "interrupt", "crashes": 0, "generation": 1, "schedule": "", "attempt": 0, "submitted": 0.0,
        "seq": 0, "gone_first": 0, "gone_last": 0, "size": 3, "kept": 0, "job": b"job",
    }  # fmt: skip
    rows = [{**row, "id": f"q{number}", "owner": f"user{number % 500}"} for number in range(10_000)]
    await db.write(lambda connection: connection.execute(insert(runs), rows))
    took = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        assert len(await RunLeases(db).claim("host", 16, 100.0, 1.0)) == 16
        took.append((time.perf_counter() - began) * 1e3)
    return took


async def _measure(path: Path) -> None:
    async with open_database(path) as db:
        rows = []
        for name, say in (("2,000 events of 1,000 nodes", _nodes), ("50,000 chunks of 50 bytes", _chunks)):
            found = [await _run(db, f"{say.__name__}{number}", say) for number in range(ROUNDS)]
            events = found[0][0]
            seconds = statistics.median(each[1] for each in found)
            rows.append(
                [
                    name,
                    f"{seconds * 1e3:.1f} ms",
                    f"{events / seconds:,.0f}",
                    f"{statistics.median(each[2] for each in found) * 1e6 / events:.1f} us",
                    f"{statistics.median(each[3] for each in found) * 1e6 / events:.1f} us",
                    f"{statistics.median(each[4] for each in found):.0f}",
                ]
            )
        header = ["what a run says", "until kept", "a second", "trio's thread, each", "other threads", "commits"]
        show("Events through a journal into SQLite, synchronous=FULL", header, rows)
        took = await _queue(db)
        print(f"16 of 10,000 runs are taken in {statistics.median(took):.1f} ms (at most {max(took):.1f})")


def main() -> None:
    """Prints the tables."""
    with tempfile.TemporaryDirectory() as folder:
        trio.run(_measure, Path(folder) / "private" / "inn.db")
