"""What a workflow needs from whatever runs its nodes; `innkeeper.plugins.host.Host` has it, and so have fakes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeGuard, runtime_checkable

from innkeeper.plugins.manifest import Manifest
from innkeeper.plugins.memo import Memo
from innkeeper.plugins.nodes import NodeDefinition
from innkeeper.plugins.runs import RunContext
from innkeeper.sandbox.limits import Limits
from innkeeper.sandbox.usage import Result

if TYPE_CHECKING:
    from innkeeper.bridge.run_streams import RunStreams
    from innkeeper.plugins.native.hooks import Hooks


class NodePlugin(Protocol):
    """A plugin whose functions are nodes."""

    @property
    def id(self) -> str:
        """The plugin's id."""
        ...

    @property
    def manifest(self) -> Manifest | None:
        """The manifest that defines its nodes, as it is now: the plugin may change while a workflow runs."""
        ...

    @property
    def limits(self) -> Limits:
        """What one call of it may use."""
        ...

    async def call(
        self, function: str, data: bytes, *, manifest: Manifest | None = None, run: RunContext | None = None
    ) -> Result:
        """Calls one of its functions.

        Args:
            function: its name.
            data: its input.
            manifest: what the input was made by; another one by now, in what it says of the function, is an error.
            run: what the call belongs to.

        Raises:
            InnkeeperError: every failure of the guest.
        """
        ...


@runtime_checkable
class MemoPlugin(Protocol):
    """A plugin some of whose calls can be remembered."""

    @property
    def pure(self) -> bool:
        """Whether equal calls have equal results, as it is now."""
        ...

    async def call(
        self,
        function: str,
        data: bytes,
        *,
        manifest: Manifest | None = None,
        run: RunContext | None = None,
        memo: Memo = False,
    ) -> Result:
        """As `NodePlugin.call`.

        Args:
            memo: whether the result of an equal call will do.
        """
        ...


def is_pure(plugin: NodePlugin) -> TypeGuard[MemoPlugin]:
    """Whether equal calls of a plugin, as it is now, have equal results (bool)."""
    # Asked for each call: looking at what a protocol demands takes as long as a small guest.
    return bool(getattr(plugin, "pure", False))


@runtime_checkable
class Hooked(Protocol):
    """A host whose native plugins want to know of runs."""

    @property
    def hooks(self) -> Hooks | None:
        """Them, or None."""
        ...


@runtime_checkable
class Streaming(Protocol):
    """What has the channels through which guests read and write streams: a host, or its services."""

    @property
    def streams(self) -> RunStreams:
        """Them."""
        ...


def streams_of(host: object) -> RunStreams | None:
    """Where the guests of a host find their channels (RunStreams), or None where it was opened without services."""
    if isinstance(host, Streaming):
        return host.streams
    services = getattr(host, "services", None)
    return services.streams if isinstance(services, Streaming) else None


def is_native(plugin: NodePlugin | None) -> bool:
    """Whether a node is Python code of the host's own process (bool): whatever is said of it says so."""
    return bool(getattr(plugin, "native", False))


class NodeHost(Protocol):
    """Knows the node types and the plugins that they come from."""

    def node(self, full_type: str) -> tuple[NodePlugin, NodeDefinition]:
        """The plugin and the definition behind "namespace:type".

        Raises:
            UsageError: there is no such node type; the message names near misses.
        """
        ...
