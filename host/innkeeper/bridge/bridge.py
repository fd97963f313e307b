"""The services of a host, and which of them a plugin may import."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from innkeeper.bridge.background import Background
from innkeeper.bridge.free import free_services
from innkeeper.bridge.opening import LazyDatabase
from innkeeper.bridge.pausing import Pausing
from innkeeper.bridge.sweeper import Sweeper
from innkeeper.errors import UsageError
from innkeeper.plugins.attendant import Attendant
from innkeeper.plugins.capabilities import FREE
from innkeeper.plugins.chain import calling
from innkeeper.plugins.changes import Change, Listener, say
from innkeeper.plugins.configuration import Configuration
from innkeeper.plugins.manifest import Manifest
from innkeeper.plugins.paused import Paused, read_paused
from innkeeper.plugins.rights import SERVED, WASI, Rights
from innkeeper.sandbox.interface import HostFunction
from innkeeper.storage.location import Location

if TYPE_CHECKING:
    from innkeeper.bridge.auditing import AuditWriter
    from innkeeper.bridge.caller import Caller
    from innkeeper.bridge.journal.keeper import JournalKeeper
    from innkeeper.bridge.knowledge import KnowledgeBases, KnowledgeMaker, LazyKnowledge
    from innkeeper.bridge.lazy_scheduler import LazyScheduler
    from innkeeper.bridge.memo.memory import Memory
    from innkeeper.bridge.metrics import Metrics
    from innkeeper.bridge.offer import Offer
    from innkeeper.bridge.run_streams import RunStreams
    from innkeeper.bridge.run_variables import RunVariables
    from innkeeper.bridge.runner import SchedulerMaker
    from innkeeper.plugins.host import Host
    from innkeeper.plugins.plugin import Plugin
    from innkeeper.plugins.services import NativeSupport
    from innkeeper.storage.database import Database

FILE = "innkeeper.db"


def location_of(folder: Path, configuration: Configuration) -> Location:
    """Where the database of a host is: what `[database] url` says, else a file in its folder.

    Args:
        folder: `Home.state`.
        configuration: what the operator decided; its URL was checked as it was read.
    """
    said = configuration.database
    return Location.of(folder / FILE) if said.url is None else Location.of(said.url, folder, said.upgrade)


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
        scheduler: SchedulerMaker | None = None,
        schedules: bool = True,
        knowledge: KnowledgeMaker | None = None,
        paused: Iterable[Paused] = (),
    ) -> None:
        self.listener: Listener = self.noticed
        """Is told of each change that the services make; whoever sets another calls `noticed` in it."""
        self._paused = tuple(paused)
        self._folder = folder
        self._configuration = configuration
        self._make_scheduler = scheduler
        self._scheduler: LazyScheduler | None = None
        self._make_knowledge = knowledge
        self._knowledge: LazyKnowledge | None = None
        self._schedules = schedules
        self._background = Background()
        self._host: Host | None = None
        self._database = LazyDatabase(location_of(folder, configuration), stack)
        self._offer: Offer | None = None
        self._native: NativeSupport | None = None
        self._journals: JournalKeeper | None = None
        self._pausing: Pausing | None = None
        self._audit: AuditWriter | None = None
        self._memory: Memory | None = None

    async def database(self) -> Database:
        """The database of the home, which is opened if nobody has yet.

        Raises:
            RejectedError, BusyError, UsageError: as `open_database`.
        """
        return await self._database.open()

    @property
    def audit(self) -> AuditWriter:
        """What goes into the audit log."""
        if self._audit is None:
            from innkeeper.bridge.auditing import AuditWriter

            self._audit = AuditWriter(self._database.open, self._configuration.retention.audit_days)
        return self._audit

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
    def knowledge(self) -> LazyKnowledge | None:
        """What keeps the knowledge bases; None: this host has none."""
        if self._knowledge is None and self._make_knowledge is not None:
            from innkeeper.bridge.knowledge import LazyKnowledge

            self._knowledge = LazyKnowledge(partial(self._knowledge_made, self._make_knowledge))
        return self._knowledge

    @property
    def scheduler(self) -> LazyScheduler | None:
        """What executes the runs in the queue, and fires schedules; None: this host does neither."""
        if self._scheduler is None and self._make_scheduler is not None:
            from innkeeper.bridge.lazy_scheduler import LazyScheduler

            self._scheduler = LazyScheduler(
                self._make_scheduler,
                self._bound,
                self._database.open,
                self._background,
                self._configuration.runs,
                everything=self._schedules,
            )
        return self._scheduler

    @property
    def metrics(self) -> Metrics | None:
        """What plugins asked for, and how it went; None as long as no plugin requests anything."""
        return None if self._offer is None else self._offer.gate.metrics

    def functions(self, manifest: Manifest | None, imports: Collection[str]) -> Sequence[HostFunction]:
        """As `Services.functions`."""
        wanted = _wanted(manifest, imports)
        if not wanted:
            return ()
        if self._offer is None:
            from innkeeper.bridge.needs import Needs
            from innkeeper.bridge.offer import Offer

            needs = Needs(
                self._database.open,
                self._configuration,
                self._bound,
                self._background,
                self.variables,
                self.streams,
                folder=self._folder,
                scheduler=self.scheduler,
                kept=self._database.location.may_be_there,
                knowledge=self.knowledge,
                refused=self._refused,
            )
            self._offer = Offer(_caller, needs, self._made)
        return self._offer.functions(wanted)

    def prepare(self, manifest: Manifest | None, imports: Collection[str]) -> None:
        """As `Services.prepare`."""
        wanted = _wanted(manifest, imports)
        if wanted:
            from innkeeper.bridge.offer import prepare

            prepare(wanted)

    def native(self) -> NativeSupport:
        """As `Services.native`."""
        from innkeeper.bridge.native import NativeBridge

        if self._native is None:
            self._native = NativeBridge(self._database.open, self._configuration.retention.audit_days)
        return self._native

    def attendant(self) -> Attendant | None:
        """As `Services.attendant`."""
        settings = self._configuration.journal
        if settings.keep != "never" and self._journals is None:
            from innkeeper.bridge.journal.keeper import JournalKeeper

            self._journals = JournalKeeper(settings, self._database.open)
        return self._journals

    def overseer(self) -> Pausing:
        """As `Services.overseer`. It costs nothing as long as no plugin is paused or turned off."""
        if self._pausing is None:
            failures = self._configuration.policy.failures
            self._pausing = Pausing(failures, self._folder, self._paused, self._background, self._say, self._recorded)
        return self._pausing

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

            self._memory = Memory(settings, self._database.open)
        return self._memory

    @asynccontextmanager
    async def serving(self, host: Host) -> AsyncIterator[None]:
        """What services do by themselves goes on inside of the block.

        Args:
            host: whose services they are; it takes calls.
        """
        self._host = host
        if self._offer is not None:
            for name, service in self._offer.serving():
                self._made(name, service)
        sweeper = Sweeper(self._database.location, self._database.open, self._configuration)
        self._background.start("sweeping", sweeper.run)
        self._note_carried(*host.plugins.values())
        try:
            yield
        finally:
            with trio.CancelScope(shield=True):
                await self._background.aclose()
            self._host = None

    def noticed(self, change: Change) -> None:
        """Tells subscribers what became of a plugin; a problem names files, which are the operator's alone."""
        if change.kind in ("added", "changed") and self._host is not None and change.plugin is not None:
            plugin = self._host.plugins.get(change.plugin)
            if plugin is not None:
                self._note_carried(plugin)
        if self._offer is not None and change.kind != "problem":
            data = {"plugin": change.plugin, "parts": list(change.parts)}
            self._offer.announce(f"plugin.{change.kind}", data)

    def announce(self, topic: str, data: object) -> None:
        """Publishes an event of the host's own; see `EventsService.announce`."""
        if self._offer is not None:
            self._offer.announce(topic, data)

    def _say(self, change: Change) -> None:
        say(change, self.listener)

    def _recorded(self, kind: str, plugin: str, digest: str, details: Mapping[str, Any]) -> None:
        self.audit.record(kind, plugin, digest, details)

    def _refused(self, caller: Caller, capability: str, use: str) -> None:
        digest = "" if caller.version is None else caller.version.digest
        self.audit.refused(caller.plugin, digest, capability, use)

    def _note_carried(self, *plugins: Plugin) -> None:
        # By policy and not by an operator's word for these bytes, so it is a record of its own; once for these bytes,
        # however often a host is opened.
        for plugin in plugins:
            if plugin.grant_state == "carried" and plugin.rights.capabilities:
                self.audit.record("grant", plugin.id, plugin.digest, carried_details(plugin.rights), once=True)

    def _made(self, name: str, service: object) -> None:
        from innkeeper.bridge.service import Serving

        if self._host is not None and isinstance(service, Serving):
            self._background.start(f"the service {name!r}", service.serve)

    async def _knowledge_made(self, make: KnowledgeMaker) -> KnowledgeBases:
        from innkeeper.bridge.knowledge import KnowledgeNeeds

        return await make(KnowledgeNeeds(self._bound, self._database.open, self._background))

    def _bound(self) -> Host:
        if self._host is None:
            raise UsageError("the host is not open")
        return self._host

    async def aclose(self) -> None:
        """Nothing is opened any more; waits for what is being opened, and gives back what services hold."""
        if self._journals is not None:
            await self._journals.aclose()
        if self._audit is not None:
            await self._audit.aclose()
        if self._memory is not None:
            await self._memory.aclose()
        self._database.refuse()
        if self._offer is not None:
            await self._offer.aclose()
        if self._knowledge is not None:
            await self._knowledge.aclose()
        await self._database.aclose()


