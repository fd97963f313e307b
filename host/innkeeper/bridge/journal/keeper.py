"""Which calls are kept, and that they are: recorded as they are made, written while nobody waits for it.

Guarantees: a call neither waits for its journal nor fails because of it; what is kept was written once the host has
closed; journals under way take no more memory than they may, and one that would is not kept, which is counted and said;
each belongs to whom its call worked for.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from importlib import import_module, metadata
from typing import TYPE_CHECKING, Final

import trio

from innkeeper.bridge.journal.format import write_journal
from innkeeper.bridge.journal.model import EXCEPTION, MOST_BYTES, MOST_MESSAGE, OUTPUT, Ending, HostCall, Journal
from innkeeper.bridge.journal.recorder import TOO_LONG, Recorder
from innkeeper.bridge.journal.room import Room, Share
from innkeeper.errors import GuestError, InnkeeperError, LimitError
from innkeeper.plugins.attendant import PluginCall, Proceed
from innkeeper.plugins.settings import JournalSettings
from innkeeper.sandbox.usage import Result, Usage

if TYPE_CHECKING:
    from innkeeper.storage.database import Database
    from innkeeper.storage.journals import JournalStore, NewJournal

logger = logging.getLogger("innkeeper.bridge")

REMEMBERED: Final = "its result was remembered, so no guest ran; run it without memory to record one"
SHARED: Final = "its guest had served calls before, which are not part of it"
LINKED: Final = "its plugin consists of several modules"

_HEAD: Final = 4096
"""Bytes that each journal counts for all but what was asked, given and answered."""

_SMALL: Final = 32 * 1024
"""Bytes of journals that are coded on trio's thread, in some 0.2 ms."""

_BATCH: Final = 64
_BATCH_BYTES: Final = 1 << 20
"""What is written in one transaction; a larger one has one of its own."""

_QUIET: Final = 60.0
"""Seconds between two lines that say that journals are lost."""

_MOVING: Final = frozenset({"clock", "random", "files.read", "files.write"})
"""Names of the capabilities with which WASI shows something of the real world."""


