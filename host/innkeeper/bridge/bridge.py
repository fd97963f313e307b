"""The services of a host, and which of them a plugin may import."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import cached_property, partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from innkeeper.bridge.background import Background
from innkeeper.bridge.free import free_services
from innkeeper.errors import UsageError
from innkeeper.plugins.attendant import Attendant
from innkeeper.plugins.capabilities import FREE
from innkeeper.plugins.chain import calling
from innkeeper.plugins.configuration import Configuration
from innkeeper.plugins.manifest import Manifest
from innkeeper.plugins.rights import WASI
from innkeeper.sandbox.interface import HostFunction

if TYPE_CHECKING:
    from innkeeper.bridge.caller import Caller
    from innkeeper.bridge.journal.keeper import JournalKeeper
    from innkeeper.bridge.memo.memory import Memory
    from innkeeper.bridge.metrics import Metrics
    from innkeeper.bridge.offer import Offer
    from innkeeper.bridge.run_streams import RunStreams
    from innkeeper.bridge.run_variables import RunVariables
    from innkeeper.bridge.runner import Runner, RunnerMaker
    from innkeeper.plugins.changes import Change
    from innkeeper.plugins.host import Host
    from innkeeper.plugins.services import NativeSupport
    from innkeeper.storage.database import Database

OWNER = "local"
"""Whose data it is, as long as a host has one user."""

FILE = "innkeeper.db"


class Bridge:
    """Implements `plugins.services.Services`. Made by `open_bridge`.

    What the services need is imported when a plugin requests one, and the database is opened when a guest asks it for
    something: a host whose plugins compute and no more pays for neither.
    """

    def __init__(
        self,
        folder: Path,
        configuration: Configuration,
        stack: AsyncExitStack,
        runner: RunnerMaker | None = None,
        schedules: bool = True,
    ) -> None:
        self._folder = folder
        self._configuration = configuration
        self._make_runner = runner
        self._schedules = schedules
        self._background = Background()
        self._host: Host | None = None
        self._path = folder / FILE
        self._stack = stack
        self._database: Database | None = None
        self._attempt: _Attempt | None = None
        self._closed = False
        self._offer: Offer | None = None
        self._native: NativeSupport | None = None
        self._journals: JournalKeeper | None = None
        self._memory: Memory | None = None

    @cached_property
    def variables(self) -> RunVariables:
        """The variables of its runs."""
        from innkeeper.bridge.run_variables import MemoryVariables

        return MemoryVariables()

    @cached_property
    def streams(self) -> RunStreams:
        """The channels of its runs."""
        from innkeeper.bridge.run_streams import RunStreams

        return RunStreams()

    @property
    def metrics(self) -> Metrics | None:
        """What plugins asked for, and how it went; None as long as no plugin requests anything."""
        return None if self._offer is None else self._offer.gate.metrics

    def functions(self, manifest: Manifest | None, imports: Collection[str]) -> Sequence[HostFunction]:
        """As `Services.functions`."""
        requests = () if manifest is None else manifest.capabilities
        wanted = [name for each in requests if each.available and (name := each.capability.name) not in FREE | WASI]
        wanted += free_services(manifest, imports)
        if not wanted:
            return ()
        if self._offer is None:
            from innkeeper.bridge.needs import Needs
            from innkeeper.bridge.offer import Offer

            needs = Needs(
                self._open,
                self._configuration,
                self._bound,
                self._background,
                self.variables,
                self.streams,
                folder=self._folder,
                runner=None if self._make_runner is None else partial(self._runner, self._make_runner),
                schedules=self._schedules,
            )
            self._offer = Offer(_caller, needs)
            if self._host is not None:
                self._serve(self._offer)
        return self._offer.functions(wanted)

    def native(self) -> NativeSupport:
        """As `Services.native`."""
        from innkeeper.bridge.native import NativeBridge

        if self._native is None:
            self._native = NativeBridge(self._open, self._configuration.retention.audit_days)
        return self._native

    def attendant(self) -> Attendant | None:
        """As `Services.attendant`."""
        settings = self._configuration.journal
        if settings.keep != "never" and self._journals is None:
            from innkeeper.bridge.journal.keeper import JournalKeeper

            self._journals = JournalKeeper(settings, self._open, OWNER)
        return self._journals

    def memory(self, costly: bool) -> Attendant | None:
        """As `Services.memory`."""
        memory = self.remembered
        return None if memory is None else memory.attending(costly)

    @property
    def remembered(self) -> Memory | None:
        """The memory of pure calls, with its counts; None where it has no room."""
        settings = self._configuration.memo
        if self._memory is None and (settings.memory or settings.disk):
            from innkeeper.bridge.memo.memory import Memory

            self._memory = Memory(settings, self._open, OWNER)
        return self._memory

    @asynccontextmanager
    async def serving(self, host: Host) -> AsyncIterator[None]:
        """What services do by themselves goes on inside of the block.

        Args:
            host: whose services they are; it takes calls.
        """
        self._host = host
        if self._offer is not None:
            self._serve(self._offer)
        try:
            yield
        finally:
            with trio.CancelScope(shield=True):
                await self._background.aclose()
            self._host = None

    def noticed(self, change: Change) -> None:
        """Tells subscribers what became of a plugin; a problem names files, which are the operator's alone."""
        if self._offer is not None and change.kind != "problem":
            data = {"plugin": change.plugin, "parts": list(change.parts)}
            self._offer.announce(f"plugin.{change.kind}", data)

    def announce(self, topic: str, data: object) -> None:
        """Publishes an event of the host's own; see `EventsService.announce`."""
        if self._offer is not None:
            self._offer.announce(topic, data)

    def _serve(self, offer: Offer) -> None:
        for name, service in offer.serving():
            self._background.start(f"the service {name!r}", service.serve)

    async def _runner(self, make: RunnerMaker) -> Runner:
        return await make(self._bound())

    def _bound(self) -> Host:
        if self._host is None:
            raise UsageError("the host is not open")
        return self._host

    @trio.lowlevel.enable_ki_protection
    async def _open(self) -> Database:
        # In a task of its own, since a call that is cancelled must neither wait for it nor leave it half done.
        while self._database is None:
            if self._closed:
                raise UsageError("the host is closed")
            if self._attempt is None:
                self._attempt = _Attempt()
                trio.lowlevel.spawn_system_task(self._try_to_open, self._attempt)
            attempt = self._attempt
            await attempt.done.wait()
            if attempt.failure is not None:
                raise attempt.failure.with_traceback(None)
        return self._database

    async def _try_to_open(self, attempt: _Attempt) -> None:
        try:
            opened = await trio.to_thread.run_sync(_opener, self._path)
            self._database = await self._stack.enter_async_context(opened)
        except Exception as error:
            attempt.failure = error
        finally:
            attempt.done.set()
        if attempt.failure is not None:
            # Whoever asks again at once is told the same, and nothing is tried.
            with attempt.pause:
                await trio.sleep(_PAUSE)
        self._attempt = None
        attempt.over.set()

    async def aclose(self) -> None:
        """Nothing is opened any more; waits for what is being opened, and gives back what services hold."""
        if self._journals is not None:
            await self._journals.aclose()
        if self._memory is not None:
            await self._memory.aclose()
        self._closed = True
        if self._offer is not None:
            await self._offer.aclose()
        attempt = self._attempt
        if attempt is not None:
            attempt.pause.cancel()
            await attempt.over.wait()


