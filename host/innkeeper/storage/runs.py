"""Runs that plugins submitted: a queue that survives a restart, and what became of each for a while."""

from __future__ import annotations

import builtins
from collections.abc import Collection, Sequence

from sqlalchemy import Connection, func, select, update

from innkeeper.storage.database import Database
from innkeeper.storage.run_rows import COLUMNS, add_run, as_run, end_run, forget_old, of, remembered
from innkeeper.storage.schedules_model import (
    MOST_LISTED,
    MOST_OUTPUTS,
    MOST_RUNS,
    Account,
    Ended,
    RunStatus,
    SubmittedRun,
)
from innkeeper.storage.schema import submitted_runs as runs

_MOST_ACCOUNTS = 1000
"""Plugins whose oldest run is looked at together."""


class RunStore:
    """Submitted runs by owner and plugin.

    Ids, names and jobs are the caller's: it has checked and bounded them. `now` is in seconds since 1970. All methods
    raise what `Database.write` and `Database.read` raise.
    """

    def __init__(self, db: Database, *, most: int = MOST_RUNS) -> None:
        """Args:
        db: where they are kept.
        most: how many of one plugin and owner may be queued or running.
        """
        self._db = db
        self._most = most

    async def submit(self, account: Account, id: str, name: str, generation: int, job: bytes, now: float) -> None:
        """Queues a run.

        Raises:
            TooManyError: too many are queued or running.
        """
        most = self._most
        await self._db.write(lambda connection: add_run(connection, account, id, name, generation, job, now, most))

    async def find(self, account: Account, id: str, now: float) -> SubmittedRun | None:
        """A run, or None."""
        query = select(*COLUMNS).where(runs.c.id == id, of(account), remembered(now))

        def read(connection: Connection) -> SubmittedRun | None:
            row = connection.execute(query).first()
            return None if row is None else as_run(row)

        return await self._db.read(read)

    async def ended(self, account: Account, id: str, now: float) -> Ended | None:
        """A run with what became of it as far as it has ended, or None if there is no such run."""
        query = select(*COLUMNS, runs.c.outputs, runs.c.error).where(runs.c.id == id, of(account), remembered(now))

        def read(connection: Connection) -> Ended | None:
            row = connection.execute(query).first()
            return None if row is None else Ended(as_run(row), row.outputs, row.error)

        return await self._db.read(read)

    async def list(
        self, account: Account, now: float, *, before: str = "", schedule: str = "", limit: int = MOST_LISTED
    ) -> builtins.list[SubmittedRun]:
        """Runs, newest first.

        Args:
            account: whose.
            now: the time.
            before: id of the last one of the page before, or "".
            schedule: only those that this schedule fired; "": all.
            limit: how many at most, 1 to `MOST_LISTED`.
        """
        query = select(*COLUMNS).where(of(account), remembered(now))
        if before:
            of_before = select(runs.c.number).where(runs.c.id == before, of(account)).scalar_subquery()
            query = query.where(runs.c.number < of_before)
        if schedule:
            query = query.where(runs.c.schedule == schedule)
        query = query.order_by(runs.c.number.desc()).limit(min(limit, MOST_LISTED))
        return await self._db.read(lambda connection: [as_run(row) for row in connection.execute(query)])

    async def cancel(self, account: Account, id: str, now: float) -> SubmittedRun | None:
        """Ends a run that is queued; one that runs is marked, for whoever runs it.

        Returns:
            How it stands now, or None if there is no such run.
        """
        query = select(*COLUMNS).where(runs.c.id == id, of(account), remembered(now))

        def write(connection: Connection) -> SubmittedRun | None:
            row = connection.execute(query).first()
            if row is None:
                return None
            if row.status == "queued":
                end_run(connection, row.number, account, "cancelled", now)
            elif row.status == "running":
                connection.execute(update(runs).where(runs.c.number == row.number).values(cancel=True))
            row = connection.execute(query).first()
            return None if row is None else as_run(row)

        return await self._db.write(write)

    # --- for whoever runs them --------------------------------------------------------------------------------------

    async def next_of_each(self, among: Collection[str] | None = None) -> builtins.list[SubmittedRun]:
        """The oldest queued run of each plugin and owner, oldest first.

        Args:
            among: ids of those that are looked at; None: all.
        """
        if among is not None and not among:
            return []
        oldest = select(func.min(runs.c.number)).where(runs.c.status == "queued", runs.c.ended.is_(None))
        if among is not None:
            oldest = oldest.where(runs.c.id.in_(list(among)[:_MOST_ACCOUNTS]))
        oldest = oldest.group_by(runs.c.owner, runs.c.plugin).limit(_MOST_ACCOUNTS)
        query = select(*COLUMNS).where(runs.c.number.in_(oldest)).order_by(runs.c.number)
        return await self._db.read(lambda connection: [as_run(row) for row in connection.execute(query)])

    async def take(self, number: int, now: float) -> bytes | None:
        """Marks a queued run as running.

        Returns:
            bytes: its job; None if it is not queued any more.
        """

        def write(connection: Connection) -> bytes | None:
            queued = (runs.c.number == number, runs.c.status == "queued")
            job: bytes | None = connection.scalar(select(runs.c.job).where(*queued))
            taken = connection.execute(update(runs).where(*queued).values(status="running", started=now))
            return job if taken.rowcount else None

        return await self._db.write(write)

    async def end(
        self,
        run: SubmittedRun,
        status: RunStatus,
        now: float,
        *,
        outputs: bytes | None = None,
        error: str | None = None,
    ) -> bool:
        """Ends a run that is under way; False if it had ended already."""
        if outputs is not None and len(outputs) > MOST_OUTPUTS:
            raise ValueError(f"the outputs of a run have at most {MOST_OUTPUTS} bytes")
        return await self._db.write(
            lambda connection: end_run(connection, run.number, run.account, status, now, outputs, error)
        )

    async def to_cancel(self, numbers: Sequence[int]) -> builtins.list[int]:
        """Which of these runs somebody wants to end."""
        query = select(runs.c.number).where(runs.c.number.in_(numbers), runs.c.cancel)
        return await self._db.read(lambda connection: [*connection.scalars(query)])

    async def interrupt_all(self, now: float) -> int:
        """Ends all that are said to run, for whoever is the only one to run any and has not begun; how many (int)."""
        query = select(*COLUMNS).where(runs.c.status == "running", runs.c.ended.is_(None)).limit(_MOST_ACCOUNTS)

        def write(connection: Connection) -> int:
            found = [as_run(row) for row in connection.execute(query)]
            for run in found:
                end_run(connection, run.number, run.account, "interrupted", now)
            return len(found)

        return await self._db.write(write)

    async def sweep(self, now: float) -> int:
        """Deletes a bounded number of runs that ended too long ago; gives how many (int)."""
        return await self._db.write(lambda connection: forget_old(connection, now))
