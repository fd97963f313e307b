"""One version of a native plugin: the bytes that were trusted, and what their code registered."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, Final

import msgpack
import trio

from innkeeper.plugins.chain import Frame, calling
from innkeeper.plugins.definitions import define_node
from innkeeper.plugins.grant import Grant
from innkeeper.plugins.grants import GrantState
from innkeeper.plugins.manifest import Manifest
from innkeeper.plugins.native.api import ServiceRefusedError
from innkeeper.plugins.native.entry import NativeEntry
from innkeeper.plugins.native.hooks import Hook, HookName
from innkeeper.plugins.native.importing import TrustedModules
from innkeeper.plugins.native.web import Web
from innkeeper.plugins.nodes import NodeDefinition
from innkeeper.plugins.rights import Rights
from innkeeper.plugins.services import Services
from innkeeper.plugins.tables import Table, shown
from innkeeper.plugins.trees import not_plain
from innkeeper.sandbox.interface import HostFunction
from innkeeper.sandbox.limits import Limits

THREADS = 16
"""Functions of one plugin that run in threads at the same time. One that never ends keeps its place."""

MAX_NODES = 1000
MAX_HOOKS = 100


class NativeVersion:
    """Implements `plugins.version.Version`, so that services know who asks.

    Attributes:
        functions: what nodes run, by the node's type.
        hooks: what was registered, with its name.
        web: what it adds to a server.
        calls: calls that are in it.
        retired: whether it is out of service: its modules go with its last call.
    """

    shipped: Final = False
    callable: Final[frozenset[str]] = frozenset()

    def __init__(self, entry: NativeEntry, services: Services) -> None:
        assert entry.folder.snapshot is not None
        self.entry = entry
        self.id = entry.id
        self.digest = entry.digest
        self.label = entry.label
        self.manifest: Manifest = replace(entry.folder.manifest, nodes=())
        # Whoever trusts code to do everything need not be asked for less.
        self.rights = Rights(tuple(dict.fromkeys(each.capability for each in self.manifest.capabilities)))
        self.modules = TrustedModules(entry.id, entry.folder.snapshot.files)
        self.threads = trio.CapacityLimiter(THREADS)
        self.functions: dict[str, Callable[..., Any]] = {}
        self.hooks: list[tuple[HookName, Hook]] = []
        self.web = Web()
        self.calls = 0
        self.retired = False
        self._files = entry.folder.snapshot.files
        self._declared = {node.type: node for node in entry.folder.manifest.nodes}
        self._sealed = False
        self._services: dict[str, HostFunction] = {
            each.name: each for each in services.functions(entry.folder.manifest, ())
        }

    # --- what its operator says, which may change while it runs -----------------------------------------------------

    @property
    def grant(self) -> Grant | None:
        """As `Version.grant`."""
        return self.entry.grant

    @property
    def grant_state(self) -> GrantState:
        """As `Version.grant_state`."""
        return self.entry.grant_state

    @property
    def limits(self) -> Limits:
        """As `Version.limits`."""
        return self.entry.limits

    @property
    def config(self) -> Mapping[str, str]:
        """As `Version.config`."""
        return {} if self.entry.grant is None else self.entry.grant.config

    # --- registering ------------------------------------------------------------------------------------------------

    def define(self, definition: str | Mapping[str, Any]) -> NodeDefinition:
        """The definition that `Api.node` was given, checked.

        Raises:
            ValueError: it has problems.
            RuntimeError: `setup` is over.
        """
        self._open()
        if isinstance(definition, str):
            declared = self._declared.get(definition)
            if declared is None:
                raise ValueError(f"the manifest defines no node {shown(definition)}")
            return declared
        problems: list[str] = []
        data = {**definition, "function": definition.get("type", "")}
        table = Table(data, f"node {shown(data.get('type'))}", problems)
        namespace = self.manifest.namespace
        if data.get("namespace", namespace) != namespace:
            table.problem("namespace", f"must be the plugin's, {namespace!r}, or be left out")
        odd = not_plain(data)
        if odd is not None:
            table.problem(odd, "holds what JSON cannot")
        node = None if problems else define_node(table, namespace)
        if node is None:
            raise ValueError("; ".join(problems))
        return node

    def bind(self, node: NodeDefinition, function: Callable[..., Any]) -> None:
        """The function that runs a node.

        Raises:
            ValueError: the type is there already, or there are too many.
            RuntimeError: `setup` is over.
        """
        self._open()
        if node.type in self.functions:
            raise ValueError(f"the node {node.type!r} is registered already")
        if len(self.functions) == MAX_NODES:
            raise ValueError(f"a plugin has at most {MAX_NODES} nodes")
        self.functions[node.type] = function
        # What a manifest declares may name a function as modules have them; here the type is its name.
        node = node.model_copy(update={"function": node.type})
        self.manifest = replace(self.manifest, nodes=(*self.manifest.nodes, node))

    def hook(self, name: HookName, function: Callable[..., Any]) -> None:
        """A hook of the plugin.

        Raises:
            ValueError: there are too many.
            RuntimeError: `setup` is over.
        """
        self._open()
        if len(self.hooks) == MAX_HOOKS:
            raise ValueError(f"a plugin has at most {MAX_HOOKS} hooks")
        self.hooks.append((name, Hook(self.id, function, self.threads)))

    def adding(self) -> Web:
        """What the plugin adds to a server, to be added to.

        Raises:
            RuntimeError: `setup` is over.
        """
        self._open()
        return self.web

    def seal(self) -> list[str]:
        """Nothing more is registered. Gives the types of nodes that the manifest declares and nobody registered."""
        self._sealed = True
        return [name for name in self._declared if name not in self.functions]

    def _open(self) -> None:
        if self._sealed:
            raise RuntimeError("nodes, hooks and routes are registered while setup(api) runs, and not later")

    # --- while it is in service -------------------------------------------------------------------------------------

    def file(self, name: str) -> bytes:
        """As `Api.file`."""
        try:
            return self._files[name]
        except KeyError:
            raise FileNotFoundError(f"the folder of the plugin has no file {shown(name)}") from None

    async def ask(self, operation: str, arguments: Mapping[str, Any]) -> Any:
        """As `Api.service`."""
        found = self._services.get(f"innkeeper_{operation.replace('.', '_', 1)}")
        if found is None:
            raise LookupError(
                f"there is no operation {shown(operation)}, or the manifest does not request its capability"
            )
        data = msgpack.packb(dict(arguments), use_bin_type=True)
        frame = calling()
        # From within a node the service knows the run; a hook, or a task of the plugin's own, has none.
        inside = nullcontext() if frame is not None and frame.version is self else Frame(self, 1, self)
        with inside:
            answer = msgpack.unpackb(await found.answer(data), strict_map_key=False)
        error = answer.get("error")
        if error is None:
            return answer.get("ok")
        values = dict(error)
        raise ServiceRefusedError(values.pop("kind", "failed"), values.pop("message", "it failed"), values)

    def settle(self) -> None:
        """A call is over, or it went out of service."""
        if self.retired and not self.calls:
            self.modules.remove()
