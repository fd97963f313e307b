"""Pauses plugins that end in traps or limits again and again, so that they use up no more of what all share.

Guarantees: only what a guest does counts, never how it was called; a call of a paused plugin costs nothing and says
what to do; calls that run go on; what is counted takes bounded memory, whatever the bound on failures; a pause is
written down, survives a restart, and ends within a second after somebody resumed the plugin, in whatever process.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import trio

from innkeeper.errors import BusyError, InnkeeperError, LimitError
from innkeeper.plugins.changes import Change
from innkeeper.plugins.paused import ALL, MOST_REASON, Paused, advice, is_paused, resume, write_paused
from innkeeper.printable import printable

if TYPE_CHECKING:
    from innkeeper.bridge.background import Background
    from innkeeper.plugins.generation import Generation
    from innkeeper.sandbox.interface import CallOptions

logger = logging.getLogger("innkeeper.bridge")

WINDOW: Final = 60
"""Seconds within which failures count together."""

LOOK: Final = 1.0
"""Seconds between two looks whether a paused plugin was resumed."""

_COUNTED: Final = 10_000
"""Versions of plugins whose failures are counted; those that failed longest ago go first."""

_CALLERS: Final = frozenset({"input", "nesting"})
"""Limits that whoever calls reaches, and not the guest."""

Record = Callable[[str, str, str, Mapping[str, Any]], None]
"""Keeps a record in the audit log: kind, plugin, digest, details. At once, without waiting."""


class _Failures:
    """Failures of one version: how many in each second of the last minute."""

    __slots__ = ("seconds", "total")

    def __init__(self) -> None:
        self.seconds: deque[list[int]] = deque()
        self.total = 0

    def add(self, second: int) -> int:
        """One more; gives how many there were within the window (int)."""
        while self.seconds and self.seconds[0][0] <= second - WINDOW:
            self.total -= self.seconds.popleft()[1]
        if not self.seconds or self.seconds[-1][0] < second:
            self.seconds.append([second, 0])
        self.seconds[-1][1] += 1
        self.total += 1
        return self.total


class _Pause:
    """A pause in force.

    Attributes:
        paused: what is known of it.
        written: whether it is in its file, so that the file's absence means something.
        looked: when that was last looked at, or a look began.
    """

    __slots__ = ("looked", "paused", "written")

    def __init__(self, paused: Paused, *, written: bool, looked: float) -> None:
        self.paused = paused
        self.written = written
        self.looked = looked


class Pausing:
    """Implements `plugins.attendant.Overseer`.

    Attributes:
        paused: the pauses in force, by id and digest.
    """

    def __init__(
        self,
        most: int,
        state: Path,
        found: Iterable[Paused],
        background: Background,
        say: Callable[[Change], None],
        record: Record,
        *,
        now: Callable[[], float] = time.monotonic,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Args:
        most: traps and limits of a plugin within a minute; one more pauses it. 0: any number.
        state: the folder in which the host keeps what it keeps.
        found: those that are paused as the host opens.
        background: where pauses are written down.
        say: says a change.
        record: keeps a record in the audit log.
        now: seconds of a monotonic clock.
        clock: seconds since 1970.
        """
        self._most = most
        self._state = state
        self._background = background
        self._say = say
        self._record = record
        self._now = now
        self._clock = clock
        self._failures: OrderedDict[tuple[str, str], _Failures] = OrderedDict()
        self.paused = {(each.plugin, each.digest): _Pause(each, written=True, looked=float("-inf")) for each in found}

    async def admit(self, version: Generation, function: str) -> None:
        """As `Overseer.admit`."""
        for digest in (ALL, version.digest):
            pause = self.paused.get((version.id, digest))
            if pause is not None:
                await self._ended(version, function, pause)

    async def _ended(self, version: Generation, function: str, pause: _Pause) -> None:
        """Returns where a pause is over; else refuses the call."""
        key = pause.paused.plugin, pause.paused.digest
        now = self._now()
        if pause.written and now - pause.looked >= LOOK:
            pause.looked = now
            # A disk that does not answer holds up this one call, which may be cancelled.
            there = await trio.to_thread.run_sync(is_paused, self._state, *key, abandon_on_cancel=True)
            if not there:
                # Another pause may have begun while this one was looked for.
                if self.paused.get(key) is pause:
                    del self.paused[key]
                    self._say(Change("resumed", version.id, f"{version.id}: is resumed, and takes calls"))
                return
        raise BusyError(
            f"the plugin is paused: {pause.paused.reason or 'it failed too often'}; {advice(*key)}",
            bound="failures",
            plugin=version.id,
            function=function,
        )

    def is_off(self, plugin: str) -> bool:
        """Whether somebody turned a plugin off (bool), whatever its bytes."""
        return (plugin, ALL) in self.paused

    async def turn_off(self, plugin: str, digest: str, reason: str) -> None:
        """Pauses a plugin whatever its bytes, until somebody turns it on or resumes it. Calls that run go on.

        Args:
            plugin: its id.
            digest: sha256 of its bytes now, for the audit log.
            reason: a sentence without its full stop.

        Raises:
            UsageError: it cannot be kept, so nothing is changed.
        """
        paused = Paused(plugin, ALL, self._clock(), reason[:MOST_REASON])
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(write_paused, self._state, paused)
            if self.is_off(plugin):
                return
            self.paused[plugin, ALL] = _Pause(paused, written=True, looked=self._now())
            self._say(Change("paused", plugin, f"{plugin}: is turned off: {reason}; {advice(plugin, ALL)}"))
            self._record("pause", plugin, digest, {"reason": reason})

    async def turn_on(self, plugin: str, digest: str) -> None:
        """Ends all pauses of a plugin.

        Raises:
            UsageError: one cannot be ended.
        """
        with trio.CancelScope(shield=True):
            ended = await trio.to_thread.run_sync(resume, self._state, plugin)
            held = [key for key in self.paused if key[0] == plugin]
            for key in held:
                del self.paused[key]
            if held or ended:
                self._say(Change("resumed", plugin, f"{plugin}: is resumed, and takes calls"))
                self._record("resume", plugin, digest, {"reason": "turned on"})

    @trio.lowlevel.enable_ki_protection
    def failed(self, version: Generation, options: CallOptions, error: InnkeeperError) -> None:
        """As `Overseer.failed`."""
        if not self._most or not _is_the_guests(version, options, error):
            return
        key = version.id, version.digest
        failures = self._failures.get(key)
        if failures is None:
            if len(self._failures) >= _COUNTED:
                self._failures.popitem(last=False)
            failures = self._failures[key] = _Failures()
        self._failures.move_to_end(key)
        count = failures.add(int(self._now()))
        # Calls that were under way as it was paused may fail yet.
        if count <= self._most or key in self.paused:
            return
        del self._failures[key]
        last = printable(error.message, 300)
        reason = f"{count} calls within a minute ended in traps or limits; the last: {last}"[:MOST_REASON]
        pause = _Pause(Paused(*key, self._clock(), reason), written=False, looked=self._now())
        self.paused[key] = pause
        plugin = version.id
        self._say(Change("paused", plugin, f"{plugin}: is paused: {reason}; {advice(plugin)}"))
        self._record("pause", plugin, version.digest, {"reason": reason, "failures": count})

        async def keep() -> None:
            # A host that closes keeps it first.
            with trio.CancelScope(shield=True):
                try:
                    await trio.to_thread.run_sync(write_paused, self._state, pause.paused)
                    pause.written = True
                except InnkeeperError as error:
                    logger.warning("%s; it lasts until the host ends", error.message)

        self._background.start(f"keeping that {plugin!r} is paused", keep)


def _is_the_guests(version: Generation, options: CallOptions, error: InnkeeperError) -> bool:
    """Whether a failure counts: a trap, or a limit that the caller did not make tighter than the plugin's own."""
    if error.plugin not in (None, version.id):
        return False
    if not isinstance(error, LimitError):
        return error.trap
    if error.limit in _CALLERS:
        return False
    asked = getattr(options.limits, error.limit, None)
    own = getattr(version.limits, error.limit, None)
    return asked is None or own is None or asked >= own
