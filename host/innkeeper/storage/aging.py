"""Rows of owners that go when they are old, or when there is no room: with their counts, in steps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Table, delete, select

from innkeeper.storage.database import Database
from innkeeper.storage.names import check_name
from innkeeper.storage.owner_usage import OwnerUsage

STEP: Final = 256
"""Rows that one transaction deletes at most."""


class AgingRows:
    """What a table with the columns `owner`, `at` and `size` keeps of owners.

    Attributes:
        usage: how much each has.
        rows: a query for rows that are to be deleted.
    """

    def __init__(self, table: Table, usage: Table, *, key: str, oldest: Sequence[str]) -> None:
        """Args:
        table: the rows.
        usage: their counts.
        key: the column that names a row of an owner.
        oldest: the columns that say which rows go first where there is no room.
        """
        self.usage = OwnerUsage(usage)
        self._table = table
        self._key: ColumnElement[Any] = table.c[key]
        self._oldest = [table.c[name] for name in oldest]
        # Where there are several writers, no row is counted by two of them.
        self.rows = select(table.c.owner, self._key.label("key"), table.c.size).with_for_update()

    def remove(self, connection: Connection, rows: Sequence[Any]) -> int:
        """Deletes rows that `rows` gave and counts them; gives what they counted together (bytes)."""
        keys: dict[str, list[Any]] = {}
        sizes = Counter[str]()
        for row in rows:
            keys.setdefault(row.owner, []).append(row.key)
            sizes[row.owner] += row.size
        for owner in sorted(keys):
            which = (self._table.c.owner == owner) & self._key.in_(keys[owner])
            connection.execute(delete(self._table).where(which))
            self.usage.add(connection, owner, -len(keys[owner]), -sizes[owner])
        return sum(sizes.values())

    async def erase(self, db: Database, owner: str) -> int:
        """Deletes all rows of an owner, in steps; gives how many (int)."""
        check_name(owner, "owner")

        def write(connection: Connection) -> int:
            self.usage.lock(connection, owner)
            query = self.rows.where(self._table.c.owner == owner)
            rows = connection.execute(query.order_by(self._key).limit(STEP)).all()
            self.remove(connection, rows)
            if not rows:
                self.usage.forget(connection, owner)
            return len(rows)

        total = 0
        while gone := await db.write(write):
            total += gone
        return total

    async def count(self, db: Database, owner: str) -> tuple[int, int]:
        """How many rows an owner has, and what they count (bytes)."""
        check_name(owner, "owner")
        return await db.read(lambda connection: self.usage.read(connection, owner))

    def sweep(self, connection: Connection, before: float) -> int:
        """Deletes a bounded number of rows, of whomever, from before a time; gives how many (int)."""
        old = self.rows.where(self._table.c.at < before)
        rows = connection.execute(old.order_by(self._table.c.at).limit(STEP)).all()
        self.remove(connection, rows)
        return len(rows)

    def make_room(self, connection: Connection, owner: str, missing: int) -> None:
        """Deletes an owner's oldest rows: so many bytes of them, or as many as one step takes."""
        query = self.rows.where(self._table.c.owner == owner)
        rows = connection.execute(query.order_by(*self._oldest).limit(STEP)).all()
        if not rows:
            # The counts say more than there is, as in a file that somebody changed: they begin anew.
            self.usage.forget(connection, owner)
        oldest = []
        for row in rows:
            if missing <= 0:
                break
            oldest.append(row)
            missing -= row.size
        self.remove(connection, oldest)
