"""What an owner has of one kind of thing: a row of counts, changed in the transactions that change the things."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Table, bindparam, delete, select, update

from innkeeper.storage.statements import insert_if_missing


class OwnerUsage:
    """Entries and bytes by owner."""

    def __init__(self, table: Table) -> None:
        """Args:
        table: with the columns `owner`, `entries` and `bytes`.
        """
        own = table.c.owner == bindparam("its_owner")
        more: dict[str, Any] = {name: table.c[name] + bindparam(f"more_{name}") for name in ("entries", "bytes")}
        self._table = table
        self._read = select(table.c.entries, table.c.bytes).where(own)
        # SQLite has one writer at a time and leaves this out.
        self._lock = self._read.with_for_update()
        self._add = update(table).where(own).values(**more)
        self._forget = delete(table).where(own)

    def read(self, connection: Connection, owner: str) -> tuple[int, int]:
        """How many there are, and their bytes."""
        row = connection.execute(self._read, {"its_owner": owner}).first()
        return (0, 0) if row is None else (int(row.entries), int(row.bytes))

    def lock(self, connection: Connection, owner: str) -> tuple[int, int]:
        """As `read`, first of all in a transaction that changes it: on PostgreSQL this is what makes writers of one
        owner take turns. There is a row afterwards."""
        row = connection.execute(self._lock, {"its_owner": owner}).first()
        if row is None:
            insert_if_missing(connection, self._table, {"owner": owner, "entries": 0, "bytes": 0})
            row = connection.execute(self._lock, {"its_owner": owner}).one()
        return int(row.entries), int(row.bytes)

    def add(self, connection: Connection, owner: str, entries: int, size: int) -> None:
        """Counts entries more, or less, and their bytes."""
        connection.execute(self._add, {"its_owner": owner, "more_entries": entries, "more_bytes": size})

    def forget(self, connection: Connection, owner: str) -> None:
        """The owner has nothing any more."""
        connection.execute(self._forget, {"its_owner": owner})