class JournalKeeper:
    """Implements `plugins.attendant.Attendant`.

    Attributes:
        kept: journals that were written.
        lost: journals that should have been and were not, or not whole.
    """

    def __init__(
        self,
        settings: JournalSettings,
        database: Callable[[], Awaitable[Database]],
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Args:
        settings: what is kept; not "never".
        database: opens where.
        now: seconds since 1970.
        """
        self._everything = settings.keep == "all"
        self._settings = settings
        self._most = min(settings.most_bytes, MOST_BYTES)
        self._room = Room(settings.memory)
        self._database = database
        self._now = now
        self._store: JournalStore | None = None
        self._queue: deque[_Waiting] = deque()
        self._idle: trio.Event | None = None
        self._closing = False
        self._quiet_until = 0.0
        self.kept = 0
        self.lost = 0

    @trio.lowlevel.enable_ki_protection
    async def attend(self, call: PluginCall, proceed: Proceed) -> Result:
        """As `Attendant.attend`."""
        share = self._room.of(call.version.id)
        recorder = Recorder(share, self._most)
        at = self._now()
        try:
            recorder.take(_HEAD + len(call.data))
            result = await proceed(replace(call.options, tape=recorder))
        except BaseException as error:
            # Who is cancelled has not failed.
            if self._everything or isinstance(error, Exception):
                usage = getattr(error, "usage", None)
                self._keep(call, at, recorder, share, ending_of(error), usage if isinstance(usage, Usage) else Usage())
            raise
        else:
            if self._everything:
                self._keep(call, at, recorder, share, Ending(OUTPUT, output=result.output), result.usage)
            return result
        finally:
            # What is to be written has its own by now.
            recorder.release()

    def _keep(
        self, call: PluginCall, at: float, recorder: Recorder, share: Share, ending: Ending, usage: Usage
    ) -> None:
        recorder.take(len(ending.output) + sum(32 + len(text) for _, text in usage.log))
        size = recorder.give_away()
        whole = recorder.lost is None
        if recorder.lost == TOO_LONG and share.take_now(_HEAD):
            # What is left of it is its head.
            size = _HEAD
        elif not whole:
            self._lose("there is too much to be written; raise journal.memory, or keep fewer")
            return
        if not whole:
            self._lose(f"a call of {call.version.id!r} asked and was answered more than journal.most_bytes")
        journal = _journal(call, at, recorder, ending, usage)
        self._queue.append(_Waiting(call.owner, journal, recorder.calls, size, share))
        if self._idle is None:
            self._idle = trio.Event()
            trio.lowlevel.spawn_system_task(self._write_all, self._idle)

    async def _write_all(self, idle: trio.Event) -> None:
        try:
            while self._queue:
                batch = [self._queue.popleft()]
                size = batch[0].size
                while self._queue and len(batch) < _BATCH and size + self._queue[0].size <= _BATCH_BYTES:
                    size += self._queue[0].size
                    batch.append(self._queue.popleft())
                over: list[int] = []
                try:
                    await self._write(batch, size, over)
                except Exception as error:
                    if self._closing:
                        # Whoever closes a host does not wait for each of them to fail.
                        batch += self._queue
                        self._queue.clear()
                    why = error.message if isinstance(error, InnkeeperError) else type(error).__name__
                    self._lose(why, len(batch) - sum(over))
                finally:
                    for each in batch:
                        each.share.give(each.size)
        finally:
            self._idle = None
            idle.set()

    async def _write(self, batch: list[_Waiting], size: int, over: list[int]) -> None:
        """Writes journals, each owner's by itself; `over` gets how many of them are done with."""
        if self._store is None:
            database = await self._database()
            # Building statements takes a while: not on trio's thread.
            module = await trio.to_thread.run_sync(import_module, "innkeeper.storage.journals")
            settings = self._settings
            self._store = module.JournalStore(
                database, now=self._now, days=settings.days, total_bytes=settings.total_bytes
            )
            await trio.to_thread.run_sync(_host)
        new = _coded(batch) if size <= _SMALL else await trio.to_thread.run_sync(_coded, batch)
        for owner in dict.fromkeys(each.owner for each in batch):
            own = [made for each, made in zip(batch, new, strict=True) if each.owner == owner]
            for number in await self._store.append(owner, own):
                if number is None:
                    self._lose(
                        f"it has more bytes than all may have: raise journal.total_bytes ({self._settings.total_bytes})"
                    )
                else:
                    self.kept += 1
            over.append(len(own))

    def _lose(self, why: str, count: int = 1) -> None:
        self.lost += count
        now = time.monotonic()
        if now >= self._quiet_until:
            self._quiet_until = now + _QUIET
            logger.warning("a journal was not kept, or not whole (%d in all): %s", self.lost, why)

    async def aclose(self) -> None:
        """Waits until all is written. No call is made any more."""
        self._closing = True
        while self._idle is not None:
            await self._idle.wait()


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A journal to be written: whose it is, its calls, and the bytes that it has of its plugin's share."""

    owner: str
    journal: Journal
    calls: Sequence[HostCall | bytes]
    size: int
    share: Share


def _coded(batch: list[_Waiting]) -> list[NewJournal]:
    from innkeeper.storage.journals import NewJournal

    host = _host()
    return [
        NewJournal(
            at=each.journal.at,
            plugin=each.journal.plugin,
            digest=each.journal.digest,
            function=each.journal.function,
            outcome=each.journal.ending.kind,
            body=write_journal(replace(each.journal, host=host), each.calls),
        )
        for each in batch
    ]


def ending_of(error: BaseException) -> Ending:
    """How a call that ended with this error is said to have ended."""
    if isinstance(error, InnkeeperError):
        limit = error.limit if isinstance(error, LimitError) else None
        code = error.code if isinstance(error, GuestError) else None
        return Ending(error.kind.value, error.message[:MOST_MESSAGE], limit=limit, code=code)
    if isinstance(error, Exception):
        # What it says was not meant for the guest, and may be anything.
        return Ending(EXCEPTION, f"a host function failed with {type(error).__name__}")
    return Ending("cancelled", "the call was cancelled")


def _journal(call: PluginCall, at: float, recorder: Recorder, ending: Ending, usage: Usage) -> Journal:
    version, options, run = call.version, call.options, call.run
    why_not = SHARED if call.shared else LINKED if version.code.linked else ""
    if usage.remembered:
        why_not = REMEMBERED
    if recorder.lost is not None:
        why_not = f"it is not whole: {recorder.lost}"
    whole = recorder.lost is None
    cost = asdict(replace(usage, log=[]))
    del cost["log"], cost["log_dropped"], cost["remembered"]
    return Journal(
        at=at,
        host="",
        plugin=version.id,
        version="" if version.manifest is None else version.manifest.version,
        digest=version.digest,
        function=call.function,
        run="" if run is None else run.run.id,
        node="" if run is None else run.node,
        config=dict(options.config),
        limits=asdict(options.limits),
        rights=tuple(str(each) for each in version.rights.capabilities),
        real=any(each.name in _MOVING for each in version.rights.capabilities)
        if recorder.real is None
        else recorder.real,
        why_not=why_not,
        input=call.data if whole else b"",
        functions=tuple(function for _, function in recorder.functions.values()),
        calls=(),
        log=tuple(usage.log) if whole else (),
        log_dropped=usage.log_dropped,
        usage=cost,
        ending=ending if whole else replace(ending, output=b""),
    )


@cache
def _host() -> str:
    return f"innkeeper {metadata.version('innkeeper')}, wasmtime {metadata.version('wasmtime')}"