def bridge_of(host: Host) -> Bridge:
    """The services of a host that `innkeeper.open_host` opened, such as the channels of its runs.

    Raises:
        UsageError: it was opened without.
    """
    if not isinstance(host.services, Bridge):
        raise UsageError("the host was opened without services: open it with innkeeper.open_host")
    return host.services


def _wanted(manifest: Manifest | None, imports: Collection[str]) -> list[str]:
    """Names of the capabilities whose functions a plugin may import."""
    requests = () if manifest is None else manifest.capabilities
    wanted = [
        name for each in requests if each.available and (name := each.capability.name) not in FREE | WASI | SERVED
    ]
    return wanted + free_services(manifest, imports)


def carried_details(rights: Rights) -> dict[str, Any]:
    """What the audit log says of a grant that was carried over to other bytes."""
    return {"capabilities": [str(each) for each in rights.capabilities], "carried": True}


def _caller() -> Caller | None:
    from innkeeper.bridge.caller import Caller

    frame = calling()
    if frame is None or frame.version is None:
        return None
    version = frame.version
    return Caller(version.id, frame.user, version.rights, version, frame.run)


@asynccontextmanager
async def open_bridge(
    folder: Path,
    configuration: Configuration,
    *,
    scheduler: SchedulerMaker | None = None,
    schedules: bool = True,
    knowledge: KnowledgeMaker | None = None,
    pauses: bool = True,
) -> AsyncIterator[Bridge]:
    """The services for the time of an `async with`.

    Args:
        folder: where they keep what they keep; made when it is needed, private to its owner.
        configuration: what the operator decided.
        scheduler: makes what executes the runs in the queue; None: nothing does.
        schedules: whether this host runs what plugins scheduled and submitted earlier, too.
        knowledge: makes what keeps knowledge bases; None: nothing does.
        pauses: whether plugins that were paused earlier are.
    """
    paused = await trio.to_thread.run_sync(read_paused, folder) if pauses else {}
    async with AsyncExitStack() as stack:
        bridge = Bridge(folder, configuration, stack, scheduler, schedules, knowledge, paused.values())
        try:
            yield bridge
        finally:
            with trio.CancelScope(shield=True):
                await bridge.aclose()
