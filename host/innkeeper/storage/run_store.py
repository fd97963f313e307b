"""Runs in the database, for whoever submits them and asks for them: a queue that survives a restart, and what became of
each."""

from __future__ import annotations

import builtins
import json
from collections.abc import Collection
from typing import Literal

from sqlalchemy import Connection, func, select, true, update

from innkeeper.storage.database import Database
from innkeeper.storage.names import check_name
from innkeeper.storage.run_model import (
    MOST_LISTED,
    MOST_PRIORITY,
    Account,
    Ended,
    NewRun,
    QueueBounds,
    RunStatus,
    StoredRun,
)
from innkeeper.storage.run_rows import COLUMNS, add_run, as_run, end_run, forget_runs, is_full, of, remembered
from innkeeper.storage.runs_schema import runs

Submitted = Literal["accepted", "known", "busy"]
"""What became of a submission: it is queued; there is a run with its id; there is no room."""


class RunStore:
    """Runs by id. An account limits each method to its runs; None: anybody's, for the operator.

    Ids, names and jobs are the caller's: it has checked and bounded them. `now` is in seconds since 1970. All methods
    raise what `Database.write` and `Database.read` raise.
    """

    def __init__(self, db: Database, *, bounds: QueueBounds | None = None) -> None:
        """Args:
        db: where they are kept.
        bounds: how many may be queued.
        """
        self._db = db
        self._bounds = bounds if bounds is not None else QueueBounds()

    async def submit(self, new: NewRun, now: float, *, offered: bool = True) -> Submitted:
        """Queues a run.

        Args:
            new: the run.
            now: the time.
            offered: whether hosts may take it already; else `offer` says so.

        Raises:
            TooManyError: its plugin has too many that are queued or running.
            ValueError: the priority is out of bounds, or the name cannot be one.
        """
        check_name(new.name, "name", empty=True)
        if not -MOST_PRIORITY <= new.priority <= MOST_PRIORITY:
            raise ValueError(f"a priority is between -{MOST_PRIORITY:,} and {MOST_PRIORITY:,}")
        bounds = self._bounds
        return await self._db.write(lambda connection: add_run(connection, new, now, bounds, offered=offered))

    async def offer(self, id: str) -> Submitted | None:
        """Lets hosts take a run that is queued.

        Returns:
            "known" where they may already, or where it is not queued any more; None: there is no such run.
        """
        bounds = self._bounds

        def write(connection: Connection) -> Submitted | None:
            query = select(runs.c.number, runs.c.owner, runs.c.status, runs.c.offered).where(runs.c.id == id)
            row = connection.execute(query).first()
            if row is None:
                return None
            if row.offered or row.status != "queued":
                return "known"
            if is_full(connection, row.owner, bounds):
                return "busy"
            connection.execute(update(runs).where(runs.c.number == row.number).values(offered=True))
            return "accepted"

        return await self._db.write(write)

    async def find(self, id: str, now: float, account: Account | None = None) -> StoredRun | None:
        """A run, or None."""
        query = select(*COLUMNS).where(runs.c.id == id, of(account), remembered(now))

        def read(connection: Connection) -> StoredRun | None:
            row = connection.execute(query).first()
            return None if row is None else as_run(row)

        return await self._db.read(read)

    async def ended(self, id: str, now: float, account: Account | None = None) -> Ended | None:
        """A run with what became of it as far as it has ended, or None if there is no such run."""
        query = select(*COLUMNS, runs.c.outputs, runs.c.error)
        query = query.where(runs.c.id == id, of(account), remembered(now))

        def read(connection: Connection) -> Ended | None:
            row = connection.execute(query).first()
            return None if row is None else Ended(as_run(row), row.outputs, row.error)

        return await self._db.read(read)

    async def job(self, id: str, account: Account | None = None) -> bytes | None:
        """What a run was to do (msgpack: workflow and inputs), for whoever wants it again; None: there is no such run,
        or it is not kept."""
        query = select(runs.c.job).where(runs.c.id == id, of(account))

        def read(connection: Connection) -> bytes | None:
            found: bytes | None = connection.scalar(query)
            return found

        return await self._db.read(read)

    async def list(
        self,
        now: float,
        account: Account | None = None,
        *,
        owner: str = "",
        before: str = "",
        schedule: str = "",
        statuses: Collection[RunStatus] = (),
        limit: int = MOST_LISTED,
    ) -> builtins.list[StoredRun]:
        """Runs, newest first.

        Args:
            now: the time.
            account: whose.
            owner: whose, whatever plugin; "": anybody's.
            before: id of the last one of the page before, or "".
            schedule: only those that this schedule fired; "": all.
            statuses: only those that stand so; empty: all.
            limit: how many at most, 1 to `MOST_LISTED`.
        """
        query = select(*COLUMNS).where(of(account), remembered(now), runs.c.owner == owner if owner else true())
        if before:
            of_before = select(runs.c.number).where(runs.c.id == before, of(account)).scalar_subquery()
            query = query.where(runs.c.number < of_before)
        if schedule:
            query = query.where(runs.c.schedule == schedule)
        if statuses:
            query = query.where(runs.c.status.in_(builtins.list(statuses)))
        query = query.order_by(runs.c.number.desc()).limit(min(limit, MOST_LISTED))
        return await self._db.read(lambda connection: [as_run(row) for row in connection.execute(query)])

    async def under_way(self) -> dict[RunStatus, int]:
        """How many runs of everybody's are queued, and how many run."""
        query = select(runs.c.status, func.count().label("runs")).where(runs.c.ended.is_(None)).group_by(runs.c.status)

        def read(connection: Connection) -> dict[RunStatus, int]:
            found = {row.status: row.runs for row in connection.execute(query)}
            return {"queued": found.get("queued", 0), "running": found.get("running", 0)}

        return await self._db.read(read)

    async def cancel(self, id: str, now: float, account: Account | None = None) -> StoredRun | None:
        """Ends a run that is queued; one that runs is marked, for whoever runs it.

        Returns:
            How it stands now, or None if there is no such run.
        """
        query = select(*COLUMNS).where(runs.c.id == id, of(account), remembered(now))

        def write(connection: Connection) -> StoredRun | None:
            row = connection.execute(query.with_for_update()).first()
            if row is None:
                return None
            if row.status == "queued":
                end_run(connection, as_run(row), "cancelled", now)
            elif row.status == "running":
                connection.execute(update(runs).where(runs.c.number == row.number).values(cancel=True))
            row = connection.execute(query).first()
            return None if row is None else as_run(row)

        return await self._db.write(write)

    async def refuse(self, id: str, now: float, kind: str, message: str) -> bool:
        """Ends a queued run that may not begin, as failed; False if it is not queued any more."""
        error = json.dumps({"kind": kind, "message": message, "node": None, "plugin": None})

        def write(connection: Connection) -> bool:
            row = connection.execute(select(*COLUMNS).where(runs.c.id == id, runs.c.status == "queued")).first()
            return row is not None and end_run(connection, as_run(row), "error", now, error=error) is not None

        return await self._db.write(write)

    async def forget(self, id: str, account: Account | None = None) -> bool:
        """Deletes a run that has ended or was never offered, with all that is known of it; False if there is none."""

        def write(connection: Connection) -> bool:
            query = select(runs.c.number, runs.c.ended, runs.c.offered).where(runs.c.id == id, of(account))
            row = connection.execute(query).first()
            if row is None or (row.ended is None and row.offered):
                return False
            forget_runs(connection, [row.number])
            return True

        return await self._db.write(write)
