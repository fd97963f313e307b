"""What a workflow needs from whatever runs its nodes; `innkeeper.plugins.host.Host` has it, and so have fakes."""

from __future__ import annotations

from typing import Literal, Protocol

from innkeeper.plugins.nodes import NodeDefinition
from innkeeper.sandbox.limits import Limits
from innkeeper.sandbox.usage import Result


class NodeManifest(Protocol):
    """What a plugin's author said about its nodes."""

    @property
    def codec(self) -> Literal["msgpack", "json", "raw"]:
        """How the functions of its nodes read input and write answers."""
        ...


class NodePlugin(Protocol):
    """A plugin whose functions are nodes."""

    @property
    def id(self) -> str:
        """The plugin's id."""
        ...

    @property
    def manifest(self) -> NodeManifest | None:
        """The manifest that defines its nodes."""
        ...

    @property
    def limits(self) -> Limits:
        """What one call of it may use."""
        ...

    async def call(self, function: str, data: bytes) -> Result:
        """Calls one of its functions.

        Raises:
            InnkeeperError: every failure of the guest.
        """
        ...


class NodeHost(Protocol):
    """Knows the node types and the plugins that they come from."""

    def node(self, full_type: str) -> tuple[NodePlugin, NodeDefinition]:
        """The plugin and the definition behind "namespace:type".

        Raises:
            UsageError: there is no such node type; the message names near misses.
        """
        ...
