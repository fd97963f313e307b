"""The rows that `KvStore` counts and sweeps, inside of a transaction."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from sqlalchemy import Connection

from innkeeper.storage.kv_statements import (
    ADD_USAGE,
    ADD_USAGE_AND_VERSION,
    DELETE,
    EXPIRED,
    EXPIRED_OF_SPACE,
    EXPIRED_USAGE,
    USAGE,
    USAGE_TO_CHANGE,
)
from innkeeper.storage.schema import kv_usage
from innkeeper.storage.statements import insert_if_missing


@dataclass(frozen=True, slots=True)
class Space:
    """Whose entries: of an owner (str) and a plugin (str)."""

    owner: str
    plugin: str

    @property
    def condition(self) -> dict[str, str]:
        """The parameters of statements that concern it (dict)."""
        return {"its_owner": self.owner, "its_plugin": self.plugin}


@dataclass(frozen=True, slots=True)
class Taken:
    """What a space holds, expired entries included, and the newest version that it gave out."""

    entries: int
    bytes: int
    version: int


def taken_usage(connection: Connection, space: Space, *, change: bool = True) -> Taken:
    """What a space holds.

    Args:
        change: whether this transaction will change it; a row is made for it, and others wait.
    """
    statement = USAGE_TO_CHANGE if change else USAGE
    row = connection.execute(statement, space.condition).first()
    if row is None and change:
        values = {"owner": space.owner, "plugin": space.plugin, "entries": 0, "bytes": 0, "version": 0}
        insert_if_missing(connection, kv_usage, values)
        row = connection.execute(statement, space.condition).first()
    return Taken(0, 0, 0) if row is None else Taken(row.entries, row.bytes, row.version)


def add_usage(connection: Connection, space: Space, entries: int, size: int, version: int | None = None) -> None:
    """Counts entries and bytes that came or, below 0, went."""
    values = {**space.condition, "more_entries": entries, "more_bytes": size}
    if version is None:
        connection.execute(ADD_USAGE, values)
    else:
        connection.execute(ADD_USAGE_AND_VERSION, {**values, "new_version": version})


def expired_usage(connection: Connection, space: Space, now: float) -> tuple[int, int]:
    """How many entries of a space have expired and are not swept yet, and their bytes."""
    row = connection.execute(EXPIRED_USAGE, {**space.condition, "now": now}).one()
    return int(row[0]), int(row[1])


def sweep_rows(connection: Connection, now: float, most: int, space: Space | None = None) -> int:
    """Deletes at most so many expired entries, of one space or of all; gives how many (int)."""
    values = {"now": now, "most": most}
    if space is None:
        rows = connection.execute(EXPIRED, values).all()
    else:
        rows = connection.execute(EXPIRED_OF_SPACE, {**values, **space.condition}).all()
    if not rows:
        return 0
    connection.execute(
        DELETE,
        [
            {"its_owner": row.owner, "its_plugin": row.plugin, "its_scope": row.scope, "its_key": row.key}
            for row in rows
        ],
    )
    went: defaultdict[Space, list[int]] = defaultdict(list)
    for row in rows:
        went[Space(row.owner, row.plugin)].append(row.size)
    for each, sizes in went.items():
        add_usage(connection, each, -len(sizes), -sum(sizes))
    return len(rows)
