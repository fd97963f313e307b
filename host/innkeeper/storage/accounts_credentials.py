"""Credentials of users as ciphertext, all of them under one master key, which the database knows by its id alone."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import Any, Final

from sqlalchemy import Connection, delete, func, insert, select, update

from innkeeper.storage.accounts_model import MOST_CREDENTIALS, Credential
from innkeeper.storage.accounts_schema import external_credentials as table
from innkeeper.storage.accounts_schema import master_keys
from innkeeper.storage.database import Database
from innkeeper.storage.run_model import TooManyError
from innkeeper.storage.statements import insert_if_missing

Convert = Callable[[str, str, str, bytes], bytes]
"""Takes an owner, an id, the id of a master key and what is encrypted under it; gives it under another one."""

_CURRENT: Final = "current"
_COLUMNS: Final = tuple(
    table.c[name] for name in ("id", "owner", "service_name", "display_name", "hint_first", "hint_last", "created")
)
_STEP = 200


class CredentialStore:
    """Credentials by owner and id.

    Guarantee: every one of them is under the master key whose id `current` gives, whoever writes at the same time as a
    rotation. All methods raise what `Database.write` and `Database.read` raise.
    """

    def __init__(self, db: Database) -> None:
        """Args:
        db: where they are kept.
        """
        self._db = db

    async def current(self) -> str | None:
        """The id of the master key that all are under; None where nothing was ever kept."""
        query = select(master_keys.c.id).where(master_keys.c.name == _CURRENT)
        return await self._db.read(lambda connection: connection.scalar(query))

    async def add(self, credential: Credential, encrypted: bytes, master_key: str) -> bool:
        """Keeps one; False where the master key is not the one that all are under.

        Raises:
            TooManyError: its user has too many.
        """
        count = select(func.count()).select_from(table).where(table.c.owner == credential.owner)
        values: dict[str, Any] = {"id": credential.id, "owner": credential.owner, "service_name": credential.service}
        values |= {"display_name": credential.name, "hint_first": credential.first, "hint_last": credential.last}
        values |= {"created": credential.created, "master_key": master_key}

        def write(connection: Connection) -> bool:
            if _locked(connection, master_key) != master_key:
                return False
            if connection.execute(count).scalar_one() >= MOST_CREDENTIALS:
                raise TooManyError("credentials", MOST_CREDENTIALS)
            connection.execute(insert(table).values(**values, size=len(encrypted), encrypted=encrypted))
            return True

        return await self._db.write(write)

    async def list(self, owner: str) -> builtins.list[Credential]:
        """Those of a user, oldest first."""
        query = select(*_COLUMNS).where(table.c.owner == owner).order_by(table.c.created, table.c.id)
        query = query.limit(MOST_CREDENTIALS)
        return await self._db.read(lambda connection: [Credential(*row) for row in connection.execute(query)])

    async def encrypted(self, owner: str, id: str) -> tuple[str, bytes] | None:
        """The id of the master key and the ciphertext of one of a user's, or None."""
        query = select(table.c.master_key, table.c.encrypted).where(table.c.id == id, table.c.owner == owner)

        def read(connection: Connection) -> tuple[str, bytes] | None:
            row = connection.execute(query).first()
            return None if row is None else (row.master_key, bytes(row.encrypted))

        return await self._db.read(read)

    async def remove(self, owner: str, id: str) -> bool:
        """Deletes one of a user's; False where there is none."""
        statement = delete(table).where(table.c.id == id, table.c.owner == owner)
        return await self._db.write(lambda connection: bool(connection.execute(statement).rowcount))

    async def rotate(self, master_key: str, convert: Convert) -> int:
        """Puts all credentials under another master key, in one transaction; gives how many were changed (int).

        Args:
            master_key: its id.
            convert: called in the thread that writes; what it raises undoes all.
        """

        def write(connection: Connection) -> int:
            _locked(connection, master_key)
            named = update(master_keys).where(master_keys.c.name == _CURRENT)
            connection.execute(named.values(id=master_key))
            c, changed = table.c, 0
            query = select(c.id, c.owner, c.master_key, c.encrypted).where(c.master_key != master_key)
            while rows := connection.execute(query.order_by(c.id).limit(_STEP)).all():
                for row in rows:
                    made = convert(row.owner, row.id, row.master_key, bytes(row.encrypted))
                    values = {"master_key": master_key, "size": len(made), "encrypted": made}
                    connection.execute(update(table).where(c.id == row.id).values(**values))
                changed += len(rows)
            return changed

        return await self._db.write(write)


def _locked(connection: Connection, first: str) -> str:
    """The id of the master key that all are under, `first` where there is none yet. Who asks takes turns with who
    rotates, on PostgreSQL too."""
    query = select(master_keys.c.id).where(master_keys.c.name == _CURRENT).with_for_update()
    found: str | None = connection.scalar(query)
    if found is None:
        insert_if_missing(connection, master_keys, {"name": _CURRENT, "id": first})
        found = connection.scalar(query)
    return found or first
