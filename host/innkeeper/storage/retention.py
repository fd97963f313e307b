"""For how long runs that have ended are kept: by age, and by bytes of each owner."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, func, select

from innkeeper.storage.database import Database
from innkeeper.storage.run_model import KEPT
from innkeeper.storage.run_rows import forget_runs
from innkeeper.storage.runs_schema import runs

DAYS: Final = 30.0
BYTES: Final = 1 << 30
"""Bytes of an owner's runs, with their events and the outputs of their nodes."""

_DAY = 86400.0
_STEP = 32
"""Runs that one transaction forgets at most: each may have thousands of rows."""

_OWNERS = 100


class RunRetention:
    """Forgets old runs. Those that are under way stay, whatever they have."""

    def __init__(self, db: Database, *, days: float = DAYS, most_bytes: int = BYTES) -> None:
        """Args:
        db: where they are kept.
        days: for which a run is kept after its end; of plugins' runs `KEPT` seconds, if that is shorter.
        most_bytes: that all runs of one owner may have; the oldest go first.
        """
        self._db = db
        self._days = days
        self._bytes = most_bytes

    async def sweep(self, now: float) -> int:
        """Deletes a bounded number of runs; gives how many (int)."""
        age = self._days * _DAY
        size = runs.c.size + runs.c.kept
        ended = select(runs.c.number).where(runs.c.ended.is_not(None)).order_by(runs.c.ended).limit(_STEP)
        old = ended.where(runs.c.ended <= now - age)
        plugins = ended.where(runs.c.plugin != "", runs.c.ended <= now - min(age, KEPT))
        large = select(runs.c.owner, func.sum(size).label("bytes")).group_by(runs.c.owner)
        large = large.having(func.sum(size) > self._bytes).limit(_OWNERS)

        def read(connection: Connection) -> list[int]:
            numbers = [*connection.scalars(old), *connection.scalars(plugins)]
            for row in connection.execute(large):
                missing = int(row.bytes) - self._bytes
                own = select(runs.c.number, size.label("bytes"))
                own = own.where(runs.c.owner == row.owner, runs.c.ended.is_not(None))
                for each in connection.execute(own.order_by(runs.c.number).limit(_STEP)):
                    if missing <= 0:
                        break
                    numbers.append(each.number)
                    missing -= int(each.bytes)
            return list(dict.fromkeys(numbers))[:_STEP]

        numbers = await self._db.read(read)
        if numbers:
            # One that ended stays ended: nothing has to be looked at again.
            await self._db.write(lambda connection: forget_runs(connection, numbers))
        return len(numbers)
