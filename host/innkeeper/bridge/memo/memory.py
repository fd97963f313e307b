"""The memory of pure calls: results by all that they depend on, in memory and on disk.

Guarantees: what is given is what an equal call of a fresh guest would give, output and log alike; only calls that went
well are remembered, so no limit, trap or error ever is; a call neither fails because of the memory nor waits for it
longer than `PATIENCE`; what is to be kept on disk is there once the host has closed; an owner's results are given to
that owner alone.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple
from weakref import WeakKeyDictionary

import trio

from innkeeper.bridge.memo.entry import MOST, Entry
from innkeeper.bridge.memo.key import basis_of
from innkeeper.bridge.memo.recent import CallKey, Recent
from innkeeper.bridge.memo.shelf import MemoShelf
from innkeeper.plugins.attendant import PluginCall, Proceed
from innkeeper.plugins.memo import powerless
from innkeeper.plugins.settings import MemoSettings
from innkeeper.sandbox.interface import CallOptions
from innkeeper.sandbox.usage import Result

if TYPE_CHECKING:
    from innkeeper.plugins.generation import Generation
    from innkeeper.storage.database import Database

PATIENCE: Final = 10.0
"""Seconds for which a call waits for the disk; it is made then, and the disk is left alone for a while."""

_DAY: Final = 86400.0

_HABITS: Final = 4096
"""Functions of which is known how long they take."""

_PASS: Final = 1 << 20
_CALL: Final = 4096
"""Bytes of input after which calls that were remembered let other tasks run, each counting so many more: about a
millisecond. No guest runs, so nothing else would give way."""


class _Making(NamedTuple):
    """A call of which nothing is in memory.

    Attributes:
        key: what it depends on.
        habit: the module's digest, and the function.
        make: makes it.
        erasures: how often somebody's results had been erased when it began.
    """

    key: CallKey
    habit: tuple[str, str]
    make: Callable[[], Awaitable[Result]]
    erasures: int


class Memory:
    """Remembers pure calls, those of each owner by themselves. `attending` gives what sees them.

    Attributes:
        hits: calls whose result was remembered.
        disk_hits: those of them whose result was on disk.
        misses: calls that were made.
    """

    def __init__(
        self,
        settings: MemoSettings,
        database: Callable[[], Awaitable[Database]],
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Args:
        settings: how much is kept.
        database: opens where.
        now: seconds since 1970.
        """
        self._settings = settings
        self._now = now
        self._kept = settings.days * _DAY
        self._recent = Recent(settings.memory)
        self._shelf = MemoShelf(settings, database, now=now) if settings.disk else None
        self._bases: WeakKeyDictionary[Generation, tuple[bytes, CallOptions]] = WeakKeyDictionary()
        # Seconds that calls of a function took lately, by the module's digest and its name.
        self._habits: dict[tuple[str, str], float] = {}
        self._erasures = 0
        self._debt = 0
        self.hits = 0
        self.disk_hits = 0
        self.misses = 0

    def attending(self, costly: bool) -> Remembering:
        """What sees the calls that are to be remembered.

        Args:
            costly: whether only what took long is kept on disk, or looked for there.
        """
        return Remembering(self, costly)

    async def attend(self, call: PluginCall, proceed: Proceed, costly: bool) -> Result:
        """As `Attendant.attend`."""
        version = call.version
        if (
            not version.pure
            or not powerless(version.rights)
            or call.shared
            or call.options.rights is not None
            or len(call.data) > MOST
        ):
            return await proceed(call.options)
        basis, options = self._fixed(call)
        key = CallKey(call.owner, basis, call.function, call.data)
        entry = self._recent.get(key)
        if entry is not None:
            if entry.at >= self._now() - self._kept:
                await self._give_way(len(call.data))
                self.hits += 1
                return entry.result()
            self._recent.drop(key)
        making = _Making(key, (version.digest, call.function), partial(proceed, options), self._erasures)
        shelf = self._shelf
        if shelf is None:
            return self._noted(making, await making.make(), on_disk=False)
        least = self._settings.disk_after if costly else 0.0
        took = self._habits.get(making.habit, None if least else 0.0)
        if took is None:
            return await self._unless_it_is_brief(shelf, making, least)
        if took >= least:
            entry = await self._looked_up(shelf, key)
            if entry is not None:
                return self._found(making, entry)
        result = await making.make()
        return self._noted(making, result, on_disk=result.usage.wall >= least)

    async def _unless_it_is_brief(self, shelf: MemoShelf, making: _Making, least: float) -> Result:
        """Makes a call of which nobody knows how long it takes; once it has taken long, looks on disk meanwhile."""
        found: Entry | None = None
        result: Result | None = None
        failure: BaseException | None = None
        async with trio.open_nursery() as nursery:

            async def look() -> None:
                nonlocal found
                # This task ends here, whoever cancelled it; the call itself says what is to be raised.
                with suppress(trio.Cancelled):
                    await trio.sleep(least)
                    found = await self._looked_up(shelf, making.key)
                if found is not None:
                    nursery.cancel_scope.cancel()

            nursery.start_soon(look)
            try:
                result = await making.make()
            except BaseException as error:
                # Kept out of the nursery, which would wrap it into a group.
                failure = error
            nursery.cancel_scope.cancel()
        if result is not None:
            return self._noted(making, result, on_disk=result.usage.wall >= least)
        if found is not None:
            return self._found(making, found)
        assert failure is not None
        try:
            raise failure
        finally:
            # Or it and this frame would keep each other.
            del failure

    async def _looked_up(self, shelf: MemoShelf, key: CallKey) -> Entry | None:
        entry: Entry | None = None
        with trio.move_on_after(PATIENCE) as scope:
            entry = await shelf.get(key)
        if scope.cancelled_caught:
            shelf.rest(f"it did not answer within {PATIENCE:g} s")
        return entry

    def _found(self, making: _Making, entry: Entry) -> Result:
        self.hits += 1
        self.disk_hits += 1
        if making.erasures == self._erasures:
            self._recent.put(making.key, entry)
        return entry.result()

    def _noted(self, making: _Making, result: Result, *, on_disk: bool) -> Result:
        self.misses += 1
        habits, habit = self._habits, making.habit
        if habit not in habits and len(habits) >= _HABITS:
            habits.clear()
        habits[habit] = max(result.usage.wall, habits.get(habit, 0.0) / 2)
        # What was begun before an owner's data was erased is not kept.
        entry = Entry.of(result, self._now()) if making.erasures == self._erasures else None
        if entry is not None:
            self._recent.put(making.key, entry)
            if on_disk and self._shelf is not None:
                self._shelf.put(making.key, entry)
        return result

    def _fixed(self, call: PluginCall) -> tuple[bytes, CallOptions]:
        """What a call depends on besides function and input, and options that nobody can change until it is made: what
        is kept under the key is what was computed from it."""
        version, options = call.version, call.options
        if options.config is not version.config:
            return basis_of(call), options
        # A plugin's configuration is a dict that programs can reach.
        if options.limits is not version.limits or options.tape is not None:
            own = CallOptions(options.limits, dict(options.config), options.plugin, tape=options.tape)
            return basis_of(call), own
        known = self._bases.get(version)
        if known is None or known[1].config != options.config:
            own = CallOptions(options.limits, dict(options.config), options.plugin)
            known = self._bases[version] = basis_of(call), own
        return known

    async def _give_way(self, size: int) -> None:
        self._debt += size + _CALL
        if self._debt < _PASS:
            await trio.lowlevel.checkpoint_if_cancelled()
        else:
            self._debt = 0
            await trio.lowlevel.checkpoint()

    async def erase(self, owner: str) -> int:
        """Forgets all of an owner's results, in memory and on disk; gives how many were on disk (int).

        Raises:
            InnkeeperError: the database could not be used.
        """
        self._erasures += 1
        self._recent.forget(owner)
        return 0 if self._shelf is None else await self._shelf.erase(owner)

    async def aclose(self) -> None:
        """Waits until all is written. No call is made any more."""
        self._recent.clear()
        if self._shelf is not None:
            await self._shelf.aclose()


class Remembering:
    """Implements `plugins.attendant.Attendant`.

    Args:
        memory: what remembers.
        costly: as `Memory.attending`.
    """

    def __init__(self, memory: Memory, costly: bool) -> None:
        self._memory = memory
        self._costly = costly

    @trio.lowlevel.enable_ki_protection
    async def attend(self, call: PluginCall, proceed: Proceed) -> Result:
        """As `Attendant.attend`."""
        return await self._memory.attend(call, proceed, self._costly)