def bridge_of(host: Host) -> Bridge:
    """The services of a host that `innkeeper.open_host` opened, such as the channels of its runs.

    Raises:
        UsageError: it was opened without.
    """
    if not isinstance(host.services, Bridge):
        raise UsageError("the host was opened without services: open it with innkeeper.open_host")
    return host.services


class _Attempt:
    """One try to open the database.

    Attributes:
        done: it is open, or `failure` says why not.
        pause: for how long the failure is remembered.
        over: another try may begin.
    """

    def __init__(self) -> None:
        self.done, self.over = trio.Event(), trio.Event()
        self.pause = trio.CancelScope()
        self.failure: Exception | None = None


_PAUSE = 1.0
"""Seconds for which a failure to open is remembered."""


def _opener(path: Path) -> AbstractAsyncContextManager[Database]:
    # Importing what speaks to databases takes a while: not on trio's thread.
    from innkeeper.storage.database import open_database

    # What a service asks the database with next.
    import_module("innkeeper.storage.kv")
    return open_database(path)


def _caller() -> Caller | None:
    from innkeeper.bridge.caller import Caller

    frame = calling()
    if frame is None or frame.version is None:
        return None
    version = frame.version
    return Caller(version.id, OWNER, version.rights, version, frame.run)


@asynccontextmanager
async def open_bridge(
    folder: Path, configuration: Configuration, *, runner: RunnerMaker | None = None, schedules: bool = True
) -> AsyncIterator[Bridge]:
    """The services for the time of an `async with`.

    Args:
        folder: where they keep what they keep; made when it is needed, private to its owner.
        configuration: what the operator decided.
        runner: makes what runs the workflows that plugins submit; None: nothing does.
        schedules: whether this host runs what plugins scheduled and submitted earlier, too.
    """
    async with AsyncExitStack() as stack:
        bridge = Bridge(folder, configuration, stack, runner, schedules)
        try:
            yield bridge
        finally:
            with trio.CancelScope(shield=True):
                await bridge.aclose()
