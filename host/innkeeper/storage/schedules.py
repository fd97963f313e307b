"""Schedules of plugins: when a workflow is to run next. Each time fires once, whoever looks and however often."""

from __future__ import annotations

import builtins
from typing import Any, Final, Literal

from sqlalchemy import Connection, and_, delete, func, insert, select, true, update

from innkeeper.storage.database import Database
from innkeeper.storage.run_model import KEPT, Account, NewRun, QueueBounds, TooManyError
from innkeeper.storage.run_rows import add_run
from innkeeper.storage.runs_schema import runs
from innkeeper.storage.schedules_model import MOST_OWN, MOST_SCHEDULES, Schedule
from innkeeper.storage.schema import firings
from innkeeper.storage.schema import schedules as table

Fired = Literal["fired", "full", "gone"]

_COLUMNS: Final = tuple(
    table.c[name]
    for name in (
        *("id", "owner", "plugin", "name", "expression", "timezone", "generation", "created", "due", "last"),
        *("paused", "priority", "after_crash", "lasting"),
    )
)
_STEP = 256


def _as_schedule(row: Any) -> Schedule:
    return Schedule(
        row.id,
        Account(row.owner, row.plugin),
        row.name,
        row.expression,
        row.timezone,
        row.generation,
        row.created,
        row.due,
        row.last,
        row.paused,
        row.priority,
        row.after_crash,
        row.lasting,
    )


class ScheduleStore:
    """Schedules by owner and plugin.

    Ids, names, expressions and jobs are the caller's: it has checked and bounded them. Times are in seconds since
    1970. All methods raise what `Database.write` and `Database.read` raise.
    """

    def __init__(self, db: Database, *, most: int = MOST_SCHEDULES, bounds: QueueBounds | None = None) -> None:
        """Args:
        db: where they are kept.
        most: how many schedules one plugin and owner may have.
        bounds: how many runs may be queued: none fires beyond.
        """
        self._db = db
        self._most = most
        self._bounds = bounds if bounds is not None else QueueBounds()

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
        values |= {name: getattr(schedule, name) for name in ("paused", "priority", "after_crash", "lasting")}
        most = self._most if account.plugin else MOST_OWN

        def write(connection: Connection) -> None:
            if connection.execute(count).scalar_one() >= most:
                raise TooManyError("schedules", most)
            connection.execute(insert(table).values(**values))

        await self._db.write(write)

    async def list(self, account: Account | None = None, *, owner: str = "") -> builtins.list[Schedule]:
        """Schedules, oldest first.

        Args:
            account: whose; None: anybody's, for the operator.
            owner: whose, whatever plugin; "": anybody's.
        """
        query = select(*_COLUMNS).where(_of(account), table.c.owner == owner if owner else true())
        query = query.order_by(table.c.created, table.c.id).limit(MOST_OWN)
        return await self._db.read(lambda connection: [_as_schedule(row) for row in connection.execute(query)])

    async def find(self, id: str, account: Account | None = None) -> Schedule | None:
        """A schedule, or None."""
        query = select(*_COLUMNS).where(table.c.id == id, _of(account))

        def read(connection: Connection) -> Schedule | None:
            row = connection.execute(query).first()
            return None if row is None else _as_schedule(row)

        return await self._db.read(read)

    async def pause(self, id: str, account: Account | None = None) -> bool:
        """It does not fire until it is resumed; False if there is none."""
        statement = update(table).where(table.c.id == id, _of(account)).values(paused=True)
        return await self._db.write(lambda connection: bool(connection.execute(statement).rowcount))

    async def resume(self, id: str, due: float, account: Account | None = None) -> bool:
        """It fires again, next at `due`; False if there is none that is paused."""
        values = {"paused": False, "due": due, "looked_at": due}
        statement = update(table).where(table.c.id == id, _of(account), table.c.paused).values(**values)
        return await self._db.write(lambda connection: bool(connection.execute(statement).rowcount))

    async def start(self, id: str, run: str, now: float, account: Account | None = None) -> Fired:
        """Queues a run of a schedule now, whatever its times are; these stay as they are."""

        def write(connection: Connection) -> Fired:
            row = connection.execute(select(*_COLUMNS).where(table.c.id == id, _of(account))).first()
            if row is None:
                return "gone"
            return self._add(connection, _as_schedule(row), run, now)

        return await self._db.write(write)

    async def remove(self, account: Account | None, id: str) -> bool:
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
        query = select(*_COLUMNS).where(table.c.looked_at <= now, table.c.paused.is_(False))
        query = query.order_by(table.c.looked_at, table.c.id).limit(limit)
        return await self._db.read(lambda connection: [_as_schedule(row) for row in connection.execute(query)])

    async def next_look(self) -> float | None:
        """When a schedule is to be looked at next, or None if there is none."""
        query = select(func.min(table.c.looked_at)).where(table.c.paused.is_(False))
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
            its = select(table.c.id).where(_as_it_was(schedule)).with_for_update()
            if connection.scalar(its) is None:
                return "gone"
            place = and_(firings.c.schedule == schedule.id, firings.c.due == schedule.due)
            known = connection.scalar(select(firings.c.at).where(place))
            if known is None:
                if self._add(connection, schedule, run, now) == "full":
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

    def _add(self, connection: Connection, schedule: Schedule, run: str, now: float) -> Fired:
        new = NewRun(
            id=run,
            account=schedule.account,
            job=b"",
            name=schedule.name,
            priority=schedule.priority,
            deadline=None if schedule.lasting is None else now + schedule.lasting,
            after_crash=schedule.after_crash,
            generation=schedule.generation,
            schedule=schedule.id,
        )
        try:
            answer = add_run(connection, new, now, self._bounds)
        except TooManyError:
            return "full"
        if answer == "accepted":
            # It never leaves the database: a host that is stopped while it is sent much holds up all that write.
            its = select(table.c.job).where(table.c.id == schedule.id).scalar_subquery()
            values = {"job": its, "size": func.length(its)}
            connection.execute(update(runs).where(runs.c.id == run).values(**values))
        return "full" if answer == "busy" else "fired"

    async def sweep(self, now: float) -> int:
        """Deletes a bounded number of firings so old that their times never come again; gives how many (int)."""
        old = select(firings.c.schedule, firings.c.due).where(firings.c.at <= now - KEPT).limit(_STEP)

        def write(connection: Connection) -> int:
            rows = connection.execute(old).all()
            for row in rows:
                connection.execute(delete(firings).where(firings.c.schedule == row.schedule, firings.c.due == row.due))
            return len(rows)

        return await self._db.write(write)


def _of(account: Account | None) -> Any:
    if account is None:
        return true()
    return and_(table.c.owner == account.owner, table.c.plugin == account.plugin)


def _as_it_was(schedule: Schedule) -> Any:
    return and_(table.c.id == schedule.id, table.c.due == schedule.due, table.c.paused.is_(False))
