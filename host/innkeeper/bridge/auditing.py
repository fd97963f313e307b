"""What goes into the audit log while the host runs, written while nobody waits for it.

Guarantees: no call waits for a record; a plugin that is refused all the time makes a bounded number of records a
minute, which say how often it was; no query of a URL and no user in it is kept; what was taken is written before the
host has closed, or counted and said to be lost.
"""

from __future__ import annotations

import logging
import re
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import trio

from innkeeper.errors import InnkeeperError

if TYPE_CHECKING:
    from innkeeper.storage.audit import AuditLog, NewRecord
    from innkeeper.storage.database import Database

logger = logging.getLogger("innkeeper.bridge")

WINDOW: Final = 60.0
"""Seconds for which equal refusals are one record, and a second one that says how many came after it."""

DIFFERENT: Final = 20
"""Refusals of a plugin within `WINDOW` that have a record each; all others are counted in one."""

MOST_USE: Final = 200
"""Characters of what a plugin wanted to use."""

_PLUGINS: Final = 10_000
_QUEUE: Final = 4096
"""Records that wait to be written, some 400 bytes each."""

_BATCH: Final = 64
"""Records that are written in one transaction: some milliseconds."""

_QUIET: Final = 60.0
"""Seconds between two lines that say that records are lost."""


@dataclass(slots=True)
class _Window:
    """What a plugin was refused lately.

    Attributes:
        ends: when it is over, on trio's clock.
        again: by digest, capability and use, how often after the first time.
        others: how often something else, beyond `DIFFERENT`.
        digest: of the last of those.
    """

    ends: float
    again: dict[tuple[str, str, str], int] = field(default_factory=dict)
    others: int = 0
    digest: str = ""


@dataclass(frozen=True, slots=True)
class _Waiting:
    kind: str
    plugin: str
    digest: str
    details: dict[str, Any]
    at: float
    once: bool


class AuditWriter:
    """Takes records for the audit log.

    Attributes:
        lost: records that could not be kept.
    """

    def __init__(self, database: Callable[[], Awaitable[Database]], days: float) -> None:
        """Args:
        database: opens where the log is.
        days: for which a record is kept.
        """
        self._database = database
        self._days = days
        self._log: AuditLog | None = None
        self._queue: deque[_Waiting] = deque()
        self._windows: dict[str, _Window] = {}
        self._idle: trio.Event | None = None
        self._watching: trio.CancelScope | None = None
        self._closing = False
        self._quiet_until = 0.0
        self.lost = 0

    @trio.lowlevel.enable_ki_protection
    def record(self, kind: str, plugin: str, digest: str, details: Mapping[str, Any], *, once: bool = False) -> None:
        """Keeps a record, soon.

        Args:
            kind: the value of a `storage.audit.AuditKind`.
            plugin: id of the plugin.
            digest: sha256 of its bytes.
            details: what JSON can say, with texts and lists of texts, which are cut where there are too many.
            once: not where the newest record of this kind and plugin says the same.
        """
        if len(self._queue) >= _QUEUE:
            self._lose("there are too many to be written")
            return
        self._queue.append(_Waiting(kind, plugin, digest, dict(details), time.time(), once))
        if self._idle is None:
            self._idle = trio.Event()
            trio.lowlevel.spawn_system_task(self._write_all, self._idle)

    @trio.lowlevel.enable_ki_protection
    def refused(self, plugin: str, digest: str, capability: str, use: str) -> None:
        """Keeps that a plugin was refused something. At once, and within some microseconds."""
        now = trio.current_time()
        window = self._windows.get(plugin)
        if window is not None and now >= window.ends:
            self._tell(plugin, self._windows.pop(plugin))
            window = None
        if window is None:
            if len(self._windows) >= _PLUGINS:
                self._lose("too many plugins are refused something")
                return
            window = self._windows[plugin] = _Window(now + WINDOW)
        key = digest, capability, shown_use(capability, use)
        if key in window.again:
            window.again[key] += 1
        elif len(window.again) >= DIFFERENT:
            window.others += 1
            window.digest = digest
        else:
            window.again[key] = 0
            self.record("refusal", plugin, digest, {"capability": capability, "use": key[2], "count": 1})
        if self._watching is None and not self._closing:
            self._watching = trio.CancelScope()
            trio.lowlevel.spawn_system_task(self._watch, self._watching)

    def _tell(self, plugin: str, window: _Window) -> None:
        """What came after the first time, as its window ends."""
        for (digest, capability, use), count in window.again.items():
            if count:
                details = {"capability": capability, "use": use, "count": count, "again": True}
                self.record("refusal", plugin, digest, details)
        if window.others:
            self.record("refusal", plugin, window.digest, {"capability": "", "use": "", "count": window.others})

    async def _watch(self, scope: trio.CancelScope) -> None:
        try:
            with scope:
                while self._windows:
                    await trio.sleep_until(min(each.ends for each in self._windows.values()))
                    now = trio.current_time()
                    for plugin in [name for name, each in self._windows.items() if now >= each.ends]:
                        self._tell(plugin, self._windows.pop(plugin))
        finally:
            self._watching = None

    async def _write_all(self, idle: trio.Event) -> None:
        try:
            while self._queue:
                batch = [self._queue.popleft() for _ in range(min(_BATCH, len(self._queue)))]
                try:
                    await self._write(batch)
                except Exception as error:
                    if self._closing:
                        # Whoever closes a host does not wait for each of them to fail.
                        batch += self._queue
                        self._queue.clear()
                    self._lose(error.message if isinstance(error, InnkeeperError) else type(error).__name__, len(batch))
        finally:
            self._idle = None
            idle.set()

    async def _write(self, batch: list[_Waiting]) -> None:
        if self._log is None:
            # It brings what speaks to databases with it.
            database = await self._database()
            from innkeeper.storage.audit import AuditLog

            self._log = AuditLog(database, days=self._days)
        await self._log.append_all(self._new(batch))

    def _new(self, batch: list[_Waiting]) -> list[NewRecord]:
        from innkeeper.storage.audit import AuditKind, NewRecord, check_record, fitting

        found = []
        for each in batch:
            new = NewRecord(AuditKind(each.kind), each.plugin, each.digest, fitting(each.details), each.at, each.once)
            try:
                check_record(new)
            except ValueError as error:
                # It is alone in being lost.
                self._lose(str(error))
            else:
                found.append(new)
        return found

    def _lose(self, why: str, count: int = 1) -> None:
        self.lost += count
        now = time.monotonic()
        if now >= self._quiet_until:
            self._quiet_until = now + _QUIET
            logger.warning("a record of the audit log was not kept (%d in all): %s", self.lost, why)

    async def aclose(self) -> None:
        """Writes what is left to be said, and waits until all is written. Nothing is taken any more."""
        self._closing = True
        if self._watching is not None:
            self._watching.cancel()
        for plugin in [*self._windows]:
            self._tell(plugin, self._windows.pop(plugin))
        while self._idle is not None:
            await self._idle.wait()


def shown_use(capability: str, use: str) -> str:
    """What a plugin wanted to use, without what may be secret in it: of a URL neither query, fragment nor user, also of
    one that is none."""
    if capability == "http":
        use = _USER.sub(r"\1", use.partition("?")[0].partition("#")[0].strip())
    return use[:MOST_USE]


_USER: Final = re.compile(r"^((?:https?:/*)?)(?:[^/@]*://)?[^/]*@", re.IGNORECASE)
