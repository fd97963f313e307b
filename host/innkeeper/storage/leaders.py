"""Which host leads: a row that one holds for a while, with a number that grows with each change."""

from __future__ import annotations

from sqlalchemy import Connection, insert, or_, select, update

from innkeeper.storage.clock import Clock, database_now
from innkeeper.storage.database import Database
from innkeeper.storage.runs_schema import leaders


class LeaderStore:
    """Leaderships by name."""

    def __init__(self, db: Database, *, clock: Clock = database_now) -> None:
        """Args:
        db: where they are kept.
        clock: the time that they count by, as an expression.
        """
        self._db = db
        self._clock = clock

    async def lead(self, name: str, holder: str, seconds: float) -> int | None:
        """Leads, or goes on leading, for so long.

        Args:
            name: of what.
            holder: id of the host.
            seconds: from now.

        Returns:
            The epoch (int), or None while another host leads.
        """
        clock = self._clock()
        row = select(leaders.c.holder, leaders.c.epoch).where(leaders.c.name == name)
        free = or_(leaders.c.holder == holder, leaders.c.until <= clock)

        def write(connection: Connection) -> int | None:
            found = connection.execute(row.with_for_update()).first()
            if found is None:
                connection.execute(insert(leaders).values(name=name, holder=holder, epoch=1, until=clock + seconds))
                return 1
            epoch = int(found.epoch) + (found.holder != holder)
            values = {"holder": holder, "epoch": epoch, "until": clock + seconds}
            taken = connection.execute(update(leaders).where(leaders.c.name == name, free).values(**values))
            return epoch if taken.rowcount else None

        return await self._db.write(write)

    async def resign(self, name: str, holder: str) -> None:
        """Lets another lead at once; nothing where the host does not lead."""
        statement = update(leaders).where(leaders.c.name == name, leaders.c.holder == holder).values(until=0.0)
        await self._db.write(lambda connection: connection.execute(statement))
