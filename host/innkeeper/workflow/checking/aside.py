"""Checks workflows that take long in a thread, while trio's thread may put other plugins into service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from innkeeper.errors import UsageError
from innkeeper.plugins.nodes import NodeDefinition
from innkeeper.plugins.tables import shown
from innkeeper.workflow.checking.check import check_workflow
from innkeeper.workflow.checking.graph import Graph
from innkeeper.workflow.formats.payload import WorkflowPayload
from innkeeper.workflow.formats.references import references
from innkeeper.workflow.host import Hooked, NodeHost, NodePlugin, is_native

if TYPE_CHECKING:
    from innkeeper.plugins.native.hooks import Hooks

SMALL: Final = 150
"""Nodes and edges of a workflow that is checked at once: together they take about a millisecond."""


async def checked(payload: WorkflowPayload, host: NodeHost) -> Graph:
    """As `check_workflow`, without keeping trio's thread busy.

    Raises:
        WorkflowError: all that is wrong with it.
    """
    # What a group or a loop refers to may be much larger than the workflow itself.
    if len(payload.nodes) + len(payload.edges) <= SMALL and not references(payload):
        return check_workflow(payload, host)
    # It changes nothing, so whoever is cancelled need not wait for it.
    return await trio.to_thread.run_sync(check_workflow, payload, StillHost(host), abandon_on_cancel=True)


class StillHost:
    """A host for one check, asked from a thread. All that the host says of a node type, it says from one table, which
    is replaced as a whole; between two tables a plugin that has gone is a problem like any other."""

    def __init__(self, host: NodeHost, *, confined: bool = False, most_unknown: int | None = None) -> None:
        """Args:
        host: is asked.
        confined: whether it has no native nodes: what nothing confines is not for plugins to start, whose authors
            choose its inputs.
        most_unknown: how many node types are looked for in vain, each of which takes milliseconds; None: any number.
        """
        self._host = host
        self._confined = confined
        self._most_unknown = most_unknown
        self._unknown = 0

    @property
    def hooks(self) -> Hooks | None:
        """As `Hooked.hooks`: native plugins see these runs like all others."""
        return self._host.hooks if isinstance(self._host, Hooked) else None

    def node(self, full_type: str) -> tuple[NodePlugin, NodeDefinition]:
        """As `NodeHost.node`, while nothing but what is said is looked for."""
        if self._most_unknown is not None and self._unknown >= self._most_unknown:
            # Others' workflows wait to be checked.
            raise UsageError("its type was not looked up, since so much is wrong before it")
        try:
            found = self._host.node(full_type)
        except (KeyError, RuntimeError):
            raise UsageError(f"the plugin of {shown(full_type)} is being replaced: try again") from None
        except UsageError:
            self._unknown += 1
            raise
        if self._confined and is_native(found[0]):
            raise UsageError(f"the node type {shown(full_type)} is native code, which no plugin may start")
        return found
