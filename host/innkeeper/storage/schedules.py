"""Schedules of plugins: when a workflow is to run next. Each time fires once, whoever looks and however often."""

from __future__ import annotations

import builtins
from typing import Any, Final, Literal

from sqlalchemy import Connection, and_, delete, func, insert, select, update

from innkeeper.storage.database import Database
from innkeeper.storage.run_rows import add_run
from innkeeper.storage.schedules_model import KEPT, MOST_RUNS, MOST_SCHEDULES, Account, Schedule, TooManyError
from innkeeper.storage.schema import firings
from innkeeper.storage.schema import schedules as table

Fired = Literal["fired", "full", "gone"]

_COLUMNS: Final = tuple(
    table.c[name]
    for name in ("id", "owner", "plugin", "name", "expression", "timezone", "generation", "created", "due", "last")
)
_STEP = 256


def _as_schedule(row: Any) -> Schedule:
    return Schedule(
        row.id, Account(row.owner, row.plugin), row.name, row.expression, row.timezone, row.generation, row.created,
        row.due, row.last,
    )  # fmt: skip


class ScheduleStore:
    """Schedules by owner and plugin.

    Ids, names, expressions and jobs are the caller's: it has checked and bounded them. Times are in seconds since
    1970. All methods raise what `Database.write` and `Database.read` raise.
    """

    def __init__(self, db: Database, *, most: int = MOST_SCHEDULES, most_runs: int = MOST_RUNS) -> None:
        """Args:
        db: where they are kept.
        most: how many schedules one plugin and owner may have.
        most_runs: how many runs of theirs may be queued or running: none fires beyond.
        """
        self._db = db
        self._most = most
        self._most_runs = most_runs

    async def add(self, schedule: Schedule, job: bytes) -> None:
        """Keeps a new schedule.

        Raises:
            TooManyError: the plugin has too many.
        """
        account = schedule.account
        count = select(func.count()).select_from(table).where(_of(account))
        values = {name: getattr(schedule, name) for name in ("id", "name", "expression", "timezone", "generation")}
        values |= {"owner": account.owner, "plugin": account.plugin, "job": job, "created": schedule.created}
        values |= {"due": schedule.due, "looked_at": schedule.due, "last": None}

        def write(connection: Connection) -> None:
            if connection.execute(count).scalar_one() >= self._most:
                raise TooManyError("schedules", self._most)
            connection.execute(insert(table).values(**values))

        await self._db.write(write)

    async def list(self, account: Account) -> builtins.list[Schedule]:
        """All schedules of a plugin and owner, oldest first."""
        query = select(*_COLUMNS).where(_of(account)).order_by(table.c.created, table.c.id).limit(self._most)
        return await self._db.read(lambda connection: [_as_schedule(row) for row in connection.execute(query)])

    async def remove(self, account: Account, id: str) -> bool:
        """Deletes a schedule; False if there was none. What it fired goes on."""
        statement = delete(table).where(table.c.id == id, _of(account))

        def write(connection: Connection) -> bool:
            gone = bool(connection.execute(statement).rowcount)
            if gone:
                connection.execute(delete(firings).where(firings.c.schedule == id))
            return gone

        return await self._db.write(write)

    # --- for whoever fires them -------------------------------------------------------------------------------------

    async def due(self, now: float, *, limit: int = 64) -> builtins.list[Schedule]:
        """Schedules whose time has come, those first that have waited longest to be looked at."""
        query = select(*_COLUMNS).where(table.c.looked_at <= now).order_by(table.c.looked_at, table.c.id).limit(limit)
        return await self._db.read(lambda connection: [_as_schedule(row) for row in connection.execute(query)])

    async def next_look(self) -> float | None:
        """When a schedule is to be looked at next, or None if there is none."""
        query = select(func.min(table.c.looked_at))
        return await self._db.read(lambda connection: connection.execute(query).scalar_one())

    async def postpone(self, schedule: Schedule, until: float) -> None:
        """It is not looked at before then; when it is due stays."""
        statement = update(table).where(_as_it_was(schedule)).values(looked_at=until)
        await self._db.write(lambda connection: connection.execute(statement))

    async def fire(self, schedule: Schedule, run: str, now: float, following: float | None) -> Fired:
        """Queues a run, once for each time that the schedule was due.

        Args:
            schedule: as it was found due.
            run: id of the run.
            now: the time.
            following: when it is due next; None: it has fired for the last time, and goes.

        Returns:
            "fired"; "full" where the plugin has too many runs, and nothing changed; "gone" where it is not due any
            more: it was removed, or somebody else fired it.
        """

        def write(connection: Connection) -> Fired:
            its = select(table.c.job).where(_as_it_was(schedule)).with_for_update()
            job: bytes | None = connection.scalar(its)
            if job is None:
                return "gone"
            place = and_(firings.c.schedule == schedule.id, firings.c.due == schedule.due)
            known = connection.scalar(select(firings.c.at).where(place))
            if known is None:
                try:
                    add_run(
                        connection, schedule.account, run, schedule.name, schedule.generation, job, now,
                        self._most_runs, schedule.id,
                    )  # fmt: skip
                except TooManyError:
                    return "full"
                row = {"schedule": schedule.id, "due": schedule.due, "owner": schedule.account.owner, "at": now}
                connection.execute(insert(firings).values(**row))
            if following is None:
                connection.execute(delete(table).where(table.c.id == schedule.id))
            else:
                values = {"due": following, "looked_at": following, "last": now}
                connection.execute(update(table).where(table.c.id == schedule.id).values(**values))
            return "gone" if known is not None else "fired"

        return await self._db.write(write)

    async def sweep(self, now: float) -> int:
        """Deletes a bounded number of firings so old that their times never come again; gives how many (int)."""
        old = select(firings.c.schedule, firings.c.due).where(firings.c.at <= now - KEPT).limit(_STEP)

        def write(connection: Connection) -> int:
            rows = connection.execute(old).all()
            for row in rows:
                connection.execute(delete(firings).where(firings.c.schedule == row.schedule, firings.c.due == row.due))
            return len(rows)

        return await self._db.write(write)


def _of(account: Account) -> Any:
    return and_(table.c.owner == account.owner, table.c.plugin == account.plugin)


def _as_it_was(schedule: Schedule) -> Any:
    return and_(table.c.id == schedule.id, table.c.due == schedule.due)
