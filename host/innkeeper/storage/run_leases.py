"""Who has which run, for a while: taken, extended, given back, and what becomes of runs whose host ended.

A host has a run from when it takes it until its lease runs out by the database's clock and somebody takes note of that.
Whatever it writes carries a fence: once another has the run, or it has ended, nothing more is written.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from sqlalchemy import Connection, case, select, update

from innkeeper.storage.clock import Clock, database_now
from innkeeper.storage.database import Database
from innkeeper.storage.run_claims import MOST_AMONG, fairest, following, heads, running
from innkeeper.storage.run_model import MOST_CRASHES, Fence, RunningBounds, RunStatus, Taken
from innkeeper.storage.run_rows import COLUMNS, as_run, end_run, fenced
from innkeeper.storage.runs_schema import runs

_STEP: Final = 100
"""Runs that one transaction ends at most."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How a run stands for the host that had it.

    Attributes:
        number: the run's.
        held: whether the host still has it.
        cancel: whether somebody wants it to end.
    """

    number: int
    held: bool
    cancel: bool


@dataclass(frozen=True, slots=True)
class Lapsed:
    """A run whose host ended.

    Attributes:
        id: the run's.
        status: what it is now: "queued" where it is to begin again.
    """

    id: str
    status: RunStatus


class RunLeases:
    """Hands runs to hosts. All methods raise what `Database.write` and `Database.read` raise."""

    def __init__(self, db: Database, *, bounds: RunningBounds | None = None, clock: Clock = database_now) -> None:
        """Args:
        db: where they are kept.
        bounds: how many may run at the same time.
        clock: the time that leases count by, as an expression.
        """
        self._db = db
        self._bounds = bounds if bounds is not None else RunningBounds()
        self._clock = clock

    async def waiting(self) -> bool:
        """Whether there may be something to claim; quick."""
        query = select(runs.c.number).where(runs.c.status == "queued", runs.c.ended.is_(None), runs.c.offered).limit(1)
        return await self._db.read(lambda connection: connection.scalar(query) is not None)

    async def queued(self, ids: Collection[str]) -> set[str]:
        """Which of these runs are queued."""
        query = select(runs.c.id).where(runs.c.id.in_(list(ids)[:MOST_AMONG]), runs.c.status == "queued")
        return await self._db.read(lambda connection: set(connection.scalars(query)))

    async def claim(
        self, holder: str, slots: int, seconds: float, now: float, *, among: Collection[str] | None = None
    ) -> list[Taken]:
        """Takes runs, the fairest first. What they are to do `load` gives: a job may be large, and a host that
        is stopped while it is sent one would hold up everybody who waits to write.

        Args:
            holder: id of the host.
            slots: how many at most.
            seconds: for how long they are its.
            now: the time, for what it says of when they began.
            among: ids of those that may be taken; None: all.
        """
        if slots < 1 or (among is not None and not among):
            return []
        clock = self._clock()

        def write(connection: Connection) -> list[Taken]:
            first = heads(connection, among)
            if not first:
                return []
            taken = []
            then = partial(following, connection, among=among)
            for number in fairest(first, then, running(connection), self._bounds, slots):
                # Who else takes from this queue at the same time takes other rows.
                free = select(runs.c.number).where(runs.c.number == number, runs.c.status == "queued")
                if connection.scalar(free.with_for_update(skip_locked=True)) is None:
                    continue
                values: dict[str, Any] = {"status": "running", "holder": holder, "attempt": runs.c.attempt + 1}
                values["started"] = case((runs.c.started.is_(None), now), else_=runs.c.started)
                values["lease_until"] = clock + seconds
                connection.execute(update(runs).where(runs.c.number == number).values(**values))
                left = (runs.c.deadline - clock).label("left")
                row = connection.execute(select(*COLUMNS, left).where(runs.c.number == number)).one()
                taken.append(_taken(row, b""))
            return taken

        return await self._db.write(write)

    async def load(self, fence: Fence) -> Taken | None:
        """A run that the host has, with what it needs to execute it; None: it has it no more."""
        left = (runs.c.deadline - self._clock()).label("left")
        query = select(*COLUMNS, runs.c.job, left).where(fenced(fence))

        def read(connection: Connection) -> Taken | None:
            row = connection.execute(query).first()
            return None if row is None else _taken(row, row.job or b"")

        return await self._db.read(read)

    async def extend(self, fences: Sequence[Fence], seconds: float) -> list[Fence]:
        """Makes leases count for so long again; gives those that do. The others are lost."""
        clock = self._clock()

        def write(connection: Connection) -> list[Fence]:
            until = clock + seconds
            return [
                fence
                for fence in fences
                if connection.execute(update(runs).where(fenced(fence)).values(lease_until=until)).rowcount
            ]

        return await self._db.write(write) if fences else []

    async def standing(self, fences: Sequence[Fence]) -> list[Standing]:
        """How runs stand for the host that had them; quick."""
        columns = (runs.c.number, runs.c.holder, runs.c.attempt, runs.c.status, runs.c.cancel)
        query = select(*columns).where(runs.c.number.in_([fence.number for fence in fences]))

        def read(connection: Connection) -> list[Standing]:
            rows = {row.number: row for row in connection.execute(query)}
            found = []
            for fence in fences:
                row = rows.get(fence.number)
                held = row is not None and (row.holder, row.attempt, row.status) == (
                    fence.holder,
                    fence.attempt,
                    "running",
                )
                found.append(Standing(fence.number, held, row is not None and bool(row.cancel)))
            return found

        return await self._db.read(read) if fences else []

    async def release(self, fence: Fence) -> bool:
        """Gives a run back that has not ended, for others to take at once; False where it is not the host's."""
        values = {"status": "queued", "holder": None, "lease_until": None}
        statement = update(runs).where(fenced(fence)).values(**values)
        return await self._db.write(lambda connection: bool(connection.execute(statement).rowcount))

    async def lapse(self, now: float) -> list[Lapsed]:
        """Decides on runs whose lease ran out, and on queued ones past their deadline, a bounded number of them: those
        that somebody wanted to end are cancelled, those whose policy says so are queued again, the others are
        interrupted, or failed where their deadline is over.

        Args:
            now: the time, for what it says of when they ended.
        """
        clock = self._clock()
        over = (runs.c.deadline.is_not(None) & (runs.c.deadline <= clock)).label("over")
        columns = (*COLUMNS, runs.c.crashes, over)
        lost = select(*columns).where(runs.c.status == "running", runs.c.ended.is_(None), runs.c.lease_until <= clock)
        late = select(*columns).where(runs.c.status == "queued", runs.c.ended.is_(None), runs.c.deadline <= clock)
        any_lost = select(runs.c.number).where(
            runs.c.ended.is_(None),
            ((runs.c.status == "running") & (runs.c.lease_until <= clock))
            | ((runs.c.status == "queued") & (runs.c.deadline <= clock)),
        )

        def write(connection: Connection) -> list[Lapsed]:
            found = []
            for row in connection.execute(lost.limit(_STEP).with_for_update(skip_locked=True)).all():
                found.append(Lapsed(row.id, _lapsed(connection, row, now)))
            for row in connection.execute(late.limit(_STEP).with_for_update(skip_locked=True)).all():
                end_run(connection, as_run(row), "error", now, error=_TOO_LATE)
                found.append(Lapsed(row.id, "error"))
            return found

        # Most of the time there is none, and nothing is written to find that out.
        if await self._db.read(lambda connection: connection.scalar(any_lost.limit(1))) is None:
            return []
        return await self._db.write(write)


def _taken(row: Any, job: bytes) -> Taken:
    return Taken(as_run(row), job, None if row.left is None else float(row.left))


def _lapsed(connection: Connection, row: Any, now: float) -> RunStatus:
    run = as_run(row)
    if row.cancel:
        end_run(connection, run, "cancelled", now)
        return "cancelled"
    if row.over:
        end_run(connection, run, "error", now, error=_TOO_LATE)
        return "error"
    if run.after_crash == "again" and row.crashes + 1 < MOST_CRASHES:
        values = {"status": "queued", "holder": None, "lease_until": None, "crashes": row.crashes + 1}
        connection.execute(update(runs).where(runs.c.number == run.number).values(**values))
        return "queued"
    end_run(connection, run, "interrupted", now)
    return "interrupted"


_TOO_LATE: Final = json.dumps(
    {"kind": "limit", "message": "the run did not end before its deadline", "node": None, "plugin": None}
)
