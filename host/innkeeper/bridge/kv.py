"""The service `kv`: values that a plugin keeps, in key spaces of its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from innkeeper.bridge.caller import Caller
from innkeeper.bridge.operation import operation
from innkeeper.bridge.quota import Rate
from innkeeper.bridge.refusing import refusing
from innkeeper.sandbox.limits import MIB
from innkeeper.storage.kv_model import MOST_LISTED, MOST_TTL, MOST_VALUE, Quota

if TYPE_CHECKING:
    from innkeeper.storage.database import Database
    from innkeeper.storage.kv import KvStore

RATE = Rate(per_second=1000, burst=2000)
"""Calls of one plugin."""

QUOTA = Quota(entries=10_000, bytes=16 * MIB)
"""What one plugin keeps for one owner."""

Key = Annotated[str, Field(min_length=1, max_length=256)]
Space = Annotated[str, Field(min_length=1, max_length=64)]
Version = Annotated[int, Field(ge=0, lt=1 << 63)]


class KvService:
    """Keeps values by key, for each plugin and owner apart."""

    def __init__(self, database: Callable[[], Awaitable[Database]], quota: Quota = QUOTA) -> None:
        """Args:
        database: opens where they are kept, at the first need.
        quota: of one plugin and owner.
        """
        self._database = database
        self._quota = quota
        self._kept: KvStore | None = None

    async def _store(self) -> KvStore:
        if self._kept is None:
            database = await self._database()
            from innkeeper.storage.kv import KvStore

            self._kept = KvStore(database)
        return self._kept

    @operation("kv", use="space")
    async def get(self, caller: Caller, *, key: Key, space: Space = "default") -> dict[str, Any] | None:
        """Reads a value.

        Args:
            key: its key.
            space: the key space.

        Returns:
            {value: bytes, version: integer, expires: seconds since 1970 or nil}, or nil where there is none.
        """
        with refusing():
            store = await self._store()
            entry = await store.get(caller.owner, caller.plugin, space, key)
        if entry is None:
            return None
        return {"value": entry.value, "version": entry.version, "expires": entry.expires}

    @operation("kv", use="space")
    async def put(
        self,
        caller: Caller,
        *,
        key: Key,
        value: Annotated[bytes, Field(max_length=MOST_VALUE)],
        ttl: Annotated[float, Field(gt=0, le=MOST_TTL, allow_inf_nan=False)] | None = None,
        expect: Version | None = None,
        space: Space = "default",
    ) -> dict[str, Any]:
        """Keeps a value, in place of the one that is there.

        Args:
            key: its key.
            value: at most 1 MiB.
            ttl: seconds after which it is gone; nil: it stays.
            expect: the version that it must have, 0 where it must not exist yet; nil: whatever there is. Another one
                is a `conflict`, with `current`.
            space: the key space.

        Returns:
            {version: integer}, which no other value of the plugin ever had.
        """
        with refusing():
            store = await self._store()
            version = await store.put(
                caller.owner, caller.plugin, space, key, value, ttl=ttl, expect=expect, quota=self._quota
            )
        return {"version": version}

    @operation("kv", use="space")
    async def delete(
        self, caller: Caller, *, key: Key, expect: Version | None = None, space: Space = "default"
    ) -> dict[str, Any]:
        """Deletes a value.

        Args:
            key: its key.
            expect: the version that it must have; nil: whatever there is.
            space: the key space.

        Returns:
            {deleted: whether there was one}
        """
        with refusing():
            store = await self._store()
            return {"deleted": await store.delete(caller.owner, caller.plugin, space, key, expect=expect)}

    @operation("kv", use="space")
    async def list(
        self,
        caller: Caller,
        *,
        prefix: Annotated[str, Field(max_length=256)] = "",
        after: Annotated[str, Field(max_length=256)] = "",
        limit: Annotated[int, Field(ge=1, le=MOST_LISTED)] = 100,
        space: Space = "default",
    ) -> dict[str, Any]:
        """Lists keys, in the order of their bytes.

        Args:
            prefix: what they begin with.
            after: the last key of the page before.
            limit: how many at most.
            space: the key space.

        Returns:
            {keys: list of text}
        """
        with refusing():
            store = await self._store()
            keys = await store.list(caller.owner, caller.plugin, space, prefix=prefix, after=after, limit=limit)
        return {"keys": keys}
