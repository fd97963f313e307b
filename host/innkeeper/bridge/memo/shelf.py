"""The results that are kept on disk: read where a call may wait for them, written while nobody does."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

import trio

from innkeeper.bridge.memo.entry import Entry, read_entry, write_entry
from innkeeper.bridge.memo.key import disk_key, implementation
from innkeeper.bridge.memo.recent import CallKey
from innkeeper.errors import InnkeeperError
from innkeeper.plugins.settings import MemoSettings

if TYPE_CHECKING:
    from innkeeper.storage.database import Database
    from innkeeper.storage.memo import MemoStore

logger = logging.getLogger("innkeeper.bridge")

WAITING: Final = 16 << 20
"""Bytes of results that wait to be written, at most: what is beyond is not kept, since the disk is too slow for it."""

_BATCH: Final = 64
_BATCH_BYTES: Final = 1 << 20
"""What is written in one transaction; a larger one has one of its own."""

_SMALL: Final = 64 * 1024
"""Bytes that are coded on trio's thread, in some 0.1 ms."""

_QUIET: Final = 60.0
"""Seconds between two lines that say that the disk is not used, and for which it is then left alone."""


class MemoShelf:
    """Results on disk, each of one owner.

    Attributes:
        kept: results that were written.
        lost: results that should have been and were not.
    """

    def __init__(
        self,
        settings: MemoSettings,
        database: Callable[[], Awaitable[Database]],
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Args:
        settings: how much is kept, and for how long; `disk` is not 0.
        database: opens where.
        now: seconds since 1970.
        """
        self._settings = settings
        self._database = database
        self._now = now
        self._store: MemoStore | None = None
        self._implementation = ""
        self._opening = trio.Lock()
        # What is erased must not be written after that.
        self._writing = trio.Lock()
        self._queue: dict[CallKey, Entry] = {}
        self._used: dict[tuple[str, str], None] = {}
        self._waiting = 0
        self._idle: trio.Event | None = None
        self._closing = False
        self._quiet_until = 0.0
        self.kept = 0
        self.lost = 0

    async def get(self, key: CallKey) -> Entry | None:
        """The result of an equal call; None if there is none that can be read."""
        if self._closing or time.monotonic() < self._quiet_until:
            return None
        waiting = self._queue.get(key)
        if waiting is not None:
            return waiting
        try:
            store = await self._opened()
            name = self._key(key)
            row = await store.get(key.owner, name)
            if row is None:
                return None
            body, old = row
            if len(body) <= _SMALL:
                entry = read_entry(name, body)
            else:
                entry = await trio.to_thread.run_sync(read_entry, name, body)
        except Exception as error:
            self._trouble(error)
            return None
        if entry is not None and old and len(self._used) < _BATCH:
            self._used[key.owner, name] = None
            self._start()
        return entry

    def put(self, key: CallKey, entry: Entry) -> None:
        """Has a result written, soon. Nobody waits for it."""
        size = entry.size + key.size
        if self._closing or key in self._queue:
            return
        if self._waiting + size > WAITING:
            self.lost += 1
            return
        self._queue[key] = entry
        self._waiting += size
        self._start()

    def _start(self) -> None:
        if self._idle is None:
            self._idle = trio.Event()
            trio.lowlevel.spawn_system_task(self._write_all, self._idle)

    async def _write_all(self, idle: trio.Event) -> None:
        try:
            while self._queue or self._used:
                batch: dict[CallKey, Entry] = {}
                size = 0
                for key, entry in self._queue.items():
                    size += entry.size + key.size
                    if batch and (size > _BATCH_BYTES or len(batch) >= _BATCH):
                        break
                    batch[key] = entry
                used, self._used = list(self._used), {}
                try:
                    await self._write(batch, used)
                except Exception as error:
                    if self._closing:
                        # Whoever closes a host does not wait for each of them to fail.
                        self.lost += len(self._queue) - len(batch)
                        batch = dict(self._queue)
                    self.lost += len(batch)
                    self._trouble(error)
                for key, entry in batch.items():
                    # It may have been erased meanwhile.
                    if self._queue.get(key) is entry:
                        del self._queue[key]
                        self._waiting -= entry.size + key.size
        finally:
            self._idle = None
            idle.set()

    async def _write(self, batch: dict[CallKey, Entry], used: list[tuple[str, str]]) -> None:
        store = await self._opened()
        for owner in dict.fromkeys(owner for owner, _ in used):
            await store.touch(owner, [name for whose, name in used if whose == owner])
        if batch:
            size = sum(entry.size + key.size for key, entry in batch.items())
            bodies = self._coded(batch) if size <= _SMALL else await trio.to_thread.run_sync(self._coded, batch)
            async with self._writing:
                for owner, own in bodies.items():
                    if all(self._queue.get(key) is entry for key, entry in batch.items() if key.owner == owner):
                        self.kept += await store.put(owner, own)

    def _coded(self, batch: dict[CallKey, Entry]) -> dict[str, dict[str, bytes]]:
        bodies: dict[str, dict[str, bytes]] = {}
        for key, entry in batch.items():
            name = self._key(key)
            bodies.setdefault(key.owner, {})[name] = write_entry(name, entry)
        return bodies

    def _key(self, key: CallKey) -> str:
        return disk_key(*key, self._implementation)

    async def _opened(self) -> MemoStore:
        if self._store is None:
            async with self._opening:
                if self._store is None:
                    # It brings what speaks to databases with it.
                    database = await self._database()
                    from innkeeper.storage.memo import MemoStore

                    self._implementation = await trio.to_thread.run_sync(implementation)
                    settings = self._settings
                    self._store = MemoStore(database, now=self._now, days=settings.days, total_bytes=settings.disk)
        return self._store

    def _trouble(self, error: Exception) -> None:
        self.rest(error.message if isinstance(error, InnkeeperError) else type(error).__name__)

    def rest(self, why: str) -> None:
        """Leaves the disk alone for a minute.

        Args:
            why: what happened, for the log.
        """
        now = time.monotonic()
        if now >= self._quiet_until:
            self._quiet_until = now + _QUIET
            logger.warning("results of pure calls are neither read from disk nor kept there for a minute: %s", why)

    async def erase(self, owner: str) -> int:
        """Deletes an owner's results on disk, and those that wait to be written; gives how many were there (int).

        Raises:
            InnkeeperError: the database could not be used.
        """
        for key in [each for each in self._queue if each.owner == owner]:
            self._waiting -= self._queue.pop(key).size + key.size
        self._used = {each: None for each in self._used if each[0] != owner}
        store = await self._opened()
        async with self._writing:
            return await store.erase(owner)

    async def aclose(self) -> None:
        """Waits until all is written. No call is made any more."""
        self._closing = True
        while self._idle is not None:
            await self._idle.wait()
