"""The native plugins in service. One comes when its files are those that the operator trusts, and goes when any of them
is another: what was not trusted is never run, and what is no longer trusted takes no call."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import trio

from innkeeper.errors import InnkeeperError
from innkeeper.plugins.catalogue import Catalogue
from innkeeper.plugins.changes import Change
from innkeeper.plugins.manifest import Manifest
from innkeeper.plugins.native.api import Api
from innkeeper.plugins.native.contain import PluginError, contained, logger
from innkeeper.plugins.native.entry import NativeEntry
from innkeeper.plugins.native.hooks import PARTING, WALL, Hooks, call_hook
from innkeeper.plugins.native.plugin import NativePlugin
from innkeeper.plugins.native.version import NativeVersion
from innkeeper.plugins.node_table import NodeTable
from innkeeper.plugins.services import Services

LOAD_WALL = 30.0
"""Seconds for importing a plugin and setting it up. Code that takes longer is left behind in its thread."""


def holder(plugin_id: str) -> str:
    """Under what a native plugin stands among those that have node types (str): no id of another plugin is so."""
    return f"{plugin_id} (native)"


class NativeTier:
    """Native plugins of a home.

    Attributes:
        plugins: those in service, by id.
        hooks: what they want to know of runs.
    """

    def __init__(self, services: Services, nodes: NodeTable) -> None:
        """Args:
        services: what they may ask.
        nodes: the node types of all plugins.
        """
        self.plugins: Mapping[str, NativePlugin] = {}
        self.hooks = Hooks()
        self._services = services
        self._nodes = nodes
        self._failed: dict[str, tuple[NativeEntry, str]] = {}
        self._leaving: list[NativeVersion] = []
        self._newest = Catalogue()

    def problems(self) -> list[str]:
        """Why plugins that are trusted could not be loaded (list of str)."""
        return [text for _, text in self._failed.values()]

    def holding(self, name: str) -> NativePlugin | None:
        """The plugin that has a node type under this `holder`, or None."""
        return next((each for each in self.plugins.values() if holder(each.id) == name), None)

    def withdraw(self, catalogue: Catalogue) -> list[Change]:
        """Takes those out of service whose files are not what the operator trusts by now: at once, whatever another one
        takes for its setup. What they want to do then is done by `apply`.

        Returns:
            list of Change: what to say.
        """
        self._newest = catalogue
        changes: list[Change] = []
        trusted = _trusted(catalogue)
        for plugin in list(self.plugins.values()):
            entry = trusted.get(plugin.id)
            if entry is None or not entry.same_code(plugin.version.entry):
                causes = catalogue.causes.get(plugin.id)
                reason = causes[0] if causes else f"{plugin.label}: was removed, or changed and was trusted again"
                self._retire(plugin, reason)
                changes.append(
                    Change("removed", plugin.id, f"{reason}; the native plugin {plugin.id!r} is out of service")
                )
            else:
                # Another grant: what it says counts from the next call on.
                plugin.version.entry = entry
        self._failed = {
            key: (entry, text)
            for key, (entry, text) in self._failed.items()
            if key in trusted and trusted[key].same_code(entry)
        }
        return changes

    async def apply(self, catalogue: Catalogue) -> list[Change]:
        """Brings the native plugins of a catalogue into service, after `withdraw`. One at a time: not for two callers.

        Returns:
            list of Change: what to say. Nothing is raised for what a plugin does.
        """
        changes = self.withdraw(catalogue)
        while True:
            await self._part()
            # Always by what is trusted now: the one before it may have taken half a minute.
            there = self.plugins.keys() | self._failed.keys()
            entry = next((each for each in _trusted(self._newest).values() if each.id not in there), None)
            if entry is None:
                return changes
            changes += await self._start(entry)
            changes += self.withdraw(self._newest)

    async def aclose(self) -> None:
        """Tells the plugins that the host closes. Calls that run go on."""
        # Whoever interrupted the host waits for them, but not for long.
        seconds = PARTING if trio.current_effective_deadline() == -math.inf else WALL
        for plugin in list(self.plugins.values()):
            self._retire(plugin, "the host is closed")
        with trio.CancelScope(shield=True, deadline=trio.current_time() + seconds):
            await self._part()

    # --- one plugin -------------------------------------------------------------------------------------------------

    async def _start(self, entry: NativeEntry) -> list[Change]:
        try:
            support = self._services.native()
            await support.record_load(entry.id, entry.digest, entry.label)
            version = await self._load(entry)
        except (InnkeeperError, PluginError) as error:
            reason = error.message if isinstance(error, InnkeeperError) else error.text
            text = f"{entry.label}: the native plugin {entry.id!r} could not be loaded: {reason}"
            if isinstance(error, PluginError):
                logger.info("native plugin %s: the traceback of that:", entry.id, exc_info=error.cause)
            self._failed[entry.id] = entry, text
            return [Change("problem", entry.id, text)]
        plugin = NativePlugin(version, support)
        self.plugins = {**self.plugins, entry.id: plugin}
        for name, hook in version.hooks:
            self.hooks.add(name, hook)
        said = f"{entry.label}: runs natively as the plugin {entry.id!r}, with all rights of the host"
        return [Change("added", entry.id, said), *self._tell(entry.id, version.manifest)]

    async def _load(self, entry: NativeEntry) -> NativeVersion:
        """Imports the code and lets it register what it has.

        Raises:
            PluginError: it failed.
        """
        version = NativeVersion(entry, self._services)
        modules = version.modules
        modules.install()
        done = False
        try:
            with trio.move_on_after(LOAD_WALL) as scope:
                module, _, name = entry.folder.entry.partition(":")
                loaded = await contained(modules.load, module, threads=version.threads)
                await contained(_function(loaded, module, name), Api(version), threads=version.threads)
            if scope.cancelled_caught:
                raise PluginError(TimeoutError(f"it took more than {LOAD_WALL:g} s"))
            missing = version.seal()
            if missing:
                raise PluginError(LookupError(f"it registers no function for the node {missing[0]!r} of its manifest"))
            done = True
        finally:
            if not done:
                # Also of one that was given up: code that goes on in a thread registers nothing any more.
                version.seal()
                modules.remove()
        return version

    def _retire(self, plugin: NativePlugin, reason: str) -> None:
        plugin.stop(reason)
        self.plugins = {key: each for key, each in self.plugins.items() if each is not plugin}
        self._nodes.update({holder(plugin.id): None})
        for _, hook in plugin.version.hooks:
            self.hooks.remove(hook)
        self._leaving.append(plugin.version)

    async def _part(self) -> None:
        """Tells those that are out of service that they are."""
        while self._leaving:
            version = self._leaving.pop(0)
            try:
                for name, hook in version.hooks:
                    if name == "on_stop":
                        await call_hook(name, hook)
            finally:
                version.retired = True
                version.settle()

    def _tell(self, plugin_id: str, manifest: Manifest) -> list[Change]:
        """Puts its nodes among the others; gives a problem for each that another plugin has."""
        self._nodes.update({holder(plugin_id): manifest})
        refused = (self._nodes.refused.get(node.full_type) for node in manifest.nodes)
        return [Change("problem", plugin_id, text) for text in refused if text is not None]


def _trusted(catalogue: Catalogue) -> dict[str, NativeEntry]:
    return {key: entry for key, entry in catalogue.native.items() if entry.state == "trusted"}


def _function(module: ModuleType, name: str, function: str) -> Callable[..., Any]:
    found = getattr(module, function, None)
    if not callable(found):
        raise PluginError(AttributeError(f"the module {name!r} has no function {function!r}"))
    result: Callable[..., Any] = found
    return result
