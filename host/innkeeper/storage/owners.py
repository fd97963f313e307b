"""What belongs to an owner, in all tables, as the schema says it: how much there is, and erasing it.

A table belongs to owners if it has a column `owner`, or if `THROUGH` says whose rows its rows belong to. Nothing else
names a table here, so that a new one is erased from its first day.

Erasing is done in bounded steps: a host that runs meanwhile goes on. What counts other rows goes last, in the
transaction that finds no row left, so that no count is ever below what there is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Column, Connection, Select, Table, and_, delete, exists, func, select

from innkeeper.storage import engines, postgres
from innkeeper.storage.database import Database
from innkeeper.storage.faults import translated
from innkeeper.storage.knowledge_schema import kb_bases
from innkeeper.storage.location import Location
from innkeeper.storage.names import check_name
from innkeeper.storage.runs_schema import node_results, run_events, runs
from innkeeper.storage.schema import events_waiting, metadata, subscriptions

THROUGH: Final[Mapping[Table, tuple[str, Table, str]]] = {
    events_waiting: ("subscription", subscriptions, "id"),
    run_events: ("run", runs, "number"),
    node_results: ("run", runs, "number"),
}
"""Tables without an owner of their own: their column, the table that it refers to, and the column there."""

NOBODYS: Final = frozenset({"audit", "leaders", "master_keys"})
"""Names of tables that hold what is the operator's or the hosts', and no owner's."""

_ROWS: Final = 500
"""Rows that one transaction deletes at most."""

_BYTES: Final = 8 << 20
"""Bytes of them, where a table says how large its rows are; one row may be larger."""


def owned_tables() -> tuple[Table, ...]:
    """All tables that hold something of an owner, in the order in which they are erased."""
    through = [table for table in metadata.sorted_tables if table in THROUGH]
    own = [table for table in metadata.sorted_tables if "owner" in table.c]
    return (*through, *(each for each in own if not _counts(each)), *(each for each in own if _counts(each)))


def _counts(table: Table) -> bool:
    """Whether its rows say how many there are of others."""
    return table is kb_bases or table.name.endswith("_usage")


class OwnerStore:
    """What owners have.

    All methods raise ValueError for a name that cannot be one, and what `Database.write` and `Database.read` raise.
    """

    def __init__(self, db: Database) -> None:
        """Args:
        db: where it is kept.
        """
        self._db = db

    async def show(self, owner: str) -> dict[str, tuple[int, int | None]]:
        """How many rows an owner has, and their bytes where a table knows, by the name of the table; of those that
        hold anything of them."""
        check_name(owner, "owner")
        found: dict[str, tuple[int, int | None]] = {}
        for table in owned_tables():
            count, size = await self._db.read(partial(_measure, table=table, owner=owner))
            if count:
                found[table.name] = (count, size)
        return found

    async def erase(self, owner: str) -> dict[str, int]:
        """Deletes all that an owner has; gives how many rows went, by the name of the table. What is deleted is
        overwritten in the file, too.

        A host that runs may keep more meanwhile: what it kept before the last step is gone.
        """
        check_name(owner, "owner")
        gone: dict[str, int] = {}
        tables = owned_tables()
        rows = [table for table in tables if not _counts(table)]
        while True:
            for table in rows:
                while count := await self._db.write(partial(_delete_some, table=table, owner=owner)):
                    gone[table.name] = gone.get(table.name, 0) + count
            done, last = await self._db.write(partial(_delete_last, tables=tables, owner=owner))
            for name, count in last.items():
                gone[name] = gone.get(name, 0) + count
            if done:
                return gone

    async def owners(self) -> list[str]:
        """Who has anything (list of str), sorted; a thousand at most."""

        def read(connection: Connection) -> list[str]:
            found: set[str] = set()
            for table in owned_tables():
                if "owner" in table.c:
                    found.update(connection.scalars(select(table.c.owner).distinct().limit(1000)))
            return sorted(found)[:1000]

        return await self._db.read(read)


def clean(where: Path | Location) -> None:
    """Rewrites a database, so that nothing that was ever deleted is left in it. Blocks, for as long as copying it
    takes; who writes meanwhile waits.

    What a server keeps beside the tables, such as its log of changes and copies of it, is the server's operator's.

    Args:
        where: the database; a file is open in this process, or nowhere.

    Raises:
        BusyError: another process writes.
        RejectedError, UsageError: as `open_database`.
    """
    location = Location.of(where)
    try:
        if location.path is not None:
            engines.vacuum(location.path)
        else:
            postgres.vacuum(location.url, [table.name for table in owned_tables()])
    except Exception as error:
        raise translated(error, location.name) from None


def _of(table: Table, owner: str) -> Any:
    if table in THROUGH:
        column, other, key = THROUGH[table]
        return exists(select(other.c[key]).where(other.c[key] == table.c[column], other.c.owner == owner))
    return table.c.owner == owner


def _measure(connection: Connection, table: Table, owner: str) -> tuple[int, int | None]:
    size: Any = func.coalesce(func.sum(table.c.size), 0) if "size" in table.c else None
    query: Select[Any] = select(func.count(), *([] if size is None else [size])).select_from(table)
    row = connection.execute(query.where(_of(table, owner))).one()
    return int(row[0]), None if size is None else int(row[1])


def _delete_some(connection: Connection, table: Table, owner: str) -> int:
    return _delete_up_to(connection, table, owner, _ROWS, _BYTES)[0]


def _delete_up_to(connection: Connection, table: Table, owner: str, rows: int, size: int) -> tuple[int, int]:
    """Deletes rows, so many of them and so many bytes at most, beside the last one; gives how many, and their bytes."""
    _overwrite(connection)
    keys = list(table.primary_key.columns)
    sizes = [table.c.size] if "size" in table.c else []
    query = select(*keys, *sizes).where(_of(table, owner)).limit(rows)
    taken, bytes_taken = 0, 0
    for row in connection.execute(query).all():
        for other, (column, its, key) in THROUGH.items():
            if its is table:
                # What came since these were erased: whose it is nobody could tell afterwards.
                connection.execute(delete(other).where(other.c[column] == getattr(row, key)))
        connection.execute(delete(table).where(and_(*_same(keys, row))))
        taken += 1
        bytes_taken += int(row[-1]) if sizes else 0
        if bytes_taken >= size:
            break
    return taken, bytes_taken


def _same(keys: list[Column[Any]], row: Any) -> Iterator[Any]:
    return (key == value for key, value in zip(keys, row, strict=False))


def _delete_last(connection: Connection, tables: tuple[Table, ...], owner: str) -> tuple[bool, dict[str, int]]:
    """Deletes the few rows that a host kept meanwhile, and then what counts others; gives whether that was all, and how
    many went, by the name of the table."""
    gone: dict[str, int] = {}
    rows, size = _ROWS, _BYTES
    for table in tables:
        if _counts(table):
            continue
        count, taken = _delete_up_to(connection, table, owner, rows, size)
        rows, size = rows - count, size - taken
        if count:
            gone[table.name] = count
        if rows <= 0 or size <= 0:
            return False, gone
    for table in tables:
        if _counts(table):
            count = connection.execute(delete(table).where(_of(table, owner))).rowcount
            if count:
                gone[table.name] = count
    return True, gone


def _overwrite(connection: Connection) -> None:
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("PRAGMA secure_delete=ON").close()
