"""A host under load that is killed: it submits runs, executes them, follows them, and says what it was told.

Each line that it writes is a promise of the host: "accepted RUN", "event RUN SEQ" or "ended RUN STATUS". The process
that kills it holds the database to them.
"""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

import msgpack
import trio

from innkeeper.bridge.runner import Report
from innkeeper.plugins.settings import RunsSettings
from innkeeper.storage.database import open_database
from innkeeper.storage.run_model import Account, NewRun
from innkeeper.workflow.engine.events import COMPLETE, INTERFACE_OUTPUTS, STATUS, EventSink, RunEvent
from innkeeper.workflow.scheduling.execution import Task
from innkeeper.workflow.scheduling.host_scheduler import HostScheduler

# Whose host is dead counts as dead soon: those that kill it want to see what becomes of its runs.
SETTINGS = RunsSettings(parallel=12, per_user=6, lease=1.0, chunks=200_000)


def say(*words: object) -> None:
    # One write of less than a page: whole, or not there.
    os.write(1, " ".join(map(str, words)).encode() + b"\n")


class Load:
    """Executes what looks like a workflow: nodes, and a stream now and then."""

    async def execute(self, task: Task, sink: EventSink) -> Report:
        number = task.known.seq

        def emit(kind: str, values: dict[str, bytes] | None = None, chunk: bytes | None = None, **more: object) -> None:
            nonlocal number
            number += 1
            sink.emit(RunEvent(number, kind, more, values or {}, chunk))

        emit(STATUS, status="running")
        for node in range(random.randrange(1, 40)):
            if f"n{node}" in task.known.results:
                continue
            emit("NODE_EXECUTING", nodeId=f"n{node}")
            if random.random() < 0.2:
                for _ in range(random.randrange(200)):
                    await sink.room()
                    emit("NODE_YIELD", nodeId=f"n{node}", chunk=b"\xc5\x01\x00" + b"x" * 256)
            await trio.sleep(random.random() * 0.004)
            emit(COMPLETE, nodeId=f"n{node}", values={"out": msgpack.packb("y" * random.randrange(500))})
        emit(COMPLETE, nodeId=INTERFACE_OUTPUTS, values={"out": b"\x01"})
        emit(STATUS, status="complete")
        return Report("complete", b"\x81\xa3out\x01")


async def follow(host: HostScheduler, run: str) -> None:
    async with host.events.subscribe(run) as events:
        async for event in events:
            if isinstance(event, RunEvent):
                say("event", run, event.seq, event.kind)
    found = await host.store.find(run, 0.0)
    if found is not None:
        say("ended", run, found.status)


async def main(where: Path | str, prefix: str) -> None:
    async with open_database(where) as db, trio.open_nursery() as nursery:
        host = HostScheduler(db, Load(), None, settings=SETTINGS)
        nursery.start_soon(host.run)
        number = 0
        while True:
            number += 1
            run, again = f"{prefix}-{number}", random.random() < 0.5
            new = NewRun(run, Account(f"user{number % 3}"), b"job", after_crash="again" if again else "interrupt")
            if await host.submit(new) == "accepted":
                say("accepted", run)
                nursery.start_soon(follow, host, run)
            if random.random() < 0.1:
                await host.store.cancel(run, 0.0)
                host.cancel(run)
            await trio.sleep(0.01)


if __name__ == "__main__":
    trio.run(main, sys.argv[1] if "://" in sys.argv[1] else Path(sys.argv[1]), sys.argv[2])
