"""Follows the files of a home while its host runs.

Looking and reading happen in a thread; trio's thread only exchanges versions. A new version is compiled while the old
one serves. A host that nobody reloads pays nothing.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from innkeeper.errors import InnkeeperError, UsageError
from innkeeper.plugins.catalogue import Catalogue, compose
from innkeeper.plugins.changes import Change, Listener, logger, say
from innkeeper.plugins.generation import retire
from innkeeper.plugins.home import Home
from innkeeper.plugins.reading import read_home
from innkeeper.plugins.readings import Readings
from innkeeper.plugins.roster import Outcome, Roster, Service
from innkeeper.printable import printable

if TYPE_CHECKING:
    from innkeeper.plugins.native.tier import NativeTier

INTERVAL = 0.2
"""Seconds between looks. A file is read once two looks saw the same, or at the fourth: within a second."""

_SHARE = 4
_SLOWEST = 0.35
"""A look takes at most one part in so many of the time, as long as the seconds between looks stay below that: a file
that changes is to be picked up within a second of a home of 1,000 plugins, too."""

_AFTER_FAILURE = 2.0
"""Seconds to the next look after one that failed by a defect of ours, which is logged each time."""


@dataclass(frozen=True, slots=True)
class Look:
    """What a look found.

    Attributes:
        readings: of all files.
        catalogue: what they make, or None where it is what it was.
    """

    readings: Readings
    catalogue: Catalogue | None


def look(
    home: Home, known: Readings | None, before: Catalogue | None, *, at_once: bool, in_service: frozenset[str]
) -> Look:
    """Looks at a home, in a thread.

    Args:
        home: where its files lie.
        known: what was known of them.
        before: what it made.
        at_once: whether to read also what may still be written to.
        in_service: ids of plugins in service.
    """
    readings = read_home(home, known, at_once=at_once, in_service=in_service)
    if known is not None and readings.says_the_same(known):
        return Look(readings, None)
    return Look(readings, compose(home, readings, known=known, before=before))


def first_look(home: Home) -> Look:
    """Reads all of a home, in a thread. Its `catalogue` is not None."""
    return look(home, None, None, at_once=True, in_service=frozenset())


class Reloader:
    """Brings what changed into service.

    Args:
        home: whose files they are.
        roster: the plugins in service.
        first: the look that filled it.
        listener: is told of every change.
        show: is called before, so that what the listener sees of the host is what it is told of.
        native: the native plugins in service; None where they are off.
    """

    def __init__(
        self,
        home: Home,
        roster: Roster,
        first: Look,
        listener: Listener | None,
        show: Callable[[], None],
        native: NativeTier | None = None,
    ) -> None:
        self._home = home
        self._roster = roster
        self._readings = first.readings
        self._catalogue = first.catalogue
        self._listener = listener
        self._show = show
        self._native = native
        self._looking = trio.Lock()
        # Apart from looking: a plugin that sets up for half a minute keeps no grant in force that was taken away.
        self._setting_up = trio.Lock()
        self._set_up: Catalogue | None = None
        self._reader = trio.CapacityLimiter(1)
        self._compiling = trio.CapacityLimiter(home.configuration.bounds.compile_jobs)
        self._compiles: dict[Service, _Compile] = {}
        self._requests: list[_Request] = []
        self._nursery: trio.Nursery | None = None
        self._scope = trio.CancelScope()
        self._ready = trio.Event()
        self._ended: trio.Event | None = None
        self._closed = False

    # --- what the host asks for -------------------------------------------------------------------------------------

    @trio.lowlevel.enable_ki_protection
    async def reload(self) -> list[Change]:
        """Looks at once, and waits until all that changed is in service or refused.

        Raises:
            UsageError: the host is closed.
        """
        self._check()
        self._start()
        await self._ready.wait()
        self._check()
        request = _Request()
        self._requests.append(request)
        # Not in the caller's task: a cancellation or Ctrl-C in the midst of an exchange would leave half of it.
        assert self._nursery is not None
        self._nursery.start_soon(self._answer, request)
        await request.done.wait()
        if request.failure is not None:
            raise request.failure
        self._check()
        return request.changes

    async def load_native(self) -> None:
        """Brings the native plugins of the last look into service, if they are not."""
        if self._native is None:
            return
        async with self._setting_up:
            catalogue = self._catalogue
            if catalogue is not None and catalogue is not self._set_up:
                changes = await self._native.apply(catalogue)
                self._set_up = catalogue
                await self._finish(Outcome(changes=changes))

    def watch(self) -> None:
        """Begins to look by itself, again and again."""
        self._start(self._watch)

    async def aclose(self) -> None:
        """Stops looking and compiling; what is not in service yet never will be."""
        self._closed = True
        self._scope.cancel()
        if self._ended is not None:
            with trio.CancelScope(shield=True):
                await self._ended.wait()

    # --- the task that compiles and looks ---------------------------------------------------------------------------
    # Ctrl-C is for the program's own tasks: whatever runs here is under trio's protection from it, since an exchange
    # of versions is done as a whole. Tasks do not inherit that from the one that starts them.

    def _check(self) -> None:
        if self._closed:
            raise UsageError("the host is closed, so it follows its files no more")

    @trio.lowlevel.enable_ki_protection
    def _start(self, work: Callable[[], Awaitable[None]] = trio.sleep_forever) -> None:
        if self._ended is None:
            self._ended = trio.Event()
            # Not a nursery around the host's block: it would wrap what the block raises in a group.
            trio.lowlevel.spawn_system_task(self._run, work, name="innkeeper.plugins.reload")

    async def _run(self, work: Callable[[], Awaitable[None]]) -> None:
        assert self._ended is not None
        try:
            with self._scope:
                async with trio.open_nursery() as self._nursery:
                    self._ready.set()
                    await work()
        finally:
            self._closed = True
            self._nursery = None
            self._ready.set()
            self._ended.set()

    @trio.lowlevel.enable_ki_protection
    async def _answer(self, request: _Request) -> None:
        try:
            for compile in await self._look(at_once=True):
                await compile.done.wait()
            await self.load_native()
        except Exception as error:
            request.failure = error
        finally:
            self._requests.remove(request)
            request.done.set()

    async def _watch(self) -> None:
        pause = INTERVAL
        while True:
            await trio.sleep(pause)
            before = time.perf_counter()
            try:
                await self._look(at_once=False)
                pause = max(INTERVAL, min(_SHARE * (time.perf_counter() - before), _SLOWEST))
            except Exception:
                # A defect of ours must neither end the host nor make it deaf to a grant that is taken away.
                logger.exception("looking at the plugins failed; trying again")
                pause = _AFTER_FAILURE

    # --- a look -----------------------------------------------------------------------------------------------------

    async def _look(self, *, at_once: bool) -> list[_Compile]:
        """One look, and all of it that needs no compiling put in service. Gives what is being compiled."""
        async with self._looking:
            in_service = frozenset(self._roster.services)
            # A file system that does not answer must not keep the host from closing: such a look is given up, and
            # what it finds is nobody's.
            found = await trio.to_thread.run_sync(
                lambda: self._read(at_once, in_service),
                abandon_on_cancel=True,
                limiter=self._reader,
            )
            if found.catalogue is not None:
                outcome = self._roster.apply(found.catalogue)
                self._catalogue = found.catalogue
                for service in outcome.waiting:
                    self._prepare(service)
                await self._finish(outcome)
                if self._native is not None:
                    await self._finish(Outcome(changes=self._native.withdraw(found.catalogue)))
                    assert self._nursery is not None
                    self._nursery.start_soon(self._follow_native)
            self._readings = found.readings
            for service, compile in self._compiles.items():
                if service.candidate is None:
                    compile.scope.cancel()
            return list(self._compiles.values())

    async def _follow_native(self) -> None:
        try:
            await self.load_native()
        except Exception:
            # As for a look: a defect of ours must not end the host.
            logger.exception("loading native plugins failed")

    def _read(self, at_once: bool, in_service: frozenset[str]) -> Look:
        found = look(self._home, self._readings, self._catalogue, at_once=at_once, in_service=in_service)
        if found.catalogue is not None:
            self._roster.prepare(found.catalogue)
        return found

    async def _finish(self, outcome: Outcome) -> None:
        self._show()
        for change in outcome.changes:
            for request in self._requests:
                request.changes.append(change)
            say(change, self._listener)
        for old, successor in outcome.retired:
            await retire(old, successor=successor)

    # --- compiling --------------------------------------------------------------------------------------------------

    def _prepare(self, service: Service) -> None:
        running = self._compiles.get(service)
        assert service.candidate is not None
        if running is not None:
            if running.made_of != self._roster.made_of(service.candidate):
                running.scope.cancel()
            return
        compile = self._compiles[service] = _Compile(service, self._roster.made_of(service.candidate))
        assert self._nursery is not None
        self._nursery.start_soon(self._compile, compile)

    @trio.lowlevel.enable_ki_protection
    async def _compile(self, compile: _Compile) -> None:
        """Compiles what a plugin's file holds until that is in service, refused, or gone."""
        service = compile.service
        try:
            async with self._compiling:
                while service.candidate is not None and not self._closed:
                    await self._attempt(compile)
        except Exception:
            # As for a look: a defect of ours must not end the host.
            logger.exception("putting %s in service failed", printable(service.entry.label))
        finally:
            self._compiles.pop(service, None)
            compile.done.set()

    async def _attempt(self, compile: _Compile) -> None:
        service = compile.service
        entry = service.candidate
        assert entry is not None
        compile.made_of = self._roster.made_of(entry)
        code = self._roster.code_of(entry)
        reason: str | None = None
        compile.scope = trio.CancelScope()
        with compile.scope:
            try:
                await code.compile()
            except InnkeeperError as error:
                reason = error.message
            except Exception as error:
                logger.exception("compiling %s failed", printable(entry.label))
                reason = f"could not be compiled: the host failed with {type(error).__name__}"
        wanted = service.candidate
        if wanted is None or self._roster.made_of(wanted) != compile.made_of or self._closed:
            code.discard()
            return
        if compile.scope.cancelled_caught:
            # What it was cancelled for has gone again: the same bytes are wanted after all.
            return
        if reason is not None:
            await self._finish(self._roster.reject(service, reason))
        else:
            await self._finish(self._roster.promote(service, code))


class _Request:
    """Somebody who waits for a reload."""

    __slots__ = ("changes", "done", "failure")

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self.done = trio.Event()
        self.failure: Exception | None = None


class _Compile:
    """A plugin whose new bytes are being compiled."""

    __slots__ = ("done", "made_of", "scope", "service")

    def __init__(self, service: Service, made_of: object) -> None:
        self.service = service
        self.made_of = made_of
        self.scope = trio.CancelScope()
        self.done = trio.Event()
