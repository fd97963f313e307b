"""Keys and values of plugins: with versions to compare, times to expire, and quotas."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from sqlalchemy import Connection

from innkeeper.storage.database import Database
from innkeeper.storage.kv_model import (
    MOST_LISTED,
    MOST_TTL,
    MOST_VALUE,
    ConflictError,
    Entry,
    OverQuotaError,
    Quota,
)
from innkeeper.storage.kv_rows import Space, add_usage, expired_usage, sweep_rows, taken_usage
from innkeeper.storage.kv_statements import DELETE, GET, HEAD, INSERT, LIST, LIST_TO_END, UPDATE
from innkeeper.storage.names import after_prefix, check_name

MOST_SWEPT: Final = 256
"""Expired entries that one step deletes: a few milliseconds."""

_MOST_VERSION = (1 << 63) - 1


class KvStore:
    """Entries by owner, plugin, scope and key.

    An entry that has expired is never given, counted or compared with, swept or not. All that one call does happens
    in one transaction; `trio.Cancelled` means that it did not happen.

    All methods raise ValueError for names that cannot be one (`names.check_name`; a scope may be empty) and other
    arguments out of bounds, and what `Database.write` and `Database.read` raise.
    """

    def __init__(self, db: Database, *, now: Callable[[], float] = time.time) -> None:
        """Args:
        db: where they are kept.
        now: seconds since 1970; called from any thread.
        """
        self._db = db
        self._now = now

    async def get(self, owner: str, plugin: str, scope: str, key: str) -> Entry | None:
        """The entry, or None."""
        where, _ = _place(owner, plugin, scope, key)

        def read(connection: Connection) -> Entry | None:
            row = connection.execute(GET, {**where, "now": self._now()}).first()
            return None if row is None else Entry(bytes(row.value), row.version, row.expires)

        return await self._db.read(read)

    async def put(
        self,
        owner: str,
        plugin: str,
        scope: str,
        key: str,
        value: bytes,
        *,
        ttl: float | None = None,
        expect: int | None = None,
        quota: Quota,
    ) -> int:
        """Keeps a value, in place of the one that is there.

        Args:
            value: at most `MOST_VALUE` bytes.
            ttl: seconds until it expires (above 0, at most `MOST_TTL`), or None.
            expect: the version that the entry must have, 0 if it must not exist, or None.
            quota: what may be kept with it.

        Returns:
            Its version (int).

        Raises:
            ConflictError: it has another version.
            OverQuotaError: it does not fit.
        """
        where, size = _place(owner, plugin, scope, key)
        space = Space(owner, plugin)
        if len(value) > MOST_VALUE:
            raise ValueError(f"the value is {len(value)} bytes: the most is {MOST_VALUE}")
        if ttl is not None and not 0 < ttl <= MOST_TTL:
            raise ValueError(f"the time to live must be above 0 and at most {MOST_TTL:.0f} seconds")
        _check_version(expect)
        # What the caller does with its buffer meanwhile changes nothing.
        value = bytes(value)
        size += len(value)

        def write(connection: Connection) -> int | ConflictError | OverQuotaError | None:
            now = self._now()
            # First, and to be changed: on PostgreSQL this is what makes writers of one plugin take turns.
            taken = taken_usage(connection, space)
            row = connection.execute(HEAD, where).first()
            live = row is not None and (row.expires is None or row.expires > now)
            current = row.version if row is not None and live else 0
            if expect is not None and expect != current:
                return ConflictError(current)
            entries = taken.entries + (row is None)
            stored = taken.bytes + size - (0 if row is None else row.size)
            if entries > quota.entries or stored > quota.bytes:
                # Only what has not expired counts; but what has goes first, so that the disk holds no more either.
                if sweep_rows(connection, now, MOST_SWEPT, space):
                    return None
                if entries > quota.entries:
                    return OverQuotaError("entries", quota.entries, entries)
                return OverQuotaError("bytes", quota.bytes, stored)
            version: int = taken.version + 1
            values = {
                "value": value,
                "version": version,
                "expires": None if ttl is None else now + ttl,
                "size": size,
            }
            if row is None:
                names = {"owner": owner, "plugin": plugin, "scope": scope, "key": key}
                connection.execute(INSERT, {**names, **values})
            else:
                connection.execute(UPDATE, {**where, **values})
            add_usage(connection, space, entries - taken.entries, stored - taken.bytes, version)
            return version

        while True:
            done = await self._db.write(write)
            if isinstance(done, int):
                return done
            if done is not None:
                raise done

    async def delete(self, owner: str, plugin: str, scope: str, key: str, *, expect: int | None = None) -> bool:
        """Deletes an entry; False if there was none.

        Args:
            expect: the version that it must have, or None; 0 is right only where there is none.

        Raises:
            ConflictError: it has another version.
        """
        where, _ = _place(owner, plugin, scope, key)
        space = Space(owner, plugin)
        _check_version(expect)

        def write(connection: Connection) -> bool | ConflictError:
            taken = taken_usage(connection, space)
            row = connection.execute(HEAD, where).first()
            live = row is not None and (row.expires is None or row.expires > self._now())
            current = row.version if row is not None and live else 0
            if expect is not None and expect != current:
                return ConflictError(current)
            if row is not None:
                connection.execute(DELETE, where)
                add_usage(connection, space, -1, -row.size, taken.version)
            return live

        done = await self._db.write(write)
        if isinstance(done, ConflictError):
            raise done
        return done

    async def list(
        self, owner: str, plugin: str, scope: str, *, prefix: str = "", after: str = "", limit: int = MOST_LISTED
    ) -> list[str]:
        """Keys (list of str) that begin with `prefix` and come after `after`, in the order of their bytes.

        Args:
            prefix: taken literally; "" begins every key.
            after: the last key of the page before, or "".
            limit: how many at most, 1 to `MOST_LISTED`.
        """
        where = _scope(owner, plugin, scope)
        check_name(prefix, "prefix", empty=True)
        check_name(after, "key to go on after", empty=True)
        if not 1 <= limit <= MOST_LISTED:
            raise ValueError(f"the limit must be 1 to {MOST_LISTED}")
        end = after_prefix(prefix)
        statement = LIST_TO_END if end is None else LIST
        values: dict[str, object] = {**where, "prefix": prefix, "after": after, "most": limit}
        if end is not None:
            values["end"] = end
        return await self._db.read(
            lambda connection: [*connection.scalars(statement, {**values, "now": self._now()})],
        )

    async def usage(self, owner: str, plugin: str) -> tuple[int, int]:
        """How many entries a plugin keeps for an owner, and the bytes of their scopes, keys and values."""
        check_name(owner, "owner")
        check_name(plugin, "plugin")
        space = Space(owner, plugin)

        def read(connection: Connection) -> tuple[int, int]:
            taken = taken_usage(connection, space, change=False)
            entries, size = expired_usage(connection, space, self._now())
            return taken.entries - entries, taken.bytes - size

        return await self._db.read(read)

    async def sweep(self, *, most: int = MOST_SWEPT) -> int:
        """Deletes entries that have expired, of whomever, longest ago first; to be called now and then.

        Args:
            most: how many at most, 1 to `MOST_SWEPT`.

        Returns:
            How many (int); as many as `most` means that there may be more.
        """
        if not 1 <= most <= MOST_SWEPT:
            raise ValueError(f"a sweep deletes 1 to {MOST_SWEPT} entries")
        return await self._db.write(lambda connection: sweep_rows(connection, self._now(), most))


def _scope(owner: str, plugin: str, scope: str) -> dict[str, str]:
    """The parameters of statements that concern a scope."""
    check_name(owner, "owner")
    check_name(plugin, "plugin")
    check_name(scope, "scope", empty=True)
    return {"its_owner": owner, "its_plugin": plugin, "its_scope": scope}


def _place(owner: str, plugin: str, scope: str, key: str) -> tuple[dict[str, str], int]:
    """The parameters of statements that concern one row, and the bytes that its names count."""
    where = _scope(owner, plugin, scope)
    size = check_name(key, "key") + len(scope.encode())
    return {**where, "its_key": key}, size


def _check_version(expect: int | None) -> None:
    if expect is not None and not 0 <= expect <= _MOST_VERSION:
        raise ValueError("the expected version must be 0 or the version of an entry")
