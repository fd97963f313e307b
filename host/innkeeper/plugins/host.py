"""The host: an engine, a home, and the plugins in it."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import trio

from innkeeper.errors import UsageError
from innkeeper.plugins.call_options import checked
from innkeeper.plugins.changes import Change, Listener, logger
from innkeeper.plugins.generation import Code, Generation
from innkeeper.plugins.grants import carried_over, meant
from innkeeper.plugins.home import Home, open_home
from innkeeper.plugins.manifest import ID, ID_RIGHT, Instance
from innkeeper.plugins.memo import asks
from innkeeper.plugins.module import Module, check_host, read_module, read_plugin_file
from innkeeper.plugins.plugin import Plugin
from innkeeper.plugins.services import NoServices, Services, prepare_all
from innkeeper.plugins.tables import shown
from innkeeper.printable import printable
from innkeeper.sandbox.bounds import Bounds
from innkeeper.sandbox.compilation.progress import CacheTrouble, Compiling, listener
from innkeeper.sandbox.interface import Engine, HostFunction
from innkeeper.sandbox.limits import Limits

if TYPE_CHECKING:
    from innkeeper.plugins.native.hooks import Hooks
    from innkeeper.plugins.native.plugin import NativePlugin
    from innkeeper.plugins.native.tier import NativeTier
    from innkeeper.plugins.nodes import NodeDefinition
    from innkeeper.plugins.reload import Look, Reloader
    from innkeeper.plugins.roster import Roster


class Host:
    """Runs plugins. Made by `open_host`.

    Attributes:
        home: the home folder and its configuration.
        engine: what compiles and runs.
        plugins: the home's plugins by id; each is compiled at its first call. A reload that adds or removes plugins
            puts another mapping here.
        problems: what is wrong with files of the home, one text each; none of it keeps the others from working.
        native: native plugins in service by id; empty unless the operator turned them on. See docs/native-plugins.md.
    """

    def __init__(
        self,
        home: Home,
        engine: Engine,
        first: Look | None,
        on_change: Listener | None,
        watch: bool,
        services: Services,
    ) -> None:
        self.home = home
        self.engine = engine
        self._services = services
        self._native: NativeTier | None = None
        self._reloader: Reloader | None = None
        self._loaded: list[Plugin] = []
        self.plugins: Mapping[str, Plugin] = MappingProxyType({})
        self.problems: list[str] = []
        if first is not None and first.catalogue is not None:
            from innkeeper.plugins.reload import Reloader

            self._roster.apply(first.catalogue)
            for entry in first.catalogue.entries.values():
                if entry.grant_state == "carried":
                    # By policy and not by an operator's word for these bytes, so there is a line of it each time.
                    logger.info("%s", printable(f"{entry.label}: {carried_over(entry.id)}"))
            if home.configuration.native_plugins:
                from innkeeper.plugins.native.tier import NativeTier

                self._native = NativeTier(services, self._roster.nodes)
            self._reloader = Reloader(home, self._roster, first, on_change, self._show, self._native)
            if watch:
                self._reloader.watch()
            self._show()

    @property
    def services(self) -> Services:
        """What it offers to guests beyond running them."""
        return self._services

    @cached_property
    def _roster(self) -> Roster:
        # Who loads a plugin by its file alone, as `innkeeper call` does, need not wait for what follows a home's files.
        from innkeeper.plugins.roster import Roster

        return Roster(self.home, self.engine, self._services)

    def _show(self) -> None:
        if self.plugins.keys() != self._roster.services.keys() or any(
            self.plugins[plugin_id] is not service.plugin for plugin_id, service in self._roster.services.items()
        ):
            services = sorted(self._roster.services.items())
            self.plugins = MappingProxyType({plugin_id: service.plugin for plugin_id, service in services})
        self.problems = self._roster.problems()
        if self._native is not None:
            self.problems += self._native.problems()

    @property
    def native(self) -> Mapping[str, NativePlugin]:
        # Documented with the class.
        return {} if self._native is None else self._native.plugins

    @property
    def hooks(self) -> Hooks | None:
        """What native plugins want to know of runs (Hooks); None where there are none."""
        return None if self._native is None else self._native.hooks

    async def load_native(self) -> None:
        """Loads the native plugins that the operator trusts; `open_host` does it once. What keeps one away is in
        `problems`."""
        if self._reloader is not None:
            await self._reloader.load_native()

    async def reload(self) -> list[Change]:
        """Picks up at once what changed in the home's files, also what was written a moment ago.

        Returns:
            list of Change: what is another now, and what is wrong with files that changed. Versions that had to be
            compiled first are in service, or refused.

        Raises:
            UsageError: the host is closed.
        """
        return [] if self._reloader is None else await self._reloader.reload()

    async def load(
        self,
        source: str | os.PathLike[str] | bytes | bytearray | memoryview,
        *,
        plugin_id: str | None = None,
        functions: Sequence[HostFunction] = (),
        modules: Mapping[str, bytes] | None = None,
        limits: Limits | None = None,
        config: Mapping[str, str] | None = None,
        instance: Instance = "fresh",
    ) -> Plugin:
        """Compiles a module of any folder. Neither manifest nor grant is needed, and no grant is looked for.

        Args:
            source: path of a .wasm file, whose manifest may lie beside it, or the module's bytes.
            plugin_id: for messages; by default the manifest's id, else made of the file's name.
            functions: host functions that the guest may import.
            modules: further modules, by the name under which they are imported.
            limits: of a call; by default the host's.
            config: what the guest's `config_get` answers.
            instance: "fresh" for a new guest per call; "shared" for one that stays.

        Returns:
            Plugin: ready to be called.

        Raises:
            UsageError: the file cannot be read; the limits are above the host's own; an argument is wrong.
            RejectedError: it is not a module that this host runs.

        Example:
            >>> plugin = await host.load("shout.wasm")
            >>> (await plugin.call("shout", b"hello")).output
            b'HELLO'
        """
        if plugin_id is not None and ID.fullmatch(plugin_id) is None:
            raise UsageError(f"{shown(plugin_id)} is not an id: it must be {ID_RIGHT}")
        if instance not in ("fresh", "shared"):
            raise UsageError(f"instance is {shown(instance)}: it must be 'fresh' or 'shared'")
        configuration = self.home.configuration
        allowed = configuration.defaults if limits is None else limits.within(configuration.ceiling)
        if isinstance(source, bytearray | memoryview):
            source = bytes(source)
        path = None if isinstance(source, bytes) else Path(source)
        module = await trio.to_thread.run_sync(_read_source, source, configuration.bounds.module_size, self._services)
        if plugin_id is None:
            plugin_id = module.manifest.id if module.manifest is not None else _made_up_id(path, module.digest)
        label = "bytes" if path is None else str(path)
        given = {(function.namespace, function.name) for function in functions}
        offered = self._services.functions(module.manifest, module.imports)
        # Nobody granted it anything, so what it requests refuses; what needs no grant is there.
        more = [each for each in offered if (each.namespace, each.name) not in given]
        code = Code(
            self.engine,
            module,
            plugin=plugin_id,
            label=None if path is None else label,
            functions=[*functions, *more],
            modules=modules,
            asks=asks(module.info, functions, more),
        )
        generation = Generation(
            code,
            module,
            id=plugin_id,
            label=label,
            path=path,
            limits=allowed,
            config=checked(config or {}),
            instance=instance,
        )
        attendant, overseer = self._services.attendant(), self._services.overseer()
        memory = self._services.memory
        plugin = Plugin(plugin_id, configuration.ceiling, generation, attendant, overseer, memory)
        await plugin.compile()
        # Whoever loads and closes for ever keeps no more than it has open.
        self._loaded = [each for each in self._loaded if each.gone is None]
        self._loaded.append(plugin)
        return plugin

    def node(self, full_type: str) -> tuple[Plugin | NativePlugin, NodeDefinition]:
        """The plugin and the definition of a node type of the home.

        Args:
            full_type: "namespace:type".

        Raises:
            UsageError: there is none; the message names near ones, or why it is refused.
        """
        found = self._roster.nodes.nodes.get(full_type)
        if found is None:
            refused = self._roster.nodes.refused.get(full_type)
            if refused is not None:
                raise UsageError(refused)
            close = difflib.get_close_matches(str(full_type)[:130], self.node_types(), n=3, cutoff=0.6)
            hint = f"; did you mean {' or '.join(close)}?" if close else ""
            raise UsageError(f"no plugin has the node type {shown(full_type)}{hint}")
        native = None if self._native is None else self._native.holding(found[0])
        return (self.plugins[found[0]] if native is None else native), found[1]

    def node_types(self) -> list[str]:
        """The full types of all nodes of the home, sorted."""
        return sorted(self._roster.nodes.nodes)

    @property
    def definitions(self) -> Mapping[str, tuple[str, NodeDefinition]]:
        """Whose each node type of the home is, and its definition, by full type. Native plugins stand there under
        `native.tier.holder`."""
        return MappingProxyType(self._roster.nodes.nodes)

    def plugin(self, plugin_id: str) -> Plugin:
        """A plugin of the home.

        Raises:
            UsageError: there is none; the message says what keeps it away, or names one that may be meant.
        """
        found = self.plugins.get(plugin_id)
        if found is not None:
            return found
        if plugin_id in self.native:
            raise UsageError(f"{plugin_id!r} is a native plugin: its nodes run in workflows, and nothing else calls it")
        causes = self._roster.why_not(plugin_id)
        if causes:
            more = f" (and {len(causes) - 1} more problems)" if len(causes) > 1 else ""
            raise UsageError(f"there is no plugin {shown(plugin_id)}: {causes[0]}{more}")
        labels = {each.id: each.label for each in self.plugins.values()}
        raise UsageError(f"there is no plugin {shown(plugin_id)}{meant(plugin_id, labels)}")

    async def aclose(self) -> None:
        """Ends all shared guests and forgets all compiled code."""
        if self._reloader is not None:
            await self._reloader.aclose()
        if self._native is not None:
            await self._native.aclose()
        for plugin in (*self.plugins.values(), *self._loaded):
            await plugin.aclose()


@asynccontextmanager
async def open_host(
    home: str | os.PathLike[str] | None = None,
    *,
    bounds: Bounds | None = None,
    engine: Engine | None = None,
    catalogue: bool = True,
    watch: bool = True,
    on_change: Listener | None = None,
    services: Callable[[Home], AbstractAsyncContextManager[Services]] | None = None,
) -> AsyncIterator[Host]:
    """As `innkeeper.open_host`, which gives it the services; the arguments are the same.

    Args:
        services: opens what the plugins of a home may be granted; by default nothing.
    """
    opened = await trio.to_thread.run_sync(open_home, home)
    if bounds is not None:
        opened = replace(opened, configuration=replace(opened.configuration, bounds=bounds))
    first: Look | None = None
    if catalogue:
        from innkeeper.plugins.reload import first_look

        first = await trio.to_thread.run_sync(first_look, opened)
    async with AsyncExitStack() as stack:
        running = engine
        if running is None:
            from innkeeper.sandbox.compilation.place import FILE, cache_folder
            from innkeeper.sandbox.engine import open_engine

            configuration = opened.configuration
            folder, _ = cache_folder(configuration.cache, configuration.origins.get("cache", FILE))
            # An engine asks as it is made who is to be told; somebody who shows it to a user goes before.
            token = listener.set(listener.get() or _log_trouble)
            try:
                running = await stack.enter_async_context(open_engine(configuration.bounds, cache=folder))
            finally:
                listener.reset(token)
        offered: Services = NoServices()
        if services is not None:
            offered = await stack.enter_async_context(services(opened))
        if first is not None and first.catalogue is not None:
            await trio.to_thread.run_sync(prepare_all, offered, first.catalogue)
        host = Host(opened, running, first, on_change, watch, offered)
        stack.push_async_callback(host.aclose)
        await host.load_native()
        yield host


def _log_trouble(event: Compiling | CacheTrouble) -> None:
    if isinstance(event, CacheTrouble):
        logger.warning("%s", printable(event.reason))


def _read_source(source: str | os.PathLike[str] | bytes, size_limit: int, services: Services) -> Module:
    module = _read_module(source, size_limit)
    services.prepare(module.manifest, module.imports)
    return module


def _read_module(source: str | os.PathLike[str] | bytes, size_limit: int) -> Module:
    if isinstance(source, bytes):
        module = read_module(source, label="the module", beside=None, size_limit=size_limit)
        check_host(module.manifest, "the module")
        return module
    label = os.fspath(source)
    module = read_plugin_file(source, label=label, size_limit=size_limit)
    check_host(module.manifest, label)
    return module


def _made_up_id(path: Path | None, digest: str) -> str:
    """An id for messages, where neither the caller nor a manifest gave one."""
    stem = re.sub(r"[^a-z0-9._-]+", "-", path.stem.lower()).lstrip("._-")[:64] if path is not None else ""
    return stem or f"sha256-{digest[:12]}"
